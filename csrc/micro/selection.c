#include "isa.h"

/* No branch depends on the data: a guess would be wrong every other time. */
#ifdef FN_HAS_COMPRESS
FN_INLINE int64_t list_row(int64_t n, const uint16_t *word, int32_t *at) {
    int64_t count = 0;
    for (int64_t i = 0; i < n; i++) {
        vstore_i(at + count, vcompress_i(word[i], FN_LANE_F + (int32_t)(16 * i)));
        count += __builtin_popcount(word[i]);
    }
    return count;
}
#else
typedef int32_t four __attribute__((vector_size(16)));

/* Of four bits: how many are set, and where. */
static const uint8_t bits_of[16] = {0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4};
static const four places_of[16] = {{0}, {0}, {1}, {0, 1}, {2}, {0, 2}, {1, 2}, {0, 1, 2}, {3}, {0, 3}, {1, 3}, {0, 1, 3},
                                   {2, 3}, {0, 2, 3}, {1, 2, 3}, {0, 1, 2, 3}};

FN_INLINE int64_t list_row(int64_t n, const uint16_t *word, int32_t *at) {
    int64_t count = 0;
    for (int64_t q = 0; q < 4 * n; q++) {
        const int c = word[q / 4] >> (q % 4 * 4) & 15;
        const four rows = places_of[c] + (int32_t)(4 * q);
        memcpy(at + count, &rows, sizeof rows);
        count += bits_of[c];
    }
    return count;
}
#endif

static void list_rows(int64_t rows, int64_t n, const uint16_t *word, int64_t from, int32_t *at, int32_t *starts, int64_t step) {
    int64_t count = starts[0];
    for (; rows > 0; rows--, word += from, starts += step) {
        starts[0] = (int32_t)count;
        count += list_row(n, word, at + count);
        starts[1] = (int32_t)count;
    }
}

#define FN_REAL f
#include "../real.h"
#include "lanes.inc"
#include "selection.inc"
#undef FN_REAL
#define FN_REAL d
#include "../real.h"
#include "lanes.inc"
#include "selection.inc"

const fn_selection_table *const FN_TABLE(selection)[2] = {&selection_f, &selection_d};
