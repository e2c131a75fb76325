"""Peak memory of a process that trains a network, and what of it came after the import of the library."""
from bench import models
from bench.case import FASTNN, library
from bench.special import record

STEPS = 12
QUICK = ("mlp_middle", "lenet5")


def status(field):
    """Megabytes that /proc says about this process."""
    with open("/proc/self/status") as lines:
        return next(1e-3 * 1.024 * int(line.split()[1]) for line in lines if line.startswith(field))


def training(side, threads, name):
    """(peak, growth over the import) in MB."""
    library(side, threads)
    imported = status("VmRSS")
    step = models.prepare(side, name, threads)
    for _ in range(STEPS):
        step()
    peak = status("VmHWM")
    return peak, peak - imported


def measure(context):
    threads = context.threads[0]
    sides = [*FASTNN[::-1], *(["torch"] if "torch" in context.chosen else [])]
    for name in QUICK if context.quick else models.CASES:
        answers = {side: context.fresh(side, threads, "do", "bench.special.memory:training", name) for side in sides}
        for part, what in enumerate(("peak", "growth")):
            yield record("memory", f"{name} {what}", threads, "MB",
                         {s: a if isinstance(a, str) else a[part] for s, a in answers.items()})
