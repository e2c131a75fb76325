/* What one core does at most: multiply-adds, and integer instructions issued.
 *     cc -O2 -march=native -shared -fPIC core_rates.c -o core_rates.so
 * fma_peak: twelve independent chains of whole vectors, nothing else; runs `n` rounds and returns how many floating-point operations that was.
 * issue: four instructions a cycle and more, so that a guest on the core's other half shows at once; `n` rounds, returns instructions. */
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

double issue(int64_t n, int64_t *sink) {
    int64_t x[8] = {1, 2, 3, 4, 5, 6, 7, 8};
    for (int64_t k = 0; k < n; k++)
#pragma GCC unroll 8
        for (int i = 0; i < 8; i++) {
            x[i] += 2 * i + 1;
            __asm__ volatile("" : "+r"(x[i]));      /* or the compiler adds it all up at once */
        }
    for (int i = 0; i < 8; i++) *sink += x[i];
    return 8.0 * n;
}
