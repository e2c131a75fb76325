/* isa.h: included first by every file that is compiled once per instruction set.  setup.py defines FN_ISA
 * (avx512, avx2, baseline, neon); FN_TABLE(pointwise) is this set's symbol for the family's pair of tables. */
#include "../fastnn.h"
#include "../simd.h"

#define FN_ISA_PASTE2(a, b) fn_##a##_##b
#define FN_ISA_PASTE(a, b) FN_ISA_PASTE2(a, b)
#define FN_TABLE(family) FN_ISA_PASTE(family, FN_ISA)
#define FN_STRING2(x) #x
#define FN_STRING(x) FN_STRING2(x)
