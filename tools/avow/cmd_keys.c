/* `avow keys list|worker|tenant|root`: the keys of an installation (PROTOCOL B5). */
#include "commands.h"

#include "avow/base/file.h"
#include "avow/base/hex.h"
#include "avow/crypto/rng.h"
#include "avow/model/model.h"
#include "json_out.h"
#include "keys_change.h"
#include "table.h"
#include "trust_view.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "avow/base/banned.h"

#define PEM_MAX (64u * 1024u)
#define PATH_LIMIT 4200u
#define MAC_LEN 32u

static enum avow_rc path_in(const char *folder, const char *name, char out[PATH_LIMIT],
                            struct avow_err *err)
{
    int n = snprintf(out, PATH_LIMIT, "%s/%s", folder, name);
    return n > 0 && (unsigned)n < PATH_LIMIT
               ? AVOW_OK
               : avow_err_set(err, AVOW_LIMIT, 0, "%.100s: the path is too long", folder);
}

/* `avow keys worker new DIR`: the verb stands behind two words. */
static bool begin_new(struct avow_cli *cli, const struct avow_command *c, int argc, char **argv,
                      const char *pos[AVOW_COMMAND_WORDS_MAX], enum avow_exit *code)
{
    struct avow_err err = {.rc = AVOW_OK};
    if (!avow_command_begin(cli, c, argc, argv, pos, code))
        return false;
    if (avow_cstr_eq(pos[0], "new"))
        return true;
    (void)avow_err_set(&err, AVOW_USAGE, 0, "%s: '%.60s' is not new", c->name, pos[0]);
    *code = avow_cli_usage(c->name, &err);
    return false;
}

/* --- list --- */

static void roles_text(const struct avow_bundle_key *key, char out[160])
{
    size_t used = 0;
    out[0] = '\0';
    for (size_t i = 0; i < key->roles_count && used < 140; i++) {
        int n =
            snprintf(out + used, 160 - used, "%s%s", i ? "," : "", avow_role_text(key->roles[i]));
        used += n > 0 ? (size_t)n : 0;
    }
}

static json_t *key_json(const struct avow_bundle_key *key, bool ours)
{
    json_t *roles = json_array();
    for (size_t i = 0; i < key->roles_count && roles; i++)
        if (json_array_append_new(roles, json_string(avow_role_text(key->roles[i])))) {
            json_decref(roles);
            roles = NULL;
        }
    return json_pack("{s:o,s:o,s:s,s:s,s:b}", "id", avow_json_hex(AVOW_BYTES_OF(key->id)), "roles",
                     roles, "status", avow_key_status_text(key->status), "algorithm",
                     avow_key_alg_text(key->alg), "ours", (int)ours);
}

static enum avow_rc list_json(const struct avow_bundle *b, const uint8_t ours[8],
                              struct avow_err *err)
{
    json_t *keys = json_array();
    for (size_t i = 0; i < b->keys_count && keys; i++) {
        bool mine = avow_bytes_eq(AVOW_BYTES_OF(b->keys[i].id), avow_bytes_make(ours, 8));
        if (json_array_append_new(keys, key_json(&b->keys[i], mine))) {
            json_decref(keys);
            keys = NULL;
        }
    }
    return avow_json_document(
        json_pack("{s:o,s:o}", "version", avow_json_u64(b->version), "keys", keys), err);
}

static enum avow_rc list_table(const struct avow_cli *cli, const struct avow_bundle *b,
                               const uint8_t ours[8], struct avow_err *err)
{
    static const char *const titles[] = {"ID", "STATUS", "ROLES", "HELD BY"};
    struct avow_table t;
    avow_table_init(&t, titles, AVOW_ARRAY_LEN(titles));
    for (size_t i = 0; i < b->keys_count; i++) {
        char id[17], roles[160];
        avow_keys_hex(&b->keys[i], id);
        roles_text(&b->keys[i], roles);
        bool mine = avow_bytes_eq(AVOW_BYTES_OF(b->keys[i].id), avow_bytes_make(ours, 8));
        avow_table_cell(&t, "%s", id);
        avow_table_cell(&t, "%s", avow_key_status_text(b->keys[i].status));
        avow_table_cell(&t, "%s", roles);
        avow_table_cell(&t, "%s", mine ? "cli.tenant_key" : "-");
    }
    enum avow_rc rc = avow_table_print(&t, cli->color, err);
    avow_table_deinit(&t);
    return rc;
}

enum avow_exit avow_cmd_keys_list(struct avow_cli *cli, int argc, char **argv)
{
    const struct avow_command command = {
        .name = "keys list",
        .words = "",
        .about = "Shows the keys of the trust bundle that the topic serves."};
    const char *pos[AVOW_COMMAND_WORDS_MAX] = {NULL};
    struct avow_err err = {.rc = AVOW_OK};
    AVOW_CLEANUP(avow_privkey_free) struct avow_privkey *mine = NULL;
    uint8_t ours[8] = {0};
    enum avow_exit code;
    if (!avow_command_begin(cli, &command, argc, argv, pos, &code))
        return code;
    enum avow_rc rc = avow_cli_trust(cli, &err);
    if (rc)
        return avow_cli_fail(cli, rc, &err);
    const char *path = avow_conf_str(cli->conf, "cli", "tenant_key");
    if (path && !avow_privkey_load(path, &mine, NULL))
        avow_key_id(avow_privkey_spki(mine), ours);
    const struct avow_bundle *b = avow_trust_bundle(cli->trust);
    rc =
        cli->format == AVOW_FORMAT_JSON ? list_json(b, ours, &err) : list_table(cli, b, ours, &err);
    return rc ? avow_cli_fail(cli, rc, &err) : AVOW_EXIT_OK;
}

/* --- worker new --- */

/* The MAC key that the present states are under; *has false when none is to be carried over. */
static enum avow_rc previous_mac(const struct avow_keyset *k, const struct avow_keys_opts *o,
                                 uint8_t mac[MAC_LEN], bool *has, struct avow_err *err)
{
    char path[PATH_LIMIT];
    AVOW_CLEANUP_VAL(avow_buf_deinit) struct avow_buf raw;
    avow_buf_init(&raw, MAC_LEN + 1);
    *has = !o->previous || !avow_cstr_eq(o->previous, "none");
    if (!*has)
        return AVOW_OK;
    enum avow_rc rc = o->previous ? path_in(o->previous, "mac.key", path, err)
                                  : path_in(k->folder, "../worker/mac.key", path, err);
    if (!rc)
        rc = avow_file_read(path, &raw, err);
    if (!rc && raw.len != MAC_LEN)
        rc = avow_err_set(err, AVOW_PARSE, 0, "%s is not 32 bytes long", path);
    if (rc) {
        avow_cli_hint(k->cli, "--previous FOLDER names the present worker keys: without their "
                              "mac.key every state is lost; --previous none means that (after a "
                              "theft)");
        return avow_err_wrap(err, AVOW_CONFIG, "the present MAC key");
    }
    memcpy(mac, raw.ptr, MAC_LEN);
    avow_wipe(raw.ptr, raw.len);
    return AVOW_OK;
}

static enum avow_rc save_secret(const char *folder, const char *name, const uint8_t mac[MAC_LEN],
                                struct avow_err *err)
{
    char path[PATH_LIMIT];
    enum avow_rc rc = path_in(folder, name, path, err);
    return rc ? rc : avow_file_write(path, avow_bytes_make(mac, MAC_LEN), 0600, err);
}

static enum avow_rc save_key(const char *folder, const char *name, struct avow_privkey **out,
                             struct avow_err *err)
{
    char path[PATH_LIMIT];
    enum avow_rc rc = path_in(folder, name, path, err);
    if (!rc)
        rc = avow_privkey_generate(out, err);
    return rc ? rc : avow_privkey_save(*out, path, err);
}

static enum avow_rc empty_folder(struct avow_keyset *k, const char *folder,
                                 const char *const *names, size_t n, struct avow_err *err)
{
    char path[PATH_LIMIT];
    for (size_t i = 0; i < n; i++) {
        enum avow_rc rc = path_in(folder, names[i], path, err);
        if (rc)
            return rc;
        if (avow_file_exists(path)) {
            avow_cli_hint(k->cli, "choose a new folder: the old keys are needed until the new "
                                  "ones are in use everywhere");
            return avow_err_set(err, AVOW_EXISTS, 0, "%s is there: keys are never replaced", path);
        }
    }
    return avow_file_mkdirs(folder, 0700, err);
}

struct worker_keys {
    struct avow_privkey *sign, *kex;
    uint8_t mac[MAC_LEN], previous[MAC_LEN];
    bool has_previous;
};

static enum avow_rc make_worker(const char *folder, struct worker_keys *w, struct avow_err *err)
{
    enum avow_rc rc = save_key(folder, "sign.pem", &w->sign, err);
    if (!rc)
        rc = save_key(folder, "kex.pem", &w->kex, err);
    if (!rc)
        rc = avow_rng_fill(w->mac, sizeof w->mac, err);
    if (!rc)
        rc = save_secret(folder, "mac.key", w->mac, err);
    if (!rc && w->has_previous)
        rc = save_secret(folder, "mac.prev", w->previous, err);
    return rc;
}

static enum avow_rc add_worker(struct avow_keyset *k, const struct worker_keys *w,
                               struct avow_err *err)
{
    static const enum avow_role sign_role[] = {AVOW_ROLE_WORKER};
    static const enum avow_role kex_role[] = {AVOW_ROLE_WORKER_KEX};
    const struct avow_bundle_key sign = {
        .alg = AVOW_KEY_ALG_ECDSA_P256, .roles = sign_role, .roles_count = 1};
    const struct avow_bundle_key kex = {
        .alg = AVOW_KEY_ALG_ECDH_P256, .roles = kex_role, .roles_count = 1};
    enum avow_rc rc = avow_keyset_add(k, w->sign, &sign, err);
    return rc ? rc : avow_keyset_add(k, w->kex, &kex, err);
}

static enum avow_rc worker_new(struct avow_keyset *k, struct avow_keys_opts *o, const char *folder,
                               struct avow_err *err)
{
    static const char *const names[] = {"sign.pem", "kex.pem", "mac.key", "mac.prev"};
    struct worker_keys w = {.sign = NULL};
    enum avow_rc rc = previous_mac(k, o, w.previous, &w.has_previous, err);
    if (!rc)
        rc = empty_folder(k, folder, names, AVOW_ARRAY_LEN(names), err);
    if (!rc)
        rc = make_worker(folder, &w, err);
    if (!rc)
        rc = add_worker(k, &w, err);
    if (!rc)
        rc = avow_keyset_commit(k, err);
    avow_privkey_free(w.sign);
    avow_privkey_free(w.kex);
    avow_wipe(w.mac, sizeof w.mac);
    avow_wipe(w.previous, sizeof w.previous);
    snprintf(o->next, sizeof o->next,
             "when agents have the bundle (some seconds), give %.200s to the workers (worker.keys) "
             "and restart them one by one; when `avow doctor` shows no state under the old MAC "
             "key, `avow keys retire --role worker --old`",
             folder);
    return rc;
}

enum avow_exit avow_cmd_keys_worker(struct avow_cli *cli, int argc, char **argv)
{
    struct avow_keys_opts o = {.previous = NULL};
    const struct avow_opt opts[] = {
        AVOW_TEXT("--previous", &o.previous, "FOLDER",
                  "present worker keys, whose mac.key becomes mac.prev (worker/ of the "
                  "installation), or none"),
        AVOW_KEYS_SET_OPTIONS(o),
    };
    const struct avow_command command = {
        .name = "keys worker",
        .words = "new DIR",
        .about = "Makes new worker keys (sign.pem, kex.pem, mac.key, mac.prev) in a folder of "
                 "their own, and a bundle\nwith the new and the old ones active, so that workers "
                 "can be restarted one by one without a gap.\nNeeds the root key.",
        .opts = opts,
        .n_opts = AVOW_ARRAY_LEN(opts),
        .min_words = 2,
        .max_words = 2};
    const char *pos[AVOW_COMMAND_WORDS_MAX] = {NULL};
    enum avow_exit code;
    if (!begin_new(cli, &command, argc, argv, pos, &code))
        return code;
    return avow_keys_change(cli, &o, pos[1], worker_new);
}

/* --- tenant new --- */

static enum avow_rc tenant_new(struct avow_keyset *k, struct avow_keys_opts *o, const char *path,
                               struct avow_err *err)
{
    static const enum avow_role roles[] = {AVOW_ROLE_ENROLL, AVOW_ROLE_POLICY, AVOW_ROLE_PAYLOAD,
                                           AVOW_ROLE_OPS};
    struct avow_bundle_key like = {
        .alg = AVOW_KEY_ALG_ECDSA_P256, .roles = roles, .roles_count = AVOW_ARRAY_LEN(roles)};
    const struct avow_bundle_key *old = avow_keyset_newest(k, AVOW_ROLE_ENROLL);
    AVOW_CLEANUP(avow_privkey_free) struct avow_privkey *key = NULL;
    char id[17] = "ID";
    if (old) {
        like = *old;
        avow_keys_hex(old, id);
    }
    if (avow_file_exists(path)) {
        avow_cli_hint(k->cli, "choose a new name: the old key signs until the new one is in use");
        return avow_err_set(err, AVOW_EXISTS, 0, "%s is there: keys are never replaced", path);
    }
    enum avow_rc rc = avow_privkey_generate(&key, err);
    if (!rc)
        rc = avow_privkey_save(key, path, err);
    if (!rc)
        rc = avow_keyset_add(k, key, &like, err);
    if (!rc)
        rc = avow_keyset_commit(k, err);
    snprintf(o->next, sizeof o->next,
             "set cli.tenant_key = %.300s; `avow keys resign` signs what is published with it; "
             "then `avow keys retire %s`",
             path, id);
    return rc;
}

enum avow_exit avow_cmd_keys_tenant(struct avow_cli *cli, int argc, char **argv)
{
    struct avow_keys_opts o = {.previous = NULL};
    const struct avow_opt opts[] = {AVOW_KEYS_SET_OPTIONS(o)};
    const struct avow_command command = {
        .name = "keys tenant",
        .words = "new FILE",
        .about = "Makes a new signing key for enrolments and policies, and a bundle in which it is "
                 "active beside the\nold one, with the same roles and names. Needs the root key.",
        .opts = opts,
        .n_opts = AVOW_ARRAY_LEN(opts),
        .min_words = 2,
        .max_words = 2};
    const char *pos[AVOW_COMMAND_WORDS_MAX] = {NULL};
    enum avow_exit code;
    if (!begin_new(cli, &command, argc, argv, pos, &code))
        return code;
    return avow_keys_change(cli, &o, pos[1], tenant_new);
}

/* --- root --- */

/* The PEM text of the anchors that are in use; with two of them a change is under way. */
static enum avow_rc read_anchors(struct avow_cli *cli, struct avow_buf *pem, size_t *n,
                                 struct avow_err *err)
{
    struct avow_pubkey *keys[2] = {NULL, NULL};
    enum avow_rc rc = avow_file_read(avow_conf_str(cli->conf, "cli", "root"), pem, err);
    if (!rc)
        rc = avow_pubkey_list_from_pem(avow_buf_bytes(pem), AVOW_ARRAY_LEN(keys), keys, n, err);
    for (size_t i = 0; i < AVOW_ARRAY_LEN(keys); i++)
        avow_pubkey_free(keys[i]);
    return rc ? avow_cli_bad_setting(err, "root") : AVOW_OK;
}

static enum avow_rc public_pem(const struct avow_privkey *key, struct avow_buf *pem,
                               struct avow_err *err)
{
    AVOW_CLEANUP(avow_pubkey_free) struct avow_pubkey *pub = NULL;
    enum avow_rc rc = avow_pubkey_from_spki(avow_privkey_spki(key), &pub, err);
    return rc ? rc : avow_pubkey_pem(pub, pem, err);
}

static enum avow_rc write_pem(const char *folder, const char *name, const struct avow_buf *pem,
                              struct avow_err *err)
{
    char path[PATH_LIMIT];
    enum avow_rc rc = path_in(folder, name, path, err);
    return rc ? rc : avow_file_write(path, avow_buf_bytes(pem), 0644, err);
}

static enum avow_rc root_new(struct avow_keyset *k, struct avow_keys_opts *o, const char *folder,
                             struct avow_err *err)
{
    static const char *const names[] = {"root.key", "root.pem", "root-new.pem"};
    AVOW_CLEANUP(avow_privkey_free) struct avow_privkey *key = NULL;
    AVOW_CLEANUP_VAL(avow_buf_deinit) struct avow_buf both, alone;
    size_t n = 0;
    avow_buf_init(&both, PEM_MAX);
    avow_buf_init(&alone, PEM_MAX);
    enum avow_rc rc = read_anchors(k->cli, &both, &n, err);
    if (!rc && n != 1) {
        avow_cli_hint(k->cli, "finish that change first: root.pem with the newer key only");
        rc = avow_err_set(err, AVOW_STATE, 0, "cli.root has two keys: a change is under way");
    }
    if (!rc)
        rc = empty_folder(k, folder, names, AVOW_ARRAY_LEN(names), err);
    if (!rc)
        rc = save_key(folder, "root.key", &key, err);
    if (!rc)
        rc = public_pem(key, &alone, err);
    if (rc)
        return rc;
    avow_buf_put(&both, alone.ptr, alone.len);
    rc = avow_buf_status(&both, err);
    if (!rc)
        rc = write_pem(folder, "root.pem", &both, err);
    if (!rc)
        rc = write_pem(folder, "root-new.pem", &alone, err);
    snprintf(o->next, sizeof o->next,
             "1. give %.150s/root.pem (both keys) to every machine as /etc/avow/root.pem, to "
             "cli.root too, and restart what reads it; 2. `avow keys root sign --root-key "
             "%.150s/root.key --publish`; 3. give root-new.pem to every machine, and destroy the "
             "old root key",
             folder, folder);
    return rc;
}

static enum avow_rc root_sign(struct avow_keyset *k, struct avow_keys_opts *o, const char *word,
                              struct avow_err *err)
{
    (void)word;
    snprintf(o->next, sizeof o->next,
             "when `avow doctor` shows that workers serve this version, give root.pem with the "
             "signing key only (root-new.pem) to every machine");
    return avow_keyset_commit(k, err);
}

static enum avow_exit run_root_new(struct avow_cli *cli, struct avow_keys_opts *o,
                                   const char *folder)
{
    struct avow_err err = {.rc = AVOW_OK};
    AVOW_CLEANUP_VAL(avow_keyset_deinit) struct avow_keyset k;
    enum avow_rc rc = avow_keyset_open(cli, &o->set, &k, &err);
    if (!rc)
        rc = root_new(&k, o, folder, &err);
    if (!rc && cli->format == AVOW_FORMAT_JSON)
        rc = avow_json_document(json_pack("{s:o,s:o}", "folder", avow_json_cstr(folder), "next",
                                          avow_json_cstr(o->next)),
                                &err);
    else if (!rc)
        printf("new root key in %s; nothing trusts it yet\nnext: %s\n", folder, o->next);
    return rc ? avow_cli_fail(cli, rc, &err) : AVOW_EXIT_OK;
}

enum avow_exit avow_cmd_keys_root(struct avow_cli *cli, int argc, char **argv)
{
    struct avow_keys_opts o = {.previous = NULL};
    const struct avow_opt opts[] = {AVOW_KEYS_SET_OPTIONS(o)};
    const struct avow_command command = {
        .name = "keys root",
        .words = "new DIR | sign",
        .about = "new: makes a new root key and a root.pem with both keys, for every machine.\n"
                 "sign: signs the next version of the bundle, unchanged, with the key that "
                 "--root-key names.",
        .opts = opts,
        .n_opts = AVOW_ARRAY_LEN(opts),
        .min_words = 1,
        .max_words = 2};
    const char *pos[AVOW_COMMAND_WORDS_MAX] = {NULL};
    struct avow_err err = {.rc = AVOW_OK};
    enum avow_exit code;
    if (!avow_command_begin(cli, &command, argc, argv, pos, &code))
        return code;
    if (avow_cstr_eq(pos[0], "new") && pos[1])
        return run_root_new(cli, &o, pos[1]);
    if (avow_cstr_eq(pos[0], "sign") && !pos[1])
        return avow_keys_change(cli, &o, NULL, root_sign);
    (void)avow_err_set(&err, AVOW_USAGE, 0, "keys root: needs new DIR, or sign");
    return avow_cli_usage(command.name, &err);
}
