/* Paths and methods of the registrar's API. */
#include "http_routes.h"

#include "avow/base/attrs.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "avow/base/banned.h"

static void test_route_parse__table(void **state)
{
    (void)state;
    static const struct {
        const char *path;
        enum avow_route route;
        unsigned minor;
        const char *id; /* NULL: none */
    } cases[] = {
        {"/version", AVOW_ROUTE_VERSION, 0, NULL},
        {"/version/", AVOW_ROUTE_VERSION, 0, NULL},
        {"/healthz", AVOW_ROUTE_HEALTH, 0, NULL},
        {"/readyz", AVOW_ROUTE_READY, 0, NULL},
        {"/v2/agents", AVOW_ROUTE_AGENTS, 6, NULL},
        {"/v2.0/agents/", AVOW_ROUTE_AGENTS, 0, NULL},
        {"/v2.6/agents/a", AVOW_ROUTE_AGENT, 6, "a"},
        {"/v2.3/agents/a/", AVOW_ROUTE_AGENT, 3, "a"},
        {"/v2.6/agents/a%2Fb", AVOW_ROUTE_AGENT, 6, "a%2Fb"},
        {"/v2.6/agents/..", AVOW_ROUTE_AGENT, 6, ".."},
        {"/v2.6/agents/a/activate", AVOW_ROUTE_ACTIVATE, 6, "a"},
        {"/v2.6/agents/a/activate/", AVOW_ROUTE_ACTIVATE, 6, "a"},
        {"", AVOW_ROUTE_NONE, 0, NULL},
        {"/", AVOW_ROUTE_NONE, 0, NULL},
        {"*", AVOW_ROUTE_NONE, 0, NULL},
        {"version", AVOW_ROUTE_NONE, 0, NULL},
        {"//version", AVOW_ROUTE_NONE, 0, NULL},
        {"/version//", AVOW_ROUTE_NONE, 0, NULL},
        {"/versions", AVOW_ROUTE_NONE, 0, NULL},
        {"/agents/a", AVOW_ROUTE_NONE, 0, NULL},
        {"/v1.0/agents/a", AVOW_ROUTE_NONE, 0, NULL},
        {"/v2.7/agents/a", AVOW_ROUTE_NONE, 0, NULL},
        {"/v2.06/agents/a", AVOW_ROUTE_NONE, 0, NULL},
        {"/v2./agents/a", AVOW_ROUTE_NONE, 0, NULL},
        {"/v2.-/agents/a", AVOW_ROUTE_NONE, 0, NULL},
        {"/v2x6/agents/a", AVOW_ROUTE_NONE, 0, NULL},
        {"/v3.0", AVOW_ROUTE_V3_ROOT, 0, NULL},
        {"/v3/", AVOW_ROUTE_V3_ROOT, 0, NULL},
        {"/v3.0/agents", AVOW_ROUTE_AGENTS, 0, NULL},
        {"/v3.0/agents/a", AVOW_ROUTE_AGENT, 0, "a"},
        {"/v3/agents/a/activate", AVOW_ROUTE_ACTIVATE, 0, "a"},
        {"/metrics", AVOW_ROUTE_METRICS, 0, NULL},
        {"/avow/v1/agents", AVOW_ROUTE_OUR_AGENTS, 0, NULL},
        {"/avow/v1/agents/", AVOW_ROUTE_OUR_AGENTS, 0, NULL},
        {"/avow/v1/agents/a", AVOW_ROUTE_OUR_AGENT, 0, "a"},
        {"/avow/v1/agents/a/allow", AVOW_ROUTE_OUR_ALLOW, 0, "a"},
        {"/avow/v1/agents/allow", AVOW_ROUTE_OUR_AGENT, 0, "allow"},
        {"/avow/v1/republish", AVOW_ROUTE_OUR_REPUBLISH, 0, NULL},
        {"/avow/v1/backup/", AVOW_ROUTE_OUR_BACKUP, 0, NULL},
        {"/avow/v1/store/check", AVOW_ROUTE_OUR_CHECK, 0, NULL},
        {"/avow/v1", AVOW_ROUTE_NONE, 0, NULL},
        {"/avow/v1/", AVOW_ROUTE_NONE, 0, NULL},
        {"/avow/v1/store", AVOW_ROUTE_NONE, 0, NULL},
        {"/avow/v1/agents/a/activate", AVOW_ROUTE_NONE, 0, NULL},
        {"/avow/v1/agents/a/allow/b", AVOW_ROUTE_NONE, 0, NULL},
        {"/avow/v2/agents", AVOW_ROUTE_NONE, 0, NULL},
        {"/avow/agents", AVOW_ROUTE_NONE, 0, NULL},
        {"/v2", AVOW_ROUTE_NONE, 0, NULL},
        {"/v2.6/", AVOW_ROUTE_NONE, 0, NULL},
        {"/v3.1/agents/a", AVOW_ROUTE_NONE, 0, NULL},
        {"/v3.00/agents/a", AVOW_ROUTE_NONE, 0, NULL},
        {"/v2.6/agents/a/allow", AVOW_ROUTE_NONE, 0, NULL},
        {"/v2.6/version", AVOW_ROUTE_NONE, 0, NULL},
        {"/v2.6/agent/a", AVOW_ROUTE_NONE, 0, NULL},
        {"/v2.6/agents//a", AVOW_ROUTE_NONE, 0, NULL},
        {"/v2.6/agents/../a", AVOW_ROUTE_NONE, 0, NULL},
        {"/v2.6/agents/a/b", AVOW_ROUTE_NONE, 0, NULL},
        {"/v2.6/agents/a/activate/b", AVOW_ROUTE_NONE, 0, NULL},
    };
    for (size_t i = 0; i < AVOW_ARRAY_LEN(cases); i++) {
        struct avow_route_match m = avow_route_parse(avow_str_from(cases[i].path));
        if (m.route != cases[i].route)
            fail_msg("%s: route %d, want %d", cases[i].path, (int)m.route, (int)cases[i].route);
        if (cases[i].id && (!avow_str_is(m.id, cases[i].id) || m.minor != cases[i].minor))
            fail_msg("%s: id %.*s, version 2.%u", cases[i].path, (int)m.id.len, m.id.ptr, m.minor);
    }
}

static void test_route_action__table(void **state)
{
    (void)state;
    static const struct {
        const char *path;
        const char *method;
        enum avow_action want;
        bool admin;
    } cases[] = {
        {"/version", "GET", AVOW_ACTION_VERSION, false},
        {"/version", "POST", AVOW_ACTION_NONE, false},
        {"/healthz", "GET", AVOW_ACTION_HEALTH, false},
        {"/readyz", "GET", AVOW_ACTION_READY, false},
        {"/v2/agents", "GET", AVOW_ACTION_LIST, true},
        {"/v2/agents", "POST", AVOW_ACTION_REGISTER, false},
        {"/v2/agents", "DELETE", AVOW_ACTION_NONE, false},
        {"/v2/agents/a", "GET", AVOW_ACTION_STATUS, true},
        {"/v2/agents/a", "DELETE", AVOW_ACTION_REMOVE, true},
        {"/v2/agents/a", "POST", AVOW_ACTION_REGISTER, false},
        {"/v2/agents/a", "PUT", AVOW_ACTION_ACTIVATE, false},
        {"/v2/agents/a", "delete", AVOW_ACTION_NONE, false},
        {"/v2/agents/a", "GETX", AVOW_ACTION_NONE, false},
        {"/v2/agents/a/activate", "PUT", AVOW_ACTION_ACTIVATE, false},
        {"/v2/agents/a/activate", "POST", AVOW_ACTION_ACTIVATE, false},
        {"/v3.0/", "GET", AVOW_ACTION_V3_ROOT, false},
        {"/v3.0/agents", "GET", AVOW_ACTION_LIST, true},
        {"/v3.0/agents", "POST", AVOW_ACTION_REGISTER, false},
        {"/v3.0/agents/a", "GET", AVOW_ACTION_STATUS, true},
        {"/v3.0/agents/a", "DELETE", AVOW_ACTION_REMOVE, true},
        {"/v3.0/agents/a", "POST", AVOW_ACTION_NONE, false},
        {"/v3.0/agents/a", "PUT", AVOW_ACTION_NONE, false},
        {"/v3.0/agents/a/activate", "POST", AVOW_ACTION_ACTIVATE, false},
        {"/v3.0/agents/a/activate", "PUT", AVOW_ACTION_NONE, false},
        {"/avow/v1/agents", "GET", AVOW_ACTION_PAGE, true},
        {"/avow/v1/agents", "POST", AVOW_ACTION_NONE, false},
        {"/avow/v1/agents/a", "GET", AVOW_ACTION_SHOW, true},
        {"/avow/v1/agents/a", "DELETE", AVOW_ACTION_REMOVE, true},
        {"/avow/v1/agents/a", "PUT", AVOW_ACTION_NONE, false},
        {"/avow/v1/agents/a/allow", "POST", AVOW_ACTION_ALLOW, true},
        {"/avow/v1/agents/a/allow", "GET", AVOW_ACTION_NONE, false},
        {"/avow/v1/republish", "POST", AVOW_ACTION_REPUBLISH, true},
        {"/avow/v1/backup", "POST", AVOW_ACTION_BACKUP, true},
        {"/avow/v1/store/check", "POST", AVOW_ACTION_CHECK, true},
        {"/nothing", "GET", AVOW_ACTION_NONE, false},
    };
    for (size_t i = 0; i < AVOW_ARRAY_LEN(cases); i++) {
        struct avow_route_match m = avow_route_parse(avow_str_from(cases[i].path));
        enum avow_action got = avow_route_action(&m, avow_str_from(cases[i].method));
        if (got != cases[i].want || avow_action_is_admin(got) != cases[i].admin)
            fail_msg("%s %s: action %d", cases[i].method, cases[i].path, (int)got);
        if (m.route != AVOW_ROUTE_NONE && !avow_route_allows(&m))
            fail_msg("%s: no methods for the header Allow", cases[i].path);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_route_parse__table),
        cmocka_unit_test(test_route_action__table),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
