#include "tpm_internal.h"

#include <assert.h>
#include <string.h>
#include <tss2/tss2_mu.h>

#include "avow/base/banned.h"

/* The object at the handle; *out stays open. */
static enum avow_rc open_key(struct avow_tpm *t, uint32_t handle, ESYS_TR *out,
                             struct avow_buf *public_area, struct avow_err *err)
{
    TPM2B_PUBLIC *pub = NULL;
    enum avow_rc rc = avow_tpm_find(t, handle, out, err);
    if (rc)
        return rc;
    TSS2_RC trc =
        Esys_ReadPublic(t->esys, *out, ESYS_TR_NONE, ESYS_TR_NONE, ESYS_TR_NONE, &pub, NULL, NULL);
    if (trc) {
        Esys_TR_Close(t->esys, out);
        return avow_tpm_fail(t, trc, "TPM2_ReadPublic", err);
    }
    rc = avow_tpm_put_public(pub, public_area, err);
    Esys_Free(pub);
    if (rc)
        Esys_TR_Close(t->esys, out);
    return rc;
}

enum avow_rc avow_tpm_key_public(struct avow_tpm *t, uint32_t handle, struct avow_buf *public_area,
                                 struct avow_err *err)
{
    ESYS_TR key = ESYS_TR_NONE;
    assert(t->esys);
    enum avow_rc rc = open_key(t, handle, &key, public_area, err);
    if (!rc)
        Esys_TR_Close(t->esys, &key);
    return rc;
}

enum avow_rc avow_tpm_key_cert(struct avow_tpm *t, uint32_t index, struct avow_buf *der,
                               struct avow_err *err)
{
    assert(t->esys);
    enum avow_rc rc = avow_tpm_nv_cert(t, index, der, err);
    if (!rc && !der->len)
        return avow_err_set(err, AVOW_NOTFOUND, 0, "NV index 0x%08x: there is no certificate in it",
                            (unsigned)index);
    return rc;
}

static enum avow_rc put_certified(const TPM2B_ATTEST *attest, const TPMT_SIGNATURE *sig,
                                  struct avow_tpm_certified *out, struct avow_err *err)
{
    uint8_t bytes[sizeof(TPMT_SIGNATURE)];
    size_t len = 0;
    TSS2_RC trc = Tss2_MU_TPMT_SIGNATURE_Marshal(sig, bytes, sizeof bytes, &len);
    if (trc || attest->size > sizeof attest->attestationData)
        return avow_err_set(err, AVOW_TPM, (int64_t)trc, "TPM2_Certify: malformed answer");
    avow_buf_put(&out->attest, attest->attestationData, attest->size);
    avow_buf_put(&out->signature, bytes, len);
    enum avow_rc rc = avow_buf_status(&out->attest, err);
    return rc ? rc : avow_buf_status(&out->signature, err);
}

/* Both keys are used with their empty password: an AK of ours has no other way for the role that
 * TPM2_Certify asks for (Part 1, 19.2: no adminWithPolicy), and IAKs have userWithAuth. */
static enum avow_rc certify(struct avow_tpm *t, ESYS_TR key, const uint8_t qualifying[32],
                            struct avow_tpm_certified *out, struct avow_err *err)
{
    TPM2B_DATA extra = {.size = AVOW_SHA256_LEN};
    const TPMT_SIG_SCHEME scheme = {.scheme = TPM2_ALG_NULL}; /* the key's own */
    TPM2B_ATTEST *attest = NULL;
    TPMT_SIGNATURE *sig = NULL;
    memcpy(extra.buffer, qualifying, AVOW_SHA256_LEN);
    TSS2_RC trc = Esys_Certify(t->esys, t->ak.handle, key, ESYS_TR_PASSWORD, ESYS_TR_PASSWORD,
                               ESYS_TR_NONE, &extra, &scheme, &attest, &sig);
    if (trc)
        return avow_tpm_fail(t, trc, "TPM2_Certify", err);
    enum avow_rc rc = put_certified(attest, sig, out, err);
    Esys_Free(attest);
    Esys_Free(sig);
    return rc;
}

void avow_tpm_certified_init(struct avow_tpm_certified *c)
{
    avow_buf_init(&c->public_area, sizeof(TPM2B_PUBLIC));
    avow_buf_init(&c->attest, sizeof(TPMS_ATTEST));
    avow_buf_init(&c->signature, sizeof(TPMT_SIGNATURE));
}

void avow_tpm_certified_deinit(struct avow_tpm_certified *c)
{
    avow_buf_deinit(&c->public_area);
    avow_buf_deinit(&c->attest);
    avow_buf_deinit(&c->signature);
}

enum avow_rc avow_tpm_certify_ak(struct avow_tpm *t, uint32_t handle, const uint8_t qualifying[32],
                                 struct avow_tpm_certified *out, struct avow_err *err)
{
    ESYS_TR key = ESYS_TR_NONE;
    enum avow_rc rc = avow_tpm_need_ak(t, err);
    if (!rc)
        rc = open_key(t, handle, &key, &out->public_area, err);
    if (rc)
        return rc;
    rc = certify(t, key, qualifying, out, err);
    if (t->esys) /* it failed, and the connection is gone */
        Esys_TR_Close(t->esys, &key);
    return rc;
}
