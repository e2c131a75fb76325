/* parts.h: float32 products on units that multiply bfloat16 (AMX).
 *
 * A float32 has 24 bits: it is the exact sum of three bfloat16 numbers of 8, x = x1 + x2 + x3, each the rounded rest.  Of the nine
 * products of parts the six largest are summed in float32; those left out, x2 y3, x3 y2 and x3 y3, are at most 2^-25 of x y, half of what
 * one rounding of it would be.  docs/gemm.md has what that gives and where it ends.
 *
 * Panels: 16 rows of A, or 16 columns of B, all of k, packed by steps of 32; a step is three tiles of 1 KB, one for each part.  Of A a
 * tile has a row per row, 16 pairs of k in it; of B a row per pair, 16 columns in it.  k and k + 16 are a pair. */
#ifndef FN_PARTS_H
#define FN_PARTS_H

#include <stdint.h>

enum { FN_PARTS_PANEL = 16, FN_PARTS_STEP = 32, FN_PARTS_TILE = 1024, FN_PARTS = 3 };

/* Up to 32 rows by `columns` columns of C, of one or two panels of A and any number of panels of B. */
typedef struct fn_parts_block {
    const void *a, *b;          /* packed; panels lie `steps` x 3 tiles apart */
    int a_parts, b_parts;       /* 3, or 1 of an operand whose elements are bfloat16 numbers: then fewer products */
    int64_t steps, rows, columns;
    const void *ahead;          /* panels as large as a's or b's pair, fetched meanwhile, or NULL */
    float *c;                   /* rows contiguous */
    int64_t rsc;
    int load;                   /* add to c */
    const float *bias;          /* of the columns, or NULL */
    const float *row_bias;
    int relu;
    /* called instead of writing a piece of C, all rows and `columns` columns from `column` on, whose sums are not to be relied on: some
     * are not finite, or so small that parts may have been lost */
    void (*refused)(void *context, int64_t column, int64_t columns);
    void *context;
} fn_parts_block;

typedef struct fn_parts_table {
    /* `count` rows of A (columns of B), element (i, k) at x[i * outer + k * inner], one of the strides 1, into panels; the last step and
     * the last panel are filled with 0; with `parts` 1 the other two are not written */
    void (*pack)(int64_t count, int64_t K, const float *x, int64_t outer, int64_t inner, int of_b, int parts, void *panels);
    void (*begin)(void);        /* before the blocks of a thread, */
    void (*end)(void);          /* and after them */
    void (*block)(const fn_parts_block *s);
} fn_parts_table;

int fn_parts_usable(void);      /* has the machine such units, and does the system let us use them? */
extern const fn_parts_table fn_parts;

#endif
