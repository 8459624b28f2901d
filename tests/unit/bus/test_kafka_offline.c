/* bus_kafka where no Kafka answers: configuration, and calls that must end in time with a reason.
 */
#include "avow/base/clock.h"
#include "avow/base/log.h"
#include "avow/bus/bus.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "avow/base/banned.h"

#define NOWHERE "127.0.0.1:1" /* refused at once */

static void test_kafka_new__bad_properties__are_named(void **state)
{
    (void)state;
    static const struct {
        struct avow_bus_property kv[2];
        const char *text;
    } cases[] = {
        {{{"bootstrap.servers", NOWHERE}, {"no.such.property", "1"}}, "kafka.no.such.property"},
        {{{"bootstrap.servers", NOWHERE}, {"linger.ms", "soon"}}, "linger.ms"},
        {{{"bootstrap.servers", NOWHERE}, {"security.protocol", "tsl"}}, "security.protocol"},
        {{{"bootstrap.servers", NOWHERE}, {"enable.idempotence", "false"}},
         "kafka.enable.idempotence is set by Avow"},
        {{{"bootstrap.servers", NOWHERE}, {"group.id", "x"}}, "kafka.group.id is set by Avow"},
        {{{"bootstrap.servers", NOWHERE}, {"isolation.level", "read_uncommitted"}},
         "kafka.isolation.level"},
        {{{"socket.keepalive.enable", "true"}, {"client.rack", "a"}},
         "kafka.bootstrap.servers is not set"},
    };
    for (size_t i = 0; i < AVOW_ARRAY_LEN(cases); i++) {
        struct avow_bus *b = NULL;
        struct avow_err err = {0};
        assert_int_equal(avow_bus_kafka_new(cases[i].kv, 2, "test", &b, &err), AVOW_CONFIG);
        assert_null(b);
        if (!strstr(err.msg, cases[i].text))
            fail_msg("case %zu: %s", i, err.msg);
    }
}

static struct avow_bus *nowhere(void)
{
    static const struct avow_bus_property kv[] = {{"bootstrap.servers", NOWHERE},
                                                  {"reconnect.backoff.ms", "10"},
                                                  {"fetch.max.bytes", "2097152"}};
    struct avow_bus *b = NULL;
    struct avow_err err = {0};
    if (avow_bus_kafka_new(kv, AVOW_ARRAY_LEN(kv), "test", &b, &err))
        fail_msg("%s", err.msg);
    return b;
}

static void test_kafka__contradicting_properties__are_a_configuration_error(void **state)
{
    (void)state;
    static const struct avow_bus_property kv[] = {{"bootstrap.servers", NOWHERE},
                                                  {"fetch.max.bytes", "9000000"},
                                                  {"receive.message.max.bytes", "2000000"}};
    struct avow_bus *b = NULL;
    struct avow_bus_consumer *c = NULL;
    struct avow_bus_consumer_opts opts = {0};
    struct avow_err err = {0};
    assert_int_equal(avow_bus_kafka_new(kv, 3, "test", &b, &err), AVOW_OK);
    assert_int_equal(avow_bus_consumer_new(b, &opts, &c, &err), AVOW_CONFIG);
    assert_non_null(strstr(err.msg, "receive.message.max.bytes"));
    avow_bus_free(b);
}

static void test_kafka__nobody_there__questions_are_unreachable_in_time(void **state)
{
    (void)state;
    struct avow_bus *b = nowhere();
    struct avow_err err = {0};
    bool mock = false;
    uint32_t n = 0;
    uint64_t start = avow_clock_mono_ms();
    assert_int_equal(avow_bus_is_mock(b, 200, &mock, &err), AVOW_UNREACHABLE);
    assert_non_null(strstr(err.msg, "refused")); /* Connection refused */
    assert_int_equal(avow_bus_partition_count(b, "t", 100, &n, &err), AVOW_UNREACHABLE);
    assert_true(avow_clock_mono_ms() - start < 3000);
    avow_bus_free(b);
}

static void test_kafka__nobody_there__flush_times_out_and_forgets(void **state)
{
    (void)state;
    struct avow_bus *b = nowhere();
    struct avow_bus_producer *p = NULL;
    struct avow_bus_producer_opts opts = {.topics = (const char *const[]){"t"}, .n_topics = 1};
    struct avow_err err = {0};
    assert_int_equal(avow_bus_producer_new(b, &opts, &p, &err), AVOW_OK);
    struct avow_bus_record rec = {.topic = "t", .value = avow_bytes_make("x", 1)};
    for (int i = 0; i < 2; i++) {
        assert_int_equal(avow_bus_send(p, &rec, &err), AVOW_OK);
        assert_int_equal(avow_bus_in_flight(p), 1);
        assert_int_equal(avow_bus_flush(p, 150, &err), AVOW_TIMEOUT);
        assert_int_equal(avow_bus_in_flight(p), 0);
    }
    assert_int_equal(avow_bus_flush(p, 0, &err), AVOW_OK); /* nothing is left */
    avow_bus_producer_free(p);
    avow_bus_free(b);
}

static void test_kafka__queue_is_full__send_is_a_limit(void **state)
{
    (void)state;
    struct avow_bus *b = nowhere();
    struct avow_bus_producer *p = NULL;
    struct avow_bus_producer_opts opts = {.queue_max_bytes = 64 * 1024};
    struct avow_err err = {0};
    static uint8_t value[10000];
    enum avow_rc rc = AVOW_OK;
    unsigned sent = 0;
    assert_int_equal(avow_bus_producer_new(b, &opts, &p, &err), AVOW_OK);
    struct avow_bus_record rec = {.topic = "t", .value = AVOW_BYTES_OF(value)};
    while (sent < 20 && !(rc = avow_bus_send(p, &rec, &err)))
        sent++;
    assert_int_equal(rc, AVOW_LIMIT);
    assert_true(sent >= 5 && sent <= 7);
    assert_int_equal(avow_bus_flush(p, 50, &err), AVOW_TIMEOUT);
    assert_int_equal(avow_bus_send(p, &rec, &err), AVOW_OK); /* there is room again */
    avow_bus_producer_free(p);
    avow_bus_free(b);
}

static void test_kafka__nobody_there__a_reader_polls_nothing_and_ends(void **state)
{
    (void)state;
    struct avow_bus *b = nowhere();
    struct avow_bus_consumer *c = NULL;
    struct avow_bus_consumer_opts opts = {.fetch_wait_ms = 10000};
    struct avow_bus_tp tps[] = {{"epochs", 3, AVOW_BUS_TAIL(64)}, {"trust", 0, AVOW_BUS_BEGINNING}};
    struct avow_bus_msg msg;
    struct avow_err err = {0};
    int64_t at = 0;
    uint64_t start = avow_clock_mono_ms();
    assert_int_equal(avow_bus_consumer_new(b, &opts, &c, &err), AVOW_OK);
    assert_int_equal(avow_bus_assign(c, tps, 2, &err), AVOW_OK);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(avow_bus_poll(c, 30, &msg, &err), AVOW_OK);
        assert_null(msg.topic);
    }
    assert_int_equal(avow_bus_position(c, "other", 0, &at, &err), AVOW_STATE);
    avow_bus_consumer_free(c);
    avow_bus_free(b);
    assert_true(avow_clock_mono_ms() - start < 5000);
}

int main(void)
{
    avow_log_init("test", AVOW_LOG_ERROR, AVOW_LOG_TEXT);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_kafka_new__bad_properties__are_named),
        cmocka_unit_test(test_kafka__contradicting_properties__are_a_configuration_error),
        cmocka_unit_test(test_kafka__nobody_there__questions_are_unreachable_in_time),
        cmocka_unit_test(test_kafka__nobody_there__flush_times_out_and_forgets),
        cmocka_unit_test(test_kafka__queue_is_full__send_is_a_limit),
        cmocka_unit_test(test_kafka__nobody_there__a_reader_polls_nothing_and_ends),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
