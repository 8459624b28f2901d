/* test_certify.c - TPM2_Certify's attestation as swtpm makes it, and what is none. */
#include "avow/formats/certify.h"

#include "avow/formats/quote.h"

#include "vec.h"

#include "avow/base/banned.h"

static void test_certify_parse__captured__name_and_qualifying_data(void **state)
{
    (void)state;
    struct avow_buf in;
    struct avow_certify c;
    vec_read("iak/attest_raw_id", &in);
    assert_int_equal(avow_certify_parse(avow_buf_bytes(&in), &c, NULL), AVOW_OK);
    assert_int_equal(c.extra_data.len, 6);
    assert_memory_equal(c.extra_data.ptr, "host-1", 6);
    assert_int_equal(c.name.len, 34);
    assert_memory_equal(c.name.ptr, "\x00\x0b", 2);
    avow_buf_deinit(&in);
}

static void test_certify_parse__cut_or_longer__is_parse_error(void **state)
{
    (void)state;
    struct avow_buf in;
    struct avow_certify c = {.name = {.len = 7}};
    vec_read("iak/attest", &in);
    for (size_t len = 0; len < in.len; len++)
        assert_int_equal(avow_certify_parse(avow_bytes_make(in.ptr, len), &c, NULL), AVOW_PARSE);
    avow_buf_put_u8(&in, 0);
    assert_int_equal(avow_certify_parse(avow_buf_bytes(&in), &c, NULL), AVOW_PARSE);
    static const uint8_t big[AVOW_ATTEST_MAX + 1];
    assert_int_equal(avow_certify_parse(AVOW_BYTES_OF(big), &c, NULL), AVOW_LIMIT);
    assert_int_equal(c.name.len, 7);
    avow_buf_deinit(&in);
}

static void test_certify_parse__magic_or_type__says_which(void **state)
{
    (void)state;
    static const struct {
        size_t at;
        const char *says;
    } cases[] = {{0, "not made by a TPM"}, {3, "not made by a TPM"}, {5, "not TPM2_Certify's"}};
    for (size_t i = 0; i < AVOW_ARRAY_LEN(cases); i++) {
        struct avow_buf in;
        struct avow_certify c;
        struct avow_err err = {0};
        vec_read("iak/attest", &in);
        in.ptr[cases[i].at] ^= 0x0f;
        assert_int_equal(avow_certify_parse(avow_buf_bytes(&in), &c, &err), AVOW_PARSE);
        assert_non_null(strstr(err.msg, cases[i].says));
        avow_buf_deinit(&in);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_certify_parse__captured__name_and_qualifying_data),
        cmocka_unit_test(test_certify_parse__cut_or_longer__is_parse_error),
        cmocka_unit_test(test_certify_parse__magic_or_type__says_which),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
