/* Winograd's convolution F(4x4, 3x3): transforms between pixels and the 36 products of a tile. */
#ifndef FN_WINOGRAD_H
#define FN_WINOGRAD_H

#include "conv.h"

/* m[tile][point][j] = sum over k of v[tile][point][k] * u[point][k][j] for all 36 points: `tiles` tiles, n columns, at most a
 * gathering tile's.  Rows of u and m are read and written up to a whole vector. */
typedef struct fn_winograd_product {
    int64_t tiles, K, n;
    const void *v, *u;
    void *m;
    int64_t vtile, vpoint, urow, upoint, mtile, mpoint;     /* elements from one to the next */
    int load;                                               /* add to m */
} fn_winograd_product;

/* All work on rows of n channels.  The 36 elements of a transformed tile lie `stride` elements apart. */
typedef struct fn_winograd_table {
    /* 6 x 6 pixels of the source, row by row */
    void (*source)(int64_t n, const void *const *pixel, void *v, int64_t stride);
    /* the same, rows of pixels `row` and pixels `step` elements apart */
    void (*source_inside)(int64_t n, const void *x, int64_t row, int64_t step, void *v, int64_t stride);
    void (*product)(const fn_winograd_product *s);
    /* back to channels `at` ... at + n of 4 x 4 pixels of the target; NULL pixels are dropped */
    void (*target)(int64_t at, int64_t n, const void *m, int64_t stride, void *const *pixel, const fn_conv_end *end);
    /* 3 x 3 weights, `tap` elements apart */
    void (*weight)(int64_t n, const void *w, int64_t tap, void *u, int64_t stride);
    /* for the weight gradient: 4 x 4 pixels of the target's gradient, and the sums over tiles back to 3 x 3 weights */
    void (*gradient)(int64_t n, const void *const *pixel, void *z, int64_t stride);
    void (*weight_gradient)(int64_t n, const void *p, int64_t stride, void *dw, int64_t tap);
} fn_winograd_table;

#endif
