/* trust_follow.h - the trust bundle that the registrar signs for: from a file, then from topic
 * trust. Layer: registrar. Newer wins; fleet and highest version are kept in the store, so that
 * neither ever runs backwards (PROTOCOL R1 d). Not thread-safe: the publisher's thread owns it. */
#ifndef AVOW_REGISTRAR_TRUST_FOLLOW_H
#define AVOW_REGISTRAR_TRUST_FOLLOW_H

#include "store.h"

#include "avow/bus/bus.h"
#include "avow/trust/records.h"

struct avow_trust_follow {
    const struct avow_root *root; /* borrowed */
    struct avow_store *store;     /* borrowed */
    struct avow_trust *trust;     /* owned; NULL: none yet */
    bool has_fleet;
    uint8_t fleet[16];
    uint64_t min_version; /* highest ever seen; 0: none */
};

/* Reads the floor from the store. */
enum avow_rc avow_trust_follow_init(struct avow_trust_follow *f, const struct avow_root *root,
                                    struct avow_store *store, struct avow_err *err) AVOW_MUST_CHECK;
void avow_trust_follow_deinit(struct avow_trust_follow *f);
/* Takes a bundle record if it is good and not older than what is known; the very version that is in
 * use is fine. Errors: those of avow_trust_open but AVOW_EXISTS, and the store's. */
enum avow_rc avow_trust_follow_offer(struct avow_trust_follow *f, struct avow_bytes kafka_key,
                                     struct avow_bytes record,
                                     struct avow_err *err) AVOW_MUST_CHECK;
enum avow_rc avow_trust_follow_file(struct avow_trust_follow *f, const char *path,
                                    struct avow_err *err) AVOW_MUST_CHECK;
/* Takes what the consumer, assigned to topic trust, has; waits up to wait_ms for the first. Records
 * that are refused are logged and left out. Errors: AVOW_BUS_FATAL. */
enum avow_rc avow_trust_follow_poll(struct avow_trust_follow *f, struct avow_bus_consumer *c,
                                    unsigned wait_ms, struct avow_err *err) AVOW_MUST_CHECK;

#endif
