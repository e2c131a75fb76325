"""A character model of Shakespeare: an LSTM learns to guess the next character, then writes by itself.

    python examples/char_lstm.py [--data FILE] [--steps N] [--length N] [--plot FILE]

FILE is the text of tiny Shakespeare (1.1 million characters, plain or gzip).  The last tenth is held out.  Expected: about
2.25 bits per character held out after the default number of steps (uniform guessing: 6.0), three minutes on two busy cores.
"""
import argparse
import gzip
import math
import time
from pathlib import Path

import numpy as np

import fastnn
from fastnn import nn

DATA = Path(__file__).parents[1] / ".." / "shared" / "data" / "tinyshakespeare" / "input.txt.gz"
WINDOW, BATCH = 64, 64


class CharacterModel(nn.Module):
    """Embedding, LSTM, and a linear layer to the scores of the next character."""

    def __init__(self, characters, width=64, hidden=256):
        super().__init__()
        self.embedding = nn.Embedding(characters, width)
        self.lstm = nn.LSTM(width, hidden)
        self.head = nn.Linear(hidden, characters)

    def forward(self, x):
        return self.scores(x)[0]

    def scores(self, x, state=None):
        """Scores (T N, characters) of texts (T, N), and the state to go on from."""
        output, state = self.lstm(self.embedding(x), state)
        return self.head(output.reshape(-1, output.shape[-1])), state


def load(path):
    """The text as numbers, and its characters."""
    raw = path.read_bytes()
    text = (gzip.decompress(raw) if path.suffix == ".gz" else raw).decode()
    characters = sorted(set(text))
    number = {c: i for i, c in enumerate(characters)}
    return np.array([number[c] for c in text], np.int64), characters


def train(model, text, steps, rate=4e-3):
    """Random windows of the text, one compiled step each; returns the loss in bits every 100 steps."""
    optimizer = fastnn.optim.Adam(model.parameters(), lr=rate)
    schedule = fastnn.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    step = fastnn.compile(model, nn.CrossEntropyLoss(), optimizer, max_norm=1.0)
    random, offsets = np.random.default_rng(0), np.arange(WINDOW + 1)[:, None]
    curve, total, start = [], 0.0, time.perf_counter()
    for k in range(1, steps + 1):
        windows = text[offsets + random.integers(0, len(text) - WINDOW - 1, BATCH)]
        total += float(step(fastnn.from_numpy(windows[:-1]), fastnn.from_numpy(windows[1:].ravel())))
        schedule.step()
        if k % 100 == 0:
            curve.append(total / 100 / math.log(2))
            total = 0.0
            print(f"  step {k:5}  {curve[-1]:.3f} bits per character  {time.perf_counter() - start:.0f} s", flush=True)
    return curve


def bits_per_character(model, text, streams=32, window=256):
    """Held-out text read in `streams` pieces at once, the state carried from window to window."""
    length = (len(text) - 1) // streams
    x, y = (text[k:k + streams * length].reshape(streams, length).T for k in (0, 1))
    state, total = None, 0.0
    with fastnn.no_grad():
        for t in range(0, length, window):
            scores, state = model.scores(fastnn.from_numpy(x[t:t + window].copy()), state)
            target = fastnn.from_numpy(y[t:t + window].ravel())
            total += nn.functional.cross_entropy(scores, target, reduction="sum").item()
    return total / (streams * length) / math.log(2)


def write(model, characters, length, opening="\n", temperature=0.8):
    """Text drawn character by character: each step is one step of the LSTM, the state carried on."""
    random = np.random.default_rng(0)
    written, state = [characters.index(c) for c in opening], None
    fresh = written
    with fastnn.no_grad():
        for _ in range(length):
            scores, state = model.scores(fastnn.tensor(fresh).reshape(-1, 1), state)
            p = nn.functional.softmax(scores[-1] / temperature, 0).numpy().astype(np.float64)
            fresh = [int(random.choice(len(p), p=p / p.sum()))]
            written += fresh
    return "".join(characters[i] for i in written)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--steps", type=int, default=1200)
    parser.add_argument("--length", type=int, default=500, help="characters to write")
    parser.add_argument("--plot", help="file for a plot of the loss (needs matplotlib)")
    options = parser.parse_args()
    if not options.data.exists():
        print(f"skipped: no text at {options.data}; name one with --data")
        return
    text, characters = load(options.data)
    held_out = len(text) // 10
    fastnn.manual_seed(0)
    model = CharacterModel(len(characters))
    curve = train(model, text[:-held_out], options.steps)
    print(f"held out: {bits_per_character(model, text[-held_out:]):.3f} bits per character\n{write(model, characters, options.length)}")
    if options.plot:
        import matplotlib.pyplot as plt
        plt.plot(100 * np.arange(1, len(curve) + 1), curve)
        plt.xlabel("step")
        plt.ylabel("bits per character, training")
        plt.savefig(options.plot)


if __name__ == "__main__":
    main()
