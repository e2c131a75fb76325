"""Picks the table of micro-kernels at import and keeps the registry of declared kernels."""
from libc.string cimport memset
from libc.stdint cimport uintptr_t

import numpy as np

from fastnn import config

cdef extern from "fastnn.h" nogil:
    const fn_table* fn_table_at(int i)
    int fn_table_usable(int i)
    int fn_table_count()
    const char* fn_build_flags()
    int fn_team_limit()
    int fn_team_awake()

cdef extern from "mode.h" nogil:
    ctypedef unsigned int fn_mode       # as wide as the machine's
    enum: FN_FLUSH
    fn_mode fn_mode_now()
    void fn_mode_set(fn_mode mode)

ROLES = {"in": FN_IN, "out": FN_OUT, "acc": FN_ACC, "state": FN_STATE}

DTYPES = {"float32": FN_F32, "float64": FN_F64, "int64": FN_I64, "int32": FN_I32, "uint8": FN_U8, "bool": FN_BOOL}

# name -> [(slot name, role)]: what the generic tests and plan.explain() read.
KERNELS = {}
cdef dict addresses = {}
cdef list keep_alive = []


cdef void parallel(int64_t blocks, int threads, fn_block body, void* context) noexcept nogil:
    fn_parallel(blocks, threads, body, context)


cdef bint team_awake() noexcept nogil:
    return fn_team_awake()


cdef int num_threads = config.NUM_THREADS

cdef int current_threads() noexcept nogil:
    return min(num_threads, fn_team_limit())


def get_num_threads():
    """Threads that kernels may use."""
    return num_threads


def set_num_threads(n):
    """Set how many threads kernels may use; results do not depend on it."""
    global num_threads
    if not isinstance(n, int) or isinstance(n, bool):
        raise RuntimeError(f"set_num_threads expects an int, but got {type(n).__name__}")
    if n <= 0:
        raise RuntimeError("set_num_threads expects a positive integer")
    num_threads = min(n, 2**31 - 1)


cdef fn_mode flush = FN_FLUSH


def set_flush_denormal(mode):
    """Set whether kernels take numbers below the smallest normal one for 0, as they do by default (torch's default is to keep them).

    Intel's processors take 34 ns for a vector with one such number in it, where 0.3 is usual.  Functions of one element,
    comparisons, copies, reductions and maximum pooling keep them in either case (docs/vmath.md).

    Parameters
    ----------
    mode : bool

    Returns
    -------
    bool
        Whether this processor can do so.

    Examples
    --------
    >>> import fastnn
    >>> fastnn.set_flush_denormal(False)
    True
    >>> (fastnn.tensor([[1e-40]]) @ fastnn.ones(1, 1)).item() > 0
    True
    >>> fastnn.set_flush_denormal(True)
    True
    >>> (fastnn.tensor([[1e-40]]) @ fastnn.ones(1, 1)).item()
    0.0
    """
    global flush
    if not isinstance(mode, bool):
        raise TypeError(f"set_flush_denormal expects a bool, but got {type(mode).__name__}")
    flush = FN_FLUSH if mode else 0
    return FN_FLUSH != 0


cdef int declare(fn_kernel* kernel, str name, str slots, fn_driver run, fn_scratch scratch, bint keeps_denormals=False) except -1:
    cdef list pairs = [tuple(s.split(":")) for s in slots.split()]
    cdef int i
    if name in KERNELS or len(pairs) > FN_SLOTS:
        raise ValueError(f"kernel {name}: declared twice, or more than {FN_SLOTS} slots")
    encoded = name.encode()
    keep_alive.append(encoded)
    kernel.name = encoded
    kernel.slots = len(pairs)
    for i, (slot, role) in enumerate(pairs):
        encoded = slot.encode()
        keep_alive.append(encoded)
        kernel.slot_name[i] = encoded
        kernel.role[i] = ROLES[role]
    kernel.run = run
    kernel.scratch = scratch
    kernel.keeps_denormals = keeps_denormals
    KERNELS[name] = pairs
    addresses[name] = <uintptr_t>kernel
    return 0


cdef const fn_kernel* kernel_named(str name) except NULL:
    return <const fn_kernel*><uintptr_t>addresses[name]


cdef int run_calls(fn_call* calls, int count) noexcept nogil:
    cdef fn_mode before = fn_mode_now(), mode = before, wanted
    cdef int i, failed = -1
    for i in range(count):
        wanted = before if calls[i].kernel.keeps_denormals else before | flush
        if mode != wanted:
            mode = wanted
            fn_mode_set(mode)
        calls[i].kernel.run(&calls[i])
        if calls[i].status:
            failed = i
            break
    if mode != before:
        fn_mode_set(before)
    return failed


def call(str name, arrays, sizes=(), scalars=(), *, dtype=None, int threads=1, double flops=1e9, double nbytes=1e9):
    """Run one kernel on NumPy arrays: the door of the generic tests and micro-benchmarks.

    ``arrays`` has one entry per declared slot (None for an absent one); nothing is checked but their number.  Returns
    (status, fault).  ``flops`` and ``nbytes`` default to "large", so that ``threads`` alone decides.
    """
    cdef fn_call c
    cdef int i
    memset(&c, 0, sizeof(c))
    c.kernel = <const fn_kernel*><uintptr_t>addresses[name]
    if len(arrays) != c.kernel.slots:
        raise ValueError(f"kernel {name}: {len(arrays)} arrays, needs {c.kernel.slots}: {KERNELS[name]}")
    c.dtype = DTYPES[dtype or next(a.dtype.name for a in arrays if a is not None)]
    c.threads, c.flops, c.bytes = threads, flops, nbytes
    for i, a in enumerate(arrays):
        c.slot[i] = NULL if a is None else <void*><uintptr_t>a.ctypes.data
    for i, n in enumerate(sizes):
        c.size[i] = n
    for i, v in enumerate(scalars):
        c.scalar[i] = v
    cdef int64_t wanted = c.kernel.scratch(&c) if c.kernel.scratch != NULL else 0
    buffer = np.empty(wanted + 64, np.uint8)
    c.scratch = <void*><uintptr_t>(-(-buffer.ctypes.data // 64) * 64)
    with nogil:
        run_calls(&c, 1)
    return c.status, c.fault


def instruction_sets():
    """Names of the instruction sets in this build that this machine can run, best first."""
    return [fn_table_at(i).isa.decode() for i in range(fn_table_count()) if fn_table_usable(i)]


def instruction_set():
    """Name of the instruction set in use."""
    return table.isa.decode()


def build_flags():
    """How the micro-kernels were compiled."""
    return fn_build_flags().decode()


cdef const fn_table* pick(str wanted) except NULL:
    cdef int i
    for i in range(fn_table_count()):
        if fn_table_usable(i) and (not wanted or fn_table_at(i).isa.decode() == wanted):
            return fn_table_at(i)
    raise ImportError(f"FASTNN_ISA={wanted}: this build and machine offer {', '.join(instruction_sets())}")


table = pick(config.ISA)
