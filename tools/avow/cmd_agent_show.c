/* `avow agent list|status`: what is known of agents. */
#include "commands.h"

#include "avow/base/clock.h"
#include "avow/model/model.h"
#include "agent_show.h"
#include "fleet.h"
#include "standing.h"
#include "table.h"

#include <inttypes.h>
#include <stdio.h>

#include "avow/base/banned.h"

static const struct avow_verdict *verdict_of(const struct avow_fleet_agent *a)
{
    return a->has_verdict ? &a->verdict : NULL;
}

static const char *standing_of(const struct avow_fleet_agent *a, uint64_t now)
{
    return avow_agent_standing(verdict_of(a), a->enrollment.generation, now);
}

static struct avow_str policy_of(const struct avow_fleet_agent *a)
{
    bool named = a->enrollment.has_runtime_policy && a->enrollment.runtime_policy.has_name;
    return named ? a->enrollment.runtime_policy.name : (struct avow_str){"", 0};
}

/* A verdict on an enrolment that the topic does not show (yet, or any more). */
static void warn_ahead(const struct avow_fleet_agent *a)
{
    if (a->has_verdict && a->verdict.enrollment_generation > a->enrollment.generation)
        avow_cli_note("warning: the verdict on %.*s is for enrolment generation %" PRIu64
                      ", but topic enrollments shows %" PRIu64 " (bus.rollback)",
                      (int)a->id.len, a->id.ptr, a->verdict.enrollment_generation,
                      a->enrollment.generation);
}

/* --- list --- */

static json_t *list_entry(const struct avow_fleet_agent *a, uint64_t now)
{
    struct avow_str policy = policy_of(a);
    const struct avow_verdict none = {.key = {"", 0}}, *v = a->has_verdict ? &a->verdict : &none;
    return json_pack("{s:o,s:s,s:o,s:o,s:o,s:o,s:o,s:o}", "agent", avow_json_str(a->id), "status",
                     standing_of(a, now), "generation", avow_json_u64(a->enrollment.generation),
                     "runtime_policy", policy.len ? avow_json_str(policy) : json_null(), "findings",
                     avow_json_u64(v->findings_total), "as_of_ms", avow_json_u64(v->as_of_ms),
                     "trusted_until_ms", avow_json_u64(v->trusted_until_ms), "seq",
                     avow_json_u64(v->seq));
}

static enum avow_rc list_json(const struct avow_fleet *f, uint64_t now, struct avow_err *err)
{
    json_t *all = json_array();
    for (size_t i = 0; i < f->count && all; i++) {
        if (avow_fleet_is_enrolled(&f->agents[i]) &&
            json_array_append_new(all, list_entry(&f->agents[i], now))) {
            json_decref(all);
            all = NULL;
        }
    }
    return avow_json_document(all, err);
}

static void list_row(struct avow_table *t, bool wide, const struct avow_fleet_agent *a,
                     uint64_t now)
{
    char age[24], until[32] = "-";
    struct avow_str policy = policy_of(a);
    const struct avow_verdict none = {.key = {"", 0}}, *v = a->has_verdict ? &a->verdict : &none;
    bool whole = wide || a->id.len <= 20; /* an id may be the 64 digits of a hash */
    avow_table_cell(t, whole ? "%.*s" : "%.*s…", whole ? (int)a->id.len : 16, a->id.ptr);
    avow_table_cell(t, "%s", standing_of(a, now));
    avow_table_cell(t, "%s", avow_since_text(v->as_of_ms, now, age));
    avow_table_cell(t, "%" PRIu64, a->enrollment.generation);
    avow_table_cell(t, "%.*s", policy.len ? (int)policy.len : 1, policy.len ? policy.ptr : "-");
    avow_table_cell(t, "%" PRIu32, v->findings_total);
    if (!wide)
        return;
    if (v->trusted_until_ms)
        avow_clock_format(until, v->trusted_until_ms);
    avow_table_cell(t, "%s", until);
    avow_table_cell(t, "%" PRIu64, v->seq);
    avow_table_cell(t, "%" PRIu64, v->boot.ima_entries);
    avow_table_cell(t, "%.*s", (int)a->enrollment.metadata.len, a->enrollment.metadata.ptr);
}

static enum avow_rc list_table(const struct avow_cli *cli, const struct avow_fleet *f, uint64_t now,
                               struct avow_err *err)
{
    static const char *const titles[] = {
        "AGENT",    "STATUS",        "PROVEN", "GENERATION",  "RUNTIME POLICY",
        "FINDINGS", "TRUSTED UNTIL", "SEQ",    "IMA ENTRIES", "METADATA"};
    bool wide = cli->format == AVOW_FORMAT_WIDE;
    size_t rows = 0;
    struct avow_table table;
    avow_table_init(&table, titles, wide ? AVOW_ARRAY_LEN(titles) : 6);
    for (size_t i = 0; i < f->count; i++) {
        if (!avow_fleet_is_enrolled(&f->agents[i]))
            continue;
        list_row(&table, wide, &f->agents[i], now);
        rows++;
    }
    enum avow_rc rc = rows ? avow_table_print(&table, cli->color, err) : AVOW_OK;
    avow_table_deinit(&table);
    if (!rows)
        avow_cli_note("no agent is enrolled: `avow agent add ID` enrols one");
    return rc;
}

enum avow_exit avow_cmd_agent_list(struct avow_cli *cli, int argc, char **argv)
{
    const struct avow_command command = {
        .name = "agent list",
        .words = "",
        .about = "Every enrolled agent with its status now. PROVEN is the age of the epoch up to "
                 "which its state\nis proven; trust that has run out is `expired`."};
    const char *pos[AVOW_COMMAND_WORDS_MAX] = {NULL};
    enum avow_exit code;
    if (!avow_command_begin(cli, &command, argc, argv, pos, &code))
        return code;
    struct avow_err err = {.rc = AVOW_OK};
    AVOW_CLEANUP_VAL(avow_fleet_deinit) struct avow_fleet fleet;
    enum avow_rc rc =
        avow_fleet_read(cli, AVOW_FLEET_ENROLLMENTS | AVOW_FLEET_VERDICTS, NULL, &fleet, &err);
    uint64_t now = avow_clock_unix_ms();
    if (!rc)
        rc = cli->format == AVOW_FORMAT_JSON ? list_json(&fleet, now, &err)
                                             : list_table(cli, &fleet, now, &err);
    if (rc)
        return avow_cli_fail(cli, rc, &err);
    avow_fleet_warn(&fleet);
    for (size_t i = 0; i < fleet.count; i++)
        if (avow_fleet_is_enrolled(&fleet.agents[i]))
            warn_ahead(&fleet.agents[i]);
    return AVOW_EXIT_OK;
}

/* --- status --- */

static void row(const char *name)
{
    printf("%-14s", name);
}

static void row_flags(const struct avow_verdict_flags *f)
{
    const struct {
        bool on;
        const char *text;
    } flags[] = {{f->stale, "stale"},
                 {f->carried, "carried"},
                 {f->binding_partial, "binding_partial"},
                 {f->pending_quote, "pending_quote"}};
    const char *between = "";
    row("flags");
    for (size_t i = 0; i < AVOW_ARRAY_LEN(flags); i++) {
        if (!flags[i].on)
            continue;
        printf("%s%s", between, flags[i].text);
        between = ", ";
    }
    printf("%s\n", *between ? "" : "none");
}

static void row_proven(const struct avow_verdict *v, uint64_t now)
{
    char age[24], at[32];
    row("proven");
    if (!v->as_of_ms) {
        printf("never\n");
        return;
    }
    avow_clock_format(at, v->as_of_ms);
    printf("as of epoch %" PRIu64 ", %s (%s ago)\n", v->as_of_epoch, at,
           avow_since_text(v->as_of_ms, now, age));
    if (v->status != AVOW_STATUS_TRUSTED)
        return;
    avow_clock_format(at, v->trusted_until_ms);
    row("trusted until");
    printf("%s\n", at);
}

static void status_verdict(const struct avow_verdict *v, uint64_t now)
{
    row_proven(v, now);
    row_flags(&v->flags);
    row("verdict");
    printf("seq %" PRIu64 ", %" PRIu64 " transitions, on enrolment generation %" PRIu64 "\n",
           v->seq, v->transitions, v->enrollment_generation);
    row("IMA entries");
    printf("%" PRIu64 " proven\n", v->boot.ima_entries);
    for (size_t i = 0; i < v->heads_count; i++) {
        row("judged by");
        avow_print_clean(v->heads[i].name);
        printf(" generation %" PRIu64 "\n", v->heads[i].generation);
    }
    for (size_t i = 0; i < v->dropped_count; i++) {
        row("dropped");
        printf("%" PRIu64 " as %s\n", v->dropped[i].count,
               avow_drop_reason_text(v->dropped[i].reason));
    }
    row("findings");
    printf("%" PRIu32 "\n", v->findings_total);
    avow_print_findings(v->findings, v->findings_count, v->findings_total);
}

static void status_text(const struct avow_cli *cli, const struct avow_fleet_agent *a,
                        const char *standing, uint64_t now)
{
    struct avow_str policy = policy_of(a);
    row("agent");
    avow_print_clean(a->id);
    printf("\n");
    row("status");
    printf("%s%s%s\n", avow_status_color(standing, cli->color), standing,
           avow_color_reset(cli->color));
    row("enrolment");
    printf("generation %" PRIu64, a->enrollment.generation);
    if (policy.len) {
        printf(", runtime policy ");
        avow_print_clean(policy);
    }
    printf("\n");
    if (a->has_verdict)
        status_verdict(&a->verdict, now);
    else
        printf("verdict       none yet\n");
}

static enum avow_rc not_enrolled(struct avow_cli *cli, const struct avow_fleet_agent *a,
                                 const char *id, struct avow_err *err)
{
    if (a && a->has_identity && a->identity.status == AVOW_IDENTITY_STATUS_ACTIVE)
        avow_cli_hint(cli, "it has registered: `avow agent add %.128s` enrols it", id);
    else
        avow_cli_hint(cli, "`avow agent list` shows who is");
    return avow_err_set(err, AVOW_NOTFOUND, 0, "%.150s is not enrolled", id);
}

static enum avow_rc status_print(const struct avow_cli *cli, const struct avow_fleet_agent *a,
                                 const char *standing, uint64_t now, struct avow_err *err)
{
    if (cli->format != AVOW_FORMAT_JSON) {
        status_text(cli, a, standing, now);
        return AVOW_OK;
    }
    json_t *out;
    struct avow_bytes record = a->has_verdict ? a->verdict_record : avow_bytes_make(NULL, 0);
    enum avow_rc rc = avow_agent_json(a->id, standing, a->enrollment.generation, record, &out, err);
    return rc ? rc : avow_json_document(out, err);
}

enum avow_exit avow_cmd_agent_status(struct avow_cli *cli, int argc, char **argv)
{
    const struct avow_command command = {
        .name = "agent status",
        .words = "ID",
        .about = "One agent: its status now, and the verdict behind it.\n\n"
                 "Exit 0 if it is trusted now. Exit 4 for everything else that is known of it: "
                 "untrusted, expired,\nsilent, pending. Exit 5 if it is not enrolled.\n"
                 "In --json output `status` is the status now; `verdict.status` is what the worker "
                 "signed then.",
        .min_words = 1,
        .max_words = 1};
    const char *pos[AVOW_COMMAND_WORDS_MAX] = {NULL};
    enum avow_exit code;
    if (!avow_command_begin(cli, &command, argc, argv, pos, &code))
        return code;
    struct avow_err err = {.rc = AVOW_OK};
    AVOW_CLEANUP_VAL(avow_fleet_deinit) struct avow_fleet fleet;
    enum avow_rc rc =
        avow_fleet_read(cli, AVOW_FLEET_IDENTITIES | AVOW_FLEET_ENROLLMENTS | AVOW_FLEET_VERDICTS,
                        pos[0], &fleet, &err);
    if (!rc)
        avow_fleet_warn(&fleet);
    const struct avow_fleet_agent *a = rc ? NULL : avow_fleet_find(&fleet, pos[0]);
    if (!rc && (!a || !avow_fleet_is_enrolled(a)))
        rc = not_enrolled(cli, a, pos[0], &err);
    if (rc)
        return avow_cli_fail(cli, rc, &err);
    warn_ahead(a);
    uint64_t now = avow_clock_unix_ms();
    const char *standing = standing_of(a, now);
    rc = status_print(cli, a, standing, now, &err);
    if (rc)
        return avow_cli_fail(cli, rc, &err);
    return avow_cstr_eq(standing, "trusted") ? AVOW_EXIT_OK : AVOW_EXIT_UNTRUSTED;
}
