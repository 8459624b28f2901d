#include "keys.h"

#include "avow/formats/tpm_public.h"

#include <string.h>

#include "avow/base/banned.h"

#define COORDINATE 32u

/* TPM 2.0 Part 2 r1.38, 12.2.4 TPMT_PUBLIC. */
static void put_public(struct avow_buf *b, struct avow_bytes spki)
{
    struct avow_bytes point = avow_bytes_make(spki.ptr + spki.len - 2 * COORDINATE, 2 * COORDINATE);
    avow_buf_put_u16be(b, AVOW_TPM_ALG_ECC);
    avow_buf_put_u16be(b, AVOW_HASH_SHA256);
    avow_buf_put_u32be(b, AVOW_TPMA_FIXED_TPM | AVOW_TPMA_FIXED_PARENT |
                              AVOW_TPMA_SENSITIVE_DATA_ORIGIN | AVOW_TPMA_RESTRICTED |
                              AVOW_TPMA_SIGN);
    avow_buf_put_u16be(b, 0); /* no policy */
    avow_buf_put_u16be(b, AVOW_TPM_ALG_NULL);
    avow_buf_put_u16be(b, AVOW_TPM_ALG_ECDSA);
    avow_buf_put_u16be(b, AVOW_HASH_SHA256);
    avow_buf_put_u16be(b, AVOW_TPM_ECC_NIST_P256);
    avow_buf_put_u16be(b, AVOW_TPM_ALG_NULL);
    for (size_t i = 0; i < 2; i++) {
        avow_buf_put_u16be(b, COORDINATE);
        avow_buf_put(b, point.ptr + i * COORDINATE, COORDINATE);
    }
}

static enum avow_rc describe(struct avow_load_key *k, struct avow_err *err)
{
    AVOW_CLEANUP_VAL(avow_buf_deinit) struct avow_buf b;
    struct avow_tpm_name name;
    const struct avow_tpm_name *const chain[] = {&name};
    avow_buf_init(&b, sizeof k->public - 2);
    put_public(&b, avow_privkey_spki(k->key));
    enum avow_rc rc = avow_buf_status(&b, err);
    if (rc)
        return rc;
    avow_put_u16be(k->public, (uint16_t)b.len);
    memcpy(k->public + 2, b.ptr, b.len);
    k->public_len = b.len + 2;
    rc = avow_tpm_name_of(avow_bytes_make(k->public, k->public_len), &name, err);
    if (!rc)
        avow_tpm_qualified_name(chain, 1, &k->signer);
    return rc;
}

enum avow_rc avow_load_key_init(struct avow_load_key *k, struct avow_err *err)
{
    *k = (struct avow_load_key){.key = NULL};
    enum avow_rc rc = avow_privkey_generate(&k->key, err);
    return rc ? rc : describe(k, err);
}

void avow_load_key_deinit(struct avow_load_key *k)
{
    avow_privkey_free(k->key);
    k->key = NULL;
}

enum avow_rc avow_load_key_sign(const struct avow_load_key *k, struct avow_bytes attest,
                                uint8_t out[AVOW_LOAD_SIGNATURE_MAX], size_t *len,
                                struct avow_err *err)
{
    uint8_t sig[AVOW_P256_SIG_LEN];
    enum avow_rc rc = avow_privkey_sign(k->key, attest, sig, err);
    if (rc)
        return rc;
    avow_put_u16be(out, AVOW_TPM_ALG_ECDSA);
    avow_put_u16be(out + 2, AVOW_HASH_SHA256);
    for (size_t i = 0; i < 2; i++) {
        uint8_t *p = out + 4 + i * (2 + COORDINATE);
        avow_put_u16be(p, COORDINATE);
        memcpy(p + 2, sig + i * COORDINATE, COORDINATE);
    }
    *len = 4 + 2 * (2 + COORDINATE);
    return AVOW_OK;
}
