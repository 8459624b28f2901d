/* fleet.h - what is known of agents: identities, enrolments, verdicts, verified. Layer: tools/avow.
 */
#ifndef AVOW_TOOLS_FLEET_H
#define AVOW_TOOLS_FLEET_H

#include "context.h"

#include "avow/base/map.h"
#include "avow/model/enrollment.h"
#include "avow/model/identity.h"
#include "avow/model/verdict.h"

#define AVOW_FLEET_IDENTITIES 1u
#define AVOW_FLEET_ENROLLMENTS 2u
#define AVOW_FLEET_VERDICTS 4u

struct avow_fleet_agent { /* the newest record of each kind */
    struct avow_str id;
    bool has_identity, has_enrollment, has_verdict;
    struct avow_identity identity;
    struct avow_enrollment enrollment;
    struct avow_verdict verdict;
    struct avow_bytes enrollment_record, verdict_record; /* as read */
};
struct avow_fleet {
    struct avow_map slots;           /* id -> the newest records, undecoded */
    struct avow_arena arena;         /* of `agents` and what they borrow */
    struct avow_fleet_agent *agents; /* in order of ids */
    size_t count;
    uint64_t refused;   /* records that do not prove themselves, or stand in a wrong partition */
    uint64_t older;     /* records behind newer ones: a roll-back, or a topic that was restored */
    uint64_t conflicts; /* two contents of one generation: the first counts (PROTOCOL R14) */
    struct avow_err last_refusal;
};

void avow_fleet_deinit(struct avow_fleet *f);
/* Reads the topics named by `what` (bits above); id NULL: all agents, else only this one.
 * Initialises `f`, which is to be deinitialised in any case. */
enum avow_rc avow_fleet_read(struct avow_cli *cli, unsigned what, const char *id,
                             struct avow_fleet *f, struct avow_err *err) AVOW_MUST_CHECK;
/* NULL if unknown. */
const struct avow_fleet_agent *avow_fleet_find(const struct avow_fleet *f, const char *id);
/* Enrolled, and not removed. */
bool avow_fleet_is_enrolled(const struct avow_fleet_agent *a);
/* Says on stderr what was refused or out of order. */
void avow_fleet_warn(const struct avow_fleet *f);

#endif
