/* replay.h - the evidence of one agent that Kafka still has, appraised again from its last
 * beginning, with public keys only (PROTOCOL R17). Layer: tools/avow.
 *
 * A beginning is an evidence that tells everything: all PCR values and the list from entry 0, as
 * after a boot and at every rebase. What a worker knew from before it is not known here. */
#ifndef AVOW_TOOLS_REPLAY_H
#define AVOW_TOOLS_REPLAY_H

#include "context.h"

#include "avow/core/evaluate.h"

struct avow_replay_in {   /* borrowed */
    struct avow_cli *cli; /* with trust */
    const char *id;
    const struct avow_enrollment *enrollment;
    const uint8_t *enrollment_sha256; /* [32], content digest */
    const struct avow_eval_policy *policy;
};
struct avow_replay_out {
    uint64_t records; /* of the agent, heads and parts */
    uint64_t skipped; /* of them, before the first beginning */
    uint64_t dropped; /* not attributable: a worker drops them likewise */
    uint64_t appraised;
    int64_t first, last; /* offsets of the appraised ones; -1: none */
    uint64_t first_ms;   /* broker's time of the first */
    int32_t partition;
};
/* Called after each accepted record with the state that it leads to, which lives until it returns.
 * A failure ends the replay and is returned. */
typedef enum avow_rc (*avow_replay_fn)(void *arg, const struct avow_state *state,
                                       struct avow_err *err);

/* Errors: those of reading (reader.h), of `fn`, AVOW_NOMEM; AVOW_UNTRUSTED if the enrolment's AK
 * cannot be used. */
enum avow_rc avow_replay_run(const struct avow_replay_in *in, avow_replay_fn fn, void *arg,
                             struct avow_replay_out *out, struct avow_err *err) AVOW_MUST_CHECK;

#endif
