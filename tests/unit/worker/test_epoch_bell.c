/* test_epoch_bell.c - the service clock as a table (PROTOCOL R8), and clock sanity (R22). */
#include "epoch_bell.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "avow/base/banned.h"

#define EPOCH 10000u
#define T0 1700000000000u /* a boundary */
#define M0 5000000u

static uint8_t nonce_of(uint64_t n, uint8_t out[32])
{
    memset(out, 0, 32);
    out[0] = (uint8_t)n;
    out[1] = (uint8_t)(n >> 8);
    return out[0];
}

struct ring {        /* one marker of a story */
    uint64_t at_ms;  /* since T0 and M0 */
    int64_t step_ms; /* of the wall clock against the monotonic one */
    bool caught_up, ready, ack;
    uint64_t want_service_ms;
    bool want_ticking;
};
struct story {
    const char *name;
    bool has_last; /* a predecessor's marker on the topic */
    uint64_t last_before_ms, last_service_ms;
    struct ring rings[8];
};

static const struct story stories[] = {
    {"first marker of a new partition starts at 0, then ticks",
     false,
     0,
     0,
     {{0, 0, true, true, true, 0, false},
      {10000, 0, true, true, true, 10000, true},
      {20000, 0, true, true, true, 20000, true}}},
    {"take-over within the same minute continues and adds nothing for the gap",
     true,
     12000,
     777,
     {{0, 0, true, true, true, 777, false}, {10000, 0, true, true, true, 10777, true}}},
    {"take-over after a gap of 3 epochs stays frozen for as long",
     true,
     30000,
     1000,
     {{0, 0, true, true, true, 1000, false},
      {10000, 0, true, true, true, 1000, false},
      {20000, 0, true, true, true, 1000, false},
      {30000, 0, true, true, true, 1000, false},
      {40000, 0, true, true, true, 11000, true}}},
    {"take-over after an hour freezes for 60 s, not for an hour",
     true,
     3600000,
     5,
     {{0, 0, true, true, true, 5, false},
      {20000, 0, true, true, true, 5, false},
      {40000, 0, true, true, true, 5, false},
      {60000, 0, true, true, true, 5, false},
      {70000, 0, true, true, true, 10005, true}}},
    {"a backlog stops the clock",
     false,
     0,
     0,
     {{0, 0, true, true, true, 0, false},
      {10000, 0, false, true, true, 0, false},
      {20000, 0, false, true, true, 0, false},
      {30000, 0, true, true, true, 10000, true}}},
    {"a marker that was not seen on the topic stops the clock",
     false,
     0,
     0,
     {{0, 0, true, true, false, 0, false},
      {10000, 0, true, true, true, 0, false},
      {20000, 0, true, true, true, 10000, true}}},
    {"without state and policies nothing ticks",
     false,
     0,
     0,
     {{0, 0, true, false, true, 0, false},
      {10000, 0, true, false, true, 0, false},
      {20000, 0, true, true, true, 10000, true}}},
    {"a stall of our own is a gap",
     false,
     0,
     0,
     {{0, 0, true, true, true, 0, false},
      {10000, 0, true, true, true, 10000, true},
      {45000, 0, true, true, true, 10000, false},
      {60000, 0, true, true, true, 10000, false},
      {80000, 0, true, true, true, 10000, false},
      {90000, 0, true, true, true, 20000, true}}},
    {"a late marker counts, but no more than two epochs",
     false,
     0,
     0,
     {{0, 0, true, true, true, 0, false}, {29000, 0, true, true, true, 20000, true}}},
    {"a step of the wall clock adds nothing",
     false,
     0,
     0,
     {{0, 0, true, true, true, 0, false},
      {10000, 10000, true, true, true, 10000, true},
      {20000, 10000, true, true, true, 20000, true},
      {40000, 0, true, true, true, 40000, true}}},
};

static void see(struct avow_epoch_bell *b, uint64_t epoch, uint64_t issued, uint64_t service,
                const uint8_t *nonce, uint64_t append, uint64_t unix_ms, uint64_t mono)
{
    struct avow_epoch_bell_seen s = {.epoch = epoch,
                                     .issued_ms = issued,
                                     .service_ms = service,
                                     .nonce = nonce,
                                     .append_ms = append,
                                     .unix_ms = unix_ms,
                                     .mono_ms = mono};
    avow_epoch_bell_see(b, &s);
}

static void play(const struct story *s)
{
    struct avow_epoch_bell b;
    uint8_t nonce[32];
    avow_epoch_bell_init(&b, EPOCH);
    if (s->has_last) {
        uint64_t issued = T0 - s->last_before_ms;
        (void)nonce_of(60000, nonce);
        see(&b, issued / EPOCH, issued, s->last_service_ms, nonce, 0, T0, M0);
    }
    for (size_t i = 0; i < 8 && (i == 0 || s->rings[i].at_ms); i++) {
        const struct ring *r = &s->rings[i];
        uint64_t unix_ms = T0 + r->at_ms + (uint64_t)r->step_ms, mono = M0 + r->at_ms;
        (void)nonce_of(i, nonce);
        struct avow_epoch_bell_ring in = {.unix_ms = unix_ms,
                                          .mono_ms = mono,
                                          .ready = r->ready,
                                          .caught_up = r->caught_up,
                                          .nonce = nonce};
        struct avow_epoch_bell_marker m;
        avow_epoch_bell_ring(&b, &in, &m);
        if (m.service_ms != r->want_service_ms || m.ticking != r->want_ticking)
            fail_msg("%s, marker %zu: service %llu ticking %d, want %llu %d", s->name, i,
                     (unsigned long long)m.service_ms, m.ticking,
                     (unsigned long long)r->want_service_ms, r->want_ticking);
        assert_int_equal(m.epoch, unix_ms / EPOCH);
        if (r->ack)
            see(&b, m.epoch, m.issued_ms, m.service_ms, nonce, unix_ms + 5, unix_ms + 5, mono + 5);
    }
}

static void test_ring__stories__service_clock(void **state)
{
    (void)state;
    for (size_t i = 0; i < AVOW_ARRAY_LEN(stories); i++)
        play(&stories[i]);
}

static void test_due__marker_of_this_epoch_on_the_topic__waits_for_the_next(void **state)
{
    (void)state;
    struct avow_epoch_bell b;
    uint8_t nonce[32];
    avow_epoch_bell_init(&b, EPOCH);
    assert_true(avow_epoch_bell_due(&b, T0 + 3000));
    (void)nonce_of(1, nonce);
    see(&b, T0 / EPOCH, T0 + 1000, 0, nonce, 0, T0 + 3000, M0);
    assert_false(avow_epoch_bell_due(&b, T0 + 3000));
    assert_int_equal(avow_epoch_bell_wait_ms(&b, T0 + 3000), 7000);
    assert_true(avow_epoch_bell_due(&b, T0 + 10000));
}

static void test_due__foreign_marker_while_we_own__does_not_stop_us(void **state)
{
    (void)state;
    struct avow_epoch_bell b;
    struct avow_epoch_bell_marker m;
    uint8_t own[32], foreign[32];
    (void)nonce_of(1, own);
    (void)nonce_of(2, foreign);
    avow_epoch_bell_init(&b, EPOCH);
    struct avow_epoch_bell_ring in = {
        .unix_ms = T0, .mono_ms = M0, .ready = true, .caught_up = true, .nonce = own};
    avow_epoch_bell_ring(&b, &in, &m);
    see(&b, T0 / EPOCH + 1, T0 + 10000, 999999999, foreign, 0, T0 + 10001, M0 + 10001);
    assert_true(avow_epoch_bell_due(&b, T0 + 10002));
    assert_int_equal(b.service_ms, 0); /* nor does it move our clock */
    assert_false(b.own_acked);
}

static void test_check__future_marker__unhealthy_until_time_has_come(void **state)
{
    (void)state;
    struct avow_epoch_bell b;
    uint8_t nonce[32];
    (void)nonce_of(1, nonce);
    avow_epoch_bell_init(&b, EPOCH);
    see(&b, T0 / EPOCH + 1, T0 + 10000, 0, nonce, 0, T0, M0);
    assert_int_equal(avow_epoch_bell_check(&b, T0, M0),
                     AVOW_EPOCH_BELL_HEALTHY); /* one epoch is tolerated */
    see(&b, T0 / EPOCH + 360, T0 + 3600000, 0, nonce, 0, T0, M0);
    assert_int_equal(avow_epoch_bell_check(&b, T0, M0), AVOW_EPOCH_BELL_FUTURE);
    assert_int_equal(avow_epoch_bell_check(&b, T0 + 3590000, M0 + 3590000),
                     AVOW_EPOCH_BELL_HEALTHY);
}

static void test_check__append_time__skew_and_its_repair(void **state)
{
    static const struct {
        const char *name;
        int64_t append_after_ms; /* of the marker's stamp, against our sending */
        uint64_t read_after_ms;
        enum avow_epoch_bell_health want;
    } rows[] = {
        {"in time", 3, 10, AVOW_EPOCH_BELL_HEALTHY},
        {"5 s before we sent it", -5000, 10, AVOW_EPOCH_BELL_HEALTHY},
        {"more than 5 s before", -5001, 10, AVOW_EPOCH_BELL_SKEWED},
        {"a slow broker is not a skewed one", 8000, 8100, AVOW_EPOCH_BELL_HEALTHY},
        {"more than 5 s after we read it", 5011, 10, AVOW_EPOCH_BELL_SKEWED},
        {"an hour ahead of us", 3600000, 10, AVOW_EPOCH_BELL_SKEWED},
    };
    (void)state;
    for (size_t i = 0; i < AVOW_ARRAY_LEN(rows); i++) {
        struct avow_epoch_bell b;
        struct avow_epoch_bell_marker m;
        uint8_t nonce[32];
        (void)nonce_of(i, nonce);
        avow_epoch_bell_init(&b, EPOCH);
        struct avow_epoch_bell_ring in = {
            .unix_ms = T0, .mono_ms = M0, .ready = true, .caught_up = true, .nonce = nonce};
        avow_epoch_bell_ring(&b, &in, &m);
        see(&b, m.epoch, m.issued_ms, 0, nonce, (uint64_t)((int64_t)T0 + rows[i].append_after_ms),
            T0 + rows[i].read_after_ms, M0 + rows[i].read_after_ms);
        enum avow_epoch_bell_health got = avow_epoch_bell_check(&b, T0 + 20000, M0 + 20000);
        if (got != rows[i].want)
            fail_msg("%s: got %d", rows[i].name, (int)got);
        if (got == AVOW_EPOCH_BELL_SKEWED) /* somebody sets the clock right: another try */
            assert_int_equal(avow_epoch_bell_check(&b, T0 + 26000, M0 + 20000),
                             AVOW_EPOCH_BELL_HEALTHY);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ring__stories__service_clock),
        cmocka_unit_test(test_due__marker_of_this_epoch_on_the_topic__waits_for_the_next),
        cmocka_unit_test(test_due__foreign_marker_while_we_own__does_not_stop_us),
        cmocka_unit_test(test_check__future_marker__unhealthy_until_time_has_come),
        cmocka_unit_test(test_check__append_time__skew_and_its_repair),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
