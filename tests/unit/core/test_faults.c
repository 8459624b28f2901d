/* test_faults.c - every allocation fails once, in turn, and every arena is too small once: severity
 * policies and the appraisal of files say AVOW_NOMEM, leak nothing, and hand out nothing. */
#include "avow/core/appraise.h"

#include "failing_alloc.h"

#include "avow/base/file.h"
#include "avow/base/hex.h"
#include "avow/core/severity.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "avow/base/banned.h"

#define FILE_ROOM (1024u * 1024u)

static void warm_up(void) /* a thread's contexts are made once and for ever */
{
    uint8_t digest[32] = {0};
    avow_sha256(AVOW_BYTES_OF(digest), digest);
}

static void test_severity_load__each_allocation_fails__nomem(void **state)
{
    (void)state;
    static const char json[] =
        "[{\"event_id\": \"ima\\\\.(digest|template)_unknown\", \"severity_label\": \"notice\"},"
        " {\"event_id\": \"literal\", \"severity_label\": \"info\", \"note\": {\"x\": [1]}}]";
    unsigned failures = 0;
    for (unsigned k = 1; k < 10000; k++) {
        struct avow_severity *s = NULL;
        struct avow_err err = {0};
        failing_alloc_at = k;
        enum avow_rc rc = avow_severity_load(avow_bytes_make(json, sizeof json - 1), &s, &err);
        bool reached = failing_alloc_at == 0;
        failing_alloc_at = 0;
        assert_int_equal(rc, reached ? AVOW_NOMEM : AVOW_OK);
        assert_true((rc == AVOW_OK) == (s != NULL));
        avow_severity_free(s);
        if (!reached)
            break;
        failures++;
    }
    assert_true(failures > 8);
}

/* --- The appraisal of a real machine's files --- */

enum { ATTEST, SIGNATURE, KEY, NONCE, PCRS, LIST, BOOT_LOG, FILES };

struct machine {
    struct avow_buf files[FILES];
    uint8_t nonce[32];
    enum avow_sign_alg algs[1];
    enum avow_hash_alg hashes[1];
    struct avow_enrollment demands;
    struct avow_eval_policy policy;
    struct avow_appraise_in in;
};

static struct avow_appraise_file file(const struct avow_buf *b)
{
    return (struct avow_appraise_file){true, avow_buf_bytes(b)};
}

static int setup(void **state)
{
    static struct machine m;
    static const char *const names[FILES] = {"q_ak_rsa_sha256_all.msg",
                                             "q_ak_rsa_sha256_all.sig",
                                             "ak_rsa.pem",
                                             "nonce",
                                             "pcrs_sha256.bin",
                                             "binary_runtime_measurements",
                                             "binary_bios_measurements"};
    m = (struct machine){.algs = {AVOW_SIGN_ALG_RSASSA}, .hashes = {AVOW_HASH_ALG_SHA256}};
    for (size_t i = 0; i < FILES; i++) {
        char path[512];
        (void)snprintf(path, sizeof path, "%s/captures/m1-direct/%s", AVOW_TEST_VECTORS, names[i]);
        avow_buf_init(&m.files[i], FILE_ROOM);
        assert_int_equal(avow_file_read(path, &m.files[i], NULL), AVOW_OK);
    }
    assert_true(m.files[NONCE].len >= 2 * sizeof m.nonce);
    const struct avow_str hex = {(const char *)m.files[NONCE].ptr, 2 * sizeof m.nonce};
    assert_true(avow_hex_decode(m.nonce, sizeof m.nonce, hex));
    m.demands = (struct avow_enrollment){.key = AVOW_STR_LIT("m1"),
                                         .sign_algs = m.algs,
                                         .sign_algs_count = 1,
                                         .sign_hashes = m.hashes,
                                         .sign_hashes_count = 1,
                                         .banks = m.hashes,
                                         .banks_count = 1};
    m.in = (struct avow_appraise_in){.attest = avow_buf_bytes(&m.files[ATTEST]),
                                     .signature = file(&m.files[SIGNATURE]),
                                     .ak = file(&m.files[KEY]),
                                     .nonce = {true, AVOW_BYTES_OF(m.nonce)},
                                     .pcrs = file(&m.files[PCRS]),
                                     .ima = file(&m.files[LIST]),
                                     .boot_log = file(&m.files[BOOT_LOG]),
                                     .demands = &m.demands,
                                     .policy = &m.policy};
    warm_up();
    *state = &m;
    return 0;
}

static int teardown(void **state)
{
    struct machine *m = *state;
    for (size_t i = 0; i < FILES; i++)
        avow_buf_deinit(&m->files[i]);
    return 0;
}

static void test_appraise__each_allocation_fails__nomem(void **state)
{
    const struct machine *m = *state;
    unsigned failures = 0;
    for (unsigned k = 1; k < 10000; k++) {
        struct avow_arena arena;
        struct avow_appraise_out out = {.findings_total = 77};
        struct avow_err err = {0};
        avow_arena_init(&arena, 4u * FILE_ROOM);
        failing_alloc_at = k;
        enum avow_rc rc = avow_appraise(&m->in, &arena, &out, &err);
        bool reached = failing_alloc_at == 0;
        failing_alloc_at = 0;
        assert_int_equal(rc, reached ? AVOW_NOMEM : AVOW_OK);
        if (rc)
            assert_int_equal(out.findings_total, 77); /* untouched */
        else
            assert_true(out.pass && out.verified && !out.findings_total);
        avow_arena_deinit(&arena);
        if (!reached)
            break;
        failures++;
    }
    assert_true(failures > 3);
}

static void test_appraise__arena_too_small__nomem_and_out_untouched(void **state)
{
    const struct machine *m = *state;
    size_t refused = 0;
    for (size_t limit = 0;; limit += 64) {
        struct avow_arena arena;
        struct avow_appraise_out out = {.findings_total = 77};
        avow_arena_init(&arena, limit);
        enum avow_rc rc = avow_appraise(&m->in, &arena, &out, NULL);
        bool passed = !rc && out.pass && out.verified;
        uint32_t total = out.findings_total;
        avow_arena_deinit(&arena);
        if (!rc) {
            assert_true(passed);
            break;
        }
        assert_int_equal(rc, AVOW_NOMEM);
        assert_int_equal(total, 77);
        refused++;
    }
    assert_true(refused > 20);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_severity_load__each_allocation_fails__nomem),
        cmocka_unit_test_setup_teardown(test_appraise__each_allocation_fails__nomem, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_appraise__arena_too_small__nomem_and_out_untouched,
                                        setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
