/* batch.h - the output of one transaction, and how to take it back. Layer: verifier-workers. No
 * I/O. Records are encoded and signed when they are added. In-memory changes are noted, so that
 * avow_batch_undo makes everything as it was before the batch. */
#ifndef AVOW_WORKER_BATCH_H
#define AVOW_WORKER_BATCH_H

#include "actions.h"
#include "avow/base/buf.h"
#include "context.h"

#define AVOW_BATCH_RECORDS_MAX 1000u         /* evidence records (PROTOCOL B6) */
#define AVOW_BATCH_BYTES_MAX (1024u * 1024u) /* output; a batch closes when it is reached */
#define AVOW_BATCH_BYTES_HARD                                                                      \
    (4u * 1024u * 1024u) /* no step adds more than this to an open batch */
#define AVOW_BATCH_AGE_MS 100u
#define AVOW_BATCH_URGENT_GAP_MS 50u /* urgent commits are coalesced to 20 a second */
#define AVOW_BATCH_ALARMS_MAX 256u
#define AVOW_BATCH_ALARM_MEMORY 1024u

/* In the order in which they are sent; states come first or last, by the guarantee. */
enum avow_batch_class {
    AVOW_BATCH_VERDICT,
    AVOW_BATCH_REVOCATION,
    AVOW_BATCH_CLOUDEVENT, /* the same as the revocation, in other forms */
    AVOW_BATCH_KEYLIME,
    AVOW_BATCH_DIRECTIVE,
    AVOW_BATCH_DEAD_LETTER,
    AVOW_BATCH_CLASSES
};

struct avow_batch_record {
    enum avow_batch_class class;
    int32_t partition; /* AVOW_BUS_ANY_PARTITION: by key */
    size_t key_at, key_len, value_at, value_len;
};
struct avow_batch_touch { /* an agent whose state was written */
    struct avow_agent *agent;
    int32_t partition;
    struct avow_agent_state before; /* owned */
    uint32_t dropped_before[AVOW_DROP_REASON_COUNT];
    bool forget; /* write a null */
};
struct avow_batch_drop {
    struct avow_agent *agent;
    enum avow_drop_reason reason;
};

struct avow_batch {
    struct avow_buf bytes; /* keys and values */
    struct avow_batch_record *records;
    size_t count, cap;
    struct avow_batch_touch *touched;
    size_t touched_count, touched_cap;
    struct avow_batch_drop *drops;
    size_t drops_count, drops_cap;
    size_t consumed;    /* evidence records */
    size_t state_bytes; /* of the states to be written */
    bool open;          /* something was added or consumed */
    bool closed;        /* nothing may join it any more; it is to be committed */
    bool urgent;
    uint64_t opened_mono_ms, last_commit_mono_ms;
    struct avow_worker_counters counters_before;
    /* Alarms outlive an aborted batch: what caused them may not come again. */
    struct avow_alarm *alarms; /* [AVOW_BATCH_ALARMS_MAX] */
    size_t alarms_count;
    uint64_t alarms_lost;
    uint8_t (*said)[16]; /* ids of recent alarms, a ring */
    size_t said_count, said_next;
};

/* Errors: AVOW_NOMEM. */
enum avow_rc avow_batch_init(struct avow_batch *b, struct avow_err *err) AVOW_MUST_CHECK;
void avow_batch_deinit(struct avow_batch *b);

/* The batch begins now, if it has not: something was consumed or will be added. */
void avow_batch_open(struct avow_batch *b, const struct avow_worker_ctx *ctx);
bool avow_batch_is_full(const struct avow_batch *b);
/* True iff it should be committed at `mono_ms`; `idle`: nothing more is there to be fetched. */
bool avow_batch_is_due(const struct avow_batch *b, uint64_t mono_ms, bool idle);

/* Encode, sign, add. `agent` gives key and, with `partition`, the place. Errors: AVOW_NOMEM,
 * AVOW_LIMIT, AVOW_CRYPTO. */
enum avow_rc avow_batch_verdict(struct avow_batch *b, const struct avow_worker_ctx *ctx,
                                int32_t partition, const struct avow_verdict *v,
                                struct avow_err *err) AVOW_MUST_CHECK;
enum avow_rc avow_batch_revocation(struct avow_batch *b, const struct avow_worker_ctx *ctx,
                                   int32_t partition, const struct avow_revocation *r,
                                   struct avow_err *err) AVOW_MUST_CHECK;
enum avow_rc avow_batch_directive(struct avow_batch *b, const struct avow_worker_ctx *ctx,
                                  const struct avow_directive *d,
                                  struct avow_err *err) AVOW_MUST_CHECK;
enum avow_rc avow_batch_dead_letter(struct avow_batch *b, const struct avow_deadletter *d,
                                    struct avow_err *err) AVOW_MUST_CHECK;
/* MACs `s`, makes it the agent's state, and notes the one before. */
enum avow_rc avow_batch_state(struct avow_batch *b, const struct avow_worker_ctx *ctx,
                              struct avow_agent *agent, const struct avow_state *s,
                              struct avow_err *err) AVOW_MUST_CHECK;
/* The agent's state will be a null. */
enum avow_rc avow_batch_forget(struct avow_batch *b, struct avow_agent *agent, int32_t partition,
                               struct avow_err *err) AVOW_MUST_CHECK;
/* Counts a drop of a known agent. */
enum avow_rc avow_batch_drop(struct avow_batch *b, struct avow_agent *agent,
                             enum avow_drop_reason why, struct avow_err *err) AVOW_MUST_CHECK;

/* Queues an alarm for this or the next batch; one that was raised lately is ignored. True iff it is
 * new. */
bool avow_batch_alarm(struct avow_batch *b, const struct avow_worker_ctx *ctx,
                      const struct avow_alarm *a);
/* Adds the queued alarms as revocations. Errors as above. */
enum avow_rc avow_batch_add_alarms(struct avow_batch *b, const struct avow_worker_ctx *ctx,
                                   struct avow_err *err) AVOW_MUST_CHECK;

/* Everything in memory as it was before; alarms stay queued. Calls touched for each agent whose
 * state was taken back. */
typedef void (*avow_batch_touched_fn)(void *arg, int32_t partition, struct avow_agent *a);
void avow_batch_undo(struct avow_batch *b, struct avow_worker_ctx *ctx,
                     avow_batch_touched_fn touched, void *arg);
/* The transaction was committed. */
void avow_batch_settle(struct avow_batch *b, uint64_t mono_ms);

#endif
