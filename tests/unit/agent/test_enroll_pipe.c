/* What the agent and its registration process say to each other: both directions, truncated at each
 * byte, and hostile. */
#include "enroll_pipe.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "avow/base/banned.h"

static const struct avow_enroll_self self = {.url = "https://registrar:8891",
                                             .ca = "",
                                             .agent_id = "host-1",
                                             .ek_public = {(const uint8_t *)"ek\0", 3},
                                             .ak_public = {(const uint8_t *)"ak", 2},
                                             .ek_certs = {(const uint8_t *)"-----BEGIN", 10},
                                             .device = {.iak_public = {(const uint8_t *)"iak", 3},
                                                        .iak_attest = {(const uint8_t *)"at", 2},
                                                        .iak_sign = {(const uint8_t *)"s", 1},
                                                        .iak_certs = {(const uint8_t *)"c1", 2},
                                                        .idevid_public = {(const uint8_t *)"d", 1},
                                                        .idevid_certs = {(const uint8_t *)"c", 1}}};

static void request(struct avow_buf *out)
{
    avow_buf_init(out, AVOW_ENROLL_MESSAGE_MAX);
    assert_int_equal(avow_enroll_put_request(&self, out, NULL), AVOW_OK);
}

static void challenge(struct avow_enroll_challenge *c)
{
    avow_enroll_challenge_init(c);
    avow_buf_put(&c->id_object, "object", 6);
    avow_buf_put(&c->encrypted_secret, "secret", 6);
}

static void test_request__comes_back_as_it_was(void **state)
{
    (void)state;
    struct avow_buf m;
    struct avow_enroll_self got;
    request(&m);
    assert_int_equal(avow_enroll_parse_request(avow_buf_bytes(&m), &got, NULL), AVOW_OK);
    assert_string_equal(got.url, self.url);
    assert_string_equal(got.ca, "");
    assert_string_equal(got.agent_id, self.agent_id);
    assert_true(avow_bytes_eq(got.ek_public, self.ek_public));
    assert_true(avow_bytes_eq(got.ak_public, self.ak_public));
    assert_true(avow_bytes_eq(got.ek_certs, self.ek_certs));
    assert_true(avow_bytes_eq(got.device.iak_public, self.device.iak_public));
    assert_true(avow_bytes_eq(got.device.iak_attest, self.device.iak_attest));
    assert_true(avow_bytes_eq(got.device.iak_sign, self.device.iak_sign));
    assert_true(avow_bytes_eq(got.device.iak_certs, self.device.iak_certs));
    assert_true(avow_bytes_eq(got.device.idevid_public, self.device.idevid_public));
    assert_true(avow_bytes_eq(got.device.idevid_certs, self.device.idevid_certs));
    avow_buf_deinit(&m);
}

static void test_request__truncated_or_longer__is_refused(void **state)
{
    (void)state;
    struct avow_buf m;
    struct avow_enroll_self got;
    request(&m);
    for (size_t i = 0; i < m.len; i++)
        assert_int_equal(avow_enroll_parse_request(avow_bytes_make(m.ptr, i), &got, NULL),
                         AVOW_PARSE);
    avow_buf_put_u8(&m, 0);
    assert_int_equal(avow_enroll_parse_request(avow_buf_bytes(&m), &got, NULL), AVOW_PARSE);
    m.len--;
    m.ptr[4 + strlen(self.url)] = 'x'; /* the NUL of the first text */
    assert_int_equal(avow_enroll_parse_request(avow_buf_bytes(&m), &got, NULL), AVOW_PARSE);
    m.ptr[4 + strlen(self.url)] = '\0';
    m.ptr[5] = '\0'; /* one within */
    assert_int_equal(avow_enroll_parse_request(avow_buf_bytes(&m), &got, NULL), AVOW_PARSE);
    avow_buf_deinit(&m);
}

static void test_request__over_the_cap__is_refused(void **state)
{
    (void)state;
    struct avow_buf m, certs;
    avow_buf_init(&m, AVOW_ENROLL_MESSAGE_MAX);
    avow_buf_init(&certs, AVOW_ENROLL_MESSAGE_MAX);
    assert_non_null(avow_buf_extend(&certs, AVOW_ENROLL_MESSAGE_MAX));
    struct avow_enroll_self large = self;
    large.ek_certs = avow_buf_bytes(&certs);
    assert_int_equal(avow_enroll_put_request(&large, &m, NULL), AVOW_LIMIT);
    avow_buf_deinit(&m);
    avow_buf_deinit(&certs);
}

static void test_reply__challenge__comes_back(void **state)
{
    (void)state;
    struct avow_buf m;
    struct avow_enroll_challenge c, got;
    avow_buf_init(&m, 4096);
    challenge(&c);
    avow_enroll_challenge_init(&got);
    assert_int_equal(avow_enroll_put_reply(NULL, &c, &m, NULL), AVOW_OK);
    assert_int_equal(avow_enroll_parse_reply(avow_buf_bytes(&m), &got, NULL), AVOW_OK);
    assert_true(avow_bytes_eq(avow_buf_bytes(&got.id_object), avow_buf_bytes(&c.id_object)));
    assert_true(
        avow_bytes_eq(avow_buf_bytes(&got.encrypted_secret), avow_buf_bytes(&c.encrypted_secret)));
    for (size_t i = 0; i < m.len; i++)
        assert_int_equal(avow_enroll_parse_reply(avow_bytes_make(m.ptr, i), &got, NULL),
                         AVOW_PARSE);
    avow_enroll_challenge_deinit(&c);
    avow_enroll_challenge_deinit(&got);
    avow_buf_deinit(&m);
}

static void test_reply__good_without_a_challenge__is_good_only_for_an_answer(void **state)
{
    (void)state;
    struct avow_buf m;
    struct avow_enroll_challenge got;
    avow_buf_init(&m, 4096);
    avow_enroll_challenge_init(&got);
    assert_int_equal(avow_enroll_put_reply(NULL, NULL, &m, NULL), AVOW_OK);
    assert_int_equal(avow_enroll_parse_reply(avow_buf_bytes(&m), NULL, NULL), AVOW_OK);
    assert_int_equal(avow_enroll_parse_reply(avow_buf_bytes(&m), &got, NULL), AVOW_PARSE);
    avow_enroll_challenge_deinit(&got);
    avow_buf_deinit(&m);
}

static void test_reply__failure__is_told_in_printable_words(void **state)
{
    (void)state;
    static const struct {
        uint32_t code;
        const char *text;
        enum avow_rc rc;
        const char *want;
    } cases[] = {
        {AVOW_REFUSED, "HTTP 403: no", AVOW_REFUSED, "HTTP 403: no"},
        {AVOW_UNREACHABLE, "down\n\x1b[2Jlevel=error", AVOW_UNREACHABLE, "down??[2Jlevel=error"},
        {AVOW_RC_COUNT, "beyond", AVOW_PARSE, "beyond"},
        {0xFFFFFFFFu, "beyond", AVOW_PARSE, "beyond"},
    };
    for (size_t i = 0; i < AVOW_ARRAY_LEN(cases); i++) {
        struct avow_buf m;
        struct avow_err err = {.rc = AVOW_OK}, failure = {.rc = AVOW_REFUSED};
        avow_str_copy(failure.msg, sizeof failure.msg, avow_str_from(cases[i].text));
        avow_buf_init(&m, 4096);
        assert_int_equal(avow_enroll_put_reply(&failure, NULL, &m, NULL), AVOW_OK);
        avow_put_u32be(m.ptr, cases[i].code);
        assert_int_equal(avow_enroll_parse_reply(avow_buf_bytes(&m), NULL, &err), cases[i].rc);
        assert_string_equal(err.msg, cases[i].want);
        avow_buf_deinit(&m);
    }
}

static void test_reply__credential_over_its_cap__is_refused(void **state)
{
    (void)state;
    struct avow_buf m;
    struct avow_enroll_challenge c, got;
    avow_buf_init(&m, 8192);
    challenge(&c);
    avow_enroll_challenge_init(&got);
    avow_buf_deinit(&c.id_object);
    avow_buf_init(&c.id_object, 4096);
    assert_non_null(avow_buf_extend(&c.id_object, AVOW_ENROLL_CREDENTIAL_MAX + 1));
    assert_int_equal(avow_enroll_put_reply(NULL, &c, &m, NULL), AVOW_OK);
    assert_int_equal(avow_enroll_parse_reply(avow_buf_bytes(&m), &got, NULL), AVOW_LIMIT);
    avow_enroll_challenge_deinit(&c);
    avow_enroll_challenge_deinit(&got);
    avow_buf_deinit(&m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_request__comes_back_as_it_was),
        cmocka_unit_test(test_request__truncated_or_longer__is_refused),
        cmocka_unit_test(test_request__over_the_cap__is_refused),
        cmocka_unit_test(test_reply__challenge__comes_back),
        cmocka_unit_test(test_reply__good_without_a_challenge__is_good_only_for_an_answer),
        cmocka_unit_test(test_reply__failure__is_told_in_printable_words),
        cmocka_unit_test(test_reply__credential_over_its_cap__is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
