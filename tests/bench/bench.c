/* bench.c - see bench.h. */
#define _POSIX_C_SOURCE 200809L
#include "bench.h"

#include "avow/base/bytes.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "avow/base/banned.h"

void bench_options_parse(int argc, char **argv, struct bench_options *out)
{
    int i = 1;
    *out = (struct bench_options){0};
    if (i < argc && avow_cstr_eq(argv[i], "--quick")) {
        out->quick = true;
        i++;
    }
    if (i < argc && argv[i][0] == '-') {
        fprintf(stderr, "usage: %s [--quick] [ID...]\n", argv[0]);
        exit(2);
    }
    out->ids = argv + i;
    out->ids_count = (size_t)(argc - i);
}

bool bench_wants(const struct bench_options *o, const char *id)
{
    for (size_t i = 0; i < o->ids_count; i++) {
        size_t len = strlen(o->ids[i]);
        if (avow_str_starts(avow_str_from(id), o->ids[i]) && (id[len] == '\0' || id[len] == '.'))
            return true;
    }
    return o->ids_count == 0;
}

uint64_t bench_cpu_ns(void)
{
    struct timespec t;
    if (clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t))
        abort();
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static int compare(const void *a, const void *b)
{
    double x, y;
    memcpy(&x, a, sizeof x);
    memcpy(&y, b, sizeof y);
    return x < y ? -1 : x > y;
}

double bench_median(double *values, size_t n)
{
    qsort(values, n, sizeof *values, compare);
    return n % 2 ? values[n / 2] : (values[n / 2 - 1] + values[n / 2]) / 2;
}

static double timed(const struct bench_side *s, size_t first, size_t n)
{
    uint64_t start = bench_cpu_ns();
    s->run(s->arg, first, n);
    return (double)(bench_cpu_ns() - start) / (double)n;
}

void bench_pair_run(const struct bench_pair *p, struct bench_pair_result *out)
{
    double *v = calloc(3 * p->rounds, sizeof *v);
    if (!v)
        abort();
    double *a = v, *b = v + p->rounds, *ratio = b + p->rounds;
    for (size_t i = 0; i < p->rounds; i++) {
        size_t first = i * p->advance;
        if (i % 2) { /* whoever comes second finds a machine that the first has warmed */
            b[i] = timed(&p->b, first, p->n);
            a[i] = timed(&p->a, first, p->n);
        } else {
            a[i] = timed(&p->a, first, p->n);
            b[i] = timed(&p->b, first, p->n);
        }
        ratio[i] = b[i] / a[i];
    }
    out->a_ns = bench_median(a, p->rounds);
    out->b_ns = bench_median(b, p->rounds);
    out->ratio = bench_median(ratio, p->rounds);
    out->spread = (ratio[p->rounds * 9 / 10] - ratio[p->rounds / 10]) / out->ratio;
    free(v);
}

/* The texts are ours: no quotes, no control characters. */
void bench_print(const struct bench_result *r)
{
    printf("{\"id\":\"%s\",\"what\":\"%s\",\"value\":%.6g,\"unit\":\"%s\",", r->id, r->what,
           r->value, r->unit);
    if (r->baseline_what)
        printf("\"baseline\":%.6g,\"baseline_what\":\"%s\",\"ratio\":%.4g,", r->baseline,
               r->baseline_what, r->ratio);
    else
        printf("\"baseline\":null,\"baseline_what\":\"none\",\"ratio\":null,");
    printf("\"goal\":\"%s\",\"met\":%s}\n", r->goal ? r->goal : "none, reported only",
           r->met || !r->goal ? "true" : "false");
    fflush(stdout);
}
