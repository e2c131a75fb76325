#include "isa.h"
#define FN_REAL f
#include "../real.h"
#include "phased.inc"

/* In float only: the rounding errors of the transforms are not those that float64 promises. */
const fn_phased_table *const FN_TABLE(phased)[2] = {&phased_f, NULL};
