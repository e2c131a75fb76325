/* stages.h: threads that go through a row of stages together, each stage cut into parts.
 *
 * For work whose stages depend on each other (the time steps of a recurrent net) while one stage is far too short for a
 * call of fn_parallel.  Every thread walks through all stages: it claims its own part, then those that nobody has claimed, for one stage
 * or for several (all threads for the same ones).  Within a part it waits for those of the stage before, where it needs them.  So a
 * thread that comes late, or never, holds up nobody for longer than that: the others do its parts, and a thread only ever waits for a
 * part that another one is working on, in an earlier stage.
 *
 * Each part has its words on cache lines of its own: `claimed` is looked at by its owner alone while all goes well,
 * `done` is what the others wait for. */
#ifndef FN_STAGES_H
#define FN_STAGES_H

#include <stdatomic.h>
#include <stdint.h>

#include "waiting.h"

#if defined(__unix__) || defined(__APPLE__)
#include <sched.h>
#define FN_YIELD() sched_yield()
#else
#define FN_YIELD() ((void)0)
#endif

enum {
    FN_EAGER = 100,         /* looks without a pause: parts of a stage end within 100 ns of each other */
    FN_SPINS = 2000         /* some 30 us: then the worker of a part has lost its core, perhaps to this thread */
};

typedef struct {
    _Alignas(64) _Atomic int64_t claimed;       /* stages claimed so far */
    _Alignas(64) _Atomic int64_t done;          /* and finished */
} fn_part;

static inline void fn_parts_begin(fn_part *parts, int count) {
    for (int p = 0; p < count; p++) {
        atomic_init(&parts[p].claimed, 0);
        atomic_init(&parts[p].done, 0);
    }
}

/* May this thread do `count` stages of the part, from `stage` on?  Then it must, and say fn_part_done of each. */
static inline int fn_part_claim(fn_part *part, int64_t stage, int64_t count) {
    int64_t expected = stage;
    return atomic_load_explicit(&part->claimed, memory_order_relaxed) == stage &&
           atomic_compare_exchange_strong_explicit(&part->claimed, &expected, stage + count, memory_order_relaxed,
                                                   memory_order_relaxed);
}

static inline void fn_part_done(fn_part *part, int64_t stage) {
    atomic_store_explicit(&part->done, stage + 1, memory_order_release);
}

/* Is the part's stage done?  Then what was written there can be read. */
static inline int fn_part_ready(fn_part *part, int64_t stage) {
    return atomic_load_explicit(&part->done, memory_order_acquire) > stage;
}

static inline void fn_part_wait(fn_part *part, int64_t stage) {
    for (int spins = 0; !fn_part_ready(part, stage); spins++) {
        if (spins < FN_EAGER) continue;
        if (spins < FN_SPINS) FN_RELAX();
        else FN_YIELD();
    }
}

/* ---- calls too short to wake anybody for ---------------------------------------------------------------------------- */
/* A helper that has been woken spins for 30 us after a job.  Where jobs follow each other faster, one of a few microseconds gains by
 * a second thread; after a pause, waking it would cost more than the job.  So: does this call begin close behind a row of
 * others?  One that was shared says when it ended, as it may have paid for the waking. */
typedef struct {
    _Atomic int64_t last;
    atomic_int length;
} fn_row;

static inline int fn_row_begin(fn_row *row) {
    enum { SOON = 20000, CALLS = 8 };       /* ns */
    const int64_t now = fn_now_ns(), since = now - atomic_exchange_explicit(&row->last, now, memory_order_relaxed);
    int length = atomic_load_explicit(&row->length, memory_order_relaxed);
    length = since > SOON ? 0 : length < CALLS ? length + 1 : CALLS;
    atomic_store_explicit(&row->length, length, memory_order_relaxed);
    return length == CALLS;
}

static inline void fn_row_end(fn_row *row) { atomic_store_explicit(&row->last, fn_now_ns(), memory_order_relaxed); }

#endif
