"""Airline passengers a month ahead: an LSTM against "the same month a year before".

    python examples/forecast.py [--data FILE] [--epochs N] [--plot FILE]

FILE is the monthly series of 1949 to 1960 (Box and Jenkins, 1976; lines "month,passengers").  The last three years are held
out.  The network reads the yearly growth, log(passengers / passengers a year before), and says what next month's will be; the
state is carried from month to month.  Expected root mean square error on the held-out years: 16.8 thousand passengers, the
seasonal-naive forecast 42.0; that growth simply stays as it was last month is worth 17.7.  The number of epochs was chosen on
the last two years before the held-out ones: the series is short, and 300 epochs learn it by heart.
"""
import argparse
from pathlib import Path

import numpy as np

import fastnn
from fastnn import nn

DATA = Path(__file__).parents[1] / ".." / "shared" / "data" / "airline" / "Airline.csv"
YEAR, HELD_OUT = 12, 36


class Forecast(nn.Module):
    """The change of the growth from one month to the next, from all months so far."""

    def __init__(self, hidden=16):
        super().__init__()
        self.lstm = nn.LSTM(1, hidden)
        self.head = nn.Linear(hidden, 1)

    def forward(self, growth, state=None):
        output, state = self.lstm(growth, state)
        return growth + self.head(output), state


def train(model, growth, epochs, scale):
    """The whole series is one sequence; each month's forecast is compared with the month after."""
    x = fastnn.from_numpy((growth / scale).astype(np.float32)[:, None, None])
    optimizer = fastnn.optim.Adam(model.parameters(), lr=5e-3, weight_decay=1e-3)
    for _ in range(epochs):
        optimizer.zero_grad()
        loss = nn.functional.mse_loss(model(x[:-1])[0], x[1:])
        loss.backward()
        optimizer.step()
    return loss.item()


def one_step_ahead(model, growth, scale):
    """Forecast of growth[k + 1] from growth[..k], month by month: one streaming step each."""
    state, forecasts = None, []
    with fastnn.no_grad():
        for g in growth[:-1]:
            y, state = model(fastnn.tensor([[[g / scale]]], dtype=fastnn.float32), state)
            forecasts.append(y.item() * scale)
    return np.array(forecasts)


def error(forecast, truth):
    return float(np.sqrt(np.mean((forecast - truth) ** 2)))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--plot", help="file for a plot of the held-out years (needs matplotlib)")
    options = parser.parse_args()
    if not options.data.exists():
        print(f"skipped: no series at {options.data}; name one with --data")
        return
    series = np.genfromtxt(options.data, delimiter=",", skip_header=1, usecols=1)
    growth = np.log(series[YEAR:] / series[:-YEAR])
    scale = growth[:-HELD_OUT].std()
    fastnn.manual_seed(0)
    model = Forecast()
    train(model, growth[:-HELD_OUT], options.epochs, scale)
    naive, truth = series[-HELD_OUT - YEAR:-YEAR], series[-HELD_OUT:]
    unchanged = naive * np.exp(growth[-HELD_OUT - 1:-1])
    forecast = naive * np.exp(one_step_ahead(model, growth, scale)[-HELD_OUT:])
    print(f"root mean square error of {HELD_OUT} held-out months, thousand passengers: "
          f"LSTM {error(forecast, truth):.1f}, same month a year before {error(naive, truth):.1f}, "
          f"growth unchanged {error(unchanged, truth):.1f}")
    if options.plot:
        import matplotlib.pyplot as plt
        for values, label in ((truth, "passengers"), (forecast, "LSTM"), (naive, "a year before")):
            plt.plot(values, label=label)
        plt.xlabel("held-out month")
        plt.legend()
        plt.savefig(options.plot)


if __name__ == "__main__":
    main()
