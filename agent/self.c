#include "self.h"

#include "avow/base/file.h"
#include "avow/base/log.h"
#include "avow/crypto/ak.h"
#include "avow/crypto/x509.h"
#include "enroll_pipe.h"

#include <errno.h>
#include <string.h>

#include "avow/base/banned.h"

#define BLOB_MAX 4096u
#define PATH_LEN_MAX 4096u
#define PEM_MAX (192u * 1024u) /* 8 certificates of 16 KiB, as text */

void avow_self_init(struct avow_self *s)
{
    *s = (struct avow_self){.new_ak = false};
    avow_buf_init(&s->ek_public, AVOW_TPM_PUBLIC_MAX);
    avow_buf_init(&s->ek_certs_pem, PEM_MAX);
}

void avow_self_deinit(struct avow_self *s)
{
    avow_buf_deinit(&s->ek_public);
    avow_buf_deinit(&s->ek_certs_pem);
}

enum avow_rc avow_self_identify(struct avow_tpm *t, const struct avow_self_opts *o,
                                struct avow_self *s, struct avow_err *err)
{
    AVOW_CLEANUP(avow_ek_free) struct avow_ek *ek = NULL;
    avow_buf_reset(&s->ek_public);
    enum avow_rc rc = avow_tpm_ek_public(t, &s->ek_public, err);
    if (!rc)
        rc = avow_ek_parse(avow_buf_bytes(&s->ek_public), &ek, err);
    if (rc)
        return avow_err_wrap(err, rc, "endorsement key");
    if (avow_cstr_eq(o->id, "hash_ek"))
        return avow_ek_hash_id(ek, s->id, err);
    if (!avow_name_is_valid(avow_str_from(o->id)))
        return avow_err_set(err, AVOW_CONFIG, 0, "agent.id: \"%.64s\" is not a name", o->id);
    avow_str_copy(s->id, sizeof s->id, avow_str_from(o->id));
    return AVOW_OK;
}

/* A registrar refuses it; here it is known which TPM to look at. */
static void compare_cert(const struct avow_self *s, struct avow_bytes der)
{
    AVOW_CLEANUP(avow_ek_free) struct avow_ek *ek = NULL;
    AVOW_CLEANUP(avow_cert_free) struct avow_cert *cert = NULL;
    AVOW_CLEANUP(avow_pubkey_free) struct avow_pubkey *key = NULL;
    struct avow_err why = {.rc = AVOW_OK};
    enum avow_rc rc = avow_ek_parse(avow_buf_bytes(&s->ek_public), &ek, &why);
    if (!rc)
        rc = avow_cert_from_der(der, &cert, &why);
    if (!rc)
        rc = avow_cert_pubkey(cert, &key, &why);
    if (!rc && !avow_pubkey_eq(key, avow_ek_key(ek)))
        rc = avow_err_set(&why, AVOW_REFUSED, 0, "it certifies another key than this EK");
    if (rc)
        avow_log(WARN, "ek_cert.unfit", AVOW_KV_ERR(&why),
                 AVOW_KV_STR("effect", "registrars that want an EK certificate will refuse it"));
}

static enum avow_rc load_certs(struct avow_tpm *t, struct avow_self *s, struct avow_err *err)
{
    AVOW_CLEANUP_VAL(avow_tpm_certs_deinit) struct avow_tpm_certs certs;
    avow_tpm_certs_init(&certs);
    enum avow_rc rc = avow_tpm_ek_certs(t, &certs, err);
    for (size_t i = 0; !rc && i < certs.count; i++)
        avow_enroll_put_pem(&s->ek_certs_pem, avow_buf_bytes(&certs.der[i]));
    if (!rc && certs.count)
        compare_cert(s, avow_buf_bytes(&certs.der[0]));
    return rc ? rc : avow_buf_status(&s->ek_certs_pem, err);
}

static enum avow_rc save(const char *path, const struct avow_buf *blob, struct avow_err *err)
{
    struct avow_err why = {.rc = AVOW_OK};
    enum avow_rc rc = avow_file_write(path, avow_buf_bytes(blob), 0600, &why);
    if (!rc)
        return AVOW_OK;
    return avow_err_set(err, rc, why.native,
                        "%s; the AK has to be kept there: make room, or choose another "
                        "agent.state_dir",
                        why.msg);
}

static enum avow_rc make_ak(struct avow_tpm *t, const struct avow_self_opts *o, const char *path,
                            struct avow_self *s, struct avow_err *err)
{
    AVOW_CLEANUP_VAL(avow_buf_deinit) struct avow_buf blob;
    avow_buf_init(&blob, BLOB_MAX);
    enum avow_rc rc = avow_tpm_ak_create(t, o->ak_alg, &blob, err);
    if (!rc)
        rc = avow_tpm_ak_load(t, o->ak_alg, avow_buf_bytes(&blob), err);
    if (!rc) /* an AK that is not saved would be another one after a restart */
        rc = save(path, &blob, err);
    s->new_ak = rc == AVOW_OK;
    return rc;
}

static enum avow_rc put_aside(const char *path, const struct avow_err *why, struct avow_err *err)
{
    char old[PATH_LEN_MAX + 8];
    snprintf(old, sizeof old, "%s.old", path);
    if (rename(path, old))
        return avow_err_set(err, AVOW_IO, errno, "%s: %s", path, strerror(errno));
    avow_log(ERROR, "ak.replaced", AVOW_KV_ERR(why), AVOW_KV_STR("old", old),
             AVOW_KV_STR("next", "workers refuse the new AK until `avow agent reaccept`"));
    return AVOW_OK;
}

/* The file is what is wrong, not the TPM: another AK has to be made. */
static bool is_useless(enum avow_rc rc)
{
    return rc == AVOW_PARSE || rc == AVOW_LIMIT || rc == AVOW_CONFIG || rc == AVOW_REFUSED;
}

static enum avow_rc load_saved(struct avow_tpm *t, const struct avow_self_opts *o, const char *path,
                               struct avow_self *s, struct avow_err *err)
{
    AVOW_CLEANUP_VAL(avow_buf_deinit) struct avow_buf blob;
    avow_buf_init(&blob, BLOB_MAX);
    struct avow_err why = {.rc = AVOW_OK};
    enum avow_rc rc = avow_file_read(path, &blob, &why);
    if (!rc)
        rc = avow_tpm_ak_load(t, o->ak_alg, avow_buf_bytes(&blob), &why);
    if (rc == AVOW_OK)
        return AVOW_OK;
    if (!is_useless(rc))
        return avow_err_set(err, rc, why.native, "%s: %s", path, why.msg);
    rc = put_aside(path, &why, err);
    if (!rc)
        rc = avow_tpm_open(t, err); /* the failure may have dropped the connection */
    return rc ? rc : make_ak(t, o, path, s, err);
}

enum avow_rc avow_self_load_ak(struct avow_tpm *t, const struct avow_self_opts *o,
                               struct avow_self *s, struct avow_err *err)
{
    char path[PATH_LEN_MAX];
    if (snprintf(path, sizeof path, "%s/ak.blob", o->state_dir) >= (int)sizeof path)
        return avow_err_set(err, AVOW_CONFIG, 0, "agent.state_dir is too long");
    enum avow_rc rc = avow_file_mkdirs(o->state_dir, 0700, err);
    if (!rc)
        rc = load_certs(t, s, err);
    if (rc)
        return rc;
    if (avow_file_exists(path))
        return load_saved(t, o, path, s, err);
    return make_ak(t, o, path, s, err);
}
