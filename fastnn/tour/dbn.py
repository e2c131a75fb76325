"""A deep belief network: what unlabelled digits teach a classifier that has few labelled ones."""
import time
from dataclasses import dataclass

import numpy as np

from fastnn.tour.classifier import split


@dataclass(frozen=True)
class Comparison:
    """Accuracies of the network from the DBN's weights and from random ones, one per seed."""

    pretrained: tuple
    random: tuple
    labelled: int
    held_out: int
    seconds: float          # of pre-training and both fine-tunings, all seeds
    samples: int
    epochs: int             # seeds
    planned: int

    @property
    def achieved(self):
        ours, theirs = (f"{np.mean(a):.1%} (+-{np.std(a):.1%})" for a in (self.pretrained, self.random))
        return (f"{self.labelled} labels, {len(self.random)} seeds: {ours} of {self.held_out} held-out digits from the DBN, "
                f"{theirs} from random weights")


@dataclass(frozen=True)
class FewLabels:
    """A chapter of the tour: one network twice, its weights from a DBN and random."""

    order: int = 6
    name: str = "dbn"
    title: str = "DBN: two machines learn from all digits without labels, then a network of their weights from 100 labelled digits"
    sizes: tuple = (64, 128, 64)
    labelled: int = 100
    seeds: int = 5
    pretraining: int = 30       # epochs per machine
    fine_tuning: int = 200      # epochs of the labelled digits
    peer: bool = False

    def run(self, library, progress=iter):
        """Train and test as `Classifier.run` does; fastnn alone has such machines."""
        (x, y), (x_test, y_test) = ((images.reshape(-1, 64), labels) for images, labels in split())
        start, found = time.perf_counter(), []
        for seed in progress(range(self.seeds)):
            library.manual_seed(seed)
            few = np.random.default_rng(seed).permutation(len(y))[:self.labelled]
            dbn = library.nn.DBN(self.sizes).pretrain(x, self.pretraining, lr=0.1, batch_size=50)
            networks = dbn.to_mlp(10), random_weights(dbn.to_mlp(10))
            found.append([self.accuracy(library, model, x[few], y[few], x_test, y_test) for model in networks])
        seconds = time.perf_counter() - start
        samples = len(found) * (self.pretraining * len(x) * (len(self.sizes) - 1) + 2 * self.fine_tuning * self.labelled)
        return Comparison(*zip(*found, strict=True), self.labelled, len(y_test), seconds, samples, len(found), self.seeds)

    def accuracy(self, library, model, x, y, x_test, y_test):
        """Fine-tune on the labelled digits; the share of the held-out ones that are right then."""
        optimizer = library.optim.Adam(model.parameters(), lr=3e-3)
        step = library.compile(model, library.nn.CrossEntropyLoss(), optimizer)
        for _ in range(self.fine_tuning):
            step.run_epoch(x, y, batch_size=20, shuffle=True)
        with library.no_grad():
            return float((model(library.from_numpy(x_test)).argmax(1).numpy() == y_test).mean())


def random_weights(model):
    """The network with the weights that new layers have."""
    for layer in model:
        if hasattr(layer, "reset_parameters"):
            layer.reset_parameters()
    return model


CHAPTER = FewLabels()
