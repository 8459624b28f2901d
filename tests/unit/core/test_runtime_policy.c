/* test_runtime_policy.c - loading and matching policies. */
#include "avow/core/runtime_policy.h"

#include "avow/core/ima_keys.h"
#include "avow/formats/policy_text.h"

#include "avow/base/buf.h"
#include "avow/base/file.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "avow/base/banned.h"

#define A20 "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define A32 "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define B32 "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
#define A48 A32 "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define A64 A32 A32
#define FULL(digests, excludes)                                                                    \
    "{\"meta\":{\"version\":1,\"generator\":3,\"timestamp\":\"2026-01-01\"},\"release\":0,"        \
    "\"digests\":" digests ",\"excludes\":" excludes                                               \
    ",\"keyrings\":{},\"ima\":{\"ignored_keyrings\":[],\"log_hash_alg\":\"sha1\","                 \
    "\"dm_policy\":null},\"ima-buf\":{},\"verification-keys\":\"\"}"

static uint8_t aa[64], bb[64];

static int fill(void **state)
{
    (void)state;
    memset(aa, 0xAA, sizeof aa);
    memset(bb, 0xBB, sizeof bb);
    return 0;
}

static struct avow_runtime_policy *load(const char *text)
{
    struct avow_runtime_policy *p = NULL;
    struct avow_err err = {0};
    if (avow_runtime_policy_load(avow_bytes_make(text, strlen(text)), &p, &err))
        fail_msg("%s\n%s", text, err.msg);
    return p;
}

static enum avow_policy_match match(const struct avow_runtime_policy *p, const char *path,
                                    const uint8_t *digest, size_t len, bool strict)
{
    return avow_runtime_policy_match(p, avow_str_from(path), avow_bytes_make(digest, len), strict);
}

static void test_match__digests_of_every_length__as_listed(void **state)
{
    (void)state;
    static const char text[] = FULL(
        "{\"/a\":[\"" A20 "\",\"" A32 "\",\"" A48 "\",\"" A64 "\"],\"/b\":[\"" B32 "\"]}", "[]");
    static const size_t lengths[] = {20, 32, 48, 64};
    struct avow_runtime_policy *p = load(text);
    for (size_t i = 0; i < AVOW_ARRAY_LEN(lengths); i++)
        assert_int_equal(match(p, "/a", aa, lengths[i], false), AVOW_POLICY_ALLOWED);
    assert_int_equal(match(p, "/a", bb, 32, false), AVOW_POLICY_DIGEST_UNKNOWN);
    assert_int_equal(match(p, "/a", aa, 31, false), AVOW_POLICY_DIGEST_UNKNOWN);
    assert_int_equal(match(p, "/a", aa, 0, false), AVOW_POLICY_DIGEST_UNKNOWN);
    assert_int_equal(match(p, "/b", bb, 32, false), AVOW_POLICY_ALLOWED);
    assert_int_equal(match(p, "/c", aa, 32, false), AVOW_POLICY_PATH_UNKNOWN);
    assert_int_equal(match(p, "/", aa, 32, false), AVOW_POLICY_PATH_UNKNOWN);
    struct avow_runtime_policy_stats stats;
    avow_runtime_policy_stats_get(p, &stats);
    assert_int_equal(stats.paths, 2);
    assert_int_equal(stats.digests, 5);
    assert_int_equal(stats.notes, 0);
    avow_runtime_policy_free(p);
}

static void test_match__excludes__prefix_as_keylime_or_whole_paths(void **state)
{
    (void)state;
    static const struct {
        const char *exclude, *path;
        bool prefix, strict;
    } cases[] = {
        {"/tmp", "/tmp", true, true},
        {"/tmp", "/tmpevil", true, false},
        {"/tmp", "/tmp/x", true, false},
        {"/tmp", "/var/tmp", false, false},
        {"/tmp/", "/tmp/x", true, false},
        {"/tmp/", "/tmpevil", false, false},
        {"/tmp/.*", "/tmp/x", true, true},
        {"/tmp/.*", "/tmp/", true, true},
        {"/tmp/.*", "/tmp", false, false},
        {"/tmp/.*", "/tmp/a\nb", true, false},
        {"/tmp/.*$", "/tmp/x", true, true},
        {"/tmp/.*$", "/tmp/a\nb", false, false},
        {"/tmp/.*$", "/tmp/a\n", true, false},
        {"/tmp", "/tmp\nx", true, false},
        {"/tmp$", "/tmp", true, true},
        {"/tmp$", "/tmp/x", false, false},
        {"/tmp$", "/tmp\n", true, false},
        {"^/tmp", "/tmp/x", true, false},
        {"^/tmp$", "/tmp", true, true},
        {"/a\\.b", "/a.b", true, true},
        {"/a\\.b", "/axb", false, false},
        {"/a.b", "/axb", true, true},
        {"/a.b", "/a.bc", true, false},
        {"(/a|/b)$", "/b", true, true},
        {"/lib/[0-9]+/x", "/lib/12/x", true, true},
        {"/lib/[0-9]+/x", "/lib/12/xy", true, false},
        {"/lib/[0-9]+/x", "/lib/ab/x", false, false},
        {".*\\.pyc", "/x/y.pyc", true, true},
        {".*", "/anything", true, true},
        {"", "/anything", true, false},
        {"(?!/usr)/.*", "/opt/x", true, true},
        {"(?!/usr)/.*", "/usr/x", false, false},
        {"/a/\xc3\xa9", "/a/\xc3\xa9t\xc3\xa9", true, false},
        {"/a/.*x", "/a/\xff\xfex", false, false},
        {"/tmp*", "/tm", true, true},
    };
    for (size_t i = 0; i < AVOW_ARRAY_LEN(cases); i++) {
        char text[400], *at = text;
        const char *from = cases[i].exclude;
        char escaped[64];
        size_t n = 0;
        for (; *from; from++) {
            if (*from == '\\')
                escaped[n++] = '\\';
            escaped[n++] = *from;
        }
        escaped[n] = 0;
        (void)snprintf(at, sizeof text, "{\"digests\":{},\"excludes\":[\"/zzz\",\"%s\",\"/tz.*\"]}",
                       escaped);
        struct avow_runtime_policy *p = load(text);
        bool got[2];
        for (int strict = 0; strict < 2; strict++)
            got[strict] = match(p, cases[i].path, aa, 32, strict) == AVOW_POLICY_EXCLUDED;
        if (got[0] != cases[i].prefix || got[1] != cases[i].strict)
            fail_msg("%s on %s: got %d %d", cases[i].exclude, cases[i].path, got[0], got[1]);
        avow_runtime_policy_free(p);
    }
}

static void test_match__many_literals__each_is_found(void **state)
{
    (void)state;
    struct avow_buf b;
    avow_buf_init(&b, 1u << 20);
    avow_buf_put_str(&b, "{\"digests\":{},\"excludes\":[\"/p5\"");
    for (int i = 0; i < 1000; i++)
        avow_buf_printf(&b, ",\"/p%d/\"", i);
    avow_buf_put_str(&b, "]}");
    struct avow_runtime_policy *p = load(avow_buf_cstr(&b));
    for (int i = 0; i < 1000; i++) {
        char path[32];
        (void)snprintf(path, sizeof path, "/p%d/x", i);
        assert_int_equal(match(p, path, aa, 32, false), AVOW_POLICY_EXCLUDED);
        (void)snprintf(path, sizeof path, "/q%d/x", i);
        assert_int_equal(match(p, path, aa, 32, false), AVOW_POLICY_PATH_UNKNOWN);
    }
    assert_int_equal(match(p, "/p5evil", aa, 32, false), AVOW_POLICY_EXCLUDED);
    assert_int_equal(match(p, "/p6evil", aa, 32, false), AVOW_POLICY_PATH_UNKNOWN);
    avow_runtime_policy_free(p);
    avow_buf_deinit(&b);
}

static void test_AP22__catastrophic_expression__not_excluded_and_said_so(void **state)
{
    (void)state;
    struct avow_runtime_policy *p = load(FULL("{\"/ok\":[\"" A32 "\"]}", "[\"/(a|aa)+[xy]\"]"));
    char path[4001];
    memset(path, 'a', 4000);
    path[0] = '/';
    path[4000] = 0;
    assert_int_equal(match(p, path, aa, 32, false), AVOW_POLICY_REGEX_LIMIT);
    assert_int_equal(match(p, "/ok", aa, 32, false), AVOW_POLICY_ALLOWED); /* digests first */
    avow_runtime_policy_free(p);
}

static void test_load__refused__with_path_and_reason(void **state)
{
    (void)state;
    static const struct {
        const char *text, *says;
    } cases[] = {
        {"", "the policy is empty"},
        {"  \n ", "the policy is empty"},
        {"[]", "$: not an object"},
        {"{", "line 1"},
        {"{}", "$: no digests"},
        {"{\"digests\":{},\"digests\":{}}", "duplicate"},
        {"{\"digests\":[]}", "$.digests: not an object"},
        {"{\"digests\":{\"/a\":[]}}", "$.digests[\"/a\"]: not a list with at least one digest"},
        {"{\"digests\":{\"/a\":\"x\"}}", "$.digests[\"/a\"]: not a list"},
        {"{\"digests\":{\"/a\":[1]}}", "$.digests[\"/a\"][0]: not a string"},
        {"{\"digests\":{\"/a\":[\"" A32 "\",\"ab\"]}}",
         "$.digests[\"/a\"][1]: a digest of 2 hex digits"},
        {"{\"digests\":{\"/a\":[\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\"]}}",
         "of 44 hex digits"},
        {"{\"digests\":{\"/a\":[\"sha384:" A32 "\"]}}", "does not fit its algorithm"},
        {"{\"digests\":{\"/a\":[\"md5:" A32 "\"]}}", "of 68 hex digits"},
        {"{\"digests\":{},\"avow\":1}", "$.avow: not an object"},
        {"{\"digests\":{},\"avow\":{}}", "$.avow: no version"},
        {"{\"digests\":{},\"avow\":{\"version\":0}}", "$.avow.version: not 1"},
        {"{\"digests\":{},\"avow\":{\"version\":2}}", "$.avow.version: not 1"},
        {"{\"digests\":{},\"avow\":{\"version\":1,\"version\":1}}", "$.avow: duplicate"},
        {"{\"digests\":{},\"avow\":{\"version\":1,\"strict\":true}}",
         "$.avow[\"strict\"]: unknown key"},
        {"{\"digests\":{},\"avow\":{\"version\":1,\"strict_excludes\":1}}",
         "$.avow.strict_excludes: not true or false"},
        {"{\"digests\":{\"/a\":[\"xaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\"]}}", "not hex"},
        {"{\"digests\":{\"\":[\"" A32 "\"]}}", "a name has 0 bytes"},
        {"{\"digests\":{},\"hashes\":{}}", "both digests and hashes"},
        {"{\"digests\":{},\"excludes\":{}}", "$.excludes: not a list"},
        {"{\"digests\":{},\"excludes\":[\"(\"]}", "$.excludes[0]: not an expression"},
        {"{\"digests\":{},\"excludes\":[\"/a\",\"(*LIMIT_MATCH=9)x\"]}",
         "$.excludes[1]: not an expression"},
        {"{\"digests\":{},\"excludes\":[\"a\\\\Cb\"]}", "$.excludes[0]: not an expression"},
        {"{\"digests\":{},\"excludes\":[7]}", "$.excludes[0]: not a string"},
        {"{\"digests\":{},\"meta\":{\"version\":2}}", "$.meta.version"},
        {"{\"digests\":{},\"meta\":{\"version\":\"1\"}}", "$.meta.version"},
        {"{\"digests\":{},\"meta\":{\"generator\":4}}", "$.meta.generator"},
        {"{\"digests\":{},\"ima\":{\"log_hash_alg\":\"md5\"}}", "$.ima.log_hash_alg"},
        {"{\"digests\":{},\"keyrings\":{\".ima\":[\"zz\"]}}", "$.keyrings[\".ima\"][0]"},
        {"{\"digests\":{},\"verification-keys\":[]}", "$[\"verification-keys\"]: not a string"},
        {"{\"payloadType\":\"x\",\"payload\":\"\",\"signatures\":[]}", "DSSE"},
        {"{\"digests\":{\"\\u0000\":[]}}", "line 1"},
        {"hello world", "line 1: a digest of 5 hex digits"},
        {"# nothing\n\n", "no digest in the whole text"},
        {A32 "  /a\n" A32 "\n", "line 2: not \"digest path\""},
    };
    for (size_t i = 0; i < AVOW_ARRAY_LEN(cases); i++) {
        struct avow_runtime_policy *p = NULL;
        struct avow_err err = {0};
        enum avow_rc rc = avow_runtime_policy_load(
            avow_bytes_make(cases[i].text, strlen(cases[i].text)), &p, &err);
        if (!rc || p)
            fail_msg("loaded: %s", cases[i].text);
        if (!strstr(err.msg, cases[i].says))
            fail_msg("%s: want \"%s\", got \"%s\"", cases[i].text, cases[i].says, err.msg);
    }
}

/* What Keylime ignores does not refuse its policies, and is said. */
static void test_load__unknown_keys_of_keylime__are_warnings_with_their_path(void **state)
{
    (void)state;
    struct avow_runtime_policy *p =
        load("{\"exclude\":[{\"a\":[1]}],\"meta\":{\"x\":{}},\"digests\":{},\"ima\":{\"y\":1.5}}");
    static const char *const says[] = {"$[\"exclude\"]: unknown key", "$.meta[\"x\"]: unknown key",
                                       "$.ima[\"y\"]: unknown key"};
    struct avow_runtime_policy_stats stats;
    avow_runtime_policy_stats_get(p, &stats);
    assert_int_equal(stats.warnings, AVOW_ARRAY_LEN(says));
    for (size_t i = 0; i < AVOW_ARRAY_LEN(says); i++)
        assert_true(avow_str_starts(avow_runtime_policy_warning(p, i), says[i]));
    assert_int_equal(avow_runtime_policy_warning(p, AVOW_ARRAY_LEN(says)).len, 0);
    assert_int_equal(avow_runtime_policy_warning(p, SIZE_MAX).len, 0);
    avow_runtime_policy_free(p);
}

static void test_load__more_warnings_than_kept__are_counted(void **state)
{
    (void)state;
    struct avow_buf b;
    struct avow_runtime_policy_stats stats;
    avow_buf_init(&b, 1u << 16);
    avow_buf_put_str(&b, "{\"digests\":{}");
    for (unsigned i = 0; i < 40; i++)
        avow_buf_printf(&b, ",\"k%u\":null", i);
    avow_buf_put_str(&b, "}");
    struct avow_runtime_policy *p = load(avow_buf_cstr(&b));
    avow_runtime_policy_stats_get(p, &stats);
    assert_int_equal(stats.warnings, 40);
    assert_int_equal(avow_runtime_policy_warning(p, AVOW_POLICY_WARNINGS_KEPT).len, 0);
    avow_runtime_policy_free(p);
    avow_buf_deinit(&b);
}

static void test_match__strict_header__excludes_match_whole_paths(void **state)
{
    (void)state;
    struct avow_runtime_policy *p =
        load("{\"avow\":{\"version\":1,\"strict_excludes\":true},\"digests\":{},"
             "\"excludes\":[\"/tmp\",\"/v[a-z]r\"]}");
    struct avow_runtime_policy *loose =
        load("{\"avow\":{\"version\":1,\"strict_excludes\":false},\"digests\":{},"
             "\"excludes\":[\"/tmp\",\"/v[a-z]r\"]}");
    struct avow_runtime_policy_stats stats;
    assert_int_equal(match(p, "/tmp", aa, 32, false), AVOW_POLICY_EXCLUDED);
    assert_int_equal(match(p, "/tmpevil", aa, 32, false), AVOW_POLICY_PATH_UNKNOWN);
    assert_int_equal(match(p, "/var", aa, 32, false), AVOW_POLICY_EXCLUDED);
    assert_int_equal(match(p, "/varevil", aa, 32, false), AVOW_POLICY_PATH_UNKNOWN);
    assert_int_equal(match(loose, "/varevil", aa, 32, false), AVOW_POLICY_EXCLUDED);
    assert_false(avow_runtime_policy_is_superset(loose, p)); /* it excludes less */
    assert_true(avow_runtime_policy_is_superset(p, loose));
    avow_runtime_policy_stats_get(p, &stats);
    assert_int_equal(stats.notes & AVOW_POLICY_NOTE_OPEN_EXCLUDE, 0);
    avow_runtime_policy_free(p);
    avow_runtime_policy_free(loose);
}

static void test_find__keyrings_and_buffers__as_listed(void **state)
{
    (void)state;
    struct avow_runtime_policy *p =
        load("{\"digests\":{\"boot_aggregate\":[\"sha256:" A32 "\"]},\"excludes\":[\"skip\"],"
             "\"keyrings\":{\".ima\":[\"" A32 "\"]},\"ima-buf\":{\"b\":[\"" B32 "\"]},"
             "\"ima\":{\"ignored_keyrings\":[\".old\"],\"dm_policy\":{\"version\": "
             "1,\"match_on\":\"name\",\"rules\":{}}},"
             "\"verification-keys\":\"{\\\"pubkeys\\\":[]}\"}");
    struct avow_str ima = AVOW_STR_LIT(".ima"), buffer = AVOW_STR_LIT("b");
    struct avow_bytes a = avow_bytes_make(aa, 32), b = avow_bytes_make(bb, 32);
    assert_int_equal(avow_runtime_policy_find_keyring(p, ima, a), AVOW_POLICY_ALLOWED);
    assert_int_equal(avow_runtime_policy_find_keyring(p, ima, b), AVOW_POLICY_DIGEST_UNKNOWN);
    assert_int_equal(avow_runtime_policy_find_keyring(p, buffer, b), AVOW_POLICY_PATH_UNKNOWN);
    assert_int_equal(avow_runtime_policy_find_buffer(p, buffer, b), AVOW_POLICY_ALLOWED);
    assert_int_equal(avow_runtime_policy_find_buffer(p, buffer, a), AVOW_POLICY_DIGEST_UNKNOWN);
    assert_int_equal(avow_runtime_policy_find_buffer(p, ima, a), AVOW_POLICY_PATH_UNKNOWN);
    assert_true(avow_runtime_policy_ignores_keyring(p, AVOW_STR_LIT(".old")));
    assert_false(avow_runtime_policy_ignores_keyring(p, ima));
    assert_true(avow_str_is(avow_runtime_policy_keys_text(p), "{\"pubkeys\":[]}"));
    assert_true(avow_str_is(avow_runtime_policy_dm_text(p),
                            "{\"version\": 1,\"match_on\":\"name\",\"rules\":{}}"));
    assert_int_equal(avow_runtime_policy_exclude(p, AVOW_STR_LIT("skipped"), false),
                     AVOW_POLICY_EXCLUDED);
    assert_int_equal(avow_runtime_policy_exclude(p, AVOW_STR_LIT("skipped"), true),
                     AVOW_POLICY_PATH_UNKNOWN);
    assert_int_equal(match(p, "boot_aggregate", aa, 32, false), AVOW_POLICY_ALLOWED);
    avow_runtime_policy_free(p);
    p = load("{\"digests\":{},\"ima\":{\"ignored_keyrings\":[\"*\"]}}");
    assert_true(avow_runtime_policy_ignores_keyring(p, ima));
    assert_int_equal(avow_runtime_policy_keys_text(p).len, 0);
    assert_int_equal(avow_runtime_policy_dm_text(p).len, 0);
    avow_runtime_policy_free(p);
}

/* Keylime knows more curves: a policy with such a key loads, and the key counts for nothing. */
static void test_load__key_of_an_unknown_curve__warning(void **state)
{
    (void)state;
    struct avow_runtime_policy *p =
        load("{\"digests\":{},\"verification-keys\":\"{\\\"pubkeys\\\":["
             "\\\"MFYwEAYHKoZIzj0CAQYFK4EEAAoDQgAEeb5mfvncu6xVoGKVzocLBwKb/NstzijZWfKBWxb4F5hIOtp3"
             "JqPEZV2k+/wOEQio/Re0SKaFVBmcR9CP+xDUuA==\\\","
             "\\\"MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEN/5azHg5bC6IMQi9BJDktcyY+HVrYF+vfmxz4kvKQrpZ"
             "VuucGpwfmsiuztRfEkkdUZQlMqlgwlj7mwhgMbQzIg==\\\"]}\"}");
    struct avow_runtime_policy_stats stats;
    avow_runtime_policy_stats_get(p, &stats);
    assert_int_equal(stats.warnings, 1);
    assert_true(
        avow_str_starts(avow_runtime_policy_warning(p, 0), "$[\"verification-keys\"]: some"));
    assert_int_equal(avow_ima_keys_count(avow_runtime_policy_keys(p)), 1);
    avow_runtime_policy_free(p);
}

static void keylime_file(const char *name, struct avow_buf *out)
{
    char path[512];
    struct avow_err err = {0};
    (void)snprintf(path, sizeof path, "%s/vectors/%s", getenv("AVOW_KEYLIME_VECTORS"), name);
    avow_buf_init(out, 1u << 20);
    if (avow_file_read(path, out, &err))
        fail_msg("%s", err.msg);
}

static void test_load__keylimes_policies__unchanged(void **state)
{
    (void)state;
    static const char *const names[] = {"empty_policy.json",
                                        "runtime-policy-test.json",
                                        "runtime_policy_test.json",
                                        "runtime_policy_with_excludes.json",
                                        "runtime_policy_with_verification_keys.json",
                                        "runtime_policy_wrong.json",
                                        "runtime_policy_wrong_with_excludes.json"};
    if (!getenv("AVOW_KEYLIME_VECTORS")) {
        print_message("AVOW_KEYLIME_VECTORS is not set: Keylime's policies are not loaded\n");
        skip();
    }
    for (size_t i = 0; i < AVOW_ARRAY_LEN(names); i++) {
        struct avow_buf text;
        keylime_file(names[i], &text);
        avow_runtime_policy_free(load(avow_buf_cstr(&text)));
        avow_buf_deinit(&text);
    }
    print_message("%zu policies of Keylime's loaded\n", AVOW_ARRAY_LEN(names));
}

/* Many values of one name, listed together and apart, do not slow down what comes after, and none
 * is lost where a record ends. */
static void test_match__one_path_with_10_000_digests__all_are_found(void **state)
{
    (void)state;
    for (int together = 0; together < 2; together++) {
        struct avow_buf b;
        avow_buf_init(&b, 8u << 20);
        for (unsigned i = 0; i < 10000; i++) {
            avow_buf_printf(&b, "%064x /one\n", i);
            if (!together)
                avow_buf_printf(&b, "%064x /other-%u\n", i, i % 3);
        }
        struct avow_runtime_policy *p = load(avow_buf_cstr(&b));
        uint8_t digest[32] = {0};
        for (unsigned i = 0; i < 10000; i += 99) { /* the first, the last, both sides of records */
            avow_put_u32be(digest + 28, i);
            if (match(p, "/one", digest, 32, false) != AVOW_POLICY_ALLOWED)
                fail_msg("digest %u", i);
        }
        avow_put_u32be(digest + 28, 10000);
        assert_int_equal(match(p, "/one", digest, 32, false), AVOW_POLICY_DIGEST_UNKNOWN);
        assert_true(avow_runtime_policy_is_superset(p, p));
        avow_runtime_policy_free(p);
        avow_buf_deinit(&b);
    }
}

static void test_load__caps__are_enforced(void **state)
{
    (void)state;
    struct avow_buf b;
    struct avow_runtime_policy *p = NULL;
    avow_buf_init(&b, 1u << 20);
    avow_buf_put_str(&b, "{\"digests\":{},\"excludes\":[\"x\"");
    for (unsigned i = 0; i < AVOW_POLICY_EXCLUDES_MAX; i++)
        avow_buf_put_str(&b, ",\"x\"");
    avow_buf_put_str(&b, "]}");
    assert_int_equal(avow_runtime_policy_load(avow_buf_bytes(&b), &p, NULL), AVOW_LIMIT);
    avow_buf_reset(&b);
    avow_buf_put_str(&b, "{\"digests\":{},\"excludes\":[\"");
    for (unsigned i = 0; i <= AVOW_POLICY_EXCLUDE_LEN_MAX; i++)
        avow_buf_put_u8(&b, 'x');
    avow_buf_put_str(&b, "\"]}");
    assert_int_equal(avow_runtime_policy_load(avow_buf_bytes(&b), &p, NULL), AVOW_LIMIT);
    avow_buf_deinit(&b);
    assert_int_equal(avow_runtime_policy_load(
                         (struct avow_bytes){(const uint8_t *)"{", AVOW_POLICY_MAX + 1u}, &p, NULL),
                     AVOW_LIMIT);
    assert_null(p);
}

static void test_load__flat_and_legacy__as_allowlists(void **state)
{
    (void)state;
    static const char *const texts[] = {A32 "  /a b\n# comment\n\n" B32 " */b\r\n" B32 " /a b\n",
                                        "{\"meta\":{\"version\":5},\"hashes\":{\"/a b\":[\"" A32
                                        "\",\"" B32 "\"],\"/b\":[\"" B32 "\"]}}"};
    for (size_t i = 0; i < AVOW_ARRAY_LEN(texts); i++) {
        struct avow_runtime_policy *p = load(texts[i]);
        struct avow_runtime_policy_stats stats;
        assert_int_equal(match(p, "/a b", aa, 32, false), AVOW_POLICY_ALLOWED);
        assert_int_equal(match(p, "/a b", bb, 32, false), AVOW_POLICY_ALLOWED); /* listed apart */
        assert_int_equal(match(p, "/b", bb, 32, false), AVOW_POLICY_ALLOWED);
        assert_int_equal(match(p, "/b", aa, 32, false), AVOW_POLICY_DIGEST_UNKNOWN);
        avow_runtime_policy_stats_get(p, &stats);
        assert_int_equal(stats.notes, AVOW_POLICY_NOTE_LEGACY);
        assert_int_equal(stats.paths, 2);
        avow_runtime_policy_free(p);
    }
}

static void test_load__what_is_not_judged__is_noted(void **state)
{
    (void)state;
    struct avow_runtime_policy *p = load(
        "{\"digests\":{\"boot_aggregate\":[\"" A32
        "\"]},\"excludes\":[\"/tmp\"],\"keyrings\":{\".ima\":[\"" A32
        "\"]},\"ima-buf\":{\"x\":[\"" A32 "\"]},\"ima\":{\"dm_policy\":{\"version\":1,\"match_on\":"
        "\"name\",\"rules\":{}}},\"verification-keys\":\"{}\"}");
    struct avow_runtime_policy_stats stats;
    avow_runtime_policy_stats_get(p, &stats);
    assert_int_equal(stats.notes, AVOW_POLICY_NOTE_VERIFICATION_KEYS | AVOW_POLICY_NOTE_KEYRINGS |
                                      AVOW_POLICY_NOTE_IMA_BUF | AVOW_POLICY_NOTE_DM_POLICY |
                                      AVOW_POLICY_NOTE_OPEN_EXCLUDE |
                                      AVOW_POLICY_NOTE_BOOT_AGGREGATE);
    for (unsigned bit = 1; bit <= stats.notes; bit <<= 1)
        assert_true(!(stats.notes & bit) || strlen(avow_policy_note_text(bit)) > 10);
    avow_runtime_policy_free(p);
}

static void test_is_superset__only_what_allows_more(void **state)
{
    (void)state;
    static const char base[] = "{\"digests\":{\"/a\":[\"" A32
                               "\"]},\"excludes\":[\"/x\"],\"keyrings\":{\"k\":[\"" A32 "\"]}}";
    static const struct {
        const char *text;
        bool superset;
    } cases[] = {
        {base, true},
        {"{\"digests\":{\"/a\":[\"" B32 "\",\"" A32 "\"],\"/b\":[\"" A32
         "\"]},\"excludes\":[\"/y\",\"/x\"],\"keyrings\":{\"k\":[\"" A32 "\"]}}",
         true},
        {"{\"digests\":{\"/a\":[\"" B32 "\"]},\"excludes\":[\"/x\"],\"keyrings\":{\"k\":[\"" A32
         "\"]}}",
         false},
        {"{\"digests\":{},\"excludes\":[\"/x\"],\"keyrings\":{\"k\":[\"" A32 "\"]}}", false},
        {"{\"digests\":{\"/a\":[\"" A32 "\"]},\"excludes\":[],\"keyrings\":{\"k\":[\"" A32 "\"]}}",
         false},
        {"{\"digests\":{\"/a\":[\"" A32 "\"]},\"excludes\":[\"/x\"]}", false},
        {"{\"digests\":{\"/a\":[\"" A32 "\"],\"boot_aggregate\":[\"" A32
         "\"]},\"excludes\":[\"/x\"],\"keyrings\":{\"k\":[\"" A32 "\"]}}",
         false}, /* a pin is a demand */
        {"{\"digests\":{\"/a\":[\"" A32 "\"]},\"excludes\":[\"/x\"],\"keyrings\":{\"k\":[\"" A32
         "\"]},\"ima\":{\"dm_policy\":{\"version\":1,\"match_on\":\"name\",\"rules\":{}}}}",
         false}, /* and so is this */
        {"{\"digests\":{\"/a\":[\"" A32 "\"]},\"excludes\":[\"/x\"],\"keyrings\":{\"k\":[\"" A32
         "\"]},\"ima\":{\"ignored_keyrings\":[\"*\"]},\"verification-keys\":\"{}\"}",
         true},
    };
    struct avow_runtime_policy *old = load(base);
    for (size_t i = 0; i < AVOW_ARRAY_LEN(cases); i++) {
        struct avow_runtime_policy *p = load(cases[i].text);
        if (avow_runtime_policy_is_superset(old, p) != cases[i].superset)
            fail_msg("case %zu", i);
        avow_runtime_policy_free(p);
    }
    avow_runtime_policy_free(old);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_match__digests_of_every_length__as_listed),
        cmocka_unit_test(test_match__excludes__prefix_as_keylime_or_whole_paths),
        cmocka_unit_test(test_match__many_literals__each_is_found),
        cmocka_unit_test(test_AP22__catastrophic_expression__not_excluded_and_said_so),
        cmocka_unit_test(test_load__refused__with_path_and_reason),
        cmocka_unit_test(test_load__caps__are_enforced),
        cmocka_unit_test(test_load__flat_and_legacy__as_allowlists),
        cmocka_unit_test(test_load__what_is_not_judged__is_noted),
        cmocka_unit_test(test_is_superset__only_what_allows_more),
        cmocka_unit_test(test_load__unknown_keys_of_keylime__are_warnings_with_their_path),
        cmocka_unit_test(test_load__more_warnings_than_kept__are_counted),
        cmocka_unit_test(test_match__strict_header__excludes_match_whole_paths),
        cmocka_unit_test(test_find__keyrings_and_buffers__as_listed),
        cmocka_unit_test(test_load__key_of_an_unknown_curve__warning),
        cmocka_unit_test(test_load__keylimes_policies__unchanged),
        cmocka_unit_test(test_match__one_path_with_10_000_digests__all_are_found),
    };
    return cmocka_run_group_tests(tests, fill, NULL);
}
