/* test_severity.c - labels by expression, as Keylime's severity policy has them. */
#include "rig.h"

#include "avow/base/buf.h"
#include "avow/core/severity.h"

#include "avow/base/banned.h"

static struct avow_severity *load(const char *json)
{
    struct avow_severity *s = NULL;
    struct avow_err err = {0};
    if (avow_severity_load(avow_bytes_make(json, strlen(json)), &s, &err))
        fail_msg("%s: %s", json, err.msg);
    return s;
}

static void expect_label(const struct avow_severity *s, enum avow_finding_id id, int32_t pcr,
                         const char *label)
{
    struct avow_str got = avow_severity_of(s, id, pcr);
    if (!avow_str_is(got, label))
        fail_msg("%s of PCR %d: %.*s, not %s", avow_finding_def_of(id)->id, (int)pcr, (int)got.len,
                 got.ptr, label);
}

static void test_severity_of__first_rule_that_fits__wins(void **state)
{
    (void)state;
    struct avow_severity *s =
        load("[{\"event_id\": \"ima\\\\.digest_unknown\", "
             "\"severity_label\": \"notice\"},"
             "{\"event_id\": \"ima\\\\..*\", \"severity_label\": \"alert\"}]");
    expect_label(s, AVOW_FINDING_IMA_DIGEST_UNKNOWN, -1, "notice");
    expect_label(s, AVOW_FINDING_IMA_VIOLATION, -1, "alert");
    expect_label(s, AVOW_FINDING_PCR_MISMATCH, 3, "critical"); /* no rule: as without a policy */
    expect_label(s, AVOW_FINDING_AGENT_SILENT, -1, "warning");
    expect_label(NULL, AVOW_FINDING_AGENT_SILENT, -1, "warning");
    avow_severity_free(s);
}

static void test_severity_of__keylimes_ids__count_as_ours(void **state)
{
    (void)state;
    struct avow_severity *s =
        load("[{\"event_id\": \"ima\\\\.validation\\\\.ima-ng\\\\.not_in_allowlist\", "
             "\"severity_label\": \"warning\"},"
             "{\"event_id\": \"pcr_validation\\\\.invalid_pcr_(7|14)\", \"severity_label\": "
             "\"info\"},"
             "{\"event_id\": \"qoute_validation.*\", \"severity_label\": \"emergency\"}]");
    expect_label(s, AVOW_FINDING_IMA_DIGEST_UNKNOWN, -1, "warning");
    expect_label(s, AVOW_FINDING_PCR_MISMATCH, 7, "info");
    expect_label(s, AVOW_FINDING_PCR_MISMATCH, 14, "info");
    expect_label(s, AVOW_FINDING_PCR_MISMATCH, 1, "critical");
    expect_label(s, AVOW_FINDING_PCR_MISMATCH, -1, "critical");
    expect_label(s, AVOW_FINDING_QUOTE_SIGNATURE, -1, "emergency");
    avow_severity_free(s);
}

/* re.fullmatch: a part of an id is none of it. */
static void test_severity_of__expression__must_fit_the_whole_id(void **state)
{
    (void)state;
    struct avow_severity *s =
        load("[{\"event_id\": \"ima\", \"severity_label\": \"info\"},"
             "{\"event_id\": \"digest_unknown\", \"severity_label\": \"info\"},"
             "{\"event_id\": \"ima.digest\", \"severity_label\": \"info\"}]");
    expect_label(s, AVOW_FINDING_IMA_DIGEST_UNKNOWN, -1, "critical");
    avow_severity_free(s);
}

static void test_severity_load__keylimes_default__labels_everything(void **state)
{
    (void)state;
    struct avow_severity *s =
        load("[{\"event_id\": \".*\", \"severity_label\": \"emergency\", \"note\": [1]}]");
    for (unsigned i = 0; i < AVOW_FINDING_COUNT; i++)
        expect_label(s, (enum avow_finding_id)i, -1, "emergency");
    avow_severity_free(s);
    s = load("[]");
    expect_label(s, AVOW_FINDING_IMA_MISSING, -1, "critical");
    avow_severity_free(s);
}

static void test_severity_load__bad_text__is_refused_with_the_place(void **state)
{
    (void)state;
    static const struct {
        const char *json, *message;
    } cases[] = {
        {"{}", "$: not a list of rules"},
        {"", "$: not a list of rules"},
        {"[1]", "$[0]: not an object"},
        {"[{\"event_id\": \"a\"}]", "$[0]: event_id and severity_label are wanted"},
        {"[{\"severity_label\": \"info\"}]", "$[0]: event_id and severity_label are wanted"},
        {"[{\"event_id\": 1, \"severity_label\": \"info\"}]", "$[0]: .event_id: not a text"},
        {"[{\"event_id\": \"a\", \"event_id\": \"b\", \"severity_label\": \"info\"}]",
         "$[0]: .event_id: twice"},
        {"[{\"event_id\": \"a\", \"severity_label\": \"info\", \"severity_label\": \"info\"}]",
         "$[0]: .severity_label: twice"},
        {"[{\"event_id\": \"a\", \"severity_label\": \"worst\"}]",
         "$[0]: .severity_label: none of info,"},
        {"[{\"event_id\": \"a\", \"severity_label\": \"info\"}, {\"event_id\": \"(\", "
         "\"severity_label\": \"info\"}]",
         "$[1]: .event_id: not an expression"},
        {"[{\"event_id\": \"a\", \"severity_label\": \"info\"}] x", "something follows"},
        {"[{\"event_id\": \"a\", \"severity_label\": \"info\"}", "line 1"},
    };
    for (size_t i = 0; i < AVOW_ARRAY_LEN(cases); i++) {
        struct avow_severity *s = NULL;
        struct avow_err err = {0};
        enum avow_rc rc =
            avow_severity_load(avow_bytes_make(cases[i].json, strlen(cases[i].json)), &s, &err);
        if (rc != AVOW_PARSE || s)
            fail_msg("%s: code %d", cases[i].json, (int)rc);
        if (!strstr(err.msg, cases[i].message))
            fail_msg("%s: %s", cases[i].json, err.msg);
    }
}

static void test_severity_load__more_than_is_read__is_a_limit(void **state)
{
    (void)state;
    struct avow_severity *s = NULL;
    struct avow_buf b;
    avow_buf_init(&b, 1024u * 1024u);
    avow_buf_put_str(&b, "[");
    for (unsigned i = 0; i <= AVOW_SEVERITY_RULES_MAX; i++)
        avow_buf_printf(&b, "%s{\"event_id\": \"a%u\", \"severity_label\": \"info\"}", i ? "," : "",
                        i);
    avow_buf_put_str(&b, "]");
    assert_int_equal(avow_severity_load(avow_buf_bytes(&b), &s, NULL), AVOW_LIMIT);
    avow_buf_reset(&b);
    (void)avow_buf_extend(&b, AVOW_SEVERITY_TEXT_MAX + 1);
    assert_int_equal(avow_severity_load(avow_buf_bytes(&b), &s, NULL), AVOW_LIMIT);
    avow_buf_deinit(&b);
    assert_null(s);
}

/* `count` rules of one expression. */
static enum avow_rc load_many(unsigned count, const char *expression, struct avow_severity **out,
                              struct avow_err *err)
{
    struct avow_buf b;
    avow_buf_init(&b, AVOW_SEVERITY_TEXT_MAX);
    for (unsigned i = 0; i < count; i++)
        avow_buf_printf(&b, "%c{\"event_id\": \"%s\", \"severity_label\": \"info\"}", i ? ',' : '[',
                        expression);
    avow_buf_put_str(&b, "]");
    assert_int_equal(avow_buf_status(&b, NULL), AVOW_OK);
    enum avow_rc rc = avow_severity_load(avow_buf_bytes(&b), out, err);
    avow_buf_deinit(&b);
    return rc;
}

/* An expression that needs too long on an id is refused when it is loaded, not met by chance. */
static void test_severity_load__catastrophic_expression__is_a_limit(void **state)
{
    (void)state;
    static const char *const expressions[] = {
        "(([a-z._]+)+)+[0-9]",
        "([a-z._]|[a-z]|.)*[0-9]",
        "(?:(?:[a-z._]*)+)+[0-9]",
        "([a-z._]*)([a-z._]*)([a-z._]*)([a-z._]*)([a-z._]*)([a-z._]*)([a-z._]*)[0-9]",
    };
    for (size_t i = 0; i < AVOW_ARRAY_LEN(expressions); i++) {
        struct avow_severity *s = NULL;
        struct avow_err err = {0};
        enum avow_rc rc = load_many(1, expressions[i], &s, &err);
        if (rc != AVOW_LIMIT || s || !strstr(err.msg, "$[0]: .event_id: takes too long to match"))
            fail_msg("%s: code %d, %s", expressions[i], (int)rc, err.msg);
    }
}

/* Each of them alone is bearable; what they take together is bounded, too. */
static void test_severity_load__many_slow_expressions__are_a_limit(void **state)
{
    (void)state;
    static const char slow[] = "([a-z._]*)([a-z._]*)([a-z._]*)[0-9]";
    struct avow_severity *s = NULL;
    struct avow_err err = {0};
    assert_int_equal(load_many(1, slow, &s, &err), AVOW_OK);
    avow_severity_free(s);
    s = NULL;
    assert_int_equal(load_many(AVOW_SEVERITY_RULES_MAX, slow, &s, &err), AVOW_LIMIT);
    assert_null(s);
    assert_non_null(strstr(err.msg, ".event_id: takes too long to match"));
    assert_null(strstr(err.msg, "$[0]"));
}

/* A long repetition makes each step dear. */
static void test_severity_load__large_code__is_charged(void **state)
{
    (void)state;
    static const char large[] = "(?:[.]|[a-z]){100}[0-9]";
    struct avow_severity *s = NULL;
    assert_int_equal(load_many(1, large, &s, NULL), AVOW_OK);
    avow_severity_free(s);
    s = NULL;
    assert_int_equal(load_many(AVOW_SEVERITY_RULES_MAX, large, &s, NULL), AVOW_LIMIT);
    assert_null(s);
}

static void test_severity_load__all_rules_ordinary__are_loaded(void **state)
{
    (void)state;
    static const char *const expressions[] = {"(ima|boot)\\\\..*", ".*unknown.*",
                                              "pcr_validation\\\\.invalid_pcr_[0-9]+",
                                              "[a-z]+\\\\.[a-z_]+(\\\\.[a-z_0-9-]+)*"};
    for (size_t i = 0; i < AVOW_ARRAY_LEN(expressions); i++) {
        struct avow_severity *s = NULL;
        struct avow_err err = {0};
        if (load_many(AVOW_SEVERITY_RULES_MAX, expressions[i], &s, &err))
            fail_msg("%s: %s", expressions[i], err.msg);
        avow_severity_free(s);
    }
}

static void test_severity_load__long_expression__is_a_limit(void **state)
{
    (void)state;
    char expression[AVOW_SEVERITY_EXPRESSION_MAX + 2];
    memset(expression, 'a', sizeof expression);
    struct avow_severity *s = NULL;
    expression[AVOW_SEVERITY_EXPRESSION_MAX] = 0;
    assert_int_equal(load_many(1, expression, &s, NULL), AVOW_OK);
    avow_severity_free(s);
    s = NULL;
    expression[AVOW_SEVERITY_EXPRESSION_MAX] = 'a';
    expression[AVOW_SEVERITY_EXPRESSION_MAX + 1] = 0;
    assert_int_equal(load_many(1, expression, &s, NULL), AVOW_LIMIT);
}

static void test_evaluate__severity_policy__labels_the_records(void **state)
{
    (void)state;
    static struct rig r;
    rig_init(&r, RIG_P256);
    struct avow_severity *s =
        load("[{\"event_id\": \"ima\\\\.digest_unknown\", \"severity_label\": \"notice\"}]");
    rig_policy(&r, rig_policy_text(&r, "[]", "/bin/sh", NULL));
    rig_run(&r, "/bin/other");
    r.e.has_severity = true;
    r.severity = s;
    rig_attest(&r);
    assert_null(r.out.unavailable);
    rig_expect_findings(&r, "ima.digest_unknown", NULL);
    assert_true(avow_str_is(r.state.findings[0].severity, "notice"));
    assert_true(avow_str_is(r.state.severity, "notice"));
    rig_deinit(&r);
    avow_severity_free(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_severity_of__first_rule_that_fits__wins),
        cmocka_unit_test(test_severity_of__keylimes_ids__count_as_ours),
        cmocka_unit_test(test_severity_of__expression__must_fit_the_whole_id),
        cmocka_unit_test(test_severity_load__keylimes_default__labels_everything),
        cmocka_unit_test(test_severity_load__bad_text__is_refused_with_the_place),
        cmocka_unit_test(test_severity_load__more_than_is_read__is_a_limit),
        cmocka_unit_test(test_severity_load__catastrophic_expression__is_a_limit),
        cmocka_unit_test(test_severity_load__many_slow_expressions__are_a_limit),
        cmocka_unit_test(test_severity_load__large_code__is_charged),
        cmocka_unit_test(test_severity_load__all_rules_ordinary__are_loaded),
        cmocka_unit_test(test_severity_load__long_expression__is_a_limit),
        cmocka_unit_test(test_evaluate__severity_policy__labels_the_records),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
