/* Rows and columns reduced to single values, by reduction.def; largest and smallest elements; running sums. */
#ifndef FN_REDUCE_H
#define FN_REDUCE_H

typedef struct fn_reduction {
    const char *name;
    /* One value from n elements, `sx` apart; m is the value to deviate from. */
    double (*row)(int64_t n, const void *x, int64_t sx, double m);
    /* total[j] from x[0..rows)[j], rows `ld` apart; start says whether total holds nothing yet; m one value per column
     * or NULL. */
    void (*columns)(int64_t rows, int64_t n, const void *x, int64_t ld, const void *m, double *total, int start);
    void (*merge)(int64_t n, double *total, const double *other);
    /* y[r] = scale times row r of n neighbours, rows `ld` apart; m one value per row or NULL. */
    void (*rows)(int64_t rows, int64_t n, const void *x, int64_t ld, const void *m, double scale, void *y);
    double start;
} fn_reduction;

typedef struct fn_reduce_table {
    int reductions;
    const fn_reduction *reduction;
    void (*finish)(int64_t n, const double *total, double scale, void *y);      /* y = scale total */
    /* Extreme value and the first index where it is; NaN counts as the extreme.  y or index may be NULL. */
    void (*extreme_row)(int smallest, int64_t n, const void *x, void *y, int64_t *index);
    void (*extreme_columns)(int smallest, int64_t n, int64_t ld, int64_t width, const void *x, void *y, int64_t *index);
    /* Running sums or products of n rows of `width` neighbours, `ld` apart; reverse: from the last to the first. */
    void (*running)(int product, int reverse, int64_t n, int64_t ld, int64_t width, const void *x, void *y);
} fn_reduce_table;

#endif
