#include "mem.h"

#include <assert.h>

#include "avow/base/banned.h"

/* --- Membership --- */

enum avow_rc mem_member_check(const struct mem_consumer *c, struct avow_err *err)
{
    switch (c->membership) {
    case MEM_ALONE: /* as in Kafka, a group without members takes offsets from anyone */
        if (!c->group->members)
            return AVOW_OK;
        return avow_err_set(err, AVOW_BUS, 0, "the group has members");
    case MEM_MEMBER:
        if (c->generation == c->group->generation)
            return AVOW_OK;
        return avow_err_set(err, AVOW_BUS, 0, "offsets of an old generation of the group");
    case MEM_FENCED:
        return avow_err_set(err, AVOW_BUS, 0, "another member has this instance id");
    case MEM_EXPIRED:
    default:
        return avow_err_set(err, AVOW_BUS, 0, "not a member of the group any more");
    }
}

static void leave(struct mem_consumer *c)
{
    struct mem_group *g = c->group;
    if (!g || c->membership != MEM_MEMBER)
        return;
    for (struct mem_consumer **p = &g->members; *p; p = &(*p)->next) {
        if (*p == c) {
            *p = c->next;
            break;
        }
    }
    c->next = NULL;
    if (g->owner == c)
        g->owner = NULL;
}

static void join(struct mem_consumer *c)
{
    for (struct mem_consumer *m = c->group->members; m && c->instance; m = m->next) {
        if (m->instance && avow_cstr_eq(m->instance, c->instance)) {
            leave(m);
            m->membership = MEM_FENCED;
            break;
        }
    }
    c->membership = MEM_MEMBER;
    c->next = c->group->members;
    c->group->members = c;
}

/* Behind all others: whoever took over keeps the partitions. */
static void rejoin(struct mem_consumer *c)
{
    struct mem_consumer **p = &c->group->members;
    while (*p)
        p = &(*p)->next;
    *p = c;
    c->membership = MEM_MEMBER;
}

/* What a poll has to tell the program about its membership. */
enum news { NOTHING, GAINED, REVOKED, LOST, FENCED };

static enum news membership_news(struct mem_consumer *c)
{
    struct mem_group *g = c->group;
    if (!c->subscribed)
        return NOTHING;
    if (c->membership == MEM_FENCED)
        return FENCED;
    if (c->membership == MEM_EXPIRED) {
        rejoin(c);
        if (c->owns)
            return LOST;
    }
    if (c->owns && g->members != c)
        return REVOKED;
    if (!c->owns && g->members == c && g->owner == NULL) {
        g->owner = c;
        g->generation++;
        c->generation = g->generation;
        return GAINED;
    }
    c->generation = g->generation;
    return NOTHING;
}

static int32_t *all_partitions(struct mem_consumer *c, size_t *n)
{
    const struct mem_topic *t = mem_topic_find(c->broker, c->subscribed);
    *n = t ? t->partitions : 0;
    int32_t *list = calloc(*n + 1, sizeof(*list));
    for (size_t i = 0; list && i < *n; i++)
        list[i] = (int32_t)i;
    return list;
}

/* Runs the callback without the lock; the program may call back into the bus. */
static void tell(struct mem_consumer *c, enum news news)
{
    size_t n = 0;
    mem_lock(c->broker);
    int32_t *list = all_partitions(c, &n);
    mem_unlock(c->broker);
    assert(list); /* a test ran out of memory */
    if (news == GAINED) {
        c->owns = true;
        c->rebalance.assigned(c->rebalance.arg, list, n);
    } else {
        c->rebalance.revoked(c->rebalance.arg, list, n, news == LOST || news == FENCED);
        c->owns = false;
        c->n_parts = 0;
        mem_lock(c->broker);
        if (c->group->owner == c)
            c->group->owner = NULL;
        mem_unlock(c->broker);
    }
    free(list);
}

void avow_bus_mem_expire(struct avow_bus_consumer *base)
{
    struct mem_consumer *c = (struct mem_consumer *)base;
    mem_lock(c->broker);
    assert(c->membership == MEM_MEMBER);
    leave(c);
    c->membership = MEM_EXPIRED;
    mem_unlock(c->broker);
}

/* --- Assignment --- */

static struct mem_part *part_find(struct mem_consumer *c, const struct avow_bus_tp *tp)
{
    for (size_t i = 0; i < c->n_parts; i++) {
        if (c->parts[i].partition == tp->partition &&
            avow_cstr_eq(c->parts[i].topic->name, tp->topic))
            return &c->parts[i];
    }
    return NULL;
}

static int64_t resolve(const struct mem_consumer *c, const struct mem_log *log, int64_t offset)
{
    int64_t end = mem_log_end(log, c->uncommitted);
    if (offset >= 0)
        return offset;
    if (offset == AVOW_BUS_BEGINNING)
        return log->start;
    if (offset == AVOW_BUS_END)
        return end;
    int64_t from = end - (AVOW_BUS_TAIL(0) - offset);
    return from < log->start ? log->start : from;
}

static enum avow_rc part_set(struct mem_consumer *c, const struct avow_bus_tp *tp,
                             struct avow_err *err)
{
    struct mem_topic *t = mem_topic_find(c->broker, tp->topic);
    const struct mem_log *log = mem_log_find(t, tp->partition);
    if (!log)
        return avow_err_set(err, AVOW_NOTFOUND, 0, "%s[%d] does not exist", tp->topic,
                            tp->partition);
    struct mem_part *part = part_find(c, tp);
    if (!part) {
        struct mem_part *grown = realloc(c->parts, (c->n_parts + 1) * sizeof(*grown));
        if (!grown)
            return avow_err_set(err, AVOW_NOMEM, 0, "consumer in memory");
        c->parts = grown;
        part = &c->parts[c->n_parts++];
    }
    *part = (struct mem_part){
        .topic = t, .partition = tp->partition, .next = resolve(c, log, tp->offset)};
    return AVOW_OK;
}

/* The group gives every partition of its topic to one member. */
static bool is_owned(const struct mem_consumer *c, const struct avow_bus_tp *tp)
{
    return c->owns && avow_cstr_eq(tp->topic, c->subscribed) &&
           mem_log_find(mem_topic_find(c->broker, tp->topic), tp->partition);
}

static enum avow_rc assign(struct avow_bus_consumer *base, const struct avow_bus_tp *tps, size_t n,
                           struct avow_err *err)
{
    struct mem_consumer *c = (struct mem_consumer *)base;
    enum avow_rc rc = AVOW_OK;
    mem_lock(c->broker);
    if (!c->subscribed)
        c->n_parts = 0;
    for (size_t i = 0; !rc && i < n; i++) {
        if (c->subscribed && !is_owned(c, &tps[i]))
            rc = avow_err_set(err, AVOW_STATE, 0, "%s[%d] is not assigned to this member",
                              tps[i].topic, tps[i].partition);
        else
            rc = part_set(c, &tps[i], err);
    }
    mem_unlock(c->broker);
    return rc;
}

static enum avow_rc seek(struct avow_bus_consumer *base, const struct avow_bus_tp *tp,
                         struct avow_err *err)
{
    struct mem_consumer *c = (struct mem_consumer *)base;
    mem_lock(c->broker);
    enum avow_rc rc = part_find(c, tp) ? part_set(c, tp, err)
                                       : avow_err_set(err, AVOW_STATE, 0, "%s[%d] is not assigned",
                                                      tp->topic, tp->partition);
    mem_unlock(c->broker);
    return rc;
}

static enum avow_rc position(struct avow_bus_consumer *base, const struct avow_bus_tp *tp,
                             int64_t *out, struct avow_err *err)
{
    struct mem_consumer *c = (struct mem_consumer *)base;
    const struct mem_part *part = part_find(c, tp);
    if (!part)
        return avow_err_set(err, AVOW_STATE, 0, "%s[%d] is not assigned", tp->topic, tp->partition);
    *out = part->next;
    return AVOW_OK;
}

static enum avow_rc watermarks(struct avow_bus_consumer *base, const struct avow_bus_tp *tp,
                               unsigned timeout_ms, int64_t *low, int64_t *high,
                               struct avow_err *err)
{
    struct mem_consumer *c = (struct mem_consumer *)base;
    (void)timeout_ms;
    mem_lock(c->broker);
    const struct mem_log *log = mem_log_find(mem_topic_find(c->broker, tp->topic), tp->partition);
    if (log) {
        *low = log->start;
        *high = mem_log_end(log, c->uncommitted);
    }
    mem_unlock(c->broker);
    return log ? AVOW_OK
               : avow_err_set(err, AVOW_NOTFOUND, 0, "%s[%d] does not exist", tp->topic,
                              tp->partition);
}

/* --- Poll --- */

static bool is_visible(const struct mem_consumer *c, const struct mem_record *r)
{
    return !r->control && (c->uncommitted || !r->txn || r->txn->state == MEM_TXN_COMMITTED);
}

static void fill(const struct mem_part *part, const struct mem_record *r, struct avow_bus_msg *msg)
{
    *msg = (struct avow_bus_msg){.topic = part->topic->name,
                                 .partition = part->partition,
                                 .offset = part->next,
                                 .timestamp_ms = r->timestamp_ms,
                                 .timestamp_is_append = r->append_time,
                                 .key = r->key,
                                 .value = r->value,
                                 .value_null = r->value_null};
}

static enum avow_rc poll_part(struct mem_consumer *c, struct mem_part *part,
                              struct avow_bus_msg *msg, struct avow_err *err)
{
    const struct mem_log *log = &part->topic->logs[part->partition];
    if (part->stalled)
        return AVOW_OK;
    if (part->next < log->start || part->next > (int64_t)log->n) {
        part->stalled = true; /* until the program seeks */
        return avow_err_set(err, AVOW_NOTFOUND, part->partition,
                            "%s[%d]: offset %lld is not in the log", part->topic->name,
                            part->partition, (long long)part->next);
    }
    int64_t end = mem_log_end(log, c->uncommitted);
    while (part->next < end && !is_visible(c, log->records[part->next]))
        part->next++;
    if (part->next < end) {
        fill(part, log->records[part->next], msg);
        part->next++;
    }
    return AVOW_OK;
}

static enum avow_rc poll(struct avow_bus_consumer *base, unsigned timeout_ms,
                         struct avow_bus_msg *msg, struct avow_err *err)
{
    struct mem_consumer *c = (struct mem_consumer *)base;
    (void)timeout_ms;
    mem_lock(c->broker);
    enum news news = membership_news(c);
    mem_unlock(c->broker);
    if (news == FENCED) {
        if (c->owns)
            tell(c, FENCED);
        return avow_err_set(err, AVOW_BUS_FATAL, 0, "another member has the instance id %s",
                            c->instance);
    }
    if (news != NOTHING) {
        tell(c, news);
        return AVOW_OK;
    }
    enum avow_rc rc = AVOW_OK;
    mem_lock(c->broker);
    /* The partition after the one that was served last comes first, so that none starves. */
    for (size_t i = 0; !rc && !msg->topic && i < c->n_parts; i++) {
        size_t at = (c->turn + i) % c->n_parts;
        rc = poll_part(c, &c->parts[at], msg, err);
        if (rc || msg->topic)
            c->turn = at + 1;
    }
    mem_unlock(c->broker);
    return rc;
}

/* --- Committed offsets --- */

static enum avow_rc committed_locked(struct mem_consumer *c, const struct avow_bus_tp *tp,
                                     int64_t *out, struct avow_err *err)
{
    const struct mem_offset *found = NULL;
    for (const struct mem_offset *o = c->group->offsets; o; o = o->next) {
        if (o->partition != tp->partition || !avow_cstr_eq(o->topic->name, tp->topic))
            continue;
        if (o->pending)
            return avow_err_set(err, AVOW_TIMEOUT, 0,
                                "committed offset of %s[%d]: a transaction is open on it",
                                tp->topic, tp->partition);
        found = o;
    }
    if (!found)
        return avow_err_set(err, AVOW_NOTFOUND, 0, "no offset of %s[%d] is committed", tp->topic,
                            tp->partition);
    *out = found->offset;
    return AVOW_OK;
}

static enum avow_rc committed(struct avow_bus_consumer *base, const struct avow_bus_tp *tp,
                              unsigned timeout_ms, int64_t *out, struct avow_err *err)
{
    struct mem_consumer *c = (struct mem_consumer *)base;
    (void)timeout_ms;
    if (!c->group)
        return avow_err_set(err, AVOW_STATE, 0, "consumer without a group");
    if (c->uncommitted)
        return avow_err_set(err, AVOW_STATE, 0, "committed offsets need a read_committed consumer");
    mem_lock(c->broker);
    enum avow_rc rc = committed_locked(c, tp, out, err);
    mem_unlock(c->broker);
    return rc;
}

static enum avow_rc commit(struct avow_bus_consumer *base, const struct avow_bus_tp *offsets,
                           size_t n, struct avow_err *err)
{
    struct mem_consumer *c = (struct mem_consumer *)base;
    if (!c->group)
        return avow_err_set(err, AVOW_STATE, 0, "consumer without a group");
    mem_lock(c->broker);
    enum avow_rc rc = mem_member_check(c, err);
    if (!rc)
        rc = mem_offsets_set(c, offsets, n, NULL, err);
    mem_unlock(c->broker);
    return rc;
}

/* --- Life cycle --- */

static void consumer_free(struct avow_bus_consumer *base)
{
    struct mem_consumer *c = (struct mem_consumer *)base;
    if (c->owns)
        tell(c, c->membership == MEM_MEMBER ? REVOKED : LOST);
    mem_lock(c->broker);
    leave(c);
    mem_unlock(c->broker);
    free(c->parts);
    free(c->subscribed);
    free(c->instance);
    free(c);
}

static const struct avow_bus_consumer_vtable consumer_vtable = {
    .free = consumer_free,
    .assign = assign,
    .seek = seek,
    .poll = poll,
    .position = position,
    .committed = committed,
    .commit = commit,
    .watermarks = watermarks,
};

enum avow_rc mem_consumer_new(struct avow_bus *b, const struct avow_bus_consumer_opts *opts,
                              struct avow_bus_consumer **out, struct avow_err *err)
{
    struct avow_bus_mem_broker *m = ((struct mem_bus *)b)->broker;
    AVOW_CLEANUP(avow_bus_consumer_free) struct avow_bus_consumer *owner = NULL;
    struct mem_consumer *c = calloc(1, sizeof(*c));
    if (!c)
        return avow_err_set(err, AVOW_NOMEM, 0, "consumer in memory");
    c->base.vt = &consumer_vtable;
    c->broker = m;
    owner = &c->base;
    c->rebalance = opts->rebalance;
    c->uncommitted = opts->isolation == AVOW_BUS_READ_UNCOMMITTED;
    c->subscribed = avow_bus_strdup(opts->subscribe);
    c->instance = avow_bus_strdup(opts->instance_id);
    if ((opts->subscribe && !c->subscribed) || (opts->instance_id && !c->instance))
        return avow_err_set(err, AVOW_NOMEM, 0, "consumer in memory");
    mem_lock(m);
    if (opts->group)
        c->group = mem_group_get(m, opts->group);
    if (c->group && c->subscribed) {
        assert(opts->rebalance.assigned && opts->rebalance.revoked);
        join(c);
    }
    mem_unlock(m);
    if (opts->group && !c->group)
        return avow_err_set(err, AVOW_NOMEM, 0, "consumer in memory");
    *out = AVOW_STEAL(owner);
    return AVOW_OK;
}
