/* ca.h - certificates of every good and bad kind, made with OpenSSL for the tests. */
#ifndef AVOW_TESTS_CRYPTO_CA_H
#define AVOW_TESTS_CRYPTO_CA_H

#include "vec.h"

#include "avow/crypto/x509.h"

#include <openssl/evp.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#define CA_NOW_MS UINT64_C(1795305600000) /* 2026-11-22 00:00:00 UTC */
#define CA_DAY_S 86400

struct ca_spec {
    const char *cn;
    const char *basic, *usage, *eku; /* NULL: without the extension */
    const char *san;
    const char *critical_oid; /* of an extension that nobody knows */
    int from_day, to_day; /* relative to CA_NOW_MS; 0, 0: a year around it; to_day 9999: for ever */
    bool sha1, v1;
    int garbage; /* NID of an extension whose content is no DER */
};

struct ca_cert {
    X509 *x;
    EVP_PKEY *key;
};

static inline void ca_extension(X509 *x, X509 *issuer, int nid, const char *value)
{
    X509V3_CTX ctx;
    if (!value)
        return;
    X509V3_set_ctx_nodb(&ctx);
    X509V3_set_ctx(&ctx, issuer, x, NULL, NULL, 0);
    X509_EXTENSION *ext = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
    assert_non_null(ext);
    assert_int_equal(X509_add_ext(x, ext, -1), 1);
    X509_EXTENSION_free(ext);
}

static inline void ca_raw_extension(X509 *x, ASN1_OBJECT *object, int critical, const char *content)
{
    ASN1_OCTET_STRING *value = ASN1_OCTET_STRING_new();
    assert_int_equal(ASN1_OCTET_STRING_set(value, (const unsigned char *)content, 2), 1);
    X509_EXTENSION *ext = X509_EXTENSION_create_by_OBJ(NULL, object, critical, value);
    assert_int_equal(X509_add_ext(x, ext, -1), 1);
    X509_EXTENSION_free(ext);
    ASN1_OBJECT_free(object);
    ASN1_OCTET_STRING_free(value);
}

/* TCG EK Credential Profile 2.6, 3.2.8: manufacturer, model and version as a directory name. */
static inline void ca_tpm_san(X509 *x)
{
    static const char *const OIDS[] = {"2.23.133.2.1", "2.23.133.2.2", "2.23.133.2.3"};
    static const char *const VALUES[] = {"id:41564F57", "Avow test TPM", "id:00010000"};
    X509_NAME *name = X509_NAME_new();
    for (int i = 0; i < 3; i++)
        assert_int_equal(X509_NAME_add_entry_by_txt(name, OIDS[i], MBSTRING_UTF8,
                                                    (const unsigned char *)VALUES[i], -1, -1, 0),
                         1);
    GENERAL_NAME *general = GENERAL_NAME_new();
    GENERAL_NAMES *names = GENERAL_NAMES_new();
    GENERAL_NAME_set0_value(general, GEN_DIRNAME, name);
    sk_GENERAL_NAME_push(names, general);
    assert_int_equal(X509_add1_ext_i2d(x, NID_subject_alt_name, names, 1, X509V3_ADD_DEFAULT), 1);
    GENERAL_NAMES_free(names);
}

static inline void ca_validity(X509 *x, const struct ca_spec *s)
{
    time_t now = (time_t)(CA_NOW_MS / 1000);
    int from = s->from_day || s->to_day ? s->from_day : -365;
    int to = s->from_day || s->to_day ? s->to_day : 365;
    assert_non_null(ASN1_TIME_adj(X509_getm_notBefore(x), now, from, 0));
    if (to == 9999)
        assert_int_equal(ASN1_TIME_set_string(X509_getm_notAfter(x), "99991231235959Z"), 1);
    else
        assert_non_null(ASN1_TIME_adj(X509_getm_notAfter(x), now, to, 0));
}

/* A certificate for `key` (taken) by `issuer`, or by itself if that is NULL. Free with ca_free. */
static inline struct ca_cert ca_make(const struct ca_spec *s, EVP_PKEY *key,
                                     const struct ca_cert *issuer)
{
    X509 *x = X509_new();
    static long serial = 1000;
    assert_non_null(key);
    X509_set_version(x, s->v1 ? X509_VERSION_1 : X509_VERSION_3);
    ASN1_INTEGER_set(X509_get_serialNumber(x), ++serial);
    ca_validity(x, s);
    if (s->cn[0])
        X509_NAME_add_entry_by_txt(X509_get_subject_name(x), "CN", MBSTRING_UTF8,
                                   (const unsigned char *)s->cn, -1, -1, 0);
    X509_set_issuer_name(x, X509_get_subject_name(issuer ? issuer->x : x));
    X509_set_pubkey(x, key);
    ca_extension(x, x, NID_basic_constraints, s->basic);
    ca_extension(x, x, NID_key_usage, s->usage);
    ca_extension(x, x, NID_ext_key_usage, s->eku);
    if (s->san)
        ca_tpm_san(x);
    if (s->critical_oid)
        ca_raw_extension(x, OBJ_txt2obj(s->critical_oid, 1), 1, "\x05\x00");
    if (s->garbage)
        ca_raw_extension(x, OBJ_nid2obj(s->garbage), 0, "\x30\x7f");
    assert_true(X509_sign(x, issuer ? issuer->key : key, s->sha1 ? EVP_sha1() : EVP_sha256()) > 0);
    return (struct ca_cert){x, key};
}

static inline void ca_free(struct ca_cert *c)
{
    X509_free(c->x);
    EVP_PKEY_free(c->key);
}

static inline void ca_der(const struct ca_cert *c, struct avow_buf *out)
{
    unsigned char *der = NULL;
    int len = i2d_X509(c->x, &der);
    assert_true(len > 0);
    avow_buf_put(out, der, (size_t)len);
    OPENSSL_free(der);
}

static inline struct avow_cert *ca_cert_of(const struct ca_cert *c)
{
    struct avow_err err = {0};
    struct avow_cert *out = NULL;
    VEC_BUF der;
    avow_buf_init(&der, VEC_MAX);
    ca_der(c, &der);
    assert_rc("own certificate", avow_cert_from_der(avow_buf_bytes(&der), &out, &err), AVOW_OK,
              &err);
    return out;
}

#endif
