#include "tpm_internal.h"

#include "avow/base/log.h"
#include "avow/crypto/ak.h"

#include <assert.h>
#include <string.h>
#include <tss2/tss2_mu.h>

#include "avow/base/banned.h"

/* TCG Provisioning Guidance 2.0, 7.8: persistent EKs. Which of them is which is not agreed upon, so
 * all are looked at. */
#define EK_PERSISTENT_FIRST 0x81010000u
#define EK_PERSISTENT_LAST 0x810100FFu
#define EK_PERSISTENT_MAX 16u

/* --- Which template --- */

/* A failing TPM must not look like one without certificates: the agent would take another EK. */
static enum avow_rc choose_template(struct avow_tpm *t, struct avow_err *err)
{
    if (t->ek_asked != AVOW_TPM_EK_AUTO)
        t->ek_which = t->ek_asked;
    if (t->ek_which != AVOW_TPM_EK_AUTO)
        return AVOW_OK;
    for (int i = AVOW_TPM_EK_L1; i <= AVOW_TPM_EK_H7; i++) {
        AVOW_CLEANUP_VAL(avow_buf_deinit) struct avow_buf cert;
        avow_buf_init(&cert, AVOW_TPM_CERT_MAX);
        enum avow_rc rc =
            avow_tpm_nv_cert(t, avow_ek_template_of((enum avow_tpm_ek)i)->nv_cert, &cert, err);
        if (rc)
            return rc;
        if (cert.len) {
            t->ek_which = (enum avow_tpm_ek)i;
            return AVOW_OK;
        }
    }
    t->ek_which = AVOW_TPM_EK_L1;
    return AVOW_OK;
}

enum avow_tpm_ek avow_tpm_ek(const struct avow_tpm *t)
{
    return t->ek_which;
}

/* The vendor's own template and nonce, where there are any (profile, 2.2.1.5). */
static enum avow_rc vendor_template(struct avow_tpm *t, const struct avow_ek_template *e,
                                    TPM2B_PUBLIC *p, struct avow_err *err)
{
    AVOW_CLEANUP_VAL(avow_buf_deinit) struct avow_buf text;
    avow_buf_init(&text, sizeof(TPMT_PUBLIC));
    enum avow_rc rc = avow_tpm_nv_read(t, e->nv_template, &text, err);
    if (rc)
        return rc;
    TPMT_PUBLIC area = {0};
    size_t at = 0;
    if (text.len && Tss2_MU_TPMT_PUBLIC_Unmarshal(text.ptr, text.len, &at, &area))
        avow_log(WARN, "tpm.ek_template", AVOW_KV_STR("template", e->name),
                 AVOW_KV_STR("reason", "the vendor's template in NV memory is malformed; the "
                                       "standard one is used"));
    else if (text.len)
        p->publicArea = area;
    if (!e->nv_nonce)
        return AVOW_OK;
    avow_buf_reset(&text);
    rc = avow_tpm_nv_read(t, e->nv_nonce, &text, err);
    if (!rc && text.len && !avow_ek_template_set_nonce(p, avow_buf_bytes(&text)))
        avow_log(WARN, "tpm.ek_template", AVOW_KV_STR("template", e->name),
                 AVOW_KV_STR("reason", "the vendor's nonce in NV memory is too long; it is left "
                                       "out"));
    return rc;
}

/* --- Loading it --- */

/* An object that somebody persisted from another hierarchy is no EK, whatever its template. */
static bool is_endorsement_primary(const TPM2B_NAME *name, const TPM2B_NAME *qualified)
{
    struct avow_tpm_name own, above;
    if (name->size <= 2 || name->size > sizeof own.bytes || qualified->size > sizeof above.bytes ||
        name->size != 2 + avow_hash_len((enum avow_hash)(name->name[0] << 8 | name->name[1])))
        return false;
    memcpy(own.bytes, name->name, name->size);
    own.len = name->size;
    const struct avow_tpm_name *const parents[] = {&own};
    avow_tpm_qualified_name(parents, 1, &above);
    return avow_bytes_eq(avow_tpm_name_bytes(&above),
                         avow_bytes_make(qualified->name, qualified->size));
}

static enum avow_rc try_persistent(struct avow_tpm *t, TPM2_HANDLE handle, const TPM2B_PUBLIC *want,
                                   struct avow_err *err)
{
    ESYS_TR tr = ESYS_TR_NONE;
    TPM2B_PUBLIC *pub = NULL;
    TPM2B_NAME *name = NULL, *qualified = NULL;
    enum avow_rc rc = avow_tpm_find(t, handle, &tr, err);
    if (rc)
        return rc;
    TSS2_RC trc = Esys_ReadPublic(t->esys, tr, ESYS_TR_NONE, ESYS_TR_NONE, ESYS_TR_NONE, &pub,
                                  &name, &qualified);
    bool good = !trc && avow_ek_template_fits(pub, want) && is_endorsement_primary(name, qualified);
    if (good) {
        t->ek_public = *pub;
        t->ek.handle = tr;
        t->ek.persistent = true;
    } else {
        Esys_TR_Close(t->esys, &tr);
    }
    Esys_Free(pub);
    Esys_Free(name);
    Esys_Free(qualified);
    return good ? AVOW_OK : AVOW_NOTFOUND;
}

static enum avow_rc load_persistent_ek(struct avow_tpm *t, const TPM2B_PUBLIC *want,
                                       struct avow_err *err)
{
    TPMS_CAPABILITY_DATA *data = NULL;
    TPMI_YES_NO more = 0;
    TSS2_RC trc =
        Esys_GetCapability(t->esys, ESYS_TR_NONE, ESYS_TR_NONE, ESYS_TR_NONE, TPM2_CAP_HANDLES,
                           EK_PERSISTENT_FIRST, EK_PERSISTENT_MAX, &more, &data);
    if (trc)
        return avow_tpm_fail(t, trc, "persistent objects", err);
    enum avow_rc rc = AVOW_NOTFOUND;
    const TPML_HANDLE *list = &data->data.handles;
    for (UINT32 i = 0; rc == AVOW_NOTFOUND && i < list->count && i < EK_PERSISTENT_MAX; i++) {
        if (list->handle[i] < EK_PERSISTENT_FIRST || list->handle[i] > EK_PERSISTENT_LAST)
            break; /* the count bounds the answer, not the range */
        rc = try_persistent(t, list->handle[i], want, err);
    }
    Esys_Free(data);
    return rc;
}

static TSS2_RC create_primary_ek(struct avow_tpm *t, const TPM2B_PUBLIC *tmpl)
{
    const TPM2B_SENSITIVE_CREATE sensitive = {0};
    const TPM2B_DATA outside = {0};
    const TPML_PCR_SELECTION creation = {0};
    TPM2B_PUBLIC *pub = NULL;
    TSS2_RC rc = Esys_CreatePrimary(t->esys, ESYS_TR_RH_ENDORSEMENT, ESYS_TR_PASSWORD, ESYS_TR_NONE,
                                    ESYS_TR_NONE, &sensitive, tmpl, &outside, &creation,
                                    &t->ek.handle, &pub, NULL, NULL, NULL);
    if (rc)
        t->ek.handle = ESYS_TR_NONE;
    else
        t->ek_public = *pub;
    Esys_Free(pub);
    return rc;
}

/* The TPM does not know the kind of key. */
static bool is_unsupported(TSS2_RC rc)
{
    TPM2_RC base = avow_tpm_rc_base(rc);
    return base == TPM2_RC_CURVE || base == TPM2_RC_VALUE || base == TPM2_RC_KEY_SIZE ||
           base == TPM2_RC_ASYMMETRIC || base == TPM2_RC_SYMMETRIC || base == TPM2_RC_HASH ||
           base == TPM2_RC_SIZE || base == TPM2_RC_TYPE;
}

static enum avow_rc make_ek(struct avow_tpm *t, const TPM2B_PUBLIC *tmpl, struct avow_err *err)
{
    TSS2_RC rc = create_primary_ek(t, tmpl);
    if (rc && avow_tpm_rc_is_full(rc)) {
        avow_tpm_flush_leftovers(t);
        rc = create_primary_ek(t, tmpl);
    }
    if (!rc)
        return AVOW_OK;
    (void)avow_tpm_fail(t, rc, "EK (TPM2_CreatePrimary)", err);
    if (!is_unsupported(rc))
        return AVOW_TPM;
    return avow_err_set(err, AVOW_CONFIG, (int64_t)rc,
                        "tpm.ek: this TPM makes no key of template %s; choose another, or auto",
                        avow_tpm_ek_name(t->ek_which));
}

static enum avow_rc load_or_make(struct avow_tpm *t, struct avow_err *err)
{
    enum avow_rc rc = choose_template(t, err);
    if (rc)
        return rc;
    const struct avow_ek_template *e = avow_ek_template_of(t->ek_which);
    TPM2B_PUBLIC tmpl = avow_ek_template_public(e);
    rc = vendor_template(t, e, &tmpl, err);
    if (!rc)
        rc = load_persistent_ek(t, &tmpl, err);
    return rc == AVOW_NOTFOUND ? make_ek(t, &tmpl, err) : rc;
}

enum avow_rc avow_tpm_need_ek(struct avow_tpm *t, struct avow_err *err)
{
    assert(t->esys);
    if (avow_tpm_slot_restore(t, &t->ek))
        return AVOW_OK;
    enum avow_rc rc = load_or_make(t, err);
    if (rc)
        return rc;
    if (avow_ek_auth_of(&t->ek_public) == AVOW_EK_AUTH_NONE) {
        avow_tpm_slot_unload(t, &t->ek);
        return avow_err_set(err, AVOW_REFUSED, 0,
                            "the EK of template %s has a policy that is not the TCG's; choose "
                            "another tpm.ek",
                            avow_tpm_ek_name(t->ek_which));
    }
    avow_tpm_slot_save(t, &t->ek);
    return AVOW_OK;
}

enum avow_rc avow_tpm_put_public(const TPM2B_PUBLIC *pub, struct avow_buf *out,
                                 struct avow_err *err)
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
    return rc ? rc : avow_tpm_put_public(&t->ek_public, out, err);
}

/* --- Using it --- */

static TSS2_RC start_policy_session(struct avow_tpm *t, TPMI_ALG_HASH hash, ESYS_TR *out)
{
    const TPMT_SYM_DEF sym = {.algorithm = TPM2_ALG_NULL};
    return Esys_StartAuthSession(t->esys, ESYS_TR_NONE, ESYS_TR_NONE, ESYS_TR_NONE, ESYS_TR_NONE,
                                 ESYS_TR_NONE, NULL, TPM2_SE_POLICY, &sym, hash, out);
}

static TSS2_RC satisfy(struct avow_tpm *t, ESYS_TR session, enum avow_ek_auth how)
{
    TSS2_RC rc = Esys_PolicySecret(t->esys, ESYS_TR_RH_ENDORSEMENT, session, ESYS_TR_PASSWORD,
                                   ESYS_TR_NONE, ESYS_TR_NONE, NULL, NULL, NULL, 0, NULL, NULL);
    if (rc || how != AVOW_EK_AUTH_POLICY_B)
        return rc;
    TPML_DIGEST branches;
    avow_ek_policy_branches((enum avow_hash)t->ek_public.publicArea.nameAlg, &branches);
    return Esys_PolicyOR(t->esys, session, ESYS_TR_NONE, ESYS_TR_NONE, ESYS_TR_NONE, &branches);
}

/* A key of the high range could be used with its empty password too. The policy is taken because a
 * password is refused while the TPM is in dictionary-attack lock-out. */
TSS2_RC avow_tpm_ek_session(struct avow_tpm *t, ESYS_TR *out)
{
    enum avow_ek_auth how = avow_ek_auth_of(&t->ek_public);
    if (how == AVOW_EK_AUTH_PASSWORD) {
        *out = ESYS_TR_PASSWORD;
        return TSS2_RC_SUCCESS;
    }
    ESYS_TR session = ESYS_TR_NONE;
    TSS2_RC rc = start_policy_session(t, t->ek_public.publicArea.nameAlg, &session);
    if (rc)
        return rc;
    rc = satisfy(t, session, how);
    if (rc) {
        avow_tpm_flush(t, &session);
        return rc;
    }
    *out = session;
    return TSS2_RC_SUCCESS;
}
