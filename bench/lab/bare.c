/* What memory gives at most: reading x in order, and writing one line past the caches for every four read, or none.
 *     cc -O2 -march=native -fopenmp -shared -fPIC bare.c -o bare.so
 * Every thread has its own part, read as `streams` parts side by side and fetched ahead into the second-level cache. */
#include <stdint.h>
#include <stddef.h>
#if defined(__SSE2__)
#include <immintrin.h>
#endif

enum { LINE = 64, UNIT = 4 * LINE, AHEAD = 2048 };
typedef float line __attribute__((vector_size(LINE)));

static inline void put(char *y, line v) {
#if defined(__AVX512F__)
    _mm512_stream_ps((float *)y, (__m512)v);
#elif defined(__SSE2__)
    for (int i = 0; i < 4; i++) _mm_stream_ps((float *)y + 4 * i, (__m128){v[4 * i], v[4 * i + 1], v[4 * i + 2], v[4 * i + 3]});
#else
    *(line *)y = v;
#endif
}

static inline __attribute__((always_inline)) float part(const char *x, char *y, int64_t units, const int streams) {
    line sum[4] = {{0}};
    const int64_t each = units / streams;
    for (int64_t i = 0; i < each; i++) {
#pragma GCC unroll 4
        for (int s = 0; s < streams; s++) {
            const int64_t at = s * each + i;
            const char *p = x + at * UNIT;
            line v[4];
#pragma GCC unroll 4
            for (int k = 0; k < 4; k++) {
                v[k] = *(const line *)(p + k * LINE);
                __builtin_prefetch(p + k * LINE + AHEAD, 0, 2);
            }
            if (y) put(y + at * LINE, (v[0] + v[1]) + (v[2] + v[3]));
#pragma GCC unroll 4
            for (int k = 0; !y && k < 4; k++) sum[k] += v[k];
        }
    }
#if defined(__SSE2__)
    _mm_sfence();
#endif
    return sum[0][0] + sum[1][0] + sum[2][0] + sum[3][0];
}

/* x: `units` of four lines; y: as many lines, or NULL; both on a line. */
void move(const char *x, char *y, int64_t units, int streams, int threads, float *sink) {
    float all = 0;
#pragma omp parallel for num_threads(threads) schedule(static, 1) reduction(+ : all)
    for (int t = 0; t < threads; t++) {
        const int64_t first = t * units / threads, count = (t + 1) * units / threads - first;
        const char *from = x + first * UNIT;
        char *to = y ? y + first * LINE : NULL;
        all += streams == 1 ? part(from, to, count, 1) : streams == 2 ? part(from, to, count, 2) : part(from, to, count, 4);
    }
    *sink += all;
}
