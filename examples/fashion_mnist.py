"""LeNet-5 and a small VGG on Fashion-MNIST, with PyTorch beside them when it is installed.

    python examples/fashion_mnist.py --data FOLDER [--model lenet|vgg] [--epochs N] [--torch]

FOLDER holds the four IDX files (train-images-idx3-ubyte.gz and so on) of https://github.com/zalandoresearch/fashion-mnist.
"""
import argparse
import os
import time

import numpy as np

import fastnn
from fastnn.datasets import read_idx

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
    images = read_idx(os.path.join(folder, f"{part}-images-idx3-ubyte.gz"))
    labels = read_idx(os.path.join(folder, f"{part}-labels-idx1-ubyte.gz"))
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


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True)
    parser.add_argument("--model", choices=MODELS, default="lenet")
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--rate", type=float, default=3e-3)
    parser.add_argument("--torch", action="store_true", help="run PyTorch too")
    options = parser.parse_args()
    data = load(options.data, "train") + load(options.data, "t10k")
    libraries = [fastnn]
    if options.torch:
        import torch
        torch.set_num_threads(fastnn.get_num_threads())
        libraries.append(torch)
    for library in libraries:
        library.manual_seed(0)
        model = MODELS[options.model](library.nn)
        print(f"{library.__name__} {options.model}, {sum(p.numel() for p in model.parameters())} parameters")
        train(library, model, data, options.epochs, options.batch, options.rate)


if __name__ == "__main__":
    main()
