/* bench.h - what the benchmarks in C share: clocks, medians, one line of JSON a result.
 *
 * A value is always measured beside its baseline, in turns (A B A B), so that a machine that gets
 * slower or busier changes both. Time is that of the thread's CPU: what others compute at the same
 * time costs caches, not seconds. */
#ifndef AVOW_TESTS_BENCH_H
#define AVOW_TESTS_BENCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct bench_options {
    bool quick; /* every id once, tiny: only the form of the output means anything */
    char *const *ids;
    size_t ids_count; /* 0: all */
};

/* `program [--quick] [ID...]`; exits with 2 on anything else. */
void bench_options_parse(int argc, char **argv, struct bench_options *out);
/* An id is wanted if it or a prefix of it that ends before a dot was named, or nothing was. */
bool bench_wants(const struct bench_options *o, const char *id);

uint64_t bench_cpu_ns(void); /* of this thread */
/* Sorts the values; n > 0. */
double bench_median(double *values, size_t n);

/* Two things measured in turns. Each call does `n` operations. */
struct bench_side {
    void (*run)(void *arg, size_t first, size_t n);
    void *arg;
};
struct bench_pair {
    struct bench_side a, b;
    size_t rounds;
    size_t n;       /* operations a round */
    size_t advance; /* added to `first` from round to round */
};
struct bench_pair_result {
    double a_ns, b_ns; /* median for one operation */
    double ratio;      /* median of b/a by round: how fast a is in units of b */
    double spread;     /* of that ratio: (90th - 10th percentile) / median */
};
void bench_pair_run(const struct bench_pair *p, struct bench_pair_result *out);

struct bench_result {
    const char *id, *what, *unit;
    double value;
    const char *baseline_what; /* NULL: there is none */
    double baseline, ratio;
    const char *goal; /* NULL: reported only */
    bool met;
};
/* One line of JSON on standard output. */
void bench_print(const struct bench_result *r);

/* Counted since the start of the process: calls of malloc, calloc, realloc by anybody in it,
 * libcrypto included. Only in programs that link count_alloc.c. */
uint64_t bench_allocations(void);

#endif
