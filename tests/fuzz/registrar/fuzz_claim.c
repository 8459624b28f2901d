/* Certificates as agents send them, and a device identity made of the input's parts: what comes out
 * proven needs a signature that the fuzzer cannot make. */
#include "claim_certs.h"
#include "iak.h"

#include <assert.h>

#include "avow/base/banned.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void read_certs(struct avow_str text)
{
    AVOW_CLEANUP_VAL(avow_claim_certs_deinit) struct avow_cert_list list = {.n = 0};
    AVOW_CLEANUP_VAL(avow_claim_certs_deinit) struct avow_cert_list again = {.n = 0};
    AVOW_CLEANUP_VAL(avow_arena_deinit) struct avow_arena arena;
    struct avow_bytes packed;
    struct avow_err err = {.rc = AVOW_OK};
    avow_arena_init(&arena, 1u << 20);
    enum avow_rc rc = avow_claim_certs_read("x", text, &list, &err);
    assert(rc ? err.rc == rc : list.n > 0);
    assert(list.n <= AVOW_CHAIN_MAX);
    if (rc || avow_claim_certs_pack("x", &list, &arena, &packed, &err))
        return;
    rc = avow_claim_certs_unpack(packed, &again, &err);
    assert(rc == AVOW_OK && again.n == list.n);
    for (size_t i = 0; i < list.n; i++)
        assert(avow_bytes_eq(avow_cert_der(list.certs[i]), avow_cert_der(again.certs[i])));
}

/* Six parts, each behind two bytes of length; the rest is cut. */
static void judge(struct avow_bytes in)
{
    AVOW_CLEANUP_VAL(avow_arena_deinit) struct avow_arena arena;
    struct avow_bytes part[6];
    struct avow_rd r = avow_rd_make(in);
    avow_arena_init(&arena, 1u << 20);
    for (size_t i = 0; i < AVOW_ARRAY_LEN(part); i++)
        part[i] = avow_rd_tpm2b(&r, 65535);
    if (r.bad)
        return;
    const struct avow_iak_request q = {.iak_public = part[0],
                                       .idevid_public = part[1],
                                       .attest = part[2],
                                       .signature = part[3],
                                       .iak_cert = {(const char *)part[4].ptr, part[4].len},
                                       .idevid_cert = {(const char *)part[5].ptr, part[5].len}};
    static const uint8_t name[34] = {0, 0x0b};
    const struct avow_iak_context c = {.id = AVOW_STR_LIT("host-1"),
                                       .ak_name = AVOW_BYTES_OF(name)};
    struct avow_claim claim = {.port = 0};
    struct avow_iak_result out = {.proven = false};
    struct avow_err err = {.rc = AVOW_OK};
    enum avow_rc rc = avow_iak_judge(&c, &q, &arena, &claim, &out, &err);
    assert(rc == AVOW_OK || err.rc == rc);
    assert(!out.proven && !claim.iak_certs.len);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    read_certs((struct avow_str){(const char *)data, size});
    judge(avow_bytes_make(data, size));
    return 0;
}
