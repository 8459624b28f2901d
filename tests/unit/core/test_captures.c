/* test_captures.c - lists and PCR values of real kernels through the whole appraisal:
 * tests/vectors/ima. */
#include "rig.h"

#include "avow/base/file.h"
#include "avow/base/hex.h"
#include "avow/formats/ima_list.h"

#include "avow/base/banned.h"

static struct rig r;

static void read_vector(const char *name, struct avow_buf *out)
{
    struct avow_err err = {0};
    char path[512];
    (void)snprintf(path, sizeof path, "%s/ima/%s", AVOW_TEST_VECTORS, name);
    avow_buf_init(out, 128u * 1024u);
    if (avow_file_read(path, out, &err))
        fail_msg("%s", err.msg);
}

static uint32_t count_entries(struct avow_bytes list)
{
    struct avow_rd rd = avow_rd_make(list);
    struct avow_ima_entry e;
    uint32_t n = 0;
    while (avow_ima_entry_next(&rd, &e) == AVOW_IMA_ENTRY)
        n++;
    assert_int_equal(avow_rd_left(&rd), 0);
    return n;
}

static struct rig_shot *take(const char *name, enum avow_hash_alg bank, const struct avow_buf *list)
{
    static const enum avow_hash hashes[] = {AVOW_HASH_SHA1, AVOW_HASH_SHA256, AVOW_HASH_SHA384,
                                            AVOW_HASH_SHA512};
    static const enum avow_hash_alg all[] = {AVOW_HASH_ALG_SHA1, AVOW_HASH_ALG_SHA256,
                                             AVOW_HASH_ALG_SHA384, AVOW_HASH_ALG_SHA512};
    char file[128];
    struct avow_buf values;
    size_t len = avow_hash_len(hashes[bank]);
    (void)snprintf(file, sizeof file, "%s.%s.pcrs", name, avow_hash_alg_text(bank));
    read_vector(file, &values);
    assert_int_equal(values.len, 24 * len);
    for (size_t i = 0; i < 24; i++)
        memcpy(r.pcr[bank][i], values.ptr + i * len, len);
    avow_buf_deinit(&values);
    r.bank = bank;
    r.e.banks = all;
    r.e.banks_count = AVOW_ARRAY_LEN(all);
    r.log_count = 0;
    r.send_pcrs = true;
    struct rig_shot *s = rig_take(&r);
    s->raw_list = avow_buf_bytes(list);
    s->raw_count = count_entries(s->raw_list);
    return s;
}

static void test_evaluate__lists_of_real_kernels__are_explained(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        enum avow_hash_alg bank;
        uint64_t entries;
        enum avow_ima_mode mode;
        const char *findings[2]; /* boot_aggregate is of sha256 unless the kernel's hash is sha1 */
    } cases[] = {
        {"m1-c1", AVOW_HASH_ALG_SHA256, 143, AVOW_IMA_MODE_NATIVE, {NULL}},
        {"m1-c1", AVOW_HASH_ALG_SHA1, 143, AVOW_IMA_MODE_NATIVE, {"ima.boot_aggregate"}},
        {"m3-c1", AVOW_HASH_ALG_SHA256, 145, AVOW_IMA_MODE_NATIVE, {NULL}},
        {"m5-c1", AVOW_HASH_ALG_SHA256, 168, AVOW_IMA_MODE_NATIVE, {NULL}},
        {"m5-c1",
         AVOW_HASH_ALG_SHA384,
         168,
         AVOW_IMA_MODE_PADDED,
         {"ima.boot_aggregate", "ima.bank_padded"}},
        {"m5-legacy", AVOW_HASH_ALG_SHA1, 145, AVOW_IMA_MODE_NATIVE, {NULL}},
        {"m5-legacy", AVOW_HASH_ALG_SHA256, 145, AVOW_IMA_MODE_NATIVE, {"ima.boot_aggregate"}},
        {"m6-c3", AVOW_HASH_ALG_SHA256, 149, AVOW_IMA_MODE_NATIVE, {NULL}},
        {"m6-c3", AVOW_HASH_ALG_SHA1, 149, AVOW_IMA_MODE_NATIVE, {"ima.boot_aggregate"}},
        {"m7-c1", AVOW_HASH_ALG_SHA256, 145, AVOW_IMA_MODE_NATIVE, {NULL}},
        {"m7-c1", AVOW_HASH_ALG_SHA384, 145, AVOW_IMA_MODE_NATIVE, {"ima.boot_aggregate"}},
        {"m7-c1", AVOW_HASH_ALG_SHA512, 145, AVOW_IMA_MODE_NATIVE, {"ima.boot_aggregate"}},
    };
    for (size_t i = 0; i < AVOW_ARRAY_LEN(cases); i++) {
        struct avow_buf list;
        char file[64];
        rig_init(&r, RIG_P256);
        print_message("%s %s\n", cases[i].name, avow_hash_alg_text(cases[i].bank));
        (void)snprintf(file, sizeof file, "%s.ima", cases[i].name);
        read_vector(file, &list);
        struct rig_shot *s = take(cases[i].name, cases[i].bank, &list);
        rig_seal(&r, s);
        rig_expect_accepted(&r, s);
        rig_expect_findings(&r, cases[i].findings[0], cases[i].findings[1], NULL);
        rig_expect_as_of(&r, r.epoch);
        assert_int_equal(r.state.ima.proven_count, cases[i].entries);
        assert_int_equal(r.state.ima.mode, cases[i].mode);
        rig_expect_status(&r, cases[i].findings[0] ? AVOW_STATUS_UNTRUSTED : AVOW_STATUS_TRUSTED);
        avow_buf_deinit(&list);
        rig_deinit(&r);
    }
}

static void test_evaluate__delta_between_two_captures__is_explained(void **state)
{
    (void)state;
    struct avow_buf one, two;
    rig_init(&r, RIG_P256);
    read_vector("m1-c1.ima", &one);
    read_vector("m1-c2.ima", &two);
    struct rig_shot *s = take("m1-c1", AVOW_HASH_ALG_SHA256, &one);
    rig_seal(&r, s);
    rig_expect_accepted(&r, s);
    rig_tick(&r);
    s = take("m1-c2", AVOW_HASH_ALG_SHA256, &two);
    s->body.ima_start = 143;
    s->raw_list = avow_bytes_make(two.ptr + one.len, two.len - one.len);
    s->raw_count = 13;
    rig_seal(&r, s);
    rig_expect_accepted(&r, s);
    RIG_EXPECT_NO_FINDINGS(&r);
    assert_int_equal(r.state.ima.proven_count, 156);
    rig_expect_as_of(&r, r.epoch);
    avow_buf_deinit(&one);
    avow_buf_deinit(&two);
    rig_deinit(&r);
}

/* --- What an attacker may change of a real machine's evidence --- */

#define LIST_MAX (256u * 1024u)
#define AT 40u /* the entry that is changed: some program, long after boot_aggregate */
#define SHA1_LEN 20u

struct tampered {
    uint8_t bytes[LIST_MAX];
    size_t len;
    uint32_t count;
};

/* Borrows from the list. */
static struct avow_ima_entry entry_at(struct avow_bytes list, size_t index)
{
    struct avow_rd rd = avow_rd_make(list);
    struct avow_ima_entry e;
    for (size_t i = 0; i <= index; i++)
        assert_int_equal(avow_ima_entry_next(&rd, &e), AVOW_IMA_ENTRY);
    return e;
}

static uint8_t *place(struct tampered *t, struct avow_bytes list, const uint8_t *in_list)
{
    return t->bytes + (in_list - list.ptr);
}

/* The template hash is made to fit what was changed. */
static void rehash(struct tampered *t, struct avow_bytes list, const struct avow_ima_entry *e)
{
    struct avow_digest d;
    struct avow_bytes data =
        avow_bytes_make(place(t, list, e->template_data.ptr), e->template_data.len);
    avow_digest_pieces(AVOW_HASH_SHA1, &data, 1, &d);
    memcpy(place(t, list, e->template_digest.ptr), d.bytes, SHA1_LEN);
}

static void cut_out(struct tampered *t, struct avow_bytes list, size_t index)
{
    struct avow_ima_entry e = entry_at(list, index);
    uint8_t *at = place(t, list, e.raw.ptr);
    memmove(at, at + e.raw.len, (size_t)(t->bytes + t->len - at) - e.raw.len);
    t->len -= e.raw.len;
    t->count--;
}

/* A copy of one entry, put in front of another. What is appended behind the quoted value may be
 * news that came after the quote (R2), so it would prove nothing here. */
static void copy_before(struct tampered *t, struct avow_bytes list, size_t index, size_t other)
{
    struct avow_ima_entry e = entry_at(list, index);
    uint8_t *at = place(t, list, entry_at(list, other).raw.ptr);
    memmove(at + e.raw.len, at, (size_t)(t->bytes + t->len - at));
    memcpy(at, e.raw.ptr, e.raw.len);
    t->len += e.raw.len;
    t->count++;
}

static void flip_field(struct tampered *t, struct avow_bytes list, size_t index, bool path,
                       bool fit)
{
    struct avow_ima_entry e = entry_at(list, index);
    struct avow_ima_file f;
    assert_int_equal(avow_ima_file_parse(&e, &f, NULL), AVOW_OK);
    place(t, list, path ? (const uint8_t *)f.path.ptr + f.path.len - 1 : f.digest.ptr)[0] ^= 1;
    if (fit)
        rehash(t, list, &e);
}

enum operator{
    UNCHANGED,
    DIGEST,
    DIGEST_REHASHED,
    PATH,
    PATH_REHASHED,
    TEMPLATE_HASH,
    DROPPED,
    DOUBLED,
    SWAPPED,
    LAST_MISSING,
    CUT_SHORT,
    TEMPLATE_NAME,
    OTHER_PCR,
    AS_VIOLATION,
    AGGREGATE,
    AGGREGATE_MISSING,
    AGGREGATE_REPEATED,
    PCR0,
    PCR7,
    PCR10,
    OPERATORS
};
/* The finding that tells it, after the next evidence at the latest. */
static const char *const told_by[OPERATORS] = {
    [DIGEST] = "ima.template_hash",
    [DIGEST_REHASHED] = "ima.digest_unknown",
    [PATH] = "ima.template_hash",
    [PATH_REHASHED] = "ima.digest_unknown",
    [TEMPLATE_HASH] = "ima.template_hash",
    [DROPPED] = "ima.pcr_mismatch",
    [DOUBLED] = "ima.pcr_mismatch",
    [SWAPPED] = "ima.pcr_mismatch",
    [LAST_MISSING] = "ima.pcr_mismatch",
    [CUT_SHORT] = "evidence.malformed",
    [TEMPLATE_NAME] = "ima.template_unknown",
    [OTHER_PCR] = "ima.pcr_index",
    [AS_VIOLATION] = "ima.violation",
    [AGGREGATE] = "ima.boot_aggregate",
    [AGGREGATE_MISSING] = "ima.boot_aggregate_missing",
    [AGGREGATE_REPEATED] = "ima.boot_aggregate_repeated",
    [PCR0] = "ima.boot_aggregate",
    [PCR7] = "ima.boot_aggregate",
    [PCR10] = "ima.pcr_mismatch",
};

static void swap_with_next(struct tampered *t, struct avow_bytes list)
{
    struct avow_ima_entry a = entry_at(list, AT), b = entry_at(list, AT + 1);
    uint8_t *at = place(t, list, a.raw.ptr);
    memcpy(at, b.raw.ptr, b.raw.len);
    memcpy(at + b.raw.len, a.raw.ptr, a.raw.len);
}

static void tamper(enum operator op, struct avow_bytes list, struct tampered *t)
{
    struct avow_ima_entry e = entry_at(list, AT);
    assert_true(list.len < LIST_MAX / 2);
    memcpy(t->bytes, list.ptr, list.len);
    t->len = list.len;
    t->count = count_entries(list);
    switch (op) {
    case DIGEST:
    case DIGEST_REHASHED:
        flip_field(t, list, AT, false, op == DIGEST_REHASHED);
        break;
    case PATH:
    case PATH_REHASHED:
        flip_field(t, list, AT, true, op == PATH_REHASHED);
        break;
    case TEMPLATE_HASH:
        place(t, list, e.template_digest.ptr)[3] ^= 1;
        break;
    case DROPPED:
        cut_out(t, list, AT);
        break;
    case DOUBLED:
        copy_before(t, list, AT, AT);
        break;
    case SWAPPED:
        swap_with_next(t, list);
        break;
    case LAST_MISSING:
        cut_out(t, list, t->count - 1);
        break;
    case CUT_SHORT:
        t->len--;
        break;
    case TEMPLATE_NAME:
        place(t, list, (const uint8_t *)e.template_name.ptr)[0] ^= 1;
        break;
    case OTHER_PCR:
        place(t, list, e.raw.ptr)[0] = 11;
        break;
    case AS_VIOLATION:
        memset(place(t, list, e.template_digest.ptr), 0, SHA1_LEN);
        break;
    case AGGREGATE:
        flip_field(t, list, 0, false, true);
        break;
    case AGGREGATE_MISSING:
        cut_out(t, list, 0);
        break;
    case AGGREGATE_REPEATED:
        copy_before(t, list, 0, AT);
        break;
    default:
        break; /* a PCR is changed, not the list */
    }
}

/* A policy that allows what the list has, and only that. */
static void allow_own_list(struct avow_bytes list)
{
    struct avow_rd rd = avow_rd_make(list);
    struct avow_ima_entry e;
    struct avow_ima_file f;
    char hex[2 * AVOW_DIGEST_MAX + 1];
    struct avow_buf text;
    avow_buf_init(&text, LIST_MAX);
    while (avow_ima_entry_next(&rd, &e) == AVOW_IMA_ENTRY) {
        if (avow_ima_file_parse(&e, &f, NULL) || avow_str_is(f.path, "boot_aggregate"))
            continue;
        avow_hex_encode(hex, f.digest);
        avow_buf_put_str(&text, hex);
        avow_buf_put_str(&text, " ");
        avow_buf_put(&text, f.path.ptr, f.path.len);
        avow_buf_put_str(&text, "\n");
    }
    rig_policy(&r, avow_buf_cstr(&text));
    avow_buf_deinit(&text);
}

static void send_tampered(const char *name, enum operator op, const struct avow_buf *list,
                          const struct tampered *t)
{
    struct rig_shot *s = take(name, AVOW_HASH_ALG_SHA256, list);
    if (op == PCR0 || op == PCR7 || op == PCR10) {
        unsigned pcr = op == PCR0 ? 0 : op == PCR7 ? 7 : 10;
        r.pcr[AVOW_HASH_ALG_SHA256][pcr][5] ^= 1;
        s = rig_take(&r);
    }
    s->raw_list = avow_bytes_make(t->bytes, t->len);
    s->raw_count = t->count;
    rig_seal(&r, s);
    rig_expect_accepted(&r, s);
}

static bool is_told(const char *id)
{
    for (size_t i = 0; i < r.state.findings_count; i++) {
        if (avow_str_is(r.state.findings[i].id, id))
            return true;
    }
    return false;
}

static void test_evaluate__tampered_captures__each_is_told(void **state)
{
    (void)state;
    static const char *const machines[] = {"m1-c1", "m3-c1", "m5-c1", "m7-c1"};
    static struct tampered t;
    for (size_t m = 0; m < AVOW_ARRAY_LEN(machines); m++) {
        for (enum operator op = UNCHANGED; op < OPERATORS; op++) {
            struct avow_buf list;
            char file[64];
            (void)snprintf(file, sizeof file, "%s.ima", machines[m]);
            read_vector(file, &list);
            rig_init(&r, RIG_P256);
            allow_own_list(avow_buf_bytes(&list));
            tamper(op, avow_buf_bytes(&list), &t);
            for (unsigned round = 0; round < 2; round++) { /* the next one explains (R2) */
                send_tampered(machines[m], op, &list, &t);
                rig_tick(&r);
            }
            rig_expect_status(&r, op == UNCHANGED ? AVOW_STATUS_TRUSTED : AVOW_STATUS_UNTRUSTED);
            if (op == UNCHANGED)
                RIG_EXPECT_NO_FINDINGS(&r);
            else if (!is_told(told_by[op]))
                fail_msg("%s, operator %d: no %s", machines[m], op, told_by[op]);
            avow_buf_deinit(&list);
            rig_deinit(&r);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_evaluate__lists_of_real_kernels__are_explained),
        cmocka_unit_test(test_evaluate__delta_between_two_captures__is_explained),
        cmocka_unit_test(test_evaluate__tampered_captures__each_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
