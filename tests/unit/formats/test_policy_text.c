/* test_policy_text.c - our JSON reader against another one: same documents accepted, same strings
 * read. */
#include "vec.h"

#include "avow/formats/policy_text.h"

#include <jansson.h>

#include "avow/base/banned.h"

struct seen {
    struct avow_buf text; /* every item, one after another */
};

static enum avow_rc note(void *ctx, enum avow_policy_item item, struct avow_str name,
                         struct avow_bytes value, struct avow_err *err)
{
    struct seen *s = ctx;
    (void)err;
    avow_buf_put_u8(&s->text, (uint8_t)('A' + (int)item));
    avow_buf_put(&s->text, name.ptr, name.len);
    avow_buf_put_u8(&s->text, (uint8_t)('0' + (int)value.len % 10));
    return AVOW_OK;
}

static bool parse(struct avow_bytes text, struct seen *out)
{
    const struct avow_policy_sink sink = {.ctx = out, .item = note};
    avow_buf_init(&out->text, 1u << 20);
    return avow_policy_text_parse(text, &sink, NULL) == AVOW_OK;
}

/* {"digests": {}, "excludes": [TEXT]} with another reader's strings. */
static void test_policy_text_parse__strings__read_as_another_reader_does(void **state)
{
    (void)state;
    static const char *const strings[] = {"",
                                          "/tmp",
                                          "\\\"\\\\\\/\\b\\f\\n\\r\\t",
                                          "\\u0041\\u00e9\\u20ac",
                                          "\\ud83d\\ude00",
                                          "\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80",
                                          "a\\u0062c\\\\d",
                                          "\\uD7FF\\uE000"};
    for (size_t i = 0; i < AVOW_ARRAY_LEN(strings); i++) {
        char text[256], want[256];
        struct seen s;
        (void)snprintf(text, sizeof text, "{\"digests\":{},\"excludes\":[\"%s\"]}", strings[i]);
        json_t *root = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
        assert_non_null(root);
        (void)snprintf(want, sizeof want, "B%s0",
                       json_string_value(json_array_get(json_object_get(root, "excludes"), 0)));
        assert_true(parse(avow_bytes_make(text, strlen(text)), &s));
        assert_string_equal(avow_buf_cstr(&s.text), want);
        avow_buf_deinit(&s.text);
        json_decref(root);
    }
}

static void test_policy_text_parse__not_json__refused(void **state)
{
    (void)state;
    static const char *const values[] = {
        "\"a",
        "\"\\x\"",
        "\"\\u12\"",
        "\"\\u0000\"",
        "\"\\ud800\"",
        "\"\\ud800\\u0041\"",
        "\"\\udc00\"",
        "\"a\tb\"",
        "tru",
        "nul",
        "01",
        "-",
        "1.",
        ".5",
        "1e",
        "1e+",
        "+1",
        "[1,]",
        "[,1]",
        "[1 2]",
        "{\"a\"}",
        "{\"a\":}",
        "{\"a\":1,}",
        "{a:1}",
        "'a'",
        "[",
        "{",
        "]",
        "NaN",
        "1 2",
        "\"\xff\"",
        "\"\xed\xa0\x80\"",
        "",
    };
    for (size_t i = 0; i < AVOW_ARRAY_LEN(values); i++) {
        char text[256];
        struct seen s;
        (void)snprintf(text, sizeof text, "{\"digests\":{},\"ima\":{\"dm_policy\":%s}}", values[i]);
        assert_null(json_loads(text, JSON_REJECT_DUPLICATES, NULL));
        if (parse(avow_bytes_make(text, strlen(text)), &s))
            fail_msg("accepted: %s", text);
        avow_buf_deinit(&s.text);
    }
}

static void test_policy_text_parse__nested__up_to_64(void **state)
{
    (void)state;
    for (unsigned depth = 63; depth <= 65; depth++) {
        char text[400] = "{\"digests\":{},\"ima\":{\"dm_policy\":";
        size_t n = strlen(text);
        for (unsigned i = 0; i < depth; i++)
            text[n++] = '[';
        for (unsigned i = 0; i < depth; i++)
            text[n++] = ']';
        memcpy(text + n, "}}", 2);
        struct seen s;
        assert_int_equal(parse(avow_bytes_make(text, n + 2), &s), depth <= 64);
        avow_buf_deinit(&s.text);
    }
}

/* Documents with one byte changed: what another reader refuses, ours refuses. The other way ours
 * may be stricter. */
static void test_policy_text_parse__mutations__never_laxer_than_another_reader(void **state)
{
    (void)state;
    static const char base[] =
        "{\"meta\":{\"version\":1,\"timestamp\":\"x\"},\"digests\":{\"/"
        "a\":[\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\"]},"
        "\"excludes\":[\"/\\u0041b\\n\",\"/"
        "c\"],\"ima\":{\"dm_policy\":{\"a\":[1.5e3,-2,true,null,{\"b\":\"\\ud83d\\ude00\"}]}},"
        "\"release\":0}";
    static const char bytes[] = "\"\\{}[]:, 0a\x01\x80ut-.e+\n";
    unsigned accepted = 0;
    for (size_t at = 0; at < sizeof base - 1; at++) {
        for (size_t k = 0; k < sizeof bytes - 1; k++) {
            char text[sizeof base];
            struct seen s;
            memcpy(text, base, sizeof base);
            text[at] = bytes[k];
            json_t *root = json_loadb(text, sizeof base - 1, JSON_REJECT_DUPLICATES, NULL);
            bool ours = parse(avow_bytes_make(text, sizeof base - 1), &s);
            if (ours && !root)
                fail_msg("accepted: %s", text);
            accepted += ours;
            avow_buf_deinit(&s.text);
            json_decref(root);
        }
    }
    assert_true(accepted > 100);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_policy_text_parse__strings__read_as_another_reader_does),
        cmocka_unit_test(test_policy_text_parse__not_json__refused),
        cmocka_unit_test(test_policy_text_parse__nested__up_to_64),
        cmocka_unit_test(test_policy_text_parse__mutations__never_laxer_than_another_reader),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
