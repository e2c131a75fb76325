"""Training a classifier of the bundled digits: the same lines for fastnn and for torch."""
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from fastnn.datasets import load_digits


@dataclass(frozen=True)
class Result:
    """What a run achieved."""

    accuracy: float         # of the held-out samples
    held_out: int
    seconds: float          # of training
    samples: int            # seen in training, all epochs together
    epochs: int
    planned: int            # epochs there would have been, had nobody stopped it
    network: object = None  # as it was trained

    @property
    def achieved(self):
        """In words, as the tour prints it."""
        return f"{self.accuracy:6.1%} of {self.held_out} held-out digits"


@dataclass(frozen=True)
class Classifier:
    """A chapter of the tour: a network, trained by Adam on cross-entropy."""

    order: int
    name: str
    title: str
    network: Callable       # library.nn -> module
    sample_shape: tuple     # of one digit as the network takes it
    epochs: int
    batch_size: int = 64
    learning_rate: float = 3e-3
    peer: bool = True
    filters: Callable | None = None     # trained network -> weights of its first layer, worth a picture

    def run(self, library, progress=iter):
        """Train with `library` (fastnn or torch) and test.

        Parameters
        ----------
        library : module
            `fastnn` or `torch`: nothing below asks which.
        progress : callable
            Wraps the range of epochs, to show a bar or to stop early.
        """
        (x, y), (x_test, y_test) = (self.tensors(library, part) for part in split())
        self.train(library, x[:2 * self.batch_size], y[:2 * self.batch_size], range(1))     # warm up
        library.manual_seed(0)
        start = time.perf_counter()
        model, epochs = self.train(library, x, y, progress(range(self.epochs)))
        seconds = time.perf_counter() - start
        model.eval()
        with library.no_grad():
            accuracy = (model(x_test).argmax(1) == y_test).float().mean().item()
        return Result(accuracy, len(y_test), seconds, epochs * len(y), epochs, self.epochs, model)

    def train(self, library, x, y, epochs):
        """The training loop: the trained network and the number of epochs."""
        model = self.network(library.nn)
        optimizer = library.optim.Adam(model.parameters(), lr=self.learning_rate)
        done = 0
        for _ in epochs:
            # Whole batches by one index call: torch's DataLoader collates sample by sample, and would be most of its time.
            for batch in library.randperm(len(y)).split(self.batch_size):
                optimizer.zero_grad()
                loss = library.nn.functional.cross_entropy(model(x[batch]), y[batch])
                loss.backward()
                optimizer.step()
            done += 1
        return model, done

    def tensors(self, library, part):
        images, labels = part
        return library.from_numpy(images.reshape(-1, *self.sample_shape)), library.from_numpy(labels)


def split():
    """The digits, grey values 0 to 1: 1437 to train with, 360 held out, the same in every run."""
    images, labels = load_digits()
    images = (images / 16).astype(np.float32)
    order = np.random.default_rng(0).permutation(len(labels))
    train, test = order[:-360], order[-360:]
    return (images[train], labels[train]), (images[test], labels[test])
