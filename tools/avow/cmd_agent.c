/* `avow agent add|rm`: enrolments. */
#include "commands.h"

#include "avow/base/clock.h"
#include "avow/model/model.h"
#include "avow/trust/records.h"
#include "agent_await.h"
#include "agent_plan.h"
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

/* --- From an identity to an enrolment --- */

/* Identity and earlier enrolment of the agent, and the policy's head, as they are on the topics. */
static enum avow_rc look_up(struct avow_cli *cli, const struct avow_agent_plan *o,
                            struct avow_fleet *f, const struct avow_fleet_agent **agent,
                            struct avow_err *err)
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
    return avow_plan_check_policies(cli, o, err);
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

/* Which TPM it has to be: as demanded now, or else as it was demanded before. */
static enum avow_rc check_serial(struct avow_cli *cli, const struct avow_fleet_agent *a,
                                 struct avow_enrollment *e, struct avow_err *err)
{
    const struct avow_enrollment *old = &a->enrollment;
    if (!e->has_ek_cert_serial && avow_fleet_is_enrolled(a) && old->has_ek_cert_serial) {
        e->has_ek_cert_serial = true;
        e->ek_cert_serial = old->ek_cert_serial;
    }
    if (!e->has_ek_cert_serial)
        return AVOW_OK;
    enum avow_rc rc = avow_identity_check_serial(&a->identity, e->ek_cert_serial, err);
    if (rc == AVOW_UNTRUSTED)
        avow_cli_hint(cli,
                      "if somebody took its name: `avow registrar rm %.*s`, then start its own "
                      "avow-agent; a new serial number is given with --ek-cert-serial",
                      (int)e->key.len, e->key.ptr);
    return rc;
}

static enum avow_rc add_publish(struct avow_cli *cli, const struct avow_agent_plan *o,
                                uint64_t *generation, struct avow_err *err)
{
    struct avow_identity_names names;
    struct avow_enrollment e;
    const struct avow_fleet_agent *agent = NULL;
    AVOW_CLEANUP_VAL(avow_fleet_deinit) struct avow_fleet fleet;
    AVOW_CLEANUP_VAL(avow_buf_deinit) struct avow_buf summary;
    avow_buf_init(&summary, 4096);
    enum avow_rc rc = look_up(cli, o, &fleet, &agent, err);
    if (rc)
        return rc;
    rc = avow_plan_check_intervals(cli, o, err);
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
    avow_plan_fill(cli, o, &agent->identity, &names, &e);
    note_new_keys(agent, &e);
    rc = check_serial(cli, agent, &e, err);
    if (rc)
        return avow_err_wrap(err, rc, "agent %s", o->id);
    rc = avow_ledger_next(cli, "enrollments", o->id,
                          agent->has_enrollment ? agent->enrollment.generation : 0,
                          avow_trust_bundle(cli->trust)->generation_floor, &e.generation, err);
    if (!rc)
        rc = avow_enrollment_publish(cli, &e, err);
    if (!rc)
        *generation = e.generation;
    return rc;
}

static enum avow_exit add_run(struct avow_cli *cli, const struct avow_agent_plan *o)
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
        return avow_await_verdict(cli, &(struct avow_await){o->id, generation, o->timeout_s},
                                  verdicts);
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
    struct avow_agent_plan o = {.metadata = "", .recovery_text = "auto", .timeout_s = 120};
    const struct avow_opt opts[] = {
        AVOW_TEXT("--runtime-policy", &o.runtime_policy, "NAME", "judge IMA entries by it"),
        AVOW_TEXT("--boot-policy", &o.boot_policy, "NAME", "judge the boot by it"),
        AVOW_TEXT("--verify-keys", &o.verify_keys, "NAME",
                  "files signed with these need no digest"),
        AVOW_FLAG("--check-signatures", &o.check_signatures, "judge signatures of files"),
        AVOW_TEXT("--severity", &o.severity, "NAME", "label findings by it"),
        AVOW_TEXT("--metadata", &o.metadata, "TEXT", "copied into revocations"),
        AVOW_TEXT("--recovery", &o.recovery_text, "HOW",
                  "auto (default): clean evidence restores trust; operator: only --replace does"),
        AVOW_NUMBER("--heartbeat-ms", &o.heartbeat_ms, "MS", 1000, AVOW_PLAN_DAY_MS,
                    "instead of the fleet's"),
        AVOW_NUMBER("--silent-after-ms", &o.silent_after_ms, "MS", 1000, AVOW_PLAN_WEEK_MS,
                    "instead of the fleet's"),
        AVOW_NUMBER("--validity-ms", &o.validity_ms, "MS", 1000, AVOW_PLAN_WEEK_MS,
                    "instead of the fleet's"),
        AVOW_TEXT("--tpm-policy", &o.pcr_policy, "JSON|FILE",
                  "accepted PCR values: {\"7\": [\"hex\", ...], ...}"),
        AVOW_LIST("--allow", &o.allow, "WHAT", "tolerate it; of: " AVOW_ALLOW_WORDS),
        AVOW_FLAG("--allow-padded", &o.allow_padded, "the same as --allow padded"),
        AVOW_FLAG("--strict-excludes", &o.strict_excludes, "excludes match whole paths"),
        AVOW_TEXT("--ek-cert-serial", &o.ek_cert_serial, "HEX",
                  "serial number that the EK certificate must have, so that it is this TPM"),
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
    if (avow_plan_check(command.name, &o, &err))
        return avow_cli_usage(command.name, &err);
    AVOW_CLEANUP_VAL(avow_pcr_policy_deinit) struct avow_pcr_policy pcrs = {.count = 0};
    enum avow_rc rc = o.pcr_policy ? avow_pcr_policy_read(o.pcr_policy, &pcrs, &err) : AVOW_OK;
    o.pcrs = o.pcr_policy ? &pcrs : NULL;
    return rc ? avow_cli_fail(cli, rc, &err) : add_run(cli, &o);
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
