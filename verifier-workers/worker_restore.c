/* worker_restore.c - assigned partitions into service. The order is fixed (PROTOCOL B3.2, R9):
 * bundle, fencing if needed, committed offset (stable), then the state's watermark, state to it
 * under read_committed, enrolments, epochs, evidence. */
#include "worker_internal.h"

#include "avow/base/log.h"
#include "avow/trust/records.h"

#include <string.h>

#include "avow/base/banned.h"

#define COMMITTED_TRY_MS 500u
#define COMMITTED_PAUSE_MS 50u
#define COMMITTED_GIVE_UP_MS 20000u
#define OWNER_TAIL                                                                                 \
    64 /* records before the end of epochs in which the last marker is looked for                  \
        */

struct restore { /* of one partition */
    int32_t partition;
    int64_t offset; /* of evidence, where to begin */
    int64_t state_end, enrollments_end, epochs_end;
    uint64_t started_mono_ms;
};

/* --- Fencing --- */

/* Reads the end of epochs[p] for the transactional id of the last owner. */
static enum avow_rc last_owner(struct avow_worker *w, int32_t partition,
                               char owner[AVOW_WORKER_OWNER_MAX + 1], bool *found,
                               struct avow_err *err)
{
    const char *topic = w->topics.name[AVOW_TOPIC_EPOCHS];
    AVOW_CLEANUP(avow_bus_consumer_free) struct avow_bus_consumer *c = NULL;
    struct avow_bus_consumer_opts opts = {.isolation = AVOW_BUS_READ_UNCOMMITTED,
                                          .on_mock = w->on_mock};
    int64_t low, high, at = 0;
    *found = false;
    enum avow_rc rc = avow_worker_watermarks(w, AVOW_TOPIC_EPOCHS, partition, &low, &high, err);
    if (rc || high == low)
        return rc;
    struct avow_bus_tp tp = {topic, partition, high - low > OWNER_TAIL ? high - OWNER_TAIL : low};
    rc = avow_bus_consumer_new(w->opts.bus, &opts, &c, err);
    if (!rc)
        rc = avow_bus_assign(c, &tp, 1, err);
    for (unsigned empty = 0; !rc && empty < 50;) {
        struct avow_bus_msg m = {0};
        rc = avow_bus_poll(c, 100, &m, err);
        if (!rc && m.topic) {
            struct avow_record_in in = {
                .kafka_key = m.key, .value = m.value, .partition = m.partition};
            struct avow_marker marker;
            struct avow_err ignored;
            if (avow_bytes_eq(m.key, avow_bytes_make("marker", 6)) && !m.value_null &&
                !avow_open_marker(w->ctx.trust, &in, &w->ctx.arena, &marker, &ignored))
                *found = avow_str_copy(owner, AVOW_WORKER_OWNER_MAX + 1, marker.owner);
            avow_arena_reset(&w->ctx.arena);
        } else {
            empty++;
        }
        if (!rc)
            rc = avow_bus_position(c, topic, partition, &at, err);
        if (!rc && at >= high)
            break;
    }
    return rc;
}

static bool was_fenced(const struct avow_worker *w, const char *owner)
{
    for (size_t i = 0; i < w->fenced.count; i++) {
        if (avow_cstr_eq(w->fenced.names[i], owner))
            return true;
    }
    return false;
}

static void remember_fenced(struct avow_worker *w, const char *owner)
{
    if (w->fenced.count < AVOW_WORKER_FENCED_MAX)
        (void)avow_str_copy(w->fenced.names[w->fenced.count++], sizeof w->fenced.names[0],
                            avow_str_from(owner));
}

/* init_transactions under the predecessor's id aborts its open transaction and makes it unable to
 * commit. A living owner has ended its transaction long before, so only the dead and the stuck are
 * hit. */
static enum avow_rc fence(struct avow_worker *w, int32_t partition, struct avow_err *err)
{
    char owner[AVOW_WORKER_OWNER_MAX + 1];
    bool found;
    enum avow_rc rc = last_owner(w, partition, owner, &found, err);
    if (rc || !found || avow_cstr_eq(owner, w->ctx.owner) || was_fenced(w, owner))
        return rc;
    struct avow_bus_producer_opts opts = {.transactional_id = owner,
                                          .txn_timeout_ms = AVOW_WORKER_SESSION_MS};
    struct avow_bus_producer *p = NULL;
    uint64_t before = AVOW_WORKER_MONO(&w->ctx);
    rc = avow_bus_producer_new(w->opts.bus, &opts, &p, err);
    avow_bus_producer_free(p);
    if (rc) /* a producer that was only made for this: try again */
        return avow_err_wrap(err, rc == AVOW_BUS_FATAL ? AVOW_BUS : rc, "fencing %s", owner);
    remember_fenced(w, owner);
    avow_log(INFO, "fenced", AVOW_KV_I64("partition", partition), AVOW_KV_STR("owner", owner),
             AVOW_KV_U64("ms", AVOW_WORKER_MONO(&w->ctx) - before));
    return AVOW_OK;
}

/* The committed offset once it is stable; -1 if none was ever committed. */
static enum avow_rc committed(struct avow_worker *w, int32_t partition, int64_t *out,
                              struct avow_err *err)
{
    uint64_t start = AVOW_WORKER_MONO(&w->ctx);
    bool fenced = w->opts.guarantee != AVOW_EXACTLY_ONCE; /* then there is nothing to fence */
    for (;;) {
        enum avow_rc rc = avow_bus_committed(w->evidence, w->topics.name[AVOW_TOPIC_EVIDENCE],
                                             partition, COMMITTED_TRY_MS, out, err);
        if (rc == AVOW_NOTFOUND) {
            *out = -1;
            return AVOW_OK;
        }
        avow_worker_pulse(w);
        uint64_t waited = AVOW_WORKER_MONO(&w->ctx) - start;
        if (rc != AVOW_TIMEOUT || waited > COMMITTED_GIVE_UP_MS || avow_worker_is_stopping(w))
            return rc;
        if (!fenced && waited >= AVOW_WORKER_UNSTABLE_MS) {
            fenced = true;
            rc = fence(w, partition, err);
            if (rc)
                return rc;
        }
        w->ctx.clock.sleep_ms(w->ctx.clock.arg, COMMITTED_PAUSE_MS);
    }
}

/* Where evidence begins. Records between the committed offset and the log start are gone: said
 * aloud, never silently. */
static enum avow_rc begin_at(struct avow_worker *w, struct restore *r, struct avow_err *err)
{
    int64_t offset = -1, low, high;
    enum avow_rc rc = committed(w, r->partition, &offset, err);
    if (!rc)
        rc = avow_worker_watermarks(w, AVOW_TOPIC_EVIDENCE, r->partition, &low, &high, err);
    if (rc)
        return avow_err_wrap(err, rc, "evidence[%d]", (int)r->partition);
    r->offset = offset < low ? low : offset;
    if (offset >= 0 && offset < low) {
        char detail[AVOW_ALARM_DETAIL_MAX];
        (void)snprintf(detail, sizeof detail,
                       "partition %d: retention took evidence %lld to %lld before it was read",
                       (int)r->partition, (long long)offset, (long long)low - 1);
        avow_worker_alarm(w, "evidence.lost", avow_bytes_make(detail, strlen(detail)), detail);
    }
    return AVOW_OK;
}

/* --- State --- */

/* The end as an uncommitted reader sees it: under read_committed an open transaction would hide it.
 */
static enum avow_rc state_ends(struct avow_worker *w, struct restore *list, size_t n,
                               struct avow_bus_tp *tps, struct avow_err *err)
{
    for (size_t i = 0; i < n; i++) {
        int64_t low;
        enum avow_rc rc = avow_worker_watermarks(w, AVOW_TOPIC_STATE, list[i].partition, &low,
                                                 &list[i].state_end, err);
        if (rc)
            return rc;
        tps[i] = (struct avow_bus_tp){w->topics.name[AVOW_TOPIC_STATE], list[i].partition, low};
    }
    return AVOW_OK;
}

/* How many partitions are not read to their end. */
static enum avow_rc unread(struct avow_worker *w, struct avow_bus_consumer *c,
                           const struct restore *list, size_t n, size_t *count,
                           struct avow_err *err)
{
    *count = 0;
    for (size_t i = 0; i < n; i++) {
        int64_t at;
        enum avow_rc rc =
            avow_bus_position(c, w->topics.name[AVOW_TOPIC_STATE], list[i].partition, &at, err);
        if (rc)
            return rc;
        *count += at < list[i].state_end ? 1 : 0;
    }
    return AVOW_OK;
}

/* An owner that died before it sent offsets leaves them stable, but its open transaction hides the
 * end of `state` all the same. */
static enum avow_rc fence_all(struct avow_worker *w, const struct restore *list, size_t n,
                              struct avow_err *err)
{
    enum avow_rc rc = AVOW_OK;
    for (size_t i = 0; i < n && !rc && w->opts.guarantee == AVOW_EXACTLY_ONCE; i++)
        rc = fence(w, list[i].partition, err);
    return rc;
}

/* A batch that cannot be read: as if these states were not there. */
static enum avow_rc skip_states(struct avow_worker *w, struct avow_bus_consumer *c,
                                int32_t partition, int64_t first, struct avow_err *err)
{
    struct avow_bus_tp tp = {w->topics.name[AVOW_TOPIC_STATE], partition, first};
    avow_log_limited(ERROR, "records_unreadable", 12, AVOW_KV_ERR(err));
    w->ctx.counters.state_rejected++;
    if (partition >= 0 && (uint32_t)partition < w->partitions && w->slots[partition].runner)
        w->slots[partition].runner->states_rejected++;
    enum avow_rc rc = avow_bus_batch_end(w->opts.bus, &tp, &tp.offset, err);
    return rc ? rc : avow_bus_seek(c, &tp, err);
}

/* One record, or none within a moment. */
static enum avow_rc read_one_state(struct avow_worker *w, struct avow_bus_consumer *c, bool *got,
                                   struct avow_err *err)
{
    struct avow_bus_msg m = {0};
    enum avow_rc rc = avow_bus_poll(c, 100, &m, err);
    *got = m.topic != NULL;
    if (rc == AVOW_PARSE)
        return skip_states(w, c, m.partition, m.offset, err);
    if (!rc && *got && m.partition >= 0 && (uint32_t)m.partition < w->partitions &&
        w->slots[m.partition].runner)
        return avow_runner_feed_state(w->slots[m.partition].runner, &m, err);
    return rc;
}

static enum avow_rc read_to_ends(struct avow_worker *w, struct avow_bus_consumer *c,
                                 const struct restore *list, size_t n, struct avow_err *err)
{
    uint64_t progress = AVOW_WORKER_MONO(&w->ctx);
    bool fenced = false, got = false;
    size_t left = n;
    enum avow_rc rc = AVOW_OK;
    for (unsigned since = 0; !rc; since++) {
        if (since % 1000 == 0 || !got) {
            rc = unread(w, c, list, n, &left, err);
            if (rc || !left)
                return rc;
        }
        rc = read_one_state(w, c, &got, err);
        if (since % 1000 == 0 || !got)
            avow_worker_pulse(w);
        uint64_t now = AVOW_WORKER_MONO(&w->ctx);
        if (got || rc) {
            progress = now;
            continue;
        }
        if (now - progress > AVOW_WORKER_RESTORE_STALL_MS || avow_worker_is_stopping(w))
            return avow_err_set(err, AVOW_TIMEOUT, 0, "state: no progress, %zu partitions left",
                                left);
        if (!fenced && now - progress >= AVOW_WORKER_UNSTABLE_MS) {
            fenced = true;
            rc = fence_all(w, list, n, err);
        }
        w->ctx.clock.sleep_ms(w->ctx.clock.arg, 1);
    }
    return rc;
}

static enum avow_rc read_states(struct avow_worker *w, struct restore *list, size_t n,
                                struct avow_err *err)
{
    struct avow_bus_tp tps[AVOW_WORKER_PARTITIONS_MAX];
    AVOW_CLEANUP(avow_bus_consumer_free) struct avow_bus_consumer *c = NULL;
    struct avow_bus_consumer_opts opts = {
        .isolation = AVOW_BUS_READ_COMMITTED, .on_mock = w->on_mock, .fetch_wait_ms = 10};
    enum avow_rc rc = state_ends(w, list, n, tps, err);
    if (!rc)
        rc = avow_bus_consumer_new(w->opts.bus, &opts, &c, err);
    if (!rc)
        rc = avow_bus_assign(c, tps, n, err);
    return rc ? rc : read_to_ends(w, c, list, n, err);
}

/* --- Enrolments and epochs --- */

/* Absolute offsets, so that asking for the position needs no broker. */
static enum avow_rc view_ends(struct avow_worker *w, struct restore *r, struct avow_err *err)
{
    struct avow_worker_slot *slot = &w->slots[r->partition];
    int64_t low;
    enum avow_rc rc = avow_worker_watermarks(w, AVOW_TOPIC_ENROLLMENTS, r->partition, &low,
                                             &r->enrollments_end, err);
    if (rc)
        return rc;
    slot->enrollments_next = low;
    rc = avow_worker_watermarks(w, AVOW_TOPIC_EPOCHS, r->partition, &low, &r->epochs_end, err);
    if (rc)
        return rc;
    bool whole = r->epochs_end - low <= AVOW_WORKER_EPOCHS_TAIL;
    slot->epochs_next = whole ? low : r->epochs_end - AVOW_WORKER_EPOCHS_TAIL;
    return AVOW_OK;
}

static enum avow_rc read_views(struct avow_worker *w, struct restore *list, size_t n,
                               struct avow_err *err)
{
    enum avow_rc rc = AVOW_OK;
    for (size_t i = 0; i < n && !rc; i++)
        rc = view_ends(w, &list[i], err);
    if (!rc)
        rc = avow_worker_aux_assign(w, err);
    for (size_t i = 0; i < n && !rc; i++) {
        int32_t p = list[i].partition;
        rc = avow_worker_aux_read_until(w, AVOW_TOPIC_ENROLLMENTS, p, list[i].enrollments_end, err);
        if (!rc)
            rc = avow_worker_aux_read_until(w, AVOW_TOPIC_EPOCHS, p, list[i].epochs_end, err);
    }
    return rc;
}

static enum avow_rc serve(struct avow_worker *w, const struct restore *list, size_t n,
                          struct avow_err *err)
{
    struct avow_bus_tp tps[AVOW_WORKER_PARTITIONS_MAX];
    for (size_t i = 0; i < n; i++) {
        struct avow_runner *r = w->slots[list[i].partition].runner;
        enum avow_rc rc = avow_runner_serve(r, list[i].offset, err);
        if (rc)
            return rc;
        tps[i] = (struct avow_bus_tp){w->topics.name[AVOW_TOPIC_EVIDENCE], list[i].partition,
                                      list[i].offset};
        avow_log(INFO, "restored", AVOW_KV_I64("partition", list[i].partition),
                 AVOW_KV_U64("states", r->states_restored),
                 AVOW_KV_U64("states_rejected", r->states_rejected),
                 AVOW_KV_U64("enrolled", r->views.watched), AVOW_KV_U64("markers", r->book.count),
                 AVOW_KV_I64("offset", list[i].offset),
                 AVOW_KV_U64("service_ms", r->bell.service_ms),
                 AVOW_KV_U64("ms", AVOW_WORKER_MONO(&w->ctx) - list[i].started_mono_ms));
    }
    return avow_bus_assign(w->evidence, tps, n, err);
}

/* Fresh runners for what is assigned and not served; those of an attempt that failed are thrown
 * away. */
static enum avow_rc make_runners(struct avow_worker *w, struct restore *list, size_t *n,
                                 struct avow_err *err)
{
    *n = 0;
    for (uint32_t p = 0; p < w->partitions; p++) {
        struct avow_worker_slot *slot = &w->slots[p];
        if (!slot->assigned || (slot->runner && slot->runner->serving))
            continue;
        avow_runner_free(slot->runner);
        slot->runner = NULL;
        enum avow_rc rc = avow_runner_new(&w->ctx, (int32_t)p, &slot->runner, err);
        if (rc)
            return rc;
        list[(*n)++] =
            (struct restore){.partition = (int32_t)p, .started_mono_ms = AVOW_WORKER_MONO(&w->ctx)};
    }
    return AVOW_OK;
}

enum avow_rc avow_worker_restore(struct avow_worker *w, struct avow_err *err)
{
    struct restore list[AVOW_WORKER_PARTITIONS_MAX];
    size_t n;
    w->fenced.count = 0;
    enum avow_rc rc = avow_worker_aux_read_to_end(w, AVOW_TOPIC_TRUST, 0, err);
    if (!rc)
        rc = make_runners(w, list, &n, err);
    for (size_t i = 0; !rc && i < n; i++)
        rc = begin_at(w, &list[i], err);
    if (!rc && n)
        rc = read_states(w, list, n, err);
    if (!rc && n)
        rc = read_views(w, list, n, err);
    if (!rc && n)
        rc = serve(w, list, n, err);
    return rc;
}
