/* vmath.h: elementary functions on vectors, `_f` for float and `_d` for double; docs/vmath.md has the derivations.
 *
 * Every function takes any input: denormals, infinities, NaN (NaN in, NaN out), and never changes the float mode.
 * "max ULP" is against the exact result, on every instruction set: exp, log, sigmoid, tanh and erf of float were tried on
 * all inputs (AVX-512, baseline), the rest on samples (tests/test_vmath.py; FASTNN_EXHAUSTIVE=1 tries all floats).
 * Coefficients: weighted least squares driven to the minimax solution in 60 digits, relative error given beside each.
 */
#ifndef FN_VMATH_H
#define FN_VMATH_H

#include <math.h>
#include "simd.h"
#include "special.h"

#define vexp R(vexp)
#define vexp_negative R(vexp_negative)
#define vexp_rounded R(vexp_rounded)
#define vexpm1 R(vexpm1)
#define vlog R(vlog)
#define vlog2 R(vlog2)
#define vlog10 R(vlog10)
#define vlog1p R(vlog1p)
#define vlog1p_unit R(vlog1p_unit)
#define vsigmoid R(vsigmoid)
#define vtanh R(vtanh)
#define verf R(verf)
#define vsin R(vsin)
#define vcos R(vcos)
#define vpow R(vpow)
#define vcopysign R(vcopysign)

/* sum c[k] x^k, k < n: with n constant this is n - 1 multiply-adds. */
FN_INLINE vf vpoly_f(vf x, const float *c, int n) {
    vf r = vset1_f(c[n - 1]);
    for (int k = n - 2; k >= 0; k--) r = vfma_f(r, x, vset1_f(c[k]));
    return r;
}
FN_INLINE vd vpoly_d(vd x, const double *c, int n) {
    vd r = vset1_d(c[n - 1]);
    for (int k = n - 2; k >= 0; k--) r = vfma_d(r, x, vset1_d(c[k]));
    return r;
}

FN_INLINE vf vcopysign_f(vf a, vf sign) {
    const vi bit = vset1_i(INT32_MIN);
    return (vf)(((vi)a & ~bit) | ((vi)sign & bit));
}
FN_INLINE vd vcopysign_d(vd a, vd sign) {
    const vl bit = vset1_l(INT64_MIN);
    return (vd)(((vl)a & ~bit) | ((vl)sign & bit));
}

/* 2^n for integral n that makes it a normal number.  Adding 1.5 * 2^23 (2^52) leaves n in the low bits. */
FN_INLINE vf vpower2_f(vf n) { return (vf)(((vi)(n + 12582912.0f) + 127) << 23); }
FN_INLINE vd vpower2_d(vd n) { return (vd)(((vl)(n + 6755399441055744.0) + 1023) << 52); }

/* a * 2^n with |a| in [1/2, 2]: in two steps, the first exact, so that denormal results are rounded once. */
#ifndef FN_HAS_SCALE
FN_INLINE vf vscale_f(vf a, vf n) {
    vf half = vround_f(n * 0.5f);
    return a * vpower2_f(half) * vpower2_f(n - half);
}
FN_INLINE vd vscale_d(vd a, vd n) {
    vd half = vround_d(n * 0.5);
    return a * vpower2_d(half) * vpower2_d(n - half);
}
#endif

/* Lane by lane through the C library: for functions too rare to be worth a vector version. */
#define FN_LANEWISE(name)                                                   \
    static __attribute__((noinline, unused)) vf v##name##_f(vf x) {         \
        for (int i = 0; i < FN_LANES_F; i++) x[i] = name##f(x[i]);          \
        return x;                                                           \
    }                                                                       \
    static __attribute__((noinline, unused)) vd v##name##_d(vd x) {         \
        for (int i = 0; i < FN_LANES_D; i++) x[i] = name(x[i]);             \
        return x;                                                           \
    }
FN_LANEWISE(tan) FN_LANEWISE(asin) FN_LANEWISE(acos) FN_LANEWISE(atan) FN_LANEWISE(sinh) FN_LANEWISE(cosh)
FN_LANEWISE(asinh) FN_LANEWISE(acosh) FN_LANEWISE(atanh) FN_LANEWISE(erfc) FN_LANEWISE(floor) FN_LANEWISE(ceil)
FN_LANEWISE(trunc) FN_LANEWISE(lgamma) FN_LANEWISE(digamma) FN_LANEWISE(trigamma)

#include "vmath_d.h"
#include "vmath_f.h"

#endif
