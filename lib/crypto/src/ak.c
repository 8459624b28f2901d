#include "avow/crypto/ak.h"

#include "avow/base/hex.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "avow/base/banned.h"

#define TPM_RH_ENDORSEMENT 0x4000000Bu /* TPM 2.0 Part 2 r1.38, 7.4 */
#define PEM_MAX 2048u

enum { AES_128 = 128, AES_192 = 192, AES_256 = 256 };

struct avow_ak {
    struct avow_tpm_name name;
    struct avow_pubkey *key;
    enum avow_sig_scheme scheme;
    enum avow_hash hash;
};

struct avow_ek {
    struct avow_tpm_name name;
    struct avow_pubkey *key;
    enum avow_hash name_alg;
    unsigned aes_bits;
};

static bool hash_is_known(uint16_t alg)
{
    return avow_hash_len((enum avow_hash)alg) != 0;
}

struct avow_bytes avow_tpm_name_bytes(const struct avow_tpm_name *n)
{
    return avow_bytes_make(n->bytes, n->len);
}

static void name_set(struct avow_tpm_name *out, enum avow_hash alg, const struct avow_bytes *pieces,
                     size_t n)
{
    struct avow_digest d;
    avow_digest_pieces(alg, pieces, n, &d);
    avow_put_u16be(out->bytes, (uint16_t)alg);
    memcpy(out->bytes + 2, d.bytes, d.len);
    out->len = 2 + d.len;
}

static enum avow_rc name_of_public(const struct avow_tpm_public *pub, struct avow_tpm_name *out,
                                   struct avow_err *err)
{
    if (!hash_is_known(pub->name_alg))
        return avow_err_set(err, AVOW_PARSE, 0, "unknown nameAlg 0x%04x", (unsigned)pub->name_alg);
    name_set(out, (enum avow_hash)pub->name_alg, &pub->tpmt, 1);
    return AVOW_OK;
}

enum avow_rc avow_tpm_name_of(struct avow_bytes tpm2b_public, struct avow_tpm_name *out,
                              struct avow_err *err)
{
    struct avow_tpm_public pub;
    enum avow_rc rc = avow_tpm_public_parse(tpm2b_public, &pub, err);
    return rc ? rc : name_of_public(&pub, out, err);
}

static enum avow_hash name_alg(const struct avow_tpm_name *n)
{
    assert(n->len > 2);
    enum avow_hash alg = (enum avow_hash)(n->bytes[0] << 8 | n->bytes[1]);
    assert(n->len == 2 + avow_hash_len(alg));
    return alg;
}

void avow_tpm_qualified_name(const struct avow_tpm_name *const *parents, size_t n,
                             struct avow_tpm_name *out)
{
    uint8_t hierarchy[4];
    struct avow_tpm_name above;
    struct avow_bytes parent = AVOW_BYTES_OF(hierarchy);
    assert(n > 0);
    avow_put_u32be(hierarchy, TPM_RH_ENDORSEMENT);
    for (size_t i = 0; i < n; i++) {
        const struct avow_bytes pieces[] = {parent, avow_tpm_name_bytes(parents[i])};
        struct avow_tpm_name qualified;
        name_set(&qualified, name_alg(parents[i]), pieces, 2);
        above = qualified;
        parent = avow_tpm_name_bytes(&above);
    }
    *out = above;
}

static enum avow_key_kind curve_kind(uint16_t curve)
{
    switch (curve) {
    case AVOW_TPM_ECC_NIST_P256:
        return AVOW_KEY_EC_P256;
    case AVOW_TPM_ECC_NIST_P384:
        return AVOW_KEY_EC_P384;
    case AVOW_TPM_ECC_NIST_P521:
        return AVOW_KEY_EC_P521;
    default:
        return AVOW_KEY_RSA; /* refused by avow_pubkey_from_ec */
    }
}

enum avow_rc avow_tpm_public_key(const struct avow_tpm_public *pub, struct avow_pubkey **out,
                                 struct avow_err *err)
{
    if (pub->type == AVOW_TPM_ALG_RSA)
        return avow_pubkey_from_rsa(pub->rsa_modulus, pub->rsa_exponent, out, err);
    if (pub->type == AVOW_TPM_ALG_ECC)
        return avow_pubkey_from_ec(curve_kind(pub->curve), pub->ecc_x, pub->ecc_y, out, err);
    return avow_err_set(err, AVOW_PARSE, 0, "public area of type 0x%04x", (unsigned)pub->type);
}

/* One row per attribute that a key must have, or must not have (PROTOCOL R27). */
struct attribute_rule {
    uint32_t bit;
    bool wanted;
    const char *name;
};

static enum avow_rc check_attributes(const struct avow_tpm_public *pub, const char *what,
                                     const struct attribute_rule *rules, size_t n,
                                     struct avow_err *err)
{
    for (size_t i = 0; i < n; i++)
        if (!!(pub->attributes & rules[i].bit) != rules[i].wanted)
            return avow_err_set(err, AVOW_REFUSED, 0, "%s %s %s", what,
                                rules[i].wanted ? "lacks" : "has", rules[i].name);
    if (!hash_is_known(pub->name_alg) || pub->name_alg == AVOW_HASH_SHA1)
        return avow_err_set(err, AVOW_REFUSED, 0,
                            "%s has nameAlg 0x%04x; SHA-256, SHA-384 or SHA-512 is needed", what,
                            (unsigned)pub->name_alg);
    return AVOW_OK;
}

static enum avow_rc check_ak(const struct avow_tpm_public *pub, struct avow_err *err)
{
    static const struct attribute_rule RULES[] = {
        {AVOW_TPMA_FIXED_TPM, true, "fixedTPM"},
        {AVOW_TPMA_FIXED_PARENT, true, "fixedParent"},
        {AVOW_TPMA_SENSITIVE_DATA_ORIGIN, true, "sensitiveDataOrigin"},
        {AVOW_TPMA_RESTRICTED, true, "restricted"},
        {AVOW_TPMA_SIGN, true, "sign"},
        {AVOW_TPMA_DECRYPT, false, "decrypt"},
    };
    enum avow_rc rc = check_attributes(pub, "AK", RULES, AVOW_ARRAY_LEN(RULES), err);
    if (rc)
        return rc;
    bool rsa = pub->scheme == AVOW_TPM_ALG_RSASSA || pub->scheme == AVOW_TPM_ALG_RSAPSS;
    if (pub->type == AVOW_TPM_ALG_RSA ? !rsa : pub->scheme != AVOW_TPM_ALG_ECDSA)
        return avow_err_set(err, AVOW_REFUSED, 0,
                            "AK has scheme 0x%04x; RSASSA, RSAPSS or ECDSA is needed",
                            (unsigned)pub->scheme);
    if (!hash_is_known(pub->scheme_hash))
        return avow_err_set(err, AVOW_REFUSED, 0, "AK signs with hash 0x%04x",
                            (unsigned)pub->scheme_hash);
    return AVOW_OK;
}

static enum avow_rc ak_of_public(const struct avow_tpm_public *pub, struct avow_ak **out,
                                 struct avow_err *err)
{
    enum avow_rc rc = check_ak(pub, err);
    if (rc)
        return rc;
    AVOW_CLEANUP(avow_ak_free) struct avow_ak *ak = calloc(1, sizeof *ak);
    if (!ak)
        return avow_err_set(err, AVOW_NOMEM, 0, "AK");
    ak->scheme = (enum avow_sig_scheme)pub->scheme;
    ak->hash = (enum avow_hash)pub->scheme_hash;
    rc = name_of_public(pub, &ak->name, err);
    if (!rc)
        rc = avow_tpm_public_key(pub, &ak->key, err);
    if (rc)
        return avow_err_wrap(err, rc, "AK");
    *out = AVOW_STEAL(ak);
    return AVOW_OK;
}

enum avow_rc avow_ak_parse(struct avow_bytes tpm2b_public, struct avow_ak **out,
                           struct avow_err *err)
{
    struct avow_tpm_public pub;
    enum avow_rc rc = avow_tpm_public_parse(tpm2b_public, &pub, err);
    return rc ? rc : ak_of_public(&pub, out, err);
}

static enum avow_rc ak_of_pem(struct avow_bytes pem, struct avow_ak **out, struct avow_err *err)
{
    AVOW_CLEANUP(avow_ak_free) struct avow_ak *ak = calloc(1, sizeof *ak);
    if (!ak)
        return avow_err_set(err, AVOW_NOMEM, 0, "AK");
    enum avow_rc rc = avow_pubkey_from_pem(pem, &ak->key, err);
    if (rc)
        return avow_err_wrap(err, rc, "AK");
    *out = AVOW_STEAL(ak);
    return AVOW_OK;
}

/* A TPMT_PUBLIC begins with its type, 0x0001 or 0x0023; a TPM2B_PUBLIC with a length that is
 * neither, because no public area is so short. */
enum avow_rc avow_ak_load(struct avow_bytes in, struct avow_ak **out, struct avow_err *err)
{
    struct avow_tpm_public pub;
    struct avow_rd r = avow_rd_make(in);
    uint16_t first = avow_rd_u16be(&r);
    if (avow_str_starts((struct avow_str){(const char *)in.ptr, in.len}, "-----BEGIN"))
        return ak_of_pem(in, out, err);
    if (first != AVOW_TPM_ALG_RSA && first != AVOW_TPM_ALG_ECC)
        return avow_ak_parse(in, out, err);
    enum avow_rc rc = avow_tpmt_public_parse(in, &pub, err);
    return rc ? rc : ak_of_public(&pub, out, err);
}

void avow_ak_free(struct avow_ak *ak)
{
    if (!ak)
        return;
    avow_pubkey_free(ak->key);
    free(ak);
}

const struct avow_tpm_name *avow_ak_name(const struct avow_ak *ak)
{
    return &ak->name;
}

const struct avow_pubkey *avow_ak_key(const struct avow_ak *ak)
{
    return ak->key;
}

enum avow_sig_scheme avow_ak_scheme(const struct avow_ak *ak)
{
    return ak->scheme;
}

enum avow_hash avow_ak_hash(const struct avow_ak *ak)
{
    return ak->hash;
}

static enum avow_rc check_ek(const struct avow_tpm_public *pub, struct avow_err *err)
{
    static const struct attribute_rule RULES[] = {
        {AVOW_TPMA_FIXED_TPM, true, "fixedTPM"},
        {AVOW_TPMA_FIXED_PARENT, true, "fixedParent"},
        {AVOW_TPMA_SENSITIVE_DATA_ORIGIN, true, "sensitiveDataOrigin"},
        {AVOW_TPMA_RESTRICTED, true, "restricted"},
        {AVOW_TPMA_DECRYPT, true, "decrypt"},
        {AVOW_TPMA_SIGN, false, "sign"},
        {AVOW_TPMA_ST_CLEAR, false, "stClear"},
        {AVOW_TPMA_ENCRYPTED_DUPLICATION, false, "encryptedDuplication"},
    };
    const uint32_t known = AVOW_TPMA_FIXED_TPM | AVOW_TPMA_FIXED_PARENT |
                           AVOW_TPMA_SENSITIVE_DATA_ORIGIN | AVOW_TPMA_RESTRICTED |
                           AVOW_TPMA_DECRYPT | AVOW_TPMA_ADMIN_WITH_POLICY |
                           AVOW_TPMA_USER_WITH_AUTH | AVOW_TPMA_NO_DA;
    enum avow_rc rc = check_attributes(pub, "EK", RULES, AVOW_ARRAY_LEN(RULES), err);
    if (rc)
        return rc;
    if (pub->attributes & ~known)
        return avow_err_set(err, AVOW_REFUSED, 0, "EK has attributes 0x%08x that no template has",
                            (unsigned)(pub->attributes & ~known));
    /* Without a policy, and without a password, it would be a key that nobody can use. */
    size_t policy = pub->auth_policy.len;
    if (policy ? policy != avow_hash_len((enum avow_hash)pub->name_alg)
               : !(pub->attributes & AVOW_TPMA_USER_WITH_AUTH))
        return avow_err_set(err, AVOW_REFUSED, 0, "EK has an authPolicy of %zu bytes", policy);
    bool bits = pub->sym_bits == AES_128 || pub->sym_bits == AES_192 || pub->sym_bits == AES_256;
    if (pub->sym_alg != AVOW_TPM_ALG_AES || pub->sym_mode != AVOW_TPM_ALG_CFB || !bits)
        return avow_err_set(err, AVOW_REFUSED, 0,
                            "EK has symmetric algorithm 0x%04x-%u mode 0x%04x; AES-CFB is needed",
                            (unsigned)pub->sym_alg, (unsigned)pub->sym_bits,
                            (unsigned)pub->sym_mode);
    if (pub->scheme != AVOW_TPM_ALG_NULL)
        return avow_err_set(err, AVOW_REFUSED, 0, "EK has scheme 0x%04x; a storage key has none",
                            (unsigned)pub->scheme);
    return AVOW_OK;
}

enum avow_rc avow_ek_parse(struct avow_bytes tpm2b_public, struct avow_ek **out,
                           struct avow_err *err)
{
    struct avow_tpm_public pub;
    enum avow_rc rc = avow_tpm_public_parse(tpm2b_public, &pub, err);
    if (!rc)
        rc = check_ek(&pub, err);
    if (rc)
        return rc;
    AVOW_CLEANUP(avow_ek_free) struct avow_ek *ek = calloc(1, sizeof *ek);
    if (!ek)
        return avow_err_set(err, AVOW_NOMEM, 0, "EK");
    ek->name_alg = (enum avow_hash)pub.name_alg;
    ek->aes_bits = pub.sym_bits;
    rc = name_of_public(&pub, &ek->name, err);
    if (!rc)
        rc = avow_tpm_public_key(&pub, &ek->key, err);
    if (rc)
        return avow_err_wrap(err, rc, "EK");
    *out = AVOW_STEAL(ek);
    return AVOW_OK;
}

void avow_ek_free(struct avow_ek *ek)
{
    if (!ek)
        return;
    avow_pubkey_free(ek->key);
    free(ek);
}

const struct avow_tpm_name *avow_ek_name(const struct avow_ek *ek)
{
    return &ek->name;
}

const struct avow_pubkey *avow_ek_key(const struct avow_ek *ek)
{
    return ek->key;
}

struct avow_credential_ek avow_ek_credential(const struct avow_ek *ek)
{
    return (struct avow_credential_ek){ek->key, ek->name_alg, ek->aes_bits};
}

enum avow_rc avow_ek_hash_id(const struct avow_ek *ek, char out[65], struct avow_err *err)
{
    AVOW_CLEANUP_VAL(avow_buf_deinit) struct avow_buf pem;
    avow_buf_init(&pem, PEM_MAX);
    enum avow_rc rc = avow_pubkey_pem(ek->key, &pem, err);
    if (rc)
        return rc;
    uint8_t digest[AVOW_SHA256_LEN];
    avow_sha256(avow_buf_bytes(&pem), digest);
    avow_hex_encode(out, AVOW_BYTES_OF(digest));
    return AVOW_OK;
}
