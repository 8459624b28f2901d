#include "tpm_internal.h"

#include <assert.h>
#include <string.h>
#include <tss2/tss2_mu.h>

#include "avow/base/banned.h"

#define NV_CHUNK 512u /* every TPM can (TPM2_PT_NV_BUFFER_MAX is 512 or more) */

enum avow_rc avow_tpm_find(struct avow_tpm *t, TPM2_HANDLE handle, ESYS_TR *out,
                           struct avow_err *err)
{
    TSS2_RC rc =
        Esys_TR_FromTPMPublic(t->esys, handle, ESYS_TR_NONE, ESYS_TR_NONE, ESYS_TR_NONE, out);
    if (!rc)
        return AVOW_OK;
    *out = ESYS_TR_NONE;
    if (avow_tpm_rc_base(rc) == TPM2_RC_HANDLE)
        return avow_err_set(err, AVOW_NOTFOUND, (int64_t)rc, "the TPM has no object 0x%08x",
                            (unsigned)handle);
    return avow_tpm_fail(t, rc, "look-up of a handle", err);
}

/* NV indices are often larger than the certificate in them. Length of the DER SEQUENCE, 0 if there
 * is none. */
static size_t der_length(struct avow_bytes in)
{
    struct avow_rd r = avow_rd_make(in);
    if (avow_rd_u8(&r) != 0x30)
        return 0;
    size_t len = avow_rd_u8(&r), head = 2;
    if (len == 0x81) {
        len = avow_rd_u8(&r);
        head = 3;
    } else if (len == 0x82) {
        len = avow_rd_u16be(&r);
        head = 4;
    } else if (len >= 0x80) {
        return 0;
    }
    return !r.bad && len <= in.len - head ? head + len : 0;
}

/* Whose authorisation reads the index: its own, empty password or the owner's. */
static ESYS_TR nv_reader(const TPM2B_NV_PUBLIC *pub, ESYS_TR nv)
{
    return pub->nvPublic.attributes & TPMA_NV_AUTHREAD ? nv : ESYS_TR_RH_OWNER;
}

static TSS2_RC nv_read_all(struct avow_tpm *t, ESYS_TR nv, ESYS_TR reader, size_t size,
                           struct avow_buf *out)
{
    while (out->len < size && !out->failed) {
        size_t n = size - out->len < NV_CHUNK ? size - out->len : NV_CHUNK;
        TPM2B_MAX_NV_BUFFER *data = NULL;
        TSS2_RC rc = Esys_NV_Read(t->esys, reader, nv, ESYS_TR_PASSWORD, ESYS_TR_NONE, ESYS_TR_NONE,
                                  (UINT16)n, (UINT16)out->len, &data);
        if (rc)
            return rc;
        size_t got = data->size;
        if (got && got <= n)
            avow_buf_put(out, data->buffer, got);
        Esys_Free(data);
        if (!got || got > n)
            return TSS2_ESYS_RC_MALFORMED_RESPONSE;
    }
    return TSS2_RC_SUCCESS;
}

enum avow_rc avow_tpm_nv_read(struct avow_tpm *t, TPM2_HANDLE index, struct avow_buf *out,
                              struct avow_err *err)
{
    ESYS_TR nv = ESYS_TR_NONE;
    TPM2B_NV_PUBLIC *pub = NULL;
    assert(t->esys && !out->len);
    enum avow_rc rc = avow_tpm_find(t, index, &nv, err);
    if (rc)
        return rc == AVOW_NOTFOUND ? AVOW_OK : rc;
    TSS2_RC trc =
        Esys_NV_ReadPublic(t->esys, nv, ESYS_TR_NONE, ESYS_TR_NONE, ESYS_TR_NONE, &pub, NULL);
    size_t size = trc ? 0 : pub->nvPublic.dataSize;
    if (!trc && size <= out->limit)
        trc = nv_read_all(t, nv, nv_reader(pub, nv), size, out);
    Esys_Free(pub);
    Esys_TR_Close(t->esys, &nv);
    if (out->failed)
        return avow_buf_status(out, err);
    if (trc)
        out->len = 0;
    if (trc & TSS2_RC_LAYER_MASK) /* the connection, not the TPM */
        return avow_tpm_fail(t, trc, "TPM2_NV_Read", err);
    return AVOW_OK;
}

enum avow_rc avow_tpm_nv_cert(struct avow_tpm *t, TPM2_HANDLE index, struct avow_buf *out,
                              struct avow_err *err)
{
    enum avow_rc rc = avow_tpm_nv_read(t, index, out, err);
    if (!rc)
        out->len = der_length(avow_buf_bytes(out));
    return rc;
}
