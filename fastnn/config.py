"""Environment variables, read once at import: the only module that looks at them.

FASTNN_ISA           force an instruction set: amx, avx512, avx2, baseline (x86-64), neon
FASTNN_NUM_THREADS   threads to use; else OMP_NUM_THREADS; else the cores this process may use
"""
import os


def _cores() -> int:
    """Cores this process may use: CPU affinity, then the cgroup quota (v2, v1), rounded up."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = _cgroup_quota()
    return max(1, min(cores, quota)) if quota else max(1, cores)


def _cgroup_quota() -> int | None:
    try:
        with open("/sys/fs/cgroup/cpu.max") as f:
            limit, period = f.read().split()
            return None if limit == "max" else -(-int(limit) // int(period))
    except (OSError, ValueError):
        pass
    try:
        with open("/sys/fs/cgroup/cpu/cpu.cfs_quota_us") as f, open("/sys/fs/cgroup/cpu/cpu.cfs_period_us") as g:
            quota, per = int(f.read()), int(g.read())
            return None if quota <= 0 else -(-quota // per)
    except (OSError, ValueError):
        return None


def _threads() -> int:
    for name in ("FASTNN_NUM_THREADS", "OMP_NUM_THREADS"):
        value = os.environ.get(name, "").split(",")[0].strip()
        if value.isdigit() and int(value) > 0:
            return int(value)
    return _cores()


ISA: str = os.environ.get("FASTNN_ISA", "").strip().lower()
NUM_THREADS: int = _threads()
