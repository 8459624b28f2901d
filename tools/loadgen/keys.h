/* keys.h - attestation keys in software. Layer: tools/loadgen. Only an enrolment that a tenant
 * signs makes them worth anything, and no registrar would have activated them. */
#ifndef AVOW_LOADGEN_KEYS_H
#define AVOW_LOADGEN_KEYS_H

#include "avow/crypto/ak.h"

#define AVOW_LOAD_PUBLIC_MAX 128u
#define AVOW_LOAD_SIGNATURE_MAX 80u

struct avow_load_key {
    struct avow_privkey *key;
    uint8_t public[AVOW_LOAD_PUBLIC_MAX]; /* TPM2B_PUBLIC */
    size_t public_len;
    struct avow_tpm_name signer; /* qualified: a primary key of the endorsement hierarchy */
};

/* P-256, as a TPM would describe it: restricted, fixed to its TPM. Errors: AVOW_CRYPTO, AVOW_NOMEM.
 */
enum avow_rc avow_load_key_init(struct avow_load_key *k, struct avow_err *err) AVOW_MUST_CHECK;
void avow_load_key_deinit(struct avow_load_key *k);
/* TPMT_SIGNATURE over `attest`; *len receives its length. */
enum avow_rc avow_load_key_sign(const struct avow_load_key *k, struct avow_bytes attest,
                                uint8_t out[AVOW_LOAD_SIGNATURE_MAX], size_t *len,
                                struct avow_err *err) AVOW_MUST_CHECK;

#endif
