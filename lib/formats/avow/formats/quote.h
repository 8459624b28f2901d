/* quote.h - parse TPMS_ATTEST of type quote, and TPMT_SIGNATURE. Layer: formats. Uses: base only.
 * Pure; thread-safe. Spec: TPM 2.0 Part 2 r1.38, 10.12.8 (TPMS_ATTEST), 10.12.1
 * (TPMS_QUOTE_INFO), 11.3.4 (TPMT_SIGNATURE). Input: attacker-controlled. */
#ifndef AVOW_FORMATS_QUOTE_H
#define AVOW_FORMATS_QUOTE_H

#include "avow/base/bytes.h"
#include "avow/base/err.h"

#define AVOW_ATTEST_MAX 1024u          /* PROTOCOL B6 */
#define AVOW_SIGNATURE_MAX 1024u       /* PROTOCOL B6 */
#define AVOW_TPM_GENERATED 0xFF544347u /* Part 2, 6.2 (TPM_GENERATED) */
#define AVOW_ST_ATTEST_QUOTE 0x8018u   /* Part 2, 6.9 (TPM_ST) */
#define AVOW_QUOTE_SELECTIONS_MAX 16u  /* Part 2, 10.9.7: TPMs have fewer (HASH_COUNT) */
#define AVOW_PCR_COUNT 24u             /* TCG PC Client Platform TPM Profile 1.05, 4.6 */

struct avow_pcr_selection {
    uint16_t hash; /* TPM_ALG_ID */
    uint32_t pcrs; /* bit i: PCR i; selections beyond PCR 31 are AVOW_PARSE */
    uint8_t size;  /* sizeofSelect as sent */
};
struct avow_quote { /* borrows from the input */
    uint32_t magic; /* AVOW_TPM_GENERATED if a TPM made it: judged by the caller */
    uint16_t type;  /* AVOW_ST_ATTEST_QUOTE: judged by the caller; anything else leaves the fields
                       below `firmware` empty */
    struct avow_bytes qualified_signer;
    struct avow_bytes extra_data;
    uint64_t clock; /* ms since the TPM's clear; never wall time */
    uint32_t reset_count, restart_count;
    bool safe;
    uint64_t firmware;
    struct avow_pcr_selection selections[AVOW_QUOTE_SELECTIONS_MAX];
    size_t selections_count;
    struct avow_bytes pcr_digest;
};
/* Errors: AVOW_LIMIT, AVOW_PARSE (also for trailing bytes). On failure *out is untouched. */
enum avow_rc avow_quote_parse(struct avow_bytes attest, struct avow_quote *out,
                              struct avow_err *err) AVOW_MUST_CHECK;

struct avow_tpm_signature { /* borrows from the input; same values as struct avow_sig of
                               crypto/key.h */
    uint16_t scheme;        /* RSASSA, RSAPSS or ECDSA; anything else is AVOW_PARSE */
    uint16_t hash;
    struct avow_bytes rsa;
    struct avow_bytes r, s;
};
enum avow_rc avow_tpm_signature_parse(struct avow_bytes in, struct avow_tpm_signature *out,
                                      struct avow_err *err) AVOW_MUST_CHECK;

#endif
