/* vmath_d.h: elementary functions on vectors of double; see vmath.h. */

/* exp(r) = 1 + r + r^2 q(r) on |r| <= ln2/2, relative error of exp 2^-64; of exp - 1 2^-68. */
static const double FN_EXP_D[] = {0.5, 0.16666666666666682, 0.041666666666666088, 0.008333333333316888,
    0.0013888888889117849, 0.00019841269896739421, 2.4801586923777332e-05, 2.7557234508641069e-06,
    2.7557583336539901e-07, 2.5112159843987375e-08, 2.0826402974678995e-09};
static const double FN_EXPM1_D[] = {0.5, 0.16666666666666666, 0.041666666666666692, 0.0083333333333333159,
    0.0013888888888872006, 0.00019841269841333945, 2.480158734995251e-05, 2.7557319131238195e-06,
    2.7557251990622864e-07, 2.5052157861576581e-08, 2.0921565810792685e-09, 1.6062418608138e-10};
/* ln2 in two parts, the first of 32 bits so that n * high is exact. */
#define FN_LN2_HIGH_D 0.69314718036912382
#define FN_LN2_LOW_D 1.9082149292705877e-10
#define FN_LOG2E_D 1.4426950408889634

FN_INLINE vd vreduce_exp_d(vd x, vd *n) {
    *n = vround_d(x * FN_LOG2E_D);
    return vfma_d(*n, vset1_d(-FN_LN2_LOW_D), vfma_d(*n, vset1_d(-FN_LN2_HIGH_D), x));
}

/* exp: max ULP 1.5.  Overflow to inf, gradual underflow. */
FN_INLINE vd vexp_d(vd x) {
    vd n, r = vreduce_exp_d(vmax_d(vset1_d(-746.0), vmin_d(vset1_d(710.0), x)), &n);
    vd q = vpoly_d(r, FN_EXP_D, 11);
    return vscale_d(vfma_d(vfma_d(q, r, vset1_d(1.0)), r, vset1_d(1.0)), n);
}

FN_INLINE vd vexp_negative_d(vd x) { return vexp_d(x); }
FN_INLINE vd vexp_rounded_d(vd x) { return vexp_d(x); }

/* exp(x) - 1: max ULP 2.  Half of the result is formed, so that 2^n does not overflow before it does. */
FN_INLINE vd vexpm1_d(vd x) {
    vd n, r = vreduce_exp_d(vmax_d(vset1_d(-40.0), vmin_d(vset1_d(710.0), x)), &n);
    vd p = vfma_d(r * r, vpoly_d(r, FN_EXPM1_D, 12), r);
    vd half = vpower2_d(n - 1.0);
    return vselect_d(n == 0.0, p, 2.0 * vfma_d(p, half, half - 0.5));
}

/* log(1 + f) = f - (f^2/2 - s (f^2/2 + R)), s = f / (2 + f), R = s^2 L(s^2); error 2^-59. */
static const double FN_LOG_D[] = {0.66666666666667351, 0.399999999994121, 0.28571428743017291, 0.22222198502272703,
    0.18183568344431247, 0.15313939274888014, 0.14797146514987092};

typedef uint64_t vul __attribute__((vector_size(FN_VECTOR_BYTES)));

/* x = 2^n (1 + f) with 1 + f in [sqrt 1/2, sqrt 2), for finite x > 0. */
FN_INLINE vd vsplit_d(vd x, vd *n) {
    const int64_t root_half = INT64_C(0x3fe6a09e667f3bcd);
    vl tiny = x < 2.2250738585072014e-308;
    vl i = (vl)vselect_d(tiny, x * 4503599627370496.0, x) - root_half;
    vul biased = (vul)(i + (INT64_C(1024) << 52)) >> 52;
    *n = (vd)((vl)biased | INT64_C(0x4330000000000000)) - (4503599627370496.0 + 1024.0);
    *n -= vselect_d(tiny, vset1_d(52.0), vset1_d(0.0));
    return (vd)((i & INT64_C(0xfffffffffffff)) + root_half) - 1.0;
}

/* The values of a logarithm outside (0, inf). */
FN_INLINE vd vlog_edges_d(vd x, vd inside) {
    const double inf = __builtin_inf();
    vd outside = vselect_d(x == 0.0, vset1_d(-inf), vset1_d(__builtin_nan("")));
    return vselect_d(x == inf, x, vselect_d(x > 0.0, inside, outside));
}

FN_INLINE vd vlog1p_small_d(vd f) {
    vd s = f / (2.0 + f), z = s * s, h = 0.5 * f * f;
    return f - (h - s * vfma_d(z, vpoly_d(z, FN_LOG_D, 7), h));
}

/* log: max ULP 1.  log 0 = -inf, NaN below. */
FN_INLINE vd vlog_d(vd x) {
    vd n, f = vsplit_d(x, &n);
    vd s = f / (2.0 + f), z = s * s, h = 0.5 * f * f;
    vd low = vfma_d(n, vset1_d(FN_LN2_LOW_D), s * vfma_d(z, vpoly_d(z, FN_LOG_D, 7), h));
    return vlog_edges_d(x, vfma_d(n, vset1_d(FN_LN2_HIGH_D), f - (h - low)));
}
/* log2, log10: max ULP 2; exact at powers of two (log2). */
FN_INLINE vd vlog2_d(vd x) {
    vd n, f = vsplit_d(x, &n);
    return vlog_edges_d(x, vfma_d(vlog1p_small_d(f), vset1_d(FN_LOG2E_D), n));
}
FN_INLINE vd vlog10_d(vd x) {
    vd n, f = vsplit_d(x, &n);
    vd low = vfma_d(n, vset1_d(3.694239077158931e-13), vlog1p_small_d(f) * 0.43429448190325182);
    return vlog_edges_d(x, vfma_d(n, vset1_d(0.30102999566361177), low));
}

/* log(1 + x): max ULP 2.  What rounding 1 + x lost comes back in first order. */
FN_INLINE vd vlog1p_d(vd x) {
    vd u = 1.0 + x;
    vd lost = (x - (u - 1.0)) / u, l = vlog_d(u);
    vl inside = (vabs_d(x) < __builtin_inf()) & (u != 0.0);
    return vselect_d(inside, l + lost, l);
}

/* log(1 + x) for 0 <= x <= 1 (or NaN): max ULP 2. */
FN_INLINE vd vlog1p_unit_d(vd x) {
    const vl upper = x > 0.41421356237309505;
    const vd f = vselect_d(upper, 0.5 * x - 0.5, x), n = vselect_d(upper, vset1_d(1.0), vset1_d(0.0));    /* 1 + x = 2^n (1 + f) */
    const vd s = f / (2.0 + f), z = s * s, h = 0.5 * f * f;
    const vd low = vfma_d(n, vset1_d(FN_LN2_LOW_D), s * vfma_d(z, vpoly_d(z, FN_LOG_D, 7), h));
    return vfma_d(n, vset1_d(FN_LN2_HIGH_D), f - (h - low));
}

/* 1 / (1 + exp(-x)): max ULP 3, down to the denormal results at x < -708. */
FN_INLINE vd vsigmoid_d(vd x) {
    vd e = vexp_d(-vabs_d(x));
    return vselect_d(x < 0.0, e, vset1_d(1.0)) / (1.0 + e);
}

/* tanh: max ULP 3, by expm1(-2 |x|). */
FN_INLINE vd vtanh_d(vd x) {
    vd t = vexpm1_d(-2.0 * vabs_d(x));
    return vcopysign_d(t / (2.0 + t), x);
}

/* erf: the C library, lane by lane (max ULP 1). */
static __attribute__((noinline, unused)) vd verf_d(vd x) {
    for (int i = 0; i < FN_LANES_D; i++) x[i] = erf(x[i]);
    return x;
}

/* sin and cos on |r| <= pi/4, errors 2^-58 and 2^-64; pi/2 in three parts, the first two of 33 bits. */
static const double FN_SIN_D[] = {-0.16666666666666666, 0.0083333333333333228, -0.00019841269841254635,
    2.7557319213979202e-06, -2.5052104859442954e-08, 1.6058360290703901e-10, -7.5783966560769508e-13};
static const double FN_COS_D[] = {0.041666666666666595, -0.0013888888888872861, 2.4801587288729721e-05,
    -2.7557314143881191e-07, 2.0875695990010677e-09, -1.1358282886096592e-11};
#define FN_SIN_LIMIT_D 1.0e5

/* sin(x + quarter * pi/2), |x| <= FN_SIN_LIMIT_D. */
FN_INLINE vd vsin_core_d(vd x, double quarter) {
    vd n = vround_d(x * 0.63661977236758138);
    vd r = vfma_d(n, vset1_d(-1.5707963267341256), x);
    r = vfma_d(n, vset1_d(-6.077100506303966e-11), r);
    r = vfma_d(n, vset1_d(-2.0222662487959506e-21), r);
    vd z = r * r, s = vfma_d(r * z, vpoly_d(z, FN_SIN_D, 7), r), h = 0.5 * z, w = 1.0 - h;
    vd c = w + (((1.0 - w) - h) + z * z * vpoly_d(z, FN_COS_D, 6));
    vl q = (vl)(n + (6755399441055744.0 + quarter));
    vd y = vselect_d((q & 1) == 0, s, c);
    return (vd)((vl)y ^ (q << 62 & INT64_MIN));
}

/* sin, cos: max ULP 2; beyond 1e5 the C library, lane by lane. */
FN_INLINE vd vsin_d(vd x) {
    vd y = vsin_core_d(x, 0.0);
    for (int i = 0; i < FN_LANES_D; i++) if (!(fabs(x[i]) <= FN_SIN_LIMIT_D)) y[i] = sin(x[i]);
    return vselect_d(x == 0.0, x, y);
}
FN_INLINE vd vcos_d(vd x) {
    vd y = vsin_core_d(x, 1.0);
    for (int i = 0; i < FN_LANES_D; i++) if (!(fabs(x[i]) <= FN_SIN_LIMIT_D)) y[i] = cos(x[i]);
    return y;
}

/* x^y: the C library, lane by lane (max ULP 1): exp(y log x) would need log x in more than double. */
static __attribute__((noinline, unused)) vd vpow_d(vd x, vd y) {
    for (int i = 0; i < FN_LANES_D; i++) x[i] = pow(x[i], y[i]);
    return x;
}
