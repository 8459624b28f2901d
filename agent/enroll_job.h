/* enroll_job.h - runs the HTTP half of registration in a process of its own (enroll_pipe.h), so
 * that a registrar that hangs delays no attestation. Layer: agent. The TPM half stays with the
 * caller. One thread; at most one process. */
#ifndef AVOW_AGENT_ENROLL_JOB_H
#define AVOW_AGENT_ENROLL_JOB_H

#include "avow/base/cleanup.h"
#include "enroll_pipe.h"

enum avow_enroll_stage {
    AVOW_ENROLL_IDLE,
    AVOW_ENROLL_ASKING,     /* register runs */
    AVOW_ENROLL_CHALLENGED, /* the caller opens the challenge and calls answer */
    AVOW_ENROLL_ANSWERING,  /* activate runs */
    AVOW_ENROLL_DONE,
    AVOW_ENROLL_FAILED
};
struct avow_enroll_job;
/* `self`, what it borrows, and `program` (avow-agent-register) outlive the job. Errors: AVOW_NOMEM.
 */
enum avow_rc avow_enroll_job_new(const struct avow_enroll_self *self, const char *program,
                                 struct avow_enroll_job **out,
                                 struct avow_err *err) AVOW_MUST_CHECK;
/* Kills a process that runs: nothing is waited for. */
void avow_enroll_job_free(struct avow_enroll_job *j);
AVOW_DEFINE_CLEANUP(struct avow_enroll_job, avow_enroll_job_free);
/* Only in IDLE, DONE or FAILED. Errors: AVOW_STATE, AVOW_IO (no process), AVOW_NOMEM. */
enum avow_rc avow_enroll_job_start(struct avow_enroll_job *j, uint64_t now_ms,
                                   struct avow_err *err) AVOW_MUST_CHECK;
/* Where the exchange is; looks what the process has said, without waiting. why (may be NULL) is
 * filled in FAILED. */
enum avow_enroll_stage avow_enroll_job_stage(struct avow_enroll_job *j, uint64_t now_ms,
                                             struct avow_err *why);
/* In CHALLENGED only: borrowed until answer or give_up. */
const struct avow_enroll_challenge *avow_enroll_job_challenge(const struct avow_enroll_job *j);
/* In CHALLENGED: sends the answer made from `secret`. Errors: AVOW_STATE, AVOW_LIMIT, AVOW_IO; then
 * the job has failed. */
enum avow_rc avow_enroll_job_answer(struct avow_enroll_job *j, struct avow_bytes secret,
                                    struct avow_err *err) AVOW_MUST_CHECK;
/* In CHALLENGED: it cannot be answered. */
void avow_enroll_job_give_up(struct avow_enroll_job *j, const struct avow_err *why);

#endif
