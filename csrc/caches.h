/* caches.h: what the caches of this machine are like, for drivers that cut and order work by it; never for what they compute. */
#ifndef FN_CACHES_H
#define FN_CACHES_H

#include <stdint.h>

#ifdef __unix__
#include <unistd.h>
#endif

/* Bytes of a core's second level; 1 MB where the system does not say. */
static inline int64_t fn_second_level(void) {
    static int64_t bytes;
#ifdef _SC_LEVEL2_CACHE_SIZE
    if (!bytes) bytes = sysconf(_SC_LEVEL2_CACHE_SIZE);
#endif
    return bytes > 0 ? bytes : (bytes = 1 << 20);
}

/* Is the third level hardly nearer than memory?  On Intel's servers a core gets 30 GB/s from it in whatever order, and its prefetchers
 * follow some 32 pages; on Zen 4 it gets twice as much, and more rows at a time are better. */
static inline int fn_far_third_level(void) {
#if defined(__x86_64__)
    return __builtin_cpu_is("intel");
#else
    return 0;
#endif
}

#endif
