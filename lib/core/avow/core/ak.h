/* ak.h - an attestation key as the enrolment pins it. Layer: core. Immutable, shareable. */
#ifndef AVOW_CORE_AK_H
#define AVOW_CORE_AK_H

#include "avow/base/cleanup.h"
#include "avow/crypto/key.h"

struct avow_ak;
/* TPM2B_PUBLIC. Checks what PROTOCOL R27 demands of an AK: fixedTPM, fixedParent, sensitiveDataOrigin, restricted,
 * sign set; decrypt clear; nameAlg at least SHA-256; RSA >= 2048 or P-256/384/521; a signing scheme that is not null.
 * Errors: AVOW_PARSE, AVOW_REFUSED (attributes; the message says which). */
enum avow_rc avow_ak_parse(struct avow_bytes tpm2b_public, struct avow_ak **out, struct avow_err *err) AVOW_MUST_CHECK;
void avow_ak_free(struct avow_ak *ak);
AVOW_DEFINE_CLEANUP(struct avow_ak, avow_ak_free);
struct avow_bytes avow_ak_name(const struct avow_ak *ak); /* nameAlg || digest; borrowed */
const struct avow_pubkey *avow_ak_key(const struct avow_ak *ak);
/* Scheme and hash fixed in the public area. */
enum avow_sig_scheme avow_ak_scheme(const struct avow_ak *ak);
enum avow_hash avow_ak_hash(const struct avow_ak *ak);

#endif
