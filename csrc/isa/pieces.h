/* pieces.h: a vector gathered from pieces of 16 bytes, each loaded straight into its lane (as much as the compiler can be
 * told: it turns the same thing in vector extensions into register shuffles). */
#ifndef FN_PIECES_H
#define FN_PIECES_H

#if FN_VECTOR_BYTES == 64
static inline __m256 fn_two_pieces(const char *x, const char *y) {
    return _mm256_insertf128_ps(_mm256_castps128_ps256(_mm_loadu_ps((const float *)x)), _mm_loadu_ps((const float *)y), 1);
}
static inline vf fn_load_pieces(const char *x, ptrdiff_t step) {
    const __m256 low = fn_two_pieces(x, x + step), high = fn_two_pieces(x + 2 * step, x + 3 * step);
    return (vf)_mm512_insertf32x8(_mm512_castps256_ps512(low), high, 1);
}
#elif FN_VECTOR_BYTES == 32
static inline vf fn_load_pieces(const char *x, ptrdiff_t step) {
    return (vf)_mm256_insertf128_ps(_mm256_castps128_ps256(_mm_loadu_ps((const float *)x)),
                                    _mm_loadu_ps((const float *)(x + step)), 1);
}
#else
static inline vf fn_load_pieces(const char *x, ptrdiff_t step) {
    vf v;
    (void)step;
    memcpy(&v, x, sizeof v);
    return v;
}
#endif

#endif
