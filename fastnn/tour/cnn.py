"""A convolutional network."""
from fastnn.tour.classifier import Classifier


def network(nn):
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(),
        nn.Conv2d(16, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(32, 64, 3, padding=1), nn.BatchNorm2d(64), nn.ReLU(), nn.AdaptiveAvgPool2d(1),
        nn.Flatten(), nn.Dropout(0.2), nn.Linear(64, 10),
    )


CHAPTER = Classifier(order=2, name="cnn", title="CNN: three convolutions with batch normalisation, ReLU and pooling",
                     network=network, sample_shape=(1, 8, 8), epochs=20, filters=lambda network: network[0].weight)
