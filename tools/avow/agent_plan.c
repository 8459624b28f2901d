#include "agent_plan.h"

#include "avow/base/clock.h"
#include "avow/model/model.h"
#include "avow/trust/records.h"
#include "policies.h"
#include "trust_view.h"

#include <string.h>

#include "avow/base/banned.h"

#define METADATA_MAX 4096u /* PROTOCOL B2, Enrollment */

enum avow_rc avow_plan_check(const char *command, struct avow_agent_plan *o, struct avow_err *err)
{
    if (!avow_name_is_valid(avow_str_from(o->id)))
        return avow_err_set(err, AVOW_USAGE, 0,
                            "%s: '%.150s' is no agent id: letters, digits, '.', '_', '-', "
                            "at most 128",
                            command, o->id);
    if (!avow_recovery_from_text(avow_str_from(o->recovery_text), &o->recovery))
        return avow_err_set(err, AVOW_USAGE, 0,
                            "%s: --recovery: '%.60s' is not auto or "
                            "operator",
                            command, o->recovery_text);
    if (strlen(o->metadata) > METADATA_MAX || !avow_utf8_is_valid(avow_str_from(o->metadata)))
        return avow_err_set(err, AVOW_USAGE, 0, "%s: --metadata: not UTF-8, or more than %u bytes",
                            command, METADATA_MAX);
    if (o->ek_cert_serial && !avow_ek_serial_parse(o->ek_cert_serial, &o->ek_serial))
        return avow_err_set(err, AVOW_USAGE, 0,
                            "%s: --ek-cert-serial: '%.80s' is no serial number in hex digits",
                            command, o->ek_cert_serial);
    enum avow_rc rc = avow_allow_apply(&o->allow, true, &o->allowed, err);
    return rc ? avow_err_wrap(err, rc, "%s: --allow", command) : AVOW_OK;
}

static enum avow_rc check_policy(struct avow_cli *cli, const struct avow_policy_list *list,
                                 const char *name, enum avow_policy_kind kind, struct avow_err *err)
{
    const struct avow_policy_entry *e = avow_policy_list_find(list, avow_str_from(name));
    if (!e || avow_policy_entry_is_removed(e)) {
        avow_policy_list_warn(list);
        avow_cli_hint(cli,
                      "`avow policy push %s FILE%s%s` publishes one; `avow policy list` shows all",
                      name, kind == AVOW_POLICY_KIND_RUNTIME ? "" : " --kind ",
                      kind == AVOW_POLICY_KIND_RUNTIME ? "" : avow_policy_kind_text(kind));
        return avow_err_set(err, AVOW_NOTFOUND, 0, "there is no policy '%.150s'", name);
    }
    bool fits = e->head.kind == kind ||
                (kind == AVOW_POLICY_KIND_BOOT && e->head.kind == AVOW_POLICY_KIND_REFSTATE);
    return fits ? AVOW_OK
                : avow_err_set(err, AVOW_USAGE, 0, "policy '%.150s' is of kind %s, not %s", name,
                               avow_policy_kind_text(e->head.kind), avow_policy_kind_text(kind));
}

enum avow_rc avow_plan_check_policies(struct avow_cli *cli, const struct avow_agent_plan *o,
                                      struct avow_err *err)
{
    static const enum avow_policy_kind kinds[AVOW_PLAN_REFS] = {
        AVOW_POLICY_KIND_RUNTIME, AVOW_POLICY_KIND_BOOT, AVOW_POLICY_KIND_KEYS,
        AVOW_POLICY_KIND_SEVERITY};
    AVOW_CLEANUP_VAL(avow_policy_list_deinit) struct avow_policy_list list = {.count = 0};
    struct avow_enrollment scratch = {.generation = 0};
    struct avow_plan_ref refs[AVOW_PLAN_REFS];
    enum avow_rc rc = AVOW_OK;
    bool read = false;
    avow_plan_refs(o, &scratch, refs);
    for (size_t i = 0; i < AVOW_PLAN_REFS && !rc; i++) {
        if (!refs[i].name)
            continue;
        if (!read)
            rc = avow_policy_list_read(cli, &list, err);
        read = true;
        if (!rc)
            rc = check_policy(cli, &list, refs[i].name, kinds[i], err);
    }
    return rc;
}

void avow_plan_refs(const struct avow_agent_plan *o, struct avow_enrollment *e,
                    struct avow_plan_ref out[AVOW_PLAN_REFS])
{
    out[0] = (struct avow_plan_ref){&e->has_runtime_policy, &e->runtime_policy, o->runtime_policy};
    out[1] = (struct avow_plan_ref){&e->has_boot_policy, &e->boot_policy, o->boot_policy};
    out[2] = (struct avow_plan_ref){&e->has_verify_keys, &e->verify_keys, o->verify_keys};
    out[3] = (struct avow_plan_ref){&e->has_severity, &e->severity, o->severity};
}

void avow_plan_take_policies(const struct avow_agent_plan *o, struct avow_enrollment *e)
{
    struct avow_plan_ref refs[AVOW_PLAN_REFS];
    avow_plan_refs(o, e, refs);
    for (size_t i = 0; i < AVOW_PLAN_REFS; i++) {
        if (!refs[i].name)
            continue;
        *refs[i].has = true;
        *refs[i].ref =
            (struct avow_policy_ref){.has_name = true, .name = avow_str_from(refs[i].name)};
    }
}

/* The fleet's intervals with the enrolment's own instead: workers would refuse what does not fit
 * (PROTOCOL R29). */
enum avow_rc avow_plan_check_intervals(const struct avow_cli *cli, const struct avow_agent_plan *o,
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

void avow_plan_pin(const struct avow_identity *identity, struct avow_identity_names *names,
                   struct avow_enrollment *e)
{
    names->signer_bytes[0] = avow_tpm_name_bytes(&names->signers[0]);
    names->signer_bytes[1] = avow_tpm_name_bytes(&names->signers[1]);
    e->has_ak_public = true;
    e->ak_public = identity->ak_public;
    e->has_ek_name = true;
    e->ek_name = avow_tpm_name_bytes(&names->ek_name);
    e->qualified_signers = names->signer_bytes;
    e->qualified_signers_count = AVOW_ARRAY_LEN(names->signer_bytes);
}

void avow_plan_fill(const struct avow_cli *cli, const struct avow_agent_plan *o,
                    const struct avow_identity *identity, struct avow_identity_names *names,
                    struct avow_enrollment *e)
{
    static const enum avow_agent_kind kinds[] = {AVOW_AGENT_KIND_AVOW};
    static const enum avow_sign_alg algs[] = {AVOW_SIGN_ALG_RSASSA, AVOW_SIGN_ALG_RSAPSS,
                                              AVOW_SIGN_ALG_ECDSA};
    static const enum avow_hash_alg hashes[] = {AVOW_HASH_ALG_SHA256, AVOW_HASH_ALG_SHA384,
                                                AVOW_HASH_ALG_SHA512};
    static const uint16_t ima_pcrs[] = {10};
    *e = (struct avow_enrollment){
        .key = avow_str_from(o->id),
        .status = AVOW_ENROLL_STATUS_ACTIVE,
        .issued_ms = avow_clock_unix_ms(),
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
    avow_plan_pin(identity, names, e);
    e->has_ek_cert_serial = o->ek_serial.len > 0;
    e->ek_cert_serial = avow_bytes_make(o->ek_serial.bytes, o->ek_serial.len);
    memcpy(e->fleet, avow_trust_bundle(cli->trust)->fleet, sizeof e->fleet);
    e->flags = o->allowed;
    e->flags.allow_padded |= o->allow_padded;
    if (o->pcrs) {
        e->pcrs = o->pcrs->rules;
        e->pcrs_count = o->pcrs->count;
    }
    e->flags.strict_excludes = o->strict_excludes;
    e->flags.check_signatures = o->check_signatures;
    avow_plan_take_policies(o, e);
}
