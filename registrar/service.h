/* service.h - what the registrar does with a request: who may, then one function per action. Layer:
 * registrar. Decisions are in enroll_step.h; here they meet the store, the clock and random bytes.
 */
#ifndef AVOW_REGISTRAR_SERVICE_H
#define AVOW_REGISTRAR_SERVICE_H

#include "audit.h"
#include "authorities.h"
#include "http_routes.h"
#include "http_server.h"
#include "limiter.h"
#include "metrics.h"
#include "outside.h"
#include "store.h"

struct avow_service { /* set up before the servers start, then only read */
    struct avow_store *store;
    struct avow_authorities *authorities;
    struct avow_outside *outside; /* policy.judges says whether it has any */
    struct avow_enroll_policy policy;
    uint64_t (*now_ms)(void);
    void (*changed)(void *arg); /* an identity is in the outbox; NULL: nobody waits */
    void *changed_arg;
    struct avow_limiter *per_address, *per_agent; /* of register and activate; NULL: no limit */
    struct avow_metrics *metrics;                 /* NULL: not counted */
    struct avow_audit *audit;                     /* NULL: none */
    const char *backup_dir;                       /* NULL: no backups over HTTPS */
};

/* avow_server_first_fn: routes, who may, limits, and what costs nothing. */
bool avow_service_first(void *arg, const struct avow_server_request *req,
                        struct avow_server_reply *reply);
/* avow_server_fn for what _first left; arg is the struct avow_service. @thread any, several at once
 */
void avow_service_answer(void *arg, const struct avow_server_request *req,
                         struct avow_server_reply *reply);

/* The actions; `id` is valid (PROTOCOL B6). */
void avow_service_register(const struct avow_service *s, struct avow_str id,
                           const struct avow_server_request *req, struct avow_server_reply *reply);
void avow_service_activate(const struct avow_service *s, struct avow_str id,
                           const struct avow_server_request *req, struct avow_server_reply *reply);
/* Lets the agent come with another EK or AK, once, for policy.allow_ms; an administrator's action.
 */
void avow_service_allow(const struct avow_service *s, struct avow_str id,
                        const struct avow_server_request *req, struct avow_server_reply *reply);
void avow_service_remove(const struct avow_service *s, struct avow_str id,
                         const struct avow_server_request *req, struct avow_server_reply *reply);
/* Answers 503 and logs. */
void avow_service_store_failed(struct avow_server_reply *reply, const struct avow_err *err);

/* --- Our own API (service_admin.c); an administrator's. */
void avow_service_page(const struct avow_service *s, const struct avow_server_request *req,
                       struct avow_server_reply *reply);
void avow_service_show(const struct avow_service *s, struct avow_str id,
                       struct avow_server_reply *reply);
void avow_service_republish(const struct avow_service *s, struct avow_server_reply *reply);
void avow_service_backup(const struct avow_service *s, struct avow_server_reply *reply);
void avow_service_check(const struct avow_service *s, struct avow_server_reply *reply);

#endif
