#include "tpm_internal.h"

#include <assert.h>
#include <string.h>
#include <tss2/tss2_mu.h>

#include "avow/base/banned.h"

#define SELECT_BYTES (AVOW_TPM_PCRS / 8u)

static bool hash_is_known(TPMI_ALG_HASH alg)
{
    return avow_hash_len((enum avow_hash)alg) != 0;
}

static bool all_selected(const TPMS_PCR_SELECTION *s)
{
    if (s->sizeofSelect < SELECT_BYTES || s->sizeofSelect > sizeof s->pcrSelect)
        return false;
    for (unsigned i = 0; i < SELECT_BYTES; i++)
        if (s->pcrSelect[i] != 0xFF)
            return false;
    return true;
}

enum avow_rc avow_tpm_banks_read(struct avow_tpm *t, struct avow_tpm_banks *out,
                                 struct avow_err *err)
{
    assert(t->esys);
    TPMS_CAPABILITY_DATA *data = NULL;
    TPMI_YES_NO more = 0;
    TSS2_RC rc = Esys_GetCapability(t->esys, ESYS_TR_NONE, ESYS_TR_NONE, ESYS_TR_NONE,
                                    TPM2_CAP_PCRS, 0, 1, &more, &data);
    if (rc)
        return avow_tpm_fail(t, rc, "PCR banks", err);
    const TPML_PCR_SELECTION *list = &data->data.assignedPCR;
    *out = (struct avow_tpm_banks){.count = 0};
    for (UINT32 i = 0; i < list->count && i < TPM2_NUM_PCR_BANKS; i++)
        if (hash_is_known(list->pcrSelections[i].hash) && all_selected(&list->pcrSelections[i]) &&
            out->count < AVOW_TPM_BANKS_MAX)
            out->list[out->count++] = (enum avow_hash)list->pcrSelections[i].hash;
    Esys_Free(data);
    return AVOW_OK;
}

bool avow_tpm_bank_is_active(const struct avow_tpm_banks *banks, enum avow_hash bank)
{
    for (size_t i = 0; i < banks->count; i++)
        if (banks->list[i] == bank)
            return true;
    return false;
}

bool avow_tpm_bank_best(const struct avow_tpm_banks *banks, enum avow_hash *out)
{
    static const enum avow_hash order[] = {AVOW_HASH_SHA256, AVOW_HASH_SHA384, AVOW_HASH_SHA512,
                                           AVOW_HASH_SHA1};
    for (size_t i = 0; i < AVOW_ARRAY_LEN(order); i++) {
        if (avow_tpm_bank_is_active(banks, order[i])) {
            *out = order[i];
            return true;
        }
    }
    return false;
}

static TPML_PCR_SELECTION select_pcrs(enum avow_hash bank, uint32_t mask)
{
    TPML_PCR_SELECTION s = {.count = 1};
    s.pcrSelections[0].hash = (TPMI_ALG_HASH)bank;
    s.pcrSelections[0].sizeofSelect = SELECT_BYTES;
    for (unsigned i = 0; i < SELECT_BYTES; i++)
        s.pcrSelections[0].pcrSelect[i] = (BYTE)(mask >> (8 * i));
    return s;
}

/* Copies what one TPM2_PCR_Read returned (at most 8 values, in index order) and returns which; 0 if
 * that is absurd. */
static uint32_t take_values(const TPML_PCR_SELECTION *got, const TPML_DIGEST *values,
                            struct avow_tpm_pcrs *out)
{
    size_t len = avow_hash_len(out->bank);
    uint32_t mask = 0, n = 0;
    if (got->count != 1 || got->pcrSelections[0].hash != (TPMI_ALG_HASH)out->bank ||
        got->pcrSelections[0].sizeofSelect < SELECT_BYTES)
        return 0;
    for (unsigned pcr = 0; pcr < AVOW_TPM_PCRS; pcr++) {
        if (!(got->pcrSelections[0].pcrSelect[pcr / 8] & (1u << (pcr % 8))))
            continue;
        if (n >= values->count || n >= AVOW_ARRAY_LEN(values->digests) ||
            values->digests[n].size != len)
            return 0;
        memcpy(out->values[pcr], values->digests[n++].buffer, len);
        mask |= 1u << pcr;
    }
    return mask;
}

enum avow_rc avow_tpm_pcr_read(struct avow_tpm *t, enum avow_hash bank, struct avow_tpm_pcrs *out,
                               struct avow_err *err)
{
    assert(t->esys);
    struct avow_tpm_pcrs pcrs = {.bank = bank};
    uint32_t left = (1u << AVOW_TPM_PCRS) - 1;
    while (left) {
        const TPML_PCR_SELECTION want = select_pcrs(bank, left);
        TPML_PCR_SELECTION *got = NULL;
        TPML_DIGEST *values = NULL;
        TSS2_RC rc = Esys_PCR_Read(t->esys, ESYS_TR_NONE, ESYS_TR_NONE, ESYS_TR_NONE, &want, NULL,
                                   &got, &values);
        if (rc)
            return avow_tpm_fail(t, rc, "TPM2_PCR_Read", err);
        uint32_t mask = take_values(got, values, &pcrs) & left;
        Esys_Free(got);
        Esys_Free(values);
        if (!mask) /* an inactive bank answers with nothing */
            return avow_err_set(err, AVOW_NOTFOUND, 0, "PCR bank %s is not active",
                                avow_hash_name(bank) ? avow_hash_name(bank) : "?");
        left &= ~mask;
    }
    *out = pcrs;
    return AVOW_OK;
}

enum avow_rc avow_tpm_pcr_extend(struct avow_tpm *t, uint32_t pcr,
                                 const struct avow_tpm_extend *list, size_t n, struct avow_err *err)
{
    assert(t->esys && pcr < AVOW_TPM_PCRS && n <= TPM2_NUM_PCR_BANKS);
    TPML_DIGEST_VALUES values = {.count = (UINT32)n};
    for (size_t i = 0; i < n; i++) {
        values.digests[i].hashAlg = (TPMI_ALG_HASH)list[i].bank;
        assert(list[i].digest.len <= sizeof values.digests[i].digest);
        memcpy(&values.digests[i].digest, list[i].digest.bytes, list[i].digest.len);
    }
    TSS2_RC rc = Esys_PCR_Extend(t->esys, (ESYS_TR)(ESYS_TR_PCR0 + pcr), ESYS_TR_PASSWORD,
                                 ESYS_TR_NONE, ESYS_TR_NONE, &values);
    return rc ? avow_tpm_fail(t, rc, "TPM2_PCR_Extend", err) : AVOW_OK;
}

static enum avow_rc put_quote(const TPM2B_ATTEST *quoted, const TPMT_SIGNATURE *sig,
                              struct avow_buf *attest, struct avow_buf *signature,
                              struct avow_err *err)
{
    uint8_t bytes[sizeof(TPMT_SIGNATURE)];
    size_t len = 0;
    TSS2_RC rc = Tss2_MU_TPMT_SIGNATURE_Marshal(sig, bytes, sizeof bytes, &len);
    if (rc || quoted->size > sizeof quoted->attestationData)
        return avow_err_set(err, AVOW_TPM, (int64_t)rc, "the TPM's quote cannot be encoded");
    avow_buf_put(attest, quoted->attestationData, quoted->size);
    avow_buf_put(signature, bytes, len);
    enum avow_rc status = avow_buf_status(attest, err);
    return status ? status : avow_buf_status(signature, err);
}

enum avow_rc avow_tpm_quote(struct avow_tpm *t, enum avow_hash bank,
                            const uint8_t qualifying_data[32], struct avow_buf *attest,
                            struct avow_buf *signature, struct avow_err *err)
{
    enum avow_rc rc = avow_tpm_need_ak(t, err);
    if (rc)
        return rc;
    TPM2B_DATA extra = {.size = AVOW_SHA256_LEN};
    memcpy(extra.buffer, qualifying_data, AVOW_SHA256_LEN);
    const TPMT_SIG_SCHEME scheme = {.scheme = TPM2_ALG_NULL}; /* the AK's own */
    const TPML_PCR_SELECTION all = select_pcrs(bank, (1u << AVOW_TPM_PCRS) - 1);
    TPM2B_ATTEST *quoted = NULL;
    TPMT_SIGNATURE *sig = NULL;
    TSS2_RC trc = Esys_Quote(t->esys, t->ak.handle, ESYS_TR_PASSWORD, ESYS_TR_NONE, ESYS_TR_NONE,
                             &extra, &scheme, &all, &quoted, &sig);
    if (trc)
        return avow_tpm_fail(t, trc, "TPM2_Quote", err);
    rc = put_quote(quoted, sig, attest, signature, err);
    Esys_Free(quoted);
    Esys_Free(sig);
    return rc;
}
