/* amx.c: float32 products by three parts of bfloat16 on matrix units; parts.h says how.  Compiled for these units by itself, as no
 * other family needs them. */
#include "../parts.h"

#if defined(__x86_64__) && defined(__linux__)
#include <cpuid.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

int fn_parts_usable(void) {
    unsigned a, b, c, d;
    if (!__get_cpuid_count(7, 0, &a, &b, &c, &d)) return 0;
    const unsigned bf16 = 1u << 22, tile = 1u << 24;
    if (!(d & bf16) || !(d & tile)) return 0;
    __asm__("xgetbv" : "=a"(a), "=d"(d) : "c"(0));
    if ((a >> 17 & 3) != 3) return 0;                   /* the system keeps tiles when it switches threads */
    enum { ARCH_REQ_XCOMP_PERM = 0x1023, TILE_DATA = 18 };
    return !syscall(SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, TILE_DATA);
}

#pragma GCC target("amx-tile,amx-bf16,avx512f,avx512bw,avx512dq,avx512vl")
#include <immintrin.h>

#define INLINE static inline __attribute__((always_inline))

/* ---- packing ------------------------------------------------------------------------------------------------------ */
enum { LANES = 16, STEP_BYTES = FN_PARTS * FN_PARTS_TILE };

/* x = first + rest: the first half of the bits, rounded, and what is exactly left. */
INLINE __m512 first_part(__m512 x) {
    const __m512i half = _mm512_set1_epi32(0x8000), upper = _mm512_set1_epi32(0xffff0000);
    return _mm512_castsi512_ps(_mm512_and_si512(_mm512_add_epi32(_mm512_castps_si512(x), half), upper));
}

/* The upper halves of low's elements below those of high's. */
INLINE void store_pairs(char *to, __m512 low, __m512 high) {
    _mm512_store_si512(to, _mm512_or_si512(_mm512_srli_epi32(_mm512_castps_si512(low), 16), _mm512_castps_si512(high)));
}

/* A row of each of a step's tiles. */
INLINE void split(__m512 low, __m512 high, const int parts, char *to) {
    const __m512 low1 = first_part(low), high1 = first_part(high);
    store_pairs(to, low1, high1);
    if (parts == 1) return;
    low -= low1, high -= high1;
    const __m512 low2 = first_part(low), high2 = first_part(high);
    store_pairs(to + FN_PARTS_TILE, low2, high2);
    store_pairs(to + 2 * FN_PARTS_TILE, low - low2, high - high2);
}

/* 16 rows of `panels` steps side by side, in the order of memory; the other half of the pairs is `further` elements on. */
INLINE void pack_rows(const float *x, int64_t stride, int64_t further, int64_t panels, const int parts, char *to, int64_t apart) {
    for (int r = 0; r < LANES; r++) for (int64_t p = 0; p < panels; p++) {
        const float *low = x + r * stride + p * LANES;
        split(_mm512_loadu_ps(low), _mm512_loadu_ps(low + further), parts, to + p * apart + 64 * r);
    }
}

/* The rows of 16 x 16 elements become columns. */
INLINE void turn(const float *x, int64_t stride, int64_t ahead, __m512 y[LANES]) {
    __m512 t[LANES];
#pragma GCC unroll 16
    for (int i = 0; i < LANES; i += 2) {
        const __m512 even = _mm512_loadu_ps(x + i * stride), odd = _mm512_loadu_ps(x + (i + 1) * stride);
        _mm_prefetch(x + i * stride + ahead, _MM_HINT_T0);
        _mm_prefetch(x + (i + 1) * stride + ahead, _MM_HINT_T0);
        t[i] = _mm512_unpacklo_ps(even, odd);
        t[i + 1] = _mm512_unpackhi_ps(even, odd);
    }
#pragma GCC unroll 16
    for (int i = 0; i < LANES; i += 4) {
        y[i] = _mm512_shuffle_ps(t[i], t[i + 2], 0x44);
        y[i + 1] = _mm512_shuffle_ps(t[i], t[i + 2], 0xee);
        y[i + 2] = _mm512_shuffle_ps(t[i + 1], t[i + 3], 0x44);
        y[i + 3] = _mm512_shuffle_ps(t[i + 1], t[i + 3], 0xee);
    }
    /* y[4 i + j], lane of 16 bytes q: rows 4 i to 4 i + 3 of column 4 q + j */
#pragma GCC unroll 16
    for (int j = 0; j < 4; j++) {
        t[j] = _mm512_shuffle_f32x4(y[j], y[4 + j], 0x44);
        t[4 + j] = _mm512_shuffle_f32x4(y[j], y[4 + j], 0xee);
        t[8 + j] = _mm512_shuffle_f32x4(y[8 + j], y[12 + j], 0x44);
        t[12 + j] = _mm512_shuffle_f32x4(y[8 + j], y[12 + j], 0xee);
    }
#pragma GCC unroll 16
    for (int j = 0; j < 4; j++) {
        y[j] = _mm512_shuffle_f32x4(t[j], t[8 + j], 0x88);
        y[4 + j] = _mm512_shuffle_f32x4(t[j], t[8 + j], 0xdd);
        y[8 + j] = _mm512_shuffle_f32x4(t[4 + j], t[12 + j], 0x88);
        y[12 + j] = _mm512_shuffle_f32x4(t[4 + j], t[12 + j], 0xdd);
    }
}

INLINE void pack_turned(const float *x, int64_t stride, int64_t further, int64_t ahead, const int parts, char *to) {
    __m512 low[LANES], high[LANES];
    turn(x, stride, ahead, low);
    turn(x + further, stride, ahead, high);
    for (int r = 0; r < LANES; r++) split(low[r], high[r], parts, to + 64 * r);
}

/* A step at the edge, with zeros beyond it. */
INLINE void pack_edge(int64_t count, int64_t depth, const float *x, int64_t outer, int64_t inner, int turned, const int parts, char *to) {
    float full[LANES * FN_PARTS_STEP] __attribute__((aligned(64)));
    memset(full, 0, sizeof full);
    const int64_t full_outer = outer == 1 ? 1 : FN_PARTS_STEP, full_inner = outer == 1 ? LANES : 1;
    for (int64_t i = 0; i < count; i++)
        for (int64_t k = 0; k < depth; k++) full[i * full_outer + k * full_inner] = x[i * outer + k * inner];
    const int64_t stride = outer == 1 ? full_inner : full_outer, further = LANES * full_inner;
    if (turned) pack_turned(full, stride, further, 0, parts, to);
    else pack_rows(full, stride, further, 1, parts, to, 0);
}

INLINE void pack_parts(int64_t count, int64_t K, const float *x, int64_t outer, int64_t inner, int of_b, const int parts, void *panels) {
    const int64_t steps = (K + FN_PARTS_STEP - 1) / FN_PARTS_STEP, number = (count + LANES - 1) / LANES, apart = steps * STEP_BYTES;
    if (outer == 1 && inner == 1) {                     /* a single row, or a single k */
        if (count > 1) inner = count;
        else outer = K;
    }
    const int across = outer == 1, turned = across != of_b;
    const int64_t stride = across ? inner : outer, further = LANES * inner;
    /* in the order of memory: whole rows of k, or the panels one by one */
    for (int64_t n = 0, whole; n < steps * number; n += whole) {
        const int64_t step = across ? n / number : n % steps, panel = across ? n % number : n / steps;
        const int64_t k = step * FN_PARTS_STEP, i = panel * LANES;
        const float *from = x + i * outer + k * inner;
        char *to = (char *)panels + panel * apart + step * STEP_BYTES;
        whole = 1;
        if (count - i < LANES || K - k < FN_PARTS_STEP) {
            pack_edge(count - i < LANES ? count - i : LANES, K - k < FN_PARTS_STEP ? K - k : FN_PARTS_STEP, from, outer, inner, turned,
                      parts, to);
        } else if (turned) {
            pack_turned(from, stride, further, FN_PARTS_STEP * inner, parts, to);
        } else {
            whole = across ? count / LANES - panel : 1;
            pack_rows(from, stride, further, whole, parts, to, apart);
        }
    }
}

static void pack(int64_t count, int64_t K, const float *x, int64_t outer, int64_t inner, int of_b, int parts, void *panels) {
    if (parts == 1) pack_parts(count, K, x, outer, inner, of_b, 1, panels);
    else pack_parts(count, K, x, outer, inner, of_b, FN_PARTS, panels);
}

/* ---- multiplying -------------------------------------------------------------------------------------------------- */
static const struct {
    uint8_t palette, start, reserved[14];
    uint16_t bytes[16];         /* of a row, */
    uint8_t rows[16];           /* and how many, of each tile */
} configuration = {1, 0, {0}, {64, 64, 64, 64, 64, 64, 64, 64}, {16, 16, 16, 16, 16, 16, 16, 16}};

static void begin(void) { _tile_loadconfig(&configuration); }

static void end(void) { _tile_release(); }

/* Tiles 0 to 3 are sums, 4 and 5 rows of A, 6 and 7 columns of B.  The six products come in one order, whatever the number of panels:
 * sums do not depend on what is beside them. */
#define PART(p) ((p - 1) * FN_PARTS_TILE)
#define LOAD(tile, other, from, p, panels)                \
    _tile_loadd(tile, from + PART(p), 64);                \
    if (panels > 1) _tile_loadd(other, from + apart + PART(p), 64);
#define LOAD_A(p) LOAD(4, 5, a, p, rows)
#define LOAD_B(p) LOAD(6, 7, b, p, columns)
/* Meanwhile comes a part of the next step's. */
#define MULTIPLY(next, p)                                 \
    _tile_dpbf16ps(0, 4, 6);                              \
    fetch_tile(next + STEP_BYTES + PART(p));              \
    if (columns > 1) _tile_dpbf16ps(1, 4, 7);             \
    if (rows > 1) _tile_dpbf16ps(2, 5, 6);                \
    fetch_tile(next + apart + STEP_BYTES + PART(p));      \
    if (rows > 1 && columns > 1) _tile_dpbf16ps(3, 5, 7);

INLINE void fetch_tile(const char *from) {
#pragma GCC unroll 16
    for (int i = 0; i < FN_PARTS_TILE; i += 64) _mm_prefetch(from + i, _MM_HINT_T0);
}

/* Up to two panels by two: 32 x 32 sums, rows 32 apart.  With each step come `lines` from `ahead` to the second level. */
INLINE void sums_of(const fn_parts_block *s, const char *b, const int rows, const int columns, const char *ahead, int64_t lines,
                    float *sums) {
    const int64_t steps = s->steps, apart = steps * STEP_BYTES;
    const int a_more = s->a_parts > 1, b_more = s->b_parts > 1;
    const char *a = s->a;
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
    for (int64_t step = 0; step < steps; step++, a += STEP_BYTES, b += STEP_BYTES) {
        LOAD_B(1)
        if (a_more) {
            LOAD_A(3)
            MULTIPLY(a, 3)
            LOAD_A(2)
            MULTIPLY(a, 2)
        }
        LOAD_A(1)
        MULTIPLY(b, 1)
        if (b_more) {
            LOAD_B(3)
            MULTIPLY(a, 1)
            LOAD_B(2)
            MULTIPLY(b, 3)
            if (a_more) {
                LOAD_A(2)
                MULTIPLY(b, 2)
            }
        }
        for (int64_t i = 0; i < lines; i++) _mm_prefetch(ahead + 64 * i, _MM_HINT_T1);
        ahead += 64 * lines;
    }
    _tile_stored(0, sums, 128);
    if (columns > 1) _tile_stored(1, sums + 16, 128);
    if (rows > 1) {
        _tile_stored(2, sums + 512, 128);
        if (columns > 1) _tile_stored(3, sums + 528, 128);
    }
}

/* 2^-80.  Parts below 2^-126 count as 0: what a sum of 4096 products may lack by that, with elements of up to 2^20, is less than 2^-24 of
 * it. */
#define LEAST 0x17800000
#define INFINITE 0x7f800000

/* Are all sums finite, and none but 0 smaller than LEAST? */
INLINE int reliable(const float *sums, int64_t rows, int64_t vectors) {
    const __m512i magnitude = _mm512_set1_epi32(0x7fffffff), one = _mm512_set1_epi32(1);
    __m512i most = _mm512_setzero_si512(), least = _mm512_set1_epi32(-1);
    for (int64_t r = 0; r < rows; r++) for (int64_t v = 0; v < vectors; v++) {
        const __m512i bits = _mm512_and_si512(_mm512_load_si512(sums + 32 * r + 16 * v), magnitude);
        most = _mm512_max_epu32(most, bits);
        least = _mm512_min_epu32(least, _mm512_sub_epi32(bits, one));     /* 0 is the greatest */
    }
    return _mm512_reduce_max_epu32(most) < INFINITE && _mm512_reduce_min_epu32(least) >= LEAST - 1;
}

/* Columns `column` to `column + columns` of C, at most 32. */
INLINE void finish(const fn_parts_block *s, const float *sums, int64_t column, int64_t columns) {
    const __m512 zero = _mm512_setzero_ps();
    for (int64_t j = 0; j < columns; j += LANES) {
        const __mmask16 there = columns - j < LANES ? (__mmask16)((1u << (columns - j)) - 1) : (__mmask16)0xffff;
        const __m512 bias = s->bias ? _mm512_maskz_loadu_ps(there, s->bias + column + j) : zero;
        float *c = s->c + column + j;
        for (int64_t r = 0; r < s->rows; r++) {
            __m512 sum = _mm512_load_ps(sums + 32 * r + j);
            if (s->load) sum += _mm512_maskz_loadu_ps(there, c + r * s->rsc);
            if (s->bias) sum += bias;
            if (s->row_bias) sum += _mm512_set1_ps(s->row_bias[r]);
            if (s->relu) sum = _mm512_mask_mov_ps(sum, _mm512_cmp_ps_mask(sum, zero, _CMP_LT_OQ), zero);
            _mm512_mask_storeu_ps(c + r * s->rsc, there, sum);
        }
    }
}

static void block(const fn_parts_block *s) {
    float sums[32 * 32] __attribute__((aligned(64)));
    const char *b = s->b, *ahead = s->ahead;
    const int64_t pairs = (s->columns + 31) / 32, lines = ahead ? (2 * STEP_BYTES / 64 + pairs - 1) / pairs : 0;
    for (int64_t column = 0; column < s->columns; column += 32, b += 2 * s->steps * STEP_BYTES, ahead += 64 * lines * s->steps) {
        const int64_t columns = s->columns - column < 32 ? s->columns - column : 32;
        if (s->rows > 16) {
            if (columns > 16) sums_of(s, b, 2, 2, ahead, lines, sums);
            else sums_of(s, b, 2, 1, ahead, lines, sums);
        } else if (columns > 16) sums_of(s, b, 1, 2, ahead, lines, sums);
        else sums_of(s, b, 1, 1, ahead, lines, sums);
        if (reliable(sums, s->rows, (columns + 15) / 16)) finish(s, sums, column, columns);
        else s->refused(s->context, column, columns);
    }
}

const fn_parts_table fn_parts = {.pack = pack, .begin = begin, .end = end, .block = block};

#else
int fn_parts_usable(void) { return 0; }
const fn_parts_table fn_parts;
#endif
