/* kafka.h - what the parts of bus_kafka share. Layer: bus, internal; the only users of librdkafka.
 * Facts and reasons: docs/KAFKA.md. Threads: librdkafka calls the log callback on its own threads;
 * every other callback runs on the thread that owns the handle, from within one of our calls. */
#ifndef AVOW_BUS_KAFKA_H
#define AVOW_BUS_KAFKA_H

#include "bus_impl.h"

#include <librdkafka/rdkafka.h>

/* What the error callback said last. librdkafka never gives up: a refused login is an event, then
 * calls time out one by one. So the reason is kept here and put into the message of the call that
 * timed out. */
struct avow_kafka_health {
    char refused[160]; /* login or TLS; "" if none */
    char trouble[160]; /* other connection troubles */
    bool news;         /* `refused` was not reported yet */
};
/* A call succeeded: earlier troubles are over. */
void avow_kafka_health_clear(struct avow_kafka_health *h);
/* Sets `rc`, or AVOW_UNREACHABLE after a refused login, with the reason behind the text. Returns
 * the code. */
enum avow_rc avow_kafka_timed_out(const struct avow_kafka_health *h, enum avow_rc rc,
                                  struct avow_err *err, const char *fmt, ...) AVOW_PRINTF(4, 5);

struct avow_kafka {
    struct avow_bus base;
    struct avow_bus_kv *kv;
    size_t n;
    char *client_id;
    rd_kafka_t *cluster; /* for questions about the cluster; made on first use */
    struct avow_kafka_health health;
    int mock; /* -1 unknown, 0, 1 */
};

/* A configuration: our defaults, then the bus's properties, then what is not negotiable. */
struct avow_kafka_conf {
    rd_kafka_conf_t *conf; /* owned until rd_kafka_new takes it */
};
void avow_kafka_conf_deinit(struct avow_kafka_conf *c);
enum avow_rc avow_kafka_conf_new(const struct avow_kafka *k, rd_kafka_type_t type,
                                 struct avow_kafka_health *health, struct avow_kafka_conf *out,
                                 struct avow_err *err) AVOW_MUST_CHECK;
/* Our own settings: names and values are right, or it is our bug; a user's other settings may still
 * contradict them. */
enum avow_rc avow_kafka_conf_set(struct avow_kafka_conf *c, const char *name, const char *value,
                                 struct avow_err *err) AVOW_MUST_CHECK;
enum avow_rc avow_kafka_conf_set_u64(struct avow_kafka_conf *c, const char *name, uint64_t value,
                                     struct avow_err *err) AVOW_MUST_CHECK;
/* True if the user set it. */
bool avow_kafka_is_set(const struct avow_kafka *k, const char *name);
/* Makes the handle; consumes the configuration. */
enum avow_rc avow_kafka_handle_new(struct avow_kafka_conf *c, rd_kafka_type_t type,
                                   rd_kafka_t **out, struct avow_err *err) AVOW_MUST_CHECK;

enum avow_rc avow_kafka_is_mock(struct avow_bus *b, unsigned timeout_ms, bool *out,
                                struct avow_err *err);
void avow_kafka_rest(struct avow_bus *b);
enum avow_rc avow_kafka_partition_count(struct avow_bus *b, const char *topic, unsigned timeout_ms,
                                        uint32_t *out, struct avow_err *err);
enum avow_rc avow_kafka_topic_create(struct avow_bus *b, const struct avow_bus_topic_spec *spec,
                                     unsigned timeout_ms, struct avow_err *err);
enum avow_rc avow_kafka_topic_config(struct avow_bus *b, const char *topic, const char *name,
                                     unsigned timeout_ms, struct avow_buf *out,
                                     struct avow_err *err);

struct avow_kafka_producer {
    struct avow_bus_producer base;
    rd_kafka_t *rk;
    rd_kafka_topic_t **topics; /* warmed up and kept */
    size_t n_topics;
    struct avow_kafka_health health;
    unsigned txn_timeout_ms; /* 0: not transactional */
    bool in_txn;
    size_t in_flight;
    size_t failed; /* since the last flush */
    rd_kafka_resp_err_t first_failure;
    char failed_topic[AVOW_BUS_TOPIC_MAX + 1];
};
enum avow_rc avow_kafka_producer_new(struct avow_bus *b, const struct avow_bus_producer_opts *opts,
                                     struct avow_bus_producer **out, struct avow_err *err);
enum avow_rc avow_kafka_txn_init(struct avow_kafka_producer *p,
                                 struct avow_err *err) AVOW_MUST_CHECK;
enum avow_rc avow_kafka_txn_begin(struct avow_bus_producer *p, struct avow_err *err);
enum avow_rc avow_kafka_txn_send_offsets(struct avow_bus_producer *p, struct avow_bus_consumer *c,
                                         const struct avow_bus_tp *offsets, size_t n,
                                         struct avow_err *err);
enum avow_rc avow_kafka_txn_commit(struct avow_bus_producer *p, unsigned timeout_ms,
                                   struct avow_err *err);
enum avow_rc avow_kafka_txn_abort(struct avow_bus_producer *p, unsigned timeout_ms,
                                  struct avow_err *err);
/* Aborts the open transaction because of `why`, which is put into the message.
 * AVOW_BUS_RETRY if that worked, AVOW_BUS_FATAL if not. */
enum avow_rc avow_kafka_txn_give_up(struct avow_kafka_producer *p, rd_kafka_resp_err_t code,
                                    const char *why, struct avow_err *err) AVOW_MUST_CHECK;
/* AVOW_BUS_FATAL with the reason if the handle is dead (fenced, ...), else AVOW_OK. */
enum avow_rc avow_kafka_check_fatal(rd_kafka_t *rk, struct avow_err *err) AVOW_MUST_CHECK;

/* One partition of a consumer's assignment. */
struct avow_kafka_part {
    char *topic; /* owned */
    int32_t partition;
    int64_t asked;        /* offset or logical offset */
    int64_t start;        /* what librdkafka is told: the same, looked up if it can be */
    bool stalled;         /* librdkafka stopped fetching it after an error */
    uint64_t retry_at_ms; /* of a stalled one: when to try again; 0 never (the program must seek) */
};
struct avow_kafka_topic {
    rd_kafka_topic_t *rkt;
    bool met; /* the client has its metadata */
};
struct avow_kafka_consumer {
    struct avow_bus_consumer base;
    rd_kafka_t *rk;
    rd_kafka_message_t *current; /* what poll returned last */
    struct avow_kafka_health health;
    struct avow_bus_rebalance rebalance;
    char *subscribed; /* topic, or NULL: assigned by hand */
    bool joined;      /* has a group of its own: may ask for and commit offsets */
    bool uncommitted; /* isolation level */
    bool in_callback; /* of a rebalance */
    char *member_id;  /* under which the group gave us `owned`; NULL: nothing given */
    bool closing;
    bool group_refused; /* the harmless GROUP_AUTHORIZATION_FAILED was seen */
    int32_t *owned;     /* partitions that the group gave us */
    size_t n_owned;
    struct avow_kafka_part *parts; /* that we fetch */
    size_t n_parts;
    size_t cap_parts;
    size_t stalled; /* how many parts are */
    struct avow_kafka_topic *topics;
    size_t n_topics;
    bool deferred; /* `parts` waits for topics to be met */
};
/* False if librdkafka has lost the membership that the program still acts under, because it has not
 * polled since. Kafka 4.3.1 refuses offsets then; older brokers' rules for a group that is empty
 * are laxer, so we look first. */
bool avow_kafka_is_member(const struct avow_kafka_consumer *c);
enum avow_rc avow_kafka_consumer_new(struct avow_bus *b, const struct avow_bus_consumer_opts *opts,
                                     struct avow_bus_consumer **out, struct avow_err *err);
/* Assignment (kafka_assign.c). */
enum avow_rc avow_kafka_assign(struct avow_bus_consumer *c, const struct avow_bus_tp *tps, size_t n,
                               struct avow_err *err);
enum avow_rc avow_kafka_seek(struct avow_bus_consumer *c, const struct avow_bus_tp *tp,
                             struct avow_err *err);
enum avow_rc avow_kafka_position(struct avow_bus_consumer *c, const struct avow_bus_tp *tp,
                                 int64_t *out, struct avow_err *err);
enum avow_rc avow_kafka_watermarks(struct avow_bus_consumer *c, const struct avow_bus_tp *tp,
                                   unsigned timeout_ms, int64_t *low, int64_t *high,
                                   struct avow_err *err);
/* Offset after the last record or control record that poll has passed, RD_KAFKA_OFFSET_INVALID if
 * it passed none. */
int64_t avow_kafka_polled(struct avow_kafka_consumer *c, const char *topic, int32_t partition);
struct avow_kafka_part *avow_kafka_part_find(struct avow_kafka_consumer *c, const char *topic,
                                             int32_t partition);
/* Logical offsets are looked up here, in poll, and then all partitions start together. librdkafka
 * would do it one by one: it tries again only after 500 ms where it does not know a topic yet, and
 * the partitions that start first go into a fetch that waits for records while the others queue
 * behind it. AVOW_TIMEOUT: Kafka does not answer yet. AVOW_BUS: a topic is missing or refused, on
 * which librdkafka keeps silent; its partitions are stalled, the others start. */
enum avow_rc avow_kafka_parts_meet(struct avow_kafka_consumer *c, unsigned timeout_ms,
                                   struct avow_err *err) AVOW_MUST_CHECK;
void avow_kafka_parts_clear(struct avow_kafka_consumer *c);
/* librdkafka does not fetch it (any more). It is tried again at retry_at_ms, or when the program
 * seeks (0). */
void avow_kafka_part_stall(struct avow_kafka_consumer *c, struct avow_kafka_part *part,
                           uint64_t retry_at_ms);
/* After an error that stopped a partition (no access, for one) it is tried again this much later.
 */
#define AVOW_KAFKA_STALLED_RETRY_MS 5000u
/* Tries stalled partitions again whose time has come. */
enum avow_rc avow_kafka_parts_retry(struct avow_kafka_consumer *c,
                                    struct avow_err *err) AVOW_MUST_CHECK;
void avow_kafka_rebalance_cb(rd_kafka_t *rk, rd_kafka_resp_err_t code,
                             rd_kafka_topic_partition_list_t *list, void *opaque);

/* List of librdkafka from ours. */
rd_kafka_topic_partition_list_t *avow_kafka_list(const struct avow_bus_tp *tps, size_t n);

static inline int avow_kafka_ms(uint64_t ms)
{
    return ms > INT32_MAX ? INT32_MAX : (int)ms;
}

#endif
