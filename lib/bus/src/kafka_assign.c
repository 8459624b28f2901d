#include "kafka.h"

#include "avow/base/clock.h"
#include "avow/base/log.h"
#include "avow/base/num.h"

#include <assert.h>

#include "avow/base/banned.h"

_Static_assert(AVOW_BUS_BEGINNING == RD_KAFKA_OFFSET_BEGINNING, "bus.h");
_Static_assert(AVOW_BUS_END == RD_KAFKA_OFFSET_END, "bus.h");
_Static_assert(AVOW_BUS_TAIL(0) == RD_KAFKA_OFFSET_TAIL_BASE, "bus.h");

#define PARTS_MAX 4096u
/* How long librdkafka may take to forget the position of a partition that it stops reading;
 * measured: below 2 ms. */
#define FORGET_MS 500u
#define RESOLVE_MS 1100u
/* A request of librdkafka 2.0.2 can lie in its queue until a thread looks up, after 1 s at most:
 * whoever gives up sooner and asks again may never see an answer. Where Kafka is known to be away
 * there is nothing to wait for. */
#define PATIENCE_MS 1100u

rd_kafka_topic_partition_list_t *avow_kafka_list(const struct avow_bus_tp *tps, size_t n)
{
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new((int)n);
    for (size_t i = 0; i < n; i++)
        rd_kafka_topic_partition_list_add(list, tps[i].topic, tps[i].partition)->offset =
            tps[i].offset;
    return list;
}

/* --- Parts --- */

struct avow_kafka_part *avow_kafka_part_find(struct avow_kafka_consumer *c, const char *topic,
                                             int32_t partition)
{
    for (size_t i = 0; i < c->n_parts; i++) {
        if (c->parts[i].partition == partition && avow_cstr_eq(c->parts[i].topic, topic))
            return &c->parts[i];
    }
    return NULL;
}

void avow_kafka_parts_clear(struct avow_kafka_consumer *c)
{
    for (size_t i = 0; i < c->n_parts; i++)
        free(c->parts[i].topic);
    c->n_parts = 0;
    c->stalled = 0;
}

void avow_kafka_part_stall(struct avow_kafka_consumer *c, struct avow_kafka_part *part,
                           uint64_t retry_at_ms)
{
    if (!part->stalled)
        c->stalled++;
    part->stalled = true;
    part->retry_at_ms = retry_at_ms;
}

static void part_start(struct avow_kafka_consumer *c, struct avow_kafka_part *part, int64_t start)
{
    if (part->stalled)
        c->stalled--;
    part->stalled = false;
    part->retry_at_ms = 0;
    part->asked = start;
    part->start = start;
}

static enum avow_rc part_set(struct avow_kafka_consumer *c, const struct avow_bus_tp *tp,
                             struct avow_err *err)
{
    struct avow_kafka_part *part = avow_kafka_part_find(c, tp->topic, tp->partition);
    if (part) {
        part_start(c, part, tp->offset);
        return AVOW_OK;
    }
    if (c->n_parts == c->cap_parts) {
        size_t cap = c->cap_parts ? 2 * c->cap_parts : 16;
        struct avow_kafka_part *grown =
            c->n_parts < PARTS_MAX ? realloc(c->parts, cap * sizeof(*grown)) : NULL;
        if (!grown)
            return avow_err_set(err, AVOW_NOMEM, 0, "%zu partitions", c->n_parts + 1);
        c->parts = grown;
        c->cap_parts = cap;
    }
    char *topic = avow_bus_strdup(tp->topic);
    if (!topic)
        return avow_err_set(err, AVOW_NOMEM, 0, "partition");
    c->parts[c->n_parts++] = (struct avow_kafka_part){
        .topic = topic, .partition = tp->partition, .asked = tp->offset, .start = tp->offset};
    return AVOW_OK;
}

/* --- What librdkafka knows --- */

/* Offset after the last record or control record that poll has passed, or RD_KAFKA_OFFSET_INVALID.
 */
int64_t avow_kafka_polled(struct avow_kafka_consumer *c, const char *topic, int32_t partition)
{
    struct avow_bus_tp tp = {topic, partition, RD_KAFKA_OFFSET_INVALID};
    rd_kafka_topic_partition_list_t *list = avow_kafka_list(&tp, 1);
    rd_kafka_resp_err_t code = rd_kafka_position(c->rk, list);
    int64_t offset = code || list->elems[0].err ? RD_KAFKA_OFFSET_INVALID : list->elems[0].offset;
    rd_kafka_topic_partition_list_destroy(list);
    return offset < 0 ? RD_KAFKA_OFFSET_INVALID : offset;
}

/* An old position must not pass for one of the new assignment. Nothing sets a position but our own
 * polling, so it stays forgotten. */
static void wait_forgotten(struct avow_kafka_consumer *c, const struct avow_kafka_part *part)
{
    uint64_t deadline = avow_clock_mono_ms() + FORGET_MS;
    while (avow_kafka_polled(c, part->topic, part->partition) != RD_KAFKA_OFFSET_INVALID &&
           avow_clock_mono_ms() < deadline)
        avow_clock_sleep_ms(1);
}

/* Tells librdkafka what `parts` says. */
static enum avow_rc parts_apply(struct avow_kafka_consumer *c, struct avow_err *err)
{
    c->deferred = false;
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new((int)c->n_parts + 1);
    for (size_t i = 0; i < c->n_parts; i++)
        rd_kafka_topic_partition_list_add(list, c->parts[i].topic, c->parts[i].partition)->offset =
            c->parts[i].start;
    rd_kafka_resp_err_t code = rd_kafka_assign(c->rk, list);
    rd_kafka_topic_partition_list_destroy(list);
    if (code) {
        enum avow_rc rc = avow_kafka_check_fatal(c->rk, err);
        return rc ? rc : avow_err_set(err, AVOW_BUS, code, "assigning: %s", rd_kafka_err2str(code));
    }
    for (size_t i = 0; i < c->n_parts; i++)
        wait_forgotten(c, &c->parts[i]);
    return AVOW_OK;
}

static struct avow_kafka_topic *topic_find(struct avow_kafka_consumer *c, const char *name)
{
    for (size_t i = 0; i < c->n_topics; i++) {
        if (avow_cstr_eq(rd_kafka_topic_name(c->topics[i].rkt), name))
            return &c->topics[i];
    }
    return NULL;
}

/* Makes librdkafka ask for the topic, without waiting for the answer, and follow its leaders from
 * then on. */
static enum avow_rc topic_add(struct avow_kafka_consumer *c, const char *name, struct avow_err *err)
{
    if (topic_find(c, name))
        return AVOW_OK;
    struct avow_kafka_topic *grown = realloc(c->topics, (c->n_topics + 1) * sizeof(*grown));
    if (!grown)
        return avow_err_set(err, AVOW_NOMEM, 0, "consumer");
    c->topics = grown;
    rd_kafka_topic_t *rkt = rd_kafka_topic_new(c->rk, name, NULL);
    if (!rkt)
        return avow_err_set(err, AVOW_BUS, rd_kafka_last_error(), "topic %s: %s", name,
                            rd_kafka_err2str(rd_kafka_last_error()));
    c->topics[c->n_topics++] = (struct avow_kafka_topic){.rkt = rkt};
    return AVOW_OK;
}

/* The first or last offset of each partition of the list, as the isolation level sees them; below 0
 * where there was no answer. librdkafka takes the logical offsets as "times". Its
 * rd_kafka_query_watermark_offsets would ask a broker that hangs again and again, for ever (2.0.2);
 * this ends in time. */
static rd_kafka_resp_err_t look_up(struct avow_kafka_consumer *c,
                                   rd_kafka_topic_partition_list_t *list, uint64_t deadline)
{
    uint64_t now = avow_clock_mono_ms();
    return rd_kafka_offsets_for_times(c->rk, list,
                                      avow_kafka_ms(deadline > now ? deadline - now : 0));
}

static rd_kafka_resp_err_t look_up_one(struct avow_kafka_consumer *c, const struct avow_bus_tp *tp,
                                       int64_t which, uint64_t deadline, int64_t *out)
{
    struct avow_bus_tp asked = {tp->topic, tp->partition, which};
    rd_kafka_topic_partition_list_t *list = avow_kafka_list(&asked, 1);
    rd_kafka_resp_err_t code = look_up(c, list, deadline);
    if (!code)
        code = list->elems[0].err;
    *out = list->elems[0].offset;
    rd_kafka_topic_partition_list_destroy(list);
    if (!code && *out < 0)
        code = RD_KAFKA_RESP_ERR_OFFSET_NOT_AVAILABLE;
    return code;
}

static enum avow_rc look_up_failed(struct avow_kafka_consumer *c, const struct avow_bus_tp *tp,
                                   rd_kafka_resp_err_t code, struct avow_err *err)
{
    (void)rd_kafka_poll(c->rk, 0);
    switch (code) {
    case RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART:
    case RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC:
    case RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION:
        return avow_err_set(err, AVOW_NOTFOUND, code, "%s[%d] does not exist", tp->topic,
                            tp->partition);
    case RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED:
        return avow_err_set(err, AVOW_REFUSED, code, "%s[%d]: %s", tp->topic, tp->partition,
                            rd_kafka_err2str(code));
    default:
        return avow_kafka_timed_out(&c->health, AVOW_UNREACHABLE, err, "watermarks of %s[%d]: %s",
                                    tp->topic, tp->partition, rd_kafka_err2str(code));
    }
}

enum avow_rc avow_kafka_watermarks(struct avow_bus_consumer *base, const struct avow_bus_tp *tp,
                                   unsigned timeout_ms, int64_t *low, int64_t *high,
                                   struct avow_err *err)
{
    struct avow_kafka_consumer *c = (struct avow_kafka_consumer *)base;
    uint64_t deadline = avow_clock_mono_ms() + timeout_ms;
    int64_t from = 0;
    int64_t to = 0;
    /* For a topic that it does not follow, librdkafka would go on asking a leader that is gone. */
    enum avow_rc rc = topic_add(c, tp->topic, err);
    if (rc)
        return rc;
    rd_kafka_resp_err_t code = look_up_one(c, tp, AVOW_BUS_BEGINNING, deadline, &from);
    if (!code)
        code = look_up_one(c, tp, AVOW_BUS_END, deadline, &to);
    if (code)
        return look_up_failed(c, tp, code, err);
    avow_kafka_health_clear(&c->health);
    *low = from;
    *high = to < from ? from : to; /* retention between the two answers */
    return AVOW_OK;
}

static int64_t start_of(int64_t asked, int64_t low, int64_t high)
{
    int64_t from = low;
    if (asked == AVOW_BUS_END)
        from = high;
    else if (asked <= AVOW_BUS_TAIL(0))
        from = high - (AVOW_BUS_TAIL(0) - asked);
    return from < low ? low : from;
}

/* Where a partition starts whose position librdkafka does not know yet. */
static enum avow_rc resolve_one(struct avow_kafka_consumer *c, const struct avow_kafka_part *part,
                                int64_t *out, struct avow_err *err)
{
    int64_t low = 0;
    int64_t high = 0;
    struct avow_bus_tp tp = {part->topic, part->partition, 0};
    enum avow_rc rc = avow_kafka_watermarks(&c->base, &tp, RESOLVE_MS, &low, &high, err);
    if (!rc)
        *out = start_of(part->start, low, high);
    return rc;
}

static rd_kafka_topic_partition_list_t *list_parts(const struct avow_kafka_consumer *c,
                                                   int64_t which)
{
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new((int)c->n_parts + 1);
    for (size_t i = 0; i < c->n_parts; i++) {
        if (!c->parts[i].stalled)
            rd_kafka_topic_partition_list_add(list, c->parts[i].topic, c->parts[i].partition)
                ->offset = which;
    }
    return list;
}

/* An answer about a partition: its topic is there, and a logical start becomes a number. */
static void take_answer(struct avow_kafka_consumer *c, struct avow_kafka_part *part,
                        const rd_kafka_topic_partition_t *low,
                        const rd_kafka_topic_partition_t *high)
{
    if (low->err || high->err || low->offset < 0 || high->offset < 0)
        return;
    struct avow_kafka_topic *t = topic_find(c, part->topic);
    if (t)
        t->met = true;
    if (part->start < 0)
        part->start = start_of(part->start, low->offset, high->offset);
}

/* Two requests to each broker for all partitions, also for those whose start is known: the answer
 * says that their topics are there. One without an answer stays logical, and librdkafka goes on
 * trying. False if there was no answer at all. */
static bool resolve_all(struct avow_kafka_consumer *c, unsigned timeout_ms)
{
    uint64_t deadline = avow_clock_mono_ms() + timeout_ms;
    rd_kafka_topic_partition_list_t *low = list_parts(c, AVOW_BUS_BEGINNING);
    rd_kafka_topic_partition_list_t *high = list_parts(c, AVOW_BUS_END);
    bool ok = low->cnt == 0 || (!look_up(c, low, deadline) && !look_up(c, high, deadline));
    for (size_t i = 0, at = 0; ok && i < c->n_parts; i++) {
        if (c->parts[i].stalled)
            continue;
        take_answer(c, &c->parts[i], &low->elems[at], &high->elems[at]);
        at++;
    }
    rd_kafka_topic_partition_list_destroy(low);
    rd_kafka_topic_partition_list_destroy(high);
    return ok;
}

static bool is_met(struct avow_kafka_consumer *c, const char *name)
{
    if (c->subscribed) /* the subscription has asked for it */
        return true;
    const struct avow_kafka_topic *t = topic_find(c, name);
    return t && t->met;
}

static void stall_topic(struct avow_kafka_consumer *c, const char *name)
{
    for (size_t i = 0; i < c->n_parts; i++) {
        if (avow_cstr_eq(c->parts[i].topic, name))
            avow_kafka_part_stall(c, &c->parts[i],
                                  avow_clock_mono_ms() + AVOW_KAFKA_STALLED_RETRY_MS);
    }
}

/* Why the look-up of a topic's partitions failed. AVOW_OK: the topic is there. */
static enum avow_rc topic_check(struct avow_kafka_consumer *c, struct avow_kafka_topic *t,
                                struct avow_err *err)
{
    const char *name = rd_kafka_topic_name(t->rkt);
    const struct rd_kafka_metadata *md = NULL;
    rd_kafka_resp_err_t code = rd_kafka_metadata(c->rk, 0, t->rkt, &md, PATIENCE_MS);
    if (code)
        return avow_err_set(err, AVOW_TIMEOUT, code, "topic %s: %s", name, rd_kafka_err2str(code));
    code = md->topic_cnt == 1 ? md->topics[0].err : RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC;
    rd_kafka_metadata_destroy(md);
    t->met = !code || code == RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE;
    if (t->met)
        return AVOW_OK;
    stall_topic(c, name);
    return avow_err_set(err, AVOW_BUS, code, "topic %s: %s", name, rd_kafka_err2str(code));
}

static enum avow_rc topics_check(struct avow_kafka_consumer *c, struct avow_err *err)
{
    enum avow_rc first = AVOW_OK;
    for (size_t i = 0; i < c->n_topics && first != AVOW_TIMEOUT; i++) {
        struct avow_err one = {0};
        enum avow_rc rc = c->topics[i].met ? AVOW_OK : topic_check(c, &c->topics[i], &one);
        if (rc && (!first || rc == AVOW_TIMEOUT))
            first = avow_err_set(err, rc, one.native, "%s", one.msg);
    }
    return first;
}

enum avow_rc avow_kafka_parts_meet(struct avow_kafka_consumer *c, unsigned timeout_ms,
                                   struct avow_err *err)
{
    for (size_t i = 0; i < c->n_parts; i++) {
        enum avow_rc rc = topic_add(c, c->parts[i].topic, err);
        if (rc)
            return rc;
    }
    (void)rd_kafka_poll(c->rk, 0);
    bool trouble = c->health.refused[0] || c->health.trouble[0];
    if (!trouble && timeout_ms < PATIENCE_MS)
        timeout_ms = PATIENCE_MS;
    if (!resolve_all(c, timeout_ms) && trouble)
        return avow_err_set(err, AVOW_TIMEOUT, 0, "no answer from Kafka");
    struct avow_err why = {0};
    enum avow_rc bad = topics_check(c, &why);
    if (bad == AVOW_TIMEOUT)
        return avow_err_set(err, bad, why.native, "%s", why.msg);
    if (bad)
        (void)resolve_all(c, timeout_ms); /* of those that are there */
    enum avow_rc rc = parts_apply(c, err);
    if (!rc && bad)
        rc = avow_err_set(err, bad, why.native, "%s", why.msg);
    return rc;
}

static enum avow_rc parts_start(struct avow_kafka_consumer *c, struct avow_err *err)
{
    /* Within the callback librdkafka waits for exactly one assignment: it is made when the callback
     * returns. */
    if (c->in_callback)
        return AVOW_OK;
    for (size_t i = 0; i < c->n_parts; i++) {
        const struct avow_kafka_part *part = &c->parts[i];
        if (!part->stalled && (!is_met(c, part->topic) || (part->start < 0 && !c->subscribed))) {
            c->deferred = true;
            return AVOW_OK;
        }
    }
    return parts_apply(c, err);
}

/* librdkafka starts every partition of an assignment anew, so those that go on start where they
 * are. */
static void keep_positions(struct avow_kafka_consumer *c)
{
    for (size_t i = 0; i < c->n_parts; i++) {
        int64_t at = avow_kafka_polled(c, c->parts[i].topic, c->parts[i].partition);
        if (at != RD_KAFKA_OFFSET_INVALID && !c->parts[i].stalled)
            part_start(c, &c->parts[i], at);
    }
}

/* --- The program's calls --- */

static bool is_owned(const struct avow_kafka_consumer *c, const struct avow_bus_tp *tp)
{
    if (!avow_cstr_eq(tp->topic, c->subscribed))
        return false;
    for (size_t i = 0; i < c->n_owned; i++) {
        if (c->owned[i] == tp->partition)
            return true;
    }
    return false;
}

enum avow_rc avow_kafka_assign(struct avow_bus_consumer *base, const struct avow_bus_tp *tps,
                               size_t n, struct avow_err *err)
{
    struct avow_kafka_consumer *c = (struct avow_kafka_consumer *)base;
    for (size_t i = 0; i < n && c->subscribed; i++) {
        if (!is_owned(c, &tps[i]))
            return avow_err_set(err, AVOW_STATE, 0, "%s[%d] is not assigned to this member",
                                tps[i].topic, tps[i].partition);
    }
    if (c->subscribed)
        keep_positions(c);
    else
        avow_kafka_parts_clear(c);
    for (size_t i = 0; i < n; i++) {
        enum avow_rc rc = part_set(c, &tps[i], err);
        if (rc)
            return rc;
    }
    /* Within the callback librdkafka waits for exactly one assignment: it is made when the callback
     * returns. */
    return parts_start(c, err);
}

/* rd_kafka_seek refuses a partition that stopped after an error, which is when a seek is needed
 * most: assigning anew always works. */
enum avow_rc avow_kafka_seek(struct avow_bus_consumer *base, const struct avow_bus_tp *tp,
                             struct avow_err *err)
{
    struct avow_kafka_consumer *c = (struct avow_kafka_consumer *)base;
    if (!avow_kafka_part_find(c, tp->topic, tp->partition))
        return avow_err_set(err, AVOW_STATE, 0, "%s[%d] is not assigned", tp->topic, tp->partition);
    keep_positions(c);
    part_start(c, avow_kafka_part_find(c, tp->topic, tp->partition), tp->offset);
    return parts_start(c, err);
}

enum avow_rc avow_kafka_parts_retry(struct avow_kafka_consumer *c, struct avow_err *err)
{
    uint64_t now = avow_clock_mono_ms();
    enum avow_rc rc = AVOW_OK;
    bool due = false;
    for (size_t i = 0; i < c->n_parts && c->stalled > 0; i++) {
        struct avow_kafka_part *part = &c->parts[i];
        if (!part->stalled || part->retry_at_ms == 0 || part->retry_at_ms > now)
            continue;
        struct avow_kafka_topic *t = c->subscribed ? NULL : topic_find(c, part->topic);
        /* Assigning anew disturbs the partitions that work: not for a topic that is still missing.
         */
        if (t && !t->met && (rc = topic_check(c, t, err)) != AVOW_OK) {
            avow_kafka_part_stall(c, part, now + AVOW_KAFKA_STALLED_RETRY_MS);
            continue;
        }
        due = true;
        part_start(c, part, part->asked);
    }
    if (!due)
        return rc == AVOW_TIMEOUT ? AVOW_OK : rc;
    keep_positions(c);
    return parts_start(c, err);
}

enum avow_rc avow_kafka_position(struct avow_bus_consumer *base, const struct avow_bus_tp *tp,
                                 int64_t *out, struct avow_err *err)
{
    struct avow_kafka_consumer *c = (struct avow_kafka_consumer *)base;
    struct avow_kafka_part *part = avow_kafka_part_find(c, tp->topic, tp->partition);
    if (!part)
        return avow_err_set(err, AVOW_STATE, 0, "%s[%d] is not assigned", tp->topic, tp->partition);
    int64_t at = avow_kafka_polled(c, tp->topic, tp->partition);
    if (at == RD_KAFKA_OFFSET_INVALID && part->start >= 0)
        at = part->start;
    if (at == RD_KAFKA_OFFSET_INVALID) {
        enum avow_rc rc = resolve_one(c, part, &at, err);
        if (rc)
            return rc;
        if (c->deferred) /* then this is where it will start */
            part->start = at;
    }
    *out = at;
    return AVOW_OK;
}

/* --- Rebalance (eager) --- */

static void owned_set(struct avow_kafka_consumer *c, const rd_kafka_topic_partition_list_t *list)
{
    free(c->owned);
    c->owned = NULL;
    c->n_owned = 0;
    size_t n = (size_t)list->cnt;
    int32_t *partitions = n ? calloc(n, sizeof(*partitions)) : NULL;
    if (n && !partitions)
        return; /* owning nothing is safe: another poll error follows, nothing is read */
    for (size_t i = 0; i < n; i++)
        partitions[i] = list->elems[i].partition;
    c->owned = partitions;
    c->n_owned = n;
}

static void remember_member(struct avow_kafka_consumer *c)
{
    char *id = rd_kafka_memberid(c->rk);
    free(c->member_id);
    c->member_id = avow_bus_strdup(id);
    if (id)
        rd_kafka_mem_free(c->rk, id);
}

bool avow_kafka_is_member(const struct avow_kafka_consumer *c)
{
    if (!c->subscribed)
        return true; /* never joined: the group's offsets are looked after by hand */
    char *id = rd_kafka_memberid(c->rk);
    bool same = id && c->member_id && id[0] && avow_cstr_eq(id, c->member_id);
    if (id)
        rd_kafka_mem_free(c->rk, id);
    return same && !rd_kafka_assignment_lost(c->rk);
}

void avow_kafka_rebalance_cb(rd_kafka_t *rk, rd_kafka_resp_err_t code,
                             rd_kafka_topic_partition_list_t *list, void *opaque)
{
    struct avow_kafka_health *h = opaque;
    struct avow_kafka_consumer *c =
        (struct avow_kafka_consumer *)((char *)h - offsetof(struct avow_kafka_consumer, health));
    struct avow_err err = {0};
    bool gained = code == RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS;
    if (gained && !c->closing) {
        owned_set(c, list);
        remember_member(c);
        c->in_callback = true;
        c->rebalance.assigned(c->rebalance.arg, c->owned, c->n_owned);
        c->in_callback = false;
        if (parts_apply(c, &err))
            avow_log_limited(WARN, "kafka_assign", 6, AVOW_KV_ERR(&err));
        return;
    }
    if (!gained && c->n_owned > 0) {
        c->in_callback = true;
        c->rebalance.revoked(c->rebalance.arg, c->owned, c->n_owned,
                             rd_kafka_assignment_lost(rk) != 0);
        c->in_callback = false;
    }
    c->n_owned = 0;
    avow_kafka_parts_clear(c);
    (void)rd_kafka_assign(rk, NULL);
}
