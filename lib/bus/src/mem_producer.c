#include "mem.h"

#include <assert.h>

#include "avow/base/banned.h"

static bool fenced(const struct mem_producer *p)
{
    return p->name && p->name->holder != p;
}

/* What every call on a transactional producer checks first. */
static enum avow_rc check(const struct mem_producer *p, bool want_open, struct avow_err *err)
{
    if (!p->name)
        return avow_err_set(err, AVOW_STATE, 0, "producer without transactions");
    if (fenced(p))
        return avow_err_set(err, AVOW_BUS_FATAL, 0, "fenced by a newer producer with the id %s",
                            p->name->id);
    if (want_open != (p->txn != NULL))
        return avow_err_set(err, AVOW_STATE, 0, "%s",
                            want_open ? "no transaction is open" : "a transaction is open");
    return AVOW_OK;
}

/* --- Records --- */

static enum avow_rc touch(struct mem_producer *p, struct mem_log *log, struct avow_err *err)
{
    for (size_t i = 0; i < p->n_touched; i++) {
        if (p->touched[i] == log)
            return AVOW_OK;
    }
    if (p->n_touched == p->cap_touched) {
        size_t cap = p->cap_touched ? 2 * p->cap_touched : 8;
        struct mem_log **grown = realloc(p->touched, cap * sizeof(struct mem_log *));
        if (!grown)
            return avow_err_set(err, AVOW_NOMEM, 0, "transaction in memory");
        p->touched = grown;
        p->cap_touched = cap;
    }
    p->touched[p->n_touched++] = log;
    return AVOW_OK;
}

static enum avow_rc send_locked(struct mem_producer *p, const struct avow_bus_record *rec,
                                struct avow_err *err)
{
    enum avow_rc rc = p->name ? check(p, true, err) : AVOW_OK;
    if (rc)
        return rc;
    struct mem_topic *t = mem_topic_find(p->broker, rec->topic);
    if (!t)
        return avow_err_set(err, AVOW_NOTFOUND, 0, "topic %s does not exist", rec->topic);
    int32_t partition = rec->partition == AVOW_BUS_ANY_PARTITION
                            ? avow_bus_partition_of(rec->key, t->partitions)
                            : rec->partition;
    struct mem_log *log = mem_log_find(t, partition);
    if (!log)
        return avow_err_set(err, AVOW_NOTFOUND, 0, "topic %s has no partition %d", rec->topic,
                            partition);
    if (p->txn)
        rc = touch(p, log, err);
    return rc ? rc : mem_log_append(p->broker, t, log, rec, p->txn, err);
}

static enum avow_rc send_record(struct avow_bus_producer *base, const struct avow_bus_record *rec,
                                struct avow_err *err)
{
    struct mem_producer *p = (struct mem_producer *)base;
    mem_lock(p->broker);
    enum avow_rc rc = send_locked(p, rec, err);
    mem_unlock(p->broker);
    return rc;
}

/* Records are in the log when send returns. */
static enum avow_rc flush(struct avow_bus_producer *base, unsigned timeout_ms, struct avow_err *err)
{
    struct mem_producer *p = (struct mem_producer *)base;
    (void)timeout_ms;
    mem_lock(p->broker);
    bool dead = fenced(p);
    mem_unlock(p->broker);
    return dead ? avow_err_set(err, AVOW_BUS_FATAL, 0, "fenced by a newer producer") : AVOW_OK;
}

static size_t in_flight(struct avow_bus_producer *base)
{
    (void)base;
    return 0;
}

/* --- Transactions --- */

static enum avow_rc begin_locked(struct mem_producer *p, struct avow_err *err)
{
    enum avow_rc rc = check(p, false, err);
    if (rc)
        return rc;
    struct mem_txn *txn = calloc(1, sizeof(*txn));
    if (!txn)
        return avow_err_set(err, AVOW_NOMEM, 0, "transaction in memory");
    txn->next = p->broker->txns;
    p->broker->txns = txn;
    p->txn = txn;
    return AVOW_OK;
}

static enum avow_rc txn_begin(struct avow_bus_producer *base, struct avow_err *err)
{
    struct mem_producer *p = (struct mem_producer *)base;
    mem_lock(p->broker);
    enum avow_rc rc = begin_locked(p, err);
    mem_unlock(p->broker);
    return rc;
}

/* Aborts because of what `why` says: AVOW_BUS_RETRY. */
static enum avow_rc give_up(struct mem_producer *p, const char *why, struct avow_err *err)
{
    enum avow_rc rc = mem_txn_end(p, MEM_TXN_ABORTED, err);
    return rc ? rc : avow_err_set(err, AVOW_BUS_RETRY, 0, "transaction aborted: %s", why);
}

static enum avow_rc send_offsets_locked(struct mem_producer *p, struct mem_consumer *c,
                                        const struct avow_bus_tp *offsets, size_t n,
                                        struct avow_err *err)
{
    enum avow_rc rc = check(p, true, err);
    if (rc)
        return rc;
    struct avow_err why = {0};
    if (mem_member_check(c, &why))
        return give_up(p, why.msg, err);
    return mem_offsets_set(c, offsets, n, p->txn, err);
}

static enum avow_rc txn_send_offsets(struct avow_bus_producer *base, struct avow_bus_consumer *cb,
                                     const struct avow_bus_tp *offsets, size_t n,
                                     struct avow_err *err)
{
    struct mem_producer *p = (struct mem_producer *)base;
    struct mem_consumer *c = (struct mem_consumer *)cb;
    assert(c->broker == p->broker && c->group);
    mem_lock(p->broker);
    enum avow_rc rc = send_offsets_locked(p, c, offsets, n, err);
    mem_unlock(p->broker);
    return rc;
}

static enum avow_rc txn_commit(struct avow_bus_producer *base, unsigned timeout_ms,
                               struct avow_err *err)
{
    struct mem_producer *p = (struct mem_producer *)base;
    (void)timeout_ms;
    mem_lock(p->broker);
    enum avow_rc rc = check(p, true, err);
    if (!rc && p->broker->failing_commits > 0) {
        p->broker->failing_commits--;
        rc = give_up(p, "the test asked for it", err);
    } else if (!rc) {
        rc = mem_txn_end(p, MEM_TXN_COMMITTED, err);
    }
    mem_unlock(p->broker);
    return rc;
}

static enum avow_rc txn_abort(struct avow_bus_producer *base, unsigned timeout_ms,
                              struct avow_err *err)
{
    struct mem_producer *p = (struct mem_producer *)base;
    (void)timeout_ms;
    mem_lock(p->broker);
    enum avow_rc rc = check(p, true, err);
    if (!rc)
        rc = mem_txn_end(p, MEM_TXN_ABORTED, err);
    mem_unlock(p->broker);
    return rc;
}

/* --- Life cycle --- */

/* Aborts like bus_kafka does; a fenced one was aborted by its successor. */
static void producer_free(struct avow_bus_producer *base)
{
    struct mem_producer *p = (struct mem_producer *)base;
    mem_lock(p->broker);
    if (p->txn && mem_txn_end(p, MEM_TXN_ABORTED, NULL))
        abort(); /* a test ran out of memory */
    if (p->name && p->name->holder == p)
        p->name->holder = NULL;
    mem_unlock(p->broker);
    free(p->touched);
    free(p);
}

static const struct avow_bus_producer_vtable producer_vtable = {
    .free = producer_free,
    .send = send_record,
    .flush = flush,
    .in_flight = in_flight,
    .txn_begin = txn_begin,
    .txn_send_offsets = txn_send_offsets,
    .txn_commit = txn_commit,
    .txn_abort = txn_abort,
};

static struct mem_name *name_get(struct avow_bus_mem_broker *m, const char *id)
{
    for (struct mem_name *n = m->names; n; n = n->next) {
        if (avow_cstr_eq(n->id, id))
            return n;
    }
    struct mem_name *n = calloc(1, sizeof(*n));
    char *copy = avow_bus_strdup(id);
    if (!n || !copy) {
        free(n);
        free(copy);
        return NULL;
    }
    n->id = copy;
    n->next = m->names;
    m->names = n;
    return n;
}

/* The newest with an id holds it; what the one before left open is aborted. */
static enum avow_rc take_name(struct mem_producer *p, const char *id, struct avow_err *err)
{
    struct mem_name *name = name_get(p->broker, id);
    if (!name)
        return avow_err_set(err, AVOW_NOMEM, 0, "producer in memory");
    if (name->holder && name->holder->txn) {
        enum avow_rc rc = mem_txn_end(name->holder, MEM_TXN_ABORTED, err);
        if (rc)
            return rc;
    }
    name->holder = p;
    p->name = name;
    return AVOW_OK;
}

enum avow_rc mem_producer_new(struct avow_bus *b, const struct avow_bus_producer_opts *opts,
                              struct avow_bus_producer **out, struct avow_err *err)
{
    struct avow_bus_mem_broker *m = ((struct mem_bus *)b)->broker;
    struct mem_producer *p = calloc(1, sizeof(*p));
    if (!p)
        return avow_err_set(err, AVOW_NOMEM, 0, "producer in memory");
    p->base.vt = &producer_vtable;
    p->broker = m;
    enum avow_rc rc = AVOW_OK;
    mem_lock(m);
    for (size_t i = 0; !rc && opts->transactional_id && i < opts->n_topics; i++) {
        if (!mem_topic_find(m, opts->topics[i]))
            rc = avow_err_set(err, AVOW_NOTFOUND, 0, "topic %s does not exist", opts->topics[i]);
    }
    if (!rc && opts->transactional_id)
        rc = take_name(p, opts->transactional_id, err);
    mem_unlock(m);
    if (rc) {
        free(p);
        return rc;
    }
    *out = &p->base;
    return AVOW_OK;
}
