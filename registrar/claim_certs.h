/* claim_certs.h - certificates as agents send them: text to certificates, the one of a key first,
 * packed for a claim. Layer: registrar. No I/O; thread-safe. Input: attacker-controlled. */
#ifndef AVOW_REGISTRAR_CLAIM_CERTS_H
#define AVOW_REGISTRAR_CLAIM_CERTS_H

#include "claim.h"

/* Frees the certificates; fit for AVOW_CLEANUP_VAL. */
void avow_claim_certs_deinit(struct avow_cert_list *l);
/* PEM text of one or more blocks, or base64 DER. Block by block: one that is no X.509 certificate
 * (a TPM's platform attribute certificate comes along) does not hide the others and is left out.
 * `what` names the field. Appends to `out`, which the caller owns also on failure. Errors:
 * AVOW_PARSE (no certificate at all), AVOW_LIMIT. */
enum avow_rc avow_claim_certs_read(const char *what, struct avow_str text,
                                   struct avow_cert_list *out,
                                   struct avow_err *err) AVOW_MUST_CHECK;
/* Moves the certificate of `key` to the front. Errors: AVOW_NOTFOUND. */
enum avow_rc avow_claim_certs_key_first(const struct avow_pubkey *key, struct avow_cert_list *l,
                                        struct avow_err *err) AVOW_MUST_CHECK;
/* Into one value of the arena, and back. Errors: AVOW_LIMIT, AVOW_NOMEM; unpack also AVOW_PARSE. */
enum avow_rc avow_claim_certs_pack(const char *what, const struct avow_cert_list *l,
                                   struct avow_arena *arena, struct avow_bytes *out,
                                   struct avow_err *err) AVOW_MUST_CHECK;
enum avow_rc avow_claim_certs_unpack(struct avow_bytes packed, struct avow_cert_list *out,
                                     struct avow_err *err) AVOW_MUST_CHECK;

/* A reason may quote names of a hostile certificate or answer; it goes into JSON, logs and a signed
 * record: anything but printable ASCII becomes '?', and it is cut at AVOW_TRUST_DETAIL_MAX. Errors:
 * AVOW_NOMEM. */
enum avow_rc avow_claim_detail(const char *text, struct avow_arena *arena, struct avow_str *out,
                               struct avow_err *err) AVOW_MUST_CHECK;

#endif
