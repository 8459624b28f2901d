/* context.h - what all runners of one worker thread share. Layer: verifier-workers. One context per
 * thread; trust and policies are replaced as a whole or only between steps, so that they can become
 * snapshots shared between threads. */
#ifndef AVOW_WORKER_CONTEXT_H
#define AVOW_WORKER_CONTEXT_H

#include "avow/base/arena.h"
#include "avow/base/err.h"
#include "avow/bus/bus.h"
#include "avow/core/findings.h"
#include "avow/crypto/key.h"
#include "avow/model/revocation.h"
#include "avow/trust/bundle.h"
#include "avow/trust/proof.h"
#include "policy_store.h"

#define AVOW_WORKER_OWNER_MAX 64u  /* transactional id (schema Marker.owner) */
#define AVOW_WORKER_TOPIC_MAX 129u /* 128 and NUL: schemas/deadletter.avsc */
#define AVOW_WORKER_ARENA_MAX                                                                      \
    (64u * 1024u * 1024u) /* one step: an evidence of 1 MB, fanned out                             \
                           */

/* Time and randomness; tests bring their own. */
struct avow_worker_clock {
    void *arg;
    uint64_t (*unix_ms)(void *arg);
    uint64_t (*mono_ms)(void *arg);
    void (*sleep_ms)(void *arg, uint64_t ms);
    enum avow_rc (*random)(void *arg, void *out, size_t len, struct avow_err *err);
};
/* The real ones. */
struct avow_worker_clock avow_worker_clock_system(void);

enum avow_guarantee { AVOW_EXACTLY_ONCE, AVOW_AT_LEAST_ONCE };

struct avow_worker_keys {
    struct avow_privkey *sign;  /* markers, directives, verdicts, revocations */
    struct avow_mac_key mac[2]; /* [0] makes MACs; [1] is the previous one */
    size_t mac_count;
};
/* sign.pem, mac.key and, if it exists, mac.prev of a folder. Errors: AVOW_IO, AVOW_PARSE. */
enum avow_rc avow_worker_keys_load(const char *folder, struct avow_worker_keys *out,
                                   struct avow_err *err) AVOW_MUST_CHECK;
void avow_worker_keys_deinit(struct avow_worker_keys *k);

enum avow_worker_topic {
    AVOW_TOPIC_TRUST,
    AVOW_TOPIC_ENROLLMENTS,
    AVOW_TOPIC_POLICIES,
    AVOW_TOPIC_EPOCHS,
    AVOW_TOPIC_EVIDENCE,
    AVOW_TOPIC_STATE,
    AVOW_TOPIC_VERDICTS,
    AVOW_TOPIC_REVOCATIONS,
    AVOW_TOPIC_DEADLETTER,
    AVOW_TOPIC_CLOUDEVENTS, /* the last two: only if they are asked for */
    AVOW_TOPIC_KEYLIME,
    AVOW_TOPIC_COUNT
};
struct avow_worker_topics {
    char name[AVOW_TOPIC_COUNT][AVOW_WORKER_TOPIC_MAX];
};
/* False if the prefix is too long. */
bool avow_worker_topics_init(struct avow_worker_topics *t, const char *prefix) AVOW_MUST_CHECK;
/* Forms of revocations besides our own. */
struct avow_worker_outputs {
    bool cloudevents, keylime;
};
/* Whether a worker with these outputs uses the topic. */
bool avow_worker_topic_is_used(enum avow_worker_topic t, struct avow_worker_outputs o);
/* Whether a topic has the bundle's partition count. */
bool avow_worker_topic_is_partitioned(enum avow_worker_topic t);

struct avow_worker_counters { /* since start; each a uint64_t, for avow_meter adds them up */
    uint64_t consumed, appraised, verdicts, revocations, directives, states, alarms, markers;
    uint64_t dropped[AVOW_DROP_REASON_COUNT];
    uint64_t dead_letters, dead_letters_withheld;
    uint64_t commits, aborts;
    uint64_t refused; /* records of our own topics that were not accepted */
    uint64_t unsigned_deletes, state_rejected;
    uint64_t verdicts_by[AVOW_STATUS_COUNT];
    uint64_t revocations_by[AVOW_REVOCATION_CLASS_COUNT];
    uint64_t findings[AVOW_FINDING_COUNT]; /* in published verdicts */
};

struct avow_batch;
struct avow_worker_ctx {
    struct avow_worker_outputs outputs;
    const char *scratch_dir; /* NULL: no book of poison is kept */
    const char *group;
    struct avow_worker_clock clock;
    const struct avow_worker_keys *keys;
    const struct avow_worker_topics *topics;
    char owner[AVOW_WORKER_OWNER_MAX + 1]; /* transactional id */
    char instance[AVOW_WORKER_OWNER_MAX + 1];
    const struct avow_trust *trust; /* replaced between steps */
    struct avow_policy_store *policies;
    struct avow_batch *batch;
    struct avow_bus_producer *markers; /* idempotent, not transactional */
    struct avow_arena arena;           /* reset after each step */
    struct avow_arena timer_arena;     /* for deadlines, while a step's actions are still in use */
    struct avow_worker_counters counters;
};
#define AVOW_WORKER_NOW(ctx) ((ctx)->clock.unix_ms((ctx)->clock.arg))
#define AVOW_WORKER_MONO(ctx) ((ctx)->clock.mono_ms((ctx)->clock.arg))

#endif
