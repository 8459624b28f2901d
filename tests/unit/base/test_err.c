#include "avow/base/cli.h"
#include "avow/base/err.h"

#include "check.h"

#include <string.h>

#include "avow/base/banned.h"

static void test_err_set__message__is_formatted_and_returned(void **state)
{
    struct avow_err err;
    (void)state;
    assert_int_equal(avow_err_set(&err, AVOW_IO, 13, "open %s", "x"), AVOW_IO);
    assert_int_equal(err.rc, AVOW_IO);
    assert_int_equal(err.native, 13);
    assert_string_equal(err.msg, "open x");
    assert_int_equal(avow_err_set(NULL, AVOW_IO, 0, "x"), AVOW_IO);
    avow_err_set(&err, AVOW_PARSE, 0, "again: %s", err.msg); /* its own message as argument */
    assert_string_equal(err.msg, "again: open x");
}

static void test_err_wrap__context__comes_first(void **state)
{
    struct avow_err err;
    (void)state;
    avow_err_set(&err, AVOW_IO, 5, "inner");
    assert_int_equal(avow_err_wrap(&err, AVOW_BUS, "outer %d", 1), AVOW_BUS);
    assert_string_equal(err.msg, "outer 1: inner");
    assert_int_equal(err.rc, AVOW_BUS);
    assert_int_equal(err.native, 5);
    assert_int_equal(avow_err_wrap(NULL, AVOW_BUS, "x"), AVOW_BUS);
}

static void test_err__very_long__is_cut_and_terminated(void **state)
{
    struct avow_err err;
    char text[600];
    (void)state;
    memset(text, 'a', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    avow_err_set(&err, AVOW_IO, 0, "%s", text);
    assert_int_equal(strlen(err.msg), sizeof err.msg - 1);
    avow_err_wrap(&err, AVOW_IO, "ctx");
    assert_int_equal(strlen(err.msg), sizeof err.msg - 1);
    assert_memory_equal(err.msg, "ctx: aaa", 8);
    avow_err_wrap(&err, AVOW_IO, "%s", text);
    assert_int_equal(strlen(err.msg), sizeof err.msg - 1);
}

static void test_rc_text__every_code__has_its_own_words(void **state)
{
    (void)state;
    for (int i = 0; i < AVOW_RC_COUNT; i++) {
        assert_string_not_equal(avow_rc_text((enum avow_rc)i), "unknown error");
        for (int k = 0; k < i; k++)
            assert_string_not_equal(avow_rc_text((enum avow_rc)i), avow_rc_text((enum avow_rc)k));
    }
    assert_string_equal(avow_rc_text(AVOW_RC_COUNT), "unknown error");
}

static void test_rc_class_and_exit__every_code__is_locked(void **state)
{
    static const struct {
        enum avow_rc rc;
        enum avow_rc_class class;
        enum avow_exit code;
    } cases[] = {
        {AVOW_OK, AVOW_CLASS_OK, AVOW_EXIT_OK},
        {AVOW_NOMEM, AVOW_CLASS_FATAL, AVOW_EXIT_FAILED},
        {AVOW_LIMIT, AVOW_CLASS_SKIP, AVOW_EXIT_FAILED},
        {AVOW_PARSE, AVOW_CLASS_SKIP, AVOW_EXIT_FAILED},
        {AVOW_SCHEMA, AVOW_CLASS_SKIP, AVOW_EXIT_FAILED},
        {AVOW_IO, AVOW_CLASS_RETRY, AVOW_EXIT_FAILED},
        {AVOW_TPM, AVOW_CLASS_RETRY, AVOW_EXIT_FAILED},
        {AVOW_BUS, AVOW_CLASS_RETRY, AVOW_EXIT_FAILED},
        {AVOW_BUS_RETRY, AVOW_CLASS_RETRY, AVOW_EXIT_FAILED},
        {AVOW_BUS_FATAL, AVOW_CLASS_FATAL, AVOW_EXIT_FAILED},
        {AVOW_UNREACHABLE, AVOW_CLASS_RETRY, AVOW_EXIT_UNREACHABLE},
        {AVOW_CRYPTO, AVOW_CLASS_FATAL, AVOW_EXIT_FAILED},
        {AVOW_UNTRUSTED, AVOW_CLASS_SKIP, AVOW_EXIT_UNTRUSTED},
        {AVOW_ROLLBACK, AVOW_CLASS_SKIP, AVOW_EXIT_UNTRUSTED},
        {AVOW_CONFIG, AVOW_CLASS_FATAL, AVOW_EXIT_USAGE},
        {AVOW_USAGE, AVOW_CLASS_FATAL, AVOW_EXIT_USAGE},
        {AVOW_NOTFOUND, AVOW_CLASS_SKIP, AVOW_EXIT_NOTFOUND},
        {AVOW_EXISTS, AVOW_CLASS_SKIP, AVOW_EXIT_FAILED},
        {AVOW_REFUSED, AVOW_CLASS_SKIP, AVOW_EXIT_FAILED},
        {AVOW_TIMEOUT, AVOW_CLASS_RETRY, AVOW_EXIT_FAILED},
        {AVOW_STATE, AVOW_CLASS_FATAL, AVOW_EXIT_FAILED},
    };
    (void)state;
    assert_int_equal(AVOW_ARRAY_LEN(cases), AVOW_RC_COUNT);
    for (size_t i = 0; i < AVOW_ARRAY_LEN(cases); i++) {
        CHECK(avow_rc_text(cases[i].rc), (size_t)cases[i].rc == i);
        CHECK(avow_rc_text(cases[i].rc), avow_rc_class(cases[i].rc) == cases[i].class);
        CHECK(avow_rc_text(cases[i].rc), avow_exit_of(cases[i].rc) == cases[i].code);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_err_set__message__is_formatted_and_returned),
        cmocka_unit_test(test_err_wrap__context__comes_first),
        cmocka_unit_test(test_err__very_long__is_cut_and_terminated),
        cmocka_unit_test(test_rc_text__every_code__has_its_own_words),
        cmocka_unit_test(test_rc_class_and_exit__every_code__is_locked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
