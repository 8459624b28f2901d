#include "bus_impl.h"

#include <assert.h>

#include "avow/base/banned.h"

char *avow_bus_strdup(const char *s)
{
    if (!s)
        return NULL;
    size_t size = strlen(s) + 1;
    char *copy = malloc(size);
    if (copy)
        memcpy(copy, s, size);
    return copy;
}

/* MurmurHash2, 32 bit, with the seed and the reading order of Kafka's default partitioner
 * (Apache Kafka, clients, common/utils/Utils.java: murmur2). */
static uint32_t murmur2(struct avow_bytes key)
{
    const uint32_t m = 0x5bd1e995u;
    uint32_t h = 0x9747b28cu ^ (uint32_t)key.len;
    struct avow_rd r = avow_rd_make(key);
    while (avow_rd_left(&r) >= 4) {
        uint32_t k = avow_rd_u32le(&r) * m;
        k ^= k >> 24;
        h = (h * m) ^ (k * m);
    }
    size_t left = avow_rd_left(&r);
    for (size_t i = 0; i < left; i++)
        h ^= (uint32_t)avow_rd_u8(&r) << (8 * i);
    if (left)
        h *= m;
    h ^= h >> 13;
    h *= m;
    return h ^ (h >> 15);
}

int32_t avow_bus_partition_of(struct avow_bytes key, uint32_t count)
{
    assert(count > 0 && count <= INT32_MAX);
    /* Kafka drops the sign bit; it does not take the absolute value. */
    return (int32_t)((murmur2(key) & 0x7fffffffu) % count);
}

static enum avow_rc check_topic(const char *topic, struct avow_err *err)
{
    size_t len = topic ? strlen(topic) : 0;
    if (len == 0 || len > AVOW_BUS_TOPIC_MAX)
        return avow_err_set(err, AVOW_LIMIT, 0, "a topic's name has 1 to %u characters",
                            AVOW_BUS_TOPIC_MAX);
    return AVOW_OK;
}

void avow_bus_free(struct avow_bus *b)
{
    if (b)
        b->vt->free(b);
}

void avow_bus_rest(struct avow_bus *b)
{
    if (b->vt->rest)
        b->vt->rest(b);
}

enum avow_rc avow_bus_is_mock(struct avow_bus *b, unsigned timeout_ms, bool *out,
                              struct avow_err *err)
{
    return b->vt->is_mock(b, timeout_ms, out, err);
}

enum avow_rc avow_bus_partition_count(struct avow_bus *b, const char *topic, unsigned timeout_ms,
                                      uint32_t *out, struct avow_err *err)
{
    enum avow_rc rc = check_topic(topic, err);
    return rc ? rc : b->vt->partition_count(b, topic, timeout_ms, out, err);
}

enum avow_rc avow_bus_topic_create(struct avow_bus *b, const struct avow_bus_topic_spec *spec,
                                   unsigned timeout_ms, struct avow_err *err)
{
    assert(spec->partitions > 0 && spec->partitions <= INT32_MAX);
    assert(spec->replication == -1 || spec->replication > 0);
    enum avow_rc rc = check_topic(spec->name, err);
    return rc ? rc : b->vt->topic_create(b, spec, timeout_ms, err);
}

enum avow_rc avow_bus_topic_config(struct avow_bus *b, const char *topic, const char *name,
                                   unsigned timeout_ms, char *out, size_t cap, struct avow_err *err)
{
    enum avow_rc rc = check_topic(topic, err);
    if (rc)
        return rc;
    AVOW_CLEANUP_VAL(avow_buf_deinit) struct avow_buf value;
    avow_buf_init(&value, 4096);
    rc = b->vt->topic_config(b, topic, name, timeout_ms, &value, err);
    if (!rc)
        rc = avow_buf_status(&value, err);
    if (rc)
        return rc;
    if (!avow_str_copy(out, cap, (struct avow_str){(const char *)value.ptr, value.len}))
        return avow_err_set(err, AVOW_LIMIT, 0, "setting %s of topic %s has %zu characters", name,
                            topic, value.len);
    return AVOW_OK;
}

/* --- Producer --- */

enum avow_rc avow_bus_producer_new(struct avow_bus *b, const struct avow_bus_producer_opts *opts,
                                   struct avow_bus_producer **out, struct avow_err *err)
{
    for (size_t i = 0; i < opts->n_topics; i++) {
        enum avow_rc rc = check_topic(opts->topics[i], err);
        if (rc)
            return rc;
    }
    return b->vt->producer_new(b, opts, out, err);
}

void avow_bus_producer_free(struct avow_bus_producer *p)
{
    if (p)
        p->vt->free(p);
}

enum avow_rc avow_bus_send(struct avow_bus_producer *p, const struct avow_bus_record *rec,
                           struct avow_err *err)
{
    assert(rec->partition >= 0 || rec->partition == AVOW_BUS_ANY_PARTITION);
    assert(!rec->value_null || rec->value.len == 0);
    enum avow_rc rc = check_topic(rec->topic, err);
    if (rc)
        return rc;
    if (rec->value.len > AVOW_BUS_VALUE_MAX)
        return avow_err_set(err, AVOW_LIMIT, 0, "record for %s has %zu bytes, more than %u",
                            rec->topic, rec->value.len, AVOW_BUS_VALUE_MAX);
    if (rec->key.len > AVOW_BUS_KEY_MAX)
        return avow_err_set(err, AVOW_LIMIT, 0,
                            "key of a record for %s has %zu bytes, more than %u", rec->topic,
                            rec->key.len, AVOW_BUS_KEY_MAX);
    return p->vt->send(p, rec, err);
}

enum avow_rc avow_bus_flush(struct avow_bus_producer *p, unsigned timeout_ms, struct avow_err *err)
{
    return p->vt->flush(p, timeout_ms, err);
}

size_t avow_bus_in_flight(struct avow_bus_producer *p)
{
    return p->vt->in_flight(p);
}

enum avow_rc avow_bus_txn_begin(struct avow_bus_producer *p, struct avow_err *err)
{
    return p->vt->txn_begin(p, err);
}

enum avow_rc avow_bus_txn_send_offsets(struct avow_bus_producer *p, struct avow_bus_consumer *c,
                                       const struct avow_bus_tp *offsets, size_t n,
                                       struct avow_err *err)
{
    /* No or invalid offsets return success, send nothing and therefore fence nothing (PROTOCOL
     * B3.4). */
    assert(n > 0);
    for (size_t i = 0; i < n; i++)
        assert(offsets[i].offset >= 0 && offsets[i].partition >= 0 && offsets[i].topic);
    return p->vt->txn_send_offsets(p, c, offsets, n, err);
}

enum avow_rc avow_bus_txn_commit(struct avow_bus_producer *p, unsigned timeout_ms,
                                 struct avow_err *err)
{
    return p->vt->txn_commit(p, timeout_ms, err);
}

enum avow_rc avow_bus_txn_abort(struct avow_bus_producer *p, unsigned timeout_ms,
                                struct avow_err *err)
{
    return p->vt->txn_abort(p, timeout_ms, err);
}

/* --- Consumer --- */

enum avow_rc avow_bus_consumer_new(struct avow_bus *b, const struct avow_bus_consumer_opts *opts,
                                   struct avow_bus_consumer **out, struct avow_err *err)
{
    assert(!opts->subscribe || opts->group);
    assert(!opts->instance_id || opts->group);
    if (opts->subscribe) {
        enum avow_rc rc = check_topic(opts->subscribe, err);
        if (rc)
            return rc;
    }
    return b->vt->consumer_new(b, opts, out, err);
}

void avow_bus_consumer_free(struct avow_bus_consumer *c)
{
    if (c)
        c->vt->free(c);
}

static enum avow_rc check_start(const struct avow_bus_tp *tp, struct avow_err *err)
{
    assert(tp->partition >= 0);
    /* -2000 - n with a negative n, and -1001 (Kafka's "none"), are programming errors. */
    assert(tp->offset >= AVOW_BUS_BEGINNING || tp->offset <= AVOW_BUS_TAIL(0));
    return check_topic(tp->topic, err);
}

enum avow_rc avow_bus_assign(struct avow_bus_consumer *c, const struct avow_bus_tp *tps, size_t n,
                             struct avow_err *err)
{
    for (size_t i = 0; i < n; i++) {
        enum avow_rc rc = check_start(&tps[i], err);
        if (rc)
            return rc;
    }
    return c->vt->assign(c, tps, n, err);
}

enum avow_rc avow_bus_seek(struct avow_bus_consumer *c, const struct avow_bus_tp *tp,
                           struct avow_err *err)
{
    enum avow_rc rc = check_start(tp, err);
    return rc ? rc : c->vt->seek(c, tp, err);
}

enum avow_rc avow_bus_poll(struct avow_bus_consumer *c, unsigned timeout_ms,
                           struct avow_bus_msg *msg, struct avow_err *err)
{
    *msg = (struct avow_bus_msg){0};
    return c->vt->poll(c, timeout_ms, msg, err);
}

enum avow_rc avow_bus_position(struct avow_bus_consumer *c, const char *topic, int32_t partition,
                               int64_t *out, struct avow_err *err)
{
    struct avow_bus_tp tp = {topic, partition, 0};
    return c->vt->position(c, &tp, out, err);
}

enum avow_rc avow_bus_committed(struct avow_bus_consumer *c, const char *topic, int32_t partition,
                                unsigned timeout_ms, int64_t *out, struct avow_err *err)
{
    struct avow_bus_tp tp = {topic, partition, 0};
    return c->vt->committed(c, &tp, timeout_ms, out, err);
}

enum avow_rc avow_bus_commit(struct avow_bus_consumer *c, const struct avow_bus_tp *offsets,
                             size_t n, struct avow_err *err)
{
    assert(n > 0);
    for (size_t i = 0; i < n; i++)
        assert(offsets[i].offset >= 0 && offsets[i].partition >= 0 && offsets[i].topic);
    return c->vt->commit(c, offsets, n, err);
}

enum avow_rc avow_bus_watermarks(struct avow_bus_consumer *c, const char *topic, int32_t partition,
                                 unsigned timeout_ms, int64_t *low, int64_t *high,
                                 struct avow_err *err)
{
    struct avow_bus_tp tp = {topic, partition, 0};
    return c->vt->watermarks(c, &tp, timeout_ms, low, high, err);
}
