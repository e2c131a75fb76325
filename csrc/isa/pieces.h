/* pieces.h: a vector gathered from pieces of 16 bytes, each loaded straight into its lane (as much as the compiler can be
 * told: it turns the same thing in vector extensions into register shuffles). */
#ifndef FN_PIECES_H
#define FN_PIECES_H

static inline vf fn_load_pieces(const void *const piece[FN_VECTOR_BYTES / 16]);

#if FN_VECTOR_BYTES == 64
static inline __m256 fn_two_pieces(const void *x, const void *y) {
    return _mm256_insertf128_ps(_mm256_castps128_ps256(_mm_loadu_ps(x)), _mm_loadu_ps(y), 1);
}
static inline vf fn_load_pieces(const void *const piece[4]) {
    const __m256 low = fn_two_pieces(piece[0], piece[1]), high = fn_two_pieces(piece[2], piece[3]);
    return (vf)_mm512_insertf32x8(_mm512_castps256_ps512(low), high, 1);
}
#elif FN_VECTOR_BYTES == 32
static inline vf fn_load_pieces(const void *const piece[2]) {
    return (vf)_mm256_insertf128_ps(_mm256_castps128_ps256(_mm_loadu_ps(piece[0])), _mm_loadu_ps(piece[1]), 1);
}
#else
static inline vf fn_load_pieces(const void *const piece[1]) {
    vf v;
    memcpy(&v, piece[0], sizeof v);
    return v;
}
#endif

#endif
