/* The device identity beside the EK (iak.h). */
#include "iak.h"

#include "claim_certs.h"

#include "avow/crypto/digest.h"
#include "avow/formats/certify.h"

#include <string.h>

#include "avow/base/banned.h"

bool avow_iak_is_given(const struct avow_iak_request *r)
{
    return r->iak_public.len || r->idevid_public.len || r->attest.len || r->signature.len ||
           r->iak_cert.len || r->idevid_cert.len;
}

/* Half an identity is a mistake of the agent's, and is said rather than passed over. */
static enum avow_rc check_whole(const struct avow_iak_request *r, struct avow_err *err)
{
    const struct {
        bool there;
        const char *name;
    } parts[] = {{r->iak_public.len > 0, "iak_tpm"},       {r->iak_cert.len > 0, "iak_cert"},
                 {r->attest.len > 0, "iak_attest"},        {r->signature.len > 0, "iak_sign"},
                 {r->idevid_public.len > 0, "idevid_tpm"}, {r->idevid_cert.len > 0, "idevid_cert"}};
    for (size_t i = 0; i < AVOW_ARRAY_LEN(parts); i++)
        if (!parts[i].there)
            return avow_err_set(err, AVOW_PARSE, 0,
                                "%s: missing, and other parts of a device "
                                "identity are there",
                                parts[i].name);
    return AVOW_OK;
}

static bool is_qualifying(const struct avow_iak_context *c, struct avow_bytes extra)
{
    uint8_t digest[AVOW_SHA256_LEN];
    struct avow_bytes id = avow_bytes_make(c->id.ptr, c->id.len);
    avow_sha256(id, digest);
    return avow_bytes_eq(extra, AVOW_BYTES_OF(digest)) || avow_bytes_eq(extra, id);
}

enum avow_rc avow_iak_check_certify(const struct avow_iak_context *c, const struct avow_ak *iak,
                                    struct avow_bytes attest, struct avow_bytes signature,
                                    struct avow_err *err)
{
    struct avow_certify certify;
    struct avow_tpm_signature s;
    enum avow_rc rc = avow_certify_parse(attest, &certify, err);
    if (rc)
        return avow_err_wrap(err, rc, "iak_attest");
    rc = avow_tpm_signature_parse(signature, &s, err);
    if (rc)
        return avow_err_wrap(err, rc, "iak_sign");
    const struct avow_sig sig = {.scheme = (enum avow_sig_scheme)s.scheme,
                                 .hash = (enum avow_hash)s.hash,
                                 .rsa = s.rsa,
                                 .r = s.r,
                                 .s = s.s};
    if (sig.scheme != avow_ak_scheme(iak) || sig.hash != avow_ak_hash(iak) ||
        sig.hash == AVOW_HASH_SHA1)
        return avow_err_set(err, AVOW_REFUSED, 0,
                            "iak_sign: scheme or hash is not the IAK's, or is SHA-1");
    if (!avow_pubkey_verify_tpm(avow_ak_key(iak), &sig, attest))
        return avow_err_set(err, AVOW_REFUSED, 0, "iak_sign: the IAK did not sign iak_attest");
    if (!avow_bytes_eq(certify.name, c->ak_name))
        return avow_err_set(err, AVOW_REFUSED, 0, "iak_attest: certifies another key than aik_tpm");
    if (!is_qualifying(c, certify.extra_data))
        return avow_err_set(err, AVOW_REFUSED, 0, "iak_attest: made for another agent id");
    return AVOW_OK;
}

/* An IDevID signs what it is given (TLS), so it is not restricted; that apart it is as fixed to its
 * TPM as an AK (TCG Keys for Device Identity 1.0, 7.3.4). */
static enum avow_rc read_idevid(struct avow_bytes tpm2b, struct avow_pubkey **out,
                                struct avow_err *err)
{
    static const struct {
        uint32_t bit;
        bool wanted;
        const char *name;
    } RULES[] = {{AVOW_TPMA_FIXED_TPM, true, "fixedTPM"},
                 {AVOW_TPMA_FIXED_PARENT, true, "fixedParent"},
                 {AVOW_TPMA_SENSITIVE_DATA_ORIGIN, true, "sensitiveDataOrigin"},
                 {AVOW_TPMA_SIGN, true, "sign"},
                 {AVOW_TPMA_DECRYPT, false, "decrypt"}};
    struct avow_tpm_public pub;
    enum avow_rc rc = avow_tpm_public_parse(tpm2b, &pub, err);
    for (size_t i = 0; i < AVOW_ARRAY_LEN(RULES) && !rc; i++)
        if (!!(pub.attributes & RULES[i].bit) != RULES[i].wanted)
            rc = avow_err_set(err, AVOW_REFUSED, 0, "IDevID %s %s",
                              RULES[i].wanted ? "lacks" : "has", RULES[i].name);
    return rc ? rc : avow_tpm_public_key(&pub, out, err);
}

static enum avow_rc read_chain(const char *what, struct avow_str text,
                               const struct avow_pubkey *key, struct avow_cert_list *out,
                               struct avow_err *err)
{
    enum avow_rc rc = avow_claim_certs_read(what, text, out, err);
    if (rc)
        return rc;
    if (avow_claim_certs_key_first(key, out, NULL))
        return avow_err_set(err, AVOW_REFUSED, 0, "%s: no certificate is for the key beside it",
                            what);
    if (avow_cert_der(out->certs[0]).len > AVOW_IAK_CERT_MAX)
        return avow_err_set(err, AVOW_LIMIT, 0, "%s: over %u bytes", what, AVOW_IAK_CERT_MAX);
    return AVOW_OK;
}

struct chains {
    struct avow_cert_list iak, idevid;
};

static void chains_deinit(struct chains *c)
{
    avow_claim_certs_deinit(&c->iak);
    avow_claim_certs_deinit(&c->idevid);
}

static enum avow_rc read_all(const struct avow_iak_context *c, const struct avow_iak_request *r,
                             struct chains *out, struct avow_err *err)
{
    AVOW_CLEANUP(avow_ak_free) struct avow_ak *iak = NULL;
    AVOW_CLEANUP(avow_pubkey_free) struct avow_pubkey *idevid = NULL;
    enum avow_rc rc = check_whole(r, err);
    if (rc)
        return rc;
    rc = avow_ak_parse(r->iak_public, &iak, err);
    if (rc)
        return avow_err_wrap(err, rc, "iak_tpm");
    rc = read_idevid(r->idevid_public, &idevid, err);
    if (rc)
        return avow_err_wrap(err, rc, "idevid_tpm");
    rc = read_chain("iak_cert", r->iak_cert, avow_ak_key(iak), &out->iak, err);
    if (!rc)
        rc = read_chain("idevid_cert", r->idevid_cert, idevid, &out->idevid, err);
    return rc ? rc : avow_iak_check_certify(c, iak, r->attest, r->signature, err);
}

static enum avow_rc not_proven(const char *why, struct avow_arena *arena,
                               struct avow_iak_result *out, struct avow_err *err)
{
    out->proven = false;
    return avow_claim_detail(why, arena, &out->detail, err);
}

/* The serial number of a certificate; *found false with the reason in `out`. */
static enum avow_rc read_serial(const char *what, const struct avow_cert *cert,
                                struct avow_buf *serial, bool *found, struct avow_arena *arena,
                                struct avow_iak_result *out, struct avow_err *err)
{
    struct avow_err why;
    char text[AVOW_TRUST_DETAIL_MAX];
    avow_buf_init(serial, AVOW_DEVICE_SERIAL_MAX);
    enum avow_rc rc = avow_cert_device_serial(cert, serial, &why);
    *found = rc == AVOW_OK;
    if (rc == AVOW_OK)
        return AVOW_OK;
    if (rc == AVOW_NOMEM)
        return avow_err_set(err, rc, 0, "%s", why.msg);
    snprintf(text, sizeof text, "%s certificate: %s", what, why.msg);
    return not_proven(text, arena, out, err);
}

static enum avow_rc same_device(const struct avow_cert *iak, const struct avow_cert *idevid,
                                struct avow_arena *arena, struct avow_str *serial,
                                struct avow_iak_result *out, struct avow_err *err)
{
    AVOW_CLEANUP_VAL(avow_buf_deinit) struct avow_buf a;
    AVOW_CLEANUP_VAL(avow_buf_deinit) struct avow_buf b;
    bool found = false;
    avow_buf_init(&b, 1);
    enum avow_rc rc = read_serial("IAK", iak, &a, &found, arena, out, err);
    if (!rc && found)
        rc = read_serial("IDevID", idevid, &b, &found, arena, out, err);
    if (rc || !found)
        return rc;
    if (!avow_bytes_eq(avow_buf_bytes(&a), avow_buf_bytes(&b)))
        return not_proven("IAK and IDevID certificates name different devices", arena, out, err);
    char text[AVOW_TRUST_DETAIL_MAX];
    snprintf(text, sizeof text, "IAK and IDevID certificates of device %s", avow_buf_cstr(&a));
    const char *copy = avow_arena_cstr(arena, (struct avow_str){avow_buf_cstr(&a), a.len});
    if (!copy)
        return avow_err_set(err, AVOW_NOMEM, 0, "device serial");
    *serial = (struct avow_str){copy, a.len};
    out->proven = true;
    return avow_claim_detail(text, arena, &out->detail, err);
}

enum avow_rc avow_iak_verify(const struct avow_cert_list *iak, const struct avow_cert_list *idevid,
                             const struct avow_cert_store *store, uint64_t now_ms,
                             struct avow_arena *arena, struct avow_str *serial,
                             struct avow_iak_result *out, struct avow_err *err)
{
    struct avow_err why;
    if (!store)
        return not_proven("no store of device certificate authorities is configured", arena, out,
                          err);
    enum avow_rc rc = avow_cert_verify_device("IAK certificate", iak, store, now_ms, &why);
    if (!rc)
        rc = avow_cert_verify_device("IDevID certificate", idevid, store, now_ms, &why);
    if (rc == AVOW_UNTRUSTED)
        return not_proven(why.msg, arena, out, err);
    if (rc)
        return avow_err_set(err, rc, why.native, "%s", why.msg);
    return same_device(iak->certs[0], idevid->certs[0], arena, serial, out, err);
}

enum avow_rc avow_iak_judge(const struct avow_iak_context *c, const struct avow_iak_request *r,
                            struct avow_arena *arena, struct avow_claim *claim,
                            struct avow_iak_result *out, struct avow_err *err)
{
    AVOW_CLEANUP_VAL(chains_deinit) struct chains chains = {.iak = {.n = 0}};
    struct avow_str serial = {0};
    if (!avow_iak_is_given(r))
        return not_proven("the agent gave no IAK and IDevID", arena, out, err);
    enum avow_rc rc = read_all(c, r, &chains, err);
    if (!rc)
        rc = avow_iak_verify(&chains.iak, &chains.idevid, c->store, c->now_ms, arena, &serial, out,
                             err);
    if (rc || !out->proven)
        return rc;
    rc = avow_claim_certs_pack("iak_cert", &chains.iak, arena, &claim->iak_certs, err);
    if (!rc)
        rc = avow_claim_certs_pack("idevid_cert", &chains.idevid, arena, &claim->idevid_certs, err);
    if (!rc)
        claim->device_serial = serial;
    return rc;
}
