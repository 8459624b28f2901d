/* Revocation lists (RFC 5280, 5). OpenSSL's own check stops at the anchor and knows one time rule;
 * ours follows the store further and says which list is at fault. */
#include "cert_store_internal.h"

#include "avow/base/file.h"

#include "openssl_err.h"
#include "pem.h"

#include <openssl/asn1.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>

#include <stdio.h>
#include <string.h>

#include "avow/base/banned.h"

#define CRL_FILE_MAX (8u * 1024u * 1024u)
#define DAY_S 86400u
#define CRL_CHAIN_MAX (2u * AVOW_CHAIN_MAX) /* the verified chain and what the store adds */

AVOW_DEFINE_CLEANUP(X509_CRL, X509_CRL_free);
AVOW_DEFINE_CLEANUP(ASN1_TIME, ASN1_TIME_free);
AVOW_DEFINE_CLEANUP(ISSUING_DIST_POINT, ISSUING_DIST_POINT_free);

void avow_crl_list_deinit(struct avow_crl_list *l)
{
    for (size_t i = 0; i < l->n; i++)
        X509_CRL_free(l->entries[i].list);
    l->n = 0;
}

/* RFC 5280, 5.2.5. A list that does not cover every reason or issuer would be read as a clean
 * bill. */
static enum avow_rc read_scope(const X509_CRL *list, struct avow_crl *out, struct avow_err *err)
{
    int critical = -1;
    if (X509_CRL_get_ext_by_NID(list, NID_delta_crl, -1) >= 0)
        return avow_err_set(err, AVOW_PARSE, 0, "a delta list; the full one is needed");
    AVOW_CLEANUP(ISSUING_DIST_POINT_free)
    ISSUING_DIST_POINT *scope =
        X509_CRL_get_ext_d2i(list, NID_issuing_distribution_point, &critical, NULL);
    if (!scope && critical != -1)
        return avow_openssl_err(err, AVOW_PARSE, "malformed issuing distribution point");
    if (scope && (scope->indirectCRL > 0 || scope->onlyattr > 0 || scope->onlysomereasons))
        return avow_err_set(err, AVOW_PARSE, 0,
                            "an indirect list, or one for some reasons or attribute certificates "
                            "only");
    for (int i = -1; (i = X509_CRL_get_ext_by_critical(list, 1, i)) >= 0;) {
        X509_EXTENSION *ext = X509_CRL_get_ext(list, i);
        if (OBJ_obj2nid(X509_EXTENSION_get_object(ext)) != NID_issuing_distribution_point)
            return avow_err_set(err, AVOW_PARSE, 0, "a critical extension is not understood");
    }
    out->users_only = scope && scope->onlyuser > 0;
    out->cas_only = scope && scope->onlyCA > 0;
    return AVOW_OK;
}

/* The certificate of the store that signed it. A name that is known with no key that fits is an
 * operator's mistake, and would be a list that never counts. */
static enum avow_rc find_signer(const struct avow_cert_store *s, struct avow_crl *crl,
                                struct avow_err *err)
{
    bool named = false;
    for (size_t i = 0; i < s->count; i++) {
        X509 *x = s->certs[i]->x509;
        if (X509_NAME_cmp(X509_get_subject_name(x), X509_CRL_get_issuer(crl->list)))
            continue;
        named = true;
        EVP_PKEY *key = X509_get0_pubkey(x);
        if (key && X509_CRL_verify(crl->list, key) == 1) {
            crl->signer = x;
            return AVOW_OK;
        }
    }
    ERR_clear_error();
    return named ? avow_err_set(err, AVOW_PARSE, 0, "its issuer's key did not sign it") : AVOW_OK;
}

static enum avow_rc add_list(struct avow_cert_store *s, struct avow_bytes der, const char *path,
                             struct avow_err *err)
{
    const uint8_t *p = der.ptr;
    AVOW_CLEANUP(X509_CRL_free)
    X509_CRL *list = der.len ? d2i_X509_CRL(NULL, &p, (long)der.len) : NULL;
    if (!list || p != der.ptr + der.len)
        return avow_openssl_err(err, AVOW_PARSE, "not a DER revocation list");
    if (s->crls.n == AVOW_CRLS_MAX)
        return avow_err_set(err, AVOW_LIMIT, 0, "more than %u revocation lists", AVOW_CRLS_MAX);
    struct avow_crl crl = {.list = list};
    enum avow_rc rc = read_scope(list, &crl, err);
    if (!rc)
        rc = find_signer(s, &crl, err);
    if (rc)
        return rc;
    const char *slash = strrchr(path, '/');
    snprintf(crl.file, sizeof crl.file, "%s", slash ? slash + 1 : path);
    (void)AVOW_STEAL(list);
    s->crls.entries[s->crls.n++] = crl;
    return AVOW_OK;
}

static enum avow_rc add_pem(struct avow_cert_store *s, struct avow_bytes in, const char *path,
                            struct avow_err *err)
{
    for (size_t before = s->crls.n;;) {
        struct avow_pem_block block;
        bool found;
        enum avow_rc rc = avow_pem_next(&in, &block, &found, err);
        if (rc)
            return rc;
        if (!found)
            return s->crls.n > before ? AVOW_OK
                                      : avow_err_set(err, AVOW_PARSE, 0, "no revocation list");
        if (!avow_str_is(block.label, "X509 CRL"))
            return avow_err_set(err, AVOW_PARSE, 0, "PEM block where \"X509 CRL\" belongs");
        AVOW_CLEANUP_VAL(avow_buf_deinit) struct avow_buf der;
        avow_buf_init(&der, CRL_FILE_MAX);
        rc = avow_pem_decode(block.base64, &der, err);
        if (!rc)
            rc = add_list(s, avow_buf_bytes(&der), path, err);
        if (rc)
            return rc;
    }
}

enum avow_rc avow_crl_add(struct avow_cert_store *s, struct avow_bytes in, const char *path,
                          struct avow_err *err)
{
    enum avow_rc rc = avow_pem_is(in) ? add_pem(s, in, path, err) : add_list(s, in, path, err);
    return rc ? avow_err_wrap(err, rc, "%s", path) : AVOW_OK;
}

static enum avow_rc add_file(void *arg, const char *path, struct avow_err *err)
{
    struct avow_cert_store *s = arg;
    AVOW_CLEANUP_VAL(avow_buf_deinit) struct avow_buf data;
    avow_buf_init(&data, CRL_FILE_MAX);
    enum avow_rc rc = avow_file_read(path, &data, err);
    return rc ? rc : avow_crl_add(s, avow_buf_bytes(&data), path, err);
}

enum avow_rc avow_cert_store_add_crls(struct avow_cert_store *s, const char *dir,
                                      const struct avow_crl_opts *opts, struct avow_err *err)
{
    s->crls.opts = *opts;
    return avow_folder_walk(dir, add_file, s, err);
}

size_t avow_cert_store_crl_count(const struct avow_cert_store *s)
{
    return s->crls.n;
}

/* Milliseconds since 1970; 0 if there is no time, or none that can be read. */
static uint64_t time_ms(const ASN1_TIME *t)
{
    int days = 0, seconds = 0;
    AVOW_CLEANUP(ASN1_TIME_free) ASN1_TIME *epoch = ASN1_TIME_set(NULL, 0);
    if (!t || !epoch || ASN1_TIME_diff(&days, &seconds, epoch, t) != 1 || days < 0 || seconds < 0)
        return 0;
    return ((uint64_t)days * DAY_S + (uint64_t)seconds) * 1000;
}

static bool is_expired(const X509_CRL *list, uint64_t now_ms)
{
    const ASN1_TIME *next = X509_CRL_get0_nextUpdate(list);
    return next && time_ms(next) <= now_ms;
}

void avow_cert_store_crl_info(const struct avow_cert_store *s, size_t i, uint64_t now_ms,
                              struct avow_crl_info *out)
{
    const struct avow_crl *c = &s->crls.entries[i];
    int n = sk_X509_REVOKED_num(X509_CRL_get_REVOKED(c->list));
    *out = (struct avow_crl_info){.file = c->file,
                                  .next_update_ms = time_ms(X509_CRL_get0_nextUpdate(c->list)),
                                  .expired = is_expired(c->list, now_ms),
                                  .revoked = n > 0 ? (size_t)n : 0};
}

static bool is_signed_by(const struct avow_crl *c, X509 *issuer)
{
    if (!(X509_get_key_usage(issuer) & KU_CRL_SIGN)) /* all bits if the extension is absent */
        return false;
    if (c->signer)
        return c->signer == issuer || X509_cmp(c->signer, issuer) == 0;
    EVP_PKEY *key = X509_get0_pubkey(issuer);
    return key && X509_CRL_verify(c->list, key) == 1;
}

static bool covers(const struct avow_crl *c, X509 *cert)
{
    bool ca = X509_check_ca(cert) != 0;
    return !(c->users_only && ca) && !(c->cas_only && !ca);
}

static const char *check_cert(const struct avow_crl_list *l, X509 *cert, X509 *issuer,
                              uint64_t now_ms)
{
    bool found = false, fresh = false;
    for (size_t i = 0; i < l->n; i++) {
        const struct avow_crl *c = &l->entries[i];
        X509_REVOKED *entry = NULL;
        if (X509_NAME_cmp(X509_CRL_get_issuer(c->list), X509_get_issuer_name(cert)) ||
            !covers(c, cert) || !is_signed_by(c, issuer))
            continue;
        /* 2 is removeFromCRL: held once, and released */
        if (X509_CRL_get0_by_cert(c->list, &entry, cert) == 1)
            return "revoked";
        found = true;
        if (!is_expired(c->list, now_ms) && time_ms(X509_CRL_get0_lastUpdate(c->list)) <= now_ms)
            fresh = true;
    }
    if (!found)
        return l->opts.required ? "there is no revocation list of its issuer" : NULL;
    return fresh || l->opts.use_expired ? NULL : "its issuer's revocation list is out of date";
}

static X509 *find_issuer(const struct avow_cert_store *s, X509 *cert)
{
    for (size_t i = 0; i < s->count; i++) {
        X509 *x = s->certs[i]->x509;
        EVP_PKEY *key = X509_get0_pubkey(x);
        if (X509_check_issued(x, cert) == X509_V_OK && key && X509_verify(cert, key) == 1)
            return x;
    }
    return NULL;
}

const char *avow_crl_check(const struct avow_cert_store *s, const STACK_OF(X509) * chain,
                           uint64_t now_ms, int *depth)
{
    if (!s->crls.n && !s->crls.opts.required)
        return NULL;
    X509 *cert = sk_X509_value(chain, 0);
    for (int i = 0; cert && i < (int)CRL_CHAIN_MAX; i++) {
        X509 *issuer =
            i + 1 < sk_X509_num(chain) ? sk_X509_value(chain, i + 1) : find_issuer(s, cert);
        if (!issuer || issuer == cert || X509_cmp(issuer, cert) == 0)
            return NULL; /* the anchor: the operator's word */
        const char *why = check_cert(&s->crls, cert, issuer, now_ms);
        if (why) {
            *depth = i;
            return why;
        }
        cert = issuer;
    }
    return NULL;
}
