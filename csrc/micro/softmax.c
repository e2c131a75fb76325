#include "isa.h"
#include "../vmath.h"
#include <math.h>

/* 0 when every target but `ignore` names a class; else the first that does not goes to *fault. */
static int check(int64_t n, const int64_t *t, int64_t classes, int64_t ignore, int64_t *fault) {
    for (int64_t i = 0; i < n; i++)
        if ((uint64_t)t[i] >= (uint64_t)classes && t[i] != ignore) {
            *fault = t[i];
            return 1;
        }
    return 0;
}

#define FN_REAL f
#include "../real.h"
#include "lanes.inc"
#include "softmax.inc"
#include "cross_entropy.inc"
#undef FN_REAL
#define FN_REAL d
#include "../real.h"
#include "lanes.inc"
#include "softmax.inc"
#include "cross_entropy.inc"

const fn_softmax_table *const FN_TABLE(softmax)[2] = {&softmax_f, &softmax_d};
