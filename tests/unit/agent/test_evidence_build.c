/* PROTOCOL B4 byte for byte: the expected values are put together here, with OpenSSL's SHA-256 and
 * nothing of ours. */
#include "evidence_build.h"

#include "avow/wire/body.h"
#include "avow/wire/evidence.h"
#include "avow/wire/evidence_part.h"

#include <openssl/sha.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "avow/base/banned.h"

static void hash(const void *data, size_t len, uint8_t out[32])
{
    SHA256(data, len, out);
}

static void assert_bytes(const void *got, const void *want, size_t len)
{
    assert_memory_equal(got, want, len);
}

/* --- Links --- */

static void test_links__one_part__hash_of_its_hash_and_zeros(void **state)
{
    (void)state;
    uint8_t sha[1][32], link[1][32], want[32], cat[64] = {0};
    hash("part one", 8, sha[0]);
    memcpy(cat, sha[0], 32);
    hash(cat, 64, want);
    avow_evidence_links((const uint8_t(*)[32])sha, 1, link);
    assert_bytes(link[0], want, 32);
}

static void test_links__n_parts__each_opens_the_next(void **state)
{
    (void)state;
    enum { N = 5 };
    static const char *const parts[N] = {"a", "bb", "ccc", "dddd", "eeeee"};
    uint8_t sha[N][32], link[N][32];
    for (size_t i = 0; i < N; i++)
        hash(parts[i], strlen(parts[i]), sha[i]);
    avow_evidence_links((const uint8_t(*)[32])sha, N, link);
    for (size_t i = 0; i < N;
         i++) { /* as a worker checks part i: SHA-256(SHA-256(part) || next or zeros) = expect */
        uint8_t cat[64] = {0}, got[32];
        hash(parts[i], strlen(parts[i]), cat);
        if (i + 1 < N)
            memcpy(cat + 32, link[i + 1], 32);
        hash(cat, 64, got);
        assert_bytes(got, link[i], 32);
    }
}

static void test_links__any_part_changed__changes_the_first_link(void **state)
{
    (void)state;
    uint8_t sha[3][32] = {{1}, {2}, {3}}, a[3][32], b[3][32];
    avow_evidence_links((const uint8_t(*)[32])sha, 3, a);
    for (size_t i = 0; i < 3; i++) {
        sha[i][31] ^= 1;
        avow_evidence_links((const uint8_t(*)[32])sha, 3, b);
        assert_memory_not_equal(a[0], b[0], 32);
        sha[i][31] ^= 1;
    }
}

/* --- qualifyingData --- */

static void test_qualifying_data__is_the_formula(void **state)
{
    (void)state;
    static const char *const ids[] = {
        "a", "d0e1f2", "x23456789012345678901234567890123456789012345678901234567890123456789"};
    for (size_t i = 0; i < AVOW_ARRAY_LEN(ids); i++) {
        uint8_t fleet[16], nonce[32], body[77], buf[256], got[32], want[32];
        memset(fleet, 0xF1, sizeof fleet);
        memset(nonce, 0x0E, sizeof nonce);
        memset(body, 0xB0, sizeof body);
        size_t n = 0, id_len = strlen(ids[i]);
        memcpy(buf, "avow/evidence/1", 15);
        n = 15;
        buf[n++] = 0;
        memcpy(buf + n, fleet, 16);
        n += 16;
        buf[n++] = 0;
        buf[n++] = (uint8_t)id_len;
        memcpy(buf + n, ids[i], id_len);
        n += id_len;
        memcpy(buf + n, nonce, 32);
        n += 32;
        hash(body, sizeof body, buf + n);
        n += 32;
        hash(buf, n, want);
        avow_evidence_qualifying_data(fleet, avow_str_from(ids[i]), nonce, AVOW_BYTES_OF(body),
                                      got);
        assert_bytes(got, want, 32);
    }
}

static void test_qualifying_data__each_input_matters(void **state)
{
    (void)state;
    uint8_t fleet[16] = {1}, nonce[32] = {2}, body[3] = {3}, base[32], got[32];
    const struct avow_str id = AVOW_STR_LIT("id"), other = AVOW_STR_LIT("ie");
    avow_evidence_qualifying_data(fleet, id, nonce, AVOW_BYTES_OF(body), base);
    avow_evidence_qualifying_data(fleet, other, nonce, AVOW_BYTES_OF(body), got);
    assert_memory_not_equal(base, got, 32);
    uint8_t *const inputs[] = {fleet + 15, nonce + 31, body + 2};
    for (size_t i = 0; i < AVOW_ARRAY_LEN(inputs); i++) {
        *inputs[i] ^= 0x80;
        avow_evidence_qualifying_data(fleet, id, nonce, AVOW_BYTES_OF(body), got);
        assert_memory_not_equal(base, got, 32);
        *inputs[i] ^= 0x80;
    }
}

/* --- PCRs --- */

static struct avow_pcr_bank bank_of(enum avow_hash_alg alg, size_t len)
{
    struct avow_pcr_bank b = {.alg = alg, .digest_len = len};
    for (unsigned i = 0; i < 24; i++)
        memset(b.values[i], (int)(i + 1), len);
    return b;
}

static void test_pcr_static__all_but_10_or_all(void **state)
{
    (void)state;
    struct avow_pcr_bank b = bank_of(AVOW_HASH_ALG_SHA384, 48);
    uint8_t cat[24 * 48], got[32], want[32];
    size_t n = 0;
    for (unsigned i = 0; i < 24; i++) {
        if (i == 10)
            continue;
        memcpy(cat + n, b.values[i], 48);
        n += 48;
    }
    hash(cat, n, want);
    avow_evidence_pcr_static(&b, AVOW_IMA_STATE_PRESENT, got);
    assert_bytes(got, want, 32);
    for (unsigned i = 0; i < 24; i++)
        memcpy(cat + i * 48, b.values[i], 48);
    hash(cat, sizeof cat, want);
    avow_evidence_pcr_static(&b, AVOW_IMA_STATE_ABSENT, got);
    assert_bytes(got, want, 32);
}

static void test_pcr_changes__differences_in_order(void **state)
{
    (void)state;
    struct avow_pcr_bank a = bank_of(AVOW_HASH_ALG_SHA256, 32), b = a,
                         other = bank_of(AVOW_HASH_ALG_SHA1, 20);
    struct avow_pcr_value list[24];
    assert_int_equal(avow_evidence_pcr_changes(&a, NULL, AVOW_IMA_STATE_PRESENT, list), 23);
    assert_int_equal(list[9].index, 9);
    assert_int_equal(list[10].index, 11);
    assert_int_equal(avow_evidence_pcr_changes(&a, NULL, AVOW_IMA_STATE_ABSENT, list), 24);
    assert_int_equal(avow_evidence_pcr_changes(&a, &b, AVOW_IMA_STATE_PRESENT, list), 0);
    assert_int_equal(avow_evidence_pcr_changes(&a, &other, AVOW_IMA_STATE_PRESENT, list), 23);
    b.values[10][0] ^= 1;
    assert_int_equal(avow_evidence_pcr_changes(&b, &a, AVOW_IMA_STATE_PRESENT, list), 0);
    assert_false(avow_evidence_pcr_static_differs(&b, &a, AVOW_IMA_STATE_PRESENT));
    assert_true(avow_evidence_pcr_static_differs(&b, &a, AVOW_IMA_STATE_ABSENT));
    b.values[23][31] ^= 1;
    b.values[0][0] ^= 1;
    assert_int_equal(avow_evidence_pcr_changes(&b, &a, AVOW_IMA_STATE_PRESENT, list), 2);
    assert_int_equal(list[0].index, 0);
    assert_int_equal(list[1].index, 23);
    assert_bytes(list[1].value.ptr, b.values[23], 32);
    assert_int_equal(list[1].value.len, 32);
}

/* --- Records --- */

static void test_frame__type_length_content(void **state)
{
    (void)state;
    struct avow_buf b;
    avow_buf_init(&b, 64);
    const uint8_t content[3] = {7, 8, 9};
    static const uint8_t want[] = {2, 0, 0, 0, 3, 7, 8, 9, 1, 0, 0, 0, 0};
    assert_int_equal(avow_evidence_put_frame(&b, AVOW_FRAME_UEFI, AVOW_BYTES_OF(content), NULL),
                     AVOW_OK);
    assert_int_equal(avow_evidence_put_frame(&b, AVOW_FRAME_IMA, avow_bytes_make(NULL, 0), NULL),
                     AVOW_OK);
    assert_int_equal(b.len, sizeof want);
    assert_bytes(b.ptr, want, sizeof want);
    avow_buf_deinit(&b);
    avow_buf_init(&b, 6);
    assert_int_equal(avow_evidence_put_frame(&b, AVOW_FRAME_IMA, AVOW_BYTES_OF(content), NULL),
                     AVOW_LIMIT);
    avow_buf_deinit(&b);
}

static void test_head__decodes_to_what_went_in(void **state)
{
    (void)state;
    static const uint8_t attest[] = {1, 2}, sig[] = {3}, body[] = {4, 5, 6}, part[] = {7};
    const uint8_t next[32] = {9};
    for (int with_next = 0; with_next < 2; with_next++) {
        struct avow_evidence_head h = {AVOW_BYTES_OF(attest), AVOW_BYTES_OF(sig),
                                       AVOW_BYTES_OF(body), AVOW_BYTES_OF(part),
                                       with_next ? next : NULL};
        struct avow_buf out;
        struct avow_arena arena;
        struct avow_evidence e;
        avow_buf_init(&out, 4096);
        avow_arena_init(&arena, 4096);
        assert_int_equal(avow_evidence_encode_head(&h, &out, NULL), AVOW_OK);
        assert_int_equal(avow_evidence_decode(avow_buf_bytes(&out), &arena, &e, NULL), AVOW_OK);
        assert_int_equal(e.kind, AVOW_AGENT_KIND_AVOW);
        assert_true(avow_bytes_eq(e.attest, h.attest) && avow_bytes_eq(e.signature, h.signature));
        assert_true(avow_bytes_eq(e.body, h.body) && avow_bytes_eq(e.part, h.part));
        assert_int_equal(e.has_next, with_next);
        if (with_next)
            assert_bytes(e.next, next, 32);
        avow_arena_deinit(&arena);
        avow_buf_deinit(&out);
    }
}

static void test_part__tag_is_of_the_attest(void **state)
{
    (void)state;
    static const uint8_t attest[] = {1, 2}, part[] = {7};
    uint8_t want[32];
    struct avow_evidence_tail t = {AVOW_BYTES_OF(attest), 2, AVOW_BYTES_OF(part), NULL};
    struct avow_buf out;
    struct avow_arena arena;
    struct avow_evidence_part p;
    avow_buf_init(&out, 4096);
    avow_arena_init(&arena, 4096);
    assert_int_equal(avow_evidence_encode_part(&t, &out, NULL), AVOW_OK);
    assert_int_equal(avow_evidence_part_decode(avow_buf_bytes(&out), &arena, &p, NULL), AVOW_OK);
    hash(attest, sizeof attest, want);
    assert_bytes(p.tag, want, 16);
    assert_int_equal(p.index, 2);
    assert_false(p.has_next);
    avow_arena_deinit(&arena);
    avow_buf_deinit(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_links__one_part__hash_of_its_hash_and_zeros),
        cmocka_unit_test(test_links__n_parts__each_opens_the_next),
        cmocka_unit_test(test_links__any_part_changed__changes_the_first_link),
        cmocka_unit_test(test_qualifying_data__is_the_formula),
        cmocka_unit_test(test_qualifying_data__each_input_matters),
        cmocka_unit_test(test_pcr_static__all_but_10_or_all),
        cmocka_unit_test(test_pcr_changes__differences_in_order),
        cmocka_unit_test(test_frame__type_length_content),
        cmocka_unit_test(test_head__decodes_to_what_went_in),
        cmocka_unit_test(test_part__tag_is_of_the_attest),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
