/* test_memory.c - every allocation fails once, in turn: AVOW_NOMEM, nothing leaks, nothing half
 * done is handed out. The linker sends malloc, calloc and realloc of our objects here; jansson is
 * told. */
#include "rig.h"

#include "failing_alloc.h"

#include "avow/base/hex.h"
#include "avow/crypto/key.h"

#include <stdio.h>

#include "avow/base/banned.h"

#define EC_KEY                                                                                     \
    "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAECHTuaBOotdmU8midN+Swtt3YoYEM"                             \
    "t0XoCnE528mPPwSuW7q96aVnUHQrw/C8V15pk12ygGZ18zUO5fnl8i9A9w=="

static const char policy_text[] =
    "{\"meta\":{\"version\":1},\"digests\":{\"/a\":[\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\"],"
    "\"/b\":[\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\"]},\"excludes\":[\"/x\",\"/\\u0079/"
    ".*\",\"/"
    "z[0-9]+\"],"
    "\"keyrings\":{\".ima\":[\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\"]},\"ima\":{\"dm_policy\":"
    "{\"version\":1,\"match_on\":\"name\",\"rules\":{\"r\":{\"required\":true,"
    "\"device_resume_required\":true,\"device_rename\":{\"valid_name\":\"a.c\",\"valid_uuid\":null}"
    ","
    "\"device_remove\":{\"allow_removal\":false},\"allow_clear\":false,\"table_load\":{"
    "\"allow_multiple_loads\":false,\"name\":\"x\",\"uuid\":\"\",\"major\":253,\"minor\":null,"
    "\"minor_count\":1,\"num_targets\":1,\"targets\":[{\"target_name\":\"verity\"}]}}}}},"
    "\"verification-keys\":\"{\\\"pubkeys\\\":["
    "\\\"MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAECHTuaBOotdmU8midN+"
    "Swtt3YoYEMt0XoCnE528mPPwSuW7q96aVnUHQrw/C8V15pk12ygGZ18zUO5fnl8i9A9w==\\\"],"
    "\\\"keyids\\\":[7]}\"}";

static void test_runtime_policy_load__each_allocation_fails__nomem(void **state)
{
    (void)state;
    unsigned failures = 0;
    uint8_t digest[32] = {0};
    avow_sha256(
        AVOW_BYTES_OF(digest),
        digest); /* the thread's contexts, made once and for ever, are not part of the load */
    for (unsigned k = 1; k < 10000; k++) {
        struct avow_runtime_policy *p = NULL;
        struct avow_err err = {0};
        failing_alloc_at = k;
        enum avow_rc rc = avow_runtime_policy_load(
            avow_bytes_make(policy_text, sizeof policy_text - 1), &p, &err);
        bool reached = failing_alloc_at == 0;
        failing_alloc_at = 0;
        if (!reached) {
            assert_int_equal(rc, AVOW_OK);
            avow_runtime_policy_free(p);
            break;
        }
        if (rc == AVOW_OK) { /* giving back what is left over may fail: then it stays */
            avow_runtime_policy_free(p);
        } else {
            assert_int_equal(rc, AVOW_NOMEM);
            assert_null(p);
        }
        failures++;
    }
    assert_true(failures > 15);
}

/* An arena with less and less room: a judgement is whole, or it is none. */
static void test_evaluate__arena_too_small__nomem_and_out_untouched(void **state)
{
    (void)state;
    static struct rig r;
    rig_init(&r, RIG_P256);
    rig_policy(&r, rig_policy_text(&r, "[]", "/bin/sh", NULL));
    rig_run(&r, "/bin/evil");
    rig_violate(&r, "/bin/x");
    r.e.qualified_signers_count = 0;
    struct rig_shot *s = rig_take(&r);
    rig_run(&r, "/bin/sh"); /* a pending quote as well */
    rig_seal(&r, s);
    struct avow_body body;
    assert_int_equal(avow_body_decode(s->evidence.body, &r.arena, &body, NULL), AVOW_OK);
    struct avow_eval_policy policy = {.runtime = r.policy, .heads = &r.head, .heads_count = 1};
    struct avow_eval_in in = {.evidence = &s->evidence,
                              .body = &body,
                              .enrollment = &r.e,
                              .enrollment_sha256 = r.e_sha256,
                              .ak = r.ak,
                              .policy = &policy,
                              .prior = &r.state,
                              .marker = &s->marker,
                              .service_ms = r.epoch * RIG_EPOCH_MS,
                              .partition = RIG_PARTITION};
    size_t limit = 0, refused = 0;
    for (;; limit += 8) {
        struct avow_arena arena;
        struct avow_eval_out out = {.kind = AVOW_EVAL_UNDECIDED};
        avow_arena_init(&arena, limit);
        enum avow_rc rc = avow_evaluate(&in, &arena, &out, NULL);
        if (rc == AVOW_OK) {
            assert_int_equal(out.kind, AVOW_EVAL_ACCEPTED);
            assert_int_equal(out.next.status, AVOW_STATUS_UNTRUSTED);
            assert_int_equal(out.next.findings_count, 2);
            assert_true(out.next.has_pending);
            avow_arena_deinit(&arena);
            break;
        }
        assert_int_equal(rc, AVOW_NOMEM);
        assert_int_equal(out.kind, AVOW_EVAL_UNDECIDED);
        avow_arena_deinit(&arena);
        refused++;
    }
    assert_true(refused > 100 && limit < 64u * 1024u);
    rig_deinit(&r);
}

/* The same for a part, at whose end everything is stored. */
static void test_evaluate_part__arena_too_small__nomem_and_out_untouched(void **state)
{
    (void)state;
    static struct rig r;
    rig_init(&r, RIG_P256);
    rig_policy(&r, rig_policy_text(&r, "[]", "/bin/sh", NULL));
    for (int i = 0; i < 6; i++)
        rig_run(&r, i == 4 ? "/bin/evil" : "/bin/sh");
    struct rig_shot *s = rig_take(&r);
    rig_cut(s, 3);
    rig_seal(&r, s);
    rig_expect_accepted(&r, s);
    for (uint16_t index = 2; index <= 3; index++) {
        struct avow_body body;
        assert_int_equal(avow_body_decode(r.state.open.body, &r.arena, &body, NULL), AVOW_OK);
        struct avow_eval_policy policy = {.runtime = r.policy, .heads = &r.head, .heads_count = 1};
        struct avow_eval_in in = {.part = &s->parts[index - 1],
                                  .body = &body,
                                  .enrollment = &r.e,
                                  .enrollment_sha256 = r.e_sha256,
                                  .ak = r.ak,
                                  .policy = &policy,
                                  .prior = &r.state,
                                  .service_ms = r.epoch * RIG_EPOCH_MS,
                                  .partition = RIG_PARTITION};
        enum avow_rc rc = AVOW_NOMEM;
        for (size_t limit = 0; rc; limit += 8) {
            struct avow_arena arena;
            struct avow_eval_out out = {.kind = AVOW_EVAL_UNDECIDED};
            avow_arena_init(&arena, limit);
            rc = avow_evaluate_part(&in, &arena, &out, NULL);
            assert_int_equal(out.kind, rc ? AVOW_EVAL_UNDECIDED : AVOW_EVAL_ACCEPTED);
            assert_true(rc == AVOW_OK || rc == AVOW_NOMEM);
            assert_true(rc || limit > 400);
            assert_true(rc || out.next.has_open == (index == 2));
            avow_arena_deinit(&arena);
        }
        rig_part(&r, s, index);
    }
    rig_deinit(&r);
}

/* A key that an entry teaches: allocations of ours fail one after another, on the way in and when
 * the key is used. */
static void test_evaluate__each_allocation_fails_with_a_learned_key__nomem(void **state)
{
    (void)state;
    static struct rig r;
    struct avow_pubkey *k = NULL;
    struct avow_err err = {0};
    static const char pem[] = "-----BEGIN PUBLIC KEY-----\n" EC_KEY "\n-----END PUBLIC KEY-----\n";
    uint8_t digest[32], data[512];
    char text[256], hex[65];
    rig_init(&r, RIG_P256);
    assert_int_equal(avow_pubkey_from_pem(avow_bytes_make(pem, sizeof pem - 1), &k, &err), AVOW_OK);
    struct avow_bytes spki = avow_pubkey_spki(k);
    avow_sha256(spki, digest);
    avow_hex_encode(hex, AVOW_BYTES_OF(digest));
    (void)snprintf(text, sizeof text, "{\"digests\":{},\"keyrings\":{\".ima\":[\"%s\"]}}", hex);
    rig_policy(&r, text);
    struct avow_buf b;
    avow_buf_init(&b, sizeof data);
    const uint8_t heads[] = {40, 0, 0, 0, 's', 'h', 'a', '2', '5', '6', ':', 0};
    avow_buf_put(&b, heads, sizeof heads);
    avow_buf_put(&b, digest, sizeof digest);
    const uint8_t name[] = {5, 0, 0, 0, '.', 'i', 'm', 'a', 0, (uint8_t)spki.len, 0, 0, 0};
    avow_buf_put(&b, name, sizeof name);
    avow_buf_put(&b, spki.ptr, spki.len);
    struct rig_entry e = rig_entry_raw(10, "ima-buf", avow_buf_bytes(&b));
    rig_list(&r, &e);
    rig_extend(&r, &e);
    avow_buf_deinit(&b);
    avow_pubkey_free(k);
    struct rig_shot *s = rig_take(&r);
    rig_seal(&r, s);
    struct avow_body body;
    assert_int_equal(avow_body_decode(s->evidence.body, &r.arena, &body, NULL), AVOW_OK);
    struct avow_eval_policy policy = {.runtime = r.policy, .heads = &r.head, .heads_count = 1};
    struct avow_eval_in in = {.evidence = &s->evidence,
                              .body = &body,
                              .enrollment = &r.e,
                              .enrollment_sha256 = r.e_sha256,
                              .ak = r.ak,
                              .policy = &policy,
                              .prior = &r.state,
                              .marker = &s->marker,
                              .service_ms = r.epoch * RIG_EPOCH_MS,
                              .partition = RIG_PARTITION};
    unsigned failures = 0;
    for (unsigned n = 1; n < 1000; n++) {
        struct avow_arena arena;
        struct avow_eval_out out = {.kind = AVOW_EVAL_UNDECIDED};
        avow_arena_init(&arena, 1u << 20);
        failing_alloc_at = n;
        enum avow_rc rc = avow_evaluate(&in, &arena, &out, NULL);
        bool reached = failing_alloc_at == 0;
        failing_alloc_at = 0;
        if (!rc)
            assert_int_equal(out.next.learned_count, 1);
        else
            assert_int_equal(rc, AVOW_NOMEM);
        assert_int_equal(rc == AVOW_OK, !reached);
        avow_arena_deinit(&arena);
        if (!reached)
            break;
        failures++;
    }
    assert_true(failures > 3);
    rig_deinit(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_evaluate__each_allocation_fails_with_a_learned_key__nomem),
        cmocka_unit_test(test_runtime_policy_load__each_allocation_fails__nomem),
        cmocka_unit_test(test_evaluate__arena_too_small__nomem_and_out_untouched),
        cmocka_unit_test(test_evaluate_part__arena_too_small__nomem_and_out_untouched),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
