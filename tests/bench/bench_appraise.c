/* bench_appraise.c - P1: appraisals of a steady evidence on one core, beside the one thing that
 * they cannot do without: verifying the quote's signature. */
#include "bench.h"
#include "bench_hosts.h"

#include "avow/trust/records.h"
#include "avow/wire/enrollment.h"
#include "avow/wire/evidence.h"
#include "avow/wire/marker.h"

#include <stdio.h>

#include "avow/base/banned.h"

#define COLD_HOSTS 20000u
#define SERVICE_MS(f) ((f)->rig.epoch * RIG_EPOCH_MS)

struct run {
    struct bench_fleet *fleet;
    struct avow_arena arena; /* reset after each appraisal, as the worker does */
    struct avow_mac_key mac;
    struct avow_buf out; /* the batch's buffer */
};

static void failed(const char *what)
{
    fprintf(stderr, "bench_appraise: %s\n", what);
    exit(1);
}

static struct avow_eval_in input(const struct bench_fleet *f, const struct bench_host *h)
{
    return (struct avow_eval_in){.evidence = &h->evidence,
                                 .body = &h->body,
                                 .enrollment = &h->enrollment,
                                 .enrollment_sha256 = f->enrollment_sha256,
                                 .ak = h->ak,
                                 .policy = &f->policy,
                                 .prior = &h->state,
                                 .marker = &h->marker,
                                 .bundle_version = 1,
                                 .service_ms = SERVICE_MS(f),
                                 .silent_after_ms = 70000,
                                 .partition = RIG_PARTITION,
                                 .offset = 7};
}

/* A wrong result that is quick proves nothing: each one is looked at. */
static void check(const struct avow_eval_out *out, const struct bench_host *h)
{
    if (out->kind != AVOW_EVAL_ACCEPTED || out->next.status != AVOW_STATUS_TRUSTED ||
        out->next.as_of.epoch != h->marker.epoch || out->next.findings_count)
        failed("a genuine evidence was not accepted");
}

static struct bench_host *host_at(const struct run *r, size_t i)
{
    return &r->fleet->hosts[i % r->fleet->count];
}

static void run_core(void *arg, size_t first, size_t n)
{
    struct run *r = arg;
    for (size_t i = first; i < first + n; i++) {
        struct bench_host *h = host_at(r, i);
        struct avow_eval_in in = input(r->fleet, h);
        struct avow_eval_out out;
        if (avow_evaluate(&in, &r->arena, &out, NULL))
            failed("avow_evaluate");
        check(&out, h);
        avow_arena_reset(&r->arena);
    }
}

/* The rig's verdict is fresh, so none is due: state is what one steady evidence changes. */
static void step(struct run *r, const struct bench_host *h)
{
    const struct bench_fleet *f = r->fleet;
    struct bench_host d = {.ak = h->ak};
    if (avow_evidence_decode(h->evidence_record, &r->arena, &d.evidence, NULL) ||
        avow_body_decode(d.evidence.body, &r->arena, &d.body, NULL) ||
        avow_enrollment_decode(h->enrollment_record, &r->arena, &d.enrollment, NULL) ||
        avow_state_decode(h->state_record, &r->arena, &d.state, NULL) ||
        avow_marker_decode(h->marker_record, &r->arena, &d.marker, NULL))
        failed("decode");
    struct avow_eval_in in = input(f, &d);
    struct avow_eval_out out;
    struct avow_transition_out due;
    struct avow_transition_in t = {.enrollment = &d.enrollment,
                                   .prior = &d.state,
                                   .service_ms = SERVICE_MS(f),
                                   .validity_ms = 90000,
                                   .verdict_refresh_ms = 30000,
                                   .clock = 1};
    if (avow_evaluate(&in, &r->arena, &out, NULL) ||
        avow_transition(&t, &out.next, &r->arena, &due, NULL))
        failed("appraisal");
    check(&out, &d);
    if (due.verdict_due)
        failed("a verdict is due");
    avow_buf_reset(&r->out);
    if (avow_seal_state(&out.next, &r->mac, &r->out, NULL))
        failed("seal");
}

static void run_worker(void *arg, size_t first, size_t n)
{
    struct run *r = arg;
    for (size_t i = first; i < first + n; i++) {
        step(r, host_at(r, i));
        avow_arena_reset(&r->arena);
    }
}

static void run_verify(void *arg, size_t first, size_t n)
{
    struct run *r = arg;
    for (size_t i = first; i < first + n; i++) {
        struct bench_host *h = host_at(r, i);
        if (EVP_PKEY_verify(h->verify, h->signature, h->signature_len, h->digest,
                            sizeof h->digest) != 1)
            failed("EVP_PKEY_verify");
    }
}

/* The baseline's fleet, which is the first host of the other one when caches are to be warm. */
struct side {
    const char *suffix, *what;
    void (*run)(void *arg, size_t first, size_t n);
    bool cold;
};
static const struct side sides[] = {
    {"", "appraisals of a steady evidence, pure core, warm", run_core, false},
    {".worker", "the same with decoding of all records, transition and MAC of the state",
     run_worker, false},
    {".cold", "the same as the first, over 20000 agents in random order", run_core, true},
    {".worker.cold", "decoding to MAC, over 20000 agents in random order", run_worker, true},
    {".verify.cold", "bare verify with a context an agent, over 20000 agents", run_verify, true},
};
struct kind {
    const char *id, *goal, *baseline;
    enum rig_key key;
    double least;
};
static const struct kind kinds[] = {
    {"P1", "ratio >= 0.85", "OpenSSL's EVP_PKEY_verify RSA-2048, one context, warm", RIG_RSASSA,
     0.85},
    {"P1e", "ratio >= 0.9", "OpenSSL's EVP_PKEY_verify P-256, one context, warm", RIG_P256, 0.9},
};

static void run_deinit(struct run *r)
{
    avow_arena_deinit(&r->arena);
    avow_buf_deinit(&r->out);
}

static void run_init(struct run *r, struct bench_fleet *f)
{
    static const uint8_t secret[32] = {1};
    *r = (struct run){.fleet = f};
    avow_arena_init(&r->arena, 1024u * 1024u);
    avow_buf_init(&r->out, 64u * 1024u);
    avow_mac_key_init(&r->mac, secret);
}

static double allocations_each(struct run *r, void (*run)(void *arg, size_t first, size_t n))
{
    size_t n = 1000;
    run(r, 0, 10); /* contexts of the thread, the arena's first block */
    uint64_t before = bench_allocations();
    run(r, 0, n);
    return (double)(bench_allocations() - before) / (double)n;
}

static void print_side(const struct bench_options *o, const struct kind *k, const struct side *s,
                       struct bench_fleet *warm, struct bench_fleet *cold)
{
    char id[40];
    struct run a, b;
    struct bench_pair_result result;
    (void)snprintf(id, sizeof id, "%s%s", k->id, s->suffix);
    if (!bench_wants(o, id))
        return;
    run_init(&a, s->cold ? cold : warm);
    run_init(&b, warm);
    s->run(&a, 0,
           a.fleet->count + 100); /* what each key sets up at its first use is not measured */
    run_verify(&b, 0, 100);
    struct bench_pair pair = {.a = {s->run, &a},
                              .b = {run_verify, &b},
                              .rounds = o->quick  ? 3
                                        : s->cold ? 40
                                                  : 101,
                              .n = o->quick  ? 20
                                   : s->cold ? 1000
                                             : 500,
                              .advance = s->cold ? 1000 : 0};
    bench_pair_run(&pair, &result);
    bool first = !s->suffix[0];
    bench_print(&(struct bench_result){.id = id,
                                       .what = s->what,
                                       .value = 1e9 / result.a_ns,
                                       .unit = "1/s per core",
                                       .baseline = 1e9 / result.b_ns,
                                       .baseline_what = k->baseline,
                                       .ratio = result.ratio,
                                       .goal = first ? k->goal : NULL,
                                       .met = result.ratio >= k->least});
    fprintf(stderr, "%s: %.2f us against %.2f us, spread of the ratio %.1f %%\n", id,
            result.a_ns / 1e3, result.b_ns / 1e3, 100 * result.spread);
    run_deinit(&a);
    run_deinit(&b);
}

static void print_allocations(const struct bench_options *o, const struct kind *k,
                              struct bench_fleet *warm)
{
    static const struct side *const counted[] = {&sides[0], &sides[1]};
    static const char *const what[] = {"calls of the allocator for an appraisal, libcrypto's too",
                                       "the same with decoding and MAC"};
    for (size_t i = 0; i < AVOW_ARRAY_LEN(counted); i++) {
        char id[40];
        struct run a, b;
        (void)snprintf(id, sizeof id, "%s%s.allocations", k->id, counted[i]->suffix);
        if (!bench_wants(o, id))
            continue;
        run_init(&a, warm);
        run_init(&b, warm);
        double n = allocations_each(&a, counted[i]->run), base = allocations_each(&b, run_verify);
        bench_print(&(struct bench_result){.id = id,
                                           .what = what[i],
                                           .value = n,
                                           .unit = "calls",
                                           .baseline = base,
                                           .baseline_what = "the bare verify's own",
                                           .ratio = base > 0 ? n / base : 0});
        run_deinit(&a);
        run_deinit(&b);
    }
}

static bool wants_cold(const struct bench_options *o, const struct kind *k)
{
    for (size_t i = 0; i < AVOW_ARRAY_LEN(sides); i++) {
        char id[40];
        (void)snprintf(id, sizeof id, "%s%s", k->id, sides[i].suffix);
        if (sides[i].cold && bench_wants(o, id))
            return true;
    }
    return false;
}

static void bench_kind(const struct bench_options *o, const struct kind *k)
{
    struct bench_fleet *warm = calloc(2, sizeof *warm);
    if (!warm)
        failed("no memory");
    struct bench_fleet *cold = warm + 1;
    bool with_cold = wants_cold(o, k);
    bench_fleet_init(warm, k->key, 1);
    if (with_cold)
        bench_fleet_init(cold, k->key, o->quick ? 20 : COLD_HOSTS);
    for (size_t i = 0; i < AVOW_ARRAY_LEN(sides); i++)
        print_side(o, k, &sides[i], warm, cold);
    print_allocations(o, k, warm);
    bench_fleet_deinit(warm);
    if (with_cold)
        bench_fleet_deinit(cold);
    free(warm);
}

int main(int argc, char **argv)
{
    struct bench_options o;
    bench_options_parse(argc, argv, &o);
    for (size_t i = 0; i < AVOW_ARRAY_LEN(kinds); i++)
        bench_kind(&o, &kinds[i]);
    return 0;
}
