#include "isa.h"
#define FN_REAL f
#include "../real.h"
#include "winograd.inc"
#undef FN_REAL
#define FN_REAL d
#include "../real.h"
#include "winograd.inc"

const fn_winograd_table *const FN_TABLE(winograd)[2] = {&winograd_f, &winograd_d};
