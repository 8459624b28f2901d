/* test_cert_verify.c - EK chains: each failure with its own reason, next to controls (AI4, AI5). */
#include "ca.h"

#include "avow/crypto/ak.h"

#include "avow/base/banned.h"

#define CA_USAGE "critical,keyCertSign,cRLSign"
#define EK_EKU "2.23.133.8.1"

/* What a case changes; unset fields are those of a good chain root -> intermediate -> EK. */
struct chain_case {
    const char *name;
    struct ca_spec root, intermediate, leaf;
    bool rsa_leaf, small_leaf, small_root;
    bool no_intermediate; /* it is neither in the store nor with the evidence */
    bool intermediate_in_store;
    bool root_not_in_store;
    bool root_with_evidence;
    bool leaf_in_store;
    bool self_signed_leaf;
    bool forged; /* the issuer's name, another key */
    enum avow_rc want;
    const char *says;
};

static const struct ca_spec ROOT = {.cn = "Root", .basic = "critical,CA:TRUE", .usage = CA_USAGE};
static const struct ca_spec MIDDLE = {
    .cn = "Intermediate", .basic = "critical,CA:TRUE", .usage = CA_USAGE};
static const struct ca_spec LEAF = {.cn = "",
                                    .basic = "critical,CA:FALSE",
                                    .usage = "critical,keyAgreement",
                                    .eku = EK_EKU,
                                    .san = "tpm"};

#define ROOT_WITH(...)                                                                             \
    .root = {.cn = "Root", .basic = "critical,CA:TRUE", .usage = CA_USAGE, __VA_ARGS__}
#define MIDDLE_WITH(basic_, usage_, ...)                                                           \
    .intermediate = {.cn = "Intermediate", .basic = (basic_), .usage = (usage_), __VA_ARGS__}
#define LEAF_WITH(basic_, usage_, eku_, ...)                                                       \
    .leaf = {.cn = "EK",                                                                           \
             .basic = (basic_),                                                                    \
             .usage = (usage_),                                                                    \
             .eku = (eku_),                                                                        \
             .san = "tpm",                                                                         \
             __VA_ARGS__}
#define NOT_CA "critical,CA:FALSE"
#define IS_CA "critical,CA:TRUE"
#define AGREE "critical,keyAgreement"

static const struct chain_case CASES[] = {
    {.name = "control: intermediate with the evidence"},
    {.name = "control: intermediate in the store", .intermediate_in_store = true},
    {.name = "control: only the intermediate in the store",
     .intermediate_in_store = true,
     .root_not_in_store = true},
    {.name = "control: root with the evidence too", .root_with_evidence = true},
    {.name = "control: the EK certificate itself in the store",
     .leaf_in_store = true,
     .no_intermediate = true,
     .root_not_in_store = true},
    {.name = "control: RSA",
     .rsa_leaf = true,
     LEAF_WITH(NOT_CA, "critical,keyEncipherment", EK_EKU, .from_day = -1, .to_day = 1)},
    {.name = "control: year 9999",
     LEAF_WITH(NOT_CA, AGREE, EK_EKU, .from_day = -1, .to_day = 9999)},
    {.name = "control: no extended key usage", LEAF_WITH(NOT_CA, AGREE, NULL, .to_day = 1)},
    {.name = "control: any extended key usage",
     LEAF_WITH(NOT_CA, AGREE, "anyExtendedKeyUsage", .to_day = 1)},
    {.name = "control: no key usage, no basic constraints",
     LEAF_WITH(NULL, NULL, EK_EKU, .to_day = 1)},
    {.name = "expired",
     LEAF_WITH(NOT_CA, AGREE, EK_EKU, .from_day = -9, .to_day = -1),
     .want = AVOW_UNTRUSTED,
     .says = "EK certificate: expired"},
    {.name = "not yet valid",
     LEAF_WITH(NOT_CA, AGREE, EK_EKU, .from_day = 1, .to_day = 9),
     .want = AVOW_UNTRUSTED,
     .says = "EK certificate: not valid yet"},
    {.name = "intermediate expired",
     MIDDLE_WITH(IS_CA, CA_USAGE, .from_day = -9, .to_day = -1),
     .want = AVOW_UNTRUSTED,
     .says = "certificate 1 above the EK certificate: expired"},
    {.name = "root expired",
     ROOT_WITH(.from_day = -9, .to_day = -1),
     .want = AVOW_UNTRUSTED,
     .says = "certificate 2 above the EK certificate: expired"},
    {.name = "missing intermediate",
     .no_intermediate = true,
     .want = AVOW_UNTRUSTED,
     .says = "issuer is neither in the CA store nor among the intermediates"},
    {.name = "unknown root",
     .root_not_in_store = true,
     .want = AVOW_UNTRUSTED,
     .says = "issuer is neither in the CA store nor among the intermediates"},
    {.name = "unknown root that came with the evidence",
     .root_not_in_store = true,
     .root_with_evidence = true,
     .want = AVOW_UNTRUSTED,
     .says = "a root that is not in the CA store"},
    {.name = "self-signed",
     .self_signed_leaf = true,
     .want = AVOW_UNTRUSTED,
     .says = "EK certificate: self-signed"},
    {.name = "forged", .forged = true, .want = AVOW_UNTRUSTED, .says = "signature is wrong"},
    {.name = "issuer is no CA",
     MIDDLE_WITH(NOT_CA, CA_USAGE, .to_day = 1),
     .want = AVOW_UNTRUSTED,
     .says = "not a CA"},
    {.name = "issuer without basic constraints",
     MIDDLE_WITH(NULL, CA_USAGE, .to_day = 1),
     .want = AVOW_UNTRUSTED,
     .says = "not a CA"},
    {.name = "issuer may not sign certificates",
     MIDDLE_WITH(IS_CA, "critical,cRLSign", .to_day = 1),
     .want = AVOW_UNTRUSTED,
     .says = "certificate 1 above the EK certificate: key usage of a CA"},
    {.name = "issuer of version 1",
     MIDDLE_WITH(NULL, NULL, .v1 = true, .to_day = 1),
     .want = AVOW_UNTRUSTED,
     .says = "not a CA"},
    {.name = "root allows no intermediates",
     .root = {.cn = "Root", .basic = "critical,CA:TRUE,pathlen:0", .usage = CA_USAGE},
     .want = AVOW_UNTRUSTED,
     .says = "longer than"},
    {.name = "signed with SHA-1",
     LEAF_WITH(NOT_CA, AGREE, EK_EKU, .to_day = 1, .sha1 = true),
     .want = AVOW_UNTRUSTED,
     .says = "weak hash"},
    {.name = "RSA-1024 EK",
     .rsa_leaf = true,
     .small_leaf = true,
     LEAF_WITH(NOT_CA, "critical,keyEncipherment", EK_EKU, .to_day = 1),
     .want = AVOW_UNTRUSTED,
     .says = "too small"},
    {.name = "RSA-1024 root", .small_root = true, .want = AVOW_UNTRUSTED, .says = "too small"},
    {.name = "unknown critical extension",
     LEAF_WITH(NOT_CA, AGREE, EK_EKU, .to_day = 1, .critical_oid = "1.2.3.4.5"),
     .want = AVOW_UNTRUSTED,
     .says = "critical extension is not understood"},
    {.name = "malformed extension of the EK",
     LEAF_WITH(NOT_CA, AGREE, EK_EKU, .to_day = 1, .garbage = NID_subject_key_identifier),
     .want = AVOW_UNTRUSTED,
     .says = "EK certificate: malformed extensions"},
    {.name = "malformed extension of the issuer",
     MIDDLE_WITH(IS_CA, CA_USAGE, .to_day = 1, .garbage = NID_crl_distribution_points),
     .want = AVOW_UNTRUSTED,
     .says = "EK certificate: malformed extensions, its own or its issuer's"},
    {.name = "EK that is a CA",
     LEAF_WITH(IS_CA, "critical,keyAgreement,keyCertSign", EK_EKU, .to_day = 1),
     .want = AVOW_UNTRUSTED,
     .says = "it is a CA certificate"},
    {.name = "EK that is a CA without the right to sign",
     LEAF_WITH(IS_CA, AGREE, EK_EKU, .to_day = 1),
     .want = AVOW_UNTRUSTED,
     .says = "it is a CA certificate"},
    {.name = "signing key",
     LEAF_WITH(NOT_CA, "critical,digitalSignature", EK_EKU, .to_day = 1),
     .want = AVOW_UNTRUSTED,
     .says = "key usage allows neither"},
    {.name = "RSA key for agreement",
     .rsa_leaf = true,
     LEAF_WITH(NOT_CA, AGREE, EK_EKU, .to_day = 1),
     .want = AVOW_UNTRUSTED,
     .says = "key usage allows neither"},
    {.name = "server certificate",
     LEAF_WITH(NOT_CA, AGREE, "serverAuth", .to_day = 1),
     .want = AVOW_UNTRUSTED,
     .says = "extended key usage is not that of an EK"},
};

static EVP_PKEY *leaf_key(const struct chain_case *c)
{
    if (c->rsa_leaf)
        return c->small_leaf ? EVP_RSA_gen(1024) : EVP_RSA_gen(2048);
    return EVP_EC_gen("P-256");
}

static void store_put(const char *name, const struct ca_cert *c, char path[128])
{
    VEC_BUF der;
    avow_buf_init(&der, VEC_MAX);
    ca_der(c, &der);
    vec_scratch_write(name, avow_buf_bytes(&der), path);
}

static void run_case(const struct chain_case *c)
{
    struct avow_err err = {0};
    struct ca_cert root = ca_make(c->root.cn ? &c->root : &ROOT,
                                  c->small_root ? EVP_RSA_gen(1024) : EVP_EC_gen("P-384"), NULL);
    struct ca_cert middle =
        ca_make(c->intermediate.cn ? &c->intermediate : &MIDDLE, EVP_EC_gen("P-256"), &root);
    struct ca_cert other = ca_make(&MIDDLE, EVP_EC_gen("P-256"), &root);
    const struct ca_spec *leaf_spec = c->leaf.cn ? &c->leaf : &LEAF;
    struct ca_spec named = *leaf_spec;
    named.cn = c->self_signed_leaf ? "Self" : leaf_spec->cn;
    struct ca_cert leaf = ca_make(&named, leaf_key(c),
                                  c->self_signed_leaf ? NULL
                                  : c->forged         ? &other
                                                      : &middle);
    char paths[3][128] = {"", "", ""};
    if (!c->root_not_in_store)
        store_put("root.der", &root, paths[0]);
    if (c->intermediate_in_store)
        store_put("middle.der", &middle, paths[1]);
    if (c->leaf_in_store)
        store_put("leaf.der", &leaf, paths[2]);

    AVOW_CLEANUP(avow_cert_store_free) struct avow_cert_store *store = NULL;
    assert_rc("store", avow_cert_store_load(vec_scratch(), &store, &err), AVOW_OK, &err);
    for (size_t i = 0; i < 3; i++)
        if (paths[i][0])
            unlink(paths[i]);
    AVOW_CLEANUP(avow_cert_free) struct avow_cert *ek = ca_cert_of(&leaf);
    AVOW_CLEANUP(avow_cert_free) struct avow_cert *middle_cert = ca_cert_of(&middle);
    AVOW_CLEANUP(avow_cert_free) struct avow_cert *root_cert = ca_cert_of(&root);
    struct avow_cert *extra[2];
    size_t n = 0;
    if (!c->no_intermediate && !c->intermediate_in_store)
        extra[n++] = middle_cert;
    if (c->root_with_evidence)
        extra[n++] = root_cert;
    assert_rc(c->name, avow_cert_verify_ek(ek, extra, n, store, CA_NOW_MS, &err), c->want, &err);
    if (c->says)
        assert_says(c->name, &err, c->says);
    ca_free(&leaf);
    ca_free(&other);
    ca_free(&middle);
    ca_free(&root);
}

static void test_verify_ek__table__each_reason(void **state)
{
    (void)state;
    for (size_t i = 0; i < AVOW_ARRAY_LEN(CASES); i++)
        run_case(&CASES[i]);
}

static void test_verify_ek__chains_of_many_intermediates__limit_is_eight(void **state)
{
    (void)state;
    for (size_t length = 3; length <= 10; length++) {
        struct avow_err err = {0};
        struct ca_cert chain[10];
        struct avow_cert *certs[10];
        char path[128];
        chain[0] = ca_make(&ROOT, EVP_EC_gen("P-256"), NULL);
        for (size_t i = 1; i < length; i++) {
            char cn[] = "Intermediate 0";
            struct ca_spec spec = i == length - 1 ? LEAF : MIDDLE;
            cn[sizeof cn - 2] = (char)('0' + i);
            spec.cn = cn;
            chain[i] = ca_make(&spec, EVP_EC_gen("P-256"), &chain[i - 1]);
        }
        for (size_t i = 0; i < length; i++)
            certs[i] = ca_cert_of(&chain[i]);
        store_put("root.der", &chain[0], path);
        AVOW_CLEANUP(avow_cert_store_free) struct avow_cert_store *store = NULL;
        assert_rc("store", avow_cert_store_load(vec_scratch(), &store, &err), AVOW_OK, &err);
        unlink(path);
        enum avow_rc want = length <= AVOW_CHAIN_MAX ? AVOW_OK : AVOW_UNTRUSTED;
        assert_rc(
            "chain",
            avow_cert_verify_ek(certs[length - 1], certs + 1, length - 2, store, CA_NOW_MS, &err),
            want, &err);
        for (size_t i = 0; i < length; i++) {
            avow_cert_free(certs[i]);
            ca_free(&chain[i]);
        }
    }
}

/* What swtpm_localca wrote for a TPM with RSA-2048 and P-384 EKs: critical subjectAltName, year
 * 9999. */
static void test_verify_ek__swtpm_certificates__are_trusted_and_fit_their_eks(void **state)
{
    (void)state;
    static const char *const CERTS[] = {"m1-direct/ek/nv_0x1c00002.der",
                                        "m1-direct/ek/nv_0x1c00016.der"};
    static const char *const EKS[] = {"m1-direct/ek/ek_0x81010001.tpm2b_public",
                                      "m1-direct/ek/ek_0x81010016.tpm2b_public"};
    struct avow_err err = {0};
    AVOW_CLEANUP(avow_cert_store_free) struct avow_cert_store *store = NULL;
    AVOW_CLEANUP(avow_cert_store_free) struct avow_cert_store *empty = NULL;
    assert_rc("store", avow_cert_store_load(AVOW_TEST_VECTORS "/m1-direct/ca", &store, &err),
              AVOW_OK, &err);
    assert_rc("empty", avow_cert_store_load(vec_scratch(), &empty, &err), AVOW_OK, &err);
    assert_int_equal(avow_cert_store_count(store), 2);
    assert_int_equal(avow_cert_store_count(empty), 0);
    for (size_t i = 0; i < 2; i++) {
        VEC_BUF der, pub;
        vec_read(CERTS[i], &der);
        vec_read(EKS[i], &pub);
        AVOW_CLEANUP(avow_cert_free) struct avow_cert *cert = NULL;
        AVOW_CLEANUP(avow_pubkey_free) struct avow_pubkey *key = NULL;
        AVOW_CLEANUP(avow_ek_free) struct avow_ek *ek = NULL;
        assert_rc(CERTS[i], avow_cert_from_der(avow_buf_bytes(&der), &cert, &err), AVOW_OK, &err);
        assert_rc(CERTS[i], avow_cert_verify_ek(cert, NULL, 0, store, CA_NOW_MS, &err), AVOW_OK,
                  &err);
        assert_rc(CERTS[i], avow_cert_verify_ek(cert, NULL, 0, empty, CA_NOW_MS, &err),
                  AVOW_UNTRUSTED, &err);
        assert_rc(CERTS[i], avow_cert_pubkey(cert, &key, &err), AVOW_OK, &err);
        assert_rc(EKS[i], avow_ek_parse(avow_buf_bytes(&pub), &ek, &err), AVOW_OK, &err);
        assert_true(avow_pubkey_eq(key, avow_ek_key(ek)));
    }
}

/* Nuvoton's root has the attributes of its names out of DER order; strict parsers refuse it. It is
 * read as it is, so its signature, over those bytes, verifies: all that is wrong with it as an EK
 * certificate is that it is a CA's, and one bit less and it is forged. */
static void test_verify_ek__names_out_of_der_order__are_verified_as_they_are(void **state)
{
    (void)state;
    struct avow_err err = {0};
    char path[512];
    VEC_BUF der;
    const char *dir = getenv("AVOW_KEYLIME_VECTORS");
    if (!dir) {
        print_message("Keylime's vectors are absent: set AVOW_KEYLIME_VECTORS to verify Nuvoton's "
                      "certificate\n");
        skip();
    }
    snprintf(path, sizeof path, "%s/vectors/cert_nuvoton_ecdsa_sha256.der", dir);
    avow_buf_init(&der, VEC_MAX);
    assert_rc(path, avow_file_read(path, &der, &err), AVOW_OK, &err);
    vec_scratch_write("nuvoton.der", avow_buf_bytes(&der), path);
    AVOW_CLEANUP(avow_cert_store_free) struct avow_cert_store *store = NULL;
    enum avow_rc rc = avow_cert_store_load(vec_scratch(), &store, &err);
    unlink(path);
    assert_rc("store", rc, AVOW_OK, &err);
    AVOW_CLEANUP(avow_cert_free) struct avow_cert *root = NULL;
    AVOW_CLEANUP(avow_cert_free) struct avow_cert *forged = NULL;
    assert_rc("root", avow_cert_from_der(avow_buf_bytes(&der), &root, &err), AVOW_OK, &err);
    assert_rc("root", avow_cert_verify_ek(root, NULL, 0, store, CA_NOW_MS, &err), AVOW_UNTRUSTED,
              &err);
    assert_says("root", &err, "EK certificate: it is a CA certificate");
    der.ptr[20] ^= 1; /* its serial number */
    assert_rc("forged", avow_cert_from_der(avow_buf_bytes(&der), &forged, &err), AVOW_OK, &err);
    assert_rc("forged", avow_cert_verify_ek(forged, NULL, 0, store, CA_NOW_MS, &err),
              AVOW_UNTRUSTED, &err);
    assert_false(strstr(err.msg, "it is a CA certificate"));
}

static void test_store_load__bad_folders_and_files__say_which(void **state)
{
    (void)state;
    static const struct {
        const char *file, *content;
        enum avow_rc want;
    } CASES_[] = {
        {"README", "not a certificate", AVOW_PARSE},
        {"empty.pem", "", AVOW_PARSE},
        {"key.pem", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", AVOW_PARSE},
        {".hidden", "not a certificate", AVOW_OK},
    };
    struct avow_err err = {0};
    struct avow_cert_store *store = NULL;
    assert_rc("absent", avow_cert_store_load("/nonexistent-store", &store, &err), AVOW_IO, &err);
    assert_says("absent", &err, "/nonexistent-store");
    for (size_t i = 0; i < AVOW_ARRAY_LEN(CASES_); i++) {
        char path[128];
        vec_scratch_write(CASES_[i].file, vec_text(CASES_[i].content), path);
        assert_rc(CASES_[i].file, avow_cert_store_load(vec_scratch(), &store, &err), CASES_[i].want,
                  &err);
        if (CASES_[i].want)
            assert_says(CASES_[i].file, &err, path);
        else
            avow_cert_store_free(store);
        store = NULL;
        unlink(path);
    }
}

static int teardown(void **state)
{
    (void)state;
    rmdir(vec_scratch());
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_verify_ek__table__each_reason),
        cmocka_unit_test(test_verify_ek__chains_of_many_intermediates__limit_is_eight),
        cmocka_unit_test(test_verify_ek__swtpm_certificates__are_trusted_and_fit_their_eks),
        cmocka_unit_test(test_verify_ek__names_out_of_der_order__are_verified_as_they_are),
        cmocka_unit_test(test_store_load__bad_folders_and_files__say_which),
    };
    return cmocka_run_group_tests(tests, NULL, teardown);
}
