#include "service.h"

#include "reply.h"

#include "avow/base/clock.h"
#include "avow/base/log.h"

#include "avow/base/banned.h"

#define STATUS_ARENA (256u * 1024u)
#define STATUS_PER_MINUTE 600u
#define RETRY_STORE_S 30u

static void answer_version(struct avow_server_reply *reply)
{
    char text[8];
    json_t *list = json_array();
    for (unsigned minor = 0; minor <= AVOW_API_MINOR_MAX; minor++) {
        snprintf(text, sizeof text, "2.%u", minor);
        json_array_append_new(list, json_string(text));
    }
    json_array_append_new(list, json_string("3.0"));
    avow_reply_envelope(
        reply, 200, "Success",
        json_pack("{s:s, s:o}", "current_version", text, "supported_versions", list));
}

static void answer_ready(const struct avow_service *s, struct avow_server_reply *reply)
{
    uint64_t waiting = 0;
    struct avow_err err;
    enum avow_rc rc = avow_store_probe(s->store, &err);
    if (!rc)
        rc = avow_store_outbox_count(s->store, &waiting, &err);
    if (rc)
        avow_reply_envelope(reply, 503, err.msg, NULL);
    else
        avow_reply_envelope(reply, 200, "Success",
                            json_pack("{s:I}", "outbox", (json_int_t)waiting));
}

void avow_service_store_failed(struct avow_server_reply *reply, const struct avow_err *err)
{
    avow_log_limited(ERROR, "store.failed", 60, AVOW_KV_ERR(err));
    reply->reason = "store";
    reply->retry_after_s = RETRY_STORE_S;
    avow_reply_envelope(reply, 503, "the registrar's database is not available", NULL);
}

static void add_id(void *arg, struct avow_str id)
{
    json_array_append_new(arg, json_stringn(id.ptr, id.len));
}

static void answer_list(const struct avow_service *s, struct avow_server_reply *reply)
{
    struct avow_err err;
    json_t *ids = json_array();
    enum avow_rc rc = ids ? avow_store_list(s->store, s->now_ms(), add_id, ids, &err)
                          : avow_err_set(&err, AVOW_NOMEM, 0, "list");
    if (rc) {
        json_decref(ids);
        avow_service_store_failed(reply, &err);
        return;
    }
    avow_reply_envelope(reply, 200, "Success", json_pack("{s:o}", "uuids", ids));
}

static json_t *text_or_null(struct avow_str s)
{
    return s.ptr ? json_stringn(s.ptr, s.len) : json_null();
}

/* Keylime's tenant demands every one of these names, even where there is nothing to say. */
static json_t *agent_json(struct avow_str id, const struct avow_agent *a)
{
    struct avow_bytes rest = a->claim.ek_certs, leaf;
    json_t *cert = avow_certs_next(&rest, &leaf) ? avow_json_base64(leaf) : json_null();
    return json_pack("{s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:I}", "agent_id",
                     json_stringn(id.ptr, id.len), "ek_tpm", avow_json_base64(a->claim.ek_public),
                     "ekcert", cert, "aik_tpm", avow_json_base64(a->claim.ak_public), "ip",
                     text_or_null(a->claim.ip), "port",
                     a->claim.port ? json_integer(a->claim.port) : json_null(), "mtls_cert",
                     text_or_null(a->claim.mtls_cert), "regcount", (json_int_t)a->regcount);
}

static void answer_status(const struct avow_service *s, struct avow_str id,
                          struct avow_server_reply *reply)
{
    AVOW_CLEANUP_VAL(avow_arena_deinit) struct avow_arena arena;
    struct avow_agent agent;
    struct avow_err err;
    avow_arena_init(&arena, STATUS_ARENA);
    if (avow_store_agent(s->store, id, &arena, &agent, &err)) {
        avow_service_store_failed(reply, &err);
        return;
    }
    if (agent.status != AVOW_AGENT_ACTIVE) {
        avow_reply_envelope(reply, 404, "agent is not registered", NULL);
        return;
    }
    json_t *results = agent_json(id, &agent);
    if (results)
        avow_reply_envelope(reply, 200, "Success", results);
    else
        avow_reply_empty(reply, 503);
}

/* Keylime's answers, to the letter: its tenant tells the cases apart by them. */
static bool admin_may(const struct avow_server_request *req, struct avow_server_reply *reply)
{
    if (!req->tls) {
        avow_reply_empty(reply, 400);
        return false;
    }
    if (req->authorization) {
        avow_reply_empty(reply, 401);
        return false;
    }
    if (!req->client_cert) {
        avow_reply_forbidden(reply, "this action needs a client certificate of the registrar's CA");
        return false;
    }
    return true;
}

/* v2 and v3 may register with the id in the body instead of the path. */
static void register_by_body(const struct avow_service *s, const struct avow_server_request *req,
                             struct avow_server_reply *reply)
{
    char id[AVOW_AGENT_ID_ROOM];
    unsigned wait_s = 0;
    struct avow_err err;
    if (avow_agent_id_request_parse(req->body, id, &err)) {
        reply->reason = "malformed";
        avow_reply_envelope(reply, 400, err.msg, NULL);
        return;
    }
    if (!avow_limiter_take(s->per_agent, avow_str_from(id), req->source, avow_clock_mono_ms(),
                           &wait_s)) {
        reply->reason = "rate_agent";
        reply->retry_after_s = wait_s;
        avow_reply_envelope(reply, 429, "too many requests for this agent", NULL);
        return;
    }
    avow_service_register(s, avow_str_from(id), req, reply);
}

static void act_for_admin(const struct avow_service *s, enum avow_action action, struct avow_str id,
                          const struct avow_server_request *req, struct avow_server_reply *reply)
{
    switch (action) {
    case AVOW_ACTION_LIST:
        answer_list(s, reply);
        return;
    case AVOW_ACTION_STATUS:
        answer_status(s, id, reply);
        return;
    case AVOW_ACTION_REMOVE:
        avow_service_remove(s, id, req, reply);
        return;
    case AVOW_ACTION_PAGE:
        avow_service_page(s, req, reply);
        return;
    case AVOW_ACTION_SHOW:
        avow_service_show(s, id, reply);
        return;
    case AVOW_ACTION_ALLOW:
        avow_service_allow(s, id, req, reply);
        return;
    case AVOW_ACTION_REPUBLISH:
        avow_service_republish(s, reply);
        return;
    case AVOW_ACTION_BACKUP:
        avow_service_backup(s, reply);
        return;
    case AVOW_ACTION_CHECK:
        avow_service_check(s, reply);
        return;
    default:
        avow_reply_empty(reply, 405);
        return;
    }
}

static void act(const struct avow_service *s, enum avow_action action, struct avow_str id,
                const struct avow_server_request *req, struct avow_server_reply *reply)
{
    switch (action) {
    case AVOW_ACTION_VERSION:
        answer_version(reply);
        return;
    case AVOW_ACTION_HEALTH:
    case AVOW_ACTION_V3_ROOT:
        avow_reply_envelope(reply, 200, "Success", NULL);
        return;
    case AVOW_ACTION_READY:
        answer_ready(s, reply);
        return;
    case AVOW_ACTION_REGISTER:
        if (id.len)
            avow_service_register(s, id, req, reply);
        else
            register_by_body(s, req, reply);
        return;
    case AVOW_ACTION_ACTIVATE:
        avow_service_activate(s, id, req, reply);
        return;
    default:
        act_for_admin(s, action, id, req, reply);
        return;
    }
}

/* Counts every answer; a decision about an agent or by an administrator goes to the audit trail. */
static void note(const struct avow_service *s, enum avow_action action, struct avow_str id,
                 const struct avow_server_request *req, const struct avow_server_reply *reply,
                 uint64_t since_ns)
{
    avow_metrics_request(
        s->metrics, &(struct avow_metrics_request){.action = avow_action_name(action),
                                                   .reason = reply->reason,
                                                   .status = reply->status,
                                                   .took_ns = avow_clock_mono_ns() - since_ns});
    bool decides = action == AVOW_ACTION_REGISTER || action == AVOW_ACTION_ACTIVATE ||
                   avow_action_is_admin(action);
    if (decides)
        avow_audit_write(s->audit, &(struct avow_audit_entry){.time_ms = s->now_ms(),
                                                              .action = avow_action_name(action),
                                                              .status = reply->status,
                                                              .reason = reply->reason,
                                                              .agent = id,
                                                              .source = req->source,
                                                              .request = req->request_id,
                                                              .admin = req->client_name});
}

/* Limits of what anybody may ask. An agent's bucket is one per address: nobody locks out an agent
 * by asking in its name from elsewhere. */
static bool may_ask(const struct avow_service *s, enum avow_action action, struct avow_str id,
                    const struct avow_server_request *req, struct avow_server_reply *reply)
{
    uint64_t now_ms = avow_clock_mono_ms();
    unsigned wait_s = 0;
    if (action != AVOW_ACTION_REGISTER && action != AVOW_ACTION_ACTIVATE)
        return true;
    if (!avow_limiter_take(s->per_address, req->source, AVOW_STR_LIT(""), now_ms, &wait_s))
        reply->reason = "rate_address";
    else if (id.len && !avow_limiter_take(s->per_agent, id, req->source, now_ms, &wait_s))
        reply->reason = "rate_agent";
    else
        return true;
    reply->retry_after_s = wait_s;
    avow_reply_envelope(reply, 429, "too many requests", NULL);
    return false;
}

static bool refused_at_once(const struct avow_service *s, const struct avow_route_match *m,
                            enum avow_action action, const struct avow_server_request *req,
                            struct avow_server_reply *reply)
{
    if (m->route == AVOW_ROUTE_NONE || m->route == AVOW_ROUTE_METRICS) {
        avow_reply_empty(reply, 404);
    } else if (action == AVOW_ACTION_NONE) {
        reply->allow = avow_route_allows(m);
        avow_reply_empty(reply, 405);
    } else if (avow_action_is_admin(action) && !admin_may(req, reply)) {
        reply->reason = "not_admin";
        avow_log_limited(WARN, "admin.refused", STATUS_PER_MINUTE,
                         AVOW_KV_U64("status", reply->status), AVOW_KV_STRN("source", req->source),
                         AVOW_KV_STRN("request", req->request_id));
    } else if (m->id.len && !avow_name_is_valid(m->id)) {
        reply->reason = "id";
        avow_reply_envelope(reply, 400,
                            "an agent id is 1 to 128 of A-Z a-z 0-9 . _ - and starts with a letter "
                            "or digit",
                            NULL);
    } else {
        return !may_ask(s, action, m->id, req, reply);
    }
    return true;
}

bool avow_service_first(void *arg, const struct avow_server_request *req,
                        struct avow_server_reply *reply)
{
    const struct avow_service *s = arg;
    uint64_t since_ns = avow_clock_mono_ns();
    struct avow_route_match m = avow_route_parse(req->path);
    enum avow_action action = avow_route_action(&m, req->method);
    if (!refused_at_once(s, &m, action, req, reply)) {
        if (!avow_action_is_quick(action))
            return false;
        act(s, action, m.id, req, reply);
    }
    note(s, action, m.id, req, reply, since_ns);
    return true;
}

void avow_service_answer(void *arg, const struct avow_server_request *req,
                         struct avow_server_reply *reply)
{
    const struct avow_service *s = arg;
    uint64_t since_ns = avow_clock_mono_ns();
    struct avow_route_match m = avow_route_parse(req->path);
    enum avow_action action = avow_route_action(&m, req->method);
    act(s, action, m.id, req, reply);
    note(s, action, m.id, req, reply, since_ns);
}
