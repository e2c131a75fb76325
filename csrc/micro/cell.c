#include "isa.h"
#include "../vmath.h"
#define FN_REAL f
#include "../real.h"
#include "cell.inc"
#undef FN_REAL
#define FN_REAL d
#include "../real.h"
#include "cell.inc"

const fn_cell_table *const FN_TABLE(cell)[2] = {&cell_table_f, &cell_table_d};
