#include "enroll_client.h"

#include "avow/base/cleanup.h"
#include "avow/base/hex.h"
#include "avow/crypto/digest.h"
#include "avow/formats/tpm_public.h"
#include "avow/http/http.h"

#include <jansson.h>
#include <string.h>

#include "avow/base/banned.h"

/* Newest first; all have the same shapes for what we send (keylime registrar API 2.1 to 2.6). */
static const char *const versions[] = {"2.6", "2.5", "2.4", "2.3", "2.2", "2.1"};

/* tpm2-tools' credential file: magic, version, TPM2B_ID_OBJECT, TPM2B_ENCRYPTED_SECRET. */
#define CREDENTIAL_MAGIC 0xBADCC0DEu
#define CREDENTIAL_VERSION 1u
#define BODY_MAX (256u * 1024u) /* PROTOCOL B6, registrar body */
#define URL_MAX 1024u
#define REASON_MAX 120u

static void free_json(json_t **j)
{
    json_decref(*j);
}

/* --- Answers --- */

/* `results` of the envelope {"code", "status", "results": {}}. *root owns. */
static enum avow_rc open_results(struct avow_bytes body, json_t **root, const json_t **results,
                                 struct avow_err *err)
{
    json_error_t why;
    if (body.len > AVOW_ENROLL_ANSWER_MAX)
        return avow_err_set(err, AVOW_LIMIT, 0, "the registrar's answer has %zu bytes", body.len);
    *root = json_loadb((const char *)body.ptr, body.len, JSON_REJECT_DUPLICATES, &why);
    *results = json_object_get(*root, "results");
    if (!json_is_object(*results))
        return avow_err_set(err, AVOW_PARSE, 0,
                            "the registrar's answer is not what Keylime's API says");
    return AVOW_OK;
}

static const char *known_version(const json_t *j)
{
    const char *text = json_string_value(j);
    for (size_t i = 0; text && i < AVOW_ARRAY_LEN(versions); i++)
        if (avow_cstr_eq(text, versions[i]))
            return versions[i];
    return NULL;
}

static const char *best_version(const json_t *list)
{
    for (size_t i = 0; i < AVOW_ARRAY_LEN(versions); i++)
        for (size_t k = 0; k < json_array_size(list); k++)
            if (known_version(json_array_get(list, k)) == versions[i])
                return versions[i];
    return NULL;
}

enum avow_rc avow_enroll_parse_version(struct avow_bytes body, char out[AVOW_ENROLL_VERSION_MAX],
                                       struct avow_err *err)
{
    AVOW_CLEANUP_VAL(free_json) json_t *root = NULL;
    const json_t *results = NULL;
    enum avow_rc rc = open_results(body, &root, &results, err);
    if (rc)
        return rc;
    const char *best = known_version(json_object_get(results, "current_version"));
    if (!best)
        best = best_version(json_object_get(results, "supported_versions"));
    if (!best)
        return avow_err_set(err, AVOW_REFUSED, 0, "the registrar speaks none of API 2.1 to 2.6");
    avow_str_copy(out, AVOW_ENROLL_VERSION_MAX, avow_str_from(best));
    return AVOW_OK;
}

static enum avow_rc split_credential(struct avow_bytes blob, struct avow_enroll_challenge *out,
                                     struct avow_err *err)
{
    struct avow_rd r = avow_rd_make(blob);
    uint32_t magic = avow_rd_u32be(&r), version = avow_rd_u32be(&r);
    const uint8_t *id = r.p;
    (void)avow_rd_tpm2b(&r, AVOW_ENROLL_CREDENTIAL_MAX - 2);
    const uint8_t *secret = r.p;
    (void)avow_rd_tpm2b(&r, AVOW_ENROLL_CREDENTIAL_MAX - 2);
    if (!avow_rd_done(&r) || magic != CREDENTIAL_MAGIC || version != CREDENTIAL_VERSION)
        return avow_err_set(err, AVOW_PARSE, 0, "the registrar's challenge is malformed");
    avow_buf_reset(&out->id_object);
    avow_buf_reset(&out->encrypted_secret);
    avow_buf_put(&out->id_object, id, (size_t)(secret - id));
    avow_buf_put(&out->encrypted_secret, secret, (size_t)(r.p - secret));
    enum avow_rc rc = avow_buf_status(&out->id_object, err);
    return rc ? rc : avow_buf_status(&out->encrypted_secret, err);
}

enum avow_rc avow_enroll_parse_challenge(struct avow_bytes body, struct avow_enroll_challenge *out,
                                         struct avow_err *err)
{
    AVOW_CLEANUP_VAL(free_json) json_t *root = NULL;
    const json_t *results = NULL;
    enum avow_rc rc = open_results(body, &root, &results, err);
    if (rc)
        return rc;
    const json_t *text = json_object_get(results, "blob");
    if (!json_is_string(text))
        return avow_err_set(err, AVOW_PARSE, 0, "the registrar's answer has no challenge");
    AVOW_CLEANUP_VAL(avow_buf_deinit) struct avow_buf blob;
    avow_buf_init(&blob, 2 * AVOW_ENROLL_CREDENTIAL_MAX + 8);
    rc = avow_base64_decode((struct avow_str){json_string_value(text), json_string_length(text)},
                            &blob, err);
    if (rc)
        return avow_err_wrap(err, rc, "the registrar's challenge");
    return split_credential(avow_buf_bytes(&blob), out, err);
}

/* --- Requests --- */

static void put_base64_field(struct avow_buf *out, const char *name, struct avow_bytes value)
{
    avow_buf_printf(out, "\"%s\":\"", name);
    avow_buf_put_base64(out, value);
    avow_buf_put_str(out, "\",");
}

/* PEM is printable but for its line ends, so this is all that JSON needs. */
static void put_pem_field(struct avow_buf *out, const char *name, struct avow_bytes pem)
{
    avow_buf_printf(out, "\"%s\":", name);
    if (!pem.len) {
        avow_buf_put_str(out, "null,");
        return;
    }
    avow_buf_put_str(out, "\"");
    for (size_t i = 0; i < pem.len; i++) {
        if (pem.ptr[i] == '\n')
            avow_buf_put_str(out, "\\n");
        else
            avow_buf_put(out, pem.ptr + i, 1);
    }
    avow_buf_put_str(out, "\",");
}

static void put_device(struct avow_buf *out, const struct avow_enroll_device *d)
{
    if (!d->iak_public.len)
        return;
    put_base64_field(out, "iak_tpm", d->iak_public);
    put_base64_field(out, "iak_attest", d->iak_attest);
    put_base64_field(out, "iak_sign", d->iak_sign);
    put_pem_field(out, "iak_cert", d->iak_certs);
    put_base64_field(out, "idevid_tpm", d->idevid_public);
    put_pem_field(out, "idevid_cert", d->idevid_certs);
}

enum avow_rc avow_enroll_put_registration(const struct avow_enroll_self *self, struct avow_buf *out,
                                          struct avow_err *err)
{
    avow_buf_put_str(out, "{");
    put_base64_field(out, "ek_tpm", self->ek_public);
    put_base64_field(out, "aik_tpm", self->ak_public);
    put_pem_field(out, "ekcert", self->ek_certs);
    put_device(out, &self->device);
    /* Nobody calls this agent; Keylime's tenant wants the fields to be there, as its push agent
     * sends them. */
    avow_buf_put_str(out, "\"ip\":\"127.0.0.1\",\"port\":9002,\"mtls_cert\":\"disabled\"}");
    return avow_buf_status(out, err);
}

enum avow_rc avow_enroll_put_activation(const char *agent_id, struct avow_bytes secret,
                                        struct avow_buf *out, struct avow_err *err)
{
    AVOW_CLEANUP_VAL(avow_buf_deinit) struct avow_buf key;
    struct avow_digest tag;
    avow_buf_init(&key, 256);
    avow_buf_put_base64(&key, secret); /* the text is the key, not the bytes */
    enum avow_rc rc = avow_buf_status(&key, err);
    if (rc)
        return rc;
    const struct avow_bytes id = avow_bytes_make(agent_id, strlen(agent_id));
    avow_hmac(AVOW_HASH_SHA384, avow_buf_bytes(&key), &id, 1, &tag);
    avow_wipe(key.ptr, key.len);
    avow_buf_put_str(out, "{\"auth_tag\":\"");
    avow_buf_put_hex(out, avow_digest_bytes(&tag));
    avow_buf_put_str(out, "\"}");
    return avow_buf_status(out, err);
}

/* --- Exchange --- */

/* What the registrar says about a refusal, printable and short; it ends in our log. */
static void reason_of(struct avow_bytes body, char out[REASON_MAX])
{
    AVOW_CLEANUP_VAL(free_json) json_t *root = NULL;
    out[0] = '\0';
    if (body.len && body.len <= AVOW_ENROLL_ANSWER_MAX)
        root = json_loadb((const char *)body.ptr, body.len, 0, NULL);
    const char *status = json_string_value(json_object_get(root, "status"));
    if (!status)
        return;
    out[0] = ':';
    out[1] = ' ';
    avow_str_copy(out + 2, REASON_MAX - 2, avow_str_from(status));
    for (char *p = out; *p; p++)
        if ((unsigned char)*p < 0x20 || (unsigned char)*p >= 0x7F)
            *p = '?';
}

struct call {
    const char *method;
    const char *path; /* begins with / */
    const struct avow_bytes *body;
};

static enum avow_rc call(struct avow_http *http, const struct avow_enroll_self *self,
                         const struct call *c, struct avow_buf *answer, struct avow_err *err)
{
    AVOW_CLEANUP_VAL(avow_buf_deinit) struct avow_buf url;
    avow_buf_init(&url, URL_MAX);
    size_t base = strlen(self->url);
    while (base && self->url[base - 1] == '/')
        base--;
    avow_buf_put(&url, self->url, base);
    avow_buf_put_str(&url, c->path);
    enum avow_rc rc = avow_buf_status(&url, err);
    unsigned status = 0;
    if (!rc)
        rc = avow_http_request(http, c->method, avow_buf_cstr(&url), c->body, &status, answer, err);
    if (rc)
        return rc;
    if (status >= 200 && status < 300)
        return AVOW_OK;
    char reason[REASON_MAX];
    reason_of(avow_buf_bytes(answer), reason);
    /* 408 and 429 are "later", the other 4xx are "no" */
    bool no = status >= 400 && status < 500 && status != 408 && status != 429;
    return avow_err_set(err, no ? AVOW_REFUSED : AVOW_IO, (int64_t)status, "%s %s: HTTP %u%s",
                        c->method, c->path, status, reason);
}

static enum avow_rc open_http(const struct avow_enroll_self *self, struct avow_http **out,
                              struct avow_err *err)
{
    const struct avow_http_opts opts = {.ca_file = *self->ca ? self->ca : NULL,
                                        .response_max = AVOW_ENROLL_ANSWER_MAX};
    struct avow_str url = avow_str_from(self->url);
    if (!avow_str_starts(url, "http://") && !avow_str_starts(url, "https://"))
        return avow_err_set(err, AVOW_CONFIG, 0, "registrar.url begins with http:// or https://");
    return avow_http_new(&opts, out, err);
}

static enum avow_rc agree_version(struct avow_http *http, const struct avow_enroll_self *self,
                                  char out[AVOW_ENROLL_VERSION_MAX], struct avow_err *err)
{
    AVOW_CLEANUP_VAL(avow_buf_deinit) struct avow_buf answer;
    avow_buf_init(&answer, AVOW_ENROLL_ANSWER_MAX);
    const struct call get = {.method = "GET", .path = "/version"};
    enum avow_rc rc = call(http, self, &get, &answer, err);
    if (rc)
        return rc;
    return avow_enroll_parse_version(avow_buf_bytes(&answer), out, err);
}

static void agent_path(const char *version, const char *agent_id, char *out, size_t cap)
{
    snprintf(out, cap, "/v%s/agents/%s", version, agent_id);
}

enum avow_rc avow_enroll_register(const struct avow_enroll_self *self,
                                  struct avow_enroll_challenge *out, struct avow_err *err)
{
    AVOW_CLEANUP(avow_http_free) struct avow_http *http = NULL;
    AVOW_CLEANUP_VAL(avow_buf_deinit) struct avow_buf body, answer;
    avow_buf_init(&body, BODY_MAX);
    avow_buf_init(&answer, AVOW_ENROLL_ANSWER_MAX);
    enum avow_rc rc = open_http(self, &http, err);
    if (!rc)
        rc = agree_version(http, self, out->version, err);
    if (!rc)
        rc = avow_enroll_put_registration(self, &body, err);
    if (rc)
        return rc;
    char path[256];
    agent_path(out->version, self->agent_id, path, sizeof path);
    const struct avow_bytes bytes = avow_buf_bytes(&body);
    const struct call post = {.method = "POST", .path = path, .body = &bytes};
    rc = call(http, self, &post, &answer, err);
    if (rc)
        return rc;
    return avow_enroll_parse_challenge(avow_buf_bytes(&answer), out, err);
}

enum avow_rc avow_enroll_activate(const struct avow_enroll_self *self, const char *version,
                                  struct avow_bytes secret, struct avow_err *err)
{
    AVOW_CLEANUP(avow_http_free) struct avow_http *http = NULL;
    AVOW_CLEANUP_VAL(avow_buf_deinit) struct avow_buf body, answer;
    avow_buf_init(&body, BODY_MAX);
    avow_buf_init(&answer, AVOW_ENROLL_ANSWER_MAX);
    enum avow_rc rc = open_http(self, &http, err);
    if (!rc)
        rc = avow_enroll_put_activation(self->agent_id, secret, &body, err);
    if (rc)
        return rc;
    char path[256];
    agent_path(version, self->agent_id, path, sizeof path);
    const struct avow_bytes bytes = avow_buf_bytes(&body);
    const struct call put = {.method = "PUT", .path = path, .body = &bytes};
    return call(http, self, &put, &answer, err);
}
