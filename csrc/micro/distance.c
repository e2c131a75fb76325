#include "isa.h"
#include <math.h>

/* The slope of |v|^p's p-th root, whose value is `norm`: sign(v) (|v| / norm)^(p - 1), 0 at a norm of 0.  The largest
 * elements of a maximum norm share the slope; `ties` is their number. */
static double norm_slope(double v, double norm, double p, double ties) {
    const double sign = v > 0 ? 1 : v < 0 ? -1 : v;
    if (p == 1) return sign;
    if (norm == 0 || p == 0) return 0;
    if (p == 2) return v / norm;
    if (p == INFINITY) return fabs(v) == norm ? sign / ties : 0;
    return v == 0 ? 0 : sign * pow(fabs(v) / norm, p - 1);
}

#define FN_REAL f
#include "../real.h"
#include "lanes.inc"
#include "distance.inc"
#undef FN_REAL
#define FN_REAL d
#include "../real.h"
#include "lanes.inc"
#include "distance.inc"

const fn_distance_table *const FN_TABLE(distance)[2] = {&distance_table_f, &distance_table_d};
