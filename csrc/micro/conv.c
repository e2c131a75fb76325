#include "isa.h"
#define FN_REAL f
#include "../real.h"
#include "conv.inc"
#undef FN_REAL
#define FN_REAL d
#include "../real.h"
#include "conv.inc"

const fn_conv_table *const FN_TABLE(conv)[2] = {&conv_f, &conv_d};
