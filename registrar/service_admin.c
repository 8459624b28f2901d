/* Our own API under /avow/v1 (registrar/openapi.yaml): pages, one record, backup, check, republish.
 */
#include "service.h"

#include "reply.h"

#include "avow/base/clock.h"
#include "avow/base/hex.h"
#include "avow/base/log.h"
#include "avow/base/num.h"

#include "avow/base/banned.h"

#define PAGE_MAX 1000u
#define PAGE_DEFAULT 100u
#define SHOW_ARENA (256u * 1024u)
#define PROBLEMS_BYTES (64u * 1024u)
#define BACKUP_NAME_MAX 4096u

static json_t *text_or_null(struct avow_str s)
{
    return s.ptr ? json_stringn(s.ptr, s.len) : json_null();
}

static const char *status_name(enum avow_agent_status status)
{
    return status == AVOW_AGENT_ACTIVE ? "active" : "removed";
}

/* --- Pages */
struct page_query {
    struct avow_page page;
    bool bad;
};

static struct page_query read_query(const struct avow_server_request *req)
{
    struct page_query q = {.page = {.max = PAGE_DEFAULT}};
    q.bad = req->n_args > AVOW_ARGS_MAX;
    for (size_t i = 0; i < req->n_args && !q.bad; i++) {
        struct avow_str value = req->args[i].value;
        uint64_t n = 0;
        if (avow_str_is(req->args[i].name, "after")) {
            q.page.after = value;
            q.bad = value.len > 0 && !avow_name_is_valid(value);
        } else if (avow_str_is(req->args[i].name, "limit")) {
            q.bad = !avow_num_parse_u64(value, PAGE_MAX, &n) || n == 0;
            q.page.max = (size_t)n;
        } else if (avow_str_is(req->args[i].name, "removed")) {
            q.page.removed = avow_str_is(value, "true");
            q.bad = !q.page.removed && !avow_str_is(value, "false");
        } else {
            q.bad = true;
        }
    }
    return q;
}

struct page_out {
    json_t *list;
    char last[AVOW_AGENT_ID_ROOM];
};

static void add_line(void *arg, const struct avow_agent_line *l)
{
    struct page_out *out = arg;
    avow_str_copy(out->last, sizeof out->last, l->id);
    json_array_append_new(
        out->list, json_pack("{s:o, s:s, s:I, s:I, s:I, s:o, s:b, s:o}", "id",
                             json_stringn(l->id.ptr, l->id.len), "status", status_name(l->status),
                             "generation", (json_int_t)l->generation, "regcount",
                             (json_int_t)l->regcount, "registered_ms", (json_int_t)l->registered_ms,
                             "trust_rule", text_or_null(l->trust_rule), "trusted", (int)l->trusted,
                             "ip", text_or_null(l->ip)));
}

void avow_service_page(const struct avow_service *s, const struct avow_server_request *req,
                       struct avow_server_reply *reply)
{
    struct page_query q = read_query(req);
    struct page_out out = {.list = NULL};
    struct avow_err err;
    if (q.bad) {
        reply->reason = "malformed";
        avow_reply_envelope(reply, 400, "the query is after=ID, limit=1..1000, removed=true|false",
                            NULL);
        return;
    }
    out.list = json_array();
    enum avow_rc rc = out.list ? avow_store_page(s->store, &q.page, add_line, &out, &err)
                               : avow_err_set(&err, AVOW_NOMEM, 0, "page");
    if (rc) {
        json_decref(out.list);
        avow_service_store_failed(reply, &err);
        return;
    }
    bool more = json_array_size(out.list) == q.page.max;
    avow_reply_envelope(reply, 200, "Success",
                        json_pack("{s:o, s:o}", "agents", out.list, "next",
                                  more ? json_string(out.last) : json_null()));
}

/* --- One record */
static json_t *hex_or_null(struct avow_bytes b, bool there)
{
    AVOW_CLEANUP_VAL(avow_buf_deinit) struct avow_buf text;
    avow_buf_init(&text, 2 * b.len + 1);
    avow_buf_put_hex(&text, b);
    return there ? json_stringn((const char *)text.ptr, text.len) : json_null();
}

static json_t *certs_json(struct avow_bytes packed)
{
    struct avow_bytes der;
    json_t *list = json_array();
    while (avow_certs_next(&packed, &der))
        json_array_append_new(list, avow_json_base64(der));
    return list;
}

static json_t *trust_json(const struct avow_ek_trust *t)
{
    return json_pack("{s:o, s:b, s:I, s:o, s:o}", "rule", text_or_null(t->rule), "trusted",
                     (int)t->trusted, "time_ms", (json_int_t)t->time_ms, "detail",
                     text_or_null(t->detail), "ek_cert_sha256",
                     hex_or_null(AVOW_BYTES_OF(t->cert_sha256), t->has_cert_sha256));
}

static json_t *record_json(struct avow_str id, const struct avow_agent *a)
{
    const struct avow_claim *c = &a->claim;
    json_t *o =
        json_pack("{s:o, s:s, s:I, s:I, s:I, s:I, s:o, s:o, s:o, s:o, s:o}", "id",
                  json_stringn(id.ptr, id.len), "status", status_name(a->status), "generation",
                  (json_int_t)a->generation, "regcount", (json_int_t)a->regcount, "registered_ms",
                  (json_int_t)a->registered_ms, "allow_until_ms", (json_int_t)a->allow_until_ms,
                  "ek_public", avow_json_base64(c->ek_public), "ak_public",
                  avow_json_base64(c->ak_public), "ak_name", hex_or_null(c->ak_name, true),
                  "ek_certs", certs_json(c->ek_certs), "trust", trust_json(&c->trust));
    if (!o)
        return NULL;
    json_object_set_new(o, "ip", text_or_null(c->ip));
    json_object_set_new(o, "port", c->port ? json_integer(c->port) : json_null());
    json_object_set_new(o, "mtls_cert", text_or_null(c->mtls_cert));
    json_object_set_new(o, "device_serial", text_or_null(c->device_serial));
    return o;
}

void avow_service_show(const struct avow_service *s, struct avow_str id,
                       struct avow_server_reply *reply)
{
    AVOW_CLEANUP_VAL(avow_arena_deinit) struct avow_arena arena;
    struct avow_agent agent;
    struct avow_err err;
    avow_arena_init(&arena, SHOW_ARENA);
    if (avow_store_agent(s->store, id, &arena, &agent, &err)) {
        avow_service_store_failed(reply, &err);
        return;
    }
    if (agent.status == AVOW_AGENT_NONE) {
        reply->reason = "unknown";
        avow_reply_envelope(reply, 404, "no such agent", NULL);
        return;
    }
    json_t *record = record_json(id, &agent);
    if (record)
        avow_reply_envelope(reply, 200, "Success", record);
    else
        avow_reply_empty(reply, 503);
}

/* --- The database as a whole */
void avow_service_republish(const struct avow_service *s, struct avow_server_reply *reply)
{
    uint64_t queued = 0;
    struct avow_err err;
    if (avow_store_republish(s->store, s->now_ms(), &queued, &err)) {
        avow_service_store_failed(reply, &err);
        return;
    }
    if (s->changed)
        s->changed(s->changed_arg);
    avow_log(INFO, "republish", AVOW_KV_U64("queued", queued));
    avow_reply_envelope(reply, 200, "Success", json_pack("{s:I}", "queued", (json_int_t)queued));
}

void avow_service_backup(const struct avow_service *s, struct avow_server_reply *reply)
{
    AVOW_CLEANUP_VAL(avow_buf_deinit) struct avow_buf path;
    char when[32];
    uint64_t bytes = 0;
    struct avow_err err;
    avow_buf_init(&path, BACKUP_NAME_MAX);
    if (!s->backup_dir) {
        reply->reason = "not_configured";
        avow_reply_envelope(reply, 409, "registrar.backup_dir is not set", NULL);
        return;
    }
    avow_clock_format(when, s->now_ms());
    for (char *p = when; *p; p++)
        if (*p == ':')
            *p = '-';
    avow_buf_printf(&path, "%s/registrar-%s.sqlite", s->backup_dir, when);
    const char *file = avow_buf_cstr(&path);
    enum avow_rc rc = avow_buf_status(&path, &err);
    if (!rc)
        rc = avow_store_backup(s->store, file, &bytes, &err);
    if (rc) {
        avow_service_store_failed(reply, &err);
        return;
    }
    avow_log(INFO, "backup", AVOW_KV_STR("file", file), AVOW_KV_U64("bytes", bytes));
    avow_reply_envelope(reply, 200, "Success",
                        json_pack("{s:s, s:I}", "file", file, "bytes", (json_int_t)bytes));
}

void avow_service_check(const struct avow_service *s, struct avow_server_reply *reply)
{
    AVOW_CLEANUP_VAL(avow_buf_deinit) struct avow_buf problems;
    struct avow_err err;
    avow_buf_init(&problems, PROBLEMS_BYTES);
    if (avow_store_check(s->store, &problems, &err)) {
        avow_service_store_failed(reply, &err);
        return;
    }
    json_t *list = json_array();
    struct avow_str rest = {(const char *)problems.ptr, problems.len};
    for (size_t i = 0, from = 0; i < rest.len; i++)
        if (rest.ptr[i] == '\n') {
            json_array_append_new(list, json_stringn(rest.ptr + from, i - from));
            from = i + 1;
        }
    if (problems.len)
        avow_log(ERROR, "store.damaged", AVOW_KV_U64("problems", json_array_size(list)));
    avow_reply_envelope(reply, 200, "Success",
                        json_pack("{s:b, s:o}", "ok", problems.len == 0, "problems", list));
}
