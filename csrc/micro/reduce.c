#include "isa.h"
#include <math.h>

#define FN_REAL f
#include "../real.h"
#include "lanes.inc"
#include "reduce.inc"
#undef FN_REAL
#define FN_REAL d
#include "../real.h"
#include "lanes.inc"
#include "reduce.inc"

const fn_reduce_table *const FN_TABLE(reduce)[2] = {&reduce_f, &reduce_d};
