/* ek_template.h - the endorsement keys that the TCG names, and what opens them. Layer: agent/tpm,
 * internal. Pure; thread-safe. Spec: TCG EK Credential Profile 2.5, 2.2.1.4 (NV indices), B.3
 * (templates L-1 and L-2), B.4 (templates H-1 to H-7), B.6 (policies). */
#ifndef AVOW_AGENT_EK_TEMPLATE_H
#define AVOW_AGENT_EK_TEMPLATE_H

#include "tpm.h"

#include <tss2/tss2_tpm2_types.h>

struct avow_ek_template {
    const char *name;                           /* "L-1" */
    bool high;                                  /* template of the high range */
    TPM2_HANDLE nv_cert, nv_nonce, nv_template; /* nonce 0: none is defined */
    TPMI_ALG_PUBLIC type;
    uint16_t rsa_bits;    /* RSA */
    TPMI_ECC_CURVE curve; /* ECC */
    TPMI_ALG_HASH name_alg;
    uint16_t aes_bits;
};
/* Not for AVOW_TPM_EK_AUTO. */
const struct avow_ek_template *avow_ek_template_of(enum avow_tpm_ek which);
/* The public area that TPM2_CreatePrimary gets where the TPM holds no template of its own. */
TPM2B_PUBLIC avow_ek_template_public(const struct avow_ek_template *e);
/* Puts the vendor's nonce into `unique`, padded with zeros (profile, 2.2.1.5.2). False: it does not
 * fit. */
bool avow_ek_template_set_nonce(TPM2B_PUBLIC *p, struct avow_bytes nonce);
/* Everything of the public area but `unique` is as in `want`. */
bool avow_ek_template_fits(const TPM2B_PUBLIC *p, const TPM2B_PUBLIC *want);

/* How an EK with this public area is used. */
enum avow_ek_auth {
    AVOW_EK_AUTH_POLICY_A, /* PolicySecret(endorsement hierarchy) */
    AVOW_EK_AUTH_POLICY_B, /* PolicyOR(A, PolicyAuthorizeNV(the vendor's index)) */
    AVOW_EK_AUTH_PASSWORD, /* another policy, but userWithAuth: the empty password */
    AVOW_EK_AUTH_NONE      /* we cannot */
};
enum avow_ek_auth avow_ek_auth_of(const TPM2B_PUBLIC *p);
/* The digests of PolicyA and PolicyC, which TPM2_PolicyOR asks for. */
void avow_ek_policy_branches(enum avow_hash alg, TPML_DIGEST *out);

#endif
