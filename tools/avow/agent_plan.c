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
    return AVOW_OK;
}

enum avow_rc avow_plan_check_policy(struct avow_cli *cli, const char *name, struct avow_err *err)
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
    memcpy(e->fleet, avow_trust_bundle(cli->trust)->fleet, sizeof e->fleet);
    e->flags.allow_padded = o->allow_padded;
    e->flags.strict_excludes = o->strict_excludes;
    if (o->runtime_policy) {
        e->has_runtime_policy = true;
        e->runtime_policy.has_name = true;
        e->runtime_policy.name = avow_str_from(o->runtime_policy);
    }
}
