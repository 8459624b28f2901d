/* fuzz_dsse.c - envelopes, and the DER in their signatures. Oracle: parsed means payload and at
 * least one signature; garbage never verifies; our own envelope around the input always does. */
#include "avow/crypto/dsse.h"
#include "avow/formats/dsse.h"

#include <stdlib.h>

#include "avow/base/banned.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define CHECK(x)                                                                                   \
    do {                                                                                           \
        if (!(x))                                                                                  \
            abort();                                                                               \
    } while (0)

static void try_signature(const struct avow_pubkey *key, struct avow_bytes sig)
{
    AVOW_CLEANUP_VAL(avow_buf_deinit) struct avow_buf sigs;
    static const uint8_t pae[32] = {1};
    avow_buf_init(&sigs, 2048);
    avow_buf_put_u16be(&sigs, (uint16_t)sig.len);
    avow_buf_put(&sigs, sig.ptr, sig.len);
    CHECK(!avow_dsse_verify(pae, avow_buf_bytes(&sigs), &key, 1, NULL));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct avow_privkey *key;
    static struct avow_pubkey *pub;
    if (!key) {
        CHECK(!avow_privkey_generate(&key, NULL));
        CHECK(!avow_pubkey_from_spki(avow_privkey_spki(key), &pub, NULL));
    }
    struct avow_bytes in = avow_bytes_make(data, size);
    struct avow_dsse d;
    struct avow_err err = {0};
    enum avow_rc rc = avow_dsse_parse(in, &d, &err);
    CHECK((rc == AVOW_OK) == (d.payload.ptr != NULL));
    CHECK(!rc || err.msg[0]);
    if (!rc) {
        uint8_t pae[32];
        const struct avow_pubkey *keys[] = {pub};
        CHECK(d.sigs_count >= 1 && d.sigs_count <= AVOW_DSSE_SIGNATURES_MAX);
        avow_dsse_pae_sha256(avow_buf_bytes(&d.payload), pae);
        CHECK(!avow_dsse_verify(pae, avow_buf_bytes(&d.sigs), keys, 1, NULL));
    }
    avow_dsse_deinit(&d);
    if (size && size <= AVOW_DSSE_SIG_LEN_MAX)
        try_signature(pub, in);
    return 0;
}
