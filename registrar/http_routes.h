/* http_routes.h - paths to routes, as Keylime's registrar has them. Layer: registrar. Pure. Input:
 * attacker-controlled. */
#ifndef AVOW_REGISTRAR_HTTP_ROUTES_H
#define AVOW_REGISTRAR_HTTP_ROUTES_H

#include "avow/base/bytes.h"

#define AVOW_API_MINOR_MAX 6u /* v2.0 to v2.6; "v2" is the newest */

enum avow_route {
    AVOW_ROUTE_NONE, /* 404 */
    AVOW_ROUTE_VERSION,
    AVOW_ROUTE_HEALTH,
    AVOW_ROUTE_READY,
    AVOW_ROUTE_AGENTS,  /* /v2.N/agents */
    AVOW_ROUTE_AGENT,   /* /v2.N/agents/ID */
    AVOW_ROUTE_ACTIVATE /* /v2.N/agents/ID/activate */
};
struct avow_route_match {
    enum avow_route route;
    unsigned minor;     /* of API version 2 */
    struct avow_str id; /* AGENT, ACTIVATE: as in the path, any text without '/'; borrowed */
};
/* One trailing slash is optional everywhere; an empty segment within is no route. */
struct avow_route_match avow_route_parse(struct avow_str path);

enum avow_action {
    AVOW_ACTION_NONE, /* 405 */
    AVOW_ACTION_VERSION,
    AVOW_ACTION_HEALTH,
    AVOW_ACTION_READY,
    AVOW_ACTION_LIST,
    AVOW_ACTION_STATUS,
    AVOW_ACTION_REGISTER,
    AVOW_ACTION_ACTIVATE,
    AVOW_ACTION_REMOVE
};
enum avow_action avow_route_action(enum avow_route route, struct avow_str method);
/* Needs TLS with a client certificate. */
bool avow_action_is_admin(enum avow_action action);

#endif
