/* dm_policy.h - which device-mapper devices there may be: Keylime's `ima.dm_policy`, compiled once.
 * Private to lib/core. Immutable; shareable between threads. Format: docs/POLICY.md. */
#ifndef AVOW_CORE_DM_POLICY_H
#define AVOW_CORE_DM_POLICY_H

#include "avow/base/bytes.h"
#include "avow/base/cleanup.h"
#include "avow/base/err.h"

#include "excludes.h"

#define AVOW_DM_RULES_MAX 64u
#define AVOW_DM_TARGETS_MAX 64u /* of a rule */
#define AVOW_DM_ATTRS_MAX 64u   /* of a target */
#define AVOW_DM_VALUE_MAX 512u  /* bytes of a value that an expression is tried on */

enum avow_dm_attr_kind {
    AVOW_DM_ANY = 0, /* null */
    AVOW_DM_BOOL,    /* y, yes, t, true, on, 1 and their opposites */
    AVOW_DM_NUMBER,
    AVOW_DM_TEXT /* an expression for the whole value */
};
struct avow_dm_attr {
    char *name; /* owned; NULL where the place says it */
    enum avow_dm_attr_kind kind;
    bool flag;
    uint64_t number;
    struct avow_excludes text; /* one expression, used strictly */
};
struct avow_dm_target {
    struct avow_dm_attr *attrs;
    size_t count;
};
enum {
    AVOW_DM_NAME,
    AVOW_DM_UUID,
    AVOW_DM_MAJOR,
    AVOW_DM_MINOR,
    AVOW_DM_MINOR_COUNT,
    AVOW_DM_META
};
struct avow_dm_rule {
    char *name;
    bool required, resume_required, allow_removal, allow_clear, allow_multiple_loads;
    struct avow_dm_attr new_name, new_uuid;
    struct avow_dm_attr meta[AVOW_DM_META];
    uint64_t num_targets;
    struct avow_dm_target *targets;
    size_t targets_count;
};
struct avow_dm_policy {
    bool match_uuid; /* a device is known by its uuid, not by its name */
    struct avow_dm_rule *rules;
    size_t count;
};

/* Errors: AVOW_PARSE (JSON path and reason), AVOW_LIMIT, AVOW_NOMEM. Every key that Keylime reads
 * must be there, and no other. */
enum avow_rc avow_dm_policy_load(struct avow_str json, struct avow_dm_policy **out,
                                 struct avow_err *err) AVOW_MUST_CHECK;
void avow_dm_policy_free(struct avow_dm_policy *p);
AVOW_DEFINE_CLEANUP(struct avow_dm_policy, avow_dm_policy_free);
/* `value` without escapes. False too if an expression hits its limits. */
bool avow_dm_attr_allows(const struct avow_dm_attr *a, struct avow_str value);

#endif
