/* Every rule of agent_step.h, by time table: no clock, no sleep. */
#include "agent_step.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "avow/base/banned.h"

#define EPOCH_MS 10000u
#define BEAT_MS 20000u
#define MIN_MS 200u
#define REFILL_MS 300000u

static const struct avow_agent_settings fleet = {.epoch_ms = EPOCH_MS,
                                                 .heartbeat_ms = BEAT_MS,
                                                 .min_interval_ms = MIN_MS,
                                                 .resync_burst = 3,
                                                 .resync_refill_ms = REFILL_MS};

struct rig {
    struct avow_agent_state s;
    struct avow_agent_actions out;
    uint64_t now, random;
};

static void feed(struct rig *r, const struct avow_agent_event *ev)
{
    avow_agent_step(&r->s, ev, r->now, r->random, &r->out);
}

static void at(struct rig *r, uint64_t now, enum avow_agent_event_tag tag)
{
    r->now = now;
    feed(r, &(struct avow_agent_event){.tag = tag});
}

static void bundle(struct rig *r, bool moved)
{
    struct avow_agent_event ev = {.tag = AVOW_AGENT_EV_BUNDLE};
    ev.u.bundle.settings = fleet;
    ev.u.bundle.moved = moved;
    feed(r, &ev);
}

static void marker(struct rig *r, uint64_t epoch)
{
    feed(r, &(struct avow_agent_event){.tag = AVOW_AGENT_EV_MARKER, .u.marker_epoch = epoch});
}

static void count(struct rig *r, uint64_t n)
{
    feed(r, &(struct avow_agent_event){.tag = AVOW_AGENT_EV_IMA_COUNT, .u.ima_count = n});
}

static void quoted(struct rig *r, uint64_t start, uint64_t end, uint64_t log_count, bool more)
{
    struct avow_agent_event ev = {.tag = AVOW_AGENT_EV_QUOTED};
    ev.u.quoted.start = start;
    ev.u.quoted.end = end;
    ev.u.quoted.log_count = log_count;
    ev.u.quoted.more = more;
    feed(r, &ev);
}

static const struct avow_agent_action *find(const struct rig *r, enum avow_agent_action_tag tag)
{
    for (uint32_t i = 0; i < r->out.count; i++)
        if (r->out.list[i].tag == tag)
            return &r->out.list[i];
    return NULL;
}

static const struct avow_agent_action *attest(const struct rig *r)
{
    return find(r, AVOW_AGENT_DO_ATTEST);
}

static struct avow_directive directive(enum avow_directive_kind_tag tag, uint64_t epoch, uint8_t id)
{
    struct avow_directive d = {.epoch = epoch};
    memset(d.id, id, sizeof d.id);
    d.kind.tag = tag;
    return d;
}

static enum avow_agent_directive_fate give(struct rig *r, const struct avow_directive *d)
{
    feed(r, &(struct avow_agent_event){.tag = AVOW_AGENT_EV_DIRECTIVE, .u.directive = d});
    const struct avow_agent_action *note = find(r, AVOW_AGENT_DO_NOTE_DIRECTIVE);
    assert_non_null(note);
    return note->fate;
}

/* An agent at 1000 ms with a bundle and marker 100; nothing was attested yet. */
static void begin(struct rig *r)
{
    *r = (struct rig){.now = 1000};
    avow_agent_state_init(&r->s);
    feed(r, &(struct avow_agent_event){.tag = AVOW_AGENT_EV_STARTED});
    bundle(r, true);
    assert_non_null(find(r, AVOW_AGENT_DO_FOLLOW));
    count(r, 5);
    marker(r, 100);
    assert_non_null(find(r, AVOW_AGENT_DO_KEEP_MARKER));
}

/* As begin, but the first evidence (entries 0 to 5) has arrived; quoted at 1050 ms, acknowledged at
 * 1100 ms. */
static void settle(struct rig *r)
{
    begin(r);
    at(r, 1050, AVOW_AGENT_EV_TIMER);
    assert_non_null(attest(r));
    r->now = 1080;
    quoted(r, 0, 5, 5, false);
    assert_non_null(find(r, AVOW_AGENT_DO_SEND));
    at(r, 1100, AVOW_AGENT_EV_SENT);
    assert_non_null(find(r, AVOW_AGENT_DO_COMMIT));
    assert_int_equal(find(r, AVOW_AGENT_DO_COMMIT)->from, 5);
    assert_null(attest(r));
}

/* Runs one attestation that is due now to its end. */
static void complete(struct rig *r, uint64_t end)
{
    assert_non_null(attest(r));
    uint64_t from = attest(r)->from;
    quoted(r, from, end, end, false);
    at(r, r->now + 10, AVOW_AGENT_EV_SENT);
}

/* --- First contact --- */

static void test_step__nothing_before_bundle_and_marker(void **state)
{
    (void)state;
    struct rig r = {.now = 5};
    avow_agent_state_init(&r.s);
    marker(&r, 3);
    assert_int_equal(r.out.count, 0);
    at(&r, 1000000, AVOW_AGENT_EV_TIMER);
    assert_int_equal(r.out.count, 0);
    bundle(&r, true);
    assert_null(attest(&r));
    count(&r, 77);
    assert_null(attest(&r));
}

static void test_step__first_marker__waits_for_its_successors_then_sends_everything(void **state)
{
    (void)state;
    struct rig r;
    begin(&r);
    assert_null(attest(&r));
    r.now = 1020;
    marker(&r, 101);
    assert_int_equal(avow_agent_wake_ms(&r.s), 1070);
    at(&r, 1069, AVOW_AGENT_EV_TIMER);
    assert_null(attest(&r));
    at(&r, 1070, AVOW_AGENT_EV_TIMER);
    assert_non_null(attest(&r));
    assert_int_equal(attest(&r)->from, 0);
    assert_true(attest(&r)->boot_log);
    assert_true(attest(&r)->pcrs);
}

static void test_step__next_file__continues_there_but_sends_pcrs_and_boot_log(void **state)
{
    (void)state;
    struct rig r = {.now = 1000};
    avow_agent_state_init(&r.s);
    struct avow_agent_event ev = {.tag = AVOW_AGENT_EV_STARTED};
    ev.u.started.next = 40;
    feed(&r, &ev);
    bundle(&r, true);
    marker(&r, 1);
    at(&r, 1050, AVOW_AGENT_EV_TIMER);
    assert_non_null(attest(&r));
    assert_int_equal(attest(&r)->from, 40);
    assert_true(attest(&r)->pcrs);
    assert_true(attest(&r)->boot_log);
}

/* --- Markers (B3.1 step 3) --- */

static void test_step__markers__newest_only(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        uint64_t epoch;
        bool kept;
    } cases[] = {
        {"newer", 101, true}, {"equal and later", 100, true},
        {"older", 99, false}, {"yesterday", 1, false},
        {"zero", 0, false},   {"far ahead", 100000, true},
    };
    for (size_t i = 0; i < AVOW_ARRAY_LEN(cases); i++) {
        struct rig r;
        begin(&r);
        marker(&r, cases[i].epoch);
        if ((find(&r, AVOW_AGENT_DO_KEEP_MARKER) != NULL) != cases[i].kept)
            fail_msg("%s", cases[i].name);
        assert_int_equal(r.s.epoch, cases[i].kept ? cases[i].epoch : 100);
    }
}

static void test_step__no_marker_for_three_epochs__warns_once_and_goes_on(void **state)
{
    (void)state;
    struct rig r;
    settle(&r);
    r.s.heartbeat_ms = AVOW_AGENT_NEVER;
    assert_int_equal(avow_agent_wake_ms(&r.s), 1000 + 3 * EPOCH_MS);
    at(&r, 1000 + 3 * EPOCH_MS - 1, AVOW_AGENT_EV_TIMER);
    assert_null(find(&r, AVOW_AGENT_DO_WARN_MARKER));
    at(&r, 1000 + 3 * EPOCH_MS, AVOW_AGENT_EV_TIMER);
    assert_non_null(find(&r, AVOW_AGENT_DO_WARN_MARKER));
    at(&r, r.now + EPOCH_MS, AVOW_AGENT_EV_TIMER);
    assert_null(find(&r, AVOW_AGENT_DO_WARN_MARKER));
    count(&r, 6); /* the old marker still serves (AF7) */
    at(&r, r.now + AVOW_AGENT_COALESCE_MS, AVOW_AGENT_EV_TIMER);
    assert_non_null(attest(&r));
    marker(&r, 200);
    assert_false(r.s.marker_warned);
}

/* --- Triggers --- */

static void test_step__change__is_coalesced_50_ms(void **state)
{
    (void)state;
    struct rig r;
    settle(&r);
    r.now = 5000;
    count(&r, 6);
    assert_null(attest(&r));
    r.now = 5030;
    count(&r, 9);
    assert_int_equal(avow_agent_wake_ms(&r.s), 5050); /* counts from the first change */
    at(&r, 5049, AVOW_AGENT_EV_TIMER);
    assert_null(attest(&r));
    at(&r, 5050, AVOW_AGENT_EV_TIMER);
    assert_non_null(attest(&r));
    assert_int_equal(attest(&r)->from, 5);
    assert_false(attest(&r)->pcrs);
    assert_false(attest(&r)->boot_log);
}

static void test_step__same_count__asks_for_nothing(void **state)
{
    (void)state;
    struct rig r;
    settle(&r);
    r.now = 5000;
    count(&r, 5);
    at(&r, 9000, AVOW_AGENT_EV_TIMER);
    assert_null(attest(&r));
}

static void test_step__change__waits_for_min_interval(void **state)
{
    (void)state;
    struct rig r;
    settle(&r); /* attested at 1050 */
    r.now = 1110;
    count(&r, 6);
    at(&r, 1249, AVOW_AGENT_EV_TIMER);
    assert_null(attest(&r));
    at(&r, 1250, AVOW_AGENT_EV_TIMER);
    assert_non_null(attest(&r));
}

static void test_step__heartbeat__within_ten_percent(void **state)
{
    (void)state;
    uint64_t low = UINT64_MAX, high = 0;
    for (uint64_t random = 0; random < 5000; random += 7) {
        struct rig r;
        settle(&r);
        r.random = random;
        r.now = 5000;
        count(&r, 6);
        at(&r, 5050, AVOW_AGENT_EV_TIMER);
        complete(&r, 6);
        uint64_t beat = r.s.heartbeat_ms - 5050;
        low = beat < low ? beat : low;
        high = beat > high ? beat : high;
        at(&r, 5050 + beat - 1, AVOW_AGENT_EV_TIMER);
        assert_null(attest(&r));
        at(&r, 5050 + beat, AVOW_AGENT_EV_TIMER);
        assert_non_null(attest(&r));
    }
    assert_int_equal(low, BEAT_MS - BEAT_MS / 10);
    assert_in_range(high, BEAT_MS + BEAT_MS / 10 - 7, BEAT_MS + BEAT_MS / 10);
}

static void test_step__marker_alone__triggers_nothing(void **state)
{
    (void)state;
    struct rig r;
    settle(&r);
    r.now = 9000;
    marker(&r, 101);
    at(&r, 9500, AVOW_AGENT_EV_TIMER);
    assert_null(attest(&r));
}

/* --- Again at once (B3.1 step 6) --- */

/* A log that grows during each quote: three at min_interval, then one a second. */
static void test_step__busy_log__bucket_of_three_then_one_a_second(void **state)
{
    (void)state;
    struct rig r;
    settle(&r);
    uint64_t times[8], n = 5;
    r.now = 5000;
    count(&r, n + 1);
    for (size_t i = 0; i < AVOW_ARRAY_LEN(times); i++) {
        uint64_t limit = r.now + 5000;
        while (!attest(&r) && r.now < limit)
            at(&r, r.now + 1, AVOW_AGENT_EV_TIMER);
        assert_non_null(attest(&r));
        times[i] = r.now;
        r.now += 20;
        quoted(&r, n, n + 3, n + 5, false); /* three carried, two came meanwhile */
        n += 3;
        at(&r, r.now + 5, AVOW_AGENT_EV_SENT);
    }
    assert_int_equal(times[0], 5050);
    assert_int_equal(times[1] - times[0], MIN_MS);
    assert_int_equal(times[2] - times[1], MIN_MS);
    for (size_t i = 4; i < AVOW_ARRAY_LEN(times); i++)
        assert_int_equal(times[i] - times[i - 1], AVOW_AGENT_AGAIN_REFILL_MS);
    assert_true(times[7] - times[0] >= 4 * AVOW_AGENT_AGAIN_REFILL_MS);
}

static void test_step__more__goes_on_at_once(void **state)
{
    (void)state;
    struct rig r;
    settle(&r);
    r.now = 5000;
    count(&r, 1000);
    at(&r, 5050, AVOW_AGENT_EV_TIMER);
    quoted(&r, 5, 500, 1000, true);
    at(&r, 5060, AVOW_AGENT_EV_SENT);
    assert_null(attest(&r)); /* min_interval */
    at(&r, 5250, AVOW_AGENT_EV_TIMER);
    assert_non_null(attest(&r));
    assert_int_equal(attest(&r)->from, 500);
}

static void test_step__count_that_brings_nothing__is_asked_for_once(void **state)
{
    (void)state;
    struct rig r;
    settle(&r);
    r.now = 5000;
    count(&r, 6);
    at(&r, 5050, AVOW_AGENT_EV_TIMER);
    assert_non_null(attest(&r));
    quoted(&r, 5, 5, 6, false);
    at(&r, 5060, AVOW_AGENT_EV_SENT);
    for (uint64_t t = 5100; t < 15000; t += 100) {
        at(&r, t, AVOW_AGENT_EV_TIMER);
        assert_null(attest(&r));
        count(&r, 6);
        assert_null(attest(&r));
    }
    count(&r, 7);
    at(&r, r.now + 50, AVOW_AGENT_EV_TIMER);
    assert_non_null(attest(&r));
}

static void test_step__log_of_a_new_boot__is_followed(void **state)
{
    (void)state;
    struct rig r;
    settle(&r);
    r.now = 5000;
    count(&r, 1);
    at(&r, 5050, AVOW_AGENT_EV_TIMER);
    assert_non_null(attest(&r));
    quoted(&r, 0, 1, 1, false);
    at(&r, 5060, AVOW_AGENT_EV_SENT);
    assert_int_equal(find(&r, AVOW_AGENT_DO_COMMIT)->from, 1);
    assert_int_equal(r.s.next, 1);
}

/* --- Failures --- */

static void test_step__failure__keeps_next_and_wants_and_backs_off_with_full_jitter(void **state)
{
    (void)state;
    static const uint64_t caps[] = {500, 1000, 2000, 4000, 8000, 15000, 15000, 15000};
    struct rig r;
    begin(&r);
    at(&r, 1050, AVOW_AGENT_EV_TIMER);
    for (size_t i = 0; i < AVOW_ARRAY_LEN(caps); i++) {
        struct rig copy = r;
        r.random = caps[i]; /* the longest */
        at(&r, r.now, i % 2 ? AVOW_AGENT_EV_SEND_FAILED : AVOW_AGENT_EV_QUOTE_FAILED);
        assert_non_null(find(&r, AVOW_AGENT_DO_DISCARD));
        assert_int_equal(r.s.retry_ms - r.now, caps[i]);
        copy.random = caps[i] + 1; /* wraps to none */
        at(&copy, copy.now, i % 2 ? AVOW_AGENT_EV_SEND_FAILED : AVOW_AGENT_EV_QUOTE_FAILED);
        assert_int_equal(copy.s.retry_ms, copy.now);
        uint64_t due =
            r.s.retry_ms > r.s.attest_ms + MIN_MS ? r.s.retry_ms : r.s.attest_ms + MIN_MS;
        at(&r, due - 1, AVOW_AGENT_EV_TIMER);
        assert_null(attest(&r));
        marker(&r, 101 + i); /* the retry answers the newest */
        at(&r, due, AVOW_AGENT_EV_TIMER);
        assert_non_null(attest(&r));
        assert_int_equal(attest(&r)->from, 0);
        assert_true(attest(&r)->boot_log);
        assert_true(attest(&r)->pcrs);
        if (!(i % 2))
            quoted(&r, 0, 5, 5, false);
    }
    at(&r, r.now, AVOW_AGENT_EV_QUOTE_FAILED);
    at(&r, r.now + 15000, AVOW_AGENT_EV_TIMER);
    quoted(&r, 0, 5, 5, false);
    at(&r, r.now + 1, AVOW_AGENT_EV_SENT);
    assert_int_equal(r.s.failures, 0);
}

static void test_step__failure_of_a_resync__is_asked_for_again(void **state)
{
    (void)state;
    struct rig r;
    settle(&r);
    r.now = 5000;
    struct avow_directive d = directive(AVOW_DIRECTIVE_KIND_RESYNC, 100, 1);
    d.kind.u.resync = (struct avow_resync){2, true, false};
    assert_int_equal(give(&r, &d), AVOW_AGENT_OBEYED);
    at(&r, 5001, AVOW_AGENT_EV_QUOTE_FAILED);
    at(&r, 8000, AVOW_AGENT_EV_TIMER);
    assert_non_null(attest(&r));
    assert_int_equal(attest(&r)->from, 2);
    assert_true(attest(&r)->boot_log);
    assert_false(attest(&r)->pcrs);
}

static void test_step__late_answers__of_another_phase_change_nothing(void **state)
{
    (void)state;
    static const enum avow_agent_event_tag tags[] = {AVOW_AGENT_EV_QUOTED,
                                                     AVOW_AGENT_EV_QUOTE_FAILED, AVOW_AGENT_EV_SENT,
                                                     AVOW_AGENT_EV_SEND_FAILED};
    for (size_t i = 0; i < AVOW_ARRAY_LEN(tags); i++) {
        struct rig r;
        settle(&r);
        at(&r, 2000, tags[i]);
        assert_int_equal(r.out.count, 0);
        assert_int_equal(r.s.phase, AVOW_AGENT_IDLE);
        assert_int_equal(r.s.next, 5);
    }
}

/* --- Directives (R19) --- */

static void test_step__directive__epoch_window(void **state)
{
    (void)state;
    static const struct {
        uint64_t epoch;
        enum avow_agent_directive_fate fate;
    } cases[] = {{100, AVOW_AGENT_OBEYED},
                 {94, AVOW_AGENT_OBEYED},
                 {106, AVOW_AGENT_OBEYED},
                 {93, AVOW_AGENT_IGNORED_EPOCH},
                 {107, AVOW_AGENT_IGNORED_EPOCH},
                 {0, AVOW_AGENT_IGNORED_EPOCH},
                 {UINT64_MAX, AVOW_AGENT_IGNORED_EPOCH}};
    for (size_t i = 0; i < AVOW_ARRAY_LEN(cases); i++) {
        struct rig r;
        settle(&r);
        r.now = 5000;
        struct avow_directive d = directive(AVOW_DIRECTIVE_KIND_ATTEST_NOW, cases[i].epoch, 1);
        assert_int_equal(give(&r, &d), cases[i].fate);
        assert_int_equal(attest(&r) != NULL, cases[i].fate == AVOW_AGENT_OBEYED);
    }
}

/* A restart reads the end of the topic again: what is there was meant for the process before. */
static void test_step__directives_of_the_past__are_judged_by_the_newest_marker(void **state)
{
    (void)state;
    struct rig r = {.now = 1000};
    avow_agent_state_init(&r.s);
    struct avow_agent_event ev = {.tag = AVOW_AGENT_EV_STARTED};
    ev.u.started.next = 40;
    feed(&r, &ev);
    bundle(&r, true);
    struct avow_directive d = directive(AVOW_DIRECTIVE_KIND_RESYNC, 100, 1);
    d.kind.u.resync = (struct avow_resync){0, true, true};
    assert_int_equal(give(&r, &d), AVOW_AGENT_HELD); /* before any marker */
    marker(&r, 100);
    d.id[0] = 2;
    assert_int_equal(give(&r, &d), AVOW_AGENT_HELD); /* it looks current */
    marker(&r, 107);
    at(&r, 1050, AVOW_AGENT_EV_TIMER);
    assert_non_null(attest(&r));
    assert_int_equal(attest(&r)->from, 40); /* it was not */
    assert_int_equal(find(&r, AVOW_AGENT_DO_NOTE_DIRECTIVE)->fate, AVOW_AGENT_IGNORED_EPOCH);
}

static void test_step__directive_before_the_first_attempt__is_obeyed_by_it(void **state)
{
    (void)state;
    struct rig r = {.now = 1000};
    avow_agent_state_init(&r.s);
    struct avow_agent_event ev = {.tag = AVOW_AGENT_EV_STARTED};
    ev.u.started.next = 40;
    feed(&r, &ev);
    bundle(&r, true);
    marker(&r, 100);
    for (uint8_t i = 0; i < 20; i++) { /* the newest are kept; the bucket takes them as few */
        struct avow_directive d = directive(AVOW_DIRECTIVE_KIND_RESYNC, 100, i);
        d.kind.u.resync = (struct avow_resync){i < 19 ? 30 : 7, true, true};
        assert_int_equal(give(&r, &d), AVOW_AGENT_HELD);
    }
    at(&r, 1050, AVOW_AGENT_EV_TIMER);
    assert_non_null(attest(&r));
    assert_int_equal(attest(&r)->from, 7);
    complete(&r, 40);
    at(&r, 1300, AVOW_AGENT_EV_TIMER);
    assert_null(attest(&r));
}

static void test_step__directive__obeyed_once_per_id(void **state)
{
    (void)state;
    struct rig r;
    settle(&r);
    r.now = 5000;
    struct avow_directive d = directive(AVOW_DIRECTIVE_KIND_ATTEST_NOW, 100, 1);
    assert_int_equal(give(&r, &d), AVOW_AGENT_OBEYED);
    complete(&r, 5);
    r.now = 8000;
    assert_int_equal(give(&r, &d), AVOW_AGENT_IGNORED_TWICE);
    assert_null(attest(&r));
    d.id[15] = 9;
    assert_int_equal(give(&r, &d), AVOW_AGENT_OBEYED);
}

static void test_step__directive__memory_of_ids_never_forgets_what_is_in_the_window(void **state)
{
    (void)state;
    struct rig r;
    settle(&r);
    r.now = 5000;
    for (unsigned i = 0; i < AVOW_AGENT_DIRECTIVES_KEPT; i++) {
        struct avow_directive d = directive(AVOW_DIRECTIVE_KIND_ATTEST_NOW, 100, (uint8_t)i);
        assert_int_equal(give(&r, &d), AVOW_AGENT_OBEYED);
    }
    struct avow_directive more = directive(AVOW_DIRECTIVE_KIND_ATTEST_NOW, 100, 200);
    assert_int_equal(give(&r, &more), AVOW_AGENT_IGNORED_RATE);
    struct avow_directive first = directive(AVOW_DIRECTIVE_KIND_ATTEST_NOW, 100, 0);
    assert_int_equal(give(&r, &first), AVOW_AGENT_IGNORED_TWICE);
    marker(&r, 107); /* now all of them are too old to be obeyed again */
    more.epoch = 107;
    assert_int_equal(give(&r, &more), AVOW_AGENT_OBEYED);
    assert_int_equal(give(&r, &first), AVOW_AGENT_IGNORED_EPOCH);
}

static void test_step__resync__says_what_the_next_evidence_carries(void **state)
{
    (void)state;
    static const struct {
        uint64_t from;
        bool boot_log, pcrs;
        uint64_t want_from;
    } cases[] = {
        {0, true, true, 0}, {2, false, false, 2}, {5, false, true, 5}, {99, true, false, 5}};
    for (size_t i = 0; i < AVOW_ARRAY_LEN(cases); i++) {
        struct rig r;
        settle(&r);
        r.now = 5000;
        struct avow_directive d = directive(AVOW_DIRECTIVE_KIND_RESYNC, 100, 1);
        d.kind.u.resync = (struct avow_resync){cases[i].from, cases[i].boot_log, cases[i].pcrs};
        assert_int_equal(give(&r, &d), AVOW_AGENT_OBEYED);
        assert_non_null(attest(&r));
        assert_int_equal(attest(&r)->from, cases[i].want_from);
        assert_int_equal(attest(&r)->boot_log, cases[i].boot_log);
        assert_int_equal(attest(&r)->pcrs, cases[i].pcrs);
        complete(&r, 5);
        r.now = 30000; /* the next one carries nothing of it */
        at(&r, r.s.heartbeat_ms, AVOW_AGENT_EV_TIMER);
        assert_int_equal(attest(&r)->from, 5);
        assert_false(attest(&r)->boot_log);
        assert_false(attest(&r)->pcrs);
    }
}

static void test_step__resync_in_flight__is_not_lost(void **state)
{
    (void)state;
    struct rig r;
    settle(&r);
    r.now = 5000;
    count(&r, 6);
    at(&r, 5050, AVOW_AGENT_EV_TIMER);
    quoted(&r, 5, 6, 6, false);
    struct avow_directive d = directive(AVOW_DIRECTIVE_KIND_RESYNC, 100, 1);
    d.kind.u.resync = (struct avow_resync){0, true, true};
    assert_int_equal(give(&r, &d), AVOW_AGENT_OBEYED);
    assert_null(attest(&r));
    at(&r, 5060, AVOW_AGENT_EV_SENT);
    at(&r, 5250, AVOW_AGENT_EV_TIMER);
    assert_non_null(attest(&r));
    assert_int_equal(attest(&r)->from, 0);
    assert_true(attest(&r)->boot_log);
}

/* Takes a resync as the worker sends it; true if it made the agent send everything now. */
static bool resync(struct rig *r, uint64_t epoch, unsigned id)
{
    marker(r, epoch); /* keeps the id memory open: only the bucket counts here */
    if (attest(r))
        complete(r, 5);
    struct avow_directive d = directive(AVOW_DIRECTIVE_KIND_RESYNC, epoch, 0xEE);
    d.id[0] = (uint8_t)id;
    d.id[1] = (uint8_t)(id >> 8);
    d.kind.u.resync = (struct avow_resync){0, true, true};
    (void)give(r, &d);
    bool full = attest(r) && attest(r)->boot_log && attest(r)->pcrs && attest(r)->from == 0;
    if (attest(r))
        complete(r, 5);
    return full;
}

/* AD3: of a thousand valid resyncs three are obeyed, then one per refill time. */
static void test_step__resyncs__bucket_of_the_bundle(void **state)
{
    (void)state;
    struct rig r;
    settle(&r);
    r.now = 10000;
    unsigned sent = 0, in_an_hour = 0;
    for (unsigned i = 0; i < 1000; i++) {
        sent += resync(&r, 200 + i, i);
        r.now += 250;
    }
    assert_int_equal(sent, 3);
    for (unsigned i = 0; i < 3600; i++) {
        in_an_hour += resync(&r, 2000 + i, 1000 + i);
        r.now += 1000;
    }
    assert_in_range(in_an_hour, 11, 13);
}

static void test_step__new_bundle__does_not_refill_the_bucket(void **state)
{
    (void)state;
    struct rig r;
    settle(&r);
    r.now = 10000;
    for (uint8_t i = 0; i < 4; i++) {
        struct avow_directive d = directive(AVOW_DIRECTIVE_KIND_RESYNC, 100, i);
        d.kind.u.resync = (struct avow_resync){0, true, true};
        assert_int_equal(give(&r, &d), i < 3 ? AVOW_AGENT_OBEYED : AVOW_AGENT_IGNORED_RATE);
        if (attest(&r))
            complete(&r, 5);
        r.now += 300;
        bundle(&r, false);
        assert_null(find(&r, AVOW_AGENT_DO_FOLLOW));
        if (attest(&r))
            complete(&r, 5);
    }
}

static void test_step__settings__within_limits_only(void **state)
{
    (void)state;
    static const struct {
        uint32_t heartbeat, min;
        enum avow_agent_directive_fate fate;
    } cases[] = {{5000, 100, AVOW_AGENT_OBEYED},
                 {1000, 0, AVOW_AGENT_OBEYED},
                 {86400000, 200, AVOW_AGENT_OBEYED},
                 {999, 0, AVOW_AGENT_IGNORED_VALUE},
                 {86400001, 0, AVOW_AGENT_IGNORED_VALUE},
                 {0, 0, AVOW_AGENT_IGNORED_VALUE},
                 {5000, 5001, AVOW_AGENT_IGNORED_VALUE},
                 {UINT32_MAX, UINT32_MAX, AVOW_AGENT_IGNORED_VALUE}};
    for (size_t i = 0; i < AVOW_ARRAY_LEN(cases); i++) {
        struct rig r;
        settle(&r);
        r.now = 2000;
        struct avow_directive d = directive(AVOW_DIRECTIVE_KIND_SETTINGS, 100, 1);
        d.kind.u.settings = (struct avow_settings){cases[i].heartbeat, cases[i].min};
        assert_int_equal(give(&r, &d), cases[i].fate);
        if (cases[i].fate == AVOW_AGENT_OBEYED)
            assert_true(r.s.heartbeat_ms <= 1050 + (uint64_t)cases[i].heartbeat);
        else
            assert_int_equal(r.s.own_heartbeat_ms, 0);
    }
}

static void test_step__slow_down__thins_changes_never_the_heartbeat(void **state)
{
    (void)state;
    struct rig r;
    settle(&r);
    r.now = 2000;
    struct avow_directive d = directive(AVOW_DIRECTIVE_KIND_SLOW_DOWN, 100, 1);
    d.kind.u.slow_down.min_ms = 5000;
    assert_int_equal(give(&r, &d), AVOW_AGENT_OBEYED);
    count(&r, 6);
    at(&r, 6049, AVOW_AGENT_EV_TIMER);
    assert_null(attest(&r));
    at(&r, 6050, AVOW_AGENT_EV_TIMER);
    complete(&r, 6);
    d.id[0] = 7;
    d.kind.u.slow_down.min_ms = UINT32_MAX;
    assert_int_equal(give(&r, &d), AVOW_AGENT_OBEYED);
    at(&r, 6050 + BEAT_MS + BEAT_MS / 10, AVOW_AGENT_EV_TIMER);
    assert_non_null(attest(&r));
    complete(&r, 6);
    struct avow_directive now =
        directive(AVOW_DIRECTIVE_KIND_ATTEST_NOW, 100, 2); /* the next directive ends it */
    r.now += 300;
    assert_int_equal(give(&r, &now), AVOW_AGENT_OBEYED);
    assert_non_null(attest(&r));
}

static void test_step__payload_share__is_not_supported(void **state)
{
    (void)state;
    struct rig r;
    settle(&r);
    struct avow_directive d = directive(AVOW_DIRECTIVE_KIND_PAYLOAD_SHARE, 100, 1);
    assert_int_equal(give(&r, &d), AVOW_AGENT_IGNORED_UNSUPPORTED);
}

/* --- Bundles --- */

static void test_step__moved_bundle__forgets_the_marker(void **state)
{
    (void)state;
    struct rig r;
    settle(&r);
    r.now = 5000;
    bundle(&r, true);
    assert_non_null(find(&r, AVOW_AGENT_DO_FOLLOW));
    assert_int_equal(r.s.phase, AVOW_AGENT_NO_MARKER);
    count(&r, 9);
    at(&r, 6000, AVOW_AGENT_EV_TIMER);
    assert_null(attest(&r));
    marker(&r, 3); /* other partition, other epochs */
    assert_non_null(find(&r, AVOW_AGENT_DO_KEEP_MARKER));
    assert_non_null(attest(&r));
}

static void test_step__moved_bundle_in_flight__old_marker_is_not_used_again(void **state)
{
    (void)state;
    static const enum avow_agent_event_tag ends[] = {AVOW_AGENT_EV_SENT, AVOW_AGENT_EV_SEND_FAILED};
    for (size_t i = 0; i < AVOW_ARRAY_LEN(ends); i++) {
        struct rig r;
        settle(&r);
        r.now = 5000;
        count(&r, 6);
        at(&r, 5050, AVOW_AGENT_EV_TIMER);
        quoted(&r, 5, 6, 6, false);
        bundle(&r, true);
        at(&r, 5060, ends[i]);
        assert_int_equal(r.s.phase, AVOW_AGENT_NO_MARKER);
        at(&r, 9000, AVOW_AGENT_EV_TIMER);
        assert_null(attest(&r));
        marker(&r, 1);
        assert_non_null(attest(&r));
    }
}

/* The key that signed a marker of the far future may be the one that the bundle revokes. */
static void test_step__another_bundle__the_next_marker_counts_whatever_its_epoch(void **state)
{
    (void)state;
    struct rig r;
    settle(&r);
    r.now = 5000;
    marker(&r, 1000000);
    r.now = 6000;
    marker(&r, 103);
    assert_null(find(&r, AVOW_AGENT_DO_KEEP_MARKER)); /* the control */
    bundle(&r, false);
    assert_null(find(&r, AVOW_AGENT_DO_FOLLOW));
    marker(&r, 104);
    assert_non_null(find(&r, AVOW_AGENT_DO_KEEP_MARKER));
    marker(&r, 103);
    assert_null(find(&r, AVOW_AGENT_DO_KEEP_MARKER));
}

/* --- Registration (B3.1 step 2) --- */

static void start(struct rig *r, bool new_ak)
{
    struct avow_agent_event ev = {.tag = AVOW_AGENT_EV_STARTED};
    ev.u.started.registrar = true;
    ev.u.started.new_ak = new_ak;
    feed(r, &ev);
}

static void test_step__register__new_ak_at_once_known_ak_spread(void **state)
{
    (void)state;
    struct rig r = {.now = 100, .random = 1500};
    avow_agent_state_init(&r.s);
    start(&r, true);
    assert_non_null(find(&r, AVOW_AGENT_DO_REGISTER));
    r = (struct rig){.now = 100, .random = 1500};
    avow_agent_state_init(&r.s);
    start(&r, false);
    assert_null(find(&r, AVOW_AGENT_DO_REGISTER));
    assert_int_equal(avow_agent_wake_ms(&r.s), 1600);
    at(&r, 1600, AVOW_AGENT_EV_TIMER);
    assert_non_null(find(&r, AVOW_AGENT_DO_REGISTER));
    at(&r, 9999999, AVOW_AGENT_EV_TIMER);
    assert_null(find(&r, AVOW_AGENT_DO_REGISTER)); /* one at a time */
    at(&r, 9999999, AVOW_AGENT_EV_REGISTERED);
    at(&r, 99999999, AVOW_AGENT_EV_TIMER);
    assert_null(find(&r, AVOW_AGENT_DO_REGISTER));
}

static void test_step__register_failures__5_s_to_5_min(void **state)
{
    (void)state;
    static const uint64_t caps[] = {5000, 10000, 20000, 40000, 80000, 160000, 300000, 300000};
    struct rig r = {.now = 100};
    avow_agent_state_init(&r.s);
    start(&r, true);
    for (size_t i = 0; i < AVOW_ARRAY_LEN(caps); i++) {
        r.random = caps[i] - AVOW_AGENT_REGISTER_MIN_MS;
        feed(&r, &(struct avow_agent_event){.tag = AVOW_AGENT_EV_REGISTER_FAILED});
        assert_int_equal(r.s.register_ms - r.now, caps[i]);
        at(&r, r.s.register_ms - 1, AVOW_AGENT_EV_TIMER);
        assert_null(find(&r, AVOW_AGENT_DO_REGISTER));
        at(&r, r.s.register_ms, AVOW_AGENT_EV_TIMER);
        assert_non_null(find(&r, AVOW_AGENT_DO_REGISTER));
    }
    r.random = UINT64_MAX;
    feed(&r, &(struct avow_agent_event){.tag = AVOW_AGENT_EV_REGISTER_FAILED});
    assert_in_range(r.s.register_ms - r.now, AVOW_AGENT_REGISTER_MIN_MS,
                    AVOW_AGENT_REGISTER_MAX_MS);
}

static void test_step__register_refused__waits_long_from_the_first(void **state)
{
    (void)state;
    struct rig r = {.now = 100};
    avow_agent_state_init(&r.s);
    start(&r, true);
    r.random = AVOW_AGENT_REGISTER_MAX_MS - AVOW_AGENT_REGISTER_MIN_MS;
    feed(&r, &(struct avow_agent_event){.tag = AVOW_AGENT_EV_REGISTER_FAILED,
                                        .u.register_refused = true});
    assert_int_equal(r.s.register_ms - r.now, AVOW_AGENT_REGISTER_MAX_MS);
}

static void test_step__registration_failing__does_not_stop_attesting(void **state)
{
    (void)state;
    struct rig r = {.now = 1000};
    avow_agent_state_init(&r.s);
    start(&r, true);
    feed(&r, &(struct avow_agent_event){.tag = AVOW_AGENT_EV_REGISTER_FAILED});
    bundle(&r, true);
    marker(&r, 1);
    at(&r, 1050, AVOW_AGENT_EV_TIMER);
    assert_non_null(attest(&r));
}

static void test_step__stop__ends_everything(void **state)
{
    (void)state;
    struct rig r;
    settle(&r);
    at(&r, 2000, AVOW_AGENT_EV_STOP);
    assert_non_null(find(&r, AVOW_AGENT_DO_EXIT));
    count(&r, 99);
    at(&r, 999999, AVOW_AGENT_EV_TIMER);
    assert_int_equal(r.out.count, 0);
    assert_int_equal(avow_agent_wake_ms(&r.s), AVOW_AGENT_NEVER);
}

/* Whatever comes in whatever order, wake is never in the past of a TIMER that did nothing: no busy
 * loop. */
static void test_step__random_events__no_busy_loop(void **state)
{
    (void)state;
    uint64_t x = 88172645463325252u;
    for (unsigned run = 0; run < 200; run++) {
        struct rig r = {.now = 1};
        avow_agent_state_init(&r.s);
        start(&r, run & 1);
        for (unsigned i = 0; i < 300; i++) {
            x ^= x << 13;
            x ^= x >> 7;
            x ^= x << 17;
            r.random = x;
            r.now += x % 900;
            struct avow_directive d =
                directive((enum avow_directive_kind_tag)(x % 5), x % 20, (uint8_t)(x >> 9));
            switch ((x >> 20) % 10) {
            case 0:
                bundle(&r, x & 1);
                break;
            case 1:
                marker(&r, x % 20);
                break;
            case 2:
                (void)give(&r, &d);
                break;
            case 3:
                count(&r, x % 50);
                break;
            case 4:
                quoted(&r, x % 40, x % 40 + x % 3, x % 50, x & 1);
                break;
            default:
                at(&r, r.now, (enum avow_agent_event_tag)(AVOW_AGENT_EV_TIMER + x % 6));
                break;
            }
            at(&r, r.now, AVOW_AGENT_EV_TIMER);
            if (!r.out.count && avow_agent_wake_ms(&r.s) <= r.now)
                fail_msg("run %u, event %u: wake in the past", run, i);
        }
    }
}

static void test_parts_limit__slow_links__get_shorter_evidences(void **state)
{
    (void)state;
    static const struct {
        size_t now, parts;
        uint64_t took;
        size_t want;
    } rows[] = {
        {64, 64, BEAT_MS, 64},         {64, 64, BEAT_MS + 1, 32},
        {64, 7, BEAT_MS + 1, 3},       {1, 1, 10 * BEAT_MS, 1},
        {64, 0, BEAT_MS + 1, 1},       {8, 8, BEAT_MS / 4, 8},
        {8, 8, BEAT_MS / 4 - 1, 16},   {8, 7, 0, 8}, /* it was not the limit that made it short */
        {40, 40, BEAT_MS / 4 - 1, 64}, {64, 64, 0, 64},
    };
    for (size_t i = 0; i < AVOW_ARRAY_LEN(rows); i++) {
        size_t got = avow_agent_parts_limit(rows[i].now, 64, rows[i].parts, rows[i].took, BEAT_MS);
        if (got != rows[i].want)
            fail_msg("row %zu: got %zu, want %zu", i, got, rows[i].want);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_step__nothing_before_bundle_and_marker),
        cmocka_unit_test(test_step__first_marker__waits_for_its_successors_then_sends_everything),
        cmocka_unit_test(test_step__next_file__continues_there_but_sends_pcrs_and_boot_log),
        cmocka_unit_test(test_step__markers__newest_only),
        cmocka_unit_test(test_step__no_marker_for_three_epochs__warns_once_and_goes_on),
        cmocka_unit_test(test_step__change__is_coalesced_50_ms),
        cmocka_unit_test(test_step__same_count__asks_for_nothing),
        cmocka_unit_test(test_step__change__waits_for_min_interval),
        cmocka_unit_test(test_step__heartbeat__within_ten_percent),
        cmocka_unit_test(test_step__marker_alone__triggers_nothing),
        cmocka_unit_test(test_step__busy_log__bucket_of_three_then_one_a_second),
        cmocka_unit_test(test_step__more__goes_on_at_once),
        cmocka_unit_test(test_step__count_that_brings_nothing__is_asked_for_once),
        cmocka_unit_test(test_step__log_of_a_new_boot__is_followed),
        cmocka_unit_test(test_step__failure__keeps_next_and_wants_and_backs_off_with_full_jitter),
        cmocka_unit_test(test_step__failure_of_a_resync__is_asked_for_again),
        cmocka_unit_test(test_step__late_answers__of_another_phase_change_nothing),
        cmocka_unit_test(test_step__directive__epoch_window),
        cmocka_unit_test(test_step__directives_of_the_past__are_judged_by_the_newest_marker),
        cmocka_unit_test(test_step__directive_before_the_first_attempt__is_obeyed_by_it),
        cmocka_unit_test(test_step__directive__obeyed_once_per_id),
        cmocka_unit_test(test_step__directive__memory_of_ids_never_forgets_what_is_in_the_window),
        cmocka_unit_test(test_step__resync__says_what_the_next_evidence_carries),
        cmocka_unit_test(test_step__resync_in_flight__is_not_lost),
        cmocka_unit_test(test_step__resyncs__bucket_of_the_bundle),
        cmocka_unit_test(test_step__new_bundle__does_not_refill_the_bucket),
        cmocka_unit_test(test_step__settings__within_limits_only),
        cmocka_unit_test(test_step__slow_down__thins_changes_never_the_heartbeat),
        cmocka_unit_test(test_step__payload_share__is_not_supported),
        cmocka_unit_test(test_step__moved_bundle__forgets_the_marker),
        cmocka_unit_test(test_step__moved_bundle_in_flight__old_marker_is_not_used_again),
        cmocka_unit_test(test_step__another_bundle__the_next_marker_counts_whatever_its_epoch),
        cmocka_unit_test(test_step__register__new_ak_at_once_known_ak_spread),
        cmocka_unit_test(test_step__register_failures__5_s_to_5_min),
        cmocka_unit_test(test_step__register_refused__waits_long_from_the_first),
        cmocka_unit_test(test_step__registration_failing__does_not_stop_attesting),
        cmocka_unit_test(test_step__stop__ends_everything),
        cmocka_unit_test(test_step__random_events__no_busy_loop),
        cmocka_unit_test(test_parts_limit__slow_links__get_shorter_evidences),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
