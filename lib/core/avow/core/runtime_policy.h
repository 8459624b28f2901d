/* runtime_policy.h - Keylime's runtime policy, compiled once into an immutable form with O(1)
 * look-up. Layer: core. Format: docs/POLICY.md. Shareable between threads. */
#ifndef AVOW_CORE_RUNTIME_POLICY_H
#define AVOW_CORE_RUNTIME_POLICY_H

#include "avow/base/bytes.h"
#include "avow/base/cleanup.h"
#include "avow/base/err.h"

#define AVOW_POLICY_MAX (64u * 1024u * 1024u) /* PROTOCOL B6 */

struct avow_runtime_policy;
/* JSON text, or a flat allowlist ("digest path" a line). Errors: AVOW_PARSE (the message has the
 * JSON path and the reason), AVOW_LIMIT, AVOW_NOMEM. */
enum avow_rc avow_runtime_policy_load(struct avow_bytes json, struct avow_runtime_policy **out,
                                      struct avow_err *err) AVOW_MUST_CHECK;
void avow_runtime_policy_free(struct avow_runtime_policy *p);
AVOW_DEFINE_CLEANUP(struct avow_runtime_policy, avow_runtime_policy_free);

enum avow_policy_match {
    AVOW_POLICY_UNDECIDED = 0,
    AVOW_POLICY_PATH_UNKNOWN,
    AVOW_POLICY_DIGEST_UNKNOWN,
    AVOW_POLICY_ALLOWED,
    AVOW_POLICY_EXCLUDED,
    AVOW_POLICY_REGEX_LIMIT, /* an exclude could not be decided: not excluded, and said so (PROTOCOL
                                R30) */
};
/* Judges a file digest. `strict`, or the policy's own header: excludes match whole paths, else
 * prefixes as Keylime's re.match does. */
enum avow_policy_match avow_runtime_policy_match(const struct avow_runtime_policy *p,
                                                 struct avow_str path, struct avow_bytes digest,
                                                 bool strict);
/* Looks up the digest alone, without the excludes. */
enum avow_policy_match avow_runtime_policy_find(const struct avow_runtime_policy *p,
                                                struct avow_str path, struct avow_bytes digest);
/* The excludes alone, for names that are no paths (keyrings, buffers): _EXCLUDED, _REGEX_LIMIT, or
 * _PATH_UNKNOWN if none matches. */
enum avow_policy_match avow_runtime_policy_exclude(const struct avow_runtime_policy *p,
                                                   struct avow_str name, bool strict);
/* Digest of a key blob that the kernel loads into the keyring `name` (`keyrings`), and of a buffer
 * called `name` (`ima-buf`): _ALLOWED, _DIGEST_UNKNOWN if the name is listed with other digests, or
 * _PATH_UNKNOWN. */
enum avow_policy_match avow_runtime_policy_find_keyring(const struct avow_runtime_policy *p,
                                                        struct avow_str name,
                                                        struct avow_bytes digest);
enum avow_policy_match avow_runtime_policy_find_buffer(const struct avow_runtime_policy *p,
                                                       struct avow_str name,
                                                       struct avow_bytes digest);
/* `ima.ignored_keyrings` has the name, or "*": what is loaded there is neither judged nor learned.
 */
bool avow_runtime_policy_ignores_keyring(const struct avow_runtime_policy *p,
                                         struct avow_str keyring);
/* `verification-keys` as text for avow_ima_keys_load, and `ima.dm_policy` as JSON text; empty if
 * there is none. Borrowed from `p`. */
struct avow_str avow_runtime_policy_keys_text(const struct avow_runtime_policy *p);
struct avow_str avow_runtime_policy_dm_text(const struct avow_runtime_policy *p);
/* The same, compiled; NULL if there is none. A policy whose texts do not compile is not loaded. */
struct avow_ima_keys;
struct avow_dm_policy;
const struct avow_ima_keys *avow_runtime_policy_keys(const struct avow_runtime_policy *p);
const struct avow_dm_policy *avow_runtime_policy_dm(const struct avow_runtime_policy *p);
/* The policy lists values for this path. */
bool avow_runtime_policy_has_path(const struct avow_runtime_policy *p, struct avow_str path);
/* True if everything that `old` allows is allowed by `p` and nothing new is demanded (PROTOCOL R15
 * a): trust may be carried. */
bool avow_runtime_policy_is_superset(const struct avow_runtime_policy *old,
                                     const struct avow_runtime_policy *p);

/* What the document contains that one may want to know of: docs/POLICY.md. */
#define AVOW_POLICY_NOTE_VERIFICATION_KEYS 0x01u
#define AVOW_POLICY_NOTE_KEYRINGS 0x02u
#define AVOW_POLICY_NOTE_IMA_BUF 0x04u
#define AVOW_POLICY_NOTE_DM_POLICY 0x08u
#define AVOW_POLICY_NOTE_LEGACY 0x10u /* a flat or version-old allowlist */
#define AVOW_POLICY_NOTE_OPEN_EXCLUDE                                                              \
    0x20u /* an exclude that as a prefix covers sibling names: `/tmp` also `/tmpevil` */
#define AVOW_POLICY_NOTE_BOOT_AGGREGATE                                                            \
    0x40u /* pins boot_aggregate: fits machines with these boot PCRs only */
/* One sentence for a person about one note bit; static. */
const char *avow_policy_note_text(unsigned note);

/* Facts for people. */
struct avow_runtime_policy_stats {
    size_t paths, digests, excludes;
    size_t literal_excludes; /* of them, those that need no regular expression */
    size_t memory;   /* bytes that the compiled form occupies, without the compiled expressions */
    unsigned notes;  /* AVOW_POLICY_NOTE_* */
    size_t warnings; /* what in the text is not used */
};
#define AVOW_POLICY_WARNINGS_KEPT 16u
/* One of the first warnings: JSON path and reason. Borrowed from `p`; empty behind the last. */
struct avow_str avow_runtime_policy_warning(const struct avow_runtime_policy *p, size_t index);
void avow_runtime_policy_stats_get(const struct avow_runtime_policy *p,
                                   struct avow_runtime_policy_stats *out);

#endif
