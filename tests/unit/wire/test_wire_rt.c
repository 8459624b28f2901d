/* The runtime of the codecs, call by call. */
#include "wire_rt.h"

#include "cmocka_all.h"

#include "avow/base/banned.h"

#define ARENA_MAX 65536u

static const struct avow_wire_schema schema = {
    .name = "avow.Test", .record = "test", .fingerprint = 0x0102030405060708u, .max_value = 4096};

struct rig {
    uint8_t bytes[256];
    struct avow_dec d;
    struct avow_arena arena;
    struct avow_err err;
};

/* A reader at the first byte of `body`. */
static void start(struct rig *r, const void *body, size_t len)
{
    static const uint8_t frame[] = {0xC3, 0x01, 8, 7, 6, 5, 4, 3, 2, 1};
    assert_true(sizeof frame + len <= sizeof r->bytes);
    memcpy(r->bytes, frame, sizeof frame);
    memcpy(r->bytes + sizeof frame, body, len);
    r->err = (struct avow_err){.rc = AVOW_OK};
    avow_arena_init(&r->arena, ARENA_MAX);
    struct avow_bytes in = {r->bytes, sizeof frame + len};
    assert_int_equal(avow_dec_start(&r->d, &schema, in, &r->arena, &r->err), AVOW_OK);
}

struct number_case {
    const char *name;
    const char *bytes;
    size_t len;
    enum avow_rc rc;
    uint64_t want;
    const char *message; /* after "test.n: " */
};
#define N(name, lit, rc, want, message)                                                            \
    {                                                                                              \
        name, lit, sizeof(lit) - 1, rc, want, message                                              \
    }

static const struct number_case numbers[] = {
    N("zero", "\x00", AVOW_OK, 0, NULL),
    N("one", "\x02", AVOW_OK, 1, NULL),
    N("63", "\x7E", AVOW_OK, 63, NULL),
    N("64", "\x80\x01", AVOW_OK, 64, NULL),
    N("largest", "\xFE\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\x01", AVOW_OK, INT64_MAX, NULL),
    N("minus one", "\x01", AVOW_PARSE, 0, "-1 is out of range"),
    N("smallest", "\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\x01", AVOW_PARSE, 0,
      "-9223372036854775808 is out of range"),
    N("no byte", "", AVOW_PARSE, 0, "truncated"),
    N("cut", "\x80", AVOW_PARSE, 0, "truncated"),
    N("cut late", "\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF", AVOW_PARSE, 0, "truncated"),
    N("65 bits", "\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\x02", AVOW_PARSE, 0,
      "number does not fit 64 bits"),
    N("eleven bytes", "\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01", AVOW_PARSE, 0,
      "number does not fit 64 bits"),
    N("zero in two bytes", "\x80\x00", AVOW_PARSE, 0, "number is not in its shortest form"),
    N("one in three bytes", "\x82\x80\x00", AVOW_PARSE, 0, "number is not in its shortest form"),
    N("zero in ten bytes", "\x80\x80\x80\x80\x80\x80\x80\x80\x80\x00", AVOW_PARSE, 0,
      "number is not in its shortest form"),
};

static void test_dec_u63__table(void **state)
{
    (void)state;
    for (size_t i = 0; i < AVOW_ARRAY_LEN(numbers); i++) {
        const struct number_case *c = &numbers[i];
        struct rig r;
        char want[128] = "";
        start(&r, c->bytes, c->len);
        uint64_t got = avow_dec_u63(&r.d, "n");
        enum avow_rc rc = avow_dec_finish(&r.d);
        if (c->message)
            snprintf(want, sizeof want, "test.n: %s", c->message);
        if (rc != c->rc || got != c->want || strcmp(r.err.msg, want))
            fail_msg("%s: %s %llu %s", c->name, avow_rc_text(rc), (unsigned long long)got,
                     r.err.msg);
        avow_arena_deinit(&r.arena);
    }
}

static void test_dec_ranges__largest_and_one_more(void **state)
{
    (void)state;
    struct rig r;
    start(&r, "\xFE\xFF\x07\xFE\xFF\xFF\xFF\x0F\xFE\xFF\xFF\xFF\x1F", 13);
    assert_int_equal(avow_dec_u16(&r.d, "a"), UINT16_MAX);
    assert_int_equal(avow_dec_u31(&r.d, "b"), INT32_MAX);
    assert_int_equal(avow_dec_u32(&r.d, "c"), UINT32_MAX);
    assert_int_equal(avow_dec_finish(&r.d), AVOW_OK);
    avow_arena_deinit(&r.arena);

    start(&r, "\x80\x80\x08", 3);
    assert_int_equal(avow_dec_u16(&r.d, "a"), 0);
    assert_int_equal(avow_dec_finish(&r.d), AVOW_PARSE);
    assert_string_equal(r.err.msg, "test.a: 65536 is out of range");
    avow_arena_deinit(&r.arena);

    start(&r, "\x80\x80\x80\x80\x10", 5);
    assert_int_equal(avow_dec_u31(&r.d, "b"), 0);
    assert_int_equal(avow_dec_finish(&r.d), AVOW_PARSE);
    avow_arena_deinit(&r.arena);

    start(&r, "\x80\x80\x80\x80\x20", 5);
    assert_int_equal(avow_dec_u32(&r.d, "c"), 0);
    assert_int_equal(avow_dec_finish(&r.d), AVOW_PARSE);
    avow_arena_deinit(&r.arena);
}

static const struct {
    const char *name;
    const char *bytes;
    size_t len;
    size_t max;
    enum avow_rc rc;
    const char *message;
} strings[] = {
    {"empty", "\x00", 1, 4, AVOW_OK, ""},
    {"at the cap",
     "\x08"
     "abcd",
     5, 4, AVOW_OK, ""},
    {"over the cap",
     "\x0A"
     "abcde",
     6, 4, AVOW_LIMIT, "test.s: longer than 4"},
    {"the cap before the end", "\x80\x80\x80\x80\x08", 5, 4, AVOW_LIMIT, "test.s: longer than 4"},
    {"negative length", "\x01", 1, 4, AVOW_PARSE, "test.s: negative length"},
    {"cut",
     "\x08"
     "abc",
     4, 4, AVOW_PARSE, "test.s: truncated"},
    {"NUL",
     "\x04"
     "a\0",
     3, 4, AVOW_PARSE, "test.s: not UTF-8"},
    {"lone continuation", "\x02\x80", 2, 4, AVOW_PARSE, "test.s: not UTF-8"},
    {"overlong", "\x04\xC0\xAF", 3, 4, AVOW_PARSE, "test.s: not UTF-8"},
    {"surrogate", "\x06\xED\xA0\x80", 4, 4, AVOW_PARSE, "test.s: not UTF-8"},
};

static void test_dec_str__table(void **state)
{
    (void)state;
    for (size_t i = 0; i < AVOW_ARRAY_LEN(strings); i++) {
        struct rig r;
        start(&r, strings[i].bytes, strings[i].len);
        struct avow_str s = avow_dec_str(&r.d, "s", strings[i].max);
        enum avow_rc rc = avow_dec_finish(&r.d);
        if (rc != strings[i].rc || strcmp(r.err.msg, strings[i].message) ||
            s.len != (rc ? 0 : strings[i].len - 1))
            fail_msg("%s: %s %s", strings[i].name, avow_rc_text(rc), r.err.msg);
        avow_arena_deinit(&r.arena);
    }
}

static void test_dec_bool__other_bytes__are_parse_errors(void **state)
{
    (void)state;
    for (unsigned b = 0; b < 256; b++) {
        struct rig r;
        uint8_t byte = (uint8_t)b;
        start(&r, &byte, 1);
        bool v = avow_dec_bool(&r.d, "b");
        assert_int_equal(v, b == 1);
        assert_int_equal(avow_dec_finish(&r.d), b > 1 ? AVOW_PARSE : AVOW_OK);
        avow_arena_deinit(&r.arena);
    }
}

struct array_case {
    const char *name;
    const char *bytes;
    size_t len;
    enum avow_rc rc;
    size_t count;
    const char *message;
};
#define A(name, lit, rc, count, message)                                                           \
    {                                                                                              \
        name, lit, sizeof(lit) - 1, rc, count, message                                             \
    }
/* Items are u16 (one byte here), at most five. */
static const struct array_case arrays[] = {
    A("empty", "\x00", AVOW_OK, 0, ""),
    A("one block", "\x06\x02\x04\x06\x00", AVOW_OK, 3, ""),
    A("at the cap", "\x0A\x02\x04\x06\x08\x0A\x00", AVOW_OK, 5, ""),
    A("blocks of one", "\x02\x02\x02\x04\x02\x06\x00", AVOW_OK, 3, ""),
    A("block with size", "\x03\x04\x02\x04\x02\x06\x00", AVOW_OK, 3, ""),
    A("size too small", "\x03\x02\x02\x04\x00", AVOW_PARSE, 0, "test.a: truncated"),
    A("size too large", "\x03\x08\x02\x04\x00\x00", AVOW_PARSE, 0, "test.a: block size is wrong"),
    A("size beyond the end", "\x03\x7E\x02\x04\x00", AVOW_PARSE, 0, "test.a: block size is wrong"),
    A("negative size", "\x03\x01\x02\x04\x00", AVOW_PARSE, 0, "test.a: block size is wrong"),
    A("over the cap", "\x0C\x02\x02\x02\x02\x02\x02\x00", AVOW_LIMIT, 0,
      "test.a: more than 5 items"),
    A("over the cap in blocks", "\x06\x02\x02\x02\x06\x02\x02\x02\x00", AVOW_LIMIT, 0,
      "test.a: more than 5 items"),
    A("count bomb", "\xFE\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\x01", AVOW_LIMIT, 0,
      "test.a: more than 5 items"),
    A("negative count bomb", "\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\x01", AVOW_LIMIT, 0,
      "test.a: more than 5 items"),
    A("more items than bytes", "\x0A\x02\x02", AVOW_PARSE, 0, "test.a: truncated"),
    A("no end", "\x02\x02", AVOW_PARSE, 0, "test.a: truncated"),
    A("bad item", "\x06\x02\x01\x06\x00", AVOW_PARSE, 0, "test.a[1]: -1 is out of range"),
    A("bad item of the second block", "\x02\x02\x04\x02\x01\x00", AVOW_PARSE, 0,
      "test.a[2]: -1 is out of range"),
};

static void test_dec_array__table(void **state)
{
    (void)state;
    for (size_t i = 0; i < AVOW_ARRAY_LEN(arrays); i++) {
        const struct array_case *c = &arrays[i];
        struct rig r;
        start(&r, c->bytes, c->len);
        struct avow_dec_array a = avow_dec_array(&r.d, "a", 5, sizeof(uint16_t), 1);
        for (uint16_t *item; (item = avow_dec_next(&r.d, &a));)
            *item = avow_dec_u16(&r.d, NULL);
        size_t count = avow_dec_array_end(&r.d, &a);
        enum avow_rc rc = avow_dec_finish(&r.d);
        if (rc != c->rc || strcmp(r.err.msg, c->message) || (!rc && count != c->count))
            fail_msg("%s: %s %zu %s", c->name, avow_rc_text(rc), count, r.err.msg);
        const uint16_t *items = a.items;
        for (size_t k = 0; !rc && k < count; k++)
            assert_int_equal(items[k], k + 1);
        assert_true(r.arena.used <= 64); /* never more than the cap times three */
        avow_arena_deinit(&r.arena);
    }
}

static void test_dec_array__no_arena__is_limit_error(void **state)
{
    (void)state;
    struct rig r;
    start(&r, "\x02\x02\x00", 3);
    r.d.arena = NULL;
    struct avow_dec_array a = avow_dec_array(&r.d, "a", 5, sizeof(uint16_t), 1);
    assert_null(avow_dec_next(&r.d, &a));
    assert_int_equal(avow_dec_array_end(&r.d, &a), 0);
    assert_int_equal(avow_dec_finish(&r.d), AVOW_LIMIT);
    avow_arena_deinit(&r.arena);
}

static void test_dec__after_a_failure__everything_is_zero_and_the_first_message_stays(void **state)
{
    (void)state;
    struct rig r;
    uint8_t fixed[2] = {9, 9};
    start(&r, "\x01\x02\x02\x02\x02", 5);
    avow_dec_u16(&r.d, "first");
    const uint8_t *p = r.d.p;
    assert_int_equal(avow_dec_u16(&r.d, "second"), 0);
    assert_false(avow_dec_bool(&r.d, "third"));
    assert_int_equal(avow_dec_bytes(&r.d, "fourth", 9).len, 0);
    avow_dec_fixed(&r.d, "fifth", fixed, sizeof fixed);
    assert_int_equal(fixed[0], 9);
    assert_ptr_equal(r.d.p, p);
    assert_int_equal(avow_dec_finish(&r.d), AVOW_PARSE);
    assert_string_equal(r.err.msg, "test.first: -1 is out of range");
    avow_arena_deinit(&r.arena);
}

static void test_wire_frame__lengths(void **state)
{
    (void)state;
    static const uint8_t frame[] = {0xC3, 0x01, 8, 7, 6, 5, 4, 3, 2, 1};
    uint64_t fingerprint = 0;
    for (size_t len = 0; len < sizeof frame; len++)
        assert_false(avow_wire_frame(avow_bytes_make(frame, len), &fingerprint));
    assert_true(avow_wire_frame(AVOW_BYTES_OF(frame), &fingerprint));
    assert_true(fingerprint == 0x0102030405060708u);
    assert_false(avow_wire_frame((struct avow_bytes){NULL, 0}, &fingerprint));
}

static void test_path__deeper_than_the_buffer__is_cut(void **state)
{
    (void)state;
    struct avow_wire_path p = {.record = "record"};
    char out[24];
    avow_path_push(&p, "a_long_name", 4);
    avow_path_push(&p, "another", SIZE_MAX);
    avow_path_text(&p, "end", out, sizeof out);
    assert_string_equal(out, "record.a_long_name[4].a");
    avow_path_pop(&p);
    avow_path_text(&p, "x", out, sizeof out);
    assert_string_equal(out, "record.a_long_name[4].x");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_dec_u63__table),
        cmocka_unit_test(test_dec_ranges__largest_and_one_more),
        cmocka_unit_test(test_dec_str__table),
        cmocka_unit_test(test_dec_bool__other_bytes__are_parse_errors),
        cmocka_unit_test(test_dec_array__table),
        cmocka_unit_test(test_dec_array__no_arena__is_limit_error),
        cmocka_unit_test(test_dec__after_a_failure__everything_is_zero_and_the_first_message_stays),
        cmocka_unit_test(test_wire_frame__lengths),
        cmocka_unit_test(test_path__deeper_than_the_buffer__is_cut),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
