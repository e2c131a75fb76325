/* Pooling on channels-last memory: runs of pixels, vectors of channels. */
#ifndef FN_POOL_H
#define FN_POOL_H

/* `count` target pixels whose windows have the same shape: `rows` x `columns` source pixels. */
typedef struct fn_pool_run {
    int64_t count, C;
    int64_t rows, columns;
    const void *const *x;       /* first source pixel of the first window, per row */
    int64_t xstep, xcolumn;     /* elements from window to window, from column to column */
    void *y;                    /* pixels are C apart */
    void *index;                /* of the maxima, integers as wide as an element, or NULL */
    const int64_t *at;          /* the index of x[i] */
    int64_t atstep, atcolumn;
    double row_divisor;         /* averages: divided by row_divisor * divisor[pixel] */
    const double *divisor;
    int stream;                 /* past the caches: only if every pixel of y starts on a vector's boundary */
    int last;                   /* and nothing follows, so wait for them */
    int64_t ahead;              /* what lies so many bytes behind what is read is fetched meanwhile; or 0 */
} fn_pool_run;

/* The same seen from the source: x[p * xstep] += dy[p], for a whole run of target pixels and one place of the window. */
typedef struct fn_pool_back {
    int64_t count, C;
    const void *dy;
    const void *index;          /* maxima: only where index[p] == at + p * atstep */
    const void *gate;           /* and where the maximum is positive; or NULL */
    int64_t at, atstep;
    void *dx;
    int64_t xstep;
    double row_divisor;
    const double *divisor;
} fn_pool_back;

/* Maxima of windows that tile a source row, `columns` pixels each: every pixel of the row's windows is overwritten. */
typedef struct fn_pool_tile {
    int64_t count, C, columns;
    const void *dy;
    const void *index;
    const void *gate;           /* the maxima: dy arrives where they are positive; or NULL */
    int64_t at;                 /* the index of the row's first pixel */
    void *dx;
} fn_pool_tile;

typedef struct fn_pool_table {
    void (*maximum)(const fn_pool_run *s);
    void (*average)(const fn_pool_run *s);
    void (*maximum_back)(const fn_pool_back *s);
    void (*average_back)(const fn_pool_back *s);
    void (*maximum_tile)(const fn_pool_tile *s);
} fn_pool_table;

#endif
