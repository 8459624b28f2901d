/* pae.h - the bytes that proofs and MACs cover: DSSE's pre-authentication encoding (DSSE v1.0.2,
 * "protocol"; PROTOCOL B2). Pure. */
#ifndef AVOW_TRUST_PAE_H
#define AVOW_TRUST_PAE_H

#include "avow/wire/wire.h"

struct avow_pae { /* does not move after init: the first piece points into it */
    char head[192];
    struct avow_bytes pieces[2];
};

/* `record` is framed and ends in `tail` bytes of proof or MAC. The type names record and schema, so
 * a record is never valid as another one; the frame stays outside, so a registry may change it.
 * False if the record is too short. */
bool avow_pae_init(struct avow_pae *p, const struct avow_wire_schema *schema,
                   struct avow_bytes record, size_t tail) AVOW_MUST_CHECK;

#endif
