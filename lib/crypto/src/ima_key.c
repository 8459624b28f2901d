/* ima_key.c - see ima_key.h. */
#include "avow/crypto/ima_key.h"

#include "cert_internal.h"
#include "key_internal.h"
#include "openssl_err.h"
#include "pem.h"

#include <openssl/bn.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include <string.h>

#include "avow/base/banned.h"

static uint32_t last_four(struct avow_bytes b)
{
    struct avow_rd r = avow_rd_make(avow_bytes_make(b.ptr + b.len - 4, 4));
    return avow_rd_u32be(&r);
}

enum avow_rc avow_ima_key_id(const struct avow_pubkey *k, uint32_t *out, struct avow_err *err)
{
    unsigned char *bits = NULL;
    int len = i2d_PublicKey(k->pkey, &bits);
    if (len <= 0)
        return avow_openssl_err(err, AVOW_NOMEM, "bits of a public key");
    struct avow_digest d;
    avow_digest(AVOW_HASH_SHA1, avow_bytes_make(bits, (size_t)len), &d);
    OPENSSL_free(bits);
    *out = last_four(avow_digest_bytes(&d));
    return AVOW_OK;
}

static enum avow_rc put_key(struct avow_bytes der, const struct avow_ima_key_sink *sink,
                            struct avow_err *err)
{
    AVOW_CLEANUP(avow_pubkey_free) struct avow_pubkey *k = NULL;
    uint32_t id = 0;
    enum avow_rc rc = avow_pubkey_from_spki(der, &k, err);
    if (!rc)
        rc = avow_ima_key_id(k, &id, err);
    if (rc)
        return rc;
    return sink->put(sink->ctx, AVOW_STEAL(k), id, err);
}

static enum avow_rc put_cert(struct avow_bytes der, const struct avow_ima_key_sink *sink,
                             struct avow_err *err)
{
    AVOW_CLEANUP(avow_cert_free) struct avow_cert *c = NULL;
    AVOW_CLEANUP(avow_pubkey_free) struct avow_pubkey *k = NULL;
    uint32_t id = 0;
    enum avow_rc rc = avow_cert_from_der(der, &c, err);
    if (!rc)
        rc = avow_cert_pubkey(c, &k, err);
    if (rc)
        return rc;
    const ASN1_OCTET_STRING *skid = X509_get0_subject_key_id(c->x509);
    int len = skid ? ASN1_STRING_length(skid) : 0;
    if (len >= 4)
        id = last_four(avow_bytes_make(ASN1_STRING_get0_data(skid), (size_t)len));
    else
        rc = avow_ima_key_id(k, &id, err);
    ERR_clear_error();
    return rc ? rc : sink->put(sink->ctx, AVOW_STEAL(k), id, err);
}

static enum avow_rc put_block(const struct avow_pem_block *b, const struct avow_ima_key_sink *sink,
                              struct avow_err *err)
{
    bool is_cert = avow_str_is(b->label, "CERTIFICATE");
    if (!is_cert && !avow_str_is(b->label, "PUBLIC KEY"))
        return avow_err_set(err, AVOW_PARSE, 0,
                            "a PEM block \"%.*s\", neither \"PUBLIC KEY\" nor \"CERTIFICATE\"",
                            (int)(b->label.len < 40 ? b->label.len : 40), b->label.ptr);
    AVOW_CLEANUP_VAL(avow_buf_deinit) struct avow_buf der;
    avow_buf_init(&der, is_cert ? AVOW_CERT_MAX : AVOW_SPKI_MAX);
    enum avow_rc rc = avow_pem_decode(b->base64, &der, err);
    if (rc)
        return rc;
    return is_cert ? put_cert(avow_buf_bytes(&der), sink, err)
                   : put_key(avow_buf_bytes(&der), sink, err);
}

static enum avow_rc read_pem(struct avow_bytes in, const struct avow_ima_key_sink *sink,
                             struct avow_err *err)
{
    for (size_t n = 1;; n++) {
        struct avow_pem_block block;
        bool found;
        enum avow_rc rc = avow_pem_next(&in, &block, &found, err);
        if (!rc && !found)
            return n > 1 ? AVOW_OK : avow_err_set(err, AVOW_PARSE, 0, "no PEM block");
        if (!rc)
            rc = put_block(&block, sink, err);
        if (rc)
            return avow_err_wrap(err, rc, "key %zu", n);
    }
}

/* TBSCertificate begins with a SEQUENCE in both; SPKI's second element is a bit string, so what
 * parses as one cannot be the other. */
enum avow_rc avow_ima_key_read(struct avow_bytes in, const struct avow_ima_key_sink *sink,
                               struct avow_err *err)
{
    struct avow_spki_parts parts;
    if (avow_pem_is(in))
        return read_pem(in, sink, err);
    if (in.len <= AVOW_SPKI_MAX && avow_spki_read(in, &parts))
        return put_key(in, sink, err);
    return put_cert(in, sink, err);
}

bool avow_ima_key_is(struct avow_bytes in)
{
    struct avow_pem_block block;
    bool found;
    if (avow_pem_is(in))
        return !avow_pem_next(&in, &block, &found, NULL) && found &&
               (avow_str_is(block.label, "CERTIFICATE") || avow_str_is(block.label, "PUBLIC KEY"));
    if (in.len < 2 || in.ptr[0] != 0x30 || in.len > AVOW_CERT_MAX)
        return false;
    const uint8_t *p = in.ptr;
    X509 *cert = d2i_X509(NULL, &p, (long)in.len);
    bool is = cert && p == in.ptr + in.len;
    X509_free(cert);
    p = in.ptr;
    X509_PUBKEY *key = is ? NULL : d2i_X509_PUBKEY(NULL, &p, (long)in.len);
    is |= key && p == in.ptr + in.len;
    X509_PUBKEY_free(key);
    ERR_clear_error();
    return is;
}

bool avow_ima_hash_of(uint8_t hash_id, enum avow_hash *out)
{
    static const struct {
        uint8_t id;
        enum avow_hash hash;
    } known[] = {
        {2, AVOW_HASH_SHA1}, {4, AVOW_HASH_SHA256}, {5, AVOW_HASH_SHA384}, {6, AVOW_HASH_SHA512}};
    for (size_t i = 0; i < AVOW_ARRAY_LEN(known); i++) {
        if (known[i].id == hash_id) {
            *out = known[i].hash;
            return true;
        }
    }
    return false;
}

/* What the signature is over: the digest itself; or, so that no file can be made whose digest looks
 * like it, the hash of what kind of digest it is and the digest (struct ima_file_id). */
static bool set_signed_digest(const struct avow_ima_sig *sig, enum avow_hash hash,
                              struct avow_bytes digest, struct avow_digest *out)
{
    if (digest.len != avow_hash_len(hash))
        return false;
    if (sig->kind == AVOW_IMA_SIG_OF_FILE) {
        out->len = digest.len;
        memcpy(out->bytes, digest.ptr, digest.len);
        return true;
    }
    const uint8_t head[] = {sig->type, sig->hash_id};
    const struct avow_bytes pieces[] = {AVOW_BYTES_OF(head), digest};
    avow_digest_pieces(hash, pieces, AVOW_ARRAY_LEN(pieces), out);
    return true;
}

static bool verify_ec(const struct avow_pubkey *k, enum avow_hash hash, struct avow_bytes der,
                      const struct avow_digest *d)
{
    const uint8_t *p = der.ptr;
    ECDSA_SIG *parsed = d2i_ECDSA_SIG(NULL, &p, (long)der.len);
    uint8_t r[AVOW_EC_POINT_MAX], s[AVOW_EC_POINT_MAX];
    bool good = false;
    if (parsed && p == der.ptr + der.len) {
        const BIGNUM *bn_r = ECDSA_SIG_get0_r(parsed), *bn_s = ECDSA_SIG_get0_s(parsed);
        if (!BN_is_negative(bn_r) && !BN_is_negative(bn_s) &&
            (size_t)BN_num_bytes(bn_r) <= k->bytes && (size_t)BN_num_bytes(bn_s) <= k->bytes) {
            const struct avow_sig sig = {.scheme = AVOW_SIG_ECDSA,
                                         .hash = hash,
                                         .r = avow_bytes_make(r, (size_t)BN_bn2bin(bn_r, r)),
                                         .s = avow_bytes_make(s, (size_t)BN_bn2bin(bn_s, s))};
            good = avow_pubkey_verify_tpm_digest(k, &sig, d);
        }
    }
    ECDSA_SIG_free(parsed);
    ERR_clear_error();
    return good;
}

bool avow_ima_sig_verify(const struct avow_pubkey *k, const struct avow_ima_sig *sig,
                         enum avow_hash hash, struct avow_bytes digest)
{
    enum avow_hash named;
    struct avow_digest d;
    if (!avow_ima_hash_of(sig->hash_id, &named) || named != hash ||
        !set_signed_digest(sig, hash, digest, &d))
        return false;
    if (k->kind != AVOW_KEY_RSA)
        return verify_ec(k, hash, sig->sig, &d);
    const struct avow_sig rsa = {.scheme = AVOW_SIG_RSASSA, .hash = hash, .rsa = sig->sig};
    return avow_pubkey_verify_tpm_digest(k, &rsa, &d);
}
