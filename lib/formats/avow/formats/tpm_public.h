/* tpm_public.h - parse TPM2B_PUBLIC and TPMT_PUBLIC. Layer: formats. Uses: base only. No I/O, no
 * clock, no crypto; thread-safe. Spec: TPM 2.0 Part 2 r1.38, 12.2.4 (TPMT_PUBLIC), 12.2.5
 * (TPM2B_PUBLIC). Input: attacker-controlled. */
#ifndef AVOW_FORMATS_TPM_PUBLIC_H
#define AVOW_FORMATS_TPM_PUBLIC_H

#include "avow/base/bytes.h"
#include "avow/base/err.h"

#define AVOW_TPM_PUBLIC_MAX 1024u /* PROTOCOL B6 */

/* TPM_ALG_ID (Part 2, 6.3, table 9) and TPM_ECC_CURVE (6.4, table 10): those that we name. */
enum {
    AVOW_TPM_ALG_RSA = 0x0001,
    AVOW_TPM_ALG_AES = 0x0006,
    AVOW_TPM_ALG_NULL = 0x0010,
    AVOW_TPM_ALG_RSASSA = 0x0014,
    AVOW_TPM_ALG_RSAPSS = 0x0016,
    AVOW_TPM_ALG_ECDSA = 0x0018,
    AVOW_TPM_ALG_ECC = 0x0023,
    AVOW_TPM_ALG_CFB = 0x0043,
    AVOW_TPM_ECC_NIST_P256 = 0x0003,
    AVOW_TPM_ECC_NIST_P384 = 0x0004,
    AVOW_TPM_ECC_NIST_P521 = 0x0005
};
/* TPMA_OBJECT (Part 2, 8.3): those that we judge. */
#define AVOW_TPMA_FIXED_TPM 0x00000002u
#define AVOW_TPMA_ST_CLEAR 0x00000004u
#define AVOW_TPMA_FIXED_PARENT 0x00000010u
#define AVOW_TPMA_SENSITIVE_DATA_ORIGIN 0x00000020u
#define AVOW_TPMA_USER_WITH_AUTH 0x00000040u
#define AVOW_TPMA_ADMIN_WITH_POLICY 0x00000080u
#define AVOW_TPMA_NO_DA 0x00000400u
#define AVOW_TPMA_ENCRYPTED_DUPLICATION 0x00000800u
#define AVOW_TPMA_RESTRICTED 0x00010000u
#define AVOW_TPMA_DECRYPT 0x00020000u
#define AVOW_TPMA_SIGN 0x00040000u

struct avow_tpm_public { /* borrows from the input */
    uint16_t type;       /* AVOW_TPM_ALG_RSA or _ECC */
    uint16_t name_alg;   /* TPM_ALG_ID, any value */
    uint32_t attributes;
    struct avow_bytes auth_policy;
    uint16_t sym_alg, sym_bits, sym_mode; /* AVOW_TPM_ALG_NULL, 0, 0 when absent */
    uint16_t scheme;                      /* AVOW_TPM_ALG_NULL or a signing scheme */
    uint16_t scheme_hash;                 /* 0 when scheme is null */
    uint16_t rsa_bits;                    /* RSA */
    uint32_t rsa_exponent;                /* 0 means 65537 */
    struct avow_bytes rsa_modulus;
    uint16_t curve; /* ECC */
    struct avow_bytes ecc_x, ecc_y;
    struct avow_bytes tpmt; /* the TPMT_PUBLIC that the name is computed over */
};

/* Parses one whole TPM2B_PUBLIC, of type RSA or ECC; nothing may follow. Proves nothing: see
 * crypto/ak.h. Errors: AVOW_LIMIT, AVOW_PARSE. On failure *out is untouched. */
enum avow_rc avow_tpm_public_parse(struct avow_bytes in, struct avow_tpm_public *out,
                                   struct avow_err *err) AVOW_MUST_CHECK;
/* The same for one whole TPMT_PUBLIC. */
enum avow_rc avow_tpmt_public_parse(struct avow_bytes in, struct avow_tpm_public *out,
                                    struct avow_err *err) AVOW_MUST_CHECK;

#endif
