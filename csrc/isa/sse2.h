/* The x86-64 baseline: 16-byte vectors, no FMA, 16 registers. */
#include <emmintrin.h>
#define FN_VECTOR_BYTES 16
#define FN_VECTOR_REGISTERS 16
#define FN_HAS_FMA 0

typedef float vf __attribute__((vector_size(16)));
typedef double vd __attribute__((vector_size(16)));
typedef int32_t vi __attribute__((vector_size(16)));
typedef int64_t vl __attribute__((vector_size(16)));

static inline vf vsqrt_f(vf a) { return (vf)_mm_sqrt_ps((__m128)a); }
static inline vd vsqrt_d(vd a) { return (vd)_mm_sqrt_pd((__m128d)a); }
/* a > b ? a : b and a < b ? a : b: b where either is NaN */
#define FN_HAS_MAX 1
static inline vf vmax_f(vf a, vf b) { return (vf)_mm_max_ps((__m128)a, (__m128)b); }
static inline vd vmax_d(vd a, vd b) { return (vd)_mm_max_pd((__m128d)a, (__m128d)b); }
static inline vf vmin_f(vf a, vf b) { return (vf)_mm_min_ps((__m128)a, (__m128)b); }
static inline vd vmin_d(vd a, vd b) { return (vd)_mm_min_pd((__m128d)a, (__m128d)b); }
/* to the nearest integer, ties to even: adding 1.5 * 2^23 (2^52) leaves no fraction bits; larger values have none */
static inline vf vround_f(vf a) {
    const vf magic = (vf){0} + 12582912.0f;
    vi large = ((vf)((vi)a & 0x7fffffff) < 4194304.0f);
    vf r = (a + magic) - magic;
    return (vf)(((vi)r & large) | ((vi)a & ~large));
}
static inline vd vround_d(vd a) {
    const vd magic = (vd){0} + 6755399441055744.0;
    vl large = ((vd)((vl)a & INT64_C(0x7fffffffffffffff)) < 2251799813685248.0);
    vd r = (a + magic) - magic;
    return (vd)(((vl)r & large) | ((vl)a & ~large));
}

/* bit i: lane i of a mask */
#define FN_HAS_BITS 1
static inline unsigned vbits_f(vi mask) { return (unsigned)_mm_movemask_ps((__m128)mask); }
static inline unsigned vbits_d(vl mask) { return (unsigned)_mm_movemask_pd((__m128d)mask); }

#define FN_HAS_STREAM 1
static inline void vstream_f(float *p, vf v) { _mm_stream_ps(p, (__m128)v); }
static inline void vstream_d(double *p, vd v) { _mm_stream_pd(p, (__m128d)v); }
#define FN_STREAM_END() _mm_sfence()
