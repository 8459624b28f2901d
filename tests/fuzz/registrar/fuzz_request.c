/* Bodies of register and activate: a success leaves only values that the rest may rely on. */
#include "request_json.h"

#include <assert.h>

#include "avow/base/banned.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_str(struct avow_str s, size_t max)
{
    assert(s.len <= max);
    assert(s.len == 0 || avow_utf8_is_valid(s));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    AVOW_CLEANUP_VAL(avow_arena_deinit) struct avow_arena arena;
    struct avow_register_request r;
    uint8_t tag[AVOW_TAG_LEN];
    char id[AVOW_AGENT_ID_ROOM];
    struct avow_err err = {.rc = AVOW_OK};
    struct avow_bytes body = avow_bytes_make(data, size);
    avow_arena_init(&arena, 2u * 1024 * 1024);
    enum avow_rc rc = avow_register_request_parse(body, &arena, &r, &err);
    assert(rc == AVOW_OK || err.rc == rc);
    if (!rc) {
        assert(r.ek_public.len <= AVOW_TPM_PUBLIC_MAX && r.ak_public.len <= AVOW_TPM_PUBLIC_MAX);
        assert((r.cert == AVOW_CERT_GIVEN) == (r.ekcert.len > 0));
        check_str(r.ekcert, AVOW_BODY_MAX);
        check_str(r.iak.iak_cert, AVOW_BODY_MAX);
        check_str(r.iak.idevid_cert, AVOW_BODY_MAX);
        assert(r.iak.attest.len <= AVOW_ATTEST_MAX && r.iak.signature.len <= AVOW_SIGNATURE_MAX);
        assert(r.iak.iak_public.len <= AVOW_TPM_PUBLIC_MAX &&
               r.iak.idevid_public.len <= AVOW_TPM_PUBLIC_MAX);
        check_str(r.ip, AVOW_CLAIM_IP_MAX);
        check_str(r.mtls_cert, AVOW_CLAIM_MTLS_MAX);
    }
    rc = avow_activate_request_parse(body, tag, &err);
    assert(rc == AVOW_OK || err.rc == rc);
    rc = avow_agent_id_request_parse(body, id, &err);
    assert(rc ? err.rc == rc : avow_name_is_valid(avow_str_from(id)));
    return 0;
}
