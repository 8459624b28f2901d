#include "http_routes.h"

#include "avow/base/num.h"

#include <string.h>

#include "avow/base/banned.h"

#define SEGMENTS_MAX 4u

/* Number of segments, or SEGMENTS_MAX + 1 for what is no path of ours. */
static size_t split(struct avow_str path, struct avow_str out[SEGMENTS_MAX])
{
    size_t n = 0;
    if (!path.len || path.ptr[0] != '/')
        return SEGMENTS_MAX + 1;
    for (size_t i = 1; i < path.len;) {
        const char *slash = memchr(path.ptr + i, '/', path.len - i);
        size_t end = slash ? (size_t)(slash - path.ptr) : path.len;
        if (end == i || n == SEGMENTS_MAX)
            return SEGMENTS_MAX + 1;
        out[n++] = (struct avow_str){path.ptr + i, end - i};
        i = end + 1;
    }
    return n;
}

static bool version_parse(struct avow_str s, unsigned *minor)
{
    uint64_t n = AVOW_API_MINOR_MAX;
    if (avow_str_is(s, "v2")) {
        *minor = AVOW_API_MINOR_MAX;
        return true;
    }
    /* One digit: "v2.06" is no version. */
    if (s.len != 4 || !avow_str_starts(s, "v2.") ||
        !avow_num_parse_u64((struct avow_str){s.ptr + 3, 1}, AVOW_API_MINOR_MAX, &n))
        return false;
    *minor = (unsigned)n;
    return true;
}

struct avow_route_match avow_route_parse(struct avow_str path)
{
    static const struct {
        const char *name;
        enum avow_route route;
    } plain[] = {{"version", AVOW_ROUTE_VERSION},
                 {"healthz", AVOW_ROUTE_HEALTH},
                 {"readyz", AVOW_ROUTE_READY}};
    struct avow_route_match m = {.route = AVOW_ROUTE_NONE};
    struct avow_str seg[SEGMENTS_MAX];
    size_t n = split(path, seg);
    if (n == 1)
        for (size_t i = 0; i < AVOW_ARRAY_LEN(plain); i++)
            if (avow_str_is(seg[0], plain[i].name))
                m.route = plain[i].route;
    if (n < 2 || n > SEGMENTS_MAX || !version_parse(seg[0], &m.minor) ||
        !avow_str_is(seg[1], "agents"))
        return m;
    if (n == 2)
        m.route = AVOW_ROUTE_AGENTS;
    else if (n == 3)
        m.route = AVOW_ROUTE_AGENT;
    else if (avow_str_is(seg[3], "activate"))
        m.route = AVOW_ROUTE_ACTIVATE;
    if (n >= 3)
        m.id = seg[2];
    return m;
}

enum avow_action avow_route_action(enum avow_route route, struct avow_str method)
{
    static const struct {
        enum avow_route route;
        const char *method;
        enum avow_action action;
    } table[] = {
        {AVOW_ROUTE_VERSION, "GET", AVOW_ACTION_VERSION},
        {AVOW_ROUTE_HEALTH, "GET", AVOW_ACTION_HEALTH},
        {AVOW_ROUTE_READY, "GET", AVOW_ACTION_READY},
        {AVOW_ROUTE_AGENTS, "GET", AVOW_ACTION_LIST},
        {AVOW_ROUTE_AGENT, "GET", AVOW_ACTION_STATUS},
        {AVOW_ROUTE_AGENT, "POST", AVOW_ACTION_REGISTER},
        {AVOW_ROUTE_AGENT, "PUT", AVOW_ACTION_ACTIVATE},
        {AVOW_ROUTE_AGENT, "DELETE", AVOW_ACTION_REMOVE},
        {AVOW_ROUTE_ACTIVATE, "PUT", AVOW_ACTION_ACTIVATE},
    };
    for (size_t i = 0; i < AVOW_ARRAY_LEN(table); i++)
        if (table[i].route == route && avow_str_is(method, table[i].method))
            return table[i].action;
    return AVOW_ACTION_NONE;
}

bool avow_action_is_admin(enum avow_action action)
{
    return action == AVOW_ACTION_LIST || action == AVOW_ACTION_STATUS ||
           action == AVOW_ACTION_REMOVE;
}
