/* Optimizer updates: one pass over parameter, gradient and state.  The formulas are the lines of ../update.def. */
#ifndef FN_UPDATE_H
#define FN_UPDATE_H

/* The numbers of one parameter's update; an update ignores those that its formula does not name. */
typedef struct fn_coefficients {
    double sign;            /* -1 to maximize */
    double decay;           /* L2 penalty: decay * p is added to the gradient, unless 0 */
    double shrink;          /* decoupled weight decay: p is multiplied by it */
    double rate, rate2;     /* step sizes, bias correction included */
    double keep, mix;       /* first average:  a = keep * a + mix * g */
    double keep2, mix2;     /* second average: b = keep2 * b + mix2 * g * g */
    double eps;
    double correction;      /* of the second average's bias */
    double lower, upper;
} fn_coefficients;

enum { FN_UPDATE_STATES = 3 };
enum {
#define UPDATE(name, states, ...) FN_UPDATE_##name,
#include "../update.def"
#undef UPDATE
    FN_UPDATE_COUNT
};

typedef void (*fn_update_row)(int64_t n, const fn_coefficients *k, void *p, const void *g, void *const state[]);

typedef struct fn_update_table {
    fn_update_row row[FN_UPDATE_COUNT];
    double (*sum_of_squares)(int64_t n, const void *x);
    void (*scale)(int64_t n, double factor, void *x);                       /* x *= factor */
    void (*clamp)(int64_t n, double lower, double upper, void *x);          /* x = min(max(x, lower), upper) */
} fn_update_table;

#endif
