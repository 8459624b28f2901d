/* secure.c - the bus against a Kafka with TLS, passwords and ACLs (run-kafka.sh): who gets in, and
 * what the others are told. $AVOW_TEST_KAFKA is the mutual-TLS listener, $AVOW_TEST_KAFKA_SASL the
 * one with passwords. */

#include "avow/base/clock.h"
#include "avow/base/log.h"
#include "avow/bus/bus.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "avow/base/banned.h"

#define WAIT_MS 15000u

static char tls_folder[512];

static const char *pem(char out[600], const char *name)
{
    (void)snprintf(out, 600, "%s/%s.pem", tls_folder, name);
    return out;
}

/* Mutual TLS as `name`; NULL: without a certificate. `ca`: whom we believe. */
static struct avow_bus *tls_bus(const char *name, const char *ca)
{
    char ca_path[600];
    char own_path[600];
    const struct avow_bus_property kv[] = {
        {"bootstrap.servers", getenv("AVOW_TEST_KAFKA")},
        {"security.protocol", "ssl"},
        {"ssl.ca.location", pem(ca_path, ca)},
        {"ssl.certificate.location", name ? pem(own_path, name) : ""},
        {"ssl.key.location", name ? own_path : ""},
    };
    struct avow_bus *b = NULL;
    struct avow_err err = {0};
    if (avow_bus_kafka_new(kv, name ? 5 : 3, "secure-test", &b, &err))
        fail_msg("%s", err.msg);
    return b;
}

static struct avow_bus *sasl_bus(const char *user, const char *password)
{
    char ca_path[600];
    const struct avow_bus_property kv[] = {
        {"bootstrap.servers", getenv("AVOW_TEST_KAFKA_SASL")},
        {"security.protocol", "sasl_ssl"},
        {"sasl.mechanism", "PLAIN"},
        {"sasl.username", user},
        {"sasl.password", password},
        {"ssl.ca.location", pem(ca_path, "ca")},
    };
    struct avow_bus *b = NULL;
    struct avow_err err = {0};
    if (avow_bus_kafka_new(kv, AVOW_ARRAY_LEN(kv), "secure-test", &b, &err))
        fail_msg("%s", err.msg);
    return b;
}

static void expect_refused(struct avow_bus *b)
{
    struct avow_err err = {0};
    bool mock = false;
    uint64_t start = avow_clock_mono_ms();
    assert_int_equal(avow_bus_is_mock(b, WAIT_MS, &mock, &err), AVOW_UNREACHABLE);
    if (!strstr(err.msg, "login refused: "))
        fail_msg("unclear: %s", err.msg);
    print_message("  %s\n", err.msg);
    assert_true(avow_clock_mono_ms() - start <
                WAIT_MS / 2); /* it does not wait for the end of the time */
    avow_bus_free(b);
}

static void test_secure__wrong_password__is_said(void **state)
{
    (void)state;
    expect_refused(sasl_bus("agent-1", "wrong"));
}

static void test_secure__no_certificate__is_said(void **state)
{
    (void)state;
    expect_refused(tls_bus(NULL, "ca"));
}

static void test_secure__server_of_another_ca__is_said(void **state)
{
    (void)state;
    expect_refused(tls_bus("agent-1", "nobody"));
}

static void test_secure__wrong_password__every_call_that_waits_says_it(void **state)
{
    (void)state;
    struct avow_bus *b = sasl_bus("agent-1", "wrong");
    struct avow_err err = {0};
    struct avow_bus_producer *p = NULL;
    struct avow_bus_producer_opts po = {.topics = (const char *const[]){"evidence"}, .n_topics = 1};
    assert_int_equal(avow_bus_producer_new(b, &po, &p, &err),
                     AVOW_OK); /* it may start before Kafka */
    struct avow_bus_record rec = {.topic = "evidence", .value = avow_bytes_make("x", 1)};
    assert_int_equal(avow_bus_send(p, &rec, &err), AVOW_OK);
    assert_int_equal(avow_bus_flush(p, 3000, &err), AVOW_UNREACHABLE);
    assert_non_null(strstr(err.msg, "login refused: "));
    avow_bus_producer_free(p);

    po = (struct avow_bus_producer_opts){.transactional_id = "tx", .txn_timeout_ms = 10000};
    assert_int_equal(avow_bus_producer_new(b, &po, &p, &err), AVOW_UNREACHABLE);
    assert_non_null(strstr(err.msg, "login refused: "));

    struct avow_bus_consumer *c = NULL;
    struct avow_bus_consumer_opts co = {.isolation = AVOW_BUS_READ_UNCOMMITTED};
    assert_int_equal(avow_bus_consumer_new(b, &co, &c, &err), AVOW_OK);
    struct avow_bus_tp tp = {"epochs", 0, AVOW_BUS_TAIL(64)};
    assert_int_equal(avow_bus_assign(c, &tp, 1, &err), AVOW_OK);
    unsigned said = 0;
    uint64_t start = avow_clock_mono_ms();
    while (avow_clock_mono_ms() - start < 4000) {
        struct avow_bus_msg msg;
        err = (struct avow_err){0};
        enum avow_rc rc = avow_bus_poll(c, 100, &msg, &err);
        assert_true(rc == AVOW_OK || rc == AVOW_BUS);
        said += rc == AVOW_BUS && strstr(err.msg, "login refused: ") ? 1 : 0;
    }
    assert_int_equal(said, 1); /* once, not with every poll */
    avow_bus_consumer_free(c);
    avow_bus_free(b);
}

/* --- With the rights of an agent --- */

static void make_topics(void)
{
    struct avow_bus *b = tls_bus("admin", "ca");
    static const char *const names[] = {"evidence", "epochs", "state"};
    for (size_t i = 0; i < AVOW_ARRAY_LEN(names); i++) {
        struct avow_err err = {0};
        struct avow_bus_topic_spec spec = {.name = names[i], .partitions = 1, .replication = 1};
        enum avow_rc rc = avow_bus_topic_create(b, &spec, WAIT_MS, &err);
        if (rc && rc != AVOW_EXISTS)
            fail_msg("%s", err.msg);
    }
    struct avow_err err = {0};
    struct avow_bus_producer *p = NULL;
    struct avow_bus_producer_opts po = {0};
    assert_int_equal(avow_bus_producer_new(b, &po, &p, &err), AVOW_OK);
    struct avow_bus_record rec = {.topic = "epochs", .value = avow_bytes_make("marker", 6)};
    assert_int_equal(avow_bus_send(p, &rec, &err), AVOW_OK);
    assert_int_equal(avow_bus_flush(p, WAIT_MS, &err), AVOW_OK);
    avow_bus_producer_free(p);
    avow_bus_free(b);
}

static void agent_can(struct avow_bus *b)
{
    struct avow_err err = {0};
    struct avow_bus_producer *p = NULL;
    struct avow_bus_producer_opts po = {0};
    assert_int_equal(avow_bus_producer_new(b, &po, &p, &err), AVOW_OK);
    struct avow_bus_record rec = {.topic = "evidence", .value = avow_bytes_make("x", 1)};
    assert_int_equal(avow_bus_send(p, &rec, &err), AVOW_OK);
    if (avow_bus_flush(p, WAIT_MS, &err))
        fail_msg("%s", err.msg);
    avow_bus_producer_free(p);

    struct avow_bus_consumer *c = NULL;
    struct avow_bus_consumer_opts co = {.isolation = AVOW_BUS_READ_UNCOMMITTED};
    assert_int_equal(avow_bus_consumer_new(b, &co, &c, &err), AVOW_OK);
    struct avow_bus_tp tp = {"epochs", 0, AVOW_BUS_TAIL(64)};
    assert_int_equal(avow_bus_assign(c, &tp, 1, &err), AVOW_OK);
    bool seen = false;
    uint64_t start = avow_clock_mono_ms();
    /* Two seconds longer than needed: the refusal of the group, which is never joined, must not
     * show. */
    while (avow_clock_mono_ms() - start < (seen ? 2000 : WAIT_MS)) {
        struct avow_bus_msg msg;
        if (avow_bus_poll(c, 100, &msg, &err))
            fail_msg("%s", err.msg);
        seen = seen || msg.topic;
    }
    assert_true(seen);
    avow_bus_consumer_free(c);
}

static void agent_cannot(struct avow_bus *b)
{
    struct avow_err err = {0};
    struct avow_bus_producer *p = NULL;
    struct avow_bus_producer_opts po = {0};
    assert_int_equal(avow_bus_producer_new(b, &po, &p, &err), AVOW_OK);
    struct avow_bus_record rec = {.topic = "state", .value = avow_bytes_make("x", 1)};
    enum avow_rc rc = avow_bus_send(p, &rec, &err);
    if (!rc)
        rc = avow_bus_flush(p, WAIT_MS, &err);
    assert_int_equal(rc, AVOW_BUS);
    assert_non_null(strstr(err.msg, "authorization failed"));
    avow_bus_producer_free(p);

    po = (struct avow_bus_producer_opts){.transactional_id = "avow.x", .txn_timeout_ms = 10000};
    assert_int_equal(avow_bus_producer_new(b, &po, &p, &err), AVOW_BUS_FATAL);
    assert_non_null(strstr(err.msg, "authorization failed"));

    struct avow_bus_consumer *c = NULL;
    struct avow_bus_consumer_opts co = {.isolation = AVOW_BUS_READ_UNCOMMITTED};
    assert_int_equal(avow_bus_consumer_new(b, &co, &c, &err), AVOW_OK);
    struct avow_bus_tp tp = {"state", 0, AVOW_BUS_BEGINNING};
    assert_int_equal(avow_bus_assign(c, &tp, 1, &err), AVOW_OK);
    rc = AVOW_OK;
    uint64_t start = avow_clock_mono_ms();
    while (!rc && avow_clock_mono_ms() - start < WAIT_MS) {
        struct avow_bus_msg msg;
        rc = avow_bus_poll(c, 100, &msg, &err);
    }
    assert_int_equal(rc, AVOW_BUS); /* not "offset is not in the log" */
    assert_non_null(strstr(err.msg, "authorization failed"));
    avow_bus_consumer_free(c);
}

static void test_secure__agent_with_certificate__can_what_it_may_and_no_more(void **state)
{
    (void)state;
    make_topics();
    struct avow_bus *b = tls_bus("agent-1", "ca");
    agent_can(b);
    agent_cannot(b);
    avow_bus_free(b);
}

static void test_secure__agent_with_password__can_what_it_may(void **state)
{
    (void)state;
    make_topics();
    struct avow_bus *b = sasl_bus("agent-1", "right");
    agent_can(b);
    avow_bus_free(b);
}

int main(void)
{
    const char *folder = getenv("AVOW_TEST_TLS");
    if (!folder || !getenv("AVOW_TEST_KAFKA") || !getenv("AVOW_TEST_KAFKA_SASL"))
        return 2;
    (void)snprintf(tls_folder, sizeof(tls_folder), "%s", folder);
    avow_log_init("bus-secure", AVOW_LOG_ERROR, AVOW_LOG_TEXT);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_secure__wrong_password__is_said),
        cmocka_unit_test(test_secure__no_certificate__is_said),
        cmocka_unit_test(test_secure__server_of_another_ca__is_said),
        cmocka_unit_test(test_secure__wrong_password__every_call_that_waits_says_it),
        cmocka_unit_test(test_secure__agent_with_certificate__can_what_it_may_and_no_more),
        cmocka_unit_test(test_secure__agent_with_password__can_what_it_may),
    };
    return cmocka_run_group_tests(tests, NULL, NULL) ? 1 : 0;
}
