/* Rows of elementwise arithmetic. */
#ifndef FN_POINTWISE_H
#define FN_POINTWISE_H

typedef struct fn_pointwise_table {
    void (*add)(int64_t n, const void *x, const void *y, void *z);  /* z = x + y */
} fn_pointwise_table;

#endif
