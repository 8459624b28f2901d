/* dsse.c - see dsse.h. */
#include "avow/crypto/dsse.h"

#include "avow/base/cleanup.h"
#include "avow/base/hex.h"
#include "avow/formats/dsse.h"

#include <stdio.h>

#include "avow/base/banned.h"

#define DER_SEQUENCE 0x30u /* X.690, 8.9 */
#define DER_INTEGER 0x02u  /* X.690, 8.3 */
#define PEM_MAX 2048u
#define PAE_HEAD_MAX 96u

/* DSSE v1.0.2, "Signature Definition": "DSSEv1" SP LEN(type) SP type SP LEN(body) SP body. */
static struct avow_bytes pae_head(size_t payload_len, char out[PAE_HEAD_MAX])
{
    int n = snprintf(out, PAE_HEAD_MAX, "DSSEv1 %zu %s %zu ", sizeof AVOW_DSSE_PAYLOAD_TYPE - 1,
                     AVOW_DSSE_PAYLOAD_TYPE, payload_len);
    return avow_bytes_make(out, n < 0 ? 0 : (size_t)n);
}

void avow_dsse_pae_sha256(struct avow_bytes payload, uint8_t out[32])
{
    char head[PAE_HEAD_MAX];
    const struct avow_bytes pieces[] = {pae_head(payload.len, head), payload};
    avow_sha256_pieces(pieces, AVOW_ARRAY_LEN(pieces), out);
}

/* X.690, 8.1.3 and 10.1: the shortest length; two bytes hold any ECDSA signature. */
static size_t der_len(struct avow_rd *r, uint8_t tag)
{
    if (avow_rd_u8(r) != tag)
        r->bad = true;
    size_t len = avow_rd_u8(r);
    if (len == 0x81) {
        len = avow_rd_u8(r);
        if (len < 0x80)
            r->bad = true;
    } else if (len > 0x7F) {
        r->bad = true;
    }
    return len;
}

/* A positive INTEGER in its shortest form, without the zero that keeps it positive. */
static struct avow_bytes der_integer(struct avow_rd *r)
{
    struct avow_bytes v = avow_rd_take(r, der_len(r, DER_INTEGER));
    if (r->bad || !v.len || v.ptr[0] & 0x80 || (v.len > 1 && !v.ptr[0] && !(v.ptr[1] & 0x80))) {
        r->bad = true;
        return (struct avow_bytes){NULL, 0};
    }
    return v.len > 1 && !v.ptr[0] ? avow_bytes_make(v.ptr + 1, v.len - 1) : v;
}

/* RFC 3279, 2.2.3: Ecdsa-Sig-Value. */
static bool ecdsa_sig(struct avow_bytes der, struct avow_sig *out)
{
    struct avow_rd r = avow_rd_make(der);
    size_t len = der_len(&r, DER_SEQUENCE);
    if (len != avow_rd_left(&r))
        return false;
    struct avow_bytes a = der_integer(&r), b = der_integer(&r);
    if (!avow_rd_done(&r))
        return false;
    *out = (struct avow_sig){.scheme = AVOW_SIG_ECDSA, .hash = AVOW_HASH_SHA256, .r = a, .s = b};
    return true;
}

static bool verifies(const struct avow_pubkey *key, const struct avow_digest *d,
                     struct avow_bytes sig)
{
    struct avow_sig s = {.hash = AVOW_HASH_SHA256, .rsa = sig};
    if (avow_pubkey_kind(key) != AVOW_KEY_RSA)
        return ecdsa_sig(sig, &s) && avow_pubkey_verify_tpm_digest(key, &s, d);
    s.scheme = AVOW_SIG_RSASSA;
    if (avow_pubkey_verify_tpm_digest(key, &s, d))
        return true;
    s.scheme = AVOW_SIG_RSAPSS;
    return avow_pubkey_verify_tpm_digest(key, &s, d);
}

bool avow_dsse_verify(const uint8_t pae_sha256[32], struct avow_bytes sigs,
                      const struct avow_pubkey *const *keys, size_t n, size_t *which)
{
    struct avow_digest d = {.len = AVOW_SHA256_LEN};
    memcpy(d.bytes, pae_sha256, AVOW_SHA256_LEN);
    for (size_t i = 0; i < AVOW_DSSE_SIGNATURES_MAX; i++) {
        struct avow_bytes sig = avow_dsse_sig(sigs, i);
        for (size_t k = 0; k < n && sig.len; k++) {
            if (!verifies(keys[k], &d, sig))
                continue;
            if (which)
                *which = k;
            return true;
        }
    }
    return false;
}

/* An INTEGER of 32 bytes in its shortest form. */
static void put_integer(struct avow_buf *out, const uint8_t v[32])
{
    size_t skip = 0;
    while (skip < 31 && !v[skip])
        skip++;
    bool zero = v[skip] & 0x80;
    avow_buf_put_u8(out, DER_INTEGER);
    avow_buf_put_u8(out, (uint8_t)(32 - skip + zero));
    if (zero)
        avow_buf_put_u8(out, 0);
    avow_buf_put(out, v + skip, 32 - skip);
}

static enum avow_rc key_id(const struct avow_privkey *key, char hex[65], struct avow_err *err)
{
    AVOW_CLEANUP(avow_pubkey_free) struct avow_pubkey *pub = NULL;
    AVOW_CLEANUP_VAL(avow_buf_deinit) struct avow_buf pem;
    uint8_t sha256[32];
    avow_buf_init(&pem, PEM_MAX);
    enum avow_rc rc = avow_pubkey_from_spki(avow_privkey_spki(key), &pub, err);
    if (!rc)
        rc = avow_pubkey_pem(pub, &pem, err);
    if (rc)
        return rc;
    avow_sha256(avow_buf_bytes(&pem), sha256);
    avow_hex_encode(hex, AVOW_BYTES_OF(sha256));
    return AVOW_OK;
}

enum avow_rc avow_dsse_sign(const struct avow_privkey *key, struct avow_bytes payload,
                            struct avow_buf *out, struct avow_err *err)
{
    AVOW_CLEANUP_VAL(avow_buf_deinit) struct avow_buf der;
    AVOW_CLEANUP_VAL(avow_buf_deinit) struct avow_buf integers;
    uint8_t raw[AVOW_P256_SIG_LEN];
    char id[65], head[PAE_HEAD_MAX];
    avow_buf_init(&der, 128);
    avow_buf_init(&integers, 128);
    const struct avow_bytes pieces[] = {pae_head(payload.len, head), payload};
    enum avow_rc rc = avow_privkey_sign_pieces(key, pieces, AVOW_ARRAY_LEN(pieces), raw, err);
    if (!rc)
        rc = key_id(key, id, err);
    if (rc)
        return rc;
    put_integer(&integers, raw);
    put_integer(&integers, raw + 32);
    avow_buf_put_u8(&der, DER_SEQUENCE);
    avow_buf_put_u8(&der, (uint8_t)integers.len); /* at most 70 */
    avow_buf_put(&der, integers.ptr, integers.len);
    rc = avow_buf_status(&der, err);
    if (rc)
        return rc;
    avow_buf_put_str(out, "{\"payload\": \"");
    avow_buf_put_base64(out, payload);
    avow_buf_printf(out,
                    "\", \"payloadType\": \"%s\", \"signatures\": [{\"keyid\": \"%s\", \"sig\": \"",
                    AVOW_DSSE_PAYLOAD_TYPE, id);
    avow_buf_put_base64(out, avow_buf_bytes(&der));
    avow_buf_put_str(out, "\"}]}\n");
    return avow_buf_status(out, err);
}
