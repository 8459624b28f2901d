/* `avow agent add|rm`: enrolments. */
#include "commands.h"

#include "avow/base/clock.h"
#include "avow/model/model.h"
#include "avow/trust/records.h"
#include "agent_show.h"
#include "enroll.h"
#include "fleet.h"
#include "ledger.h"
#include "policies.h"
#include "reader.h"
#include "table.h"
#include "trust_view.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "avow/base/banned.h"

#define DAY_MS 86400000u
#define WEEK_MS (7u * DAY_MS)
#define METADATA_MAX 4096u /* PROTOCOL B2, Enrollment */

struct add_opts {
    const char *id;
    const char *runtime_policy;
    const char *metadata;
    const char *recovery_text;
    enum avow_recovery recovery;
    uint64_t heartbeat_ms, silent_after_ms, validity_ms, timeout_s;
    bool trust_registrar, allow_padded, strict_excludes, replace, no_wait;
};

/* --- Waiting for the first verdict --- */

struct wait_verdict {
    struct avow_cli *cli;
    struct avow_arena arena;
    const char *id;
    uint64_t generation;
    struct avow_bytes record; /* in the arena */
    struct avow_verdict verdict;
    bool found;
};

/* Ends the wait at the first verdict of the generation that is more than pending. */
static enum avow_rc wait_record(void *arg, const struct avow_bus_msg *msg, struct avow_err *err)
{
    struct wait_verdict *w = arg;
    struct avow_err why;
    struct avow_str key = {(const char *)msg->key.ptr, msg->key.len};
    (void)err;
    if (msg->value_null || !avow_str_is(key, w->id))
        return AVOW_OK;
    avow_arena_reset(&w->arena);
    w->record = avow_arena_bytes(&w->arena, msg->value);
    struct avow_record_in in = {
        .kafka_key = msg->key, .value = w->record, .partition = msg->partition};
    if (!w->record.ptr || avow_open_verdict(w->cli->trust, &in, &w->arena, &w->verdict, &why))
        return AVOW_OK; /* not signed by a worker: never a result */
    const struct avow_verdict *v = &w->verdict;
    w->found = v->enrollment_generation >= w->generation && v->status != AVOW_STATUS_PENDING &&
               !v->flags.stale;
    return w->found ? AVOW_STATE : AVOW_OK;
}

static enum avow_rc report_verdict(const struct avow_cli *cli, const struct add_opts *o,
                                   uint64_t generation, const struct wait_verdict *w,
                                   struct avow_err *err)
{
    const char *status = avow_status_text(w->verdict.status);
    if (cli->format == AVOW_FORMAT_JSON) {
        json_t *out;
        enum avow_rc rc =
            avow_agent_json(avow_str_from(o->id), status, generation, w->record, &out, err);
        return rc ? rc : avow_json_document(out, err);
    }
    printf("%s is %s%s%s (enrolment generation %" PRIu64 ", epoch %" PRIu64 ")\n", o->id,
           avow_status_color(status, cli->color), status, avow_color_reset(cli->color), generation,
           w->verdict.as_of_epoch);
    avow_print_findings(w->verdict.findings, w->verdict.findings_count, w->verdict.findings_total);
    return AVOW_OK;
}

static enum avow_rc no_verdict(struct avow_cli *cli, const struct add_opts *o, uint64_t generation,
                               enum avow_rc rc, struct avow_err *err)
{
    avow_cli_hint(cli,
                  "it is enrolled all the same: `avow agent status %s` shows more. Do its "
                  "avow-agent and a worker run?",
                  o->id);
    if (rc == AVOW_TIMEOUT)
        return avow_err_set(err, rc, 0,
                            "no verdict on %s for enrolment generation %" PRIu64
                            " came within %" PRIu64 " s",
                            o->id, generation, o->timeout_s);
    return avow_err_set(err, AVOW_STATE, 0, "interrupted while waiting for a verdict on %s", o->id);
}

static enum avow_exit wait_for_verdict(struct avow_cli *cli, const struct add_opts *o,
                                       uint64_t generation, struct avow_reader *verdicts)
{
    struct avow_err err = {.rc = AVOW_OK};
    struct wait_verdict w = {.cli = cli, .id = o->id, .generation = generation};
    avow_arena_init(&w.arena, AVOW_WIRE_ARENA_MAX + AVOW_BUS_VALUE_MAX);
    struct avow_follow follow = {.timeout_ms = o->timeout_s * 1000, .fn = wait_record, .arg = &w};
    enum avow_rc rc = avow_reader_follow(cli, verdicts, &follow, &err);
    if (rc == AVOW_TIMEOUT || (!rc && !w.found))
        rc = no_verdict(cli, o, generation, rc, &err);
    if (!rc)
        rc = report_verdict(cli, o, generation, &w, &err);
    bool trusted = w.found && w.verdict.status == AVOW_STATUS_TRUSTED;
    avow_arena_deinit(&w.arena);
    if (rc)
        return avow_cli_fail(cli, rc, &err);
    return trusted ? AVOW_EXIT_OK : AVOW_EXIT_UNTRUSTED;
}

/* --- From an identity to an enrolment --- */

static enum avow_rc check_policy(struct avow_cli *cli, const char *name, struct avow_err *err)
{
    AVOW_CLEANUP_VAL(avow_policy_list_deinit) struct avow_policy_list list;
    enum avow_rc rc = avow_policy_list_read(cli, &list, err);
    if (rc || avow_policy_list_find(&list, avow_str_from(name)))
        return rc;
    avow_policy_list_warn(&list);
    avow_cli_hint(cli, "`avow policy push %s FILE` publishes one; `avow policy list` shows all",
                  name);
    return avow_err_set(err, AVOW_NOTFOUND, 0, "there is no policy '%.150s'", name);
}

/* Identity and earlier enrolment of the agent, and the policy's head, as they are on the topics. */
static enum avow_rc look_up(struct avow_cli *cli, const struct add_opts *o, struct avow_fleet *f,
                            const struct avow_fleet_agent **agent, struct avow_err *err)
{
    enum avow_rc rc =
        avow_fleet_read(cli, AVOW_FLEET_IDENTITIES | AVOW_FLEET_ENROLLMENTS, o->id, f, err);
    if (rc)
        return rc;
    const struct avow_fleet_agent *a = avow_fleet_find(f, o->id);
    if ((!a || !a->has_identity) && f->refused)
        return avow_err_set(err, AVOW_UNTRUSTED, 0, "the identity of %s is refused: %s", o->id,
                            f->last_refusal.msg);
    if (!a || !a->has_identity || a->identity.status != AVOW_IDENTITY_STATUS_ACTIVE) {
        avow_cli_hint(cli,
                      "start its avow-agent, then try again; `curl REGISTRAR/v2.6/agents/%s` "
                      "shows whether the registrar knows it",
                      o->id);
        return avow_err_set(err, AVOW_NOTFOUND, 0, "%s has not registered", o->id);
    }
    avow_fleet_warn(f);
    if (avow_fleet_is_enrolled(a) && !o->replace) {
        avow_cli_hint(cli,
                      "`avow agent status %s` shows it; --replace enrols it anew, with exactly "
                      "the options given",
                      o->id);
        return avow_err_set(err, AVOW_EXISTS, 0, "%s is enrolled already (generation %" PRIu64 ")",
                            o->id, a->enrollment.generation);
    }
    *agent = a;
    return o->runtime_policy ? check_policy(cli, o->runtime_policy, err) : AVOW_OK;
}

/* The fleet's intervals with the enrolment's own instead: workers would refuse what does not fit
 * (PROTOCOL R29). */
static enum avow_rc check_intervals(const struct avow_cli *cli, const struct add_opts *o,
                                    struct avow_err *err)
{
    struct avow_bundle b = *avow_trust_bundle(cli->trust);
    if (!o->heartbeat_ms && !o->silent_after_ms && !o->validity_ms)
        return AVOW_OK;
    if (o->heartbeat_ms)
        b.heartbeat_ms = (uint32_t)o->heartbeat_ms;
    if (o->silent_after_ms)
        b.silent_after_ms = (uint32_t)o->silent_after_ms;
    if (o->validity_ms)
        b.validity_ms = (uint32_t)o->validity_ms;
    if (avow_trust_check_intervals(&b, err))
        return avow_err_wrap(err, AVOW_USAGE, "with the fleet's other intervals");
    return AVOW_OK;
}

static void fill_enrollment(const struct avow_cli *cli, const struct add_opts *o,
                            const struct avow_fleet_agent *agent,
                            const struct avow_identity_names *names, struct avow_bytes signers[2],
                            struct avow_enrollment *e)
{
    static const enum avow_agent_kind kinds[] = {AVOW_AGENT_KIND_AVOW};
    static const enum avow_sign_alg algs[] = {AVOW_SIGN_ALG_RSASSA, AVOW_SIGN_ALG_RSAPSS,
                                              AVOW_SIGN_ALG_ECDSA};
    static const enum avow_hash_alg hashes[] = {AVOW_HASH_ALG_SHA256, AVOW_HASH_ALG_SHA384,
                                                AVOW_HASH_ALG_SHA512};
    static const uint16_t ima_pcrs[] = {10};
    signers[0] = avow_tpm_name_bytes(&names->signers[0]);
    signers[1] = avow_tpm_name_bytes(&names->signers[1]);
    *e = (struct avow_enrollment){
        .key = avow_str_from(o->id),
        .status = AVOW_ENROLL_STATUS_ACTIVE,
        .issued_ms = avow_clock_unix_ms(),
        .has_ak_public = true,
        .ak_public = agent->identity.ak_public,
        .has_ek_name = true,
        .ek_name = avow_tpm_name_bytes(&names->ek_name),
        .qualified_signers = signers,
        .qualified_signers_count = 2,
        .kinds = kinds,
        .kinds_count = 1,
        .sign_algs = algs,
        .sign_algs_count = AVOW_ARRAY_LEN(algs),
        .sign_hashes = hashes,
        .sign_hashes_count = AVOW_ARRAY_LEN(hashes),
        .banks = hashes,
        .banks_count = AVOW_ARRAY_LEN(hashes),
        .ima_pcrs = ima_pcrs,
        .ima_pcrs_count = 1,
        .heartbeat_ms = (uint32_t)o->heartbeat_ms,
        .silent_after_ms = (uint32_t)o->silent_after_ms,
        .validity_ms = (uint32_t)o->validity_ms,
        .recovery = o->recovery,
        .metadata = avow_str_from(o->metadata),
    };
    memcpy(e->fleet, avow_trust_bundle(cli->trust)->fleet, sizeof e->fleet);
    e->flags.allow_padded = o->allow_padded;
    e->flags.strict_excludes = o->strict_excludes;
    if (o->runtime_policy) {
        e->has_runtime_policy = true;
        e->runtime_policy.has_name = true;
        e->runtime_policy.name = avow_str_from(o->runtime_policy);
    }
}

/* Another AK or EK than the one that was pinned is what --replace is for, and worth a look. */
static void note_new_keys(const struct avow_fleet_agent *a, const struct avow_enrollment *e)
{
    if (!avow_fleet_is_enrolled(a))
        return;
    if (!avow_bytes_eq(a->enrollment.ek_name, e->ek_name))
        avow_cli_note("warning: the TPM is another one than before (EK name)");
    else if (!avow_bytes_eq(a->enrollment.ak_public, e->ak_public))
        avow_cli_note("note: the attestation key is another one than before, in the same TPM");
}

static enum avow_rc add_publish(struct avow_cli *cli, const struct add_opts *o,
                                uint64_t *generation, struct avow_err *err)
{
    struct avow_identity_names names;
    struct avow_bytes signers[2];
    struct avow_enrollment e;
    const struct avow_fleet_agent *agent = NULL;
    AVOW_CLEANUP_VAL(avow_fleet_deinit) struct avow_fleet fleet;
    AVOW_CLEANUP_VAL(avow_buf_deinit) struct avow_buf summary;
    avow_buf_init(&summary, 4096);
    enum avow_rc rc = look_up(cli, o, &fleet, &agent, err);
    if (rc)
        return rc;
    rc = check_intervals(cli, o, err);
    if (rc)
        return rc;
    rc = avow_identity_check(cli, &agent->identity, o->trust_registrar, &summary, err);
    if (!rc)
        rc = avow_identity_names(&agent->identity, &names, err);
    if (rc)
        return avow_err_wrap(err, rc, "agent %s", o->id);
    avow_cli_note("%s: %s", o->id, avow_buf_cstr(&summary));
    if (!o->runtime_policy)
        avow_cli_note("note: without --runtime-policy nobody judges which files %s runs", o->id);
    fill_enrollment(cli, o, agent, &names, signers, &e);
    note_new_keys(agent, &e);
    rc = avow_ledger_next(cli, "enrollments", o->id,
                          agent->has_enrollment ? agent->enrollment.generation : 0,
                          avow_trust_bundle(cli->trust)->generation_floor, &e.generation, err);
    if (!rc)
        rc = avow_enrollment_publish(cli, &e, err);
    if (!rc)
        *generation = e.generation;
    return rc;
}

static enum avow_rc add_check(struct add_opts *o, struct avow_err *err)
{
    if (!avow_name_is_valid(avow_str_from(o->id)))
        return avow_err_set(err, AVOW_USAGE, 0,
                            "agent add: '%.150s' is no agent id: letters, digits, '.', '_', '-', "
                            "at most 128",
                            o->id);
    if (!avow_recovery_from_text(avow_str_from(o->recovery_text), &o->recovery))
        return avow_err_set(err, AVOW_USAGE, 0,
                            "agent add: --recovery: '%.60s' is not auto or "
                            "operator",
                            o->recovery_text);
    if (strlen(o->metadata) > METADATA_MAX || !avow_utf8_is_valid(avow_str_from(o->metadata)))
        return avow_err_set(err, AVOW_USAGE, 0,
                            "agent add: --metadata: not UTF-8, or more than %u bytes",
                            METADATA_MAX);
    return AVOW_OK;
}

static enum avow_exit add_run(struct avow_cli *cli, const struct add_opts *o)
{
    struct avow_err err = {.rc = AVOW_OK};
    AVOW_CLEANUP(avow_reader_free) struct avow_reader *verdicts = NULL;
    struct avow_reader_opts place = {.base = "verdicts", .key = o->id};
    uint64_t generation = 0;
    enum avow_rc rc = avow_cli_trust(cli, &err);
    if (!rc && !o->no_wait) /* before the enrolment: its verdict can only come later */
        rc = avow_reader_open(cli, &place, &verdicts, &err);
    if (!rc)
        rc = add_publish(cli, o, &generation, &err);
    if (rc)
        return avow_cli_fail(cli, rc, &err);
    if (!o->no_wait)
        return wait_for_verdict(cli, o, generation, verdicts);
    if (cli->format == AVOW_FORMAT_JSON) {
        json_t *out;
        rc = avow_agent_json(avow_str_from(o->id), avow_status_text(AVOW_STATUS_PENDING),
                             generation, avow_bytes_make(NULL, 0), &out, &err);
        if (!rc)
            rc = avow_json_document(out, &err);
    } else {
        printf("%s enrolled, generation %" PRIu64 "\n", o->id, generation);
    }
    return rc ? avow_cli_fail(cli, rc, &err) : AVOW_EXIT_OK;
}

enum avow_exit avow_cmd_agent_add(struct avow_cli *cli, int argc, char **argv)
{
    struct add_opts o = {.metadata = "", .recovery_text = "auto", .timeout_s = 120};
    const struct avow_opt opts[] = {
        AVOW_TEXT("--runtime-policy", &o.runtime_policy, "NAME", "judge IMA entries by it"),
        AVOW_TEXT("--metadata", &o.metadata, "TEXT", "copied into revocations"),
        AVOW_TEXT("--recovery", &o.recovery_text, "HOW",
                  "auto (default): clean evidence restores trust; operator: only --replace does"),
        AVOW_NUMBER("--heartbeat-ms", &o.heartbeat_ms, "MS", 1000, DAY_MS,
                    "instead of the fleet's"),
        AVOW_NUMBER("--silent-after-ms", &o.silent_after_ms, "MS", 1000, WEEK_MS,
                    "instead of the fleet's"),
        AVOW_NUMBER("--validity-ms", &o.validity_ms, "MS", 1000, WEEK_MS, "instead of the fleet's"),
        AVOW_FLAG("--allow-padded", &o.allow_padded, "accept PCR banks padded with SHA-1"),
        AVOW_FLAG("--strict-excludes", &o.strict_excludes, "excludes match whole paths"),
        AVOW_FLAG("--trust-registrar", &o.trust_registrar,
                  "believe the registrar's result, do not check the EK certificate here"),
        AVOW_FLAG("--replace", &o.replace, "enrol it anew if it is enrolled: generation + 1"),
        AVOW_FLAG("--no-wait", &o.no_wait, "do not wait for the first verdict"),
        AVOW_NUMBER("--timeout", &o.timeout_s, "S", 1, 86400, "how long to wait (120)"),
    };
    const struct avow_command command = {
        .name = "agent add",
        .words = "ID",
        .about = "Checks the identity that the registrar published (EK certificate, attestation "
                 "key), pins its\nkeys in a signed enrolment, and waits for the first verdict.\n\n"
                 "Exit 0 if the agent is trusted, 4 if it is not, 5 if it has not registered or "
                 "there is no such\npolicy, 1 if it is enrolled already or no verdict came.",
        .opts = opts,
        .n_opts = AVOW_ARRAY_LEN(opts),
        .min_words = 1,
        .max_words = 1};
    const char *pos[AVOW_COMMAND_WORDS_MAX] = {NULL};
    struct avow_err err = {.rc = AVOW_OK};
    enum avow_exit code;
    if (!avow_command_begin(cli, &command, argc, argv, pos, &code))
        return code;
    o.id = pos[0];
    return add_check(&o, &err) ? avow_cli_usage(command.name, &err) : add_run(cli, &o);
}

/* --- rm --- */

static enum avow_rc rm_publish(struct avow_cli *cli, const char *id, uint64_t *generation,
                               struct avow_err *err)
{
    AVOW_CLEANUP_VAL(avow_fleet_deinit) struct avow_fleet fleet;
    enum avow_rc rc = avow_fleet_read(cli, AVOW_FLEET_ENROLLMENTS, id, &fleet, err);
    if (rc)
        return rc;
    avow_fleet_warn(&fleet);
    const struct avow_fleet_agent *agent = avow_fleet_find(&fleet, id);
    if (!agent || !avow_fleet_is_enrolled(agent)) {
        avow_cli_hint(cli, "`avow agent list` shows who is");
        return avow_err_set(err, AVOW_NOTFOUND, 0, "%.150s is not enrolled", id);
    }
    struct avow_enrollment e = agent->enrollment;
    e.status = AVOW_ENROLL_STATUS_REMOVED;
    e.issued_ms = avow_clock_unix_ms();
    rc = avow_ledger_next(cli, "enrollments", id, e.generation,
                          avow_trust_bundle(cli->trust)->generation_floor, &e.generation, err);
    if (!rc)
        rc = avow_enrollment_publish(cli, &e, err);
    *generation = e.generation;
    return rc;
}

enum avow_exit avow_cmd_agent_rm(struct avow_cli *cli, int argc, char **argv)
{
    const struct avow_command command = {
        .name = "agent rm",
        .words = "ID",
        .about = "Publishes a signed removal: workers stop appraising the agent and drop its "
                 "evidence.\nIts registration stays; `avow agent add` enrols it again.",
        .min_words = 1,
        .max_words = 1};
    const char *pos[AVOW_COMMAND_WORDS_MAX] = {NULL};
    struct avow_err err = {.rc = AVOW_OK};
    enum avow_exit code;
    uint64_t generation = 0;
    if (!avow_command_begin(cli, &command, argc, argv, pos, &code))
        return code;
    enum avow_rc rc = rm_publish(cli, pos[0], &generation, &err);
    if (!rc && cli->format == AVOW_FORMAT_JSON)
        rc = avow_json_document(json_pack("{s:o,s:b,s:o}", "agent", avow_json_cstr(pos[0]),
                                          "removed", 1, "generation", avow_json_u64(generation)),
                                &err);
    else if (!rc)
        printf("%s removed, generation %" PRIu64 "\n", pos[0], generation);
    return rc ? avow_cli_fail(cli, rc, &err) : AVOW_EXIT_OK;
}
