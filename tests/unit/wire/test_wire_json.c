/* JSON for terminals and scripts: escapes, styles, failures. Whole records: test_wire_vectors.c. */
#include "avow/wire/all.h"
#include "avow/wire/json.h"

#include "cmocka_all.h"

#include "avow/base/banned.h"

static void check(struct avow_bytes record, enum avow_json_style style, const char *want)
{
    struct avow_buf got;
    avow_buf_init(&got, 1u << 16);
    assert_int_equal(avow_wire_to_json(record, style, &got, NULL), AVOW_OK);
    if (!strstr(avow_buf_cstr(&got), want))
        fail_msg("%s is not in %s", want, avow_buf_cstr(&got));
    avow_buf_deinit(&got);
}

static void test_to_json__strings__hold_no_control_character(void **state)
{
    (void)state;
    const struct {
        struct avow_str in;
        const char *want;
    } cases[] = {
        {AVOW_STR_LIT(""), "\"owner\":\"\""},
        {AVOW_STR_LIT("plain ~"), "\"owner\":\"plain ~\""},
        {AVOW_STR_LIT("\"\\/"), "\"owner\":\"\\\"\\\\/\""},
        {AVOW_STR_LIT("\n\t\x01\x1b[31m\x7f"),
         "\"owner\":\"\\u000a\\u0009\\u0001\\u001b[31m\\u007f\""},
        {AVOW_STR_LIT("\xC2\x80\xC2\x9F\xC2\xA0\xC2\xBF"),
         "\"owner\":\"\\u0080\\u009f\xC2\xA0\xC2\xBF\""},
        {AVOW_STR_LIT("\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80"),
         "\"owner\":\"\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80\""},
    };
    for (size_t i = 0; i < AVOW_ARRAY_LEN(cases); i++) {
        struct avow_marker v = {.owner = cases[i].in};
        struct avow_buf b;
        avow_buf_init(&b, 4096);
        assert_int_equal(avow_marker_encode(&v, &b, NULL), AVOW_OK);
        check(avow_buf_bytes(&b), AVOW_JSON_PLAIN, cases[i].want);
        check(avow_buf_bytes(&b), AVOW_JSON_AVRO, cases[i].want);
        avow_buf_deinit(&b);
    }
}

static void test_to_json__bytes_and_unions__follow_the_style(void **state)
{
    (void)state;
    static const uint8_t part[] = {0x00, 'a', '"', 0x7F, 0x80, 0xFF};
    struct avow_evidence_part v = {.index = 2, .part = AVOW_BYTES_OF(part), .has_next = true};
    struct avow_buf b;
    avow_buf_init(&b, 4096);
    memset(v.next, 'n', sizeof v.next);
    assert_int_equal(avow_evidence_part_encode(&v, &b, NULL), AVOW_OK);
    check(avow_buf_bytes(&b), AVOW_JSON_PLAIN, "\"part\":\"0061227f80ff\",\"next\":\"6e6e");
    check(avow_buf_bytes(&b), AVOW_JSON_AVRO,
          "\"part\":\"\\u0000a\\\"\\u007f\\u0080\\u00ff\",\"next\":{\"avow.Fixed32\":\"nnnn");
    avow_buf_deinit(&b);
}

static void test_to_json__damaged_record__leaves_the_buffer(void **state)
{
    (void)state;
    struct avow_marker v = {.epoch = 7};
    struct avow_err err = {.rc = AVOW_OK};
    struct avow_buf b;
    struct avow_buf out;
    avow_buf_init(&b, 4096);
    avow_buf_init(&out, 4096);
    avow_buf_put_str(&out, "[");
    assert_int_equal(avow_marker_encode(&v, &b, NULL), AVOW_OK);
    struct avow_bytes cut = avow_bytes_make(b.ptr, b.len - 1);
    assert_int_equal(avow_wire_to_json(cut, AVOW_JSON_PLAIN, &out, &err), AVOW_PARSE);
    assert_string_equal(err.msg, "marker.proof: truncated");
    b.ptr[5] ^= 1u;
    assert_int_equal(avow_wire_to_json(avow_buf_bytes(&b), AVOW_JSON_PLAIN, &out, &err),
                     AVOW_SCHEMA);
    assert_int_equal(avow_wire_to_json(avow_bytes_make(b.ptr, 9), AVOW_JSON_PLAIN, &out, &err),
                     AVOW_SCHEMA);
    assert_string_equal(avow_buf_cstr(&out), "[");
    avow_buf_deinit(&b);
    avow_buf_deinit(&out);
}

static void test_to_json__buffer_too_small__is_limit_error_and_leaves_no_part(void **state)
{
    (void)state;
    struct avow_marker v = {.epoch = 7};
    struct avow_buf b;
    avow_buf_init(&b, 4096);
    assert_int_equal(avow_marker_encode(&v, &b, NULL), AVOW_OK);
    for (size_t limit = 0; limit < 100; limit++) {
        struct avow_buf out;
        avow_buf_init(&out, limit);
        assert_int_equal(avow_wire_to_json(avow_buf_bytes(&b), AVOW_JSON_PLAIN, &out, NULL),
                         AVOW_LIMIT);
        assert_int_equal(out.len, 0);
        avow_buf_deinit(&out);
    }
    avow_buf_deinit(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_to_json__strings__hold_no_control_character),
        cmocka_unit_test(test_to_json__bytes_and_unions__follow_the_style),
        cmocka_unit_test(test_to_json__damaged_record__leaves_the_buffer),
        cmocka_unit_test(test_to_json__buffer_too_small__is_limit_error_and_leaves_no_part),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
