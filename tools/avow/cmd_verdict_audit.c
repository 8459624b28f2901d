/* `avow verdict audit`: recorded evidence, appraised again, against the verdicts that workers made
 * of it (PROTOCOL R17). Keys of workers are not needed: what they signed is compared, not believed.
 */
#include "commands.h"

#include "avow/base/clock.h"
#include "avow/base/num.h"
#include "avow/core/findings.h"
#include "avow/trust/proof.h"
#include "avow/trust/records.h"
#include "agent_show.h"
#include "fleet.h"
#include "json_out.h"
#include "policy_shelf.h"
#include "reader.h"
#include "replay.h"
#include "table.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "avow/base/banned.h"

#define CLAIMS_MAX 10000u
#define TEXT_MAX 4096u

/* What a worker once said about the agent, and what is said now of the same evidence. */
struct claim {
    const char *kind;             /* "verdict", "revocation", "recovery" */
    int64_t offset;               /* of the evidence */
    const char *recorded, *again; /* "trusted as of epoch 7; ..."; NULL: not reached */
};
struct audit {
    struct avow_cli *cli;
    const char *id;
    uint64_t since_ms; /* of how long ago; 0: all */
    struct avow_arena arena;
    struct avow_fleet fleet;
    const struct avow_enrollment *enrollment; /* of fleet */
    uint8_t enrollment_sha256[32];
    uint64_t comparable_ms; /* claims from before belong to another enrolment or policy */
    struct avow_policy_shelf shelf;
    struct avow_shelf_policy policies;
    struct claim *claims;
    size_t claims_count;
    uint64_t not_comparable, timers; /* claims that are left out */
    struct avow_replay_subject replay;
};

/* --- The enrolment --- */

static enum avow_rc find_enrollment(struct audit *a, struct avow_err *err)
{
    enum avow_rc rc = avow_fleet_read(a->cli, AVOW_FLEET_ENROLLMENTS, a->id, &a->fleet, err);
    if (rc)
        return rc;
    avow_fleet_warn(&a->fleet);
    const struct avow_fleet_agent *agent = avow_fleet_find(&a->fleet, a->id);
    if (!agent || !avow_fleet_is_enrolled(agent) || !agent->enrollment.has_ak_public)
        return avow_err_set(err, AVOW_NOTFOUND, 0, "%.128s is not enrolled", a->id);
    a->enrollment = &agent->enrollment;
    avow_proof_content_sha256(agent->enrollment_record, a->enrollment_sha256);
    a->comparable_ms = agent->enrollment.issued_ms;
    return AVOW_OK;
}

/* --- What was said --- */

/* Of runs of the kernel and of workers before the beginning, which a replay cannot know. */
static bool needs_history(struct avow_str id)
{
    static const enum avow_finding_id ids[] = {
        AVOW_FINDING_TPM_COUNTERS_REGRESSED, AVOW_FINDING_BOOT_KEXEC, AVOW_FINDING_BOOT_HIBERNATED,
        AVOW_FINDING_EVIDENCE_UNPROVEN,      AVOW_FINDING_STATE_LOST, AVOW_FINDING_ENROLLMENT_LOST};
    for (size_t i = 0; i < AVOW_ARRAY_LEN(ids); i++) {
        if (avow_str_is(id, avow_finding_def_of(ids[i])->id))
            return true;
    }
    return false;
}

struct said {
    enum avow_status status;
    uint64_t epoch;
    const struct avow_finding *findings;
    size_t count;
};

/* One text for both sides, so that nothing that is compared is not shown. */
static const char *text_of(struct audit *a, const struct said *s)
{
    const char *text = avow_arena_printf(&a->arena, "%s as of epoch %" PRIu64,
                                         avow_status_text(s->status), s->epoch);
    for (size_t i = 0; i < s->count && text && strlen(text) < TEXT_MAX; i++) {
        const struct avow_finding *f = &s->findings[i];
        if (!needs_history(f->id))
            text = avow_arena_printf(&a->arena, "%s; %.*s %.*s %.*s", text, (int)f->id.len,
                                     f->id.ptr, (int)f->where.len, f->where.ptr, (int)f->detail.len,
                                     f->detail.ptr);
    }
    return text;
}

static enum avow_rc add_claim(struct audit *a, const char *kind, int64_t offset,
                              const struct said *said, struct avow_err *err)
{
    if (a->claims_count == CLAIMS_MAX)
        return avow_err_set(err, AVOW_LIMIT, 0, "more than %u results: use --since", CLAIMS_MAX);
    struct claim *c = &a->claims[a->claims_count++];
    *c = (struct claim){.kind = kind, .offset = offset, .recorded = text_of(a, said)};
    return c->recorded ? AVOW_OK : avow_err_set(err, AVOW_NOMEM, 0, "results");
}

static bool is_of_these_policies(const struct audit *a, const struct avow_verdict *v)
{
    const struct avow_eval_policy *now = &a->policies.policy;
    if (!avow_ct_eq(v->enrollment_sha256, a->enrollment_sha256, sizeof v->enrollment_sha256) ||
        v->heads_count != now->heads_count)
        return false;
    for (size_t i = 0; i < v->heads_count; i++) {
        if (!avow_ct_eq(v->heads[i].sha256, now->heads[i].sha256, sizeof v->heads[i].sha256))
            return false;
    }
    return !v->flags.stale && !v->flags.carried;
}

/* AVOW_OK: ours, and *in is what it opens from. */
static bool is_ours(const struct audit *a, const struct avow_bus_msg *msg)
{
    struct avow_str key = {(const char *)msg->key.ptr, msg->key.len};
    uint64_t at = msg->timestamp_ms > 0 ? (uint64_t)msg->timestamp_ms : 0;
    return !msg->value_null && avow_str_is(key, a->id) && at >= a->since_ms &&
           !avow_reader_at_home(a->cli, msg, NULL);
}

static enum avow_rc on_verdict(void *arg, const struct avow_bus_msg *msg, struct avow_err *err)
{
    struct audit *a = arg;
    struct avow_verdict v;
    struct avow_record_in in = {
        .kafka_key = msg->key, .value = msg->value, .partition = msg->partition};
    if (!is_ours(a, msg) || avow_open_verdict(a->cli->trust, &in, &a->arena, &v, NULL) ||
        !v.has_evidence)
        return AVOW_OK;
    if (v.status == AVOW_STATUS_SILENT || v.status == AVOW_STATUS_PENDING) {
        a->timers++;
        return AVOW_OK;
    }
    if (!is_of_these_policies(a, &v)) {
        a->not_comparable++;
        return AVOW_OK;
    }
    struct said said = {v.status, v.as_of_epoch, v.findings, v.findings_count};
    return add_claim(a, "verdict", (int64_t)v.evidence.offset, &said, err);
}

static enum avow_rc on_revocation(void *arg, const struct avow_bus_msg *msg, struct avow_err *err)
{
    struct audit *a = arg;
    struct avow_revocation r;
    struct avow_record_in in = {
        .kafka_key = msg->key, .value = msg->value, .partition = msg->partition};
    if (!is_ours(a, msg) || avow_open_revocation(a->cli->trust, &in, &a->arena, &r, NULL))
        return AVOW_OK;
    if (r.class == AVOW_REVOCATION_CLASS_SILENT || r.class == AVOW_REVOCATION_CLASS_ALARM ||
        !r.has_evidence) {
        a->timers++;
        return AVOW_OK;
    }
    if ((uint64_t)msg->timestamp_ms < a->comparable_ms) {
        a->not_comparable++;
        return AVOW_OK;
    }
    /* A recovery names the findings that are over. */
    bool recovery = r.class == AVOW_REVOCATION_CLASS_RECOVERY;
    struct said said = {r.to, r.as_of_epoch, r.findings, recovery ? 0 : r.findings_count};
    return add_claim(a, avow_revocation_class_text(r.class), (int64_t)r.evidence.offset, &said,
                     err);
}

/* --- What is said now --- */

static bool is_good(const struct claim *c)
{
    return c->again && strcmp(c->again, c->recorded) == 0;
}

static enum avow_rc on_state(void *arg, const struct avow_replay_subject *subject,
                             const struct avow_state *s, struct avow_err *err)
{
    struct audit *a = arg;
    (void)subject;
    struct said said = {s->status, s->has_as_of ? s->as_of.epoch : 0, s->findings,
                        s->findings_count};
    for (size_t i = 0; i < a->claims_count; i++) {
        struct claim *c = &a->claims[i];
        /* Parts of one evidence may each have had a result: it is one of theirs. */
        if (!s->has_evidence || c->offset != (int64_t)s->evidence.offset || is_good(c))
            continue;
        c->again = text_of(a, &said);
        if (!c->again)
            return avow_err_set(err, AVOW_NOMEM, 0, "results");
    }
    return AVOW_OK;
}

/* --- The command --- */

struct sums {
    uint64_t same, other, early;
};

static struct sums sum(const struct audit *a)
{
    struct sums s = {0, 0, 0};
    for (size_t i = 0; i < a->claims_count; i++) {
        s.same += is_good(&a->claims[i]);
        s.early += !a->claims[i].again;
        s.other += a->claims[i].again && !is_good(&a->claims[i]);
    }
    return s;
}

static void print_people(const struct audit *a, const struct sums *s)
{
    const struct avow_replay_subject *r = &a->replay;
    char at[32];
    avow_clock_format(at, r->first_ms);
    if (r->appraised)
        printf("%s: %" PRIu64 " of %" PRIu64 " records appraised again, from offset %" PRId64
               " (%s) to %" PRId64 " of partition %d; %" PRIu64 " dropped\n",
               a->id, r->appraised, r->records, r->first, at, r->last, (int)r->partition,
               r->dropped);
    for (size_t i = 0; i < a->claims_count; i++) {
        const struct claim *c = &a->claims[i];
        if (!c->again || is_good(c))
            continue;
        printf("%s of offset %" PRId64 " differs\n  recorded: ", c->kind, c->offset);
        avow_print_clean(avow_str_from(c->recorded));
        printf("\n  again:    ");
        avow_print_clean(avow_str_from(c->again));
        printf("\n");
    }
    printf("%" PRIu64 " results are the same, %" PRIu64 " differ; not compared: %" PRIu64
           " of evidence that is gone or before the last beginning, %" PRIu64
           " of another enrolment or policy, %" PRIu64 " that a timer made\n",
           s->same, s->other, s->early, a->not_comparable, a->timers);
}

static enum avow_rc print_json(const struct audit *a, const struct sums *s, struct avow_err *err)
{
    const struct avow_replay_subject *r = &a->replay;
    json_t *results = json_array();
    for (size_t i = 0; i < a->claims_count; i++) {
        const struct claim *c = &a->claims[i];
        json_array_append_new(results,
                              json_pack("{s:s, s:I, s:s, s:s?, s:b}", "kind", c->kind, "offset",
                                        (json_int_t)c->offset, "recorded", c->recorded, "again",
                                        c->again, "same", is_good(c)));
    }
    json_t *root = json_pack(
        "{s:s, s:i, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:o}", "agent", a->id, "partition",
        (int)r->partition, "records", (json_int_t)r->records, "appraised", (json_int_t)r->appraised,
        "dropped", (json_int_t)r->dropped, "first_offset", (json_int_t)r->first, "last_offset",
        (json_int_t)r->last, "same", (json_int_t)s->same, "different", (json_int_t)s->other,
        "not_reached", (json_int_t)s->early, "not_comparable", (json_int_t)a->not_comparable,
        "results", results);
    return avow_json_document(root, err);
}

static enum avow_rc run(struct audit *a, struct avow_err *err)
{
    enum avow_rc rc = find_enrollment(a, err);
    if (!rc)
        rc = avow_policy_shelf_init(&a->shelf, a->cli, err);
    if (!rc)
        rc = avow_policy_shelf_resolve(&a->shelf, a->enrollment, false, &a->policies, err);
    a->comparable_ms = avow_max_u64(a->comparable_ms, a->policies.issued_ms);
    if (!rc)
        rc = avow_read_topic(a->cli, "verdicts", a->id, on_verdict, a, err);
    if (!rc)
        rc = avow_read_topic(a->cli, "revocations", a->id, on_revocation, a, err);
    if (rc)
        return rc;
    a->replay = (struct avow_replay_subject){.id = a->id,
                                             .enrollment = a->enrollment,
                                             .enrollment_sha256 = a->enrollment_sha256,
                                             .policy = &a->policies.policy};
    return avow_replay_run(a->cli, &a->replay, 1, on_state, a, err);
}

static enum avow_exit finish(struct audit *a, struct avow_err *err)
{
    struct sums s = sum(a);
    enum avow_rc rc = AVOW_OK;
    if (a->cli->format == AVOW_FORMAT_JSON)
        rc = print_json(a, &s, err);
    else
        print_people(a, &s);
    if (!rc && !a->replay.appraised) {
        avow_cli_hint(a->cli, "a restart of the agent sends one, and so does the next rebase");
        rc = avow_err_set(err, AVOW_STATE, 0,
                          "no evidence that tells everything is on the topic any more");
    }
    if (rc)
        return avow_cli_fail(a->cli, rc, err);
    return s.other ? AVOW_EXIT_UNTRUSTED : AVOW_EXIT_OK;
}

enum avow_exit avow_cmd_verdict_audit(struct avow_cli *cli, int argc, char **argv)
{
    struct audit a = {.cli = cli};
    const char *since = NULL;
    uint64_t back = 0;
    const struct avow_opt opts[] = {
        AVOW_TEXT("--since", &since, "DURATION", "leave out results that are older: 30m, 12h, 2d"),
    };
    const struct avow_command command = {
        .name = "verdict audit",
        .words = "ID",
        .about = "Appraises the evidence that is recorded of an agent again, from the last that "
                 "tells everything, and\ncompares the verdicts and revocations that workers "
                 "published. Exit code 4: they differ.",
        .min_words = 1,
        .max_words = 1,
        .opts = opts,
        .n_opts = AVOW_ARRAY_LEN(opts)};
    const char *pos[AVOW_COMMAND_WORDS_MAX] = {NULL};
    struct avow_err err = {.rc = AVOW_OK};
    enum avow_exit code;
    if (!avow_command_begin(cli, &command, argc, argv, pos, &code))
        return code;
    a.id = pos[0];
    if (since && (!avow_num_parse_ms(avow_str_from(since), &back) || back > avow_clock_unix_ms())) {
        avow_err_set(&err, AVOW_USAGE, 0, "--since: '%.40s' is no duration like 12h", since);
        return avow_cli_usage(command.name, &err);
    }
    a.since_ms = back ? avow_clock_unix_ms() - back : 0;
    avow_arena_init(&a.arena, 256u * 1024u * 1024u);
    a.claims = calloc(CLAIMS_MAX, sizeof *a.claims);
    enum avow_rc rc = a.claims ? run(&a, &err) : avow_err_set(&err, AVOW_NOMEM, 0, "results");
    code = rc ? avow_cli_fail(cli, rc, &err) : finish(&a, &err);
    free(a.claims);
    avow_policy_shelf_deinit(&a.shelf);
    avow_fleet_deinit(&a.fleet);
    avow_arena_deinit(&a.arena);
    return code;
}
