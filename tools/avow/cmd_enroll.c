/* `avow enroll --watch --profile FILE`: enrols whoever registers, unattended. */
#define _GNU_SOURCE /* fnmatch, environ */
#include "commands.h"

#include "avow/base/clock.h"
#include "avow/model/model.h"
#include "avow/trust/records.h"
#include "avow/wire/enrollment.h"
#include "agent_plan.h"
#include "fleet.h"
#include "json_out.h"
#include "ledger.h"
#include "reader.h"
#include "trust_view.h"

#include <fnmatch.h>
#include <inttypes.h>
#include <stdio.h>

#include "avow/base/banned.h"

#define ID_MAX 128u

static const struct avow_conf_option profile_options[] = {
    {"profile", "id", AVOW_CONF_STR, NULL, 0, 0, NULL, "shell pattern of the ids to enrol", NULL},
    {"profile", "runtime_policy", AVOW_CONF_STR, NULL, 0, 0, NULL, "judge IMA entries by it", NULL},
    {"profile", "boot_policy", AVOW_CONF_STR, NULL, 0, 0, NULL, "judge the boot by it", NULL},
    {"profile", "verify_keys", AVOW_CONF_STR, NULL, 0, 0, NULL,
     "files signed with these need no digest", NULL},
    {"profile", "severity", AVOW_CONF_STR, NULL, 0, 0, NULL, "label findings by it", NULL},
    {"profile", "check_signatures", AVOW_CONF_BOOL, "false", 0, 0, NULL,
     "judge signatures of files", NULL},
    {"profile", "metadata", AVOW_CONF_STR, "", 0, 0, NULL, "copied into revocations", NULL},
    {"profile", "recovery", AVOW_CONF_ENUM, "auto", 0, 0, "auto|operator", "how trust comes back",
     NULL},
    {"profile", "heartbeat", AVOW_CONF_MS, "0", 0, AVOW_PLAN_DAY_MS, NULL, "0: the fleet's", NULL},
    {"profile", "silent_after", AVOW_CONF_MS, "0", 0, AVOW_PLAN_WEEK_MS, NULL, "0: the fleet's",
     NULL},
    {"profile", "validity", AVOW_CONF_MS, "0", 0, AVOW_PLAN_WEEK_MS, NULL, "0: the fleet's", NULL},
    {"profile", "tpm_policy", AVOW_CONF_STR, NULL, 0, 0, NULL, "accepted PCR values, JSON or file",
     NULL},
    {"profile", "allow", AVOW_CONF_STR, NULL, 0, 0, NULL, "deviations, with commas between", NULL},
    {"profile", "allow_padded", AVOW_CONF_BOOL, "false", 0, 0, NULL, "accept padded PCR banks",
     NULL},
    {"profile", "strict_excludes", AVOW_CONF_BOOL, "false", 0, 0, NULL,
     "excludes match whole paths", NULL},
    {"profile", "trust_registrar", AVOW_CONF_BOOL, "false", 0, 0, NULL,
     "believe the registrar's result", NULL},
};
static const struct avow_conf_spec profile_spec = {.program = "avow-enroll-profile",
                                                   .options = profile_options,
                                                   .count = AVOW_ARRAY_LEN(profile_options)};

struct enroller {
    struct avow_cli *cli;
    struct avow_conf *profile; /* owned */
    struct avow_agent_plan plan;
    struct avow_pcr_policy pcrs; /* that the plan borrows; owned */
    const char *pattern;
    struct avow_arena arena; /* of one identity */
    bool once;
    uint64_t enrolled, refused, known;
};

/* --- One identity --- */

static enum avow_rc report(struct enroller *r, const char *id, uint64_t generation,
                           const char *refusal, struct avow_err *err)
{
    if (refusal)
        r->refused++;
    else
        r->enrolled++;
    if (r->cli->format == AVOW_FORMAT_JSON)
        return avow_json_line(
            json_pack("{s:o,s:b,s:o,s:o}", "agent", avow_json_cstr(id), "enrolled", refusal == NULL,
                      "generation", avow_json_u64(generation), "reason", avow_json_cstr(refusal)),
            err);
    if (refusal)
        avow_cli_note("%s is not enrolled: %s", id, refusal);
    else
        printf("%s enrolled, generation %" PRIu64 "\n", id, generation);
    fflush(stdout);
    return AVOW_OK;
}

static enum avow_rc enrol(struct enroller *r, const char *id, const struct avow_identity *identity,
                          uint64_t *generation, struct avow_err *err)
{
    struct avow_identity_names names;
    struct avow_enrollment e;
    struct avow_agent_plan plan = r->plan;
    AVOW_CLEANUP_VAL(avow_buf_deinit) struct avow_buf summary;
    avow_buf_init(&summary, 4096);
    plan.id = id;
    enum avow_rc rc = avow_identity_check(r->cli, identity, plan.trust_registrar, &summary, err);
    if (!rc)
        rc = avow_identity_names(identity, &names, err);
    if (rc)
        return rc;
    avow_plan_fill(r->cli, &plan, identity, &names, &e);
    rc = avow_ledger_next(r->cli, "enrollments", id, 0,
                          avow_trust_bundle(r->cli->trust)->generation_floor, &e.generation, err);
    if (!rc)
        rc = avow_enrollment_publish(r->cli, &e, err);
    *generation = e.generation;
    return rc;
}

/* Signed here, and not on the topic: an earlier run ended between the two. What was decided then is
 * published as it was signed, be it a removal. */
static enum avow_rc publish_kept(struct enroller *r, const char *id, uint64_t generation,
                                 struct avow_err *err)
{
    char topic[AVOW_TOPIC_NAME_MAX];
    struct avow_str key = avow_str_from(id);
    AVOW_CLEANUP_VAL(avow_buf_deinit) struct avow_buf record;
    avow_buf_init(&record, 64u * 1024u);
    enum avow_rc rc = avow_ledger_get(r->cli, "enrollments", id, generation, &record, err);
    if (!rc)
        rc = avow_trust_verify(r->cli->trust, AVOW_ROLE_ENROLL, key, &avow_wire_enrollment_schema,
                               avow_buf_bytes(&record), err);
    if (rc)
        return avow_err_wrap(err, rc, "the ledger's generation %" PRIu64, generation);
    struct avow_bytes kafka_key = avow_bytes_make(key.ptr, key.len);
    struct avow_bus_record rec = {
        .topic = avow_cli_topic(r->cli, "enrollments", topic),
        .partition = avow_bus_partition_of(kafka_key, avow_trust_bundle(r->cli->trust)->partitions),
        .key = kafka_key,
        .value = avow_buf_bytes(&record)};
    rc = avow_cli_produce(r->cli, &rec, err);
    if (!rc)
        avow_cli_note("%s: published generation %" PRIu64 ", which the ledger had and the topic "
                      "had not",
                      id, generation);
    return rc;
}

/* Only who was never enrolled: a removal and a change of keys are the operator's to judge. That is
 * also what makes a restart harmless. */
static enum avow_rc was_enrolled(struct enroller *r, const char *id, bool *out,
                                 struct avow_err *err)
{
    AVOW_CLEANUP_VAL(avow_fleet_deinit) struct avow_fleet f;
    uint64_t kept = 0;
    enum avow_rc rc = avow_fleet_read(r->cli, AVOW_FLEET_ENROLLMENTS, id, &f, err);
    const struct avow_fleet_agent *a = rc ? NULL : avow_fleet_find(&f, id);
    *out = a && a->has_enrollment;
    if (rc || *out)
        return rc;
    rc = avow_ledger_newest(r->cli, "enrollments", id, &kept, err);
    *out = kept > 0;
    return rc || !kept ? rc : publish_kept(r, id, kept, err);
}

/* What is wrong with one host does not stop the others; what is wrong here does. */
static bool is_about_the_host(enum avow_rc rc)
{
    return rc == AVOW_UNTRUSTED || rc == AVOW_REFUSED || rc == AVOW_PARSE || rc == AVOW_LIMIT;
}

static enum avow_rc take(struct enroller *r, const char *id, const struct avow_identity *identity,
                         struct avow_err *err)
{
    struct avow_err why = {.rc = AVOW_OK};
    bool known = false;
    uint64_t generation = 0;
    enum avow_rc rc = was_enrolled(r, id, &known, err);
    if (rc)
        return rc;
    if (known) {
        r->known++;
        return AVOW_OK;
    }
    rc = enrol(r, id, identity, &generation, &why);
    if (!rc)
        return report(r, id, generation, NULL, err);
    if (is_about_the_host(rc))
        return report(r, id, 0, why.msg, err);
    *err = why;
    return avow_err_wrap(err, rc, "agent %s", id);
}

static enum avow_rc identity_record(void *arg, const struct avow_bus_msg *msg, struct avow_err *err)
{
    struct enroller *r = arg;
    struct avow_identity identity;
    struct avow_err why;
    char id[ID_MAX + 1];
    struct avow_record_in in = {
        .kafka_key = msg->key, .value = msg->value, .partition = msg->partition};
    if (avow_stop_requested())
        return AVOW_STATE;
    if (msg->value_null)
        return AVOW_OK;
    avow_arena_reset(&r->arena);
    if (avow_reader_at_home(r->cli, msg, &why) ||
        avow_open_identity(r->cli->trust, &in, &r->arena, &identity, &why)) {
        avow_cli_note("warning: an identity was refused: %s", why.msg);
        return AVOW_OK;
    }
    if (identity.status != AVOW_IDENTITY_STATUS_ACTIVE ||
        !avow_str_copy(id, sizeof id, identity.key) || fnmatch(r->pattern, id, 0) != 0)
        return AVOW_OK;
    return take(r, id, &identity, err);
}

/* --- The newest identity of each, then what comes --- */

static enum avow_rc take_present(struct enroller *r, struct avow_err *err)
{
    AVOW_CLEANUP_VAL(avow_fleet_deinit) struct avow_fleet f;
    char id[ID_MAX + 1];
    enum avow_rc rc = avow_fleet_read(r->cli, AVOW_FLEET_IDENTITIES, NULL, &f, err);
    if (!rc)
        avow_fleet_warn(&f);
    for (size_t i = 0; i < f.count && !rc && !avow_stop_requested(); i++) {
        const struct avow_fleet_agent *a = &f.agents[i];
        if (a->has_identity && a->identity.status == AVOW_IDENTITY_STATUS_ACTIVE &&
            avow_str_copy(id, sizeof id, a->id) && !fnmatch(r->pattern, id, 0))
            rc = take(r, id, &a->identity, err);
    }
    return rc;
}

static enum avow_rc enrol_all(struct enroller *r, struct avow_err *err)
{
    AVOW_CLEANUP(avow_reader_free) struct avow_reader *identities = NULL;
    struct avow_reader_opts place = {.base = "identities"};
    struct avow_follow follow = {.fn = identity_record, .arg = r};
    enum avow_rc rc = avow_cli_trust(r->cli, err);
    if (!rc)
        rc = avow_plan_check_policies(r->cli, &r->plan, err);
    if (!rc)
        rc = avow_plan_check_intervals(r->cli, &r->plan, err);
    if (!rc && !r->once) /* before the present ones: nobody falls between */
        rc = avow_reader_open(r->cli, &place, &identities, err);
    if (!rc)
        rc = take_present(r, err);
    return rc || r->once ? rc : avow_reader_follow(r->cli, identities, &follow, err);
}

/* --- The profile --- */

static enum avow_rc load_profile(struct enroller *r, const char *path, struct avow_err *err)
{
    char *const no_environment[] = {NULL};
    enum avow_rc rc =
        avow_conf_load(&profile_spec, path, NULL, 0, no_environment, &r->profile, err);
    if (rc)
        return avow_err_wrap(err, AVOW_CONFIG, "--profile");
    const struct avow_conf *c = r->profile;
    r->pattern = avow_conf_str(c, "profile", "id");
    if (!r->pattern) {
        avow_cli_hint(r->cli, "id = * enrols everybody whose TPM passes the checks: say so if you "
                              "mean it");
        return avow_err_set(err, AVOW_CONFIG, 0, "--profile: %s has no id in section [profile]",
                            path);
    }
    r->plan = (struct avow_agent_plan){
        .id = "profile",
        .runtime_policy = avow_conf_str(c, "profile", "runtime_policy"),
        .boot_policy = avow_conf_str(c, "profile", "boot_policy"),
        .verify_keys = avow_conf_str(c, "profile", "verify_keys"),
        .severity = avow_conf_str(c, "profile", "severity"),
        .check_signatures = avow_conf_bool(c, "profile", "check_signatures"),
        .pcr_policy = avow_conf_str(c, "profile", "tpm_policy"),
        .metadata = avow_conf_str(c, "profile", "metadata"),
        .recovery_text = avow_conf_str(c, "profile", "recovery"),
        .heartbeat_ms = avow_conf_u64(c, "profile", "heartbeat"),
        .silent_after_ms = avow_conf_u64(c, "profile", "silent_after"),
        .validity_ms = avow_conf_u64(c, "profile", "validity"),
        .allow_padded = avow_conf_bool(c, "profile", "allow_padded"),
        .strict_excludes = avow_conf_bool(c, "profile", "strict_excludes"),
        .trust_registrar = avow_conf_bool(c, "profile", "trust_registrar")};
    if (avow_conf_str(c, "profile", "allow"))
        r->plan.allow = (struct avow_opt_list){{avow_conf_str(c, "profile", "allow")}, 1};
    if (avow_plan_check("--profile", &r->plan, err))
        return err->rc = AVOW_CONFIG;
    if (!r->plan.pcr_policy)
        return AVOW_OK;
    r->plan.pcrs = &r->pcrs;
    return avow_pcr_policy_read(r->plan.pcr_policy, &r->pcrs, err);
}

enum avow_exit avow_cmd_enroll(struct avow_cli *cli, int argc, char **argv)
{
    const char *profile = NULL;
    bool watch = false;
    struct enroller r = {.cli = cli};
    const struct avow_opt opts[] = {
        AVOW_TEXT("--profile", &profile, "FILE", "what every new agent must satisfy, see below"),
        AVOW_FLAG("--watch", &watch, "go on with everybody who registers later"),
        AVOW_FLAG("--once", &r.once, "enrol who is registered now, and end"),
    };
    const struct avow_command command = {
        .name = "enroll",
        .words = "",
        .about = "Enrols every registered agent that was never enrolled, after the checks of "
                 "`agent add`, with the\ndemands of a profile. Removed agents and changed keys are "
                 "left to the operator. Can be restarted at\nany time; SIGTERM ends it.\n\n"
                 "The profile is an INI file with a section [profile]: id (shell pattern, "
                 "required), runtime_policy,\nboot_policy, verify_keys, severity, "
                 "check_signatures, metadata, recovery, heartbeat, silent_after, "
                 "validity, tpm_policy, allow, allow_padded, "
                 "strict_excludes,\ntrust_registrar.\n\nExit 0; with "
                 "--once 4 if one was refused.",
        .opts = opts,
        .n_opts = AVOW_ARRAY_LEN(opts)};
    const char *pos[AVOW_COMMAND_WORDS_MAX] = {NULL};
    struct avow_err err = {.rc = AVOW_OK};
    enum avow_exit code;
    if (!avow_command_begin(cli, &command, argc, argv, pos, &code))
        return code;
    if (!profile || watch == r.once) {
        (void)avow_err_set(&err, AVOW_USAGE, 0,
                           "enroll: needs --profile FILE, and --watch or --once");
        return avow_cli_usage(command.name, &err);
    }
    avow_stop_install();
    avow_arena_init(&r.arena, AVOW_WIRE_ARENA_MAX);
    enum avow_rc rc = load_profile(&r, profile, &err);
    if (!rc)
        rc = enrol_all(&r, &err);
    if (!rc)
        avow_cli_note("%" PRIu64 " enrolled, %" PRIu64 " refused, %" PRIu64 " known before",
                      r.enrolled, r.refused, r.known);
    avow_arena_deinit(&r.arena);
    avow_conf_free(r.profile);
    avow_pcr_policy_deinit(&r.pcrs);
    if (rc)
        return avow_cli_fail(cli, rc, &err);
    return r.once && r.refused ? AVOW_EXIT_UNTRUSTED : AVOW_EXIT_OK;
}
