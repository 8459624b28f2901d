/* http_routes.h - paths to routes: Keylime's registrar API, and our own additions under /avow/v1
 * (registrar/openapi.yaml). Layer: registrar. Pure. Input: attacker-controlled. */
#ifndef AVOW_REGISTRAR_HTTP_ROUTES_H
#define AVOW_REGISTRAR_HTTP_ROUTES_H

#include "avow/base/bytes.h"

#define AVOW_API_MINOR_MAX 6u /* v2.0 to v2.6; "v2" is the newest */

enum avow_route {
    AVOW_ROUTE_NONE, /* 404 */
    AVOW_ROUTE_VERSION,
    AVOW_ROUTE_HEALTH,
    AVOW_ROUTE_READY,
    AVOW_ROUTE_METRICS,  /* on metrics.listen only */
    AVOW_ROUTE_V3_ROOT,  /* /v3.0 */
    AVOW_ROUTE_AGENTS,   /* /v2.N/agents, /v3.0/agents */
    AVOW_ROUTE_AGENT,    /* .../agents/ID */
    AVOW_ROUTE_ACTIVATE, /* .../agents/ID/activate */
    AVOW_ROUTE_OUR_AGENTS,
    AVOW_ROUTE_OUR_AGENT,
    AVOW_ROUTE_OUR_ALLOW, /* .../agents/ID/allow */
    AVOW_ROUTE_OUR_REPUBLISH,
    AVOW_ROUTE_OUR_BACKUP,
    AVOW_ROUTE_OUR_CHECK /* .../store/check */
};
struct avow_route_match {
    enum avow_route route;
    unsigned major;     /* of Keylime's API: 2 or 3; 0: none of it */
    unsigned minor;     /* of API version 2 */
    struct avow_str id; /* AGENT, ACTIVATE, OUR_AGENT, OUR_ALLOW: as in the path, any text without
                           '/'; borrowed */
};
/* One trailing slash is optional everywhere; an empty segment within is no route. */
struct avow_route_match avow_route_parse(struct avow_str path);

enum avow_action {
    AVOW_ACTION_NONE, /* 405 */
    AVOW_ACTION_VERSION,
    AVOW_ACTION_HEALTH,
    AVOW_ACTION_READY,
    AVOW_ACTION_METRICS,
    AVOW_ACTION_V3_ROOT,
    AVOW_ACTION_LIST,
    AVOW_ACTION_STATUS,
    AVOW_ACTION_REGISTER, /* no id in the path: it is agent_id of the body */
    AVOW_ACTION_ACTIVATE,
    AVOW_ACTION_REMOVE,
    AVOW_ACTION_PAGE,
    AVOW_ACTION_SHOW,
    AVOW_ACTION_ALLOW,
    AVOW_ACTION_REPUBLISH,
    AVOW_ACTION_BACKUP,
    AVOW_ACTION_CHECK,
    AVOW_ACTION_COUNT
};
enum avow_action avow_route_action(const struct avow_route_match *m, struct avow_str method);
/* The methods of a route for the header Allow, NULL if there are none. Static. */
const char *avow_route_allows(const struct avow_route_match *m);
/* Needs TLS with a client certificate. */
bool avow_action_is_admin(enum avow_action action);
/* Costs next to nothing and waits for nothing: may be answered on the thread that reads sockets. */
bool avow_action_is_quick(enum avow_action action);
/* "register": one lower-case word for log and metrics. Static. */
const char *avow_action_name(enum avow_action action);

#endif
