/* fastnn.h: the border between the C micro-kernels and the Cython drivers.
 *
 * Size letters, everywhere: N batch, C channels, H height, W width, T time steps, I inputs, O outputs, K classes or
 * the summed dimension of a product; M x N x K in a matrix product C[M][N] += A[M][K] B[K][N].
 *
 * A micro-kernel knows one instruction set and one thread; a driver (Cython) splits the work; an op (Cython or
 * Python) checks arguments and makes one kernel call.  A kernel call is a record, fn_call: it is run at once (eager)
 * or kept and replayed (compiled step); both run the same driver on the same slots.
 */
#ifndef FASTNN_H
#define FASTNN_H

#include <stddef.h>
#include <stdint.h>

enum fn_dtype { FN_F32, FN_F64, FN_I64, FN_I32, FN_U8, FN_BOOL };

/* What a driver does with a slot. */
enum fn_role {
    FN_IN,      /* read */
    FN_OUT,     /* overwritten whole, never read */
    FN_ACC,     /* added to */
    FN_STATE    /* read and overwritten: running statistics, optimizer state, parameters under an update */
};

/* Data errors that only a driver can see; core turns them into IndexError and the like. */
enum fn_status { FN_OK, FN_INDEX_OUT_OF_RANGE, FN_OUTSIDE_UNIT_INTERVAL };

enum { FN_SLOTS = 16, FN_SIZES = 32, FN_SCALARS = 8, FN_MEMO = 320 };

typedef struct fn_call fn_call;
typedef void (*fn_driver)(fn_call *call);
typedef int64_t (*fn_scratch)(const fn_call *call);

/* A kernel's declaration, made once beside its driver (`declare` in kernels/native.pxd). */
typedef struct fn_kernel {
    const char *name;
    int slots;
    const char *slot_name[FN_SLOTS];
    uint8_t role[FN_SLOTS];
    fn_driver run;
    fn_scratch scratch;         /* bytes of scratch memory wanted, or NULL */
    int keeps_denormals;        /* runs in the caller's float mode; others take denormal numbers for 0 (mode.h) */
} fn_kernel;

struct fn_call {
    const fn_kernel *kernel;
    int dtype;                  /* enum fn_dtype of the main slots */
    int threads;                /* at most this many threads; the result does not depend on it */
    int status;                 /* enum fn_status, set by the driver */
    int64_t fault;              /* the offending value when status is not FN_OK */
    double flops, bytes;        /* work estimate: the roofline of plan.explain(), and when to drop the GIL */
    void *scratch;              /* kernel->scratch(call) bytes, 64-byte aligned, contents undefined */
    void *memo;                 /* in a plan FN_MEMO bytes, zeroed when sizes or threads change: what a driver derived from them; or NULL */
    void *slot[FN_SLOTS];
    int64_t size[FN_SIZES];
    double scalar[FN_SCALARS];
};

/* ---- threads (team.c) -------------------------------------------------------------------------------------
 * fn_parallel runs body(context, b) for every block 0 <= b < blocks, on at most `threads` threads, the caller among
 * them, and returns when all are done.  Blocks are claimed one by one, so a late or preempted helper costs at most the
 * block it holds.  Cut blocks by shape, never by thread count: then results do not depend on it.  Nested calls and
 * calls while the team serves another caller run serially.  `worker` in 0..threads-1 names scratch. */
typedef void (*fn_block)(void *context, int64_t block, int worker);
void fn_parallel(int64_t blocks, int threads, fn_block body, void *context);
int fn_team_limit(void);
int fn_team_awake(void);        /* are helpers waiting for work without sleeping? */

/* ---- tables of micro-kernels: one struct per family, one table per instruction set ------------------------- */
#include "micro/tables.h"
#include "parts.h"

typedef struct fn_table {
    const char *isa;
    int vector_bytes;
#define FAMILY(name) const fn_##name##_table *name[2];      /* float, double */
#include "micro/families.def"
#undef FAMILY
    const fn_parts_table *parts;                            /* of a machine that has such units, or NULL */
} fn_table;

/* The tables compiled into this build, best first, and whether this machine can run each. */
const fn_table *fn_table_at(int i);
int fn_table_usable(int i);
int fn_table_count(void);
const char *fn_build_flags(void);

#endif
