#include "avow/base/conf.h"

#include "check.h"
#include "conf_table.h"
#include "scratch.h"

#include <stdio.h>
#include <string.h>

#include "avow/base/banned.h"

static const char *const no_environment[] = {NULL};
static struct avow_err err;

static enum avow_rc load(const char *file, const char *const *sets, size_t n,
                         const char *const *env, struct avow_conf **out)
{
    char storage[8][128]; /* an environment is writable text, literals are not */
    char *environment[8] = {NULL};
    for (size_t i = 0; env[i] && i < 7; i++) {
        environment[i] = storage[i];
        assert_true(avow_str_copy(storage[i], sizeof storage[i], avow_str_from(env[i])));
    }
    *out = NULL;
    err = (struct avow_err){.msg = ""};
    enum avow_rc rc = avow_conf_load(&test_spec, file, sets, n, environment, out, &err);
    assert_int_equal(rc == AVOW_OK, *out != NULL);
    return rc;
}

static struct avow_conf *load_text(const char *text)
{
    struct avow_conf *c;
    if (load(scratch_write("t.conf", text), NULL, 0, no_environment, &c))
        fail_msg("%s: %s", text, err.msg);
    return c;
}

static void test_conf_load__no_file_in_etc__gives_defaults(void **state)
{
    struct avow_conf *c;
    (void)state;
    assert_int_equal(load(NULL, NULL, 0, no_environment, &c), AVOW_OK);
    assert_string_equal(avow_conf_str(c, "test", "name"), "fallback");
    assert_null(avow_conf_str(c, "test", "path"));
    assert_int_equal(avow_conf_u64(c, "test", "count"), 5);
    assert_int_equal(avow_conf_u64(c, "test", "wait.max"), 30000);
    assert_true(avow_conf_bool(c, "test", "on"));
    assert_string_equal(avow_conf_str(c, "test", "mode"), "fast");
    avow_conf_free(c);
    avow_conf_free(NULL);
}

/* Each source sets all keys that the later ones do not: the winner of each key tells the order. */
static void test_conf_load__every_source__later_wins(void **state)
{
    const char *env[] = {"PATH=/bin", "AVOW_TEST_MODE=slow", "AVOW_TEST_USER_PASSWORD=env", NULL};
    const char *const sets[] = {"test.user_password=first", "test.user_password=set"};
    struct avow_conf *c;
    (void)state;
    const char *file = scratch_write("t.conf", "[test]\nname=file\npath=file\ncount=2\n"
                                               "mode=off\nuser_password=file\n");
    scratch_write("t.conf.d/20-b.conf", "[test]\ncount = 4\nmode=off\nuser_password=d20\n");
    scratch_write("t.conf.d/10-a.conf", "[test]\npath=d10\ncount=3\n");
    scratch_write("t.conf.d/.hidden.conf", "[test]\nname=hidden\n");
    scratch_write("t.conf.d/30-c.conf.bak", "[test]\nname=backup\n");
    assert_int_equal(load(file, sets, 2, env, &c), AVOW_OK);
    assert_true(avow_conf_bool(c, "test", "on"));                          /* default */
    assert_string_equal(avow_conf_str(c, "test", "name"), "file");         /* file over default */
    assert_string_equal(avow_conf_str(c, "test", "path"), "d10");          /* drop-in over file */
    assert_int_equal(avow_conf_u64(c, "test", "count"), 4);                /* later drop-in */
    assert_string_equal(avow_conf_str(c, "test", "mode"), "slow");         /* environment */
    assert_string_equal(avow_conf_str(c, "test", "user_password"), "set"); /* last --set */
    avow_conf_free(c);
}

static void test_conf_load__ini_forms__are_read(void **state)
{
    static const struct {
        const char *text, *name;
    } cases[] = {
        {"[test]\nname = plain\n", "plain"},
        {"[test]\nname=plain", "plain"},
        {"  [ test ]  # comment\n\t name  =  a b  \n", "a b"},
        {"[test]\r\nname = crlf\r\n", "crlf"},
        {"# c\n\n   # c\n[test]\nname = v # comment\n", "v"},
        {"[test]\nname = v#not=a comment\n", "v#not=a comment"},
        {"[test]\nname = \"  # quoted \\\"x\\\\\" # c\n", "  # quoted \"x\\"},
        {"[test]\nname = \"\"\n", ""},
        {"[test]\nname =\n", ""},
        {"[test]\nname = # nothing\n", ""},
        {"[test]\nname = a\"b\n", "a\"b"},
        {"[test]\nname = caf\xc3\xa9\n", "caf\xc3\xa9"},
        {"[other]\nname = x\n[test]\nname = back\n[other]\n", "back"},
    };
    (void)state;
    for (size_t i = 0; i < AVOW_ARRAY_LEN(cases); i++) {
        struct avow_conf *c = load_text(cases[i].text);
        CHECK(cases[i].text, avow_cstr_eq(avow_conf_str(c, "test", "name"), cases[i].name));
        avow_conf_free(c);
    }
}

static void test_conf_load__bad_files__name_file_and_line(void **state)
{
    static const struct {
        const char *text;
        unsigned line;
        const char *why;
    } cases[] = {
        {"[test]\nnmae = x\n", 2, "test.nmae: unknown key"},
        {"[tset]\n\nname = x\n", 3, "tset.name: unknown key"},
        {"[test]\nNAME = x\n", 2, "test.NAME: unknown key"},
        {"name = x\n", 1, "before the first [section]"},
        {"[test]\nname\n", 2, "neither [section] nor key = value"},
        {"[test]\n; name = x\n", 2, "bad key"},
        {"[test\n", 1, "closing ]"},
        {"[]\n", 1, "bad section"},
        {"[te st]\n", 1, "bad section"},
        {"[test] x\n", 1, "text after ]"},
        {"[test]\n= x\n", 2, "bad key"},
        {"[test]\na b = x\n", 2, "bad key"},
        {"[test]\nname = \"x\n", 2, "closing \""},
        {"[test]\nname = \"x\\\n", 2, "\\ may only stand"},
        {"[test]\nname = \"x\\n\"\n", 2, "\\ may only stand"},
        {"[test]\nname = \"x\" y\n", 2, "text after"},
        {"[test]\nname = a\n\nname = b\n", 4, "test.name: is set twice"},
        {"[kafka]\na.b = a\na.b = b\n", 3, "kafka.a.b: is set twice"},
        {"[test]\nname = a\x01"
         "b\n",
         2, "control character"},
        {"[test]\nname = a\xff\n", 2, "not UTF-8"},
        {"[test]\ncount = 11\n", 2, "test.count: 11 is not between 1 and 10"},
        {"[test]\ncount = 0\n", 2, "not between"},
        {"[test]\ncount = five\n", 2, "'five' is not a number"},
        {"[test]\ncount = -1\n", 2, "not a number"},
        {"[test]\ncount =\n", 2, "not a number"},
        {"[test]\nwait.max = 99\n", 2, "99 is not between 100 and 3600000 (ms)"},
        {"[test]\nwait.max = 2d\n", 2, "not between"},
        {"[test]\nwait.max = 5 m\n", 2, "not a duration"},
        {"[test]\nwait.max = 5y\n", 2, "not a duration"},
        {"[test]\nwait.max = m\n", 2, "not a duration"},
        {"[test]\nwait.max = 18446744073709551615d\n", 2, "not a duration"},
        {"[test]\non = maybe\n", 2, "'maybe' is not true or false"},
        {"[test]\nmode = fas\n", 2, "'fas' is not fast|slow|off"},
        {"[test]\nmode = fast|slow\n", 2, "is not fast|slow|off"},
        {"[test]\nmode =\n", 2, "is not fast|slow|off"},
    };
    (void)state;
    for (size_t i = 0; i < AVOW_ARRAY_LEN(cases); i++) {
        struct avow_conf *c;
        char where[300];
        const char *file = scratch_write("t.conf", cases[i].text);
        CHECK(cases[i].text, load(file, NULL, 0, no_environment, &c) == AVOW_CONFIG);
        snprintf(where, sizeof where, "%s:%u: ", file, cases[i].line);
        if (!avow_str_starts(avow_str_from(err.msg), where) || !strstr(err.msg, cases[i].why))
            fail_msg("case '%s': got '%s', want '%s ... %s'", cases[i].text, err.msg, where,
                     cases[i].why);
    }
}

static void test_conf_load__error_in_a_dropin__names_the_dropin(void **state)
{
    struct avow_conf *c;
    (void)state;
    const char *file = scratch_write("t.conf", "[test]\nname = a\n");
    const char *dropin = scratch_write("t.conf.d/x.conf", "[test]\nname = b\nbad = 1\n");
    assert_int_equal(load(file, NULL, 0, no_environment, &c), AVOW_CONFIG);
    assert_true(avow_str_starts(avow_str_from(err.msg), dropin));
    assert_non_null(strstr(err.msg, ":3: test.bad: unknown key"));
}

static void test_conf_load__named_file_missing_or_too_large__is_an_error(void **state)
{
    static char big[300 * 1024];
    struct avow_conf *c;
    (void)state;
    assert_int_equal(load(scratch_path("none.conf"), NULL, 0, no_environment, &c), AVOW_CONFIG);
    assert_non_null(strstr(err.msg, "none.conf"));
    memset(big, '\n', sizeof big - 1);
    assert_int_equal(load(scratch_write("big.conf", big), NULL, 0, no_environment, &c),
                     AVOW_CONFIG);
    memset(big, 'x', 5000);
    big[5000] = '\0';
    memcpy(big, "[test]\nname = ", 14);
    assert_int_equal(load(scratch_write("long.conf", big), NULL, 0, no_environment, &c),
                     AVOW_CONFIG);
    assert_non_null(strstr(err.msg, ":2: value is too long"));
}

static void test_conf_values__types__are_parsed(void **state)
{
    static const struct {
        const char *text;
        uint64_t ms;
    } durations[] = {{"100", 100},   {"1500ms", 1500}, {"2s", 2000},
                     {"2m", 120000}, {"1h", 3600000},  {"0100", 100}};
    static const char *const words[] = {"false", "true", "no", "yes", "off", "on", "0", "1"};
    char text[64];
    (void)state;
    for (size_t i = 0; i < AVOW_ARRAY_LEN(durations); i++) {
        snprintf(text, sizeof text, "[test]\nwait.max = %s\n", durations[i].text);
        struct avow_conf *c = load_text(text);
        CHECK(text, avow_conf_u64(c, "test", "wait.max") == durations[i].ms);
        avow_conf_free(c);
    }
    for (size_t i = 0; i < AVOW_ARRAY_LEN(words); i++) {
        snprintf(text, sizeof text, "[test]\non = %s\n", words[i]);
        struct avow_conf *c = load_text(text);
        CHECK(text, avow_conf_bool(c, "test", "on") == (i % 2 == 1));
        avow_conf_free(c);
    }
}

static void test_conf_load__empty_value__unsets_only_what_may_be_unset(void **state)
{
    const char *env[] = {"AVOW_TEST_PATH=", "AVOW_TEST_NAME=", "AVOW_KAFKA_A=", NULL};
    struct avow_conf *c;
    (void)state;
    const char *file = scratch_write("t.conf", "[test]\npath = /x\nname = n\n[kafka]\na = 1\n");
    assert_int_equal(load(file, NULL, 0, env, &c), AVOW_OK);
    assert_null(avow_conf_str(c, "test", "path"));
    assert_string_equal(avow_conf_str(c, "test", "name"), ""); /* never NULL: it has a default */
    avow_conf_free(c);
}

struct pairs {
    char text[512];
};

static void collect(void *arg, const char *key, const char *value)
{
    struct pairs *p = arg;
    size_t n = strlen(p->text);
    snprintf(p->text + n, sizeof p->text - n, "%s=%s;", key, value);
}

static void test_conf_passthrough__all_sources__merge_in_order(void **state)
{
    const char *env[] = {"AVOW_KAFKA_SSL_CA_LOCATION=/ca.pem",
                         "AVOW_KAFKA_BOOTSTRAP_SERVERS=env:9092",
                         "AVOW_KAFKA_",
                         "AVOW_KAFKA=x",
                         "AVOW_KAFKA_OWN_OPTION=ours",
                         NULL};
    const char *const sets[] = {"kafka.sasl.password=p=q", "kafka.linger.ms=5"};
    struct pairs got = {""};
    struct avow_conf *c;
    (void)state;
    const char *file = scratch_write(
        "t.conf", "[kafka]\nbootstrap.servers = file:9092\nlinger.ms = 1\nclient.id = c\n");
    scratch_write("t.conf.d/a.conf", "[kafka]\nclient.id =\n");
    assert_int_equal(load(file, sets, 2, env, &c), AVOW_OK);
    avow_conf_each_passthrough(c, collect, &got);
    assert_string_equal(got.text, "bootstrap.servers=env:9092;linger.ms=5;ssl.ca.location=/ca.pem;"
                                  "sasl.password=p=q;");
    assert_string_equal(avow_conf_str(c, "kafka", "own.option"), "ours");
    avow_conf_free(c);
}

static void test_conf_passthrough__too_many_keys__is_an_error(void **state)
{
    static char text[16384];
    struct avow_conf *c;
    (void)state;
    size_t n = (size_t)snprintf(text, sizeof text, "[kafka]\n");
    for (unsigned i = 0; i < 257; i++)
        n += (size_t)snprintf(text + n, sizeof text - n, "k%u = 1\n", i);
    assert_int_equal(load(scratch_write("t.conf", text), NULL, 0, no_environment, &c), AVOW_CONFIG);
    assert_non_null(strstr(err.msg, ":258: kafka.k256: too many keys"));
}

static void test_conf_environment__bad_variables__are_named(void **state)
{
    static const struct {
        const char *variable;
        const char *why; /* NULL: fine */
    } cases[] = {
        {"AVOW_TEST_COUNT=x", "environment AVOW_TEST_COUNT: test.count: 'x' is not a number"},
        {"AVOW_TEST_CUONT=1", "environment AVOW_TEST_CUONT: unknown key"},
        {"AVOW_TEST_NAME=\xff", "environment AVOW_TEST_NAME: test.name: value is not UTF-8"},
        {"AVOW_OTHER_UNKNOWN=1", NULL}, /* another program's */
        {"AVOW_TEST_WAIT_MAX=1s", NULL},
        {"AVOW_TEST", NULL},
    };
    (void)state;
    for (size_t i = 0; i < AVOW_ARRAY_LEN(cases); i++) {
        const char *env[] = {cases[i].variable, NULL};
        struct avow_conf *c;
        enum avow_rc rc = load(NULL, NULL, 0, env, &c);
        CHECK(cases[i].variable, rc == (cases[i].why ? AVOW_CONFIG : AVOW_OK));
        CHECK(cases[i].variable, !cases[i].why || strstr(err.msg, cases[i].why));
        avow_conf_free(c);
    }
}

static void test_conf_environment__further_name__loses_against_the_regular_one(void **state)
{
    const char *env[] = {"AVOW_OLD_NAME=old", "AVOW_TEST_NAME=new", NULL};
    struct avow_conf *c;
    (void)state;
    assert_int_equal(load(NULL, NULL, 0, env, &c), AVOW_OK);
    assert_string_equal(avow_conf_str(c, "test", "name"), "new");
    avow_conf_free(c);
    env[1] = NULL;
    assert_int_equal(load(NULL, NULL, 0, env, &c), AVOW_OK);
    assert_string_equal(avow_conf_str(c, "test", "name"), "old");
    avow_conf_free(c);
}

static void test_conf_set__bad_forms__are_errors(void **state)
{
    static const char *const cases[] = {
        "",        "x",       "test.name", "=x",          "test=x",
        ".name=x", "test.=x", "a=b.c",     "test.nmae=x", "test.count=99"};
    (void)state;
    for (size_t i = 0; i < AVOW_ARRAY_LEN(cases); i++) {
        struct avow_conf *c;
        CHECK(cases[i], load(NULL, &cases[i], 1, no_environment, &c) == AVOW_CONFIG);
        CHECK(cases[i], strstr(err.msg, "--set"));
    }
}

static void test_conf_print__every_source__is_shown_and_secrets_are_not(void **state)
{
    const char *env[] = {"AVOW_TEST_COUNT=7", "AVOW_KAFKA_SSL_KEY_PASSWORD=hush",
                         "AVOW_OLD_NAME=a # b", NULL};
    const char *const sets[] = {"test.user_password=hush",
                                "kafka.sasl.oauthbearer.client.secret=hush"};
    char want[2048];
    struct avow_conf *c;
    struct avow_buf out;
    (void)state;
    const char *file = scratch_write(
        "t.conf", "[test]\n\npath = /p\n[kafka]\nclient.id = c\nssl.key.pem = hush\n");
    assert_int_equal(load(file, sets, 2, env, &c), AVOW_OK);
    avow_buf_init(&out, 4096);
    avow_conf_print(c, &out);
    snprintf(want, sizeof want,
             "test.name = \"a # b\"  # environment AVOW_OLD_NAME\n"
             "test.path = /p  # %s:3\n"
             "test.count = 7  # environment AVOW_TEST_COUNT\n"
             "test.wait.max = 30s  # default\n"
             "test.on = true  # default\n"
             "test.mode = fast  # default\n"
             "test.user_password = ***  # --set\n"
             "other.name =   # default (unset)\n"
             "kafka.own.option =   # default (unset)\n"
             "kafka.client.id = c  # %s:5\n"
             "kafka.ssl.key.pem = ***  # %s:6\n"
             "kafka.ssl.key.password = ***  # environment AVOW_KAFKA_SSL_KEY_PASSWORD\n"
             "kafka.sasl.oauthbearer.client.secret = ***  # --set\n",
             file, file, file);
    assert_string_equal(avow_buf_cstr(&out), want);
    avow_buf_deinit(&out);
    avow_conf_free(c);
}

/* The sample, with its comment signs taken away, is a configuration that equals the defaults. */
static void test_conf_sample__uncommented__loads_as_the_defaults(void **state)
{
    struct avow_buf sample, live;
    struct avow_conf *c;
    (void)state;
    avow_buf_init(&sample, 8192);
    avow_buf_init(&live, 8192);
    avow_conf_sample(&test_spec, &sample);
    const char *text = avow_buf_cstr(&sample);
    assert_int_equal(load(scratch_write("s.conf", text), NULL, 0, no_environment, &c), AVOW_OK);
    avow_conf_free(c);
    for (const char *p = text; *p; p++)
        if (*p != '#' || p[1] == ' ')
            avow_buf_put_u8(&live, (uint8_t)*p);
    assert_non_null(strstr(avow_buf_cstr(&live), "\nwait.max = 30s\n"));
    assert_int_equal(
        load(scratch_write("s.conf", avow_buf_cstr(&live)), NULL, 0, no_environment, &c), AVOW_OK);
    assert_string_equal(avow_conf_str(c, "test", "name"), "fallback");
    assert_int_equal(avow_conf_u64(c, "test", "wait.max"), 30000);
    assert_null(avow_conf_str(c, "other", "name"));
    avow_conf_free(c);
    avow_buf_deinit(&sample);
    avow_buf_deinit(&live);
}

static void test_conf_source__every_source__is_named(void **state)
{
    const char *env[] = {"AVOW_TEST_MODE=slow", NULL};
    const char *const sets[] = {"test.on=no"};
    struct avow_conf *c;
    char want[512];
    (void)state;
    const char *file = scratch_write("t.conf", "[test]\nname = x\n[kafka]\na.b = 1\ngone =\n");
    assert_int_equal(load(file, sets, 1, env, &c), AVOW_OK);
    assert_true(snprintf(want, sizeof want, "%s:2", file) > 0);
    assert_string_equal(avow_conf_source(c, "test", "name"), want);
    assert_true(snprintf(want, sizeof want, "%s:4", file) > 0);
    assert_string_equal(avow_conf_source(c, "kafka", "a.b"), want);
    assert_null(avow_conf_source(c, "kafka", "gone"));
    assert_null(avow_conf_source(c, "kafka", "never"));
    assert_string_equal(avow_conf_source(c, "kafka", "own.option"), "default");
    assert_string_equal(avow_conf_source(c, "test", "mode"), "environment AVOW_TEST_MODE");
    assert_string_equal(avow_conf_source(c, "test", "on"), "--set");
    assert_string_equal(avow_conf_source(c, "test", "count"), "default");
    avow_conf_free(c);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, scratch_setup, scratch_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_conf_load__no_file_in_etc__gives_defaults),
        TEST(test_conf_load__every_source__later_wins),
        TEST(test_conf_load__ini_forms__are_read),
        TEST(test_conf_load__bad_files__name_file_and_line),
        TEST(test_conf_load__error_in_a_dropin__names_the_dropin),
        TEST(test_conf_load__named_file_missing_or_too_large__is_an_error),
        TEST(test_conf_values__types__are_parsed),
        TEST(test_conf_load__empty_value__unsets_only_what_may_be_unset),
        TEST(test_conf_passthrough__all_sources__merge_in_order),
        TEST(test_conf_passthrough__too_many_keys__is_an_error),
        TEST(test_conf_environment__bad_variables__are_named),
        TEST(test_conf_environment__further_name__loses_against_the_regular_one),
        TEST(test_conf_set__bad_forms__are_errors),
        TEST(test_conf_print__every_source__is_shown_and_secrets_are_not),
        TEST(test_conf_sample__uncommented__loads_as_the_defaults),
        TEST(test_conf_source__every_source__is_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
