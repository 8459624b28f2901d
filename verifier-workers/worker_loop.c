/* worker_loop.c - one turn of the loop. See worker.h. */
#include "worker_internal.h"

#include "avow/base/clock.h"
#include "avow/base/log.h"

#include "avow/base/banned.h"

#define RETRY_PAUSE_MS 1000u /* after a restore that failed for a passing reason */
#define URGENT_POLL_MS 5u    /* while something waits to be committed */
#define SUMMARY_EVERY_MS 60000u
#define AUX_PER_TICK 1000u

/* The evidence consumer is ahead of what was taken: after an abort, or while the clock was wrong.
 */
static enum avow_rc rewind_evidence(struct avow_worker *w, struct avow_err *err)
{
    struct avow_bus_tp tps[AVOW_WORKER_PARTITIONS_MAX];
    size_t n = 0;
    for (uint32_t p = 0; p < w->partitions; p++) {
        struct avow_runner *r = w->slots[p].runner;
        if (r && r->serving && r->rewind && r->health == AVOW_EPOCH_BELL_HEALTHY)
            tps[n++] = (struct avow_bus_tp){w->topics.name[AVOW_TOPIC_EVIDENCE], r->partition,
                                            r->next_offset};
    }
    enum avow_rc rc = n ? avow_bus_assign(w->evidence, tps, n, err) : AVOW_OK;
    for (size_t i = 0; i < n && !rc; i++)
        w->slots[tps[i].partition].runner->rewind = false;
    return rc;
}

/* Retention overtook the group while it was running. */
static enum avow_rc evidence_overtaken(struct avow_worker *w, int32_t partition,
                                       struct avow_err *err)
{
    int64_t low, high;
    struct avow_runner *r = avow_worker_runner(w, partition);
    if (!r || !r->serving)
        return AVOW_OK;
    enum avow_rc rc = avow_worker_watermarks(w, AVOW_TOPIC_EVIDENCE, partition, &low, &high, err);
    if (rc)
        return rc;
    int64_t to = r->next_offset < low ? low : r->next_offset > high ? high : r->next_offset;
    char detail[AVOW_ALARM_DETAIL_MAX];
    (void)snprintf(detail, sizeof detail,
                   "partition %d: evidence %lld is not in the log; continuing at %lld",
                   (int)partition, (long long)r->next_offset, (long long)to);
    avow_worker_alarm(w, "evidence.lost", avow_bytes_make(detail, strlen(detail)), detail);
    r->next_offset = to;
    r->moved = true;
    struct avow_bus_tp tp = {w->topics.name[AVOW_TOPIC_EVIDENCE], partition, to};
    return avow_bus_assign(w->evidence, &tp, 1, err);
}

/* A batch that does not decompress, or to more than anybody may be made to hold. Its neighbours are
 * good: evidence goes on behind it, and nowhere else. */
static enum avow_rc unreadable_batch(struct avow_worker *w, int32_t partition, int64_t first,
                                     struct avow_err *err)
{
    struct avow_runner *r = avow_worker_runner(w, partition);
    struct avow_bus_tp tp = {w->topics.name[AVOW_TOPIC_EVIDENCE], partition, first};
    int64_t end;
    if (!r || !r->serving || r->rewind)
        return AVOW_OK; /* what is between the two places was not judged yet: it is met again */
    avow_log_limited(WARN, "evidence_unreadable", 12, AVOW_KV_ERR(err));
    r->rewind = true; /* whatever happens: it is assigned anew, or the partition stands still */
    if (r->health != AVOW_EPOCH_BELL_HEALTHY)
        return AVOW_OK;
    enum avow_rc rc = avow_bus_batch_end(w->opts.bus, &tp, &end, err);
    return rc ? rc : avow_runner_unreadable(r, first, end, err);
}

static enum avow_rc one_evidence(struct avow_worker *w, const struct avow_bus_msg *m,
                                 struct avow_err *err)
{
    struct avow_runner *r = avow_worker_runner(w, m->partition);
    uint64_t began_ns = avow_clock_mono_ns(), appraised = w->ctx.counters.appraised;
    enum avow_rc rc = r ? avow_runner_evidence(r, m, err) : AVOW_OK;
    if (!rc && w->ctx.counters.appraised != appraised)
        avow_worker_took_evidence(w, m, avow_clock_mono_ns() - began_ns);
    if (rc != AVOW_LIMIT)
        return rc;
    /* A limit of ours, not of the agent's: redo the batch without this record. */
    avow_log_limited(ERROR, "evidence_skipped", 12, AVOW_KV_ERR(err));
    w->ctx.counters.aborts++;
    avow_worker_undo(w);
    return AVOW_OK;
}

static enum avow_rc poll_evidence(struct avow_worker *w, unsigned timeout_ms, struct avow_err *err)
{
    enum avow_rc rc = rewind_evidence(w, err);
    w->evidence_idle = false;
    for (unsigned i = 0; !rc && i < AVOW_BATCH_RECORDS_MAX && !avow_batch_is_full(&w->batch); i++) {
        struct avow_bus_msg m = {0};
        rc = avow_bus_poll(w->evidence, i ? 0 : timeout_ms, &m, err);
        if (rc == AVOW_NOTFOUND)
            rc = evidence_overtaken(w, (int32_t)err->native, err);
        if (rc == AVOW_PARSE) {
            rc = unreadable_batch(w, m.partition, m.offset, err);
            m.topic = NULL;
        }
        if (avow_worker_is_transient(rc)) {
            avow_worker_kafka_trouble(err);
            rc = AVOW_OK;
            break;
        }
        if (w->failed) {
            *err = w->failure;
            return w->failed;
        }
        w->evidence_idle = !rc && !m.topic;
        if (rc || !m.topic)
            break;
        rc = one_evidence(w, &m, err);
    }
    return rc;
}

/* Markers that are due soon need to know how far evidence goes. One failure is enough to stop
 * asking for this turn. */
static void look_up_watermarks(struct avow_worker *w)
{
    for (uint32_t p = 0; p < w->partitions; p++) {
        struct avow_runner *r = w->slots[p].runner;
        int64_t low, high, at;
        struct avow_err err;
        if (!r || !avow_runner_wants_watermark(r))
            continue;
        const char *topic = w->topics.name[AVOW_TOPIC_EVIDENCE];
        enum avow_rc rc = avow_bus_watermarks(w->probe, topic, (int32_t)p, 500, &low, &high, &err);
        if (!rc) {
            avow_runner_watermark(r, high);
            rc = avow_bus_position(w->evidence, topic, (int32_t)p, &at, &err);
            if (!rc && w->evidence_idle)
                avow_runner_passed(r, at);
        }
        if (rc) {
            avow_worker_kafka_trouble(&err);
            return;
        }
    }
}

static enum avow_rc tick_runners(struct avow_worker *w, struct avow_err *err)
{
    bool policies_changed = w->policies.changes != w->policy_changes_seen;
    w->policy_changes_seen = w->policies.changes;
    for (uint32_t p = 0; p < w->partitions; p++) {
        struct avow_runner *r = w->slots[p].runner;
        if (!r)
            continue;
        if (policies_changed)
            avow_runner_review_all(r);
        enum avow_rc rc = avow_runner_tick(r, err);
        if (rc)
            return avow_err_wrap(err, rc, "partition %u", p);
    }
    return AVOW_OK;
}

static enum avow_rc restore_if_wanted(struct avow_worker *w, struct avow_err *err)
{
    if (!w->restore_wanted || AVOW_WORKER_MONO(&w->ctx) < w->restore_not_before_mono_ms)
        return AVOW_OK;
    enum avow_rc rc = avow_worker_commit(w, err); /* the clients are about to be busy */
    if (!rc)
        rc = avow_worker_restore(w, err);
    if (!rc) {
        w->restore_wanted = false;
        avow_log(INFO, "ready", AVOW_KV_STR("id", w->ctx.owner));
    } else if (avow_worker_is_transient(rc)) {
        avow_log_limited(WARN, "restore_failed", 12, AVOW_KV_ERR(err));
        w->restore_not_before_mono_ms = AVOW_WORKER_MONO(&w->ctx) + RETRY_PAUSE_MS;
        rc = AVOW_OK;
    }
    return rc;
}

/* A head names chunks that were thrown away when nothing named them, or the bundle changed, under
 * which other records count. */
static enum avow_rc rescan_if_wanted(struct avow_worker *w, struct avow_err *err)
{
    if (!w->policies.rescan_wanted)
        return AVOW_OK;
    w->policies.rescan_wanted = false;
    w->policies_next = AVOW_BUS_BEGINNING;
    for (uint32_t p = 0; p < w->partitions; p++) {
        if (w->slots[p].enrollments_reread)
            w->slots[p].enrollments_next = AVOW_BUS_BEGINNING;
        w->slots[p].enrollments_reread = false;
    }
    return avow_worker_aux_assign(w, err);
}

static void summary(struct avow_worker *w)
{
    uint64_t mono = AVOW_WORKER_MONO(&w->ctx);
    if (mono - w->summary_mono_ms < SUMMARY_EVERY_MS)
        return;
    w->summary_mono_ms = mono;
    const struct avow_worker_counters *c = &w->ctx.counters;
    uint64_t dropped = 0, agents = 0;
    for (size_t i = 0; i < AVOW_DROP_REASON_COUNT; i++)
        dropped += c->dropped[i];
    for (uint32_t p = 0; p < w->partitions; p++)
        agents += w->slots[p].runner ? w->slots[p].runner->views.watched : 0;
    avow_log(INFO, "summary", AVOW_KV_U64("agents", agents), AVOW_KV_U64("consumed", c->consumed),
             AVOW_KV_U64("appraised", c->appraised), AVOW_KV_U64("dropped", dropped),
             AVOW_KV_U64("verdicts", c->verdicts), AVOW_KV_U64("revocations", c->revocations),
             AVOW_KV_U64("directives", c->directives), AVOW_KV_U64("alarms", c->alarms),
             AVOW_KV_U64("markers", c->markers), AVOW_KV_U64("commits", c->commits),
             AVOW_KV_U64("aborts", c->aborts), AVOW_KV_U64("refused", c->refused),
             AVOW_KV_U64("dead_letters", c->dead_letters),
             AVOW_KV_U64("dead_letters_withheld", c->dead_letters_withheld));
}

static enum avow_rc run(struct avow_worker *w, unsigned timeout_ms, struct avow_err *err)
{
    enum avow_rc rc = restore_if_wanted(w, err);
    if (!rc)
        rc = avow_worker_aux_poll(w, 0, AUX_PER_TICK, NULL, err);
    if (!rc)
        rc = rescan_if_wanted(w, err);
    unsigned wait = w->batch.open && timeout_ms > URGENT_POLL_MS ? URGENT_POLL_MS : timeout_ms;
    if (!rc)
        rc = poll_evidence(w, wait, err);
    if (!rc)
        look_up_watermarks(w);
    if (!rc)
        rc = tick_runners(w, err);
    if (rc == AVOW_LIMIT) { /* of a review: it is not repeated, everything else of the batch is */
        avow_log_limited(ERROR, "review_skipped", 12, AVOW_KV_ERR(err));
        w->ctx.counters.aborts++;
        avow_worker_undo(w);
        rc = AVOW_OK;
    }
    (void)avow_bus_in_flight(w->markers); /* serves delivery reports */
    if (!rc && avow_batch_is_due(&w->batch, AVOW_WORKER_MONO(&w->ctx), w->evidence_idle))
        rc = avow_worker_commit(w, err);
    summary(w);
    return rc;
}

enum avow_rc avow_worker_tick(struct avow_worker *w, unsigned timeout_ms, struct avow_err *err)
{
    enum avow_rc rc = w->phase == AVOW_WORKER_RUNS ? run(w, timeout_ms, err)
                                                   : avow_worker_wait_for_trust(w, timeout_ms, err);
    avow_worker_pulse(w);
    if (!avow_worker_is_transient(rc))
        return rc;
    avow_worker_kafka_trouble(err);
    w->ctx.clock.sleep_ms(w->ctx.clock.arg, timeout_ms);
    return AVOW_OK;
}
