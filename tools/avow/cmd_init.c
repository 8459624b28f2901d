/* `avow init DIR`: everything a new installation needs, in one folder. */
#include "commands.h"

#include "avow/base/clock.h"
#include "avow/base/file.h"
#include "avow/base/hex.h"
#include "avow/base/num.h"
#include "avow/crypto/rng.h"
#include "avow/crypto/x509.h"
#include "avow/model/model.h"
#include "avow/trust/records.h"
#include "json_out.h"
#include "text.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "avow/base/banned.h"

#define PEM_MAX (64u * 1024u)
#define PATH_LIMIT 4096u
#define CA_DAYS 3650u
#define LEAF_DAYS 825u
#define DAY_MS 86400000u
#define REBASE_INTERVAL_MS (3u * DAY_MS)
#define PARTITIONS_DEFAULT 64u

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
    uint8_t fleet[16];
};

/* What may stand in a configuration file, between quotes. */
static bool is_conf_text(const char *text)
{
    struct avow_str s = avow_str_from(text);
    for (size_t i = 0; i < s.len; i++)
        if ((unsigned char)s.ptr[i] < 0x20 || s.ptr[i] == 0x7f)
            return false;
    return avow_utf8_is_valid(s);
}

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

/* Absolute, because the configuration files name everything by it. */
static enum avow_rc find_base(struct init_opts *o, struct avow_err *err)
{
    char cwd[PATH_LIMIT];
    if (!getcwd(cwd, sizeof cwd))
        return avow_err_set(err, AVOW_IO, 0, "the current folder has no path");
    int n = o->dir[0] == '/' ? snprintf(o->base, sizeof o->base, "%s", o->dir)
                             : snprintf(o->base, sizeof o->base, "%s/%s", cwd, o->dir);
    if (n < 0 || (size_t)n >= sizeof o->base - 64)
        return avow_err_set(err, AVOW_LIMIT, 0, "%.100s: the path is too long", o->dir);
    if (!is_conf_text(o->base))
        return avow_err_set(err, AVOW_USAGE, 0,
                            "%.100s: a configuration file cannot name such a path: it must be "
                            "UTF-8 without control characters",
                            o->dir);
    return AVOW_OK;
}

/* Nothing that a new installation would write may be there: keys are never replaced, also when
 * root/ was moved away as it should be. */
static enum avow_rc check_new(const struct init_opts *o, struct avow_err *err)
{
    static const char *const files[] = {"root/bundle.avro", "root/root.key",      "root/root.pem",
                                        "tenant/sign.pem",  "registrar/sign.pem", "worker/sign.pem",
                                        "worker/kex.pem",   "worker/mac.key",     "tls/ca.key",
                                        "conf/avow.conf"};
    AVOW_CLEANUP_VAL(avow_buf_deinit) struct avow_buf path;
    avow_buf_init(&path, PATH_LIMIT);
    for (size_t i = 0; i < AVOW_ARRAY_LEN(files); i++) {
        enum avow_rc rc = path_of(o, files[i], &path, err);
        if (rc)
            return rc;
        if (avow_file_exists(avow_buf_cstr(&path)))
            return avow_err_set(err, AVOW_EXISTS, 0,
                                "%.100s holds an installation, or part of one (%s): keys are never "
                                "replaced; choose another folder, or remove this one",
                                o->dir, files[i]);
    }
    return AVOW_OK;
}

static enum avow_rc make_folders(const struct init_opts *o, struct avow_err *err)
{
    static const struct {
        const char *name;
        unsigned mode;
    } folders[] = {{"root", 0700}, {"tenant", 0700}, {"registrar", 0700}, {"worker", 0700},
                   {"tls", 0755},  {"conf", 0755},   {"ledger", 0700},    {"ek-ca", 0755}};
    AVOW_CLEANUP_VAL(avow_buf_deinit) struct avow_buf path;
    avow_buf_init(&path, PATH_LIMIT);
    enum avow_rc rc = avow_file_mkdirs(o->base, 0755, err);
    for (size_t i = 0; i < AVOW_ARRAY_LEN(folders) && !rc; i++) {
        rc = path_of(o, folders[i].name, &path, err);
        if (!rc)
            rc = avow_file_mkdirs(avow_buf_cstr(&path), folders[i].mode, err);
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

/* Everything but fleet and keys. */
static struct avow_bundle plan_bundle(const struct init_opts *o)
{
    return (struct avow_bundle){.key = AVOW_STR_LIT("bundle"),
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
                                .rebase_interval_ms = REBASE_INTERVAL_MS,
                                .first_contact_ms = 24u * 3600u * 1000u,
                                .policy_grace_ms = 3600u * 1000u,
                                .resync_burst = 3,
                                .resync_refill_ms = 5u * 60u * 1000u,
                                .wire_version = 1};
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
    struct avow_bundle b = plan_bundle(o);
    b.keys = keys;
    b.keys_count = AVOW_ARRAY_LEN(keys);
    memcpy(b.fleet, o->fleet, sizeof b.fleet);
    AVOW_CLEANUP_VAL(avow_buf_deinit) struct avow_buf record;
    avow_buf_init(&record, PEM_MAX);
    enum avow_rc rc = avow_seal_bundle(&b, k->root, &record, err);
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

/* --- Sample configuration --- */

/* key = "value" */
static void put_setting(struct avow_buf *out, const char *key, const char *head, const char *tail)
{
    const char *parts[] = {head, tail};
    avow_buf_printf(out, "%s = \"", key);
    for (size_t i = 0; i < AVOW_ARRAY_LEN(parts); i++) {
        for (const char *p = parts[i]; *p; p++) {
            if (*p == '"' || *p == '\\')
                avow_buf_put_u8(out, '\\');
            avow_buf_put_u8(out, (uint8_t)*p);
        }
    }
    avow_buf_put_str(out, "\"\n");
}

/* One line of a sample file: a section, a comment, or a key whose value is under the installation's
 * folder. */
struct conf_line {
    const char *text; /* "[section]" or "# comment" or a key */
    const char *path; /* below the folder; NULL for sections and comments */
};

static void put_lines(const struct init_opts *o, const struct conf_line *lines, size_t n,
                      struct avow_buf *out)
{
    for (size_t i = 0; i < n; i++) {
        if (lines[i].path)
            put_setting(out, lines[i].text, o->base, lines[i].path);
        else
            avow_buf_printf(out, "%s%s\n", lines[i].text[0] == '[' ? "\n" : "", lines[i].text);
    }
}

static enum avow_rc write_conf(const struct init_opts *o, const char *program,
                               const struct conf_line *lines, size_t n, struct avow_err *err)
{
    AVOW_CLEANUP_VAL(avow_buf_deinit) struct avow_buf text;
    char file[64];
    avow_buf_init(&text, PEM_MAX);
    avow_buf_printf(&text, "# Written by `avow init`. Every key: %s --sample-config.\n\n[kafka]\n",
                    program);
    put_setting(&text, "bootstrap.servers", o->bootstrap, "");
    avow_buf_put_str(&text, "\n[topic]\n");
    put_setting(&text, "prefix", o->prefix, "");
    put_lines(o, lines, n, &text);
    if (avow_cstr_eq(program, "avow-agent")) {
        avow_buf_put_str(&text, "\n[registrar]\n");
        put_setting(&text, "url", o->registrar_url, "");
    }
    snprintf(file, sizeof file, "conf/%s.conf",
             avow_cstr_eq(program, "avow") ? program : program + strlen("avow-"));
    enum avow_rc rc = avow_buf_status(&text, err);
    return rc ? rc : write_under(o, file, avow_buf_bytes(&text), 0644, err);
}

static enum avow_rc write_configs(const struct init_opts *o, struct avow_err *err)
{
    static const struct conf_line avow[] = {
        {"[cli]", NULL},
        {"root", "/root/root.pem"},
        {"bundle", "/root/bundle.avro"},
        {"tenant_key", "/tenant/sign.pem"},
        {"ledger", "/ledger"},
        {"# CA certificates of your TPM vendors, PEM or DER", NULL},
        {"ek_cert_store", "/ek-ca"},
        {"# for `avow registrar`: address, its CA, the administrator's certificate", NULL},
        {"registrar_url = https://127.0.0.1:8891", NULL},
        {"registrar_ca", "/tls/ca.pem"},
        {"registrar_cert", "/tls/admin.pem"},
        {"registrar_key", "/tls/admin.key"}};
    static const struct conf_line agent[] = {{"[agent]", NULL}, {"root", "/root/root.pem"}};
    static const struct conf_line worker[] = {
        {"[worker]", NULL}, {"root", "/root/root.pem"}, {"keys", "/worker"}};
    static const struct conf_line registrar[] = {
        {"[registrar]", NULL},
        {"db", "/registrar/registrar.sqlite"},
        {"ek_cert_store", "/ek-ca"},
        {"# whoever has a client certificate of tls_ca administers", NULL},
        {"https_listen = 127.0.0.1:8891", NULL},
        {"tls_cert", "/tls/registrar.pem"},
        {"tls_key", "/tls/registrar.key"},
        {"tls_ca", "/tls/ca.pem"},
        {"backup_dir", "/registrar"},
        {"[keys]", NULL},
        {"sign", "/registrar/sign.pem"},
        {"[trust]", NULL},
        {"root", "/root/root.pem"},
        {"bundle", "/root/bundle.avro"}};
    const struct {
        const char *program;
        const struct conf_line *lines;
        size_t n;
    } files[] = {{"avow", avow, AVOW_ARRAY_LEN(avow)},
                 {"avow-agent", agent, AVOW_ARRAY_LEN(agent)},
                 {"avow-worker", worker, AVOW_ARRAY_LEN(worker)},
                 {"avow-registrar", registrar, AVOW_ARRAY_LEN(registrar)}};
    enum avow_rc rc = AVOW_OK;
    for (size_t i = 0; i < AVOW_ARRAY_LEN(files) && !rc; i++)
        rc = write_conf(o, files[i].program, files[i].lines, files[i].n, err);
    return rc;
}

/* --- The command --- */

static enum avow_rc report(const struct avow_cli *cli, const struct init_opts *o,
                           struct avow_err *err)
{
    char base[PATH_LIMIT];
    if (cli->format == AVOW_FORMAT_JSON)
        return avow_json_document(json_pack("{s:o,s:o,s:o}", "dir", avow_json_cstr(o->base),
                                            "fleet", avow_json_hex(AVOW_BYTES_OF(o->fleet)),
                                            "bundle_version", avow_json_u64(1)),
                                  err);
    avow_text_clean(base, sizeof base, avow_str_from(o->base));
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
           base, base);
    return AVOW_OK;
}

/* A legal Kafka topic name with room for what follows the prefix. */
static bool is_prefix(const char *text)
{
    struct avow_str s = avow_str_from(text);
    return s.len <= 100 && avow_name_is_valid(s);
}

static enum avow_rc check_opts(struct init_opts *o, struct avow_err *err)
{
    struct avow_bundle b = plan_bundle(o);
    if (!is_prefix(o->prefix))
        return avow_err_set(err, AVOW_USAGE, 0,
                            "init: --topic-prefix: '%.60s': letters, digits, '.', '_', '-', at "
                            "most 100",
                            o->prefix);
    if (!*o->bootstrap || !is_conf_text(o->bootstrap) || !*o->registrar_url ||
        !is_conf_text(o->registrar_url))
        return avow_err_set(err, AVOW_USAGE, 0,
                            "init: --bootstrap and --registrar-url: empty, or with control "
                            "characters");
    if (o->fleet_hex && !avow_hex_decode(o->fleet, sizeof o->fleet, avow_str_from(o->fleet_hex)))
        return avow_err_set(err, AVOW_USAGE, 0, "init: --fleet: '%.60s' is not 32 hex digits",
                            o->fleet_hex);
    if (avow_trust_check_intervals(&b, err)) /* before the first file is written */
        return avow_err_wrap(err, AVOW_USAGE, "init");
    return AVOW_OK;
}

static enum avow_rc init_all(struct init_opts *o, struct avow_err *err)
{
    struct init_keys keys = {NULL, NULL, NULL, NULL, NULL};
    enum avow_rc rc = find_base(o, err);
    if (!rc)
        rc = check_new(o, err);
    if (!rc && !o->fleet_hex)
        rc = avow_rng_fill(o->fleet, sizeof o->fleet, err);
    if (!rc)
        rc = make_folders(o, err);
    if (!rc)
        rc = make_keys(o, &keys, err);
    if (!rc)
        rc = make_tls(o, err);
    if (!rc)
        rc = write_configs(o, err);
    if (!rc)
        rc = make_bundle(o, &keys, err);
    init_keys_deinit(&keys);
    return rc;
}

enum avow_exit avow_cmd_init(struct avow_cli *cli, int argc, char **argv)
{
    struct init_opts o = {.prefix = "avow.",
                          .bootstrap = "127.0.0.1:9092",
                          .registrar_url = "http://127.0.0.1:8890",
                          .partitions = PARTITIONS_DEFAULT,
                          .epoch_ms = 10000,
                          .heartbeat_ms = 20000,
                          .silent_after_ms = 70000,
                          .validity_ms = 90000,
                          .verdict_refresh_ms = 30000,
                          .min_interval_ms = 200};
    const struct avow_opt opts[] = {
        AVOW_NUMBER("--partitions", &o.partitions, "N", 1, 512,
                    "partitions of per-agent topics (64); cannot be changed later"),
        AVOW_TEXT("--topic-prefix", &o.prefix, "TEXT", "prefix of every topic (avow.)"),
        AVOW_TEXT("--bootstrap", &o.bootstrap, "HOST:PORT,...", "brokers, for the sample files"),
        AVOW_TEXT("--registrar-url", &o.registrar_url, "URL", "for the sample files"),
        AVOW_LIST("--host", &o.hosts, "NAME", "name or address of the registrar; repeatable"),
        AVOW_TEXT("--fleet", &o.fleet_hex, "HEX", "fleet id, 32 digits (random)"),
        AVOW_NUMBER("--epoch-ms", &o.epoch_ms, "MS", 1000, 300000, "length of an epoch (10000)"),
        AVOW_NUMBER("--heartbeat-ms", &o.heartbeat_ms, "MS", 1000, DAY_MS,
                    "how often an idle agent attests (20000)"),
        AVOW_NUMBER("--silent-after-ms", &o.silent_after_ms, "MS", 1000, 7 * DAY_MS,
                    "an agent not heard for so long is silent (70000)"),
        AVOW_NUMBER("--validity-ms", &o.validity_ms, "MS", 1000, 7 * DAY_MS,
                    "how long trust lasts after the epoch it is proven for (90000)"),
        AVOW_NUMBER("--verdict-refresh-ms", &o.verdict_refresh_ms, "MS", 100, DAY_MS,
                    "how often an unchanged verdict is signed again (30000)"),
        AVOW_NUMBER("--min-interval-ms", &o.min_interval_ms, "MS", 10, 60000,
                    "least time between two evidences of one agent (200)"),
    };
    const struct avow_command command = {
        .name = "init",
        .words = "DIR",
        .about = "Makes root key, trust bundle, keys of every role, TLS material and sample "
                 "configuration in a new\nfolder. Needs no broker and reads no configuration. "
                 "Never replaces a key.",
        .opts = opts,
        .n_opts = AVOW_ARRAY_LEN(opts),
        .min_words = 1,
        .max_words = 1,
        .offline = true};
    const char *pos[AVOW_COMMAND_WORDS_MAX] = {NULL};
    struct avow_err err = {.rc = AVOW_OK};
    enum avow_exit code;
    if (!avow_command_begin(cli, &command, argc, argv, pos, &code))
        return code;
    o.dir = pos[0];
    if (!*o.dir)
        (void)avow_err_set(&err, AVOW_USAGE, 0, "init: the folder has an empty name");
    if (err.rc || check_opts(&o, &err))
        return avow_cli_usage(command.name, &err);
    enum avow_rc rc = init_all(&o, &err);
    if (!rc)
        rc = report(cli, &o, &err);
    return rc ? avow_cli_fail(cli, rc, &err) : AVOW_EXIT_OK;
}
