#include "cert_internal.h"

#include "avow/base/hex.h"

#include "key_internal.h"
#include "openssl_err.h"
#include "pem.h"

#include <openssl/asn1.h>
#include <openssl/bio.h>
#include <openssl/bn.h>
#include <openssl/err.h>
#include <openssl/objects.h>
#include <openssl/x509.h>

#include <stdlib.h>
#include <string.h>

#include "avow/base/banned.h"

AVOW_DEFINE_CLEANUP(BIO, BIO_free_all);
AVOW_DEFINE_CLEANUP(BIGNUM, BN_free);

void avow_cert_free(struct avow_cert *c)
{
    if (!c)
        return;
    X509_free(c->x509);
    avow_buf_deinit(&c->der);
    free(c);
}

/* Takes the first certificate off `in`. */
static enum avow_rc cert_take(struct avow_bytes *in, struct avow_cert **out, struct avow_err *err)
{
    const uint8_t *p = in->ptr;
    AVOW_CLEANUP(avow_cert_free) struct avow_cert *c = calloc(1, sizeof *c);
    if (!c)
        return avow_err_set(err, AVOW_NOMEM, 0, "certificate");
    avow_buf_init(&c->der, AVOW_CERT_MAX);
    c->x509 = in->len ? d2i_X509(NULL, &p, (long)in->len) : NULL;
    if (!c->x509)
        return avow_openssl_err(err, AVOW_PARSE, "not a DER certificate");
    size_t len = (size_t)(p - in->ptr);
    if (len > AVOW_CERT_MAX)
        return avow_err_set(err, AVOW_LIMIT, 0, "certificate of %zu bytes; the limit is %u", len,
                            AVOW_CERT_MAX);
    avow_buf_put(&c->der, in->ptr, len);
    enum avow_rc rc = avow_buf_status(&c->der, err);
    if (rc)
        return rc;
    *in = avow_bytes_make(p, in->len - len);
    *out = AVOW_STEAL(c);
    return AVOW_OK;
}

static bool is_padding(struct avow_bytes in)
{
    return avow_bytes_all(in, 0x00) || avow_bytes_all(in, 0xff);
}

enum avow_rc avow_cert_from_der(struct avow_bytes der, struct avow_cert **out, struct avow_err *err)
{
    if (der.len > AVOW_CERT_MAX)
        return avow_err_set(err, AVOW_LIMIT, 0, "certificate of %zu bytes", der.len);
    AVOW_CLEANUP(avow_cert_free) struct avow_cert *c = NULL;
    enum avow_rc rc = cert_take(&der, &c, err);
    if (rc)
        return rc;
    if (!is_padding(der))
        return avow_err_set(err, AVOW_PARSE, 0, "%zu bytes follow the certificate", der.len);
    *out = AVOW_STEAL(c);
    return AVOW_OK;
}

struct avow_bytes avow_cert_der(const struct avow_cert *c)
{
    return avow_buf_bytes(&c->der);
}

/* RSAES-OAEP (RFC 4055) and RSASSA-PSS keys are RSA keys with a restriction that our callers impose
 * themselves; TPM vendors use the former for EKs, which OpenSSL does not load. */
static bool is_rsa(int nid)
{
    return nid == NID_rsaEncryption || nid == NID_rsaesOaep || nid == NID_rsassaPss;
}

enum avow_rc avow_cert_pubkey(const struct avow_cert *c, struct avow_pubkey **out,
                              struct avow_err *err)
{
    ASN1_OBJECT *alg_oid = NULL;
    const unsigned char *key = NULL;
    int key_len = 0, param_type = V_ASN1_UNDEF;
    X509_ALGOR *alg = NULL;
    const void *param = NULL;
    if (!X509_PUBKEY_get0_param(&alg_oid, &key, &key_len, &alg, X509_get_X509_PUBKEY(c->x509)) ||
        key_len <= 0)
        return avow_openssl_err(err, AVOW_PARSE, "certificate without a public key");
    X509_ALGOR_get0(NULL, &param_type, &param, alg);
    struct avow_bytes bits = avow_bytes_make(key, (size_t)key_len);
    struct avow_spki_parts parts = {.kind = AVOW_KEY_EC_P256, .point = bits};
    int nid = OBJ_obj2nid(alg_oid);
    if (is_rsa(nid)) {
        if (!avow_rsa_public_read(bits, &parts))
            return avow_err_set(err, AVOW_PARSE, 0, "malformed RSA key in the certificate");
        return avow_pubkey_from_parts(&parts, out, err);
    }
    if (nid != NID_X9_62_id_ecPublicKey || param_type != V_ASN1_OBJECT)
        return avow_err_set(err, AVOW_PARSE, 0, "certificate with an unsupported type of key");
    const ASN1_OBJECT *curve_oid = param;
    const struct avow_curve *curve =
        avow_curve_by_oid(avow_bytes_make(OBJ_get0_data(curve_oid), OBJ_length(curve_oid)));
    if (!curve)
        return avow_err_set(err, AVOW_PARSE, 0, "certificate with a key on an unsupported curve");
    parts.kind = curve->kind;
    return avow_pubkey_from_parts(&parts, out, err);
}

/* RFC 4514 without its escapes for other scripts; control characters are escaped, so that a
 * certificate cannot write to somebody's terminal. */
static enum avow_rc put_name(const X509_NAME *name, struct avow_buf *out, struct avow_err *err)
{
    AVOW_CLEANUP(BIO_free_all) BIO *bio = BIO_new(BIO_s_mem());
    char *text = NULL;
    unsigned long flags = XN_FLAG_RFC2253 & ~(unsigned long)ASN1_STRFLGS_ESC_MSB;
    if (!bio || X509_NAME_print_ex(bio, name, 0, flags) < 0)
        return avow_openssl_err(err, AVOW_PARSE, "name in the certificate");
    long len = BIO_get_mem_data(bio, &text);
    struct avow_str s = {text, len > 0 ? (size_t)len : 0};
    if (!avow_utf8_is_valid(s))
        return avow_err_set(err, AVOW_PARSE, 0, "name in the certificate is not valid text");
    avow_buf_put(out, s.ptr, s.len);
    return avow_buf_status(out, err);
}

enum avow_rc avow_cert_issuer(const struct avow_cert *c, struct avow_buf *out, struct avow_err *err)
{
    return put_name(X509_get_issuer_name(c->x509), out, err);
}

enum avow_rc avow_cert_subject(const struct avow_cert *c, struct avow_buf *out,
                               struct avow_err *err)
{
    return put_name(X509_get_subject_name(c->x509), out, err);
}

enum avow_rc avow_cert_serial_hex(const struct avow_cert *c, struct avow_buf *out,
                                  struct avow_err *err)
{
    AVOW_CLEANUP(BN_free) BIGNUM *bn = ASN1_INTEGER_to_BN(X509_get0_serialNumber(c->x509), NULL);
    if (!bn)
        return avow_openssl_err(err, AVOW_PARSE, "serial number");
    uint8_t bytes[AVOW_CERT_SERIAL_MAX] = {0};
    int n = BN_num_bytes(bn);
    if (n > (int)sizeof bytes)
        return avow_err_set(err, AVOW_LIMIT, 0, "serial number of %d bytes", n);
    BN_bn2bin(bn, bytes);
    if (BN_is_negative(bn))
        avow_buf_put_u8(out, '-');
    avow_buf_put_hex(out, avow_bytes_make(bytes, n ? (size_t)n : 1));
    return avow_buf_status(out, err);
}

static enum avow_rc scan_der(struct avow_bytes in, struct avow_cert **out, size_t max, size_t *n,
                             struct avow_err *err)
{
    do {
        if (*n == max)
            return avow_err_set(err, AVOW_LIMIT, 0, "more than %zu certificates", max);
        enum avow_rc rc = cert_take(&in, &out[*n], err);
        if (rc)
            return rc;
        ++*n;
    } while (!is_padding(in));
    return AVOW_OK;
}

static enum avow_rc scan_base64(struct avow_str text, struct avow_cert **out, size_t max, size_t *n,
                                struct avow_err *err)
{
    AVOW_CLEANUP_VAL(avow_buf_deinit) struct avow_buf der;
    avow_buf_init(&der, text.len);
    enum avow_rc rc = avow_pem_decode(text, &der, err);
    return rc ? rc : scan_der(avow_buf_bytes(&der), out, max, n, err);
}

static enum avow_rc scan_pem(struct avow_bytes in, struct avow_cert **out, size_t max, size_t *n,
                             struct avow_err *err)
{
    for (;;) {
        struct avow_pem_block block;
        bool found;
        enum avow_rc rc = avow_pem_next(&in, &block, &found, err);
        if (rc || !found)
            return rc;
        if (!avow_str_is(block.label, "CERTIFICATE"))
            return avow_err_set(
                err, AVOW_PARSE, 0, "PEM block \"%.*s\" where \"CERTIFICATE\" belongs",
                (int)(block.label.len < 40 ? block.label.len : 40), block.label.ptr);
        size_t before = *n;
        rc = scan_base64(block.base64, out, max, n, err);
        if (rc)
            return rc;
        if (*n != before + 1)
            return avow_err_set(err, AVOW_PARSE, 0, "several certificates in one PEM block");
    }
}

enum avow_rc avow_cert_scan(struct avow_bytes in, struct avow_cert **out, size_t max, size_t *n,
                            struct avow_err *err)
{
    if (avow_pem_is(in))
        return scan_pem(in, out, max, n, err);
    if (in.len &&
        in.ptr[0] == 0x30) /* SEQUENCE; '0' also starts base64, but not of a certificate ("MI") */
        return scan_der(in, out, max, n, err);
    return scan_base64((struct avow_str){(const char *)in.ptr, in.len}, out, max, n, err);
}

enum avow_rc avow_cert_list_parse(struct avow_bytes in, struct avow_cert *out[AVOW_CHAIN_MAX],
                                  size_t *n, struct avow_err *err)
{
    struct avow_cert *certs[AVOW_CHAIN_MAX] = {NULL};
    size_t count = 0;
    if (in.len > AVOW_CERT_LIST_INPUT_MAX)
        return avow_err_set(err, AVOW_LIMIT, 0, "%zu bytes of certificates", in.len);
    enum avow_rc rc = avow_cert_scan(in, certs, AVOW_CHAIN_MAX, &count, err);
    if (!rc && !count)
        rc = avow_err_set(err, AVOW_PARSE, 0, "no certificate");
    if (rc) {
        while (count)
            avow_cert_free(certs[--count]);
        return rc;
    }
    memcpy(out, certs, count * sizeof certs[0]);
    *n = count;
    return AVOW_OK;
}
