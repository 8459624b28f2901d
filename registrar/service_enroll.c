/* Register, activate, remove: parse, judge, decide in one store transaction, answer. */
#include "service.h"

#include "ek_trust.h"
#include "reply.h"
#include "request_json.h"

#include "avow/base/log.h"
#include "avow/crypto/rng.h"

#include <string.h>
#include <strings.h>

#include "avow/base/banned.h"

/* One body, the stored agent and its open challenges; those twice where outsiders are asked. */
#define REQUEST_ARENA (4u * 1024u * 1024u)
#define CREDENTIAL_MAGIC 0xBADCC0DEu /* tpm2-tools' credential file */
#define CREDENTIAL_MAX 2048u
#define LOG_PER_MINUTE 1200u
#define JUDGE_RETRY_S 10u

/* What one request gathers on its way. */
struct enrolling {
    const struct avow_service *s;
    const struct avow_server_request *req;
    struct avow_str id;
    struct avow_arena arena;
    struct avow_stored stored;
    struct avow_enroll_view view;
    struct avow_enroll_out out;
};

static void enrolling_init(struct enrolling *e, const struct avow_service *s, struct avow_str id,
                           const struct avow_server_request *req)
{
    memset(e, 0, sizeof *e);
    e->s = s;
    e->id = id;
    e->req = req;
    avow_arena_init(&e->arena, REQUEST_ARENA);
}

static void enrolling_deinit(struct enrolling *e)
{
    for (size_t i = 0; i < AVOW_PENDING_PER_ID; i++) /* the second load may have found fewer */
        avow_wipe(e->stored.pending[i].secret, AVOW_SECRET_LEN);
    for (size_t i = 0; i < AVOW_CHANGES_MAX; i++)
        avow_wipe(e->out.changes[i].pending.secret, AVOW_SECRET_LEN);
    avow_wipe(e->out.secret, sizeof e->out.secret);
    avow_arena_deinit(&e->arena);
}

typedef void (*step_fn)(struct enrolling *e, const void *in);
static void register_step(struct enrolling *e, const void *in);

/* Load, decide and write in one transaction, so that two requests for one id never decide on the
 * same past. */
static enum avow_rc transact(struct enrolling *e, step_fn step, const void *in,
                             struct avow_err *err)
{
    struct avow_store *store = e->s->store;
    /* A registration changes challenges alone. */
    enum avow_rc rc = step == register_step ? avow_store_begin_challenge(store, err)
                                            : avow_store_begin(store, err);
    if (rc)
        return rc;
    e->view = (struct avow_enroll_view){.id = e->id,
                                        .now_ms = e->s->now_ms(),
                                        .source = e->req->source,
                                        .policy = &e->s->policy,
                                        .agent = &e->stored.agent,
                                        .pending = e->stored.pending};
    rc = avow_store_load(store, e->id, e->req->source, e->view.now_ms, &e->arena, &e->stored, err);
    if (!rc) {
        e->view.n_pending = e->stored.n_pending;
        e->view.pending_of_source = e->stored.pending_of_source;
        e->view.pending_total = e->stored.pending_total;
        step(e, in);
        rc = avow_store_apply(store, e->id, e->out.changes, e->out.n_changes, err);
    }
    if (rc) {
        (void)!avow_store_end(store, false, NULL);
        return rc;
    }
    return avow_store_end(store, e->out.n_changes > 0, err);
}

static bool agent_changed(const struct enrolling *e)
{
    for (size_t i = 0; i < e->out.n_changes; i++)
        if (e->out.changes[i].kind == AVOW_CHANGE_AGENT)
            return true;
    return false;
}

static void count_activation(const struct enrolling *e)
{
    for (size_t i = 0; i < e->out.n_changes; i++) {
        const struct avow_change *c = &e->out.changes[i];
        struct avow_bytes rest = c->agent.claim.ek_certs, leaf = {0};
        if (c->kind != AVOW_CHANGE_AGENT || c->agent.status != AVOW_AGENT_ACTIVE)
            continue;
        (void)avow_certs_next(&rest, &leaf);
        avow_metrics_activation(e->s->metrics, leaf);
    }
}

/* Everything that one request decided, for the audit trail. */
static void log_decision(const struct enrolling *e, const char *what)
{
    avow_log_limited(INFO, "enroll", LOG_PER_MINUTE, AVOW_KV_STR("action", what),
                     AVOW_KV_STRN("agent", e->id), AVOW_KV_U64("status", e->out.status),
                     AVOW_KV_STR("reason", e->out.reason), AVOW_KV_STRN("source", e->req->source),
                     AVOW_KV_STRN("request", e->req->request_id));
}

/* False: the store failed, and that is answered. */
static bool run_step(struct enrolling *e, const char *what, step_fn step, const void *in,
                     struct avow_server_reply *reply)
{
    struct avow_err err;
    if (!transact(e, step, in, &err))
        return true;
    avow_log_limited(ERROR, "store.failed", 60, AVOW_KV_STR("action", what), AVOW_KV_ERR(&err));
    reply->reason = "store";
    reply->retry_after_s = 30;
    avow_reply_envelope(reply, 503, "the registrar's database is not available", NULL);
    return false;
}

/* Tells the world what was decided and, unless the answer is a challenge, answers. */
static void conclude(const struct enrolling *e, const char *what, struct avow_server_reply *reply)
{
    log_decision(e, what);
    reply->reason = e->out.reason;
    count_activation(e);
    if (agent_changed(e) && e->s->changed)
        e->s->changed(e->s->changed_arg);
    if (e->out.challenge)
        return;
    if (e->out.status == 429 || e->out.status == 503)
        reply->retry_after_s = 30;
    avow_reply_envelope(reply, e->out.status, e->out.text, NULL);
}

/* Runs the transaction and, unless the answer is a challenge, answers. False: answered already. */
static bool decide(struct enrolling *e, const char *what, step_fn step, const void *in,
                   struct avow_server_reply *reply)
{
    if (!run_step(e, what, step, in, reply))
        return false;
    conclude(e, what, reply);
    return e->out.challenge;
}

/* Answers a request that was refused before it got to the store: about us 503, else about the
 * request. */
static void refuse(const struct enrolling *e, const char *what, const struct avow_err *err,
                   struct avow_server_reply *reply)
{
    bool later = err->rc == AVOW_UNREACHABLE || err->rc == AVOW_TIMEOUT || err->rc == AVOW_IO ||
                 err->rc == AVOW_STATE;
    bool ours = later || err->rc == AVOW_NOMEM || err->rc == AVOW_CRYPTO;
    avow_log_limited(INFO, "enroll.refused", LOG_PER_MINUTE, AVOW_KV_STR("action", what),
                     AVOW_KV_STRN("agent", e->id), AVOW_KV_ERR(err),
                     AVOW_KV_STRN("source", e->req->source),
                     AVOW_KV_STRN("request", e->req->request_id));
    reply->reason = later ? "no_judge" : ours ? "internal" : "malformed";
    if (later)
        reply->retry_after_s = JUDGE_RETRY_S;
    /* What is wrong with the operator's own judges is for his log, not for whoever asks. */
    avow_reply_envelope(reply, ours ? 503 : 400,
                        later ? "nobody can say now whether this EK is genuine" : err->msg, NULL);
}

static enum avow_rc check_content_type(const struct avow_server_request *req, struct avow_err *err)
{
    const struct avow_str want = AVOW_STR_LIT("application/json");
    struct avow_str got = req->content_type;
    if (got.len >= want.len && !strncasecmp(got.ptr, want.ptr, want.len) &&
        (got.len == want.len || got.ptr[want.len] == ';' || got.ptr[want.len] == ' '))
        return AVOW_OK;
    return avow_err_set(err, AVOW_PARSE, 0, "Content-Type is not application/json");
}

/* --- Register
 * ------------------------------------------------------------------------------------------------
 */
struct registering {
    struct avow_register_in in;
    struct avow_ek *ek;
    struct avow_ak *ak;
    char ek_hash_id[65];
};

static void registering_deinit(struct registering *r)
{
    avow_wipe(r->in.secret, sizeof r->in.secret);
    avow_ek_free(r->ek);
    avow_ak_free(r->ak);
}

/* "disabled", or a certificate that the tenant will later be told to trust: it must at least be
 * one. */
static enum avow_rc check_mtls_cert(struct avow_str text, struct avow_err *err)
{
    struct avow_cert *certs[AVOW_CHAIN_MAX] = {NULL};
    size_t n = 0;
    if (!text.ptr || avow_str_is(text, "disabled"))
        return AVOW_OK;
    enum avow_rc rc = avow_cert_list_parse(avow_bytes_make(text.ptr, text.len), certs, &n, err);
    for (size_t i = 0; i < n; i++)
        avow_cert_free(certs[i]);
    return rc ? avow_err_wrap(err, rc, "mtls_cert") : AVOW_OK;
}

static enum avow_rc parse_keys(struct registering *r, const struct avow_register_request *body,
                               struct avow_err *err)
{
    enum avow_rc rc = avow_ek_parse(body->ek_public, &r->ek, err);
    if (rc)
        return avow_err_wrap(err, rc, "ek_tpm");
    rc = avow_ak_parse(body->ak_public, &r->ak, err);
    if (rc)
        return avow_err_wrap(err, rc, "aik_tpm");
    return avow_ek_hash_id(r->ek, r->ek_hash_id, err);
}

/* What certificates prove. A device identity that nobody is configured to judge is passed over, as
 * in earlier versions; where it must prove something it is judged in any case. */
static enum avow_rc judge_certs(struct enrolling *e, struct registering *r,
                                const struct avow_register_request *body,
                                const struct avow_trust_stores *stores, struct avow_err *err)
{
    enum avow_tpm_identity mode = e->s->policy.identity;
    struct avow_claim *claim = &r->in.claim;
    struct avow_iak_result iak = {.proven = false};
    const struct avow_iak_context context = {
        .id = e->id, .ak_name = claim->ak_name, .store = stores->device, .now_ms = e->s->now_ms()};
    enum avow_rc rc =
        avow_ek_judge(r->ek, body->ekcert, stores->ek, context.now_ms, &e->arena, claim, err);
    bool wanted = mode == AVOW_IDENTITY_IAK_IDEVID || mode == AVOW_IDENTITY_EITHER;
    r->in.device_given = avow_iak_is_given(&body->iak);
    if (!rc && (wanted || (mode == AVOW_IDENTITY_DEFAULT && stores->device)))
        rc = avow_iak_judge(&context, &body->iak, &e->arena, claim, &iak, err);
    return rc ? rc : avow_trust_join(mode, &iak, &e->arena, claim, err);
}

static enum avow_rc judge(struct enrolling *e, struct registering *r,
                          const struct avow_register_request *body, struct avow_err *err)
{
    struct avow_authority_set *set = avow_authorities_hold(e->s->authorities);
    const struct avow_trust_stores stores = avow_authority_stores(set);
    enum avow_rc rc = judge_certs(e, r, body, &stores, err);
    avow_authorities_release(e->s->authorities, set);
    return rc;
}

static enum avow_rc prepare(struct enrolling *e, struct registering *r, struct avow_err *err)
{
    struct avow_register_request body;
    enum avow_rc rc = check_content_type(e->req, err);
    if (!rc)
        rc = avow_register_request_parse(e->req->body, &e->arena, &body, err);
    if (!rc)
        rc = parse_keys(r, &body, err);
    if (!rc)
        rc = check_mtls_cert(body.mtls_cert, err);
    if (rc)
        return rc;
    r->in.cert = body.cert;
    r->in.ek_hash_id = avow_str_from(r->ek_hash_id);
    r->in.claim.ek_public = body.ek_public;
    r->in.claim.ak_public = body.ak_public;
    r->in.claim.ak_name = avow_tpm_name_bytes(avow_ak_name(r->ak));
    r->in.claim.ip = body.ip;
    r->in.claim.port = body.port;
    r->in.claim.mtls_cert = body.mtls_cert;
    rc = judge(e, r, &body, err);
    return rc ? rc : avow_rng_fill(r->in.secret, sizeof r->in.secret, err);
}

static void register_step(struct enrolling *e, const void *in)
{
    avow_enroll_register(&e->view, in, &e->out);
}

/* The credential file that the TPM opens: magic, version, TPM2B_ID_OBJECT, TPM2B_ENCRYPTED_SECRET.
 */
static enum avow_rc make_blob(const struct registering *r, const uint8_t secret[AVOW_SECRET_LEN],
                              struct avow_buf *blob, struct avow_err *err)
{
    AVOW_CLEANUP_VAL(avow_buf_deinit) struct avow_buf wrapped;
    struct avow_credential_ek ek = avow_ek_credential(r->ek);
    avow_buf_init(&wrapped, CREDENTIAL_MAX);
    avow_buf_put_u32be(blob, CREDENTIAL_MAGIC);
    avow_buf_put_u32be(blob, 1);
    enum avow_rc rc = avow_credential_make(
        &ek, r->in.claim.ak_name, avow_bytes_make(secret, AVOW_SECRET_LEN), blob, &wrapped, err);
    avow_buf_put(blob, wrapped.ptr, wrapped.len);
    return rc ? rc : avow_buf_status(blob, err);
}

void avow_service_register(const struct avow_service *s, struct avow_str id,
                           const struct avow_server_request *req, struct avow_server_reply *reply)
{
    AVOW_CLEANUP_VAL(enrolling_deinit) struct enrolling e;
    AVOW_CLEANUP_VAL(registering_deinit) struct registering r = {0};
    AVOW_CLEANUP_VAL(avow_buf_deinit) struct avow_buf blob;
    struct avow_err err;
    enrolling_init(&e, s, id, req);
    avow_buf_init(&blob, 2 * CREDENTIAL_MAX);
    if (prepare(&e, &r, &err)) {
        refuse(&e, "register", &err, reply);
        return;
    }
    if (!decide(&e, "register", register_step, &r.in, reply))
        return;
    if (make_blob(&r, e.out.secret, &blob, &err)) {
        refuse(&e, "register", &err, reply);
        return;
    }
    json_t *text = avow_json_base64(avow_buf_bytes(&blob));
    if (text)
        avow_reply_envelope(reply, 200, "Success", json_pack("{s:o}", "blob", text));
    else
        avow_reply_empty(reply, 503);
}

/* --- Activate, remove
 * ---------------------------------------------------------------------------------------- */
static void activate_step(struct enrolling *e, const void *in)
{
    avow_enroll_activate(&e->view, in, &e->out);
}

/* The operator's judges about a TPM that has proven itself; the store is not locked meanwhile. */
static enum avow_rc ask_judges(struct enrolling *e, struct avow_claim *claim, struct avow_err *err)
{
    AVOW_CLEANUP(avow_ek_free) struct avow_ek *ek = NULL;
    enum avow_rc rc = avow_ek_parse(claim->ek_public, &ek, err);
    const struct avow_outside_question q = {
        .id = e->id, .source = e->req->source, .ek = ek, .policy = &e->s->policy};
    return rc ? rc : avow_outside_ask(e->s->outside, &q, &e->arena, claim, err);
}

static void activate(struct enrolling *e, const uint8_t tag[AVOW_TAG_LEN],
                     struct avow_server_reply *reply)
{
    struct avow_activate_in in = {.judged = NULL};
    struct avow_claim claim;
    struct avow_err err;
    memcpy(in.tag, tag, sizeof in.tag);
    if (!run_step(e, "activate", activate_step, &in, reply))
        return;
    if (e->out.ask) {
        claim = e->out.claim;
        memcpy(in.digest, e->out.digest, sizeof in.digest);
        if (ask_judges(e, &claim, &err)) {
            refuse(e, "activate", &err, reply);
            return;
        }
        in.judged = &claim.trust;
        if (!run_step(e, "activate", activate_step, &in, reply))
            return;
    }
    conclude(e, "activate", reply);
}

void avow_service_activate(const struct avow_service *s, struct avow_str id,
                           const struct avow_server_request *req, struct avow_server_reply *reply)
{
    AVOW_CLEANUP_VAL(enrolling_deinit) struct enrolling e;
    uint8_t tag[AVOW_TAG_LEN];
    struct avow_err err;
    enrolling_init(&e, s, id, req);
    enum avow_rc rc = check_content_type(req, &err);
    if (!rc)
        rc = avow_activate_request_parse(req->body, tag, &err);
    if (rc)
        refuse(&e, "activate", &err, reply);
    else
        activate(&e, tag, reply);
}

static void allow_step(struct enrolling *e, const void *in)
{
    (void)in;
    avow_enroll_allow(&e->view, &e->out);
}

void avow_service_allow(const struct avow_service *s, struct avow_str id,
                        const struct avow_server_request *req, struct avow_server_reply *reply)
{
    AVOW_CLEANUP_VAL(enrolling_deinit) struct enrolling e;
    enrolling_init(&e, s, id, req);
    (void)decide(&e, "allow", allow_step, NULL, reply);
}

static void remove_step(struct enrolling *e, const void *in)
{
    (void)in;
    avow_enroll_remove(&e->view, &e->out);
}

void avow_service_remove(const struct avow_service *s, struct avow_str id,
                         const struct avow_server_request *req, struct avow_server_reply *reply)
{
    AVOW_CLEANUP_VAL(enrolling_deinit) struct enrolling e;
    enrolling_init(&e, s, id, req);
    (void)decide(&e, "remove", remove_step, NULL, reply);
}
