/* replay.h - the evidence of agents that Kafka still has, appraised again from the last beginning
 * of each, with public keys only (PROTOCOL R17). Layer: tools/avow.
 *
 * A beginning is an evidence that tells everything: all PCR values and the list from entry 0, as
 * after a boot and at every rebase. What a worker knew from before it is not known here. */
#ifndef AVOW_TOOLS_REPLAY_H
#define AVOW_TOOLS_REPLAY_H

#include "context.h"

#include "avow/core/evaluate.h"

struct avow_replay_subject { /* one agent, judged in one way; an agent may be several */
    const char *id;          /* this and the next three are borrowed */
    const struct avow_enrollment *enrollment;
    const uint8_t *enrollment_sha256; /* [32], content digest */
    const struct avow_eval_policy *policy;

    /* Results. */
    int32_t partition;
    uint64_t records; /* of the agent, heads and parts */
    uint64_t skipped; /* of them, before the first beginning */
    uint64_t dropped; /* not attributable: a worker drops them likewise */
    uint64_t appraised;
    int64_t first, last; /* offsets of the appraised ones; -1: none */
    uint64_t first_ms;   /* broker's time of the first */
};
/* Called after each accepted record with the state that it leads to, which lives until it returns.
 * A failure ends the replay and is returned. */
typedef enum avow_rc (*avow_replay_fn)(void *arg, const struct avow_replay_subject *s,
                                       const struct avow_state *state, struct avow_err *err);

/* Sorts the subjects by partition and id, and reads each partition of theirs once. cli->trust is
 * there. Errors: those of reading (reader.h), of `fn`, AVOW_NOMEM; AVOW_UNTRUSTED if the AK of an
 * enrolment cannot be used. */
enum avow_rc avow_replay_run(struct avow_cli *cli, struct avow_replay_subject *subjects, size_t n,
                             avow_replay_fn fn, void *arg, struct avow_err *err) AVOW_MUST_CHECK;

#endif
