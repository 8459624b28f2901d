/* `avow keys author`: who may sign envelopes around policies. The private key stays where policies
 * are made. */
#include "commands.h"

#include "avow/base/file.h"
#include "avow/crypto/key.h"
#include "keys_change.h"

#include <stdio.h>

#include "avow/base/banned.h"

#define KEY_FILE_MAX (64u * 1024u)

struct author {
    struct avow_keys_opts change; /* the first: avow_keys_change hands it back */
    struct avow_opt_list names;
};

static enum avow_rc read_key(const char *path, struct avow_pubkey **out, struct avow_err *err)
{
    AVOW_CLEANUP_VAL(avow_buf_deinit) struct avow_buf pem;
    AVOW_CLEANUP(avow_pubkey_free) struct avow_pubkey *key = NULL;
    avow_buf_init(&pem, KEY_FILE_MAX);
    enum avow_rc rc = avow_file_read(path, &pem, err);
    if (!rc && avow_pubkey_from_pem(avow_buf_bytes(&pem), &key, err))
        rc = avow_err_wrap(err, err->rc, "%s", path);
    if (!rc && avow_pubkey_kind(key) != AVOW_KEY_EC_P256)
        rc = avow_err_set(err, AVOW_PARSE, 0, "%s: the trust bundle holds P-256 keys only", path);
    if (!rc)
        *out = AVOW_STEAL(key);
    return rc;
}

static enum avow_rc author_add(struct avow_keyset *k, struct avow_keys_opts *o, const char *path,
                               struct avow_err *err)
{
    static const enum avow_role roles[] = {AVOW_ROLE_POLICY_AUTHOR};
    const struct author *a = (const struct author *)o;
    struct avow_str names[AVOW_OPT_LIST_MAX];
    AVOW_CLEANUP(avow_pubkey_free) struct avow_pubkey *key = NULL;
    struct avow_bundle_key like = {
        .alg = AVOW_KEY_ALG_ECDSA_P256, .roles = roles, .roles_count = AVOW_ARRAY_LEN(roles)};
    for (size_t i = 0; i < a->names.count; i++)
        names[i] = avow_str_from(a->names.items[i]);
    like.names = names;
    like.names_count = a->names.count;
    enum avow_rc rc = read_key(path, &key, err);
    if (!rc)
        rc = avow_keyset_add_public(k, avow_pubkey_spki(key), &like, err);
    if (!rc)
        rc = avow_keyset_commit(k, err);
    if (!rc)
        snprintf(o->next, sizeof o->next,
                 "`avow policy sign` with its private key, and `avow policy push --require-dsse`");
    return rc;
}

enum avow_exit avow_cmd_keys_author(struct avow_cli *cli, int argc, char **argv)
{
    struct author a = {.names = {.count = 0}};
    const struct avow_opt opts[] = {
        AVOW_LIST("--name", &a.names, "PATTERN",
                  "a policy name that it may sign for, * for any characters; all without one"),
        AVOW_KEYS_SET_OPTIONS(a.change)};
    const struct avow_command command = {
        .name = "keys author",
        .words = "add PEM",
        .about = "Makes a bundle in which this public key may sign envelopes around policies, and "
                 "nothing else. Needs\nthe root key. `avow keys revoke` takes the leave back.",
        .opts = opts,
        .n_opts = AVOW_ARRAY_LEN(opts),
        .min_words = 2,
        .max_words = 2};
    const char *pos[AVOW_COMMAND_WORDS_MAX] = {NULL};
    enum avow_exit code;
    if (!avow_command_begin(cli, &command, argc, argv, pos, &code))
        return code;
    struct avow_err err = {.rc = AVOW_OK};
    if (avow_cstr_eq(pos[0], "add"))
        return avow_keys_change(cli, &a.change, pos[1], author_add);
    (void)avow_err_set(&err, AVOW_USAGE, 0, "keys author: '%.60s' is not add", pos[0]);
    return avow_cli_usage(command.name, &err);
}
