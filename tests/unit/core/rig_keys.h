/* rig_keys.h - the rig's attestation keys: made once per process. OpenSSL, because production has
 * no private RSA keys. */
#ifndef AVOW_TESTS_CORE_RIG_KEYS_H
#define AVOW_TESTS_CORE_RIG_KEYS_H

#include "rig.h"

/* TPM2B_PUBLIC of a restricted signing key. Returns the length. */
size_t rig_key_public(enum rig_key key, uint8_t out[1024]);
/* TPMT_SIGNATURE over `data`. Returns the length. */
size_t rig_key_sign(enum rig_key key, struct avow_bytes data, uint8_t out[1200]);
enum avow_hash rig_key_hash(enum rig_key key);

#endif
