#include "isa.h"
#include "../vmath.h"
#include "copy.inc"

#define FN_REAL f
#include "../real.h"
#include "pointwise.inc"
#undef FN_REAL
#define FN_REAL d
#include "../real.h"
#include "pointwise.inc"

const fn_pointwise_table *const FN_TABLE(pointwise)[2] = {&pointwise_f, &pointwise_d};
