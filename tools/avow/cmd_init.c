/* `avow init DIR`: everything a new installation needs, in one folder. */
#include "commands.h"

#include "avow/base/clock.h"
#include "avow/base/file.h"
#include "avow/base/hex.h"
#include "avow/base/num.h"
#include "avow/crypto/rng.h"
#include "avow/crypto/x509.h"
#include "avow/trust/records.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "avow/base/banned.h"

#define PEM_MAX (64u * 1024u)
#define PATH_LIMIT 4096u
#define CA_DAYS 3650u
#define LEAF_DAYS 825u

struct init_opts {
    const char *dir;
    char base[PATH_LIMIT]; /* absolute form of dir */
    const char *fleet_hex;
    const char *prefix;
    const char *bootstrap;
    const char *registrar_url;
    uint64_t partitions, epoch_ms, heartbeat_ms, silent_after_ms, validity_ms, verdict_refresh_ms;
    uint64_t min_interval_ms;
    struct avow_opt_list hosts;
    bool help;
};

static enum avow_rc path_of(const struct init_opts *o, const char *name, struct avow_buf *out,
                            struct avow_err *err)
{
    avow_buf_reset(out);
    avow_buf_printf(out, "%s/%s", o->base, name);
    return avow_buf_status(out, err);
}

static enum avow_rc write_under(const struct init_opts *o, const char *name, struct avow_bytes data,
                                unsigned mode, struct avow_err *err)
{
    AVOW_CLEANUP_VAL(avow_buf_deinit) struct avow_buf path;
    avow_buf_init(&path, PATH_LIMIT);
    enum avow_rc rc = path_of(o, name, &path, err);
    return rc ? rc : avow_file_write(avow_buf_cstr(&path), data, mode, err);
}

static enum avow_rc make_folders(struct init_opts *o, struct avow_err *err)
{
    static const char *const folders[] = {"root", "tenant", "registrar", "worker",
                                          "tls",  "conf",   "ledger",    "ek-ca"};
    enum avow_rc rc = avow_file_mkdirs(o->dir, 0755, err);
    if (rc)
        return rc;
    char cwd[PATH_LIMIT];
    if (!getcwd(cwd, sizeof cwd))
        return avow_err_set(err, AVOW_IO, 0, "the current folder has no path");
    int n = o->dir[0] == '/' ? snprintf(o->base, sizeof o->base, "%s", o->dir)
                             : snprintf(o->base, sizeof o->base, "%s/%s", cwd, o->dir);
    if (n < 0 || (size_t)n >= sizeof o->base - 64)
        return avow_err_set(err, AVOW_LIMIT, 0, "%s: path is too long", o->dir);
    AVOW_CLEANUP_VAL(avow_buf_deinit) struct avow_buf path;
    avow_buf_init(&path, PATH_LIMIT);
    rc = path_of(o, "root/bundle.avro", &path, err);
    if (rc)
        return rc;
    if (avow_file_exists(avow_buf_cstr(&path)))
        return avow_err_set(err, AVOW_EXISTS, 0,
                            "%s is an installation already; its root key cannot be replaced "
                            "silently: choose another folder",
                            o->dir);
    for (size_t i = 0; i < AVOW_ARRAY_LEN(folders) && !rc; i++) {
        bool open_folder = avow_cstr_eq(folders[i], "conf") || avow_cstr_eq(folders[i], "ek-ca") ||
                           avow_cstr_eq(folders[i], "tls");
        rc = path_of(o, folders[i], &path, err);
        if (!rc)
            rc = avow_file_mkdirs(avow_buf_cstr(&path), open_folder ? 0755 : 0700, err);
    }
    return rc;
}

static enum avow_rc new_key(const struct init_opts *o, const char *name, struct avow_privkey **out,
                            struct avow_err *err)
{
    AVOW_CLEANUP_VAL(avow_buf_deinit) struct avow_buf path;
    avow_buf_init(&path, PATH_LIMIT);
    enum avow_rc rc = path_of(o, name, &path, err);
    if (!rc)
        rc = avow_privkey_generate(out, err);
    return rc ? rc : avow_privkey_save(*out, avow_buf_cstr(&path), err);
}

static enum avow_rc write_root_public(const struct init_opts *o, const struct avow_privkey *root,
                                      struct avow_err *err)
{
    AVOW_CLEANUP(avow_pubkey_free) struct avow_pubkey *pub = NULL;
    AVOW_CLEANUP_VAL(avow_buf_deinit) struct avow_buf pem;
    avow_buf_init(&pem, PEM_MAX);
    enum avow_rc rc = avow_pubkey_from_spki(avow_privkey_spki(root), &pub, err);
    if (!rc)
        rc = avow_pubkey_pem(pub, &pem, err);
    return rc ? rc : write_under(o, "root/root.pem", avow_buf_bytes(&pem), 0644, err);
}

struct init_keys {
    struct avow_privkey *root, *tenant, *registrar, *worker, *worker_kex;
};

static void init_keys_deinit(struct init_keys *k)
{
    avow_privkey_free(k->root);
    avow_privkey_free(k->tenant);
    avow_privkey_free(k->registrar);
    avow_privkey_free(k->worker);
    avow_privkey_free(k->worker_kex);
}

static enum avow_rc make_keys(const struct init_opts *o, struct init_keys *k, struct avow_err *err)
{
    const struct {
        const char *name;
        struct avow_privkey **out;
    } keys[] = {{"root/root.key", &k->root},
                {"tenant/sign.pem", &k->tenant},
                {"registrar/sign.pem", &k->registrar},
                {"worker/sign.pem", &k->worker},
                {"worker/kex.pem", &k->worker_kex}};
    uint8_t mac[32];
    enum avow_rc rc = AVOW_OK;
    for (size_t i = 0; i < AVOW_ARRAY_LEN(keys) && !rc; i++)
        rc = new_key(o, keys[i].name, keys[i].out, err);
    if (!rc)
        rc = avow_rng_fill(mac, sizeof mac, err);
    if (!rc)
        rc = write_under(o, "worker/mac.key", AVOW_BYTES_OF(mac), 0600, err);
    avow_wipe(mac, sizeof mac);
    return rc ? rc : write_root_public(o, k->root, err);
}

static void bundle_key(struct avow_bundle_key *out, const struct avow_privkey *key,
                       enum avow_key_alg alg, const enum avow_role *roles, size_t n_roles)
{
    *out = (struct avow_bundle_key){.alg = alg,
                                    .spki = avow_privkey_spki(key),
                                    .roles = roles,
                                    .roles_count = n_roles,
                                    .status = AVOW_KEY_STATUS_ACTIVE};
    avow_key_id(out->spki, out->id);
}

static enum avow_rc make_bundle(const struct init_opts *o, const struct init_keys *k,
                                struct avow_err *err)
{
    static const enum avow_role tenant_roles[] = {AVOW_ROLE_ENROLL, AVOW_ROLE_POLICY,
                                                  AVOW_ROLE_PAYLOAD, AVOW_ROLE_OPS};
    static const enum avow_role registrar_roles[] = {AVOW_ROLE_REGISTRAR};
    static const enum avow_role worker_roles[] = {AVOW_ROLE_WORKER};
    static const enum avow_role kex_roles[] = {AVOW_ROLE_WORKER_KEX};
    struct avow_bundle_key keys[4];
    bundle_key(&keys[0], k->tenant, AVOW_KEY_ALG_ECDSA_P256, tenant_roles,
               AVOW_ARRAY_LEN(tenant_roles));
    bundle_key(&keys[1], k->registrar, AVOW_KEY_ALG_ECDSA_P256, registrar_roles, 1);
    bundle_key(&keys[2], k->worker, AVOW_KEY_ALG_ECDSA_P256, worker_roles, 1);
    bundle_key(&keys[3], k->worker_kex, AVOW_KEY_ALG_ECDH_P256, kex_roles, 1);
    struct avow_bundle b = {.key = AVOW_STR_LIT("bundle"),
                            .version = 1,
                            .issued_ms = avow_clock_unix_ms(),
                            .topic_prefix = avow_str_from(o->prefix),
                            .partitions = (uint16_t)o->partitions,
                            .epoch_ms = (uint32_t)o->epoch_ms,
                            .heartbeat_ms = (uint32_t)o->heartbeat_ms,
                            .silent_after_ms = (uint32_t)o->silent_after_ms,
                            .validity_ms = (uint32_t)o->validity_ms,
                            .verdict_refresh_ms = (uint32_t)o->verdict_refresh_ms,
                            .min_interval_ms = (uint32_t)o->min_interval_ms,
                            .rebase_interval_ms = 72u * 3600u * 1000u,
                            .first_contact_ms = 24u * 3600u * 1000u,
                            .policy_grace_ms = 3600u * 1000u,
                            .resync_burst = 3,
                            .resync_refill_ms = 5u * 60u * 1000u,
                            .wire_version = 1,
                            .keys = keys,
                            .keys_count = AVOW_ARRAY_LEN(keys)};
    enum avow_rc rc = AVOW_OK;
    if (o->fleet_hex && !avow_hex_decode(b.fleet, sizeof b.fleet, avow_str_from(o->fleet_hex)))
        return avow_err_set(err, AVOW_USAGE, 0, "--fleet: '%s' is not 32 hex digits", o->fleet_hex);
    if (!o->fleet_hex)
        rc = avow_rng_fill(b.fleet, sizeof b.fleet, err);
    if (!rc)
        rc = avow_trust_check_intervals(&b, err);
    AVOW_CLEANUP_VAL(avow_buf_deinit) struct avow_buf record;
    avow_buf_init(&record, PEM_MAX);
    if (!rc)
        rc = avow_seal_bundle(&b, k->root, &record, err);
    return rc ? rc : write_under(o, "root/bundle.avro", avow_buf_bytes(&record), 0644, err);
}

/* One leaf certificate with its key: tls/<name>.pem and tls/<name>.key. */
static enum avow_rc make_leaf(const struct init_opts *o, const struct avow_cert_request *req,
                              const char *name, const struct avow_cert *ca,
                              const struct avow_privkey *ca_key, struct avow_err *err)
{
    char file[64];
    AVOW_CLEANUP(avow_privkey_free) struct avow_privkey *key = NULL;
    AVOW_CLEANUP_VAL(avow_buf_deinit) struct avow_buf pem;
    avow_buf_init(&pem, PEM_MAX);
    snprintf(file, sizeof file, "tls/%s.key", name);
    enum avow_rc rc = new_key(o, file, &key, err);
    if (!rc)
        rc = avow_cert_issue(req, key, ca, ca_key, &pem, err);
    snprintf(file, sizeof file, "tls/%s.pem", name);
    return rc ? rc : write_under(o, file, avow_buf_bytes(&pem), 0644, err);
}

static enum avow_rc make_tls(const struct init_opts *o, struct avow_err *err)
{
    uint64_t now = avow_clock_unix_ms();
    AVOW_CLEANUP(avow_privkey_free) struct avow_privkey *ca_key = NULL;
    AVOW_CLEANUP_VAL(avow_buf_deinit) struct avow_buf pem;
    avow_buf_init(&pem, PEM_MAX);
    enum avow_rc rc = new_key(o, "tls/ca.key", &ca_key, err);
    struct avow_cert_request ca_req = {
        .common_name = "Avow installation CA", .ca = true, .days = CA_DAYS, .now_ms = now};
    if (!rc)
        rc = avow_cert_issue(&ca_req, ca_key, NULL, NULL, &pem, err);
    if (!rc)
        rc = write_under(o, "tls/ca.pem", avow_buf_bytes(&pem), 0644, err);
    struct avow_cert *certs[AVOW_CHAIN_MAX] = {NULL};
    size_t n = 0;
    if (!rc)
        rc = avow_cert_list_parse(avow_buf_bytes(&pem), certs, &n, err);
    if (rc)
        return rc;
    AVOW_CLEANUP(avow_cert_free) struct avow_cert *ca = certs[0];
    const char *names[AVOW_OPT_LIST_MAX + 2] = {"localhost", "127.0.0.1"};
    for (size_t i = 0; i < o->hosts.count; i++)
        names[2 + i] = o->hosts.items[i];
    struct avow_cert_request server = {.common_name = "avow-registrar",
                                       .dns = names,
                                       .n_dns = 2 + o->hosts.count,
                                       .server = true,
                                       .days = LEAF_DAYS,
                                       .now_ms = now};
    struct avow_cert_request client = {
        .common_name = "avow-admin", .client = true, .days = LEAF_DAYS, .now_ms = now};
    rc = make_leaf(o, &server, "registrar", ca, ca_key, err);
    return rc ? rc : make_leaf(o, &client, "admin", ca, ca_key, err);
}

static enum avow_rc write_conf(const struct init_opts *o, const char *name, const char *body,
                               struct avow_err *err)
{
    AVOW_CLEANUP_VAL(avow_buf_deinit) struct avow_buf text;
    avow_buf_init(&text, PEM_MAX);
    avow_buf_printf(&text,
                    "# Written by `avow init`. Every key: %s --sample-config.\n"
                    "[kafka]\nbootstrap.servers = %s\n\n[topic]\nprefix = %s\n\n%s",
                    name, o->bootstrap, o->prefix, body);
    char file[64];
    snprintf(file, sizeof file, "conf/%s.conf", avow_cstr_eq(name, "avow") ? name : name + 5);
    enum avow_rc rc = avow_buf_status(&text, err);
    return rc ? rc : write_under(o, file, avow_buf_bytes(&text), 0644, err);
}

static enum avow_rc write_configs(const struct init_opts *o, struct avow_err *err)
{
    const struct {
        const char *program;
        const char *format;
    } files[] = {
        {"avow", "[cli]\nroot = %1$s/root/root.pem\nroot_key = %1$s/root/root.key\n"
                 "bundle = %1$s/root/bundle.avro\ntenant_key = %1$s/tenant/sign.pem\n"
                 "ledger = %1$s/ledger\n# CA certificates of your TPM vendors, PEM or DER\n"
                 "ek_cert_store = %1$s/ek-ca\n"},
        {"avow-agent", "[agent]\nroot = %1$s/root/root.pem\n\n[registrar]\nurl = %2$s\n"},
        {"avow-worker", "[worker]\nroot = %1$s/root/root.pem\nkeys = %1$s/worker\n"},
        {"avow-registrar", "[registrar]\ndb = %1$s/registrar/registrar.sqlite\n"
                           "ek_cert_store = %1$s/ek-ca\n\n[keys]\nsign = "
                           "%1$s/registrar/sign.pem\n\n[trust]\nroot = %1$s/root/root.pem\n"
                           "bundle = %1$s/root/bundle.avro\n"},
    };
    enum avow_rc rc = AVOW_OK;
    for (size_t i = 0; i < AVOW_ARRAY_LEN(files) && !rc; i++) {
        AVOW_CLEANUP_VAL(avow_buf_deinit) struct avow_buf body;
        avow_buf_init(&body, PEM_MAX);
        for (const char *p = files[i].format; *p; p++) {
            if (!strncmp(p, "%1$s", 4)) {
                avow_buf_put_str(&body, o->base);
                p += 3;
            } else if (!strncmp(p, "%2$s", 4)) {
                avow_buf_put_str(&body, o->registrar_url);
                p += 3;
            } else {
                avow_buf_put(&body, p, 1);
            }
        }
        rc = avow_buf_status(&body, err);
        if (!rc)
            rc = write_conf(o, files[i].program, avow_buf_cstr(&body), err);
    }
    return rc;
}

static void report(const struct avow_cli *cli, const struct init_opts *o)
{
    if (cli->format == AVOW_FORMAT_JSON) {
        printf("{\"dir\":\"%s\"}\n", o->base);
        return;
    }
    printf("A new Avow installation is in %s\n\n"
           "  root/      root key: move it offline; root.pem goes to every machine as "
           "/etc/avow/root.pem\n"
           "  tenant/    signs enrolments and policies: the operator's key\n"
           "  registrar/ signs identities\n"
           "  worker/    the three files that verifier workers mount\n"
           "  tls/       a CA, a server certificate for the registrar, a client certificate\n"
           "  ek-ca/     put the CA certificates of your TPM vendors here\n"
           "  conf/      a sample configuration for each program\n\n"
           "next: avow --config %s/conf/avow.conf topics apply\n",
           o->base, o->base);
}

static enum avow_rc check_ranges(const struct init_opts *o, struct avow_err *err)
{
    const struct {
        const char *name;
        uint64_t value, min, max;
    } ranges[] = {{"--partitions", o->partitions, 1, 512},
                  {"--epoch-ms", o->epoch_ms, 1000, 300000},
                  {"--heartbeat-ms", o->heartbeat_ms, 1000, 86400000},
                  {"--silent-after-ms", o->silent_after_ms, 1000, 604800000},
                  {"--validity-ms", o->validity_ms, 1000, 604800000},
                  {"--verdict-refresh-ms", o->verdict_refresh_ms, 100, 86400000},
                  {"--min-interval-ms", o->min_interval_ms, 10, 60000}};
    for (size_t i = 0; i < AVOW_ARRAY_LEN(ranges); i++)
        if (ranges[i].value < ranges[i].min || ranges[i].value > ranges[i].max)
            return avow_err_set(err, AVOW_USAGE, 0, "%s: %llu is not from %llu to %llu",
                                ranges[i].name, (unsigned long long)ranges[i].value,
                                (unsigned long long)ranges[i].min,
                                (unsigned long long)ranges[i].max);
    return AVOW_OK;
}

static enum avow_rc init_all(struct init_opts *o, struct avow_err *err)
{
    struct init_keys keys = {0};
    enum avow_rc rc = check_ranges(o, err);
    if (!rc)
        rc = make_folders(o, err);
    if (!rc)
        rc = make_keys(o, &keys, err);
    if (!rc)
        rc = make_tls(o, err);
    if (!rc)
        rc = write_configs(o, err);
    if (!rc)
        rc = make_bundle(o, &keys, err); /* last: its presence marks a complete installation */
    init_keys_deinit(&keys);
    return rc;
}

enum avow_exit avow_cmd_init(struct avow_cli *cli, int argc, char **argv)
{
    struct init_opts o = {.prefix = "avow.",
                          .bootstrap = "127.0.0.1:9092",
                          .registrar_url = "http://127.0.0.1:8890",
                          .partitions = 64,
                          .epoch_ms = 10000,
                          .heartbeat_ms = 20000,
                          .silent_after_ms = 70000,
                          .validity_ms = 90000,
                          .verdict_refresh_ms = 30000,
                          .min_interval_ms = 200};
    const struct avow_opt opts[] = {
        {"--partitions", AVOW_OPT_U64, &o.partitions, "N", "partitions of per-agent topics (64)"},
        {"--topic-prefix", AVOW_OPT_STR, &o.prefix, "TEXT", "prefix of every topic (avow.)"},
        {"--bootstrap", AVOW_OPT_STR, &o.bootstrap, "HOST:PORT,...", "for the sample files"},
        {"--registrar-url", AVOW_OPT_STR, &o.registrar_url, "URL", "for the sample files"},
        {"--host", AVOW_OPT_LIST, &o.hosts, "NAME", "name or address of the registrar; repeatable"},
        {"--fleet", AVOW_OPT_STR, &o.fleet_hex, "HEX", "fleet id, 32 digits (random)"},
        {"--epoch-ms", AVOW_OPT_U64, &o.epoch_ms, "MS", "length of an epoch (10000)"},
        {"--heartbeat-ms", AVOW_OPT_U64, &o.heartbeat_ms, "MS", "idle attestation (20000)"},
        {"--silent-after-ms", AVOW_OPT_U64, &o.silent_after_ms, "MS", "then silent (70000)"},
        {"--validity-ms", AVOW_OPT_U64, &o.validity_ms, "MS", "how long trust lasts (90000)"},
        {"--verdict-refresh-ms", AVOW_OPT_U64, &o.verdict_refresh_ms, "MS", "(30000)"},
        {"--min-interval-ms", AVOW_OPT_U64, &o.min_interval_ms, "MS",
         "least time between evidences (200)"},
        {"--help", AVOW_OPT_FLAG, &o.help, NULL, "this text"},
    };
    struct avow_err err;
    size_t n = 0;
    enum avow_rc rc = avow_opts_parse(opts, AVOW_ARRAY_LEN(opts), argc, argv, &o.dir, 1, &n, &err);
    if (rc)
        return avow_cli_usage("init", &err);
    if (o.help) {
        printf("usage: avow init DIR [OPTION...]\n\n"
               "Makes root key, trust bundle, keys of every role, TLS material and sample\n"
               "configuration in a new folder. Needs no broker.\n\noptions:\n");
        avow_opts_help(opts, AVOW_ARRAY_LEN(opts));
        return AVOW_EXIT_OK;
    }
    if (n == 0) {
        avow_err_set(&err, AVOW_USAGE, 0, "needs a folder");
        return avow_cli_usage("init", &err);
    }
    rc = init_all(&o, &err);
    if (rc)
        return avow_cli_fail(rc, &err);
    report(cli, &o);
    return AVOW_EXIT_OK;
}
