#include "mem.h"

#include <assert.h>

#include "avow/base/banned.h"

/* --- Logs --- */

struct mem_topic *mem_topic_find(struct avow_bus_mem_broker *m, const char *name)
{
    for (struct mem_topic *t = m->topics; t; t = t->next) {
        if (avow_cstr_eq(t->name, name))
            return t;
    }
    return NULL;
}

struct mem_log *mem_log_find(struct mem_topic *t, int32_t partition)
{
    return t && partition >= 0 && (uint32_t)partition < t->partitions ? &t->logs[partition] : NULL;
}

static enum avow_rc log_push(struct mem_log *log, struct mem_record *rec, struct avow_err *err)
{
    if (log->n == log->cap) {
        size_t cap = log->cap ? 2 * log->cap : 16;
        struct mem_record **grown = realloc(log->records, cap * sizeof(struct mem_record *));
        if (!grown)
            return avow_err_set(err, AVOW_NOMEM, 0, "log in memory");
        log->records = grown;
        log->cap = cap;
    }
    log->records[log->n++] = rec;
    return AVOW_OK;
}

enum avow_rc mem_log_append(struct avow_bus_mem_broker *m, struct mem_topic *t, struct mem_log *log,
                            const struct avow_bus_record *rec, struct mem_txn *txn,
                            struct avow_err *err)
{
    size_t size = rec ? rec->key.len + rec->value.len : 0;
    struct mem_record *r = calloc(1, sizeof(*r) + size + 1);
    if (!r)
        return avow_err_set(err, AVOW_NOMEM, 0, "record in memory");
    r->control = rec == NULL;
    r->txn = txn;
    r->append_time = t && t->append_time;
    r->timestamp_ms = (int64_t)m->now_ms;
    if (rec) {
        r->value_null = rec->value_null;
        if (rec->key.ptr) {
            r->key = avow_bytes_make(r->data, rec->key.len);
            memcpy(r->data, rec->key.ptr, rec->key.len);
        }
        if (rec->value.len)
            memcpy(r->data + rec->key.len, rec->value.ptr, rec->value.len);
        if (!rec->value_null)
            r->value = avow_bytes_make(r->data + rec->key.len, rec->value.len);
    }
    enum avow_rc rc = log_push(log, r, err);
    if (rc)
        free(r);
    return rc;
}

int64_t mem_log_end(const struct mem_log *log, bool uncommitted)
{
    for (size_t i = (size_t)log->start; i < log->n && !uncommitted; i++) {
        const struct mem_record *r = log->records[i];
        if (r->txn && r->txn->state == MEM_TXN_OPEN)
            return (int64_t)i; /* last stable offset */
    }
    return (int64_t)log->n;
}

/* --- Groups --- */

struct mem_group *mem_group_get(struct avow_bus_mem_broker *m, const char *name)
{
    for (struct mem_group *g = m->groups; g; g = g->next) {
        if (avow_cstr_eq(g->name, name))
            return g;
    }
    struct mem_group *g = calloc(1, sizeof(*g));
    char *copy = avow_bus_strdup(name);
    if (!g || !copy) {
        free(g);
        free(copy);
        return NULL;
    }
    g->name = copy;
    g->next = m->groups;
    m->groups = g;
    return g;
}

/* The slot for a committed offset (txn NULL) or for that of one transaction; made if it is missing.
 */
static struct mem_offset *offset_slot(struct mem_group *g, struct mem_topic *t, int32_t partition,
                                      struct mem_txn *txn)
{
    for (struct mem_offset *o = g->offsets; o; o = o->next) {
        if (o->topic == t && o->partition == partition && o->pending == txn)
            return o;
    }
    struct mem_offset *o = calloc(1, sizeof(*o));
    if (!o)
        return NULL;
    *o = (struct mem_offset){t, partition, -1, txn, g->offsets};
    g->offsets = o;
    return o;
}

enum avow_rc mem_offsets_set(struct mem_consumer *c, const struct avow_bus_tp *offsets, size_t n,
                             struct mem_txn *txn, struct avow_err *err)
{
    for (size_t i = 0; i < n; i++) {
        struct mem_topic *t = mem_topic_find(c->broker, offsets[i].topic);
        if (!mem_log_find(t, offsets[i].partition))
            return avow_err_set(err, AVOW_NOTFOUND, 0, "%s[%d] does not exist", offsets[i].topic,
                                offsets[i].partition);
        struct mem_offset *o = offset_slot(c->group, t, offsets[i].partition, txn);
        if (!o)
            return avow_err_set(err, AVOW_NOMEM, 0, "offset in memory");
        o->offset = offsets[i].offset;
    }
    return AVOW_OK;
}

/* Offsets of a transaction become the group's, or go. */
static enum avow_rc settle_offsets(struct mem_group *g, struct mem_txn *txn, bool commit,
                                   struct avow_err *err)
{
    for (struct mem_offset *o = g->offsets; commit && o; o = o->next) {
        if (o->pending != txn)
            continue;
        struct mem_offset *slot = offset_slot(g, o->topic, o->partition, NULL);
        if (!slot)
            return avow_err_set(err, AVOW_NOMEM, 0, "offset in memory");
        slot->offset = o->offset;
    }
    for (struct mem_offset **p = &g->offsets; *p;) {
        struct mem_offset *o = *p;
        if (o->pending != txn) {
            p = &o->next;
            continue;
        }
        *p = o->next;
        free(o);
    }
    return AVOW_OK;
}

enum avow_rc mem_txn_end(struct mem_producer *p, enum mem_txn_state state, struct avow_err *err)
{
    struct mem_txn *txn = p->txn;
    for (size_t i = 0; i < p->n_touched; i++) {
        enum avow_rc rc = mem_log_append(p->broker, NULL, p->touched[i], NULL, txn, err);
        if (rc)
            return rc;
    }
    for (struct mem_group *g = p->broker->groups; g; g = g->next) {
        enum avow_rc rc = settle_offsets(g, txn, state == MEM_TXN_COMMITTED, err);
        if (rc)
            return rc;
    }
    txn->state = state;
    p->txn = NULL;
    p->n_touched = 0;
    return AVOW_OK;
}

/* --- The bus --- */

static enum avow_rc is_mock(struct avow_bus *b, unsigned timeout_ms, bool *out,
                            struct avow_err *err)
{
    (void)b;
    (void)timeout_ms;
    (void)err;
    *out = false;
    return AVOW_OK;
}

static enum avow_rc partition_count(struct avow_bus *b, const char *topic, unsigned timeout_ms,
                                    uint32_t *out, struct avow_err *err)
{
    struct avow_bus_mem_broker *m = ((struct mem_bus *)b)->broker;
    (void)timeout_ms;
    mem_lock(m);
    struct mem_topic *t = mem_topic_find(m, topic);
    if (t)
        *out = t->partitions;
    mem_unlock(m);
    return t ? AVOW_OK : avow_err_set(err, AVOW_NOTFOUND, 0, "topic %s does not exist", topic);
}

static void topic_free(struct mem_topic *t)
{
    for (uint32_t i = 0; t->logs && i < t->partitions; i++) {
        for (size_t k = 0; k < t->logs[i].n; k++)
            free(t->logs[i].records[k]);
        free(t->logs[i].records);
    }
    for (size_t i = 0; t->config && i < t->n_config; i++) {
        free(t->config[i].name);
        free(t->config[i].value);
    }
    free(t->config);
    free(t->logs);
    free(t->name);
    free(t);
}

static struct mem_topic *topic_new(const struct avow_bus_topic_spec *spec)
{
    struct mem_topic *t = calloc(1, sizeof(*t));
    if (!t)
        return NULL;
    t->name = avow_bus_strdup(spec->name);
    t->partitions = spec->partitions;
    t->logs = calloc(spec->partitions, sizeof(*t->logs));
    t->n_config = spec->n_config;
    t->config = calloc(spec->n_config + 1, sizeof(*t->config));
    bool ok = t->name && t->logs && t->config;
    for (size_t i = 0; ok && i < spec->n_config; i++) {
        t->config[i].name = avow_bus_strdup(spec->config[i].name);
        t->config[i].value = avow_bus_strdup(spec->config[i].value);
        ok = t->config[i].name && t->config[i].value;
        t->append_time =
            t->append_time || (avow_cstr_eq(spec->config[i].name, "message.timestamp.type") &&
                               avow_cstr_eq(spec->config[i].value, "LogAppendTime"));
    }
    if (ok)
        return t;
    topic_free(t);
    return NULL;
}

static enum avow_rc topic_create(struct avow_bus *b, const struct avow_bus_topic_spec *spec,
                                 unsigned timeout_ms, struct avow_err *err)
{
    struct avow_bus_mem_broker *m = ((struct mem_bus *)b)->broker;
    (void)timeout_ms;
    mem_lock(m);
    bool exists = mem_topic_find(m, spec->name) != NULL;
    struct mem_topic *t = exists ? NULL : topic_new(spec);
    if (t) {
        t->next = m->topics;
        m->topics = t;
    }
    mem_unlock(m);
    if (exists)
        return avow_err_set(err, AVOW_EXISTS, 0, "topic %s is there already", spec->name);
    return t ? AVOW_OK : avow_err_set(err, AVOW_NOMEM, 0, "topic %s", spec->name);
}

static enum avow_rc topic_config(struct avow_bus *b, const char *topic, const char *name,
                                 unsigned timeout_ms, struct avow_buf *out, struct avow_err *err)
{
    struct avow_bus_mem_broker *m = ((struct mem_bus *)b)->broker;
    (void)timeout_ms;
    bool found = false;
    mem_lock(m);
    const struct mem_topic *t = mem_topic_find(m, topic);
    for (size_t i = 0; t && !found && i < t->n_config; i++) {
        found = avow_cstr_eq(t->config[i].name, name);
        if (found)
            avow_buf_put_str(out, t->config[i].value);
    }
    mem_unlock(m);
    return found ? AVOW_OK
                 : avow_err_set(err, AVOW_NOTFOUND, 0, "topic %s has no setting %s", topic, name);
}

static void mem_free(struct avow_bus *b)
{
    struct mem_bus *mb = (struct mem_bus *)b;
    mem_lock(mb->broker);
    mb->broker->buses--;
    mem_unlock(mb->broker);
    free(mb);
}

static const struct avow_bus_vtable mem_vtable = {
    .free = mem_free,
    .is_mock = is_mock,
    .partition_count = partition_count,
    .topic_create = topic_create,
    .topic_config = topic_config,
    .producer_new = mem_producer_new,
    .consumer_new = mem_consumer_new,
};

enum avow_rc avow_bus_mem_new(struct avow_bus_mem_broker *m, struct avow_bus **out,
                              struct avow_err *err)
{
    struct mem_bus *b = calloc(1, sizeof(*b));
    if (!b)
        return avow_err_set(err, AVOW_NOMEM, 0, "bus in memory");
    b->base.vt = &mem_vtable;
    b->broker = m;
    mem_lock(m);
    m->buses++;
    mem_unlock(m);
    *out = &b->base;
    return AVOW_OK;
}

/* --- The broker --- */

enum avow_rc avow_bus_mem_broker_new(struct avow_bus_mem_broker **out, struct avow_err *err)
{
    struct avow_bus_mem_broker *m = calloc(1, sizeof(*m));
    if (!m || pthread_mutex_init(&m->lock, NULL)) {
        free(m);
        return avow_err_set(err, AVOW_NOMEM, 0, "broker in memory");
    }
    *out = m;
    return AVOW_OK;
}

static void group_free(struct mem_group *g)
{
    while (g->offsets) {
        struct mem_offset *o = g->offsets;
        g->offsets = o->next;
        free(o);
    }
    free(g->name);
    free(g);
}

void avow_bus_mem_broker_free(struct avow_bus_mem_broker *m)
{
    if (!m)
        return;
    assert(m->buses == 0);
    while (m->topics) {
        struct mem_topic *t = m->topics;
        m->topics = t->next;
        topic_free(t);
    }
    while (m->groups) {
        struct mem_group *g = m->groups;
        m->groups = g->next;
        group_free(g);
    }
    while (m->names) {
        struct mem_name *n = m->names;
        m->names = n->next;
        free(n->id);
        free(n);
    }
    while (m->txns) {
        struct mem_txn *t = m->txns;
        m->txns = t->next;
        free(t);
    }
    pthread_mutex_destroy(&m->lock);
    free(m);
}

void avow_bus_mem_set_time(struct avow_bus_mem_broker *m, uint64_t unix_ms)
{
    mem_lock(m);
    m->now_ms = unix_ms;
    mem_unlock(m);
}

void avow_bus_mem_fail_commits(struct avow_bus_mem_broker *m, unsigned n)
{
    mem_lock(m);
    m->failing_commits = n;
    mem_unlock(m);
}

void avow_bus_mem_delete_before(struct avow_bus_mem_broker *m, const char *topic, int32_t partition,
                                int64_t offset)
{
    mem_lock(m);
    struct mem_log *log = mem_log_find(mem_topic_find(m, topic), partition);
    assert(log && offset >= log->start && offset <= (int64_t)log->n);
    log->start = offset;
    mem_unlock(m);
}
