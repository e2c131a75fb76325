#include "isa.h"
#define FN_REAL f
#include "../real.h"
#include "update.inc"
#undef FN_REAL
#define FN_REAL d
#include "../real.h"
#include "update.inc"

const fn_update_table *const FN_TABLE(update)[2] = {&update_f, &update_d};
