/* test_dm.c - events of the device mapper and the policy for them: the texts that dm-ima.c makes.
 */
#include "dm_state.h"

#include "avow/base/hex.h"
#include "avow/core/findings.h"
#include "avow/crypto/digest.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "avow/base/banned.h"

#define RULE(required, resume, remove, clear, reload, load)                                        \
    "{\"required\":" required ",\"device_resume_required\":" resume                                \
    ",\"device_rename\":{\"valid_name\":\"root[0-9]\",\"valid_uuid\":null},"                       \
    "\"device_remove\":{\"allow_removal\":" remove "},\"allow_clear\":" clear                      \
    ",\"table_load\":{\"allow_multiple_loads\":" reload "," load "}}"
#define VERITY                                                                                     \
    "\"name\":\"root\",\"uuid\":\"CRYPT-.*\",\"major\":253,\"minor\":null,\"minor_count\":1,"      \
    "\"num_targets\":1,\"targets\":[{\"target_name\":\"verity\",\"verity_version\":1,"             \
    "\"root_digest\":\"aa+\",\"check_at_most_once\":false}]"
#define ANY                                                                                        \
    "\"name\":\"data.*\",\"uuid\":null,\"major\":null,\"minor\":null,\"minor_count\":null,"        \
    "\"num_targets\":2,\"targets\":[]"
#define POLICY                                                                                     \
    "{\"version\":1,\"match_on\":\"name\",\"rules\":{\"root\":" RULE(                              \
        "true", "true", "false", "false", "false",                                                 \
        VERITY) ",\"data\":" RULE("false", "false", "true", "true", "true", ANY) "}}"

#define META(name) "name=" name ",uuid=CRYPT-1,major=253,minor=0,minor_count=1,num_targets=1;"
#define ROW                                                                                        \
    "target_index=0,target_begin=0,target_len=8,target_name=verity,target_version=1.8.0,"          \
    "hash_failed=V,verity_version=1,root_digest=aaa,check_at_most_once=n;"
#define LOAD "dm_version=4.45.0;" META("root") ROW
#define DATA_LOAD                                                                                  \
    "name=data1,uuid=,major=253,minor=1,minor_count=1,num_targets=2;target_index=0;"               \
    "target_index=1;"

static struct avow_dm_policy *policy;

static int setup(void **state)
{
    (void)state;
    struct avow_err err = {0};
    if (avow_dm_policy_load(AVOW_STR_LIT(POLICY), &policy, &err))
        fail_msg("%s", err.msg);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    avow_dm_policy_free(policy);
    policy = NULL;
    return 0;
}

static bool judge(struct avow_dm_state *s, const char *name, const char *text,
                  struct avow_dm_fault *fault)
{
    return avow_dm_judge(policy, avow_dm_event_kind(avow_str_from(name)),
                         avow_bytes_make(text, strlen(text)), s, fault);
}

static void expect_fault(struct avow_dm_state *s, const char *name, const char *text,
                         enum avow_finding_id want)
{
    struct avow_dm_fault f;
    if (judge(s, name, text, &f))
        fail_msg("%s: %s is allowed", name, text);
    if (f.id != want)
        fail_msg("%s: %s: want %s, got %s (%s)", name, text, avow_finding_def_of(want)->id,
                 avow_finding_def_of(f.id)->id, f.what);
}

static void expect_good(struct avow_dm_state *s, const char *name, const char *text)
{
    struct avow_dm_fault f;
    if (!judge(s, name, text, &f))
        fail_msg("%s: %s: %s %s", name, text, avow_finding_def_of(f.id)->id, f.what);
}

static const char *resume_text(const char *table, const char *prefix)
{
    static char text[256];
    char hex[65];
    uint8_t hash[32];
    avow_sha256(avow_bytes_make(table, strlen(table)), hash);
    avow_hex_encode(hex, AVOW_BYTES_OF(hash));
    (void)snprintf(text, sizeof text,
                   META("root") "active_table_hash=%s%s;current_device_capacity=8;", prefix, hex);
    return text;
}

static void test_judge__life_of_a_device__as_its_rule_says(void **state)
{
    (void)state;
    struct avow_dm_state s = {.len = 0};
    expect_fault(&s, "dm_device_resume", resume_text(LOAD, "sha256:"),
                 AVOW_FINDING_IMA_DM_UNLOADED);
    expect_good(&s, "dm_table_load", LOAD);
    expect_fault(&s, "dm_table_load", LOAD, AVOW_FINDING_IMA_DM_RELOADED);
    expect_fault(&s, "dm_device_resume", resume_text(DATA_LOAD, "sha256:"),
                 AVOW_FINDING_IMA_DM_TABLE_HASH);
    expect_fault(&s, "dm_device_resume", "name=root,uuid=;device_resume=no_data;",
                 AVOW_FINDING_IMA_DM_TABLE_HASH);
    expect_good(&s, "dm_device_resume", resume_text(LOAD, "sha256:"));
    expect_fault(&s, "dm_device_resume", resume_text(LOAD, "sha256:"), AVOW_FINDING_IMA_DM_RESUMED);
    expect_fault(&s, "dm_table_clear", META("root") "inactive_table_hash=sha256:00;",
                 AVOW_FINDING_IMA_DM_CLEARED);
    expect_fault(&s, "dm_device_rename", META("root") "new_name=evil,new_uuid=CRYPT-1;",
                 AVOW_FINDING_IMA_DM_RENAMED);
    expect_good(&s, "dm_device_rename", META("root") "new_name=root7,new_uuid=CRYPT-1;");
    expect_fault(&s, "dm_device_remove",
                 "dm_version=4.45.0;device_active_metadata=" META("root7") "remove_all=n;",
                 AVOW_FINDING_IMA_DM_REMOVED);
    expect_good(&s, "dm_target_update", META("root7") ROW);
    expect_fault(&s, "dm_target_update", META("root7") "target_index=0,target_name=linear;",
                 AVOW_FINDING_IMA_DM_TARGET);
    expect_fault(&s, "dm_target_update", META("root7") "target_index=1,target_name=verity;",
                 AVOW_FINDING_IMA_DM_TARGETS);
}

static void test_judge__device_that_may_go__goes(void **state)
{
    (void)state;
    struct avow_dm_state s = {.len = 0};
    expect_good(&s, "dm_table_load", DATA_LOAD);
    expect_good(&s, "dm_table_load", DATA_LOAD); /* a second table is allowed */
    expect_good(&s, "dm_table_clear", "name=data1,uuid=;table_clear=no_data;");
    expect_good(&s, "dm_device_remove", "name=data1,uuid=;device_remove=no_data;remove_all=n;");
    assert_int_equal(s.len, 0);
    expect_fault(&s, "dm_device_remove", "name=data1,uuid=;device_remove=no_data;remove_all=n;",
                 AVOW_FINDING_IMA_DM_UNLOADED);
}

static void test_judge__table__each_difference_is_a_fault(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        enum avow_finding_id want;
    } cases[] = {
        {"", AVOW_FINDING_IMA_DM_MALFORMED},
        {"dm_version=4.45.0;", AVOW_FINDING_IMA_DM_MALFORMED},
        {"name=root;", AVOW_FINDING_IMA_DM_MALFORMED},
        {META("root"), AVOW_FINDING_IMA_DM_MALFORMED},
        {META("root") "target_index=0", AVOW_FINDING_IMA_DM_MALFORMED}, /* not closed */
        {META("rooted") ROW, AVOW_FINDING_IMA_DM_NO_RULE}, /* the whole name must match */
        {META("other") ROW, AVOW_FINDING_IMA_DM_NO_RULE},
        {"name=root,uuid=x,major=253,minor=0,minor_count=1,num_targets=1;" ROW,
         AVOW_FINDING_IMA_DM_DEVICE},
        {"name=root,uuid=CRYPT-,major=252,minor=0,minor_count=1,num_targets=1;" ROW,
         AVOW_FINDING_IMA_DM_DEVICE},
        {"name=root,uuid=CRYPT-;" ROW, AVOW_FINDING_IMA_DM_DEVICE},
        {META("root") ROW ROW, AVOW_FINDING_IMA_DM_TARGETS},
        {"name=root,uuid=CRYPT-,major=253,minor=0,minor_count=1,num_targets=2;" ROW,
         AVOW_FINDING_IMA_DM_TARGETS},
        {META("root") "target_name=verity,verity_version=1,root_digest=ab,check_at_most_once=n;",
         AVOW_FINDING_IMA_DM_TARGET},
        {META("root") "target_name=verity,verity_version=2,root_digest=aa,check_at_most_once=n;",
         AVOW_FINDING_IMA_DM_TARGET},
        {META("root") "target_name=verity,verity_version=1,root_digest=aa,check_at_most_once=y;",
         AVOW_FINDING_IMA_DM_TARGET},
        {META("root") "target_name=verity,verity_version=1,root_digest=aa;",
         AVOW_FINDING_IMA_DM_TARGET}, /* an attribute that the rule has, and the target not */
        {"name=ro\xFFot,uuid=;" ROW, AVOW_FINDING_IMA_DM_MALFORMED},
    };
    for (size_t i = 0; i < AVOW_ARRAY_LEN(cases); i++) {
        struct avow_dm_state s = {.len = 0};
        expect_fault(&s, "dm_table_load", cases[i].text, cases[i].want);
        assert_int_equal(s.len, 0);
    }
}

/* An escaped separator within a name does not end it. */
static void test_judge__name_with_separators__is_one_name(void **state)
{
    (void)state;
    struct avow_dm_state s = {.len = 0};
    static const char load[] = "name=data\\,uuid\\=x\\;,uuid=,major=1,minor=1,minor_count=1,"
                               "num_targets=2;target_index=0;target_index=1;";
    expect_good(&s, "dm_table_load", load);
    assert_int_equal(s.bytes[0], sizeof "data,uuid=x;" - 1);
    assert_memory_equal(s.bytes + 35, "data,uuid=x;", s.bytes[0]);
}

static void test_judge__too_many_devices__is_a_fault_and_the_rest_stays(void **state)
{
    (void)state;
    struct avow_dm_state s = {.len = 0}, again;
    struct avow_dm_fault f;
    size_t n = 0;
    for (;; n++) {
        char text[256];
        (void)snprintf(text, sizeof text,
                       "name=data%zu,uuid=,major=1,minor=1,minor_count=1,num_targets=2;"
                       "target_index=0;target_index=1;",
                       n);
        if (!judge(&s, "dm_table_load", text, &f))
            break;
    }
    assert_int_equal(f.id, AVOW_FINDING_IMA_DM_FULL);
    assert_in_range(n, 20, 30);
    assert_true(avow_dm_state_load(policy, avow_bytes_make(s.bytes, s.len), &again));
    assert_int_equal(again.len, s.len);
    expect_good(&again, "dm_device_remove", "name=data3,uuid=;device_remove=no_data;");
}

static void test_state_load__malformed__refused(void **state)
{
    (void)state;
    struct avow_dm_state s = {.len = 0}, out;
    uint8_t large[AVOW_DM_STATE_MAX + 1] = {0};
    expect_good(&s, "dm_table_load", LOAD);
    for (size_t len = 1; len < s.len; len++)
        assert_false(avow_dm_state_load(policy, avow_bytes_make(s.bytes, len), &out));
    assert_true(avow_dm_state_load(policy, avow_bytes_make(s.bytes, s.len), &out));
    s.bytes[1] = 2; /* there are two rules */
    assert_false(avow_dm_state_load(policy, avow_bytes_make(s.bytes, s.len), &out));
    assert_false(avow_dm_state_load(policy, AVOW_BYTES_OF(large), &out));
}

static size_t lacks(const struct avow_dm_state *s, enum avow_finding_id out[4])
{
    struct avow_dm_fault f;
    size_t at = 0, n = 0;
    while (n < 4 && avow_dm_next_lack(policy, s, &at, &f))
        out[n++] = f.id;
    return n;
}

static void test_next_lack__required_and_resumed__until_they_are(void **state)
{
    (void)state;
    struct avow_dm_state s = {.len = 0};
    enum avow_finding_id got[4];
    assert_int_equal(lacks(&s, got), 1);
    assert_int_equal(got[0], AVOW_FINDING_IMA_DM_REQUIRED);
    expect_good(&s, "dm_table_load", LOAD);
    assert_int_equal(lacks(&s, got), 2);
    assert_int_equal(got[0], AVOW_FINDING_IMA_DM_NOT_RESUMED);
    assert_int_equal(got[1], AVOW_FINDING_IMA_DM_REQUIRED);
    expect_good(&s, "dm_device_resume", resume_text(LOAD, "")); /* linux 5.15 names no algorithm */
    assert_int_equal(lacks(&s, got), 0);
}

static void test_policy_load__malformed__names_the_place(void **state)
{
    (void)state;
    static const struct {
        const char *text, *says;
    } cases[] = {
        {"", "object"},
        {"[]", "not an object"},
        {"{}", ".match_on: missing"},
        {"{\"match_on\":\"major\",\"rules\":{}}", ".match_on: neither"},
        {"{\"match_on\":\"name\",\"rules\":{},\"x\":1}", "unknown key \"x\""},
        {"{\"match_on\":\"name\",\"match_on\":\"name\",\"rules\":{}}", "duplicate key"},
        {"{\"version\":2,\"match_on\":\"name\",\"rules\":{}}", ".version: not 1"},
        {"{\"match_on\":\"name\",\"rules\":{\"a\":{}}}", ".rules: .a: .required: missing"},
        {"{\"match_on\":\"name\",\"rules\":{\"a\":{\"required\":1}}}",
         ".rules: .a: .required: not true or false"},
        {"{\"match_on\":\"name\",\"rules\":{}} x", "follows"},
        {"{\"match_on\":\"name\",\"rules\":{\"a\":" RULE(
             "true", "true", "true", "true", "true",
             "\"name\":\"(\",\"uuid\":null,\"major\":null,\"minor\":null,\"minor_count\":null,"
             "\"num_targets\":1,\"targets\":[]") "}}",
         ".name"},
    };
    for (size_t i = 0; i < AVOW_ARRAY_LEN(cases); i++) {
        struct avow_dm_policy *p = NULL;
        struct avow_err err = {0};
        if (avow_dm_policy_load(avow_str_from(cases[i].text), &p, &err) != AVOW_PARSE ||
            !strstr(err.msg, cases[i].says))
            fail_msg("case %zu: %s", i, err.msg);
        assert_null(p);
    }
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_judge__life_of_a_device__as_its_rule_says),
        TEST(test_judge__device_that_may_go__goes),
        TEST(test_judge__table__each_difference_is_a_fault),
        TEST(test_judge__name_with_separators__is_one_name),
        TEST(test_judge__too_many_devices__is_a_fault_and_the_rest_stays),
        TEST(test_state_load__malformed__refused),
        TEST(test_next_lack__required_and_resumed__until_they_are),
        TEST(test_policy_load__malformed__names_the_place),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
