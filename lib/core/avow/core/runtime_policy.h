/* runtime_policy.h - Keylime's runtime policy, compiled once into an immutable form with O(1) look-up. Layer: core.
 * Format: docs/POLICY.md. Shareable between threads. */
#ifndef AVOW_CORE_RUNTIME_POLICY_H
#define AVOW_CORE_RUNTIME_POLICY_H

#include "avow/base/bytes.h"
#include "avow/base/cleanup.h"
#include "avow/base/err.h"

#define AVOW_POLICY_MAX (64u * 1024u * 1024u) /* PROTOCOL B6 */

struct avow_runtime_policy;
/* JSON text. Errors: AVOW_PARSE (the message has the JSON path and the reason), AVOW_LIMIT, AVOW_NOMEM. */
enum avow_rc avow_runtime_policy_load(struct avow_bytes json, struct avow_runtime_policy **out, struct avow_err *err) AVOW_MUST_CHECK;
void avow_runtime_policy_free(struct avow_runtime_policy *p);
AVOW_DEFINE_CLEANUP(struct avow_runtime_policy, avow_runtime_policy_free);

enum avow_policy_match {
    AVOW_POLICY_UNDECIDED = 0,
    AVOW_POLICY_PATH_UNKNOWN,
    AVOW_POLICY_DIGEST_UNKNOWN,
    AVOW_POLICY_ALLOWED,
    AVOW_POLICY_EXCLUDED,
    AVOW_POLICY_REGEX_LIMIT, /* an exclude could not be decided: not excluded, and said so (PROTOCOL R30) */
};
/* Judges a file digest. `strict`: excludes match whole paths, else prefixes as Keylime's re.match does. */
enum avow_policy_match avow_runtime_policy_match(const struct avow_runtime_policy *p, struct avow_str path,
                                                 struct avow_bytes digest, bool strict);
/* Facts for people: counts of paths, digests and excludes. */
struct avow_runtime_policy_stats {
    size_t paths, digests, excludes;
};
void avow_runtime_policy_stats_get(const struct avow_runtime_policy *p, struct avow_runtime_policy_stats *out);

#endif
