#include "isa.h"
#define FN_REAL f
#include "../real.h"
#include "axis.inc"
#undef FN_REAL
#define FN_REAL d
#include "../real.h"
#include "axis.inc"

const fn_axis_table *const FN_TABLE(axis)[2] = {&axis_f, &axis_d};
