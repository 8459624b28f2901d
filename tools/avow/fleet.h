/* fleet.h - what is known of agents: identities, enrolments, verdicts, verified. Layer: tools/avow.
 */
#ifndef AVOW_TOOLS_FLEET_H
#define AVOW_TOOLS_FLEET_H

#include "context.h"

#include "avow/model/enrollment.h"
#include "avow/model/identity.h"
#include "avow/model/verdict.h"

struct avow_fleet_agent {
    struct avow_str id;
    bool has_identity, has_enrollment, has_verdict;
    struct avow_identity identity;
    struct avow_enrollment enrollment;
    struct avow_verdict verdict;
    struct avow_bytes verdict_record; /* as read */
};
struct avow_fleet {
    struct avow_arena arena; /* owns everything below */
    struct avow_fleet_agent *items;
    size_t count, cap;
    size_t refused; /* records whose proof did not verify */
    struct avow_err last_refusal;
};

#define AVOW_FLEET_IDENTITIES 1u
#define AVOW_FLEET_ENROLLMENTS 2u
#define AVOW_FLEET_VERDICTS 4u

void avow_fleet_deinit(struct avow_fleet *f);
/* Reads the topics named by `what` (bits above); id NULL: all agents, else only this one.
 * Initialises `f`. */
enum avow_rc avow_fleet_read(struct avow_cli *cli, unsigned what, const char *id,
                             struct avow_fleet *f, struct avow_err *err) AVOW_MUST_CHECK;
/* NULL if unknown. */
const struct avow_fleet_agent *avow_fleet_find(const struct avow_fleet *f, struct avow_str id);

/* Status as a relying party must see it at now_ms: "trusted" only while now < trusted_until, then
 * "expired". */
const char *avow_verdict_status_at(const struct avow_verdict *v, uint64_t now_ms);

#endif
