/* Is this EK, or this device, genuine? (ek_trust.h) */
#include "ek_trust.h"

#include "claim_certs.h"

#include "avow/crypto/digest.h"

#include <string.h>

#include "avow/base/banned.h"

#define RULE_CERT AVOW_STR_LIT("ek-certificate")
#define RULE_FIRST_USE AVOW_STR_LIT("trust-on-first-use")

static enum avow_rc verified(const struct avow_cert *leaf, struct avow_arena *arena,
                             struct avow_ek_trust *trust, struct avow_err *err)
{
    AVOW_CLEANUP_VAL(avow_buf_deinit) struct avow_buf issuer;
    char text[AVOW_TRUST_DETAIL_MAX];
    avow_buf_init(&issuer, AVOW_CERT_MAX);
    if (avow_cert_issuer(leaf, &issuer, NULL))
        avow_buf_reset(&issuer);
    snprintf(text, sizeof text, "certificate issued by %s", avow_buf_cstr(&issuer));
    trust->rule = RULE_CERT;
    trust->trusted = true;
    return avow_claim_detail(text, arena, &trust->detail, err);
}

static enum avow_rc verify(const struct avow_cert_list *l, const struct avow_cert_store *store,
                           uint64_t now_ms, struct avow_arena *arena, struct avow_ek_trust *trust,
                           struct avow_err *err)
{
    struct avow_err why;
    avow_sha256(avow_cert_der(l->certs[0]), trust->cert_sha256);
    trust->has_cert_sha256 = true;
    if (!store)
        return avow_claim_detail("no store of EK certificate authorities is configured", arena,
                                 &trust->detail, err);
    enum avow_rc rc = avow_cert_verify_ek(l->certs[0], l->certs + 1, l->n - 1, store, now_ms, &why);
    if (rc == AVOW_UNTRUSTED)
        return avow_claim_detail(why.msg, arena, &trust->detail, err);
    if (rc)
        return avow_err_set(err, rc, why.native, "%s", why.msg);
    return verified(l->certs[0], arena, trust, err);
}

enum avow_rc avow_ek_judge(const struct avow_ek *ek, struct avow_str text,
                           const struct avow_cert_store *store, uint64_t now_ms,
                           struct avow_arena *arena, struct avow_claim *claim, struct avow_err *err)
{
    AVOW_CLEANUP_VAL(avow_claim_certs_deinit) struct avow_cert_list list = {.n = 0};
    claim->ek_certs = (struct avow_bytes){0};
    claim->trust = (struct avow_ek_trust){.rule = RULE_FIRST_USE, .time_ms = now_ms};
    if (!text.len)
        return avow_claim_detail("the TPM gave no EK certificate", arena, &claim->trust.detail,
                                 err);
    enum avow_rc rc = avow_claim_certs_read("ekcert", text, &list, err);
    if (rc)
        return rc;
    if (avow_claim_certs_key_first(avow_ek_key(ek), &list, NULL))
        return avow_err_set(err, AVOW_PARSE, 0, "ekcert: no certificate is for ek_tpm");
    rc = avow_claim_certs_pack("ekcert", &list, arena, &claim->ek_certs, err);
    return rc ? rc : verify(&list, store, now_ms, arena, &claim->trust, err);
}

static enum avow_rc add_detail(struct avow_str more, struct avow_arena *arena,
                               struct avow_ek_trust *trust, struct avow_err *err)
{
    char text[2 * AVOW_TRUST_DETAIL_MAX + 4];
    snprintf(text, sizeof text, "%.*s; %.*s", (int)trust->detail.len, trust->detail.ptr,
             (int)more.len, more.ptr);
    return avow_claim_detail(text, arena, &trust->detail, err);
}

enum avow_rc avow_trust_join(enum avow_tpm_identity identity, const struct avow_iak_result *iak,
                             struct avow_arena *arena, struct avow_claim *claim,
                             struct avow_err *err)
{
    struct avow_ek_trust *trust = &claim->trust;
    if (identity == AVOW_IDENTITY_EK_CERT)
        return AVOW_OK;
    if (trust->trusted && identity != AVOW_IDENTITY_IAK_IDEVID)
        return iak->proven ? add_detail(iak->detail, arena, trust, err) : AVOW_OK;
    if (iak->proven) {
        trust->rule = AVOW_STR_LIT(AVOW_RULE_DEVICE);
        trust->trusted = true;
        trust->detail = iak->detail;
        return AVOW_OK;
    }
    if (identity == AVOW_IDENTITY_IAK_IDEVID) {
        trust->rule = RULE_FIRST_USE;
        trust->trusted = false;
        trust->detail = iak->detail;
        return AVOW_OK;
    }
    return identity == AVOW_IDENTITY_EITHER ? add_detail(iak->detail, arena, trust, err) : AVOW_OK;
}

bool avow_trust_eq(const struct avow_ek_trust *a, const struct avow_ek_trust *b)
{
    return avow_str_eq(a->rule, b->rule) && a->trusted == b->trusted &&
           avow_str_eq(a->detail, b->detail) && a->has_cert_sha256 == b->has_cert_sha256 &&
           (!a->has_cert_sha256 ||
            avow_bytes_eq(AVOW_BYTES_OF(a->cert_sha256), AVOW_BYTES_OF(b->cert_sha256)));
}

static enum avow_rc iak_again(const struct avow_claim *claim, const struct avow_cert_store *store,
                              uint64_t now_ms, struct avow_arena *arena,
                              struct avow_iak_result *out, struct avow_err *err)
{
    AVOW_CLEANUP_VAL(avow_claim_certs_deinit) struct avow_cert_list iak = {.n = 0};
    AVOW_CLEANUP_VAL(avow_claim_certs_deinit) struct avow_cert_list idevid = {.n = 0};
    struct avow_str serial = {0};
    *out = (struct avow_iak_result){.proven = false};
    enum avow_rc rc = avow_claim_certs_unpack(claim->iak_certs, &iak, err);
    if (!rc)
        rc = avow_claim_certs_unpack(claim->idevid_certs, &idevid, err);
    if (rc)
        return rc;
    if (!iak.n || !idevid.n)
        return avow_claim_detail("the agent gave no IAK and IDevID", arena, &out->detail, err);
    return avow_iak_verify(&iak, &idevid, store, now_ms, arena, &serial, out, err);
}

enum avow_rc avow_trust_again(const struct avow_claim *claim,
                              const struct avow_trust_stores *stores,
                              enum avow_tpm_identity identity, uint64_t now_ms,
                              struct avow_arena *arena, struct avow_ek_trust *out,
                              struct avow_err *err)
{
    AVOW_CLEANUP_VAL(avow_claim_certs_deinit) struct avow_cert_list list = {.n = 0};
    struct avow_claim fresh = *claim;
    struct avow_iak_result iak;
    fresh.trust = (struct avow_ek_trust){.rule = RULE_FIRST_USE, .time_ms = now_ms};
    enum avow_rc rc = avow_claim_certs_unpack(claim->ek_certs, &list, err);
    if (!rc)
        rc = list.n ? verify(&list, stores->ek, now_ms, arena, &fresh.trust, err)
                    : avow_claim_detail("the TPM gave no EK certificate", arena,
                                        &fresh.trust.detail, err);
    if (!rc)
        rc = iak_again(claim, stores->device, now_ms, arena, &iak, err);
    if (!rc)
        rc = avow_trust_join(identity, &iak, arena, &fresh, err);
    if (rc)
        return rc;
    /* What certificates do not prove does not take a judge's word back. */
    bool stands = avow_trust_is_by_judge(&claim->trust) && !fresh.trust.trusted;
    *out = stands || avow_trust_eq(&claim->trust, &fresh.trust) ? claim->trust : fresh.trust;
    return AVOW_OK;
}
