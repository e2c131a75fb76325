/* waiting.h: what threads that wait for each other need: a pause between two looks, and a clock that never goes back. */
#ifndef FN_WAITING_H
#define FN_WAITING_H

#include <stdint.h>
#include <time.h>

#if defined(__x86_64__) || defined(__i386__)
#define FN_RELAX() __builtin_ia32_pause()
#elif defined(__aarch64__)
#define FN_RELAX() __asm__ __volatile__("isb")
#else
#define FN_RELAX() ((void)0)
#endif

static inline int64_t fn_now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * INT64_C(1000000000) + t.tv_nsec;
}

#endif
