"""What a call costs beside its arithmetic: additions of eight numbers, one after the other."""
from bench.case import Case, library

MANY = 100


def additions(recording):
    def build(side, threads):
        lib = library(side, threads, recording)
        x, y = lib.ones(8), lib.ones(8)
        x.requires_grad = recording

        def call():
            for _ in range(MANY):
                z = x + y
            return z
        return call, call
    return build


def cases():
    for recording, word in ((True, "recording"), (False, "no_grad")):
        yield Case("overhead", f"{MANY} additions, {word}", ("fastnn", "torch"), additions(recording), quick=True)
