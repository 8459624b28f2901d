/* `avow agent list|status|watch`: what is known of agents. */
#include "commands.h"

#include "avow/base/clock.h"
#include "avow/base/hex.h"
#include "avow/model/model.h"
#include "avow/trust/records.h"
#include "avow/wire/json.h"
#include "fleet.h"
#include "reader.h"
#include "table.h"

#include <stdio.h>

#include "avow/base/banned.h"

static bool is_enrolled(const struct avow_fleet_agent *a)
{
    return a->has_enrollment && a->enrollment.status != AVOW_ENROLL_STATUS_REMOVED;
}

static const char *status_of(const struct avow_fleet_agent *a, uint64_t now)
{
    if (!a->has_verdict || a->verdict.enrollment_generation < a->enrollment.generation)
        return a->has_verdict && a->verdict.status != AVOW_STATUS_TRUSTED
                   ? avow_status_text(a->verdict.status)
                   : "pending";
    return avow_verdict_status_at(&a->verdict, now);
}

static void list_json(const struct avow_fleet_agent *a, uint64_t now, bool first)
{
    printf("%s{\"agent\":\"%.*s\",\"status\":\"%s\",\"generation\":%llu,\"findings\":%u,"
           "\"as_of_ms\":%llu,\"trusted_until_ms\":%llu}",
           first ? "" : ",\n", (int)a->id.len, a->id.ptr, status_of(a, now),
           (unsigned long long)a->enrollment.generation,
           a->has_verdict ? (unsigned)a->verdict.findings_total : 0u,
           a->has_verdict ? (unsigned long long)a->verdict.as_of_ms : 0ull,
           a->has_verdict ? (unsigned long long)a->verdict.trusted_until_ms : 0ull);
}

static void list_row(struct avow_table *t, const struct avow_cli *cli,
                     const struct avow_fleet_agent *a, uint64_t now)
{
    char age[24] = "never";
    if (a->has_verdict && a->verdict.as_of_ms)
        avow_age_text(now > a->verdict.as_of_ms ? now - a->verdict.as_of_ms : 0, age);
    bool full = cli->format == AVOW_FORMAT_WIDE || a->id.len <= 20;
    avow_table_cell(t, full ? "%.*s" : "%.*s…", full ? (int)a->id.len : 16, a->id.ptr);
    avow_table_cell(t, "%s", status_of(a, now));
    avow_table_cell(t, "%s", age);
    avow_table_cell(t, "%llu", (unsigned long long)a->enrollment.generation);
    avow_table_cell(t, "%.*s", (int)a->enrollment.runtime_policy.name.len,
                    a->enrollment.runtime_policy.name.len ? a->enrollment.runtime_policy.name.ptr
                                                          : "");
    avow_table_cell(t, "%u", a->has_verdict ? (unsigned)a->verdict.findings_total : 0u);
}

static void warn_refused(const struct avow_fleet *f)
{
    if (f->refused)
        fprintf(stderr, "avow: warning: %zu records were refused, the last because: %s\n",
                f->refused, f->last_refusal.msg);
}

enum avow_exit avow_cmd_agent_list(struct avow_cli *cli, int argc, char **argv)
{
    static const char *const titles[] = {"AGENT",      "STATUS",         "PROVEN",
                                         "GENERATION", "RUNTIME POLICY", "FINDINGS"};
    bool help = false;
    const struct avow_opt opts[] = {{"--help", AVOW_OPT_FLAG, &help, NULL, "this text"}};
    struct avow_err err = {.rc = AVOW_OK};
    size_t n = 0;
    enum avow_rc rc = avow_opts_parse(opts, 1, argc, argv, NULL, 0, &n, &err);
    if (rc)
        return avow_cli_usage("agent list", &err);
    if (help) {
        printf("usage: avow agent list [-o wide]\n\nEvery enrolled agent with its status now.\n");
        return AVOW_EXIT_OK;
    }
    AVOW_CLEANUP_VAL(avow_fleet_deinit) struct avow_fleet fleet;
    rc = avow_fleet_read(cli, AVOW_FLEET_ENROLLMENTS | AVOW_FLEET_VERDICTS, NULL, &fleet, &err);
    if (rc)
        return avow_cli_fail(rc, &err);
    struct avow_table table;
    bool json = cli->format == AVOW_FORMAT_JSON, first = true;
    uint64_t now = avow_clock_unix_ms();
    avow_table_init(&table, titles, AVOW_ARRAY_LEN(titles));
    if (json)
        printf("[");
    for (size_t i = 0; i < fleet.count; i++) {
        if (!is_enrolled(&fleet.items[i]))
            continue;
        if (json)
            list_json(&fleet.items[i], now, first);
        else
            list_row(&table, cli, &fleet.items[i], now);
        first = false;
    }
    if (json)
        printf("]\n");
    else
        rc = avow_table_print(&table, cli->color, &err);
    avow_table_deinit(&table);
    warn_refused(&fleet);
    return rc ? avow_cli_fail(rc, &err) : AVOW_EXIT_OK;
}

static void status_verdict(const struct avow_verdict *v, uint64_t now)
{
    char age[24], at[32];
    if (v->as_of_ms) {
        avow_clock_format(at, v->as_of_ms);
        printf("proven as of  epoch %llu, %s (%s ago)\n", (unsigned long long)v->as_of_epoch, at,
               avow_age_text(now > v->as_of_ms ? now - v->as_of_ms : 0, age));
        avow_clock_format(at, v->trusted_until_ms);
        printf("trusted until %s\n", v->status == AVOW_STATUS_TRUSTED ? at : "-");
    } else {
        printf("proven as of  never\n");
    }
    printf("flags        %s%s%s%s\n", v->flags.stale ? " stale" : "",
           v->flags.carried ? " carried" : "", v->flags.binding_partial ? " binding_partial" : "",
           v->flags.pending_quote ? " pending_quote" : "");
    printf("sequence      %llu, %llu transitions\n", (unsigned long long)v->seq,
           (unsigned long long)v->transitions);
    printf("IMA entries   %llu proven\n", (unsigned long long)v->boot.ima_entries);
    for (size_t i = 0; i < v->heads_count; i++)
        printf("policy        %.*s generation %llu\n", (int)v->heads[i].name.len,
               v->heads[i].name.ptr, (unsigned long long)v->heads[i].generation);
    for (size_t i = 0; i < v->findings_count; i++) {
        char where[256], detail[512];
        avow_printable(where, sizeof where, v->findings[i].where);
        avow_printable(detail, sizeof detail, v->findings[i].detail);
        printf("finding       %.*s [%.*s] %s %s\n", (int)v->findings[i].id.len,
               v->findings[i].id.ptr, (int)v->findings[i].severity.len, v->findings[i].severity.ptr,
               where, detail);
    }
    for (size_t i = 0; i < v->dropped_count; i++)
        printf("dropped       %s %llu\n", avow_drop_reason_text(v->dropped[i].reason),
               (unsigned long long)v->dropped[i].count);
}

static enum avow_exit status_print(const struct avow_cli *cli, const struct avow_fleet_agent *a)
{
    uint64_t now = avow_clock_unix_ms();
    const char *status = status_of(a, now);
    if (cli->format == AVOW_FORMAT_JSON) {
        AVOW_CLEANUP_VAL(avow_buf_deinit) struct avow_buf json;
        avow_buf_init(&json, 1024 * 1024);
        struct avow_err err = {.rc = AVOW_OK};
        enum avow_rc rc = a->has_verdict
                              ? avow_wire_to_json(a->verdict_record, AVOW_JSON_PLAIN, &json, &err)
                              : AVOW_OK;
        if (rc)
            return avow_cli_fail(rc, &err);
        printf("{\"agent\":\"%.*s\",\"status\":\"%s\",\"generation\":%llu,\"verdict\":%s}\n",
               (int)a->id.len, a->id.ptr, status, (unsigned long long)a->enrollment.generation,
               a->has_verdict ? avow_buf_cstr(&json) : "null");
    } else {
        printf("agent         %.*s\nstatus        %s%s%s\nenrolment     generation %llu%s%.*s\n",
               (int)a->id.len, a->id.ptr, avow_status_color(status, cli->color), status,
               avow_color_reset(cli->color), (unsigned long long)a->enrollment.generation,
               a->enrollment.has_runtime_policy ? ", runtime policy " : "",
               (int)a->enrollment.runtime_policy.name.len,
               a->enrollment.runtime_policy.name.len ? a->enrollment.runtime_policy.name.ptr : "");
        if (a->has_verdict)
            status_verdict(&a->verdict, now);
    }
    return avow_cstr_eq(status, "trusted") ? AVOW_EXIT_OK : AVOW_EXIT_UNTRUSTED;
}

enum avow_exit avow_cmd_agent_status(struct avow_cli *cli, int argc, char **argv)
{
    const char *id = NULL;
    bool help = false;
    const struct avow_opt opts[] = {{"--help", AVOW_OPT_FLAG, &help, NULL, "this text"}};
    struct avow_err err = {.rc = AVOW_OK};
    size_t n = 0;
    enum avow_rc rc = avow_opts_parse(opts, 1, argc, argv, &id, 1, &n, &err);
    if (!rc && help) {
        printf("usage: avow agent status ID\n\nExit 0 if trusted now, 4 if not, 5 if not "
               "enrolled.\n");
        return AVOW_EXIT_OK;
    }
    if (!rc && n != 1)
        rc = avow_err_set(&err, AVOW_USAGE, 0, "needs the agent's id");
    if (rc)
        return avow_cli_usage("agent status", &err);
    AVOW_CLEANUP_VAL(avow_fleet_deinit) struct avow_fleet fleet;
    rc = avow_fleet_read(cli, AVOW_FLEET_ENROLLMENTS | AVOW_FLEET_VERDICTS, id, &fleet, &err);
    const struct avow_fleet_agent *a = rc ? NULL : avow_fleet_find(&fleet, avow_str_from(id));
    if (!rc && (!a || !is_enrolled(a)))
        rc = avow_err_set(&err, AVOW_NOTFOUND, 0, "%s is not enrolled", id);
    if (rc)
        return avow_cli_fail(rc, &err);
    warn_refused(&fleet);
    return status_print(cli, a);
}

struct watch {
    struct avow_cli *cli;
    struct avow_arena arena;
    const char *id;
};

static enum avow_rc watch_record(void *arg, const struct avow_bus_msg *msg, struct avow_err *err)
{
    struct watch *w = arg;
    struct avow_verdict v;
    struct avow_err why;
    char at[32], id[129];
    struct avow_str key = {(const char *)msg->key.ptr, msg->key.len};
    if (msg->value_null || (w->id && !avow_str_is(key, w->id)))
        return AVOW_OK;
    avow_arena_reset(&w->arena);
    struct avow_record_in in = {
        .kafka_key = msg->key, .value = msg->value, .partition = msg->partition};
    if (avow_open_verdict(w->cli->trust, &in, &w->arena, &v, &why)) {
        fprintf(stderr, "avow: a verdict was refused: %s\n", why.msg);
        return AVOW_OK;
    }
    if (w->cli->format == AVOW_FORMAT_JSON) {
        AVOW_CLEANUP_VAL(avow_buf_deinit) struct avow_buf json;
        avow_buf_init(&json, 1024 * 1024);
        enum avow_rc rc = avow_wire_to_json(msg->value, AVOW_JSON_PLAIN, &json, err);
        if (!rc)
            printf("%s\n", avow_buf_cstr(&json));
        fflush(stdout);
        return rc;
    }
    const char *status = avow_verdict_status_at(&v, avow_clock_unix_ms());
    avow_clock_format(at, avow_clock_unix_ms());
    avow_printable(id, sizeof id, v.key);
    printf("%s  %-20.20s %s%s%s  epoch %llu  seq %llu", at + 11, id,
           avow_status_color(status, w->cli->color), status, avow_color_reset(w->cli->color),
           (unsigned long long)v.as_of_epoch, (unsigned long long)v.seq);
    if (v.findings_count) {
        char detail[256];
        avow_printable(detail, sizeof detail, v.findings[0].detail);
        printf("  %.*s %s", (int)v.findings[0].id.len, v.findings[0].id.ptr, detail);
    }
    printf("\n");
    fflush(stdout);
    return AVOW_OK;
}

enum avow_exit avow_cmd_agent_watch(struct avow_cli *cli, int argc, char **argv)
{
    struct watch w = {.cli = cli};
    bool help = false;
    const struct avow_opt opts[] = {{"--help", AVOW_OPT_FLAG, &help, NULL, "this text"}};
    struct avow_err err = {.rc = AVOW_OK};
    size_t n = 0;
    enum avow_rc rc = avow_opts_parse(opts, 1, argc, argv, &w.id, 1, &n, &err);
    if (rc)
        return avow_cli_usage("agent watch", &err);
    if (help) {
        printf("usage: avow agent watch [ID]\n\nPrints verdicts as they come, until "
               "interrupted.\n");
        return AVOW_EXIT_OK;
    }
    avow_arena_init(&w.arena, 4 * 1024 * 1024);
    rc = avow_cli_trust(cli, &err);
    struct avow_follow follow = {
        .base = "verdicts", .key = w.id, .from_start = true, .fn = watch_record, .arg = &w};
    if (!rc)
        rc = avow_follow_topic(cli, &follow, &err);
    avow_arena_deinit(&w.arena);
    return rc ? avow_cli_fail(rc, &err) : AVOW_EXIT_OK;
}
