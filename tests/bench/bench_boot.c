/* bench_boot.c - P3: a firmware log parsed, replayed, bound and judged, again and again.
 * `bench_boot LOG POLICY ROUNDS` prints one line of JSON: medians of CPU nanoseconds. POLICY is a
 * file, or `-`: the policy that is made of the log. The baseline is Keylime's and stands in
 * boot.py. */
#include "bench.h"

#include "avow/base/file.h"
#include "avow/base/num.h"
#include "avow/core/boot_make.h"
#include "avow/core/boot_policy.h"

#include <stdio.h>
#include <stdlib.h>

#include "avow/base/banned.h"

#define ROUNDS_MAX 1000u
#define LOGS_A_ROUND 20u /* a log takes some hundred microseconds */

enum stage { PARSE, REPLAY, BIND, JUDGE, STAGES };

struct boot {
    struct avow_bytes text;
    struct avow_boot_policy *policy;
    struct avow_arena arena;
    struct avow_event_log log;
    struct avow_event_replay replay; /* in all banks of the log */
    struct avow_event_replay proven; /* in the bank that a quote proves: SHA-256 */
    size_t events;
};

static void failed(const char *what)
{
    fprintf(stderr, "bench_boot: %s\n", what);
    exit(1);
}

static void read_file(const char *path, struct avow_buf *out)
{
    struct avow_err err = {0};
    avow_buf_init(out, AVOW_BOOT_POLICY_MAX);
    if (avow_file_read(path, out, &err))
        failed(err.msg);
}

static void load_policy(struct boot *b, const char *path)
{
    struct avow_err err = {0};
    struct avow_buf text;
    if (avow_str_is(avow_str_from(path), "-")) {
        const struct avow_boot_make make = {.logs = &b->text, .logs_count = 1};
        avow_buf_init(&text, AVOW_BOOT_POLICY_MAX);
        if (avow_boot_policy_make(&make, &text, &err))
            failed(err.msg);
    } else {
        read_file(path, &text);
    }
    if (avow_boot_policy_load(avow_buf_bytes(&text), &b->policy, &err))
        failed(err.msg);
    avow_buf_deinit(&text);
}

static void replay_log(struct boot *b)
{
    avow_event_replay(&b->log, &b->replay);
    b->proven = (struct avow_event_replay){.banks_count = 1};
    for (size_t i = 0; i < b->replay.banks_count; i++) {
        if (b->replay.banks[i].alg == AVOW_HASH_SHA256)
            b->proven.banks[0] = b->replay.banks[i];
    }
}

static void bind_events(struct boot *b)
{
    struct avow_event_walk w;
    struct avow_event e;
    enum avow_finding_id id;
    b->events = 0;
    avow_event_walk_init(&w, &b->log);
    while (avow_event_walk_next(&w, &e)) {
        b->events++;
        if (avow_event_complaint(&e, &b->replay, &id))
            failed("an event of a real log is not bound");
    }
}

static void complain(void *arg, const struct avow_boot_complaint *c)
{
    (void)arg;
    failed(c->detail);
}

static void run(struct boot *b, enum stage stage)
{
    struct avow_err err = {0};
    struct avow_boot_judge judge = {
        .log = &b->log, .replay = &b->proven, .arena = &b->arena, .complain = complain};
    switch (stage) {
    case PARSE:
        if (avow_event_log_parse(b->text, &b->log, &err))
            failed(err.msg);
        return;
    case REPLAY:
        replay_log(b);
        return;
    case BIND:
        bind_events(b);
        return;
    case JUDGE:
        if (avow_boot_policy_judge(b->policy, &judge, &err))
            failed(err.msg);
        avow_arena_reset(&b->arena);
        return;
    case STAGES:
    default:
        return;
    }
}

static void measure(struct boot *b, size_t rounds, double medians[STAGES + 1])
{
    static double ns[STAGES + 1][ROUNDS_MAX];
    for (size_t i = 0; i < rounds; i++) {
        ns[STAGES][i] = 0;
        for (size_t s = 0; s < STAGES; s++) {
            uint64_t start = bench_cpu_ns();
            for (size_t k = 0; k < LOGS_A_ROUND; k++)
                run(b, (enum stage)s);
            ns[s][i] = (double)(bench_cpu_ns() - start) / LOGS_A_ROUND;
            ns[STAGES][i] += ns[s][i];
        }
    }
    for (size_t s = 0; s <= STAGES; s++)
        medians[s] = bench_median(ns[s], rounds);
}

int main(int argc, char **argv)
{
    static struct boot b;
    struct avow_buf log;
    double ns[STAGES + 1];
    uint64_t rounds = 0;
    if (argc != 4 || !avow_num_parse_u64(avow_str_from(argv[3]), ROUNDS_MAX, &rounds) || !rounds)
        failed("usage: bench_boot LOG POLICY ROUNDS");
    read_file(argv[1], &log);
    b.text = avow_buf_bytes(&log);
    avow_arena_init(&b.arena, 16u * 1024u * 1024u);
    load_policy(&b, argv[2]);
    measure(&b, (size_t)rounds, ns);
    printf("{\"ns\": %.0f, \"parse\": %.0f, \"replay\": %.0f, \"bind\": %.0f, \"judge\": %.0f, "
           "\"events\": %zu}\n",
           ns[STAGES], ns[PARSE], ns[REPLAY], ns[BIND], ns[JUDGE], b.events);
    avow_arena_deinit(&b.arena);
    avow_boot_policy_free(b.policy);
    avow_buf_deinit(&log);
    return 0;
}
