/* Certificates as agents send them. */
#include "claim_certs.h"

#include <string.h>

#include "avow/base/banned.h"

#define PEM_BEGIN "-----BEGIN CERTIFICATE-----"
#define PEM_END "-----END CERTIFICATE-----"

void avow_claim_certs_deinit(struct avow_cert_list *l)
{
    for (size_t i = 0; i < l->n; i++)
        avow_cert_free(l->certs[i]);
    l->n = 0;
}

/* Takes what parses; stops at AVOW_CHAIN_MAX. */
static void add_certs(struct avow_cert_list *l, struct avow_str text)
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

enum avow_rc avow_claim_certs_read(const char *what, struct avow_str text,
                                   struct avow_cert_list *out, struct avow_err *err)
{
    size_t begin = find_text(text, 0, PEM_BEGIN), blocks = 0;
    if (begin == text.len)
        add_certs(out, text);
    while (begin < text.len) {
        size_t end = find_text(text, begin, PEM_END);
        if (++blocks > AVOW_CHAIN_MAX)
            return avow_err_set(err, AVOW_LIMIT, 0, "%s: over %u certificates", what,
                                AVOW_CHAIN_MAX);
        if (end == text.len)
            return avow_err_set(err, AVOW_PARSE, 0, "%s: PEM block without end", what);
        end += sizeof PEM_END - 1;
        add_certs(out, (struct avow_str){text.ptr + begin, end - begin});
        begin = find_text(text, end, PEM_BEGIN);
    }
    return out->n ? AVOW_OK
                  : avow_err_set(err, AVOW_PARSE, 0, "%s: neither PEM nor base64 DER certificate",
                                 what);
}

enum avow_rc avow_claim_certs_key_first(const struct avow_pubkey *key, struct avow_cert_list *l,
                                        struct avow_err *err)
{
    for (size_t i = 0; i < l->n; i++) {
        AVOW_CLEANUP(avow_pubkey_free) struct avow_pubkey *own = NULL;
        if (avow_cert_pubkey(l->certs[i], &own, NULL) || !avow_pubkey_eq(own, key))
            continue;
        struct avow_cert *leaf = l->certs[i];
        l->certs[i] = l->certs[0];
        l->certs[0] = leaf;
        return AVOW_OK;
    }
    return avow_err_set(err, AVOW_NOTFOUND, 0, "no certificate is for the key");
}

enum avow_rc avow_claim_certs_pack(const char *what, const struct avow_cert_list *l,
                                   struct avow_arena *arena, struct avow_bytes *out,
                                   struct avow_err *err)
{
    AVOW_CLEANUP_VAL(avow_buf_deinit) struct avow_buf packed;
    avow_buf_init(&packed, AVOW_CLAIM_CERTS_MAX);
    for (size_t i = 0; i < l->n; i++)
        avow_certs_put(&packed, avow_cert_der(l->certs[i]));
    enum avow_rc rc = avow_buf_status(&packed, err);
    if (rc)
        return avow_err_wrap(err, rc, "%s", what);
    *out = avow_arena_bytes(arena, avow_buf_bytes(&packed));
    return out->ptr ? AVOW_OK : avow_err_set(err, AVOW_NOMEM, 0, "%s", what);
}

enum avow_rc avow_claim_certs_unpack(struct avow_bytes packed, struct avow_cert_list *out,
                                     struct avow_err *err)
{
    struct avow_bytes der;
    while (out->n < AVOW_CHAIN_MAX && avow_certs_next(&packed, &der)) {
        enum avow_rc rc = avow_cert_from_der(der, &out->certs[out->n], err);
        if (rc)
            return avow_err_wrap(err, rc, "stored certificate");
        out->n++;
    }
    return AVOW_OK;
}

enum avow_rc avow_claim_detail(const char *text, struct avow_arena *arena, struct avow_str *out,
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
    *out = (struct avow_str){copy, n};
    return AVOW_OK;
}
