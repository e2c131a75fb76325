/* philox.h: Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011) on vectors.
 *
 * A counter-based generator: number i is a function of (key, i) alone, so any thread can draw any part and the numbers
 * do not depend on who drew them.  Counters come in groups of 16, which give 64 words of 32 bits in an order that is
 * the same for every vector width: counter l (low half of the 128 bits: 16 group + l) gives words 2l, 2l + 1 and
 * 32 + 2l, 33 + 2l.  A 64-bit lane holds one counter and, in the end, two words. */
#ifndef FN_PHILOX_H
#define FN_PHILOX_H

#include "simd.h"

enum { FN_PHILOX_ROUNDS = 10, FN_PHILOX_WORDS = 64, FN_PHILOX_VECTORS = 32 / FN_LANES_D };

/* Product of the low halves of 64-bit lanes. */
#if defined(__AVX512F__)
FN_INLINE vl vmul_low(vl a, vl b) { return (vl)_mm512_mul_epu32((__m512i)a, (__m512i)b); }
#elif defined(__AVX2__)
FN_INLINE vl vmul_low(vl a, vl b) { return (vl)_mm256_mul_epu32((__m256i)a, (__m256i)b); }
#elif defined(__SSE2__)
FN_INLINE vl vmul_low(vl a, vl b) { return (vl)_mm_mul_epu32((__m128i)a, (__m128i)b); }
#elif defined(__ARM_NEON)
FN_INLINE vl vmul_low(vl a, vl b) { return (vl)vmull_u32(vmovn_u64((uint64x2_t)a), vmovn_u64((uint64x2_t)b)); }
#else
FN_INLINE vl vmul_low(vl a, vl b) { return (a & 0xffffffff) * (b & 0xffffffff); }
#endif

typedef uint64_t vul __attribute__((vector_size(FN_VECTOR_BYTES)));
FN_INLINE vl vhigh_half(vl a) { return (vl)((vul)a >> 32); }

/* The 64 words of one group, as FN_PHILOX_VECTORS vectors.  High halves of c0..c3 are junk until the last round, where
 * a product's two halves already lie as the two words of the result. */
FN_INLINE void philox_group(uint64_t key, uint64_t group, vl *out) {
    const vl m0 = vset1_l(0xD2511F53), m1 = vset1_l(0xCD9E8D57);
    const uint64_t counter = group * 16;
    const vl lane = FN_LANE_D;
    enum { V = FN_PHILOX_VECTORS / 2 };         /* round by round through all of them: their chains overlap */
    vl c0[V], c1[V], c2[V], c3[V];
    uint32_t k0 = (uint32_t)key, k1 = (uint32_t)(key >> 32);
    for (int v = 0; v < V; v++) {
        c0[v] = vset1_l((int64_t)(counter & 0xffffffff)) + lane + v * FN_LANES_D;
        c1[v] = vset1_l((int64_t)(counter >> 32));
        c2[v] = c3[v] = (vl){0};
    }
    for (int round = 1; round < FN_PHILOX_ROUNDS; round++) {
        for (int v = 0; v < V; v++) {
            const vl p0 = vmul_low(c0[v], m0), p1 = vmul_low(c2[v], m1);
            c0[v] = vhigh_half(p1) ^ c1[v] ^ vset1_l(k0);
            c2[v] = vhigh_half(p0) ^ c3[v] ^ vset1_l(k1);
            c1[v] = p1;
            c3[v] = p0;
        }
        k0 += 0x9E3779B9;
        k1 += 0xBB67AE85;
    }
    for (int v = 0; v < V; v++) {
        const vl p0 = vmul_low(c0[v], m0), p1 = vmul_low(c2[v], m1);
        out[v] = p1 ^ (vl)((vul)(c1[v] ^ vset1_l(k0)) << 32);
        out[v + V] = p0 ^ (vl)((vul)(c3[v] ^ vset1_l(k1)) << 32);
    }
}

#endif
