/* certify.c - see certify.h. */
#include "avow/formats/certify.h"

#include "avow/formats/quote.h"

#include "avow/base/banned.h"

#define NAME_MAX_LEN 66u   /* nameAlg and the largest digest (Part 2, 10.5.3 TPM2B_NAME) */
#define EXTRA_DATA_MAX 66u /* sizeof(TPMT_HA) (Part 2, 10.4.3 TPM2B_DATA) */
#define CLOCK_INFO_LEN 17u /* Part 2, 10.11.1 TPMS_CLOCK_INFO */
#define FIRMWARE_LEN 8u    /* Part 2, 10.12.8 firmwareVersion */

enum avow_rc avow_certify_parse(struct avow_bytes attest, struct avow_certify *out,
                                struct avow_err *err)
{
    if (attest.len > AVOW_ATTEST_MAX)
        return avow_err_set(err, AVOW_LIMIT, 0, "attest has %zu bytes, at most %u are read",
                            attest.len, AVOW_ATTEST_MAX);
    struct avow_certify c = {0};
    struct avow_rd r = avow_rd_make(attest);
    uint32_t magic = avow_rd_u32be(&r);
    uint16_t type = avow_rd_u16be(&r);
    if (r.bad || magic != AVOW_TPM_GENERATED)
        return avow_err_set(err, AVOW_PARSE, 0, "attest: not made by a TPM (its magic is 0x%08x)",
                            (unsigned)magic);
    if (type != AVOW_ST_ATTEST_CERTIFY)
        return avow_err_set(err, AVOW_PARSE, 0, "attest: of type 0x%04x, not TPM2_Certify's",
                            (unsigned)type);
    avow_rd_tpm2b(&r, NAME_MAX_LEN); /* the signer's qualified name: a claim like the rest */
    c.extra_data = avow_rd_tpm2b(&r, EXTRA_DATA_MAX);
    avow_rd_take(&r, CLOCK_INFO_LEN + FIRMWARE_LEN);
    c.name = avow_rd_tpm2b(&r, NAME_MAX_LEN);
    avow_rd_tpm2b(&r, NAME_MAX_LEN); /* qualified name */
    if (!avow_rd_done(&r))
        return avow_err_set(err, AVOW_PARSE, 0, "attest: truncated or trailing bytes");
    *out = c;
    return AVOW_OK;
}
