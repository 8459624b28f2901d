/* main.c - avow-agent: open what root is needed for, give root up, set up the rest, run the loop.
 */
#define _GNU_SOURCE /* setenv, strncasecmp */
#include "agent_check.h"
#include "agent_conf.h"
#include "avow/base/cleanup.h"
#include "avow/base/cli.h"
#include "avow/base/file.h"
#include "avow/base/log.h"
#include "avow/bus/bus.h"
#include "device_identity.h"
#include "loop.h"
#include "privilege.h"
#include "program_path.h"
#include "self.h"

#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

#include "avow/base/banned.h"

#define ABOUT "attests this host to its fleet over Kafka; --print-id prints its agent id and exits"

static const char *const state_files[] = {"ak.blob", "bundle.avro", NULL};
static const char *const run_files[] = {"next", NULL};

/* What an agent consists of, in the order in which it is set up. */
struct agent {
    struct avow_notify notify;
    struct avow_privilege privilege;
    struct avow_tpm *tpm;
    struct avow_self self;
    struct avow_device_identity device;
    struct avow_attest *attest;
    struct avow_trust_follow *trust;
    struct avow_bus *bus;
    char register_program[AVOW_PROGRAM_PATH_MAX];
};

static void agent_init(struct agent *a)
{
    *a = (struct agent){.notify = {.fd = -1}};
    avow_self_init(&a->self);
    avow_device_identity_init(&a->device);
}

static void agent_deinit(struct agent *a)
{
    avow_bus_free(a->bus);
    avow_trust_follow_free(a->trust);
    avow_attest_free(a->attest);
    avow_self_deinit(&a->self);
    avow_device_identity_deinit(&a->device);
    avow_tpm_free(a->tpm);
    avow_notify_close(&a->notify);
}

/* Takes --print-id out of the command line, which the rest of the programs do not know. */
static bool take_print_id(int *argc, char **argv)
{
    bool found = false;
    int kept = 1;
    for (int i = 1; i < *argc; i++) {
        if (avow_cstr_eq(argv[i], "--print-id"))
            found = true;
        else
            argv[kept++] = argv[i];
    }
    argv[kept] = NULL;
    *argc = kept;
    return found;
}

static bool hold_of(const struct avow_conf *conf)
{
    const char *hold = avow_conf_str(conf, "tpm", "hold");
    if (avow_cstr_eq(hold, "auto"))
        return avow_tpm_tcti_is_shared(avow_conf_str(conf, "tpm", "tcti"));
    return avow_cstr_eq(hold, "yes");
}

static enum avow_rc open_tpm(const struct avow_conf *conf, struct avow_tpm **out,
                             struct avow_err *err)
{
    struct avow_tpm_opts opts = {.tcti = avow_conf_str(conf, "tpm", "tcti"),
                                 .hold = hold_of(conf),
                                 .startup = avow_conf_bool(conf, "tpm", "startup")};
    if (!avow_tpm_ek_parse(avow_conf_str(conf, "tpm", "ek"), &opts.ek))
        return avow_err_set(err, AVOW_CONFIG, 0, "tpm.ek");
    enum avow_rc rc = avow_tpm_new(&opts, out, err);
    return rc ? rc : avow_tpm_open(*out, err);
}

static enum avow_rc self_opts(const struct avow_conf *conf, struct avow_self_opts *out,
                              struct avow_err *err)
{
    *out = (struct avow_self_opts){.id = avow_conf_str(conf, "agent", "id"),
                                   .state_dir = avow_conf_str(conf, "agent", "state_dir")};
    if (!avow_tpm_ak_alg_parse(avow_conf_str(conf, "tpm", "ak_alg"), &out->ak_alg))
        return avow_err_set(err, AVOW_CONFIG, 0, "tpm.ak_alg");
    return AVOW_OK;
}

/* --- As root --- */

static enum avow_rc open_attest(const struct avow_conf *conf, struct agent *a, struct avow_err *err)
{
    const struct avow_attest_opts opts = {.tpm = a->tpm,
                                          .agent_id = a->self.id, /* is known later */
                                          .ima_log = avow_conf_str(conf, "agent", "ima_log"),
                                          .uefi_log = avow_conf_str(conf, "agent", "uefi_log"),
                                          .boot_id_file =
                                              avow_conf_str(conf, "agent", "boot_id_file"),
                                          .bank = avow_conf_str(conf, "tpm", "bank"),
                                          .part_bytes = AVOW_ATTEST_PART_BYTES,
                                          .parts_max = AVOW_ATTEST_PARTS};
    return avow_attest_new(&opts, &a->attest, err);
}

static enum avow_rc open_as_root(const struct avow_conf *conf, struct agent *a,
                                 struct avow_err *err)
{
    const char *state_dir = avow_conf_str(conf, "agent", "state_dir");
    const char *run_dir = avow_conf_str(conf, "agent", "run_dir");
    enum avow_rc rc = avow_privilege_folder(&a->privilege, state_dir, state_files, err);
    if (rc)
        return avow_err_wrap(err, rc, "agent.state_dir");
    if (*run_dir)
        rc = avow_privilege_folder(&a->privilege, run_dir, run_files, err);
    if (rc)
        return avow_err_wrap(err, rc, "agent.run_dir");
    rc = open_tpm(conf, &a->tpm, err);
    if (!rc)
        rc = open_attest(conf, a, err);
    if (!rc)
        rc = avow_trust_follow_new(avow_conf_str(conf, "agent", "root"), state_dir, &a->trust, err);
    return rc;
}

static enum avow_rc give_up_root(const struct avow_conf *conf, struct agent *a,
                                 struct avow_err *err)
{
    enum avow_rc rc = avow_privilege_drop(&a->privilege, err);
    if (rc)
        return rc;
    if (a->privilege.drop)
        avow_tpm_keep_device(a->tpm);
    if (a->privilege.drop)
        avow_log(INFO, "privileges.dropped", AVOW_KV_STR("user", a->privilege.user));
    else if (a->privilege.root && !*avow_conf_str(conf, "agent", "user"))
        avow_log(WARN, "privileges.kept", AVOW_KV_STR("user", "root"),
                 AVOW_KV_STR("next", "make a user avow: useradd --system --no-create-home --shell "
                                     "/usr/sbin/nologin avow; or say agent.user = root"));
    return AVOW_OK;
}

/* --- As the agent's user --- */

/* Only registrars ask for it. */
static enum avow_rc open_device(const struct avow_conf *conf, struct agent *a, struct avow_err *err)
{
    struct avow_device_opts opts;
    const char *key = NULL;
    if (!*avow_conf_str(conf, "registrar", "url"))
        return AVOW_OK;
    enum avow_rc rc = avow_device_opts_read(conf, &opts, &key, err);
    if (rc)
        return avow_err_wrap(err, rc, "tpm.%s", key);
    return avow_device_identity_load(a->tpm, &opts, a->self.id, &a->device, err);
}

static enum avow_rc open_self(const struct avow_conf *conf, struct agent *a, struct avow_err *err)
{
    struct avow_self_opts opts;
    enum avow_rc rc = self_opts(conf, &opts, err);
    if (!rc)
        rc = avow_self_identify(a->tpm, &opts, &a->self, err);
    if (!rc)
        rc = avow_self_load_ak(a->tpm, &opts, &a->self, err);
    if (!rc)
        rc = open_device(conf, a, err);
    avow_tpm_close(a->tpm);
    return rc;
}

/* librdkafka initialises Cyrus SASL in any case, which loads every plug-in of the system, a
 * database among them. Only Kerberos needs one. */
static void keep_sasl_plugins_out(const struct avow_bus_property *list, size_t n)
{
    bool sasl = false, kerberos = true; /* librdkafka's default mechanism */
    for (size_t i = 0; i < n; i++) {
        if (avow_cstr_eq(list[i].name, "security.protocol"))
            sasl = !strncasecmp(list[i].value, "sasl", 4);
        if (avow_cstr_eq(list[i].name, "sasl.mechanism") ||
            avow_cstr_eq(list[i].name, "sasl.mechanisms"))
            kerberos = !strcasecmp(list[i].value, "GSSAPI");
    }
    if (!sasl || !kerberos)
        setenv("SASL_PATH", "/nonexistent", 0);
}

static enum avow_rc open_bus(const struct avow_conf *conf, struct agent *a, struct avow_err *err)
{
    struct avow_bus_property list[AVOW_AGENT_PROPERTIES_MAX];
    char client_id[AVOW_AGENT_CLIENT_ID_MAX + 1];
    size_t n = avow_agent_kafka_properties(conf, list);
    avow_agent_client_id(a->self.id, client_id);
    keep_sasl_plugins_out(list, n);
    return avow_bus_kafka_new(list, n, client_id, &a->bus, err);
}

static enum avow_rc set_up(const struct avow_conf *conf, struct agent *a, struct avow_err *err)
{
    (void)mallopt(M_ARENA_MAX, 1); /* an arena for each of librdkafka's threads costs memory */
    avow_notify_open(&a->notify);
    avow_program_path("avow-agent-register", a->register_program);
    enum avow_rc rc = avow_privilege_plan(avow_conf_str(conf, "agent", "user"), &a->privilege, err);
    if (!rc)
        rc = open_as_root(conf, a, err);
    if (!rc)
        rc = give_up_root(conf, a, err);
    if (!rc)
        rc = open_self(conf, a, err);
    return rc ? rc : open_bus(conf, a, err);
}

static enum avow_rc run_loop(const struct avow_conf *conf, struct agent *a, struct avow_err *err)
{
    const char *url = avow_conf_str(conf, "registrar", "url");
    const struct avow_enroll_self registrar = {.url = url,
                                               .ca = avow_conf_str(conf, "registrar", "ca"),
                                               .agent_id = a->self.id,
                                               .ek_public = avow_buf_bytes(&a->self.ek_public),
                                               .ak_public = avow_tpm_ak_public(a->tpm),
                                               .ek_certs = avow_buf_bytes(&a->self.ek_certs_pem),
                                               .device = avow_device_identity_view(&a->device)};
    const struct avow_loop_opts opts = {.tpm = a->tpm,
                                        .attest = a->attest,
                                        .trust = a->trust,
                                        .bus = a->bus,
                                        .registrar = *url ? &registrar : NULL,
                                        .register_program = a->register_program,
                                        .notify = &a->notify,
                                        .agent_id = a->self.id,
                                        .topic_prefix = avow_conf_str(conf, "topic", "prefix"),
                                        .run_dir = avow_conf_str(conf, "agent", "run_dir"),
                                        .ima_poll_ms = avow_conf_u64(conf, "agent", "ima_poll_ms"),
                                        .new_ak = a->self.new_ak};
    return avow_loop_run(&opts, err);
}

static enum avow_rc run(const struct avow_conf *conf, struct avow_err *err)
{
    AVOW_CLEANUP_VAL(agent_deinit) struct agent a;
    agent_init(&a);
    enum avow_rc rc = set_up(conf, &a, err);
    if (rc)
        return rc;
    avow_log(INFO, "started", AVOW_KV_STR("agent", a.self.id), AVOW_KV_STR("version", avow_version),
             AVOW_KV_STR("ek", avow_tpm_ek_name(avow_tpm_ek(a.tpm))),
             AVOW_KV_STR("ak", avow_conf_str(conf, "tpm", "ak_alg")),
             AVOW_KV_BOOL("new_ak", a.self.new_ak),
             AVOW_KV_BOOL("ek_cert", a.self.ek_certs_pem.len > 0),
             AVOW_KV_BOOL("iak", a.device.iak.public_area.len > 0));
    rc = run_loop(conf, &a, err);
    if (!rc)
        avow_log(INFO, "stopped", AVOW_KV_STR("agent", a.self.id));
    return rc;
}

static enum avow_rc print_id(const struct avow_conf *conf, struct avow_err *err)
{
    AVOW_CLEANUP_VAL(agent_deinit) struct agent a;
    struct avow_self_opts opts;
    agent_init(&a);
    enum avow_rc rc = self_opts(conf, &opts, err);
    if (!rc)
        rc = open_tpm(conf, &a.tpm, err);
    if (!rc)
        rc = avow_self_identify(a.tpm, &opts, &a.self, err);
    if (!rc && (puts(a.self.id) < 0 || fflush(stdout)))
        rc = avow_err_set(err, AVOW_IO, 0, "standard output");
    return rc;
}

int main(int argc, char **argv)
{
    struct avow_daemon_args args;
    struct avow_err err = {.rc = AVOW_OK};
    bool id_only = take_print_id(&argc, argv);
    struct avow_conf_spec spec = avow_agent_conf_spec;
    if (id_only)
        spec.check = NULL; /* the id is asked for before there is a root key or a broker */
    avow_daemon_start(argc, argv, &spec, ABOUT, &args);
    if (args.done)
        return (int)args.code;
    avow_stop_install();
    enum avow_rc rc = id_only ? print_id(args.conf, &err) : run(args.conf, &err);
    if (rc)
        avow_log(ERROR, "failed", AVOW_KV_ERR(&err));
    avow_conf_free(args.conf);
    return (int)avow_exit_of(rc);
}
