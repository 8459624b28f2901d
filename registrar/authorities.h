/* authorities.h - who is believed about TPMs and devices: CA folders and revocation lists, read
 * again when they change. Layer: registrar. A set is immutable; who uses one holds it, so a reload
 * never pulls it away. */
#ifndef AVOW_REGISTRAR_AUTHORITIES_H
#define AVOW_REGISTRAR_AUTHORITIES_H

#include "ek_trust.h"

struct avow_authorities_conf { /* borrowed for ever; folders, NULL: none */
    const char *ek_dir;
    const char *device_dir;
    const char *crl_dir;
    struct avow_crl_opts crl;
};

struct avow_authorities;
struct avow_authority_set {
    struct avow_cert_store *ek;     /* NULL: none */
    struct avow_cert_store *device; /* NULL: none */
    unsigned refs;                  /* guarded by the authorities' lock */
};
/* Reads everything; logs what was read and which lists are out of date. Errors: those of the
 * folders: a registrar that is told to believe somebody must not start believing nobody. */
enum avow_rc avow_authorities_open(const struct avow_authorities_conf *conf, uint64_t now_ms,
                                   struct avow_authorities **out,
                                   struct avow_err *err) AVOW_MUST_CHECK;
void avow_authorities_close(struct avow_authorities *a);
AVOW_DEFINE_CLEANUP(struct avow_authorities, avow_authorities_close);
/* The current set, held until it is given back. @thread any */
struct avow_authority_set *avow_authorities_hold(struct avow_authorities *a);
void avow_authorities_release(struct avow_authorities *a, struct avow_authority_set *set);
struct avow_trust_stores avow_authority_stores(const struct avow_authority_set *set);
/* Reads again if a folder looks different than last time, or `force`. True: the set is another. A
 * folder that cannot be read is logged once and leaves the set as it was: half a copy must not undo
 * what all agents rely on. @thread one */
bool avow_authorities_poll(struct avow_authorities *a, bool force, uint64_t now_ms);

#endif
