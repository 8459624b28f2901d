#include "request_json.h"

#include "avow/base/hex.h"

#include <jansson.h>

#include "avow/base/banned.h"

static inline void json_free_cleanup(json_t **j)
{
    json_decref(*j);
}
#define AUTO_JSON __attribute__((cleanup(json_free_cleanup))) json_t

/* jansson recurses up to 2048 levels; a scan for brackets outside strings bounds it before it
 * starts. */
static bool depth_is_fine(struct avow_bytes in)
{
    unsigned depth = 0;
    bool in_string = false;
    for (size_t i = 0; i < in.len; i++) {
        uint8_t c = in.ptr[i];
        if (in_string && c == '\\')
            i++;
        else if (c == '"')
            in_string = !in_string;
        else if (!in_string && (c == '{' || c == '[') && ++depth > AVOW_JSON_DEPTH_MAX)
            return false;
        else if (!in_string && (c == '}' || c == ']') && depth)
            depth--;
    }
    return true;
}

static enum avow_rc object_parse(struct avow_bytes body, json_t **out, struct avow_err *err)
{
    json_error_t e;
    if (body.len > AVOW_BODY_MAX)
        return avow_err_set(err, AVOW_LIMIT, 0, "body is over %u bytes", AVOW_BODY_MAX);
    if (!body.len)
        return avow_err_set(err, AVOW_PARSE, 0, "a JSON body is needed");
    if (!depth_is_fine(body))
        return avow_err_set(err, AVOW_LIMIT, 0, "JSON is nested more than %u levels",
                            AVOW_JSON_DEPTH_MAX);
    json_t *j = json_loadb((const char *)body.ptr, body.len, JSON_REJECT_DUPLICATES, &e);
    if (!j)
        return avow_err_set(err, AVOW_PARSE, 0, "body is not valid JSON (line %d, column %d)",
                            e.line, e.column);
    if (!json_is_object(j)) {
        json_decref(j);
        return avow_err_set(err, AVOW_PARSE, 0, "body is not a JSON object");
    }
    *out = j;
    return AVOW_OK;
}

/* A text field, copied to the arena: ptr NULL if it is absent or null. */
static enum avow_rc text_field(const json_t *o, const char *name, size_t max,
                               struct avow_arena *arena, struct avow_str *out, struct avow_err *err)
{
    const json_t *v = json_object_get(o, name);
    *out = (struct avow_str){0};
    if (!v || json_is_null(v))
        return AVOW_OK;
    if (!json_is_string(v))
        return avow_err_set(err, AVOW_PARSE, 0, "%s: not a string", name);
    struct avow_str s = {json_string_value(v), json_string_length(v)};
    if (s.len > max)
        return avow_err_set(err, AVOW_LIMIT, 0, "%s: over %zu characters", name, max);
    const char *copy = avow_arena_cstr(arena, s); /* never NULL for "" */
    if (!copy)
        return avow_err_set(err, AVOW_NOMEM, 0, "%s", name);
    *out = (struct avow_str){copy, s.len};
    return AVOW_OK;
}

/* Bytes in base64, copied to the arena; empty if absent, null or "". */
static enum avow_rc bytes_field(const json_t *o, const char *name, size_t max,
                                struct avow_arena *arena, struct avow_bytes *out,
                                struct avow_err *err)
{
    AVOW_CLEANUP_VAL(avow_buf_deinit) struct avow_buf raw;
    struct avow_str text;
    avow_buf_init(&raw, max);
    *out = (struct avow_bytes){0};
    enum avow_rc rc = text_field(o, name, 4 * max, arena, &text, err);
    if (rc || !text.len)
        return rc;
    rc = avow_base64_decode(text, &raw, err);
    if (rc)
        return avow_err_wrap(err, rc, "%s", name);
    *out = avow_arena_bytes(arena, avow_buf_bytes(&raw));
    return out->ptr || !raw.len ? AVOW_OK : avow_err_set(err, AVOW_NOMEM, 0, "%s", name);
}

/* A TPM2B_PUBLIC. */
static enum avow_rc public_field(const json_t *o, const char *name, struct avow_arena *arena,
                                 struct avow_bytes *out, struct avow_err *err)
{
    enum avow_rc rc = bytes_field(o, name, AVOW_TPM_PUBLIC_MAX, arena, out, err);
    return rc || out->len ? rc : avow_err_set(err, AVOW_PARSE, 0, "%s: missing", name);
}

static enum avow_rc iak_fields(const json_t *o, struct avow_arena *arena,
                               struct avow_iak_request *out, struct avow_err *err)
{
    const struct {
        const char *name;
        size_t max;
        struct avow_bytes *to;
    } bytes[] = {{"iak_tpm", AVOW_TPM_PUBLIC_MAX, &out->iak_public},
                 {"idevid_tpm", AVOW_TPM_PUBLIC_MAX, &out->idevid_public},
                 {"iak_attest", AVOW_ATTEST_MAX, &out->attest},
                 {"iak_sign", AVOW_SIGNATURE_MAX, &out->signature}};
    for (size_t i = 0; i < AVOW_ARRAY_LEN(bytes); i++) {
        enum avow_rc rc = bytes_field(o, bytes[i].name, bytes[i].max, arena, bytes[i].to, err);
        if (rc)
            return rc;
    }
    enum avow_rc rc = text_field(o, "iak_cert", AVOW_BODY_MAX, arena, &out->iak_cert, err);
    return rc ? rc : text_field(o, "idevid_cert", AVOW_BODY_MAX, arena, &out->idevid_cert, err);
}

static enum avow_rc cert_field(const json_t *o, struct avow_arena *arena,
                               struct avow_register_request *out, struct avow_err *err)
{
    enum avow_rc rc = text_field(o, "ekcert", AVOW_BODY_MAX, arena, &out->ekcert, err);
    if (rc)
        return rc;
    /* Keylime's agents send null or "" when the TPM has none; leaving it out is another thing
     * (enroll_step.h). */
    if (out->ekcert.len)
        out->cert = AVOW_CERT_GIVEN;
    else
        out->cert = json_object_get(o, "ekcert") ? AVOW_CERT_NULL : AVOW_CERT_ABSENT;
    return AVOW_OK;
}

/* An address or a host name; what else could be in it would only be there to confuse a reader of
 * GET or of a log. */
static bool ip_is_plausible(struct avow_str s)
{
    for (size_t i = 0; i < s.len; i++) {
        char c = s.ptr[i];
        bool fine = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                    c == '.' || c == ':' || c == '-' || c == '%' || c == '_';
        if (!fine)
            return false;
    }
    return true;
}

static enum avow_rc contact_fields(const json_t *o, struct avow_arena *arena,
                                   struct avow_register_request *out, struct avow_err *err)
{
    enum avow_rc rc = text_field(o, "ip", AVOW_CLAIM_IP_MAX, arena, &out->ip, err);
    if (rc)
        return rc;
    if (!ip_is_plausible(out->ip))
        return avow_err_set(err, AVOW_PARSE, 0, "ip: not an address or host name");
    if (!out->ip.len)
        out->ip = (struct avow_str){0};
    const json_t *port = json_object_get(o, "port");
    if (port && !json_is_null(port)) {
        json_int_t n = json_integer_value(port);
        if (!json_is_integer(port) || n < 1 || n > 65535)
            return avow_err_set(err, AVOW_PARSE, 0, "port: not a number from 1 to 65535");
        out->port = (uint16_t)n;
    }
    rc = text_field(o, "mtls_cert", AVOW_CLAIM_MTLS_MAX, arena, &out->mtls_cert, err);
    if (!rc && !out->mtls_cert.len)
        out->mtls_cert = (struct avow_str){0};
    return rc;
}

enum avow_rc avow_register_request_parse(struct avow_bytes body, struct avow_arena *arena,
                                         struct avow_register_request *out, struct avow_err *err)
{
    AUTO_JSON *o = NULL;
    struct avow_register_request r = {0};
    enum avow_rc rc = object_parse(body, &o, err);
    if (!rc)
        rc = public_field(o, "ek_tpm", arena, &r.ek_public, err);
    if (!rc)
        rc = public_field(o, "aik_tpm", arena, &r.ak_public, err);
    if (!rc)
        rc = cert_field(o, arena, &r, err);
    if (!rc)
        rc = iak_fields(o, arena, &r.iak, err);
    if (!rc)
        rc = contact_fields(o, arena, &r, err);
    if (!rc)
        *out = r;
    return rc;
}

enum avow_rc avow_activate_request_parse(struct avow_bytes body, uint8_t tag[AVOW_TAG_LEN],
                                         struct avow_err *err)
{
    AUTO_JSON *o = NULL;
    enum avow_rc rc = object_parse(body, &o, err);
    if (rc)
        return rc;
    const json_t *v = json_object_get(o, "auth_tag");
    struct avow_str s = {json_string_value(v), json_string_length(v)};
    for (size_t i = 0; i < s.len; i++)
        if (s.ptr[i] >= 'A' && s.ptr[i] <= 'F')
            s.len = 0; /* Keylime compares text: upper case is no tag there, so it is none here */
    uint8_t decoded[AVOW_TAG_LEN];
    if (!s.len || !avow_hex_decode(decoded, sizeof decoded, s))
        return avow_err_set(err, AVOW_PARSE, 0, "auth_tag: not %u lower-case hex digits",
                            2 * AVOW_TAG_LEN);
    for (size_t i = 0; i < sizeof decoded; i++)
        tag[i] = decoded[i];
    return AVOW_OK;
}

enum avow_rc avow_agent_id_request_parse(struct avow_bytes body, char out[AVOW_AGENT_ID_ROOM],
                                         struct avow_err *err)
{
    AUTO_JSON *o = NULL;
    enum avow_rc rc = object_parse(body, &o, err);
    if (rc)
        return rc;
    const json_t *v = json_object_get(o, "agent_id");
    struct avow_str s = {json_string_value(v), json_string_length(v)};
    if (!s.len || !avow_name_is_valid(s) || !avow_str_copy(out, AVOW_AGENT_ID_ROOM, s))
        return avow_err_set(err, AVOW_PARSE, 0,
                            "agent_id: not 1 to 128 of A-Z a-z 0-9 . _ - that start with a letter "
                            "or digit");
    return AVOW_OK;
}
