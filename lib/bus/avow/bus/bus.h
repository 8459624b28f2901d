/* bus.h - Kafka as the rest of Avow sees it: bytes in, bytes out. Layer: bus. Knows no record.
 * Two implementations: bus_kafka (librdkafka) and bus_mem (in memory, deterministic, for tests).
 * A handle and everything made from it belongs to one thread, unless said. Facts behind the rules:
 * docs/KAFKA.md. */
#ifndef AVOW_BUS_BUS_H
#define AVOW_BUS_BUS_H

#include "avow/base/bytes.h"
#include "avow/base/cleanup.h"
#include "avow/base/err.h"

#define AVOW_BUS_VALUE_MAX 1000000u                /* PROTOCOL B6 */
#define AVOW_BUS_INFLATED_MAX (8u * 1024u * 1024u) /* what a compressed batch may become */
#define AVOW_BUS_KEY_MAX 1024u /* ids have 128, payload and policy keys a little more */
#define AVOW_BUS_TAIL(n) (-2000 - (int64_t)(n)) /* n records before the end */
#define AVOW_BUS_BEGINNING (-2)
#define AVOW_BUS_END (-1)
#define AVOW_BUS_ANY_PARTITION (-1) /* murmur2(key) mod count */

struct avow_bus_msg { /* borrowed until the next poll of the same consumer */
    const char *topic;
    int32_t partition;
    int64_t offset;
    int64_t timestamp_ms;     /* 0 if none */
    bool timestamp_is_append; /* LogAppendTime */
    struct avow_bytes key;
    struct avow_bytes value;
    bool value_null; /* a Kafka null, not an empty value */
};

struct avow_bus_record { /* borrowed during the call */
    const char *topic;
    int32_t partition; /* or AVOW_BUS_ANY_PARTITION */
    struct avow_bytes key;
    struct avow_bytes value;
    bool value_null;
};

struct avow_bus_tp {
    const char *topic;
    int32_t partition;
    int64_t offset;
};

enum avow_bus_isolation { AVOW_BUS_READ_COMMITTED, AVOW_BUS_READ_UNCOMMITTED };

/* Called from within poll, on the polling thread. `lost`: the assignment is already gone: do not
 * commit. */
struct avow_bus_rebalance {
    void *arg;
    void (*assigned)(void *arg, const int32_t *partitions, size_t n);
    void (*revoked)(void *arg, const int32_t *partitions, size_t n, bool lost);
};

struct avow_bus; /* one connection's configuration; makes the rest */
struct avow_bus_producer;
struct avow_bus_consumer;

struct avow_bus_vtable; /* bus_impl.h */

/* kv: librdkafka property names and values, n pairs (bootstrap.servers, security.protocol, ...).
 * Nothing connects yet. Errors: AVOW_CONFIG naming the property. */
struct avow_bus_property {
    const char *name;
    const char *value;
};
enum avow_rc avow_bus_kafka_new(const struct avow_bus_property *kv, size_t n, const char *client_id,
                                struct avow_bus **out, struct avow_err *err) AVOW_MUST_CHECK;
void avow_bus_free(struct avow_bus *b);
AVOW_DEFINE_CLEANUP(struct avow_bus, avow_bus_free);

/* The 2's-complement murmur2 of Kafka's default partitioner, mod `count` (count > 0). */
int32_t avow_bus_partition_of(struct avow_bytes key, uint32_t count);

/* --- Cluster --- */
/* True when the cluster id says that it is librdkafka's mock cluster. Errors: AVOW_UNREACHABLE
 * within timeout. */
enum avow_rc avow_bus_is_mock(struct avow_bus *b, unsigned timeout_ms, bool *out,
                              struct avow_err *err) AVOW_MUST_CHECK;
/* Ends the connection that questions about the cluster go through, with its threads and memory; the
 * next question makes a new one. For programs that have no more of them. */
void avow_bus_rest(struct avow_bus *b);
/* Partition count; AVOW_NOTFOUND if there is no such topic. */
enum avow_rc avow_bus_partition_count(struct avow_bus *b, const char *topic, unsigned timeout_ms,
                                      uint32_t *out, struct avow_err *err) AVOW_MUST_CHECK;
struct avow_bus_topic_spec {
    const char *name;
    uint32_t partitions;
    int replication; /* -1: broker default */
    const struct avow_bus_property *config;
    size_t n_config;
};
/* AVOW_EXISTS if it is there already. */
enum avow_rc avow_bus_topic_create(struct avow_bus *b, const struct avow_bus_topic_spec *spec,
                                   unsigned timeout_ms, struct avow_err *err) AVOW_MUST_CHECK;
/* Effective value of a topic setting into out (NUL-terminated). AVOW_NOTFOUND. */
enum avow_rc avow_bus_topic_config(struct avow_bus *b, const char *topic, const char *name,
                                   unsigned timeout_ms, char *out, size_t cap,
                                   struct avow_err *err) AVOW_MUST_CHECK;

/* --- Producer --- */
/* transactional_id NULL: idempotent only. Otherwise init_transactions is done here (fencing
 * predecessors) and `topics` are warmed up (broker.md: the first transaction otherwise takes 1 s).
 * txn_timeout_ms only with an id. */
struct avow_bus_producer_opts {
    const char *transactional_id;
    unsigned txn_timeout_ms;
    const char *const *topics;
    size_t n_topics;
    unsigned linger_ms;
    unsigned queue_max_bytes; /* bound of unsent bytes; 0: 16 MiB */
};
enum avow_rc avow_bus_producer_new(struct avow_bus *b, const struct avow_bus_producer_opts *opts,
                                   struct avow_bus_producer **out,
                                   struct avow_err *err) AVOW_MUST_CHECK;
void avow_bus_producer_free(struct avow_bus_producer *p);
AVOW_DEFINE_CLEANUP(struct avow_bus_producer, avow_bus_producer_free);
/* Queues one record. AVOW_LIMIT when the queue is full or the value is over AVOW_BUS_VALUE_MAX;
 * AVOW_NOTFOUND (topic or partition, if that is known already); AVOW_STATE outside a transaction;
 * AVOW_BUS_RETRY, AVOW_BUS_FATAL as below. */
enum avow_rc avow_bus_send(struct avow_bus_producer *p, const struct avow_bus_record *rec,
                           struct avow_err *err) AVOW_MUST_CHECK;
/* Waits until all queued records are acknowledged. AVOW_BUS if one failed since the last flush,
 * AVOW_TIMEOUT, or AVOW_UNREACHABLE if the broker refused our login meanwhile. Failed records are
 * purged: after a time-out nothing of them will be sent later, but those that were on the wire may
 * have arrived. AVOW_BUS_FATAL: make a new producer. */
enum avow_rc avow_bus_flush(struct avow_bus_producer *p, unsigned timeout_ms,
                            struct avow_err *err) AVOW_MUST_CHECK;
/* Records queued and not yet acknowledged. Also serves delivery reports. */
size_t avow_bus_in_flight(struct avow_bus_producer *p);
/* Transactions. AVOW_BUS_RETRY: abort was done, redo the batch. AVOW_BUS_FATAL: the producer is
 * fenced or broken, or the outcome of a commit is unknown: make a new one with the same id, then
 * read the committed offsets. AVOW_STATE: not now. */
enum avow_rc avow_bus_txn_begin(struct avow_bus_producer *p, struct avow_err *err) AVOW_MUST_CHECK;
/* offsets: next offset to read of each partition, with the group metadata of `c`; at least one,
 * none negative (asserted). */
enum avow_rc avow_bus_txn_send_offsets(struct avow_bus_producer *p, struct avow_bus_consumer *c,
                                       const struct avow_bus_tp *offsets, size_t n,
                                       struct avow_err *err) AVOW_MUST_CHECK;
enum avow_rc avow_bus_txn_commit(struct avow_bus_producer *p, unsigned timeout_ms,
                                 struct avow_err *err) AVOW_MUST_CHECK;
enum avow_rc avow_bus_txn_abort(struct avow_bus_producer *p, unsigned timeout_ms,
                                struct avow_err *err) AVOW_MUST_CHECK;

/* --- Consumer --- */
struct avow_bus_consumer_opts {
    const char *group;                   /* NULL: assigned by hand, never joins, never commits */
    const char *subscribe;               /* topic, with a group */
    const char *instance_id;             /* static membership or NULL */
    unsigned session_timeout_ms;         /* with a group; 0: 6000 */
    struct avow_bus_rebalance rebalance; /* with a group */
    enum avow_bus_isolation isolation;
    unsigned fetch_wait_ms;    /* 0: 100 (10 on the mock cluster, always) */
    unsigned error_backoff_ms; /* after a fetch that failed; 0: librdkafka's 500 */
    bool on_mock;              /* avow_bus_is_mock said so */
};
enum avow_rc avow_bus_consumer_new(struct avow_bus *b, const struct avow_bus_consumer_opts *opts,
                                   struct avow_bus_consumer **out,
                                   struct avow_err *err) AVOW_MUST_CHECK;
/* Leaves the group (revoked callback runs first). */
void avow_bus_consumer_free(struct avow_bus_consumer *c);
AVOW_DEFINE_CLEANUP(struct avow_bus_consumer, avow_bus_consumer_free);
/* Without a group: replaces the whole assignment; offsets may be AVOW_BUS_BEGINNING, _END,
 * _TAIL(n). With a group: called by the program inside or after `assigned` to start fetching the
 * given partitions at the given offsets. */
enum avow_rc avow_bus_assign(struct avow_bus_consumer *c, const struct avow_bus_tp *tps, size_t n,
                             struct avow_err *err) AVOW_MUST_CHECK;
enum avow_rc avow_bus_seek(struct avow_bus_consumer *c, const struct avow_bus_tp *tp,
                           struct avow_err *err) AVOW_MUST_CHECK;
/* msg->topic NULL if nothing came within timeout. AVOW_BUS for a broker-side error worth logging (a
 * refused login, a missing topic, ...; polling goes on), AVOW_NOTFOUND with native = partition when
 * the position is not in the log, below its start as a rule (PROTOCOL B3.2 step 3): that partition
 * stops until a seek. AVOW_PARSE with topic, partition and offset in msg when the batch of records
 * that begins at the offset does not decompress, or to more than AVOW_BUS_INFLATED_MAX: that
 * partition stops until a seek, as a rule to avow_bus_batch_end. AVOW_BUS_FATAL. The first polls
 * after an assignment may take a second longer than asked. */
enum avow_rc avow_bus_poll(struct avow_bus_consumer *c, unsigned timeout_ms,
                           struct avow_bus_msg *msg, struct avow_err *err) AVOW_MUST_CHECK;
/* The offset behind a batch that poll could not decompress. Tries several offsets, with a consumer
 * of its own: milliseconds to seconds. Errors: AVOW_TIMEOUT, AVOW_UNREACHABLE, AVOW_BUS,
 * AVOW_NOMEM. */
enum avow_rc avow_bus_batch_end(struct avow_bus *b, const struct avow_bus_tp *batch, int64_t *out,
                                struct avow_err *err) AVOW_MUST_CHECK;
/* Next offset that poll would return; passes trailing control records, so position >= watermark
 * ends a restore. */
enum avow_rc avow_bus_position(struct avow_bus_consumer *c, const char *topic, int32_t partition,
                               int64_t *out, struct avow_err *err) AVOW_MUST_CHECK;
/* Committed offset of the group (the consumer must be READ_COMMITTED), require-stable;
 * AVOW_NOTFOUND if none; AVOW_TIMEOUT while a transaction is open on it. */
enum avow_rc avow_bus_committed(struct avow_bus_consumer *c, const char *topic, int32_t partition,
                                unsigned timeout_ms, int64_t *out,
                                struct avow_err *err) AVOW_MUST_CHECK;
/* Commits outside transactions (at_least_once), synchronously. AVOW_BUS if the group did not take
 * it. */
enum avow_rc avow_bus_commit(struct avow_bus_consumer *c, const struct avow_bus_tp *offsets,
                             size_t n, struct avow_err *err) AVOW_MUST_CHECK;
/* Log start and end as this consumer's isolation level sees them: READ_UNCOMMITTED gives the true
 * high watermark. AVOW_NOTFOUND, AVOW_REFUSED, AVOW_UNREACHABLE. Not on a consumer with a long
 * fetch wait: its answer queues behind it. */
enum avow_rc avow_bus_watermarks(struct avow_bus_consumer *c, const char *topic, int32_t partition,
                                 unsigned timeout_ms, int64_t *low, int64_t *high,
                                 struct avow_err *err) AVOW_MUST_CHECK;

/* --- In memory --- */
/* A broker in memory for tests: several buses may share one. Deterministic. Committed, open and
 * aborted transactions are distinguished by isolation level; groups give all partitions to the
 * newest living member, once the one before has polled (and so was told) or is gone; a producer
 * with the same transactional id fences the older one. No call waits: a poll without records
 * returns at once, whatever its timeout. Timestamps are those of avow_bus_mem_set_time. */
struct avow_bus_mem_broker;
enum avow_rc avow_bus_mem_broker_new(struct avow_bus_mem_broker **out,
                                     struct avow_err *err) AVOW_MUST_CHECK;
void avow_bus_mem_broker_free(struct avow_bus_mem_broker *m);
enum avow_rc avow_bus_mem_new(struct avow_bus_mem_broker *m, struct avow_bus **out,
                              struct avow_err *err) AVOW_MUST_CHECK;
/* LogAppendTime of the records appended from now on; tests move it. */
void avow_bus_mem_set_time(struct avow_bus_mem_broker *m, uint64_t unix_ms);
/* The next `n` commits fail with AVOW_BUS_RETRY (aborted). */
void avow_bus_mem_fail_commits(struct avow_bus_mem_broker *m, unsigned n);
/* Retention: the log of the partition now starts at `offset`. */
void avow_bus_mem_delete_before(struct avow_bus_mem_broker *m, const char *topic, int32_t partition,
                                int64_t offset);
/* The group gives up on this member, as if its session had run out: its partitions go to another
 * one, its offsets are refused (AVOW_BUS_RETRY in a transaction, AVOW_BUS otherwise), and its next
 * poll loses the assignment (`lost`) and joins anew. To play a killed process, expire its consumer
 * and leave its producer and consumer unused until the end. */
void avow_bus_mem_expire(struct avow_bus_consumer *c);

#endif
