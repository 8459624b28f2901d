/* service.h - what the registrar does with a request: who may, then one function per action. Layer:
 * registrar. Decisions are in enroll_step.h; here they meet the store, the clock and random bytes.
 */
#ifndef AVOW_REGISTRAR_SERVICE_H
#define AVOW_REGISTRAR_SERVICE_H

#include "http_routes.h"
#include "http_server.h"
#include "store.h"

struct avow_service { /* set up before the servers start, then only read */
    struct avow_store *store;
    const struct avow_cert_store *ek_store; /* NULL: no EK certificate can be trusted */
    struct avow_enroll_policy policy;
    uint64_t (*now_ms)(void);
    void (*changed)(void *arg); /* an identity is in the outbox; NULL: nobody waits */
    void *changed_arg;
};

/* avow_server_fn; arg is the struct avow_service. @thread any, several at once */
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

#endif
