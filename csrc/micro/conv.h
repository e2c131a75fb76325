/* Convolution on channels-last memory: register tiles that gather their rows by pointers, and depthwise rows. */
#ifndef FN_CONV_H
#define FN_CONV_H

/* What follows the sum of an output channel: y = relu(((sum + bias) - mean) * scale + shift + residual), each part if present. */
typedef struct fn_conv_end {
    const void *bias;                   /* per channel, or NULL */
    const void *mean, *scale, *shift;   /* per channel; scale is NULL without them */
    int64_t residual;                   /* bytes from an output to what is added to it, or 0 */
    int relu;
} fn_conv_end;

/* c[r][j] = sum over t, k of a[t][r][k] * b[t][k][j]: rows of pixels by at most `columns` output channels.  Each element
 * is one chain over t, then k, from 0 or, with `load`, from c.  Rows of b are read up to a whole vector. */
typedef struct fn_conv_gather {
    int64_t rows, n;
    int64_t taps, K;
    const void *const *a;       /* a[t * lda + r]: where tap t of pixel r starts */
    int64_t lda, skip;          /* elements added to every a */
    int64_t next;               /* elements from pixel to pixel where they are K and the next ones are to be fetched; else 0 */
    const void *b;
    const int64_t *tap;         /* tap t of b starts at b + tap[t], its rows are rsb apart */
    int64_t rsb;
    const void *ahead;          /* or NULL: rows of b to be fetched meanwhile, K from ahead + ahead_tap[t] on */
    const int64_t *ahead_tap;
    void *const *c;             /* pixel r is written at c[r] + column */
    int64_t column;
    int load;
    const fn_conv_end *end;     /* what follows the last tap, or NULL */
} fn_conv_gather;

/* A stretch of pixels: x moves by xstep, y by ystep elements. */
typedef struct fn_conv_run {
    const void *x, *y;
    int64_t count;
} fn_conv_run;

/* c[i][j] = sum over pixels of x[pixel][i] * y[pixel][j], one chain through the runs: the weight gradient. */
typedef struct fn_conv_outer {
    int64_t rows, n;
    int64_t runs;
    const fn_conv_run *run;
    int64_t xskip, yskip;       /* elements added to every x and y */
    int64_t xstep, ystep;
    void *c;
    int64_t rsc;
    int load;
    const void *next_x, *next_y;    /* as many pixels to be fetched meanwhile, or NULL: x at next_xstep, y at ystep */
    int64_t next_xstep;
} fn_conv_outer;

/* y[p][c] = sum over rows i, columns j of x[i][p * xstep + j * xcolumn + c] * w[i][j * C + c], `count` pixels. */
typedef struct fn_conv_depthwise {
    int64_t count, C;
    int64_t rows, columns;
    const void *const *x;
    const void *const *w;
    int64_t xstep, xcolumn, wcolumn, ystep;
    void *y;
    const void *bias;
    int relu;
} fn_conv_depthwise;

/* The same of three neighbouring columns, x[i][(p + j) * C + c] * w[k][j * C + c], for whole target rows: the first column may be missing
 * on the left of the first pixel, the last on the right of the last one.  One target row sees `rows` source rows, up to three; of two
 * the second sees x[1..3] where the first sees x[0..2]. */
typedef struct fn_conv_slide {
    int64_t count, C;
    int rows, targets, left, right;
    const void *const *x;
    const void *const *w;
    int64_t ystep;
    void *y[2];
    const void *bias;
    int relu;
} fn_conv_slide;

/* One source channel, few target channels: pixels fill the lanes.  y[p][o] = sum over rows i, columns j of x[i][p + j] *
 * w[(i * columns + j) * rsw + o], one chain each.  Every x[i] can be read up to a whole vector behind its last pixel. */
typedef struct fn_conv_thin {
    int64_t count, n;           /* pixels, target channels */
    int64_t rows, columns;
    const void *const *x;
    const void *w;
    int64_t rsw;
    const void *bias;           /* or NULL */
    int relu;
    void *y;
    int64_t ystep;
} fn_conv_thin;

/* c[i][j * C + k] += sum over pixels of x[i][(pixel + j) * C + k] * y[pixel * C + k]: `rows` (at most 3) kernel rows by 3 columns.
 * left, right: the first pixel's first column, the last one's last column, lie outside and are left out. */
typedef struct fn_conv_square {
    int64_t count, C;
    int rows, left, right;
    const void *x[3], *y;
    void *c[3];
} fn_conv_square;

typedef struct fn_conv_table {
    int lanes, columns;
    int masked_tails;
    void (*gather)(const fn_conv_gather *s);
    void (*outer)(const fn_conv_outer *s);
    void (*depthwise)(const fn_conv_depthwise *s);
    void (*depthwise_slide)(const fn_conv_slide *s);
    /* c[j * wcolumn + k] (+)= sum over runs and pixels of x[pixel * xstep + j * xcolumn + k] * y[pixel * ystep + k]:
     * j < columns (at most 3), k < C */
    void (*depthwise_outer)(int64_t runs, const fn_conv_run *run, int64_t C, int columns, int64_t xstep, int64_t xcolumn,
                            int64_t ystep, void *c, int64_t wcolumn);
    void (*depthwise_square)(const fn_conv_square *s);
    void (*ending)(int64_t pixels, int64_t n, void *y, const fn_conv_end *end);     /* what follows the sums that y holds */
    void (*add)(int64_t n, const void *x, void *y);     /* y += x */
    /* y[p * K + k] = x[k * plane + p]: the planes of up to 4 channels, pixel by pixel */
    void (*interleave)(int64_t pixels, int64_t K, const void *x, int64_t plane, void *y);
    /* scale[c] = w[c] / sqrt(var[c] + eps), in double; w is 1 where NULL */
    void (*norm_scale)(int64_t n, const void *w, const void *var, double eps, void *scale);
    /* y[u][k] += sum over t, the last first, of x[(u - t) * xstep + t * K + k], 0 <= u - t < count */
    void (*overlap)(int64_t count, int64_t taps, int64_t K, const void *x, int64_t xstep, void *y);
    void (*thin)(const fn_conv_thin *s);
    /* The weight gradient of the same: a whole vector c[j * n + o] (+)= x[p + j] * y[o * ystep + p], lane by lane, over the runs;
     * run.count in pixels */
    void (*thin_outer)(int64_t runs, const fn_conv_run *run, int64_t columns, int64_t n, int64_t ystep, void *c, int load);
    void (*thin_fold)(int64_t count, const void *c, void *sums);        /* the sum over the lanes of each of them */
} fn_conv_table;

#endif
