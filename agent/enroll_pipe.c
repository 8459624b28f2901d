#include "enroll_pipe.h"

#include "avow/base/hex.h"

#include <string.h>

#include "avow/base/banned.h"

void avow_enroll_challenge_init(struct avow_enroll_challenge *c)
{
    c->version[0] = '\0';
    avow_buf_init(&c->id_object, AVOW_ENROLL_CREDENTIAL_MAX);
    avow_buf_init(&c->encrypted_secret, AVOW_ENROLL_CREDENTIAL_MAX);
}

void avow_enroll_challenge_deinit(struct avow_enroll_challenge *c)
{
    avow_buf_deinit(&c->id_object);
    avow_buf_deinit(&c->encrypted_secret);
}

void avow_enroll_put_pem(struct avow_buf *out, struct avow_bytes der)
{
    /* 48 bytes make a line of 64 characters (RFC 7468, 2) */
    avow_buf_put_str(out, "-----BEGIN CERTIFICATE-----\n");
    for (size_t i = 0; i < der.len; i += 48) {
        avow_buf_put_base64(out, avow_bytes_make(der.ptr + i, der.len - i < 48 ? der.len - i : 48));
        avow_buf_put_str(out, "\n");
    }
    avow_buf_put_str(out, "-----END CERTIFICATE-----\n");
}

/* --- Fields: u32be length, bytes --- */

static void put_field(struct avow_buf *out, struct avow_bytes b)
{
    avow_buf_put_u32be(out, (uint32_t)b.len);
    avow_buf_put(out, b.ptr, b.len);
}

/* With its NUL, so that the reader can use it where it lies. */
static void put_text(struct avow_buf *out, const char *s)
{
    put_field(out, avow_bytes_make(s, strlen(s) + 1));
}

static struct avow_bytes take_field(struct avow_rd *r)
{
    return avow_rd_take(r, avow_rd_u32be(r));
}

static const char *take_text(struct avow_rd *r)
{
    struct avow_bytes b = take_field(r);
    if (r->bad || !b.len || memchr(b.ptr, '\0', b.len) != b.ptr + b.len - 1) {
        r->bad = true;
        return "";
    }
    return (const char *)b.ptr;
}

/* --- Messages --- */

enum avow_rc avow_enroll_put_request(const struct avow_enroll_self *self, struct avow_buf *out,
                                     struct avow_err *err)
{
    put_text(out, self->url);
    put_text(out, self->ca);
    put_text(out, self->agent_id);
    put_field(out, self->ek_public);
    put_field(out, self->ak_public);
    put_field(out, self->ek_certs);
    put_field(out, self->device.iak_public);
    put_field(out, self->device.iak_attest);
    put_field(out, self->device.iak_sign);
    put_field(out, self->device.iak_certs);
    put_field(out, self->device.idevid_public);
    put_field(out, self->device.idevid_certs);
    return avow_buf_status(out, err);
}

enum avow_rc avow_enroll_parse_request(struct avow_bytes in, struct avow_enroll_self *out,
                                       struct avow_err *err)
{
    struct avow_rd r = avow_rd_make(in);
    struct avow_enroll_self s = {.url = take_text(&r)};
    s.ca = take_text(&r);
    s.agent_id = take_text(&r);
    s.ek_public = take_field(&r);
    s.ak_public = take_field(&r);
    s.ek_certs = take_field(&r);
    s.device.iak_public = take_field(&r);
    s.device.iak_attest = take_field(&r);
    s.device.iak_sign = take_field(&r);
    s.device.iak_certs = take_field(&r);
    s.device.idevid_public = take_field(&r);
    s.device.idevid_certs = take_field(&r);
    if (!avow_rd_done(&r))
        return avow_err_set(err, AVOW_PARSE, 0, "malformed request");
    *out = s;
    return AVOW_OK;
}

enum avow_rc avow_enroll_put_reply(const struct avow_err *failure,
                                   const struct avow_enroll_challenge *c, struct avow_buf *out,
                                   struct avow_err *err)
{
    avow_buf_put_u32be(out, failure ? (uint32_t)failure->rc : AVOW_OK);
    put_text(out, failure ? failure->msg : "");
    put_field(out, c ? avow_buf_bytes(&c->id_object) : avow_bytes_make(NULL, 0));
    put_field(out, c ? avow_buf_bytes(&c->encrypted_secret) : avow_bytes_make(NULL, 0));
    return avow_buf_status(out, err);
}

/* What the other process says ends in our log: printable, and no code that means something else. */
static enum avow_rc failure_of(uint32_t code, const char *text, struct avow_err *err)
{
    char clean[sizeof err->msg];
    enum avow_rc rc = code > AVOW_OK && code < AVOW_RC_COUNT ? (enum avow_rc)code : AVOW_PARSE;
    avow_str_copy(clean, sizeof clean, avow_str_from(text));
    for (char *p = clean; *p; p++)
        if ((unsigned char)*p < 0x20 || (unsigned char)*p >= 0x7F)
            *p = '?';
    return avow_err_set(err, rc, 0, "%s", clean);
}

enum avow_rc avow_enroll_parse_reply(struct avow_bytes in, struct avow_enroll_challenge *c,
                                     struct avow_err *err)
{
    struct avow_rd r = avow_rd_make(in);
    uint32_t code = avow_rd_u32be(&r);
    const char *text = take_text(&r);
    struct avow_bytes id = take_field(&r), secret = take_field(&r);
    if (!avow_rd_done(&r))
        return avow_err_set(err, AVOW_PARSE, 0, "the registration process answered nonsense");
    if (code != AVOW_OK)
        return failure_of(code, text, err);
    if (!c)
        return AVOW_OK;
    if (!id.len || !secret.len)
        return avow_err_set(err, AVOW_PARSE, 0, "the registration process sent no challenge");
    avow_buf_reset(&c->id_object);
    avow_buf_reset(&c->encrypted_secret);
    avow_buf_put(&c->id_object, id.ptr, id.len);
    avow_buf_put(&c->encrypted_secret, secret.ptr, secret.len);
    enum avow_rc rc = avow_buf_status(&c->id_object, err);
    return rc ? rc : avow_buf_status(&c->encrypted_secret, err);
}
