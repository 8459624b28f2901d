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
        {"ima/m6-c3.ima", "sha256", 149, 3, 0, 32, false},
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
        {"ima-ng", 129, 0, AVOW_IMA_MALFORMED},
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
        {"ima-buf", 4, "\0\0\0\0", AVOW_PARSE},
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

static void test_file_parse__digest_types__told_apart(void **state)
{
    (void)state;
    static const struct {
        const char *data;
        size_t len;
        enum avow_ima_digest_type type;
        const char *alg;
    } cases[] = {
        {"\x13\0\0\0verity:sha256:\0abcd\x04\0\0\0/ab", 31, AVOW_IMA_OF_VERITY, "sha256"},
        {"\x10\0\0\0ima:sha256:\0abcd\x04\0\0\0/ab", 28, AVOW_IMA_OF_FILE, "sha256"},
        {"\x13\0\0\0Verity:sha256:\0abcd\x04\0\0\0/ab", 31, AVOW_IMA_OF_OTHER, "Verity:sha256"},
    };
    for (size_t i = 0; i < AVOW_ARRAY_LEN(cases); i++) {
        struct avow_ima_entry e = {.template_name = AVOW_STR_LIT("ima-ngv2"),
                                   .template_digest = avow_bytes_make("12345678901234567890", 20),
                                   .template_data = avow_bytes_make(cases[i].data, cases[i].len)};
        struct avow_ima_file f;
        assert_int_equal(avow_ima_file_parse(&e, &f, NULL), AVOW_OK);
        assert_int_equal(f.digest_type, cases[i].type);
        assert_true(avow_str_is(f.hash_alg, cases[i].alg));
    }
}

/* The kernel shows one list twice; both must say the same. */
static void test_view__text_and_binary_of_one_list__same_entries(void **state)
{
    (void)state;
    static const struct {
        const char *text, *binary;
        size_t digest_len, entries;
    } cases[] = {
        {"ima/m3-c1.ascii", "ima/m3-c1.ima", 20, 145},
        {"ima/m5-c1.ascii", "ima/m5-c1.ima", 20, 168},
        {"ima/m5-legacy.ascii", "ima/m5-legacy.ima", 20, 145},
        {"ima/m6-c3.ascii", "ima/m6-c3.ima", 20, 149},
        {"ima/m7-c1.sha384.ascii", "ima/m7-c1.sha384.ima", 48, 145},
    };
    for (size_t i = 0; i < AVOW_ARRAY_LEN(cases); i++) {
        struct avow_buf text, binary;
        struct avow_ima_view a, b;
        struct avow_ima_entry x, y;
        size_t n = 0;
        vec_read(cases[i].text, &text);
        vec_read(cases[i].binary, &binary);
        avow_ima_view_init(&a, avow_buf_bytes(&text));
        avow_ima_view_init(&b, avow_buf_bytes(&binary));
        assert_int_equal(a.kind, AVOW_IMA_LIST_ASCII);
        assert_int_equal(b.kind, AVOW_IMA_LIST_BINARY);
        assert_int_equal(a.digest_len, cases[i].digest_len);
        assert_int_equal(b.digest_len, cases[i].digest_len);
        while (avow_ima_view_next(&b, &y) == AVOW_IMA_ENTRY) {
            if (avow_ima_view_next(&a, &x) != AVOW_IMA_ENTRY)
                fail_msg("%s: line %zu", cases[i].text, n);
            assert_int_equal(x.pcr, y.pcr);
            assert_true(avow_str_eq(x.template_name, y.template_name));
            if (!avow_bytes_eq(x.template_digest, y.template_digest) ||
                !avow_bytes_eq(x.template_data, y.template_data) ||
                x.hashed_count != y.hashed_count)
                fail_msg("%s: line %zu differs", cases[i].text, n);
            for (size_t k = 0; k < x.hashed_count; k++)
                assert_true(avow_bytes_eq(x.hashed[k], y.hashed[k]));
            n++;
        }
        assert_int_equal(n, cases[i].entries);
        assert_int_equal(avow_ima_view_next(&a, &x), AVOW_IMA_END);
        assert_int_equal(avow_ima_view_next(&b, &y), AVOW_IMA_END);
        avow_ima_view_deinit(&a);
        avow_ima_view_deinit(&b);
        avow_buf_deinit(&text);
        avow_buf_deinit(&binary);
    }
}

#define SHA "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"

static void test_view__lines__as_the_kernel_writes_them(void **state)
{
    (void)state;
    static const struct {
        const char *line;
        enum avow_ima_next want;
        const char *path;
        size_t signature;
    } cases[] = {
        {"10 " SHA " ima-ng sha1:" SHA " /a", AVOW_IMA_ENTRY, "/a", 0},
        {" 9 " SHA " ima-ng sha1:" SHA " /a b\n", AVOW_IMA_ENTRY, "/a b", 0},
        {"10 " SHA " ima-sig sha1:" SHA " /a \n", AVOW_IMA_ENTRY, "/a", 0},
        {"10 " SHA " ima-sig sha1:" SHA " /a\n", AVOW_IMA_ENTRY, "/a", 0},
        {"10 " SHA " ima-sig sha1:" SHA " /a 0302\n", AVOW_IMA_ENTRY, "/a", 2},
        {"10 " SHA " ima-sig sha1:" SHA " /a b 0302\n", AVOW_IMA_ENTRY, "/a b", 2},
        {"10 " SHA " ima-sig sha1:" SHA " /a xyz\n", AVOW_IMA_ENTRY, "/a xyz", 0},
        {"10 " SHA " ima-sigv2 verity:sha1:" SHA " /a 06\n", AVOW_IMA_ENTRY, "/a", 1},
        {"10 " SHA " ima-modsig sha1:" SHA " /a 03 sha1:" SHA " 3082\n", AVOW_IMA_ENTRY, "/a", 1},
        {"10 " SHA " ima-modsig sha1:" SHA " /a   \n", AVOW_IMA_ENTRY, "/a", 0},
        {"10 " SHA " d-ng|n-ng sha1:" SHA " /a\n", AVOW_IMA_ENTRY, "/a", 0},
        {"10 " SHA " n-ng|sig|d-ng /a 0302 sha1:" SHA "\n", AVOW_IMA_ENTRY, "/a", 2},
        {"10 " SHA " evm-sig sha1:" SHA " /a 05 security.ima 04000000 01020304 0 1000 33188\n",
         AVOW_IMA_ENTRY, "/a", 0},
        {"10 " SHA " evm-sig sha1:" SHA " /a 05 security.ima 04000000 01020304 0 1000 65536\n",
         AVOW_IMA_MALFORMED, NULL, 0},
        {"10 " SHA " ima " SHA " /a b\n", AVOW_IMA_ENTRY, "/a b", 0},
        {"10 " SHA " ima abcd /a\n", AVOW_IMA_MALFORMED, NULL, 0},
        {"10 " SHA " ima-ng sha1:" SHA "\n", AVOW_IMA_MALFORMED, NULL, 0},
        {"10 " SHA " ima-ng " SHA " /a\n", AVOW_IMA_MALFORMED, NULL, 0},
        {"10 " SHA " ima-new sha1:" SHA " /a\n", AVOW_IMA_MALFORMED, NULL, 0},
        {"10 " SHA "a ima-ng sha1:" SHA " /a\n", AVOW_IMA_MALFORMED, NULL, 0},
        {"x " SHA " ima-ng sha1:" SHA " /a\n", AVOW_IMA_MALFORMED, NULL, 0},
        {"", AVOW_IMA_END, NULL, 0},
        {"\n", AVOW_IMA_MALFORMED, NULL, 0},
        {"nonsense", AVOW_IMA_MALFORMED, NULL, 0},
    };
    for (size_t i = 0; i < AVOW_ARRAY_LEN(cases); i++) {
        struct avow_ima_view v;
        struct avow_ima_entry e;
        struct avow_ima_file f;
        avow_ima_view_init(&v, avow_bytes_make(cases[i].line, strlen(cases[i].line)));
        enum avow_ima_next got = avow_ima_view_next(&v, &e);
        if (got != cases[i].want)
            fail_msg("case %zu: %d", i, (int)got);
        if (got == AVOW_IMA_ENTRY) {
            if (avow_ima_file_parse(&e, &f, NULL) || !avow_str_is(f.path, cases[i].path) ||
                f.signature.len != cases[i].signature)
                fail_msg("case %zu: fields", i);
            assert_int_equal(avow_ima_view_next(&v, &e), AVOW_IMA_END);
        }
        avow_ima_view_deinit(&v);
    }
}

/* A list of one length of template digest stays one: 20 zero bytes in a list of 32 are no violation
 * (AP11). */
static void test_AP11__short_digest_in_a_sha256_list__malformed(void **state)
{
    (void)state;
    static const char list[] =
        "10 " SHA "aaaaaaaaaaaaaaaaaaaaaaaa ima-ng sha1:" SHA " boot_aggregate\n"
        "10 0000000000000000000000000000000000000000 ima-ng sha1:" SHA " /a\n";
    struct avow_ima_view v;
    struct avow_ima_entry e;
    avow_ima_view_init(&v, avow_bytes_make(list, sizeof list - 1));
    assert_int_equal(avow_ima_view_next(&v, &e), AVOW_IMA_ENTRY);
    assert_int_equal(e.template_digest.len, 32);
    assert_int_equal(avow_ima_view_next(&v, &e), AVOW_IMA_MALFORMED);
    avow_ima_view_deinit(&v);
}

static void test_view__big_endian_binary__same_fields(void **state)
{
    (void)state;
    static const uint8_t list[] = "\0\0\0\x0a"
                                  "12345678901234567890"
                                  "\0\0\0\x14"
                                  "d-ng|n-ng|iuid|imode"
                                  "\0\0\0\x24"
                                  "\0\0\0\x0a"
                                  "sha1:\0abcd"
                                  "\0\0\0\x04"
                                  "/ab\0"
                                  "\0\0\0\x04"
                                  "\0\0\x03\xe8"
                                  "\0\0\0\x02"
                                  "\x81\xa4";
    struct avow_ima_view v;
    struct avow_ima_entry e;
    struct avow_ima_file f;
    avow_ima_view_init(&v, avow_bytes_make(list, sizeof list - 1));
    assert_int_equal(v.kind, AVOW_IMA_LIST_BINARY_BE);
    assert_int_equal(avow_ima_view_next(&v, &e), AVOW_IMA_ENTRY);
    struct avow_ima_extra x;
    assert_int_equal(avow_ima_extra_parse(&e, &f, &x, NULL), AVOW_OK);
    assert_true(avow_str_is(f.path, "/ab"));
    assert_int_equal(x.uid, 1000);
    assert_int_equal(x.mode, 0100644);
    assert_true(x.has_owner);
    avow_ima_view_deinit(&v);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_entry_next__lists_of_real_kernels__every_entry),
        cmocka_unit_test(test_entry_next__cut_anywhere__truncated_and_cursor_stays),
        cmocka_unit_test(test_entry_next__absurd_sizes__malformed_or_too_large),
        cmocka_unit_test(test_file_parse__malformed_fields__parse_error),
        cmocka_unit_test(test_file_parse__digest_types__told_apart),
        cmocka_unit_test(test_view__text_and_binary_of_one_list__same_entries),
        cmocka_unit_test(test_view__lines__as_the_kernel_writes_them),
        cmocka_unit_test(test_AP11__short_digest_in_a_sha256_list__malformed),
        cmocka_unit_test(test_view__big_endian_binary__same_fields),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
