/* bench_policy.c - P5: loads a runtime policy again and again, as a worker does. `bench_policy FILE
 * ROUNDS` prints one line of JSON: the median of CPU nanoseconds, and what was loaded. The baseline
 * is Python's and stands in policies.py. */
#include "bench.h"

#include "avow/base/file.h"
#include "avow/base/num.h"
#include "avow/core/runtime_policy.h"

#include <stdio.h>
#include <stdlib.h>

#include "avow/base/banned.h"

#define ROUNDS_MAX 1000u

static void failed(const struct avow_err *err)
{
    fprintf(stderr, "bench_policy: %s\n", err->msg);
    exit(1);
}

int main(int argc, char **argv)
{
    struct avow_err err = {.msg = "usage: bench_policy FILE ROUNDS"};
    struct avow_runtime_policy_stats stats = {0};
    struct avow_buf text;
    static double ns[ROUNDS_MAX];
    uint64_t rounds = 0;
    if (argc != 3 || !avow_num_parse_u64(avow_str_from(argv[2]), ROUNDS_MAX, &rounds) || !rounds)
        failed(&err);
    avow_buf_init(&text, AVOW_POLICY_MAX);
    if (avow_file_read(argv[1], &text, &err))
        failed(&err);
    for (size_t i = 0; i < rounds; i++) {
        struct avow_runtime_policy *p = NULL;
        uint64_t start = bench_cpu_ns();
        if (avow_runtime_policy_load(avow_buf_bytes(&text), &p, &err))
            failed(&err);
        ns[i] = (double)(bench_cpu_ns() - start);
        avow_runtime_policy_stats_get(p, &stats);
        avow_runtime_policy_free(p);
    }
    printf("{\"ns\": %.0f, \"digests\": %zu, \"excludes\": %zu, \"memory\": %zu}\n",
           bench_median(ns, (size_t)rounds), stats.digests, stats.excludes, stats.memory);
    avow_buf_deinit(&text);
    return 0;
}
