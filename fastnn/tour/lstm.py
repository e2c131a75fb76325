"""A long short-term memory that reads a digit row by row, from above and from below."""
from fastnn.tour.classifier import Classifier


def network(nn):
    class Reader(nn.Module):
        """The last states of both directions have seen all eight rows."""

        def __init__(self):
            super().__init__()
            self.lstm = nn.LSTM(8, 64, batch_first=True, bidirectional=True)
            self.head = nn.Linear(128, 10)

        def forward(self, x):
            _, (h, _) = self.lstm(x)
            return self.head(h.transpose(0, 1).flatten(1))

    return Reader()


CHAPTER = Classifier(order=4, name="lstm", title="LSTM: reads the rows of a digit from above and from below", network=network,
                     sample_shape=(8, 8), epochs=24)
