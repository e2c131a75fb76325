"""A recurrent network that reads a digit row by row, from above."""
from fastnn.tour.classifier import Classifier


def network(nn):
    class Reader(nn.Module):
        """The last state has seen all eight rows."""

        def __init__(self):
            super().__init__()
            self.rnn = nn.RNN(8, 96, batch_first=True)
            self.head = nn.Linear(96, 10)

        def forward(self, x):
            return self.head(self.rnn(x)[1][0])

    return Reader()


CHAPTER = Classifier(order=3, name="rnn", title="RNN: reads the eight rows of a digit one after the other", network=network,
                     sample_shape=(8, 8), epochs=40)
