/* fuzz_ima_sig.c - signatures in security.ima, and keys, under genuine keys. Oracle: nothing that
 * differs from the genuine signature verifies; a key is read or it is not. */
#include "avow/crypto/ima_key.h"

#include "avow/base/file.h"

#include <stdio.h>
#include <stdlib.h>

#include "avow/base/banned.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define CHECK(x)                                                                                   \
    do {                                                                                           \
        if (!(x))                                                                                  \
            abort();                                                                               \
    } while (0)

struct pair {
    struct avow_pubkey *key;
    struct avow_buf genuine[2]; /* version 2, version 3 */
    uint8_t digest[32];
};

static enum avow_rc put(void *ctx, struct avow_pubkey *key, uint32_t id, struct avow_err *err)
{
    struct avow_pubkey **out = ctx;
    (void)id;
    (void)err;
    avow_pubkey_free(*out);
    *out = key;
    return AVOW_OK;
}

static void load(const char *name, struct avow_buf *out)
{
    char path[512];
    (void)snprintf(path, sizeof path, "%s/ima/keys/%s", AVOW_TEST_VECTORS, name);
    avow_buf_init(out, 16384);
    CHECK(!avow_file_read(path, out, NULL));
}

static void load_pair(const char *key, const char *v2, const char *v3, struct pair *p)
{
    static const uint8_t zeros[100];
    struct avow_buf pem;
    const struct avow_ima_key_sink sink = {&p->key, put};
    load(key, &pem);
    load(v2, &p->genuine[0]);
    load(v3, &p->genuine[1]);
    CHECK(!avow_ima_key_read(avow_buf_bytes(&pem), &sink, NULL));
    avow_sha256(AVOW_BYTES_OF(zeros), p->digest);
    avow_buf_deinit(&pem);
}

static void try_signature(const struct pair *p, struct avow_bytes in)
{
    struct avow_ima_sig s;
    if (avow_ima_sig_parse(in, &s, NULL))
        return;
    CHECK(s.sig.ptr >= in.ptr && s.sig.ptr + s.sig.len == in.ptr + in.len);
    if (!avow_ima_sig_verify(p->key, &s, AVOW_HASH_SHA256, AVOW_BYTES_OF(p->digest)))
        return;
    const struct avow_buf *g = &p->genuine[s.kind == AVOW_IMA_SIG_OF_VERITY];
    CHECK(avow_bytes_eq(s.sig, avow_bytes_make(g->ptr + 9, g->len - 9)));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct pair pairs[2];
    if (!pairs[0].key) {
        load_pair("evmctl_rsa.pub.pem", "evmctl_rsa.v2", "evmctl_rsa.v3", &pairs[0]);
        load_pair("evmctl_p384.pub.pem", "evmctl_p384.v2", "evmctl_p384.v3", &pairs[1]);
    }
    struct avow_bytes in = avow_bytes_make(data, size);
    struct avow_pubkey *key = NULL;
    const struct avow_ima_key_sink sink = {&key, put};
    try_signature(&pairs[0], in);
    try_signature(&pairs[1], in);
    (void)avow_ima_key_is(in);
    if (!avow_ima_key_read(in, &sink, NULL))
        CHECK(key);
    avow_pubkey_free(key);
    return 0;
}
