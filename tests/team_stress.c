/* team_stress.c: many callers, odd block counts, nested calls, idle gaps, forks.  Prints ok and exits 0, or says what
 * went wrong.  test_threads.py builds it with ../csrc/team.c, plainly and under ThreadSanitizer. */
#include "../csrc/fastnn.h"
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { BLOCKS = 300, CALLERS = 4 };

typedef struct {
    int64_t alive;              /* overwritten on return: a late helper that looks at its job is found out */
    int threads, nested;
    int count[BLOCKS];
    atomic_int out_of_range;
    int64_t per_worker[16];
} work;

static void inner(void *context, int64_t block, int worker) {
    int *sum = context;
    (void)worker;
    *sum += (int)block;         /* nested calls are serial, so this needs no atomics */
}

static void body(void *context, int64_t block, int worker) {
    work *w = context;
    if (w->alive != 12345 || block < 0 || block >= BLOCKS || worker < 0 || worker >= w->threads) {
        atomic_store(&w->out_of_range, 1);
        return;
    }
    w->count[block]++;
    w->per_worker[worker]++;
    if (w->nested) {
        int sum = 0;
        fn_parallel(10, w->threads, inner, &sum);
        if (sum != 45) atomic_store(&w->out_of_range, 1);
    }
}

static int one_call(int64_t blocks, int threads, int nested) {
    work w;
    memset(&w, 0, sizeof w);
    w.alive = 12345;
    w.threads = threads;
    w.nested = nested;
    fn_parallel(blocks, threads, body, &w);
    w.alive = 0;
    int bad = atomic_load(&w.out_of_range);
    int64_t total = 0;
    for (int64_t b = 0; b < BLOCKS; b++) bad |= w.count[b] != (b < blocks);
    for (int k = 0; k < 16; k++) total += w.per_worker[k];
    return bad || total != blocks;
}

static void *caller(void *argument) {
    unsigned seed = (unsigned)(intptr_t)argument * 2654435761u + 1;
    static const int sizes[] = {0, 1, 2, 3, 7, 8, 13, 64, 101, 300};
    for (int i = 0; i < 3000; i++) {
        seed = seed * 1664525u + 1013904223u;
        if (one_call(sizes[(seed >> 8) % 10], 1 + (seed >> 16) % 8, (seed >> 24) % 4 == 0)) return (void *)1;
        if (i % 1000 == 0) usleep(2000);
    }
    return NULL;
}

static void add_one(void *context, int64_t block, int worker) {
    (void)block, (void)worker;
    atomic_fetch_add((atomic_int *)context, 1);
}

static int64_t now_ms(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * INT64_C(1000) + t.tv_nsec / 1000000;
}

static void caller_lingers(void *context, int64_t block, int worker) {
    (void)context, (void)worker;
    if (block == 0) usleep(1000);
}

/* The caller's blocks wait for the helper, a second in all. */
static void meet(void *context, int64_t block, int worker) {
    atomic_int *came = context;
    (void)block;
    if (worker) atomic_store(came, 1);
    for (int i = 0; i < 1000 && !atomic_load(came); i++) usleep(1000);
}

/* A helper falls asleep while the caller ends a job; the next one follows at once: its first block is not the caller's alone. */
static int woken_at_once(void) {
    if (fn_team_limit() < 2) return 1;
    for (int i = 0; i < 5; i++) {
        atomic_int came = 0, sum = 0;
        fn_parallel(2, 2, caller_lingers, NULL);
        fn_parallel(2, 2, add_one, &sum);       /* awake again, so that the lingering job finds it so */
        fn_parallel(2, 2, caller_lingers, NULL);
        const int64_t start = now_ms();
        fn_parallel(8, 2, meet, &came);
        if (now_ms() - start > 500) return 0;
    }
    return 1;
}

int main(int argc, char **argv) {
    const int forks = argc > 1 ? atoi(argv[1]) : 20;
    if (caller((void *)7)) return puts("alone: wrong blocks"), 1;
    pthread_t thread[CALLERS];
    int bad = 0;
    for (intptr_t i = 0; i < CALLERS; i++) pthread_create(&thread[i], NULL, caller, (void *)i);
    for (int i = 0; i < CALLERS; i++) {
        void *result;
        pthread_join(thread[i], &result);
        bad |= result != NULL;
    }
    if (bad) return puts("several callers: wrong blocks"), 1;
    if (!woken_at_once()) return puts("a helper that slept at the end of a job: not woken for the next"), 1;
    /* More blocks than a share can count one by one. */
    atomic_int sum = 0;
    fn_parallel(700001, 3, add_one, &sum);
    if (sum != 700001) return puts("many blocks: wrong count"), 1;
    for (int i = 0; i < forks; i++) {
        /* Fork while another thread's job runs, too. */
        pthread_create(&thread[0], NULL, caller, (void *)1);
        const pid_t child = fork();
        if (!child) {
            alarm(20);
            for (int k = 0; k < 50; k++) if (one_call(101, 4, 0)) _exit(1);
            _exit(0);
        }
        int status;
        waitpid(child, &status, 0);
        pthread_join(thread[0], NULL);
        if (status) return puts("child after fork: wrong or hanging"), 1;
        if (one_call(101, 4, 0)) return puts("parent after fork: wrong blocks"), 1;
    }
    return puts("ok"), 0;
}
