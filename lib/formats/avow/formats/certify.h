/* certify.h - parse TPMS_ATTEST of type certify: one key of a TPM vouches for another. Layer:
 * formats. Uses: base only. Pure; thread-safe. Spec: TPM 2.0 Part 2 r1.38, 10.12.8 (TPMS_ATTEST),
 * 10.12.3 (TPMS_CERTIFY_INFO). Input: attacker-controlled. */
#ifndef AVOW_FORMATS_CERTIFY_H
#define AVOW_FORMATS_CERTIFY_H

#include "avow/base/bytes.h"
#include "avow/base/err.h"

#define AVOW_ST_ATTEST_CERTIFY 0x8017u /* Part 2, 6.9 (TPM_ST) */

struct avow_certify {             /* borrows from the input */
    struct avow_bytes extra_data; /* qualifyingData */
    struct avow_bytes name;       /* of the certified key */
};
/* Demands the magic of a TPM and the type certify; proves nothing else: the signature is judged by
 * the caller. Errors: AVOW_LIMIT, AVOW_PARSE (also for trailing bytes). On failure *out is
 * untouched. */
enum avow_rc avow_certify_parse(struct avow_bytes attest, struct avow_certify *out,
                                struct avow_err *err) AVOW_MUST_CHECK;

#endif
