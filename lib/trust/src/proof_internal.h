/* proof_internal.h - signing in the middle of a buffer, for records.c. */
#ifndef AVOW_TRUST_PROOF_INTERNAL_H
#define AVOW_TRUST_PROOF_INTERNAL_H

#include "avow/trust/proof.h"

/* The record is `out` from `start` to its end; the last bytes of it are overwritten. */
enum avow_rc avow_proof_sign_at(const struct avow_wire_schema *schema,
                                const struct avow_privkey *key, struct avow_buf *out, size_t start,
                                struct avow_err *err) AVOW_MUST_CHECK;
enum avow_rc avow_mac_sign_at(const struct avow_wire_schema *schema, const struct avow_mac_key *key,
                              struct avow_buf *out, size_t start,
                              struct avow_err *err) AVOW_MUST_CHECK;
/* The signature alone; the caller has compared key ids. */
bool avow_proof_signature_is_good(const struct avow_wire_schema *schema,
                                  const struct avow_pubkey *key,
                                  struct avow_bytes record) AVOW_MUST_CHECK;

#endif
