/* agent/tpm against swtpm: EK, certificate, AKs, quotes (checked by tpm2_checkquote too),
 * activation (against our own MakeCredential), and a TPM that was left full or was rebooted. */
#include "rig_swtpm.h"

#include "avow/crypto/ak.h"
#include "avow/crypto/x509.h"
#include "avow/formats/quote.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "avow/base/banned.h"

static struct swtpm_rig rig;

static struct avow_tpm *open_tpm(bool hold)
{
    struct avow_tpm *t = NULL;
    const struct avow_tpm_opts o = {.tcti = rig.tcti, .hold = hold};
    assert_int_equal(avow_tpm_new(&o, &t, NULL), AVOW_OK);
    assert_int_equal(avow_tpm_open(t, NULL), AVOW_OK);
    return t;
}

static void close_tpm(struct avow_tpm *t)
{
    avow_tpm_close(t);
    avow_tpm_free(t);
    assert_int_equal(swtpm_rig_sh(&rig, "test -z \"$(tpm2_getcap handles-transient)\" && "
                                        "test -z \"$(tpm2_getcap handles-loaded-session)\" && "
                                        "test -z \"$(tpm2_getcap handles-saved-session)\""),
                     0);
}

static void put_ek(struct avow_buf *out)
{
    struct avow_tpm *t = open_tpm(false);
    avow_buf_init(out, 1024);
    assert_int_equal(avow_tpm_ek_public(t, out, NULL), AVOW_OK);
    close_tpm(t);
}

static void test_ek__persistent_or_made__is_the_same_key(void **state)
{
    (void)state;
    struct avow_buf persistent, made;
    put_ek(&persistent);
    assert_int_equal(
        swtpm_rig_sh(
            &rig, "tpm2_evictcontrol -C p -c 0x81010001 || tpm2_evictcontrol -C o -c 0x81010001"),
        0);
    put_ek(&made);
    assert_true(avow_bytes_eq(avow_buf_bytes(&persistent), avow_buf_bytes(&made)));
    struct avow_ek *ek = NULL;
    char id[65];
    assert_int_equal(avow_ek_parse(avow_buf_bytes(&made), &ek, NULL), AVOW_OK);
    assert_int_equal(avow_ek_hash_id(ek, id, NULL), AVOW_OK);
    /* by other tools: SHA-256 of the PEM text */
    char command[256];
    snprintf(command, sizeof command,
             "tpm2_createek -c ek.ctx -G rsa -u ek.pem -f pem && tpm2_flushcontext -t && "
             "test \"$(sha256sum <ek.pem | cut -d' ' -f1)\" = %s",
             id);
    assert_int_equal(swtpm_rig_sh(&rig, command), 0);
    avow_ek_free(ek);
    avow_buf_deinit(&persistent);
    avow_buf_deinit(&made);
}

static void test_ek_certificate__is_of_this_ek(void **state)
{
    (void)state;
    struct avow_tpm *t = open_tpm(false);
    struct avow_tpm_certs certs;
    avow_tpm_certs_init(&certs);
    assert_int_equal(avow_tpm_ek_certs(t, &certs, NULL), AVOW_OK);
    assert_int_equal(certs.count, 1);
    struct avow_buf pub;
    avow_buf_init(&pub, 1024);
    assert_int_equal(avow_tpm_ek_public(t, &pub, NULL), AVOW_OK);
    struct avow_ek *ek = NULL;
    struct avow_cert *cert = NULL;
    struct avow_pubkey *key = NULL;
    assert_int_equal(avow_ek_parse(avow_buf_bytes(&pub), &ek, NULL), AVOW_OK);
    assert_int_equal(avow_cert_from_der(avow_buf_bytes(&certs.der[0]), &cert, NULL), AVOW_OK);
    assert_int_equal(avow_cert_pubkey(cert, &key, NULL), AVOW_OK);
    assert_true(avow_pubkey_eq(key, avow_ek_key(ek)));
    avow_pubkey_free(key);
    avow_cert_free(cert);
    avow_ek_free(ek);
    avow_buf_deinit(&pub);
    avow_tpm_certs_deinit(&certs);
    close_tpm(t);
}

static void assert_quote(struct avow_tpm *t, enum avow_hash bank, const char *bank_name)
{
    struct avow_buf attest, sig, pem;
    uint8_t qualifying[32];
    char command[256];
    memset(qualifying, 0xA5, sizeof qualifying);
    avow_buf_init(&attest, AVOW_ATTEST_MAX);
    avow_buf_init(&sig, AVOW_SIGNATURE_MAX);
    avow_buf_init(&pem, 4096);
    assert_int_equal(avow_tpm_quote(t, bank, qualifying, &attest, &sig, NULL), AVOW_OK);
    struct avow_quote q;
    struct avow_tpm_signature s;
    struct avow_ak *ak = NULL;
    assert_int_equal(avow_quote_parse(avow_buf_bytes(&attest), &q, NULL), AVOW_OK);
    assert_int_equal(q.magic, AVOW_TPM_GENERATED);
    assert_true(avow_bytes_eq(q.extra_data, AVOW_BYTES_OF(qualifying)));
    assert_int_equal(q.selections_count, 1);
    assert_int_equal(q.selections[0].hash, bank);
    assert_int_equal(q.selections[0].pcrs, 0xFFFFFF);
    assert_int_equal(avow_tpm_signature_parse(avow_buf_bytes(&sig), &s, NULL), AVOW_OK);
    assert_int_equal(avow_ak_parse(avow_tpm_ak_public(t), &ak, NULL), AVOW_OK);
    const struct avow_sig given = {(enum avow_sig_scheme)s.scheme, (enum avow_hash)s.hash, s.rsa,
                                   s.r, s.s};
    assert_true(avow_pubkey_verify_tpm(avow_ak_key(ak), &given, avow_buf_bytes(&attest)));
    attest.ptr[attest.len - 1] ^= 1;
    assert_false(avow_pubkey_verify_tpm(avow_ak_key(ak), &given, avow_buf_bytes(&attest)));
    attest.ptr[attest.len - 1] ^= 1;
    assert_int_equal(avow_pubkey_pem(avow_ak_key(ak), &pem, NULL), AVOW_OK);
    swtpm_rig_write(&rig, "quote.attest", avow_buf_bytes(&attest));
    swtpm_rig_write(&rig, "quote.sig", avow_buf_bytes(&sig));
    swtpm_rig_write(&rig, "ak.pem", avow_buf_bytes(&pem));
    swtpm_rig_write(&rig, "quote.raw", s.rsa);
    avow_tpm_close(t);               /* the tools need the TPM */
    if (s.scheme == AVOW_SIG_RSAPSS) /* tpm2_checkquote 5.4 does not know it */
        snprintf(command, sizeof command,
                 "openssl dgst -sha256 -sigopt rsa_padding_mode:pss -sigopt rsa_pss_saltlen:auto "
                 "-verify ak.pem -signature quote.raw quote.attest");
    else
        snprintf(
            command, sizeof command,
            "tpm2_pcrread %s:all -F serialized -o pcrs.bin && tpm2_checkquote -u ak.pem "
            "-m quote.attest -s quote.sig -f pcrs.bin -g sha256 -q $(printf 'a5%%.0s' $(seq 32))",
            bank_name);
    assert_int_equal(swtpm_rig_sh(&rig, command), 0);
    avow_ak_free(ak);
    avow_buf_deinit(&attest);
    avow_buf_deinit(&sig);
    avow_buf_deinit(&pem);
}

static void test_ak__each_algorithm__is_restricted_and_quotes(void **state)
{
    (void)state;
    static const struct {
        enum avow_tpm_ak_alg alg;
        enum avow_sig_scheme scheme;
        enum avow_hash bank;
        const char *bank_name;
    } cases[] = {{AVOW_TPM_AK_RSASSA, AVOW_SIG_RSASSA, AVOW_HASH_SHA256, "sha256"},
                 {AVOW_TPM_AK_RSAPSS, AVOW_SIG_RSAPSS, AVOW_HASH_SHA1, "sha1"},
                 {AVOW_TPM_AK_ECDSA, AVOW_SIG_ECDSA, AVOW_HASH_SHA384, "sha384"}};
    for (size_t i = 0; i < AVOW_ARRAY_LEN(cases); i++) {
        struct avow_buf blob;
        struct avow_ak *ak = NULL;
        avow_buf_init(&blob, 4096);
        struct avow_tpm *t = open_tpm(false);
        assert_int_equal(avow_tpm_ak_create(t, cases[i].alg, &blob, NULL), AVOW_OK);
        assert_int_equal(avow_tpm_ak_load(t, cases[i].alg, avow_buf_bytes(&blob), NULL), AVOW_OK);
        assert_int_equal(avow_ak_parse(avow_tpm_ak_public(t), &ak, NULL), AVOW_OK);
        assert_int_equal(avow_ak_scheme(ak), cases[i].scheme);
        assert_int_equal(avow_ak_hash(ak), AVOW_HASH_SHA256);
        avow_ak_free(ak);
        assert_quote(t, cases[i].bank, cases[i].bank_name);
        assert_int_equal(avow_tpm_open(t, NULL), AVOW_OK);
        struct avow_err err = {.rc = AVOW_OK};
        enum avow_tpm_ak_alg other = i ? AVOW_TPM_AK_RSASSA : AVOW_TPM_AK_ECDSA;
        assert_int_equal(avow_tpm_ak_load(t, other, avow_buf_bytes(&blob), &err), AVOW_CONFIG);
        assert_int_equal(err.native, 0);
        close_tpm(t);
        avow_buf_deinit(&blob);
    }
}

/* A TPM with an AK of RSASSA loaded; the blob is returned. */
static struct avow_tpm *with_ak(bool hold, struct avow_buf *blob)
{
    struct avow_tpm *t = open_tpm(hold);
    avow_buf_init(blob, 4096);
    assert_int_equal(avow_tpm_ak_create(t, AVOW_TPM_AK_RSASSA, blob, NULL), AVOW_OK);
    assert_int_equal(avow_tpm_ak_load(t, AVOW_TPM_AK_RSASSA, avow_buf_bytes(blob), NULL), AVOW_OK);
    return t;
}

static enum avow_rc quote(struct avow_tpm *t, struct avow_err *err)
{
    static const uint8_t qualifying[32];
    struct avow_buf attest, sig;
    avow_buf_init(&attest, AVOW_ATTEST_MAX);
    avow_buf_init(&sig, AVOW_SIGNATURE_MAX);
    enum avow_rc rc = avow_tpm_open(t, err);
    if (!rc)
        rc = avow_tpm_quote(t, AVOW_HASH_SHA256, qualifying, &attest, &sig, err);
    avow_tpm_close(t);
    avow_buf_deinit(&attest);
    avow_buf_deinit(&sig);
    return rc;
}

static void test_ak_blob__damaged_or_foreign__is_refused(void **state)
{
    (void)state;
    struct avow_buf blob;
    struct avow_tpm *t = with_ak(false, &blob);
    struct avow_err err = {.rc = AVOW_OK};
    for (size_t i = 0; i < blob.len; i += 40) { /* truncation */
        assert_int_equal(
            avow_tpm_ak_load(t, AVOW_TPM_AK_RSASSA, avow_bytes_make(blob.ptr, i), &err),
            AVOW_PARSE);
    }
    blob.ptr[blob.len - 1] ^= 1; /* the private area's last byte: its integrity fails in the TPM */
    assert_int_equal(avow_tpm_ak_load(t, AVOW_TPM_AK_RSASSA, avow_buf_bytes(&blob), &err),
                     AVOW_REFUSED);
    assert_int_not_equal(err.native, 0);
    assert_int_equal(avow_tpm_open(t, NULL), AVOW_OK);
    assert_int_equal(quote(t, &err), AVOW_STATE); /* nothing is loaded now */
    blob.ptr[blob.len - 1] ^= 1;
    assert_int_equal(avow_tpm_open(t, NULL), AVOW_OK);
    assert_int_equal(avow_tpm_ak_load(t, AVOW_TPM_AK_RSASSA, avow_buf_bytes(&blob), &err), AVOW_OK);
    assert_int_equal(quote(t, &err), AVOW_OK);
    close_tpm(t);
    avow_buf_deinit(&blob);
}

static void test_activate__opens_what_make_credential_closed(void **state)
{
    (void)state;
    struct avow_buf blob, ek_public, id, enc, secret;
    struct avow_tpm *t = with_ak(false, &blob);
    struct avow_err err = {.rc = AVOW_OK};
    avow_buf_init(&ek_public, 1024);
    avow_buf_init(&id, 1024);
    avow_buf_init(&enc, 1024);
    avow_buf_init(&secret, 64);
    assert_int_equal(avow_tpm_ek_public(t, &ek_public, NULL), AVOW_OK);
    struct avow_ek *ek = NULL;
    struct avow_tpm_name name;
    assert_int_equal(avow_ek_parse(avow_buf_bytes(&ek_public), &ek, NULL), AVOW_OK);
    assert_int_equal(avow_tpm_name_of(avow_tpm_ak_public(t), &name, NULL), AVOW_OK);
    const struct avow_credential_ek cred = avow_ek_credential(ek);
    static const uint8_t want[32] = "the challenge of a registrar...";
    assert_int_equal(avow_credential_make(&cred, avow_tpm_name_bytes(&name), AVOW_BYTES_OF(want),
                                          &id, &enc, NULL),
                     AVOW_OK);
    assert_int_equal(avow_tpm_activate(t, avow_buf_bytes(&id), avow_buf_bytes(&enc), &secret, &err),
                     AVOW_OK);
    assert_true(avow_bytes_eq(avow_buf_bytes(&secret), AVOW_BYTES_OF(want)));
    static const struct {
        const char *what;
        bool in_id;
        int at; /* from the end if negative */
    } flips[] = {{"HMAC", true, 4}, {"ciphertext", true, -1}, {"seed", false, -1}};
    for (size_t i = 0; i < AVOW_ARRAY_LEN(flips); i++) {
        struct avow_buf *b = flips[i].in_id ? &id : &enc;
        uint8_t *p = b->ptr + (flips[i].at < 0 ? (int)b->len + flips[i].at : flips[i].at);
        *p ^= 1;
        assert_int_equal(avow_tpm_open(t, NULL), AVOW_OK);
        enum avow_rc rc =
            avow_tpm_activate(t, avow_buf_bytes(&id), avow_buf_bytes(&enc), &secret, &err);
        /* libtpms answers TPM_RC_FAILURE where OpenSSL refuses the padding; real TPMs TPM_RC_VALUE
         */
        if (rc != AVOW_REFUSED && (flips[i].in_id || rc != AVOW_TPM))
            fail_msg("%s: %s", flips[i].what, err.msg);
        *p ^= 1;
    }
    name.bytes[5] ^= 1; /* for another AK */
    avow_buf_reset(&id);
    avow_buf_reset(&enc);
    assert_int_equal(avow_credential_make(&cred, avow_tpm_name_bytes(&name), AVOW_BYTES_OF(want),
                                          &id, &enc, NULL),
                     AVOW_OK);
    assert_int_equal(avow_tpm_open(t, NULL), AVOW_OK);
    assert_int_equal(avow_tpm_activate(t, avow_buf_bytes(&id), avow_buf_bytes(&enc), &secret, &err),
                     AVOW_REFUSED);
    assert_int_equal(avow_tpm_open(t, NULL), AVOW_OK);
    assert_int_equal(avow_tpm_activate(t, avow_bytes_make(id.ptr, id.len - 1), avow_buf_bytes(&enc),
                                       &secret, &err),
                     AVOW_PARSE);
    avow_ek_free(ek);
    avow_buf_deinit(&blob);
    avow_buf_deinit(&ek_public);
    avow_buf_deinit(&id);
    avow_buf_deinit(&enc);
    avow_buf_deinit(&secret);
    close_tpm(t);
}

static void test_full_tpm__leftovers_are_flushed(void **state)
{
    (void)state;
    struct avow_buf blob;
    struct avow_tpm *t = with_ak(false, &blob);
    struct avow_err err = {.rc = AVOW_OK};
    avow_tpm_close(t);
    /* What killed processes leave: objects until there is no room. */
    static const char fill[] = "while tpm2_createprimary -C o -c x.ctx -G ecc; do :; done; "
                               "test \"$(tpm2_getcap handles-transient | wc -l)\" -ge 3";
    assert_int_equal(swtpm_rig_sh(&rig, fill), 0);
    assert_int_equal(quote(t, &err), AVOW_OK);
    assert_int_equal(swtpm_rig_sh(&rig, fill), 0);
    assert_int_equal(avow_tpm_open(t, NULL), AVOW_OK);
    assert_int_equal(avow_tpm_ak_load(t, AVOW_TPM_AK_RSASSA, avow_buf_bytes(&blob), &err), AVOW_OK);
    close_tpm(t);
    avow_buf_deinit(&blob);
}

static void test_reboot__next_round_works_with_the_same_ak(void **state)
{
    (void)state;
    for (int hold = 0; hold < 2; hold++) {
        struct avow_buf blob;
        struct avow_tpm *t = with_ak(hold, &blob);
        struct avow_err err = {.rc = AVOW_OK};
        avow_tpm_close(t);
        swtpm_rig_reboot(&rig);
        if (hold) /* the held connection is gone: that round fails, and says so */
            assert_int_equal(quote(t, &err), AVOW_TPM);
        assert_int_equal(quote(t, &err), AVOW_OK);
        avow_tpm_free(t);
        avow_buf_deinit(&blob);
    }
}

static void test_no_tpm__is_a_tpm_error_with_the_tcti(void **state)
{
    (void)state;
    struct avow_tpm *t = NULL;
    struct avow_err err = {.rc = AVOW_OK};
    const struct avow_tpm_opts o = {.tcti = "swtpm:path=/nonexistent/tpm.sock"};
    assert_int_equal(avow_tpm_new(&o, &t, NULL), AVOW_OK);
    assert_int_equal(avow_tpm_open(t, &err), AVOW_TPM);
    assert_non_null(strstr(err.msg, "/nonexistent/tpm.sock"));
    avow_tpm_close(t);
    avow_tpm_free(t);
}

static void test_pcr_read__equals_what_tpm2_tools_read(void **state)
{
    (void)state;
    struct avow_tpm *t = open_tpm(false);
    struct avow_tpm_banks banks;
    struct avow_tpm_pcrs pcrs;
    enum avow_hash best;
    assert_int_equal(avow_tpm_banks_read(t, &banks, NULL), AVOW_OK);
    assert_int_equal(banks.count, 3);
    assert_true(avow_tpm_bank_best(&banks, &best));
    assert_int_equal(best, AVOW_HASH_SHA256);
    assert_false(avow_tpm_bank_is_active(&banks, AVOW_HASH_SHA512));
    assert_int_equal(avow_tpm_pcr_read(t, AVOW_HASH_SHA512, &pcrs, NULL), AVOW_NOTFOUND);
    struct avow_tpm_extend x = {.bank = AVOW_HASH_SHA384};
    avow_digest(AVOW_HASH_SHA384, avow_bytes_make("x", 1), &x.digest);
    for (uint32_t i = 0; i < 16; i++)
        assert_int_equal(avow_tpm_pcr_extend(t, i, &x, i % 2, NULL), AVOW_OK);
    assert_int_equal(avow_tpm_pcr_read(t, AVOW_HASH_SHA384, &pcrs, NULL), AVOW_OK);
    close_tpm(t);
    struct avow_buf flat;
    avow_buf_init(&flat, 24 * 48);
    for (size_t i = 0; i < 24; i++)
        avow_buf_put(&flat, pcrs.values[i], 48);
    swtpm_rig_write(&rig, "ours.bin", avow_buf_bytes(&flat));
    assert_int_equal(
        swtpm_rig_sh(&rig,
                     "tpm2_pcrread sha384:all -F values -o theirs.bin && cmp ours.bin theirs.bin"),
        0);
    avow_buf_deinit(&flat);
}

static int group_start(void **state)
{
    (void)state;
    return swtpm_rig_start(&rig);
}

static int group_stop(void **state)
{
    (void)state;
    swtpm_rig_stop(&rig);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ek__persistent_or_made__is_the_same_key),
        cmocka_unit_test(test_ek_certificate__is_of_this_ek),
        cmocka_unit_test(test_ak__each_algorithm__is_restricted_and_quotes),
        cmocka_unit_test(test_ak_blob__damaged_or_foreign__is_refused),
        cmocka_unit_test(test_activate__opens_what_make_credential_closed),
        cmocka_unit_test(test_full_tpm__leftovers_are_flushed),
        cmocka_unit_test(test_reboot__next_round_works_with_the_same_ak),
        cmocka_unit_test(test_no_tpm__is_a_tpm_error_with_the_tcti),
        cmocka_unit_test(test_pcr_read__equals_what_tpm2_tools_read),
    };
    return cmocka_run_group_tests(tests, group_start, group_stop);
}
