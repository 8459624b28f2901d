/* ek_trust.h - is this EK a genuine TPM's? Certificates of a request sorted, matched with the EK
 * and verified against the vendors' CA certificates. Layer: registrar. No I/O after the store is
 * loaded; thread-safe. */
#ifndef AVOW_REGISTRAR_EK_TRUST_H
#define AVOW_REGISTRAR_EK_TRUST_H

#include "claim.h"

/* Judges `text` (PEM of one or more blocks in any order, or base64 DER; empty: none) for `ek` at
 * now_ms. Fills claim->ek_certs (the EK's own certificate first) and claim->trust from `arena`.
 * Blocks that are no X.509 certificates (a TPM's platform attribute certificate comes along) are
 * left out. store may be NULL: then nothing is trusted. An untrusted EK is a result, not an error.
 * Errors: AVOW_PARSE (no block is a certificate; none carries the EK), AVOW_LIMIT, AVOW_NOMEM. */
enum avow_rc avow_ek_judge(const struct avow_ek *ek, struct avow_str text,
                           const struct avow_cert_store *store, uint64_t now_ms,
                           struct avow_arena *arena, struct avow_claim *claim,
                           struct avow_err *err) AVOW_MUST_CHECK;

#endif
