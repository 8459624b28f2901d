#include "tpm_internal.h"

#include <assert.h>
#include <string.h>
#include <tss2/tss2_mu.h>

#include "avow/base/banned.h"

#define EK_PERSISTENT 0x81010001u /* TCG Provisioning Guidance 2.0, table 2 */
#define BLOB_MAX 4096u

static const char blob_magic[8] = {'A', 'V', 'O', 'W', 'A', 'K', '1', '\n'};

/* PolicySecret(TPM_RH_ENDORSEMENT), SHA-256 (TCG EK Credential Profile 2.5, B.3.3). */
static const BYTE ek_policy[32] = {0x83, 0x71, 0x97, 0x67, 0x44, 0x84, 0xB3, 0xF8, 0x1A, 0x90, 0xCC,
                                   0x8D, 0x46, 0xA5, 0xD7, 0x24, 0xFD, 0x52, 0xD7, 0x6E, 0x06, 0x52,
                                   0x0B, 0x64, 0xF2, 0xA1, 0xDA, 0x1B, 0x33, 0x14, 0x69, 0xAA};

/* Template L-1 (TCG EK Credential Profile 2.5, B.3.3): RSA 2048, AES-128-CFB, unique of 256 zero
 * bytes. */
static TPM2B_PUBLIC ek_template(void)
{
    TPM2B_PUBLIC p = {.publicArea = {
                          .type = TPM2_ALG_RSA,
                          .nameAlg = TPM2_ALG_SHA256,
                          .objectAttributes = TPMA_OBJECT_FIXEDTPM | TPMA_OBJECT_FIXEDPARENT |
                                              TPMA_OBJECT_SENSITIVEDATAORIGIN |
                                              TPMA_OBJECT_ADMINWITHPOLICY | TPMA_OBJECT_RESTRICTED |
                                              TPMA_OBJECT_DECRYPT,
                          .authPolicy = {.size = sizeof ek_policy},
                          .parameters.rsaDetail =
                              {
                                  .symmetric = {.algorithm = TPM2_ALG_AES,
                                                .keyBits.aes = 128,
                                                .mode.aes = TPM2_ALG_CFB},
                                  .scheme = {.scheme = TPM2_ALG_NULL},
                                  .keyBits = 2048,
                              },
                          .unique.rsa = {.size = 256},
                      }};
    memcpy(p.publicArea.authPolicy.buffer, ek_policy, sizeof ek_policy);
    return p;
}

/* Everything of the public area but the key itself is as the template says. */
static bool is_from_template(const TPM2B_PUBLIC *p)
{
    const TPM2B_PUBLIC t = ek_template();
    const TPMT_PUBLIC *a = &p->publicArea, *b = &t.publicArea;
    const TPMS_RSA_PARMS *ra = &a->parameters.rsaDetail, *rb = &b->parameters.rsaDetail;
    return a->type == b->type && a->nameAlg == b->nameAlg &&
           a->objectAttributes == b->objectAttributes && a->authPolicy.size == sizeof ek_policy &&
           avow_bytes_eq(avow_bytes_make(a->authPolicy.buffer, sizeof ek_policy),
                         AVOW_BYTES_OF(ek_policy)) &&
           ra->symmetric.algorithm == rb->symmetric.algorithm &&
           ra->symmetric.keyBits.aes == rb->symmetric.keyBits.aes &&
           ra->symmetric.mode.aes == rb->symmetric.mode.aes &&
           ra->scheme.scheme == rb->scheme.scheme && ra->keyBits == rb->keyBits;
}

/* --- Slots: objects across connections --- */

/* Loads the saved context; a context of before a TPM reset is refused by the TPM and forgotten. */
static bool slot_restore(struct avow_tpm *t, struct avow_tpm_slot *slot)
{
    if (slot->handle != ESYS_TR_NONE)
        return true;
    if (!slot->saved)
        return false;
    TSS2_RC rc = Esys_ContextLoad(t->esys, slot->saved, &slot->handle);
    if (rc && avow_tpm_rc_is_full(rc)) {
        avow_tpm_flush_leftovers(t);
        rc = Esys_ContextLoad(t->esys, slot->saved, &slot->handle);
    }
    if (!rc)
        return true;
    slot->handle = ESYS_TR_NONE;
    Esys_Free(slot->saved);
    slot->saved = NULL;
    return false;
}

/* Best effort: without a saved context the object is made or loaded anew next time. */
static void slot_save(struct avow_tpm *t, struct avow_tpm_slot *slot)
{
    if (slot->saved || slot->persistent)
        return;
    if (Esys_ContextSave(t->esys, slot->handle, &slot->saved))
        slot->saved = NULL;
}

/* --- EK --- */

static bool load_persistent_ek(struct avow_tpm *t)
{
    ESYS_TR tr = ESYS_TR_NONE;
    TPM2B_PUBLIC *pub = NULL;
    if (Esys_TR_FromTPMPublic(t->esys, EK_PERSISTENT, ESYS_TR_NONE, ESYS_TR_NONE, ESYS_TR_NONE,
                              &tr))
        return false;
    TSS2_RC rc =
        Esys_ReadPublic(t->esys, tr, ESYS_TR_NONE, ESYS_TR_NONE, ESYS_TR_NONE, &pub, NULL, NULL);
    bool good = !rc && is_from_template(pub);
    Esys_Free(pub);
    if (!good) {
        Esys_TR_Close(t->esys, &tr);
        return false;
    }
    t->ek.handle = tr;
    t->ek.persistent = true;
    return true;
}

static TSS2_RC create_primary_ek(struct avow_tpm *t)
{
    const TPM2B_PUBLIC tmpl = ek_template();
    const TPM2B_SENSITIVE_CREATE sensitive = {0};
    const TPM2B_DATA outside = {0};
    const TPML_PCR_SELECTION creation = {0};
    return Esys_CreatePrimary(t->esys, ESYS_TR_RH_ENDORSEMENT, ESYS_TR_PASSWORD, ESYS_TR_NONE,
                              ESYS_TR_NONE, &sensitive, &tmpl, &outside, &creation, &t->ek.handle,
                              NULL, NULL, NULL, NULL);
}

enum avow_rc avow_tpm_need_ek(struct avow_tpm *t, struct avow_err *err)
{
    assert(t->esys);
    if (slot_restore(t, &t->ek) || load_persistent_ek(t))
        return AVOW_OK;
    TSS2_RC rc = create_primary_ek(t);
    if (rc && avow_tpm_rc_is_full(rc)) {
        avow_tpm_flush_leftovers(t);
        rc = create_primary_ek(t);
    }
    if (rc) {
        t->ek.handle = ESYS_TR_NONE;
        return avow_tpm_fail(t, rc, "EK (TPM2_CreatePrimary)", err);
    }
    slot_save(t, &t->ek);
    return AVOW_OK;
}

static enum avow_rc put_public(const TPM2B_PUBLIC *pub, struct avow_buf *out, struct avow_err *err)
{
    uint8_t bytes[sizeof(TPM2B_PUBLIC)];
    size_t len = 0;
    TSS2_RC rc = Tss2_MU_TPM2B_PUBLIC_Marshal(pub, bytes, sizeof bytes, &len);
    if (rc)
        return avow_err_set(err, AVOW_TPM, (int64_t)rc, "public area cannot be encoded");
    avow_buf_put(out, bytes, len);
    return avow_buf_status(out, err);
}

enum avow_rc avow_tpm_ek_public(struct avow_tpm *t, struct avow_buf *out, struct avow_err *err)
{
    enum avow_rc rc = avow_tpm_need_ek(t, err);
    if (rc)
        return rc;
    TPM2B_PUBLIC *pub = NULL;
    TSS2_RC trc = Esys_ReadPublic(t->esys, t->ek.handle, ESYS_TR_NONE, ESYS_TR_NONE, ESYS_TR_NONE,
                                  &pub, NULL, NULL);
    if (trc)
        return avow_tpm_fail(t, trc, "EK (TPM2_ReadPublic)", err);
    rc = put_public(pub, out, err);
    Esys_Free(pub);
    return rc;
}

static TSS2_RC start_policy_session(struct avow_tpm *t, ESYS_TR *out)
{
    const TPMT_SYM_DEF sym = {.algorithm = TPM2_ALG_NULL};
    return Esys_StartAuthSession(t->esys, ESYS_TR_NONE, ESYS_TR_NONE, ESYS_TR_NONE, ESYS_TR_NONE,
                                 ESYS_TR_NONE, NULL, TPM2_SE_POLICY, &sym, TPM2_ALG_SHA256, out);
}

TSS2_RC avow_tpm_ek_session(struct avow_tpm *t, ESYS_TR *out)
{
    ESYS_TR session = ESYS_TR_NONE;
    TSS2_RC rc = start_policy_session(t, &session);
    if (rc)
        return rc;
    rc = Esys_PolicySecret(t->esys, ESYS_TR_RH_ENDORSEMENT, session, ESYS_TR_PASSWORD, ESYS_TR_NONE,
                           ESYS_TR_NONE, NULL, NULL, NULL, 0, NULL, NULL);
    if (rc) {
        avow_tpm_flush(t, &session);
        return rc;
    }
    *out = session;
    return TSS2_RC_SUCCESS;
}

/* --- AK --- */

bool avow_tpm_ak_alg_parse(const char *text, enum avow_tpm_ak_alg *out)
{
    static const char *const names[] = {"rsassa", "rsapss", "ecdsa"};
    for (size_t i = 0; i < AVOW_ARRAY_LEN(names); i++) {
        if (avow_cstr_eq(text, names[i])) {
            *out = (enum avow_tpm_ak_alg)i;
            return true;
        }
    }
    return false;
}

static TPMI_ALG_SIG_SCHEME scheme_of(enum avow_tpm_ak_alg alg)
{
    switch (alg) {
    case AVOW_TPM_AK_RSASSA:
        return TPM2_ALG_RSASSA;
    case AVOW_TPM_AK_RSAPSS:
        return TPM2_ALG_RSAPSS;
    case AVOW_TPM_AK_ECDSA:
        return TPM2_ALG_ECDSA;
    }
    return TPM2_ALG_NULL;
}

/* What PROTOCOL R27 demands of an AK. noDA: an empty password cannot be guessed wrong, and a TPM in
 * lock-out must still attest. */
static TPM2B_PUBLIC ak_template(enum avow_tpm_ak_alg alg)
{
    TPM2B_PUBLIC p = {.publicArea = {
                          .nameAlg = TPM2_ALG_SHA256,
                          .objectAttributes = TPMA_OBJECT_FIXEDTPM | TPMA_OBJECT_FIXEDPARENT |
                                              TPMA_OBJECT_SENSITIVEDATAORIGIN |
                                              TPMA_OBJECT_USERWITHAUTH | TPMA_OBJECT_NODA |
                                              TPMA_OBJECT_RESTRICTED | TPMA_OBJECT_SIGN_ENCRYPT,
                      }};
    if (alg == AVOW_TPM_AK_ECDSA) {
        TPMS_ECC_PARMS *ecc = &p.publicArea.parameters.eccDetail;
        p.publicArea.type = TPM2_ALG_ECC;
        ecc->symmetric.algorithm = TPM2_ALG_NULL;
        ecc->scheme.scheme = TPM2_ALG_ECDSA;
        ecc->scheme.details.ecdsa.hashAlg = TPM2_ALG_SHA256;
        ecc->curveID = TPM2_ECC_NIST_P256;
        ecc->kdf.scheme = TPM2_ALG_NULL;
        return p;
    }
    TPMS_RSA_PARMS *rsa = &p.publicArea.parameters.rsaDetail;
    p.publicArea.type = TPM2_ALG_RSA;
    rsa->symmetric.algorithm = TPM2_ALG_NULL;
    rsa->scheme.scheme = scheme_of(alg);
    rsa->scheme.details.anySig.hashAlg = TPM2_ALG_SHA256;
    rsa->keyBits = 2048;
    return p;
}

static TPMI_ALG_SIG_SCHEME scheme_in(const TPM2B_PUBLIC *p)
{
    if (p->publicArea.type == TPM2_ALG_ECC)
        return p->publicArea.parameters.eccDetail.scheme.scheme;
    return p->publicArea.parameters.rsaDetail.scheme.scheme;
}

static TSS2_RC create_ak(struct avow_tpm *t, enum avow_tpm_ak_alg alg, TPM2B_PRIVATE **priv,
                         TPM2B_PUBLIC **pub)
{
    const TPM2B_PUBLIC tmpl = ak_template(alg);
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

static enum avow_rc put_blob(const TPM2B_PRIVATE *priv, const TPM2B_PUBLIC *pub,
                             struct avow_buf *blob, struct avow_err *err)
{
    avow_buf_put(blob, blob_magic, sizeof blob_magic);
    enum avow_rc rc = put_public(pub, blob, err);
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
    rc = put_blob(priv, pub, blob, err);
    Esys_Free(priv);
    Esys_Free(pub);
    return rc;
}

static enum avow_rc parse_blob(struct avow_bytes blob, TPM2B_PUBLIC *pub, TPM2B_PRIVATE *priv,
                               struct avow_err *err)
{
    size_t at = sizeof blob_magic;
    if (blob.len < at || blob.len > BLOB_MAX ||
        !avow_bytes_eq(avow_bytes_make(blob.ptr, at), avow_bytes_make(blob_magic, at)))
        return avow_err_set(err, AVOW_PARSE, 0, "not a saved AK");
    if (Tss2_MU_TPM2B_PUBLIC_Unmarshal(blob.ptr, blob.len, &at, pub) ||
        Tss2_MU_TPM2B_PRIVATE_Unmarshal(blob.ptr, blob.len, &at, priv) || at != blob.len)
        return avow_err_set(err, AVOW_PARSE, 0, "damaged AK");
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
    if (slot_restore(t, &t->ak))
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
        slot_save(t, &t->ak);
    return AVOW_OK;
}

enum avow_rc avow_tpm_ak_load(struct avow_tpm *t, enum avow_tpm_ak_alg alg, struct avow_bytes blob,
                              struct avow_err *err)
{
    TPM2B_PUBLIC pub = {0};
    TPM2B_PRIVATE priv = {0};
    enum avow_rc rc = parse_blob(blob, &pub, &priv, err);
    if (rc)
        return rc;
    if (scheme_in(&pub) != scheme_of(alg))
        return avow_err_set(err, AVOW_REFUSED, 0,
                            "the saved AK has another algorithm than tpm.ak_alg says");
    avow_tpm_slot_unload(t, &t->ak);
    avow_tpm_slot_forget(&t->ak);
    t->ak_public = pub;
    t->ak_private = priv;
    t->have_ak = true;
    avow_buf_reset(&t->ak_public_bytes);
    rc = put_public(&pub, &t->ak_public_bytes, err);
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
