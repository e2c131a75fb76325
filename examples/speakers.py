"""Which of nine speakers said it?  Utterances of 7 to 29 steps, packed, read by a bidirectional LSTM.

    python examples/speakers.py [--data FILE] [--epochs N] [--plot FILE]

FILE is japanese_vowels.npz (Kudo, Toyama and Shimbo, 1999): 12 coefficients per step, 270 utterances to train with and 370 to
test.  Expected: 97 % of the test utterances, in a few seconds.
"""
import argparse
from pathlib import Path

import numpy as np

import fastnn
from fastnn import nn
from fastnn.nn.utils.rnn import pack_padded_sequence

DATA = Path(__file__).parents[1] / ".." / "shared" / "data" / "japanese-vowels" / "japanese_vowels.npz"


class Speaker(nn.Module):
    """The last states of both directions, one score per speaker."""

    def __init__(self, hidden=64):
        super().__init__()
        self.lstm = nn.LSTM(12, hidden, batch_first=True, bidirectional=True)
        self.dropout = nn.Dropout(0.5)
        self.head = nn.Linear(2 * hidden, 9)

    def forward(self, x, lengths):
        _, (h, _) = self.lstm(pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False))
        return self.head(self.dropout(fastnn.cat([h[0], h[1]], 1)))


def load(path):
    """(x, lengths, speaker) to train with and to test, scaled by the training utterances."""
    with np.load(path) as z:
        parts = [[z[f"{name}_{part}"] for name in ("X", "len", "y")] for part in ("train", "test")]
    x, lengths, _ = parts[0]
    frames = np.concatenate([u[:n] for u, n in zip(x, lengths)])
    mean, deviation = frames.mean(0), frames.std(0)
    return [(((x - mean) / deviation).astype(np.float32), n.astype(np.int64), y.astype(np.int64) - y.min()) for x, n, y in parts]


def train(model, data, epochs, batch=30, noise=0.2, rate=3e-3):
    """Adam with a falling rate; a little noise on the coefficients, drawn anew in every epoch.  Returns the losses."""
    x, lengths, y = data
    optimizer = fastnn.optim.Adam(model.parameters(), lr=rate)
    schedule = fastnn.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs)
    random, losses = np.random.default_rng(0), []
    for _ in range(epochs):
        total = 0.0
        order = random.permutation(len(y))
        for rows in np.split(order, range(batch, len(y), batch)):
            noisy = x[rows] + noise * random.standard_normal(x[rows].shape, np.float32)
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(fastnn.from_numpy(noisy), lengths[rows]), fastnn.from_numpy(y[rows]))
            loss.backward()
            optimizer.step()
            total += loss.item() * len(rows)
        schedule.step()
        losses.append(total / len(y))
    return losses


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--epochs", type=int, default=40)
    parser.add_argument("--plot", help="file for a plot of the loss (needs matplotlib)")
    options = parser.parse_args()
    if not options.data.exists():
        print(f"skipped: no utterances at {options.data}; name them with --data")
        return
    training, (x, lengths, y) = load(options.data)
    fastnn.manual_seed(0)
    model = Speaker()
    losses = train(model, training, options.epochs)
    model.eval()
    with fastnn.no_grad():
        found = model(fastnn.from_numpy(x), lengths).argmax(1).numpy()
    print(f"loss {losses[0]:.3f} -> {losses[-1]:.3f}; {100 * (found == y).mean():.1f} % of {len(y)} test utterances")
    if options.plot:
        import matplotlib.pyplot as plt
        plt.semilogy(losses)
        plt.xlabel("epoch")
        plt.ylabel("cross-entropy, training")
        plt.savefig(options.plot)


if __name__ == "__main__":
    main()
