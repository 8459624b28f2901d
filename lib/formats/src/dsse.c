/* dsse.c - see dsse.h. */
#include "avow/formats/dsse.h"

#include "avow/formats/json_pull.h"

#include "avow/base/cleanup.h"
#include "avow/base/hex.h"

#include "avow/base/banned.h"

enum { KEY_PAYLOAD = 1, KEY_TYPE = 2, KEY_SIGNATURES = 4 };

struct reader {
    struct avow_json j;
    struct avow_dsse *out;
    unsigned seen;
    struct avow_err *err;
};

void avow_dsse_deinit(struct avow_dsse *d)
{
    avow_buf_deinit(&d->payload);
    avow_buf_deinit(&d->sigs);
    d->sigs_count = 0;
}

static bool is_space(uint8_t c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

bool avow_dsse_is_envelope(struct avow_bytes text)
{
    static const char *const keys[] = {"\"payload\"", "\"payloadType\"", "\"signatures\""};
    struct avow_str s = {(const char *)text.ptr, text.len};
    for (int brace = 0; brace < 2; brace++) {
        while (s.len && is_space((uint8_t)s.ptr[0]))
            s = (struct avow_str){s.ptr + 1, s.len - 1};
        if (brace == 0 && (!s.len || s.ptr[0] != '{'))
            return false;
        if (brace == 0)
            s = (struct avow_str){s.ptr + 1, s.len - 1};
    }
    for (size_t i = 0; i < AVOW_ARRAY_LEN(keys); i++) {
        if (avow_str_starts(s, keys[i]))
            return true;
    }
    return false;
}

static bool is_hex(struct avow_str s)
{
    for (size_t i = 0; i < s.len; i++) {
        char c = s.ptr[i];
        if (!((c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F')))
            return false;
    }
    return s.len % 2 == 0;
}

/* The alphabet for URLs has '-' and '_'. */
static enum avow_rc decode_url(struct avow_str text, struct avow_buf *out, struct avow_err *err)
{
    AVOW_CLEANUP_VAL(avow_buf_deinit) struct avow_buf plain;
    avow_buf_init(&plain, text.len);
    uint8_t *p = avow_buf_extend(&plain, text.len);
    for (size_t i = 0; p && i < text.len; i++)
        p[i] = text.ptr[i] == '-'   ? (uint8_t)'+'
               : text.ptr[i] == '_' ? (uint8_t)'/'
                                    : (uint8_t)text.ptr[i];
    enum avow_rc rc = avow_buf_status(&plain, err);
    return rc ? rc
              : avow_base64_decode((struct avow_str){(const char *)plain.ptr, plain.len}, out, err);
}

static enum avow_rc decode(struct avow_str text, struct avow_buf *out, struct avow_err *err)
{
    if (is_hex(text)) {
        uint8_t *p = avow_buf_extend(out, text.len / 2);
        if (p && !avow_hex_decode(p, text.len / 2, text))
            return avow_err_set(err, AVOW_PARSE, 0, "not hex");
        return avow_buf_status(out, err);
    }
    bool url = text.len && (memchr(text.ptr, '-', text.len) || memchr(text.ptr, '_', text.len));
    return url ? decode_url(text, out, err) : avow_base64_decode(text, out, err);
}

static enum avow_rc refuse(const struct reader *r, const char *why)
{
    return r->j.failed ? avow_json_status(&r->j, r->err)
                       : avow_err_set(r->err, AVOW_PARSE, 0, "%s", why);
}

static enum avow_rc read_payload(struct reader *r)
{
    struct avow_str text;
    if (avow_json_peek(&r->j) != AVOW_JSON_STRING || !avow_json_string(&r->j, &text))
        return refuse(r, "$.payload: not a string");
    enum avow_rc rc = text.len ? decode(text, &r->out->payload, r->err)
                               : avow_err_set(r->err, AVOW_PARSE, 0, "empty");
    return rc ? avow_err_wrap(r->err, rc, "$.payload") : AVOW_OK;
}

static enum avow_rc read_type(struct reader *r)
{
    struct avow_str text;
    if (avow_json_peek(&r->j) != AVOW_JSON_STRING || !avow_json_string(&r->j, &text) ||
        !avow_str_is(text, AVOW_DSSE_PAYLOAD_TYPE))
        return refuse(r, "$.payloadType: not \"" AVOW_DSSE_PAYLOAD_TYPE "\"");
    return AVOW_OK;
}

static enum avow_rc put_sig(struct reader *r, struct avow_str text)
{
    AVOW_CLEANUP_VAL(avow_buf_deinit) struct avow_buf sig;
    avow_buf_init(&sig, AVOW_DSSE_SIG_LEN_MAX);
    enum avow_rc rc = decode(text, &sig, r->err);
    if (!rc && !sig.len)
        rc = avow_err_set(r->err, AVOW_PARSE, 0, "empty");
    if (rc)
        return rc;
    avow_buf_put_u16be(&r->out->sigs, (uint16_t)sig.len);
    avow_buf_put(&r->out->sigs, sig.ptr, sig.len);
    r->out->sigs_count++;
    return avow_buf_status(&r->out->sigs, r->err);
}

/* {"keyid": ..., "sig": ...} */
static enum avow_rc read_signature(struct reader *r)
{
    bool first = true, seen = false;
    struct avow_str key, text;
    if (avow_json_peek(&r->j) != AVOW_JSON_OBJECT || !avow_json_enter(&r->j, AVOW_JSON_OBJECT))
        return refuse(r, "not an object");
    while (avow_json_member(&r->j, &first, &key)) {
        if (!avow_str_is(key, "sig")) {
            (void)avow_json_skip(&r->j, NULL);
            continue;
        }
        if (seen || avow_json_peek(&r->j) != AVOW_JSON_STRING || !avow_json_string(&r->j, &text))
            return refuse(r, seen ? "sig: duplicate key" : "sig: not a string");
        seen = true;
        enum avow_rc rc = put_sig(r, text);
        if (rc)
            return avow_err_wrap(r->err, rc, "sig");
    }
    return seen && !r->j.failed ? AVOW_OK : refuse(r, "no sig");
}

static enum avow_rc read_signatures(struct reader *r)
{
    bool first = true;
    if (avow_json_peek(&r->j) != AVOW_JSON_ARRAY || !avow_json_enter(&r->j, AVOW_JSON_ARRAY))
        return refuse(r, "$.signatures: not a list");
    for (size_t i = 0; avow_json_element(&r->j, &first); i++) {
        enum avow_rc rc =
            i < AVOW_DSSE_SIGNATURES_MAX
                ? read_signature(r)
                : avow_err_set(r->err, AVOW_LIMIT, 0, "more than %u", AVOW_DSSE_SIGNATURES_MAX);
        if (rc)
            return avow_err_wrap(r->err, rc, "$.signatures[%zu]", i);
    }
    return r->out->sigs_count && !r->j.failed ? AVOW_OK : refuse(r, "$.signatures: empty");
}

static enum avow_rc read_member(struct reader *r, struct avow_str key)
{
    unsigned bit = avow_str_is(key, "payload")       ? KEY_PAYLOAD
                   : avow_str_is(key, "payloadType") ? KEY_TYPE
                   : avow_str_is(key, "signatures")  ? KEY_SIGNATURES
                                                     : 0u;
    if (r->seen & bit)
        return refuse(r, "$: a key stands there twice");
    r->seen |= bit;
    switch (bit) {
    case KEY_PAYLOAD:
        return read_payload(r);
    case KEY_TYPE:
        return read_type(r);
    case KEY_SIGNATURES:
        return read_signatures(r);
    default:
        (void)avow_json_skip(&r->j, NULL);
        return AVOW_OK;
    }
}

static enum avow_rc read_envelope(struct reader *r)
{
    bool first = true;
    struct avow_str key;
    if (avow_json_peek(&r->j) != AVOW_JSON_OBJECT || !avow_json_enter(&r->j, AVOW_JSON_OBJECT))
        return refuse(r, "$: not an object");
    while (avow_json_member(&r->j, &first, &key)) {
        enum avow_rc rc = read_member(r, key);
        if (rc)
            return rc;
    }
    if (!avow_json_end(&r->j))
        return avow_json_status(&r->j, r->err);
    return r->seen == (KEY_PAYLOAD | KEY_TYPE | KEY_SIGNATURES)
               ? AVOW_OK
               : refuse(r, "$: payload, payloadType or signatures is missing");
}

enum avow_rc avow_dsse_parse(struct avow_bytes text, struct avow_dsse *out, struct avow_err *err)
{
    struct reader r = {.out = out, .err = err};
    *out = (struct avow_dsse){.sigs_count = 0};
    avow_buf_init(&out->payload, AVOW_DSSE_TEXT_MAX);
    avow_buf_init(&out->sigs, AVOW_DSSE_SIGNATURES_MAX * (AVOW_DSSE_SIG_LEN_MAX + 2));
    if (text.len > AVOW_DSSE_TEXT_MAX)
        return avow_err_set(err, AVOW_LIMIT, 0, "envelope has %zu bytes, at most %u are read",
                            text.len, AVOW_DSSE_TEXT_MAX);
    avow_json_init(&r.j, text);
    enum avow_rc rc = read_envelope(&r);
    avow_json_deinit(&r.j);
    if (!rc)
        return AVOW_OK;
    avow_dsse_deinit(out);
    return avow_err_wrap(err, rc, "signed envelope");
}

struct avow_bytes avow_dsse_sig(struct avow_bytes sigs, size_t i)
{
    struct avow_rd r = avow_rd_make(sigs);
    while (i-- && avow_rd_left(&r))
        (void)avow_rd_tpm2b(&r, AVOW_DSSE_SIG_LEN_MAX);
    struct avow_bytes sig =
        avow_rd_left(&r) ? avow_rd_tpm2b(&r, AVOW_DSSE_SIG_LEN_MAX) : (struct avow_bytes){NULL, 0};
    return r.bad ? (struct avow_bytes){NULL, 0} : sig;
}
