/* team.c: the threads.  fastnn.h has the contract of fn_parallel, docs/threads.md the reasons and the figures.
 *
 * A job's blocks are cut into one contiguous share per thread: a thread first drains its own share (the same data
 * meets the same cache in call after call), then helps with the others'.  A share is one atomic word, the job's number
 * and the units left in it; claiming is a compare-and-swap that takes one unit away.
 *
 * Why a late helper is harmless.  A helper copies the job's description first and claims afterwards.  A claim succeeds
 * only if the share still carries the job's number and has units left; then the job cannot have ended between copy and
 * claim (its end needs every unit reported, this one too), so the copy is that of the running job.  After the job the
 * number never comes back (48 bits), every claim fails, and body and context are never touched. */
#define _GNU_SOURCE
#include "fastnn.h"

#ifdef FASTNN_SERIAL

int fn_team_limit(void) { return 1; }

int fn_team_awake(void) { return 0; }

void fn_parallel(int64_t blocks, int threads, fn_block body, void *context) {
    (void)threads;
    for (int64_t b = 0; b < blocks; b++) body(context, b, 0);
}

#else

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>

#include "mode.h"
#include "waiting.h"

enum {
    TEAM_LIMIT = 256,
    SPIN_NS = 30000,            /* a thread that waits spins this long before it sleeps */
    WORTH_NS = 50000,           /* waking a sleeping thread costs 10-20 us: the rest of a job must be longer than this */
    SOON_NS = 100000,           /* two jobs closer than this are part of a loop */
    UNITS = 65535,              /* largest count of a share: 16 bits */
    UNIT_BITS = 16,
    STACK_BYTES = 1 << 21
};

/* ---- sleeping until a word changes ------------------------------------------------------------------------- */

typedef _Atomic uint32_t word;

#ifdef __linux__
#include <linux/futex.h>
#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>

static void word_wait(word *w, uint32_t while_it_is) {
    syscall(SYS_futex, w, FUTEX_WAIT_PRIVATE, while_it_is, NULL, NULL, 0);
}
static void word_wake(word *w) { syscall(SYS_futex, w, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0); }
static void word_reset(void) {}

#else

static pthread_mutex_t sleep_mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t sleep_changed = PTHREAD_COND_INITIALIZER;

static void word_wait(word *w, uint32_t while_it_is) {
    pthread_mutex_lock(&sleep_mutex);
    if (atomic_load(w) == while_it_is) pthread_cond_wait(&sleep_changed, &sleep_mutex);
    pthread_mutex_unlock(&sleep_mutex);
}
static void word_wake(word *w) {
    (void)w;
    pthread_mutex_lock(&sleep_mutex);
    pthread_cond_broadcast(&sleep_changed);
    pthread_mutex_unlock(&sleep_mutex);
}
static void word_reset(void) {
    sleep_mutex = (pthread_mutex_t)PTHREAD_MUTEX_INITIALIZER;
    sleep_changed = (pthread_cond_t)PTHREAD_COND_INITIALIZER;
}
#endif

/* ---- the team ---------------------------------------------------------------------------------------------- */

typedef struct {
    _Alignas(64) _Atomic uint64_t left;     /* job number << UNIT_BITS | units left */
    _Atomic int64_t end;                    /* one past the share's last unit */
    word asleep;                            /* its helper sleeps, or is about to */
    atomic_int thread;                      /* its number for the scheduler; 0 before it has started */
    int off;                                /* kept off this core (guarded by busy) */
} member;

static struct {
    _Alignas(64) atomic_int busy;           /* somebody's job is running */
    int helpers, limit;                     /* started; how many may be (these three guarded by busy) */
    int64_t last_end;                       /* of a job that found the team asleep */
    /* The job: written while no unit can be claimed, copied before claiming. */
    _Alignas(64) _Atomic int64_t blocks, grain;     /* a unit is `grain` blocks */
    _Atomic(fn_block) body;
    _Atomic(void *) context;
    atomic_int threads;
    _Atomic fn_mode mode;                   /* floats, as the caller's */
    _Alignas(64) atomic_int core;           /* where the caller runs: looked at by helpers that wait, so written when it changes */
    _Alignas(64) _Atomic uint64_t number;   /* of the newest job; published last */
    _Alignas(64) word finished;             /* units reported by helpers */
    word master_asleep;
    member of[TEAM_LIMIT];                  /* 0 is the caller */
} team = {.limit = TEAM_LIMIT};

static _Thread_local int inside;        /* this thread runs a block: its calls are nested */

typedef struct {
    uint64_t number;
    int64_t blocks, grain;
    int threads;
    fn_block body;
    void *context;
    fn_mode mode;
} job;

int fn_team_limit(void) { return TEAM_LIMIT; }

int fn_team_awake(void) {
    return atomic_load_explicit(&team.of[1].thread, memory_order_relaxed)
        && !atomic_load_explicit(&team.of[1].asleep, memory_order_relaxed);
}

/* Claim and run units of one share until it is empty, or `most`; returns how many. */
static uint32_t drain(const job *j, member *share, int worker, uint32_t most) {
    uint32_t done = 0;
    uint64_t left = atomic_load_explicit(&share->left, memory_order_acquire);
    while (left >> UNIT_BITS == j->number && (left & UNITS) && done < most) {
        const int64_t end = atomic_load_explicit(&share->end, memory_order_relaxed);
        if (!atomic_compare_exchange_weak_explicit(&share->left, &left, left - 1, memory_order_acq_rel,
                                                   memory_order_acquire)) continue;
        int64_t b = (end - (int64_t)(left & UNITS)) * j->grain, stop = b + j->grain;
        if (stop > j->blocks) stop = j->blocks;
        for (; b < stop; b++) j->body(j->context, b, worker);
        done++;
        left = atomic_load_explicit(&share->left, memory_order_acquire);
    }
    return done;
}

static uint32_t drain_all(const job *j, int worker) {
    uint32_t done = 0;
    for (int k = worker; k < j->threads; k++) done += drain(j, &team.of[k], worker, UINT32_MAX);
    for (int k = 0; k < worker; k++) done += drain(j, &team.of[k], worker, UINT32_MAX);
    return done;
}

/* ---- placement: the scheduler likes to wake a helper on its caller's core, where it takes the caller's time ---- */

#ifdef __linux__
static int this_core(void) { return sched_getcpu(); }
static int thread_number(void) { return (int)syscall(SYS_gettid); }

/* Let a sleeping helper run on the caller's cores without the one the caller is on, if others are left. */
static void keep_off(member *m, int core) {
    const int thread = atomic_load_explicit(&m->thread, memory_order_relaxed);
    cpu_set_t cores;
    if (m->off == core || !thread || core < 0 || sched_getaffinity(0, sizeof cores, &cores)) return;
    CPU_CLR(core, &cores);
    if (CPU_COUNT(&cores) && !sched_setaffinity(thread, sizeof cores, &cores)) m->off = core;
}
#else
static int this_core(void) { return -1; }
static int thread_number(void) { return 0; }
static void keep_off(member *m, int core) { (void)m, (void)core; }
#endif

/* Thread w wakes 2w+1 and 2w+2: nobody pays for more than two. */
static void wake_next(int w, int threads) {
    for (int k = 2 * w + 1; k <= 2 * w + 2 && k < threads; k++)
        if (atomic_load(&team.of[k].asleep) && atomic_exchange(&team.of[k].asleep, 0)) {
            if (!w) keep_off(&team.of[k], atomic_load_explicit(&team.core, memory_order_relaxed));
            word_wake(&team.of[k].asleep);
        }
}

/* Waits for a job newer than `seen`: spins unless that takes the caller's core, then sleeps. */
static uint64_t next_number(int w, uint64_t seen) {
    word *asleep = &team.of[w].asleep;
    uint64_t number;
    const int64_t deadline = fn_now_ns() + SPIN_NS;
    while (this_core() != atomic_load_explicit(&team.core, memory_order_relaxed) && fn_now_ns() < deadline) {
        for (int i = 0; i < 32; i++) {
            number = atomic_load_explicit(&team.number, memory_order_acquire);
            if (number != seen) return number;
            FN_RELAX();
        }
    }
    /* The order of these two against the master's (publish, then look who sleeps) loses no wake-up. */
    atomic_store(asleep, 1);
    while ((number = atomic_load(&team.number)) == seen) {
        word_wait(asleep, 1);
        if (!atomic_load(asleep)) {
            /* woken for a job; one that came later is as good */
            number = atomic_load(&team.number);
            if (number != seen) return number;
            atomic_store(asleep, 1);
        }
    }
    atomic_store(asleep, 0);
    return number;
}

static void *helper(void *argument) {
    const int w = (int)(intptr_t)argument;
    uint64_t seen = 0;
    fn_mode mode = fn_mode_now();
    inside = 1;
    atomic_store_explicit(&team.of[w].thread, thread_number(), memory_order_relaxed);
    for (;;) {
        job j;
        seen = j.number = next_number(w, seen);
        j.blocks = atomic_load_explicit(&team.blocks, memory_order_relaxed);
        j.grain = atomic_load_explicit(&team.grain, memory_order_relaxed);
        j.threads = atomic_load_explicit(&team.threads, memory_order_relaxed);
        j.body = atomic_load_explicit(&team.body, memory_order_relaxed);
        j.context = atomic_load_explicit(&team.context, memory_order_relaxed);
        j.mode = atomic_load_explicit(&team.mode, memory_order_relaxed);
        if (w >= j.threads) continue;
        if (j.mode != mode) fn_mode_set(mode = j.mode);
        wake_next(w, j.threads);
        const uint32_t done = drain_all(&j, w);
        if (!done) continue;
        atomic_fetch_add(&team.finished, done);
        if (atomic_load(&team.master_asleep)) word_wake(&team.finished);
    }
    return NULL;
}

/* In a forked child there are no helpers, and whoever held the team stayed in the parent, with his job. */
static void forget_helpers(void) {
    word_reset();
    for (int k = 0; k < TEAM_LIMIT; k++) {
        atomic_store(&team.of[k].left, 0);
        atomic_store(&team.of[k].asleep, 0);
        atomic_store(&team.of[k].thread, 0);
        team.of[k].off = -1;
    }
    atomic_store(&team.master_asleep, 0);
    team.helpers = 0;
    team.limit = TEAM_LIMIT;
    atomic_store(&team.busy, 0);
}

/* Starts helpers up to threads - 1; fewer when the system gives no more.  Returns the threads there are. */
static int grow(int threads) {
    static int registered;
    if (!registered) registered = !pthread_atfork(NULL, NULL, forget_helpers);
    if (threads > team.limit) threads = team.limit;
    if (team.helpers + 1 >= threads) return threads;
    /* Signals belong to the program's own threads. */
    sigset_t all, before;
    pthread_attr_t attributes;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    pthread_attr_init(&attributes);
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    pthread_attr_setstacksize(&attributes, STACK_BYTES);
    while (team.helpers + 1 < threads) {
        pthread_t thread;
        if (pthread_create(&thread, &attributes, helper, (void *)(intptr_t)(team.helpers + 1))) break;
        team.of[++team.helpers].off = -1;
    }
    pthread_attr_destroy(&attributes);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (team.helpers + 1 < threads) team.limit = team.helpers + 1;
    return threads < team.limit ? threads : team.limit;
}

static void publish(const job *j, int64_t units) {
    const int core = this_core();
    if (atomic_load_explicit(&team.core, memory_order_relaxed) != core) atomic_store_explicit(&team.core, core, memory_order_relaxed);
    atomic_store_explicit(&team.blocks, j->blocks, memory_order_relaxed);
    atomic_store_explicit(&team.grain, j->grain, memory_order_relaxed);
    atomic_store_explicit(&team.threads, j->threads, memory_order_relaxed);
    atomic_store_explicit(&team.body, j->body, memory_order_relaxed);
    atomic_store_explicit(&team.context, j->context, memory_order_relaxed);
    atomic_store_explicit(&team.mode, j->mode, memory_order_relaxed);
    atomic_store_explicit(&team.finished, 0, memory_order_relaxed);
    for (int k = 0; k < j->threads; k++) {
        const int64_t begin = units * k / j->threads, end = units * (k + 1) / j->threads;
        atomic_store_explicit(&team.of[k].end, end, memory_order_relaxed);
        atomic_store_explicit(&team.of[k].left, j->number << UNIT_BITS | (uint64_t)(end - begin), memory_order_release);
    }
    atomic_store(&team.number, j->number);
}

/* Waits for the units that helpers hold. */
static void await(uint32_t units) {
    if (atomic_load_explicit(&team.finished, memory_order_acquire) == units) return;
    const int64_t deadline = fn_now_ns() + SPIN_NS;
    do {
        for (int i = 0; i < 32; i++) {
            if (atomic_load_explicit(&team.finished, memory_order_acquire) == units) return;
            FN_RELAX();
        }
    } while (fn_now_ns() < deadline);
    atomic_store(&team.master_asleep, 1);
    for (uint32_t f; (f = atomic_load(&team.finished)) != units;) word_wait(&team.finished, f);
    atomic_store(&team.master_asleep, 0);
}

/* Is the job worth waking a sleeping team?  Yes if another one has just ended, then more will follow; else, with blocks in
 * plenty, the caller does the first to find out. */
static int worth_waking(const job *j, int64_t units, uint32_t *done) {
    const int64_t start = fn_now_ns();
    if (units < 4 * j->threads || start - team.last_end < SOON_NS) return 1;
    *done = drain(j, &team.of[0], 0, 1);
    return (fn_now_ns() - start) * (units - 1) > WORTH_NS;
}

static void on_team(int64_t blocks, int threads, fn_block body, void *context) {
    job j = {.blocks = blocks, .threads = threads, .body = body, .context = context, .mode = fn_mode_now()};
    const int64_t most = (int64_t)UNITS * threads;
    j.number = atomic_load_explicit(&team.number, memory_order_relaxed) + 1;
    j.grain = (blocks + most - 1) / most;
    const int64_t units = (blocks + j.grain - 1) / j.grain;
    publish(&j, units);
    uint32_t done = 0;
    const int asleep = atomic_load(&team.of[1].asleep);
    if (!asleep || worth_waking(&j, units, &done)) wake_next(0, threads);
    done += drain_all(&j, 0);
    await((uint32_t)units - done);
    /* asleep by now: the caller had a long unit to itself at the end */
    if (asleep || atomic_load_explicit(&team.of[1].asleep, memory_order_relaxed)) team.last_end = fn_now_ns();
}

void fn_parallel(int64_t blocks, int threads, fn_block body, void *context) {
    const int nested = inside;
    if (threads > blocks) threads = (int)blocks;
    inside = 1;
    if (threads > 1 && !nested && !atomic_exchange_explicit(&team.busy, 1, memory_order_acquire)) {
        on_team(blocks, grow(threads), body, context);
        atomic_store_explicit(&team.busy, 0, memory_order_release);
    } else {
        for (int64_t b = 0; b < blocks; b++) body(context, b, 0);
    }
    inside = nested;
}

#endif
