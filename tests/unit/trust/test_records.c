/* test_records.c - opening records: every step of the reader order broken once, next to a control;
 * every role against every record; one record's bytes as another; another fleet; other keys (AE5 to
 * AE8). */
#include "fixture.h"

#include <pthread.h>

#include "avow/base/banned.h"

static struct fixture *f;

static int setup(void **state)
{
    (void)state;
    f = fx_new();
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    fx_free(f);
    return 0;
}

/* One way to break a record or how it was read. */
enum breakage {
    NOTHING,
    TOO_LARGE,
    EMPTY,
    NO_FRAME,
    OTHER_FINGERPRINT,
    CUT,
    TRAILING,
    OTHER_FLEET,
    OTHER_KAFKA_KEY,
    OTHER_PARTITION,
    UNKNOWN_SIGNER,
    ROOT_SIGNER,
    ID_OF_ANOTHER,
    VERIFY_ONLY,
    REVOKED,
    SIGNATURE_BIT,
    CONTENT_BIT,
    HIGH_S,
    BREAKAGES
};

static const struct {
    const char *name;
    enum avow_rc want;
    int cause;
    const char *says;
} BREAKAGE[BREAKAGES] = {
    [NOTHING] = {"control", AVOW_OK, 0, ""},
    [TOO_LARGE] = {"too large", AVOW_LIMIT, 0, "limit"},
    [EMPTY] = {"null value", AVOW_SCHEMA, 0, ""},
    [NO_FRAME] = {"no frame", AVOW_SCHEMA, 0, ""},
    [OTHER_FINGERPRINT] = {"unknown schema", AVOW_SCHEMA, 0, ""},
    [CUT] = {"cut", AVOW_PARSE, 0, ""},
    [TRAILING] = {"trailing byte", AVOW_PARSE, 0, ""},
    [OTHER_FLEET] = {"staging fleet", AVOW_UNTRUSTED, AVOW_CAUSE_FLEET, "another fleet"},
    [OTHER_KAFKA_KEY] = {"re-keyed", AVOW_UNTRUSTED, AVOW_CAUSE_KEY, "another key"},
    [OTHER_PARTITION] = {"other partition", AVOW_UNTRUSTED, AVOW_CAUSE_PARTITION, "partition"},
    [UNKNOWN_SIGNER] = {"unknown signer", AVOW_UNTRUSTED, AVOW_CAUSE_UNKNOWN_KEY,
                        "not in the bundle"},
    [ROOT_SIGNER] = {"signed by root", AVOW_UNTRUSTED, AVOW_CAUSE_UNKNOWN_KEY, "not in the bundle"},
    [ID_OF_ANOTHER] = {"id of the right key", AVOW_UNTRUSTED, AVOW_CAUSE_SIGNATURE, "is wrong"},
    [VERIFY_ONLY] = {"verify_only key", AVOW_UNTRUSTED, AVOW_CAUSE_STATUS, "verify_only"},
    [REVOKED] = {"revoked key", AVOW_UNTRUSTED, AVOW_CAUSE_STATUS, "revoked"},
    [SIGNATURE_BIT] = {"signature bit", AVOW_UNTRUSTED, AVOW_CAUSE_SIGNATURE, "is wrong"},
    [CONTENT_BIT] = {"content bit", AVOW_UNTRUSTED, AVOW_CAUSE_SIGNATURE, "is wrong"},
    [HIGH_S] = {"high S", AVOW_UNTRUSTED, AVOW_CAUSE_SIGNATURE, "is wrong"},
};

static void negate_s(uint8_t s[32])
{
    static const uint8_t ORDER[32] = {0xff, 0xff, 0xff, 0xff, 0x00, 0x00, 0x00, 0x00,
                                      0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
                                      0xbc, 0xe6, 0xfa, 0xad, 0xa7, 0x17, 0x9e, 0x84,
                                      0xf3, 0xb9, 0xca, 0xc2, 0xfc, 0x63, 0x25, 0x51};
    int borrow = 0;
    for (int i = 31; i >= 0; i--) {
        int d = ORDER[i] - s[i] - borrow;
        borrow = d < 0;
        s[i] = (uint8_t)(d + (borrow ? 256 : 0));
    }
}

static const struct avow_privkey *signer_for(const struct fx_kind *kind, enum breakage b,
                                             const struct avow_privkey *stranger)
{
    switch (b) {
    case UNKNOWN_SIGNER:
    case ID_OF_ANOTHER:
        return stranger;
    case ROOT_SIGNER:
        return f->root_key;
    default:
        return f->keys[kind->signer];
    }
}

/* Damages the encoded record in place. */
static void damage(const struct fx_kind *kind, enum breakage b, struct avow_buf *r)
{
    switch (b) {
    case TOO_LARGE:
        avow_buf_extend(r, kind->schema->max_value + 1 - r->len);
        break;
    case EMPTY:
        r->len = 0;
        break;
    case NO_FRAME:
        r->ptr[0] ^= 1;
        break;
    case OTHER_FINGERPRINT:
        r->ptr[5] ^= 1;
        break;
    case CUT:
        r->len--;
        break;
    case TRAILING:
        avow_buf_put_u8(r, 0);
        break;
    case ID_OF_ANOTHER:
        avow_key_id(avow_privkey_spki(f->keys[kind->signer]), r->ptr + r->len - AVOW_PROOF_LEN);
        break;
    case SIGNATURE_BIT:
        r->ptr[r->len - 20] ^= 0x10;
        break;
    case CONTENT_BIT: /* the low bit of the zig-zag number after fleet and key: another valid value
                       */
        r->ptr[AVOW_WIRE_FRAME_LEN + 16 + 1 + strlen(kind->key)] ^= 2;
        break;
    case HIGH_S:
        negate_s(r->ptr + r->len - 32);
        break;
    default:
        break;
    }
}

static void break_once(const struct fx_kind *kind, enum breakage b,
                       const struct avow_privkey *stranger)
{
    char what[96];
    struct avow_err err = {0};
    struct fx_header h = {b == OTHER_FLEET ? FX_STAGING : FX_FLEET, kind->key, FX_PARTITION, 5};
    struct avow_record_in in = {fx_text(kind->key), {NULL, 0}, FX_PARTITION};
    if (b == OTHER_KAFKA_KEY)
        in.kafka_key = fx_text(kind->signer == FX_POLICY ? "head/other" : "agent-2");
    /* A partition that is not in the record is where it was read: nothing to compare, nothing to
     * break. The content bit of a record with a partition changes that, so read it from there. */
    if (b == OTHER_PARTITION)
        in.partition = FX_PARTITION + 1;
    enum breakage effective = b == OTHER_PARTITION && !kind->has_partition ? NOTHING : b;
    if (b == VERIFY_ONLY || b == REVOKED) {
        f->entries[kind->signer].status =
            b == REVOKED ? AVOW_KEY_STATUS_REVOKED : AVOW_KEY_STATUS_VERIFY_ONLY;
        fx_reload(f);
    }
    FX_BUF record;
    avow_buf_init(&record, FX_BUF_MAX);
    kind->seal(&h, signer_for(kind, b, stranger), &record);
    damage(kind, b, &record);
    if (b == CONTENT_BIT && kind->has_partition)
        in.partition ^= 1;
    in.value = avow_buf_bytes(&record);
    snprintf(what, sizeof what, "%s: %s", kind->name, BREAKAGE[b].name);
    assert_rc(what, kind->open(f->trust, &in, &err), BREAKAGE[effective].want, &err);
    if (BREAKAGE[effective].want) {
        assert_says(what, &err, BREAKAGE[effective].says);
        if (BREAKAGE[effective].cause != err.native)
            fail_msg("%s: cause %lld, want %d", what, (long long)err.native,
                     BREAKAGE[effective].cause);
    }
    if (b == VERIFY_ONLY || b == REVOKED) {
        f->entries[kind->signer].status = AVOW_KEY_STATUS_ACTIVE;
        fx_reload(f);
    }
}

static void test_open__each_step_broken__its_own_refusal(void **state)
{
    (void)state;
    AVOW_CLEANUP(avow_privkey_free) struct avow_privkey *stranger = fx_key();
    for (size_t k = 0; k < FX_KIND_COUNT; k++)
        for (enum breakage b = 0; b < BREAKAGES; b++)
            break_once(&FX_KINDS[k], b, stranger);
}

static void test_open__every_role_and_record__only_the_right_one(void **state)
{
    (void)state;
    for (size_t k = 0; k < FX_KIND_COUNT; k++) {
        for (enum fx_key s = 0; s < FX_KEYS; s++) {
            char what[96];
            struct avow_err err = {0};
            FX_BUF record;
            fx_seal(&FX_KINDS[k], f->keys[s], &record);
            bool right = s == FX_KINDS[k].signer;
            snprintf(what, sizeof what, "%s by key %d", FX_KINDS[k].name, (int)s);
            assert_rc(what, fx_open(&FX_KINDS[k], f, &record, &err),
                      right ? AVOW_OK : AVOW_UNTRUSTED, &err);
            bool worker_record = FX_KINDS[k].signer == FX_WORKER;
            int want = worker_record && (s == FX_OLD || s == FX_GONE) ? AVOW_CAUSE_STATUS
                                                                      : AVOW_CAUSE_ROLE;
            if (!right)
                assert_int_equal(err.native, want);
        }
    }
}

/* The bytes of each record offered as each other one, both as they are and with the other's
 * fingerprint in the frame. */
static void test_AE8__type_confusion__never_opens(void **state)
{
    (void)state;
    for (size_t a = 0; a < FX_KIND_COUNT; a++) {
        for (size_t b = 0; b < FX_KIND_COUNT; b++) {
            const struct fx_kind *real = &FX_KINDS[a], *claimed = &FX_KINDS[b];
            struct avow_err err = {0};
            if (a == b)
                continue;
            FX_BUF record;
            const struct fx_header h = {FX_FLEET, claimed->key, FX_PARTITION, 5};
            avow_buf_init(&record, FX_BUF_MAX);
            real->seal(&h, f->keys[claimed->signer], &record);
            assert_rc("as it is", fx_open(claimed, f, &record, &err), AVOW_SCHEMA, &err);
            avow_put_u64le(record.ptr + 2, claimed->schema->fingerprint);
            enum avow_rc rc = fx_open(claimed, f, &record, &err);
            if (rc == AVOW_OK)
                fail_msg("%s opens as %s", real->name, claimed->name);
        }
    }
}

/* The same where decoding cannot tell them apart: a marker whose bytes are signed under another
 * record's type. */
static void test_AE8__right_bytes_wrong_pae_type__is_untrusted(void **state)
{
    (void)state;
    const struct fx_kind *marker = &FX_KINDS[3];
    struct avow_wire_schema renamed = avow_wire_marker_schema;
    struct avow_err err = {0};
    FX_BUF record;
    fx_seal(marker, f->keys[FX_WORKER], &record);
    renamed.name = "avow.Verdict";
    assert_rc("sign", avow_proof_sign(&renamed, f->keys[FX_WORKER], &record, &err), AVOW_OK, &err);
    assert_rc("other type", fx_open(marker, f, &record, &err), AVOW_UNTRUSTED, &err);
    assert_int_equal(err.native, AVOW_CAUSE_SIGNATURE);
    assert_rc("sign", avow_proof_sign(&avow_wire_marker_schema, f->keys[FX_WORKER], &record, &err),
              AVOW_OK, &err);
    assert_rc("control", fx_open(marker, f, &record, &err), AVOW_OK, &err);
}

static void test_open__key_that_such_a_record_cannot_have__is_untrusted(void **state)
{
    (void)state;
    static const char *const BAD[] = {"",    "../x",    "_p",       "head/",  "head/../x",
                                      "a b", "markers", "head/a/b", "bundle "};
    for (size_t k = 0; k < FX_KIND_COUNT; k++) {
        for (size_t i = 0; i < AVOW_ARRAY_LEN(BAD); i++) {
            const struct fx_kind *kind = &FX_KINDS[k];
            struct avow_err err = {0};
            const struct fx_header h = {FX_FLEET, BAD[i], FX_PARTITION, 5};
            FX_BUF record;
            if (avow_cstr_eq(BAD[i], "markers") && kind->signer != FX_POLICY &&
                !avow_cstr_eq(kind->key, "marker"))
                continue; /* a good agent id */
            avow_buf_init(&record, FX_BUF_MAX);
            kind->seal(&h, f->keys[kind->signer], &record);
            const struct avow_record_in in = {fx_text(BAD[i]), avow_buf_bytes(&record),
                                              FX_PARTITION};
            assert_rc(BAD[i], kind->open(f->trust, &in, &err), AVOW_UNTRUSTED, &err);
            assert_int_equal(err.native, AVOW_CAUSE_KEY);
        }
    }
}

static void test_open__key_limited_to_names__only_those(void **state)
{
    (void)state;
    static const struct {
        const char *pattern, *key;
        size_t kind;
        enum avow_rc want;
    } CASES[] = {
        {"agent-*", "agent-1", 1, AVOW_OK},      {"agent-*", "host-1", 1, AVOW_UNTRUSTED},
        {"base", "head/base", 2, AVOW_OK},       {"head/base", "head/base", 2, AVOW_UNTRUSTED},
        {"bas", "head/base", 2, AVOW_UNTRUSTED}, {"*", "marker", 3, AVOW_OK},
        {"marker", "marker", 3, AVOW_UNTRUSTED}, {"agent-?", "agent-1", 5, AVOW_UNTRUSTED},
    };
    for (size_t i = 0; i < AVOW_ARRAY_LEN(CASES); i++) {
        const struct fx_kind *kind = &FX_KINDS[CASES[i].kind];
        struct avow_err err = {0};
        struct avow_str names[2] = {AVOW_STR_LIT("never-1"), avow_str_from(CASES[i].pattern)};
        const struct fx_header h = {FX_FLEET, CASES[i].key, FX_PARTITION, 5};
        f->entries[kind->signer].names = names;
        f->entries[kind->signer].names_count = 2;
        fx_reload(f);
        FX_BUF record;
        avow_buf_init(&record, FX_BUF_MAX);
        kind->seal(&h, f->keys[kind->signer], &record);
        const struct avow_record_in in = {fx_text(CASES[i].key), avow_buf_bytes(&record),
                                          FX_PARTITION};
        assert_rc(CASES[i].pattern, kind->open(f->trust, &in, &err), CASES[i].want, &err);
        if (CASES[i].want)
            assert_int_equal(err.native, AVOW_CAUSE_NAME);
        f->entries[kind->signer].names_count = 0;
    }
    fx_reload(f);
}

static void test_open__generation_below_floor__is_rollback(void **state)
{
    (void)state;
    for (size_t k = 0; k < 3; k++) {
        const struct fx_kind *kind = &FX_KINDS[k];
        for (uint64_t generation = 1; generation <= 3; generation++) {
            struct avow_err err = {0};
            const struct fx_header h = {FX_FLEET, kind->key, FX_PARTITION, generation};
            FX_BUF record;
            avow_buf_init(&record, FX_BUF_MAX);
            kind->seal(&h, f->keys[kind->signer], &record);
            enum avow_rc want =
                k > 0 && generation < 2 ? AVOW_ROLLBACK : AVOW_OK; /* identities have no floor */
            assert_rc(kind->name, fx_open(kind, f, &record, &err), want, &err);
        }
    }
}

static void test_verify_history__status__verify_only_is_readable(void **state)
{
    (void)state;
    static const struct {
        enum fx_key signer;
        enum avow_rc deciding, history;
    } CASES[] = {{FX_WORKER, AVOW_OK, AVOW_OK},
                 {FX_OLD, AVOW_UNTRUSTED, AVOW_OK},
                 {FX_GONE, AVOW_UNTRUSTED, AVOW_UNTRUSTED},
                 {FX_ENROLL, AVOW_UNTRUSTED, AVOW_UNTRUSTED}};
    for (size_t i = 0; i < AVOW_ARRAY_LEN(CASES); i++) {
        struct avow_err err = {0};
        FX_BUF record;
        fx_seal(&FX_KINDS[5], f->keys[CASES[i].signer], &record);
        struct avow_str name = AVOW_STR_LIT(FX_AGENT);
        struct avow_bytes r = avow_buf_bytes(&record);
        assert_rc(
            "deciding",
            avow_trust_verify(f->trust, AVOW_ROLE_WORKER, name, &avow_wire_verdict_schema, r, &err),
            CASES[i].deciding, &err);
        assert_rc("history",
                  avow_trust_verify_history(f->trust, AVOW_ROLE_WORKER, name,
                                            &avow_wire_verdict_schema, r, &err),
                  CASES[i].history, &err);
    }
}

/* A key agreement key must never pass as a signing key, whatever its bundle entry claims. */
static void test_verify__kex_role__never(void **state)
{
    (void)state;
    struct avow_err err = {0};
    FX_BUF record;
    fx_seal(&FX_KINDS[5], f->keys[FX_KEX], &record);
    enum avow_rc rc = avow_trust_verify(f->trust, AVOW_ROLE_WORKER_KEX, AVOW_STR_LIT(FX_AGENT),
                                        &avow_wire_verdict_schema, avow_buf_bytes(&record), &err);
    assert_rc("kex", rc, AVOW_UNTRUSTED, &err);
    assert_int_equal(err.native, AVOW_CAUSE_ROLE);
}

static void test_seal__behind_other_bytes__leaves_them(void **state)
{
    (void)state;
    struct avow_err err = {0};
    FX_BUF out, alone;
    avow_buf_init(&out, FX_BUF_MAX);
    avow_buf_put_str(&out, "prefix");
    const struct fx_header h = {FX_FLEET, FX_AGENT, FX_PARTITION, 5};
    fx_seal_verdict(&h, f->keys[FX_WORKER], &out);
    assert_memory_equal(out.ptr, "prefix", 6);
    avow_buf_init(&alone, FX_BUF_MAX);
    avow_buf_put(&alone, out.ptr + 6, out.len - 6);
    assert_rc("open", fx_open(&FX_KINDS[5], f, &alone, &err), AVOW_OK, &err);
    /* What does not fit is not written at all. */
    FX_BUF small;
    avow_buf_init(&small, 40);
    avow_buf_put_str(&small, "prefix");
    struct avow_verdict v = {.key = AVOW_STR_LIT(FX_AGENT)};
    assert_rc("small", avow_seal_verdict(&v, f->keys[FX_WORKER], &small, &err), AVOW_LIMIT, &err);
    assert_int_equal(small.len, 6);
}

static void *open_many(void *arg)
{
    uintptr_t bad = 0;
    const struct avow_buf *records = arg;
    for (int i = 0; i < 40; i++) {
        for (size_t k = 0; k < FX_KIND_COUNT; k++) {
            struct avow_err err;
            bad += fx_open(&FX_KINDS[k], f, &records[k], &err) != AVOW_OK;
        }
    }
    return (void *)bad;
}

static void test_open__several_threads__share_a_bundle(void **state)
{
    (void)state;
    pthread_t threads[4];
    struct avow_buf records[FX_KIND_COUNT];
    for (size_t k = 0; k < FX_KIND_COUNT; k++)
        fx_seal(&FX_KINDS[k], f->keys[FX_KINDS[k].signer], &records[k]);
    for (size_t i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, open_many, records), 0);
    for (size_t i = 0; i < 4; i++) {
        void *bad = NULL;
        pthread_join(threads[i], &bad);
        assert_null(bad);
    }
    for (size_t k = 0; k < FX_KIND_COUNT; k++)
        avow_buf_deinit(&records[k]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_open__each_step_broken__its_own_refusal),
        cmocka_unit_test(test_open__every_role_and_record__only_the_right_one),
        cmocka_unit_test(test_AE8__type_confusion__never_opens),
        cmocka_unit_test(test_AE8__right_bytes_wrong_pae_type__is_untrusted),
        cmocka_unit_test(test_open__key_that_such_a_record_cannot_have__is_untrusted),
        cmocka_unit_test(test_open__key_limited_to_names__only_those),
        cmocka_unit_test(test_open__generation_below_floor__is_rollback),
        cmocka_unit_test(test_verify_history__status__verify_only_is_readable),
        cmocka_unit_test(test_verify__kex_role__never),
        cmocka_unit_test(test_seal__behind_other_bytes__leaves_them),
        cmocka_unit_test(test_open__several_threads__share_a_bundle),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
