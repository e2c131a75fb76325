#include "isa.h"
#define FN_REAL f
#include "../real.h"
#include "pool.inc"
#undef FN_REAL
#define FN_REAL d
#include "../real.h"
#include "pool.inc"

const fn_pool_table *const FN_TABLE(pool)[2] = {&pool_f, &pool_d};
