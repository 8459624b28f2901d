/* enroll_job.h - runs the HTTP half of registration beside the event loop, so that a registrar that
 * hangs delays no attestation. Layer: agent. At most one thread; the TPM half stays with the
 * caller. */
#ifndef AVOW_AGENT_ENROLL_JOB_H
#define AVOW_AGENT_ENROLL_JOB_H

#include "avow/base/cleanup.h"
#include "enroll_client.h"

enum avow_enroll_stage {
    AVOW_ENROLL_IDLE,
    AVOW_ENROLL_ASKING,     /* register runs */
    AVOW_ENROLL_CHALLENGED, /* the caller opens the challenge and calls answer */
    AVOW_ENROLL_ANSWERING,  /* activate runs */
    AVOW_ENROLL_DONE,
    AVOW_ENROLL_FAILED
};
struct avow_enroll_job;
/* `self` and what it borrows outlive the job. Errors: AVOW_NOMEM. */
enum avow_rc avow_enroll_job_new(const struct avow_enroll_self *self, struct avow_enroll_job **out,
                                 struct avow_err *err) AVOW_MUST_CHECK;
/* Waits for a thread that runs: at most the time-out of one HTTP request. */
void avow_enroll_job_free(struct avow_enroll_job *j);
AVOW_DEFINE_CLEANUP(struct avow_enroll_job, avow_enroll_job_free);
/* Only in IDLE, DONE or FAILED. Errors: AVOW_STATE, AVOW_NOMEM. */
enum avow_rc avow_enroll_job_start(struct avow_enroll_job *j, struct avow_err *err) AVOW_MUST_CHECK;
/* Where the exchange is; why (may be NULL) is filled in FAILED. */
enum avow_enroll_stage avow_enroll_job_stage(struct avow_enroll_job *j, struct avow_err *why);
/* A request is under way: free would wait for it. */
bool avow_enroll_job_is_running(struct avow_enroll_job *j);
/* In CHALLENGED only: borrowed until answer or give_up. */
const struct avow_enroll_challenge *avow_enroll_job_challenge(struct avow_enroll_job *j);
/* In CHALLENGED: sends the answer made from `secret` (copied, wiped after use). Errors: AVOW_STATE,
 * AVOW_LIMIT. */
enum avow_rc avow_enroll_job_answer(struct avow_enroll_job *j, struct avow_bytes secret,
                                    struct avow_err *err) AVOW_MUST_CHECK;
/* In CHALLENGED: it cannot be answered. */
void avow_enroll_job_give_up(struct avow_enroll_job *j, const struct avow_err *why);

#endif
