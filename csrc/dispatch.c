/* dispatch.c: one row per instruction set of this build, best first, with its run-time predicate. */
#include "fastnn.h"

#if defined(__x86_64__)
static int has_avx512(void) {
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq")
        && __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
}
static int has_amx(void) { return has_avx512() && fn_parts_usable(); }
static int has_avx2(void) { return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"); }
#endif
static int always(void) { return 1; }

#define SETS_X86 SET(amx, has_amx) SET(avx512, has_avx512) SET(avx2, has_avx2) SET(baseline, always)
#define SETS_OTHER SET(neon, always)
#if defined(__x86_64__)
#define SETS SETS_X86
#else
#define SETS SETS_OTHER
#endif

#define SET(name, predicate) void fn_fill_##name(fn_table *table);
SETS
#undef SET

#if defined(__x86_64__)
void fn_fill_amx(fn_table *table) {
    fn_fill_avx512(table);
    table->isa = "amx";
    table->parts = &fn_parts;
}
#endif

static const struct { void (*fill)(fn_table *); int (*usable)(void); } sets[] = {
#define SET(name, predicate) {fn_fill_##name, predicate},
    SETS
#undef SET
};
enum { COUNT = sizeof sets / sizeof sets[0] };
static fn_table tables[COUNT];

int fn_table_count(void) { return COUNT; }
int fn_table_usable(int i) { return sets[i].usable(); }
const fn_table *fn_table_at(int i) {
    if (!tables[i].isa) sets[i].fill(&tables[i]);
    return &tables[i];
}

/* The compile line of the common files: fastnn.show_config(). */
#ifndef FN_FLAGS
#define FN_FLAGS "unknown"
#endif
const char *fn_build_flags(void) { return FN_FLAGS; }
