/* Distances, cosines and norms of rows. */
#ifndef FN_DISTANCE_H
#define FN_DISTANCE_H

typedef struct fn_distance_table {
    /* d = (sum |x - y + eps|^p)^(1/p); dx and dy (= -dx) NULL where not wanted */
    void (*distance)(int64_t rows, int64_t n, double p, double eps, const void *x, const void *y, void *d);
    void (*distance_bwd)(int64_t rows, int64_t n, double p, double eps, const void *x, const void *y, const void *d,
                         const void *g, void *dx, void *dy);
    /* s = x y / (|x| |y|): each norm at least eps, or with `inside` the squares eps larger */
    void (*cosine)(int64_t rows, int64_t n, int inside, double eps, const void *x, const void *y, void *s);
    void (*cosine_bwd)(int64_t rows, int64_t n, int inside, double eps, const void *x, const void *y, const void *g,
                       void *dx, void *dy);
    /* y = x / max(|x|_p, eps) */
    void (*unit)(int64_t rows, int64_t n, double p, double eps, const void *x, void *y, void *norm);
    void (*unit_bwd)(int64_t rows, int64_t n, double p, double eps, const void *x, const void *norm, const void *g,
                     void *dx);
} fn_distance_table;

#endif
