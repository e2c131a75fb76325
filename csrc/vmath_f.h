/* vmath_f.h: elementary functions on vectors of float; see vmath.h. */

/* exp(r) = 1 + r + r^2 q(r) on |r| <= ln2/2, relative error of exp - 1 2^-32. */
static const float FN_EXPM1_F[] = {0.5f, 0.166666657f, 0.0416663587f, 0.00833338127f, 0.00139408279f, 0.000198502574f};
/* ln2 in two parts, the first of 12 bits so that n * high is exact. */
#define FN_LN2_HIGH_F 0.693115234f
#define FN_LN2_LOW_F 3.19461833e-05f
#define FN_LOG2E_F 1.44269504f

FN_INLINE vf vreduce_exp_f(vf x, vf *n) {
    *n = vround_f(x * FN_LOG2E_F);
    return vfma_f(*n, vset1_f(-FN_LN2_LOW_F), vfma_f(*n, vset1_f(-FN_LN2_HIGH_F), x));
}

/* exp(x) for x <= 88 or NaN, gradual underflow; `rounded`: of a difference or product, whose own rounding error is tens of
 * times what the shorter reduction loses (relative error 2.8e-9 |x|). */
#ifdef FN_HAS_LOOKUP
/* 2^(k/16), and exp(r) - 1 = r (1 + r q(r)) on |r| <= ln2/32, relative error of exp 2^-29. */
static const float FN_ROOTS_F[] = {1.0f, 1.04427378f, 1.09050773f, 1.13878863f, 1.18920712f, 1.24185781f, 1.29683955f, 1.35425555f,
    1.41421356f, 1.47682615f, 1.54221083f, 1.61049033f, 1.68179283f, 1.75625216f, 1.83400809f, 1.91520656f};
static const float FN_EXP_SHORT_F[] = {0.5f, 0.16666667f};
#define FN_LN2_F 0.693147182f
/* 1.5 * 2^23 / 16: what is added to it comes out in sixteenths, their number in the last bits of the sum. */
#define FN_SIXTEENTHS_F 786432.0f

/* x = (n + k/16) ln2 + r: scaling takes n, the lookup the last four bits k. */
FN_INLINE vf vexp_table_f(vf x, int rounded) {
    x = vmax_f(vset1_f(-104.0f), x);
    const vf shifted = vfma_f(x, vset1_f(FN_LOG2E_F), vset1_f(FN_SIXTEENTHS_F)), n = shifted - FN_SIXTEENTHS_F;
    const vf r = rounded ? vfma_f(n, vset1_f(-FN_LN2_F), x)
                         : vfma_f(n, vset1_f(-FN_LN2_LOW_F), vfma_f(n, vset1_f(-FN_LN2_HIGH_F), x));
    const vf root = vlookup16_f(FN_ROOTS_F, (vi)shifted);
    const vf q = vfma_f(r, vset1_f(FN_EXP_SHORT_F[1]), vset1_f(FN_EXP_SHORT_F[0]));
    return vscale_f(vfma_f(root * r, vfma_f(q, r, vset1_f(1.0f)), root), n);
}
FN_INLINE vf vexp_negative_f(vf x) { return vexp_table_f(x, 0); }
FN_INLINE vf vexp_rounded_f(vf x) { return vexp_table_f(x, 1); }
#else
/* The same with relative error 2^-28 of exp. */
static const float FN_EXP_F[] = {0.49999994f, 0.166665196f, 0.0416683964f, 0.00836878549f, 0.00138144125f};

FN_INLINE vf vexp_negative_f(vf x) {
    vf n, r = vreduce_exp_f(vmax_f(vset1_f(-104.0f), x), &n);
    vf q = vpoly_f(r, FN_EXP_F, 5);
    return vscale_f(vfma_f(vfma_f(q, r, vset1_f(1.0f)), r, vset1_f(1.0f)), n);
}
FN_INLINE vf vexp_rounded_f(vf x) { return vexp_negative_f(x); }
#endif

/* exp: max ULP 1.2.  Overflow to inf, gradual underflow. */
FN_INLINE vf vexp_f(vf x) { return vexp_negative_f(vmin_f(vset1_f(89.0f), x)); }

/* exp(x) - 1: max ULP 2.  Half of it is formed, so that 2^n does not overflow before it does. */
FN_INLINE vf vexpm1_f(vf x) {
    vf n, r = vreduce_exp_f(vmax_f(vset1_f(-18.0f), vmin_f(vset1_f(89.0f), x)), &n);
    vf p = vfma_f(r * r, vpoly_f(r, FN_EXPM1_F, 6), r), half = vpower2_f(n - 1.0f);
    return vselect_f(n == 0.0f, p, 2.0f * vfma_f(p, half, half - 0.5f));
}

/* log(1 + f) = f - f^2/2 + f^3 q(f) on 1 + f in [sqrt 1/2, sqrt 2), relative error 2^-30. */
static const float FN_LOG_F[] = {0.333333135f, -0.250000089f, 0.200021252f, -0.166680261f, 0.142194554f, -0.124050878f,
    0.118883193f, -0.116783507f, 0.067494303f};

/* x = 2^n (1 + f) with 1 + f in [sqrt 1/2, sqrt 2), for finite x > 0. */
FN_INLINE vf vsplit_f(vf x, vf *n) {
    const int32_t root_half = 0x3f3504f3;
    vi tiny = x < 1.17549435e-38f;
    vi i = (vi)vselect_f(tiny, x * 8388608.0f, x) - root_half;
    *n = vfromint_f(i >> 23) - vselect_f(tiny, vset1_f(23.0f), vset1_f(0.0f));
    return (vf)((i & 0x7fffff) + root_half) - 1.0f;
}

/* The values of a logarithm outside (0, inf). */
FN_INLINE vf vlog_edges_f(vf x, vf inside) {
    const float inf = __builtin_inff();
    vf outside = vselect_f(x == 0.0f, vset1_f(-inf), vset1_f(__builtin_nanf("")));
    return vselect_f(x == inf, x, vselect_f(x > 0.0f, inside, outside));
}

FN_INLINE vf vlog1p_small_f(vf f) {
    vf z = f * f;
    return f + vfma_f(f * z, vpoly_f(f, FN_LOG_F, 9), -0.5f * z);
}

/* log: max ULP 1.  log 0 = -inf, NaN below. */
FN_INLINE vf vlog_f(vf x) {
    vf n, f = vsplit_f(x, &n), z = f * f;
    vf low = vfma_f(f * z, vpoly_f(f, FN_LOG_F, 9), n * FN_LN2_LOW_F);
    low = vfma_f(z, vset1_f(-0.5f), low);
    return vlog_edges_f(x, vfma_f(n, vset1_f(FN_LN2_HIGH_F), f + low));
}
/* log2, log10: max ULP 2; exact at powers of two (log2). */
FN_INLINE vf vlog2_f(vf x) {
    vf n, f = vsplit_f(x, &n);
    return vlog_edges_f(x, vfma_f(vlog1p_small_f(f), vset1_f(FN_LOG2E_F), n));
}
FN_INLINE vf vlog10_f(vf x) {
    vf n, f = vsplit_f(x, &n), l = vlog1p_small_f(f);
    vf low = vfma_f(n, vset1_f(7.90341e-7f), l * -1.0103049e-8f);      /* what log10 2 and log10 e have beyond a float */
    return vlog_edges_f(x, vfma_f(n, vset1_f(0.301029205f), vfma_f(l, vset1_f(0.434294492f), low)));
}

/* log(1 + x): max ULP 2.  What rounding 1 + x lost comes back in first order. */
FN_INLINE vf vlog1p_f(vf x) {
    vf u = 1.0f + x;
    vf lost = (x - (u - 1.0f)) / u, l = vlog_f(u);
    vi inside = (vabs_f(x) < __builtin_inff()) & (u != 0.0f);
    return vselect_f(inside, l + lost, l);
}

/* log(1 + x) for 0 <= x <= 1 (or NaN): 2 s + s^3 L(s^2), s = x / (2 + x) <= 1/3, relative error 2^-27: max ULP 2. */
static const float FN_LOG1P_UNIT_F[] = {0.666664163f, 0.400215272f, 0.280018052f, 0.280119871f};
FN_INLINE vf vlog1p_unit_f(vf x) {
    const vf s = x / (2.0f + x), z = s * s;
    return vfma_f(s * z, vpoly_f(z, FN_LOG1P_UNIT_F, 4), s + s);
}

/* e / (1 + e), e = exp(x): max ULP 3.2; 1 from 17 on, down to the denormal results at x < -87. */
FN_INLINE vf vsigmoid_f(vf x) {
    const vf e = vexp_negative_f(vmin_f(vset1_f(40.0f), x));
    return e / (1.0f + e);
}

#ifdef FN_HAS_LOOKUP
/* tanh |x| = h / (1 + h), h = (exp(2 |x|) - 1) / 2: max ULP 2.7; from 9.02 on tanh rounds to 1.  With |x| = (n + k/16) ln2/2 + r
 * and the root in the table 2^(k/16) exp(-2 lost[k]), h is s (r + r^2 q(r)) + (s - 1) / 2, where s = 2^n root and r + lost[k]
 * stands for r: the subtraction is then as good as exact. */
static const float FN_ROOTS_LOST_F[] = {0.0f, 2.31427349e-08f, -5.99607858e-09f, 2.36489113e-08f, 1.59670902e-08f,
    1.81052862e-08f, -1.54953606e-08f, -3.7376066e-09f, 8.55713559e-09f, -1.52384174e-08f, 2.61666712e-09f, 3.0537958e-09f,
    -7.35980277e-09f, -2.62939757e-09f, -3.06412992e-09f, 2.5703046e-09f};
static const float FN_TANH_F[] = {1.0f, 0.666666667f, 0.333333333f};

FN_INLINE vf vtanh_f(vf x) {
    const vf a = vmin_f(vset1_f(9.02f), vabs_f(x));
    const vf shifted = vfma_f(a, vset1_f(2 * FN_LOG2E_F), vset1_f(FN_SIXTEENTHS_F)), n = shifted - FN_SIXTEENTHS_F;
    const vf r = vfma_f(n, vset1_f(-FN_LN2_F / 2), a) + vlookup16_f(FN_ROOTS_LOST_F, (vi)shifted);
    const vf s = vscale_f(vlookup16_f(FN_ROOTS_F, (vi)shifted), n);
    const vf h = vfma_f(s, vfma_f(vpoly_f(r, FN_TANH_F, 3), r * r, r), vfma_f(s, vset1_f(0.5f), vset1_f(-0.5f)));
    return vcopysign_f(h / (1.0f + h), x);
}

#include "vmath_pieces.h"
#else
/* exp(x) - 1 = 2^n (p + 1) - 1 with p = exp(r) - 1, for |x| < 87. */
FN_INLINE vf vexpm1_core_f(vf x) {
    vf n, r = vreduce_exp_f(x, &n), power = vpower2_f(n);
    vf p = vfma_f(r * r, vpoly_f(r, FN_EXPM1_F, 6), r);
    return vfma_f(p, power, power - 1.0f);
}

/* tanh |x| = t / (t + 2), t = exp(2 |x|) - 1: max ULP 3; from 9.02 on tanh rounds to 1. */
FN_INLINE vf vtanh_f(vf x) {
    vf t = vexpm1_core_f(2.0f * vmin_f(vset1_f(9.02f), vabs_f(x)));
    return vcopysign_f(t / (t + 2.0f), x);
}

/* erf |x| = 1 - exp(-|x| q(|x|)): max ULP 3.2; error 2^-28 up to 3.95, where erf rounds to 1. */
static const float FN_ERF_F[] = {1.12837923f, 0.636619389f, 0.102777809f, -0.0191529728f, -0.000160581665f,
    0.00166722795f, -0.000632953946f, 0.000117676071f, -9.26037137e-06f};

FN_INLINE vf verf_f(vf x) {
    vf a = vmin_f(vset1_f(3.95f), vabs_f(x));
    return vcopysign_f(vexpm1_core_f(-a * vpoly_f(a, FN_ERF_F, 9)), x);
}
#endif

/* A vector of float as two of double, and back. */
typedef float vf_half __attribute__((vector_size(FN_VECTOR_BYTES / 2)));
FN_INLINE void vwiden_f(vf x, vd *low, vd *high) {
    vf_half h[2];
    memcpy(h, &x, sizeof x);
    *low = __builtin_convertvector(h[0], vd);
    *high = __builtin_convertvector(h[1], vd);
}
FN_INLINE vf vnarrow_f(vd low, vd high) {
    vf_half h[2] = {__builtin_convertvector(low, vf_half), __builtin_convertvector(high, vf_half)};
    vf x;
    memcpy(&x, h, sizeof x);
    return x;
}

/* sin, cos: max ULP 1, in double; beyond 1e5 the C library, lane by lane. */
FN_INLINE vf vsin_f(vf x) {
    vd low, high;
    vwiden_f(x, &low, &high);
    vf y = vnarrow_f(vsin_core_d(low, 0.0), vsin_core_d(high, 0.0));
    for (int i = 0; i < FN_LANES_F; i++) if (!(fabsf(x[i]) <= (float)FN_SIN_LIMIT_D)) y[i] = sinf(x[i]);
    return vselect_f(x == 0.0f, x, y);
}
FN_INLINE vf vcos_f(vf x) {
    vd low, high;
    vwiden_f(x, &low, &high);
    vf y = vnarrow_f(vsin_core_d(low, 1.0), vsin_core_d(high, 1.0));
    for (int i = 0; i < FN_LANES_F; i++) if (!(fabsf(x[i]) <= (float)FN_SIN_LIMIT_D)) y[i] = cosf(x[i]);
    return y;
}

/* x^y: max ULP 1, exp(y log x) in double for 0 < x < inf and finite y; else the C library, lane by lane. */
FN_INLINE vf vpow_f(vf x, vf y) {
    vd a, b, c, d;
    vwiden_f(x, &a, &b);
    vwiden_f(y, &c, &d);
    vf z = vnarrow_f(vexp_d(c * vlog_d(a)), vexp_d(d * vlog_d(b)));
    const float inf = __builtin_inff();
    for (int i = 0; i < FN_LANES_F; i++) if (!(x[i] > 0 && x[i] < inf && fabsf(y[i]) < inf)) z[i] = powf(x[i], y[i]);
    return z;
}
