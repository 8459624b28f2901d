/* test_event_log.c - logs of real firmware, and logs that no firmware writes. */
#include "avow/formats/event_log.h"

#include "avow/base/cleanup.h"
#include "vec.h"

#include "avow/base/banned.h"

static const char *const machines[] = {"m1-direct", "m2-grub-sb", "m3-sdboot-uki",
                                       "m5-imasig", "m6-buf",     "m7-612"};

static void read_log(const char *machine, struct avow_buf *out)
{
    char name[128];
    (void)snprintf(name, sizeof name, "captures/%s/binary_bios_measurements", machine);
    vec_read(name, out);
}

static void put_u16(struct avow_buf *b, uint16_t v)
{
    avow_buf_put_u8(b, (uint8_t)v);
    avow_buf_put_u8(b, (uint8_t)(v >> 8));
}

static void put_u32(struct avow_buf *b, uint32_t v)
{
    put_u16(b, (uint16_t)v);
    put_u16(b, (uint16_t)(v >> 16));
}

static void put_fill(struct avow_buf *b, uint8_t value, size_t n)
{
    uint8_t *p = avow_buf_extend(b, n);
    assert_non_null(p);
    memset(p, value, n);
}

struct spec {
    uint32_t algs_count; /* as said */
    struct avow_event_alg algs[3];
    size_t algs_there;
    uint32_t pcr;
    uint8_t vendor; /* length as said; none is there */
    uint32_t cut;   /* bytes taken off the size */
    uint32_t more;  /* bytes after the vendor information */
};

/* The header of a crypto-agile log. */
static void put_header(struct avow_buf *b, const struct spec *s)
{
    put_u32(b, s->pcr);
    put_u32(b, AVOW_EV_NO_ACTION);
    put_fill(b, 0, 20);
    put_u32(b, (uint32_t)(29 + 4 * s->algs_there) - s->cut + s->more);
    avow_buf_put(b, "Spec ID Event03", 16);
    put_u32(b, 0);
    avow_buf_put(b, "\0\2\0\2", 4);
    put_u32(b, s->algs_count);
    for (size_t i = 0; i < s->algs_there; i++) {
        put_u16(b, s->algs[i].id);
        put_u16(b, s->algs[i].len);
    }
    if (!s->cut)
        avow_buf_put_u8(b, s->vendor);
    if (s->more)
        put_fill(b, 0, s->more);
}

/* SHA3-256 has the same length. */
static const struct spec two = {
    .algs_count = 2, .algs = {{0x000B, 32}, {0x0027, 32}}, .algs_there = 2};

static void test_event_log_parse__real_firmware__every_event_is_known(void **state)
{
    (void)state;
    for (size_t i = 0; i < AVOW_ARRAY_LEN(machines); i++) {
        AVOW_CLEANUP_VAL(avow_buf_deinit) struct avow_buf b;
        struct avow_event_log log;
        struct avow_event_walk w;
        struct avow_event e;
        struct avow_err err = {0};
        size_t end = 0, n = 0, variables = 0;
        print_message("%s\n", machines[i]);
        read_log(machines[i], &b);
        if (avow_event_log_parse(avow_buf_bytes(&b), &log, &err))
            fail_msg("%s", err.msg);
        assert_true(log.crypto_agile);
        assert_int_equal(log.spec_major, 2);
        avow_event_walk_init(&w, &log);
        while (avow_event_walk_next(&w, &e)) {
            struct avow_event_variable v;
            assert_int_equal(e.index, n++);
            assert_int_equal(e.offset, end);
            assert_non_null(avow_event_type_name(e.untrusted_type));
            if (avow_event_has_variable(&e)) {
                assert_true(avow_event_variable_parse(e.untrusted_data, &v));
                variables++;
            }
            end = (size_t)(w.rd.p - b.ptr);
        }
        assert_int_equal(end, b.len);
        assert_int_equal(n, log.count);
        assert_true(n > 20 && variables > 5);
    }
}

/* A log that was cut is a log, with fewer events, exactly where an event ends. */
static void test_event_log_parse__cut_at_every_byte__only_whole_events_are_read(void **state)
{
    (void)state;
    AVOW_CLEANUP_VAL(avow_buf_deinit) struct avow_buf b;
    struct avow_event_log whole, log;
    struct avow_event_walk w;
    struct avow_event e;
    read_log("m7-612", &b);
    assert_int_equal(avow_event_log_parse(avow_buf_bytes(&b), &whole, NULL), AVOW_OK);
    avow_event_walk_init(&w, &whole);
    assert_true(avow_event_walk_next(&w, &e));
    for (size_t len = 0; len < b.len; len++) {
        bool at_end = w.rd.p == b.ptr + len;
        /* The heap shows a read past the end to the sanitizer. */
        uint8_t *copy = malloc(len + 1);
        assert_non_null(copy);
        memcpy(copy, b.ptr, len);
        log.count = 0;
        enum avow_rc rc = avow_event_log_parse(avow_bytes_make(copy, len), &log, NULL);
        free(copy);
        assert_int_equal(rc, at_end ? AVOW_OK : AVOW_PARSE);
        assert_int_equal(log.count, at_end ? w.next : 0);
        if (at_end)
            assert_true(avow_event_walk_next(&w, &e));
    }
}

static void test_event_log_parse__malformed_header__is_refused(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        struct spec spec;
        enum avow_rc want;
    } cases[] = {
        {"control", {.algs_count = 1, .algs = {{0x000B, 32}}, .algs_there = 1}, AVOW_OK},
        {"unknown algorithm", {.algs_count = 1, .algs = {{0x7777, 7}}, .algs_there = 1}, AVOW_OK},
        {"no algorithm", {.algs_count = 0}, AVOW_PARSE},
        {"nine algorithms", {.algs_count = 9}, AVOW_PARSE},
        {"absurd count", {.algs_count = UINT32_MAX}, AVOW_PARSE},
        {"count that wraps",
         {.algs_count = 0x40000001, .algs = {{11, 32}}, .algs_there = 1},
         AVOW_PARSE},
        {"fewer than said", {.algs_count = 2, .algs = {{11, 32}}, .algs_there = 1}, AVOW_PARSE},
        {"more than said",
         {.algs_count = 1, .algs = {{11, 32}, {5, 20}}, .algs_there = 2},
         AVOW_PARSE},
        {"wrong length", {.algs_count = 1, .algs = {{0x000B, 20}}, .algs_there = 1}, AVOW_PARSE},
        {"no length", {.algs_count = 1, .algs = {{0x7777, 0}}, .algs_there = 1}, AVOW_PARSE},
        {"long", {.algs_count = 1, .algs = {{0x7777, 65}}, .algs_there = 1}, AVOW_PARSE},
        {"twice", {.algs_count = 2, .algs = {{11, 32}, {11, 32}}, .algs_there = 2}, AVOW_PARSE},
        {"vendor", {.algs_count = 1, .algs = {{11, 32}}, .algs_there = 1, .vendor = 1}, AVOW_PARSE},
        {"cut", {.algs_count = 1, .algs = {{11, 32}}, .algs_there = 1, .cut = 1}, AVOW_PARSE},
        {"bytes behind it",
         {.algs_count = 1, .algs = {{11, 32}}, .algs_there = 1, .more = 1},
         AVOW_PARSE},
        {"PCR", {.algs_count = 1, .algs = {{11, 32}}, .algs_there = 1, .pcr = 1}, AVOW_PARSE},
    };
    for (size_t i = 0; i < AVOW_ARRAY_LEN(cases); i++) {
        AVOW_CLEANUP_VAL(avow_buf_deinit) struct avow_buf b;
        struct avow_event_log log = {.count = 77};
        print_message("%s\n", cases[i].name);
        avow_buf_init(&b, 1024);
        put_header(&b, &cases[i].spec);
        assert_int_equal(avow_event_log_parse(avow_buf_bytes(&b), &log, NULL), cases[i].want);
        assert_int_equal(log.count, cases[i].want ? 77 : 1);
    }
}

struct made {
    uint32_t pcr, type, digests, len;
    uint16_t algs[2];
    size_t digests_there, data_there;
};

static void put_event(struct avow_buf *b, const struct made *m)
{
    put_u32(b, m->pcr);
    put_u32(b, m->type);
    put_u32(b, m->digests);
    for (size_t i = 0; i < m->digests_there; i++) {
        put_u16(b, m->algs[i]);
        put_fill(b, 7, 32);
    }
    put_u32(b, m->len);
    if (m->data_there)
        put_fill(b, 8, m->data_there);
}

static void test_event_log_parse__hostile_event__is_refused(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        struct made event;
        enum avow_rc want;
    } cases[] = {
        {"control", {0, 1, 1, 4, {11}, 1, 4}, AVOW_OK},
        {"no digest", {0, 1, 0, 4, {0}, 0, 4}, AVOW_OK},
        {"no data", {23, 1, 1, 0, {11}, 1, 0}, AVOW_OK},
        {"PCR of no action", {UINT32_MAX, 3, 1, 0, {11}, 1, 0}, AVOW_OK},
        {"PCR", {24, 1, 1, 0, {11}, 1, 0}, AVOW_PARSE},
        {"both digests", {0, 1, 2, 0, {0x27, 11}, 2, 0}, AVOW_OK},
        {"one digest twice", {0, 1, 2, 0, {11, 11}, 2, 0}, AVOW_PARSE},
        {"absurd digests", {0, 1, UINT32_MAX, 0, {11}, 1, 0}, AVOW_PARSE},
        {"other algorithm", {0, 1, 1, 0, {0x12}, 1, 0}, AVOW_PARSE},
        {"absurd data", {0, 1, 1, UINT32_MAX, {11}, 1, 4}, AVOW_PARSE},
        {"data over the end", {0, 1, 1, 5, {11}, 1, 4}, AVOW_PARSE},
        {"bytes after it", {0, 1, 1, 3, {11}, 1, 4}, AVOW_PARSE},
        {"most data", {0, 1, 1, AVOW_EVENT_DATA_MAX, {11}, 1, AVOW_EVENT_DATA_MAX}, AVOW_OK},
        {"too much data",
         {0, 1, 1, AVOW_EVENT_DATA_MAX + 1, {11}, 1, AVOW_EVENT_DATA_MAX + 1},
         AVOW_PARSE},
    };
    for (size_t i = 0; i < AVOW_ARRAY_LEN(cases); i++) {
        AVOW_CLEANUP_VAL(avow_buf_deinit) struct avow_buf b;
        struct avow_event_log log;
        struct avow_err err = {0};
        print_message("%s\n", cases[i].name);
        avow_buf_init(&b, 2u << 20);
        put_header(&b, &two);
        put_event(&b, &cases[i].event);
        assert_int_equal(avow_event_log_parse(avow_buf_bytes(&b), &log, &err), cases[i].want);
        assert_int_equal(cases[i].want != AVOW_OK, strstr(err.msg, "event log: event ") != NULL);
    }
}

static void test_event_log_parse__most_events__and_one_more(void **state)
{
    (void)state;
    static const struct made event = {.pcr = 1, .type = 1, .digests = 0};
    AVOW_CLEANUP_VAL(avow_buf_deinit) struct avow_buf b;
    struct avow_event_log log;
    avow_buf_init(&b, 2u << 20);
    put_header(&b, &two);
    for (size_t i = 1; i < AVOW_EVENTS_MAX; i++)
        put_event(&b, &event);
    assert_int_equal(avow_event_log_parse(avow_buf_bytes(&b), &log, NULL), AVOW_OK);
    assert_int_equal(log.count, AVOW_EVENTS_MAX);
    put_event(&b, &event);
    assert_int_equal(avow_event_log_parse(avow_buf_bytes(&b), &log, NULL), AVOW_LIMIT);
    struct avow_bytes large = {b.ptr, AVOW_EVENT_LOG_MAX + 1}; /* not looked at */
    assert_int_equal(avow_event_log_parse(large, &log, NULL), AVOW_LIMIT);
}

static void test_event_log_parse__sha1_only__has_one_digest_an_event(void **state)
{
    (void)state;
    AVOW_CLEANUP_VAL(avow_buf_deinit) struct avow_buf b;
    struct avow_event_log log;
    struct avow_event_walk w;
    struct avow_event e;
    avow_buf_init(&b, 1024);
    for (uint8_t i = 0; i < 3; i++) {
        put_u32(&b, i);
        put_u32(&b, AVOW_EV_SEPARATOR);
        put_fill(&b, i, 20);
        put_u32(&b, 4);
        put_u32(&b, 0);
    }
    assert_int_equal(avow_event_log_parse(avow_buf_bytes(&b), &log, NULL), AVOW_OK);
    assert_false(log.crypto_agile);
    assert_int_equal(log.count, 3);
    avow_event_walk_init(&w, &log);
    for (uint8_t i = 0; i < 3; i++) {
        assert_true(avow_event_walk_next(&w, &e));
        assert_int_equal(e.pcr, i);
        assert_int_equal(avow_event_digest_of(&e, 4).len, 20);
        assert_true(avow_bytes_all(avow_event_digest_of(&e, 4), i));
        assert_int_equal(avow_event_digest_of(&e, 11).len, 0);
    }
    assert_false(avow_event_walk_next(&w, &e));
}

static void test_event_variable_parse__lengths__are_not_believed(void **state)
{
    (void)state;
    static const struct {
        uint64_t name, value;
        bool want;
    } cases[] = {
        {2, 3, true},           {0, 7, true},
        {3, 1, true},           {2, 2, false},
        {2, 4, false},          {UINT64_MAX, 3, false},
        {2, UINT64_MAX, false}, {(UINT64_MAX / 2) + 1, 7, false},
    };
    for (size_t i = 0; i < AVOW_ARRAY_LEN(cases); i++) {
        uint8_t data[16 + 16 + 7] = {0x61, 0xdf, 0xe4, 0x8b};
        struct avow_event_variable v;
        char text[AVOW_GUID_TEXT_MAX];
        avow_put_u64le(data + 16, cases[i].name);
        avow_put_u64le(data + 24, cases[i].value);
        assert_int_equal(avow_event_variable_parse(AVOW_BYTES_OF(data), &v), cases[i].want);
        if (!cases[i].want)
            continue;
        assert_int_equal(v.name.len, 2 * cases[i].name);
        assert_int_equal(v.value.len, cases[i].value);
        avow_guid_text(v.guid, text);
        assert_string_equal(text, "8be4df61-0000-0000-0000-000000000000");
    }
}

static void test_event_startup_locality__other_forms__are_none(void **state)
{
    (void)state;
    static const uint8_t data[19] = "StartupLocality\0\3";
    uint8_t locality = 9;
    struct avow_event e = {.untrusted_type = AVOW_EV_NO_ACTION, .untrusted_data = {data, 17}};
    assert_true(avow_event_startup_locality(&e, &locality));
    assert_int_equal(locality, 3);
    e.untrusted_data.len = 16;
    assert_false(avow_event_startup_locality(&e, &locality));
    e.untrusted_data.len = 18;
    assert_false(avow_event_startup_locality(&e, &locality));
    e.untrusted_data.len = 17;
    e.untrusted_type = AVOW_EV_ACTION;
    assert_false(avow_event_startup_locality(&e, &locality));
}

#define B(literal)                                                                                 \
    {                                                                                              \
        (const uint8_t *)(literal), sizeof(literal) - 1                                            \
    }

static void test_event_put_utf16__any_units__give_utf8(void **state)
{
    (void)state;
    static const struct {
        struct avow_bytes in;
        const char *want;
    } cases[] = {
        {B(""), ""},
        {B("B\0o\0"), "Bo"},
        {B("\xe4\0\xac\x20"), "\xc3\xa4\xe2\x82\xac"},
        {B("\x3d\xd8\x00\xde"), "\xf0\x9f\x98\x80"},
        {B("\x3d\xd8x\0"), "\xef\xbf\xbdx"}, /* high surrogate alone */
        {B("\x00\xdex\0"), "\xef\xbf\xbdx"}, /* low one alone */
        {B("\x3d\xd8"), "\xef\xbf\xbd"},     /* high one at the end */
        {B("x\0y"), "x\xef\xbf\xbd"},        /* half a character */
        {B("\x3d\xd8\x3d\xd8\x00\xde"), "\xef\xbf\xbd\xf0\x9f\x98\x80"},
    };
    for (size_t i = 0; i < AVOW_ARRAY_LEN(cases); i++) {
        AVOW_CLEANUP_VAL(avow_buf_deinit) struct avow_buf out;
        avow_buf_init(&out, 64);
        avow_event_put_utf16(&out, cases[i].in);
        assert_string_equal(avow_buf_cstr(&out), cases[i].want);
    }
}

static void test_event_put_text__data__is_text_or_not(void **state)
{
    (void)state;
    static const struct {
        uint32_t type;
        struct avow_bytes data;
        const char *want; /* NULL: no text */
    } cases[] = {
        {0xD, B("grub_cmd: ls\0"), "grub_cmd: ls"},
        {0xD, B("a\nb"), "a\nb"},
        {0xD, B(".\0l\0i\0\0\0"), ".li"},
        {0xD, B(".\0l\0"), ".l"},
        {0xD, B("\1\2\3\4"), NULL},
        {0xD, B("\0"), NULL},
        {0xD, {NULL, 0}, NULL},
        {0xD, B("a\0b\0\0\0c\0"), NULL},
        {0xD, B("\xff\xff\xff"), NULL},
        {4, B("text"), NULL},
    };
    for (size_t i = 0; i < AVOW_ARRAY_LEN(cases); i++) {
        AVOW_CLEANUP_VAL(avow_buf_deinit) struct avow_buf out;
        struct avow_event e = {.untrusted_type = cases[i].type, .untrusted_data = cases[i].data};
        avow_buf_init(&out, 64);
        assert_int_equal(avow_event_put_text(&out, &e), cases[i].want != NULL);
        assert_string_equal(avow_buf_cstr(&out), cases[i].want ? cases[i].want : "");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_event_log_parse__real_firmware__every_event_is_known),
        cmocka_unit_test(test_event_log_parse__cut_at_every_byte__only_whole_events_are_read),
        cmocka_unit_test(test_event_log_parse__malformed_header__is_refused),
        cmocka_unit_test(test_event_log_parse__hostile_event__is_refused),
        cmocka_unit_test(test_event_log_parse__most_events__and_one_more),
        cmocka_unit_test(test_event_log_parse__sha1_only__has_one_digest_an_event),
        cmocka_unit_test(test_event_variable_parse__lengths__are_not_believed),
        cmocka_unit_test(test_event_startup_locality__other_forms__are_none),
        cmocka_unit_test(test_event_put_utf16__any_units__give_utf8),
        cmocka_unit_test(test_event_put_text__data__is_text_or_not),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
