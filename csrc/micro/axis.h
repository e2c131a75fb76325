/* Sparse linear maps along one axis: interpolation, reflection, sums over neighbours. */
#ifndef FN_AXIS_H
#define FN_AXIS_H

typedef struct fn_axis_table {
    /* y[i] = sum over t of weight[t] * x[place[t] * stride + i], i < n; zeros when there are no taps */
    void (*combine)(int64_t n, int64_t taps, const int64_t *place, const double *weight, const void *x, int64_t stride,
                    void *y);
} fn_axis_table;

#endif
