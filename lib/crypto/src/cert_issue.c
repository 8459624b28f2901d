#include "cert_internal.h"

#include "avow/crypto/rng.h"

#include "key_internal.h"
#include "openssl_err.h"
#include "pem.h"

#include <openssl/asn1.h>
#include <openssl/bn.h>
#include <openssl/evp.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>

#include "avow/base/banned.h"

#define SERIAL_LEN 16u /* random: RFC 5280, 4.1.2.2 and CA/B BR 7.1 ask for at least 64 bits */
#define BACKDATE_S (60L * 60L) /* clocks of the machines that share this CA may differ */
#define COMMON_NAME_MAX 64u    /* ub-common-name, RFC 5280, appendix A */
#define DNS_NAME_MAX 253u      /* RFC 1035, 2.3.4 */
#define NAMES_MAX 64u
#define DAYS_MAX 36500u

AVOW_DEFINE_CLEANUP(X509, X509_free);
AVOW_DEFINE_CLEANUP(BIGNUM, BN_free);
AVOW_DEFINE_CLEANUP(X509_EXTENSION, X509_EXTENSION_free);
AVOW_DEFINE_CLEANUP(GENERAL_NAMES, GENERAL_NAMES_free);
AVOW_DEFINE_CLEANUP(GENERAL_NAME, GENERAL_NAME_free);

static bool set_serial(X509 *x)
{
    uint8_t serial[SERIAL_LEN];
    if (avow_rng_fill(serial, sizeof serial, NULL))
        return false;
    serial[0] =
        (uint8_t)((serial[0] & 0x7f) | 0x40); /* positive, never zero, always the same length */
    AVOW_CLEANUP(BN_free) BIGNUM *bn = BN_bin2bn(serial, (int)sizeof serial, NULL);
    return bn && BN_to_ASN1_INTEGER(bn, X509_get_serialNumber(x));
}

/* Not longer than the issuer: some verifiers want nested validity. */
static bool set_validity(X509 *x, const struct avow_cert_request *req, const X509 *issuer)
{
    time_t from = (time_t)(req->now_ms / 1000);
    if (!ASN1_TIME_adj(X509_getm_notBefore(x), from, 0, -BACKDATE_S) ||
        !ASN1_TIME_adj(X509_getm_notAfter(x), from, (int)req->days, 0))
        return false;
    if (issuer && ASN1_TIME_compare(X509_get0_notAfter(x), X509_get0_notAfter(issuer)) > 0)
        return X509_set1_notAfter(x, X509_get0_notAfter(issuer)) == 1;
    return true;
}

static bool set_subject(X509 *x, const char *common_name)
{
    X509_NAME *name = X509_get_subject_name(x);
    return X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_UTF8, (const unsigned char *)common_name,
                                      -1, -1, 0) == 1;
}

static bool add_text_extension(X509 *x, X509V3_CTX *ctx, int nid, const char *value)
{
    AVOW_CLEANUP(X509_EXTENSION_free)
    X509_EXTENSION *ext = X509V3_EXT_conf_nid(NULL, ctx, nid, value);
    return ext && X509_add_ext(x, ext, -1) == 1;
}

static bool general_name(const char *text, GENERAL_NAMES *names)
{
    uint8_t address[16];
    size_t len = inet_pton(AF_INET, text, address) == 1    ? 4u
                 : inet_pton(AF_INET6, text, address) == 1 ? 16u
                                                           : 0u;
    AVOW_CLEANUP(GENERAL_NAME_free) GENERAL_NAME *name = GENERAL_NAME_new();
    ASN1_STRING *value = ASN1_STRING_type_new(len ? V_ASN1_OCTET_STRING : V_ASN1_IA5STRING);
    if (!name || !value ||
        ASN1_STRING_set(value, len ? (const void *)address : text,
                        len ? (int)len : (int)strlen(text)) != 1) {
        ASN1_STRING_free(value);
        return false;
    }
    GENERAL_NAME_set0_value(name, len ? GEN_IPADD : GEN_DNS, value);
    if (!sk_GENERAL_NAME_push(names, name))
        return false;
    name = NULL; /* names owns it */
    return true;
}

static bool add_names(X509 *x, const struct avow_cert_request *req)
{
    if (!req->n_dns)
        return true;
    AVOW_CLEANUP(GENERAL_NAMES_free) GENERAL_NAMES *names = GENERAL_NAMES_new();
    for (size_t i = 0; names && i < req->n_dns; i++)
        if (!general_name(req->dns[i], names))
            return false;
    return names && X509_add1_ext_i2d(x, NID_subject_alt_name, names, 0, X509V3_ADD_DEFAULT) == 1;
}

static bool add_extensions(X509 *x, X509 *issuer, const struct avow_cert_request *req)
{
    X509V3_CTX ctx;
    X509V3_set_ctx_nodb(&ctx);
    X509V3_set_ctx(&ctx, issuer, x, NULL, NULL, 0);
    const char *purpose = req->server && req->client ? "serverAuth,clientAuth"
                          : req->server              ? "serverAuth"
                                                     : "clientAuth";
    if (!add_text_extension(x, &ctx, NID_basic_constraints,
                            req->ca ? "critical,CA:TRUE,pathlen:0" : "critical,CA:FALSE") ||
        !add_text_extension(x, &ctx, NID_key_usage,
                            req->ca ? "critical,keyCertSign,cRLSign"
                                    : "critical,digitalSignature") ||
        !add_text_extension(x, &ctx, NID_subject_key_identifier, "hash") ||
        !add_text_extension(x, &ctx, NID_authority_key_identifier, "keyid:always"))
        return false;
    if (!req->ca && !add_text_extension(x, &ctx, NID_ext_key_usage, purpose))
        return false;
    return add_names(x, req);
}

static bool dns_name_is_valid(const char *text)
{
    size_t len = strlen(text);
    if (!len || len > DNS_NAME_MAX)
        return false;
    for (size_t i = 0; i < len; i++) {
        char c = text[i];
        bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
        bool wildcard = c == '*' && i == 0 && text[1] == '.';
        if (!letter && !wildcard && c != '-' && c != '.' && c != '_' && c != ':')
            return false;
    }
    return true;
}

static enum avow_rc check_request(const struct avow_cert_request *req,
                                  const struct avow_cert *issuer,
                                  const struct avow_privkey *issuer_key, struct avow_err *err)
{
    size_t cn = strlen(req->common_name);
    if (!cn || cn > COMMON_NAME_MAX || !avow_utf8_is_valid(avow_str_from(req->common_name)))
        return avow_err_set(err, AVOW_CONFIG, 0, "certificate name of %zu bytes; 1 to %u", cn,
                            COMMON_NAME_MAX);
    if (!req->days || req->days > DAYS_MAX)
        return avow_err_set(err, AVOW_CONFIG, 0, "certificate for %u days; 1 to %u", req->days,
                            DAYS_MAX);
    if (req->ca ? req->server || req->client : !req->server && !req->client)
        return avow_err_set(err, AVOW_CONFIG, 0,
                            "a certificate is for a CA, or for servers and clients");
    if (req->n_dns > NAMES_MAX || (req->server && !req->n_dns))
        return avow_err_set(err, AVOW_CONFIG, 0, "a server certificate needs 1 to %u names",
                            NAMES_MAX);
    for (size_t i = 0; i < req->n_dns; i++)
        if (!dns_name_is_valid(req->dns[i]))
            return avow_err_set(err, AVOW_CONFIG, 0, "\"%.80s\" is no host name and no address",
                                req->dns[i]);
    if (!issuer != !issuer_key)
        return avow_err_set(err, AVOW_CONFIG, 0, "issuer certificate and key come together");
    if (issuer && (X509_check_ca(issuer->x509) != 1 ||
                   X509_check_private_key(issuer->x509, issuer_key->pkey) != 1))
        return avow_openssl_err(err, AVOW_CONFIG,
                                "the issuer is not a CA, or its key does not fit");
    return AVOW_OK;
}

static enum avow_rc put_pem(X509 *x, struct avow_buf *pem, struct avow_err *err)
{
    unsigned char *der = NULL;
    int len = i2d_X509(x, &der);
    if (len <= 0)
        return avow_openssl_err(err, AVOW_CRYPTO, "encode a certificate");
    avow_pem_put(pem, "CERTIFICATE", avow_bytes_make(der, (size_t)len));
    OPENSSL_free(der);
    return avow_buf_status(pem, err);
}

enum avow_rc avow_cert_issue(const struct avow_cert_request *req,
                             const struct avow_privkey *subject_key, const struct avow_cert *issuer,
                             const struct avow_privkey *issuer_key, struct avow_buf *pem,
                             struct avow_err *err)
{
    enum avow_rc rc = check_request(req, issuer, issuer_key, err);
    if (rc)
        return rc;
    AVOW_CLEANUP(X509_free) X509 *x = X509_new();
    X509 *above = issuer ? issuer->x509 : x;
    EVP_PKEY *signer = issuer ? issuer_key->pkey : subject_key->pkey;
    if (!x || X509_set_version(x, X509_VERSION_3) != 1 || !set_serial(x) ||
        !set_validity(x, req, issuer ? issuer->x509 : NULL) || !set_subject(x, req->common_name) ||
        X509_set_issuer_name(x, X509_get_subject_name(above)) != 1 ||
        X509_set_pubkey(x, subject_key->pkey) != 1 || !add_extensions(x, above, req) ||
        X509_sign(x, signer, EVP_sha256()) <= 0)
        return avow_openssl_err(err, AVOW_CRYPTO, "issue a certificate");
    return put_pem(x, pem, err);
}
