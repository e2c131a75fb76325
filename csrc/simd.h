/* simd.h: a tiny vector layer on compiler extensions (gcc, clang), one width per translation unit.
 *
 * The instruction set is chosen by the compiler flags alone; `isa/<isa>.h` then names the width and the few
 * primitives that C cannot spell.  Arithmetic, comparison and bit operations are the language's own operators
 * on vector types.  Every function below exists twice, `_f` for float and `_d` for double; the families are
 * written once in terms of `real.h`, which picks one of the two.
 *
 *   vf, vd   vectors of float, double          vi, vl   their integer twins (int32, int64), also masks
 *   v*_n     the same for the first n lanes only, 0 <= n <= lanes: the tail of a row
 */
#ifndef FN_SIMD_H
#define FN_SIMD_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#if defined(__AVX512F__)
#include "isa/avx512.h"
#elif defined(__AVX2__)
#include "isa/avx2.h"
#elif defined(__SSE2__)
#include "isa/sse2.h"
#elif defined(__ARM_NEON)
#include "isa/neon.h"
#else
#include "isa/generic.h"
#endif

#define FN_INLINE static inline __attribute__((always_inline, unused))

enum { FN_LANES_F = FN_VECTOR_BYTES / 4, FN_LANES_D = FN_VECTOR_BYTES / 8 };

/* minus zero vectors: exact for every a, also -0, and free */
FN_INLINE vf vset1_f(float a) { return a - (vf){0}; }
FN_INLINE vd vset1_d(double a) { return a - (vd){0}; }
FN_INLINE vi vset1_i(int32_t a) { return (vi){0} + a; }
FN_INLINE vl vset1_l(int64_t a) { return (vl){0} + a; }

/* Unaligned loads and stores of a whole vector. */
FN_INLINE vf vload_f(const float *p) { vf v; memcpy(&v, p, sizeof v); return v; }
FN_INLINE vd vload_d(const double *p) { vd v; memcpy(&v, p, sizeof v); return v; }
FN_INLINE vi vload_i(const int32_t *p) { vi v; memcpy(&v, p, sizeof v); return v; }
FN_INLINE vl vload_l(const int64_t *p) { vl v; memcpy(&v, p, sizeof v); return v; }
FN_INLINE void vstore_f(float *p, vf v) { memcpy(p, &v, sizeof v); }
FN_INLINE void vstore_d(double *p, vd v) { memcpy(p, &v, sizeof v); }
FN_INLINE void vstore_i(int32_t *p, vi v) { memcpy(p, &v, sizeof v); }

/* Stores past the caches, for results too large to be found there again; p on a vector's boundary.  FN_STREAM_END() before
 * another thread may read them. */
#ifndef FN_HAS_STREAM
FN_INLINE void vstream_f(float *p, vf v) { vstore_f(p, v); }
FN_INLINE void vstream_d(double *p, vd v) { vstore_d(p, v); }
#define FN_STREAM_END() ((void)0)
#endif

/* Bit select: mask lanes are all ones or all zeros. */
FN_INLINE vf vselect_f(vi mask, vf a, vf b) { return (vf)(((vi)a & mask) | ((vi)b & ~mask)); }
FN_INLINE vd vselect_d(vl mask, vd a, vd b) { return (vd)(((vl)a & mask) | ((vl)b & ~mask)); }

/* b where either is NaN: vmax(limit, x) lets a NaN in x through, vmax(x, limit) replaces it. */
#ifndef FN_HAS_MAX
FN_INLINE vf vmax_f(vf a, vf b) { return vselect_f(a > b, a, b); }
FN_INLINE vd vmax_d(vd a, vd b) { return vselect_d(a > b, a, b); }
FN_INLINE vf vmin_f(vf a, vf b) { return vselect_f(a < b, a, b); }
FN_INLINE vd vmin_d(vd a, vd b) { return vselect_d(a < b, a, b); }
#endif

FN_INLINE vf vabs_f(vf a) { return (vf)((vi)a & vset1_i(0x7fffffff)); }
FN_INLINE vd vabs_d(vd a) { return (vd)((vl)a & vset1_l(INT64_C(0x7fffffffffffffff))); }

/* a*b + c with one rounding where the instruction set has it (gcc contracts the expression). */
FN_INLINE vf vfma_f(vf a, vf b, vf c) { return a * b + c; }
FN_INLINE vd vfma_d(vd a, vd b, vd c) { return a * b + c; }

/* Truncation to and conversion from integers of the same width. */
FN_INLINE vi vtoint_f(vf a) { return __builtin_convertvector(a, vi); }
FN_INLINE vl vtoint_d(vd a) { return __builtin_convertvector(a, vl); }
FN_INLINE vf vfromint_f(vi a) { return __builtin_convertvector(a, vf); }
FN_INLINE vd vfromint_d(vl a) { return __builtin_convertvector(a, vd); }

#ifndef FN_HAS_MASKED_TAILS
FN_INLINE vf vload_n_f(const float *p, int n) {
    vf v = {0};
    for (int i = 0; i < n; i++) v[i] = p[i];
    return v;
}
FN_INLINE vd vload_n_d(const double *p, int n) {
    vd v = {0};
    for (int i = 0; i < n; i++) v[i] = p[i];
    return v;
}
FN_INLINE void vstore_n_f(float *p, vf v, int n) { for (int i = 0; i < n; i++) p[i] = v[i]; }
FN_INLINE void vstore_n_d(double *p, vd v, int n) { for (int i = 0; i < n; i++) p[i] = v[i]; }
#endif

#ifndef FN_HAS_BITS
FN_INLINE unsigned vbits_f(vi mask) {
    unsigned bits = 0;
    for (int i = 0; i < FN_LANES_F; i++) bits |= (unsigned)(mask[i] & 1) << i;
    return bits;
}
FN_INLINE unsigned vbits_d(vl mask) {
    unsigned bits = 0;
    for (int i = 0; i < FN_LANES_D; i++) bits |= (unsigned)(mask[i] & 1) << i;
    return bits;
}
#endif

/* The number of each lane; literals, because only those fold. */
#if FN_VECTOR_BYTES == 64
#define FN_LANE_F ((vi){0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15})
#define FN_LANE_D ((vl){0, 1, 2, 3, 4, 5, 6, 7})
#elif FN_VECTOR_BYTES == 32
#define FN_LANE_F ((vi){0, 1, 2, 3, 4, 5, 6, 7})
#define FN_LANE_D ((vl){0, 1, 2, 3})
#else
#define FN_LANE_F ((vi){0, 1, 2, 3})
#define FN_LANE_D ((vl){0, 1})
#endif

/* The lanes moved down by w, going round: constant after inlining, one or two shuffles. */
FN_INLINE vf vdown_f(vf v, int w) {
    const vi at = (FN_LANE_F + w) & (FN_LANES_F - 1);
#if defined(__clang__)
    vf r;
    for (int i = 0; i < FN_LANES_F; i++) r[i] = v[at[i]];
    return r;
#else
    return __builtin_shuffle(v, at);
#endif
}
FN_INLINE vd vdown_d(vd v, int w) {
    const vl at = (FN_LANE_D + w) & (FN_LANES_D - 1);
#if defined(__clang__)
    vd r;
    for (int i = 0; i < FN_LANES_D; i++) r[i] = v[at[i]];
    return r;
#else
    return __builtin_shuffle(v, at);
#endif
}

/* Sum and largest of the lanes, by halves: a fixed order.  The largest passes over NaN lanes. */
FN_INLINE float vsum_f(vf v) {
#pragma GCC unroll 4
    for (int w = FN_LANES_F / 2; w; w /= 2) v += vdown_f(v, w);
    return v[0];
}
FN_INLINE double vsum_d(vd v) {
#pragma GCC unroll 4
    for (int w = FN_LANES_D / 2; w; w /= 2) v += vdown_d(v, w);
    return v[0];
}
FN_INLINE float vhmax_f(vf v) {
#pragma GCC unroll 4
    for (int w = FN_LANES_F / 2; w; w /= 2) v = vmax_f(v, vdown_f(v, w));
    return v[0];
}
FN_INLINE double vhmax_d(vd v) {
#pragma GCC unroll 4
    for (int w = FN_LANES_D / 2; w; w /= 2) v = vmax_d(v, vdown_d(v, w));
    return v[0];
}

#endif
