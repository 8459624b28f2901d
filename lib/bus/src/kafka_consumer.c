#include "kafka.h"

#include "inflate_guard.h"

#include "avow/base/clock.h"
#include "avow/base/log.h"
#include "avow/base/num.h"

#include <assert.h>

#include "avow/base/banned.h"

#define SESSION_MS 6000u
#define FETCH_WAIT_MS 100u
#define FETCH_WAIT_MOCK_MS 10u
#define SOCKET_TIMEOUT_MS 10000u
/* A poll without time must get on all the same. */
#define MEET_MIN_MS 20u
/* librdkafka's assign() wants the name of a group even where no group is ever joined. */
#define NO_GROUP "avow.assigned-by-hand"

static void drop_current(struct avow_kafka_consumer *c)
{
    if (c->current)
        rd_kafka_message_destroy(c->current);
    c->current = NULL;
}

/* --- Poll --- */

static void fill(const rd_kafka_message_t *m, struct avow_bus_msg *msg)
{
    rd_kafka_timestamp_type_t kind = RD_KAFKA_TIMESTAMP_NOT_AVAILABLE;
    int64_t at = rd_kafka_message_timestamp(m, &kind);
    msg->topic = rd_kafka_topic_name(m->rkt);
    msg->partition = m->partition;
    msg->offset = m->offset;
    msg->timestamp_ms = kind == RD_KAFKA_TIMESTAMP_NOT_AVAILABLE || at < 0 ? 0 : at;
    msg->timestamp_is_append = kind == RD_KAFKA_TIMESTAMP_LOG_APPEND_TIME;
    msg->key = avow_bytes_make(m->key, m->key_len);
    msg->value = avow_bytes_make(m->payload, m->len);
    msg->value_null = m->payload == NULL;
}

/* The offset cannot be read: the log begins later (or ends earlier), or it could not be looked up.
 */
static enum avow_rc no_offset(struct avow_kafka_consumer *c, const rd_kafka_message_t *m,
                              struct avow_err *err)
{
    const char *topic = m->rkt ? rd_kafka_topic_name(m->rkt) : "";
    struct avow_kafka_part *part = avow_kafka_part_find(c, topic, m->partition);
    const char *text = rd_kafka_message_errstr(m);
    if (!part)
        return AVOW_OK; /* of an assignment that is gone */
    if (strstr(text, rd_kafka_err2str(RD_KAFKA_RESP_ERR_OFFSET_OUT_OF_RANGE)) == NULL) {
        avow_kafka_part_stall(c, part, avow_clock_mono_ms() + AVOW_KAFKA_STALLED_RETRY_MS);
        return avow_err_set(err, AVOW_BUS, m->err, "%s[%d]: %s", topic, m->partition, text);
    }
    if (part->asked < 0 && avow_kafka_polled(c, topic, m->partition) == RD_KAFKA_OFFSET_INVALID) {
        /* Retention was faster than the look-up: from the log start, whatever it is now. */
        struct avow_bus_tp tp = {topic, m->partition, AVOW_BUS_BEGINNING};
        return avow_kafka_seek(&c->base, &tp, err);
    }
    avow_kafka_part_stall(c, part, 0);
    return avow_err_set(err, AVOW_NOTFOUND, m->partition, "%s[%d]: offset %lld is not in the log",
                        topic, m->partition, (long long)m->offset);
}

/* librdkafka would fetch it again for ever. */
static enum avow_rc bad_batch(struct avow_kafka_consumer *c, const rd_kafka_message_t *m,
                              struct avow_bus_msg *msg, struct avow_err *err)
{
    const char *topic = m->rkt ? rd_kafka_topic_name(m->rkt) : "";
    struct avow_kafka_part *part = avow_kafka_part_find(c, topic, m->partition);
    if (!part)
        return AVOW_OK; /* of an assignment that is gone */
    avow_kafka_part_stall(c, part, 0);
    msg->topic = part->topic;
    msg->partition = m->partition;
    msg->offset = m->offset;
    return avow_err_set(err, AVOW_PARSE, m->err, "%s[%d]: the batch at %lld: %s", topic,
                        m->partition, (long long)m->offset, rd_kafka_message_errstr(m));
}

static enum avow_rc poll_error(struct avow_kafka_consumer *c, const rd_kafka_message_t *m,
                               struct avow_bus_msg *msg, struct avow_err *err)
{
    const char *topic = m->rkt ? rd_kafka_topic_name(m->rkt) : "";
    switch (m->err) {
    case RD_KAFKA_RESP_ERR__PARTITION_EOF:
        return AVOW_OK;
    case RD_KAFKA_RESP_ERR__AUTO_OFFSET_RESET:
        return no_offset(c, m, err);
    case RD_KAFKA_RESP_ERR__BAD_COMPRESSION:
        return bad_batch(c, m, msg, err);
    case RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED:
        /* librdkafka looks for the coordinator of the group that is never joined; agents have no
         * right to. */
        if (!c->joined && !c->group_refused) {
            c->group_refused = true;
            return AVOW_OK;
        }
        break;
    default:
        break;
    }
    enum avow_rc rc = avow_kafka_check_fatal(c->rk, err);
    if (rc)
        return rc;
    return avow_err_set(err, AVOW_BUS, m->err, "%s%s%s", topic, topic[0] ? ": " : "",
                        rd_kafka_message_errstr(m));
}

static enum avow_rc consumer_poll(struct avow_bus_consumer *base, unsigned timeout_ms,
                                  struct avow_bus_msg *msg, struct avow_err *err)
{
    struct avow_kafka_consumer *c = (struct avow_kafka_consumer *)base;
    drop_current(c);
    (void)rd_kafka_poll(c->rk, 0); /* the error callback; records come from another queue */
    if (c->health.news) {
        c->health.news = false;
        return avow_err_set(err, AVOW_BUS, 0, "login refused: %s", c->health.refused);
    }
    enum avow_rc rc = avow_kafka_parts_retry(c, err);
    if (!rc && c->deferred)
        rc = avow_kafka_parts_meet(c, timeout_ms < MEET_MIN_MS ? MEET_MIN_MS : timeout_ms, err);
    if (rc == AVOW_TIMEOUT)
        return AVOW_OK; /* Kafka is away: as if nothing had come */
    if (rc)
        return rc;
    c->current = rd_kafka_consumer_poll(c->rk, avow_kafka_ms(timeout_ms));
    if (!c->current)
        return avow_kafka_check_fatal(c->rk, err);
    if (c->current->err) {
        rc = poll_error(c, c->current, msg, err);
        drop_current(c);
        return rc;
    }
    avow_kafka_health_clear(&c->health);
    fill(c->current, msg);
    return AVOW_OK;
}

/* --- Committed offsets --- */

static enum avow_rc consumer_committed(struct avow_bus_consumer *base, const struct avow_bus_tp *tp,
                                       unsigned timeout_ms, int64_t *out, struct avow_err *err)
{
    struct avow_kafka_consumer *c = (struct avow_kafka_consumer *)base;
    if (!c->joined)
        return avow_err_set(err, AVOW_STATE, 0, "consumer without a group");
    /* librdkafka asks for stable offsets under read_committed only. */
    if (c->uncommitted)
        return avow_err_set(err, AVOW_STATE, 0, "committed offsets need a read_committed consumer");
    rd_kafka_topic_partition_list_t *list = avow_kafka_list(tp, 1);
    rd_kafka_resp_err_t code = rd_kafka_committed(c->rk, list, avow_kafka_ms(timeout_ms));
    int64_t offset = list->elems[0].offset;
    if (!code)
        code = list->elems[0].err;
    rd_kafka_topic_partition_list_destroy(list);
    (void)rd_kafka_poll(c->rk, 0);
    switch (code) {
    case RD_KAFKA_RESP_ERR_NO_ERROR:
        avow_kafka_health_clear(&c->health);
        if (offset < 0)
            return avow_err_set(err, AVOW_NOTFOUND, 0, "no offset of %s[%d] is committed",
                                tp->topic, tp->partition);
        *out = offset;
        return AVOW_OK;
    case RD_KAFKA_RESP_ERR__TIMED_OUT:
    case RD_KAFKA_RESP_ERR_UNSTABLE_OFFSET_COMMIT:
    case RD_KAFKA_RESP_ERR__WAIT_COORD:
        return avow_kafka_timed_out(&c->health, AVOW_TIMEOUT, err, "committed offset of %s[%d]: %s",
                                    tp->topic, tp->partition, rd_kafka_err2str(code));
    case RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED:
    case RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED:
        return avow_err_set(err, AVOW_REFUSED, code, "committed offset of %s[%d]: %s", tp->topic,
                            tp->partition, rd_kafka_err2str(code));
    default:
        return avow_err_set(err, AVOW_BUS, code, "committed offset of %s[%d]: %s", tp->topic,
                            tp->partition, rd_kafka_err2str(code));
    }
}

static enum avow_rc consumer_commit(struct avow_bus_consumer *base,
                                    const struct avow_bus_tp *offsets, size_t n,
                                    struct avow_err *err)
{
    struct avow_kafka_consumer *c = (struct avow_kafka_consumer *)base;
    if (!c->joined)
        return avow_err_set(err, AVOW_STATE, 0, "consumer without a group");
    if (!avow_kafka_is_member(c))
        return avow_err_set(err, AVOW_BUS, RD_KAFKA_RESP_ERR_UNKNOWN_MEMBER_ID,
                            "not a member of the group any more");
    rd_kafka_topic_partition_list_t *list = avow_kafka_list(offsets, n);
    rd_kafka_resp_err_t code = rd_kafka_commit(c->rk, list, 0);
    for (int i = 0; !code && i < list->cnt; i++)
        code = list->elems[i].err;
    rd_kafka_topic_partition_list_destroy(list);
    if (!code)
        return AVOW_OK;
    enum avow_rc rc = avow_kafka_check_fatal(c->rk, err);
    return rc ? rc
              : avow_err_set(err, AVOW_BUS, code, "committing offsets: %s", rd_kafka_err2str(code));
}

/* --- Life cycle --- */

static void consumer_free(struct avow_bus_consumer *base)
{
    struct avow_kafka_consumer *c = (struct avow_kafka_consumer *)base;
    if (c->rk) {
        drop_current(c);
        c->closing = true;
        (void)rd_kafka_consumer_close(c->rk); /* runs `revoked`, leaves the group */
        for (size_t i = 0; i < c->n_topics; i++)
            rd_kafka_topic_destroy(c->topics[i].rkt);
        rd_kafka_destroy(c->rk);
    }
    avow_kafka_parts_clear(c);
    free(c->topics);
    free(c->parts);
    free(c->owned);
    free(c->member_id);
    free(c->subscribed);
    free(c);
}

static const struct avow_bus_consumer_vtable consumer_vtable = {
    .free = consumer_free,
    .assign = avow_kafka_assign,
    .seek = avow_kafka_seek,
    .poll = consumer_poll,
    .position = avow_kafka_position,
    .committed = consumer_committed,
    .commit = consumer_commit,
    .watermarks = avow_kafka_watermarks,
};

static enum avow_rc configure_group(const struct avow_bus_consumer_opts *opts,
                                    struct avow_kafka_conf *conf, struct avow_err *err)
{
    unsigned session = opts->session_timeout_ms ? opts->session_timeout_ms : SESSION_MS;
    enum avow_rc rc =
        avow_kafka_conf_set(conf, "group.id", opts->group ? opts->group : NO_GROUP, err);
    if (!rc && opts->instance_id)
        rc = avow_kafka_conf_set(conf, "group.instance.id", opts->instance_id, err);
    if (rc || !opts->group)
        return rc;
    rc = avow_kafka_conf_set_u64(conf, "session.timeout.ms", session, err);
    /* Six heartbeats per session: two may be lost, and a rebalance is noticed soon. */
    if (!rc)
        rc = avow_kafka_conf_set_u64(conf, "heartbeat.interval.ms", avow_max_u64(session / 6u, 100),
                                     err);
    return rc;
}

static enum avow_rc configure(const struct avow_kafka *k, const struct avow_bus_consumer_opts *opts,
                              struct avow_kafka_conf *conf, struct avow_err *err)
{
    unsigned wait = opts->fetch_wait_ms ? opts->fetch_wait_ms : FETCH_WAIT_MS;
    if (opts->on_mock) /* there a fetch without data sleeps its whole wait */
        wait = FETCH_WAIT_MOCK_MS;
    enum avow_rc rc = avow_kafka_conf_set(
        conf, "isolation.level",
        opts->isolation == AVOW_BUS_READ_COMMITTED ? "read_committed" : "read_uncommitted", err);
    if (!rc)
        rc = avow_kafka_conf_set_u64(conf, "fetch.wait.max.ms", wait, err);
    if (!rc && opts->error_backoff_ms)
        rc = avow_kafka_conf_set_u64(conf, "fetch.error.backoff.ms", opts->error_backoff_ms, err);
    if (!rc && !avow_kafka_is_set(k, "socket.timeout.ms"))
        rc = avow_kafka_conf_set_u64(conf, "socket.timeout.ms",
                                     avow_max_u64(SOCKET_TIMEOUT_MS, (uint64_t)wait + 5000), err);
    return rc ? rc : configure_group(opts, conf, err);
}

static enum avow_rc subscribe(struct avow_kafka_consumer *c, const char *topic,
                              struct avow_err *err)
{
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
    rd_kafka_topic_partition_list_add(list, topic, RD_KAFKA_PARTITION_UA);
    rd_kafka_resp_err_t code = rd_kafka_subscribe(c->rk, list);
    rd_kafka_topic_partition_list_destroy(list);
    if (code)
        return avow_err_set(err, AVOW_BUS, code, "subscribing to %s: %s", topic,
                            rd_kafka_err2str(code));
    return AVOW_OK;
}

enum avow_rc avow_kafka_consumer_new(struct avow_bus *b, const struct avow_bus_consumer_opts *opts,
                                     struct avow_bus_consumer **out, struct avow_err *err)
{
    struct avow_kafka *k = (struct avow_kafka *)b;
    AVOW_CLEANUP(avow_bus_consumer_free) struct avow_bus_consumer *owner = NULL;
    struct avow_kafka_consumer *c = calloc(1, sizeof(*c));
    if (!c)
        return avow_err_set(err, AVOW_NOMEM, 0, "consumer");
    c->base.vt = &consumer_vtable;
    avow_inflate_guard();
    owner = &c->base;
    c->rebalance = opts->rebalance;
    c->joined = opts->group != NULL;
    c->uncommitted = opts->isolation == AVOW_BUS_READ_UNCOMMITTED;
    c->subscribed = avow_bus_strdup(opts->subscribe);
    if (opts->subscribe && !c->subscribed)
        return avow_err_set(err, AVOW_NOMEM, 0, "consumer");
    AVOW_CLEANUP_VAL(avow_kafka_conf_deinit) struct avow_kafka_conf conf = {NULL};
    enum avow_rc rc = avow_kafka_conf_new(k, RD_KAFKA_CONSUMER, &c->health, &conf, err);
    if (!rc)
        rc = configure(k, opts, &conf, err);
    if (rc)
        return rc;
    if (opts->subscribe) {
        assert(opts->rebalance.assigned && opts->rebalance.revoked);
        rd_kafka_conf_set_rebalance_cb(conf.conf, avow_kafka_rebalance_cb);
    }
    rc = avow_kafka_handle_new(&conf, RD_KAFKA_CONSUMER, &c->rk, err);
    if (!rc && opts->subscribe)
        rc = subscribe(c, opts->subscribe, err);
    if (rc)
        return rc;
    *out = AVOW_STEAL(owner);
    return AVOW_OK;
}
