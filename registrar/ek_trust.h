/* ek_trust.h - is this EK, or this device, genuine? Certificates of a request sorted, matched with
 * the keys and verified against the CA certificates of vendors. Layer: registrar. No I/O;
 * thread-safe. */
#ifndef AVOW_REGISTRAR_EK_TRUST_H
#define AVOW_REGISTRAR_EK_TRUST_H

#include "enroll_step.h"
#include "iak.h"

/* Judges `text` (PEM of one or more blocks in any order, or base64 DER; empty: none) for `ek` at
 * now_ms. Fills claim->ek_certs (the EK's own certificate first) and claim->trust from `arena`.
 * Blocks that are no X.509 certificates (a TPM's platform attribute certificate comes along) are
 * left out. store may be NULL: then nothing is trusted. An untrusted EK is a result, not an error.
 * Errors: AVOW_PARSE (no block is a certificate; none carries the EK), AVOW_LIMIT, AVOW_NOMEM. */
enum avow_rc avow_ek_judge(const struct avow_ek *ek, struct avow_str text,
                           const struct avow_cert_store *store, uint64_t now_ms,
                           struct avow_arena *arena, struct avow_claim *claim,
                           struct avow_err *err) AVOW_MUST_CHECK;

/* Joins what the EK's and the device's certificates proved, as `identity` demands, in claim->trust:
 * the EK's word first, else the device's. Errors: AVOW_NOMEM. */
enum avow_rc avow_trust_join(enum avow_tpm_identity identity, const struct avow_iak_result *iak,
                             struct avow_arena *arena, struct avow_claim *claim,
                             struct avow_err *err) AVOW_MUST_CHECK;

struct avow_trust_stores { /* borrowed; NULL: none */
    const struct avow_cert_store *ek;
    const struct avow_cert_store *device;
};
/* The claim of a record judged again at now_ms, by other authorities or later. A decision of an
 * outside judge (webhook, check script) stands unless the certificates now speak for themselves.
 * *out receives the trust; its time is the claim's if nothing else changed. Errors: AVOW_NOMEM,
 * AVOW_PARSE (a damaged record). */
enum avow_rc avow_trust_again(const struct avow_claim *claim,
                              const struct avow_trust_stores *stores,
                              enum avow_tpm_identity identity, uint64_t now_ms,
                              struct avow_arena *arena, struct avow_ek_trust *out,
                              struct avow_err *err) AVOW_MUST_CHECK;
/* Same rule, trust, reason and certificate. */
bool avow_trust_eq(const struct avow_ek_trust *a, const struct avow_ek_trust *b);

#endif
