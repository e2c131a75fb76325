/* Rows of elementwise arithmetic.  Strides in elements; 0 repeats one value. */
#ifndef FN_POINTWISE_H
#define FN_POINTWISE_H

/* activation.def.  `scalar` holds the parameters a, b, c; y may be x, dx may be g or saved. */
typedef struct fn_unary {
    const char *name;
    char saved;                 /* 'x' or 'y': what gradient needs */
    void (*run)(int64_t n, const void *x, void *y, const double *scalar);
    void (*gradient)(int64_t n, const void *saved, const void *g, void *dx, const double *scalar);
} fn_unary;

/* arithmetic.def.  z is contiguous, of the element type, or bytes 0 and 1 for a comparison. */
typedef struct fn_binary {
    const char *name;
    void (*run)(int64_t n, const void *x, int64_t sx, const void *y, int64_t sy, void *z);
} fn_binary;

typedef struct fn_pointwise_table {
    int unaries, binaries, comparisons;
    const fn_unary *unary;
    const fn_binary *binary, *comparison;
    void (*where)(int64_t n, const uint8_t *c, int64_t sc, const void *x, int64_t sx, const void *y, int64_t sy, void *z);
    /* dx, and dw before it is summed over what shares a weight */
    void (*prelu_gradient)(int64_t n, const void *x, int64_t sx, const void *w, int64_t sw, const void *g, int64_t sg,
                           void *dx, void *dw);
    void (*accumulate)(int64_t n, double a, const void *x, void *y);        /* y += a x */
    void (*fill)(int64_t n, double a, void *y);
    /* The rest does not look at the element type: both tables hold the same. */
    void (*copy)(int itemsize, int64_t n, const void *x, int64_t sx, void *y, int64_t sy);
    void (*transpose)(int itemsize, int64_t m, int64_t n, const void *x, int64_t ldx, void *y, int64_t ldy); /* y[j][i] = x[i][j] */
    void (*convert)(int from, int to, int64_t n, const void *x, void *y);   /* enum fn_dtype */
    void (*stream)(int64_t bytes, const void *x, void *y, int last);        /* past the caches */
} fn_pointwise_table;

#endif
