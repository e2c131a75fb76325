"""LeNet-5 and a small VGG on Fashion-MNIST, with PyTorch beside them when it is installed.

    python examples/fashion_mnist.py [--data FOLDER] [--model lenet|vgg] [--epochs N] [--no-torch]

FOLDER holds the four IDX files (train-images-idx3-ubyte.gz and so on) of https://github.com/zalandoresearch/fashion-mnist.
Expected of LeNet-5 after 10 epochs: 91 % of the test images, at 5 s an epoch with one thread and AVX-512; of the VGG after 6 epochs:
93 %, at 70 s an epoch there.
"""
import argparse
import time
from importlib import import_module
from pathlib import Path

import numpy as np

import fastnn
from fastnn.datasets import read_idx

DATA = Path(__file__).parents[1] / ".." / "shared" / "data" / "fashion-mnist"
MEAN, DEVIATION = 0.2860, 0.3530        # of the training images


def lenet(nn):
    """LeNet-5 (LeCun et al., 1998) with ReLU and max-pooling."""
    return nn.Sequential(
        nn.Conv2d(1, 6, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(6, 16, 5), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(400, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU(), nn.Linear(84, 10),
    )


def vgg(nn):
    """Three blocks of two 3x3 convolutions with batch normalisation (after Simonyan and Zisserman, 2014)."""
    layers, channels = [], 1
    for width in (32, 64, 128):
        for _ in range(2):
            layers += [nn.Conv2d(channels, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU()]
            channels = width
        layers += [nn.MaxPool2d(2), nn.Dropout(0.25)]
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(128 * 9, 256), nn.ReLU(), nn.Dropout(0.5), nn.Linear(256, 10))


MODELS = {"lenet": lenet, "vgg": vgg}


def load(folder, part):
    """Normalised images (N, 1, 28, 28) and labels."""
    images = read_idx(folder / f"{part}-images-idx3-ubyte.gz")
    labels = read_idx(folder / f"{part}-labels-idx1-ubyte.gz")
    return ((images / np.float32(255) - np.float32(MEAN)) / np.float32(DEVIATION)).astype(np.float32)[:, None], labels.astype(np.int64)


def accuracy(library, model, x, y, batch=500):
    model.eval()
    right = 0
    with library.no_grad():
        for images, labels in zip(x.split(batch), y.split(batch)):
            right += int((model(images).argmax(1) == labels).sum())
    model.train()
    return right / len(y)


def train(library, model, data, epochs, batch, rate):
    """Adam with one cycle of the learning rate; prints loss, accuracy and time of every epoch."""
    x, y, x_test, y_test = (library.from_numpy(a) for a in data)
    steps = epochs * (-(-len(y) // batch))
    optimizer = library.optim.Adam(model.parameters(), lr=rate)
    schedule = library.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=rate, total_steps=steps)
    for epoch in range(1, epochs + 1):
        start, total = time.perf_counter(), 0.0
        for rows in library.randperm(len(y)).split(batch):
            optimizer.zero_grad()
            loss = library.nn.functional.cross_entropy(model(x[rows]), y[rows])
            loss.backward()
            optimizer.step()
            schedule.step()
            total += loss.item() * len(rows)
        seconds = time.perf_counter() - start
        print(f"  epoch {epoch:2}  loss {total / len(y):.4f}  accuracy {100 * accuracy(library, model, x_test, y_test):.2f} %  "
              f"{seconds:.1f} s", flush=True)


def run(library, data, options):
    library.manual_seed(0)
    model = MODELS[options.model](library.nn)
    threads = library.get_num_threads()
    print(f"{library.__name__} {options.model}, {sum(p.numel() for p in model.parameters())} parameters, "
          f"{threads} thread{'s' * (threads > 1)}")
    train(library, model, data, options.epochs, options.batch, options.rate)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--model", choices=MODELS, default="lenet")
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--rate", type=float, default=3e-3)
    parser.add_argument("--no-torch", dest="torch", action="store_false", help="do not run PyTorch too")
    options = parser.parse_args()
    if not options.data.exists():
        print(f"skipped: no images at {options.data}; name their folder with --data")
        return
    data = load(options.data, "train") + load(options.data, "t10k")
    run(fastnn, data, options)
    if options.torch:
        try:
            torch = import_module("torch")      # only now: its import and its threads cost fastnn nothing
        except ImportError:
            print("torch is not installed: no comparison")
            return
        torch.set_num_threads(fastnn.get_num_threads())
        run(torch, data, options)


if __name__ == "__main__":
    main()
