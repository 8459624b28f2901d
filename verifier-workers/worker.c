/* worker.c - life and loop of a worker. See worker.h. */
#include "worker.h"

#include "worker_internal.h"

#include "avow/base/clock.h"
#include "avow/base/log.h"
#include "avow/bus/advice.h"

#include <stdlib.h>
#include <string.h>

#include "avow/base/banned.h"

#define WAIT_LOG_PER_MINUTE 4u
#define ABORT_PAUSE_MS 20u /* times the number of aborts in a row */
#define ABORT_PAUSE_MAX_MS 1000u
#define MARKER_FLUSH_MS 500u
#define AUX_PER_TICK 1000u

/* --- Alarms, undo --- */

void avow_worker_alarm(struct avow_worker *w, const char *event, struct avow_bytes what,
                       const char *detail)
{
    struct avow_alarm alarm = {.event = event};
    avow_sha256(what, alarm.what);
    (void)avow_str_copy(alarm.detail, sizeof alarm.detail, avow_str_from(detail));
    if (!w->ctx.trust || !avow_batch_alarm(&w->batch, &w->ctx, &alarm))
        return;
    w->ctx.counters.alarms++;
    avow_log_limited(WARN, "alarm", 60, AVOW_KV_STR("event", event),
                     AVOW_KV_STR("detail", alarm.detail));
}

static void took_back(void *arg, int32_t partition, struct avow_agent *a)
{
    struct avow_worker *w = arg;
    avow_runner_restore_agent(w->slots[partition].runner, a);
}

void avow_worker_undo(struct avow_worker *w)
{
    avow_batch_undo(&w->batch, &w->ctx, took_back, w);
    w->times.count = 0;
    for (uint32_t p = 0; p < w->partitions; p++) {
        if (w->slots[p].runner)
            avow_runner_rewound(w->slots[p].runner);
    }
}

/* --- Commit --- */

static size_t offsets_of(const struct avow_worker *w, struct avow_bus_tp *tps)
{
    size_t n = 0;
    const struct avow_runner *any = NULL;
    for (uint32_t p = 0; p < w->partitions; p++) {
        const struct avow_runner *r = w->slots[p].runner;
        if (!r || !r->serving)
            continue;
        any = r;
        if (r->moved)
            tps[n++] = (struct avow_bus_tp){w->topics.name[AVOW_TOPIC_EVIDENCE], r->partition,
                                            r->next_offset};
    }
    if (!n && any) /* a timer's output: without a real offset the transaction would fence nobody
                      (PROTOCOL R9) */
        tps[n++] = (struct avow_bus_tp){w->topics.name[AVOW_TOPIC_EVIDENCE], any->partition,
                                        any->next_offset};
    return n;
}

static void pause_after_abort(struct avow_worker *w)
{
    uint64_t pause = (uint64_t)++w->failures * ABORT_PAUSE_MS;
    w->ctx.clock.sleep_ms(w->ctx.clock.arg,
                          pause < ABORT_PAUSE_MAX_MS ? pause : ABORT_PAUSE_MAX_MS);
}

enum avow_rc avow_worker_commit(struct avow_worker *w, struct avow_err *err)
{
    struct avow_bus_tp tps[AVOW_WORKER_PARTITIONS_MAX];
    if (!w->batch.open && !w->batch.alarms_count)
        return AVOW_OK;
    size_t n = offsets_of(w, tps);
    if (!n)
        return AVOW_OK; /* nothing is owned: queued alarms wait */
    avow_batch_open(&w->batch, &w->ctx);
    enum avow_rc rc = avow_batch_add_alarms(&w->batch, &w->ctx, err);
    if (rc)
        return avow_err_wrap(err, rc, "alarms");
    struct avow_emit emit = {.guarantee = w->opts.guarantee,
                             .producer = w->producer,
                             .consumer = w->evidence,
                             .topics = &w->topics};
    uint64_t began_ns = avow_clock_mono_ns();
    rc = avow_emit_batch(&emit, &w->batch, tps, n, err);
    if (rc == AVOW_BUS_RETRY) {
        w->ctx.counters.aborts++;
        avow_log_limited(WARN, "transaction_aborted", 12, AVOW_KV_ERR(err),
                         AVOW_KV_U64("in_a_row", w->failures + 1));
        avow_worker_undo(w);
        pause_after_abort(w);
        return AVOW_OK;
    }
    if (rc)
        return avow_err_wrap(err, rc, "transaction");
    w->failures = 0;
    w->ctx.counters.commits++;
    avow_worker_took_batch(w, avow_clock_mono_ns() - began_ns);
    avow_batch_settle(&w->batch, AVOW_WORKER_MONO(&w->ctx));
    for (uint32_t p = 0; p < w->partitions; p++) {
        if (w->slots[p].runner)
            avow_runner_committed(w->slots[p].runner);
    }
    return AVOW_OK;
}

/* --- Rebalance --- */

static void fail_later(struct avow_worker *w, enum avow_rc rc, const struct avow_err *err)
{
    if (w->failed)
        return;
    w->failed = rc;
    w->failure = *err;
}

static void assigned(void *arg, const int32_t *partitions, size_t n)
{
    struct avow_worker *w = arg;
    for (size_t i = 0; i < n; i++) {
        if (partitions[i] < 0 || (uint32_t)partitions[i] >= w->partitions) {
            struct avow_err err;
            enum avow_rc rc = avow_err_set(
                &err, AVOW_REFUSED, 0,
                "partition %d of %s is assigned, but the bundle names %u partitions",
                (int)partitions[i], w->topics.name[AVOW_TOPIC_EVIDENCE], w->partitions);
            fail_later(w, rc, &err);
            return;
        }
        w->slots[partitions[i]].assigned = true;
    }
    w->joined = true;
    w->restore_wanted = true;
    w->restore_not_before_mono_ms = 0;
    avow_log(INFO, "assigned", AVOW_KV_U64("partitions", n));
}

void avow_worker_kafka_trouble(const struct avow_err *err)
{
    avow_log_limited(WARN, "kafka", 12, AVOW_KV_ERR(err),
                     AVOW_KV_STR("next", avow_bus_advice(err->msg)));
}

static void revoked(void *arg, const int32_t *partitions, size_t n, bool lost)
{
    struct avow_worker *w = arg;
    struct avow_err err;
    enum avow_rc rc = AVOW_OK;
    if (lost || w->phase == AVOW_WORKER_STOPPED)
        avow_worker_undo(w);
    else
        rc = avow_worker_commit(w, &err);
    if (rc) {
        fail_later(w, rc, &err);
        avow_worker_undo(w);
    }
    for (size_t i = 0; i < n; i++) {
        if (partitions[i] < 0 || (uint32_t)partitions[i] >= w->partitions)
            continue;
        struct avow_worker_slot *slot = &w->slots[partitions[i]];
        avow_runner_free(slot->runner);
        *slot = (struct avow_worker_slot){0};
    }
    avow_log(INFO, lost ? "lost" : "revoked", AVOW_KV_U64("partitions", n));
    if (w->phase == AVOW_WORKER_RUNS && avow_worker_aux_assign(w, &err))
        avow_worker_kafka_trouble(&err);
}

/* --- Start --- */

static enum avow_rc name_owner(struct avow_worker *w, struct avow_err *err)
{
    int n = snprintf(w->ctx.owner, sizeof w->ctx.owner, "avow.%s.%s.%u", w->opts.group,
                     w->opts.instance, w->opts.thread);
    if (n < 0 || (size_t)n >= sizeof w->ctx.owner)
        return avow_err_set(err, AVOW_CONFIG, 0,
                            "group and instance are too long: avow.%s.%s.%u has more than %u bytes",
                            w->opts.group, w->opts.instance, w->opts.thread, AVOW_WORKER_OWNER_MAX);
    (void)avow_str_copy(w->ctx.instance, sizeof w->ctx.instance, avow_str_from(w->opts.instance));
    return AVOW_OK;
}

static enum avow_rc check_cluster(struct avow_worker *w, struct avow_err *err)
{
    enum avow_rc rc =
        avow_bus_is_mock(w->opts.bus, 2 * AVOW_WORKER_BUS_TIMEOUT_MS, &w->on_mock, err);
    if (rc)
        return rc;
    if (w->on_mock && w->opts.guarantee == AVOW_EXACTLY_ONCE)
        return avow_err_set(err, AVOW_CONFIG, 0,
                            "this is librdkafka's mock cluster, whose transactions do nothing: set "
                            "processing.guarantee = at_least_once");
    return AVOW_OK;
}

static enum avow_rc init(struct avow_worker *w, const struct avow_worker_opts *opts,
                         struct avow_err *err)
{
    uint64_t seed[2];
    w->opts = *opts;
    w->ctx.clock = opts->clock;
    w->ctx.outputs = opts->outputs;
    w->ctx.scratch_dir = opts->scratch_dir;
    w->ctx.group = opts->group;
    w->ctx.keys = opts->keys;
    w->ctx.topics = &w->topics;
    w->ctx.policies = &w->policies;
    w->ctx.batch = &w->batch;
    avow_arena_init(&w->ctx.arena, AVOW_WORKER_ARENA_MAX);
    avow_arena_init(&w->ctx.timer_arena, AVOW_WORKER_ARENA_MAX);
    enum avow_rc rc = opts->clock.random(opts->clock.arg, seed, sizeof seed, err);
    if (rc)
        return rc;
    avow_policy_store_init(&w->policies, seed[0], seed[1]);
    w->policies.author = avow_worker_is_author;
    w->policies.author_arg = w;
    w->trust_next = w->policies_next = AVOW_BUS_BEGINNING;
    w->summary_mono_ms = AVOW_WORKER_MONO(&w->ctx);
    if (!avow_worker_topics_init(&w->topics, opts->prefix))
        return avow_err_set(err, AVOW_CONFIG, 0, "the topic prefix is too long");
    rc = avow_batch_init(&w->batch, err);
    if (!rc)
        rc = name_owner(w, err);
    if (!rc)
        rc = check_cluster(w, err);
    struct avow_bus_consumer_opts aux = {.isolation = AVOW_BUS_READ_UNCOMMITTED,
                                         .on_mock = w->on_mock};
    if (!rc)
        rc = avow_bus_consumer_new(opts->bus, &aux, &w->aux, err);
    if (!rc)
        rc = avow_bus_consumer_new(opts->bus, &aux, &w->probe, err);
    return rc ? rc : avow_worker_aux_assign(w, err);
}

enum avow_rc avow_worker_new(const struct avow_worker_opts *opts, struct avow_worker **out,
                             struct avow_err *err)
{
    AVOW_CLEANUP(avow_worker_free) struct avow_worker *w = calloc(1, sizeof *w);
    if (!w)
        return avow_err_set(err, AVOW_NOMEM, 0, "worker");
    enum avow_rc rc = init(w, opts, err);
    if (rc)
        return rc;
    *out = AVOW_STEAL(w);
    return AVOW_OK;
}

void avow_worker_free(struct avow_worker *w)
{
    if (!w)
        return;
    w->phase = AVOW_WORKER_STOPPED;
    if (w->evidence) {
        avow_worker_undo(w);
        avow_bus_consumer_free(w->evidence);
    }
    for (size_t p = 0; p < AVOW_WORKER_PARTITIONS_MAX; p++)
        avow_runner_free(w->slots[p].runner);
    avow_bus_consumer_free(w->aux);
    avow_bus_consumer_free(w->probe);
    avow_bus_producer_free(w->producer);
    avow_bus_producer_free(w->markers);
    avow_batch_deinit(&w->batch);
    avow_policy_store_deinit(&w->policies);
    avow_trust_free(w->trust);
    avow_arena_deinit(&w->ctx.arena);
    avow_arena_deinit(&w->ctx.timer_arena);
    free(w);
}

/* PROTOCOL R23: murmur2 mod P must mean the same to everybody. */
static enum avow_rc check_partitions(struct avow_worker *w, struct avow_err *err)
{
    for (size_t t = 0; t < AVOW_TOPIC_COUNT; t++) {
        if (!avow_worker_topic_is_used((enum avow_worker_topic)t, w->opts.outputs))
            continue;
        uint32_t count,
            want = avow_worker_topic_is_partitioned((enum avow_worker_topic)t) ? w->partitions : 0;
        enum avow_rc rc = avow_bus_partition_count(w->opts.bus, w->topics.name[t],
                                                   AVOW_WORKER_BUS_TIMEOUT_MS, &count, err);
        if (rc)
            return rc;
        if (want && count != want)
            return avow_err_set(err, AVOW_REFUSED, 0,
                                "topic %s has %u partitions, the bundle says %u: not serving",
                                w->topics.name[t], count, want);
    }
    return AVOW_OK;
}

static enum avow_rc make_clients(struct avow_worker *w, struct avow_err *err)
{
    static const enum avow_worker_topic written[] = {
        AVOW_TOPIC_STATE,      AVOW_TOPIC_VERDICTS,    AVOW_TOPIC_REVOCATIONS, AVOW_TOPIC_EPOCHS,
        AVOW_TOPIC_DEADLETTER, AVOW_TOPIC_CLOUDEVENTS, AVOW_TOPIC_KEYLIME};
    const char *topics[AVOW_ARRAY_LEN(written)];
    size_t n = 0;
    for (size_t i = 0; i < AVOW_ARRAY_LEN(written); i++) {
        if (avow_worker_topic_is_used(written[i], w->opts.outputs))
            topics[n++] = w->topics.name[written[i]];
    }
    struct avow_bus_producer_opts txn = {.topics = topics, .n_topics = n};
    if (w->opts.guarantee == AVOW_EXACTLY_ONCE) {
        txn.transactional_id = w->ctx.owner;
        txn.txn_timeout_ms = AVOW_WORKER_SESSION_MS;
    }
    const char *epochs = w->topics.name[AVOW_TOPIC_EPOCHS];
    struct avow_bus_producer_opts plain = {.topics = &epochs, .n_topics = 1};
    struct avow_bus_consumer_opts evidence = {.group = w->opts.group,
                                              .subscribe = w->topics.name[AVOW_TOPIC_EVIDENCE],
                                              .session_timeout_ms = AVOW_WORKER_SESSION_MS,
                                              .rebalance = {w, assigned, revoked},
                                              .isolation = AVOW_BUS_READ_COMMITTED,
                                              .fetch_wait_ms = 50,
                                              .on_mock = w->on_mock};
    enum avow_rc rc =
        w->producer ? AVOW_OK : avow_bus_producer_new(w->opts.bus, &txn, &w->producer, err);
    if (!rc && !w->markers)
        rc = avow_bus_producer_new(w->opts.bus, &plain, &w->markers, err);
    w->ctx.markers = w->markers;
    if (!rc && !w->evidence)
        rc = avow_bus_consumer_new(w->opts.bus, &evidence, &w->evidence, err);
    return rc;
}

/* The bundle is there: everything else can begin. Transient failures are retried by the next tick.
 */
static enum avow_rc begin(struct avow_worker *w, struct avow_err *err)
{
    w->partitions = avow_trust_bundle(w->ctx.trust)->partitions;
    enum avow_rc rc = check_partitions(w, err);
    w->policies_next = AVOW_BUS_BEGINNING;
    if (!rc)
        rc = avow_worker_aux_assign(w, err);
    if (!rc)
        rc = avow_worker_aux_read_to_end(w, AVOW_TOPIC_POLICIES, 0, err);
    if (!rc)
        rc = make_clients(w, err);
    if (rc)
        return rc;
    avow_policy_store_purge(&w->policies);
    w->policies.rescan_wanted = false;
    w->phase = AVOW_WORKER_RUNS;
    avow_log(INFO, "started", AVOW_KV_STR("id", w->ctx.owner), AVOW_KV_STR("group", w->opts.group),
             AVOW_KV_STR("guarantee",
                         w->opts.guarantee == AVOW_EXACTLY_ONCE ? "exactly_once" : "at_least_once"),
             AVOW_KV_U64("partitions", w->partitions));
    return AVOW_OK;
}

enum avow_rc avow_worker_wait_for_trust(struct avow_worker *w, unsigned timeout_ms,
                                        struct avow_err *err)
{
    enum avow_rc rc = avow_worker_aux_poll(w, timeout_ms, AUX_PER_TICK, NULL, err);
    if (!rc)
        rc = avow_worker_aux_read_to_end(w, AVOW_TOPIC_TRUST, 0, err);
    if (!rc && !w->ctx.trust) {
        avow_log_limited(INFO, "waiting", WAIT_LOG_PER_MINUTE,
                         AVOW_KV_STR("for", "a trust bundle signed by root"),
                         AVOW_KV_STR("topic", w->topics.name[AVOW_TOPIC_TRUST]));
        return AVOW_OK;
    }
    return rc ? rc : begin(w, err);
}

/* --- End and looks --- */

enum avow_rc avow_worker_stop(struct avow_worker *w, struct avow_err *err)
{
    enum avow_rc rc = w->phase == AVOW_WORKER_RUNS ? avow_worker_commit(w, err) : AVOW_OK;
    w->phase = AVOW_WORKER_STOPPED;
    if (rc)
        return rc;
    avow_bus_consumer_free(w->evidence); /* revoked runs; the group learns at once */
    w->evidence = NULL;
    struct avow_err flush;
    if (w->markers && avow_bus_flush(w->markers, MARKER_FLUSH_MS, &flush))
        avow_log(WARN, "markers_not_flushed", AVOW_KV_ERR(&flush));
    avow_log(INFO, "stopped", AVOW_KV_STR("id", w->ctx.owner));
    return AVOW_OK;
}

bool avow_worker_is_ready(const struct avow_worker *w)
{
    if (w->phase != AVOW_WORKER_RUNS || !w->joined || w->restore_wanted)
        return false;
    for (uint32_t p = 0; p < w->partitions; p++) {
        const struct avow_worker_slot *slot = &w->slots[p];
        if (slot->assigned && !(slot->runner && slot->runner->serving))
            return false;
    }
    return true;
}

struct avow_runner *avow_worker_runner(const struct avow_worker *w, int32_t partition)
{
    return partition >= 0 && (uint32_t)partition < w->partitions ? w->slots[partition].runner
                                                                 : NULL;
}

const struct avow_worker_counters *avow_worker_counters(const struct avow_worker *w)
{
    return &w->ctx.counters;
}
