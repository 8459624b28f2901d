/* main.c - avow-agent: set up, run the loop, tidy up. */
#define _GNU_SOURCE /* _exit */
#include "agent_conf.h"
#include "avow/base/cleanup.h"
#include "avow/base/cli.h"
#include "avow/base/file.h"
#include "avow/base/log.h"
#include "loop.h"
#include "self.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "avow/base/banned.h"

#define ABOUT "attests this host to its fleet over Kafka; --print-id prints its agent id and exits"
#define CLIENT_ID_CHARS 40 /* of the agent id */
#define PROPERTIES_MAX 256u

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

struct properties {
    struct avow_bus_property list[PROPERTIES_MAX];
    size_t count;
};

static void add_property(void *arg, const char *key, const char *value)
{
    struct properties *p = arg;
    if (p->count < PROPERTIES_MAX)
        p->list[p->count++] = (struct avow_bus_property){key, value};
}

static enum avow_rc open_bus(const struct avow_conf *conf, const char *id, struct avow_bus **out,
                             struct avow_err *err)
{
    struct properties p = {.count = 0};
    char client_id[AVOW_SELF_ID_MAX + 16];
    avow_conf_each_passthrough(conf, add_property, &p);
    /* For the broker's logs only, and limited by it (bus.h); the beginning of a long id tells hosts
     * apart. */
    snprintf(client_id, sizeof client_id, "avow-agent-%.*s", CLIENT_ID_CHARS, id);
    return avow_bus_kafka_new(p.list, p.count, client_id, out, err);
}

static bool hold_of(const struct avow_conf *conf)
{
    const char *hold = avow_conf_str(conf, "tpm", "hold");
    if (avow_cstr_eq(hold, "auto"))
        return avow_tpm_tcti_is_shared(avow_conf_str(conf, "tpm", "tcti"));
    return avow_cstr_eq(hold, "yes");
}

static enum avow_rc open_self(const struct avow_conf *conf, bool id_only, struct avow_tpm **tpm,
                              struct avow_self *self, struct avow_err *err)
{
    struct avow_tpm_opts topts = {.tcti = avow_conf_str(conf, "tpm", "tcti"),
                                  .hold = hold_of(conf),
                                  .startup = avow_conf_bool(conf, "tpm", "startup")};
    struct avow_self_opts sopts = {.id = avow_conf_str(conf, "agent", "id"),
                                   .state_dir = avow_conf_str(conf, "agent", "state_dir")};
    if (!avow_tpm_ak_alg_parse(avow_conf_str(conf, "tpm", "ak_alg"), &sopts.ak_alg))
        return avow_err_set(err, AVOW_CONFIG, 0, "tpm.ak_alg");
    if (!avow_tpm_ek_parse(avow_conf_str(conf, "tpm", "ek"), &topts.ek))
        return avow_err_set(err, AVOW_CONFIG, 0, "tpm.ek");
    enum avow_rc rc = avow_tpm_new(&topts, tpm, err);
    if (!rc)
        rc = avow_tpm_open(*tpm, err);
    if (!rc)
        rc = avow_self_identify(*tpm, &sopts, self, err);
    if (!rc && !id_only)
        rc = avow_self_load_ak(*tpm, &sopts, self, err);
    if (*tpm)
        avow_tpm_close(*tpm);
    return rc;
}

static enum avow_rc open_attest(const struct avow_conf *conf, struct avow_tpm *tpm,
                                const struct avow_self *self, struct avow_attest **out,
                                struct avow_err *err)
{
    const struct avow_attest_opts opts = {.tpm = tpm,
                                          .agent_id = self->id,
                                          .ima_log = avow_conf_str(conf, "agent", "ima_log"),
                                          .uefi_log = avow_conf_str(conf, "agent", "uefi_log"),
                                          .boot_id_file =
                                              avow_conf_str(conf, "agent", "boot_id_file"),
                                          .bank = avow_conf_str(conf, "tpm", "bank"),
                                          .part_bytes = AVOW_ATTEST_PART_BYTES,
                                          .parts_max = AVOW_ATTEST_PARTS};
    return avow_attest_new(&opts, out, err);
}

static enum avow_rc run(const struct avow_conf *conf, bool *thread_left, struct avow_err *err)
{
    AVOW_CLEANUP(avow_tpm_free) struct avow_tpm *tpm = NULL;
    AVOW_CLEANUP_VAL(avow_self_deinit) struct avow_self self;
    AVOW_CLEANUP(avow_attest_free) struct avow_attest *attest = NULL;
    AVOW_CLEANUP(avow_trust_follow_free) struct avow_trust_follow *trust = NULL;
    AVOW_CLEANUP(avow_bus_free) struct avow_bus *bus = NULL;
    const char *state_dir = avow_conf_str(conf, "agent", "state_dir");
    const char *run_dir = avow_conf_str(conf, "agent", "run_dir");
    const char *url = avow_conf_str(conf, "registrar", "url");
    avow_self_init(&self);
    enum avow_rc rc = open_self(conf, false, &tpm, &self, err);
    if (!rc)
        rc = open_attest(conf, tpm, &self, &attest, err);
    if (!rc)
        rc = avow_trust_follow_new(avow_conf_str(conf, "agent", "root"), state_dir, &trust, err);
    if (!rc && *run_dir)
        rc = avow_file_mkdirs(run_dir, 0755, err);
    if (!rc)
        rc = open_bus(conf, self.id, &bus, err);
    if (rc)
        return rc;
    avow_log(INFO, "started", AVOW_KV_STR("agent", self.id), AVOW_KV_STR("version", avow_version),
             AVOW_KV_BOOL("new_ak", self.new_ak),
             AVOW_KV_BOOL("ek_cert", self.ek_certs_pem.len > 0));
    const struct avow_enroll_self registrar = {.url = url,
                                               .ca = avow_conf_str(conf, "registrar", "ca"),
                                               .agent_id = self.id,
                                               .ek_public = avow_buf_bytes(&self.ek_public),
                                               .ak_public = avow_tpm_ak_public(tpm),
                                               .ek_certs = avow_buf_bytes(&self.ek_certs_pem)};
    const struct avow_loop_opts opts = {.tpm = tpm,
                                        .attest = attest,
                                        .trust = trust,
                                        .bus = bus,
                                        .registrar = *url ? &registrar : NULL,
                                        .agent_id = self.id,
                                        .topic_prefix = avow_conf_str(conf, "topic", "prefix"),
                                        .run_dir = run_dir,
                                        .ima_poll_ms = avow_conf_u64(conf, "agent", "ima_poll_ms"),
                                        .new_ak = self.new_ak};
    rc = avow_loop_run(&opts, thread_left, err);
    if (*thread_left) {
        /* The request's thread borrows from this function's variables: they must outlive it. */
        avow_log(INFO, "stopped", AVOW_KV_STR("agent", self.id));
        _exit((int)avow_exit_of(rc));
    }
    if (!rc)
        avow_log(INFO, "stopped", AVOW_KV_STR("agent", self.id));
    return rc;
}

static enum avow_rc print_id(const struct avow_conf *conf, struct avow_err *err)
{
    AVOW_CLEANUP(avow_tpm_free) struct avow_tpm *tpm = NULL;
    AVOW_CLEANUP_VAL(avow_self_deinit) struct avow_self self;
    avow_self_init(&self);
    enum avow_rc rc = open_self(conf, true, &tpm, &self, err);
    if (!rc && (puts(self.id) < 0 || fflush(stdout)))
        rc = avow_err_set(err, AVOW_IO, 0, "standard output");
    return rc;
}

int main(int argc, char **argv)
{
    struct avow_daemon_args args;
    struct avow_err err = {.rc = AVOW_OK};
    bool thread_left = false;
    bool id_only = take_print_id(&argc, argv);
    avow_daemon_start(argc, argv, &avow_agent_conf_spec, ABOUT, &args);
    if (args.done)
        return (int)args.code;
    avow_stop_install();
    enum avow_rc rc = id_only ? print_id(args.conf, &err) : run(args.conf, &thread_left, &err);
    if (rc)
        avow_log(ERROR, "failed", AVOW_KV_ERR(&err));
    avow_conf_free(args.conf);
    return (int)avow_exit_of(rc);
}
