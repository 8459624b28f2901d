/* loop.h - the agent's event loop: turns what happens into events of agent_step.h and obeys its
 * actions. Layer: agent. Decides nothing. One thread. */
#ifndef AVOW_AGENT_LOOP_H
#define AVOW_AGENT_LOOP_H

#include "attest.h"
#include "avow/base/notify.h"
#include "avow/bus/bus.h"
#include "enroll_pipe.h"
#include "trust_follow.h"

struct avow_loop_opts { /* borrowed for the life of the loop */
    struct avow_tpm *tpm;
    struct avow_attest *attest;
    struct avow_trust_follow *trust;
    struct avow_bus *bus;
    const struct avow_enroll_self *registrar; /* NULL: do not register */
    const char *register_program;             /* with a registrar: avow-agent-register */
    struct avow_notify *notify;               /* NULL: no service manager */
    const char *agent_id;
    const char *topic_prefix;
    const char *run_dir; /* "": no file */
    uint64_t ima_poll_ms;
    bool new_ak;
};
/* Runs until avow_stop_requested. Tells the service manager READY=1 once a trust bundle is known:
 * from then on the agent attests as soon as workers ask. Errors: those of setting up, AVOW_CONFIG
 * (a Kafka client with these settings cannot be made), AVOW_CRYPTO (no random numbers). */
enum avow_rc avow_loop_run(const struct avow_loop_opts *opts, struct avow_err *err) AVOW_MUST_CHECK;

#endif
