/* test_proof.c - proofs and MACs over encoded records, and what they cover (AS1, AS2). */
#include "fixture.h"

#include "avow/base/file.h"

#include <unistd.h>

#include "avow/base/banned.h"

static struct fixture *f;
static struct avow_mac_key mac_key, other_mac_key;

static int setup(void **state)
{
    (void)state;
    uint8_t key[32];
    for (size_t i = 0; i < sizeof key; i++)
        key[i] = (uint8_t)i;
    f = fx_new();
    avow_mac_key_init(&mac_key, key);
    key[31] = 0xff;
    avow_mac_key_init(&other_mac_key, key);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    fx_free(f);
    return 0;
}

/* A schema and a record made by hand: five bytes of body. */
static const struct avow_wire_schema TOY = {.name = "avow.Toy",
                                            .record = "Toy",
                                            .fingerprint = UINT64_C(0x00ab00cd12345678),
                                            .max_value = 1024,
                                            .json = "{}"};
static void toy_record(struct avow_buf *out, size_t tail)
{
    uint8_t fingerprint[8];
    avow_put_u64le(fingerprint, TOY.fingerprint);
    avow_buf_init(out, FX_BUF_MAX);
    avow_buf_put(out, "\xc3\x01", 2);
    avow_buf_put(out, fingerprint, 8);
    avow_buf_put_str(out, "hello");
    avow_buf_extend(out, tail);
}

/* PROTOCOL B2 by the letter: DSSE PAE, type with sixteen hex digits of the fingerprint as a number,
 * body without proof. */
static void test_proof_sign__toy_record__covers_exactly_the_pae(void **state)
{
    (void)state;
    static const char PAE[] = "DSSEv1 25 avow.Toy;00ab00cd12345678 5 hello";
    struct avow_err err = {0};
    uint8_t id[8];
    AVOW_CLEANUP(avow_pubkey_free) struct avow_pubkey *pub = NULL;
    FX_BUF record;
    toy_record(&record, AVOW_PROOF_LEN);
    assert_rc("sign", avow_proof_sign(&TOY, f->root_key, &record, &err), AVOW_OK, &err);
    assert_int_equal(record.len, 10 + 5 + 72);
    assert_memory_equal(record.ptr + 10, "hello", 5);
    assert_int_equal(avow_pubkey_from_spki(avow_privkey_spki(f->root_key), &pub, NULL), AVOW_OK);
    assert_true(avow_pubkey_verify_p256(pub, avow_bytes_make(PAE, sizeof PAE - 1),
                                        record.ptr + 10 + 5 + 8));
    avow_key_id(avow_privkey_spki(f->root_key), id);
    assert_memory_equal(record.ptr + 10 + 5, id, 8);
    assert_true(avow_proof_verify(&TOY, pub, avow_buf_bytes(&record)));
    uint8_t got[8];
    assert_true(avow_proof_key_id(avow_buf_bytes(&record), got));
    assert_memory_equal(got, id, 8);
}

static void test_mac_sign__toy_record__covers_exactly_the_pae(void **state)
{
    (void)state;
    static const char PAE[] = "DSSEv1 25 avow.Toy;00ab00cd12345678 5 hello";
    static const char ID_DOMAIN[] = "avow/mac-id/1";
    struct avow_err err = {0};
    struct avow_digest mac, id;
    FX_BUF record;
    toy_record(&record, AVOW_MAC_LEN);
    assert_rc("sign", avow_mac_sign(&TOY, &mac_key, &record, &err), AVOW_OK, &err);
    assert_int_equal(record.len, 10 + 5 + 40);
    const struct avow_bytes pae = avow_bytes_make(PAE, sizeof PAE - 1);
    avow_hmac(AVOW_HASH_SHA256, AVOW_BYTES_OF(mac_key.key), &pae, 1, &mac);
    assert_memory_equal(record.ptr + 10 + 5 + 8, mac.bytes, 32);
    const struct avow_bytes id_pieces[] = {avow_bytes_make(ID_DOMAIN, sizeof ID_DOMAIN - 1),
                                           AVOW_BYTES_OF(mac_key.key)};
    avow_digest_pieces(AVOW_HASH_SHA256, id_pieces, 2, &id);
    assert_memory_equal(record.ptr + 10 + 5, id.bytes, 8);
    assert_true(avow_mac_verify(&TOY, &mac_key, 1, avow_buf_bytes(&record)));
}

static void test_proof_verify__every_byte_flipped__is_false(void **state)
{
    (void)state;
    AVOW_CLEANUP(avow_pubkey_free) struct avow_pubkey *pub = NULL;
    assert_int_equal(avow_pubkey_from_spki(avow_privkey_spki(f->keys[FX_WORKER]), &pub, NULL),
                     AVOW_OK);
    FX_BUF record;
    fx_seal(&FX_KINDS[3], f->keys[FX_WORKER], &record);
    for (size_t i = 0; i < record.len; i++) {
        record.ptr[i] ^= 0x01;
        if (avow_proof_verify(&avow_wire_marker_schema, pub, avow_buf_bytes(&record)))
            fail_msg("byte %zu of %zu", i, record.len);
        record.ptr[i] ^= 0x01;
    }
    for (size_t n = 0; n < record.len; n++)
        assert_false(
            avow_proof_verify(&avow_wire_marker_schema, pub, avow_bytes_make(record.ptr, n)));
    assert_true(avow_proof_verify(&avow_wire_marker_schema, pub, avow_buf_bytes(&record)));
}

static void test_proof_sign__not_a_record_of_the_schema__is_schema_error(void **state)
{
    (void)state;
    static const char LONG[] =
        "no frame at all, but long enough for a proof of 72 bytes behind it: "
        "........................................";
    static const char *const CASES[] = {"", "\xc3\x01", LONG};
    for (size_t i = 0; i < AVOW_ARRAY_LEN(CASES); i++) {
        struct avow_err err = {0};
        FX_BUF record;
        avow_buf_init(&record, FX_BUF_MAX);
        avow_buf_put_str(&record, CASES[i]);
        assert_rc(CASES[i], avow_proof_sign(&TOY, f->root_key, &record, &err), AVOW_SCHEMA, &err);
        assert_rc(CASES[i], avow_mac_sign(&TOY, &mac_key, &record, &err), AVOW_SCHEMA, &err);
    }
    struct avow_err err = {0};
    FX_BUF record;
    toy_record(&record, AVOW_PROOF_LEN);
    assert_rc("other schema", avow_proof_sign(&avow_wire_marker_schema, f->root_key, &record, &err),
              AVOW_SCHEMA, &err);
    record.len = 10 + 71; /* no room for a proof */
    assert_rc("short", avow_proof_sign(&TOY, f->root_key, &record, &err), AVOW_SCHEMA, &err);
}

/* Two proofs of one content differ; the content's digest does not (PROTOCOL R14). */
static void test_content_sha256__signed_twice__is_equal(void **state)
{
    (void)state;
    uint8_t a[32], b[32], c[32];
    FX_BUF first, second, other;
    fx_seal(&FX_KINDS[1], f->keys[FX_ENROLL], &first);
    fx_seal(&FX_KINDS[1], f->keys[FX_ENROLL], &second);
    const struct fx_header h = {FX_FLEET, FX_AGENT, FX_PARTITION, 6};
    avow_buf_init(&other, FX_BUF_MAX);
    fx_seal_enrollment(&h, f->keys[FX_ENROLL], &other);
    assert_false(avow_bytes_eq(avow_buf_bytes(&first), avow_buf_bytes(&second)));
    avow_proof_content_sha256(avow_buf_bytes(&first), a);
    avow_proof_content_sha256(avow_buf_bytes(&second), b);
    avow_proof_content_sha256(avow_buf_bytes(&other), c);
    assert_memory_equal(a, b, 32);
    assert_memory_not_equal(a, c, 32);
    uint8_t want[32];
    avow_sha256(avow_bytes_make(first.ptr + 10, first.len - 82), want);
    assert_memory_equal(a, want, 32);
    avow_proof_content_sha256(avow_bytes_make(first.ptr, 81),
                              a); /* too short for a proof: nothing */
    avow_sha256(avow_bytes_make(NULL, 0), want);
    assert_memory_equal(a, want, 32);
}

static void seal_state(const uint8_t *fleet, const char *key, int32_t partition,
                       const struct avow_mac_key *k, struct avow_buf *out)
{
    struct avow_err err = {0};
    struct avow_state v = {.key = avow_str_from(key), .partition = partition, .seq = 9};
    memcpy(v.fleet, fleet, 16);
    avow_buf_init(out, FX_BUF_MAX);
    assert_rc("seal state", avow_seal_state(&v, k, out, &err), AVOW_OK, &err);
}

static enum avow_rc open_state(const struct avow_buf *record, const char *key, int32_t partition,
                               struct avow_err *err)
{
    const struct avow_mac_key keys[] = {mac_key};
    const struct avow_record_in in = {fx_text(key), avow_buf_bytes(record), partition};
    struct avow_state v, before;
    struct avow_arena arena;
    memset(&v, 0x5a, sizeof v);
    memset(&before, 0x5a, sizeof before);
    avow_arena_init(&arena, FX_BUF_MAX);
    enum avow_rc rc = avow_open_state(FX_FLEET, keys, 1, &in, &arena, &v, err);
    if (rc)
        assert_memory_equal(&v, &before, sizeof v);
    else
        assert_int_equal(v.seq, 9);
    avow_arena_deinit(&arena);
    return rc;
}

static void test_open_state__every_bit_flipped__never_opens(void **state)
{
    (void)state;
    struct avow_err err = {0};
    FX_BUF record;
    seal_state(FX_FLEET, FX_AGENT, FX_PARTITION, &mac_key, &record);
    for (size_t bit = 0; bit < record.len * 8; bit++) { /* AS1 */
        record.ptr[bit / 8] ^= (uint8_t)(1u << bit % 8);
        if (open_state(&record, FX_AGENT, FX_PARTITION, &err) == AVOW_OK)
            fail_msg("bit %zu", bit);
        assert_false(
            avow_mac_verify(&avow_wire_state_schema, &mac_key, 1, avow_buf_bytes(&record)));
        record.ptr[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    assert_rc("control", open_state(&record, FX_AGENT, FX_PARTITION, &err), AVOW_OK, &err);
}

/* AS2: moved to another agent, partition or fleet; by another group's key. */
static void test_open_state__moved_or_by_other_key__is_untrusted(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        const uint8_t *fleet;
        const char *key, *read_key;
        int32_t partition, read_partition;
        bool other_key;
        enum avow_rc want;
        int cause;
    } CASES[] = {
        {"control", FX_FLEET, FX_AGENT, FX_AGENT, 3, 3, false, AVOW_OK, 0},
        {"agent", FX_FLEET, FX_AGENT, "agent-2", 3, 3, false, AVOW_UNTRUSTED, AVOW_CAUSE_KEY},
        {"partition", FX_FLEET, FX_AGENT, FX_AGENT, 3, 4, false, AVOW_UNTRUSTED,
         AVOW_CAUSE_PARTITION},
        {"fleet", FX_STAGING, FX_AGENT, FX_AGENT, 3, 3, false, AVOW_UNTRUSTED, AVOW_CAUSE_FLEET},
        {"key", FX_FLEET, FX_AGENT, FX_AGENT, 3, 3, true, AVOW_UNTRUSTED, AVOW_CAUSE_SIGNATURE},
        {"no agent id", FX_FLEET, "../x", "../x", 3, 3, false, AVOW_UNTRUSTED, AVOW_CAUSE_KEY},
    };
    for (size_t i = 0; i < AVOW_ARRAY_LEN(CASES); i++) {
        struct avow_err err = {0};
        FX_BUF record;
        seal_state(CASES[i].fleet, CASES[i].key, CASES[i].partition,
                   CASES[i].other_key ? &other_mac_key : &mac_key, &record);
        enum avow_rc rc = open_state(&record, CASES[i].read_key, CASES[i].read_partition, &err);
        assert_rc(CASES[i].name, rc, CASES[i].want, &err);
        if (rc)
            assert_int_equal(err.native, CASES[i].cause);
    }
}

static void test_mac_verify__key_rotation__both_keys_are_tried_by_id(void **state)
{
    (void)state;
    const struct avow_mac_key keys[] = {other_mac_key, mac_key};
    FX_BUF record;
    seal_state(FX_FLEET, FX_AGENT, FX_PARTITION, &mac_key, &record);
    struct avow_bytes r = avow_buf_bytes(&record);
    assert_true(avow_mac_verify(&avow_wire_state_schema, keys, 2, r));
    assert_false(avow_mac_verify(&avow_wire_state_schema, keys, 1, r));
    assert_false(avow_mac_verify(&avow_wire_state_schema, keys, 0, r));
    assert_false(avow_mac_verify(&avow_wire_verdict_schema, keys, 2, r));
    for (size_t n = 0; n < r.len; n++)
        assert_false(avow_mac_verify(&avow_wire_state_schema, keys, 2, avow_bytes_make(r.ptr, n)));
    /* The id of our key on the MAC of another key. */
    FX_BUF forged;
    seal_state(FX_FLEET, FX_AGENT, FX_PARTITION, &other_mac_key, &forged);
    memcpy(forged.ptr + forged.len - 40, mac_key.id, 8);
    assert_false(avow_mac_verify(&avow_wire_state_schema, keys, 2, avow_buf_bytes(&forged)));
}

static void test_mac_key_load__files__exactly_32_random_bytes(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        size_t len;
        int fill; /* -1: the test key */
        enum avow_rc want;
    } CASES[] = {{"good", 32, -1, AVOW_OK},     {"short", 31, -1, AVOW_PARSE},
                 {"long", 33, -1, AVOW_PARSE},  {"much too long", 64, -1, AVOW_PARSE},
                 {"empty", 0, -1, AVOW_PARSE},  {"zeros", 32, 0, AVOW_PARSE},
                 {"ones", 32, 0xff, AVOW_PARSE}};
    char dir[] = "/tmp/avow-test-XXXXXX", path[64];
    assert_non_null(mkdtemp(dir));
    snprintf(path, sizeof path, "%s/mac.key", dir);
    for (size_t i = 0; i < AVOW_ARRAY_LEN(CASES); i++) {
        struct avow_err err = {0};
        struct avow_mac_key got = {{0}, {0}};
        uint8_t data[64];
        for (size_t k = 0; k < sizeof data; k++)
            data[k] = CASES[i].fill < 0 ? (uint8_t)k : (uint8_t)CASES[i].fill;
        assert_rc("write", avow_file_write(path, avow_bytes_make(data, CASES[i].len), 0600, &err),
                  AVOW_OK, &err);
        assert_rc(CASES[i].name, avow_mac_key_load(path, &got, &err), CASES[i].want, &err);
        if (CASES[i].want)
            assert_says(CASES[i].name, &err, path);
        else
            assert_memory_equal(&got, &mac_key, sizeof got);
    }
    unlink(path);
    rmdir(dir);
    struct avow_err err = {0};
    struct avow_mac_key got;
    assert_rc("absent", avow_mac_key_load(path, &got, &err), AVOW_IO, &err);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_proof_sign__toy_record__covers_exactly_the_pae),
        cmocka_unit_test(test_mac_sign__toy_record__covers_exactly_the_pae),
        cmocka_unit_test(test_proof_verify__every_byte_flipped__is_false),
        cmocka_unit_test(test_proof_sign__not_a_record_of_the_schema__is_schema_error),
        cmocka_unit_test(test_content_sha256__signed_twice__is_equal),
        cmocka_unit_test(test_open_state__every_bit_flipped__never_opens),
        cmocka_unit_test(test_open_state__moved_or_by_other_key__is_untrusted),
        cmocka_unit_test(test_mac_verify__key_rotation__both_keys_are_tried_by_id),
        cmocka_unit_test(test_mac_key_load__files__exactly_32_random_bytes),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
