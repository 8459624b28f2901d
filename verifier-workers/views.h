/* views.h - what a runner knows of the agents of its partition: enrolments and appraisal states.
 * Layer: verifier-workers. No I/O. Records are kept as they were read (encoded) and decoded on use
 * into an arena; only what timers need stays decoded. One table per owned partition; belongs to its
 * thread. */
#ifndef AVOW_WORKER_VIEWS_H
#define AVOW_WORKER_VIEWS_H

#include "avow/base/map.h"
#include "avow/crypto/ak.h"
#include "avow/model/enrollment.h"
#include "avow/model/state.h"
#include "deadlines.h"
#include "policy_doc.h"

#define AVOW_AGENT_ID_MAX 128u
#define AVOW_VIEWS_AGENTS_MAX                                                                      \
    1000000u /* of one partition; a bound against a hostile topic, not a target */

/* What is looked at without decoding the state. */
struct avow_agent_hot {
    enum avow_status status;
    uint64_t seq;
    uint64_t enrollment_generation;
    uint8_t enrollment_sha256[32];
};

struct avow_agent_pin {
    enum avow_policy_use use;
    uint8_t sha256[32];
};
#define AVOW_AGENT_PINS_MAX AVOW_POLICY_USES

struct avow_agent_enrollment {
    uint8_t *record; /* owned; NULL: none */
    size_t len;
    enum avow_enroll_status status;
    uint64_t generation;
    uint8_t sha256[32];       /* content digest */
    struct avow_ak *ak;       /* owned; NULL: none, or refused */
    uint32_t silent_after_ms; /* 0: the bundle's */
    uint64_t paused_until_ms;
    struct avow_agent_pin *pins; /* owned; documents that are named by content. NULL: none */
    size_t pins_count;
};

/* The enrolment before this one: what the two have in common needs no new appraisal. */
struct avow_agent_previous {
    uint8_t *record; /* owned; NULL: none */
    size_t len;
    uint8_t sha256[32];
};

struct avow_agent_state {
    uint8_t *record; /* owned, MACed; NULL: none */
    size_t len;
    struct avow_agent_hot hot;
};

struct avow_agent {
    char id[AVOW_AGENT_ID_MAX + 1];
    size_t id_len;
    struct avow_agent_enrollment enrollment;
    struct avow_agent_previous previous;
    struct avow_agent_state state;
    uint32_t dropped[AVOW_DROP_REASON_COUNT]; /* since the last state that was written */
    struct avow_deadline due;

    /* Working marks of the runner; none of them outlives it. */
    bool in_batch;             /* its state was written in the open batch */
    bool in_review;            /* queued for a review */
    bool resync_waits;         /* wants a resync, no slot was free */
    bool resync_open;          /* a resync was sent and not answered yet */
    uint64_t asked_generation; /* enrolment generation for which attest_now was sent */
    bool never_attested_said;
    uint64_t unjudged_service_ms; /* when its policy was last found missing; 0: never */
    uint64_t flood_window_ms;     /* monotonic */
    uint32_t flood_count;
    struct avow_agent *next_review;
    struct avow_agent *next_resync;
};

struct avow_views {
    struct avow_map agents; /* id -> struct avow_agent, owned */
    size_t watched;         /* agents with an enrolment that is not removed */
};

void avow_views_init(struct avow_views *v, uint64_t seed0, uint64_t seed1);
void avow_views_deinit(struct avow_views *v);
/* NULL if unknown. */
struct avow_agent *avow_views_find(const struct avow_views *v, struct avow_bytes id);
/* Errors: AVOW_NOMEM, AVOW_LIMIT. `id` is a valid name. */
enum avow_rc avow_views_get(struct avow_views *v, struct avow_str id, struct avow_agent **out,
                            struct avow_err *err) AVOW_MUST_CHECK;
struct avow_str avow_agent_id(const struct avow_agent *a);

/* The documents that `e` names by content. */
size_t avow_enrollment_pins(const struct avow_enrollment *e,
                            struct avow_agent_pin out[AVOW_AGENT_PINS_MAX]);
/* Replaces the enrolment. `e` is decoded from `record` and verified. An AK that is refused leaves
 * ak NULL and its reason in *ak_refused (empty otherwise). Errors: AVOW_NOMEM. */
enum avow_rc avow_views_enroll(struct avow_views *v, struct avow_agent *a,
                               const struct avow_enrollment *e, struct avow_bytes record,
                               struct avow_err *ak_refused, struct avow_err *err) AVOW_MUST_CHECK;
/* The enrolment is gone: its signer lost the authority, or it was removed and collected. */
void avow_views_unenroll(struct avow_views *v, struct avow_agent *a);
bool avow_agent_is_watched(const struct avow_agent *a);

/* Moves the state out (for undo); the agent has none afterwards. */
struct avow_agent_state avow_agent_state_take(struct avow_agent *a);
/* Puts a state in, freeing what was there. */
void avow_agent_state_put(struct avow_agent *a, struct avow_agent_state s);
/* Copies `record` and takes the hot fields from `s`. Errors: AVOW_NOMEM. */
enum avow_rc avow_agent_state_make(const struct avow_state *s, struct avow_bytes record,
                                   struct avow_agent_state *out,
                                   struct avow_err *err) AVOW_MUST_CHECK;
void avow_agent_state_deinit(struct avow_agent_state *s);

#endif
