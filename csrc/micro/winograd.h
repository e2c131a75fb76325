/* Winograd's convolution F(4x4, 3x3): transforms between pixels and the 36 products of a tile. */
#ifndef FN_WINOGRAD_H
#define FN_WINOGRAD_H

/* All work on rows of n channels.  The 36 elements of a transformed tile lie `stride` elements apart. */
typedef struct fn_winograd_table {
    /* 6 x 6 pixels of the source, row by row */
    void (*source)(int64_t n, const void *const *pixel, void *v, int64_t stride);
    /* back to 4 x 4 pixels of the target; NULL pixels are dropped.  bias may be NULL. */
    void (*target)(int64_t n, const void *m, int64_t stride, void *const *pixel, const void *bias, int relu);
    /* 3 x 3 weights, `tap` elements apart */
    void (*weight)(int64_t n, const void *w, int64_t tap, void *u, int64_t stride);
    /* for the weight gradient: 4 x 4 pixels of the target's gradient, and the sums over tiles back to 3 x 3 weights */
    void (*gradient)(int64_t n, const void *const *pixel, void *z, int64_t stride);
    void (*weight_gradient)(int64_t n, const void *p, int64_t stride, void *dw, int64_t tap);
} fn_winograd_table;

#endif
