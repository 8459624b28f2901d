/* worker_internal.h - what the files of the worker share. Layer: verifier-workers. */
#ifndef AVOW_WORKER_WORKER_INTERNAL_H
#define AVOW_WORKER_WORKER_INTERNAL_H

#include "worker.h"

#define AVOW_WORKER_BUS_TIMEOUT_MS 5000u
#define AVOW_WORKER_RESTORE_STALL_MS                                                               \
    30000u /* a restore without progress is given up and tried again */
#define AVOW_WORKER_EPOCHS_TAIL                                                                    \
    65536 /* records of epochs that a restore reads at most: markers and directives */

enum avow_worker_phase { AVOW_WORKER_WAITS_FOR_TRUST, AVOW_WORKER_RUNS, AVOW_WORKER_STOPPED };

struct avow_worker_slot {                  /* one partition of evidence */
    struct avow_runner *runner;            /* owned; NULL: not ours */
    bool assigned;                         /* by the group */
    bool enrollments_reread;               /* wanted: another bundle may accept others */
    int64_t epochs_next, enrollments_next; /* where the aux consumer reads on */
};

#define AVOW_WORKER_FENCED_MAX 16u
struct avow_worker_fenced { /* owners fenced by the restore under way: once is enough */
    char names[AVOW_WORKER_FENCED_MAX][AVOW_WORKER_OWNER_MAX + 1];
    size_t count;
};

struct avow_worker_times {
    struct avow_prom_times appraisal, verdict, transaction;
    uint64_t stamps_ms[AVOW_BATCH_RECORDS_MAX]; /* of evidence that the open batch decides on */
    size_t count;
};

struct avow_worker {
    struct avow_worker_opts opts;
    struct avow_worker_ctx ctx;
    struct avow_worker_topics topics;
    struct avow_policy_store policies;
    struct avow_batch batch;
    struct avow_trust *trust; /* ctx.trust */
    bool on_mock;
    enum avow_worker_phase phase;

    struct avow_bus_consumer *evidence; /* subscribed, in the group */
    struct avow_bus_consumer
        *aux; /* trust, policies, epochs, enrolments: read_uncommitted, by hand */
    struct avow_bus_producer *producer;
    struct avow_bus_producer *markers;
    struct avow_bus_consumer
        *probe; /* asks for watermarks; never fetches, so that nothing waits behind a fetch */
    int64_t trust_next, policies_next;

    struct avow_worker_slot slots[AVOW_WORKER_PARTITIONS_MAX];
    uint32_t partitions; /* of the bundle at start */
    struct avow_worker_fenced fenced;
    bool joined;         /* the group has said what is ours */
    bool restore_wanted; /* a slot is assigned and has no runner that serves */
    uint64_t restore_not_before_mono_ms;
    bool evidence_idle; /* the last poll brought nothing */
    unsigned failures;  /* aborted commits in a row */
    uint64_t policy_changes_seen;
    uint64_t summary_mono_ms;
    struct avow_worker_times times;
    enum avow_rc failed; /* in a callback; reported by the tick */
    struct avow_err failure;
};

/* worker.c: reads the bundle; once it is there everything else begins. Transient failures are
 * retried by the next tick. */
enum avow_rc avow_worker_wait_for_trust(struct avow_worker *w, unsigned timeout_ms,
                                        struct avow_err *err) AVOW_MUST_CHECK;

/* worker_feed.c: reads trust, policies, epochs, enrolments. */
/* Assigns the aux consumer to everything that is needed, each where it was. */
enum avow_rc avow_worker_aux_assign(struct avow_worker *w, struct avow_err *err) AVOW_MUST_CHECK;
/* Handles what is there, at most `max` records; *n (may be NULL) is how many. */
enum avow_rc avow_worker_aux_poll(struct avow_worker *w, unsigned timeout_ms, size_t max, size_t *n,
                                  struct avow_err *err) AVOW_MUST_CHECK;
/* Reads a topic of the aux consumer to `high`. AVOW_TIMEOUT without progress. */
enum avow_rc avow_worker_aux_read_until(struct avow_worker *w, enum avow_worker_topic topic,
                                        int32_t partition, int64_t high,
                                        struct avow_err *err) AVOW_MUST_CHECK;
/* Reads it to its present end. */
enum avow_rc avow_worker_aux_read_to_end(struct avow_worker *w, enum avow_worker_topic topic,
                                         int32_t partition, struct avow_err *err) AVOW_MUST_CHECK;
/* Log start and true end. */
enum avow_rc avow_worker_watermarks(struct avow_worker *w, enum avow_worker_topic topic,
                                    int32_t partition, int64_t *low, int64_t *high,
                                    struct avow_err *err) AVOW_MUST_CHECK;

/* worker_restore.c: brings the assigned partitions into service, in the order of PROTOCOL B3.2.
 * AVOW_TIMEOUT, AVOW_UNREACHABLE, AVOW_BUS: try again. */
enum avow_rc avow_worker_restore(struct avow_worker *w, struct avow_err *err) AVOW_MUST_CHECK;

/* Commits the batch, or takes it back. An error means the end. */
enum avow_rc avow_worker_commit(struct avow_worker *w, struct avow_err *err) AVOW_MUST_CHECK;
void avow_worker_undo(struct avow_worker *w);
/* Kafka fails for now: said with what can be done about it, at most 12 times a minute. */
void avow_worker_kafka_trouble(const struct avow_err *err);
void avow_worker_alarm(struct avow_worker *w, const char *event, struct avow_bytes what,
                       const char *detail);

/* worker_meter.c: a sign of life, and a view if somebody waits for one. Wherever time passes. */
void avow_worker_pulse(struct avow_worker *w);
/* `m` was judged, in that time. */
void avow_worker_took_evidence(struct avow_worker *w, const struct avow_bus_msg *m, uint64_t ns);
/* The batch was committed, in that time. */
void avow_worker_took_batch(struct avow_worker *w, uint64_t ns);

/* The process is asked to end: whatever waits gives up. */
bool avow_worker_is_stopping(const struct avow_worker *w);
/* What passes by itself. */
bool avow_worker_is_transient(enum avow_rc rc);

/* The policy store's question: a key of the bundle with role policy_author signed the envelope. */
bool avow_worker_is_author(void *arg, struct avow_str name, const uint8_t pae_sha256[32],
                           struct avow_bytes sigs);

#endif
