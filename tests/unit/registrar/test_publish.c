/* The outbox on its way to topic identities, and the trust bundle that it is signed for; broker in
 * memory. */
#include "fixture.h"

#include "identity_publish.h"
#include "trust_follow.h"

#include "avow/base/clock.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "avow/base/banned.h"

#define PARTITIONS 8u
#define WAIT_MS 10000u

struct site {
    struct fixture *f;
    struct avow_privkey *root_key, *key, *other_key;
    struct avow_root *root;
    struct avow_bus_mem_broker *broker;
    struct avow_bus *bus, *reader_bus;
    struct avow_bus_producer *producer;
    struct avow_bus_consumer *consumer; /* of identities */
    struct avow_trust *trust;
    struct avow_arena arena;
};

static void make_root(struct site *s)
{
    AVOW_CLEANUP(avow_pubkey_free) struct avow_pubkey *pub = NULL;
    AVOW_CLEANUP_VAL(avow_buf_deinit) struct avow_buf pem;
    struct avow_err err;
    avow_buf_init(&pem, 4096);
    assert_int_equal(avow_privkey_generate(&s->root_key, &err), AVOW_OK);
    assert_int_equal(avow_pubkey_from_spki(avow_privkey_spki(s->root_key), &pub, &err), AVOW_OK);
    assert_int_equal(avow_pubkey_pem(pub, &pem, &err), AVOW_OK);
    assert_int_equal(avow_root_parse(avow_buf_bytes(&pem), &s->root, &err), AVOW_OK);
}

struct bundle_opts {
    uint64_t version;
    uint8_t fleet;
    enum avow_role role;
    enum avow_key_status status;
    const struct avow_privkey *signer; /* NULL: root */
};
static const struct bundle_opts good = {
    .version = 3, .fleet = 0xf1, .role = AVOW_ROLE_REGISTRAR, .status = AVOW_KEY_STATUS_ACTIVE};

static void make_bundle(const struct site *s, const struct bundle_opts *o, struct avow_buf *out)
{
    struct avow_err err;
    struct avow_bundle_key key = {.alg = AVOW_KEY_ALG_ECDSA_P256,
                                  .spki = avow_privkey_spki(s->key),
                                  .roles = &o->role,
                                  .roles_count = 1,
                                  .status = o->status};
    avow_key_id(key.spki, key.id);
    struct avow_bundle b = {.key = AVOW_STR_LIT("bundle"),
                            .version = o->version,
                            .issued_ms = FIXTURE_NOW,
                            .topic_prefix = AVOW_STR_LIT("t."),
                            .partitions = PARTITIONS,
                            .epoch_ms = 10000,
                            .heartbeat_ms = 20000,
                            .silent_after_ms = 70000,
                            .validity_ms = 90000,
                            .verdict_refresh_ms = 30000,
                            .min_interval_ms = 200,
                            .rebase_interval_ms = 259200000,
                            .first_contact_ms = 86400000,
                            .policy_grace_ms = 3600000,
                            .resync_burst = 3,
                            .resync_refill_ms = 300000,
                            .wire_version = 1,
                            .keys = &key,
                            .keys_count = 1};
    memset(b.fleet, o->fleet, sizeof b.fleet);
    avow_buf_init(out, 65536);
    if (avow_seal_bundle(&b, o->signer ? o->signer : s->root_key, out, &err))
        fail_msg("%s", err.msg);
}

static enum avow_rc offer(struct avow_trust_follow *follow, const struct site *s,
                          const struct bundle_opts *o)
{
    AVOW_CLEANUP_VAL(avow_buf_deinit) struct avow_buf record;
    struct avow_err err;
    make_bundle(s, o, &record);
    return avow_trust_follow_offer(follow, avow_bytes_make("bundle", 6), avow_buf_bytes(&record),
                                   &err);
}

static void open_trust(struct site *s, const struct bundle_opts *o)
{
    AVOW_CLEANUP_VAL(avow_buf_deinit) struct avow_buf record;
    struct avow_err err;
    make_bundle(s, o, &record);
    avow_trust_free(s->trust);
    s->trust = NULL;
    if (avow_trust_open(s->root, avow_bytes_make("bundle", 6), avow_buf_bytes(&record), 0, NULL,
                        &s->trust, &err))
        fail_msg("%s", err.msg);
}

static void make_topic(struct site *s, const char *name, uint32_t partitions)
{
    struct avow_err err;
    const struct avow_bus_topic_spec spec = {
        .name = name, .partitions = partitions, .replication = 1};
    if (avow_bus_topic_create(s->bus, &spec, 1000, &err))
        fail_msg("%s", err.msg);
}

static int setup(void **state)
{
    struct site *s = calloc(1, sizeof *s);
    struct avow_err err;
    struct avow_bus_producer_opts popts = {.transactional_id = NULL};
    struct avow_bus_consumer_opts copts = {.isolation = AVOW_BUS_READ_COMMITTED};
    struct avow_bus_tp all[PARTITIONS];
    void *f = NULL;
    assert_non_null(s);
    fixture_setup(&f);
    s->f = f;
    avow_arena_init(&s->arena, 1024 * 1024);
    make_root(s);
    assert_int_equal(avow_privkey_generate(&s->key, &err), AVOW_OK);
    assert_int_equal(avow_privkey_generate(&s->other_key, &err), AVOW_OK);
    assert_int_equal(avow_bus_mem_broker_new(&s->broker, &err), AVOW_OK);
    assert_int_equal(avow_bus_mem_new(s->broker, &s->bus, &err), AVOW_OK);
    assert_int_equal(avow_bus_mem_new(s->broker, &s->reader_bus, &err), AVOW_OK);
    make_topic(s, "t.identities", PARTITIONS);
    make_topic(s, "t.trust", 1);
    assert_int_equal(avow_bus_producer_new(s->bus, &popts, &s->producer, &err), AVOW_OK);
    assert_int_equal(avow_bus_consumer_new(s->reader_bus, &copts, &s->consumer, &err), AVOW_OK);
    for (uint32_t i = 0; i < PARTITIONS; i++)
        all[i] = (struct avow_bus_tp){"t.identities", (int32_t)i, AVOW_BUS_BEGINNING};
    assert_int_equal(avow_bus_assign(s->consumer, all, PARTITIONS, &err), AVOW_OK);
    open_trust(s, &good);
    *state = s;
    return 0;
}

static int teardown(void **state)
{
    struct site *s = *state;
    void *f = s->f;
    avow_trust_free(s->trust);
    avow_bus_consumer_free(s->consumer);
    avow_bus_producer_free(s->producer);
    avow_bus_free(s->bus);
    avow_bus_free(s->reader_bus);
    avow_bus_mem_broker_free(s->broker);
    avow_root_free(s->root);
    avow_privkey_free(s->root_key);
    avow_privkey_free(s->key);
    avow_privkey_free(s->other_key);
    avow_arena_deinit(&s->arena);
    free(s);
    return fixture_teardown(&f);
}

static enum avow_rc publish(struct site *s, const struct avow_privkey *key, size_t *n)
{
    struct avow_err err;
    const struct avow_publish_job job = {.store = s->f->store,
                                         .trust = s->trust,
                                         .key = key,
                                         .producer = s->producer,
                                         .topic = "t.identities",
                                         .flush_timeout_ms = 1000};
    return avow_publish_batch(&job, n, &err);
}

/* The next record, opened as the CLI opens it; false if there is none. */
static bool next_identity(struct site *s, struct avow_identity *out)
{
    struct avow_bus_msg msg;
    struct avow_err err;
    assert_int_equal(avow_bus_poll(s->consumer, 0, &msg, &err), AVOW_OK);
    if (!msg.topic)
        return false;
    const struct avow_record_in in = {.kafka_key = avow_arena_bytes(&s->arena, msg.key),
                                      .value = avow_arena_bytes(&s->arena, msg.value),
                                      .partition = msg.partition};
    assert_int_equal(msg.partition, avow_bus_partition_of(msg.key, PARTITIONS));
    if (avow_open_identity(s->trust, &in, &s->arena, out, &err))
        fail_msg("%s", err.msg);
    return true;
}

/* From another thread; the memory broker does not wait. */
static bool wait_identity(struct site *s, struct avow_identity *out)
{
    uint64_t until = avow_clock_mono_ms() + WAIT_MS;
    while (avow_clock_mono_ms() < until) {
        if (next_identity(s, out))
            return true;
        avow_clock_sleep_ms(1);
    }
    return false;
}

static void test_publish_batch__after_a_restart__once(void **state)
{
    struct site *s = *state;
    struct avow_identity id;
    size_t n = 99;
    struct avow_agent a = fixture_agent(1);
    fixture_put_agent(s->f, "host-1", &a);
    fixture_reopen(s->f); /* died between commit and publish */
    assert_int_equal(publish(s, s->key, &n), AVOW_OK);
    assert_int_equal(n, 1);
    fixture_reopen(s->f);
    assert_int_equal(publish(s, s->key, &n), AVOW_OK);
    assert_int_equal(n, 0);
    assert_true(next_identity(s, &id));
    assert_true(avow_str_is(id.key, "host-1"));
    assert_int_equal(id.generation, 1);
    assert_int_equal(id.status, AVOW_IDENTITY_STATUS_ACTIVE);
    assert_false(next_identity(s, &id));
}

static void test_publish_batch__identity__says_what_is_stored(void **state)
{
    struct site *s = *state;
    AVOW_CLEANUP_VAL(avow_buf_deinit) struct avow_buf certs;
    struct avow_identity id;
    size_t n = 0;
    struct avow_agent a = fixture_agent(5);
    avow_buf_init(&certs, 64);
    avow_certs_put(&certs, avow_bytes_make("leaf", 4));
    avow_certs_put(&certs, avow_bytes_make("issuer", 6));
    a.claim.ek_certs = avow_buf_bytes(&certs);
    fixture_put_agent(s->f, "host-1", &a);
    assert_int_equal(publish(s, s->key, &n), AVOW_OK);
    assert_true(next_identity(s, &id));
    assert_int_equal(id.fleet[0], 0xf1);
    assert_true(avow_bytes_eq(id.ek_public, a.claim.ek_public));
    assert_true(avow_bytes_eq(id.ak_public, a.claim.ak_public));
    assert_true(avow_bytes_eq(id.ak_name, a.claim.ak_name));
    assert_int_equal(id.ek_certs_count, 2);
    assert_true(avow_bytes_eq(id.ek_certs[0], avow_bytes_make("leaf", 4)));
    assert_true(avow_bytes_eq(id.ek_certs[1], avow_bytes_make("issuer", 6)));
    assert_true(avow_str_eq(id.trust.rule, a.claim.trust.rule));
    assert_true(avow_str_eq(id.trust.detail, a.claim.trust.detail));
    assert_true(id.trust.trusted);
    assert_int_equal(id.trust.time_ms, FIXTURE_NOW);
    assert_true(id.trust.has_ek_cert_sha256);
    assert_int_equal(id.trust.ek_cert_sha256[31], 0xc5);
    assert_int_equal(id.regcount, 3);
    assert_int_equal(id.registered_ms, FIXTURE_NOW + 1);
    assert_false(id.has_qualified_signer || id.has_iak || id.has_idevid);
}

static void test_publish_batch__removal__is_signed(void **state)
{
    struct site *s = *state;
    struct avow_identity id;
    size_t n = 0;
    struct avow_agent a = fixture_agent(2);
    a.status = AVOW_AGENT_REMOVED;
    fixture_put_agent(s->f, "host-1", &a);
    assert_int_equal(publish(s, s->key, &n), AVOW_OK);
    assert_true(next_identity(s, &id));
    assert_int_equal(id.status, AVOW_IDENTITY_STATUS_REMOVED);
    assert_int_equal(id.generation, 2);
}

static void test_publish_batch__overtaken_change__only_the_last_speaks(void **state)
{
    struct site *s = *state;
    struct avow_identity id;
    size_t n = 0;
    for (uint64_t generation = 1; generation <= 3; generation++) {
        struct avow_agent a = fixture_agent(generation);
        fixture_put_agent(s->f, "host-1", &a);
    }
    assert_int_equal(publish(s, s->key, &n), AVOW_OK);
    assert_int_equal(n, 3);
    assert_true(next_identity(s, &id));
    assert_int_equal(id.generation, 3);
    assert_false(next_identity(s, &id));
}

static void test_publish_batch__more_than_a_batch__all_in_order(void **state)
{
    struct site *s = *state;
    size_t n = 0, batches = 0, total = 0;
    struct avow_identity id;
    for (unsigned i = 0; i < AVOW_PUBLISH_BATCH + 3; i++) {
        char name[32];
        struct avow_agent a = fixture_agent(1);
        snprintf(name, sizeof name, "host-%u", i);
        fixture_put_agent(s->f, name, &a);
    }
    do {
        assert_int_equal(publish(s, s->key, &n), AVOW_OK);
        batches++;
        total += n;
    } while (n);
    assert_int_equal(batches, 3);
    assert_int_equal(total, AVOW_PUBLISH_BATCH + 3);
    for (total = 0; next_identity(s, &id);)
        total++;
    assert_int_equal(total, AVOW_PUBLISH_BATCH + 3);
}

static void test_publish_batch__key_nobody_accepts__nothing_is_sent(void **state)
{
    struct site *s = *state;
    struct avow_identity id;
    struct bundle_opts o[] = {good, good, good};
    size_t n = 77;
    struct avow_agent a = fixture_agent(1);
    fixture_put_agent(s->f, "host-1", &a);
    o[1].role = AVOW_ROLE_WORKER;
    o[2].status = AVOW_KEY_STATUS_VERIFY_ONLY;
    for (size_t i = 0; i < AVOW_ARRAY_LEN(o); i++) {
        open_trust(s, &o[i]);
        assert_int_equal(publish(s, i ? s->key : s->other_key, &n), AVOW_UNTRUSTED);
        assert_int_equal(n, 77);
    }
    open_trust(s, &good);
    assert_false(next_identity(s, &id));
    assert_int_equal(publish(s, s->key, &n), AVOW_OK); /* control: it waited */
    assert_true(next_identity(s, &id));
}

static void test_publish_batch__send_fails__stays_in_the_outbox(void **state)
{
    struct site *s = *state;
    struct avow_err err;
    uint64_t waiting = 0;
    size_t n = 77;
    struct avow_agent a = fixture_agent(1);
    fixture_put_agent(s->f, "host-1", &a);
    const struct avow_publish_job job = {.store = s->f->store,
                                         .trust = s->trust,
                                         .key = s->key,
                                         .producer = s->producer,
                                         .topic = "t.nowhere",
                                         .flush_timeout_ms = 1000};
    assert_int_not_equal(avow_publish_batch(&job, &n, &err), AVOW_OK);
    assert_int_equal(n, 77);
    assert_int_equal(avow_store_outbox_count(s->f->store, &waiting, &err), AVOW_OK);
    assert_int_equal(waiting, 1);
}

static void test_trust_follow__versions_fleets_and_signers(void **state)
{
    struct site *s = *state;
    struct avow_trust_follow follow;
    struct avow_err err;
    struct bundle_opts older = good, newer = good, stranger = good, forged = good;
    older.version = 2;
    newer.version = 4;
    stranger.version = forged.version = 9;
    stranger.fleet = 0x77;
    forged.signer = s->other_key;
    assert_int_equal(avow_trust_follow_init(&follow, s->root, s->f->store, &err), AVOW_OK);
    assert_int_equal(offer(&follow, s, &good), AVOW_OK);
    assert_int_equal(offer(&follow, s, &good), AVOW_OK);
    assert_int_equal(offer(&follow, s, &older), AVOW_ROLLBACK);
    assert_int_equal(offer(&follow, s, &stranger), AVOW_UNTRUSTED);
    assert_int_equal(offer(&follow, s, &forged), AVOW_UNTRUSTED);
    assert_int_equal(avow_trust_bundle(follow.trust)->version, 3);
    assert_int_equal(offer(&follow, s, &newer), AVOW_OK);
    assert_int_equal(avow_trust_bundle(follow.trust)->version, 4);
    avow_trust_follow_deinit(&follow);

    /* A restart knows the floor and the fleet, and takes the same version again. */
    fixture_reopen(s->f);
    assert_int_equal(avow_trust_follow_init(&follow, s->root, s->f->store, &err), AVOW_OK);
    assert_int_equal(offer(&follow, s, &good), AVOW_ROLLBACK);
    assert_int_equal(offer(&follow, s, &stranger), AVOW_UNTRUSTED);
    assert_int_equal(offer(&follow, s, &newer), AVOW_OK);
    avow_trust_follow_deinit(&follow);
}

static void put_bundle(struct site *s, const struct bundle_opts *o)
{
    AVOW_CLEANUP_VAL(avow_buf_deinit) struct avow_buf record;
    struct avow_err err;
    make_bundle(s, o, &record);
    const struct avow_bus_record r = {
        .topic = "t.trust", .key = avow_bytes_make("bundle", 6), .value = avow_buf_bytes(&record)};
    assert_int_equal(avow_bus_send(s->producer, &r, &err), AVOW_OK);
    assert_int_equal(avow_bus_flush(s->producer, 1000, &err), AVOW_OK);
}

/* The thread as a whole: bundle from the topic, then what waits, then what comes. */
static void test_publisher__bundle_from_the_topic__publishes(void **state)
{
    struct site *s = *state;
    AVOW_CLEANUP(avow_bus_free) struct avow_bus *bus = NULL;
    struct avow_publisher *p = NULL;
    struct avow_identity id;
    struct avow_err err;
    struct avow_agent a = fixture_agent(1), b = fixture_agent(2);
    assert_int_equal(avow_bus_mem_new(s->broker, &bus, &err), AVOW_OK);
    put_bundle(s, &good);
    fixture_put_agent(s->f, "host-1", &a);
    const struct avow_publisher_opts o = {
        .store = s->f->store, .bus = bus, .root = s->root, .key = s->key, .topic_prefix = "t."};
    assert_int_equal(avow_publisher_start(&o, &p, &err), AVOW_OK);
    assert_true(wait_identity(s, &id));
    assert_int_equal(id.generation, 1);
    fixture_put_agent(s->f, "host-1", &b);
    avow_publisher_wake(p);
    assert_true(wait_identity(s, &id));
    assert_int_equal(id.generation, 2);
    avow_publisher_stop(p);
}

#define SITE_TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        SITE_TEST(test_publish_batch__after_a_restart__once),
        SITE_TEST(test_publish_batch__identity__says_what_is_stored),
        SITE_TEST(test_publish_batch__removal__is_signed),
        SITE_TEST(test_publish_batch__overtaken_change__only_the_last_speaks),
        SITE_TEST(test_publish_batch__more_than_a_batch__all_in_order),
        SITE_TEST(test_publish_batch__key_nobody_accepts__nothing_is_sent),
        SITE_TEST(test_publish_batch__send_fails__stays_in_the_outbox),
        SITE_TEST(test_trust_follow__versions_fleets_and_signers),
        SITE_TEST(test_publisher__bundle_from_the_topic__publishes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
