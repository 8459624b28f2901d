#include "http_routes.h"

#include "avow/base/num.h"

#include <string.h>

#include "avow/base/banned.h"

#define SEGMENTS_MAX 5u
#define ID_SEGMENT "{id}"

/* What stands behind /v2.N, /v3.0 and /avow/v1, and the plain ones. */
struct pattern {
    const char *segments[3]; /* NULL: end */
    enum avow_route route;
};
static const struct pattern plain[] = {{{"version"}, AVOW_ROUTE_VERSION},
                                       {{"healthz"}, AVOW_ROUTE_HEALTH},
                                       {{"readyz"}, AVOW_ROUTE_READY},
                                       {{"metrics"}, AVOW_ROUTE_METRICS}};
static const struct pattern keylime[] = {{{"agents"}, AVOW_ROUTE_AGENTS},
                                         {{"agents", ID_SEGMENT}, AVOW_ROUTE_AGENT},
                                         {{"agents", ID_SEGMENT, "activate"}, AVOW_ROUTE_ACTIVATE}};
static const struct pattern ours[] = {{{"agents"}, AVOW_ROUTE_OUR_AGENTS},
                                      {{"agents", ID_SEGMENT}, AVOW_ROUTE_OUR_AGENT},
                                      {{"agents", ID_SEGMENT, "allow"}, AVOW_ROUTE_OUR_ALLOW},
                                      {{"republish"}, AVOW_ROUTE_OUR_REPUBLISH},
                                      {{"backup"}, AVOW_ROUTE_OUR_BACKUP},
                                      {{"store", "check"}, AVOW_ROUTE_OUR_CHECK}};

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

static bool pattern_fits(const struct pattern *p, const struct avow_str *seg, size_t n,
                         struct avow_str *id)
{
    size_t i = 0;
    for (; i < AVOW_ARRAY_LEN(p->segments) && p->segments[i]; i++) {
        bool is_id = avow_cstr_eq(p->segments[i], ID_SEGMENT);
        if (i >= n || (!is_id && !avow_str_is(seg[i], p->segments[i])))
            return false;
        if (is_id)
            *id = seg[i];
    }
    return i == n;
}

static void match(const struct pattern *table, size_t count, const struct avow_str *seg, size_t n,
                  struct avow_route_match *m)
{
    struct avow_str id = {0};
    for (size_t i = 0; i < count; i++)
        if (pattern_fits(&table[i], seg, n, &id)) {
            m->route = table[i].route;
            m->id = id;
            return;
        }
}

static bool version_parse(struct avow_str s, struct avow_route_match *m)
{
    uint64_t n = AVOW_API_MINOR_MAX;
    if (avow_str_is(s, "v3") || avow_str_is(s, "v3.0")) {
        m->major = 3;
        return true;
    }
    /* One digit: "v2.06" is no version. */
    if (!avow_str_is(s, "v2") &&
        (s.len != 4 || !avow_str_starts(s, "v2.") ||
         !avow_num_parse_u64((struct avow_str){s.ptr + 3, 1}, AVOW_API_MINOR_MAX, &n)))
        return false;
    m->major = 2;
    m->minor = (unsigned)n;
    return true;
}

struct avow_route_match avow_route_parse(struct avow_str path)
{
    struct avow_route_match m = {.route = AVOW_ROUTE_NONE};
    struct avow_str seg[SEGMENTS_MAX];
    size_t n = split(path, seg);
    if (n == 0 || n > SEGMENTS_MAX)
        return m;
    if (n >= 2 && avow_str_is(seg[0], "avow") && avow_str_is(seg[1], "v1")) {
        match(ours, AVOW_ARRAY_LEN(ours), seg + 2, n - 2, &m);
        return m;
    }
    if (!version_parse(seg[0], &m)) {
        match(plain, AVOW_ARRAY_LEN(plain), seg, n, &m);
        return m;
    }
    if (n == 1 && m.major == 3)
        m.route = AVOW_ROUTE_V3_ROOT;
    match(keylime, AVOW_ARRAY_LEN(keylime), seg + 1, n - 1, &m);
    return m;
}

#define V2 1u
#define V3 2u
#define ANY 4u
static const struct {
    enum avow_route route;
    unsigned where;
    const char *method;
    enum avow_action action;
} actions[] = {
    {AVOW_ROUTE_VERSION, ANY, "GET", AVOW_ACTION_VERSION},
    {AVOW_ROUTE_HEALTH, ANY, "GET", AVOW_ACTION_HEALTH},
    {AVOW_ROUTE_READY, ANY, "GET", AVOW_ACTION_READY},
    {AVOW_ROUTE_METRICS, ANY, "GET", AVOW_ACTION_METRICS},
    {AVOW_ROUTE_V3_ROOT, V3, "GET", AVOW_ACTION_V3_ROOT},
    {AVOW_ROUTE_AGENTS, V2 | V3, "GET", AVOW_ACTION_LIST},
    {AVOW_ROUTE_AGENTS, V2 | V3, "POST", AVOW_ACTION_REGISTER},
    {AVOW_ROUTE_AGENT, V2 | V3, "GET", AVOW_ACTION_STATUS},
    {AVOW_ROUTE_AGENT, V2 | V3, "DELETE", AVOW_ACTION_REMOVE},
    {AVOW_ROUTE_AGENT, V2, "POST", AVOW_ACTION_REGISTER},
    {AVOW_ROUTE_AGENT, V2, "PUT", AVOW_ACTION_ACTIVATE},
    {AVOW_ROUTE_ACTIVATE, V2, "PUT", AVOW_ACTION_ACTIVATE},
    {AVOW_ROUTE_ACTIVATE, V2 | V3, "POST", AVOW_ACTION_ACTIVATE},
    {AVOW_ROUTE_OUR_AGENTS, ANY, "GET", AVOW_ACTION_PAGE},
    {AVOW_ROUTE_OUR_AGENT, ANY, "GET", AVOW_ACTION_SHOW},
    {AVOW_ROUTE_OUR_AGENT, ANY, "DELETE", AVOW_ACTION_REMOVE},
    {AVOW_ROUTE_OUR_ALLOW, ANY, "POST", AVOW_ACTION_ALLOW},
    {AVOW_ROUTE_OUR_REPUBLISH, ANY, "POST", AVOW_ACTION_REPUBLISH},
    {AVOW_ROUTE_OUR_BACKUP, ANY, "POST", AVOW_ACTION_BACKUP},
    {AVOW_ROUTE_OUR_CHECK, ANY, "POST", AVOW_ACTION_CHECK},
};

static bool applies(size_t i, const struct avow_route_match *m)
{
    unsigned where = m->major == 2 ? V2 : m->major == 3 ? V3 : ANY;
    return actions[i].route == m->route && (actions[i].where & where);
}

enum avow_action avow_route_action(const struct avow_route_match *m, struct avow_str method)
{
    for (size_t i = 0; i < AVOW_ARRAY_LEN(actions); i++)
        if (applies(i, m) && avow_str_is(method, actions[i].method))
            return actions[i].action;
    return AVOW_ACTION_NONE;
}

const char *avow_route_allows(const struct avow_route_match *m)
{
    static const struct {
        unsigned set;
        const char *text;
    } texts[] = {{1, "GET"},       {2, "POST"},        {3, "GET, POST"},
                 {6, "POST, PUT"}, {9, "GET, DELETE"}, {15, "GET, POST, PUT, DELETE"}};
    static const char *const bits[] = {"GET", "POST", "PUT", "DELETE"};
    unsigned set = 0;
    for (size_t i = 0; i < AVOW_ARRAY_LEN(actions); i++)
        for (unsigned b = 0; applies(i, m) && b < AVOW_ARRAY_LEN(bits); b++)
            set |= avow_cstr_eq(actions[i].method, bits[b]) ? 1u << b : 0u;
    for (size_t i = 0; i < AVOW_ARRAY_LEN(texts); i++)
        if (texts[i].set == set)
            return texts[i].text;
    return NULL;
}

bool avow_action_is_admin(enum avow_action action)
{
    switch (action) {
    case AVOW_ACTION_LIST:
    case AVOW_ACTION_STATUS:
    case AVOW_ACTION_REMOVE:
    case AVOW_ACTION_PAGE:
    case AVOW_ACTION_SHOW:
    case AVOW_ACTION_ALLOW:
    case AVOW_ACTION_REPUBLISH:
    case AVOW_ACTION_BACKUP:
    case AVOW_ACTION_CHECK:
        return true;
    default:
        return false;
    }
}

bool avow_action_is_quick(enum avow_action action)
{
    return action == AVOW_ACTION_NONE || action == AVOW_ACTION_VERSION ||
           action == AVOW_ACTION_HEALTH || action == AVOW_ACTION_V3_ROOT;
}

const char *avow_action_name(enum avow_action action)
{
    static const char *const names[AVOW_ACTION_COUNT] = {
        [AVOW_ACTION_NONE] = "none",           [AVOW_ACTION_VERSION] = "version",
        [AVOW_ACTION_HEALTH] = "health",       [AVOW_ACTION_READY] = "ready",
        [AVOW_ACTION_METRICS] = "metrics",     [AVOW_ACTION_V3_ROOT] = "version",
        [AVOW_ACTION_LIST] = "list",           [AVOW_ACTION_STATUS] = "status",
        [AVOW_ACTION_REGISTER] = "register",   [AVOW_ACTION_ACTIVATE] = "activate",
        [AVOW_ACTION_REMOVE] = "remove",       [AVOW_ACTION_PAGE] = "page",
        [AVOW_ACTION_SHOW] = "show",           [AVOW_ACTION_ALLOW] = "allow",
        [AVOW_ACTION_REPUBLISH] = "republish", [AVOW_ACTION_BACKUP] = "backup",
        [AVOW_ACTION_CHECK] = "check"};
    return action < AVOW_ACTION_COUNT && names[action] ? names[action] : "none";
}
