/* test_efi_siglist.c - the key lists that a real firmware measured, and lists that are none. */
#include "avow/formats/efi_siglist.h"

#include "avow/formats/event_log.h"
#include "vec.h"

#include "avow/base/banned.h"

static void put_u32(struct avow_buf *b, uint32_t v)
{
    uint8_t raw[4];
    avow_put_u32le(raw, v);
    avow_buf_put(b, raw, sizeof raw);
}

static void put_fill(struct avow_buf *b, uint8_t value, size_t n)
{
    for (size_t i = 0; i < n; i++)
        avow_buf_put_u8(b, value);
}

struct list {
    enum avow_efi_sig type;
    uint32_t list, header, size; /* as said */
    uint32_t there;              /* bytes behind the header of 28 bytes */
};

static void put_list(struct avow_buf *b, const struct list *l)
{
    struct avow_bytes guid = avow_efi_sig_guid(l->type);
    avow_buf_put(b, guid.ptr, guid.len);
    put_u32(b, l->list);
    put_u32(b, l->header);
    put_u32(b, l->size);
    put_fill(b, 0xAA, l->there);
}

static void test_efi_siglist_parse__sizes__judged(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        struct list list;
        enum avow_rc rc;
        size_t count;
    } cases[] = {
        {"two digests", {AVOW_EFI_SIG_SHA256, 124, 0, 48, 96}, AVOW_OK, 2},
        {"a header is skipped", {AVOW_EFI_SIG_SHA256, 80, 4, 48, 52}, AVOW_OK, 1},
        {"no signatures", {AVOW_EFI_SIG_X509, 28, 0, 48, 0}, AVOW_OK, 0},
        {"no data", {AVOW_EFI_SIG_X509, 44, 0, 16, 16}, AVOW_OK, 1},
        {"size is zero", {AVOW_EFI_SIG_X509, 76, 0, 0, 48}, AVOW_PARSE, 0},
        {"no place for an owner", {AVOW_EFI_SIG_X509, 58, 0, 15, 30}, AVOW_PARSE, 0},
        {"list smaller than its head", {AVOW_EFI_SIG_X509, 27, 0, 48, 48}, AVOW_PARSE, 0},
        {"header larger than the list", {AVOW_EFI_SIG_X509, 76, 49, 48, 48}, AVOW_PARSE, 0},
        {"huge header", {AVOW_EFI_SIG_X509, 76, 0xFFFFFFFF, 48, 48}, AVOW_PARSE, 0},
        {"huge list", {AVOW_EFI_SIG_X509, 0xFFFFFFFF, 0, 48, 48}, AVOW_PARSE, 0},
        {"part of a signature", {AVOW_EFI_SIG_X509, 77, 0, 48, 49}, AVOW_PARSE, 0},
        {"longer than its bytes", {AVOW_EFI_SIG_X509, 77, 0, 49, 48}, AVOW_PARSE, 0},
        {"bytes behind", {AVOW_EFI_SIG_X509, 76, 0, 48, 49}, AVOW_PARSE, 0},
    };
    for (size_t i = 0; i < AVOW_ARRAY_LEN(cases); i++) {
        struct avow_buf in;
        struct avow_err err = {0};
        struct avow_efi_siglist l = {.count = 77};
        avow_buf_init(&in, 4096);
        put_list(&in, &cases[i].list);
        enum avow_rc rc = avow_efi_siglist_parse(avow_buf_bytes(&in), &l, &err);
        if (rc != cases[i].rc || l.count != (rc ? 77 : cases[i].count))
            fail_msg("%s: %d, %zu: %s", cases[i].name, (int)rc, l.count, err.msg);
        avow_buf_deinit(&in);
    }
}

static void test_efi_siglist_walk__several_lists__all_in_order(void **state)
{
    (void)state;
    static const struct list lists[] = {
        {AVOW_EFI_SIG_SHA256, 124, 0, 48, 96},
        {AVOW_EFI_SIG_X509, 28, 0, 48, 0},
        {AVOW_EFI_SIG_X509, 49, 0, 21, 21},
    };
    struct avow_buf in;
    struct avow_efi_siglist l;
    struct avow_efi_siglist_walk w;
    struct avow_efi_signature s;
    avow_buf_init(&in, 4096);
    for (size_t i = 0; i < AVOW_ARRAY_LEN(lists); i++)
        put_list(&in, &lists[i]);
    assert_int_equal(avow_efi_siglist_parse(avow_buf_bytes(&in), &l, NULL), AVOW_OK);
    assert_int_equal(l.lists, 3);
    assert_int_equal(l.count, 3);
    avow_efi_siglist_walk_init(&w, &l);
    for (size_t i = 0; i < 2; i++) {
        assert_true(avow_efi_siglist_walk_next(&w, &s));
        assert_int_equal(avow_efi_sig_of(s.type), AVOW_EFI_SIG_SHA256);
        assert_int_equal(s.list, 0);
        assert_int_equal(s.owner.len, 16);
        assert_int_equal(s.data.len, 32);
    }
    assert_true(avow_efi_siglist_walk_next(&w, &s));
    assert_int_equal(s.list, 2);
    assert_int_equal(avow_efi_sig_of(s.type), AVOW_EFI_SIG_X509);
    assert_int_equal(s.data.len, 5);
    assert_false(avow_efi_siglist_walk_next(&w, &s));
    assert_false(avow_efi_siglist_walk_next(&w, &s));
    avow_buf_deinit(&in);
}

static void test_efi_siglist_parse__no_bytes__no_lists(void **state)
{
    (void)state;
    struct avow_efi_siglist l;
    struct avow_efi_siglist_walk w;
    struct avow_efi_signature s;
    assert_int_equal(avow_efi_siglist_parse((struct avow_bytes){NULL, 0}, &l, NULL), AVOW_OK);
    assert_int_equal(l.lists, 0);
    avow_efi_siglist_walk_init(&w, &l);
    assert_false(avow_efi_siglist_walk_next(&w, &s));
}

static void test_efi_siglist_parse__too_much__is_limit(void **state)
{
    (void)state;
    struct avow_buf in;
    struct avow_efi_siglist l = {.count = 77};
    avow_buf_init(&in, AVOW_EFI_SIGLIST_MAX + 1);
    put_fill(&in, 0, AVOW_EFI_SIGLIST_MAX + 1);
    assert_int_equal(avow_efi_siglist_parse(avow_buf_bytes(&in), &l, NULL), AVOW_LIMIT);
    avow_buf_reset(&in);
    uint32_t there = 16 * (AVOW_EFI_SIGNATURES_MAX - 100);
    put_list(&in, &(struct list){AVOW_EFI_SIG_SHA256, 28 + there, 0, 16, there});
    assert_int_equal(avow_efi_siglist_parse(avow_buf_bytes(&in), &l, NULL), AVOW_OK);
    assert_int_equal(l.count, AVOW_EFI_SIGNATURES_MAX - 100);
    avow_buf_deinit(&in);
}

static void test_efi_siglist_parse__cut__every_cut_is_parse_error(void **state)
{
    (void)state;
    struct avow_buf in;
    struct avow_efi_siglist l;
    avow_buf_init(&in, 4096);
    put_list(&in, &(struct list){AVOW_EFI_SIG_SHA256, 124, 0, 48, 96});
    for (size_t len = 1; len < in.len; len++)
        assert_int_equal(avow_efi_siglist_parse(avow_bytes_make(in.ptr, len), &l, NULL),
                         AVOW_PARSE);
    avow_buf_deinit(&in);
}

/* The counts are those of the machine's own key files. */
static void test_efi_siglist_parse__captured__keys_of_the_machine(void **state)
{
    (void)state;
    static const struct {
        const char *variable;
        size_t signatures;
    } want[] = {{"PK", 1}, {"KEK", 2}, {"db", 2}, {"dbx", 1}};
    struct avow_buf in, name;
    struct avow_event_log log;
    struct avow_event_walk w;
    struct avow_event e;
    size_t seen = 0;
    vec_read("captures/m2-grub-sb/binary_bios_measurements", &in);
    assert_int_equal(avow_event_log_parse(avow_buf_bytes(&in), &log, NULL), AVOW_OK);
    avow_event_walk_init(&w, &log);
    avow_buf_init(&name, 256);
    while (avow_event_walk_next(&w, &e)) {
        struct avow_event_variable v;
        struct avow_efi_siglist l;
        if (e.untrusted_type != AVOW_EV_EFI_VARIABLE_DRIVER_CONFIG ||
            !avow_event_variable_parse(e.untrusted_data, &v))
            continue;
        avow_buf_reset(&name);
        avow_event_put_utf16(&name, v.name);
        for (size_t i = 0; i < AVOW_ARRAY_LEN(want); i++) {
            if (!avow_str_is((struct avow_str){(char *)name.ptr, name.len}, want[i].variable))
                continue;
            assert_int_equal(avow_efi_siglist_parse(v.value, &l, NULL), AVOW_OK);
            if (l.count != want[i].signatures)
                fail_msg("%s: %zu signatures", want[i].variable, l.count);
            seen++;
        }
    }
    assert_int_equal(seen, AVOW_ARRAY_LEN(want));
    avow_buf_deinit(&name);
    avow_buf_deinit(&in);
}

static void test_efi_sig__every_type__found_by_name_and_guid(void **state)
{
    (void)state;
    for (int i = AVOW_EFI_SIG_UNKNOWN + 1; i < AVOW_EFI_SIG_COUNT; i++) {
        enum avow_efi_sig sig = (enum avow_efi_sig)i;
        assert_int_equal(avow_efi_sig_find(avow_str_from(avow_efi_sig_text(sig))), sig);
        assert_int_equal(avow_efi_sig_of(avow_efi_sig_guid(sig)), sig);
    }
    char text[AVOW_GUID_TEXT_MAX];
    avow_guid_text(avow_efi_sig_guid(AVOW_EFI_SIG_X509), text);
    assert_string_equal(text, "a5c059a1-94e4-4aa7-87b5-ab155c2bf072");
    assert_null(avow_efi_sig_text(AVOW_EFI_SIG_UNKNOWN));
    assert_int_equal(avow_efi_sig_find(AVOW_STR_LIT("")), AVOW_EFI_SIG_UNKNOWN);
    assert_int_equal(avow_efi_sig_of((struct avow_bytes){NULL, 0}), AVOW_EFI_SIG_UNKNOWN);
}

static void test_efi_guid_parse__texts__judged(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        bool good;
    } cases[] = {
        {"a5c059a1-94e4-4aa7-87b5-ab155c2bf072", true},
        {"A5C059A1-94E4-4AA7-87B5-AB155C2BF072", true},
        {"a5c059a1-94e4-4aa7-87b5-ab155c2bf07", false},
        {"a5c059a1-94e4-4aa7-87b5-ab155c2bf0722", false},
        {"a5c059a1-94e4-4aa7-87b50ab155c2bf072", false},
        {"a5c059a1-94e4-4aa7-87b5-ab155c2bf0g2", false},
        {"-5c059a1-94e4-4aa7-87b5-ab155c2bf072", false},
        {"", false},
    };
    for (size_t i = 0; i < AVOW_ARRAY_LEN(cases); i++) {
        uint8_t guid[AVOW_EFI_GUID_LEN];
        bool good = avow_efi_guid_parse(avow_str_from(cases[i].text), guid);
        if (good != cases[i].good)
            fail_msg("%s", cases[i].text);
        if (good)
            assert_int_equal(avow_efi_sig_of(AVOW_BYTES_OF(guid)), AVOW_EFI_SIG_X509);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_efi_siglist_parse__sizes__judged),
        cmocka_unit_test(test_efi_siglist_walk__several_lists__all_in_order),
        cmocka_unit_test(test_efi_siglist_parse__no_bytes__no_lists),
        cmocka_unit_test(test_efi_siglist_parse__too_much__is_limit),
        cmocka_unit_test(test_efi_siglist_parse__cut__every_cut_is_parse_error),
        cmocka_unit_test(test_efi_siglist_parse__captured__keys_of_the_machine),
        cmocka_unit_test(test_efi_sig__every_type__found_by_name_and_guid),
        cmocka_unit_test(test_efi_guid_parse__texts__judged),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
