/* The multiply-add peak of one core: twelve independent chains of whole vectors, nothing else.
 *     cc -O2 -march=native -shared -fPIC fma_peak.c -o fma_peak.so
 * fma_peak runs `n` rounds and returns how many floating-point operations that was. */
#include <stdint.h>

#if defined(__AVX512F__)
enum { BYTES = 64 };
#elif defined(__AVX__)
enum { BYTES = 32 };
#else
enum { BYTES = 16 };
#endif
typedef float vector __attribute__((vector_size(BYTES)));
enum { CHAINS = 12 };

double fma_peak(int64_t n, float *sink) {
    vector x[CHAINS], a = (vector){0} + 0.999f, b = (vector){0} + 0.001f;
    for (int i = 0; i < CHAINS; i++) x[i] = (vector){0} + (float)i;
    for (int64_t k = 0; k < n; k++) {
#pragma GCC unroll 12
        for (int i = 0; i < CHAINS; i++) x[i] = x[i] * a + b;
    }
    for (int i = 0; i < CHAINS; i++) *sink += x[i][0];
    return 2.0 * CHAINS * (BYTES / 4) * n;
}
