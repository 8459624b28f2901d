#include "trust_view.h"

#include "avow/base/file.h"
#include "avow/base/hex.h"
#include "avow/crypto/digest.h"
#include "reader.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "avow/base/banned.h"

#define BUNDLE_MAX (32u * 1024u) /* PROTOCOL B6 */
#define ROOT_MAX (64u * 1024u)
#define PATH_LIMIT 4096u

static struct avow_bytes bundle_key(void)
{
    return avow_bytes_make("bundle", 6);
}

enum avow_rc avow_cli_root(struct avow_cli *cli, struct avow_err *err)
{
    if (cli->root)
        return AVOW_OK;
    enum avow_rc rc = avow_root_load(avow_conf_str(cli->conf, "cli", "root"), &cli->root, err);
    if (!rc)
        return AVOW_OK;
    avow_cli_hint(cli, "cli.root names the root.pem of the installation, the public key that "
                       "`avow init` wrote");
    return avow_cli_bad_setting(err, "root");
}

/* --- The newest bundle that this machine has seen: the floor --- */

/* Without a ledger each root key has a file of its own. */
static enum avow_rc state_path(const struct avow_cli *cli, struct avow_buf *path)
{
    const char *state = getenv("XDG_STATE_HOME"), *home = getenv("HOME");
    uint8_t sum[32];
    char hex[17];
    AVOW_CLEANUP_VAL(avow_buf_deinit) struct avow_buf pem;
    avow_buf_init(&pem, ROOT_MAX);
    enum avow_rc rc = avow_file_read(avow_conf_str(cli->conf, "cli", "root"), &pem, NULL);
    if (rc)
        return rc;
    avow_sha256(avow_buf_bytes(&pem), sum);
    avow_hex_encode(hex, avow_bytes_make(sum, 8));
    if (state && state[0] == '/')
        avow_buf_printf(path, "%s/avow/bundle-%s.avro", state, hex);
    else if (home && home[0] == '/')
        avow_buf_printf(path, "%s/.local/state/avow/bundle-%s.avro", home, hex);
    else
        return AVOW_NOTFOUND;
    return avow_buf_status(path, NULL);
}

static enum avow_rc floor_path(const struct avow_cli *cli, struct avow_buf *path)
{
    const char *ledger = avow_conf_str(cli->conf, "cli", "ledger");
    if (!ledger)
        return state_path(cli, path);
    avow_buf_printf(path, "%s/bundle.avro", ledger);
    return avow_buf_status(path, NULL);
}

/* A copy that the root key does not confirm says nothing about versions: it is reported. */
static void load_floor(struct avow_cli *cli)
{
    AVOW_CLEANUP_VAL(avow_buf_deinit) struct avow_buf path, record;
    AVOW_CLEANUP(avow_trust_free) struct avow_trust *known = NULL;
    struct avow_err why;
    avow_buf_init(&path, PATH_LIMIT);
    avow_buf_init(&record, BUNDLE_MAX);
    if (floor_path(cli, &path) || !avow_file_exists(avow_buf_cstr(&path)))
        return;
    enum avow_rc rc = avow_file_read(avow_buf_cstr(&path), &record, &why);
    if (!rc)
        rc = avow_trust_open(cli->root, bundle_key(), avow_buf_bytes(&record), 0, NULL, &known,
                             &why);
    if (rc) {
        avow_cli_note(
            "warning: the newest bundle seen here, %s, is of no use, so a roll-back would "
            "not be noticed: %s",
            avow_buf_cstr(&path), why.msg);
        return;
    }
    const struct avow_bundle *b = avow_trust_bundle(known);
    avow_trust_keeper_remember(&cli->keeper, b->version, b->fleet);
}

static enum avow_rc write_floor(const char *path, const struct avow_trust *t, struct avow_err *err)
{
    char folder[PATH_LIMIT];
    struct avow_str s = avow_str_from(path);
    while (s.len > 1 && s.ptr[s.len - 1] != '/')
        s.len--;
    avow_str_copy(folder, sizeof folder, (struct avow_str){s.ptr, s.len > 1 ? s.len - 1 : s.len});
    enum avow_rc rc = avow_file_mkdirs(folder, 0700, err);
    return rc ? rc : avow_file_write(path, avow_trust_record(t), 0644, err);
}

void avow_cli_trust_keep(const struct avow_cli *cli, const struct avow_trust *t)
{
    AVOW_CLEANUP_VAL(avow_buf_deinit) struct avow_buf path;
    struct avow_err err;
    avow_buf_init(&path, PATH_LIMIT);
    if (floor_path(cli, &path))
        return;
    if (write_floor(avow_buf_cstr(&path), t, &err))
        avow_cli_note("warning: the bundle's version cannot be kept, so a roll-back would not be "
                      "noticed: %s",
                      err.msg);
}

/* --- Topic trust --- */

struct bundle_search {
    struct avow_cli *cli;
    bool rolled_back;
    uint64_t refused;
    struct avow_err last;
};

static enum avow_rc bundle_candidate(void *arg, const struct avow_bus_msg *msg,
                                     struct avow_err *err)
{
    struct bundle_search *s = arg;
    bool newer;
    (void)err;
    if (msg->value_null)
        return AVOW_OK;
    struct avow_err why;
    enum avow_rc rc = avow_trust_keeper_offer(&s->cli->keeper, msg->key, msg->value, &newer, &why);
    if (rc == AVOW_ROLLBACK) {
        s->rolled_back = true;
    } else if (rc) {
        s->refused++;
        s->last = why;
    }
    return AVOW_OK;
}

static enum avow_rc no_bundle(struct avow_cli *cli, const struct bundle_search *s,
                              struct avow_err *err)
{
    char topic[AVOW_TOPIC_NAME_MAX];
    avow_cli_topic(cli, "trust", topic);
    if (s->rolled_back) {
        avow_cli_hint(cli, "somebody gives this machine an old view: compare with another machine, "
                           "and look at who may write and restore that topic");
        return avow_err_set(err, AVOW_ROLLBACK, 0,
                            "bus.rollback: topic %s serves no bundle as new as version %" PRIu64
                            ", which this machine has seen",
                            topic, cli->keeper.floor);
    }
    if (s->refused && s->last.rc == AVOW_UNTRUSTED)
        avow_cli_hint(cli, "is cli.root the root.pem of this installation, and topic.prefix its "
                           "prefix?");
    if (s->refused)
        return avow_err_set(err, s->last.rc, s->last.native, "topic %s holds no valid bundle: %s",
                            topic, s->last.msg);
    avow_cli_hint(cli, "`avow topics apply` publishes the bundle that `avow init` made");
    return avow_err_set(err, AVOW_STATE, 0, "topic %s holds no trust bundle", topic);
}

/* Another installation's bundle on these topics, or these topics outgrown. */
static enum avow_rc check_prefix(struct avow_cli *cli, struct avow_err *err)
{
    const struct avow_bundle *b = avow_trust_bundle(cli->keeper.trust);
    const char *prefix = avow_conf_str(cli->conf, "topic", "prefix");
    if (b->has_moved && !avow_str_is(b->moved, prefix))
        avow_cli_note("warning: this fleet moves to topic prefix '%.*s': change topic.prefix",
                      (int)b->moved.len, b->moved.ptr);
    if (avow_str_is(b->topic_prefix, prefix))
        return AVOW_OK;
    return avow_err_set(err, AVOW_CONFIG, 0,
                        "topic.prefix is '%.60s', but the trust bundle there is for '%.*s'", prefix,
                        (int)b->topic_prefix.len, b->topic_prefix.ptr);
}

enum avow_rc avow_cli_trust(struct avow_cli *cli, struct avow_err *err)
{
    if (cli->trust)
        return AVOW_OK;
    enum avow_rc rc = avow_cli_check_broker(cli, err); /* what is free comes first */
    if (!rc)
        rc = avow_cli_root(cli, err);
    if (!rc)
        rc = avow_cli_bus(cli, err);
    if (rc)
        return rc;
    avow_trust_keeper_init(&cli->keeper, cli->root);
    load_floor(cli);
    uint64_t known = cli->keeper.floor;
    struct bundle_search search = {.cli = cli, .last = {.rc = AVOW_OK}};
    rc = avow_read_topic(cli, "trust", NULL, bundle_candidate, &search, err);
    if (!rc && !cli->keeper.trust)
        rc = no_bundle(cli, &search, err);
    if (!rc)
        rc = check_prefix(cli, err);
    if (rc)
        return rc;
    if (search.refused)
        avow_cli_note("warning: %" PRIu64 " records on topic trust were refused, the last because: "
                      "%s",
                      search.refused, search.last.msg);
    cli->trust = cli->keeper.trust;
    if (cli->keeper.floor > known)
        avow_cli_trust_keep(cli, cli->trust);
    return AVOW_OK;
}

void avow_cli_trust_offer(struct avow_cli *cli, const struct avow_bus_msg *msg)
{
    bool newer = false;
    struct avow_err why;
    if (msg->value_null)
        return;
    enum avow_rc rc = avow_trust_keeper_offer(&cli->keeper, msg->key, msg->value, &newer, &why);
    if (rc && rc != AVOW_ROLLBACK) /* the topic keeps older ones until it is compacted */
        avow_cli_note("warning: a record on topic trust was refused: %s", why.msg);
    if (!newer)
        return;
    cli->trust = cli->keeper.trust;
    avow_cli_trust_keep(cli, cli->trust);
}
