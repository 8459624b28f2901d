/* `avow revocation verify`: whether one record, kept somewhere, is a revocation of this fleet. */
#include "commands.h"

#include "avow/base/file.h"
#include "avow/trust/records.h"
#include "avow/wire/json.h"
#include "avow/wire/revocation.h"
#include "trust_view.h"

#include <stdio.h>

#include "avow/base/banned.h"

#define JSON_MAX (1024u * 1024u)
#define BUNDLE_KEY "bundle"

struct verify {
    const char *key;    /* NULL: that in the record */
    const char *bundle; /* NULL: of the topic */
    const char *root;   /* with a bundle of a file; NULL: the configuration's */
    struct avow_root *own_root;
    struct avow_trust *own_trust;
};

/* Without Kafka: the bundle of a file counts if one of the root keys signed it. */
static enum avow_rc trust_of_file(struct avow_cli *cli, struct verify *o, struct avow_err *err)
{
    AVOW_CLEANUP_VAL(avow_buf_deinit) struct avow_buf record;
    const char *root = o->root ? o->root : avow_conf_str(cli->conf, "cli", "root");
    avow_buf_init(&record, AVOW_BUS_VALUE_MAX);
    enum avow_rc rc = avow_root_load(root, &o->own_root, err);
    if (!rc)
        rc = avow_file_read(o->bundle, &record, err);
    if (!rc)
        rc = avow_trust_open(o->own_root, avow_bytes_make(BUNDLE_KEY, sizeof BUNDLE_KEY - 1),
                             avow_buf_bytes(&record), 0, NULL, &o->own_trust, err);
    return rc ? avow_err_wrap(err, rc, "%s", o->bundle) : AVOW_OK;
}

static enum avow_rc open_record(struct avow_cli *cli, struct verify *o, struct avow_bytes value,
                                struct avow_arena *arena, struct avow_revocation *out,
                                struct avow_err *err)
{
    enum avow_rc rc = o->bundle ? trust_of_file(cli, o, err) : avow_cli_trust(cli, err);
    if (!rc)
        rc = avow_revocation_decode(value, arena, out, err);
    if (rc)
        return rc;
    struct avow_str key = o->key ? avow_str_from(o->key) : out->key;
    const struct avow_record_in in = {.kafka_key = avow_bytes_make(key.ptr, key.len),
                                      .value = value};
    return avow_open_revocation(o->bundle ? o->own_trust : cli->trust, &in, arena, out, err);
}

static enum avow_rc report(const struct avow_cli *cli, const struct avow_revocation *r,
                           struct avow_bytes value, struct avow_err *err)
{
    AVOW_CLEANUP_VAL(avow_buf_deinit) struct avow_buf json;
    avow_buf_init(&json, JSON_MAX);
    if (cli->format != AVOW_FORMAT_JSON) {
        printf("signed by a worker of this fleet: %s of %.*s, %s -> %s\n",
               avow_revocation_class_text(r->class), (int)r->key.len, r->key.ptr,
               avow_status_text(r->from), avow_status_text(r->to));
        return AVOW_OK;
    }
    enum avow_rc rc = avow_wire_to_json(value, AVOW_JSON_PLAIN, &json, err);
    if (!rc)
        puts(avow_buf_cstr(&json));
    return rc;
}

static enum avow_rc run(struct avow_cli *cli, struct verify *o, const char *file,
                        struct avow_err *err)
{
    AVOW_CLEANUP_VAL(avow_buf_deinit) struct avow_buf value;
    AVOW_CLEANUP_VAL(avow_arena_deinit) struct avow_arena arena;
    struct avow_revocation r;
    avow_buf_init(&value, AVOW_BUS_VALUE_MAX);
    avow_arena_init(&arena, AVOW_WIRE_ARENA_MAX);
    enum avow_rc rc = avow_file_read(file, &value, err);
    if (rc)
        return rc;
    rc = open_record(cli, o, avow_buf_bytes(&value), &arena, &r, err);
    if (rc == AVOW_PARSE || rc == AVOW_SCHEMA) /* a record that is none has no signature either */
        rc = avow_err_wrap(err, AVOW_UNTRUSTED, "%s is no revocation", file);
    return rc ? rc : report(cli, &r, avow_buf_bytes(&value), err);
}

enum avow_exit avow_cmd_revocation_verify(struct avow_cli *cli, int argc, char **argv)
{
    struct verify o = {.key = NULL};
    const struct avow_opt opts[] = {
        AVOW_TEXT("--key", &o.key, "ID", "the record's key on the topic, if that is known"),
        AVOW_TEXT("--bundle", &o.bundle, "FILE", "trust bundle, as on the topic trust; no Kafka"),
        AVOW_TEXT("--root", &o.root, "FILE", "root key for --bundle; else cli.root"),
    };
    const struct avow_command command = {
        .name = "revocation verify",
        .words = "FILE",
        .about = "Checks that the record in FILE (- is standard input), byte for byte as on the "
                 "topic, is a\nrevocation, recovery, silence or alarm that a worker of this fleet "
                 "signed whose key the trust\nbundle lists. Exit codes: 0 it is, 4 it is not.",
        .opts = opts,
        .n_opts = AVOW_ARRAY_LEN(opts),
        .min_words = 1,
        .max_words = 1};
    const char *pos[AVOW_COMMAND_WORDS_MAX] = {NULL};
    struct avow_err err = {.rc = AVOW_OK};
    enum avow_exit code;
    if (!avow_command_begin(cli, &command, argc, argv, pos, &code))
        return code;
    enum avow_rc rc = run(cli, &o, pos[0], &err);
    avow_trust_free(o.own_trust);
    avow_root_free(o.own_root);
    return rc ? avow_cli_fail(cli, rc, &err) : AVOW_EXIT_OK;
}
