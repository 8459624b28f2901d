/* mem.h - what the parts of bus_mem share: a broker in memory. Layer: bus, internal.
 * One lock per broker, held during a call and never during a callback. Records stay at their
 * address until the broker is freed, so messages may borrow from them. Nothing waits: time passes
 * only when a test says so. */
#ifndef AVOW_BUS_MEM_H
#define AVOW_BUS_MEM_H

#include "bus_impl.h"

#include <pthread.h>

enum mem_txn_state { MEM_TXN_OPEN, MEM_TXN_COMMITTED, MEM_TXN_ABORTED };
struct mem_txn {
    enum mem_txn_state state;
    struct mem_txn *next; /* the broker's list: they live as long as it does */
};

struct mem_record {
    bool control; /* commit or abort marker: takes an offset, is never delivered */
    bool value_null;
    bool append_time;
    int64_t timestamp_ms;
    struct mem_txn *txn; /* NULL: written without a transaction */
    struct avow_bytes key;
    struct avow_bytes value;
    uint8_t data[];
};

struct mem_log { /* one partition; offset = index */
    struct mem_record **records;
    size_t n, cap;
    int64_t start;
};

struct mem_topic {
    char *name;
    struct mem_log *logs;
    uint32_t partitions;
    struct avow_bus_kv *config;
    size_t n_config;
    bool append_time;
    struct mem_topic *next;
};

struct mem_offset {
    struct mem_topic *topic;
    int32_t partition;
    int64_t offset;
    struct mem_txn *pending; /* NULL: committed */
    struct mem_offset *next;
};

struct mem_consumer;
struct mem_group {
    char *name;
    uint64_t generation;          /* of the last assignment */
    struct mem_consumer *members; /* newest first */
    struct mem_consumer *owner;   /* has or had the partitions; NULL: nobody */
    struct mem_offset *offsets;
    struct mem_group *next;
};

struct mem_producer;
struct mem_name { /* a transactional id */
    char *id;
    struct mem_producer *holder; /* the newest; all others are fenced */
    struct mem_name *next;
};

struct avow_bus_mem_broker {
    pthread_mutex_t lock;
    uint64_t now_ms;
    unsigned failing_commits;
    size_t buses;
    struct mem_topic *topics;
    struct mem_group *groups;
    struct mem_name *names;
    struct mem_txn *txns;
};

struct mem_bus {
    struct avow_bus base;
    struct avow_bus_mem_broker *broker;
};

struct mem_producer {
    struct avow_bus_producer base;
    struct avow_bus_mem_broker *broker;
    struct mem_name *name; /* NULL: no transactions */
    struct mem_txn *txn;   /* open one */
    struct mem_log **touched;
    size_t n_touched, cap_touched;
};

struct mem_part {
    struct mem_topic *topic;
    int32_t partition;
    int64_t next;
    bool stalled; /* out of range was reported: waits for a seek */
};

enum mem_membership { MEM_ALONE, MEM_MEMBER, MEM_EXPIRED, MEM_FENCED };
struct mem_consumer {
    struct avow_bus_consumer base;
    struct avow_bus_mem_broker *broker;
    struct mem_group *group; /* NULL: none */
    struct avow_bus_rebalance rebalance;
    char *subscribed; /* topic */
    char *instance;
    enum mem_membership membership;
    uint64_t generation; /* that it has heard of */
    bool owns;           /* `assigned` was called, `revoked` was not */
    bool uncommitted;
    struct mem_part *parts;
    size_t n_parts;
    size_t turn; /* of the partition that poll looks at first */
    struct mem_consumer *next;
};

/* All of these expect the lock to be held. */
struct mem_topic *mem_topic_find(struct avow_bus_mem_broker *m, const char *name);
/* NULL if there is no such partition. */
struct mem_log *mem_log_find(struct mem_topic *t, int32_t partition);
enum avow_rc mem_log_append(struct avow_bus_mem_broker *m, struct mem_topic *t, struct mem_log *log,
                            const struct avow_bus_record *rec, struct mem_txn *txn,
                            struct avow_err *err) AVOW_MUST_CHECK;
/* End of the log as the isolation level sees it. */
int64_t mem_log_end(const struct mem_log *log, bool uncommitted);
struct mem_group *mem_group_get(struct avow_bus_mem_broker *m, const char *name);
/* Commits or aborts the producer's transaction: markers, offsets. */
enum avow_rc mem_txn_end(struct mem_producer *p, enum mem_txn_state state,
                         struct avow_err *err) AVOW_MUST_CHECK;
/* Stores offsets of a group; pending until `txn` ends, at once if NULL. */
enum avow_rc mem_offsets_set(struct mem_consumer *c, const struct avow_bus_tp *offsets, size_t n,
                             struct mem_txn *txn, struct avow_err *err) AVOW_MUST_CHECK;
/* AVOW_OK if the group takes offsets from this member now. */
enum avow_rc mem_member_check(const struct mem_consumer *c, struct avow_err *err) AVOW_MUST_CHECK;

enum avow_rc mem_producer_new(struct avow_bus *b, const struct avow_bus_producer_opts *opts,
                              struct avow_bus_producer **out, struct avow_err *err);
enum avow_rc mem_consumer_new(struct avow_bus *b, const struct avow_bus_consumer_opts *opts,
                              struct avow_bus_consumer **out, struct avow_err *err);

static inline void mem_lock(struct avow_bus_mem_broker *m)
{
    pthread_mutex_lock(&m->lock);
}

static inline void mem_unlock(struct avow_bus_mem_broker *m)
{
    pthread_mutex_unlock(&m->lock);
}

#endif
