/* mode.h: the float mode of a thread: how it rounds, and whether numbers below the smallest normal one are kept or are 0. */
#ifndef FN_MODE_H
#define FN_MODE_H

#include <stdint.h>

#if defined(__SSE__)
typedef uint32_t fn_mode;
enum { FN_FLUSH = 0x8040 };             /* MXCSR: denormal results are 0, denormal operands count as 0 */
static inline fn_mode fn_mode_now(void) { return __builtin_ia32_stmxcsr(); }
static inline void fn_mode_set(fn_mode mode) { __builtin_ia32_ldmxcsr(mode); }
#elif defined(__aarch64__)
typedef uint64_t fn_mode;
enum { FN_FLUSH = 1 << 24 };            /* FPCR: both */
static inline fn_mode fn_mode_now(void) {
    fn_mode mode;
    __asm__ __volatile__("mrs %0, fpcr" : "=r"(mode));
    return mode;
}
static inline void fn_mode_set(fn_mode mode) { __asm__ __volatile__("msr fpcr, %0" : : "r"(mode)); }
#else
typedef uint32_t fn_mode;
enum { FN_FLUSH = 0 };
static inline fn_mode fn_mode_now(void) { return 0; }
static inline void fn_mode_set(fn_mode mode) { (void)mode; }
#endif

#endif
