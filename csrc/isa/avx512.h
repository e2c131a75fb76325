/* AVX-512 (F, BW, DQ, VL): 64-byte vectors, masked tails, 32 registers. */
#include <immintrin.h>
#define FN_VECTOR_BYTES 64
#define FN_VECTOR_REGISTERS 32
#define FN_HAS_FMA 1
#define FN_HAS_MASKED_TAILS 1

typedef float vf __attribute__((vector_size(64)));
typedef double vd __attribute__((vector_size(64)));
typedef int32_t vi __attribute__((vector_size(64)));
typedef int64_t vl __attribute__((vector_size(64)));

static inline vf vsqrt_f(vf a) { return (vf)_mm512_sqrt_ps((__m512)a); }
static inline vd vsqrt_d(vd a) { return (vd)_mm512_sqrt_pd((__m512d)a); }
/* to the nearest integer, ties to even */
static inline vf vround_f(vf a) { return (vf)_mm512_roundscale_ps((__m512)a, 0x08); }
static inline vd vround_d(vd a) { return (vd)_mm512_roundscale_pd((__m512d)a, 0x08); }
/* a > b ? a : b and a < b ? a : b: b where either is NaN */
#define FN_HAS_MAX 1
static inline vf vmax_f(vf a, vf b) { return (vf)_mm512_max_ps((__m512)a, (__m512)b); }
static inline vd vmax_d(vd a, vd b) { return (vd)_mm512_max_pd((__m512d)a, (__m512d)b); }
static inline vf vmin_f(vf a, vf b) { return (vf)_mm512_min_ps((__m512)a, (__m512)b); }
static inline vd vmin_d(vd a, vd b) { return (vd)_mm512_min_pd((__m512d)a, (__m512d)b); }
/* a * 2^n for integral n, rounded once */
#define FN_HAS_SCALE 1
static inline vf vscale_f(vf a, vf n) { return (vf)_mm512_scalef_ps((__m512)a, (__m512)n); }
static inline vd vscale_d(vd a, vd n) { return (vd)_mm512_scalef_pd((__m512d)a, (__m512d)n); }

static inline vf vload_n_f(const float *p, int n) { return (vf)_mm512_maskz_loadu_ps((__mmask16)((1u << n) - 1), p); }
static inline vd vload_n_d(const double *p, int n) { return (vd)_mm512_maskz_loadu_pd((__mmask8)((1u << n) - 1), p); }
static inline void vstore_n_f(float *p, vf v, int n) { _mm512_mask_storeu_ps(p, (__mmask16)((1u << n) - 1), (__m512)v); }
static inline void vstore_n_d(double *p, vd v, int n) { _mm512_mask_storeu_pd(p, (__mmask8)((1u << n) - 1), (__m512d)v); }

/* bit i: lane i of a mask */
#define FN_HAS_BITS 1
static inline unsigned vbits_f(vi mask) { return _mm512_movepi32_mask((__m512i)mask); }
static inline unsigned vbits_d(vl mask) { return _mm512_movepi64_mask((__m512i)mask); }

/* the lanes whose bits are set, moved together; zeros behind them */
#define FN_HAS_COMPRESS 1
static inline vi vcompress_i(unsigned bits, vi v) { return (vi)_mm512_maskz_compress_epi32((__mmask16)bits, (__m512i)v); }

/* table[index mod 32], two registers that a loop keeps, and table[index mod 16] */
#define FN_HAS_LOOKUP 1
static inline vf vlookup_f(const float *table, vi index) {
    return (vf)_mm512_permutex2var_ps(_mm512_loadu_ps(table), (__m512i)index, _mm512_loadu_ps(table + 16));
}
static inline vf vlookup16_f(const float *table, vi index) {
    return (vf)_mm512_permutexvar_ps((__m512i)index, _mm512_loadu_ps(table));
}

#define FN_HAS_STREAM 1
static inline void vstream_f(float *p, vf v) { _mm512_stream_ps(p, (__m512)v); }
static inline void vstream_d(double *p, vd v) { _mm512_stream_pd(p, (__m512d)v); }
#define FN_STREAM_END() _mm_sfence()
