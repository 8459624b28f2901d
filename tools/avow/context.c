#include "context.h"

#include "avow/base/clock.h"
#include "avow/base/file.h"
#include "reader.h"

#include <stdio.h>
#include <string.h>

#include "avow/base/banned.h"

#define CONNECT_TIMEOUT_MS 8000u
#define PRODUCE_TIMEOUT_MS 15000u
#define PROPERTIES_MAX 64u

static const struct avow_conf_option options[] = {
    {"cli", "root", AVOW_CONF_PATH, "/etc/avow/root.pem", 0, 0, NULL,
     "root public key(s): the trust anchor", NULL},
    {"cli", "root_key", AVOW_CONF_PATH, NULL, 0, 0, NULL,
     "root private key, only where bundles are signed", NULL},
    {"cli", "bundle", AVOW_CONF_PATH, NULL, 0, 0, NULL,
     "signed trust bundle that `topics apply` publishes", NULL},
    {"cli", "tenant_key", AVOW_CONF_PATH, NULL, 0, 0, NULL,
     "signing key of enrolments and policies (PKCS#8 PEM)", NULL},
    {"cli", "ek_cert_store", AVOW_CONF_PATH, NULL, 0, 0, NULL,
     "folder of TPM vendors' CA certificates that `agent add` checks EK chains with", NULL},
    {"cli", "ledger", AVOW_CONF_PATH, NULL, 0, 0, NULL,
     "folder that keeps every record this CLI signed", NULL},
    {"topic", "prefix", AVOW_CONF_STR, "avow.", 0, 0, NULL, "prefix of every topic", NULL},
};

const struct avow_conf_spec avow_cli_conf_spec = {.program = "avow",
                                                  .options = options,
                                                  .count = AVOW_ARRAY_LEN(options),
                                                  .passthrough = "kafka"};

void avow_cli_deinit(struct avow_cli *cli)
{
    avow_trust_free(cli->trust);
    avow_bus_free(cli->bus);
    avow_conf_free(cli->conf);
    *cli = (struct avow_cli){0};
}

struct property_list {
    struct avow_bus_property items[PROPERTIES_MAX];
    size_t count;
    bool has_bootstrap;
    bool overflow;
};

static void collect_property(void *arg, const char *key, const char *value)
{
    struct property_list *list = arg;
    if (list->count == PROPERTIES_MAX) {
        list->overflow = true;
        return;
    }
    if (avow_cstr_eq(key, "bootstrap.servers"))
        list->has_bootstrap = true;
    list->items[list->count++] = (struct avow_bus_property){key, value};
}

enum avow_rc avow_cli_bus(struct avow_cli *cli, struct avow_err *err)
{
    if (cli->bus)
        return AVOW_OK;
    struct property_list list = {.count = 0};
    avow_conf_each_passthrough(cli->conf, collect_property, &list);
    if (list.overflow)
        return avow_err_set(err, AVOW_CONFIG, 0, "section [kafka] has more than %u keys",
                            PROPERTIES_MAX);
    if (!list.has_bootstrap)
        return avow_err_set(err, AVOW_CONFIG, 0,
                            "no broker is configured: set bootstrap.servers in section [kafka] or "
                            "AVOW_KAFKA_BOOTSTRAP_SERVERS=host:port");
    AVOW_CLEANUP(avow_bus_free) struct avow_bus *bus = NULL;
    enum avow_rc rc = avow_bus_kafka_new(list.items, list.count, "avow-cli", &bus, err);
    if (rc)
        return rc;
    rc = avow_bus_is_mock(bus, CONNECT_TIMEOUT_MS, &cli->on_mock, err);
    if (rc)
        return rc;
    cli->bus = AVOW_STEAL(bus);
    return AVOW_OK;
}

const char *avow_cli_topic(const struct avow_cli *cli, const char *base,
                           char out[AVOW_TOPIC_NAME_MAX])
{
    snprintf(out, AVOW_TOPIC_NAME_MAX, "%s%s", avow_conf_str(cli->conf, "topic", "prefix"), base);
    return out;
}

/* Folds the records of topic trust to the newest valid bundle. */
struct bundle_search {
    const struct avow_root *root;
    struct avow_trust *best; /* owned */
    struct avow_err last_err;
};

static enum avow_rc bundle_candidate(void *arg, const struct avow_bus_msg *msg,
                                     struct avow_err *err)
{
    struct bundle_search *s = arg;
    (void)err;
    if (msg->value_null)
        return AVOW_OK;
    uint64_t floor = s->best ? avow_trust_bundle(s->best)->version : 0;
    struct avow_trust *t = NULL;
    struct avow_err why;
    if (avow_trust_open(s->root, msg->key, msg->value, floor, NULL, &t, &why)) {
        s->last_err = why;
        return AVOW_OK;
    }
    avow_trust_free(s->best);
    s->best = t;
    return AVOW_OK;
}

static enum avow_rc floor_path(const struct avow_cli *cli, struct avow_buf *path)
{
    const char *ledger = avow_conf_str(cli->conf, "cli", "ledger");
    avow_buf_reset(path);
    if (!ledger)
        return AVOW_NOTFOUND;
    avow_buf_printf(path, "%s/bundle.avro", ledger);
    return avow_buf_status(path, NULL);
}

/* The newest bundle this machine has seen is the floor (PROTOCOL R1 d). */
static enum avow_rc check_floor(const struct avow_cli *cli, const struct avow_root *root,
                                const struct avow_trust *t, struct avow_err *err)
{
    AVOW_CLEANUP_VAL(avow_buf_deinit) struct avow_buf path, record;
    avow_buf_init(&path, 4096);
    avow_buf_init(&record, 64 * 1024);
    if (floor_path(cli, &path))
        return AVOW_OK;
    const char *file = avow_buf_cstr(&path);
    if (avow_file_exists(file)) {
        AVOW_CLEANUP(avow_trust_free) struct avow_trust *known = NULL;
        struct avow_err why;
        enum avow_rc rc = avow_file_read(file, &record, err);
        if (rc)
            return rc;
        rc = avow_trust_open(root, avow_bytes_make("bundle", 6), avow_buf_bytes(&record), 0, NULL,
                             &known, &why);
        if (!rc && avow_trust_bundle(known)->version > avow_trust_bundle(t)->version)
            return avow_err_set(err, AVOW_ROLLBACK, 0,
                                "bus.rollback: topic trust serves bundle version %llu, but version "
                                "%llu is known here (%s)",
                                (unsigned long long)avow_trust_bundle(t)->version,
                                (unsigned long long)avow_trust_bundle(known)->version, file);
    }
    return avow_file_write(file, avow_trust_record(t), 0644, err);
}

enum avow_rc avow_cli_trust(struct avow_cli *cli, struct avow_err *err)
{
    if (cli->trust)
        return AVOW_OK;
    enum avow_rc rc = avow_cli_bus(cli, err);
    if (rc)
        return rc;
    AVOW_CLEANUP(avow_root_free) struct avow_root *root = NULL;
    rc = avow_root_load(avow_conf_str(cli->conf, "cli", "root"), &root, err);
    if (rc)
        return avow_err_wrap(err, rc, "trust anchor");
    struct bundle_search search = {.root = root};
    rc = avow_read_topic(cli, "trust", NULL, bundle_candidate, &search, err);
    AVOW_CLEANUP(avow_trust_free) struct avow_trust *t = search.best;
    if (rc)
        return rc;
    if (!t && search.last_err.rc)
        return avow_err_set(err, search.last_err.rc, 0, "no valid bundle on topic trust: %s",
                            search.last_err.msg);
    if (!t)
        return avow_err_set(err, AVOW_NOTFOUND, 0,
                            "topic trust holds no bundle: run `avow topics apply` first");
    rc = check_floor(cli, root, t, err);
    if (rc)
        return rc;
    cli->trust = AVOW_STEAL(t);
    return AVOW_OK;
}

enum avow_rc avow_cli_tenant_key(const struct avow_cli *cli, struct avow_privkey **out,
                                 struct avow_err *err)
{
    const char *path = avow_conf_str(cli->conf, "cli", "tenant_key");
    if (!path)
        return avow_err_set(
            err, AVOW_CONFIG, 0,
            "no signing key: set tenant_key in section [cli] or AVOW_CLI_TENANT_KEY");
    enum avow_rc rc = avow_privkey_load(path, out, err);
    return rc ? avow_err_wrap(err, rc, "tenant key") : AVOW_OK;
}

enum avow_rc avow_cli_produce(struct avow_cli *cli, const struct avow_bus_record *rec,
                              struct avow_err *err)
{
    AVOW_CLEANUP(avow_bus_producer_free) struct avow_bus_producer *p = NULL;
    struct avow_bus_producer_opts opts = {0};
    enum avow_rc rc = avow_bus_producer_new(cli->bus, &opts, &p, err);
    if (!rc)
        rc = avow_bus_send(p, rec, err);
    if (!rc)
        rc = avow_bus_flush(p, PRODUCE_TIMEOUT_MS, err);
    return rc ? avow_err_wrap(err, rc, "produce to %s", rec->topic) : AVOW_OK;
}

enum avow_rc avow_cli_ledger_put(const struct avow_cli *cli, const char *topic, const char *key,
                                 uint64_t generation, struct avow_bytes record,
                                 struct avow_err *err)
{
    const char *ledger = avow_conf_str(cli->conf, "cli", "ledger");
    if (!ledger)
        return AVOW_OK;
    AVOW_CLEANUP_VAL(avow_buf_deinit) struct avow_buf path;
    avow_buf_init(&path, 4096);
    avow_buf_printf(&path, "%s/%s/%s", ledger, topic, key);
    enum avow_rc rc = avow_buf_status(&path, err);
    if (!rc)
        rc = avow_file_mkdirs(avow_buf_cstr(&path), 0700, err);
    if (rc)
        return rc;
    avow_buf_printf(&path, "/%llu.avro", (unsigned long long)generation);
    rc = avow_buf_status(&path, err);
    return rc ? rc : avow_file_write(avow_buf_cstr(&path), record, 0600, err);
}

static const char *hint_of(enum avow_rc rc)
{
    switch (rc) {
    case AVOW_UNREACHABLE:
        return "check that the broker runs and that [kafka] bootstrap.servers and its security "
               "settings are right";
    case AVOW_UNTRUSTED:
        return "check that cli.root is the root.pem of this installation";
    default:
        return NULL;
    }
}

enum avow_exit avow_cli_fail(enum avow_rc rc, const struct avow_err *err)
{
    fflush(stdout);
    fprintf(stderr, "avow: %s\n", err->msg[0] ? err->msg : avow_rc_text(rc));
    if (hint_of(rc))
        fprintf(stderr, "avow: hint: %s\n", hint_of(rc));
    return avow_exit_of(rc);
}

enum avow_exit avow_cli_usage(const char *command, const struct avow_err *err)
{
    fprintf(stderr, "avow: %s: %s\n", command, err->msg);
    fprintf(stderr, "try 'avow %s --help'\n", command);
    return AVOW_EXIT_USAGE;
}
