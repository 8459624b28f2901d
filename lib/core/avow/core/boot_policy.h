/* boot_policy.h - what a measured boot must look like, compiled once: our own declarative policy,
 * or Keylime's reference state. Layer: core. Formats: docs/BOOT-POLICY.md. Immutable; shareable
 * between threads. */
#ifndef AVOW_CORE_BOOT_POLICY_H
#define AVOW_CORE_BOOT_POLICY_H

#include "avow/base/arena.h"
#include "avow/base/bytes.h"
#include "avow/base/cleanup.h"
#include "avow/base/err.h"
#include "avow/core/event_replay.h"
#include "avow/core/findings.h"

#define AVOW_BOOT_POLICY_MAX (8u * 1024u * 1024u)

struct avow_boot_policy;
/* Our own policy, or Keylime's reference state, told apart by content. Errors: AVOW_PARSE (the
 * message has the JSON path and the reason), AVOW_LIMIT, AVOW_NOMEM. */
enum avow_rc avow_boot_policy_load(struct avow_bytes json, struct avow_boot_policy **out,
                                   struct avow_err *err) AVOW_MUST_CHECK;
void avow_boot_policy_free(struct avow_boot_policy *p);
AVOW_DEFINE_CLEANUP(struct avow_boot_policy, avow_boot_policy_free);

#define AVOW_BOOT_POLICY_WARNINGS_KEPT 16u
/* One of the first warnings about what in the text is not used: JSON path and reason. Borrowed from
 * `p`; empty behind the last. */
struct avow_str avow_boot_policy_warning(const struct avow_boot_policy *p, size_t index);

/* PCRs that the policy judges: each must be quoted, and explained by the log. Bit i: PCR i. */
uint32_t avow_boot_policy_pcrs(const struct avow_boot_policy *p);

struct avow_boot_complaint {
    enum avow_finding_id id;
    int64_t event;      /* of the log, from 0; -1: none in particular */
    int32_t pcr;        /* -1: none in particular */
    const char *detail; /* printable UTF-8, at most 500 bytes; in the arena */
};
struct avow_boot_judge {
    const struct avow_event_log *log;
    const struct avow_event_replay *replay; /* of the log; its values are the quoted ones */
    struct avow_arena *arena;
    /* Called once per complaint, in the order of the events, then those about the whole log. */
    void (*complain)(void *arg, const struct avow_boot_complaint *c);
    void *arg;
};
/* Judges a log that has been proven by its replay: no complaint means that the boot is as the
 * policy demands. Only what is bound to a digest is believed; a demand about other data is a
 * complaint. O(N log N) in log and policy. Errors: AVOW_NOMEM. */
enum avow_rc avow_boot_policy_judge(const struct avow_boot_policy *p,
                                    const struct avow_boot_judge *j,
                                    struct avow_err *err) AVOW_MUST_CHECK;

#endif
