"""Generator and the array draws of torch's stream."""
cimport numpy as np
from libc.stdint cimport int64_t, uint32_t, uint64_t

cdef class Generator:
    cdef uint32_t[624] state        # MT19937
    cdef uint32_t[624] draws        # ... tempered
    cdef int position               # of the next draw; 624: the state must move on first
    cdef uint64_t first_seed
    cdef double spare               # second value of a pair of small normal draws
    cdef bint has_spare
    cdef readonly np.ndarray rng    # key and counter of the library's own stream (kernels/random.pyx)

    cdef int reseed(self, uint64_t seed) except -1
    cdef void fill(self, uint32_t* to, int64_t n) noexcept
    cdef uint32_t next32(self) noexcept
    cdef uint64_t next64(self) noexcept

cdef Generator generator_of(object generator)       # None is the default generator

# Fill a C-contiguous array as torch fills a tensor.
cdef int fill_uniform(Generator g, np.ndarray a, double low, double high) except -1    # float32, float64
cdef int fill_normal(Generator g, np.ndarray a, double mean, double std, bint pairs=*) except -1
cdef int fill_integers(Generator g, np.ndarray a, int64_t low, uint64_t count, bint narrow=*) except -1
