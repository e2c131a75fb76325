"""Random numbers under torch's names: a Generator holds two streams.

The Mersenne twister gives torch's numbers: under one seed initial weights, permutations and batches equal torch's bit
for bit (docs say where float32 normals are only close).  Philox gives masks and samples (dropout, bernoulli), which
any number of threads can draw; these do not equal torch's.
"""
cimport cython
cimport numpy as np
from libc.math cimport M_PI, cos, log1p, sin, sqrt
from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.string cimport memcpy

import contextlib
import os

import numpy as np

from fastnn.core.launch cimport host_call
from fastnn.core.storage cimport empty_1d, is_arranged
from fastnn.core.tensor cimport Tensor, as_tensor, wrap
from fastnn.kernels.native cimport table
from fastnn.kernels.random cimport fn_random_table, random_tables

from fastnn.core.storage import new_array
from fastnn.core.tensor import get_default_dtype

np.import_array()

cdef enum: WORDS = 624, CHUNK = 4096

# torch's saved state of a generator (5056 bytes); ours appends key and counter.
STATE = np.dtype([("seed", "<u8"), ("left", "<i4"), ("seeded", "<i4"), ("next", "<u8"), ("words", "<u8", (WORDS,)),
                  ("unused", "<f8", (3,)), ("has_double", "<i4"), ("pad", "<i4"), ("float_spare", "<f4"),
                  ("has_float", "<i4")])
DEFAULT_SEED = 67280421310721


cdef inline const fn_random_table* kernels(bint double) noexcept nogil:
    return (<const random_tables*>table).random[1 if double else 0]


def seed_bits(seed):
    """A seed as an unsigned 64-bit number; negative ones wrap around."""
    seed = int(seed)
    if not -2**63 <= seed < 2**64:
        raise ValueError(f"Overflow when unpacking long: manual_seed expected a value in [-2**63, 2**64), got {seed}")
    return seed % 2**64


@cython.binding(False)     # so that CPython checks the type of self where a method is called unbound
cdef class Generator:
    """A source of random numbers.

    Parameters
    ----------
    device : None or "cpu"

    Notes
    -----
    Concurrent use of one generator from several threads is safe under the GIL, in no fixed order.
    """

    def __cinit__(self, device=None):
        if device is not None and getattr(device, "type", device) != "cpu":
            raise RuntimeError(f"Generator: device {device} is not available, fastnn computes on the CPU only")
        self.rng = np.zeros(2, np.uint64)
        self.reseed(DEFAULT_SEED)

    cdef int reseed(self, uint64_t seed) except -1:
        cdef int i
        cdef uint64_t* rng = <uint64_t*>np.PyArray_DATA(self.rng)
        self.first_seed = seed
        self.state[0] = <uint32_t>seed
        for i in range(1, WORDS):
            self.state[i] = 1812433253u * (self.state[i - 1] ^ (self.state[i - 1] >> 30)) + <uint32_t>i
        self.position = WORDS
        self.has_spare = False
        rng[0], rng[1] = seed, 0
        return 0

    cdef void fill(self, uint32_t* to, int64_t n) noexcept:
        """The next n 32-bit draws."""
        cdef int64_t take
        while n > 0:
            if self.position == WORDS:
                kernels(False).twist(self.state)
                kernels(False).temper(self.state, self.draws)
                self.position = 0
            take = min(n, <int64_t>(WORDS - self.position))
            memcpy(to, self.draws + self.position, take * sizeof(uint32_t))
            self.position += <int>take
            to += take
            n -= take

    cdef uint32_t next32(self) noexcept:
        cdef uint32_t u
        if self.position == WORDS:
            self.fill(&u, 1)
            return u
        self.position += 1
        return self.draws[self.position - 1]

    cdef uint64_t next64(self) noexcept:
        cdef uint64_t high = self.next32()
        return high << 32 | self.next32()

    @property
    def device(self):
        return "cpu"

    def manual_seed(self, seed):
        """Start anew from a seed in [-2**63, 2**64); returns the generator."""
        self.reseed(seed_bits(seed))
        return self

    def seed(self):
        """Start anew from a seed of the operating system's, and return it."""
        seed = int.from_bytes(os.urandom(8), "little")
        self.reseed(seed)
        return seed

    def initial_seed(self):
        """The seed this generator started from."""
        return int(self.first_seed)

    def get_state(self):
        """The state as a uint8 tensor: torch's 5056 bytes, then 16 of the library's own stream."""
        raw = np.zeros((), STATE)
        raw["seed"], raw["seeded"] = self.first_seed, 1
        raw["left"] = 1 if self.position == WORDS else WORDS + 1 - self.position
        raw["next"] = 0 if self.position == WORDS else self.position
        raw["words"] = np.asarray(<uint32_t[:WORDS]>self.state)
        if self.has_spare:
            raw["unused"][1], raw["has_double"] = self.spare, 1
        return wrap(np.frombuffer(raw.tobytes() + self.rng.tobytes(), np.uint8).copy())

    def set_state(self, new_state):
        """Continue from a state that `get_state` (or torch) gave."""
        if not isinstance(new_state, (Tensor, np.ndarray)) and not hasattr(new_state, "__array__"):
            raise TypeError(f"expected a torch.ByteTensor, but got {type(new_state).__name__}")
        a = np.ascontiguousarray(as_tensor(new_state).array)
        if a.dtype != np.uint8:
            raise TypeError("RNG state must be a torch.ByteTensor")
        if a.size not in (STATE.itemsize, STATE.itemsize + 16):
            raise RuntimeError("RNG state is wrong size")
        cdef int i
        raw = np.frombuffer(a.tobytes()[:STATE.itemsize], STATE)[0]
        left, position = int(raw["left"]), int(raw["next"])
        if not 1 <= left <= WORDS or not 0 <= position <= WORDS or (left > 1 and left + position != WORDS + 1):
            raise RuntimeError("Invalid mt19937 state")
        words = raw["words"].astype(np.uint32)
        self.reseed(int(raw["seed"]))
        for i in range(WORDS):
            self.state[i] = words[i]
        kernels(False).temper(self.state, self.draws)
        self.position = WORDS if left == 1 else position
        self.has_spare, self.spare = bool(raw["has_double"]), float(raw["unused"][1])
        if a.size > STATE.itemsize:
            self.rng[:] = np.frombuffer(a.tobytes()[STATE.itemsize:], np.uint64)
        return self

    def clone_state(self):
        """Another generator in the same state."""
        return Generator().set_state(self.get_state())

    def __reduce__(self):
        return restore_generator, (self.get_state().array,)


def restore_generator(state):
    """Make a generator again from its pickled state."""
    return Generator().set_state(state)


default_generator = Generator()


cdef Generator generator_of(object generator):
    if generator is None:
        return <Generator>default_generator
    if not isinstance(generator, Generator):
        raise TypeError(f"generator must be a fastnn.Generator, got {type(generator).__name__}")
    return <Generator>generator


# ---- torch's module-level functions ------------------------------------------------------------------------------
def manual_seed(seed):
    """Start the default generator anew from a seed in [-2**63, 2**64); returns the generator.

    The same seed gives the initial weights, permutations and batches that torch draws under it.
    """
    return default_generator.manual_seed(seed)


def seed():
    """Start the default generator anew from a seed of the operating system's, and return it."""
    return default_generator.seed()


def initial_seed():
    """The seed the default generator started from."""
    return default_generator.initial_seed()


def get_rng_state():
    """The default generator's state, a uint8 tensor."""
    return default_generator.get_state()


def set_rng_state(new_state):
    """Continue the default generator from a state of `get_rng_state`."""
    default_generator.set_state(new_state)


@contextlib.contextmanager
def fork_rng(devices=None, enabled=True, **unused):
    """Context in which the default generator may be used and seeded; its state is restored afterwards."""
    state = default_generator.get_state() if enabled else None
    try:
        yield
    finally:
        if enabled:
            default_generator.set_state(state)


# ---- arrays ------------------------------------------------------------------------------------------------------
cdef int fill_uniform(Generator g, np.ndarray a, double low, double high) except -1:
    cdef bint double = np.PyArray_TYPE(a) == np.NPY_FLOAT64
    cdef uint32_t[CHUNK] draws
    cdef int words = 2 if double else 1
    cdef int64_t left = np.PyArray_SIZE(a), take
    cdef char* y = <char*>np.PyArray_DATA(a)
    while left > 0:
        take = min(left, <int64_t>(CHUNK // words))
        g.fill(draws, take * words)
        kernels(double).to_uniform(take, draws, low, high, y)
        y += take * (8 if double else 4)
        left -= take
    return 0


cdef double one_normal(Generator g) noexcept:
    """torch's small normal draws: pairs in double, the second value kept for the next call."""
    cdef double u1, u2, r
    if g.has_spare:
        g.has_spare = False
        return g.spare
    u1 = <double>(g.next64() & ((1ull << 53) - 1)) * 2.0 ** -53
    u2 = <double>(g.next64() & ((1ull << 53) - 1)) * 2.0 ** -53
    r = sqrt(-2.0 * log1p(-u2))
    g.spare = r * sin(2 * M_PI * u1)
    g.has_spare = True
    return r * cos(2 * M_PI * u1)


cdef int fill_normal(Generator g, np.ndarray a, double mean, double std, bint pairs=False) except -1:
    cdef bint double = np.PyArray_TYPE(a) == np.NPY_FLOAT64
    cdef int64_t n = np.PyArray_SIZE(a), i
    cdef char* y = <char*>np.PyArray_DATA(a)
    if n < 16 or pairs:
        for i in range(n):
            if double:
                (<double*>y)[i] = one_normal(g) * std + mean
            else:
                (<float*>y)[i] = <float>(one_normal(g) * std + mean)
        return 0
    fill_uniform(g, a, 0, 1)
    kernels(double).to_normal(n, mean, std, y)
    if n % 16:
        # torch draws the last 16 anew
        tail = np.empty(16, (<object>a).dtype)
        fill_uniform(g, tail, 0, 1)
        kernels(double).to_normal(16, mean, std, np.PyArray_DATA(<np.ndarray>tail))
        memcpy(y + (n - 16) * (8 if double else 4), np.PyArray_DATA(<np.ndarray>tail), 16 * (8 if double else 4))
    return 0


cdef int fill_integers(Generator g, np.ndarray a, int64_t low, uint64_t count, bint narrow=False) except -1:
    cdef int64_t* y = <int64_t*>np.PyArray_DATA(a)
    cdef int64_t n = np.PyArray_SIZE(a), i
    if count < 1ull << 28 or narrow:
        for i in range(n):
            y[i] = low + <int64_t>(g.next32() % <uint32_t>count)
    else:
        for i in range(n):
            y[i] = <int64_t>(<uint64_t>low + (g.next64() % count if count else g.next64()))
    return 0


def in_memory_order(np.ndarray a):
    """A view of a whose axes run from the largest stride to the smallest; a itself where the library chose the order of the
    axes, as for weights: torch's tensor lies in C order there."""
    if np.PyArray_IS_C_CONTIGUOUS(a) or is_arranged(a):
        return a
    strides = (<object>a).strides
    return (<object>a).transpose(sorted(range(len(strides)), key=lambda axis: -abs(strides[axis])))


def uniform_into(np.ndarray a, double low, double high, generator=None):
    """Fill a float array as torch's `uniform_` does: in the order of its memory."""
    cdef np.ndarray view = in_memory_order(a)
    if np.PyArray_IS_C_CONTIGUOUS(view):
        fill_uniform(generator_of(generator), view, low, high)
    else:
        whole = np.empty((<object>view).shape, (<object>view).dtype)
        fill_uniform(generator_of(generator), whole, low, high)
        (<object>view)[...] = whole


def normal_into(np.ndarray a, double mean, double std, generator=None):
    """Fill a float array as torch's `normal_` does; not in C order, torch draws one pair after the other."""
    cdef np.ndarray view = in_memory_order(a)
    if np.PyArray_IS_C_CONTIGUOUS(view):
        fill_normal(generator_of(generator), view, mean, std, view is not a)
    else:
        whole = np.empty((<object>view).shape, (<object>view).dtype)
        fill_normal(generator_of(generator), whole, mean, std, not is_arranged(a))
        (<object>view)[...] = whole


def pairs_into(np.ndarray a, double mean, double std, generator=None):
    """Fill a C-contiguous array with normal numbers drawn in pairs, as torch does for a few."""
    fill_normal(generator_of(generator), a, mean, std, True)


def integers(shape, low, count, generator=None, bint narrow=False):
    """An int64 array of integers uniform in [low, low + count); narrow: of 32 bits each whatever the range."""
    array = np.empty(shape, np.int64)
    fill_integers(generator_of(generator), array, low, count, narrow)
    return array


def randperm_array(int64_t n, generator=None):
    """An int64 array of the numbers below n in random order: torch's `randperm`."""
    cdef Generator g = generator_of(generator)
    cdef np.ndarray result = empty_1d(n, np.NPY_INT64)
    cdef int64_t* p = <int64_t*>np.PyArray_DATA(result)
    cdef int64_t i, z, other
    if n >= 2**32 // 20:
        raise NotImplementedError(f"randperm: n must be below {2**32 // 20}, got {n}")
    for i in range(n):
        p[i] = i
    for i in range(n - 1):
        z = g.next32() % <uint32_t>(n - i)
        other = p[i + z]
        p[i + z] = p[i]
        p[i] = other
    return result


def rand64(int64_t n, generator=None):
    """A float64 array of n numbers in [0, 1)."""
    cdef np.ndarray result = empty_1d(n, np.NPY_FLOAT64)
    fill_uniform(generator_of(generator), result, 0, 1)
    return result


def u64(generator=None):
    """One 64-bit draw."""
    return int(generator_of(generator).next64())


# ---- tensors -------------------------------------------------------------------------------------------------------
def shape_of(size):
    """(2, 3), ((2, 3),) and a Size as a tuple of ints."""
    if len(size) == 1 and not isinstance(size[0], (int, np.integer)):
        size = size[0]
    size = tuple([int(n) for n in size])
    for n in size:
        if n < 0:
            raise RuntimeError(f"Trying to create tensor with negative dimension {n}: {list(size)}")
    return size


def finish(array, out, requires_grad):
    """The array as a tensor, or written into `out`."""
    cdef Tensor t
    if out is not None:
        t = as_tensor(out)
        if (<object>t.array).shape != array.shape:
            raise RuntimeError(f"out: expected shape {list(array.shape)}, got {list((<object>t.array).shape)}")
        t.touch()
        (<object>t.array)[...] = array
        return out
    t = wrap(array)
    if requires_grad:
        t.requires_grad = True
    return t


def float_array(size, dtype, device, str name):
    """An array to be filled with draws."""
    if device is not None and getattr(device, "type", device) != "cpu":
        raise RuntimeError(f"{name}: device {device} is not available, fastnn computes on the CPU only")
    dtype = np.dtype(dtype or get_default_dtype())
    if dtype not in (np.float32, np.float64):
        raise NotImplementedError(f"\"{name}\" not implemented for '{dtype}': needs float32 or float64")
    return new_array(shape_of(size), dtype)


def rand(*sizes, size=None, generator=None, out=None, dtype=None, layout=None, device=None, requires_grad=False,
         pin_memory=False):
    """A tensor of numbers uniform in [0, 1), equal to torch's under the same seed.

    Parameters
    ----------
    *sizes : int or a sequence of ints
        Or by name, `size`.
    generator : Generator, default the default generator
    out : Tensor, optional
    dtype : float32 or float64, default the default dtype
    requires_grad : bool, default False
    """
    array = float_array(sizes if size is None else (size,), dtype, device, "rand")
    host_call("rand", uniform_into, (array, 0, 1, generator))
    return finish(array, out, requires_grad)


def randn(*sizes, size=None, generator=None, out=None, dtype=None, layout=None, device=None, requires_grad=False,
          pin_memory=False):
    """A tensor of standard normal numbers: torch's under the same seed (float32 from 16 elements on: to 1e-6).

    Parameters as of `rand`.
    """
    array = float_array(sizes if size is None else (size,), dtype, device, "randn")
    host_call("randn", normal_into, (array, 0, 1, generator))
    return finish(array, out, requires_grad)


def randint(low, high=None, size=None, *, generator=None, out=None, dtype=None, layout=None, device=None,
            requires_grad=False):
    """A tensor of integers uniform in [low, high), equal to torch's under the same seed.

    Parameters
    ----------
    low : int, default 0
        ``randint(high, size)`` leaves it out.
    high : int
    size : sequence of ints
    generator : Generator, default the default generator
    dtype : default int64
    """
    if size is None:
        low, high, size = 0, low, high
    low, high = int(low), int(high)
    if low >= high:
        raise RuntimeError(f"random_ expects 'from' to be less than 'to', but got from={low} >= to={high}")
    array = host_call("randint", integers, (shape_of((size,)), low, high - low, generator))
    return finish(array if dtype is None else array.astype(dtype, copy=False), out, requires_grad)


def randperm(n, *, generator=None, out=None, dtype=None, layout=None, device=None, requires_grad=False, pin_memory=False):
    """The numbers below n in random order, equal to torch's under the same seed.

    Parameters
    ----------
    n : int
    generator : Generator, default the default generator
    dtype : default int64
    """
    if n < 0:
        raise RuntimeError(f"n must be non-negative, got {n}")
    array = host_call("randperm", randperm_array, (n, generator))
    return finish(array if dtype is None else array.astype(dtype, copy=False), out, requires_grad)
