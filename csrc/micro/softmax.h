/* Softmax rows and columns, and the cross-entropy of logits fused with them.
 *
 * Rows are contiguous, n elements each.  Columns: `width` neighbouring columns of n elements, `stride` apart.
 * log: 0 softmax, 1 log-softmax.  Cross-entropy: x logits, t targets, w class weights or NULL; `loss` and `lse` (log of
 * the sum of exponentials, what backward needs) one value per row; `den` (NULL where not wanted) the row's share of the
 * denominator of the mean.  Backward: the incoming gradient of row i is g[i * step], step 0 or 1. */
#ifndef FN_SOFTMAX_H
#define FN_SOFTMAX_H

typedef struct fn_xent {
    int64_t n, stride;          /* classes; distance between classes (1 in rows) */
    int64_t ignore;             /* target to skip */
    double smoothing;
    const int64_t *t;           /* class indices, or NULL */
    const void *p;              /* class probabilities, or NULL */
    const void *x, *w, *g;
    int64_t step;
    void *loss, *lse, *den, *dx, *dp;
} fn_xent;

typedef struct fn_softmax_table {
    void (*rows)(int log, int64_t rows, int64_t n, const void *x, void *y);
    void (*rows_bwd)(int log, int64_t rows, int64_t n, const void *y, const void *dy, void *dx);
    void (*columns)(int log, int64_t n, int64_t stride, int64_t width, const void *x, void *y);
    void (*columns_bwd)(int log, int64_t n, int64_t stride, int64_t width, const void *y, const void *dy, void *dx);
    void (*logsumexp)(int64_t rows, int64_t n, const void *x, void *y);
    void (*logsumexp_bwd)(int64_t rows, int64_t n, const void *x, const void *y, const void *dy, void *dx);
    void (*xent)(const fn_xent *a, int64_t rows);               /* targets are indices */
    void (*xent_bwd)(const fn_xent *a, int64_t rows);
    void (*xent_columns)(const fn_xent *a, int64_t width);
    void (*xent_columns_bwd)(const fn_xent *a, int64_t width);
    void (*xent_soft)(const fn_xent *a, int64_t rows);          /* targets are probabilities */
    void (*xent_soft_bwd)(const fn_xent *a, int64_t rows);
    double (*total)(int64_t n, const void *x);                  /* sum in a fixed order */
    int (*check)(int64_t n, const int64_t *t, int64_t classes, int64_t ignore, int64_t *fault);
} fn_softmax_table;

#endif
