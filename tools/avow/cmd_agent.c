/* `avow agent add|rm`: enrolments. */
#include "commands.h"

#include "avow/base/clock.h"
#include "avow/base/hex.h"
#include "avow/model/model.h"
#include "avow/trust/records.h"
#include "enroll.h"
#include "fleet.h"
#include "policies.h"
#include "reader.h"
#include "table.h"

#include <stdio.h>
#include <string.h>

#include "avow/base/banned.h"

struct add_opts {
    const char *id;
    const char *runtime_policy;
    const char *metadata;
    const char *recovery;
    uint64_t heartbeat_ms, silent_after_ms, validity_ms, timeout_s;
    bool trust_registrar, allow_padded, strict_excludes, no_wait, help;
};

struct wait_verdict {
    struct avow_cli *cli;
    struct avow_arena arena;
    const char *id;
    uint64_t generation;
    struct avow_verdict verdict;
    bool found;
};

/* Ends the wait at the first verdict of the generation that is more than pending. */
static enum avow_rc wait_record(void *arg, const struct avow_bus_msg *msg, struct avow_err *err)
{
    struct wait_verdict *w = arg;
    struct avow_verdict v;
    struct avow_err why;
    (void)err;
    struct avow_str key = {(const char *)msg->key.ptr, msg->key.len};
    if (msg->value_null || !avow_str_is(key, w->id))
        return AVOW_OK;
    avow_arena_reset(&w->arena);
    struct avow_bytes kept = avow_arena_bytes(&w->arena, msg->value);
    struct avow_bytes kept_key = avow_arena_bytes(&w->arena, msg->key);
    struct avow_record_in in = {.kafka_key = kept_key, .value = kept, .partition = msg->partition};
    if (!kept.ptr || avow_open_verdict(w->cli->trust, &in, &w->arena, &v, &why))
        return AVOW_OK; /* not signed by a worker: never a result */
    if (v.enrollment_generation < w->generation || v.status == AVOW_STATUS_PENDING || v.flags.stale)
        return AVOW_OK;
    w->verdict = v;
    w->found = true;
    return AVOW_STATE;
}

static void print_findings(const struct avow_verdict *v)
{
    for (size_t i = 0; i < v->findings_count; i++) {
        char where[256], detail[512];
        avow_printable(where, sizeof where, v->findings[i].where);
        avow_printable(detail, sizeof detail, v->findings[i].detail);
        printf("  %.*s %s %s\n", (int)v->findings[i].id.len, v->findings[i].id.ptr, where, detail);
    }
    if (v->findings_total > v->findings_count)
        printf("  and %u more\n", (unsigned)(v->findings_total - v->findings_count));
}

static enum avow_exit report_verdict(const struct avow_cli *cli, const struct add_opts *o,
                                     uint64_t generation, const struct avow_verdict *v)
{
    const char *status = avow_status_text(v->status);
    if (cli->format == AVOW_FORMAT_JSON)
        printf("{\"agent\":\"%s\",\"generation\":%llu,\"status\":\"%s\",\"findings\":%u}\n", o->id,
               (unsigned long long)generation, status, (unsigned)v->findings_total);
    else
        printf("%s is %s%s%s (enrolment generation %llu, epoch %llu)\n", o->id,
               avow_status_color(status, cli->color), status, avow_color_reset(cli->color),
               (unsigned long long)generation, (unsigned long long)v->as_of_epoch);
    if (cli->format != AVOW_FORMAT_JSON)
        print_findings(v);
    return v->status == AVOW_STATUS_TRUSTED ? AVOW_EXIT_OK : AVOW_EXIT_UNTRUSTED;
}

static enum avow_exit wait_for_verdict(struct avow_cli *cli, const struct add_opts *o,
                                       uint64_t generation)
{
    struct avow_err err = {.rc = AVOW_OK};
    struct wait_verdict w = {.cli = cli, .id = o->id, .generation = generation};
    avow_arena_init(&w.arena, 1024 * 1024);
    struct avow_follow follow = {.base = "verdicts",
                                 .key = o->id,
                                 .from_start = true,
                                 .timeout_ms = o->timeout_s * 1000,
                                 .fn = wait_record,
                                 .arg = &w};
    enum avow_rc rc = avow_follow_topic(cli, &follow, &err);
    if (rc == AVOW_TIMEOUT)
        avow_err_set(&err, rc, 0,
                     "%s is enrolled, but no verdict of generation %llu came within %llu s: does "
                     "the agent run, and does a worker? `avow agent status %s` shows more",
                     o->id, (unsigned long long)generation, (unsigned long long)o->timeout_s,
                     o->id);
    enum avow_exit code = AVOW_EXIT_FAILED;
    if (rc)
        code = avow_cli_fail(rc, &err);
    else if (w.found)
        code = report_verdict(cli, o, generation, &w.verdict);
    avow_arena_deinit(&w.arena);
    return code;
}

/* Identity and earlier enrolment of the agent, and the policy's head, as they are on the topics. */
static enum avow_rc look_up(struct avow_cli *cli, const struct add_opts *o, struct avow_fleet *f,
                            const struct avow_fleet_agent **agent, struct avow_err *err)
{
    enum avow_rc rc =
        avow_fleet_read(cli, AVOW_FLEET_IDENTITIES | AVOW_FLEET_ENROLLMENTS, o->id, f, err);
    if (rc)
        return rc;
    *agent = avow_fleet_find(f, avow_str_from(o->id));
    if ((!*agent || !(*agent)->has_identity) && f->refused)
        return avow_err_set(err, AVOW_UNTRUSTED, 0, "the identity of %s is refused: %s", o->id,
                            f->last_refusal.msg);
    if (!*agent || !(*agent)->has_identity ||
        (*agent)->identity.status != AVOW_IDENTITY_STATUS_ACTIVE)
        return avow_err_set(err, AVOW_NOTFOUND, 0,
                            "%s has not registered: start its avow-agent, then try again "
                            "(`curl REGISTRAR/v2.6/agents/%s` shows its registration)",
                            o->id, o->id);
    if (!o->runtime_policy)
        return AVOW_OK;
    AVOW_CLEANUP_VAL(avow_policy_list_deinit) struct avow_policy_list list;
    rc = avow_policy_list_read(cli, &list, err);
    if (!rc && !avow_policy_list_find(&list, avow_str_from(o->runtime_policy)))
        rc = avow_err_set(err, AVOW_NOTFOUND, 0,
                          "there is no policy '%s': `avow policy push %s FILE` publishes one",
                          o->runtime_policy, o->runtime_policy);
    return rc;
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
    const struct avow_bundle *b = avow_trust_bundle(cli->trust);
    uint64_t generation = agent->has_enrollment ? agent->enrollment.generation + 1 : 1;
    signers[0] = avow_tpm_name_bytes(&names->signers[0]);
    signers[1] = avow_tpm_name_bytes(&names->signers[1]);
    *e = (struct avow_enrollment){
        .key = avow_str_from(o->id),
        .generation = generation < b->generation_floor ? b->generation_floor : generation,
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
        .metadata = avow_str_from(o->metadata),
    };
    memcpy(e->fleet, b->fleet, sizeof e->fleet);
    e->flags.allow_padded = o->allow_padded;
    e->flags.strict_excludes = o->strict_excludes;
    if (o->runtime_policy) {
        e->has_runtime_policy = true;
        e->runtime_policy.has_name = true;
        e->runtime_policy.name = avow_str_from(o->runtime_policy);
    }
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
    if (!rc)
        rc = avow_identity_check(cli, &agent->identity, o->trust_registrar, &summary, err);
    if (!rc)
        rc = avow_identity_names(&agent->identity, &names, err);
    if (rc)
        return avow_err_wrap(err, rc, "agent %s", o->id);
    fprintf(stderr, "avow: %s\n", avow_buf_cstr(&summary));
    fill_enrollment(cli, o, agent, &names, signers, &e);
    if (!avow_recovery_from_text(avow_str_from(o->recovery), &e.recovery))
        return avow_err_set(err, AVOW_USAGE, 0, "--recovery: '%s' is not auto or operator",
                            o->recovery);
    *generation = e.generation;
    return avow_enrollment_publish(cli, &e, err);
}

static enum avow_rc add_check(const struct add_opts *o, size_t n, struct avow_err *err)
{
    if (n != 1)
        return avow_err_set(err, AVOW_USAGE, 0, "needs the agent's id");
    if (!avow_name_is_valid(avow_str_from(o->id)))
        return avow_err_set(err, AVOW_USAGE, 0,
                            "'%s' is no agent id: letters, digits, '.', '_', '-', at most 128",
                            o->id);
    if (strlen(o->metadata) > 4096)
        return avow_err_set(err, AVOW_USAGE, 0, "--metadata: more than 4096 bytes");
    if (o->heartbeat_ms > 86400000 || o->silent_after_ms > 604800000 || o->validity_ms > 604800000)
        return avow_err_set(err, AVOW_USAGE, 0, "an interval is longer than a week");
    return AVOW_OK;
}

enum avow_exit avow_cmd_agent_add(struct avow_cli *cli, int argc, char **argv)
{
    struct add_opts o = {.metadata = "", .recovery = "auto", .timeout_s = 120};
    const struct avow_opt opts[] = {
        {"--runtime-policy", AVOW_OPT_STR, &o.runtime_policy, "NAME", "judge IMA entries by it"},
        {"--metadata", AVOW_OPT_STR, &o.metadata, "TEXT", "copied into revocations"},
        {"--recovery", AVOW_OPT_STR, &o.recovery, "auto|operator", "how trust comes back (auto)"},
        {"--heartbeat-ms", AVOW_OPT_U64, &o.heartbeat_ms, "MS", "instead of the fleet's"},
        {"--silent-after-ms", AVOW_OPT_U64, &o.silent_after_ms, "MS", "instead of the fleet's"},
        {"--validity-ms", AVOW_OPT_U64, &o.validity_ms, "MS", "instead of the fleet's"},
        {"--allow-padded", AVOW_OPT_FLAG, &o.allow_padded, NULL, "banks padded with SHA-1"},
        {"--strict-excludes", AVOW_OPT_FLAG, &o.strict_excludes, NULL,
         "excludes match whole paths"},
        {"--trust-registrar", AVOW_OPT_FLAG, &o.trust_registrar, NULL,
         "do not check the EK chain here"},
        {"--no-wait", AVOW_OPT_FLAG, &o.no_wait, NULL, "do not wait for the first verdict"},
        {"--timeout", AVOW_OPT_U64, &o.timeout_s, "S", "how long to wait (120)"},
        {"--help", AVOW_OPT_FLAG, &o.help, NULL, "this text"},
    };
    struct avow_err err = {.rc = AVOW_OK};
    size_t n = 0;
    uint64_t generation = 0;
    enum avow_rc rc = avow_opts_parse(opts, AVOW_ARRAY_LEN(opts), argc, argv, &o.id, 1, &n, &err);
    if (!rc && o.help) {
        printf("usage: avow agent add ID [OPTION...]\n\n"
               "Checks the identity that the registrar published, pins its keys in a signed\n"
               "enrolment, and waits for the first verdict.\n\noptions:\n");
        avow_opts_help(opts, AVOW_ARRAY_LEN(opts));
        return AVOW_EXIT_OK;
    }
    if (!rc)
        rc = add_check(&o, n, &err);
    if (rc)
        return avow_cli_usage("agent add", &err);
    rc = add_publish(cli, &o, &generation, &err);
    if (rc)
        return avow_cli_fail(rc, &err);
    if (!o.no_wait)
        return wait_for_verdict(cli, &o, generation);
    if (cli->format == AVOW_FORMAT_JSON)
        printf("{\"agent\":\"%s\",\"generation\":%llu}\n", o.id, (unsigned long long)generation);
    else
        printf("%s enrolled, generation %llu\n", o.id, (unsigned long long)generation);
    return AVOW_EXIT_OK;
}

enum avow_exit avow_cmd_agent_rm(struct avow_cli *cli, int argc, char **argv)
{
    const char *id = NULL;
    bool help = false;
    const struct avow_opt opts[] = {{"--help", AVOW_OPT_FLAG, &help, NULL, "this text"}};
    struct avow_err err = {.rc = AVOW_OK};
    size_t n = 0;
    enum avow_rc rc = avow_opts_parse(opts, 1, argc, argv, &id, 1, &n, &err);
    if (!rc && help) {
        printf("usage: avow agent rm ID\n\nPublishes a signed removal: workers stop appraising "
               "the agent.\n");
        return AVOW_EXIT_OK;
    }
    if (!rc && n != 1)
        rc = avow_err_set(&err, AVOW_USAGE, 0, "needs the agent's id");
    if (rc)
        return avow_cli_usage("agent rm", &err);
    AVOW_CLEANUP_VAL(avow_fleet_deinit) struct avow_fleet fleet;
    rc = avow_fleet_read(cli, AVOW_FLEET_ENROLLMENTS, id, &fleet, &err);
    const struct avow_fleet_agent *agent = rc ? NULL : avow_fleet_find(&fleet, avow_str_from(id));
    if (!rc && (!agent || agent->enrollment.status == AVOW_ENROLL_STATUS_REMOVED))
        rc = avow_err_set(&err, AVOW_NOTFOUND, 0, "%s is not enrolled", id);
    if (!rc) {
        struct avow_enrollment e = agent->enrollment;
        e.status = AVOW_ENROLL_STATUS_REMOVED;
        e.generation++;
        e.issued_ms = avow_clock_unix_ms();
        rc = avow_enrollment_publish(cli, &e, &err);
    }
    if (rc)
        return avow_cli_fail(rc, &err);
    if (cli->format == AVOW_FORMAT_JSON)
        printf("{\"agent\":\"%s\",\"removed\":true}\n", id);
    else
        printf("%s removed\n", id);
    return AVOW_EXIT_OK;
}
