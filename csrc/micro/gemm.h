/* Matrix products: C[M][N] = A[M][K] B[K][N] or C += A B, one strip of columns at a time. */
#ifndef FN_GEMM_H
#define FN_GEMM_H

/* M rows by n columns, best `columns_for(M)` of them, or all when K is short.  Every element of C is one chain over k of
 * multiply-adds, starting from 0 or, with `load`, from C: it does not depend on M, n, tiles, or how K is cut into calls
 * (dot_strip is the exception).  Strides in elements. */
typedef struct fn_gemm_strip {
    int64_t M, n, K;
    const void *a;              /* broadcast operand, any strides */
    int64_t rsa, csa;
    const void *b;              /* vector operand: rows contiguous */
    int64_t rsb, csb;           /* csb is 1 but for dot_strip, where rsb is */
    int padded;                 /* rows of b are zeros up to a whole vector */
    void *copy;                 /* where the first tile puts the rows of b that it reads, without gaps, for the other tiles, or NULL */
    int copied;                 /* they are there already */
    const void *next;           /* the b of the strip to follow (rsb apart), fetched meanwhile, or NULL */
    const void *beside[5];      /* `besides` arrays of `span` elements that are wanted when the strip is done: fetched meanwhile as well */
    int besides;
    int64_t span;
    int rows_ahead;             /* a's rows lie one behind the other, and those of the tile below are fetched instead */
    void *c;                    /* rows contiguous */
    int64_t rsc;
    int load;                   /* start from c instead of 0 */
    const void *bias;           /* n values added after the last k, or NULL */
    const void *row_bias;       /* M values likewise: for a transposed product */
    int relu;
    /* called with each finished piece of a row while it is hot, or NULL; row and column count from the strip's `row`,
     * `column` */
    void (*finish)(void *context, int64_t row, int64_t column, int64_t n, void *c);
    void *context;
    int64_t row, column;
} fn_gemm_strip;

typedef struct fn_gemm_table {
    int lanes;
    int masked_tails;           /* ragged rows of b cost nothing; else copy them into padded rows */
    int64_t (*columns_for)(int64_t M);
    void (*strip)(const fn_gemm_strip *s);
    void (*row_strip)(const fn_gemm_strip *s);      /* M is 1, any n */
    /* few rows, contiguous, by a B with contiguous columns, any n: each element is a sum in lanes, not a chain */
    void (*dot_strip)(const fn_gemm_strip *s);
    /* y[i][j] = x[i * rsx + j * csx], rows of y contiguous; fast where csx or rsx is 1 */
    void (*pack)(int64_t rows, int64_t columns, const void *x, int64_t rsx, int64_t csx, void *y, int64_t rsy);
    /* Zeros behind the columns of each row, up to a whole vector, which tiles read: a denormal number left there by others
     * would take some processors 150 cycles per multiply-add. */
    void (*pad)(int64_t rows, int64_t columns, void *y, int64_t rsy);
} fn_gemm_table;

#endif
