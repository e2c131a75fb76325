#include "isa.h"
#include "../isa/pieces.h"
#define FN_REAL f
#include "../real.h"
#include "gemm.inc"
#undef FN_REAL
#define FN_REAL d
#include "../real.h"
#include "gemm.inc"

const fn_gemm_table *const FN_TABLE(gemm)[2] = {&gemm_f, &gemm_d};
