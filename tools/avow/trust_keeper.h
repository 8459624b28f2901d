/* trust_keeper.h - the newest trust bundle out of candidate records (PROTOCOL R1 d). Layer:
 * tools/avow. No I/O, no clock. Not thread-safe.
 * Versions never run backwards: below the highest known one everything is refused, and so is a
 * bundle of another fleet once one fleet is known. */
#ifndef AVOW_TOOLS_TRUST_KEEPER_H
#define AVOW_TOOLS_TRUST_KEEPER_H

#include "avow/trust/bundle.h"

struct avow_trust_keeper {
    const struct avow_root *root; /* borrowed */
    struct avow_trust *trust;     /* owned; NULL: none yet */
    uint64_t floor;               /* highest version known, here or by a copy on disk; 0: none */
    bool has_fleet;
    uint8_t fleet[16];
};

void avow_trust_keeper_init(struct avow_trust_keeper *k, const struct avow_root *root);
void avow_trust_keeper_deinit(struct avow_trust_keeper *k);
/* What a copy on disk or a data base remembers. The version itself is accepted again. */
void avow_trust_keeper_remember(struct avow_trust_keeper *k, uint64_t version,
                                const uint8_t fleet[16]);
/* A record of topic trust. AVOW_OK: *newer tells whether k->trust was replaced by it (old pointers
 * are then invalid), or it is the one in use. AVOW_ROLLBACK: older than what is known. Other
 * errors: those of avow_trust_open; the record is refused. */
enum avow_rc avow_trust_keeper_offer(struct avow_trust_keeper *k, struct avow_bytes kafka_key,
                                     struct avow_bytes record, bool *newer,
                                     struct avow_err *err) AVOW_MUST_CHECK;

#endif
