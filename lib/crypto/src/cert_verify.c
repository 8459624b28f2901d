#include "cert_store_internal.h"

#include "openssl_err.h"

#include <openssl/err.h>
#include <openssl/objects.h>
#include <openssl/x509.h>
#include <openssl/x509_vfy.h>
#include <openssl/x509v3.h>

#include "avow/base/banned.h"

/* SHA-224, RSA-2048, P-224 and better. SHA-1 signatures can be collided for the price of a small
 * cloud bill. */
#define SECURITY_LEVEL 2

static const char EK[] = "EK certificate";
static const char EK_CERTIFICATE_OID[] = "2.23.133.8.1"; /* tcg-kp-EKCertificate */

AVOW_DEFINE_CLEANUP(X509_STORE_CTX, X509_STORE_CTX_free);

static void stack_cleanup(STACK_OF(X509) * *s) /* its elements are borrowed */
{
    sk_X509_free(*s);
}

static const char *chain_reason(int code)
{
    switch (code) {
    case X509_V_ERR_CERT_HAS_EXPIRED:
        return "expired";
    case X509_V_ERR_CERT_NOT_YET_VALID:
        return "not valid yet";
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
    case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
        return "its issuer is neither in the CA store nor among the intermediates";
    case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
        return "self-signed";
    case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
        return "a root that is not in the CA store";
    case X509_V_ERR_INVALID_CA:
        return "not a CA, but issued a certificate of the chain";
    case X509_V_ERR_KEYUSAGE_NO_CERTSIGN:
        return "key usage of a CA in the chain does not allow signing certificates";
    case X509_V_ERR_AKID_SKID_MISMATCH:
    case X509_V_ERR_AKID_ISSUER_SERIAL_MISMATCH:
        return "its authority key identifier names another issuer key";
    case X509_V_ERR_PATH_LENGTH_EXCEEDED:
    case X509_V_ERR_CERT_CHAIN_TOO_LONG:
        return "the chain is longer than its issuer or our limit allows";
    case X509_V_ERR_CERT_SIGNATURE_FAILURE:
        return "its signature is wrong";
    case X509_V_ERR_UNSPECIFIED: /* OpenSSL's for extensions that it cannot decode */
        return "malformed extensions, its own or its issuer's";
    case X509_V_ERR_UNHANDLED_CRITICAL_EXTENSION:
        return "a critical extension is not understood";
    case X509_V_ERR_CA_MD_TOO_WEAK:
        return "signed with a weak hash (SHA-1 or older)";
    case X509_V_ERR_CA_KEY_TOO_SMALL:
    case X509_V_ERR_EE_KEY_TOO_SMALL:
        return "its key is too small (below 112 bits of security)";
    default:
        return X509_verify_cert_error_string(code);
    }
}

/* OpenSSL passes over issuers that do not fit and then says that it found none; this finds out why
 * the one with the right name did not fit. */
static int explain_missing_issuer(X509 *cert, const struct avow_cert *candidate, int code)
{
    if (X509_NAME_cmp(X509_get_subject_name(candidate->x509), X509_get_issuer_name(cert)))
        return code;
    int why = X509_check_issued(candidate->x509, cert);
    return why == X509_V_OK || why == X509_V_ERR_SUBJECT_ISSUER_MISMATCH ? code : why;
}

struct chain_in {
    const char *what; /* what the leaf is, for messages: "EK certificate" */
    const struct avow_cert *leaf;
    struct avow_cert *const *extra;
    size_t n_extra;
    const struct avow_cert_store *store;
};

/* Also one that may not sign: X509_check_ca says no to that. */
static bool is_ca(X509 *x)
{
    return X509_check_ca(x) != 0 || X509_get_extension_flags(x) & EXFLAG_CA;
}

static bool is_ca_that_may_not_sign(X509 *x)
{
    return X509_get_extension_flags(x) & EXFLAG_CA && !(X509_get_key_usage(x) & KU_KEY_CERT_SIGN);
}

static int chain_code(const struct chain_in *in, X509_STORE_CTX *ctx)
{
    int code = X509_STORE_CTX_get_error(ctx);
    X509 *cert = X509_STORE_CTX_get_current_cert(ctx);
    if (cert && code == X509_V_ERR_INVALID_CA && is_ca_that_may_not_sign(cert))
        return X509_V_ERR_KEYUSAGE_NO_CERTSIGN;
    if (!cert || (code != X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT &&
                  code != X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE &&
                  code != X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY))
        return code;
    int found = code;
    for (size_t i = 0; i < in->n_extra && found == code; i++)
        found = explain_missing_issuer(cert, in->extra[i], code);
    for (size_t i = 0; i < in->store->count && found == code; i++)
        found = explain_missing_issuer(cert, in->store->certs[i], code);
    return found;
}

static enum avow_rc untrusted(const char *what, int depth, const char *reason, struct avow_err *err)
{
    if (depth == 0)
        return avow_err_set(err, AVOW_UNTRUSTED, 0, "%s: %s", what, reason);
    return avow_err_set(err, AVOW_UNTRUSTED, 0, "certificate %d above the %s: %s", depth, what,
                        reason);
}

static enum avow_rc check_revoked(const struct chain_in *in, X509_STORE_CTX *ctx, uint64_t now_ms,
                                  struct avow_err *err)
{
    int depth = 0;
    const char *why = avow_crl_check(in->store, X509_STORE_CTX_get0_chain(ctx), now_ms, &depth);
    ERR_clear_error();
    return why ? untrusted(in->what, depth, why, err) : AVOW_OK;
}

static enum avow_rc verify_chain(const struct chain_in *in, STACK_OF(X509) * untrusted_certs,
                                 uint64_t now_ms, struct avow_err *err)
{
    AVOW_CLEANUP(X509_STORE_CTX_free) X509_STORE_CTX *ctx = X509_STORE_CTX_new();
    if (!ctx || X509_STORE_CTX_init(ctx, in->store->store, in->leaf->x509, untrusted_certs) != 1)
        return avow_openssl_err(err, AVOW_NOMEM, "verify a chain");
    X509_VERIFY_PARAM *param = X509_STORE_CTX_get0_param(ctx);
    X509_VERIFY_PARAM_set_time(param, (time_t)(now_ms / 1000));
    X509_VERIFY_PARAM_set_depth(param, (int)AVOW_CHAIN_MAX -
                                           2); /* OpenSSL counts what is between leaf and anchor */
    X509_VERIFY_PARAM_set_auth_level(param, SECURITY_LEVEL);
    if (X509_VERIFY_PARAM_set_flags(param, X509_V_FLAG_PARTIAL_CHAIN) != 1)
        return avow_openssl_err(err, AVOW_CRYPTO, "verify a chain");
    int good = X509_verify_cert(ctx);
    if (good == 1)
        return check_revoked(in, ctx, now_ms, err);
    int code = chain_code(in, ctx);
    ERR_clear_error();
    if (code == X509_V_ERR_OUT_OF_MEM || code == X509_V_OK)
        return avow_err_set(err, AVOW_NOMEM, code, "verify a chain");
    return untrusted(in->what, X509_STORE_CTX_get_error_depth(ctx), chain_reason(code), err);
}

static bool has_ek_usage(const X509 *x)
{
    int critical = -1;
    EXTENDED_KEY_USAGE *usages = X509_get_ext_d2i(x, NID_ext_key_usage, &critical, NULL);
    if (!usages)
        return critical ==
               -1; /* absent: older vendors leave it out; -2: twice; otherwise malformed */
    bool found = false;
    for (int i = 0; i < sk_ASN1_OBJECT_num(usages) && !found; i++) {
        char oid[32];
        const ASN1_OBJECT *usage = sk_ASN1_OBJECT_value(usages, i);
        found =
            OBJ_obj2nid(usage) == NID_anyExtendedKeyUsage ||
            (OBJ_obj2txt(oid, sizeof oid, usage, 1) > 0 && avow_cstr_eq(oid, EK_CERTIFICATE_OID));
    }
    sk_ASN1_OBJECT_pop_free(usages, ASN1_OBJECT_free);
    return found;
}

/* TCG EK Credential Profile 2.6, 3.2: an end-entity certificate of a key that only decrypts or
 * agrees. */
static enum avow_rc check_profile(const struct avow_cert *leaf, struct avow_err *err)
{
    X509 *x = leaf->x509;
    AVOW_CLEANUP(avow_pubkey_free) struct avow_pubkey *key = NULL;
    enum avow_rc rc = avow_cert_pubkey(leaf, &key, err);
    if (rc == AVOW_PARSE)
        return untrusted(EK, 0, "its key is not RSA 2048 to 4096, P-256, P-384 or P-521", err);
    if (rc)
        return rc;
    if (is_ca(x))
        return untrusted(EK, 0, "it is a CA certificate", err);
    uint32_t usage = X509_get_key_usage(x); /* all bits if the extension is absent */
    if (!(usage & (avow_pubkey_kind(key) == AVOW_KEY_RSA ? KU_KEY_ENCIPHERMENT : KU_KEY_AGREEMENT)))
        return untrusted(
            EK, 0, "key usage allows neither key encipherment (RSA) nor key agreement (ECC)", err);
    if (!has_ek_usage(x))
        return untrusted(EK, 0, "extended key usage is not that of an EK (2.23.133.8.1)", err);
    return AVOW_OK;
}

static enum avow_rc verify_path(const struct chain_in *in, uint64_t now_ms, struct avow_err *err)
{
    if (in->n_extra > AVOW_CHAIN_MAX)
        return avow_err_set(err, AVOW_UNTRUSTED, 0, "%s: more than %u intermediates", in->what,
                            AVOW_CHAIN_MAX);
    AVOW_CLEANUP_VAL(stack_cleanup) STACK_OF(X509) *stack = sk_X509_new_null();
    if (!stack)
        return avow_openssl_err(err, AVOW_NOMEM, "verify a chain");
    for (size_t i = 0; i < in->n_extra; i++)
        if (!sk_X509_push(stack, in->extra[i]->x509))
            return avow_openssl_err(err, AVOW_NOMEM, "verify a chain");
    return verify_chain(in, stack, now_ms, err);
}

enum avow_rc avow_cert_verify_ek(const struct avow_cert *leaf, struct avow_cert *const *extra,
                                 size_t n_extra, const struct avow_cert_store *store,
                                 uint64_t now_ms, struct avow_err *err)
{
    const struct chain_in in = {EK, leaf, extra, n_extra, store};
    enum avow_rc rc = verify_path(&in, now_ms, err);
    return rc ? rc : check_profile(leaf, err);
}

enum avow_rc avow_cert_verify_device(const char *what, const struct avow_cert_list *chain,
                                     const struct avow_cert_store *store, uint64_t now_ms,
                                     struct avow_err *err)
{
    const struct chain_in in = {what, chain->certs[0], chain->certs + 1, chain->n - 1, store};
    enum avow_rc rc = verify_path(&in, now_ms, err);
    if (rc)
        return rc;
    X509 *x = in.leaf->x509;
    if (is_ca(x))
        return untrusted(what, 0, "it is a CA certificate", err);
    if (!(X509_get_key_usage(x) & KU_DIGITAL_SIGNATURE)) /* all bits if the extension is absent */
        return untrusted(what, 0, "key usage does not allow signatures", err);
    return AVOW_OK;
}
