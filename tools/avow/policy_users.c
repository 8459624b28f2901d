/* policy_users.c - see policy_users.h. */
#include "policy_users.h"

#include "avow/base/clock.h"
#include "fleet.h"

#include "avow/base/banned.h"

#define PAUSE_MS 1000u

static bool names(bool has, const struct avow_policy_ref *ref, const char *name)
{
    return has && !ref->has_sha256 && ref->has_name && avow_str_is(ref->name, name);
}

static bool uses(const struct avow_enrollment *e, const char *name)
{
    return names(e->has_runtime_policy, &e->runtime_policy, name) ||
           names(e->has_boot_policy, &e->boot_policy, name) ||
           names(e->has_verify_keys, &e->verify_keys, name) ||
           names(e->has_severity, &e->severity, name);
}

static bool is_taken(const struct avow_fleet_agent *a, const char *name, uint64_t generation)
{
    for (size_t i = 0; a->has_verdict && i < a->verdict.heads_count; i++) {
        if (avow_str_is(a->verdict.heads[i].name, name))
            return a->verdict.heads[i].generation >= generation;
    }
    return false;
}

enum avow_rc avow_policy_users_read(struct avow_cli *cli, const char *name, uint64_t generation,
                                    struct avow_policy_users *out, struct avow_err *err)
{
    AVOW_CLEANUP_VAL(avow_fleet_deinit) struct avow_fleet fleet;
    unsigned what = AVOW_FLEET_ENROLLMENTS | (generation ? AVOW_FLEET_VERDICTS : 0u);
    enum avow_rc rc = avow_fleet_read(cli, what, NULL, &fleet, err);
    if (rc)
        return rc;
    *out = (struct avow_policy_users){.count = 0};
    for (size_t i = 0; i < fleet.count; i++) {
        const struct avow_fleet_agent *a = &fleet.agents[i];
        if (!avow_fleet_is_enrolled(a) || !uses(&a->enrollment, name))
            continue;
        bool behind = generation && !is_taken(a, name, generation);
        if (!out->count || (behind && !out->behind))
            (void)avow_str_copy(out->one, sizeof out->one, a->id);
        out->count++;
        out->behind += behind;
    }
    return AVOW_OK;
}

enum avow_rc avow_policy_users_await(struct avow_cli *cli, const char *name, uint64_t generation,
                                     uint64_t timeout_s, struct avow_err *err)
{
    uint64_t end = avow_clock_mono_ms() + timeout_s * 1000;
    size_t said = SIZE_MAX;
    for (;;) {
        struct avow_policy_users users;
        enum avow_rc rc = avow_policy_users_read(cli, name, generation, &users, err);
        if (rc || !users.behind)
            return rc;
        if (users.behind != said)
            avow_cli_note("%zu of %zu agents are judged by generation %llu",
                          users.count - users.behind, users.count, (unsigned long long)generation);
        said = users.behind;
        if (avow_clock_mono_ms() >= end)
            return avow_err_set(err, AVOW_TIMEOUT, 0,
                                "%zu of %zu agents have no verdict by it yet, %s among them",
                                users.behind, users.count, users.one);
        avow_clock_sleep_ms(PAUSE_MS);
    }
}
