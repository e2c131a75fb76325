#include "isa.h"
#include "../philox.h"
#include "../vmath.h"
#include <math.h>

typedef uint32_t vui __attribute__((vector_size(FN_VECTOR_BYTES)));

/* Dropout keeps where 16 random bits reach this; p is rounded to 1/65536. */
static int32_t drop_below(double p) { return (int32_t)(p * 65536 + 0.5); }

static void keep(uint64_t key, uint64_t group, int64_t n, double p, uint8_t *y) {
    const uint32_t t = (uint32_t)drop_below(p);
    for (; n > 0; group++, n -= 128, y += 128) {
        vl q[FN_PHILOX_VECTORS];
        uint32_t word[FN_PHILOX_WORDS];
        uint8_t m[128];
        philox_group(key, group, q);
        memcpy(word, q, sizeof word);
        for (int i = 0; i < 64; i++) {
            m[i] = (word[i] & 0xffff) >= t;
            m[i + 64] = (word[i] >> 16) >= t;
        }
        memcpy(y, m, n < 128 ? (size_t)n : 128);
    }
}

/* MT19937 (Matsumoto and Nishimura 1998): word i becomes a function of words i, i + 1 and i + 397. */
static inline uint32_t twisted(uint32_t a, uint32_t b, uint32_t c) {
    return c ^ (((a & 0x80000000u) | (b & 0x7fffffffu)) >> 1) ^ (-(b & 1) & 0x9908b0dfu);
}

static void twist(uint32_t *s) {
    /* The second loop reads what the first, or it itself 227 steps before, has written. */
    for (int i = 0; i < 227; i++) s[i] = twisted(s[i], s[i + 1], s[i + 397]);
    for (int i = 227; i < 454; i++) s[i] = twisted(s[i], s[i + 1], s[i - 227]);
    for (int i = 454; i < 623; i++) s[i] = twisted(s[i], s[i + 1], s[i - 227]);
    s[623] = twisted(s[623], s[0], s[396]);
}

static void temper(const uint32_t *s, uint32_t *draws) {
    for (int i = 0; i < 624; i++) {
        uint32_t y = s[i];
        y ^= y >> 11;
        y ^= (y << 7) & 0x9d2c5680u;
        y ^= (y << 15) & 0xefc60000u;
        draws[i] = y ^ (y >> 18);
    }
}

#define FN_REAL f
#include "../real.h"
#include "lanes.inc"
#include "random.inc"
#undef FN_REAL
#define FN_REAL d
#include "../real.h"
#include "lanes.inc"
#include "random.inc"

const fn_random_table *const FN_TABLE(random)[2] = {&random_f, &random_d};
