#include "ek_trust.h"

#include "avow/crypto/digest.h"

#include <string.h>

#include "avow/base/banned.h"

#define PEM_BEGIN "-----BEGIN CERTIFICATE-----"
#define PEM_END "-----END CERTIFICATE-----"

struct cert_list {
    struct avow_cert *certs[AVOW_CHAIN_MAX];
    size_t n;
};

static void cert_list_deinit(struct cert_list *l)
{
    for (size_t i = 0; i < l->n; i++)
        avow_cert_free(l->certs[i]);
}

/* Takes what parses; stops at AVOW_CHAIN_MAX. */
static void add_certs(struct cert_list *l, struct avow_str text)
{
    struct avow_cert *got[AVOW_CHAIN_MAX] = {NULL};
    size_t n = 0;
    if (avow_cert_list_parse(avow_bytes_make(text.ptr, text.len), got, &n, NULL))
        return;
    for (size_t i = 0; i < n; i++) {
        if (l->n < AVOW_CHAIN_MAX)
            l->certs[l->n++] = got[i];
        else
            avow_cert_free(got[i]);
    }
}

static size_t find_text(struct avow_str s, size_t from, const char *what)
{
    const char *hit = from < s.len ? memmem(s.ptr + from, s.len - from, what, strlen(what)) : NULL;
    return hit ? (size_t)(hit - s.ptr) : s.len;
}

/* Block by block, so that one that is no certificate does not hide the others. */
static enum avow_rc read_certs(struct avow_str text, struct cert_list *l, struct avow_err *err)
{
    size_t begin = find_text(text, 0, PEM_BEGIN), blocks = 0;
    if (begin == text.len)
        add_certs(l, text);
    while (begin < text.len) {
        size_t end = find_text(text, begin, PEM_END);
        if (++blocks > AVOW_CHAIN_MAX)
            return avow_err_set(err, AVOW_LIMIT, 0, "ekcert: over %u certificates", AVOW_CHAIN_MAX);
        if (end == text.len)
            return avow_err_set(err, AVOW_PARSE, 0, "ekcert: PEM block without end");
        end += sizeof PEM_END - 1;
        add_certs(l, (struct avow_str){text.ptr + begin, end - begin});
        begin = find_text(text, end, PEM_BEGIN);
    }
    return l->n
               ? AVOW_OK
               : avow_err_set(err, AVOW_PARSE, 0, "ekcert: neither PEM nor base64 DER certificate");
}

/* Moves the certificate of the EK's own key to the front. */
static enum avow_rc leaf_first(const struct avow_ek *ek, struct cert_list *l, struct avow_err *err)
{
    for (size_t i = 0; i < l->n; i++) {
        AVOW_CLEANUP(avow_pubkey_free) struct avow_pubkey *key = NULL;
        if (avow_cert_pubkey(l->certs[i], &key, NULL) || !avow_pubkey_eq(key, avow_ek_key(ek)))
            continue;
        struct avow_cert *leaf = l->certs[i];
        l->certs[i] = l->certs[0];
        l->certs[0] = leaf;
        return AVOW_OK;
    }
    return avow_err_set(err, AVOW_PARSE, 0, "ekcert: no certificate is for ek_tpm");
}

static enum avow_rc pack(const struct cert_list *l, struct avow_arena *arena,
                         struct avow_claim *claim, struct avow_err *err)
{
    AVOW_CLEANUP_VAL(avow_buf_deinit) struct avow_buf packed;
    avow_buf_init(&packed, AVOW_CLAIM_CERTS_MAX);
    for (size_t i = 0; i < l->n; i++)
        avow_certs_put(&packed, avow_cert_der(l->certs[i]));
    enum avow_rc rc = avow_buf_status(&packed, err);
    if (rc)
        return avow_err_wrap(err, rc, "ekcert");
    claim->ek_certs = avow_arena_bytes(arena, avow_buf_bytes(&packed));
    avow_sha256(avow_cert_der(l->certs[0]), claim->trust.cert_sha256);
    claim->trust.has_cert_sha256 = true;
    return claim->ek_certs.ptr ? AVOW_OK : avow_err_set(err, AVOW_NOMEM, 0, "ekcert");
}

/* The reason may quote names from a hostile certificate; it goes into JSON, logs and a signed
 * record. */
static enum avow_rc set_detail(struct avow_claim *claim, const char *text, struct avow_arena *arena,
                               struct avow_err *err)
{
    char clean[AVOW_TRUST_DETAIL_MAX + 1];
    size_t n = 0;
    for (; text[n] && n < AVOW_TRUST_DETAIL_MAX; n++)
        clean[n] = text[n] >= 0x20 && text[n] < 0x7f ? text[n] : '?';
    clean[n] = '\0';
    char *copy = avow_arena_cstr(arena, (struct avow_str){clean, n});
    if (!copy)
        return avow_err_set(err, AVOW_NOMEM, 0, "trust");
    claim->trust.detail = (struct avow_str){copy, n};
    return AVOW_OK;
}

static enum avow_rc verify(const struct cert_list *l, const struct avow_cert_store *store,
                           uint64_t now_ms, struct avow_arena *arena, struct avow_claim *claim,
                           struct avow_err *err)
{
    struct avow_err why;
    if (!store)
        return set_detail(claim, "no store of EK certificate authorities is configured", arena,
                          err);
    enum avow_rc rc = avow_cert_verify_ek(l->certs[0], l->certs + 1, l->n - 1, store, now_ms, &why);
    if (rc == AVOW_NOMEM)
        return avow_err_set(err, rc, why.native, "%s", why.msg);
    if (rc)
        return set_detail(claim, why.msg, arena, err);
    claim->trust.rule = AVOW_STR_LIT("ek-certificate");
    claim->trust.trusted = true;
    AVOW_CLEANUP_VAL(avow_buf_deinit) struct avow_buf issuer;
    avow_buf_init(&issuer, AVOW_CERT_MAX);
    if (avow_cert_issuer(l->certs[0], &issuer, NULL))
        avow_buf_reset(&issuer);
    char text[AVOW_TRUST_DETAIL_MAX];
    snprintf(text, sizeof text, "certificate issued by %s", avow_buf_cstr(&issuer));
    return set_detail(claim, text, arena, err);
}

enum avow_rc avow_ek_judge(const struct avow_ek *ek, struct avow_str text,
                           const struct avow_cert_store *store, uint64_t now_ms,
                           struct avow_arena *arena, struct avow_claim *claim, struct avow_err *err)
{
    AVOW_CLEANUP_VAL(cert_list_deinit) struct cert_list list = {.n = 0};
    claim->ek_certs = (struct avow_bytes){0};
    claim->trust =
        (struct avow_ek_trust){.rule = AVOW_STR_LIT("trust-on-first-use"), .time_ms = now_ms};
    if (!text.len)
        return set_detail(claim, "the TPM gave no EK certificate", arena, err);
    enum avow_rc rc = read_certs(text, &list, err);
    if (!rc)
        rc = leaf_first(ek, &list, err);
    if (!rc)
        rc = pack(&list, arena, claim, err);
    return rc ? rc : verify(&list, store, now_ms, arena, claim, err);
}
