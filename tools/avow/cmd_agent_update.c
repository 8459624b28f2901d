/* `avow agent update|reaccept|attest`: a higher generation of an enrolment that stands. */
#include "commands.h"

#include "avow/base/clock.h"
#include "avow/base/hex.h"
#include "avow/model/model.h"
#include "agent_await.h"
#include "agent_plan.h"
#include "agent_show.h"
#include "fleet.h"
#include "ledger.h"
#include "trust_view.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "avow/base/banned.h"

#define UNNAMED UINT64_MAX /* an interval that was not given */

struct change {
    struct avow_agent_plan plan; /* `update`: NULL and UNNAMED mean unchanged */
    bool no_policy[AVOW_PLAN_REFS], no_allow_padded, no_strict_excludes, no_check_signatures;
    bool no_pcr_policy;
    struct avow_opt_list disallow;
    struct avow_enroll_flags disallowed; /* what its words name */
    bool new_tpm, force;
    uint64_t generation; /* result */
    bool unchanged;      /* result: nothing was to publish */
};

/* The records of one agent, and what a command makes of its enrolment. */
struct standing_agent {
    struct avow_cli *cli;
    struct change *c;
    const struct avow_fleet_agent *agent;
    struct avow_enrollment e; /* the next one; borrows from the fleet */
    struct avow_identity_names names;
};
typedef enum avow_rc (*change_fn)(struct standing_agent *s, struct avow_err *err);

/* --- What all three share --- */

/* What is changed must be the newest that was signed: on an older one, later changes would be lost
 * without a word. */
static enum avow_rc check_newest(const struct standing_agent *s, struct avow_err *err)
{
    uint64_t kept = 0, there = s->agent->enrollment.generation;
    enum avow_rc rc = avow_ledger_newest(s->cli, "enrollments", s->c->plan.id, &kept, err);
    if (rc || kept <= there || s->c->force)
        return rc;
    avow_cli_hint(s->cli, "an earlier attempt failed, or somebody shows an old view. --force "
                          "builds on what is there; `avow agent add --replace` states everything "
                          "anew");
    return avow_err_set(err, AVOW_ROLLBACK, 0,
                        "bus.rollback: the topic shows generation %" PRIu64 " of %s, this ledger "
                        "signed %" PRIu64,
                        there, s->c->plan.id, kept);
}

static enum avow_rc look_up(struct standing_agent *s, struct avow_fleet *f, struct avow_err *err)
{
    const char *id = s->c->plan.id;
    enum avow_rc rc = avow_fleet_read(
        s->cli, AVOW_FLEET_IDENTITIES | AVOW_FLEET_ENROLLMENTS | AVOW_FLEET_VERDICTS, id, f, err);
    if (rc)
        return rc;
    avow_fleet_warn(f);
    s->agent = avow_fleet_find(f, id);
    if (!s->agent || !avow_fleet_is_enrolled(s->agent)) {
        avow_cli_hint(s->cli, "`avow agent list` shows who is; `avow agent add %s` enrols it", id);
        return avow_err_set(err, AVOW_NOTFOUND, 0, "%s is not enrolled", id);
    }
    s->e = s->agent->enrollment;
    return check_newest(s, err);
}

static enum avow_rc publish_change(struct avow_cli *cli, struct change *c, change_fn change,
                                   struct avow_err *err)
{
    AVOW_CLEANUP_VAL(avow_fleet_deinit) struct avow_fleet fleet;
    struct standing_agent s = {.cli = cli, .c = c};
    enum avow_rc rc = look_up(&s, &fleet, err);
    if (!rc)
        rc = change(&s, err);
    c->generation = rc ? 0 : s.e.generation;
    if (rc || c->unchanged)
        return rc;
    s.e.issued_ms = avow_clock_unix_ms();
    rc = avow_ledger_next(cli, "enrollments", c->plan.id, s.e.generation,
                          avow_trust_bundle(cli->trust)->generation_floor, &s.e.generation, err);
    if (!rc)
        rc = avow_enrollment_publish(cli, &s.e, err);
    c->generation = s.e.generation;
    return rc;
}

static enum avow_rc report_published(const struct avow_cli *cli, const struct change *c,
                                     struct avow_err *err)
{
    if (cli->format == AVOW_FORMAT_JSON)
        return avow_json_document(json_pack("{s:o,s:b,s:o}", "agent", avow_json_cstr(c->plan.id),
                                            "changed", (int)!c->unchanged, "generation",
                                            avow_json_u64(c->generation)),
                                  err);
    printf("%s %s, generation %" PRIu64 "\n", c->plan.id,
           c->unchanged ? "is so already" : "enrolled anew", c->generation);
    return AVOW_OK;
}

static enum avow_exit run_change(struct avow_cli *cli, struct change *c, change_fn change)
{
    struct avow_err err = {.rc = AVOW_OK};
    AVOW_CLEANUP(avow_reader_free) struct avow_reader *verdicts = NULL;
    struct avow_reader_opts place = {.base = "verdicts", .key = c->plan.id};
    enum avow_rc rc = avow_cli_trust(cli, &err);
    if (!rc && !c->plan.no_wait) /* before the enrolment: its verdict can only come later */
        rc = avow_reader_open(cli, &place, &verdicts, &err);
    if (!rc)
        rc = publish_change(cli, c, change, &err);
    if (!rc && !c->plan.no_wait && !c->unchanged) {
        struct avow_await await = {c->plan.id, c->generation, c->plan.timeout_s};
        return avow_await_verdict(cli, &await, verdicts);
    }
    if (!rc)
        rc = report_published(cli, c, &err);
    return rc ? avow_cli_fail(cli, rc, &err) : AVOW_EXIT_OK;
}

/* --- update --- */

static void take_interval(uint64_t named, uint32_t *value)
{
    if (named != UNNAMED)
        *value = (uint32_t)named;
}

static void take_policies(const struct change *c, struct avow_enrollment *e)
{
    struct avow_plan_ref refs[AVOW_PLAN_REFS];
    avow_plan_take_policies(&c->plan, e);
    avow_plan_refs(&c->plan, e, refs);
    for (size_t i = 0; i < AVOW_PLAN_REFS; i++) {
        if (!c->no_policy[i])
            continue;
        *refs[i].has = false;
        *refs[i].ref = (struct avow_policy_ref){.has_name = false};
    }
}

static void take_allowed(const struct change *c, struct avow_enroll_flags *f)
{
    const struct avow_enroll_flags *on = &c->plan.allowed, *off = &c->disallowed;
    f->allow_padded = (f->allow_padded || c->plan.allow_padded || on->allow_padded) &&
                      !c->no_allow_padded && !off->allow_padded;
    f->allow_kexec = (f->allow_kexec || on->allow_kexec) && !off->allow_kexec;
    f->allow_log_trimmed =
        (f->allow_log_trimmed || on->allow_log_trimmed) && !off->allow_log_trimmed;
    f->allow_violations = (f->allow_violations || on->allow_violations) && !off->allow_violations;
    f->allow_tomtou = (f->allow_tomtou || on->allow_tomtou) && !off->allow_tomtou;
    f->allow_hibernate = (f->allow_hibernate || on->allow_hibernate) && !off->allow_hibernate;
}

static void take_named(const struct change *c, struct avow_enrollment *e)
{
    take_interval(c->plan.heartbeat_ms, &e->heartbeat_ms);
    take_interval(c->plan.silent_after_ms, &e->silent_after_ms);
    take_interval(c->plan.validity_ms, &e->validity_ms);
    take_policies(c, e);
    if (c->plan.metadata)
        e->metadata = avow_str_from(c->plan.metadata);
    if (c->plan.recovery_text)
        e->recovery = c->plan.recovery;
    take_allowed(c, &e->flags);
    if (c->plan.pcrs || c->no_pcr_policy) {
        e->pcrs = c->plan.pcrs ? c->plan.pcrs->rules : NULL;
        e->pcrs_count = c->plan.pcrs ? c->plan.pcrs->count : 0;
    }
    e->flags.check_signatures =
        (e->flags.check_signatures || c->plan.check_signatures) && !c->no_check_signatures;
    e->flags.strict_excludes =
        (e->flags.strict_excludes || c->plan.strict_excludes) && !c->no_strict_excludes;
}

static bool ref_eq(bool has_a, const struct avow_policy_ref *x, bool has_b,
                   const struct avow_policy_ref *y)
{
    if (!has_a || !has_b)
        return has_a == has_b;
    return x->has_name == y->has_name && x->has_sha256 == y->has_sha256 &&
           avow_str_eq(x->name, y->name) &&
           avow_bytes_eq(AVOW_BYTES_OF(x->sha256), AVOW_BYTES_OF(y->sha256));
}

static bool refs_eq(const struct avow_enrollment *a, const struct avow_enrollment *b)
{
    return ref_eq(a->has_runtime_policy, &a->runtime_policy, b->has_runtime_policy,
                  &b->runtime_policy) &&
           ref_eq(a->has_boot_policy, &a->boot_policy, b->has_boot_policy, &b->boot_policy) &&
           ref_eq(a->has_verify_keys, &a->verify_keys, b->has_verify_keys, &b->verify_keys) &&
           ref_eq(a->has_severity, &a->severity, b->has_severity, &b->severity);
}

static bool flags_eq(const struct avow_enroll_flags *a, const struct avow_enroll_flags *b)
{
    return a->allow_padded == b->allow_padded && a->allow_kexec == b->allow_kexec &&
           a->allow_log_trimmed == b->allow_log_trimmed &&
           a->allow_violations == b->allow_violations && a->allow_tomtou == b->allow_tomtou &&
           a->allow_hibernate == b->allow_hibernate && a->check_signatures == b->check_signatures &&
           a->strict_excludes == b->strict_excludes;
}

/* Of what `update` can change. */
static bool is_same(const struct avow_enrollment *a, const struct avow_enrollment *b)
{
    return a->heartbeat_ms == b->heartbeat_ms && a->silent_after_ms == b->silent_after_ms &&
           a->validity_ms == b->validity_ms && refs_eq(a, b) &&
           avow_str_eq(a->metadata, b->metadata) && a->recovery == b->recovery &&
           flags_eq(&a->flags, &b->flags) && avow_pcr_rules_eq(a, b);
}

static enum avow_rc change_named(struct standing_agent *s, struct avow_err *err)
{
    enum avow_rc rc = avow_plan_check_policies(s->cli, &s->c->plan, err);
    if (rc)
        return rc;
    take_named(s->c, &s->e);
    struct avow_agent_plan whole = {.heartbeat_ms = s->e.heartbeat_ms,
                                    .silent_after_ms = s->e.silent_after_ms,
                                    .validity_ms = s->e.validity_ms};
    rc = avow_plan_check_intervals(s->cli, &whole, err);
    s->c->unchanged = !rc && !s->c->force && is_same(&s->agent->enrollment, &s->e);
    return rc;
}

/* An option and its --no- form. */
static bool both_forms(const struct change *c)
{
    const struct avow_agent_plan *p = &c->plan;
    struct avow_enrollment scratch;
    struct avow_plan_ref refs[AVOW_PLAN_REFS];
    avow_plan_refs(p, &scratch, refs);
    for (size_t i = 0; i < AVOW_PLAN_REFS; i++) {
        if (refs[i].name && c->no_policy[i])
            return true;
    }
    return (p->allow_padded && c->no_allow_padded) || (p->pcr_policy && c->no_pcr_policy) ||
           (p->strict_excludes && c->no_strict_excludes) ||
           (p->check_signatures && c->no_check_signatures);
}

static bool names_demand(const struct change *c)
{
    const struct avow_agent_plan *p = &c->plan;
    for (size_t i = 0; i < AVOW_PLAN_REFS; i++) {
        if (c->no_policy[i])
            return true;
    }
    return p->runtime_policy || p->boot_policy || p->verify_keys || p->severity || p->pcr_policy ||
           c->no_pcr_policy || p->allow.count || c->disallow.count;
}

static enum avow_rc check_update(struct change *c, struct avow_err *err)
{
    struct avow_agent_plan checked = c->plan;
    const struct avow_agent_plan *p = &c->plan;
    if (!checked.metadata)
        checked.metadata = "";
    if (!checked.recovery_text)
        checked.recovery_text = "auto";
    enum avow_rc rc = avow_plan_check("agent update", &checked, err);
    c->plan.recovery = checked.recovery;
    c->plan.allowed = checked.allowed;
    if (!rc && avow_allow_apply(&c->disallow, true, &c->disallowed, err))
        rc = avow_err_wrap(err, AVOW_USAGE, "agent update: --disallow");
    if (rc)
        return rc;
    if (both_forms(c))
        return avow_err_set(err, AVOW_USAGE, 0, "agent update: an option and its --no- form");
    if (!names_demand(c) && !p->metadata && !p->recovery_text && p->heartbeat_ms == UNNAMED &&
        p->silent_after_ms == UNNAMED && p->validity_ms == UNNAMED && !p->allow_padded &&
        !c->no_allow_padded && !p->strict_excludes && !c->no_strict_excludes &&
        !p->check_signatures && !c->no_check_signatures && !c->force)
        return avow_err_set(err, AVOW_USAGE, 0, "agent update: nothing to change was named");
    return AVOW_OK;
}

#define WAIT_OPTIONS(c)                                                                            \
    AVOW_FLAG("--force", &(c).force, "publish a generation although nothing demands it"),          \
        AVOW_FLAG("--no-wait", &(c).plan.no_wait, "do not wait for the verdict"),                  \
        AVOW_NUMBER("--timeout", &(c).plan.timeout_s, "S", 1, 86400, "how long to wait (120)")

enum avow_exit avow_cmd_agent_update(struct avow_cli *cli, int argc, char **argv)
{
    struct change c = {.plan = {.heartbeat_ms = UNNAMED,
                                .silent_after_ms = UNNAMED,
                                .validity_ms = UNNAMED,
                                .timeout_s = 120}};
    const struct avow_opt opts[] = {
        AVOW_TEXT("--runtime-policy", &c.plan.runtime_policy, "NAME", "judge IMA entries by it"),
        AVOW_FLAG("--no-runtime-policy", &c.no_policy[0], "nobody judges IMA entries"),
        AVOW_TEXT("--boot-policy", &c.plan.boot_policy, "NAME", "judge the boot by it"),
        AVOW_FLAG("--no-boot-policy", &c.no_policy[1], "nobody judges the boot"),
        AVOW_TEXT("--verify-keys", &c.plan.verify_keys, "NAME",
                  "files signed with these need no digest"),
        AVOW_FLAG("--no-verify-keys", &c.no_policy[2], "no keys but the policy's own"),
        AVOW_FLAG("--check-signatures", &c.plan.check_signatures, "judge signatures of files"),
        AVOW_FLAG("--no-check-signatures", &c.no_check_signatures, "do not"),
        AVOW_TEXT("--severity", &c.plan.severity, "NAME", "label findings by it"),
        AVOW_FLAG("--no-severity", &c.no_policy[3], "the usual labels"),
        AVOW_TEXT("--metadata", &c.plan.metadata, "TEXT", "copied into revocations"),
        AVOW_TEXT("--recovery", &c.plan.recovery_text, "HOW",
                  "auto: clean evidence restores trust; operator: only a new generation does"),
        AVOW_NUMBER("--heartbeat-ms", &c.plan.heartbeat_ms, "MS", 0, AVOW_PLAN_DAY_MS,
                    "0: the fleet's"),
        AVOW_NUMBER("--silent-after-ms", &c.plan.silent_after_ms, "MS", 0, AVOW_PLAN_WEEK_MS,
                    "0: the fleet's"),
        AVOW_NUMBER("--validity-ms", &c.plan.validity_ms, "MS", 0, AVOW_PLAN_WEEK_MS,
                    "0: the fleet's"),
        AVOW_TEXT("--tpm-policy", &c.plan.pcr_policy, "JSON|FILE",
                  "accepted PCR values: {\"7\": [\"hex\", ...], ...}"),
        AVOW_FLAG("--no-tpm-policy", &c.no_pcr_policy, "any PCR values"),
        AVOW_LIST("--allow", &c.plan.allow, "WHAT", "tolerate it; of: " AVOW_ALLOW_WORDS),
        AVOW_LIST("--disallow", &c.disallow, "WHAT", "tolerate it no more"),
        AVOW_FLAG("--allow-padded", &c.plan.allow_padded, "the same as --allow padded"),
        AVOW_FLAG("--no-allow-padded", &c.no_allow_padded, "the same as --disallow padded"),
        AVOW_FLAG("--strict-excludes", &c.plan.strict_excludes, "excludes match whole paths"),
        AVOW_FLAG("--no-strict-excludes", &c.no_strict_excludes, "excludes match as prefixes"),
        WAIT_OPTIONS(c),
    };
    const struct avow_command command = {
        .name = "agent update",
        .words = "ID",
        .about = "Changes what is named of an enrolment, leaves the rest, and waits for a verdict "
                 "of its new\ngeneration. If everything is so already, nothing is published. What "
                 "was found under the old\ndemands is judged anew.\n\nExit 0 if the agent is "
                 "trusted, 4 if it is not, 5 if it is not enrolled or there is no such\npolicy.",
        .opts = opts,
        .n_opts = AVOW_ARRAY_LEN(opts),
        .min_words = 1,
        .max_words = 1};
    const char *pos[AVOW_COMMAND_WORDS_MAX] = {NULL};
    struct avow_err err = {.rc = AVOW_OK};
    enum avow_exit code;
    if (!avow_command_begin(cli, &command, argc, argv, pos, &code))
        return code;
    c.plan.id = pos[0];
    if (check_update(&c, &err))
        return avow_cli_usage(command.name, &err);
    AVOW_CLEANUP_VAL(avow_pcr_policy_deinit) struct avow_pcr_policy pcrs = {.count = 0};
    enum avow_rc rc =
        c.plan.pcr_policy ? avow_pcr_policy_read(c.plan.pcr_policy, &pcrs, &err) : AVOW_OK;
    c.plan.pcrs = c.plan.pcr_policy ? &pcrs : NULL;
    return rc ? avow_cli_fail(cli, rc, &err) : run_change(cli, &c, change_named);
}

/* --- reaccept --- */

#define HEX_OF_NAME (2u * 66u + 1u) /* SHA-512 with its algorithm */

static const char *name_hex(struct avow_bytes name, char out[HEX_OF_NAME])
{
    size_t max = (HEX_OF_NAME - 1) / 2;
    avow_hex_encode(out, avow_bytes_make(name.ptr, name.len < max ? name.len : max));
    return out;
}

static void show_keys(const struct standing_agent *s, const char *certificate)
{
    char old[HEX_OF_NAME], new[HEX_OF_NAME];
    const struct avow_enrollment *e = &s->agent->enrollment;
    struct avow_tpm_name ak;
    if (!avow_bytes_eq(e->ek_name, avow_tpm_name_bytes(&s->names.ek_name)))
        avow_cli_note("EK: %s -> %s", e->has_ek_name ? name_hex(e->ek_name, old) : "none",
                      name_hex(avow_tpm_name_bytes(&s->names.ek_name), new));
    if (!avow_bytes_eq(e->ak_public, s->agent->identity.ak_public)) {
        bool known = e->has_ak_public && !avow_tpm_name_of(e->ak_public, &ak, NULL);
        avow_cli_note("AK: %s -> %s", known ? name_hex(avow_tpm_name_bytes(&ak), old) : "none",
                      name_hex(s->agent->identity.ak_name, new));
    }
    avow_cli_note("%s: %s", s->c->plan.id, certificate);
}

static bool has_findings(const struct avow_fleet_agent *a)
{
    return a->has_verdict && (a->verdict.findings_total || a->verdict.findings_count ||
                              a->verdict.status == AVOW_STATUS_UNTRUSTED);
}

/* What the operator must have meant: another TPM, or a reset with nothing to reset. */
static enum avow_rc check_meant(const struct standing_agent *s, struct avow_err *err)
{
    const struct avow_enrollment *e = &s->agent->enrollment;
    bool other_ek = !avow_bytes_eq(e->ek_name, avow_tpm_name_bytes(&s->names.ek_name));
    bool other_ak = !avow_bytes_eq(e->ak_public, s->agent->identity.ak_public);
    if (other_ek && e->has_ek_name && !s->c->new_tpm) {
        avow_cli_hint(s->cli, "compare the serial with what was bought; --new-tpm accepts it");
        return avow_err_set(err, AVOW_UNTRUSTED, 0, "%s registered with another TPM than before",
                            s->c->plan.id);
    }
    if (other_ek || other_ak || has_findings(s->agent) || s->c->force)
        return AVOW_OK;
    avow_cli_hint(s->cli,
                  "`avow agent attest %s` asks it for evidence; --force publishes a new "
                  "generation in any case",
                  s->c->plan.id);
    return avow_err_set(err, AVOW_EXISTS, 0,
                        "nothing to accept: %s has the keys that are pinned, and no findings",
                        s->c->plan.id);
}

static enum avow_rc change_keys(struct standing_agent *s, struct avow_err *err)
{
    const struct avow_fleet_agent *a = s->agent;
    AVOW_CLEANUP_VAL(avow_buf_deinit) struct avow_buf summary;
    avow_buf_init(&summary, 4096);
    if (!a->has_identity || a->identity.status != AVOW_IDENTITY_STATUS_ACTIVE) {
        avow_cli_hint(s->cli, "start its avow-agent, then try again");
        return avow_err_set(err, AVOW_NOTFOUND, 0, "%s has not registered", s->c->plan.id);
    }
    enum avow_rc rc = avow_identity_names(&a->identity, &s->names, err);
    if (!rc)
        rc = avow_identity_check(s->cli, &a->identity, s->c->plan.trust_registrar, &summary, err);
    if (rc)
        return avow_err_wrap(err, rc, "agent %s", s->c->plan.id);
    show_keys(s, avow_buf_cstr(&summary));
    rc = check_meant(s, err);
    if (rc)
        return rc;
    if (s->e.has_ek_cert_serial &&
        avow_identity_check_serial(&a->identity, s->e.ek_cert_serial, NULL)) {
        avow_cli_note("note: the serial number of the EK certificate is not demanded any more; "
                      "`avow agent add --replace --ek-cert-serial` demands the new one");
        s->e.has_ek_cert_serial = false;
    }
    avow_plan_pin(&a->identity, &s->names, &s->e);
    s->e.status = AVOW_ENROLL_STATUS_ACTIVE;
    return AVOW_OK;
}

struct words {
    int argc;
    char **argv;
};

static enum avow_exit run_simple(struct avow_cli *cli, const struct avow_command *command,
                                 struct words args, struct change *c, change_fn change)
{
    const char *pos[AVOW_COMMAND_WORDS_MAX] = {NULL};
    struct avow_err err = {.rc = AVOW_OK};
    enum avow_exit code;
    if (!avow_command_begin(cli, command, args.argc, args.argv, pos, &code))
        return code;
    c->plan.id = pos[0];
    return avow_plan_check(command->name, &c->plan, &err) ? avow_cli_usage(command->name, &err)
                                                          : run_change(cli, c, change);
}

enum avow_exit avow_cmd_agent_reaccept(struct avow_cli *cli, int argc, char **argv)
{
    struct change c = {.plan = {.metadata = "", .recovery_text = "auto", .timeout_s = 120}};
    const struct avow_opt opts[] = {
        AVOW_FLAG("--new-tpm", &c.new_tpm, "accept that the TPM is another one"),
        AVOW_FLAG("--trust-registrar", &c.plan.trust_registrar,
                  "believe the registrar's result, do not check the EK certificate here"),
        WAIT_OPTIONS(c),
    };
    const struct avow_command command = {
        .name = "agent reaccept",
        .words = "ID",
        .about = "Checks the identity anew and pins its keys, old and new ones shown, or starts "
                 "afresh over a host\nwith findings: what only an operator resets "
                 "(tpm.counters_regressed, state.lost, recovery operator)\nis forgotten, and the "
                 "host must prove everything again. Demands stay as they are.\n\nExit 0 if the "
                 "agent is trusted, 4 if it is not or the identity is refused, 5 if it is not\n"
                 "enrolled or has not registered, 1 if there is nothing to accept.",
        .opts = opts,
        .n_opts = AVOW_ARRAY_LEN(opts),
        .min_words = 1,
        .max_words = 1};
    return run_simple(cli, &command, (struct words){argc, argv}, &c, change_keys);
}

/* --- attest --- */

/* The same demands under a higher generation make a worker ask (attest_now) and judge the answer.
 * Over findings a higher generation also forgets, which is not what this command is for. */
static enum avow_rc change_nothing(struct standing_agent *s, struct avow_err *err)
{
    if (!has_findings(s->agent) || s->c->force)
        return AVOW_OK;
    avow_cli_hint(s->cli,
                  "`avow agent status %s` shows them; `avow agent reaccept %s` forgets "
                  "them and asks for everything anew",
                  s->c->plan.id, s->c->plan.id);
    return avow_err_set(err, AVOW_STATE, 0, "%s has findings: a new generation would forget them",
                        s->c->plan.id);
}

enum avow_exit avow_cmd_agent_attest(struct avow_cli *cli, int argc, char **argv)
{
    struct change c = {.plan = {.metadata = "", .recovery_text = "auto", .timeout_s = 120}};
    const struct avow_opt opts[] = {WAIT_OPTIONS(c)};
    const struct avow_command command = {
        .name = "agent attest",
        .words = "ID",
        .about = "Asks the agent for evidence now and waits for the verdict on it. It publishes "
                 "the same enrolment\nwith the next generation: workers answer that with a signed "
                 "directive, agents obey nobody else.\nRefused over a host with findings, because "
                 "a new generation forgets them.\n\nExit 0 if the agent is trusted, 4 if it is "
                 "not, 5 if it is not enrolled.",
        .opts = opts,
        .n_opts = AVOW_ARRAY_LEN(opts),
        .min_words = 1,
        .max_words = 1};
    return run_simple(cli, &command, (struct words){argc, argv}, &c, change_nothing);
}
