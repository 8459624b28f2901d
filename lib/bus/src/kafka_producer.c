#include "kafka.h"

#include "avow/base/clock.h"

#include <assert.h>

#include "avow/base/banned.h"

#define WARMUP_MS 5000u
/* A refused or purged record comes back through the delivery callback; that takes no network. */
#define PURGE_MS 2000

static void delivery_cb(rd_kafka_t *rk, const rd_kafka_message_t *m, void *opaque)
{
    (void)rk;
    struct avow_kafka_health *h = opaque;
    struct avow_kafka_producer *p = m->_private;
    assert(h == &p->health && p->in_flight > 0);
    p->in_flight--;
    if (!m->err) {
        avow_kafka_health_clear(h);
        return;
    }
    if (p->failed++ == 0) {
        p->first_failure = m->err;
        (void)avow_str_copy(p->failed_topic, sizeof(p->failed_topic),
                            avow_str_from(rd_kafka_topic_name(m->rkt)));
    }
}

/* --- Records --- */

static rd_kafka_topic_t *known_topic(const struct avow_kafka_producer *p, const char *name)
{
    for (size_t i = 0; i < p->n_topics; i++) {
        if (avow_cstr_eq(rd_kafka_topic_name(p->topics[i]), name))
            return p->topics[i];
    }
    return NULL;
}

/* librdkafka tells null from empty by the pointer. */
static void *pointer_of(struct avow_bytes b, bool null)
{
    static uint8_t empty[1];
    if (null)
        return NULL;
    return b.len ? (void *)(uintptr_t)b.ptr : empty;
}

static rd_kafka_resp_err_t produce(struct avow_kafka_producer *p, const struct avow_bus_record *rec)
{
    rd_kafka_topic_t *rkt = known_topic(p, rec->topic);
    bool no_key = rec->key.len == 0 && rec->key.ptr == NULL;
    rd_kafka_vu_t args[] = {
        {.vtype = RD_KAFKA_VTYPE_TOPIC, .u.cstr = rec->topic},
        {.vtype = RD_KAFKA_VTYPE_PARTITION,
         .u.i32 =
             rec->partition == AVOW_BUS_ANY_PARTITION ? RD_KAFKA_PARTITION_UA : rec->partition},
        {.vtype = RD_KAFKA_VTYPE_MSGFLAGS, .u.i = RD_KAFKA_MSG_F_COPY},
        {.vtype = RD_KAFKA_VTYPE_KEY, .u.mem = {pointer_of(rec->key, no_key), rec->key.len}},
        {.vtype = RD_KAFKA_VTYPE_VALUE,
         .u.mem = {pointer_of(rec->value, rec->value_null), rec->value.len}},
        {.vtype = RD_KAFKA_VTYPE_OPAQUE, .u.ptr = p},
    };
    if (rkt)
        args[0] = (rd_kafka_vu_t){.vtype = RD_KAFKA_VTYPE_RKT, .u.rkt = rkt};
    rd_kafka_error_t *error = rd_kafka_produceva(p->rk, args, AVOW_ARRAY_LEN(args));
    rd_kafka_resp_err_t code = error ? rd_kafka_error_code(error) : RD_KAFKA_RESP_ERR_NO_ERROR;
    if (error)
        rd_kafka_error_destroy(error);
    return code;
}

static enum avow_rc send_record(struct avow_bus_producer *base, const struct avow_bus_record *rec,
                                struct avow_err *err)
{
    struct avow_kafka_producer *p = (struct avow_kafka_producer *)base;
    if (p->txn_timeout_ms && !p->in_txn)
        return avow_err_set(err, AVOW_STATE, 0, "no transaction is open");
    rd_kafka_resp_err_t code = produce(p, rec);
    if (code == RD_KAFKA_RESP_ERR__QUEUE_FULL) {
        (void)rd_kafka_poll(p->rk, 0); /* reports that wait still count */
        code = produce(p, rec);
    }
    enum avow_rc rc = AVOW_OK;
    switch (code) {
    case RD_KAFKA_RESP_ERR_NO_ERROR:
        p->in_flight++;
        return AVOW_OK;
    case RD_KAFKA_RESP_ERR__QUEUE_FULL:
        return avow_kafka_timed_out(&p->health, AVOW_LIMIT, err, "%zu records wait to be sent",
                                    p->in_flight);
    case RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE:
        return avow_err_set(err, AVOW_LIMIT, code, "record for %s has %zu bytes", rec->topic,
                            rec->value.len);
    case RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC:
        return avow_err_set(err, AVOW_NOTFOUND, code, "topic %s does not exist", rec->topic);
    case RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION:
        return avow_err_set(err, AVOW_NOTFOUND, code, "topic %s has no partition %d", rec->topic,
                            rec->partition);
    case RD_KAFKA_RESP_ERR__STATE: /* the open transaction has failed already */
    case RD_KAFKA_RESP_ERR__FATAL:
    default:
        rc = avow_kafka_check_fatal(p->rk, err);
        if (rc)
            return rc;
        if (p->in_txn)
            return avow_kafka_txn_give_up(p, code, rd_kafka_err2str(code), err);
        return avow_err_set(err, AVOW_BUS, code, "record for %s: %s", rec->topic,
                            rd_kafka_err2str(code));
    }
}

static size_t in_flight(struct avow_bus_producer *base)
{
    struct avow_kafka_producer *p = (struct avow_kafka_producer *)base;
    (void)rd_kafka_poll(p->rk, 0);
    return p->in_flight;
}

static enum avow_rc report_failures(struct avow_kafka_producer *p, struct avow_err *err)
{
    size_t failed = p->failed;
    p->failed = 0;
    enum avow_rc rc = avow_kafka_check_fatal(p->rk, err);
    if (rc || failed == 0)
        return rc;
    enum avow_rc kind =
        p->first_failure == RD_KAFKA_RESP_ERR__MSG_TIMED_OUT ? AVOW_TIMEOUT : AVOW_BUS;
    return avow_err_set(err, kind, p->first_failure,
                        "%zu records were not accepted, the first for %s: %s", failed,
                        p->failed_topic, rd_kafka_err2str(p->first_failure));
}

static enum avow_rc flush(struct avow_bus_producer *base, unsigned timeout_ms, struct avow_err *err)
{
    struct avow_kafka_producer *p = (struct avow_kafka_producer *)base;
    (void)rd_kafka_flush(p->rk, avow_kafka_ms(timeout_ms));
    if (p->in_flight == 0)
        return report_failures(p, err);
    size_t late = p->in_flight;
    /* Those on the wire may have arrived; those in the queue have not; none is sent again. */
    (void)rd_kafka_purge(p->rk, RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_INFLIGHT);
    (void)rd_kafka_flush(p->rk, PURGE_MS);
    p->failed = 0;
    enum avow_rc rc = avow_kafka_check_fatal(p->rk, err);
    if (rc)
        return rc;
    return avow_kafka_timed_out(&p->health, AVOW_TIMEOUT, err,
                                "%zu records were not acknowledged within %u ms", late, timeout_ms);
}

/* --- Life cycle --- */

static void producer_free(struct avow_bus_producer *base)
{
    struct avow_kafka_producer *p = (struct avow_kafka_producer *)base;
    if (p->rk) {
        /* An open transaction would hold up every reader of its partitions until it times out. */
        if (p->in_txn)
            (void)avow_kafka_txn_abort(base, 1000, NULL);
        (void)rd_kafka_purge(p->rk, RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_INFLIGHT);
        (void)rd_kafka_flush(p->rk, PURGE_MS);
        for (size_t i = 0; i < p->n_topics; i++)
            rd_kafka_topic_destroy(p->topics[i]);
        rd_kafka_destroy(p->rk);
    }
    free(p->topics);
    free(p);
}

static const struct avow_bus_producer_vtable producer_vtable = {
    .free = producer_free,
    .send = send_record,
    .flush = flush,
    .in_flight = in_flight,
    .txn_begin = avow_kafka_txn_begin,
    .txn_send_offsets = avow_kafka_txn_send_offsets,
    .txn_commit = avow_kafka_txn_commit,
    .txn_abort = avow_kafka_txn_abort,
};

static enum avow_rc configure(const struct avow_kafka *k, const struct avow_bus_producer_opts *opts,
                              struct avow_kafka_conf *conf, struct avow_err *err)
{
    enum avow_rc rc = avow_kafka_conf_set_u64(conf, "linger.ms", opts->linger_ms, err);
    if (!rc && opts->queue_max_bytes)
        rc = avow_kafka_conf_set_u64(conf, "queue.buffering.max.kbytes",
                                     (opts->queue_max_bytes + 1023u) / 1024u, err);
    if (!opts->transactional_id) {
        /* Answers that do not come must not block a marker or an agent for a minute. */
        if (!rc && !avow_kafka_is_set(k, "socket.timeout.ms"))
            rc = avow_kafka_conf_set(conf, "socket.timeout.ms", "10000", err);
        return rc;
    }
    if (!rc)
        rc = avow_kafka_conf_set(conf, "transactional.id", opts->transactional_id, err);
    if (!rc)
        rc = avow_kafka_conf_set_u64(conf, "transaction.timeout.ms", opts->txn_timeout_ms, err);
    /* After a commit the broker still writes markers and asks for patience: 10 ms instead of 100.
     */
    if (!rc && !avow_kafka_is_set(k, "retry.backoff.ms"))
        rc = avow_kafka_conf_set(conf, "retry.backoff.ms", "10", err);
    return rc;
}

/* The first record to a topic that the client has not met waits up to 1 s (librdkafka
 * before 2.10.1). */
static enum avow_rc meet_topic(struct avow_kafka_producer *p, const char *name, bool wait,
                               struct avow_err *err)
{
    rd_kafka_topic_t *rkt = rd_kafka_topic_new(p->rk, name, NULL);
    if (!rkt)
        return avow_err_set(err, AVOW_BUS, rd_kafka_last_error(), "topic %s: %s", name,
                            rd_kafka_err2str(rd_kafka_last_error()));
    p->topics[p->n_topics++] = rkt;
    if (!wait)
        return AVOW_OK;
    const struct rd_kafka_metadata *md = NULL;
    rd_kafka_resp_err_t code = rd_kafka_metadata(p->rk, 0, rkt, &md, WARMUP_MS);
    if (code) {
        (void)rd_kafka_poll(p->rk, 0);
        return avow_kafka_timed_out(&p->health, AVOW_UNREACHABLE, err, "looking for topic %s",
                                    name);
    }
    rd_kafka_resp_err_t topic =
        md->topic_cnt == 1 ? md->topics[0].err : RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC;
    rd_kafka_metadata_destroy(md);
    if (topic == RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART ||
        topic == RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC)
        return avow_err_set(err, AVOW_NOTFOUND, topic, "topic %s does not exist", name);
    if (topic == RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED)
        return avow_err_set(err, AVOW_REFUSED, topic, "topic %s: %s", name,
                            rd_kafka_err2str(topic));
    return AVOW_OK; /* a leader that is missing for a moment is not an error here */
}

static enum avow_rc meet_topics(struct avow_kafka_producer *p,
                                const struct avow_bus_producer_opts *opts, struct avow_err *err)
{
    if (opts->n_topics == 0)
        return AVOW_OK;
    p->topics = calloc(opts->n_topics, sizeof(rd_kafka_topic_t *));
    if (!p->topics)
        return avow_err_set(err, AVOW_NOMEM, 0, "producer");
    for (size_t i = 0; i < opts->n_topics; i++) {
        /* Without transactions the program may start before Kafka does: nothing waits here. */
        enum avow_rc rc = meet_topic(p, opts->topics[i], opts->transactional_id != NULL, err);
        if (rc)
            return rc;
    }
    return AVOW_OK;
}

enum avow_rc avow_kafka_producer_new(struct avow_bus *b, const struct avow_bus_producer_opts *opts,
                                     struct avow_bus_producer **out, struct avow_err *err)
{
    struct avow_kafka *k = (struct avow_kafka *)b;
    assert(!opts->transactional_id || opts->txn_timeout_ms);
    AVOW_CLEANUP(avow_bus_producer_free) struct avow_bus_producer *owner = NULL;
    struct avow_kafka_producer *p = calloc(1, sizeof(*p));
    if (!p)
        return avow_err_set(err, AVOW_NOMEM, 0, "producer");
    p->base.vt = &producer_vtable;
    owner = &p->base;
    p->txn_timeout_ms = opts->transactional_id ? opts->txn_timeout_ms : 0;
    AVOW_CLEANUP_VAL(avow_kafka_conf_deinit) struct avow_kafka_conf conf = {NULL};
    enum avow_rc rc = avow_kafka_conf_new(k, RD_KAFKA_PRODUCER, &p->health, &conf, err);
    if (!rc)
        rc = configure(k, opts, &conf, err);
    if (rc)
        return rc;
    rd_kafka_conf_set_dr_msg_cb(conf.conf, delivery_cb);
    rc = avow_kafka_handle_new(&conf, RD_KAFKA_PRODUCER, &p->rk, err);
    if (!rc && opts->transactional_id)
        rc = avow_kafka_txn_init(p, err);
    if (!rc)
        rc = meet_topics(p, opts, err);
    if (rc)
        return rc;
    *out = AVOW_STEAL(owner);
    return AVOW_OK;
}
