/* team.c: what handing work to the team costs, beside OpenMP in the same run (docs/threads.md quotes it).
 *
 *   gcc -std=gnu11 -O2 -fopenmp -pthread bench/lab/team.c csrc/team.c -o team && ./team
 *
 * A case is one job of 8 blocks of `us` microseconds each on two threads.  Printed: median and mean of a
 * call, in microseconds: serial, the team, OpenMP (dynamic schedule). */
#define _GNU_SOURCE
#include "../../csrc/fastnn.h"
#include <omp.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { BLOCKS = 8, MOST = 4000, ROUNDS = 10 };

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1e6 + t.tv_nsec * 1e-3;
}

static long turns_per_us;

static void work(long turns) { for (long i = 0; i < turns; i++) __asm__ volatile("" ::: "memory"); }

static void body(void *context, int64_t block, int worker) {
    (void)block, (void)worker;
    work(*(long *)context);
}

static void call(int how, long turns) {
    if (how == 0) for (int b = 0; b < BLOCKS; b++) body(&turns, b, 0);
    if (how == 1) fn_parallel(BLOCKS, 2, body, &turns);
    if (how == 2) {
#pragma omp parallel for num_threads(2) schedule(dynamic, 1)
        for (int b = 0; b < BLOCKS; b++) body(&turns, b, 0);
    }
}

static int ascending(const void *a, const void *b) { return (*(double *)a > *(double *)b) - (*(double *)a < *(double *)b); }

static void measure(const char *name, double us, int idle_us, int calls) {
    static double t[3][MOST];
    const long turns = (long)(us / BLOCKS * turns_per_us);
    for (int round = 0; round < ROUNDS; round++) for (int how = 0; how < 3; how++) {
        usleep(5000);           /* OpenMP's helpers stop spinning */
        for (int i = -3; i < calls / ROUNDS; i++) {
            if (idle_us) usleep(idle_us);
            const double start = now();
            call(how, turns);
            if (i >= 0) t[how][round * (calls / ROUNDS) + i] = now() - start;
        }
    }
    printf("%-34s", name);
    for (int how = 0; how < 3; how++) {
        double sum = 0;
        for (int i = 0; i < calls; i++) sum += t[how][i];
        qsort(t[how], calls, sizeof(double), ascending);
        printf(" %8.1f %8.1f", t[how][calls / 2], sum / calls);
    }
    printf("\n");
}

int main(void) {
    for (int i = 0; i < 20; i++) {
        const double start = now();
        work(1000000);
        const long rate = (long)(1e6 / (now() - start));
        if (rate > turns_per_us) turns_per_us = rate;
    }
    printf("%-34s %17s %17s %17s\n", "", "serial med mean", "team med mean", "OpenMP med mean");
    measure("empty, hot", 0, 0, 4000);
    measure("20 us, hot", 20, 0, 4000);
    measure("100 us, hot", 100, 0, 2000);
    measure("empty, after 20 ms idle", 0, 20000, 60);
    measure("40 us, after 20 ms idle", 40, 20000, 60);
    measure("100 us, after 20 ms idle", 100, 20000, 60);
    measure("1 ms, after 20 ms idle", 1000, 20000, 60);
    measure("100 us, after 0.1 ms idle", 100, 100, 2000);
    const pid_t busy = fork();
    if (!busy) for (;;) work(1000);
    measure("one core busy: empty, hot", 0, 0, 4000);
    measure("one core busy: 100 us, hot", 100, 0, 2000);
    measure("one core busy: 100 us, 20 ms idle", 100, 20000, 60);
    kill(busy, SIGKILL);
    waitpid(busy, NULL, 0);
    return 0;
}
