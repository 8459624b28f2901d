/* test_bundle.c - the root file, the bundle, its keys and intervals, roll-back (AE7, AE11, AE12).
 */
#include "fixture.h"

#include "glob.h"

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

static const struct avow_privkey *root_key(void)
{
    return f->root_key;
}
static const struct avow_privkey *new_root(void)
{
    return f->other_root_key;
}
static const struct avow_privkey *tenant(void)
{
    return f->keys[FX_ENROLL];
}

static void nothing(struct avow_buf *r)
{
    (void)r;
}
static void frame(struct avow_buf *r)
{
    r->ptr[1] ^= 1;
}
static void fingerprint(struct avow_buf *r)
{
    r->ptr[9] ^= 1;
}
static void cut(struct avow_buf *r)
{
    r->len--;
}
static void trailing(struct avow_buf *r)
{
    avow_buf_put_u8(r, 0);
}
static void huge(struct avow_buf *r)
{
    avow_buf_extend(r, 32769 - r->len);
}
static void signature(struct avow_buf *r)
{
    r->ptr[r->len - 1] ^= 1;
}
static void version_bit(struct avow_buf *r)
{
    r->ptr[10 + 16 + 7] ^= 2; /* 7 becomes 6 */
}
static void root_id(struct avow_buf *r)
{
    avow_key_id(avow_privkey_spki(f->root_key), r->ptr + r->len - 72);
}

static void test_trust_open__each_step_broken__its_own_refusal(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        const struct avow_privkey *(*signer)(void);
        void (*damage)(struct avow_buf *);
        const char *kafka_key;
        const uint8_t *fleet;
        uint64_t min_version;
        enum avow_rc want;
        int cause;
    } CASES[] = {
        {"control", root_key, nothing, "bundle", FX_FLEET, 0, AVOW_OK, 0},
        {"control: no fleet known yet", root_key, nothing, "bundle", NULL, 0, AVOW_OK, 0},
        {"control: newer", root_key, nothing, "bundle", FX_FLEET, 6, AVOW_OK, 0},
        {"too large", root_key, huge, "bundle", FX_FLEET, 0, AVOW_LIMIT, 0},
        {"no frame", root_key, frame, "bundle", FX_FLEET, 0, AVOW_SCHEMA, 0},
        {"from the future", root_key, fingerprint, "bundle", FX_FLEET, 0, AVOW_SCHEMA, 0},
        {"cut", root_key, cut, "bundle", FX_FLEET, 0, AVOW_PARSE, 0},
        {"trailing byte", root_key, trailing, "bundle", FX_FLEET, 0, AVOW_PARSE, 0},
        {"other Kafka key", root_key, nothing, "bundle2", FX_FLEET, 0, AVOW_UNTRUSTED,
         AVOW_CAUSE_KEY},
        {"other fleet", root_key, nothing, "bundle", FX_STAGING, 0, AVOW_UNTRUSTED,
         AVOW_CAUSE_FLEET},
        {"root that is not in root.pem (AE12)", new_root, nothing, "bundle", FX_FLEET, 0,
         AVOW_UNTRUSTED, AVOW_CAUSE_UNKNOWN_KEY},
        {"tenant key", tenant, nothing, "bundle", FX_FLEET, 0, AVOW_UNTRUSTED,
         AVOW_CAUSE_UNKNOWN_KEY},
        {"another root under our id", new_root, root_id, "bundle", FX_FLEET, 0, AVOW_UNTRUSTED,
         AVOW_CAUSE_SIGNATURE},
        {"signature bit", root_key, signature, "bundle", FX_FLEET, 0, AVOW_UNTRUSTED,
         AVOW_CAUSE_SIGNATURE},
        {"content bit", root_key, version_bit, "bundle", FX_FLEET, 0, AVOW_UNTRUSTED,
         AVOW_CAUSE_SIGNATURE},
        {"known", root_key, nothing, "bundle", FX_FLEET, 7, AVOW_EXISTS, 0},
        {"rolled back (AE11)", root_key, nothing, "bundle", FX_FLEET, 8, AVOW_ROLLBACK, 0},
        {"forged and old: forged comes first", new_root, nothing, "bundle", FX_FLEET, 8,
         AVOW_UNTRUSTED, AVOW_CAUSE_UNKNOWN_KEY},
    };
    for (size_t i = 0; i < AVOW_ARRAY_LEN(CASES); i++) {
        struct avow_err err = {0};
        struct avow_trust *t = NULL;
        FX_BUF record;
        fx_seal_bundle(f, CASES[i].signer(), &record);
        CASES[i].damage(&record);
        enum avow_rc rc =
            avow_trust_open(f->root, fx_text(CASES[i].kafka_key), avow_buf_bytes(&record),
                            CASES[i].min_version, CASES[i].fleet, &t, &err);
        assert_rc(CASES[i].name, rc, CASES[i].want, &err);
        assert_true((rc == AVOW_OK) == (t != NULL));
        if (rc)
            assert_says(CASES[i].name, &err, "trust bundle: ");
        if (rc == AVOW_UNTRUSTED)
            assert_int_equal(err.native, CASES[i].cause);
        avow_trust_free(t);
    }
}

/* Nothing of the caller's buffer is kept. */
static void test_trust_open__input_freed__bundle_and_record_stay(void **state)
{
    (void)state;
    struct avow_err err = {0};
    AVOW_CLEANUP(avow_trust_free) struct avow_trust *t = NULL;
    FX_BUF copy;
    avow_buf_init(&copy, FX_BUF_MAX);
    {
        FX_BUF record;
        fx_seal_bundle(f, f->root_key, &record);
        avow_buf_put(&copy, record.ptr, record.len);
        assert_rc("open", fx_open_bundle(f, &record, 0, &t, &err), AVOW_OK, &err);
        memset(record.ptr, 0xee, record.len);
    }
    assert_true(avow_bytes_eq(avow_trust_record(t), avow_buf_bytes(&copy)));
    const struct avow_bundle *b = avow_trust_bundle(t);
    assert_int_equal(b->version, 7);
    assert_int_equal(b->keys_count, FX_KEYS);
    assert_true(avow_str_is(b->topic_prefix, "avow."));
    assert_memory_equal(b->keys[FX_WORKER].id, f->entries[FX_WORKER].id, 8);
}

static void test_trust_open__record_of_another_type__is_refused(void **state)
{
    (void)state;
    for (size_t k = 0; k < FX_KIND_COUNT; k++) {
        struct avow_err err = {0};
        struct avow_trust *t = NULL;
        FX_BUF record;
        fx_seal(&FX_KINDS[k], f->root_key, &record);
        assert_rc("as it is", fx_open_bundle(f, &record, 0, &t, &err), AVOW_SCHEMA, &err);
        avow_put_u64le(record.ptr + 2, avow_wire_bundle_schema.fingerprint);
        if (fx_open_bundle(f, &record, 0, &t, &err) == AVOW_OK)
            fail_msg("%s opens as a bundle", FX_KINDS[k].name);
    }
}

/* Each change of the bundle that root signed and that is refused all the same. */
enum mistake {
    M_NONE,
    M_VERSION_0,
    M_KEY_INSIDE,
    M_NO_PARTITIONS,
    M_MANY_PARTITIONS,
    M_PREFIX,
    M_ID,
    M_TWICE,
    M_SPKI,
    M_CURVE,
    M_TRAILING,
    M_KEX_SIGNS,
    M_SIGNER_AGREES,
    M_BOTH,
    M_COUNT
};

static void test_trust_open__root_signed_a_mistake__is_refused_and_says_which(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        enum avow_rc want;
        const char *says;
    } CASES[M_COUNT] = {
        [M_NONE] = {"control", AVOW_OK, ""},
        [M_VERSION_0] = {"version 0", AVOW_PARSE, "version 0"},
        [M_KEY_INSIDE] = {"other key inside", AVOW_UNTRUSTED, "\"bundle\""},
        [M_NO_PARTITIONS] = {"no partitions", AVOW_CONFIG, "partitions"},
        [M_MANY_PARTITIONS] = {"513 partitions", AVOW_CONFIG, "partitions"},
        [M_PREFIX] = {"prefix", AVOW_PARSE, "prefix"},
        [M_ID] = {"key id", AVOW_PARSE, "not that of its public key"},
        [M_TWICE] = {"key twice", AVOW_PARSE, "twice"},
        [M_SPKI] = {"damaged key", AVOW_PARSE, "not a point"},
        [M_CURVE] = {"P-384 key", AVOW_PARSE, "not on P-256"},
        [M_TRAILING] = {"key with a trailing byte", AVOW_PARSE, "not a DER public key"},
        [M_KEX_SIGNS] = {"agreement key that signs", AVOW_PARSE, "does not go with"},
        [M_SIGNER_AGREES] = {"signing key that agrees", AVOW_PARSE, "does not go with"},
        [M_BOTH] = {"a key for both", AVOW_PARSE, "does not go with"},
    };
    static const char P384[] = "3076301006072a8648ce3d020106052b8104002203620004"
                               "aa87ca22be8b05378eb1c71ef320ad746e1d3b628ba79b9859f741e082542a38550"
                               "2f25dbf55296c3a545e3872760ab7"
                               "3617de4a96262c6f5d9e98bf9292dc29f8f41dbd289a147ce9da3113b5f0b8c00a6"
                               "0b1ce1d7e819d7a431d7c90ea0e5f";
    for (enum mistake m = 0; m < M_COUNT; m++) {
        struct avow_err err = {0};
        struct avow_bundle saved = f->bundle;
        struct avow_bundle_key entry = f->entries[FX_OPS];
        struct avow_bundle_key *e = &f->entries[FX_OPS];
        uint8_t spki[160];
        memcpy(spki, e->spki.ptr, e->spki.len);
        switch (m) {
        case M_VERSION_0:
            f->bundle.version = 0;
            break;
        case M_KEY_INSIDE:
            f->bundle.key = AVOW_STR_LIT("bundle2");
            break;
        case M_NO_PARTITIONS:
            f->bundle.partitions = 0;
            break;
        case M_MANY_PARTITIONS:
            f->bundle.partitions = 513;
            break;
        case M_PREFIX:
            f->bundle.topic_prefix = AVOW_STR_LIT("a/b.");
            break;
        case M_ID:
            e->id[7] ^= 1;
            break;
        case M_TWICE:
            *e = f->entries[FX_WORKER];
            break;
        case M_SPKI:
            spki[e->spki.len - 1] ^= 1;
            e->spki.ptr = spki;
            break;
        case M_CURVE:
            assert_true(avow_hex_decode(spki, 120, avow_str_from(P384)));
            e->spki = avow_bytes_make(spki, 120);
            break;
        case M_TRAILING:
            spki[e->spki.len] = 0;
            e->spki = avow_bytes_make(spki, e->spki.len + 1);
            break;
        case M_KEX_SIGNS:
            e->alg = AVOW_KEY_ALG_ECDH_P256;
            break;
        case M_SIGNER_AGREES:
            f->roles[FX_OPS][0] = AVOW_ROLE_WORKER_KEX;
            break;
        case M_BOTH:
            f->roles[FX_OPS][1] = AVOW_ROLE_WORKER_KEX;
            e->roles_count = 2;
            break;
        default:
            break;
        }
        if (m == M_SPKI || m == M_CURVE || m == M_TRAILING)
            avow_key_id(e->spki, e->id);
        FX_BUF record;
        fx_seal_bundle(f, f->root_key, &record);
        AVOW_CLEANUP(avow_trust_free) struct avow_trust *t = NULL;
        assert_rc(CASES[m].name, fx_open_bundle(f, &record, 0, &t, &err), CASES[m].want, &err);
        if (CASES[m].want)
            assert_says(CASES[m].name, &err, CASES[m].says);
        f->bundle = saved;
        f->entries[FX_OPS] = entry;
        f->roles[FX_OPS][0] = AVOW_ROLE_OPS;
    }
}

static void test_check_intervals__r29_and_b6__exact_bounds(void **state)
{
    (void)state;
    /* epoch, heartbeat, silent_after, validity, refresh, min_interval */
    static const struct {
        const char *name;
        uint32_t v[6];
        enum avow_rc want;
        const char *says;
    } CASES[] = {
        {"defaults", {10000, 20000, 70000, 90000, 30000, 200}, AVOW_OK, ""},
        {"validity just enough", {10000, 20000, 70000, 62001, 20667 - 667, 200}, AVOW_OK, ""},
        {"validity not enough",
         {10000, 40000, 200000, 84000, 28000 + 2000, 200},
         AVOW_CONFIG,
         "validity_ms is 84000; it must be more than verdict_refresh + 1.1 heartbeat + epoch = "
         "84000"},
        {"validity one more", {10000, 40000, 200000, 84001, 28000, 200}, AVOW_OK, ""},
        {"silent_after at the bound",
         {10000, 20000, 64000, 90000, 30000, 200},
         AVOW_CONFIG,
         "silent_after_ms is 64000; it must be more than 2.2 heartbeat + 2 epochs = 64000"},
        {"silent_after one more", {10000, 20000, 64001, 90000, 30000, 200}, AVOW_OK, ""},
        {"odd heartbeat",
         {1000, 1001, 4203, 90000, 30000, 200},
         AVOW_OK,
         ""}, /* 2202.2 + 2000 = 4202.2 */
        {"odd heartbeat, rounded down",
         {1000, 1001, 4202, 90000, 30000, 200},
         AVOW_CONFIG,
         "silent_after_ms is 4202"},
        {"refresh above a third",
         {10000, 20000, 70000, 90000, 30001, 200},
         AVOW_CONFIG,
         "a third of validity_ms, 30000"},
        {"epoch too short",
         {999, 20000, 70000, 90000, 30000, 200},
         AVOW_CONFIG,
         "epoch_ms is 999; 1000 to 300000"},
        {"epoch too long",
         {300001, 20000, 2000000, 2000000, 30000, 200},
         AVOW_CONFIG,
         "epoch_ms is 300001"},
        {"heartbeat too short",
         {10000, 999, 70000, 90000, 30000, 200},
         AVOW_CONFIG,
         "heartbeat_ms is 999"},
        {"heartbeat too long",
         {10000, 86400001, 4000000000, 4000000000, 30000, 200},
         AVOW_CONFIG,
         "heartbeat_ms"},
        {"no refresh",
         {10000, 20000, 70000, 90000, 0, 200},
         AVOW_CONFIG,
         "verdict_refresh_ms is 0"},
        {"interval above heartbeat",
         {10000, 20000, 70000, 90000, 30000, 20001},
         AVOW_CONFIG,
         "min_interval_ms"},
        {"all largest",
         {300000, 86400000, 4294967295, 4294967295, 86400000, 86400000},
         AVOW_OK,
         ""},
        {"validity zero", {10000, 20000, 70000, 0, 30000, 200}, AVOW_CONFIG, "validity_ms is 0"},
    };
    for (size_t i = 0; i < AVOW_ARRAY_LEN(CASES); i++) {
        struct avow_err err = {0};
        struct avow_bundle b = f->bundle;
        b.epoch_ms = CASES[i].v[0];
        b.heartbeat_ms = CASES[i].v[1];
        b.silent_after_ms = CASES[i].v[2];
        b.validity_ms = CASES[i].v[3];
        b.verdict_refresh_ms = CASES[i].v[4];
        b.min_interval_ms = CASES[i].v[5];
        assert_rc(CASES[i].name, avow_trust_check_intervals(&b, &err), CASES[i].want, &err);
        if (CASES[i].want)
            assert_says(CASES[i].name, &err, CASES[i].says);
    }
    struct avow_err err = {0};
    struct avow_trust *t = NULL;
    struct avow_bundle saved = f->bundle;
    f->bundle.silent_after_ms = 64000;
    FX_BUF record;
    fx_seal_bundle(f, f->root_key, &record);
    assert_rc("bundle", fx_open_bundle(f, &record, 0, &t, &err), AVOW_CONFIG, &err);
    f->bundle = saved;
}

static void test_root_parse__one_or_two_p256_keys__nothing_else(void **state)
{
    (void)state;
    static const char CERT[] = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    static const char SECRET[] = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
    static const char P384[] = "-----BEGIN PUBLIC KEY-----\n"
                               "MHYwEAYHKoZIzj0CAQYFK4EEACIDYgAEqofKIr6LBTeOscce8yCtdG4dO2KLp5uY\n"
                               "WfdB4IJUKjhVAvJdv1UpbDpUXjhydgq3NhfeSpYmLG9dnpi/kpLcKfj0Hb0omhR8\n"
                               "6doxE7XwuMAKYLHOHX6BnXpDHXyQ6g5f\n"
                               "-----END PUBLIC KEY-----\n";
    FX_BUF a, b, c;
    avow_buf_init(&a, FX_BUF_MAX);
    avow_buf_init(&b, FX_BUF_MAX);
    avow_buf_init(&c, FX_BUF_MAX);
    fx_root_pem(f->root_key, &a);
    fx_root_pem(f->other_root_key, &b);
    fx_root_pem(f->keys[FX_WORKER], &c);
    const struct {
        const char *name, *parts[3];
        enum avow_rc want;
        const char *says;
    } CASES[] = {
        {"one", {avow_buf_cstr(&a)}, AVOW_OK, ""},
        {"comment", {"# root of production\n", avow_buf_cstr(&a)}, AVOW_OK, ""},
        {"two", {avow_buf_cstr(&a), avow_buf_cstr(&b)}, AVOW_OK, ""},
        {"three",
         {avow_buf_cstr(&a), avow_buf_cstr(&b), avow_buf_cstr(&c)},
         AVOW_PARSE,
         "more than 2"},
        {"the same twice", {avow_buf_cstr(&a), avow_buf_cstr(&a)}, AVOW_PARSE, "twice"},
        {"empty", {""}, AVOW_PARSE, "no PEM block"},
        {"garbage",
         {"-----BEGIN PUBLIC KEY-----\n????\n-----END PUBLIC KEY-----\n"},
         AVOW_PARSE,
         ""},
        {"certificate", {CERT}, AVOW_PARSE, "\"CERTIFICATE\""},
        {"key and certificate", {avow_buf_cstr(&a), CERT}, AVOW_PARSE, "\"CERTIFICATE\""},
        {"private key", {avow_buf_cstr(&a), SECRET}, AVOW_PARSE, "\"PRIVATE KEY\""},
        {"P-384", {P384}, AVOW_PARSE, "not on P-256"},
        {"P-384 second", {avow_buf_cstr(&a), P384}, AVOW_PARSE, "root key 2 is not on P-256"},
    };
    for (size_t i = 0; i < AVOW_ARRAY_LEN(CASES); i++) {
        struct avow_err err = {0};
        AVOW_CLEANUP(avow_root_free) struct avow_root *root = NULL;
        FX_BUF pem;
        avow_buf_init(&pem, FX_BUF_MAX);
        for (size_t k = 0; k < 3 && CASES[i].parts[k]; k++)
            avow_buf_put_str(&pem, CASES[i].parts[k]);
        assert_rc(CASES[i].name, avow_root_parse(avow_buf_bytes(&pem), &root, &err), CASES[i].want,
                  &err);
        assert_true((root != NULL) == (CASES[i].want == AVOW_OK));
        if (CASES[i].want)
            assert_says(CASES[i].name, &err, CASES[i].says);
    }
    struct avow_err err = {0};
    struct avow_root *root = NULL;
    assert_rc("absent", avow_root_load("/nonexistent/root.pem", &root, &err), AVOW_IO, &err);
}

/* Root rotation: with both keys in the file a bundle by either opens. */
static void test_trust_open__two_roots__either_signs(void **state)
{
    (void)state;
    struct avow_err err = {0};
    FX_BUF pem;
    avow_buf_init(&pem, FX_BUF_MAX);
    fx_root_pem(f->root_key, &pem);
    fx_root_pem(f->other_root_key, &pem);
    struct avow_root *saved = f->root;
    AVOW_CLEANUP(avow_root_free) struct avow_root *both = NULL;
    assert_rc("root", avow_root_parse(avow_buf_bytes(&pem), &both, &err), AVOW_OK, &err);
    f->root = both;
    const struct avow_privkey *signers[] = {f->root_key, f->other_root_key, f->keys[FX_WORKER]};
    for (size_t i = 0; i < 3; i++) {
        AVOW_CLEANUP(avow_trust_free) struct avow_trust *t = NULL;
        FX_BUF record;
        fx_seal_bundle(f, signers[i], &record);
        assert_rc("open", fx_open_bundle(f, &record, 0, &t, &err), i < 2 ? AVOW_OK : AVOW_UNTRUSTED,
                  &err);
    }
    f->root = saved;
}

static void test_check_header__fleet_and_key__both_compared(void **state)
{
    (void)state;
    struct avow_err err = {0};
    struct avow_str key = AVOW_STR_LIT("agent-1");
    assert_rc("same", avow_trust_check_header(f->trust, FX_FLEET, key, fx_text("agent-1"), &err),
              AVOW_OK, &err);
    assert_rc("fleet", avow_trust_check_header(f->trust, FX_STAGING, key, fx_text("agent-1"), &err),
              AVOW_UNTRUSTED, &err);
    assert_rc("key", avow_trust_check_header(f->trust, FX_FLEET, key, fx_text("agent-10"), &err),
              AVOW_UNTRUSTED, &err);
    assert_rc("null",
              avow_trust_check_header(f->trust, FX_FLEET, key, avow_bytes_make(NULL, 0), &err),
              AVOW_UNTRUSTED, &err);
}

static void test_glob__patterns__whole_name(void **state)
{
    (void)state;
    static const struct {
        const char *pattern, *name;
        bool want;
    } CASES[] = {
        {"", "", true},          {"", "a", false},           {"*", "", true},
        {"*", "anything", true}, {"abc", "abc", true},       {"abc", "abcd", false},
        {"abc", "ab", false},    {"a*", "a", true},          {"a*", "abc", true},
        {"a*", "ba", false},     {"*c", "abc", true},        {"*c", "abcd", false},
        {"a*c", "ac", true},     {"a*c", "abcbc", true},     {"a*c", "abcb", false},
        {"a**c", "axc", true},   {"*ab*ab*", "abab", true},  {"*ab*ab*", "aab", false},
        {"?", "a", false},       {"[a]", "a", false},        {"a.c", "abc", false},
        {"A*", "abc", false},    {"*a*b*c", "xaxbxc", true}, {"*a*b*c", "xaxbx", false},
    };
    for (size_t i = 0; i < AVOW_ARRAY_LEN(CASES); i++)
        if (avow_glob_matches(avow_str_from(CASES[i].pattern), avow_str_from(CASES[i].name)) !=
            CASES[i].want)
            fail_msg("pattern \"%s\" and name \"%s\"", CASES[i].pattern, CASES[i].name);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_trust_open__each_step_broken__its_own_refusal),
        cmocka_unit_test(test_trust_open__input_freed__bundle_and_record_stay),
        cmocka_unit_test(test_trust_open__record_of_another_type__is_refused),
        cmocka_unit_test(test_trust_open__root_signed_a_mistake__is_refused_and_says_which),
        cmocka_unit_test(test_check_intervals__r29_and_b6__exact_bounds),
        cmocka_unit_test(test_root_parse__one_or_two_p256_keys__nothing_else),
        cmocka_unit_test(test_trust_open__two_roots__either_signs),
        cmocka_unit_test(test_check_header__fleet_and_key__both_compared),
        cmocka_unit_test(test_glob__patterns__whole_name),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
