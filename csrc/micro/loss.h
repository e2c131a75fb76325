/* Losses: pointwise ones (../loss.def), those of a class index or label list per row, and CTC. */
#ifndef FN_LOSS_H
#define FN_LOSS_H

enum fn_loss {
#define LOSS(name, formula, slope_x, slope_t, slope_z) FN_LOSS_##name,
#include "../loss.def"
#undef LOSS
    FN_LOSSES
};

/* x, t, z operands, w weight per element (z, w NULL where absent), p, q parameters of the formula. */
typedef struct fn_loss_args {
    const void *x, *t, *z, *w;
    double p, q;
    void *out;                  /* value: every element's loss, or NULL */
    const void *g;              /* gradient: of the loss, element i at g[i * step] */
    int64_t step;
    void *dx, *dt, *dz;         /* gradient: NULL where not wanted */
} fn_loss_args;

/* One sequence of the connectionist temporal classification: log-probabilities p[t * stride + c], labels l[0..L). */
typedef struct fn_ctc {
    const void *p;
    int64_t T, C, stride, L, blank;
    const int64_t *l;
    double *alpha;              /* T x (2 L + 1), kept for backward */
    double *beta;               /* 2 x (2 L + 1), scratch of backward */
    double nll, g;
    void *dp;                   /* gradient, as p */
} fn_ctc;

typedef struct fn_loss_table {
    const char *name[FN_LOSSES];
    double (*value[FN_LOSSES])(const fn_loss_args *a, int64_t n);       /* returns the sum */
    void (*gradient[FN_LOSSES])(const fn_loss_args *a, int64_t n);
    double (*total)(int64_t n, const void *x);
    int (*check)(int64_t n, const int64_t *t, int64_t classes, int64_t ignore, int64_t *fault);
    int (*in_unit_interval)(int64_t n, const void *x);          /* 0 if an element is outside [0, 1] or NaN */
    /* x (N, C, inner) log-probabilities, t (N, inner); loss and den per target */
    void (*nll)(int64_t N, int64_t C, int64_t inner, const void *x, const int64_t *t, const void *w, int64_t ignore,
                void *loss, void *den);
    void (*nll_bwd)(int64_t N, int64_t C, int64_t inner, const int64_t *t, const void *w, int64_t ignore, const void *g,
                    int64_t step, void *dx);
    /* rows of C scores against one class (power 1 or 2) */
    void (*multi_margin)(int64_t rows, int64_t C, int power, double margin, const void *x, const int64_t *t, const void *w,
                         void *loss);
    void (*multi_margin_bwd)(int64_t rows, int64_t C, int power, double margin, const void *x, const int64_t *t,
                             const void *w, const void *g, int64_t step, void *dx);
    /* rows of C scores against a list of classes ended by -1; `hit` marks them, for backward */
    void (*multilabel_margin)(int64_t rows, int64_t C, const void *x, const int64_t *t, void *hit, void *loss);
    void (*multilabel_margin_bwd)(int64_t rows, int64_t C, const void *x, const int64_t *t, const void *hit, const void *g,
                                  int64_t step, void *dx);
    double (*ctc)(const fn_ctc *a);
    void (*ctc_bwd)(const fn_ctc *a);
} fn_loss_table;

#endif
