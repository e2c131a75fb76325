"""What no case can express: each module of a group here has `measure(context)`, which yields records.

A record has one value per side: {"group", "name", "threads", "own", "unit", "values": {side: value}, "faults": {side: text}}.
"""
from importlib import import_module

from bench.sides import Sides

GROUPS = ("states", "scaling", "compile", "memory", "start", "accuracy")


class Context:
    """What a special measurement may use: the chosen sides, rounds, seconds per timing, and processes by thread count."""

    def __init__(self, chosen, rounds, budget, quick, threads, source):
        self.chosen, self.rounds, self.budget, self.quick, self.threads = chosen, rounds, budget, quick, threads
        self.source, self.sides = source, {}

    def processes(self, threads):
        if threads not in self.sides:
            self.sides[threads] = Sides(threads, self.source)
        return self.sides[threads]

    def fresh(self, side, threads, *message):
        """An answer of a process that has done nothing before."""
        sides = Sides(threads, self.source)
        try:
            return sides.ask(side, *message, patience=240)
        finally:
            sides.stop()

    def stop(self):
        for sides in self.sides.values():
            sides.stop()
        self.sides.clear()


def record(group, name, threads, unit, answers):
    """A record of the sides' answers; texts among them are faults."""
    return {"group": group, "name": name, "threads": threads, "own": next(iter(answers)), "unit": unit,
            "values": {s: v for s, v in answers.items() if not isinstance(v, str)},
            "faults": {s: v for s, v in answers.items() if isinstance(v, str)}}


def measure(group, context):
    yield from import_module(f"bench.special.{group}").measure(context)
