/* Statistics and normalised rows: batch, layer, group, RMS and local response normalisation.
 *
 * Statistics come from two passes over a piece that lies in cache, the second corrected for the rounding of the first
 * (mean 100 and unit variance lose nothing in float), merged in double by Chan's rule.  A `moment` is {mean, sum of
 * squared deviations}.  Columns: arrays of `rows` x C, C contiguous, one statistic per column. */
#ifndef FN_NORM_H
#define FN_NORM_H

/* Columns that one thread works on: whole strips of every instruction set. */
enum { FN_NORM_CHANNELS = 64 };

/* Dropout behind batch normalisation and, if `relu`, a relu between them: of columns `column` on of rows `row` on.  A word of
 * `mask` for each vector: low half, lanes that the relu lets through; high half, lanes that are kept.  The words of
 * FN_NORM_CHANNELS columns lie together, all rows of them, as no two threads should write into one line. */
typedef struct fn_norm_dropout {
    uint32_t *mask;
    const void *drawn;          /* forward: keep_bits (random.h) of all elements of the matrix, and 4 bytes that may be read */
    double factor;              /* of what is kept */
    int64_t rows, row, column;  /* rows: of the whole matrix */
    int relu;
} fn_norm_dropout;

typedef struct fn_norm_table {
    /* contiguous rows with one mean, scale and shift */
    void (*moment)(int64_t n, const void *x, double *moment);
    void (*affine)(int64_t n, const void *x, double mean, double scale, double shift, void *y);
    void (*sums)(int64_t n, const void *g, const void *x, double mean, double *sums);       /* sum g, sum g (x - mean) */
    void (*affine_bwd)(int64_t n, const void *g, const void *x, double mean, double a, double b, double c, void *dx);
    /* columns: the first n of rows that are C apart; moments, sums are double[2][C]; scale and the rest are in the call's type */
    void (*column_moment)(int64_t rows, int64_t C, int64_t n, const void *x, double *moment);
    void (*column_merge)(int64_t C, double seen, double count, const double *more, double *moment);    /* joins moments */
    void (*column_affine)(int64_t rows, int64_t C, int64_t n, const void *x, const void *mean, const void *scale, const void *shift,
                          int relu, int stream, void *y);       /* stream: y goes past the caches */
    void (*column_dropout)(int64_t rows, int64_t C, int64_t n, const void *x, const void *mean, const void *scale, const void *shift,
                           const fn_norm_dropout *dropout, void *y);    /* the same, and relu and dropout; writes the mask */
    /* gate, or NULL: the output of a relu behind the normalisation; g arrives where it is positive.  dropout, or NULL: its mask
     * says that, and g is scaled where it was kept */
    void (*column_sums)(int64_t rows, int64_t C, int64_t n, const void *g, const void *gate, const fn_norm_dropout *dropout,
                        const void *x, const void *mean, double *sums);
    void (*column_affine_bwd)(int64_t rows, int64_t C, int64_t n, const void *g, const void *gate, const fn_norm_dropout *dropout,
                              const void *x, const void *mean, const void *a, const void *b, const void *c, int stream, void *dx);
    /* layer and RMS normalisation (rms: mean is 0): weight and shift per element, or NULL */
    void (*layer)(int rms, int64_t rows, int64_t n, double eps, const void *x, const void *w, const void *b, void *y,
                  void *mean, void *rstd);
    void (*layer_bwd)(int rms, int64_t rows, int64_t n, const void *x, const void *w, const void *mean, const void *rstd,
                      const void *g, void *dx, void *dw, void *db);     /* dw and db are added to; NULL if not wanted */
    /* one group of channels with a common mean and rstd; sums[c] = {sum g, sum g (x - mean) rstd} */
    void (*group)(int64_t channels, int64_t inner, const void *x, const void *w, const void *b, double mean, double rstd,
                  void *y);
    void (*group_bwd)(int64_t channels, int64_t inner, const void *x, const void *w, const void *g, double mean,
                      double rstd, void *dx, double *sums);
    void (*add)(int64_t n, const void *x, void *y);             /* y += x */
    /* across channels: y = x d^-beta, d = k + alpha / size * sum of x^2 over `size` neighbouring channels */
    void (*response)(int64_t C, int64_t inner, int64_t size, double alpha, double beta, double k, const void *x, void *d,
                     void *y);
    void (*response_bwd)(int64_t C, int64_t inner, int64_t size, double alpha, double beta, const void *x, const void *d,
                         const void *g, void *dx);
} fn_norm_table;

#endif
