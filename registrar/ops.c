#include "ops.h"

#include "avow/http/prom.h"
#include "http_routes.h"
#include "reply.h"

#include "avow/base/banned.h"

static uint64_t connections(struct avow_http_server *s)
{
    return s ? avow_http_server_connections(s) : 0;
}

/* False: the store does not answer. */
static bool read_gauges(struct avow_ops *o, struct avow_metrics_gauges *g)
{
    struct avow_store *store = atomic_load(&o->store);
    struct avow_store_counts c = {0};
    uint64_t now_ms = o->now_ms();
    *g = (struct avow_metrics_gauges){.serving = atomic_load(&o->serving),
                                      .work_waiting = o->work ? avow_work_waiting(o->work) : 0,
                                      .http_connections = connections(atomic_load(&o->http)),
                                      .https_connections = connections(atomic_load(&o->https))};
    if (!store)
        return false;
    bool counted = !avow_store_counts(store, now_ms, &c, NULL);
    g->store_ok = counted && !avow_store_probe(store, NULL);
    g->agents = c.active;
    g->removed = c.removed;
    g->pending = c.pending;
    g->outbox = c.outbox;
    if (c.outbox_since_ms && now_ms > c.outbox_since_ms)
        g->outbox_age_ms = now_ms - c.outbox_since_ms;
    return g->store_ok;
}

static void answer_metrics(struct avow_ops *o, struct avow_server_reply *reply)
{
    struct avow_metrics_gauges g;
    (void)read_gauges(o, &g);
    reply->status = 200;
    reply->content_type = AVOW_PROM_CONTENT_TYPE;
    avow_metrics_render(o->metrics, &g, &reply->body);
}

static void answer_ready(struct avow_ops *o, struct avow_server_reply *reply)
{
    struct avow_metrics_gauges g;
    bool fine = read_gauges(o, &g);
    if (!g.serving)
        avow_reply_envelope(reply, 503, "standby", NULL);
    else if (!fine)
        avow_reply_envelope(reply, 503, "the registrar's database is not available", NULL);
    else
        avow_reply_envelope(reply, 200, "Success",
                            json_pack("{s:I, s:I}", "agents", (json_int_t)g.agents, "outbox",
                                      (json_int_t)g.outbox));
}

void avow_ops_answer(void *arg, const struct avow_server_request *req,
                     struct avow_server_reply *reply)
{
    struct avow_route_match m = avow_route_parse(req->path);
    enum avow_action action = avow_route_action(&m, req->method);
    if (action == AVOW_ACTION_METRICS)
        answer_metrics(arg, reply);
    else if (action == AVOW_ACTION_HEALTH)
        avow_reply_envelope(reply, 200, "Success", NULL);
    else if (action == AVOW_ACTION_READY)
        answer_ready(arg, reply);
    else
        avow_reply_empty(reply, 404);
}
