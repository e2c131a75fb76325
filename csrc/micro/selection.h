/* Products whose left operand is mostly zeros, or binary: sums of those rows of B that a row of A selects.
 *
 * A word tells of sixteen elements of A, a bit each: 0 where the element is 0.  From words follow lists of rows of B, times an
 * element each unless all are 1.  Or four bits, of a binary A, say which row to take from a table that holds the sums of every
 * subset of four rows ("four Russians": Arlazarov, Dinic, Kronrod and Faradzev, 1970): a quarter of the additions, whatever the bits. */
#ifndef FN_SELECTION_H
#define FN_SELECTION_H

#include "update.h"

enum { FN_SUMS_DEPTH = 24 };    /* rows of B whose sums are taken at a time: six tables of 16 rows */

typedef struct fn_selection_table {
    int panel;                  /* columns for which `combine` is at its best, a few vectors */
    /* Words of n elements in a row, and of 16 (or fewer) rows of n columns, `step` apart; are all elements 0 or 1? */
    int (*words_along)(int64_t n, const void *x, uint16_t *word);
    int (*words_down)(int64_t rows, int64_t n, const void *x, int64_t rsx, uint16_t *word, int64_t step);
    /* Rows of B that n words select.  Of `rows` rows, whose words are `from` apart: one list after the other, from
     * at[starts[0]] on; row r's ends up between starts[r * step] and starts[r * step + 1].  Writes no more than the words
     * might select. */
    void (*list_rows)(int64_t rows, int64_t n, const uint16_t *word, int64_t from, int32_t *at, int32_t *starts, int64_t step);
    /* value[t] = x[at[t] * step] */
    void (*gather)(int64_t count, const int32_t *at, const void *x, int64_t step, void *value);
    /* Tables of 16 rows of sums for every 4 of `rows` rows of b, rsb apart: `panel` columns, as if rows of zeros filled up the last
     * depth. */
    void (*subset_sums)(int64_t rows, const void *b, int64_t rsb, void *sums);
    /* Rows of c, rsc apart = those of x, `panel` columns long and apart (NULL: 0), + the rows of `sums` that their bits take, four of the
     * bits by table, + bias (or NULL).  The bits of a row begin where those of its words do whose place is a multiple of 8, and lie
     * `from` bytes behind those of the row before. */
    void (*combine_sums)(int64_t rows, int64_t depth, const uint8_t *bits, int64_t from, const void *sums, const void *x,
                         int64_t columns, const void *bias, void *c, int64_t rsc);
    /* Rows of c, rsc apart: row r (+)= the sum of value[t] * row at[t] of b (value NULL: of the rows), in that order, + bias (or
     * NULL).  Its t are those from starts[r * step] to starts[r * step + 1].  `roomy`: what lies behind the
     * columns of b, up to `panel` of them, may be read. */
    void (*combine)(int64_t rows, const int32_t *starts, int64_t step, const int32_t *at, const void *value,
                    const void *b, int64_t rsb, int roomy, int64_t columns, const void *bias, int load, void *c, int64_t rsc);
    /* In place of the last stretch's storing: the plain step (sgd of ../update.def) of p, rsc apart as c is, by those sums; c is only
     * read.  load: how many calls came before this one; their t end where this one's begin.  still: a row without any t, of this call or of
     * those before, leaves its row of p alone. */
    void (*combine_sgd)(int64_t rows, const int32_t *starts, int64_t step, const int32_t *at, const void *value,
                        const void *b, int64_t rsb, int roomy, int64_t columns, int load, const void *c, int64_t rsc,
                        const fn_coefficients *k, int still, void *p);
    void (*scaled)(int64_t columns, const void *x, double factor, void *y);    /* y = factor x */
} fn_selection_table;

#endif
