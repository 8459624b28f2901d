/* test_policy_facts.c - policies as facts: what is read is what is written, whatever the form was.
 */
#include "cli_test.h"

#include "avow/core/runtime_policy.h"
#include "policy_facts.h"

#define A32 "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define B32 "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
#define A20 "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"

static struct avow_bytes text_of(const char *s)
{
    return avow_bytes_make(s, strlen(s));
}

static void load(struct avow_policy_facts *f, const char *text)
{
    struct avow_err err = {.rc = AVOW_OK};
    avow_policy_facts_init(f);
    assert_code(text, avow_policy_facts_load(f, text_of(text), &err), AVOW_OK, &err);
    avow_policy_facts_sort(f);
}

/* Drops what says nothing about the policy itself. */
static size_t meaning(const struct avow_policy_facts *f)
{
    size_t n = 0;
    for (size_t i = 0; i < f->count; i++)
        n += f->items[i].kind != AVOW_POLICY_ITEM_LEGACY &&
             f->items[i].kind != AVOW_POLICY_ITEM_WARNING;
    return n;
}

static void test_policy_facts_write__any_form__reads_back_the_same(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "{\"digests\":{}}",
        A32 "  /b\n" B32 "  /a\n" A32 "  /a\n" A32 "  /a\n",
        "{\"meta\":{\"version\":5},\"hashes\":{\"/a\":[\"" A32 "\",\"" A20 "\"]}}",
        "{\"digests\":{\"/q\\\"\\\\\\u0001\\u007f\\u00e9\":[\"" A32
        "\"]},\"excludes\":[\"/x\\\\d+\",\"/a\"],\"keyrings\":{\"k\":[\"" A32 "\",\"" B32
        "\"]},\"ima-buf\":{\"b\":[\"" A32 "\"]},\"ima\":{\"ignored_keyrings\":[\"*\",\".x\"]},"
        "\"avow\":{\"version\":1,\"strict_excludes\":true},\"odd\":1}",
    };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        struct avow_policy_facts first, second;
        struct avow_buf out, again;
        struct avow_err err = {.rc = AVOW_OK};
        avow_buf_init(&out, 1u << 16);
        avow_buf_init(&again, 1u << 16);
        load(&first, texts[i]);
        assert_code("write", avow_policy_facts_write(&first, &out, &err), AVOW_OK, &err);
        load(&second, avow_buf_cstr(&out));
        assert_int_equal(second.count, meaning(&first));
        for (size_t k = 0, m = 0; k < first.count; k++) {
            if (first.items[k].kind == AVOW_POLICY_ITEM_LEGACY ||
                first.items[k].kind == AVOW_POLICY_ITEM_WARNING)
                continue;
            assert_int_equal(avow_policy_fact_cmp(&first.items[k], &second.items[m]), 0);
            m++;
        }
        assert_code("write", avow_policy_facts_write(&second, &again, &err), AVOW_OK, &err);
        assert_string_equal(avow_buf_cstr(&out), avow_buf_cstr(&again));
        avow_policy_facts_deinit(&first);
        avow_policy_facts_deinit(&second);
        avow_buf_deinit(&out);
        avow_buf_deinit(&again);
    }
}

static void test_policy_facts_sort__twice_the_same__once(void **state)
{
    (void)state;
    struct avow_policy_facts f;
    load(&f, B32 " /b\n" A32 " /b\n" B32 " /b\n" A32 " /a\n");
    assert_int_equal(meaning(&f), 3);
    assert_true(avow_str_is(f.items[0].name, "/a"));
    assert_int_equal(f.items[1].value.ptr[0], 0xAA);
    assert_int_equal(f.items[2].value.ptr[0], 0xBB);
    avow_policy_facts_deinit(&f);
}

static void test_policy_facts_write__what_json_cannot_hold__refused(void **state)
{
    (void)state;
    struct avow_policy_facts f;
    struct avow_buf out;
    struct avow_err err = {.rc = AVOW_OK};
    static const char *const keys[] = {"one", "two"};
    avow_buf_init(&out, 1u << 16);
    load(&f, A32 " /\xff\n");
    assert_int_equal(avow_policy_facts_write(&f, &out, &err), AVOW_PARSE);
    assert_contains("name", err.msg, "no UTF-8");
    avow_policy_facts_deinit(&f);
    avow_policy_facts_init(&f);
    for (size_t i = 0; i < 2; i++)
        assert_int_equal(avow_policy_facts_add(&f, AVOW_POLICY_ITEM_VERIFICATION_KEYS,
                                               avow_str_from(keys[i]), (struct avow_bytes){NULL, 0},
                                               &err),
                         AVOW_OK);
    assert_int_equal(avow_policy_facts_write(&f, &out, &err), AVOW_PARSE);
    assert_contains("keys", err.msg, "two different verification-keys");
    avow_policy_facts_deinit(&f);
    avow_buf_deinit(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_policy_facts_write__any_form__reads_back_the_same),
        cmocka_unit_test(test_policy_facts_sort__twice_the_same__once),
        cmocka_unit_test(test_policy_facts_write__what_json_cannot_hold__refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
