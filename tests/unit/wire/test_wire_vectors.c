/* The records that fastavro wrote: read, written back, printed, and one of them field by field. */
#include "recode.h"
#include "vectors.h"

#include "avow/wire/all.h"
#include "avow/wire/json.h"

#include "cmocka_all.h"

#include "avow/base/banned.h"

static void test_decode_encode__golden_bytes__are_the_same_bytes(void **state)
{
    (void)state;
    struct vectors all;
    struct avow_arena arena;
    vectors_list(&all);
    avow_arena_init(&arena, RECODE_ARENA_MAX);
    for (size_t i = 0; i < all.count; i++) {
        struct avow_err err = {.rc = AVOW_OK};
        struct avow_buf in = vectors_read(all.name[i], ".bin");
        struct avow_buf again;
        avow_buf_init(&again, 1u << 20);
        const struct recode *r = recode_of(avow_buf_bytes(&in));
        if (!r)
            fail_msg("%s: schema unknown; run tests/wire/make_vectors.py", all.name[i]);
        if (r->run(avow_buf_bytes(&in), &arena, &again, &err))
            fail_msg("%s: %s", all.name[i], err.msg);
        if (!avow_bytes_eq(avow_buf_bytes(&in), avow_buf_bytes(&again)))
            fail_msg("%s: encoded differently", all.name[i]);
        avow_buf_deinit(&in);
        avow_buf_deinit(&again);
        avow_arena_reset(&arena);
    }
    avow_arena_deinit(&arena);
}

static void test_schemas__all__have_a_smallest_and_a_full_vector(void **state)
{
    (void)state;
    struct vectors all;
    vectors_list(&all);
    for (size_t s = 0; s < recodes_count; s++) {
        bool min = false;
        bool full = false;
        for (size_t i = 0; i < all.count; i++) {
            char want[64];
            snprintf(want, sizeof want, "%s-min", recodes[s].schema->record);
            min |= avow_cstr_eq(all.name[i], want);
            snprintf(want, sizeof want, "%s-full0", recodes[s].schema->record);
            full |= avow_cstr_eq(all.name[i], want);
        }
        if (!min || !full)
            fail_msg("%s has no vectors", recodes[s].schema->record);
    }
}

static void check_json(const char *name, enum avow_json_style style, const char *suffix)
{
    struct avow_err err = {.rc = AVOW_OK};
    struct avow_buf in = vectors_read(name, ".bin");
    struct avow_buf want = vectors_read(name, suffix);
    struct avow_buf got;
    avow_buf_init(&got, 1u << 20);
    if (avow_wire_to_json(avow_buf_bytes(&in), style, &got, &err))
        fail_msg("%s: %s", name, err.msg);
    avow_buf_put_u8(&got, '\n');
    if (!avow_bytes_eq(avow_buf_bytes(&got), avow_buf_bytes(&want)))
        fail_msg("%s%s: got %s want %s", name, suffix, avow_buf_cstr(&got), avow_buf_cstr(&want));
    avow_buf_deinit(&in);
    avow_buf_deinit(&want);
    avow_buf_deinit(&got);
}

static void test_to_json__golden_bytes__is_the_golden_text(void **state)
{
    (void)state;
    struct vectors all;
    vectors_list(&all);
    for (size_t i = 0; i < all.count; i++) {
        check_json(all.name[i], AVOW_JSON_AVRO, ".avro.json");
        check_json(all.name[i], AVOW_JSON_PLAIN, ".plain.json");
    }
}

/* Written by hand from the specification, so that generator and fastavro cannot be wrong together.
 */
static void test_evidence_part_encode__known_value__bytes_of_the_specification(void **state)
{
    (void)state;
    static const uint8_t part[3] = {0xAA, 0xBB, 0xCC};
    struct avow_evidence_part v = {.index = 300, .has_next = true};
    v.part = AVOW_BYTES_OF(part);
    for (uint8_t i = 0; i < sizeof v.tag; i++)
        v.tag[i] = i;
    memset(v.next, 0xEE, sizeof v.next);

    uint8_t want[10 + 16 + 2 + 1 + 3 + 1 + 32] = {0xC3, 0x01};
    size_t n = 2;
    avow_put_u64le(want + n, avow_wire_evidence_part_schema.fingerprint);
    n += 8;
    for (uint8_t i = 0; i < 16; i++)
        want[n++] = i;
    want[n++] = 0xD8; /* 300 zigzag 600 = 0x258: low seven bits 0x58 and a continuation, then 4 */
    want[n++] = 0x04;
    want[n++] = 0x06; /* length 3 */
    memcpy(want + n, part, sizeof part);
    n += sizeof part;
    want[n++] = 0x02; /* second branch */
    memset(want + n, 0xEE, 32);

    struct avow_buf got;
    avow_buf_init(&got, 1024);
    assert_int_equal(avow_evidence_part_encode(&v, &got, NULL), AVOW_OK);
    assert_int_equal(got.len, sizeof want);
    assert_memory_equal(got.ptr, want, sizeof want);

    struct avow_evidence_part back;
    assert_int_equal(avow_evidence_part_decode(avow_buf_bytes(&got), NULL, &back, NULL), AVOW_OK);
    assert_int_equal(back.index, 300);
    assert_memory_equal(back.tag, v.tag, sizeof v.tag);
    assert_true(back.has_next);
    assert_memory_equal(back.next, v.next, sizeof v.next);
    /* Zero-copy: the part is inside the input. */
    assert_true(back.part.ptr > got.ptr && back.part.ptr + 3 < got.ptr + got.len);
    assert_memory_equal(back.part.ptr, part, sizeof part);
    avow_buf_deinit(&got);
}

static void test_encode__buffer_with_content__appends(void **state)
{
    (void)state;
    struct avow_evidence_part v = {.index = 1};
    struct avow_buf b;
    avow_buf_init(&b, 1024);
    avow_buf_put_str(&b, "before");
    assert_int_equal(avow_evidence_part_encode(&v, &b, NULL), AVOW_OK);
    assert_memory_equal(b.ptr, "before\xC3\x01", 8);
    avow_buf_deinit(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_decode_encode__golden_bytes__are_the_same_bytes),
        cmocka_unit_test(test_schemas__all__have_a_smallest_and_a_full_vector),
        cmocka_unit_test(test_to_json__golden_bytes__is_the_golden_text),
        cmocka_unit_test(test_evidence_part_encode__known_value__bytes_of_the_specification),
        cmocka_unit_test(test_encode__buffer_with_content__appends),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
