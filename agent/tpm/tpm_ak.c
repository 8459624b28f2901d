#include "tpm_internal.h"

#include "avow/crypto/ak.h"

#include <assert.h>
#include <string.h>
#include <tss2/tss2_mu.h>

#include "avow/base/banned.h"

#define BLOB_MAX 4096u

/* Version 1 knew template L-1 only and did not name the EK. */
static const char magic_1[8] = {'A', 'V', 'O', 'W', 'A', 'K', '1', '\n'};
static const char magic_2[8] = {'A', 'V', 'O', 'W', 'A', 'K', '2', '\n'};

/* --- Algorithms --- */

static const struct ak_kind {
    const char *name;
    TPMI_ALG_PUBLIC type;
    TPMI_ALG_SIG_SCHEME scheme;
    TPMI_ALG_HASH hash; /* of scheme and name */
    TPMI_ECC_CURVE curve;
    uint16_t rsa_bits;
} kinds[] = {
    [AVOW_TPM_AK_RSASSA] = {"rsassa", TPM2_ALG_RSA, TPM2_ALG_RSASSA, TPM2_ALG_SHA256, 0, 2048},
    [AVOW_TPM_AK_RSAPSS] = {"rsapss", TPM2_ALG_RSA, TPM2_ALG_RSAPSS, TPM2_ALG_SHA256, 0, 2048},
    [AVOW_TPM_AK_ECDSA] = {"ecdsa", TPM2_ALG_ECC, TPM2_ALG_ECDSA, TPM2_ALG_SHA256,
                           TPM2_ECC_NIST_P256, 0},
    [AVOW_TPM_AK_ECDSA_P384] = {"ecdsa-p384", TPM2_ALG_ECC, TPM2_ALG_ECDSA, TPM2_ALG_SHA384,
                                TPM2_ECC_NIST_P384, 0},
};

const char *avow_tpm_ak_alg_name(enum avow_tpm_ak_alg alg)
{
    return kinds[alg].name;
}

bool avow_tpm_ak_alg_parse(const char *text, enum avow_tpm_ak_alg *out)
{
    for (size_t i = 0; i < AVOW_ARRAY_LEN(kinds); i++) {
        if (avow_cstr_eq(text, kinds[i].name)) {
            *out = (enum avow_tpm_ak_alg)i;
            return true;
        }
    }
    return false;
}

/* What PROTOCOL R27 demands of an AK. noDA: an empty password cannot be guessed wrong, and a TPM in
 * lock-out must still attest. */
static TPM2B_PUBLIC ak_template(const struct ak_kind *k)
{
    TPM2B_PUBLIC p = {.publicArea = {
                          .type = k->type,
                          .nameAlg = k->hash,
                          .objectAttributes = TPMA_OBJECT_FIXEDTPM | TPMA_OBJECT_FIXEDPARENT |
                                              TPMA_OBJECT_SENSITIVEDATAORIGIN |
                                              TPMA_OBJECT_USERWITHAUTH | TPMA_OBJECT_NODA |
                                              TPMA_OBJECT_RESTRICTED | TPMA_OBJECT_SIGN_ENCRYPT,
                      }};
    if (k->type == TPM2_ALG_ECC) {
        TPMS_ECC_PARMS *ecc = &p.publicArea.parameters.eccDetail;
        ecc->symmetric.algorithm = TPM2_ALG_NULL;
        ecc->scheme.scheme = k->scheme;
        ecc->scheme.details.ecdsa.hashAlg = k->hash;
        ecc->curveID = k->curve;
        ecc->kdf.scheme = TPM2_ALG_NULL;
        return p;
    }
    TPMS_RSA_PARMS *rsa = &p.publicArea.parameters.rsaDetail;
    rsa->symmetric.algorithm = TPM2_ALG_NULL;
    rsa->scheme.scheme = k->scheme;
    rsa->scheme.details.anySig.hashAlg = k->hash;
    rsa->keyBits = k->rsa_bits;
    return p;
}

static bool is_kind(const TPMT_PUBLIC *p, const struct ak_kind *k)
{
    if (p->type != k->type || p->nameAlg != k->hash)
        return false;
    if (p->type == TPM2_ALG_ECC) {
        const TPMS_ECC_PARMS *ecc = &p->parameters.eccDetail;
        return ecc->scheme.scheme == k->scheme && ecc->curveID == k->curve &&
               ecc->scheme.details.ecdsa.hashAlg == k->hash;
    }
    const TPMS_RSA_PARMS *rsa = &p->parameters.rsaDetail;
    return rsa->scheme.scheme == k->scheme && rsa->keyBits == k->rsa_bits &&
           rsa->scheme.details.anySig.hashAlg == k->hash;
}

/* For a message. */
static const char *kind_name(const TPMT_PUBLIC *p)
{
    for (size_t i = 0; i < AVOW_ARRAY_LEN(kinds); i++)
        if (is_kind(p, &kinds[i]))
            return kinds[i].name;
    return "unknown";
}

/* --- Making --- */

static TSS2_RC create_ak(struct avow_tpm *t, enum avow_tpm_ak_alg alg, TPM2B_PRIVATE **priv,
                         TPM2B_PUBLIC **pub)
{
    const TPM2B_PUBLIC tmpl = ak_template(&kinds[alg]);
    const TPM2B_SENSITIVE_CREATE sensitive = {0};
    const TPM2B_DATA outside = {0};
    const TPML_PCR_SELECTION creation = {0};
    ESYS_TR session = ESYS_TR_NONE;
    TSS2_RC rc = avow_tpm_ek_session(t, &session);
    if (!rc)
        rc = Esys_Create(t->esys, t->ek.handle, session, ESYS_TR_NONE, ESYS_TR_NONE, &sensitive,
                         &tmpl, &outside, &creation, priv, pub, NULL, NULL, NULL);
    avow_tpm_flush(t, &session);
    return rc;
}

/* TPM2B_NAME of the EK. */
static enum avow_rc put_ek_name(const struct avow_tpm *t, struct avow_buf *out,
                                struct avow_err *err)
{
    AVOW_CLEANUP_VAL(avow_buf_deinit) struct avow_buf pub;
    struct avow_tpm_name name;
    avow_buf_init(&pub, sizeof(TPM2B_PUBLIC));
    enum avow_rc rc = avow_tpm_put_public(&t->ek_public, &pub, err);
    if (!rc)
        rc = avow_tpm_name_of(avow_buf_bytes(&pub), &name, err);
    if (rc)
        return avow_err_wrap(err, rc, "EK");
    avow_buf_put_u16be(out, (uint16_t)name.len);
    avow_buf_put(out, name.bytes, name.len);
    return avow_buf_status(out, err);
}

/* magic, NV index of the EK's certificate (it names the template), EK name, AK public, private */
static enum avow_rc put_blob(const struct avow_tpm *t, const TPM2B_PRIVATE *priv,
                             const TPM2B_PUBLIC *pub, struct avow_buf *blob, struct avow_err *err)
{
    avow_buf_put(blob, magic_2, sizeof magic_2);
    avow_buf_put_u32be(blob, avow_ek_template_of(t->ek_which)->nv_cert);
    enum avow_rc rc = put_ek_name(t, blob, err);
    if (!rc)
        rc = avow_tpm_put_public(pub, blob, err);
    if (rc)
        return rc;
    avow_buf_put_u16be(blob, priv->size);
    avow_buf_put(blob, priv->buffer, priv->size);
    return avow_buf_status(blob, err);
}

enum avow_rc avow_tpm_ak_create(struct avow_tpm *t, enum avow_tpm_ak_alg alg, struct avow_buf *blob,
                                struct avow_err *err)
{
    enum avow_rc rc = avow_tpm_need_ek(t, err);
    if (rc)
        return rc;
    TPM2B_PRIVATE *priv = NULL;
    TPM2B_PUBLIC *pub = NULL;
    TSS2_RC trc = create_ak(t, alg, &priv, &pub);
    if (trc && avow_tpm_rc_is_full(trc)) {
        avow_tpm_flush_leftovers(t); /* takes the EK with it */
        rc = avow_tpm_need_ek(t, err);
        if (rc)
            return rc;
        trc = create_ak(t, alg, &priv, &pub);
    }
    if (trc)
        return avow_tpm_fail(t, trc, "AK (TPM2_Create)", err);
    rc = put_blob(t, priv, pub, blob, err);
    Esys_Free(priv);
    Esys_Free(pub);
    return rc;
}

/* --- Loading --- */

struct blob {
    TPM2_HANDLE nv_cert;       /* names the template */
    struct avow_bytes ek_name; /* empty: version 1 */
    TPM2B_PUBLIC pub;
    TPM2B_PRIVATE priv;
};

static bool starts_with(struct avow_bytes b, const char magic[8])
{
    return b.len >= 8 && avow_bytes_eq(avow_bytes_make(b.ptr, 8), avow_bytes_make(magic, 8));
}

static enum avow_rc parse_blob(struct avow_bytes in, struct blob *out, struct avow_err *err)
{
    struct avow_rd r = avow_rd_make(in);
    (void)avow_rd_take(&r, sizeof magic_2);
    *out = (struct blob){.nv_cert = avow_ek_template_of(AVOW_TPM_EK_L1)->nv_cert};
    if (in.len > BLOB_MAX || (!starts_with(in, magic_1) && !starts_with(in, magic_2)))
        return avow_err_set(err, AVOW_PARSE, 0, "not a saved AK");
    if (starts_with(in, magic_2)) {
        out->nv_cert = avow_rd_u32be(&r);
        out->ek_name = avow_rd_tpm2b(&r, AVOW_TPM_NAME_MAX);
    }
    size_t at = 0, len = avow_rd_left(&r);
    if (r.bad || Tss2_MU_TPM2B_PUBLIC_Unmarshal(r.p, len, &at, &out->pub) ||
        Tss2_MU_TPM2B_PRIVATE_Unmarshal(r.p, len, &at, &out->priv) || at != len)
        return avow_err_set(err, AVOW_PARSE, 0, "damaged AK");
    return AVOW_OK;
}

static const char *template_name(TPM2_HANDLE nv_cert)
{
    for (int i = AVOW_TPM_EK_L1; i <= AVOW_TPM_EK_H7; i++)
        if (avow_ek_template_of((enum avow_tpm_ek)i)->nv_cert == nv_cert)
            return avow_tpm_ek_name((enum avow_tpm_ek)i);
    return "unknown";
}

/* Is it the AK that the configuration asks for, below the EK that this TPM has? */
static enum avow_rc check_blob(const struct avow_tpm *t, const struct blob *b,
                               const struct ak_kind *k, struct avow_err *err)
{
    if (!is_kind(&b->pub.publicArea, k))
        return avow_err_set(err, AVOW_CONFIG, 0, "the saved AK is %s, tpm.ak_alg says %s",
                            kind_name(&b->pub.publicArea), k->name);
    if (b->nv_cert != avow_ek_template_of(t->ek_which)->nv_cert)
        return avow_err_set(err, AVOW_CONFIG, 0,
                            "the saved AK is below the EK of template %s, tpm.ek now means %s",
                            template_name(b->nv_cert), avow_tpm_ek_name(t->ek_which));
    if (!b->ek_name.len)
        return AVOW_OK; /* the TPM will tell */
    AVOW_CLEANUP_VAL(avow_buf_deinit) struct avow_buf name;
    avow_buf_init(&name, 2 + AVOW_TPM_NAME_MAX);
    enum avow_rc rc = put_ek_name(t, &name, err);
    if (rc)
        return rc;
    if (!avow_bytes_eq(avow_bytes_make(name.ptr + 2, name.len - 2), b->ek_name))
        return avow_err_set(err, AVOW_REFUSED, 0, "the saved AK belongs to another TPM's EK");
    return AVOW_OK;
}

static TSS2_RC load_ak(struct avow_tpm *t)
{
    ESYS_TR session = ESYS_TR_NONE;
    TSS2_RC rc = avow_tpm_ek_session(t, &session);
    if (!rc)
        rc = Esys_Load(t->esys, t->ek.handle, session, ESYS_TR_NONE, ESYS_TR_NONE, &t->ak_private,
                       &t->ak_public, &t->ak.handle);
    avow_tpm_flush(t, &session);
    if (rc)
        t->ak.handle = ESYS_TR_NONE;
    return rc;
}

/* The TPM says that the blob is not a child of this EK (Part 3, TPM2_Load). */
static bool is_foreign(TSS2_RC rc)
{
    TPM2_RC base = avow_tpm_rc_base(rc);
    return base == TPM2_RC_INTEGRITY || base == TPM2_RC_BINDING || base == TPM2_RC_SIZE ||
           base == TPM2_RC_TYPE || base == TPM2_RC_ASYMMETRIC || base == TPM2_RC_SCHEME;
}

enum avow_rc avow_tpm_need_ak(struct avow_tpm *t, struct avow_err *err)
{
    assert(t->esys);
    if (!t->have_ak)
        return avow_err_set(err, AVOW_STATE, 0, "no AK is loaded");
    if (avow_tpm_slot_restore(t, &t->ak))
        return AVOW_OK;
    enum avow_rc rc = avow_tpm_need_ek(t, err);
    if (rc)
        return rc;
    TSS2_RC trc = load_ak(t);
    if (trc && avow_tpm_rc_is_full(trc)) {
        avow_tpm_flush_leftovers(t);
        rc = avow_tpm_need_ek(t, err);
        if (rc)
            return rc;
        trc = load_ak(t);
    }
    if (trc && is_foreign(trc)) {
        (void)avow_tpm_fail(t, trc, "AK (TPM2_Load)", err);
        return avow_err_set(err, AVOW_REFUSED, (int64_t)trc, "the saved AK belongs to another TPM");
    }
    if (trc)
        return avow_tpm_fail(t, trc, "AK (TPM2_Load)", err);
    if (!t->hold)
        avow_tpm_slot_save(t, &t->ak);
    return AVOW_OK;
}

enum avow_rc avow_tpm_ak_load(struct avow_tpm *t, enum avow_tpm_ak_alg alg, struct avow_bytes blob,
                              struct avow_err *err)
{
    struct blob b;
    enum avow_rc rc = parse_blob(blob, &b, err);
    if (!rc)
        rc = avow_tpm_need_ek(t, err);
    if (!rc)
        rc = check_blob(t, &b, &kinds[alg], err);
    if (rc)
        return rc;
    avow_tpm_slot_unload(t, &t->ak);
    avow_tpm_slot_forget(&t->ak);
    t->ak_public = b.pub;
    t->ak_private = b.priv;
    t->have_ak = true;
    avow_buf_reset(&t->ak_public_bytes);
    rc = avow_tpm_put_public(&b.pub, &t->ak_public_bytes, err);
    if (!rc)
        rc = avow_tpm_need_ak(t, err);
    if (rc)
        t->have_ak = false;
    return rc;
}

struct avow_bytes avow_tpm_ak_public(const struct avow_tpm *t)
{
    return avow_buf_bytes(&t->ak_public_bytes);
}
