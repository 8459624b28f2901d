#include "context.h"

#include "avow/bus/advice.h"
#include "text.h"

#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

#include "avow/base/banned.h"

#define CONNECT_TIMEOUT_MS 8000u
#define PRODUCE_TIMEOUT_MS 15000u
#define PROPERTIES_MAX 64u
#define NOTE_MAX 1024u

static const struct avow_conf_option options[] = {
    {"cli", "root", AVOW_CONF_PATH, "/etc/avow/root.pem", 0, 0, NULL,
     "root public key(s): the trust anchor", NULL},
    {"cli", "bundle", AVOW_CONF_PATH, NULL, 0, 0, NULL,
     "signed trust bundle that `topics apply` publishes", NULL},
    {"cli", "tenant_key", AVOW_CONF_PATH, NULL, 0, 0, NULL,
     "signing key of enrolments and policies (PKCS#8 PEM)", NULL},
    {"cli", "ek_cert_store", AVOW_CONF_PATH, NULL, 0, 0, NULL,
     "folder of TPM vendors' CA certificates that `agent add` checks EK chains with", NULL},
    {"cli", "ledger", AVOW_CONF_PATH, NULL, 0, 0, NULL,
     "folder that keeps every record this CLI signed, and the newest bundle it saw (without it: "
     "$XDG_STATE_HOME/avow)",
     NULL},
    {"cli", "registrar_url", AVOW_CONF_STR, NULL, 0, 0, NULL,
     "https:// address of the registrar, for `registrar` commands", NULL},
    {"cli", "registrar_ca", AVOW_CONF_PATH, NULL, 0, 0, NULL,
     "PEM file: the CA of the registrar's certificate", NULL},
    {"cli", "registrar_cert", AVOW_CONF_PATH, NULL, 0, 0, NULL,
     "PEM file: the administrator's client certificate", NULL},
    {"cli", "registrar_key", AVOW_CONF_PATH, NULL, 0, 0, NULL, "PEM file: its private key", NULL},
    {"topic", "prefix", AVOW_CONF_STR, "avow.", 0, 0, NULL, "prefix of every topic", NULL},
};

const struct avow_conf_spec avow_cli_conf_spec = {.program = "avow",
                                                  .options = options,
                                                  .count = AVOW_ARRAY_LEN(options),
                                                  .passthrough = "kafka"};

void avow_cli_deinit(struct avow_cli *cli)
{
    avow_trust_keeper_deinit(&cli->keeper);
    avow_root_free(cli->root);
    avow_bus_free(cli->bus);
    avow_conf_free(cli->conf);
    *cli = (struct avow_cli){.conf = NULL};
}

/* --- Diagnostics --- */

static void print_line(const char *lead, const char *text)
{
    char clean[NOTE_MAX];
    avow_text_clean(clean, sizeof clean, avow_str_from(text));
    if (isatty(STDOUT_FILENO)) /* there both streams keep their order */
        fflush(stdout);
    fprintf(stderr, "avow: %s%s\n", lead, clean);
}

void avow_cli_note(const char *fmt, ...)
{
    char text[NOTE_MAX];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    print_line("", text);
}

void avow_cli_hint(struct avow_cli *cli, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(cli->hint, sizeof cli->hint, fmt, ap);
    va_end(ap);
}

enum avow_exit avow_cli_fail(const struct avow_cli *cli, enum avow_rc rc,
                             const struct avow_err *err)
{
    print_line("", err->msg[0] ? err->msg : avow_rc_text(rc));
    enum avow_exit code = avow_exit_of(rc);
    if (cli->hint[0])
        print_line("hint: ", cli->hint);
    else if (code == AVOW_EXIT_UNREACHABLE)
        print_line("hint: ", avow_bus_advice(err->msg));
    return code;
}

enum avow_exit avow_cli_usage(const char *command, const struct avow_err *err)
{
    print_line("", err->msg);
    fprintf(stderr, "try 'avow %s%s--help'\n", command, *command ? " " : "");
    return AVOW_EXIT_USAGE;
}

bool avow_cli_reader_left(void)
{
    struct pollfd out = {.fd = STDOUT_FILENO};
    return poll(&out, 1, 0) > 0 && (out.revents & (POLLERR | POLLHUP)) != 0;
}

/* --- Configuration --- */

enum avow_rc avow_cli_path(struct avow_cli *cli, const char *key, const char *what,
                           const char **out, struct avow_err *err)
{
    *out = avow_conf_str(cli->conf, "cli", key);
    if (*out)
        return AVOW_OK;
    avow_cli_hint(cli,
                  "set %s in section [cli] of the configuration, or AVOW_CLI_%s; `avow init` "
                  "writes a configuration that has it",
                  key,
                  avow_cstr_eq(key, "tenant_key")      ? "TENANT_KEY"
                  : avow_cstr_eq(key, "ek_cert_store") ? "EK_CERT_STORE"
                                                       : "BUNDLE");
    return avow_err_set(err, AVOW_CONFIG, 0, "%s is not configured (cli.%s)", what, key);
}

enum avow_rc avow_cli_bad_setting(struct avow_err *err, const char *key)
{
    err->rc = AVOW_CONFIG;
    return avow_err_wrap(err, AVOW_CONFIG, "cli.%s", key);
}

enum avow_rc avow_cli_tenant_key(struct avow_cli *cli, struct avow_privkey **out,
                                 struct avow_err *err)
{
    const char *path;
    enum avow_rc rc = avow_cli_path(cli, "tenant_key", "the signing key", &path, err);
    if (rc)
        return rc;
    rc = avow_privkey_load(path, out, err);
    return rc ? avow_cli_bad_setting(err, "tenant_key") : AVOW_OK;
}

enum avow_rc avow_cli_not_ours(struct avow_cli *cli, const char *role, struct avow_err *err)
{
    avow_cli_hint(cli,
                  "cli.tenant_key must be a key that the trust bundle lists with role %s: "
                  "tenant/sign.pem of this installation",
                  role);
    return avow_cli_bad_setting(err, "tenant_key");
}

/* --- Kafka --- */

struct property_list {
    struct avow_bus_property items[PROPERTIES_MAX];
    size_t count;
    const char *bootstrap;
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
        list->bootstrap = value;
    list->items[list->count++] = (struct avow_bus_property){key, value};
}

static enum avow_rc read_properties(struct avow_cli *cli, struct property_list *list,
                                    struct avow_err *err)
{
    *list = (struct property_list){.count = 0};
    avow_conf_each_passthrough(cli->conf, collect_property, list);
    if (list->overflow)
        return avow_err_set(err, AVOW_CONFIG, 0, "section [kafka] has more than %u keys",
                            PROPERTIES_MAX);
    if (list->bootstrap)
        return AVOW_OK;
    avow_cli_hint(cli, "give --config FILE (`avow init` writes conf/avow.conf), put one at "
                       "/etc/avow/avow.conf, or set AVOW_KAFKA_BOOTSTRAP_SERVERS=host:port");
    return avow_err_set(err, AVOW_CONFIG, 0,
                        "no broker is configured: section [kafka] has no bootstrap.servers");
}

enum avow_rc avow_cli_check_broker(struct avow_cli *cli, struct avow_err *err)
{
    struct property_list list;
    return read_properties(cli, &list, err);
}

enum avow_rc avow_cli_bus(struct avow_cli *cli, struct avow_err *err)
{
    if (cli->bus)
        return AVOW_OK;
    struct property_list list;
    enum avow_rc rc = read_properties(cli, &list, err);
    if (rc)
        return rc;
    AVOW_CLEANUP(avow_bus_free) struct avow_bus *bus = NULL;
    rc = avow_bus_kafka_new(list.items, list.count, "avow-cli", &bus, err);
    if (rc)
        return rc;
    rc = avow_bus_is_mock(bus, CONNECT_TIMEOUT_MS, &cli->on_mock, err);
    if (rc == AVOW_UNREACHABLE)
        avow_cli_hint(cli,
                      "%s (kafka.bootstrap.servers is %s; `avow --print-config` shows where "
                      "settings come from)",
                      avow_bus_advice(err->msg), list.bootstrap);
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
    if (rc)
        return avow_err_wrap(err, rc == AVOW_TIMEOUT ? AVOW_UNREACHABLE : rc, "produce to %s",
                             rec->topic);
    return AVOW_OK;
}
