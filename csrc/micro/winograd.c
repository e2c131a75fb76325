#include "isa.h"
#define FN_REAL f
#include "../real.h"
#include "winograd.inc"

/* In float only: the rounding errors of the transforms are not those that float64 promises. */
const fn_winograd_table *const FN_TABLE(winograd)[2] = {&winograd_f, NULL};
