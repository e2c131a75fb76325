#include "isa.h"
#include "../vmath.h"

#define FN_REAL f
#include "../real.h"
#include "lanes.inc"
#include "norm.inc"
#undef FN_REAL
#define FN_REAL d
#include "../real.h"
#include "lanes.inc"
#include "norm.inc"

const fn_norm_table *const FN_TABLE(norm)[2] = {&norm_f, &norm_d};
