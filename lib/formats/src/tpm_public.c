/* tpm_public.c - see tpm_public.h. */
#include "avow/formats/tpm_public.h"

#include "avow/base/banned.h"

/* Algorithms that only appear inside key parameters (Part 2, 6.3, table 9). */
enum {
    ALG_TDES = 0x0003,
    ALG_SM4 = 0x0013,
    ALG_RSAES = 0x0015,
    ALG_OAEP = 0x0017,
    ALG_ECDH = 0x0019,
    ALG_ECDAA = 0x001A,
    ALG_SM2 = 0x001B,
    ALG_ECSCHNORR = 0x001C,
    ALG_ECMQV = 0x001D,
    ALG_CAMELLIA = 0x0026
};

#define AUTH_POLICY_MAX 64u /* the largest digest: Part 2, 10.4.2 TPM2B_DIGEST */
#define MODULUS_MAX 512u    /* RSA-4096 */
#define COORDINATE_MAX 66u  /* P-521: 521 bits, FIPS 186-4, D.1.2.5 */

/* Part 2, 11.1.7 TPMT_SYM_DEF_OBJECT. */
static bool read_symmetric(struct avow_rd *r, struct avow_tpm_public *p)
{
    p->sym_alg = avow_rd_u16be(r);
    switch (p->sym_alg) {
    case AVOW_TPM_ALG_NULL:
        return true;
    case ALG_TDES:
    case AVOW_TPM_ALG_AES:
    case ALG_SM4:
    case ALG_CAMELLIA:
        p->sym_bits = avow_rd_u16be(r);
        p->sym_mode = avow_rd_u16be(r);
        return true;
    default:
        return false;
    }
}

/* Part 2, 11.2.4.2 TPMT_RSA_SCHEME. */
static bool read_rsa_scheme(struct avow_rd *r, struct avow_tpm_public *p)
{
    p->scheme = avow_rd_u16be(r);
    switch (p->scheme) {
    case AVOW_TPM_ALG_NULL:
    case ALG_RSAES:
        return true;
    case AVOW_TPM_ALG_RSASSA:
    case AVOW_TPM_ALG_RSAPSS:
    case ALG_OAEP:
        p->scheme_hash = avow_rd_u16be(r);
        return true;
    default:
        return false;
    }
}

/* Part 2, 11.2.5.6 TPMT_ECC_SCHEME. */
static bool read_ecc_scheme(struct avow_rd *r, struct avow_tpm_public *p)
{
    p->scheme = avow_rd_u16be(r);
    switch (p->scheme) {
    case AVOW_TPM_ALG_NULL:
        return true;
    case AVOW_TPM_ALG_ECDSA:
    case ALG_ECDH:
    case ALG_SM2:
    case ALG_ECSCHNORR:
    case ALG_ECMQV:
        p->scheme_hash = avow_rd_u16be(r);
        return true;
    case ALG_ECDAA:
        p->scheme_hash = avow_rd_u16be(r);
        (void)avow_rd_u16be(r); /* count */
        return true;
    default:
        return false;
    }
}

/* Part 2, 12.2.3.5 TPMS_RSA_PARMS and 11.2.4.5 TPM2B_PUBLIC_KEY_RSA. */
static const char *read_rsa(struct avow_rd *r, struct avow_tpm_public *p)
{
    if (!read_symmetric(r, p))
        return "unknown symmetric algorithm";
    if (!read_rsa_scheme(r, p))
        return "unknown RSA scheme";
    p->rsa_bits = avow_rd_u16be(r);
    p->rsa_exponent = avow_rd_u32be(r);
    p->rsa_modulus = avow_rd_tpm2b(r, MODULUS_MAX);
    if (!r->bad && p->rsa_modulus.len * 8 != p->rsa_bits)
        return "RSA modulus is not as long as keyBits";
    return NULL;
}

static size_t field_size(uint16_t curve)
{
    switch (curve) {
    case AVOW_TPM_ECC_NIST_P256:
        return 32;
    case AVOW_TPM_ECC_NIST_P384:
        return 48;
    case AVOW_TPM_ECC_NIST_P521:
        return 66;
    default:
        return 0;
    }
}

/* Part 2, 12.2.3.6 TPMS_ECC_PARMS and 11.2.5.2 TPMS_ECC_POINT. */
static const char *read_ecc(struct avow_rd *r, struct avow_tpm_public *p)
{
    if (!read_symmetric(r, p))
        return "unknown symmetric algorithm";
    if (!read_ecc_scheme(r, p))
        return "unknown ECC scheme";
    p->curve = avow_rd_u16be(r);
    if (avow_rd_u16be(r) != AVOW_TPM_ALG_NULL) /* TPMT_KDF_SCHEME */
        (void)avow_rd_u16be(r);
    p->ecc_x = avow_rd_tpm2b(r, COORDINATE_MAX);
    p->ecc_y = avow_rd_tpm2b(r, COORDINATE_MAX);
    if (r->bad)
        return NULL;
    size_t field = field_size(p->curve);
    if (!field)
        return "unsupported curve";
    if (!p->ecc_x.len || !p->ecc_y.len || p->ecc_x.len > field || p->ecc_y.len > field)
        return "point coordinates do not fit the curve";
    return NULL;
}

static const char *read_tpmt(struct avow_rd *r, struct avow_tpm_public *p)
{
    p->type = avow_rd_u16be(r);
    p->name_alg = avow_rd_u16be(r);
    p->attributes = avow_rd_u32be(r);
    p->auth_policy = avow_rd_tpm2b(r, AUTH_POLICY_MAX);
    p->sym_alg = AVOW_TPM_ALG_NULL;
    if (r->bad)
        return NULL;
    switch (p->type) {
    case AVOW_TPM_ALG_RSA:
        return read_rsa(r, p);
    case AVOW_TPM_ALG_ECC:
        return read_ecc(r, p);
    default:
        return "neither an RSA nor an ECC key";
    }
}

static enum avow_rc check_size(struct avow_bytes in, struct avow_err *err)
{
    return in.len <= AVOW_TPM_PUBLIC_MAX
               ? AVOW_OK
               : avow_err_set(err, AVOW_LIMIT, 0, "public area has %zu bytes, at most %u are read",
                              in.len, AVOW_TPM_PUBLIC_MAX);
}

enum avow_rc avow_tpmt_public_parse(struct avow_bytes in, struct avow_tpm_public *out,
                                    struct avow_err *err)
{
    enum avow_rc rc = check_size(in, err);
    if (rc)
        return rc;
    struct avow_tpm_public p = {.tpmt = in};
    struct avow_rd r = avow_rd_make(in);
    const char *reason = read_tpmt(&r, &p);
    if (!reason && !avow_rd_done(&r))
        reason = r.bad ? "truncated" : "trailing bytes";
    if (reason)
        return avow_err_set(err, AVOW_PARSE, 0, "public area: %s", reason);
    *out = p;
    return AVOW_OK;
}

enum avow_rc avow_tpm_public_parse(struct avow_bytes in, struct avow_tpm_public *out,
                                   struct avow_err *err)
{
    enum avow_rc rc = check_size(in, err);
    if (rc)
        return rc;
    struct avow_rd outer = avow_rd_make(in);
    struct avow_bytes tpmt = avow_rd_tpm2b(&outer, AVOW_TPM_PUBLIC_MAX);
    if (!avow_rd_done(&outer))
        return avow_err_set(err, AVOW_PARSE, 0, "not one whole TPM2B_PUBLIC");
    return avow_tpmt_public_parse(tpmt, out, err);
}
