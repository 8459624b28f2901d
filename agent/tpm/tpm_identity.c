#include "tpm_internal.h"

#include <assert.h>
#include <string.h>
#include <tss2/tss2_mu.h>

#include "avow/base/banned.h"

/* TCG EK Credential Profile 2.5, 2.2.1.4: NV indices of the EK certificate's chain. */
#define NV_CHAIN_FIRST 0x01C00100u
#define NV_CHAIN_LAST 0x01C001FFu

void avow_tpm_certs_init(struct avow_tpm_certs *c)
{
    c->count = 0;
    for (size_t i = 0; i < AVOW_TPM_CERTS_MAX; i++)
        avow_buf_init(&c->der[i], AVOW_TPM_CERT_MAX);
}

void avow_tpm_certs_deinit(struct avow_tpm_certs *c)
{
    for (size_t i = 0; i < AVOW_TPM_CERTS_MAX; i++)
        avow_buf_deinit(&c->der[i]);
    c->count = 0;
}

enum avow_rc avow_tpm_ek_certs(struct avow_tpm *t, struct avow_tpm_certs *out, struct avow_err *err)
{
    assert(t->esys);
    enum avow_rc rc = avow_tpm_need_ek(t, err); /* which template */
    if (!rc)
        rc = avow_tpm_nv_cert(t, avow_ek_template_of(t->ek_which)->nv_cert, &out->der[0], err);
    if (rc)
        return rc;
    out->count = out->der[0].len ? 1 : 0;
    if (!out->count)
        return AVOW_OK; /* a chain of no certificate serves nobody */
    TPMS_CAPABILITY_DATA *data = NULL;
    TPMI_YES_NO more = 0;
    TSS2_RC trc =
        Esys_GetCapability(t->esys, ESYS_TR_NONE, ESYS_TR_NONE, ESYS_TR_NONE, TPM2_CAP_HANDLES,
                           NV_CHAIN_FIRST, AVOW_TPM_CERTS_MAX, &more, &data);
    if (trc)
        return avow_tpm_fail(t, trc, "NV indices", err);
    for (UINT32 i = 0; !rc && i < data->data.handles.count && out->count < AVOW_TPM_CERTS_MAX;
         i++) {
        TPM2_HANDLE h = data->data.handles.handle[i];
        if (h < NV_CHAIN_FIRST || h > NV_CHAIN_LAST)
            break; /* the count bounds the answer, not the range: platform certificates follow */
        rc = avow_tpm_nv_cert(t, h, &out->der[out->count], err);
        if (!rc && out->der[out->count].len)
            out->count++;
    }
    Esys_Free(data);
    return rc;
}

/* The credential is not for this EK and AK (Part 3, TPM2_ActivateCredential). */
static bool is_not_ours(TSS2_RC rc)
{
    TPM2_RC base = avow_tpm_rc_base(rc);
    return base == TPM2_RC_INTEGRITY || base == TPM2_RC_SIZE || base == TPM2_RC_VALUE ||
           base == TPM2_RC_ECC_POINT || base == TPM2_RC_INSUFFICIENT;
}

static TSS2_RC activate(struct avow_tpm *t, const TPM2B_ID_OBJECT *id,
                        const TPM2B_ENCRYPTED_SECRET *enc, TPM2B_DIGEST **out)
{
    ESYS_TR session = ESYS_TR_NONE;
    TSS2_RC rc = avow_tpm_ek_session(t, &session);
    if (!rc)
        rc = Esys_ActivateCredential(t->esys, t->ak.handle, t->ek.handle, ESYS_TR_PASSWORD, session,
                                     ESYS_TR_NONE, id, enc, out);
    avow_tpm_flush(t, &session);
    return rc;
}

enum avow_rc avow_tpm_activate(struct avow_tpm *t, struct avow_bytes id_object,
                               struct avow_bytes encrypted_secret, struct avow_buf *secret,
                               struct avow_err *err)
{
    TPM2B_ID_OBJECT id = {0};
    TPM2B_ENCRYPTED_SECRET enc = {0};
    size_t at_id = 0, at_enc = 0;
    if (Tss2_MU_TPM2B_ID_OBJECT_Unmarshal(id_object.ptr, id_object.len, &at_id, &id) ||
        at_id != id_object.len ||
        Tss2_MU_TPM2B_ENCRYPTED_SECRET_Unmarshal(encrypted_secret.ptr, encrypted_secret.len,
                                                 &at_enc, &enc) ||
        at_enc != encrypted_secret.len)
        return avow_err_set(err, AVOW_PARSE, 0, "malformed credential");
    enum avow_rc rc = avow_tpm_need_ak(t, err);
    if (!rc)
        rc = avow_tpm_need_ek(t, err);
    if (rc)
        return rc;
    TPM2B_DIGEST *got = NULL;
    TSS2_RC trc = activate(t, &id, &enc, &got);
    if (trc && avow_tpm_rc_is_full(trc)) {
        avow_tpm_flush_leftovers(t);
        rc = avow_tpm_need_ak(t, err);
        if (!rc)
            rc = avow_tpm_need_ek(t, err);
        if (rc)
            return rc;
        trc = activate(t, &id, &enc, &got);
    }
    if (trc) {
        enum avow_rc mapped = is_not_ours(trc) ? AVOW_REFUSED : AVOW_TPM;
        (void)avow_tpm_fail(t, trc, "TPM2_ActivateCredential", err);
        if (err)
            err->rc = mapped;
        return mapped;
    }
    avow_buf_put(secret, got->buffer, got->size <= sizeof got->buffer ? got->size : 0);
    avow_wipe(got, sizeof *got);
    Esys_Free(got);
    return avow_buf_status(secret, err);
}
