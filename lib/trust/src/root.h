/* root.h - the trust anchor's inside, for lib/trust. */
#ifndef AVOW_TRUST_ROOT_H
#define AVOW_TRUST_ROOT_H

#include "avow/trust/bundle.h"

#define AVOW_ROOT_KEYS_MAX 2u /* two while the root key changes (PROTOCOL R1) */

struct avow_root {
    struct avow_pubkey *keys[AVOW_ROOT_KEYS_MAX];
    uint8_t ids[AVOW_ROOT_KEYS_MAX][8];
    size_t count;
};

/* NULL if no root key has this id. */
const struct avow_pubkey *avow_root_find(const struct avow_root *r, const uint8_t id[8]);

#endif
