/* Any other machine: 16-byte vectors that the compiler lowers as it can. */
#include <math.h>
#define FN_VECTOR_BYTES 16
#define FN_VECTOR_REGISTERS 16
#define FN_HAS_FMA 0

typedef float vf __attribute__((vector_size(16)));
typedef double vd __attribute__((vector_size(16)));
typedef int32_t vi __attribute__((vector_size(16)));
typedef int64_t vl __attribute__((vector_size(16)));

static inline vf vsqrt_f(vf a) { for (int i = 0; i < 4; i++) a[i] = sqrtf(a[i]); return a; }
static inline vd vsqrt_d(vd a) { for (int i = 0; i < 2; i++) a[i] = sqrt(a[i]); return a; }
static inline vf vround_f(vf a) { for (int i = 0; i < 4; i++) a[i] = rintf(a[i]); return a; }
static inline vd vround_d(vd a) { for (int i = 0; i < 2; i++) a[i] = rint(a[i]); return a; }
