/* test_ima_content.c - signatures of files, keys and other buffers that entries carry. The
 * signatures are of evmctl, over SHA-256 of 100 zero bytes: tests/vectors/ima/keys. */
#include "rig.h"

#include "avow/base/file.h"
#include "avow/base/hex.h"
#include "avow/crypto/key.h"
#include "avow/formats/ima_list.h"

#include <stdio.h>

#include "avow/base/banned.h"

static struct rig r;
static struct avow_ima_keys *keys;
static uint8_t signed_digest[32];
static struct avow_buf rsa_pem, ec_pem, rsa_v2, ec_v2, ec_v3;

static void read_vector(const char *name, struct avow_buf *out)
{
    struct avow_err err = {0};
    char path[512];
    (void)snprintf(path, sizeof path, "%s/ima/%s", AVOW_TEST_VECTORS, name);
    avow_buf_init(out, 128u * 1024u);
    if (avow_file_read(path, out, &err))
        fail_msg("%s", err.msg);
}

static int load_vectors(void **state)
{
    (void)state;
    static const uint8_t zeros[100];
    avow_sha256(AVOW_BYTES_OF(zeros), signed_digest);
    read_vector("keys/evmctl_rsa.pub.pem", &rsa_pem);
    read_vector("keys/evmctl_p384.pub.pem", &ec_pem);
    read_vector("keys/evmctl_rsa.v2", &rsa_v2);
    read_vector("keys/evmctl_p384.v2", &ec_v2);
    read_vector("keys/evmctl_p384.v3", &ec_v3);
    return 0;
}

static int free_vectors(void **state)
{
    (void)state;
    struct avow_buf *const all[] = {&rsa_pem, &ec_pem, &rsa_v2, &ec_v2, &ec_v3};
    for (size_t i = 0; i < AVOW_ARRAY_LEN(all); i++)
        avow_buf_deinit(all[i]);
    return 0;
}

static int setup(void **state)
{
    (void)state;
    rig_init(&r, RIG_P256);
    rig_policy(&r, "{\"digests\":{\"/bin/sh\":[\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\"]}}");
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    rig_deinit(&r);
    avow_ima_keys_free(keys);
    keys = NULL;
    r.keys = NULL;
    return 0;
}

static void enrol_keys(const struct avow_buf *text)
{
    struct avow_err err = {0};
    if (avow_ima_keys_load(avow_buf_bytes(text), &keys, &err))
        fail_msg("%s", err.msg);
    r.keys = keys;
    r.e.has_verify_keys = true;
}

static void put_le(struct avow_buf *b, size_t n)
{
    uint8_t le[4];
    avow_put_u32le(le, (uint32_t)n);
    avow_buf_put(b, le, sizeof le);
}

static void put_digest(struct avow_buf *b, const char *prefix, struct avow_bytes digest)
{
    put_le(b, strlen(prefix) + 1 + digest.len);
    avow_buf_put(b, prefix, strlen(prefix) + 1);
    avow_buf_put(b, digest.ptr, digest.len);
}

/* An entry with a third field. */
static void measure(const char *template, const char *prefix, struct avow_bytes digest,
                    const char *name, struct avow_bytes third)
{
    struct avow_buf b;
    avow_buf_init(&b, 1024);
    put_digest(&b, prefix, digest);
    put_le(&b, strlen(name) + 1);
    avow_buf_put(&b, name, strlen(name) + 1);
    put_le(&b, third.len);
    avow_buf_put(&b, third.ptr, third.len);
    assert_int_equal(avow_buf_status(&b, NULL), AVOW_OK);
    struct rig_entry e = rig_entry_raw(10, template, avow_buf_bytes(&b));
    rig_list(&r, &e);
    rig_extend(&r, &e);
    avow_buf_deinit(&b);
}

static void run_signed(const char *path, const struct avow_buf *signature)
{
    measure("ima-sig", "sha256:", AVOW_BYTES_OF(signed_digest), path, avow_buf_bytes(signature));
}

static void measure_buffer(const char *name, struct avow_bytes buffer)
{
    uint8_t digest[32];
    avow_sha256(buffer, digest);
    measure("ima-buf", "sha256:", AVOW_BYTES_OF(digest), name, buffer);
}

/* A policy that lists the buffer in `list` ("keyrings", "ima-buf") under `name`. */
static void allow_buffer(const char *list, const char *name, struct avow_bytes buffer,
                         const char *more)
{
    uint8_t digest[32];
    char hex[65], text[512];
    avow_sha256(buffer, digest);
    avow_hex_encode(hex, AVOW_BYTES_OF(digest));
    (void)snprintf(text, sizeof text,
                   "{\"digests\":{\"/bin/sh\":[\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\"]},"
                   "\"%s\":{\"%s\":[\"%s\"]}%s}",
                   list, name, hex, more);
    rig_policy(&r, text);
}

static void expect_trusted(void)
{
    RIG_EXPECT_NO_FINDINGS(&r);
    rig_expect_status(&r, AVOW_STATUS_TRUSTED);
    rig_expect_as_of(&r, r.epoch);
}

static void test_signature__of_an_enrolled_key__needs_no_digest(void **state)
{
    (void)state;
    enrol_keys(&ec_pem);
    run_signed("/bin/signed", &ec_v2);
    rig_attest(&r);
    expect_trusted();
}

static void test_signature__of_no_key__is_no_excuse(void **state)
{
    (void)state;
    run_signed("/bin/signed", &ec_v2);
    rig_attest(&r);
    rig_expect_findings(&r, "ima.digest_unknown", NULL);
    teardown(NULL);
    setup(NULL);
    enrol_keys(&rsa_pem); /* of another key */
    run_signed("/bin/signed", &ec_v2);
    rig_attest(&r);
    rig_expect_findings(&r, "ima.digest_unknown", NULL);
}

static void test_signature__over_another_digest__is_a_finding(void **state)
{
    (void)state;
    uint8_t other[32] = {1};
    enrol_keys(&ec_pem);
    measure("ima-sig", "sha256:", AVOW_BYTES_OF(other), "/bin/signed", avow_buf_bytes(&ec_v2));
    rig_attest(&r);
    rig_expect_findings(&r, "ima.signature_invalid", "ima.digest_unknown", NULL);
}

static void test_signature__of_verification_keys_of_the_policy__counts(void **state)
{
    (void)state;
    struct avow_buf text;
    struct avow_pubkey *k = NULL;
    assert_int_equal(avow_pubkey_from_pem(avow_buf_bytes(&rsa_pem), &k, NULL), AVOW_OK);
    avow_buf_init(&text, 8192);
    avow_buf_put_str(&text, "{\"digests\":{},\"verification-keys\":\"{\\\"pubkeys\\\":[\\\"");
    avow_buf_put_base64(&text, avow_pubkey_spki(k));
    avow_buf_put_str(&text, "\\\"]}\"}");
    rig_policy(&r, avow_buf_cstr(&text));
    run_signed("/bin/signed", &rsa_v2);
    rig_attest(&r);
    expect_trusted();
    avow_pubkey_free(k);
    avow_buf_deinit(&text);
}

/* Keylime lets a good digest excuse a bad signature. Here that is a choice with a name. */
static void test_AP25__bad_signature_and_good_digest__by_flag(void **state)
{
    (void)state;
    for (int strict = 0; strict < 2; strict++) {
        char text[256], hex[65];
        teardown(NULL);
        setup(NULL);
        avow_hex_encode(hex, AVOW_BYTES_OF(signed_digest));
        (void)snprintf(text, sizeof text, "{\"digests\":{\"/bin/signed\":[\"%s\"]}}", hex);
        rig_policy(&r, text);
        enrol_keys(&ec_pem);
        r.e.flags.check_signatures = strict;
        struct avow_buf bad;
        avow_buf_init(&bad, 1024);
        avow_buf_put(&bad, ec_v2.ptr, ec_v2.len);
        bad.ptr[bad.len - 1] ^= 1;
        run_signed("/bin/signed", &bad);
        rig_attest(&r);
        if (strict)
            rig_expect_findings(&r, "ima.signature_invalid", NULL);
        else
            expect_trusted();
        avow_buf_deinit(&bad);
    }
}

static void test_check_signatures__key_that_nobody_knows__is_a_finding(void **state)
{
    (void)state;
    char text[256], hex[65];
    avow_hex_encode(hex, AVOW_BYTES_OF(signed_digest));
    (void)snprintf(text, sizeof text, "{\"digests\":{\"/bin/signed\":[\"%s\"]}}", hex);
    rig_policy(&r, text);
    r.e.flags.check_signatures = true;
    run_signed("/bin/signed", &ec_v2);
    rig_attest(&r);
    rig_expect_findings(&r, "ima.signature_key_unknown", NULL);
}

static void test_signature__fs_verity__only_version_3_over_a_verity_digest(void **state)
{
    (void)state;
    static const struct {
        const char *template, *prefix;
        bool v3, good;
    } cases[] = {
        {"ima-sigv2", "verity:sha256:", true, true},
        {"ima-sigv2", "verity:sha256:", false, false},
        {"ima-sigv2", "ima:sha256:", true, false},
        {"ima-sigv2", "ima:sha256:", false, true},
        {"ima-sigv2", "other:sha256:", false, false},
        {"ima-sig", "sha256:", true, false},
        {"d-ngv2|n-ng|sig", "verity:sha256:", true, true},
    };
    for (size_t i = 0; i < AVOW_ARRAY_LEN(cases); i++) {
        teardown(NULL);
        setup(NULL);
        enrol_keys(&ec_pem);
        measure(cases[i].template, cases[i].prefix, AVOW_BYTES_OF(signed_digest), "/bin/signed",
                avow_buf_bytes(cases[i].v3 ? &ec_v3 : &ec_v2));
        rig_attest(&r);
        print_message("case %zu\n", i);
        if (cases[i].good)
            expect_trusted();
        else
            rig_expect_findings(&r, "ima.signature_invalid", "ima.digest_unknown", NULL);
    }
}

/* Without a policy of digests, keys demand that each file is signed. */
static void test_keys_alone__unsigned_file__is_a_finding(void **state)
{
    (void)state;
    avow_runtime_policy_free(r.policy);
    r.policy = NULL;
    r.e.has_runtime_policy = false;
    enrol_keys(&ec_pem);
    run_signed("/bin/signed", &ec_v2);
    rig_attest(&r);
    expect_trusted();
    rig_tick(&r);
    rig_run(&r, "/bin/unsigned");
    rig_attest(&r);
    rig_expect_findings(&r, "ima.signature_missing", NULL);
}

/* --- Keys that the list teaches --- */

static void test_learned__listed_key__counts_in_this_and_later_evidence(void **state)
{
    (void)state;
    allow_buffer("keyrings", ".ima", avow_buf_bytes(&ec_pem), "");
    measure_buffer(".ima", avow_buf_bytes(&ec_pem));
    run_signed("/bin/one", &ec_v2);
    rig_attest(&r);
    expect_trusted();
    assert_int_equal(r.state.learned_count, 1);
    assert_true(avow_str_is(r.state.learned[0].keyring, ".ima"));
    assert_int_equal(r.state.learned[0].key_id, 0x009a2122);
    assert_int_equal(r.state.ima.keys_count, 1);
    assert_int_equal(r.state.ima.keys[0].entry, 1);
    rig_tick(&r);
    run_signed("/bin/two", &ec_v2); /* Keylime's push mode has forgotten the key by now */
    rig_attest(&r);
    expect_trusted();
    rig_boot(&r);
    run_signed("/bin/three", &ec_v2); /* nobody has loaded the key in this boot */
    rig_attest(&r);
    rig_expect_findings(&r, "ima.digest_unknown", NULL);
}

static void test_learned__key_behind_the_file__comes_too_late(void **state)
{
    (void)state;
    allow_buffer("keyrings", ".ima", avow_buf_bytes(&ec_pem), "");
    run_signed("/bin/one", &ec_v2);
    measure_buffer(".ima", avow_buf_bytes(&ec_pem));
    rig_attest(&r);
    rig_expect_findings(&r, "ima.digest_unknown", NULL);
}

static void test_learned__key_not_listed__is_a_finding_and_no_key(void **state)
{
    (void)state;
    allow_buffer("keyrings", ".other", avow_buf_bytes(&ec_pem), "");
    measure_buffer(".ima", avow_buf_bytes(&ec_pem));
    run_signed("/bin/one", &ec_v2);
    rig_attest(&r);
    rig_expect_findings(&r, "ima.key_unknown", "ima.digest_unknown", NULL);
    assert_int_equal(r.state.learned_count, 0);
}

static void test_learned__ignored_keyring__neither_judged_nor_learned(void **state)
{
    (void)state;
    static const char *const ignored[] = {"*", ".ima"};
    for (size_t i = 0; i < AVOW_ARRAY_LEN(ignored); i++) {
        char more[64];
        teardown(NULL);
        setup(NULL);
        (void)snprintf(more, sizeof more, ",\"ima\":{\"ignored_keyrings\":[\"%s\"]}", ignored[i]);
        allow_buffer("keyrings", ".ima", avow_buf_bytes(&ec_pem), more);
        measure_buffer(".ima", avow_buf_bytes(&ec_pem));
        rig_attest(&r);
        expect_trusted();
        assert_int_equal(r.state.learned_count, 0);
        rig_tick(&r);
        measure_buffer("kernel_version", AVOW_BYTES_OF(signed_digest)); /* no key */
        rig_attest(&r);
        rig_expect_findings(&r, "ima.buffer_unknown", NULL);
    }
}

/* What the policy lists is a digest, what is learned are bytes. */
static void test_learned__digest_of_another_buffer__is_a_finding_and_no_key(void **state)
{
    (void)state;
    uint8_t digest[32];
    avow_sha256(avow_buf_bytes(&rsa_pem), digest);
    allow_buffer("keyrings", ".ima", avow_buf_bytes(&rsa_pem), "");
    measure("ima-buf", "sha256:", AVOW_BYTES_OF(digest), ".ima", avow_buf_bytes(&ec_pem));
    run_signed("/bin/one", &ec_v2);
    rig_attest(&r);
    rig_expect_findings(&r, "ima.buffer_digest", "ima.digest_unknown", NULL);
    assert_int_equal(r.state.learned_count, 0);
}

/* The quote covers the list up to the key: what is signed by it is no finding, and proves nothing
 * before the key is proven. */
static void test_AP7__key_in_the_unproven_tail__proves_nothing(void **state)
{
    (void)state;
    allow_buffer("keyrings", ".ima", avow_buf_bytes(&ec_pem), "");
    struct rig_shot *s = rig_take(&r); /* boot_aggregate is quoted, */
    measure_buffer(".ima", avow_buf_bytes(&ec_pem));
    run_signed("/bin/one", &ec_v2);
    s->log[s->log_count++] = r.log[1]; /* and the list is ahead of the quote */
    s->log[s->log_count++] = r.log[2];
    s->has_pcr10 = true;
    memset(s->pcr10, 0, sizeof s->pcr10);
    struct avow_digest first;
    struct avow_rd rd = avow_rd_make(avow_bytes_make(r.log[0].bytes, r.log[0].len));
    struct avow_bytes data = {NULL, 0};
    (void)avow_rd_take(&rd, 24);
    data = avow_rd_take(&rd, avow_rd_u32le(&rd));
    data = avow_rd_take(&rd, avow_rd_u32le(&rd));
    avow_digest(AVOW_HASH_SHA256, data, &first);
    const struct avow_bytes pieces[] = {avow_bytes_make(s->pcr10, 32), avow_digest_bytes(&first)};
    struct avow_digest value;
    avow_digest_pieces(AVOW_HASH_SHA256, pieces, 2, &value);
    memcpy(s->pcr10, value.bytes, 32);
    rig_seal(&r, s);
    rig_expect_accepted(&r, s);
    RIG_EXPECT_NO_FINDINGS(&r);
    assert_int_equal(r.state.ima.proven_count, 1);
    assert_int_equal(r.state.ima.claimed_count, 3);
    assert_int_equal(r.state.ima.keys[0].entry, 1); /* not below proven_count: not proven */
    r.next = r.log_count;
    rig_tick(&r);
    rig_attest(&r); /* now it is */
    expect_trusted();
    assert_int_equal(r.state.ima.proven_count, 3);
}

/* A key that was made up, in a tail that the TPM never saw: the next quote refutes it. */
static void test_AP7__forged_key_in_the_tail__ima_pcr_mismatch(void **state)
{
    (void)state;
    allow_buffer("keyrings", ".ima", avow_buf_bytes(&ec_pem), "");
    rig_attest(&r);
    rig_tick(&r);
    struct rig kept = r;
    measure_buffer(".ima", avow_buf_bytes(&ec_pem));
    run_signed("/bin/one", &ec_v2);
    struct rig_entry forged[2] = {r.log[1], r.log[2]};
    memcpy(r.pcr, kept.pcr, sizeof r.pcr); /* none of it happened */
    struct rig_shot *s = rig_take(&r);
    s->log[0] = forged[0];
    s->log[1] = forged[1];
    s->log_count = 2;
    rig_seal(&r, s);
    rig_expect_accepted(&r, s);
    assert_int_equal(r.state.ima.proven_count, 1); /* as before */
    r.next = r.log_count;
    rig_tick(&r);
    rig_run(&r, "/bin/real");
    rig_attest(&r);
    rig_tick(&r);
    rig_attest(&r);
    rig_expect_status(&r, AVOW_STATUS_UNTRUSTED);
}

#define KEY_AT 1u /* boot_aggregate, the key, and two files that it signed */
#define TAIL_END 4u

/* values[n]: PCR 10 after n entries. With `forged` the list tells of a key that nobody loaded. */
static void make_tail(bool forged, uint8_t values[TAIL_END + 1][64])
{
    uint8_t *pcr10 = r.pcr[r.bank][10];
    memcpy(values[1], pcr10, 64);
    measure_buffer(".ima", avow_buf_bytes(&ec_pem));
    if (forged)
        memcpy(pcr10, values[1], 64);
    memcpy(values[2], pcr10, 64);
    run_signed("/bin/one", &ec_v2);
    memcpy(values[3], pcr10, 64);
    run_signed("/bin/two", &ec_v2);
    memcpy(values[4], pcr10, 64);
}

/* The whole list, and a quote of its first `cut` entries. */
static void judge_cut(size_t cut, uint8_t values[TAIL_END + 1][64])
{
    struct rig_shot *s = rig_take(&r);
    s->has_pcr10 = true;
    memcpy(s->pcr10, values[cut], 64);
    rig_seal(&r, s);
    rig_expect_accepted(&r, s);
    r.next = r.log_count;
    rig_tick(&r);
}

static void start_tail(bool forged, uint8_t values[TAIL_END + 1][64])
{
    teardown(NULL);
    setup(NULL);
    allow_buffer("keyrings", ".ima", avow_buf_bytes(&ec_pem), "");
    make_tail(forged, values);
}

/* Wherever the quote falls, it proves what is before it, and the key and the files behind the key
 * only together. */
static void test_AP7__every_cut_of_a_genuine_list__is_proven_up_to_there(void **state)
{
    (void)state;
    uint8_t values[TAIL_END + 1][64];
    for (size_t cut = 1; cut <= TAIL_END; cut++) {
        start_tail(false, values);
        judge_cut(cut, values);
        RIG_EXPECT_NO_FINDINGS(&r);
        rig_expect_status(&r, AVOW_STATUS_TRUSTED);
        assert_int_equal(r.state.ima.proven_count, cut);
        assert_int_equal(r.transition.verdict.boot.ima_entries, cut);
        rig_attest(&r);
        expect_trusted();
        assert_int_equal(r.state.ima.proven_count, TAIL_END);
    }
}

/* Nothing behind a key that was made up is ever proven, and the host is found out. */
static void test_AP7__every_cut_of_a_list_with_a_forged_key__is_refuted(void **state)
{
    (void)state;
    uint8_t values[TAIL_END + 1][64];
    for (size_t cut = 1; cut <= TAIL_END; cut++) {
        start_tail(true, values);
        judge_cut(cut, values);
        assert_true(!r.state.has_ima || r.state.ima.proven_count <= KEY_AT);
        uint64_t as_of = r.state.as_of.epoch; /* of what is before the key, or none */
        for (unsigned round = 0; round < 2; round++) {
            rig_attest(&r); /* the value that the TPM really has */
            rig_expect_as_of(&r, as_of);
            assert_true(!r.state.has_ima || r.state.ima.proven_count <= KEY_AT);
            rig_tick(&r);
        }
        rig_expect_status(&r, AVOW_STATUS_UNTRUSTED);
        assert_true(avow_str_is(r.state.findings[0].id, "ima.pcr_mismatch"));
    }
}

/* Or it tells the truth after all, from the beginning: there the key is not. */
static void test_AP7__forged_key_then_the_true_list__files_are_judged_without_it(void **state)
{
    (void)state;
    uint8_t values[TAIL_END + 1][64];
    start_tail(true, values);
    judge_cut(KEY_AT, values);
    rig_expect_status(&r, AVOW_STATUS_TRUSTED); /* of the entries before the key */
    r.next = 0;
    struct rig_shot *s = rig_take(&r);
    for (size_t i = KEY_AT; i + 1 < s->log_count; i++)
        s->log[i] = s->log[i + 1];
    s->log_count--;
    rig_seal(&r, s);
    rig_expect_accepted(&r, s);
    rig_expect_findings(&r, "ima.digest_unknown", "ima.digest_unknown", NULL);
    rig_expect_status(&r, AVOW_STATUS_UNTRUSTED);
}

static void test_learned__over_several_parts__counts_in_later_parts(void **state)
{
    (void)state;
    allow_buffer("keyrings", ".ima", avow_buf_bytes(&ec_pem), "");
    measure_buffer(".ima", avow_buf_bytes(&ec_pem));
    for (int i = 0; i < 4; i++)
        run_signed("/bin/one", &ec_v2);
    struct rig_shot *s = rig_take(&r);
    rig_cut(s, 3);
    rig_seal(&r, s);
    rig_deliver(&r, s);
    expect_trusted();
    assert_int_equal(r.state.ima.keys_count, 1);
}

static void test_learned__more_than_are_kept__is_a_finding(void **state)
{
    (void)state;
    enum { COUNT = 13 };
    struct avow_buf text, all[COUNT];
    avow_buf_init(&text, 8192);
    avow_buf_put_str(&text, "{\"digests\":{},\"keyrings\":{\".ima\":[");
    for (size_t i = 0; i < COUNT; i++) {
        struct avow_privkey *k = NULL;
        uint8_t digest[32];
        assert_int_equal(avow_privkey_generate(&k, NULL), AVOW_OK);
        avow_buf_init(&all[i], 256);
        avow_buf_put(&all[i], avow_privkey_spki(k).ptr, avow_privkey_spki(k).len);
        avow_privkey_free(k);
        avow_sha256(avow_buf_bytes(&all[i]), digest);
        avow_buf_put_str(&text, i ? ",\"" : "\"");
        avow_buf_put_hex(&text, AVOW_BYTES_OF(digest));
        avow_buf_put_str(&text, "\"");
    }
    avow_buf_put_str(&text, "]}}");
    rig_policy(&r, avow_buf_cstr(&text));
    for (size_t i = 0; i < 12; i++)
        measure_buffer(".ima", avow_buf_bytes(&all[i]));
    measure_buffer(".ima", avow_buf_bytes(&all[3])); /* again: nothing new */
    rig_attest(&r);
    expect_trusted();
    assert_int_equal(r.state.learned_count, 12);
    rig_tick(&r);
    measure_buffer(".ima", avow_buf_bytes(&all[12]));
    rig_attest(&r);
    rig_expect_findings(&r, "ima.keyring_full", NULL);
    assert_int_equal(r.state.ima.keys_count, 12);
    rig_boot(&r); /* its slots are free */
    measure_buffer(".ima", avow_buf_bytes(&all[12]));
    rig_attest(&r);
    expect_trusted();
    assert_int_equal(r.state.learned_count, 12);
    for (size_t i = 0; i < COUNT; i++)
        avow_buf_deinit(&all[i]);
    avow_buf_deinit(&text);
}

/* --- Other buffers --- */

static void test_buffer__listed_or_not__by_its_digest(void **state)
{
    (void)state;
    static const char version[] = "6.1.0-56-cloud-amd64", other[] = "6.1.0-57-cloud-amd64";
    struct avow_bytes good = avow_bytes_make(version, sizeof version - 1);
    allow_buffer("ima-buf", "kernel_version", good, "");
    measure_buffer("kernel_version", good);
    rig_attest(&r);
    expect_trusted();
    rig_tick(&r);
    measure_buffer("kernel_version", avow_bytes_make(other, sizeof other - 1));
    measure_buffer("selinux-state", good);
    rig_attest(&r);
    rig_expect_findings(&r, "ima.buffer_unknown", "ima.buffer_unknown", NULL);
}

static void test_buffer__kexec_events__as_the_enrolment_allows_kexec(void **state)
{
    (void)state;
    for (int allowed = 0; allowed < 2; allowed++) {
        teardown(NULL);
        setup(NULL);
        r.e.flags.allow_kexec = allowed;
        measure_buffer("kexec_load", avow_bytes_make("kexec_segment_size=4096;", 24));
        rig_attest(&r);
        if (allowed)
            expect_trusted();
        else
            rig_expect_findings(&r, "ima.buffer_unknown", NULL);
        rig_tick(&r);
        measure_buffer("kexec-cmdline", avow_bytes_make("quiet", 5)); /* always judged */
        rig_attest(&r);
        assert_true(r.state.findings_count > 0);
    }
}

#define DM()                                                                                       \
    ",\"ima\":{\"dm_policy\":{\"version\":1,\"match_on\":\"name\",\"rules\":{\"root\":{"           \
    "\"required\":true,\"device_resume_required\":true,\"device_rename\":{\"valid_name\":null,"    \
    "\"valid_uuid\":null},\"device_remove\":{\"allow_removal\":false},\"allow_clear\":false,"      \
    "\"table_load\":{\"allow_multiple_loads\":false,\"name\":\"root\",\"uuid\":null,"              \
    "\"major\":null,\"minor\":null,\"minor_count\":null,\"num_targets\":1,\"targets\":["           \
    "{\"target_name\":\"verity\"}]}}}}}"

static void test_device_mapper__state_goes_on_with_the_next_evidence(void **state)
{
    (void)state;
    static const char load[] =
        "dm_version=4.45.0;name=root,uuid=,major=253,minor=0,minor_count=1,num_targets=1;"
        "target_index=0,target_begin=0,target_len=8,target_name=verity,target_version=1.8.0;";
    char text[1024], hex[65], resume[256];
    uint8_t hash[32];
    (void)snprintf(text, sizeof text, "{\"digests\":{}%s}", DM());
    rig_policy(&r, text);
    rig_attest(&r);
    rig_expect_findings(&r, "ima.dm_required", NULL);
    rig_tick(&r);
    measure_buffer("dm_table_load", avow_bytes_make(load, sizeof load - 1));
    rig_attest(&r);
    rig_expect_findings(&r, "ima.dm_not_resumed", "ima.dm_required", NULL);
    avow_sha256(avow_bytes_make(load, sizeof load - 1), hash);
    avow_hex_encode(hex, AVOW_BYTES_OF(hash));
    (void)snprintf(resume, sizeof resume,
                   "dm_version=4.45.0;name=root,uuid=,major=253,minor=0,minor_count=1,"
                   "num_targets=1;active_table_hash=sha256:%s;current_device_capacity=8;",
                   hex);
    rig_tick(&r);
    measure_buffer("dm_device_resume", avow_bytes_make(resume, strlen(resume)));
    rig_attest(&r);
    expect_trusted();
    rig_tick(&r);
    measure_buffer("dm_device_remove",
                   avow_bytes_make("dm_version=4.45.0;name=root,uuid=;device_remove=no_data;"
                                   "remove_all=n;current_device_capacity=8;",
                                   95));
    rig_attest(&r);
    rig_expect_findings(&r, "ima.dm_removed", NULL);
}

/* --- Lists of real kernels, each under a policy that was made from it --- */

struct made {
    struct avow_buf text;
    bool first;
};

/* Entries that belong into one section: files without signature, keys, or other buffers. */
enum section { FILES, KEYS, BUFFERS };

static bool belongs(const struct avow_ima_file *f, enum section section)
{
    if (f->violation || avow_str_is(f->path, "boot_aggregate"))
        return false;
    if (!f->has_buffer)
        return section == FILES && !f->signature.len;
    return section == (f->buffer.ptr[0] == 0x30 ? KEYS : BUFFERS);
}

/* Every digest of one name; false if an entry before `from` has it. */
static bool put_digests(struct made *m, struct avow_bytes list, enum section section,
                        const struct avow_ima_file *of, const uint8_t *from)
{
    struct avow_rd rd = avow_rd_make(list);
    struct avow_ima_entry e;
    struct avow_ima_file f;
    while (avow_ima_entry_next(&rd, &e) == AVOW_IMA_ENTRY) {
        assert_int_equal(avow_ima_file_parse(&e, &f, NULL), AVOW_OK);
        if (!belongs(&f, section) || !avow_str_eq(f.path, of->path))
            continue;
        if (e.raw.ptr < from)
            return false;
        if (e.raw.ptr == from) {
            avow_buf_put_str(&m->text, m->first ? "\"" : "],\"");
            avow_buf_put(&m->text, f.path.ptr, f.path.len);
            avow_buf_put_str(&m->text, "\":[\"");
        } else {
            avow_buf_put_str(&m->text, ",\"");
        }
        avow_buf_put_hex(&m->text, f.digest);
        avow_buf_put_str(&m->text, "\"");
    }
    m->first = false;
    return true;
}

static void put_section(struct made *m, struct avow_bytes list, enum section section)
{
    struct avow_rd rd = avow_rd_make(list);
    struct avow_ima_entry e;
    struct avow_ima_file f;
    m->first = true;
    while (avow_ima_entry_next(&rd, &e) == AVOW_IMA_ENTRY) {
        assert_int_equal(avow_ima_file_parse(&e, &f, NULL), AVOW_OK);
        if (belongs(&f, section))
            (void)put_digests(m, list, section, &f, e.raw.ptr);
    }
    avow_buf_put_str(&m->text, m->first ? "}" : "]}");
}

static void appraise_capture(const char *name)
{
    struct avow_buf list, values;
    char file[64];
    struct made m = {.first = true};
    (void)snprintf(file, sizeof file, "%s.ima", name);
    read_vector(file, &list);
    (void)snprintf(file, sizeof file, "%s.sha256.pcrs", name);
    read_vector(file, &values);
    for (size_t i = 0; i < 24; i++)
        memcpy(r.pcr[AVOW_HASH_ALG_SHA256][i], values.ptr + 32 * i, 32);
    avow_buf_init(&m.text, 1u << 20);
    avow_buf_put_str(&m.text, "{\"digests\":{");
    put_section(&m, avow_buf_bytes(&list), FILES);
    avow_buf_put_str(&m.text, ",\"keyrings\":{");
    put_section(&m, avow_buf_bytes(&list), KEYS);
    avow_buf_put_str(&m.text, ",\"ima-buf\":{");
    put_section(&m, avow_buf_bytes(&list), BUFFERS);
    avow_buf_put_str(&m.text, "}");
    rig_policy(&r, avow_buf_cstr(&m.text));
    r.log_count = 0;
    r.send_pcrs = true;
    r.e.flags.allow_violations = true;
    struct rig_shot *s = rig_take(&r);
    s->raw_list = avow_buf_bytes(&list);
    struct avow_rd rd = avow_rd_make(s->raw_list);
    struct avow_ima_entry e;
    while (avow_ima_entry_next(&rd, &e) == AVOW_IMA_ENTRY)
        s->raw_count++;
    rig_seal(&r, s);
    rig_expect_accepted(&r, s);
    avow_buf_deinit(&list);
    avow_buf_deinit(&values);
    avow_buf_deinit(&m.text);
}

/* Each file was measured before it was signed, so the policy has the digests of most. evmctl and an
 * independent check call sig_bad and sig_stale2 bad, and sig_unknown's key is not enrolled. */
static void test_capture__signed_files__by_their_signatures(void **state)
{
    (void)state;
    for (int strict = 0; strict < 2; strict++) {
        struct avow_buf both, rsa, ec;
        teardown(NULL);
        setup(NULL);
        read_vector("keys/ima_rsa.pub.pem", &rsa);
        read_vector("keys/ima_ec.pub.pem", &ec);
        avow_buf_init(&both, 8192);
        avow_buf_put(&both, rsa.ptr, rsa.len);
        avow_buf_put(&both, ec.ptr, ec.len);
        enrol_keys(&both);
        avow_buf_deinit(&both);
        avow_buf_deinit(&rsa);
        avow_buf_deinit(&ec);
        r.e.flags.check_signatures = strict;
        appraise_capture("m5-c1");
        if (strict)
            rig_expect_findings(&r, "ima.signature_invalid", "ima.signature_invalid",
                                "ima.digest_unknown", "ima.signature_key_unknown", NULL);
        else
            rig_expect_findings(&r, "ima.signature_invalid", "ima.digest_unknown", NULL);
    }
}

static void test_capture__keys_and_critical_data__by_their_digests(void **state)
{
    (void)state;
    appraise_capture("m6-c3");
    expect_trusted();
    assert_int_equal(r.state.learned_count, 3);
    assert_true(avow_str_is(r.state.learned[0].keyring, ".builtin_trusted_keys"));
    assert_int_equal(r.state.ima.keys_count, 3);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_signature__of_an_enrolled_key__needs_no_digest),
        TEST(test_signature__of_no_key__is_no_excuse),
        TEST(test_signature__over_another_digest__is_a_finding),
        TEST(test_signature__of_verification_keys_of_the_policy__counts),
        TEST(test_AP25__bad_signature_and_good_digest__by_flag),
        TEST(test_check_signatures__key_that_nobody_knows__is_a_finding),
        TEST(test_signature__fs_verity__only_version_3_over_a_verity_digest),
        TEST(test_keys_alone__unsigned_file__is_a_finding),
        TEST(test_learned__listed_key__counts_in_this_and_later_evidence),
        TEST(test_learned__key_behind_the_file__comes_too_late),
        TEST(test_learned__key_not_listed__is_a_finding_and_no_key),
        TEST(test_learned__ignored_keyring__neither_judged_nor_learned),
        TEST(test_learned__digest_of_another_buffer__is_a_finding_and_no_key),
        TEST(test_AP7__key_in_the_unproven_tail__proves_nothing),
        TEST(test_AP7__forged_key_in_the_tail__ima_pcr_mismatch),
        TEST(test_AP7__every_cut_of_a_genuine_list__is_proven_up_to_there),
        TEST(test_AP7__every_cut_of_a_list_with_a_forged_key__is_refuted),
        TEST(test_AP7__forged_key_then_the_true_list__files_are_judged_without_it),
        TEST(test_learned__over_several_parts__counts_in_later_parts),
        TEST(test_learned__more_than_are_kept__is_a_finding),
        TEST(test_buffer__listed_or_not__by_its_digest),
        TEST(test_buffer__kexec_events__as_the_enrolment_allows_kexec),
        TEST(test_device_mapper__state_goes_on_with_the_next_evidence),
        TEST(test_capture__signed_files__by_their_signatures),
        TEST(test_capture__keys_and_critical_data__by_their_digests),
    };
    return cmocka_run_group_tests(tests, load_vectors, free_vectors);
}
