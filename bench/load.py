"""How much of the machine other processes take while we measure."""
import os
from pathlib import Path


def machine_ticks():
    """(all ticks of all cores, those not idle; a hypervisor's share counts as busy)."""
    ticks = list(map(int, Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]))
    return sum(ticks), sum(ticks) - ticks[3] - ticks[4]


def own_ticks():
    """Ticks of the processes of our group, and of those that they have waited for."""
    group, ticks = os.getpgrp(), 0
    for entry in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = entry.read_text().rpartition(")")[2].split()       # the name before it may hold blanks
        except OSError:
            continue                                                    # ended meanwhile
        if int(fields[2]) == group:
            ticks += sum(map(int, fields[11:15]))
    return ticks


class Load:
    """The part of the machine's time that went to others since the last question; 0 where the system does not tell."""

    def __init__(self):
        self.before = self.read()

    def read(self):
        try:
            return *machine_ticks(), own_ticks()
        except (OSError, ValueError, IndexError):
            return 0, 0, 0

    def others(self):
        now = self.read()
        total, busy, own = (b - a for a, b in zip(self.before, now))
        self.before = now
        return min(1.0, max(0, busy - own) / max(total, 1))
