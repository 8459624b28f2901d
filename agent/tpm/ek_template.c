#include "ek_template.h"

#include <assert.h>
#include <string.h>

#include "avow/base/banned.h"

#define P256_BYTES 32u
#define LOW_ATTRIBUTES                                                                             \
    (TPMA_OBJECT_FIXEDTPM | TPMA_OBJECT_FIXEDPARENT | TPMA_OBJECT_SENSITIVEDATAORIGIN |            \
     TPMA_OBJECT_ADMINWITHPOLICY | TPMA_OBJECT_RESTRICTED | TPMA_OBJECT_DECRYPT)

static const struct avow_ek_template templates[] = {
    [AVOW_TPM_EK_L1] = {"L-1", false, 0x01C00002, 0x01C00003, 0x01C00004, TPM2_ALG_RSA, 2048, 0,
                        TPM2_ALG_SHA256, 128},
    [AVOW_TPM_EK_L2] = {"L-2", false, 0x01C0000A, 0x01C0000B, 0x01C0000C, TPM2_ALG_ECC, 0,
                        TPM2_ECC_NIST_P256, TPM2_ALG_SHA256, 128},
    [AVOW_TPM_EK_H1] = {"H-1", true, 0x01C00012, 0, 0x01C00013, TPM2_ALG_RSA, 2048, 0,
                        TPM2_ALG_SHA256, 128},
    [AVOW_TPM_EK_H2] = {"H-2", true, 0x01C00014, 0, 0x01C00015, TPM2_ALG_ECC, 0, TPM2_ECC_NIST_P256,
                        TPM2_ALG_SHA256, 128},
    [AVOW_TPM_EK_H3] = {"H-3", true, 0x01C00016, 0, 0x01C00017, TPM2_ALG_ECC, 0, TPM2_ECC_NIST_P384,
                        TPM2_ALG_SHA384, 256},
    [AVOW_TPM_EK_H4] = {"H-4", true, 0x01C00018, 0, 0x01C00019, TPM2_ALG_ECC, 0, TPM2_ECC_NIST_P521,
                        TPM2_ALG_SHA512, 256},
    [AVOW_TPM_EK_H6] = {"H-6", true, 0x01C0001C, 0, 0x01C0001D, TPM2_ALG_RSA, 3072, 0,
                        TPM2_ALG_SHA384, 256},
    [AVOW_TPM_EK_H7] = {"H-7", true, 0x01C0001E, 0, 0x01C0001F, TPM2_ALG_RSA, 4096, 0,
                        TPM2_ALG_SHA384, 256},
};

const struct avow_ek_template *avow_ek_template_of(enum avow_tpm_ek which)
{
    assert(which > AVOW_TPM_EK_AUTO && (size_t)which < AVOW_ARRAY_LEN(templates));
    return &templates[which];
}

const char *avow_tpm_ek_name(enum avow_tpm_ek which)
{
    return which == AVOW_TPM_EK_AUTO ? "auto" : avow_ek_template_of(which)->name;
}

bool avow_tpm_ek_parse(const char *text, enum avow_tpm_ek *out)
{
    for (size_t i = 0; i < AVOW_ARRAY_LEN(templates); i++) {
        if (avow_cstr_eq(text, avow_tpm_ek_name((enum avow_tpm_ek)i))) {
            *out = (enum avow_tpm_ek)i;
            return true;
        }
    }
    return false;
}

/* --- Policies: computed as the TPM computes them, so that no table can be wrong (Part 1, 19.7) ---
 */

#define RH_ENDORSEMENT 0x4000000Bu
#define CC_POLICY_SECRET 0x00000151u
#define CC_POLICY_OR 0x00000171u
#define CC_POLICY_AUTHORIZE_NV 0x00000192u
/* TPMS_NV_PUBLIC of the vendor's policy index: policyWrite, writeAll, readable by everybody, noDA,
 * written (profile, B.6.4). */
#define NV_POLICY_FIRST 0x01C07F01u
#define NV_POLICY_ATTRIBUTES 0x220F1008u

struct policies {
    struct avow_digest a, b, c;
};

/* H(0...0 || command || data) */
static void policy_update(enum avow_hash alg, uint32_t command, struct avow_bytes data,
                          struct avow_digest *out)
{
    static const uint8_t zeros[AVOW_DIGEST_MAX];
    uint8_t code[4];
    avow_put_u32be(code, command);
    const struct avow_bytes pieces[] = {avow_bytes_make(zeros, avow_hash_len(alg)),
                                        AVOW_BYTES_OF(code), data};
    avow_digest_pieces(alg, pieces, 3, out);
}

static void policy_a(enum avow_hash alg, struct avow_digest *out)
{
    uint8_t name[4];
    struct avow_digest once;
    avow_put_u32be(name, RH_ENDORSEMENT);
    policy_update(alg, CC_POLICY_SECRET, AVOW_BYTES_OF(name), &once);
    avow_digest(alg, avow_digest_bytes(&once), out); /* with the empty policyRef */
}

static uint32_t nv_policy_index(enum avow_hash alg)
{
    return NV_POLICY_FIRST + (alg == AVOW_HASH_SHA384 ? 1u : alg == AVOW_HASH_SHA512 ? 2u : 0u);
}

static void policy_c(enum avow_hash alg, const struct avow_digest *a, struct avow_digest *out)
{
    uint8_t head[12], tail[2], name[2 + AVOW_DIGEST_MAX];
    struct avow_digest public_digest;
    avow_put_u32be(head, nv_policy_index(alg));
    avow_put_u16be(head + 4, (uint16_t)alg);
    avow_put_u32be(head + 6, NV_POLICY_ATTRIBUTES);
    avow_put_u16be(head + 10, (uint16_t)a->len);
    avow_put_u16be(tail, (uint16_t)(2 + a->len)); /* dataSize: nameAlg and digest */
    const struct avow_bytes pieces[] = {AVOW_BYTES_OF(head), avow_digest_bytes(a),
                                        AVOW_BYTES_OF(tail)};
    avow_digest_pieces(alg, pieces, 3, &public_digest);
    avow_put_u16be(name, (uint16_t)alg);
    memcpy(name + 2, public_digest.bytes, public_digest.len);
    policy_update(alg, CC_POLICY_AUTHORIZE_NV, avow_bytes_make(name, 2 + public_digest.len), out);
}

static void compute_policies(enum avow_hash alg, struct policies *out)
{
    uint8_t both[2 * AVOW_DIGEST_MAX];
    policy_a(alg, &out->a);
    policy_c(alg, &out->a, &out->c);
    memcpy(both, out->a.bytes, out->a.len);
    memcpy(both + out->a.len, out->c.bytes, out->c.len);
    policy_update(alg, CC_POLICY_OR, avow_bytes_make(both, out->a.len + out->c.len), &out->b);
}

static void set_digest(TPM2B_DIGEST *out, const struct avow_digest *d)
{
    out->size = (UINT16)d->len;
    memcpy(out->buffer, d->bytes, d->len);
}

void avow_ek_policy_branches(enum avow_hash alg, TPML_DIGEST *out)
{
    struct policies p;
    compute_policies(alg, &p);
    out->count = 2;
    set_digest(&out->digests[0], &p.a);
    set_digest(&out->digests[1], &p.c);
}

static bool policy_is(const TPM2B_DIGEST *have, const struct avow_digest *d)
{
    return have->size <= sizeof have->buffer &&
           avow_bytes_eq(avow_bytes_make(have->buffer, have->size), avow_digest_bytes(d));
}

enum avow_ek_auth avow_ek_auth_of(const TPM2B_PUBLIC *p)
{
    const TPMT_PUBLIC *a = &p->publicArea;
    if (avow_hash_len((enum avow_hash)a->nameAlg)) {
        struct policies known;
        compute_policies((enum avow_hash)a->nameAlg, &known);
        if (policy_is(&a->authPolicy, &known.a))
            return AVOW_EK_AUTH_POLICY_A;
        if (policy_is(&a->authPolicy, &known.b))
            return AVOW_EK_AUTH_POLICY_B;
    }
    return a->objectAttributes & TPMA_OBJECT_USERWITHAUTH ? AVOW_EK_AUTH_PASSWORD
                                                          : AVOW_EK_AUTH_NONE;
}

/* --- Templates --- */

static TPMT_SYM_DEF_OBJECT aes_cfb(uint16_t bits)
{
    return (TPMT_SYM_DEF_OBJECT){
        .algorithm = TPM2_ALG_AES, .keyBits.aes = bits, .mode.aes = TPM2_ALG_CFB};
}

TPM2B_PUBLIC avow_ek_template_public(const struct avow_ek_template *e)
{
    struct policies policies;
    TPM2B_PUBLIC p = {.publicArea = {.type = e->type,
                                     .nameAlg = e->name_alg,
                                     .objectAttributes = LOW_ATTRIBUTES}};
    TPMT_PUBLIC *a = &p.publicArea;
    if (e->high)
        a->objectAttributes |= TPMA_OBJECT_USERWITHAUTH;
    compute_policies((enum avow_hash)e->name_alg, &policies);
    set_digest(&a->authPolicy, e->high ? &policies.b : &policies.a);
    /* In the low range `unique` is as long as the key, in the high range it is empty. */
    if (e->type == TPM2_ALG_RSA) {
        a->parameters.rsaDetail.symmetric = aes_cfb(e->aes_bits);
        a->parameters.rsaDetail.scheme.scheme = TPM2_ALG_NULL;
        a->parameters.rsaDetail.keyBits = e->rsa_bits;
        a->unique.rsa.size = e->high ? 0 : (UINT16)(e->rsa_bits / 8u);
    } else {
        a->parameters.eccDetail.symmetric = aes_cfb(e->aes_bits);
        a->parameters.eccDetail.scheme.scheme = TPM2_ALG_NULL;
        a->parameters.eccDetail.curveID = e->curve;
        a->parameters.eccDetail.kdf.scheme = TPM2_ALG_NULL;
        a->unique.ecc.x.size = a->unique.ecc.y.size = e->high ? 0 : P256_BYTES;
    }
    return p;
}

bool avow_ek_template_set_nonce(TPM2B_PUBLIC *p, struct avow_bytes nonce)
{
    TPMT_PUBLIC *a = &p->publicArea;
    if (a->type == TPM2_ALG_RSA) {
        size_t size = a->parameters.rsaDetail.keyBits / 8u;
        if (nonce.len > size || size > sizeof a->unique.rsa.buffer)
            return false;
        memset(a->unique.rsa.buffer, 0, sizeof a->unique.rsa.buffer);
        memcpy(a->unique.rsa.buffer, nonce.ptr, nonce.len);
        a->unique.rsa.size = (UINT16)size;
        return true;
    }
    if (a->type != TPM2_ALG_ECC || nonce.len > P256_BYTES)
        return false;
    memset(&a->unique.ecc, 0, sizeof a->unique.ecc);
    memcpy(a->unique.ecc.x.buffer, nonce.ptr, nonce.len);
    a->unique.ecc.x.size = a->unique.ecc.y.size = P256_BYTES;
    return true;
}

static bool aes_eq(const TPMT_SYM_DEF_OBJECT *a, const TPMT_SYM_DEF_OBJECT *b)
{
    return a->algorithm == b->algorithm && a->keyBits.aes == b->keyBits.aes &&
           a->mode.aes == b->mode.aes;
}

bool avow_ek_template_fits(const TPM2B_PUBLIC *p, const TPM2B_PUBLIC *want)
{
    const TPMT_PUBLIC *a = &p->publicArea, *b = &want->publicArea;
    if (a->type != b->type || a->nameAlg != b->nameAlg ||
        a->objectAttributes != b->objectAttributes ||
        a->authPolicy.size > sizeof a->authPolicy.buffer ||
        b->authPolicy.size > sizeof b->authPolicy.buffer ||
        !avow_bytes_eq(avow_bytes_make(a->authPolicy.buffer, a->authPolicy.size),
                       avow_bytes_make(b->authPolicy.buffer, b->authPolicy.size)))
        return false;
    if (a->type == TPM2_ALG_RSA) {
        const TPMS_RSA_PARMS *ra = &a->parameters.rsaDetail, *rb = &b->parameters.rsaDetail;
        return aes_eq(&ra->symmetric, &rb->symmetric) && ra->scheme.scheme == rb->scheme.scheme &&
               ra->keyBits == rb->keyBits && ra->exponent == rb->exponent;
    }
    if (a->type != TPM2_ALG_ECC)
        return false;
    const TPMS_ECC_PARMS *ea = &a->parameters.eccDetail, *eb = &b->parameters.eccDetail;
    return aes_eq(&ea->symmetric, &eb->symmetric) && ea->scheme.scheme == eb->scheme.scheme &&
           ea->curveID == eb->curveID && ea->kdf.scheme == eb->kdf.scheme;
}
