/* runner.h - one owned partition: what is known of it, and what happens in it. Layer:
 * verifier-workers. A runner is fed records by its worker and puts output into the context's batch;
 * it does no I/O but sending its markers. Life: new -> (feed state, enrolments, markers) -> serve
 * -> evidence, ticks -> free. One thread. PROTOCOL B3.2. */
#ifndef AVOW_WORKER_RUNNER_H
#define AVOW_WORKER_RUNNER_H

#include "batch.h"
#include "epoch_bell.h"
#include "marker_book.h"
#include "mass_guard.h"
#include "poison_book.h"
#include "worker_step.h"

#define AVOW_RUNNER_RESYNCS_OPEN 8u       /* PROTOCOL B6 */
#define AVOW_RUNNER_RESYNC_OPEN_MS 60000u /* an unanswered resync gives its slot back */
#define AVOW_RUNNER_DEAD_LETTERS 10u      /* per second */
#define AVOW_RUNNER_FLOOD_PER_MINUTE 100u /* drops of one agent (PROTOCOL R20) */
#define AVOW_RUNNER_REVIEWS_PER_TICK 256u
#define AVOW_RUNNER_TWIN_WINDOW_MS                                                                 \
    10000u /* plus two epochs: markers of a predecessor are no twins */

struct avow_runner_resync {
    struct avow_agent *agent; /* NULL: free */
    uint64_t until_mono_ms;
};

struct avow_runner {
    struct avow_worker_ctx *ctx;
    int32_t partition;
    bool serving;
    uint64_t assigned_unix_ms, assigned_mono_ms;
    struct avow_views views;
    struct avow_marker_book book;
    struct avow_epoch_bell bell;
    enum avow_epoch_bell_health health;
    struct avow_deadlines deadlines;
    struct avow_mass_guard guard;
    uint64_t guard_mono_ms; /* when it was last asked */

    int64_t next_offset;      /* of evidence: the next one to be read */
    int64_t committed_offset; /* what next_offset was at the last commit */
    bool moved;               /* next_offset moved in the open batch */
    bool rewind;              /* the consumer is ahead of next_offset */
    int64_t skip_offset;      /* its output was over a limit: dead-letter it unread; -1: none */
    struct avow_poison_book poison;
    int64_t watermark; /* of evidence, as seen at watermark_mono_ms */
    bool has_watermark;
    uint64_t watermark_mono_ms;

    struct avow_agent *review_head, *review_tail;
    struct avow_agent *resync_head, *resync_tail;
    struct avow_runner_resync resyncs[AVOW_RUNNER_RESYNCS_OPEN];
    struct avow_rate dead_letters;
    size_t states_restored, states_rejected, enrollments_refused;
    uint64_t bundle_version; /* highest that a state or the newest marker names */
};

/* Errors: AVOW_NOMEM, AVOW_CRYPTO. */
enum avow_rc avow_runner_new(struct avow_worker_ctx *ctx, int32_t partition,
                             struct avow_runner **out, struct avow_err *err) AVOW_MUST_CHECK;
void avow_runner_free(struct avow_runner *r);

/* --- Records of our own topics; before and (but for state) while serving. A record that is not
 * accepted is counted and logged, never an error. Errors: AVOW_NOMEM, AVOW_LIMIT. */
enum avow_rc avow_runner_feed_state(struct avow_runner *r, const struct avow_bus_msg *m,
                                    struct avow_err *err) AVOW_MUST_CHECK;
enum avow_rc avow_runner_feed_enrollment(struct avow_runner *r, const struct avow_bus_msg *m,
                                         struct avow_err *err) AVOW_MUST_CHECK;
enum avow_rc avow_runner_feed_epoch(struct avow_runner *r, const struct avow_bus_msg *m,
                                    struct avow_err *err) AVOW_MUST_CHECK;
/* The owner named by the newest good marker: whose transaction may still be open. False if there is
 * none. */
bool avow_runner_predecessor(struct avow_runner *r, char out[AVOW_WORKER_OWNER_MAX + 1]);
/* All is restored; evidence begins at `offset`. Everything known is reviewed once. Errors:
 * AVOW_NOMEM; AVOW_ROLLBACK: a state or marker names a higher bundle than the topic shows
 * (PROTOCOL R1 d). */
enum avow_rc avow_runner_serve(struct avow_runner *r, int64_t offset,
                               struct avow_err *err) AVOW_MUST_CHECK;

/* --- While serving. Errors: AVOW_NOMEM, AVOW_CRYPTO; AVOW_LIMIT: the batch must be undone
 * (skip_offset is set). */
enum avow_rc avow_runner_evidence(struct avow_runner *r, const struct avow_bus_msg *m,
                                  struct avow_err *err) AVOW_MUST_CHECK;
/* Evidence from `first` to before `end` cannot be read at all: it is passed over. Errors: as above.
 */
enum avow_rc avow_runner_unreadable(struct avow_runner *r, int64_t first, int64_t end,
                                    struct avow_err *err) AVOW_MUST_CHECK;
/* Markers, silence, reviews: whatever is due. Stops when the batch is full. */
enum avow_rc avow_runner_tick(struct avow_runner *r, struct avow_err *err) AVOW_MUST_CHECK;
/* The watermark is needed soon, for the marker that is due. */
bool avow_runner_wants_watermark(const struct avow_runner *r);
void avow_runner_watermark(struct avow_runner *r, int64_t high);
/* Everything below `position` is processed although no record told so (control records). */
void avow_runner_passed(struct avow_runner *r, int64_t position);

void avow_runner_review(struct avow_runner *r, struct avow_agent *a);
/* Policies resolve differently: every agent is reviewed. */
void avow_runner_review_all(struct avow_runner *r);
/* The context's trust was replaced: signatures are checked anew. Errors: AVOW_NOMEM. */
enum avow_rc avow_runner_trust_changed(struct avow_runner *r, struct avow_err *err) AVOW_MUST_CHECK;

void avow_runner_committed(struct avow_runner *r);
/* The batch was taken back: evidence is read again from the committed offset. */
void avow_runner_rewound(struct avow_runner *r);
/* The agent's state was taken back. */
void avow_runner_restore_agent(struct avow_runner *r, struct avow_agent *a);

#endif
