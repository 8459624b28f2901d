/* test_ima_list.c - lists of real kernels, and what is malformed. */
#include "vec.h"

#include "avow/formats/ima_list.h"

#include "avow/base/banned.h"

struct tally {
    size_t entries, violations, parsed, refused, signatures;
    struct avow_ima_file first;
    char last_path[512];
};

static struct tally walk(struct avow_bytes list)
{
    struct tally t = {0};
    struct avow_rd r = avow_rd_make(list);
    struct avow_ima_entry e;
    const uint8_t *at = r.p;
    while (avow_ima_entry_next(&r, &e) == AVOW_IMA_ENTRY) {
        struct avow_ima_file f;
        assert_ptr_equal(e.raw.ptr, at);
        assert_ptr_equal(e.raw.ptr + e.raw.len, r.p);
        at = r.p;
        assert_int_equal(e.pcr, 10);
        enum avow_rc rc = avow_ima_file_parse(&e, &f, NULL);
        t.refused += rc == AVOW_REFUSED;
        t.violations += avow_ima_entry_is_violation(&e);
        if (!rc) {
            if (!t.parsed++)
                t.first = f;
            t.signatures += f.signature.len > 0;
            (void)avow_str_copy(t.last_path, sizeof t.last_path, f.path);
        }
        t.entries++;
    }
    assert_int_equal(avow_ima_entry_next(&r, &e), AVOW_IMA_END);
    return t;
}

static void test_entry_next__lists_of_real_kernels__every_entry(void **state)
{
    (void)state;
    static const struct {
        const char *file, *alg;
        size_t entries, violations, refused, digest;
        bool signatures;
    } cases[] = {
        {"ima/m1-c1.ima", "sha256", 143, 0, 0, 32, false},
        {"ima/m3-c1.ima", "sha256", 145, 0, 0, 32, false},
        {"ima/m5-c1.ima", "sha256", 168, 0, 0, 32, true},
        {"ima/m5-legacy.ima", "sha1", 145, 0, 0, 20, false},
        {"ima/m6-c3.ima", "sha256", 149, 3, 1000, 32, false},
        {"ima/m7-c1.ima", "sha256", 145, 0, 0, 32, false},
    };
    for (size_t i = 0; i < AVOW_ARRAY_LEN(cases); i++) {
        struct avow_buf in;
        vec_read(cases[i].file, &in);
        struct tally t = walk(avow_buf_bytes(&in));
        if (t.entries != cases[i].entries || t.violations != cases[i].violations ||
            t.parsed + t.refused != t.entries || (t.refused > 0) != (cases[i].refused > 0) ||
            (t.signatures > 0) != cases[i].signatures)
            fail_msg("%s: %zu entries, %zu violations, %zu parsed, %zu refused, %zu signatures",
                     cases[i].file, t.entries, t.violations, t.parsed, t.refused, t.signatures);
        assert_true(avow_str_is(t.first.path, "boot_aggregate"));
        assert_true(avow_str_is(t.first.hash_alg, cases[i].alg));
        assert_int_equal(t.first.digest.len, cases[i].digest);
        avow_buf_deinit(&in);
    }
}

static void test_entry_next__cut_anywhere__truncated_and_cursor_stays(void **state)
{
    (void)state;
    static const char *const files[] = {"ima/m1-c1.ima", "ima/m5-legacy.ima"};
    for (size_t f = 0; f < AVOW_ARRAY_LEN(files); f++) {
        struct avow_buf in;
        struct avow_ima_entry e;
        vec_read(files[f], &in);
        struct avow_rd whole = avow_rd_make(avow_buf_bytes(&in));
        assert_int_equal(avow_ima_entry_next(&whole, &e), AVOW_IMA_ENTRY);
        for (size_t len = 1; len < e.raw.len; len++) {
            struct avow_rd r = avow_rd_make(avow_bytes_make(in.ptr, len));
            struct avow_ima_entry cut;
            assert_int_equal(avow_ima_entry_next(&r, &cut), AVOW_IMA_TRUNCATED);
            assert_ptr_equal(r.p, in.ptr);
            assert_false(r.bad);
        }
        avow_buf_deinit(&in);
    }
}

static size_t make(uint8_t *out, const char *name, uint32_t name_len, uint32_t data_len,
                   const void *data, size_t n)
{
    memset(out, 1, 24);
    avow_put_u32le(out, 10);
    avow_put_u32le(out + 24, name_len);
    memcpy(out + 28, name, strlen(name));
    uint8_t *p = out + 28 + strlen(name);
    avow_put_u32le(p, data_len);
    memcpy(p + 4, data, n);
    return (size_t)(p + 4 + n - out);
}

static void test_entry_next__absurd_sizes__malformed_or_too_large(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        uint32_t name_len, data_len;
        enum avow_ima_next want;
    } cases[] = {
        {"ima-ng", 0, 0, AVOW_IMA_MALFORMED},
        {"ima-ng", 33, 0, AVOW_IMA_MALFORMED},
        {"ima-ng", 0xFFFFFFFF, 0, AVOW_IMA_MALFORMED},
        {"ima-ng", 6, 0xFFFFFFFF, AVOW_IMA_TOO_LARGE},
        {"ima-ng", 6, AVOW_IMA_ENTRY_MAX - 38 + 1, AVOW_IMA_TOO_LARGE},
        {"ima-ng", 6, AVOW_IMA_ENTRY_MAX - 38, AVOW_IMA_TRUNCATED},
        {"ima-ng", 6, 0, AVOW_IMA_ENTRY},
    };
    for (size_t i = 0; i < AVOW_ARRAY_LEN(cases); i++) {
        uint8_t bytes[128];
        struct avow_ima_entry e;
        size_t len = make(bytes, cases[i].name, cases[i].name_len, cases[i].data_len, "", 0);
        struct avow_rd r = avow_rd_make(avow_bytes_make(bytes, len));
        if (avow_ima_entry_next(&r, &e) != cases[i].want)
            fail_msg("case %zu", i);
    }
    uint8_t old[400]; /* template "ima": digest, length, path */
    uint8_t data[300] = {0};
    struct avow_ima_entry e;
    avow_put_u32le(data + 16, 256);
    size_t len = make(old, "ima", 3, 0, data, 300);
    struct avow_rd r = avow_rd_make(avow_bytes_make(old, len));
    assert_int_equal(avow_ima_entry_next(&r, &e), AVOW_IMA_MALFORMED);
}

static void test_file_parse__malformed_fields__parse_error(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        size_t len;
        const char *data;
        enum avow_rc want;
    } cases[] = {
        {"ima-ng", 22, "\x0a\0\0\0sha1:\0abcd\x04\0\0\0/ab",
         AVOW_OK}, /* the literal's NUL ends the path */
        {"ima-ng", 18, "\x0a\0\0\0sha1:\0abcd\x00\0\0\0", AVOW_PARSE},
        {"ima-ng", 19, "\x0a\0\0\0sha1:\0abcd\x01\0\0\0", AVOW_PARSE},      /* empty path */
        {"ima-ng", 22, "\x0a\0\0\0sha1:\0abcd\x04\0\0\0/abc", AVOW_PARSE},  /* no NUL */
        {"ima-ng", 22, "\x0a\0\0\0sha1:\0abcd\x04\0\0\0/\0a", AVOW_PARSE},  /* NUL inside */
        {"ima-ng", 23, "\x0a\0\0\0sha1:\0abcd\x04\0\0\0/ab\0", AVOW_PARSE}, /* more */
        {"ima-ng", 21, "\x0a\0\0\0sha1:\0abcd\x04\0\0\0/ab", AVOW_PARSE},   /* less */
        {"ima-ng", 22, "\x0a\0\0\0sha1::abcd\x04\0\0\0/ab", AVOW_PARSE},
        {"ima-ng", 22, "\x0a\0\0\0sha1xxabcd\x04\0\0\0/ab", AVOW_PARSE},
        {"ima-ng", 18, "\x06\0\0\0sha1:\0\x04\0\0\0/ab", AVOW_PARSE}, /* no digest */
        {"ima-ng", 4, "\xff\xff\xff\xff", AVOW_PARSE},
        {"ima-sig", 22, "\x0a\0\0\0sha1:\0abcd\x04\0\0\0/ab", AVOW_PARSE},
        {"ima-ngv2", 26, "\x0e\0\0\0ima:sha1:\0abcd\x04\0\0\0/ab", AVOW_OK},
        {"ima-ngv3", 26, "\x0e\0\0\0ima:sha1:\0abcd\x04\0\0\0/ab", AVOW_REFUSED},
        {"ima-buf", 4, "\0\0\0\0", AVOW_REFUSED},
    };
    for (size_t i = 0; i < AVOW_ARRAY_LEN(cases); i++) {
        struct avow_ima_entry e = {.template_name = avow_str_from(cases[i].name),
                                   .template_digest = avow_bytes_make("12345678901234567890", 20),
                                   .template_data = avow_bytes_make(cases[i].data, cases[i].len)};
        struct avow_ima_file f = {.violation = true};
        struct avow_err err = {0};
        if (avow_ima_file_parse(&e, &f, &err) != cases[i].want)
            fail_msg("case %zu: %s", i, err.msg);
        assert_int_equal(f.violation, cases[i].want != AVOW_OK); /* untouched on failure */
        if (cases[i].want == AVOW_OK) {
            assert_true(avow_str_is(f.path, "/ab"));
            assert_true(avow_str_is(f.hash_alg, "sha1"));
            assert_int_equal(f.digest.len, 4);
        }
    }
}

static void test_file_parse__verity_digest__keeps_its_name(void **state)
{
    (void)state;
    struct avow_ima_entry e = {
        .template_name = AVOW_STR_LIT("ima-ngv2"),
        .template_digest = avow_bytes_make("12345678901234567890", 20),
        .template_data = avow_bytes_make("\x13\0\0\0verity:sha256:\0abcd\x04\0\0\0/ab", 31)};
    struct avow_ima_file f;
    assert_int_equal(avow_ima_file_parse(&e, &f, NULL), AVOW_OK);
    assert_true(avow_str_is(f.hash_alg, "verity:sha256"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_entry_next__lists_of_real_kernels__every_entry),
        cmocka_unit_test(test_entry_next__cut_anywhere__truncated_and_cursor_stays),
        cmocka_unit_test(test_entry_next__absurd_sizes__malformed_or_too_large),
        cmocka_unit_test(test_file_parse__malformed_fields__parse_error),
        cmocka_unit_test(test_file_parse__verity_digest__keeps_its_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
