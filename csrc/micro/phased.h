/* F(4x4, 4x4), Winograd's convolution over the phases of a strided one: transforms between pixels and the 49 products of a tile. */
#ifndef FN_PHASED_H
#define FN_PHASED_H

#include "conv.h"

/* Target pixels of some tiles from their transformed sources: sum over the K channels of all phases for each of the 49 points,
 * and back.  `tiles` is a multiple of 4; n target channels. */
typedef struct fn_phased_product {
    int64_t tiles, K, n;
    const void *v;              /* tile, column point, row point, channel */
    int64_t vtile;              /* elements from tile to tile */
    const void *u;              /* vector of target channels, column point, channel, row point, lane */
    void *half;                 /* room for 28 vectors per tile */
    void *const *pixel;         /* 16 per tile; NULL pixels are dropped */
    const fn_conv_end *end;
} fn_phased_product;

typedef struct fn_phased_table {
    /* `count` pixels, one after the other, of `phases` pieces of n elements: those of phase a start at x + a * xphase */
    void (*interleave)(int64_t count, int64_t phases, int64_t n, const void *x, int64_t xphase, void *y);
    /* 7 rows of n elements, `row` apart, to 7 row points; whole vectors are read and written */
    void (*source_rows)(int64_t n, const void *x, int64_t row, void *y);
    /* 7 x (4 tiles + 3) pixels of K channels, rows `row` apart and transformed, to the 49 points of every tile */
    void (*source_columns)(int64_t tiles, int64_t K, const void *x, int64_t row, void *v, int64_t vtile);
    void (*product)(const fn_phased_product *s);
    /* 4 x 4 taps of channel k, NULL for none, to their places in u */
    void (*weight)(int64_t n, const void *const *tap, int64_t k, int64_t K, void *u);
    /* for the weight gradient: 4 x 4 pixels of the target's gradient to 49 points, and the sums over tiles back to 4 x 4 taps */
    void (*gradient)(int64_t n, const void *const *pixel, void *z, int64_t stride);
    void (*weight_gradient)(int64_t n, const void *p, int64_t stride, void *const *tap);
} fn_phased_table;

#endif
