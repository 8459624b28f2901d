/* agent_plan.h - what an operator demands of an agent, and the enrolment that says so. Layer:
 * tools/avow. Shared by `agent add`, `agent update` and `enroll`. */
#ifndef AVOW_TOOLS_AGENT_PLAN_H
#define AVOW_TOOLS_AGENT_PLAN_H

#include "enroll.h"

#define AVOW_PLAN_DAY_MS 86400000u
#define AVOW_PLAN_WEEK_MS (7u * AVOW_PLAN_DAY_MS)

struct avow_agent_plan {
    const char *id;
    const char *runtime_policy; /* NULL: none */
    const char *metadata;
    const char *recovery_text;
    enum avow_recovery recovery;                                    /* set by avow_plan_check */
    uint64_t heartbeat_ms, silent_after_ms, validity_ms, timeout_s; /* intervals: 0 the fleet's */
    bool trust_registrar, allow_padded, strict_excludes, replace, no_wait;
};

/* Id, metadata and recovery are well-formed. AVOW_USAGE; the message begins with `command`. */
enum avow_rc avow_plan_check(const char *command, struct avow_agent_plan *o,
                             struct avow_err *err) AVOW_MUST_CHECK;
/* The policy is published. AVOW_NOTFOUND with the next step. */
enum avow_rc avow_plan_check_policy(struct avow_cli *cli, const char *name,
                                    struct avow_err *err) AVOW_MUST_CHECK;
/* The intervals fit the fleet's (PROTOCOL R29). AVOW_USAGE. */
enum avow_rc avow_plan_check_intervals(const struct avow_cli *cli, const struct avow_agent_plan *o,
                                       struct avow_err *err) AVOW_MUST_CHECK;
/* Pins the identity's keys; `e` borrows from both. */
void avow_plan_pin(const struct avow_identity *identity, struct avow_identity_names *names,
                   struct avow_enrollment *e);
/* The whole enrolment but its generation; `e` borrows from all. */
void avow_plan_fill(const struct avow_cli *cli, const struct avow_agent_plan *o,
                    const struct avow_identity *identity, struct avow_identity_names *names,
                    struct avow_enrollment *e);

#endif
