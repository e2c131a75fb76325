/* aarch64 NEON: 16-byte vectors, FMA, 32 registers. */
#include <arm_neon.h>
#define FN_VECTOR_BYTES 16
#define FN_VECTOR_REGISTERS 32
#define FN_HAS_FMA 1

typedef float vf __attribute__((vector_size(16)));
typedef double vd __attribute__((vector_size(16)));
typedef int32_t vi __attribute__((vector_size(16)));
typedef int64_t vl __attribute__((vector_size(16)));

static inline vf vsqrt_f(vf a) { return (vf)vsqrtq_f32((float32x4_t)a); }
static inline vd vsqrt_d(vd a) { return (vd)vsqrtq_f64((float64x2_t)a); }
/* to the nearest integer, ties to even */
static inline vf vround_f(vf a) { return (vf)vrndnq_f32((float32x4_t)a); }
static inline vd vround_d(vd a) { return (vd)vrndnq_f64((float64x2_t)a); }
