"""Micro-kernels of random numbers: of torch's stream and of the library's own; how a call claims numbers of the latter."""
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

cdef extern from *:
    """
    #include <stdint.h>
    /* Several threads may draw from one generator: each gets groups of its own. */
    static inline uint64_t fn_take_groups(uint64_t *rng, uint64_t groups) {
        return __atomic_fetch_add(&rng[1], groups, __ATOMIC_RELAXED);
    }
    """
    uint64_t fn_take_groups(uint64_t* rng, uint64_t groups) noexcept nogil

cdef extern from "fastnn.h" nogil:
    ctypedef struct fn_random_table:
        void (*twist)(uint32_t* state) noexcept nogil                  # torch's: the state moves on, its words become draws,
        void (*temper)(const uint32_t* state, uint32_t* draws) noexcept nogil       # and these numbers
        void (*to_uniform)(int64_t n, const uint32_t* draws, double low, double high, void* y) noexcept nogil
        void (*to_normal)(int64_t n, double mean, double std, void* y) noexcept nogil
        int per_group
        int per_group_dropout
        void (*uniform)(uint64_t key, uint64_t group, int64_t n, void* y) noexcept nogil
        void (*normal)(uint64_t key, uint64_t group, int64_t n, double mean, double std, void* y) noexcept nogil
        int (*bernoulli)(uint64_t key, uint64_t group, int64_t n, const void* p, void* y) noexcept nogil
        void (*dropout)(uint64_t key, uint64_t group, int64_t n, double p, double a, const void* x, void* y) noexcept nogil
        void (*dropout_shift)(uint64_t key, uint64_t group, int64_t n, double p, double a, double b, double c,
                              const void* x, void* y) noexcept nogil
        void (*keep)(uint64_t key, uint64_t group, int64_t n, double p, uint8_t* y) noexcept nogil
        void (*keep_bits)(uint64_t key, uint64_t group, int64_t groups, double p, uint64_t* bits) noexcept nogil
        void (*scale)(int64_t n, double a, double b, const void* x, void* y) noexcept nogil
    ctypedef struct random_tables "fn_table":
        const fn_random_table* random[2]
