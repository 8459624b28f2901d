#include "kdf.h"

#include <assert.h>
#include <string.h>

#include "avow/base/banned.h"

#define KDF_OUT_MAX 1024u

static size_t put_block(uint8_t *out, size_t left, const struct avow_digest *d)
{
    size_t n = left < d->len ? left : d->len;
    memcpy(out, d->bytes, n);
    return n;
}

void avow_kdf_a(enum avow_hash alg, struct avow_bytes key, const char *label,
                struct avow_bytes context_u, struct avow_bytes context_v, uint8_t *out,
                size_t out_len)
{
    assert(out_len <= KDF_OUT_MAX);
    uint8_t counter[4], bits[4];
    struct avow_digest block;
    avow_put_u32be(bits, (uint32_t)out_len * 8u);
    const struct avow_bytes pieces[] = {AVOW_BYTES_OF(counter),
                                        avow_bytes_make(label, strlen(label) + 1), context_u,
                                        context_v, AVOW_BYTES_OF(bits)};
    for (uint32_t i = 1; out_len; i++) {
        avow_put_u32be(counter, i);
        avow_hmac(alg, key, pieces, AVOW_ARRAY_LEN(pieces), &block);
        size_t n = put_block(out, out_len, &block);
        out += n;
        out_len -= n;
    }
    avow_wipe(&block, sizeof block);
}

void avow_kdf_e(enum avow_hash alg, struct avow_bytes z, const char *label,
                struct avow_bytes party_u, struct avow_bytes party_v, uint8_t *out, size_t out_len)
{
    assert(out_len <= KDF_OUT_MAX);
    uint8_t counter[4];
    struct avow_digest block;
    const struct avow_bytes pieces[] = {
        AVOW_BYTES_OF(counter), z, avow_bytes_make(label, strlen(label) + 1), party_u, party_v};
    for (uint32_t i = 1; out_len; i++) {
        avow_put_u32be(counter, i);
        avow_digest_pieces(alg, pieces, AVOW_ARRAY_LEN(pieces), &block);
        size_t n = put_block(out, out_len, &block);
        out += n;
        out_len -= n;
    }
    avow_wipe(&block, sizeof block);
}
