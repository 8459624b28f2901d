/* policy_kinds.h - reads a policy document of any kind as workers would, before it is published.
 * Layer: tools/avow. */
#ifndef AVOW_TOOLS_POLICY_KINDS_H
#define AVOW_TOOLS_POLICY_KINDS_H

#include "avow/base/buf.h"
#include "avow/core/boot_policy.h"
#include "avow/core/runtime_policy.h"
#include "avow/formats/dsse.h"
#include "avow/model/policy_head.h"

#include <jansson.h>

struct avow_policy_summary {
    struct avow_runtime_policy *policy; /* owned; NULL for other kinds */
    struct avow_boot_policy *boot;      /* the same */
    struct avow_runtime_policy_stats stats;
};
void avow_policy_summary_deinit(struct avow_policy_summary *s);
/* Reads `text`, which is no envelope any more. *out is valid in any case, to be deinitialised.
 * Errors: those of the kind's reader, with the place in the text. */
enum avow_rc avow_policy_check(enum avow_policy_kind kind, struct avow_bytes text,
                               struct avow_policy_summary *out,
                               struct avow_err *err) AVOW_MUST_CHECK;
/* What of a boot policy is not used, on stderr. */
void avow_boot_policy_print_warnings(const char *file, const struct avow_boot_policy *p);
/* What the operator may not have meant, on stderr. */
void avow_policy_print_notes(const char *file, const struct avow_policy_summary *s);
/* The warnings that are kept; NULL when out of memory. */
json_t *avow_policy_warnings_json(const struct avow_policy_summary *s);

/* Replaces a signed envelope by what it holds; other text stays. *sealed (may be NULL) says which,
 * and then `sigs` and `pae_sha256` of it are what was signed. Nothing is verified. */
struct avow_policy_seal {
    bool is_envelope;
    uint8_t pae_sha256[32];
    struct avow_buf sigs;
};
void avow_policy_seal_deinit(struct avow_policy_seal *s); /* fit for AVOW_CLEANUP_VAL */
enum avow_rc avow_policy_unwrap(struct avow_buf *text, struct avow_policy_seal *sealed,
                                struct avow_err *err) AVOW_MUST_CHECK;

#endif
