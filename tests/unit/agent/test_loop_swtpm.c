/* The whole agent, loop and all, over a broker in memory and a software TPM; this program plays
 * worker and attacker. */
#define _GNU_SOURCE /* pthread */
#include "avow/base/cli.h"
#include "avow/base/clock.h"
#include "avow/base/file.h"
#include "avow/base/log.h"
#include "avow/formats/quote.h"
#include "avow/trust/records.h"
#include "avow/wire/body.h"
#include "avow/wire/evidence.h"
#include "loop.h"
#include "next_file.h"
#include "rig_swtpm.h"
#include "self.h"

#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "avow/base/banned.h"

#define ID "host-1"
#define PARTITIONS 4u
#define SOON_MS 3000u /* what must come */
#define NEVER_MS 400u /* what must not; several times the agent's coalescing and polling */
#define EPOCH 1000u

static struct swtpm_rig rig;
static const uint8_t fleet[16] = {0xF1};

static struct site {
    struct avow_privkey *root, *worker, *stranger;
    struct avow_bus_mem_broker *broker;
    struct avow_bus *bus, *agent_bus;
    struct avow_bus_producer *producer;
    struct avow_bus_consumer *evidence;
    int32_t partition;
    struct avow_tpm *tpm;
    struct avow_self self;
    struct avow_attest *attest;
    struct avow_trust_follow *trust;
    char state_dir[96], run_dir[96], root_pem[96];
    pthread_t thread;
    enum avow_rc ended;
    uint8_t nonce[32]; /* of the last marker that is good */
} site;

/* --- The other side --- */

static void send(const char *topic, int32_t partition, const char *key,
                 const struct avow_buf *value)
{
    const struct avow_bus_record rec = {.topic = topic,
                                        .partition = partition,
                                        .key = avow_bytes_make(key, strlen(key)),
                                        .value = avow_buf_bytes(value)};
    assert_int_equal(avow_bus_send(site.producer, &rec, NULL), AVOW_OK);
    assert_int_equal(avow_bus_flush(site.producer, 1000, NULL), AVOW_OK);
}

static void send_bundle(uint64_t version)
{
    static const enum avow_role roles[] = {AVOW_ROLE_WORKER};
    struct avow_bundle_key key = {.alg = AVOW_KEY_ALG_ECDSA_P256,
                                  .spki = avow_privkey_spki(site.worker),
                                  .roles = roles,
                                  .roles_count = 1,
                                  .status = AVOW_KEY_STATUS_ACTIVE};
    struct avow_bundle b = {.key = AVOW_STR_LIT("bundle"),
                            .version = version,
                            .issued_ms = 1,
                            .topic_prefix = AVOW_STR_LIT("t."),
                            .partitions = PARTITIONS,
                            .epoch_ms = 10000,
                            .heartbeat_ms = 20000,
                            .silent_after_ms = 70000,
                            .validity_ms = 90000,
                            .verdict_refresh_ms = 30000,
                            .min_interval_ms = 200,
                            .first_contact_ms = 86400000,
                            .resync_burst = 3,
                            .resync_refill_ms = 300000,
                            .wire_version = 1,
                            .keys = &key,
                            .keys_count = 1};
    struct avow_buf record;
    struct avow_err err = {.rc = AVOW_OK};
    memcpy(b.fleet, fleet, sizeof fleet);
    avow_key_id(key.spki, key.id);
    avow_buf_init(&record, 32768);
    if (avow_seal_bundle(&b, site.root, &record, &err))
        fail_msg("%s", err.msg);
    send("t.trust", 0, "bundle", &record);
    avow_buf_deinit(&record);
}

static void send_marker(const struct avow_privkey *signer, uint64_t epoch, uint8_t nonce)
{
    struct avow_marker m = {.key = AVOW_STR_LIT("marker"),
                            .partition = site.partition,
                            .epoch = epoch,
                            .issued_ms = 1,
                            .bundle_version = 2,
                            .owner = AVOW_STR_LIT("w")};
    struct avow_buf record;
    memcpy(m.fleet, fleet, sizeof fleet);
    memset(m.nonce, nonce, sizeof m.nonce);
    avow_buf_init(&record, 4096);
    assert_int_equal(avow_seal_marker(&m, signer, &record, NULL), AVOW_OK);
    send("t.epochs", site.partition, "marker", &record);
    avow_buf_deinit(&record);
}

static void send_resync(const struct avow_privkey *signer, const char *to, uint64_t epoch,
                        uint8_t id)
{
    struct avow_directive d = {
        .key = avow_str_from(to), .partition = site.partition, .epoch = epoch};
    struct avow_buf record;
    memcpy(d.fleet, fleet, sizeof fleet);
    memset(d.id, id, sizeof d.id);
    d.kind.tag = AVOW_DIRECTIVE_KIND_RESYNC;
    d.kind.u.resync = (struct avow_resync){0, true, true};
    avow_buf_init(&record, 4096);
    assert_int_equal(avow_seal_directive(&d, signer, &record, NULL), AVOW_OK);
    send("t.epochs", site.partition, to, &record);
    avow_buf_deinit(&record);
}

struct seen {
    uint64_t start, count, epoch;
    size_t pcrs;
    bool of_last_nonce;
};

/* True if an evidence came in time; it is checked for whose it is. */
static bool next_evidence(unsigned within_ms, struct seen *out)
{
    struct avow_bus_msg msg;
    struct avow_arena arena;
    struct avow_evidence e;
    struct avow_body b;
    struct avow_quote q;
    uint8_t want[32];
    uint64_t deadline = avow_clock_mono_ms() + within_ms;
    for (;;) { /* the broker in memory does not wait */
        assert_int_equal(avow_bus_poll(site.evidence, 0, &msg, NULL), AVOW_OK);
        if (msg.topic)
            break;
        if (avow_clock_mono_ms() > deadline)
            return false;
        avow_clock_sleep_ms(5);
    }
    assert_int_equal(msg.partition, site.partition);
    assert_true(avow_bytes_eq(msg.key, avow_bytes_make(ID, strlen(ID))));
    avow_arena_init(&arena, 1u << 20);
    assert_int_equal(avow_evidence_decode(msg.value, &arena, &e, NULL), AVOW_OK);
    assert_int_equal(avow_body_decode(e.body, &arena, &b, NULL), AVOW_OK);
    assert_int_equal(avow_quote_parse(e.attest, &q, NULL), AVOW_OK);
    avow_evidence_qualifying_data(fleet, AVOW_STR_LIT(ID), site.nonce, e.body, want);
    *out = (struct seen){b.ima_start, b.ima_count, b.epoch, b.pcrs_count,
                         avow_bytes_eq(q.extra_data, AVOW_BYTES_OF(want))};
    avow_arena_deinit(&arena);
    return true;
}

static struct seen must_come(void)
{
    struct seen s = {0};
    if (!next_evidence(SOON_MS, &s))
        fail_msg("no evidence came");
    return s;
}

static void must_not_come(const char *why)
{
    struct seen s;
    if (next_evidence(NEVER_MS, &s))
        fail_msg("evidence came: %s", why);
}

/* --- The agent --- */

static void *run(void *arg)
{
    const struct avow_loop_opts opts = {.tpm = site.tpm,
                                        .attest = site.attest,
                                        .trust = site.trust,
                                        .bus = site.agent_bus,
                                        .agent_id = ID,
                                        .topic_prefix = "t.",
                                        .run_dir = site.run_dir,
                                        .ima_poll_ms = 20};
    struct avow_err err = {.rc = AVOW_OK};
    site.ended = avow_loop_run(&opts, &err);
    return arg;
}

static void open_agent(void)
{
    const struct avow_tpm_opts topts = {.tcti = rig.tcti};
    const struct avow_self_opts sopts = {
        .id = ID, .state_dir = site.state_dir, .ak_alg = AVOW_TPM_AK_RSASSA};
    assert_int_equal(avow_tpm_new(&topts, &site.tpm, NULL), AVOW_OK);
    assert_int_equal(avow_tpm_open(site.tpm, NULL), AVOW_OK);
    avow_self_init(&site.self);
    assert_int_equal(avow_self_identify(site.tpm, &sopts, &site.self, NULL), AVOW_OK);
    assert_int_equal(avow_self_load_ak(site.tpm, &sopts, &site.self, NULL), AVOW_OK);
    assert_true(site.self.new_ak);
    assert_int_equal(avow_self_load_ak(site.tpm, &sopts, &site.self, NULL), AVOW_OK);
    assert_true(site.self.ek_certs_pem.len > 0);
    avow_tpm_close(site.tpm);
    const struct avow_attest_opts aopts = {.tpm = site.tpm,
                                           .agent_id = ID,
                                           .ima_log = rig.list,
                                           .uefi_log = "",
                                           .boot_id_file = rig.boot_id,
                                           .bank = "sha256",
                                           .part_bytes = AVOW_ATTEST_PART_BYTES,
                                           .parts_max = 1};
    assert_int_equal(avow_attest_new(&aopts, &site.attest, NULL), AVOW_OK);
    assert_int_equal(avow_trust_follow_new(site.root_pem, site.state_dir, &site.trust, NULL),
                     AVOW_OK);
}

static void write_root(void)
{
    struct avow_pubkey *pub = NULL;
    struct avow_buf pem;
    avow_buf_init(&pem, 4096);
    assert_int_equal(avow_pubkey_from_spki(avow_privkey_spki(site.root), &pub, NULL), AVOW_OK);
    assert_int_equal(avow_pubkey_pem(pub, &pem, NULL), AVOW_OK);
    assert_int_equal(avow_file_write(site.root_pem, avow_buf_bytes(&pem), 0644, NULL), AVOW_OK);
    avow_pubkey_free(pub);
    avow_buf_deinit(&pem);
}

static void open_site(void)
{
    static const struct avow_bus_topic_spec topics[] = {
        {.name = "t.trust", .partitions = 1, .replication = -1},
        {.name = "t.epochs", .partitions = PARTITIONS, .replication = -1},
        {.name = "t.evidence", .partitions = PARTITIONS, .replication = -1},
    };
    snprintf(site.state_dir, sizeof site.state_dir, "%s/state", rig.dir);
    snprintf(site.run_dir, sizeof site.run_dir, "%s/run", rig.dir);
    snprintf(site.root_pem, sizeof site.root_pem, "%s/root.pem", rig.dir);
    assert_int_equal(avow_file_mkdirs(site.run_dir, 0755, NULL), AVOW_OK);
    assert_int_equal(avow_privkey_generate(&site.root, NULL), AVOW_OK);
    assert_int_equal(avow_privkey_generate(&site.worker, NULL), AVOW_OK);
    assert_int_equal(avow_privkey_generate(&site.stranger, NULL), AVOW_OK);
    write_root();
    assert_int_equal(avow_bus_mem_broker_new(&site.broker, NULL), AVOW_OK);
    assert_int_equal(avow_bus_mem_new(site.broker, &site.bus, NULL), AVOW_OK);
    assert_int_equal(avow_bus_mem_new(site.broker, &site.agent_bus, NULL), AVOW_OK);
    for (size_t i = 0; i < AVOW_ARRAY_LEN(topics); i++)
        assert_int_equal(avow_bus_topic_create(site.bus, &topics[i], 1000, NULL), AVOW_OK);
    const struct avow_bus_producer_opts popts = {.linger_ms = 0};
    const struct avow_bus_consumer_opts copts = {.isolation = AVOW_BUS_READ_UNCOMMITTED};
    assert_int_equal(avow_bus_producer_new(site.bus, &popts, &site.producer, NULL), AVOW_OK);
    assert_int_equal(avow_bus_consumer_new(site.bus, &copts, &site.evidence, NULL), AVOW_OK);
    struct avow_bus_tp tps[PARTITIONS];
    for (uint32_t i = 0; i < PARTITIONS; i++) /* all, so that a wrong partition would be seen */
        tps[i] = (struct avow_bus_tp){"t.evidence", (int32_t)i, AVOW_BUS_BEGINNING};
    assert_int_equal(avow_bus_assign(site.evidence, tps, PARTITIONS, NULL), AVOW_OK);
    site.partition = avow_bus_partition_of(avow_bytes_make(ID, strlen(ID)), PARTITIONS);
}

static void close_site(void)
{
    avow_trust_follow_free(site.trust);
    avow_attest_free(site.attest);
    avow_self_deinit(&site.self);
    avow_tpm_free(site.tpm);
    avow_bus_consumer_free(site.evidence);
    avow_bus_producer_free(site.producer);
    avow_bus_free(site.bus);
    avow_bus_free(site.agent_bus);
    avow_bus_mem_broker_free(site.broker);
    avow_privkey_free(site.root);
    avow_privkey_free(site.worker);
    avow_privkey_free(site.stranger);
}

/* --- The story: one agent's life --- */

static void good_marker(uint64_t epoch, uint8_t nonce)
{
    memset(site.nonce, nonce, sizeof site.nonce);
    send_marker(site.worker, epoch, nonce);
}

static void test_loop__answers_its_workers_and_nobody_else(void **state)
{
    (void)state;
    struct seen s;
    send_marker(site.worker, EPOCH, 1); /* before any bundle: nobody to believe */
    send_bundle(2);
    /* That marker is in the topic's tail, and signed by a key that the bundle names: it is
     * answered. */
    memset(site.nonce, 1, sizeof site.nonce);
    s = must_come();
    assert_true(s.of_last_nonce);
    assert_int_equal(s.start, 0);
    assert_int_equal(s.count, 1);
    assert_int_equal(s.pcrs, 23);

    swtpm_rig_ima_add(&rig, "/usr/bin/one"); /* a change */
    s = must_come();
    assert_int_equal(s.start, 1);
    assert_int_equal(s.count, 1);
    assert_int_equal(s.pcrs, 0);

    send_marker(site.stranger, EPOCH + 1, 66);    /* AF2 */
    send_marker(site.worker, EPOCH - 1, 67);      /* AF8 */
    send_resync(site.stranger, ID, EPOCH, 1);     /* AD1 */
    send_resync(site.worker, "host-2", EPOCH, 2); /* for another agent */
    send_resync(site.worker, ID, EPOCH - 7, 3);   /* AD2: too old */
    must_not_come("forged, foreign or old records");

    send_resync(site.worker, ID, EPOCH, 4);
    s = must_come();
    assert_true(s.of_last_nonce); /* neither 66 nor 67 was taken */
    assert_int_equal(s.epoch, EPOCH);
    assert_int_equal(s.start, 0);
    assert_int_equal(s.count, 2);
    assert_int_equal(s.pcrs, 23);
    send_resync(site.worker, ID, EPOCH, 4); /* AD2: the same again */
    must_not_come("a directive was obeyed twice");

    good_marker(EPOCH + 1, 2);
    send_bundle(1); /* a roll-back is ignored: the agent goes on */
    must_not_come("a marker alone asks for nothing");
    swtpm_rig_ima_add(&rig, "/usr/bin/two");
    s = must_come();
    assert_true(s.of_last_nonce);
    assert_int_equal(s.epoch, EPOCH + 1);
    assert_int_equal(s.start, 2);

    swtpm_rig_reboot(&rig); /* under the running agent */
    swtpm_rig_ima_init(&rig);
    s = must_come();
    assert_int_equal(s.start, 0);
    assert_int_equal(s.count, 1);
    assert_int_equal(s.pcrs, 23);
}

static void test_loop__stop__ends_at_once_and_leaves_its_files(void **state)
{
    (void)state;
    struct avow_next_file n;
    assert_int_equal(raise(SIGTERM), 0);
    uint64_t began = avow_clock_mono_ms();
    assert_int_equal(pthread_join(site.thread, NULL), 0);
    assert_true(avow_clock_mono_ms() - began < 1000);
    assert_int_equal(site.ended, AVOW_OK);
    assert_true(avow_next_file_load(site.run_dir, &n));
    assert_int_equal(n.count, 1);
    assert_memory_equal(n.fleet, fleet, sizeof fleet);
    struct avow_trust_follow *again = NULL; /* the bundle is on disk, as floor */
    assert_int_equal(avow_trust_follow_new(site.root_pem, site.state_dir, &again, NULL), AVOW_OK);
    assert_non_null(avow_trust_follow_current(again));
    assert_int_equal(avow_trust_bundle(avow_trust_follow_current(again))->version, 2);
    avow_trust_follow_free(again);
}

static int group_start(void **state)
{
    (void)state;
    if (swtpm_rig_start(&rig))
        return -1;
    avow_log_init("test", AVOW_LOG_ERROR, AVOW_LOG_TEXT);
    avow_stop_install();
    swtpm_rig_ima_init(&rig);
    open_site();
    open_agent();
    return pthread_create(&site.thread, NULL, run, NULL) ? -1 : 0;
}

static int group_stop(void **state)
{
    (void)state;
    close_site();
    swtpm_rig_stop(&rig);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_loop__answers_its_workers_and_nobody_else),
        cmocka_unit_test(test_loop__stop__ends_at_once_and_leaves_its_files),
    };
    return cmocka_run_group_tests(tests, group_start, group_stop);
}
