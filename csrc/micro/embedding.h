/* Rows of an embedding matrix: added, scaled, measured, compared. */
#ifndef FN_EMBEDDING_H
#define FN_EMBEDDING_H

typedef struct fn_embedding_table {
    void (*add)(int64_t n, double scale, const void *x, void *y);               /* y += scale x */
    void (*scale)(int64_t n, double scale, void *x);
    double (*norm)(int64_t n, double p, const void *x);
    double (*dot)(int64_t n, const void *x, const void *y);
    /* y = max(y, x), which[i] = row where x won; `first` starts anew */
    void (*max)(int64_t n, int first, int64_t row, const void *x, void *y, int64_t *which);
    /* dw[which[i] * n + i] += g[i] for rows from <= which < to */
    void (*max_bwd)(int64_t n, const int64_t *which, int64_t from, int64_t to, const void *g, void *dw);
} fn_embedding_table;

#endif
