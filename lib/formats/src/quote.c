/* quote.c - see quote.h. */
#include "avow/formats/quote.h"

#include "avow/formats/tpm_public.h"

#include "avow/base/banned.h"

#define NAME_MAX_LEN 66u    /* nameAlg and the largest digest (Part 2, 10.5.3 TPM2B_NAME) */
#define EXTRA_DATA_MAX 66u  /* sizeof(TPMT_HA) (Part 2, 10.4.3 TPM2B_DATA) */
#define DIGEST_MAX_LEN 64u  /* Part 2, 10.4.2 TPM2B_DIGEST */
#define SELECT_BYTES_MAX 4u /* PCR 0-31; PC Client TPMs have 3 */

/* Part 2, 10.6.2 TPMS_PCR_SELECTION. */
static bool read_selection(struct avow_rd *r, struct avow_pcr_selection *out)
{
    out->hash = avow_rd_u16be(r);
    out->size = avow_rd_u8(r);
    out->pcrs = 0;
    if (out->size > SELECT_BYTES_MAX)
        return false;
    for (unsigned i = 0; i < out->size; i++)
        out->pcrs |= (uint32_t)avow_rd_u8(r) << (8 * i);
    return true;
}

/* Part 2, 10.12.1 TPMS_QUOTE_INFO. */
static bool read_quote_info(struct avow_rd *r, struct avow_quote *q)
{
    uint32_t count = avow_rd_u32be(r);
    if (r->bad || count > AVOW_QUOTE_SELECTIONS_MAX)
        return false;
    for (uint32_t i = 0; i < count; i++) {
        if (!read_selection(r, &q->selections[i]))
            return false;
    }
    q->selections_count = count;
    q->pcr_digest = avow_rd_tpm2b(r, DIGEST_MAX_LEN);
    return true;
}

enum avow_rc avow_quote_parse(struct avow_bytes attest, struct avow_quote *out,
                              struct avow_err *err)
{
    if (attest.len > AVOW_ATTEST_MAX)
        return avow_err_set(err, AVOW_LIMIT, 0, "attest has %zu bytes, at most %u are read",
                            attest.len, AVOW_ATTEST_MAX);
    struct avow_quote q = {0};
    struct avow_rd r = avow_rd_make(attest);
    q.magic = avow_rd_u32be(&r);
    q.type = avow_rd_u16be(&r);
    q.qualified_signer = avow_rd_tpm2b(&r, NAME_MAX_LEN);
    q.extra_data = avow_rd_tpm2b(&r, EXTRA_DATA_MAX);
    q.clock = avow_rd_u64be(&r); /* Part 2, 10.11.1 TPMS_CLOCK_INFO */
    q.reset_count = avow_rd_u32be(&r);
    q.restart_count = avow_rd_u32be(&r);
    uint8_t safe = avow_rd_u8(&r);
    q.safe = safe == 1;
    q.firmware = avow_rd_u64be(&r);
    if (r.bad || safe > 1) /* Part 2, 9.2 TPMI_YES_NO */
        return avow_err_set(err, AVOW_PARSE, 0, "attest: truncated or malformed header");
    if (q.type == AVOW_ST_ATTEST_QUOTE && (!read_quote_info(&r, &q) || !avow_rd_done(&r)))
        return avow_err_set(err, AVOW_PARSE, 0, "attest: malformed quote after %td bytes",
                            r.p - attest.ptr);
    *out = q;
    return AVOW_OK;
}

enum avow_rc avow_tpm_signature_parse(struct avow_bytes in, struct avow_tpm_signature *out,
                                      struct avow_err *err)
{
    if (in.len > AVOW_SIGNATURE_MAX)
        return avow_err_set(err, AVOW_LIMIT, 0, "signature has %zu bytes, at most %u are read",
                            in.len, AVOW_SIGNATURE_MAX);
    struct avow_tpm_signature s = {0};
    struct avow_rd r = avow_rd_make(in);
    s.scheme = avow_rd_u16be(&r);
    s.hash = avow_rd_u16be(&r);
    switch (s.scheme) {
    case AVOW_TPM_ALG_RSASSA: /* Part 2, 11.3.1 */
    case AVOW_TPM_ALG_RSAPSS:
        s.rsa = avow_rd_tpm2b(&r, AVOW_SIGNATURE_MAX);
        break;
    case AVOW_TPM_ALG_ECDSA: /* Part 2, 11.3.2; sizes are judged by the verification */
        s.r = avow_rd_tpm2b(&r, AVOW_SIGNATURE_MAX);
        s.s = avow_rd_tpm2b(&r, AVOW_SIGNATURE_MAX);
        break;
    default:
        return avow_err_set(err, AVOW_PARSE, 0, "signature scheme 0x%04x is not known", s.scheme);
    }
    if (!avow_rd_done(&r))
        return avow_err_set(err, AVOW_PARSE, 0, "signature: truncated or trailing bytes");
    *out = s;
    return AVOW_OK;
}
