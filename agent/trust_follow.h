/* trust_follow.h - the newest trust bundle that this agent has seen, with a copy on disk as the
 * floor (PROTOCOL R1 d). Layer: agent. */
#ifndef AVOW_AGENT_TRUST_FOLLOW_H
#define AVOW_AGENT_TRUST_FOLLOW_H

#include "avow/trust/bundle.h"

struct avow_trust_follow;
/* Loads the root key and the copy in `state_dir`, if there is one; a copy that the root key does
 * not confirm is reported and left out. Errors: those of avow_root_load, AVOW_NOMEM. */
enum avow_rc avow_trust_follow_new(const char *root_path, const char *state_dir,
                                   struct avow_trust_follow **out,
                                   struct avow_err *err) AVOW_MUST_CHECK;
void avow_trust_follow_free(struct avow_trust_follow *f);
AVOW_DEFINE_CLEANUP(struct avow_trust_follow, avow_trust_follow_free);
/* NULL until a bundle is known. Borrowed until the next offer that returns true. */
const struct avow_trust *avow_trust_follow_current(const struct avow_trust_follow *f);
/* A record of topic trust. True: it is a newer bundle, current from now on and written to disk.
 * Everything else is logged if it is worth it, and ignored. */
bool avow_trust_follow_offer(struct avow_trust_follow *f, struct avow_bytes kafka_key,
                             struct avow_bytes record);

#endif
