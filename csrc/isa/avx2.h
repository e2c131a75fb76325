/* AVX2 + FMA: 32-byte vectors, masked tails by a sliding table, 16 registers. */
#include <immintrin.h>
#define FN_VECTOR_BYTES 32
#define FN_VECTOR_REGISTERS 16
#define FN_HAS_FMA 1
#define FN_HAS_MASKED_TAILS 1

typedef float vf __attribute__((vector_size(32)));
typedef double vd __attribute__((vector_size(32)));
typedef int32_t vi __attribute__((vector_size(32)));
typedef int64_t vl __attribute__((vector_size(32)));

static inline vf vsqrt_f(vf a) { return (vf)_mm256_sqrt_ps((__m256)a); }
static inline vd vsqrt_d(vd a) { return (vd)_mm256_sqrt_pd((__m256d)a); }
/* to the nearest integer, ties to even */
static inline vf vround_f(vf a) { return (vf)_mm256_round_ps((__m256)a, 0x08); }
static inline vd vround_d(vd a) { return (vd)_mm256_round_pd((__m256d)a, 0x08); }
/* a > b ? a : b and a < b ? a : b: b where either is NaN */
#define FN_HAS_MAX 1
static inline vf vmax_f(vf a, vf b) { return (vf)_mm256_max_ps((__m256)a, (__m256)b); }
static inline vd vmax_d(vd a, vd b) { return (vd)_mm256_max_pd((__m256d)a, (__m256d)b); }
static inline vf vmin_f(vf a, vf b) { return (vf)_mm256_min_ps((__m256)a, (__m256)b); }
static inline vd vmin_d(vd a, vd b) { return (vd)_mm256_min_pd((__m256d)a, (__m256d)b); }

static const int32_t fn_tail_mask[16] = {-1, -1, -1, -1, -1, -1, -1, -1, 0, 0, 0, 0, 0, 0, 0, 0};
static inline __m256i fn_tail_f(int n) { return _mm256_loadu_si256((const __m256i *)(fn_tail_mask + 8 - n)); }
static inline __m256i fn_tail_d(int n) { return _mm256_loadu_si256((const __m256i *)(fn_tail_mask + 8 - 2 * n)); }

static inline vf vload_n_f(const float *p, int n) { return (vf)_mm256_maskload_ps(p, fn_tail_f(n)); }
static inline vd vload_n_d(const double *p, int n) { return (vd)_mm256_maskload_pd(p, fn_tail_d(n)); }
static inline void vstore_n_f(float *p, vf v, int n) { _mm256_maskstore_ps(p, fn_tail_f(n), (__m256)v); }
static inline void vstore_n_d(double *p, vd v, int n) { _mm256_maskstore_pd(p, fn_tail_d(n), (__m256d)v); }

/* bit i: lane i of a mask */
#define FN_HAS_BITS 1
static inline unsigned vbits_f(vi mask) { return (unsigned)_mm256_movemask_ps((__m256)mask); }
static inline unsigned vbits_d(vl mask) { return (unsigned)_mm256_movemask_pd((__m256d)mask); }

#define FN_HAS_STREAM 1
static inline void vstream_f(float *p, vf v) { _mm256_stream_ps(p, (__m256)v); }
static inline void vstream_d(double *p, vd v) { _mm256_stream_pd(p, (__m256d)v); }
#define FN_STREAM_END() _mm_sfence()
