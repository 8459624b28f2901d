#include "device_identity.h"

#include "avow/base/file.h"
#include "avow/base/hex.h"
#include "avow/crypto/ak.h"
#include "avow/crypto/x509.h"
#include "avow/formats/tpm_public.h"

#include <string.h>

#include "avow/base/banned.h"

/* Part 2, 7.2: the first byte of a handle says what it is of. */
#define HANDLE_NV 0x01u
#define HANDLE_PERSISTENT 0x81u

/* --- Settings --- */

/* 0x and eight hex digits, of that range. */
static bool parse_handle(const char *text, uint8_t range, uint32_t *out)
{
    uint8_t bytes[4] = {0};
    struct avow_str s = avow_str_from(text);
    if (s.len != 10 || !avow_str_starts(s, "0x") ||
        !avow_hex_decode(bytes, sizeof bytes, (struct avow_str){s.ptr + 2, 8}) || bytes[0] != range)
        return false;
    struct avow_rd r = avow_rd_make(AVOW_BYTES_OF(bytes));
    *out = avow_rd_u32be(&r);
    return true;
}

static bool parse_cert(const char *text, struct avow_device_cert *out)
{
    *out = (struct avow_device_cert){.file = text};
    if (text[0] == '/')
        return true;
    out->file = NULL;
    return parse_handle(text, HANDLE_NV, &out->nv_index);
}

enum avow_rc avow_device_opts_read(const struct avow_conf *c, struct avow_device_opts *out,
                                   const char **key, struct avow_err *err)
{
    static const char *const keys[] = {"iak", "iak_cert", "idevid", "idevid_cert"};
    const char *texts[AVOW_ARRAY_LEN(keys)];
    size_t given = 0;
    *out = (struct avow_device_opts){.given = false};
    for (size_t i = 0; i < AVOW_ARRAY_LEN(keys); i++) {
        texts[i] = avow_conf_str(c, "tpm", keys[i]);
        given += *texts[i] != '\0';
    }
    if (!given)
        return AVOW_OK;
    out->given = true;
    for (size_t i = 0; i < AVOW_ARRAY_LEN(keys); i++) {
        *key = keys[i];
        if (!*texts[i])
            return avow_err_set(err, AVOW_CONFIG, 0,
                                "is empty, and other parts of a device identity are set");
        bool good = i == 0   ? parse_handle(texts[i], HANDLE_PERSISTENT, &out->iak)
                    : i == 1 ? parse_cert(texts[i], &out->iak_cert)
                    : i == 2 ? parse_handle(texts[i], HANDLE_PERSISTENT, &out->idevid)
                             : parse_cert(texts[i], &out->idevid_cert);
        if (!good && i % 2 == 0)
            return avow_err_set(err, AVOW_CONFIG, 0,
                                "\"%.64s\" is no persistent handle like 0x81020001", texts[i]);
        if (!good)
            return avow_err_set(err, AVOW_CONFIG, 0,
                                "\"%.64s\" is neither an absolute path nor an NV index like "
                                "0x01c90000",
                                texts[i]);
    }
    return AVOW_OK;
}

/* --- Keys and certificates --- */

void avow_device_identity_init(struct avow_device_identity *d)
{
    avow_tpm_certified_init(&d->iak);
    avow_buf_init(&d->idevid_public, AVOW_TPM_PUBLIC_MAX);
    avow_buf_init(&d->iak_certs_pem, AVOW_DEVICE_PEM_MAX);
    avow_buf_init(&d->idevid_certs_pem, AVOW_DEVICE_PEM_MAX);
}

void avow_device_identity_deinit(struct avow_device_identity *d)
{
    avow_tpm_certified_deinit(&d->iak);
    avow_buf_deinit(&d->idevid_public);
    avow_buf_deinit(&d->iak_certs_pem);
    avow_buf_deinit(&d->idevid_certs_pem);
}

struct certs {
    struct avow_cert *list[AVOW_CHAIN_MAX];
    size_t n;
};

static void certs_deinit(struct certs *c)
{
    for (size_t i = 0; i < c->n; i++)
        avow_cert_free(c->list[i]);
}

static bool is_for(const struct avow_cert *cert, const struct avow_pubkey *key)
{
    AVOW_CLEANUP(avow_pubkey_free) struct avow_pubkey *of = NULL;
    return !avow_cert_pubkey(cert, &of, NULL) && avow_pubkey_eq(of, key);
}

/* As PEM that has nothing but certificates in it, whatever the file says around them. */
static enum avow_rc put_chain(struct avow_bytes raw, struct avow_bytes public_area,
                              struct avow_buf *pem, struct avow_err *err)
{
    AVOW_CLEANUP_VAL(certs_deinit) struct certs certs = {.n = 0};
    AVOW_CLEANUP(avow_pubkey_free) struct avow_pubkey *key = NULL;
    struct avow_tpm_public pub;
    bool found = false;
    enum avow_rc rc = avow_tpm_public_parse(public_area, &pub, err);
    if (!rc)
        rc = avow_tpm_public_key(&pub, &key, err);
    if (!rc)
        rc = avow_cert_list_parse(raw, certs.list, &certs.n, err);
    if (rc)
        return rc;
    for (size_t i = 0; i < certs.n; i++) {
        found = found || is_for(certs.list[i], key);
        avow_enroll_put_pem(pem, avow_cert_der(certs.list[i]));
    }
    if (!found)
        return avow_err_set(err, AVOW_REFUSED, 0, "no certificate in it is for the key");
    return avow_buf_status(pem, err);
}

static enum avow_rc load_chain(struct avow_tpm *t, const struct avow_device_cert *where,
                               struct avow_bytes public_area, struct avow_buf *pem,
                               struct avow_err *err)
{
    AVOW_CLEANUP_VAL(avow_buf_deinit) struct avow_buf raw;
    avow_buf_init(&raw, AVOW_DEVICE_PEM_MAX);
    enum avow_rc rc = where->file ? avow_file_read(where->file, &raw, err)
                                  : avow_tpm_key_cert(t, where->nv_index, &raw, err);
    return rc ? rc : put_chain(avow_buf_bytes(&raw), public_area, pem, err);
}

/* What is wrong with the settings is said with their name, and no retry mends it. */
static enum avow_rc blame(const char *key, enum avow_rc rc, struct avow_err *err)
{
    bool settings = rc == AVOW_NOTFOUND || rc == AVOW_PARSE || rc == AVOW_LIMIT ||
                    rc == AVOW_REFUSED || rc == AVOW_IO;
    return rc ? avow_err_wrap(err, settings ? AVOW_CONFIG : rc, "tpm.%s", key) : AVOW_OK;
}

enum avow_rc avow_device_identity_load(struct avow_tpm *t, const struct avow_device_opts *o,
                                       const char *agent_id, struct avow_device_identity *d,
                                       struct avow_err *err)
{
    uint8_t qualifying[AVOW_SHA256_LEN]; /* as Keylime's agents: a certification is for one id */
    if (!o->given)
        return AVOW_OK;
    avow_sha256(avow_bytes_make(agent_id, strlen(agent_id)), qualifying);
    enum avow_rc rc = blame("iak", avow_tpm_certify_ak(t, o->iak, qualifying, &d->iak, err), err);
    if (!rc)
        rc = blame("idevid", avow_tpm_key_public(t, o->idevid, &d->idevid_public, err), err);
    if (!rc)
        rc = blame("iak_cert",
                   load_chain(t, &o->iak_cert, avow_buf_bytes(&d->iak.public_area),
                              &d->iak_certs_pem, err),
                   err);
    if (!rc)
        rc = blame("idevid_cert",
                   load_chain(t, &o->idevid_cert, avow_buf_bytes(&d->idevid_public),
                              &d->idevid_certs_pem, err),
                   err);
    return rc;
}

struct avow_enroll_device avow_device_identity_view(const struct avow_device_identity *d)
{
    return (struct avow_enroll_device){.iak_public = avow_buf_bytes(&d->iak.public_area),
                                       .iak_attest = avow_buf_bytes(&d->iak.attest),
                                       .iak_sign = avow_buf_bytes(&d->iak.signature),
                                       .iak_certs = avow_buf_bytes(&d->iak_certs_pem),
                                       .idevid_public = avow_buf_bytes(&d->idevid_public),
                                       .idevid_certs = avow_buf_bytes(&d->idevid_certs_pem)};
}
