/* loop.h - the agent's event loop: turns what happens into events of agent_step.h and obeys its
 * actions. Layer: agent. Decides nothing. One thread, besides that of enroll_job.h. */
#ifndef AVOW_AGENT_LOOP_H
#define AVOW_AGENT_LOOP_H

#include "attest.h"
#include "avow/bus/bus.h"
#include "enroll_client.h"
#include "trust_follow.h"

struct avow_loop_opts { /* borrowed for the life of the loop */
    struct avow_tpm *tpm;
    struct avow_attest *attest;
    struct avow_trust_follow *trust;
    struct avow_bus *bus;
    const struct avow_enroll_self *registrar; /* NULL: do not register */
    const char *agent_id;
    const char *topic_prefix;
    const char *run_dir; /* "": no file */
    uint64_t ima_poll_ms;
    bool new_ak;
};
/* Runs until avow_stop_requested. *thread_left: an HTTP request still runs and uses
 * *opts->registrar; end the process without tidying up. Errors: those of setting up, AVOW_CRYPTO
 * (no random numbers). */
enum avow_rc avow_loop_run(const struct avow_loop_opts *opts, bool *thread_left,
                           struct avow_err *err) AVOW_MUST_CHECK;

#endif
