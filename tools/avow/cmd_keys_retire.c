/* `avow keys retire|revoke`: keys that decide nothing any more (PROTOCOL R1 c, B5). */
#include "commands.h"

#include "avow/model/model.h"
#include "fleet.h"
#include "keys_change.h"
#include "markers.h"
#include "policies.h"

#include <stdio.h>

#include "avow/base/banned.h"

static bool is_key(const struct avow_bundle_key *key, const uint8_t proof[8])
{
    return avow_bytes_eq(AVOW_BYTES_OF(key->id), avow_bytes_make(proof, 8));
}

static enum avow_rc still_signs(struct avow_cli *cli, const struct avow_bundle_key *key,
                                const char *what, const char *hint, struct avow_err *err)
{
    char id[17];
    avow_keys_hex(key, id);
    avow_cli_hint(cli, "%s; --force does it all the same", hint);
    return avow_err_set(err, AVOW_STATE, 0, "%s still signs %s", id, what);
}

static const char resign_hint[] = "`avow keys resign` signs it anew with cli.tenant_key";

static enum avow_rc check_enrolments(struct avow_cli *cli, const struct avow_bundle_key *key,
                                     struct avow_err *err)
{
    AVOW_CLEANUP_VAL(avow_fleet_deinit) struct avow_fleet fleet;
    char what[200];
    enum avow_rc rc = avow_fleet_read(cli, AVOW_FLEET_ENROLLMENTS, NULL, &fleet, err);
    for (size_t i = 0; i < fleet.count && !rc; i++) {
        const struct avow_fleet_agent *a = &fleet.agents[i];
        if (!avow_fleet_is_enrolled(a) || !is_key(key, a->enrollment.proof))
            continue;
        snprintf(what, sizeof what, "the enrolment of %.*s", (int)a->id.len, a->id.ptr);
        return still_signs(cli, key, what, resign_hint, err);
    }
    return rc;
}

static enum avow_rc check_policies(struct avow_cli *cli, const struct avow_bundle_key *key,
                                   struct avow_err *err)
{
    AVOW_CLEANUP_VAL(avow_policy_list_deinit) struct avow_policy_list policies;
    char what[200];
    enum avow_rc rc = avow_policy_list_read(cli, &policies, err);
    for (size_t i = 0; i < policies.count && !rc; i++) {
        const struct avow_policy_entry *p = &policies.items[i];
        if (!is_key(key, p->head.proof))
            continue;
        snprintf(what, sizeof what, "policy %.*s", (int)p->name.len, p->name.ptr);
        return still_signs(cli, key, what, resign_hint, err);
    }
    return rc;
}

static enum avow_rc check_worker(struct avow_cli *cli, const struct avow_bundle_key *key,
                                 struct avow_err *err)
{
    AVOW_CLEANUP_VAL(avow_markers_deinit) struct avow_markers markers;
    char what[64];
    enum avow_rc rc = avow_markers_read(cli, &markers, err);
    for (size_t i = 0; i < markers.count && !rc; i++) {
        if (!markers.of[i].found || !is_key(key, markers.of[i].key_id))
            continue;
        snprintf(what, sizeof what, "the newest marker of partition %zu", i);
        return still_signs(cli, key, what, "restart every worker with the new keys", err);
    }
    return rc;
}

static enum avow_rc check_unused(struct avow_cli *cli, const struct avow_bundle_key *key,
                                 struct avow_err *err)
{
    enum avow_rc rc = AVOW_OK; /* re-signing comes first (PROTOCOL R1 c) */
    if (avow_keyset_has_role(key, AVOW_ROLE_ENROLL))
        rc = check_enrolments(cli, key, err);
    if (!rc && avow_keyset_has_role(key, AVOW_ROLE_POLICY))
        rc = check_policies(cli, key, err);
    if (!rc && avow_keyset_has_role(key, AVOW_ROLE_WORKER))
        rc = check_worker(cli, key, err);
    return rc;
}

/* Without an active key of a role nobody can do what it is for. */
static enum avow_rc check_left(struct avow_keyset *k, const struct avow_bundle_key *gone,
                               struct avow_err *err)
{
    for (size_t i = 0; i < gone->roles_count; i++)
        if (!avow_keyset_newest(k, gone->roles[i])) {
            avow_cli_hint(k->cli, "add a new key first: `avow keys worker new DIR`, `avow keys "
                                  "tenant new FILE`; --force does it all the same");
            return avow_err_set(err, AVOW_STATE, 0, "no active key with role %s would be left",
                                avow_role_text(gone->roles[i]));
        }
    return AVOW_OK;
}

static enum avow_rc set_status(struct avow_keyset *k, const struct avow_keys_opts *o, size_t i,
                               enum avow_key_status status, struct avow_err *err)
{
    k->keys[i].status = status;
    enum avow_rc rc = o->force ? AVOW_OK : check_left(k, &k->keys[i], err);
    /* A stolen key is revoked at once, whatever it signs. */
    if (!rc && !o->force && status == AVOW_KEY_STATUS_VERIFY_ONLY)
        rc = check_unused(k->cli, &k->keys[i], err);
    return rc;
}

static enum avow_rc find_key(struct avow_keyset *k, const char *hex, size_t *out,
                             struct avow_err *err)
{
    char id[17];
    for (*out = 0; *out < k->bundle.keys_count; ++*out) {
        avow_keys_hex(&k->keys[*out], id);
        if (avow_cstr_eq(id, hex))
            return AVOW_OK;
    }
    avow_cli_hint(k->cli, "`avow keys list` shows them");
    return avow_err_set(err, AVOW_NOTFOUND, 0, "the bundle has no key '%.40s'", hex);
}

/* All active keys of the role but the newest. */
static enum avow_rc retire_old(struct avow_keyset *k, const struct avow_keys_opts *o,
                               struct avow_err *err)
{
    enum avow_role role;
    size_t retired = 0;
    if (!avow_role_from_text(avow_str_from(o->role), &role))
        return avow_err_set(err, AVOW_USAGE, 0, "--role: '%.60s' is no role", o->role);
    const struct avow_bundle_key *newest = avow_keyset_newest(k, role);
    for (size_t i = 0; i < k->bundle.keys_count; i++) {
        if (&k->keys[i] == newest || k->keys[i].status != AVOW_KEY_STATUS_ACTIVE ||
            !avow_keyset_has_role(&k->keys[i], role))
            continue;
        enum avow_rc rc = set_status(k, o, i, AVOW_KEY_STATUS_VERIFY_ONLY, err);
        if (rc)
            return rc;
        retired++;
    }
    return retired
               ? AVOW_OK
               : avow_err_set(err, AVOW_NOTFOUND, 0,
                              "there is one active key with role %s, and no older one", o->role);
}

static enum avow_rc retire(struct avow_keyset *k, struct avow_keys_opts *o, const char *id,
                           struct avow_err *err)
{
    size_t i = 0;
    enum avow_rc rc = id ? find_key(k, id, &i, err) : retire_old(k, o, err);
    if (!rc && id && k->keys[i].status != AVOW_KEY_STATUS_ACTIVE)
        rc = avow_err_set(err, AVOW_EXISTS, 0, "%s is %s already", id,
                          avow_key_status_text(k->keys[i].status));
    if (!rc && id)
        rc = set_status(k, o, i, AVOW_KEY_STATUS_VERIFY_ONLY, err);
    snprintf(o->next, sizeof o->next, "the private key can be destroyed");
    return rc ? rc : avow_keyset_commit(k, err);
}

static enum avow_rc revoke(struct avow_keyset *k, struct avow_keys_opts *o, const char *id,
                           struct avow_err *err)
{
    size_t i = 0;
    enum avow_rc rc = find_key(k, id, &i, err);
    if (!rc && k->keys[i].status == AVOW_KEY_STATUS_REVOKED)
        rc = avow_err_set(err, AVOW_EXISTS, 0, "%s is revoked already", id);
    if (!rc)
        rc = set_status(k, o, i, AVOW_KEY_STATUS_REVOKED, err);
    snprintf(o->next, sizeof o->next,
             "what this key signed counts no longer: `avow doctor` shows what is missing, `avow "
             "keys resign` signs enrolments and policies anew");
    return rc ? rc : avow_keyset_commit(k, err);
}

static enum avow_rc check_retire(const struct avow_keys_opts *o, const char *id,
                                 struct avow_err *err)
{
    enum avow_role role;
    if ((id != NULL) == (o->role != NULL) || (o->role != NULL) != o->old)
        return avow_err_set(err, AVOW_USAGE, 0, "keys retire: needs ID, or --role ROLE --old");
    if (o->role && !avow_role_from_text(avow_str_from(o->role), &role))
        return avow_err_set(err, AVOW_USAGE, 0, "keys retire: --role: '%.60s' is no role", o->role);
    return AVOW_OK;
}

enum avow_exit avow_cmd_keys_retire(struct avow_cli *cli, int argc, char **argv)
{
    struct avow_keys_opts o = {.previous = NULL};
    const struct avow_opt opts[] = {
        AVOW_TEXT("--role", &o.role, "ROLE", "with --old: the keys of a role"),
        AVOW_FLAG("--old", &o.old, "all active ones but the newest"),
        AVOW_FLAG("--force", &o.force, "also a key that is in use, or the last one of a role"),
        AVOW_KEYS_SET_OPTIONS(o),
    };
    const struct avow_command command = {
        .name = "keys retire",
        .words = "[ID]",
        .about = "Makes a key verify_only: it decides nothing any more, history stays readable. "
                 "Refused while it\nsigns markers, enrolments or policies. Needs the root key.",
        .opts = opts,
        .n_opts = AVOW_ARRAY_LEN(opts),
        .max_words = 1};
    const char *pos[AVOW_COMMAND_WORDS_MAX] = {NULL};
    struct avow_err err = {.rc = AVOW_OK};
    enum avow_exit code;
    if (!avow_command_begin(cli, &command, argc, argv, pos, &code))
        return code;
    return check_retire(&o, pos[0], &err) ? avow_cli_usage(command.name, &err)
                                          : avow_keys_change(cli, &o, pos[0], retire);
}

enum avow_exit avow_cmd_keys_revoke(struct avow_cli *cli, int argc, char **argv)
{
    struct avow_keys_opts o = {.previous = NULL};
    const struct avow_opt opts[] = {
        AVOW_FLAG("--force", &o.force, "also the last active key of a role"),
        AVOW_KEYS_SET_OPTIONS(o),
    };
    const struct avow_command command = {
        .name = "keys revoke",
        .words = "ID",
        .about = "Makes a stolen key revoked: nothing that it ever signed counts any more, history "
                 "neither. Needs the\nroot key.",
        .opts = opts,
        .n_opts = AVOW_ARRAY_LEN(opts),
        .min_words = 1,
        .max_words = 1};
    const char *pos[AVOW_COMMAND_WORDS_MAX] = {NULL};
    enum avow_exit code;
    if (!avow_command_begin(cli, &command, argc, argv, pos, &code))
        return code;
    return avow_keys_change(cli, &o, pos[0], revoke);
}
