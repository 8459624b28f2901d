#include "conf.h"

#include "avow/http/listen.h"

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
     "folder of device makers' CA certificates for IAK and IDevID, PEM or DER", NULL},
    {"registrar", "tpm_identity", AVOW_CONF_ENUM, "default", 0, 0,
     "default|ek_cert|iak_idevid|ek_cert_or_iak_idevid",
     "what must prove a TPM: as ek_policy says, its EK certificate, its IAK and IDevID, or either",
     NULL},
    {"registrar", "crl_dir", AVOW_CONF_PATH, NULL, 0, 0, NULL,
     "folder of revocation lists, PEM or DER", NULL},
    {"registrar", "crl_check", AVOW_CONF_ENUM, "available", 0, 0, "available|required",
     "an issuer without a revocation list: fine, or not trusted", NULL},
    {"registrar", "crl_expired", AVOW_CONF_ENUM, "refuse", 0, 0, "refuse|use",
     "a revocation list past its next update: what it covers is not trusted, or it goes on "
     "counting",
     NULL},
    {"registrar", "webhook_url", AVOW_CONF_STR, NULL, 0, 0, NULL,
     "https URL that decides about EKs without a good certificate (ek_policy = cert-or-webhook)",
     NULL},
    {"registrar", "webhook_ca", AVOW_CONF_PATH, NULL, 0, 0, NULL,
     "PEM file: the only CA believed about the webhook", NULL},
    {"registrar", "webhook_cert", AVOW_CONF_PATH, NULL, 0, 0, NULL,
     "PEM file: our client certificate for the webhook", NULL},
    {"registrar", "webhook_key", AVOW_CONF_PATH, NULL, 0, 0, NULL, "PEM file: its private key",
     NULL},
    {"registrar", "webhook_timeout_ms", AVOW_CONF_MS, "5000", 100, 60000, NULL,
     "how long one try may take", NULL},
    {"registrar", "webhook_tries", AVOW_CONF_U64, "3", 1, 5, NULL, "tries before it is given up",
     NULL},
    {"registrar", "ek_check_script", AVOW_CONF_PATH, NULL, 0, 0, NULL,
     "program that may refuse an EK by its exit status (Keylime's ek_check_script)", NULL},
    {"registrar", "ek_check_timeout_ms", AVOW_CONF_MS, "10000", 100, 60000, NULL,
     "then it is killed and the agent is asked to come again", NULL},
    {"registrar", "judge_calls", AVOW_CONF_U64, "4", 1, AVOW_OUTSIDE_CALLS_MAX, NULL,
     "check scripts and webhook calls at the same time", NULL},
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

static enum avow_tpm_identity identity_of(const struct avow_conf *c)
{
    static const struct {
        const char *name;
        enum avow_tpm_identity value;
    } names[] = {{"ek_cert", AVOW_IDENTITY_EK_CERT},
                 {"iak_idevid", AVOW_IDENTITY_IAK_IDEVID},
                 {"ek_cert_or_iak_idevid", AVOW_IDENTITY_EITHER}};
    for (size_t i = 0; i < AVOW_ARRAY_LEN(names); i++)
        if (avow_cstr_eq(avow_conf_str(c, "registrar", "tpm_identity"), names[i].name))
            return names[i].value;
    return AVOW_IDENTITY_DEFAULT;
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
        if (!str_of(c, "webhook_url") && !str_of(c, "ek_check_script"))
            avow_buf_put_str(notes, "registrar.ek_policy = cert-or-webhook without "
                                    "registrar.webhook_url or ek_check_script acts as "
                                    "require-cert\n");
    }
    out->policy.identity = identity_of(c);
}

static void read_authorities(const struct avow_conf *c, struct avow_registrar_conf *out,
                             struct avow_buf *notes)
{
    struct avow_authorities_conf *a = &out->authorities;
    a->ek_dir = str_of(c, "ek_cert_store");
    a->device_dir = str_of(c, "idevid_cert_store");
    a->crl_dir = str_of(c, "crl_dir");
    a->crl.required = avow_cstr_eq(avow_conf_str(c, "registrar", "crl_check"), "required");
    a->crl.use_expired = avow_cstr_eq(avow_conf_str(c, "registrar", "crl_expired"), "use");
    bool outside = str_of(c, "webhook_url") || str_of(c, "ek_check_script");
    bool ek_needed = out->policy.ek == AVOW_EK_REQUIRE_CERT ||
                     (out->policy.ek == AVOW_EK_CERT_OR_WEBHOOK && !outside);
    if (!a->ek_dir && !a->device_dir && ek_needed)
        avow_buf_put_str(notes, "registrar.ek_cert_store is not set, and registrar.ek_policy "
                                "demands certificates: no agent can register\n");
    if (!a->device_dir && out->policy.identity == AVOW_IDENTITY_IAK_IDEVID)
        avow_buf_put_str(notes, "registrar.idevid_cert_store is not set, and "
                                "registrar.tpm_identity demands IAK and IDevID: no agent can "
                                "register\n");
    if (out->policy.identity != AVOW_IDENTITY_DEFAULT &&
        out->policy.ek == AVOW_EK_TRUST_ON_FIRST_USE)
        avow_buf_put_str(notes, "registrar.tpm_identity demands a proof, so registrar.ek_policy = "
                                "trust-on-first-use lets nobody in without one\n");
    if (!a->crl_dir && a->crl.required)
        avow_buf_put_str(notes, "registrar.crl_check = required without registrar.crl_dir: no "
                                "certificate is trusted\n");
}

/* Whoever answers as the webhook decides who is genuine: never over plain HTTP, and by one CA. */
static enum avow_rc read_outside(const struct avow_conf *c, struct avow_registrar_conf *out,
                                 struct avow_buf *notes, struct avow_err *err)
{
    struct avow_outside_conf *o = &out->outside;
    o->webhook_url = str_of(c, "webhook_url");
    o->webhook_ca = str_of(c, "webhook_ca");
    o->webhook_cert = str_of(c, "webhook_cert");
    o->webhook_key = str_of(c, "webhook_key");
    o->webhook_timeout_ms = (unsigned)avow_conf_u64(c, "registrar", "webhook_timeout_ms");
    o->webhook_tries = (unsigned)avow_conf_u64(c, "registrar", "webhook_tries");
    o->script = str_of(c, "ek_check_script");
    o->script_timeout_ms = (unsigned)avow_conf_u64(c, "registrar", "ek_check_timeout_ms");
    o->ek_cert_store = out->authorities.ek_dir;
    out->policy.judges = (struct avow_judges){.script = o->script, .webhook = o->webhook_url};
    o->calls = (unsigned)avow_conf_u64(c, "registrar", "judge_calls");
    if (o->script && o->script[0] != '/')
        return avow_err_set(err, AVOW_CONFIG, 0, "registrar.ek_check_script: not an absolute path");
    if (!o->webhook_url)
        return AVOW_OK;
    if (!avow_str_starts(avow_str_from(o->webhook_url), "https://") || !o->webhook_ca)
        return avow_err_set(err, AVOW_CONFIG, 0,
                            "registrar.webhook_url must be https, with registrar.webhook_ca");
    if (out->policy.ek != AVOW_EK_CERT_OR_WEBHOOK)
        avow_buf_put_str(notes, "registrar.webhook_url is not used: registrar.ek_policy is not "
                                "cert-or-webhook\n");
    return AVOW_OK;
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
    read_authorities(c, out, notes);
    rc = read_outside(c, out, notes, err);
    if (rc)
        return rc;
    out->db = str_of(c, "db");
    if (!out->db)
        return avow_err_set(err, AVOW_CONFIG, 0, "registrar.db is not set");
    out->threads = (unsigned)avow_conf_u64(c, "registrar", "threads");
    out->max_connections = (unsigned)avow_conf_u64(c, "registrar", "max_connections");
    out->max_per_address = (unsigned)avow_conf_u64(c, "registrar", "max_connections_per_address");
    return read_bus(c, out, notes, err);
}
