/* Sparse linear maps along one axis: interpolation, reflection, sums over neighbours. */
#ifndef FN_AXIS_H
#define FN_AXIS_H

typedef struct fn_axis_table {
    /* y[i] = sum over t of weight[t] * x[place[t] * stride + i], i < n; zeros when there are no taps */
    void (*combine)(int64_t n, int64_t taps, const int64_t *place, const double *weight, const void *x, int64_t stride,
                    void *y);
    /* y[j] = sum over t from first[j] to first[j + 1] of weight[t] * x[place[t]], j < n */
    void (*along)(int64_t n, const int64_t *first, const int64_t *place, const double *weight, const void *x, void *y);
} fn_axis_table;

#endif
