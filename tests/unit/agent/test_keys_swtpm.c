/* Every EK template with every kind of AK on a software TPM: made, loaded, quoting, activated; and
 * what the agent does with vendors' templates, foreign objects, other configurations and refusals.
 */
#include "rig_swtpm.h"

#include "avow/crypto/ak.h"
#include "avow/formats/quote.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "avow/base/banned.h"

static struct swtpm_rig rig;

static struct avow_tpm *open_with(enum avow_tpm_ek ek)
{
    struct avow_tpm *t = NULL;
    const struct avow_tpm_opts o = {.tcti = rig.tcti, .ek = ek};
    assert_int_equal(avow_tpm_new(&o, &t, NULL), AVOW_OK);
    assert_int_equal(avow_tpm_open(t, NULL), AVOW_OK);
    return t;
}

/* Nothing may be left in a TPM that others use too. */
static void close_tpm(struct avow_tpm *t)
{
    avow_tpm_close(t);
    avow_tpm_free(t);
    assert_int_equal(swtpm_rig_sh(&rig, "test -z \"$(tpm2_getcap handles-transient)\" && "
                                        "test -z \"$(tpm2_getcap handles-loaded-session)\" && "
                                        "test -z \"$(tpm2_getcap handles-saved-session)\""),
                     0);
}

static struct avow_ek *ek_of(struct avow_tpm *t)
{
    struct avow_buf pub;
    struct avow_ek *ek = NULL;
    struct avow_err err = {.rc = AVOW_OK};
    avow_buf_init(&pub, 1024);
    if (avow_tpm_ek_public(t, &pub, &err) || avow_ek_parse(avow_buf_bytes(&pub), &ek, &err))
        fail_msg("%s: %s", avow_tpm_ek_name(avow_tpm_ek(t)), err.msg);
    avow_buf_deinit(&pub);
    return ek;
}

static void assert_name_is(struct avow_tpm *t, const char *file)
{
    struct avow_ek *ek = ek_of(t);
    swtpm_rig_write(&rig, "ours.name", avow_tpm_name_bytes(avow_ek_name(ek)));
    avow_ek_free(ek);
    char command[128];
    snprintf(command, sizeof command, "cmp ours.name %s", file);
    avow_tpm_close(t);
    assert_int_equal(swtpm_rig_sh(&rig, command), 0);
    assert_int_equal(avow_tpm_open(t, NULL), AVOW_OK);
}

static void make_ak(struct avow_tpm *t, enum avow_tpm_ak_alg alg, struct avow_buf *blob)
{
    struct avow_err err = {.rc = AVOW_OK};
    avow_buf_init(blob, 4096);
    if (avow_tpm_ak_create(t, alg, blob, &err) ||
        avow_tpm_ak_load(t, alg, avow_buf_bytes(blob), &err))
        fail_msg("%s, %s: %s", avow_tpm_ek_name(avow_tpm_ek(t)), avow_tpm_ak_alg_name(alg),
                 err.msg);
}

static void assert_quotes(struct avow_tpm *t, const struct avow_ak *ak)
{
    static const uint8_t qualifying[32] = {7};
    struct avow_buf attest, signature;
    struct avow_tpm_signature s;
    avow_buf_init(&attest, AVOW_ATTEST_MAX);
    avow_buf_init(&signature, AVOW_SIGNATURE_MAX);
    assert_int_equal(avow_tpm_quote(t, AVOW_HASH_SHA256, qualifying, &attest, &signature, NULL),
                     AVOW_OK);
    assert_int_equal(avow_tpm_signature_parse(avow_buf_bytes(&signature), &s, NULL), AVOW_OK);
    assert_int_equal(s.scheme, avow_ak_scheme(ak));
    assert_int_equal(s.hash, avow_ak_hash(ak));
    const struct avow_sig given = {(enum avow_sig_scheme)s.scheme, (enum avow_hash)s.hash, s.rsa,
                                   s.r, s.s};
    assert_true(avow_pubkey_verify_tpm(avow_ak_key(ak), &given, avow_buf_bytes(&attest)));
    avow_buf_deinit(&attest);
    avow_buf_deinit(&signature);
}

/* A credential by our own MakeCredential, which the registrar uses, opens in the TPM. */
static void assert_activates(struct avow_tpm *t, const struct avow_ek *ek, const struct avow_ak *ak)
{
    static const uint8_t want[32] = "the challenge of a registrar...";
    struct avow_buf id, enc, secret;
    struct avow_err err = {.rc = AVOW_OK};
    const struct avow_credential_ek cred = avow_ek_credential(ek);
    avow_buf_init(&id, 1024);
    avow_buf_init(&enc, 1024);
    avow_buf_init(&secret, 64);
    assert_int_equal(avow_credential_make(&cred, avow_tpm_name_bytes(avow_ak_name(ak)),
                                          AVOW_BYTES_OF(want), &id, &enc, NULL),
                     AVOW_OK);
    if (avow_tpm_activate(t, avow_buf_bytes(&id), avow_buf_bytes(&enc), &secret, &err))
        fail_msg("%s: %s", avow_tpm_ek_name(avow_tpm_ek(t)), err.msg);
    assert_true(avow_bytes_eq(avow_buf_bytes(&secret), AVOW_BYTES_OF(want)));
    avow_buf_deinit(&id);
    avow_buf_deinit(&enc);
    avow_buf_deinit(&secret);
}

static const struct {
    enum avow_tpm_ak_alg alg;
    enum avow_sig_scheme scheme;
    enum avow_hash hash;
    enum avow_key_kind kind;
} aks[] = {
    {AVOW_TPM_AK_RSASSA, AVOW_SIG_RSASSA, AVOW_HASH_SHA256, AVOW_KEY_RSA},
    {AVOW_TPM_AK_RSAPSS, AVOW_SIG_RSAPSS, AVOW_HASH_SHA256, AVOW_KEY_RSA},
    {AVOW_TPM_AK_ECDSA, AVOW_SIG_ECDSA, AVOW_HASH_SHA256, AVOW_KEY_EC_P256},
    {AVOW_TPM_AK_ECDSA_P384, AVOW_SIG_ECDSA, AVOW_HASH_SHA384, AVOW_KEY_EC_P384},
};

static void test_each_ek_with_each_ak__quotes_and_is_activated(void **state)
{
    (void)state;
    static const struct {
        enum avow_tpm_ek ek;
        enum avow_key_kind kind;
        unsigned bits;
    } eks[] = {
        {AVOW_TPM_EK_L1, AVOW_KEY_RSA, 2048},    {AVOW_TPM_EK_L2, AVOW_KEY_EC_P256, 256},
        {AVOW_TPM_EK_H1, AVOW_KEY_RSA, 2048},    {AVOW_TPM_EK_H2, AVOW_KEY_EC_P256, 256},
        {AVOW_TPM_EK_H3, AVOW_KEY_EC_P384, 384}, {AVOW_TPM_EK_H4, AVOW_KEY_EC_P521, 521},
        {AVOW_TPM_EK_H6, AVOW_KEY_RSA, 3072},
    };
    for (size_t i = 0; i < AVOW_ARRAY_LEN(eks); i++) {
        struct avow_tpm *t = open_with(eks[i].ek);
        struct avow_ek *ek = ek_of(t);
        assert_int_equal(avow_tpm_ek(t), eks[i].ek);
        assert_int_equal(avow_pubkey_kind(avow_ek_key(ek)), eks[i].kind);
        assert_int_equal(avow_pubkey_bits(avow_ek_key(ek)), eks[i].bits);
        for (size_t k = 0; k < AVOW_ARRAY_LEN(aks); k++) {
            struct avow_buf blob;
            struct avow_ak *ak = NULL;
            make_ak(t, aks[k].alg, &blob);
            assert_int_equal(avow_ak_parse(avow_tpm_ak_public(t), &ak, NULL), AVOW_OK);
            assert_int_equal(avow_ak_scheme(ak), aks[k].scheme);
            assert_int_equal(avow_ak_hash(ak), aks[k].hash);
            assert_int_equal(avow_pubkey_kind(avow_ak_key(ak)), aks[k].kind);
            assert_quotes(t, ak);
            assert_activates(t, ek, ak);
            avow_ak_free(ak);
            avow_buf_deinit(&blob);
        }
        avow_ek_free(ek);
        close_tpm(t);
    }
}

static void test_ek_that_the_tpm_cannot_make__is_a_configuration_error(void **state)
{
    (void)state;
    struct avow_tpm *t = open_with(AVOW_TPM_EK_H7); /* libtpms has no RSA 4096 */
    struct avow_buf pub;
    struct avow_err err = {.rc = AVOW_OK};
    avow_buf_init(&pub, 1024);
    assert_int_equal(avow_tpm_ek_public(t, &pub, &err), AVOW_CONFIG);
    assert_non_null(strstr(err.msg, "tpm.ek"));
    assert_non_null(strstr(err.msg, "H-7"));
    close_tpm(t);
    avow_buf_deinit(&pub);
}

static void test_auto__takes_the_first_certificate(void **state)
{
    (void)state;
    static const char hide[] = "tpm2_nvread 0x1c00002 -C o -o l1.der && tpm2_nvundefine 0x1c00002 "
                               "-C p && tpm2_evictcontrol -C p -c 0x81010001";
    static const char back[] =
        "tpm2_nvdefine 0x1c00002 -C p -s $(stat -c %s l1.der) "
        "-a 'ppwrite|writedefine|ppread|ownerread|authread|no_da|platformcreate' && "
        "tpm2_nvwrite 0x1c00002 -C p -i l1.der";
    struct avow_tpm *t = open_with(AVOW_TPM_EK_AUTO);
    assert_int_equal(avow_tpm_ek(t), AVOW_TPM_EK_AUTO);
    avow_ek_free(ek_of(t));
    assert_int_equal(avow_tpm_ek(t), AVOW_TPM_EK_L1);
    close_tpm(t);
    assert_int_equal(swtpm_rig_sh(&rig, hide), 0); /* H-3's is still there */
    t = open_with(AVOW_TPM_EK_AUTO);
    struct avow_tpm_certs certs;
    avow_tpm_certs_init(&certs);
    assert_int_equal(avow_tpm_ek_certs(t, &certs, NULL), AVOW_OK);
    assert_int_equal(certs.count, 1);
    assert_int_equal(avow_tpm_ek(t), AVOW_TPM_EK_H3);
    avow_tpm_certs_deinit(&certs);
    close_tpm(t);
    assert_int_equal(swtpm_rig_sh(&rig, "tpm2_nvread 0x1c00016 -C o -o h3.der && "
                                        "tpm2_nvundefine 0x1c00016 -C p"),
                     0);
    t = open_with(AVOW_TPM_EK_AUTO); /* none at all */
    avow_ek_free(ek_of(t));
    assert_int_equal(avow_tpm_ek(t), AVOW_TPM_EK_L1);
    close_tpm(t);
    assert_int_equal(swtpm_rig_sh(&rig, back), 0);
    /* An index that holds no certificate does not count. */
    assert_int_equal(swtpm_rig_sh(&rig, "tpm2_nvdefine 0x1c0000a -C p -s 16 -a "
                                        "'ppwrite|ppread|ownerread|authread|no_da|platformcreate' "
                                        "&& printf 0123456789abcdef | tpm2_nvwrite 0x1c0000a -C p "
                                        "-i - && tpm2_nvundefine 0x1c00002 -C p"),
                     0);
    t = open_with(AVOW_TPM_EK_AUTO);
    avow_ek_free(ek_of(t));
    assert_int_equal(avow_tpm_ek(t), AVOW_TPM_EK_L1);
    close_tpm(t);
    assert_int_equal(swtpm_rig_sh(&rig, back), 0);
    assert_int_equal(swtpm_rig_sh(&rig, "tpm2_nvundefine 0x1c0000a -C p"), 0);
}

/* Template L-2 with and without the nonce, made by tools that are not ours; the second file is
 * TPMS_ECC_POINT as C lays it out. */
#define PLAIN "tpm2_createek -c theirs.ctx -G ecc -u theirs.pub && "
#define WITH_NONCE                                                                                 \
    "printf 'a nonce of the vendor' >nonce && "                                                    \
    "{ printf '\\040\\000'; cat nonce; head -c 107 /dev/zero; printf '\\040\\000'; "               \
    "head -c 128 /dev/zero; } >unique && tpm2_startauthsession --policy-session -S s.ctx && "      \
    "tpm2_policysecret -S s.ctx -c e -L a.policy && tpm2_flushcontext s.ctx && "                   \
    "tpm2_createprimary -C e -G ecc256:aes128cfb -g sha256 -L a.policy -u unique -c theirs.ctx "   \
    "-a 'fixedtpm|fixedparent|sensitivedataorigin|adminwithpolicy|restricted|decrypt' && "         \
    "tpm2_readpublic -c theirs.ctx -o theirs.pub && "
#define NAME                                                                                       \
    "tpm2_flushcontext -t && tpm2_loadexternal -C n -u theirs.pub -c x.ctx -n theirs.name && "     \
    "tpm2_flushcontext -t"

static void test_vendor_nonce_and_template__make_another_ek(void **state)
{
    (void)state;
    static const char nonce[] = "tpm2_nvdefine 0x1c0000b -C p -s 21 "
                                "-a 'ppwrite|ppread|ownerread|authread|no_da|platformcreate' && "
                                "tpm2_nvwrite 0x1c0000b -C p -i nonce";
    /* The standard template in the vendor's index changes nothing; `unique` is the nonce's. */
    static const char tmpl[] =
        "tail -c +3 theirs.pub >tmpl && tpm2_nvdefine 0x1c0000c -C p -s $(stat -c %s tmpl) "
        "-a 'ppwrite|ppread|ownerread|authread|no_da|platformcreate' && "
        "tpm2_nvwrite 0x1c0000c -C p -i tmpl";
    struct avow_ek *before, *after;
    struct avow_tpm *t = open_with(AVOW_TPM_EK_L2);
    before = ek_of(t);
    close_tpm(t);
    assert_int_equal(swtpm_rig_sh(&rig, PLAIN NAME), 0);
    t = open_with(AVOW_TPM_EK_L2);
    assert_name_is(t, "theirs.name");
    close_tpm(t);
    assert_int_equal(swtpm_rig_sh(&rig, WITH_NONCE NAME), 0);
    assert_int_equal(swtpm_rig_sh(&rig, nonce), 0);
    t = open_with(AVOW_TPM_EK_L2);
    after = ek_of(t);
    assert_false(avow_pubkey_eq(avow_ek_key(before), avow_ek_key(after)));
    assert_name_is(t, "theirs.name");
    close_tpm(t);
    assert_int_equal(swtpm_rig_sh(&rig, tmpl), 0);
    t = open_with(AVOW_TPM_EK_L2);
    struct avow_ek *both = ek_of(t);
    assert_true(avow_pubkey_eq(avow_ek_key(both), avow_ek_key(after)));
    avow_ek_free(both);
    assert_name_is(t, "theirs.name");
    struct avow_buf blob;
    make_ak(t, AVOW_TPM_AK_ECDSA, &blob);
    struct avow_ak *ak = NULL;
    assert_int_equal(avow_ak_parse(avow_tpm_ak_public(t), &ak, NULL), AVOW_OK);
    assert_activates(t, after, ak);
    close_tpm(t);
    assert_int_equal(
        swtpm_rig_sh(&rig, "tpm2_nvundefine 0x1c0000b -C p && tpm2_nvundefine 0x1c0000c -C p"), 0);
    /* The AK hangs below the EK that is gone now: not ours any more. */
    struct avow_err err = {.rc = AVOW_OK};
    t = open_with(AVOW_TPM_EK_L2);
    assert_int_equal(avow_tpm_ak_load(t, AVOW_TPM_AK_ECDSA, avow_buf_bytes(&blob), &err),
                     AVOW_REFUSED);
    close_tpm(t);
    avow_ak_free(ak);
    avow_ek_free(before);
    avow_ek_free(after);
    avow_buf_deinit(&blob);
}

/* A template whose policy is the vendor's own, in NV memory: H-2's, but with userWithAuth only. */
static void test_vendor_template__with_password_only__is_used(void **state)
{
    (void)state;
    /* TPMT_PUBLIC: ECC, SHA-256, attributes 00030472 (userWithAuth, noDA), no policy, AES-128-CFB,
     * no scheme, P-256, no KDF, empty point */
    static const char define[] =
        "printf '\\000\\043\\000\\013\\000\\003\\004\\162\\000\\000\\000\\006\\000\\200\\000\\103"
        "\\000\\020\\000\\003\\000\\020\\000\\000\\000\\000' >tmpl && "
        "tpm2_nvdefine 0x1c00015 -C p -s 26 "
        "-a 'ppwrite|ppread|ownerread|authread|no_da|platformcreate' && "
        "tpm2_nvwrite 0x1c00015 -C p -i tmpl";
    assert_int_equal(swtpm_rig_sh(&rig, define), 0);
    struct avow_tpm *t = open_with(AVOW_TPM_EK_H2);
    struct avow_ek *ek = ek_of(t);
    struct avow_ak *ak = NULL;
    struct avow_buf blob;
    make_ak(t, AVOW_TPM_AK_ECDSA, &blob);
    assert_int_equal(avow_ak_parse(avow_tpm_ak_public(t), &ak, NULL), AVOW_OK);
    assert_activates(t, ek, ak);
    close_tpm(t);
    assert_int_equal(swtpm_rig_sh(&rig, "tpm2_nvundefine 0x1c00015 -C p"), 0);
    /* Rubbish in its place: said, and the standard template is used. */
    assert_int_equal(swtpm_rig_sh(&rig, "tpm2_nvdefine 0x1c00015 -C p -s 4 -a "
                                        "'ppwrite|ppread|ownerread|authread|no_da|platformcreate' "
                                        "&& printf xxxx | tpm2_nvwrite 0x1c00015 -C p -i -"),
                     0);
    t = open_with(AVOW_TPM_EK_H2);
    struct avow_ek *standard = ek_of(t);
    assert_false(avow_pubkey_eq(avow_ek_key(ek), avow_ek_key(standard)));
    close_tpm(t);
    assert_int_equal(swtpm_rig_sh(&rig, "tpm2_nvundefine 0x1c00015 -C p"), 0);
    avow_ak_free(ak);
    avow_ek_free(ek);
    avow_ek_free(standard);
    avow_buf_deinit(&blob);
}

static void test_persistent_object_of_another_hierarchy__is_no_ek(void **state)
{
    (void)state;
    /* Template L-2 in the owner hierarchy, persisted where EKs are. */
    static const char plant[] =
        "tpm2_startauthsession --policy-session -S s.ctx && "
        "tpm2_policysecret -S s.ctx -c e -L a.policy && tpm2_flushcontext s.ctx && "
        "tpm2_createprimary -C o -G ecc256:aes128cfb -g sha256 -L a.policy -c o.ctx -a "
        "'fixedtpm|fixedparent|sensitivedataorigin|adminwithpolicy|restricted|decrypt' && "
        "tpm2_evictcontrol -C o -c o.ctx 0x81010002 && tpm2_flushcontext -t";
    struct avow_tpm *t = open_with(AVOW_TPM_EK_L2);
    struct avow_ek *want = ek_of(t);
    close_tpm(t);
    assert_int_equal(swtpm_rig_sh(&rig, plant), 0);
    t = open_with(AVOW_TPM_EK_L2);
    struct avow_ek *got = ek_of(t);
    assert_true(avow_pubkey_eq(avow_ek_key(want), avow_ek_key(got)));
    close_tpm(t);
    assert_int_equal(swtpm_rig_sh(&rig, "tpm2_evictcontrol -C o -c 0x81010002"), 0);
    avow_ek_free(want);
    avow_ek_free(got);
}

static void test_blob_of_another_configuration__says_which(void **state)
{
    (void)state;
    struct avow_buf blob;
    struct avow_err err = {.rc = AVOW_OK};
    struct avow_tpm *t = open_with(AVOW_TPM_EK_L2);
    make_ak(t, AVOW_TPM_AK_ECDSA, &blob);
    close_tpm(t);
    t = open_with(AVOW_TPM_EK_H3);
    assert_int_equal(avow_tpm_ak_load(t, AVOW_TPM_AK_ECDSA, avow_buf_bytes(&blob), &err),
                     AVOW_CONFIG);
    assert_non_null(strstr(err.msg, "L-2"));
    assert_non_null(strstr(err.msg, "H-3"));
    close_tpm(t);
    t = open_with(AVOW_TPM_EK_L2);
    for (size_t k = 0; k < AVOW_ARRAY_LEN(aks); k++) {
        enum avow_rc rc = avow_tpm_ak_load(t, aks[k].alg, avow_buf_bytes(&blob), &err);
        assert_int_equal(rc, aks[k].alg == AVOW_TPM_AK_ECDSA ? AVOW_OK : AVOW_CONFIG);
        if (rc)
            assert_non_null(strstr(err.msg, avow_tpm_ak_alg_name(aks[k].alg)));
    }
    close_tpm(t);
    avow_buf_deinit(&blob);
}

/* The form that named no EK: template L-1. */
static void test_blob_of_version_1__still_loads_below_its_ek(void **state)
{
    (void)state;
    struct avow_buf blob, old;
    struct avow_tpm *t = open_with(AVOW_TPM_EK_L1);
    make_ak(t, AVOW_TPM_AK_RSASSA, &blob);
    avow_buf_init(&old, 4096);
    avow_buf_put(&old, "AVOWAK1\n", 8);
    size_t head = 8 + 4 + 2 + 34; /* magic, NV index, EK name */
    avow_buf_put(&old, blob.ptr + head, blob.len - head);
    assert_int_equal(avow_tpm_ak_load(t, AVOW_TPM_AK_RSASSA, avow_buf_bytes(&old), NULL), AVOW_OK);
    close_tpm(t);
    t = open_with(AVOW_TPM_EK_H1); /* as an RSA key as well */
    assert_int_equal(avow_tpm_ak_load(t, AVOW_TPM_AK_RSASSA, avow_buf_bytes(&old), NULL),
                     AVOW_CONFIG);
    close_tpm(t);
    avow_buf_deinit(&blob);
    avow_buf_deinit(&old);
}

/* A key without noDA cannot be used with a password in lock-out, but with its policy. */
static void test_lockout__both_ranges_still_work(void **state)
{
    (void)state;
    static const char lock[] =
        "tpm2_dictionarylockout -s -n 1 -t 1000 -l 1000 && "
        "tpm2_createprimary -C o -p secret -c da.ctx -a "
        "'fixedtpm|fixedparent|sensitivedataorigin|userwithauth|restricted|decrypt' && "
        "! tpm2_create -C da.ctx -P wrong -u x.pub -r x.priv && tpm2_flushcontext -t && "
        "tpm2_getcap properties-variable | grep -q 'inLockout: *1'";
    static const enum avow_tpm_ek eks[] = {AVOW_TPM_EK_L1, AVOW_TPM_EK_H2};
    assert_int_equal(swtpm_rig_sh(&rig, lock), 0);
    for (size_t i = 0; i < AVOW_ARRAY_LEN(eks); i++) {
        struct avow_tpm *t = open_with(eks[i]);
        struct avow_ek *ek = ek_of(t);
        struct avow_ak *ak = NULL;
        struct avow_buf blob;
        make_ak(t, AVOW_TPM_AK_ECDSA, &blob);
        assert_int_equal(avow_ak_parse(avow_tpm_ak_public(t), &ak, NULL), AVOW_OK);
        assert_quotes(t, ak);
        assert_activates(t, ek, ak);
        close_tpm(t);
        avow_ak_free(ak);
        avow_ek_free(ek);
        avow_buf_deinit(&blob);
    }
    assert_int_equal(swtpm_rig_sh(&rig, "tpm2_dictionarylockout -c -p ''"), 0);
}

static void test_endorsement_password__is_named(void **state)
{
    (void)state;
    struct avow_buf pub;
    struct avow_err err = {.rc = AVOW_OK};
    avow_buf_init(&pub, 1024);
    assert_int_equal(swtpm_rig_sh(&rig, "tpm2_changeauth -c endorsement secret"), 0);
    struct avow_tpm *t = open_with(AVOW_TPM_EK_L2);
    assert_int_equal(avow_tpm_ek_public(t, &pub, &err), AVOW_TPM);
    assert_non_null(strstr(err.msg, "password"));
    close_tpm(t);
    assert_int_equal(swtpm_rig_sh(&rig, "tpm2_changeauth -c endorsement -p secret"), 0);
    avow_buf_deinit(&pub);
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
        cmocka_unit_test(test_each_ek_with_each_ak__quotes_and_is_activated),
        cmocka_unit_test(test_ek_that_the_tpm_cannot_make__is_a_configuration_error),
        cmocka_unit_test(test_auto__takes_the_first_certificate),
        cmocka_unit_test(test_vendor_nonce_and_template__make_another_ek),
        cmocka_unit_test(test_vendor_template__with_password_only__is_used),
        cmocka_unit_test(test_persistent_object_of_another_hierarchy__is_no_ek),
        cmocka_unit_test(test_blob_of_another_configuration__says_which),
        cmocka_unit_test(test_blob_of_version_1__still_loads_below_its_ek),
        cmocka_unit_test(test_lockout__both_ranges_still_work),
        cmocka_unit_test(test_endorsement_password__is_named),
    };
    return cmocka_run_group_tests(tests, group_start, group_stop);
}
