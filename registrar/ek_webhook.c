/* The operator's own service that decides about EKs (ek_webhook.h). */
#include "ek_webhook.h"

#include "reply.h"

#include "avow/base/clock.h"
#include "avow/base/hex.h"
#include "avow/crypto/rng.h"

#include <jansson.h>

#include <string.h>

#include "avow/base/banned.h"

#define BACKOFF_MS 200u
#define STEP_MS 50u /* between two looks at whether it goes on */
#define QUESTION_MAX (256u * 1024u)
#define DEPTH_MAX 8u

static inline void json_cleanup(json_t **j)
{
    json_decref(*j);
}
#define AUTO_JSON __attribute__((cleanup(json_cleanup))) json_t

static json_t *hex_json(struct avow_bytes b)
{
    AVOW_CLEANUP_VAL(avow_buf_deinit) struct avow_buf hex;
    avow_buf_init(&hex, 2 * b.len + 1);
    avow_buf_put_hex(&hex, b);
    return avow_buf_status(&hex, NULL) ? NULL : json_string(avow_buf_cstr(&hex));
}

static json_t *certs_json(struct avow_bytes packed)
{
    struct avow_bytes der;
    json_t *list = json_array();
    while (list && avow_certs_next(&packed, &der))
        if (json_array_append_new(list, avow_json_base64(der))) {
            json_decref(list);
            return NULL;
        }
    return list;
}

enum avow_rc avow_webhook_encode(const struct avow_webhook_question *q, struct avow_buf *out,
                                 struct avow_err *err)
{
    const struct avow_claim *c = q->claim;
    /* s: a NULL, which an allocation that failed leaves, makes the whole NULL. */
    AUTO_JSON *j = json_pack(
        "{s:i, s:s%, s:s%, s:o, s:o, s:o, s:o, s:o, s:o, s:s%}", "version", 1, "agent_id",
        q->id.ptr, q->id.len, "source", q->source.ptr, q->source.len, "ek_tpm",
        avow_json_base64(c->ek_public), "ek_name",
        hex_json(avow_tpm_name_bytes(avow_ek_name(q->ek))), "ek_certs", certs_json(c->ek_certs),
        "ek_cert_sha256",
        c->trust.has_cert_sha256 ? hex_json(AVOW_BYTES_OF(c->trust.cert_sha256)) : json_null(),
        "aik_tpm", avow_json_base64(c->ak_public), "aik_name", hex_json(c->ak_name), "reason",
        c->trust.detail.ptr, c->trust.detail.len);
    char *text = j ? json_dumps(j, JSON_COMPACT | JSON_ENSURE_ASCII) : NULL;
    if (!text)
        return avow_err_set(err, AVOW_NOMEM, 0, "webhook question");
    avow_buf_put_str(out, text);
    free(text);
    return avow_buf_status(out, err);
}

static bool depth_is_fine(struct avow_bytes in)
{
    unsigned depth = 0;
    for (size_t i = 0; i < in.len; i++) /* brackets in strings count too: an answer needs none */
        if ((in.ptr[i] == '{' || in.ptr[i] == '[') && ++depth > DEPTH_MAX)
            return false;
    return true;
}

enum avow_rc avow_webhook_answer_parse(struct avow_bytes body, struct avow_webhook_answer *out,
                                       struct avow_err *err)
{
    if (body.len > AVOW_WEBHOOK_ANSWER_MAX || !depth_is_fine(body))
        return avow_err_set(err, AVOW_LIMIT, 0, "webhook: answer over %u bytes or %u brackets",
                            AVOW_WEBHOOK_ANSWER_MAX, DEPTH_MAX);
    AUTO_JSON *j = body.len
                       ? json_loadb((const char *)body.ptr, body.len, JSON_REJECT_DUPLICATES, NULL)
                       : NULL;
    const json_t *decision = json_object_get(j, "decision"), *reason = json_object_get(j, "reason");
    const char *text = json_string_value(decision);
    bool allow = text && avow_cstr_eq(text, "allow");
    if (!text || (!allow && !avow_cstr_eq(text, "deny")) || (reason && !json_is_string(reason)))
        return avow_err_set(err, AVOW_PARSE, 0,
                            "webhook: the answer is not {\"decision\": \"allow\" or \"deny\", "
                            "\"reason\": text}");
    out->allow = allow;
    snprintf(out->reason, sizeof out->reason, "%s", reason ? json_string_value(reason) : "");
    return AVOW_OK;
}

static bool is_passing(unsigned status)
{
    return status == 408 || status == 429 || status >= 500;
}

static enum avow_rc try_once(const struct avow_webhook_call *call, struct avow_bytes question,
                             struct avow_webhook_answer *out, bool *again, struct avow_err *err)
{
    AVOW_CLEANUP_VAL(avow_buf_deinit) struct avow_buf body;
    unsigned status = 0;
    avow_buf_init(&body, AVOW_WEBHOOK_ANSWER_MAX + 1);
    enum avow_rc rc =
        avow_http_request(call->http, "POST", call->url, &question, &status, &body, err);
    *again = rc == AVOW_UNREACHABLE;
    if (rc == AVOW_LIMIT)
        return avow_err_set(err, AVOW_UNREACHABLE, 0, "webhook: the answer is too long");
    if (rc)
        return rc;
    *again = is_passing(status);
    if (status != 200)
        return avow_err_set(err, AVOW_UNREACHABLE, status, "webhook: it answers with status %u",
                            status);
    rc = avow_webhook_answer_parse(avow_buf_bytes(&body), out, err);
    return rc == AVOW_PARSE || rc == AVOW_LIMIT
               ? avow_err_wrap(err, AVOW_UNREACHABLE, "no decision")
               : rc;
}

static bool is_cancelled(const struct avow_webhook_call *call)
{
    return call->cancel && atomic_load(call->cancel);
}

static void back_off(const struct avow_webhook_call *call, unsigned tried)
{
    uint8_t chance = 0;
    uint64_t ms = (uint64_t)BACKOFF_MS << (tried < 8 ? tried : 8);
    if (avow_rng_fill(&chance, 1, NULL))
        chance = 0; /* then they all come at once, as without it */
    ms += ms * chance / 256;
    for (uint64_t end_ms = avow_clock_mono_ms() + ms, now_ms;
         (now_ms = avow_clock_mono_ms()) < end_ms && !is_cancelled(call);)
        avow_clock_sleep_ms(end_ms - now_ms < STEP_MS ? end_ms - now_ms : STEP_MS);
}

enum avow_rc avow_webhook_ask(const struct avow_webhook_call *call,
                              const struct avow_webhook_question *q,
                              struct avow_webhook_answer *out, struct avow_err *err)
{
    AVOW_CLEANUP_VAL(avow_buf_deinit) struct avow_buf question;
    avow_buf_init(&question, QUESTION_MAX);
    enum avow_rc rc = avow_webhook_encode(q, &question, err);
    if (rc)
        return rc;
    for (unsigned tried = 0;; tried++) {
        bool again = false;
        rc = try_once(call, avow_buf_bytes(&question), out, &again, err);
        if (!rc || !again || tried + 1 >= call->tries)
            return rc;
        back_off(call, tried);
        if (is_cancelled(call))
            return rc;
    }
}
