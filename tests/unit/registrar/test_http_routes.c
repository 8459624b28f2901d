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
        {"/v3.0/agents/a", AVOW_ROUTE_NONE, 0, NULL},
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
        enum avow_route route;
        const char *method;
        enum avow_action want;
        bool admin;
    } cases[] = {
        {AVOW_ROUTE_VERSION, "GET", AVOW_ACTION_VERSION, false},
        {AVOW_ROUTE_HEALTH, "GET", AVOW_ACTION_HEALTH, false},
        {AVOW_ROUTE_READY, "GET", AVOW_ACTION_READY, false},
        {AVOW_ROUTE_AGENTS, "GET", AVOW_ACTION_LIST, true},
        {AVOW_ROUTE_AGENT, "GET", AVOW_ACTION_STATUS, true},
        {AVOW_ROUTE_AGENT, "DELETE", AVOW_ACTION_REMOVE, true},
        {AVOW_ROUTE_AGENT, "POST", AVOW_ACTION_REGISTER, false},
        {AVOW_ROUTE_AGENT, "PUT", AVOW_ACTION_ACTIVATE, false},
        {AVOW_ROUTE_ACTIVATE, "PUT", AVOW_ACTION_ACTIVATE, false},
        {AVOW_ROUTE_ACTIVATE, "POST", AVOW_ACTION_NONE, false},
        {AVOW_ROUTE_AGENTS, "DELETE", AVOW_ACTION_NONE, false},
        {AVOW_ROUTE_AGENT, "delete", AVOW_ACTION_NONE, false},
        {AVOW_ROUTE_AGENT, "GETX", AVOW_ACTION_NONE, false},
        {AVOW_ROUTE_NONE, "GET", AVOW_ACTION_NONE, false},
    };
    for (size_t i = 0; i < AVOW_ARRAY_LEN(cases); i++) {
        enum avow_action got = avow_route_action(cases[i].route, avow_str_from(cases[i].method));
        if (got != cases[i].want || avow_action_is_admin(got) != cases[i].admin)
            fail_msg("case %zu (%s): action %d", i, cases[i].method, (int)got);
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
