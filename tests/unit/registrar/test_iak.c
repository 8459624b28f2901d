/* The device identity: keys and attestation of a software TPM, certificates of a maker that is
 * ours.
 */
#include "ek_trust.h"
#include "iak.h"

#include "avow/base/file.h"
#include "avow/base/hex.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "avow/base/banned.h"

#define NOW_MS UINT64_C(1795305600000) /* 2026-11-22 */
#define FILE_MAX_ 4096u

enum file {
    IAK,
    IDEVID,
    AK,
    ATTEST,
    SIG,
    ATTEST_RAW,
    SIG_RAW,
    IAK_CERT,
    IDEVID_CERT,
    OTHER,
    OLD,
    FILES
};

/* Everything that a good agent sends; tests change what they are about. */
struct world {
    struct avow_buf files[FILES];
    struct avow_buf text[FILES]; /* base64 of certificates */
    struct avow_tpm_name ak_name;
    struct avow_cert_store *store;
    struct avow_arena arena;
    struct avow_iak_request r;
    struct avow_iak_context c;
    struct avow_claim claim;
    struct avow_iak_result out;
    struct avow_err err;
};

static void read_file(struct world *w, enum file f, const char *name)
{
    char path[512];
    snprintf(path, sizeof path, "%s/iak/%s", AVOW_TEST_VECTORS, name);
    avow_buf_init(&w->files[f], FILE_MAX_);
    avow_buf_init(&w->text[f], 2 * FILE_MAX_);
    assert_int_equal(avow_file_read(path, &w->files[f], NULL), AVOW_OK);
}

static struct avow_str base64_of(struct world *w, enum file f)
{
    avow_buf_reset(&w->text[f]);
    avow_buf_put_base64(&w->text[f], avow_buf_bytes(&w->files[f]));
    return (struct avow_str){avow_buf_cstr(&w->text[f]), w->text[f].len};
}

static int setup(void **state)
{
    static const char *const names[FILES] = {
        "iak",           "idevid",     "ak",           "attest",          "sig",
        "attest_raw_id", "sig_raw_id", "iak_cert.der", "idevid_cert.der", "idevid_other.der",
        "idevid_old.der"};
    static struct world w;
    memset(&w, 0, sizeof w);
    for (enum file f = 0; f < FILES; f++)
        read_file(&w, f, names[f]);
    assert_int_equal(avow_tpm_name_of(avow_buf_bytes(&w.files[AK]), &w.ak_name, NULL), AVOW_OK);
    assert_int_equal(avow_cert_store_load(AVOW_TEST_VECTORS "/iak/ca", &w.store, NULL), AVOW_OK);
    avow_arena_init(&w.arena, 1024u * 1024u);
    w.r = (struct avow_iak_request){.iak_public = avow_buf_bytes(&w.files[IAK]),
                                    .idevid_public = avow_buf_bytes(&w.files[IDEVID]),
                                    .attest = avow_buf_bytes(&w.files[ATTEST]),
                                    .signature = avow_buf_bytes(&w.files[SIG]),
                                    .iak_cert = base64_of(&w, IAK_CERT),
                                    .idevid_cert = base64_of(&w, IDEVID_CERT)};
    w.c = (struct avow_iak_context){.id = AVOW_STR_LIT("host-1"),
                                    .ak_name = avow_tpm_name_bytes(&w.ak_name),
                                    .store = w.store,
                                    .now_ms = NOW_MS};
    *state = &w;
    return 0;
}

static int teardown(void **state)
{
    struct world *w = *state;
    for (enum file f = 0; f < FILES; f++) {
        avow_buf_deinit(&w->files[f]);
        avow_buf_deinit(&w->text[f]);
    }
    avow_cert_store_free(w->store);
    avow_arena_deinit(&w->arena);
    return 0;
}

static void judge(struct world *w, enum avow_rc want, const char *says)
{
    w->err = (struct avow_err){.rc = AVOW_OK};
    w->out = (struct avow_iak_result){.proven = false};
    w->claim = (struct avow_claim){.port = 1};
    enum avow_rc rc = avow_iak_judge(&w->c, &w->r, &w->arena, &w->claim, &w->out, &w->err);
    if (rc != want || (says && !strstr(rc ? w->err.msg : w->out.detail.ptr, says)))
        fail_msg("got %d \"%s\", want %d \"%s\"", (int)rc, rc ? w->err.msg : w->out.detail.ptr,
                 (int)want, says ? says : "");
    assert_int_equal(w->out.proven, w->claim.iak_certs.len > 0);
    assert_int_equal(w->out.proven, w->claim.idevid_certs.len > 0);
    assert_int_equal(w->out.proven, w->claim.device_serial.ptr != NULL);
}

static void test_iak_judge__good__proves_the_device(void **state)
{
    struct world *w = *state;
    judge(w, AVOW_OK, "device SN-0001");
    assert_true(w->out.proven);
    assert_true(avow_str_is(w->claim.device_serial, "SN-0001"));
    w->r.attest = avow_buf_bytes(&w->files[ATTEST_RAW]);
    w->r.signature = avow_buf_bytes(&w->files[SIG_RAW]);
    judge(w, AVOW_OK, "device SN-0001");
    assert_true(w->out.proven);
}

static void test_iak_judge__nothing_sent__is_not_proven(void **state)
{
    struct world *w = *state;
    w->r = (struct avow_iak_request){.iak_cert = {NULL, 0}};
    assert_false(avow_iak_is_given(&w->r));
    judge(w, AVOW_OK, "the agent gave no IAK and IDevID");
}

static void test_iak_judge__one_part_missing__is_parse_error(void **state)
{
    struct world *w = *state;
    const struct avow_iak_request good = w->r;
    static const char *const names[] = {"iak_tpm",  "idevid_tpm", "iak_attest",
                                        "iak_sign", "iak_cert",   "idevid_cert"};
    for (size_t i = 0; i < AVOW_ARRAY_LEN(names); i++) {
        struct avow_bytes *bytes[] = {&w->r.iak_public, &w->r.idevid_public, &w->r.attest,
                                      &w->r.signature};
        w->r = good;
        if (i < 4)
            bytes[i]->len = 0;
        else
            (i == 4 ? &w->r.iak_cert : &w->r.idevid_cert)->len = 0;
        judge(w, AVOW_PARSE, names[i]);
        assert_true(avow_iak_is_given(&w->r));
    }
}

static void test_iak_judge__wrong_certify__is_refused(void **state)
{
    struct world *w = *state;
    w->c.id = AVOW_STR_LIT("host-2");
    judge(w, AVOW_REFUSED, "made for another agent id");
    w->c.id = AVOW_STR_LIT("host-1");
    w->ak_name.bytes[5] ^= 1;
    judge(w, AVOW_REFUSED, "another key than aik_tpm");
    w->ak_name.bytes[5] ^= 1;
    w->r.signature = avow_buf_bytes(&w->files[SIG_RAW]);
    judge(w, AVOW_REFUSED, "the IAK did not sign");
    w->r.signature = avow_bytes_make(w->files[SIG].ptr, w->files[SIG].len - 1);
    judge(w, AVOW_PARSE, "iak_sign");
    w->r.signature = avow_buf_bytes(&w->files[SIG]);
    w->files[SIG].ptr[3] = 0x0c; /* says SHA-384 */
    judge(w, AVOW_REFUSED, "scheme or hash is not the IAK's");
}

static void test_iak_judge__each_bit_of_attest__is_refused(void **state)
{
    struct world *w = *state;
    for (size_t i = 0; i < w->files[ATTEST].len * 8; i++) {
        w->files[ATTEST].ptr[i / 8] ^= (uint8_t)(1u << i % 8);
        enum avow_rc rc = avow_iak_judge(&w->c, &w->r, &w->arena, &w->claim, &w->out, &w->err);
        assert_true(rc == AVOW_REFUSED || rc == AVOW_PARSE);
        w->files[ATTEST].ptr[i / 8] ^= (uint8_t)(1u << i % 8);
    }
    judge(w, AVOW_OK, "device SN-0001");
}

static void test_iak_judge__keys_and_certificates__must_fit(void **state)
{
    struct world *w = *state;
    const struct avow_iak_request good = w->r;
    w->r.iak_public = good.idevid_public;
    judge(w, AVOW_REFUSED, "iak_tpm: AK lacks restricted");
    w->r = good;
    w->r.idevid_public = avow_buf_bytes(&w->files[AK]);
    judge(w, AVOW_REFUSED, "idevid_cert: no certificate is for the key");
    w->r = good;
    w->r.iak_cert = good.idevid_cert;
    judge(w, AVOW_REFUSED, "iak_cert: no certificate is for the key");
    w->r = good;
    w->r.iak_cert = AVOW_STR_LIT("AAAA");
    judge(w, AVOW_PARSE, "iak_cert: neither PEM nor base64 DER");
    w->r = good;
    w->files[IDEVID].ptr[9] ^= 0x02; /* fixedTPM */
    judge(w, AVOW_REFUSED, "IDevID lacks fixedTPM");
}

static void test_iak_judge__authorities_and_serials__are_results(void **state)
{
    struct world *w = *state;
    w->c.store = NULL;
    judge(w, AVOW_OK, "no store of device certificate authorities");
    assert_false(w->out.proven);
    AVOW_CLEANUP(avow_cert_store_free) struct avow_cert_store *other = NULL;
    assert_int_equal(avow_cert_store_load(AVOW_TEST_VECTORS "/m1-direct/ca", &other, NULL),
                     AVOW_OK);
    w->c.store = other;
    judge(w, AVOW_OK, "IAK certificate: its issuer is neither");
    assert_false(w->out.proven);
    w->c.store = w->store;
    w->c.now_ms = UINT64_C(1500000000000); /* before they were issued */
    judge(w, AVOW_OK, "not valid yet");
    assert_false(w->out.proven);
    w->c.now_ms = NOW_MS;
    w->r.idevid_cert = base64_of(w, OLD);
    judge(w, AVOW_OK, "IDevID certificate: expired");
    assert_false(w->out.proven);
    w->r.idevid_cert = base64_of(w, OTHER);
    judge(w, AVOW_OK, "name different devices");
    assert_false(w->out.proven);
}

/* What is stored is judged as what was sent. */
static void test_trust_again__device__follows_the_authorities(void **state)
{
    struct world *w = *state;
    struct avow_ek_trust first, again;
    struct avow_trust_stores stores = {.ek = NULL, .device = w->store};
    judge(w, AVOW_OK, "device SN-0001");
    assert_int_equal(avow_trust_join(AVOW_IDENTITY_IAK_IDEVID, &w->out, &w->arena, &w->claim, NULL),
                     AVOW_OK);
    first = w->claim.trust;
    assert_true(first.trusted && avow_str_is(first.rule, AVOW_RULE_DEVICE));
    assert_int_equal(avow_trust_again(&w->claim, &stores, AVOW_IDENTITY_IAK_IDEVID, NOW_MS,
                                      &w->arena, &again, NULL),
                     AVOW_OK);
    assert_true(avow_trust_eq(&first, &again));
    stores.device = NULL;
    assert_int_equal(avow_trust_again(&w->claim, &stores, AVOW_IDENTITY_IAK_IDEVID, NOW_MS,
                                      &w->arena, &again, NULL),
                     AVOW_OK);
    assert_false(again.trusted);
    assert_false(avow_trust_eq(&first, &again));
}

static void test_trust_again__outside_decision__stands(void **state)
{
    struct world *w = *state;
    const struct avow_trust_stores stores = {.ek = NULL, .device = NULL};
    const struct avow_claim claim = {.trust = {.rule = AVOW_STR_LIT(AVOW_RULE_WEBHOOK),
                                               .trusted = true,
                                               .time_ms = 7,
                                               .detail = AVOW_STR_LIT("it allows it")}};
    struct avow_ek_trust again;
    assert_int_equal(
        avow_trust_again(&claim, &stores, AVOW_IDENTITY_DEFAULT, NOW_MS, &w->arena, &again, NULL),
        AVOW_OK);
    assert_true(avow_trust_eq(&claim.trust, &again));
    assert_true(again.time_ms == 7);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
        T(test_iak_judge__good__proves_the_device),
        T(test_iak_judge__nothing_sent__is_not_proven),
        T(test_iak_judge__one_part_missing__is_parse_error),
        T(test_iak_judge__wrong_certify__is_refused),
        T(test_iak_judge__each_bit_of_attest__is_refused),
        T(test_iak_judge__keys_and_certificates__must_fit),
        T(test_iak_judge__authorities_and_serials__are_results),
        T(test_trust_again__device__follows_the_authorities),
        T(test_trust_again__outside_decision__stands),
#undef T
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
