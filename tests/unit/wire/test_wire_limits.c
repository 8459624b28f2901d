/* What may not be written: the encoder refuses it and names the field. */
#include "avow/wire/all.h"

#include "cmocka_all.h"

#include "avow/base/banned.h"

static char long_text[70000];
static struct avow_finding many[40];
static struct avow_head_ref heads[9];

static struct avow_str text(size_t len)
{
    return (struct avow_str){long_text, len};
}

static void too_long_key(struct avow_state *s)
{
    s->key = text(129);
}
static void key_at_its_cap(struct avow_state *s)
{
    s->key = text(128);
}
static void negative_partition(struct avow_state *s)
{
    s->partition = -1;
}
static void huge_seq(struct avow_state *s)
{
    s->seq = (uint64_t)INT64_MAX + 1;
}
static void largest_seq(struct avow_state *s)
{
    s->seq = INT64_MAX;
}
static void bad_status(struct avow_state *s)
{
    s->status = (enum avow_status)AVOW_STATUS_COUNT;
}
static void too_many_findings(struct avow_state *s)
{
    s->findings = many;
    s->findings_count = 33;
}
static void long_finding_id(struct avow_state *s)
{
    many[3].id = text(97);
    s->findings = many;
    s->findings_count = 4;
}
static void too_many_heads(struct avow_state *s)
{
    s->heads = heads;
    s->heads_count = 9;
}
static void long_pending_digest(struct avow_state *s)
{
    s->has_pending = true;
    s->pending.pcr_digest = avow_bytes_make(long_text, 65);
}
static void absent_pending_is_not_looked_at(struct avow_state *s)
{
    s->pending.pcr_digest = avow_bytes_make(long_text, 65);
}
static void huge_nested_clock(struct avow_state *s)
{
    s->has_open = true;
    s->open.order.clock = UINT64_MAX;
}
static void nested_bank(struct avow_state *s)
{
    s->has_open = true;
    s->open.provisional.bank = (enum avow_hash_alg)7;
}
static void text_with_nul(struct avow_state *s)
{
    s->severity = AVOW_STR_LIT("a\0b");
}
static void text_not_utf8(struct avow_state *s)
{
    s->severity = AVOW_STR_LIT("\xC3(");
}
static void whole_record(struct avow_state *s)
{
    static struct avow_finding large[32];
    static struct avow_finding open_large[32];
    for (size_t i = 0; i < 32; i++) {
        large[i] = (struct avow_finding){text(96), text(32), text(256), text(512)};
        open_large[i] = large[i];
    }
    s->findings = large;
    s->findings_count = 32;
    s->has_open = true;
    s->open.findings = open_large;
    s->open.findings_count = 32;
    s->open.body = avow_bytes_make(long_text, 16384);
}

static const struct {
    void (*spoil)(struct avow_state *);
    enum avow_rc rc;
    const char *message;
} cases[] = {
    {too_long_key, AVOW_LIMIT, "state.key: longer than 128"},
    {key_at_its_cap, AVOW_OK, ""},
    {negative_partition, AVOW_LIMIT, "state.partition: -1 is out of range"},
    {huge_seq, AVOW_LIMIT, "state.seq: 9223372036854775808 is out of range"},
    {largest_seq, AVOW_OK, ""},
    {bad_status, AVOW_LIMIT, "state.status: index 4 of 4"},
    {too_many_findings, AVOW_LIMIT, "state.findings: more than 32 items"},
    {long_finding_id, AVOW_LIMIT, "state.findings[3].id: longer than 96"},
    {too_many_heads, AVOW_LIMIT, "state.heads: more than 8 items"},
    {long_pending_digest, AVOW_LIMIT, "state.pending.pcr_digest: longer than 64"},
    {absent_pending_is_not_looked_at, AVOW_OK, ""},
    {huge_nested_clock, AVOW_LIMIT, "state.open.order.clock: 18446744073709551615 is out of range"},
    {nested_bank, AVOW_LIMIT, "state.open.provisional.bank: index 7 of 4"},
    {text_with_nul, AVOW_PARSE, "state.severity: not UTF-8"},
    {text_not_utf8, AVOW_PARSE, "state.severity: not UTF-8"},
    {whole_record, AVOW_LIMIT, "state: record longer than 65536"},
};

static void test_encode__outside_a_cap_or_range__is_refused_by_name(void **state)
{
    (void)state;
    memset(long_text, 'x', sizeof long_text);
    for (size_t i = 0; i < AVOW_ARRAY_LEN(cases); i++) {
        struct avow_state s = {0};
        struct avow_err err = {.rc = AVOW_OK};
        struct avow_buf b;
        memset(many, 0, sizeof many);
        avow_buf_init(&b, 1u << 20);
        cases[i].spoil(&s);
        enum avow_rc rc = avow_state_encode(&s, &b, &err);
        if (rc != cases[i].rc || strcmp(err.msg, cases[i].message))
            fail_msg("case %zu: got %s, %s", i, avow_rc_text(rc), err.msg);
        assert_true(rc ? b.len == 0 : b.len > AVOW_WIRE_FRAME_LEN);
        avow_buf_deinit(&b);
    }
}

static void test_encode__union_tag_out_of_range__is_refused_by_name(void **state)
{
    (void)state;
    struct avow_directive v = {.partition = 1};
    struct avow_err err = {.rc = AVOW_OK};
    struct avow_buf b;
    avow_buf_init(&b, 4096);
    v.kind.tag = (enum avow_directive_kind_tag)AVOW_DIRECTIVE_KIND_COUNT;
    assert_int_equal(avow_directive_encode(&v, &b, &err), AVOW_LIMIT);
    assert_string_equal(err.msg, "directive.kind: index 5 of 5");
    avow_buf_deinit(&b);
}

static void test_encode__no_error_struct__still_refuses(void **state)
{
    (void)state;
    struct avow_marker v = {.owner = text(65)};
    struct avow_buf b;
    avow_buf_init(&b, 4096);
    assert_int_equal(avow_marker_encode(&v, &b, NULL), AVOW_LIMIT);
    avow_buf_deinit(&b);
}

/* Every byte of an enum or a union branch that follows the last symbol. */
static void test_decode__index_out_of_range__is_refused_by_name(void **state)
{
    (void)state;
    struct avow_directive v = {.partition = 1};
    struct avow_directive back;
    struct avow_err err = {.rc = AVOW_OK};
    struct avow_buf b;
    avow_buf_init(&b, 4096);
    assert_int_equal(avow_directive_encode(&v, &b, NULL), AVOW_OK);
    size_t kind = b.len - 72 - 3 - 1; /* before the proof and the three one-byte fields of Resync */
    assert_int_equal(b.ptr[kind], 0);
    for (unsigned byte = 0; byte < 0x80; byte++) {
        b.ptr[kind] = (uint8_t)byte;
        enum avow_rc rc = avow_directive_decode(avow_buf_bytes(&b), NULL, &back, &err);
        if (byte & 1u || byte / 2 >= AVOW_DIRECTIVE_KIND_COUNT) {
            assert_int_equal(rc, AVOW_PARSE);
            assert_non_null(strstr(err.msg, "directive.kind: index "));
        }
    }
    avow_buf_deinit(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_encode__outside_a_cap_or_range__is_refused_by_name),
        cmocka_unit_test(test_encode__union_tag_out_of_range__is_refused_by_name),
        cmocka_unit_test(test_encode__no_error_struct__still_refuses),
        cmocka_unit_test(test_decode__index_out_of_range__is_refused_by_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
