/* agent_plan.h - what an operator demands of an agent, and the enrolment that says so. Layer:
 * tools/avow. Shared by `agent add`, `agent update` and `enroll`. */
#ifndef AVOW_TOOLS_AGENT_PLAN_H
#define AVOW_TOOLS_AGENT_PLAN_H

#include "agent_demands.h"
#include "enroll.h"

#define AVOW_PLAN_DAY_MS 86400000u
#define AVOW_PLAN_WEEK_MS (7u * AVOW_PLAN_DAY_MS)

struct avow_agent_plan {
    const char *id;
    const char *runtime_policy, *boot_policy, *verify_keys, *severity; /* NULL: none */
    const char *pcr_policy;             /* JSON or a file; NULL: none */
    struct avow_opt_list allow;         /* words of AVOW_ALLOW_WORDS */
    struct avow_enroll_flags allowed;   /* what they name; set by avow_plan_check */
    const struct avow_pcr_policy *pcrs; /* what pcr_policy holds; borrowed, set by the caller */
    const char *ek_cert_serial;         /* as typed; NULL: none is expected */
    struct avow_ek_serial ek_serial;    /* set by avow_plan_check */
    const char *metadata;
    const char *recovery_text;
    enum avow_recovery recovery;                                    /* set by avow_plan_check */
    uint64_t heartbeat_ms, silent_after_ms, validity_ms, timeout_s; /* intervals: 0 the fleet's */
    bool trust_registrar, allow_padded, strict_excludes, check_signatures, replace, no_wait;
};

/* Id, metadata and recovery are well-formed. AVOW_USAGE; the message begins with `command`. */
enum avow_rc avow_plan_check(const char *command, struct avow_agent_plan *o,
                             struct avow_err *err) AVOW_MUST_CHECK;
/* The policies that are named are published, and of the kind that they are named for.
 * AVOW_NOTFOUND with the next step, AVOW_USAGE. */
enum avow_rc avow_plan_check_policies(struct avow_cli *cli, const struct avow_agent_plan *o,
                                      struct avow_err *err) AVOW_MUST_CHECK;
/* The references of an enrolment, in the order runtime, boot, keys, severity. */
#define AVOW_PLAN_REFS 4u
struct avow_plan_ref {
    bool *has;
    struct avow_policy_ref *ref;
    const char *name; /* what the plan names for it; NULL: nothing */
};
void avow_plan_refs(const struct avow_agent_plan *o, struct avow_enrollment *e,
                    struct avow_plan_ref out[AVOW_PLAN_REFS]);
/* Points the references at the heads that the plan names; the others stay. */
void avow_plan_take_policies(const struct avow_agent_plan *o, struct avow_enrollment *e);
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
