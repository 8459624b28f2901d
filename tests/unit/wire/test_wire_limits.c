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
    s->has_pending = true;
    s->pending.order.clock = UINT64_MAX;
}
static void nested_bank(struct avow_state *s)
{
    s->has_open = true;
    s->open.bank = (enum avow_hash_alg)7;
}
static void text_with_nul(struct avow_state *s)
{
    s->severity = AVOW_STR_LIT("a\0b");
}
static void text_not_utf8(struct avow_state *s)
{
    s->severity = AVOW_STR_LIT("\xC3(");
}
/* Everything that a worker writes, at its caps. */
static struct avow_key_ref key_refs[12];
static void full_position(struct avow_ima_position *p)
{
    static struct avow_ima_pcr pcrs[4];
    for (uint16_t i = 0; i < 4; i++)
        pcrs[i] = (struct avow_ima_pcr){0xFFFF, avow_bytes_make(long_text, 64),
                                        avow_bytes_make(long_text, 64)};
    *p = (struct avow_ima_position){
        .proven_count = INT64_MAX, .claimed_count = INT64_MAX, .pcrs = pcrs, .pcrs_count = 4};
    for (size_t i = 0; i < 12; i++)
        key_refs[i] = (struct avow_key_ref){0xFFFF, INT64_MAX};
    p->keys = key_refs;
    p->keys_count = 12;
    p->dm = avow_bytes_make(long_text, 1024);
}
static void full_open(struct avow_open_fold *o)
{
    static struct avow_bytes values[20];
    static struct avow_fold_chain chains[4];
    static const uint16_t pcrs[4] = {0xFFFF, 0xFFFF, 0xFFFF, 0xFFFF};
    for (size_t i = 0; i < 20; i++)
        values[i] = avow_bytes_make(long_text, 64);
    for (size_t i = 0; i < 4; i++)
        chains[i] = (struct avow_fold_chain){.now = values,
                                             .now_count = 4,
                                             .recent = values,
                                             .recent_count = 20,
                                             .pending_at = INT64_MAX,
                                             .pending_values = values,
                                             .pending_values_count = 4};
    *o = (struct avow_open_fold){.offset = INT64_MAX,
                                 .epoch = INT64_MAX,
                                 .issued_ms = INT64_MAX,
                                 .service_ms = INT64_MAX,
                                 .progress_service_ms = INT64_MAX,
                                 .index = 0xFFFF,
                                 .bytes = UINT32_MAX,
                                 .attest = avow_bytes_make(long_text, 1024),
                                 .body = avow_bytes_make(long_text, 4096),
                                 .known = INT64_MAX,
                                 .next = INT64_MAX,
                                 .proven_at = INT64_MAX,
                                 .proven = values,
                                 .proven_count = 4,
                                 .pcrs = pcrs,
                                 .pcrs_count = 4,
                                 .chains = chains,
                                 .chains_count = 4,
                                 .keys = key_refs,
                                 .keys_count = 12,
                                 .dm = avow_bytes_make(long_text, 1024)};
}
static void full_pending(struct avow_pending_quote *p)
{
    static struct avow_bytes values[24];
    for (size_t i = 0; i < 24; i++)
        values[i] = avow_bytes_make(long_text, 64);
    *p = (struct avow_pending_quote){.offset = INT64_MAX,
                                     .pcr_digest = values[0],
                                     .epoch = INT64_MAX,
                                     .issued_ms = INT64_MAX,
                                     .service_ms = INT64_MAX,
                                     .order = {UINT32_MAX, UINT32_MAX, INT64_MAX},
                                     .from = INT64_MAX,
                                     .values = values,
                                     .values_count = 24};
}
static void full_lists(struct avow_state *s)
{
    static struct avow_finding large[32];
    static struct avow_drop_count dropped[24];
    static struct avow_learned_key learned[12];
    for (size_t i = 0; i < 12; i++)
        learned[i] =
            (struct avow_learned_key){text(64), UINT32_MAX, avow_bytes_make(long_text, 560)};
    s->learned = learned;
    s->learned_count = 12;
    for (size_t i = 0; i < 32; i++)
        large[i] = (struct avow_finding){text(96), text(32), text(256), text(512)};
    for (size_t i = 0; i < 8; i++)
        heads[i] = (struct avow_head_ref){.name = text(128), .generation = INT64_MAX};
    for (size_t i = 0; i < 24; i++)
        dropped[i].count = INT64_MAX;
    s->findings = large;
    s->findings_count = 32;
    s->findings_total = UINT32_MAX;
    s->heads = heads;
    s->heads_count = 8;
    s->dropped = dropped;
    s->dropped_count = 24;
}
static void largest_state(struct avow_state *s)
{
    s->key = text(128);
    s->partition = INT32_MAX;
    s->seq = s->transitions = s->enrollment_generation = s->bundle_version = INT64_MAX;
    s->first_seen_service_ms = s->epoch = s->credit_ms = s->stale_since_service_ms = INT64_MAX;
    s->has_order = s->has_boot_id = s->has_as_of = s->has_qualified_signer = true;
    s->order = (struct avow_order_token){UINT32_MAX, UINT32_MAX, INT64_MAX};
    s->as_of = (struct avow_as_of){INT64_MAX, INT64_MAX, INT64_MAX};
    s->severity = text(32);
    s->qualified_signer = avow_bytes_make(long_text, 66);
    s->has_ima = s->has_rebase = s->has_pending = s->has_open = true;
    full_position(&s->ima);
    full_position(&s->rebase);
    full_open(&s->open);
    full_pending(&s->pending);
    full_lists(s);
    s->pcr_values = s->pending.values;
    s->pcr_values_count = 24;
    s->has_pcr_bank = s->has_boot = s->has_last_verdict = s->has_payload_key = true;
    s->boot.has_policy_sha256 = s->boot.has_log_sha256 = true;
    s->last_verdict = (struct avow_last_verdict){
        .epoch = INT64_MAX, .emitted_service_ms = INT64_MAX, .clock = INT64_MAX};
    s->appraised = s->payload_released = s->rebase_due_ms = INT64_MAX;
    s->resync = (struct avow_resync_state){UINT32_MAX, INT64_MAX};
    s->has_evidence = true;
    s->evidence = (struct avow_evidence_ref){.partition = INT32_MAX, .offset = INT64_MAX};
}
/* No record at its caps is too long, so a position that none may have makes one. */
static void much_dm(struct avow_state *s)
{
    largest_state(s);
    s->open.dm = avow_bytes_make(long_text, 1025);
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
    {huge_nested_clock, AVOW_LIMIT,
     "state.pending.order.clock: 18446744073709551615 is out of range"},
    {nested_bank, AVOW_LIMIT, "state.open.bank: index 7 of 4"},
    {text_with_nul, AVOW_PARSE, "state.severity: not UTF-8"},
    {text_not_utf8, AVOW_PARSE, "state.severity: not UTF-8"},
    {largest_state, AVOW_OK, ""},
    {much_dm, AVOW_LIMIT, "state.open.dm: longer than 1024"},
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

/* Whatever happens, a state can be written (PROTOCOL B6): its parts are bounded, and so is their
 * sum. */
static void test_encode__largest_state__is_well_below_the_cap(void **state)
{
    (void)state;
    struct avow_state s = {0};
    struct avow_buf b;
    memset(long_text, 'x', sizeof long_text);
    avow_buf_init(&b, 1u << 20);
    largest_state(&s);
    assert_int_equal(avow_state_encode(&s, &b, NULL), AVOW_OK);
    print_message("the largest state has %zu bytes\n", b.len);
    assert_in_range(b.len, 40000, 65536 - 4096);
    avow_buf_deinit(&b);
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
        cmocka_unit_test(test_encode__largest_state__is_well_below_the_cap),
        cmocka_unit_test(test_encode__union_tag_out_of_range__is_refused_by_name),
        cmocka_unit_test(test_encode__no_error_struct__still_refuses),
        cmocka_unit_test(test_decode__index_out_of_range__is_refused_by_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
