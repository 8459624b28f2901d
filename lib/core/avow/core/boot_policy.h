/* boot_policy.h - what a measured boot must look like, compiled once: our own declarative policy,
 * or Keylime's reference state. Layer: core. Formats: docs/BOOT-POLICY.md. Immutable; shareable
 * between threads. */
#ifndef AVOW_CORE_BOOT_POLICY_H
#define AVOW_CORE_BOOT_POLICY_H

#include "avow/base/bytes.h"
#include "avow/base/cleanup.h"
#include "avow/base/err.h"

#define AVOW_BOOT_POLICY_MAX (8u * 1024u * 1024u)

struct avow_boot_policy;
/* Our own policy, or Keylime's reference state, told apart by content. Errors: AVOW_PARSE (the
 * message has the JSON path and the reason), AVOW_LIMIT, AVOW_NOMEM. */
enum avow_rc avow_boot_policy_load(struct avow_bytes json, struct avow_boot_policy **out,
                                   struct avow_err *err) AVOW_MUST_CHECK;
void avow_boot_policy_free(struct avow_boot_policy *p);
AVOW_DEFINE_CLEANUP(struct avow_boot_policy, avow_boot_policy_free);

#endif
