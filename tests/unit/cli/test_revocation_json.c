#include "cli_test.h"

#include "avow/events/revocation_json.h"
#include "avow/wire/revocation.h"
#include "json_out.h"

#define NASTY "a \"quote\" \\ \x1b[31m \n \xe6\x97\xa5"

struct made {
    struct avow_revocation r;
    struct avow_finding findings[2];
    struct avow_buf record;
    struct avow_revocation_source source;
};

static void make(struct made *m, enum avow_revocation_class class, const char *event)
{
    struct avow_err err = {0};
    *m = (struct made){
        .findings = {{.id = AVOW_STR_LIT("ima.digest_unknown"),
                      .severity = AVOW_STR_LIT("critical"),
                      .where = AVOW_STR_LIT("entry 7"),
                      .detail = AVOW_STR_LIT(NASTY)},
                     {.id = AVOW_STR_LIT("ima.digest_unknown"),
                      .severity = AVOW_STR_LIT("critical"),
                      .where = AVOW_STR_LIT("entry 8"),
                      .detail = AVOW_STR_LIT("second")}},
    };
    m->r = (struct avow_revocation){.fleet = {0xab},
                                    .key = AVOW_STR_LIT("web-1"),
                                    .id = {1, 2, 3},
                                    .class = class,
                                    .from = AVOW_STATUS_TRUSTED,
                                    .to = AVOW_STATUS_UNTRUSTED,
                                    .severity = AVOW_STR_LIT("critical"),
                                    .event_id = avow_str_from(event),
                                    .findings = m->findings,
                                    .findings_count = 2,
                                    .metadata = AVOW_STR_LIT(NASTY)};
    avow_buf_init(&m->record, 65536);
    assert_code("encode", avow_revocation_encode(&m->r, &m->record, &err), AVOW_OK, &err);
    m->source = (struct avow_revocation_source){&m->r, avow_buf_bytes(&m->record), 1700000000123u};
}

static json_t *parse(struct avow_buf *text)
{
    json_error_t why;
    json_t *j = json_loads(avow_buf_cstr(text), 0, &why);
    if (!j)
        fail_msg("not JSON: %s in %s", why.text, avow_buf_cstr(text));
    assert_null(strchr(avow_buf_cstr(text), '\n')); /* one line */
    return j;
}

static void assert_member(json_t *j, const char *name, const char *want)
{
    const char *got = json_string_value(json_object_get(j, name));
    if (!got || strcmp(got, want))
        fail_msg("%s: got %s, want %s", name, got ? got : "-", want);
}

static void test_cloudevent__has_the_attributes_and_the_record(void **state)
{
    struct made m;
    struct avow_err err = {0};
    AVOW_CLEANUP_VAL(avow_buf_deinit) struct avow_buf out;
    (void)state;
    avow_buf_init(&out, 65536);
    make(&m, AVOW_REVOCATION_CLASS_RECOVERY, "agent.recovered");
    assert_code("cloudevent", avow_revocation_cloudevent(&m.source, &out, &err), AVOW_OK, &err);
    json_t *j = parse(&out);
    assert_member(j, "specversion", "1.0");
    assert_member(j, "id", "01020300000000000000000000000000");
    assert_member(j, "source", "/avow/ab000000000000000000000000000000");
    assert_member(j, "type", "avow.recovery");
    assert_member(j, "subject", "web-1");
    assert_member(j, "time", "2023-11-14T22:13:20.123Z");
    assert_member(j, "datacontenttype", "application/json");
    json_t *data = json_object_get(j, "data");
    assert_member(data, "id", "01020300000000000000000000000000");
    assert_member(data, "metadata", NASTY);
    json_decref(j);
    avow_buf_deinit(&m.record);
}

static void test_cloudevent__record_that_is_none__is_an_error(void **state)
{
    struct made m;
    struct avow_err err = {0};
    AVOW_CLEANUP_VAL(avow_buf_deinit) struct avow_buf out;
    (void)state;
    avow_buf_init(&out, 65536);
    make(&m, AVOW_REVOCATION_CLASS_ALARM, "x");
    m.source.record.len--;
    assert_true(avow_revocation_cloudevent(&m.source, &out, &err) != AVOW_OK);
    assert_int_equal(out.len, 0);
    avow_buf_deinit(&m.record);
}

static void test_keylime__message_in_its_envelope(void **state)
{
    static const struct {
        enum avow_revocation_class class;
        const char *type;
    } cases[] = {{AVOW_REVOCATION_CLASS_REVOCATION, "revocation"},
                 {AVOW_REVOCATION_CLASS_SILENT, "comm_error"}};
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        struct made m;
        struct avow_err err = {0};
        AVOW_CLEANUP_VAL(avow_buf_deinit) struct avow_buf out;
        avow_buf_init(&out, 65536);
        make(&m, cases[i].class, "agent.silent");
        assert_code("keylime", avow_revocation_keylime(&m.source, &out, &err), AVOW_OK, &err);
        json_t *envelope = parse(&out);
        assert_member(envelope, "signature", "");
        json_t *msg = json_loads(json_string_value(json_object_get(envelope, "msg")), 0, NULL);
        assert_non_null(msg);
        assert_member(msg, "type", cases[i].type);
        assert_member(msg, "agent_id", "web-1");
        assert_member(msg, "meta_data", NASTY);
        assert_member(msg, "event_time", "Tue Nov 14 22:13:20 2023");
        assert_member(msg, "event_id", "ima.validation.ima-ng.not_in_allowlist");
        json_t *context = json_loads(json_string_value(json_object_get(msg, "context")), 0, NULL);
        json_t *list = json_object_get(context, "ima.digest_unknown");
        assert_int_equal(json_array_size(list), 2); /* none is lost */
        assert_member(json_array_get(list, 0), "detail", NASTY);
        assert_member(json_array_get(list, 1), "where", "entry 8");
        json_decref(context);
        json_decref(msg);
        json_decref(envelope);
        avow_buf_deinit(&m.record);
    }
}

static void test_keylime__what_it_has_no_word_for__is_not_found(void **state)
{
    static const enum avow_revocation_class none[] = {AVOW_REVOCATION_CLASS_RECOVERY,
                                                      AVOW_REVOCATION_CLASS_ALARM};
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        struct made m;
        struct avow_err err = {0};
        AVOW_CLEANUP_VAL(avow_buf_deinit) struct avow_buf out;
        avow_buf_init(&out, 65536);
        make(&m, none[i], "x");
        assert_code("keylime", avow_revocation_keylime(&m.source, &out, &err), AVOW_NOTFOUND, &err);
        assert_int_equal(out.len, 0);
        avow_buf_deinit(&m.record);
    }
}

static void test_json_str__bytes_that_are_no_text__become_valid_json(void **state)
{
    (void)state;
    json_t *j = avow_json_str((struct avow_str){"a\xff\x1b", 3});
    assert_string_equal(json_string_value(j), "a??");
    json_decref(j);
    j = avow_json_str((struct avow_str){NULL, 0});
    assert_string_equal(json_string_value(j), "");
    json_decref(j);
    j = avow_json_u64(UINT64_MAX);
    assert_true(json_integer_value(j) == INT64_MAX);
    json_decref(j);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cloudevent__has_the_attributes_and_the_record),
        cmocka_unit_test(test_cloudevent__record_that_is_none__is_an_error),
        cmocka_unit_test(test_keylime__message_in_its_envelope),
        cmocka_unit_test(test_keylime__what_it_has_no_word_for__is_not_found),
        cmocka_unit_test(test_json_str__bytes_that_are_no_text__become_valid_json),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
