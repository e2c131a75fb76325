/* real.h: names a family's element type.  A family `<family>.inc` is written once in `real` and `vreal`, and its
 * `<family>.c` includes it twice:
 *
 *     #define FN_REAL f            #define FN_REAL d
 *     #include "../real.h"         #include "../real.h"
 *     #include "family.inc"        #include "family.inc"
 *
 * R(name) is the name with the element type's suffix: R(gemm_tile) is gemm_tile_f, then gemm_tile_d.
 */
#include "simd.h"

#undef real
#undef vreal
#undef vint
#undef rint_t
#undef LANES
#undef REAL_IS_DOUBLE

#undef FN_PASTE
#undef FN_PASTE2
#define FN_PASTE2(a, b) a##_##b
#define FN_PASTE(a, b) FN_PASTE2(a, b)
#undef R
#define R(name) FN_PASTE(name, FN_REAL)

#define FN_IS_f 0
#define FN_IS_d 1
#undef FN_IS2
#define FN_IS2(t) FN_IS_##t
#undef FN_IS
#define FN_IS(t) FN_IS2(t)

#if FN_IS(FN_REAL)
#define REAL_IS_DOUBLE 1
#define real double
#define vreal vd
#define vint vl
#define rint_t int64_t
#define LANES FN_LANES_D
#else
#define REAL_IS_DOUBLE 0
#define real float
#define vreal vf
#define vint vi
#define rint_t int32_t
#define LANES FN_LANES_F
#endif

#define vset1 R(vset1)
#define vload R(vload)
#define vstore R(vstore)
#define vload_n R(vload_n)
#define vstore_n R(vstore_n)
#define vselect R(vselect)
#define vmax R(vmax)
#define vmin R(vmin)
#define vabs R(vabs)
#define vfma R(vfma)
#define vsqrt R(vsqrt)
#define vround R(vround)
#define vtoint R(vtoint)
#define vfromint R(vfromint)
#define vsum R(vsum)
#define vhmax R(vhmax)
#define vbits R(vbits)
