"""A deep network of dense layers."""
from fastnn.tour.classifier import Classifier


def network(nn):
    return nn.Sequential(
        nn.Linear(64, 128), nn.BatchNorm1d(128), nn.ReLU(), nn.Dropout(0.2),
        nn.Linear(128, 64), nn.BatchNorm1d(64), nn.ReLU(), nn.Dropout(0.2),
        nn.Linear(64, 10),
    )


CHAPTER = Classifier(order=1, name="dnn", title="DNN: two hidden layers with batch normalisation, ReLU and dropout",
                     network=network, sample_shape=(64,), epochs=30)
