/* ak.h - TPM public areas as keys: names, attestation keys, endorsement keys. Layer: crypto.
 * The one place that says what an AK or EK must look like (PROTOCOL R27); agent, registrar, CLI and
 * core all use it. Objects are immutable and shareable. */
#ifndef AVOW_CRYPTO_AK_H
#define AVOW_CRYPTO_AK_H

#include "avow/base/cleanup.h"
#include "avow/crypto/credential.h"
#include "avow/crypto/key.h"
#include "avow/formats/tpm_public.h"

#define AVOW_TPM_NAME_MAX 66u /* nameAlg || digest of at most 64 bytes */

struct avow_tpm_name {
    uint8_t bytes[AVOW_TPM_NAME_MAX];
    size_t len;
};

/* Name of a public area: nameAlg || H_nameAlg(TPMT_PUBLIC) (TPM 2.0 Part 1 r1.38, clause 16).
 * Errors: AVOW_PARSE (not one whole TPM2B_PUBLIC, unknown nameAlg). */
enum avow_rc avow_tpm_name_of(struct avow_bytes tpm2b_public, struct avow_tpm_name *out,
                              struct avow_err *err) AVOW_MUST_CHECK;
/* Qualified name of an object below the endorsement hierarchy: parents[0] is the primary,
 * parents[n-1] the object itself (TPM 2.0 Part 1 r1.38, clause 16; PROTOCOL "Facts"). n >= 1. */
void avow_tpm_qualified_name(const struct avow_tpm_name *const *parents, size_t n,
                             struct avow_tpm_name *out);
struct avow_bytes avow_tpm_name_bytes(const struct avow_tpm_name *n);
/* The public key of a parsed public area. Errors: AVOW_PARSE. */
enum avow_rc avow_tpm_public_key(const struct avow_tpm_public *pub, struct avow_pubkey **out,
                                 struct avow_err *err) AVOW_MUST_CHECK;

struct avow_ak;
/* TPM2B_PUBLIC. Checks what PROTOCOL R27 demands of an AK: fixedTPM, fixedParent,
 * sensitiveDataOrigin, restricted, sign set; decrypt clear; nameAlg at least SHA-256; RSA >= 2048
 * or P-256/384/521; a signing scheme that is not null. Errors: AVOW_PARSE, AVOW_REFUSED
 * (attributes; the message says which). */
enum avow_rc avow_ak_parse(struct avow_bytes tpm2b_public, struct avow_ak **out,
                           struct avow_err *err) AVOW_MUST_CHECK;
/* TPM2B_PUBLIC, TPMT_PUBLIC or PEM, told apart by content. PEM says nothing but the key: whether it
 * only signs what its TPM made is for whoever wrote the file to know. Errors: as avow_ak_parse. */
enum avow_rc avow_ak_load(struct avow_bytes in, struct avow_ak **out,
                          struct avow_err *err) AVOW_MUST_CHECK;
void avow_ak_free(struct avow_ak *ak);
AVOW_DEFINE_CLEANUP(struct avow_ak, avow_ak_free);
const struct avow_tpm_name *avow_ak_name(
    const struct avow_ak *ak); /* borrowed; empty for a key from PEM */
const struct avow_pubkey *avow_ak_key(const struct avow_ak *ak); /* borrowed */
/* Scheme and hash fixed in the public area; 0 for a key from PEM, which fixes neither. */
enum avow_sig_scheme avow_ak_scheme(const struct avow_ak *ak);
enum avow_hash avow_ak_hash(const struct avow_ak *ak);

struct avow_ek;
/* TPM2B_PUBLIC. Checks what the templates L-1, L-2 and H-1 to H-7, and those that vendors put into
 * NV, have in common (TCG EK Credential Profile 2.6, B.3/B.4): fixedTPM, fixedParent,
 * sensitiveDataOrigin, restricted, decrypt set; adminWithPolicy, userWithAuth and noDA either; no
 * other attribute; an authPolicy of nameAlg's size, or none and userWithAuth; AES-CFB as symmetric
 * algorithm; RSA >= 2048 or P-256/384/521; nameAlg at least SHA-256. Errors: AVOW_PARSE,
 * AVOW_REFUSED (the message says what). */
enum avow_rc avow_ek_parse(struct avow_bytes tpm2b_public, struct avow_ek **out,
                           struct avow_err *err) AVOW_MUST_CHECK;
void avow_ek_free(struct avow_ek *ek);
AVOW_DEFINE_CLEANUP(struct avow_ek, avow_ek_free);
const struct avow_tpm_name *avow_ek_name(const struct avow_ek *ek);
const struct avow_pubkey *avow_ek_key(const struct avow_ek *ek);
/* What MakeCredential needs; borrows from ek. */
struct avow_credential_ek avow_ek_credential(const struct avow_ek *ek);
/* The agent id `hash_ek`: 64 hex digits of SHA-256 over the key's PEM text, as Keylime's agents
 * compute it; NUL-terminated. Errors: AVOW_NOMEM. */
enum avow_rc avow_ek_hash_id(const struct avow_ek *ek, char out[65],
                             struct avow_err *err) AVOW_MUST_CHECK;

#endif
