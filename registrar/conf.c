#include "conf.h"

#include "http_listen.h"

#include <string.h>

#include "avow/base/banned.h"

#define OFF "off"
#define HTTPS_DEFAULT "127.0.0.1:8891"
#define BOOTSTRAP "bootstrap.servers"

static const struct avow_conf_option options[] = {
    {"registrar", "http_listen", AVOW_CONF_STR, "127.0.0.1:8890", 0, 0, NULL,
     "host:port for registration over plain HTTP, or off", NULL},
    {"registrar", "https_listen", AVOW_CONF_STR, NULL, 0, 0, NULL,
     "host:port for HTTPS, or off; without it 127.0.0.1:8891 if tls_* are set", NULL},
    {"registrar", "tls_cert", AVOW_CONF_PATH, NULL, 0, 0, NULL,
     "PEM file: the server's certificate chain", NULL},
    {"registrar", "tls_key", AVOW_CONF_PATH, NULL, 0, 0, NULL, "PEM file: its private key", NULL},
    {"registrar", "tls_ca", AVOW_CONF_PATH, NULL, 0, 0, NULL,
     "PEM file: whoever has a client certificate of this CA may list, read and remove", NULL},
    {"registrar", "db", AVOW_CONF_PATH, "/var/lib/avow/registrar.sqlite", 0, 0, NULL,
     "SQLite file; not on a network file system", NULL},
    {"registrar", "ek_cert_store", AVOW_CONF_PATH, NULL, 0, 0, NULL,
     "folder of the TPM vendors' CA certificates, PEM or DER", NULL},
    {"registrar", "idevid_cert_store", AVOW_CONF_PATH, NULL, 0, 0, NULL,
     "folder of CA certificates for IDevIDs (not used by this version)", NULL},
    {"registrar", "ek_policy", AVOW_CONF_ENUM, "require-cert", 0, 0,
     "require-cert|cert-or-webhook|trust-on-first-use",
     "which TPMs may register: with a certificate that verifies, or any", NULL},
    {"registrar", "ak_change", AVOW_CONF_ENUM, "same-ek", 0, 0, "same-ek|refuse",
     "new AK of a registered agent: with proof by the same EK, or never (as Keylime)", NULL},
    {"registrar", "allow_ms", AVOW_CONF_MS, "3600000", 60000, 604800000, NULL,
     "how long an operator's leave for another EK or AK lasts (avow registrar allow)", NULL},
    {"registrar", "challenge_ms", AVOW_CONF_MS, "300000", 1000, 3600000, NULL,
     "how long a challenge can be answered", NULL},
    {"registrar", "threads", AVOW_CONF_U64, "4", 1, 64, NULL, "threads per listener", NULL},
    {"registrar", "max_connections", AVOW_CONF_U64, "1024", 64, 65536, NULL,
     "open connections per listener", NULL},
    {"registrar", "max_connections_per_address", AVOW_CONF_U64, "64", 1, 65536, NULL,
     "of them from one address", NULL},
    {"registrar", "work_threads", AVOW_CONF_U64, "4", 1, 64, NULL,
     "threads that do what requests ask for, for both listeners together", NULL},
    {"registrar", "queue", AVOW_CONF_U64, "1024", 1, 65536, NULL,
     "requests that may wait for them; more are answered 503", NULL},
    {"registrar", "rate_per_address", AVOW_CONF_U64, "30000", 0, 1000000, NULL,
     "register and activate requests a minute from one address; 0: no limit", NULL},
    {"registrar", "rate_per_agent", AVOW_CONF_U64, "600", 0, 1000000, NULL,
     "of them for one agent id; 0: no limit", NULL},
    {"registrar", "standby", AVOW_CONF_BOOL, "false", 0, 0, NULL,
     "wait for another registrar on the same database to end, and take over", NULL},
    {"registrar", "backup_dir", AVOW_CONF_PATH, NULL, 0, 0, NULL,
     "folder for backups (avow registrar backup); without it there are none", NULL},
    {"registrar", "audit_log", AVOW_CONF_PATH, NULL, 0, 0, NULL,
     "file that receives every decision, one JSON object a line", NULL},
    {"registrar", "user", AVOW_CONF_STR, NULL, 0, 0, NULL,
     "user to become when started as root; files must be readable for it", NULL},
    {"metrics", "listen", AVOW_CONF_STR, NULL, 0, 0, NULL,
     "host:port for /metrics, /healthz and /readyz over plain HTTP; without it, off", NULL},
    {"keys", "sign", AVOW_CONF_PATH, NULL, 0, 0, NULL,
     "PKCS#8 PEM file: the key with role registrar that signs identities", NULL},
    {"trust", "root", AVOW_CONF_PATH, NULL, 0, 0, NULL, "PEM file: the fleet's root key", NULL},
    {"trust", "bundle", AVOW_CONF_PATH, NULL, 0, 0, NULL,
     "trust bundle to start with; a newer one on the topic wins", NULL},
    {"topic", "prefix", AVOW_CONF_STR, "avow.", 0, 0, NULL, "prefix of every topic", NULL},
};

static enum avow_rc check(const struct avow_conf *c, struct avow_buf *notes, struct avow_err *err)
{
    struct avow_registrar_conf unused;
    return avow_registrar_conf_read(c, &unused, notes, err);
}

const struct avow_conf_spec avow_registrar_conf_spec = {.program = "avow-registrar",
                                                        .options = options,
                                                        .count = AVOW_ARRAY_LEN(options),
                                                        .passthrough = "kafka",
                                                        .check = check};

static const char *str_of(const struct avow_conf *c, const char *key)
{
    const char *v = avow_conf_str(c, "registrar", key);
    return v && *v ? v : NULL;
}

static const char *listen_of(const struct avow_conf *c, const char *key)
{
    const char *v = str_of(c, key);
    return v && avow_cstr_eq(v, OFF) ? NULL : v;
}

static enum avow_rc read_listeners(const struct avow_conf *c, struct avow_registrar_conf *out,
                                   struct avow_err *err)
{
    char host[256], port[6];
    const char *https = str_of(c, "https_listen");
    out->http_listen = listen_of(c, "http_listen");
    out->https_listen = listen_of(c, "https_listen");
    out->tls_cert = str_of(c, "tls_cert");
    out->tls_key = str_of(c, "tls_key");
    out->tls_ca = str_of(c, "tls_ca");
    bool all = out->tls_cert && out->tls_key && out->tls_ca;
    if ((out->tls_cert || out->tls_key || out->tls_ca) && !all)
        return avow_err_set(err, AVOW_CONFIG, 0,
                            "registrar.tls_cert, tls_key and tls_ca belong together");
    if (out->https_listen && !all)
        return avow_err_set(err, AVOW_CONFIG, 0,
                            "registrar.https_listen needs tls_cert, tls_key and tls_ca");
    if (all && !https)
        out->https_listen = HTTPS_DEFAULT;
    enum avow_rc rc = AVOW_OK;
    if (out->http_listen)
        rc = avow_listen_split(out->http_listen, host, port, err);
    if (!rc && out->https_listen)
        rc = avow_listen_split(out->https_listen, host, port, err);
    if (!rc && out->metrics_listen)
        rc = avow_listen_split(out->metrics_listen, host, port, err);
    if (!rc && !out->http_listen && !out->https_listen)
        rc = avow_err_set(err, AVOW_CONFIG, 0,
                          "neither registrar.http_listen nor https_listen is on");
    return rc ? avow_err_wrap(err, rc, "registrar") : AVOW_OK;
}

static void read_policy(const struct avow_conf *c, struct avow_registrar_conf *out,
                        struct avow_buf *notes)
{
    const char *ek = avow_conf_str(c, "registrar", "ek_policy");
    out->policy.allow_ms = avow_conf_u64(c, "registrar", "allow_ms");
    out->policy.challenge_ms = avow_conf_u64(c, "registrar", "challenge_ms");
    out->policy.refuse_ak_change =
        avow_cstr_eq(avow_conf_str(c, "registrar", "ak_change"), "refuse");
    out->policy.ek = AVOW_EK_REQUIRE_CERT;
    if (avow_cstr_eq(ek, "trust-on-first-use"))
        out->policy.ek = AVOW_EK_TRUST_ON_FIRST_USE;
    if (avow_cstr_eq(ek, "cert-or-webhook")) {
        out->policy.ek = AVOW_EK_CERT_OR_WEBHOOK;
        avow_buf_put_str(notes, "registrar.ek_policy = cert-or-webhook: this version has no "
                                "webhook, so it acts as require-cert\n");
    }
    out->ek_cert_store = str_of(c, "ek_cert_store");
    if (!out->ek_cert_store && out->policy.ek != AVOW_EK_TRUST_ON_FIRST_USE)
        avow_buf_put_str(notes, "registrar.ek_cert_store is not set, and registrar.ek_policy "
                                "demands certificates: no agent can register\n");
    if (str_of(c, "idevid_cert_store"))
        avow_buf_put_str(notes, "registrar.idevid_cert_store: this version does not use IDevIDs\n");
}

struct properties {
    struct avow_registrar_conf *out;
    bool bootstrap, full;
};

static void add_property(void *arg, const char *key, const char *value)
{
    struct properties *p = arg;
    if (p->out->n_kafka == AVOW_KAFKA_PROPERTIES_MAX) {
        p->full = true;
        return;
    }
    p->bootstrap |= avow_cstr_eq(key, BOOTSTRAP);
    p->out->kafka[p->out->n_kafka++] = (struct avow_bus_property){key, value};
}

static const char *path_of(const struct avow_conf *c, const char *section, const char *key)
{
    const char *v = avow_conf_str(c, section, key);
    return v && *v ? v : NULL;
}

static enum avow_rc read_bus(const struct avow_conf *c, struct avow_registrar_conf *out,
                             struct avow_buf *notes, struct avow_err *err)
{
    struct properties p = {.out = out};
    out->sign_key = path_of(c, "keys", "sign");
    out->root = path_of(c, "trust", "root");
    out->bundle = path_of(c, "trust", "bundle");
    out->topic_prefix = avow_conf_str(c, "topic", "prefix");
    avow_conf_each_passthrough(c, add_property, &p);
    if (p.full)
        return avow_err_set(err, AVOW_CONFIG, 0, "kafka: over %u keys", AVOW_KAFKA_PROPERTIES_MAX);
    if (strlen(out->topic_prefix) > 128)
        return avow_err_set(err, AVOW_CONFIG, 0, "topic.prefix: over 128 characters");
    if (!p.bootstrap) {
        out->n_kafka = 0;
        avow_buf_put_str(notes, "kafka." BOOTSTRAP " is not set: identities stay in the outbox\n");
        return AVOW_OK;
    }
    if (!out->sign_key || !out->root)
        return avow_err_set(err, AVOW_CONFIG, 0,
                            "publishing to Kafka needs keys.sign and trust.root");
    return AVOW_OK;
}

static void read_operation(const struct avow_conf *c, struct avow_registrar_conf *out)
{
    out->work_threads = (unsigned)avow_conf_u64(c, "registrar", "work_threads");
    out->queue = (size_t)avow_conf_u64(c, "registrar", "queue");
    out->rate_per_address = (uint32_t)avow_conf_u64(c, "registrar", "rate_per_address");
    out->rate_per_agent = (uint32_t)avow_conf_u64(c, "registrar", "rate_per_agent");
    out->standby = avow_conf_bool(c, "registrar", "standby");
    out->backup_dir = str_of(c, "backup_dir");
    out->audit_log = str_of(c, "audit_log");
    out->user = str_of(c, "user");
    out->metrics_listen = path_of(c, "metrics", "listen");
}

enum avow_rc avow_registrar_conf_read(const struct avow_conf *c, struct avow_registrar_conf *out,
                                      struct avow_buf *notes, struct avow_err *err)
{
    *out = (struct avow_registrar_conf){0};
    read_operation(c, out);
    enum avow_rc rc = read_listeners(c, out, err);
    if (rc)
        return rc;
    read_policy(c, out, notes);
    out->db = str_of(c, "db");
    if (!out->db)
        return avow_err_set(err, AVOW_CONFIG, 0, "registrar.db is not set");
    out->threads = (unsigned)avow_conf_u64(c, "registrar", "threads");
    out->max_connections = (unsigned)avow_conf_u64(c, "registrar", "max_connections");
    out->max_per_address = (unsigned)avow_conf_u64(c, "registrar", "max_connections_per_address");
    return read_bus(c, out, notes, err);
}
