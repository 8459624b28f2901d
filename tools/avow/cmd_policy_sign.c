/* `avow policy sign` and `verify`: signed envelopes (DSSE), as Keylime's tools read and write them.
 * No broker. */
#include "commands.h"

#include "avow/base/file.h"
#include "avow/crypto/dsse.h"
#include "json_out.h"
#include "policy_kinds.h"

#include <stdio.h>

#include "avow/base/banned.h"

#define KEY_FILE_MAX (64u * 1024u)

struct sign {
    const char *key, *out, *kind;
    enum avow_policy_kind which;
};

static enum avow_rc sign_run(const struct sign *o, const char *file, struct avow_err *err)
{
    AVOW_CLEANUP_VAL(avow_buf_deinit) struct avow_buf text;
    AVOW_CLEANUP_VAL(avow_buf_deinit) struct avow_buf envelope;
    AVOW_CLEANUP(avow_privkey_free) struct avow_privkey *key = NULL;
    struct avow_policy_summary summary;
    avow_buf_init(&text, AVOW_POLICY_MAX);
    avow_buf_init(&envelope, AVOW_DSSE_TEXT_MAX);
    enum avow_rc rc = avow_file_read(file, &text, err);
    if (rc)
        return rc;
    if (avow_dsse_is_envelope(avow_buf_bytes(&text)))
        return avow_err_set(err, AVOW_EXISTS, 0, "%s is a signed envelope already", file);
    rc = avow_policy_check(o->which, avow_buf_bytes(&text), &summary, err);
    avow_policy_print_notes(file, &summary);
    avow_policy_summary_deinit(&summary);
    if (rc)
        return avow_err_wrap(err, rc, "%s", file);
    rc = avow_privkey_load(o->key, &key, err);
    if (!rc)
        rc = avow_dsse_sign(key, avow_buf_bytes(&text), &envelope, err);
    if (!rc && o->out)
        return avow_file_write(o->out, avow_buf_bytes(&envelope), 0644, err);
    if (!rc)
        (void)fwrite(envelope.ptr, 1, envelope.len, stdout); /* judged when the program ends */
    return rc;
}

enum avow_exit avow_cmd_policy_sign(struct avow_cli *cli, int argc, char **argv)
{
    struct sign o = {.kind = "runtime"};
    const struct avow_opt opts[] = {
        AVOW_TEXT("--key", &o.key, "PEM", "private key of a policy author, P-256"),
        AVOW_TEXT("--kind", &o.kind, "KIND", "of the policy, which is read before it is signed"),
        AVOW_TEXT("--out", &o.out, "FILE", "write there instead of standard output")};
    const struct avow_command command = {
        .name = "policy sign",
        .words = "FILE --key PEM",
        .about = "Puts a policy into a signed envelope (DSSE, ECDSA with SHA-256).",
        .opts = opts,
        .n_opts = AVOW_ARRAY_LEN(opts),
        .min_words = 1,
        .max_words = 1,
        .offline = true};
    const char *pos[AVOW_COMMAND_WORDS_MAX] = {NULL};
    enum avow_exit code;
    if (!avow_command_begin(cli, &command, argc, argv, pos, &code))
        return code;
    struct avow_err err = {.rc = AVOW_OK};
    if (!o.key)
        (void)avow_err_set(&err, AVOW_USAGE, 0, "policy sign: needs --key PEM");
    else if (!avow_policy_kind_from_text(avow_str_from(o.kind), &o.which))
        (void)avow_err_set(&err, AVOW_USAGE, 0, "policy sign: --kind: '%.60s' is no kind", o.kind);
    if (err.rc)
        return avow_cli_usage(command.name, &err);
    enum avow_rc rc = sign_run(&o, pos[0], &err);
    return rc ? avow_cli_fail(cli, rc, &err) : AVOW_EXIT_OK;
}

/* --- verify --- */

struct verify {
    struct avow_opt_list files;
    const char *out;
    struct avow_pubkey *keys[AVOW_OPT_LIST_MAX];
};

static enum avow_rc load_key(const char *file, struct avow_pubkey **out, struct avow_err *err)
{
    AVOW_CLEANUP_VAL(avow_buf_deinit) struct avow_buf pem;
    avow_buf_init(&pem, KEY_FILE_MAX);
    enum avow_rc rc = avow_file_read(file, &pem, err);
    if (!rc && avow_pubkey_from_pem(avow_buf_bytes(&pem), out, err))
        rc = avow_err_wrap(err, err->rc, "%s", file);
    return rc;
}

static enum avow_rc verify_report(const struct avow_cli *cli, const struct verify *o,
                                  const char *file, size_t which, struct avow_err *err)
{
    if (cli->format == AVOW_FORMAT_JSON)
        return avow_json_document(
            json_pack("{s:b,s:s}", "verified", 1, "key", o->files.items[which]), err);
    printf("%s: signed by %s\n", file, o->files.items[which]);
    return AVOW_OK;
}

static enum avow_rc verify_run(const struct avow_cli *cli, struct verify *o, const char *file,
                               struct avow_err *err)
{
    AVOW_CLEANUP_VAL(avow_buf_deinit) struct avow_buf text;
    AVOW_CLEANUP_VAL(avow_policy_seal_deinit) struct avow_policy_seal seal = {.is_envelope = false};
    const struct avow_pubkey *keys[AVOW_OPT_LIST_MAX];
    size_t which = 0;
    avow_buf_init(&text, AVOW_DSSE_TEXT_MAX);
    enum avow_rc rc = avow_file_read(file, &text, err);
    if (!rc && avow_policy_unwrap(&text, &seal, err))
        rc = avow_err_wrap(err, err->rc, "%s", file);
    for (size_t i = 0; i < o->files.count && !rc; i++) {
        rc = load_key(o->files.items[i], &o->keys[i], err);
        keys[i] = o->keys[i];
    }
    if (!rc && !seal.is_envelope)
        rc = avow_err_set(err, AVOW_UNTRUSTED, 0, "%s is not signed", file);
    if (!rc && !avow_dsse_verify(seal.pae_sha256, avow_buf_bytes(&seal.sigs), keys, o->files.count,
                                 &which))
        rc = avow_err_set(err, AVOW_UNTRUSTED, 0, "%s: no signature by any of the keys", file);
    if (!rc && o->out)
        rc = avow_file_write(o->out, avow_buf_bytes(&text), 0644, err);
    return rc ? rc : verify_report(cli, o, file, which, err);
}

enum avow_exit avow_cmd_policy_verify(struct avow_cli *cli, int argc, char **argv)
{
    struct verify o = {.out = NULL};
    const struct avow_opt opts[] = {
        AVOW_LIST("--key", &o.files, "PEM", "public key of a policy author, EC or RSA"),
        AVOW_TEXT("--out", &o.out, "FILE", "write the policy in the envelope there")};
    const struct avow_command command = {
        .name = "policy verify",
        .words = "FILE --key PEM",
        .about = "Checks that one of the keys signed the envelope; keys and key ids inside it "
                 "decide nothing. Exit\ncodes: 0 signed, 4 not signed, or by nobody of these.",
        .opts = opts,
        .n_opts = AVOW_ARRAY_LEN(opts),
        .min_words = 1,
        .max_words = 1,
        .offline = true};
    const char *pos[AVOW_COMMAND_WORDS_MAX] = {NULL};
    enum avow_exit code;
    if (!avow_command_begin(cli, &command, argc, argv, pos, &code))
        return code;
    struct avow_err err = {.rc = AVOW_OK};
    if (!o.files.count) {
        (void)avow_err_set(&err, AVOW_USAGE, 0, "policy verify: needs --key PEM");
        return avow_cli_usage(command.name, &err);
    }
    enum avow_rc rc = verify_run(cli, &o, pos[0], &err);
    for (size_t i = 0; i < AVOW_OPT_LIST_MAX; i++)
        avow_pubkey_free(o.keys[i]);
    return rc ? avow_cli_fail(cli, rc, &err) : AVOW_EXIT_OK;
}
