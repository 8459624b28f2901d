/* ima_sig.h - the value of security.ima that holds a signature. Layer: formats. Pure; thread-safe.
 * Spec: linux v6.6 security/integrity/integrity.h (signature_v2_hdr), digsig_asymmetric.c. Input:
 * attacker-controlled. */
#ifndef AVOW_FORMATS_IMA_SIG_H
#define AVOW_FORMATS_IMA_SIG_H

#include "avow/base/bytes.h"
#include "avow/base/err.h"

#define AVOW_IMA_SIG_MAX 1024u /* RSA-4096 has 512 */

enum avow_ima_sig_kind {
    AVOW_IMA_SIG_OF_FILE = 1, /* type 3, version 2: over the digest of the file */
    AVOW_IMA_SIG_OF_VERITY    /* type 6, version 3: over type, algorithm and fs-verity digest */
};
struct avow_ima_sig { /* borrows */
    enum avow_ima_sig_kind kind;
    uint8_t type;    /* as signed in the second kind */
    uint8_t hash_id; /* of the kernel (uapi/linux/hash_info.h): 2 SHA-1, 4 SHA-256, 5 SHA-384, 6
                        SHA-512 */
    uint32_t key_id; /* last four bytes of the key's identifier */
    struct avow_bytes sig; /* RSA PKCS#1 v1.5, or a DER ECDSA-Sig-Value */
};
/* Errors: AVOW_PARSE; AVOW_REFUSED for another type or version (an EVM portable signature, type 5,
 * is one: it is not about the file's digest). On failure *out is untouched. */
enum avow_rc avow_ima_sig_parse(struct avow_bytes xattr, struct avow_ima_sig *out,
                                struct avow_err *err) AVOW_MUST_CHECK;

#endif
