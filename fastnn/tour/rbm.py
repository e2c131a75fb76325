"""A restricted Boltzmann machine: learns what digits look like, without their labels."""
import time
from dataclasses import dataclass

from fastnn.tour.classifier import split


@dataclass(frozen=True)
class Reconstruction:
    """How well the machine rebuilds digits that it has not seen from its hidden units."""

    before: float           # mean squared error per pixel with the initial weights
    after: float
    held_out: int
    seconds: float          # of training
    samples: int            # seen in training, all epochs together
    epochs: int
    planned: int
    network: object         # the machine

    @property
    def achieved(self):
        return f"error of {self.held_out} held-out digits rebuilt: {self.before:.4f} -> {self.after:.4f}"


@dataclass(frozen=True)
class Machine:
    """A chapter of the tour: an RBM, trained by contrastive divergence."""

    order: int = 5
    name: str = "rbm"
    title: str = "RBM: 36 hidden units learn to rebuild digits by contrastive divergence"
    hidden: int = 36
    epochs: int = 100
    batch_size: int = 50
    peer: bool = False

    def run(self, library, progress=iter):
        """Train and test as `Classifier.run` does; fastnn alone has such machines."""
        (x, _), (x_test, _) = ((images.reshape(-1, 64), labels) for images, labels in split())
        self.machine(library, x).fit(x[:2 * self.batch_size], 1, batch_size=self.batch_size)        # warm up
        library.manual_seed(0)
        rbm = self.machine(library, x)
        before = error(rbm, x_test)
        start = time.perf_counter()
        done = self.train(rbm, x, iter(progress(range(self.epochs))))
        seconds = time.perf_counter() - start
        return Reconstruction(before, error(rbm, x_test), len(x_test), seconds, done * len(x), done, self.epochs, rbm)

    def filters(self, rbm):
        """The weights of every hidden unit as a digit: strokes, and the spaces between them."""
        return rbm.weight.reshape(-1, 1, 8, 8)

    def machine(self, library, x):
        return library.nn.RBM(64, self.hidden).init_from_data(x)

    def train(self, rbm, x, epochs):
        """Train while `epochs` go on; the number of them."""
        done = [next(epochs)]

        def over(*_):
            more = next(epochs, None)
            if more is not None:
                done.append(more)
            return more is None

        rbm.fit(x, self.epochs, batch_size=self.batch_size, callbacks=[over])
        return len(done)


def error(rbm, x):
    """Mean squared error per pixel of the digits rebuilt from their hidden units."""
    return float(((rbm.reconstruct(x).numpy() - x) ** 2).mean())


CHAPTER = Machine()
