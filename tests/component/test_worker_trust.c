/* test_worker_trust.c - enrolments, states, markers, bundles: who may say what (ATTACKS AE1-AE12,
 * AS1-AS8, AF2-AF12, AX11). */
#include "world.h"

#include "avow/bus/topics.h"
#include "avow/trust/records.h"

#include "avow/base/banned.h"

struct fixture {
    struct world w;
    struct rig_agent a;
    int32_t p;
};

static int setup(void **state)
{
    struct fixture *f = test_calloc(1, sizeof *f);
    world_init(&f->w, 2, AVOW_EXACTLY_ONCE);
    rig_init(&f->a, "host-1", f->w.fleet);
    f->p = world_partition(&f->w, "host-1");
    world_enroll(&f->w, &f->a, &(struct world_enroll){.generation = 5});
    world_worker(&f->w, 0, "w0");
    world_run(&f->w, 0, 1000);
    world_turn(&f->w, 0, &f->a);
    world_expect(&f->w, "host-1", AVOW_STATUS_TRUSTED);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    rig_deinit(&f->a);
    world_deinit(&f->w);
    test_free(f);
    return 0;
}

static void restart(struct fixture *f)
{
    world_stop(&f->w, 0);
    world_worker(&f->w, 0, "w0");
    world_run(&f->w, 0, 12000);
}

/* --- Enrolments --- */

static void test_AE1__null__ignored_with_an_alarm(void **state)
{
    struct fixture *f = *state;
    world_put_null(&f->w, "enrollments", "host-1"); /* AE1 */
    world_turn(&f->w, 0, &f->a);
    world_expect(&f->w, "host-1", AVOW_STATUS_TRUSTED);
    assert_int_equal(world_alarms(&f->w, "enrollment.unsigned_delete"), 1);
    assert_int_equal(avow_worker_counters(f->w.workers[0])->unsigned_deletes, 1);
    struct avow_state s;
    (void)world_states(&f->w, "host-1", &s);
    assert_int_equal(s.appraised, 2);
}

static void test_AE1__compacted_away__lost_after_a_restart(void **state)
{
    struct fixture *f = *state;
    world_stop(&f->w, 0);
    world_put_null(&f->w, "enrollments", "host-1");
    avow_bus_mem_delete_before(f->w.broker, "avow.enrollments", f->p,
                               2); /* what compaction leaves in the end */
    world_worker(&f->w, 0, "w0");
    world_run(&f->w, 0, 3000);
    struct avow_revocation r;
    world_expect(&f->w, "host-1", AVOW_STATUS_UNTRUSTED);
    assert_int_equal(world_revocations(&f->w, "host-1", AVOW_REVOCATION_CLASS_REVOCATION, &r), 1);
    assert_true(avow_str_is(r.event_id, "enrollment.lost"));
    assert_int_equal(world_alarms(&f->w, "enrollment.lost"), 1);
    restart(f);
    assert_int_equal(world_revocations(&f->w, "host-1", AVOW_REVOCATION_CLASS_REVOCATION, NULL), 1);
}

static void test_AE2__removed_then_null__forgotten_quietly(void **state)
{
    struct fixture *f = *state;
    world_enroll(
        &f->w, &f->a,
        &(struct world_enroll){.generation = 6, .status = AVOW_ENROLL_STATUS_REMOVED}); /* AE2 */
    world_run(&f->w, 0, 1000);
    struct avow_verdict v;
    (void)world_verdicts(&f->w, "host-1", &v);
    assert_int_equal(v.status, AVOW_STATUS_PENDING); /* relying parties stop trusting at once */
    assert_int_equal(v.enrollment_generation, 6);
    world_turn(&f->w, 0, &f->a);
    assert_int_equal(world_dead_letters(&f->w, AVOW_DROP_REASON_UNENROLLED), 1);
    world_run(&f->w, 0, 300000);
    assert_int_equal(world_revocations(&f->w, NULL, -1, NULL), 0); /* nobody misses it */
    world_put_null(&f->w, "enrollments", "host-1");
    world_run(&f->w, 0, 1000);
    assert_int_equal(world_alarms(&f->w, "enrollment.unsigned_delete"), 0);
    avow_bus_mem_delete_before(f->w.broker, "avow.enrollments", f->p, 3);
    restart(f);
    assert_int_equal(world_revocations(&f->w, NULL, -1, NULL), 0);
    const struct avow_agent *a = avow_views_find(&avow_worker_runner(f->w.workers[0], f->p)->views,
                                                 avow_bytes_make("host-1", 6));
    assert_true(!a || (!a->state.record && !a->enrollment.record));
}

static void test_enrollment__removed_and_enrolled_again__seq_goes_on(void **state)
{
    struct fixture *f = *state;
    struct avow_verdict before, after;
    world_enroll(&f->w, &f->a,
                 &(struct world_enroll){.generation = 6, .status = AVOW_ENROLL_STATUS_REMOVED});
    world_run(&f->w, 0, 1000);
    (void)world_verdicts(&f->w, "host-1", &before);
    world_enroll(&f->w, &f->a, &(struct world_enroll){.generation = 7});
    rig_resync(&f->a, 0);
    world_run(&f->w, 0, 1000);
    world_turn(&f->w, 0, &f->a);
    world_expect(&f->w, "host-1", AVOW_STATUS_TRUSTED);
    (void)world_verdicts(&f->w, "host-1", &after);
    assert_true(after.seq > before.seq);
    assert_int_equal(after.enrollment_generation, 7);
}

static void test_AE3_AE6_AE7__not_acceptable__ignored(void **state)
{
    struct fixture *f = *state;
    struct world *w = &f->w;
    const uint8_t staging[16] = {9};
    const struct world_enroll rows[] = {
        {.generation = 4, .other_banks = true},                          /* AE3: older */
        {.generation = 9, .other_banks = true, .signer = w->stray},      /* nobody's key */
        {.generation = 9, .other_banks = true, .signer = w->worker_key}, /* AE6: another role */
        {.generation = 9, .other_banks = true, .fleet = staging},        /* AE7 */
    };
    for (size_t i = 0; i < AVOW_ARRAY_LEN(rows); i++) {
        world_enroll(w, &f->a, &rows[i]);
        world_turn(w, 0, &f->a);
        struct avow_verdict v;
        (void)world_verdicts(w, "host-1", &v);
        if (v.status != AVOW_STATUS_TRUSTED || v.enrollment_generation != 5)
            fail_msg("row %zu was accepted", i);
    }
    assert_int_equal(avow_worker_counters(w->workers[0])->refused, 3);
    world_enroll(w, &f->a,
                 &(struct world_enroll){.generation = 9, .other_banks = true}); /* the control */
    world_turn(w, 0, &f->a);
    world_expect(w, "host-1", AVOW_STATUS_UNTRUSTED);
}

static void test_AE5__rekeyed_to_another_agent__ignored(void **state)
{
    struct fixture *f = *state;
    struct rig_agent b;
    rig_init(&b, "host-2", f->w.fleet);
    world_enroll(&f->w, &f->a,
                 &(struct world_enroll){.generation = 9, .kafka_key = "host-2"}); /* AE5 */
    world_run(&f->w, 0, 1000);
    assert_int_equal(world_states(&f->w, "host-2", NULL), 0);
    assert_int_equal(avow_worker_counters(f->w.workers[0])->refused, 1);
    rig_deinit(&b);
}

static void test_AE4__equal_generation_other_content__conflict(void **state)
{
    struct fixture *f = *state;
    world_enroll(&f->w, &f->a,
                 &(struct world_enroll){.generation = 5, .other_banks = true}); /* AE4 */
    world_turn(&f->w, 0, &f->a);
    assert_int_equal(world_alarms(&f->w, "enrollment.conflict"), 1);
    world_expect(&f->w, "host-1", AVOW_STATUS_TRUSTED);
}

static void test_enrollment__rolled_back_on_the_topic__not_after_a_restart(void **state)
{
    struct fixture *f = *state;
    world_stop(&f->w, 0);
    avow_bus_mem_delete_before(f->w.broker, "avow.enrollments", f->p, 1);
    world_enroll(&f->w, &f->a, &(struct world_enroll){.generation = 3});
    world_worker(&f->w, 0, "w0");
    world_run(&f->w, 0, 3000);
    assert_int_equal(world_alarms(&f->w, "bus.rollback"), 1);
    world_expect(&f->w, "host-1", AVOW_STATUS_UNTRUSTED); /* enrollment.lost */
}

static void test_enrollment__higher_generation__agent_is_asked_and_verdict_names_it(void **state)
{
    struct fixture *f = *state;
    struct avow_directive d;
    struct avow_verdict v;
    world_enroll(&f->w, &f->a, &(struct world_enroll){.generation = 6, .validity_ms = 120000});
    world_run(&f->w, 0, 1000);
    (void)world_directives(&f->w, "host-1", &d);
    assert_int_equal(d.kind.tag, AVOW_DIRECTIVE_KIND_ATTEST_NOW);
    world_turn(&f->w, 0, &f->a);
    (void)world_verdicts(&f->w, "host-1", &v);
    assert_int_equal(v.enrollment_generation, 6);
    assert_int_equal(v.trusted_until_ms, v.as_of_ms + 120000);
    world_run(&f->w, 0, 5000);
    assert_int_equal(world_directives(&f->w, "host-1", NULL), 2);
}

/* --- State --- */

static struct avow_bytes state_record(struct fixture *f, const struct avow_state *s,
                                      const struct avow_mac_key *key)
{
    struct avow_buf record;
    struct avow_err err;
    avow_buf_init(&record, 65536);
    assert_int_equal(avow_seal_state(s, key, &record, &err), AVOW_OK);
    struct avow_bytes copy = avow_arena_bytes(&f->w.arena, avow_buf_bytes(&record));
    avow_buf_deinit(&record);
    return copy;
}

static void test_AS1__any_byte_flipped__as_absent(void **state)
{
    struct fixture *f = *state;
    struct avow_state s;
    (void)world_states(&f->w, "host-1", &s);
    struct avow_bytes good = state_record(f, &s, &f->w.keys.mac[0]);
    for (size_t at = 0; at < good.len; at += 1 + at / 7) { /* AS1 */
        uint8_t bad[65536];
        struct avow_runner *r;
        struct avow_err err;
        struct avow_bus_msg m = {.topic = "avow.state",
                                 .partition = f->p,
                                 .key = avow_bytes_make("host-1", 6),
                                 .value = {bad, good.len}};
        memcpy(bad, good.ptr, good.len);
        bad[at] ^= 0x10;
        r = avow_worker_runner(f->w.workers[0], f->p);
        size_t before = r->states_rejected;
        assert_int_equal(avow_runner_feed_state(r, &m, &err), AVOW_OK);
        if (r->states_rejected != before + 1)
            fail_msg("byte %zu of %zu: accepted", at, good.len);
    }
}

static void test_AS1__rejected_at_restore__alarm_and_resync(void **state)
{
    struct fixture *f = *state;
    struct avow_state s;
    struct avow_verdict before, after;
    (void)world_verdicts(&f->w, "host-1", &before);
    world_stop(&f->w, 0);
    (void)world_states(&f->w, "host-1", &s);
    struct avow_bytes record = state_record(f, &s, &f->w.keys.mac[0]);
    uint8_t bad[65536];
    memcpy(bad, record.ptr, record.len);
    bad[record.len / 2] ^= 1;
    world_put(&f->w, "state", f->p, "host-1", avow_bytes_make(bad, record.len));
    size_t directives = world_directives(&f->w, "host-1", NULL);
    world_worker(&f->w, 0, "w0");
    world_run(&f->w, 0, 12000);
    assert_int_equal(world_alarms(&f->w, "state.rejected"), 1);
    assert_int_equal(world_directives(&f->w, "host-1", NULL), directives + 1);
    world_turn(&f->w, 0, &f->a);
    world_expect(&f->w, "host-1", AVOW_STATUS_TRUSTED);
    (void)world_verdicts(&f->w, "host-1", &after);
    assert_true(after.seq > before.seq); /* consumers keep the highest seq */
    assert_int_equal(world_revocations(&f->w, "host-1", -1, NULL), 0);
}

static void test_AS2__of_another_agent_or_partition__refused(void **state)
{
    struct fixture *f = *state;
    struct avow_state s;
    struct avow_err err;
    (void)world_states(&f->w, "host-1", &s);
    struct avow_bytes record = state_record(f, &s, &f->w.keys.mac[0]);
    struct avow_runner *r = avow_worker_runner(f->w.workers[0], f->p),
                       *other = avow_worker_runner(f->w.workers[0], 1 - f->p);
    struct avow_bus_msg copied = {.topic = "avow.state",
                                  .partition = f->p,
                                  .key = avow_bytes_make("host-2", 6),
                                  .value = record};
    struct avow_bus_msg moved = {.topic = "avow.state",
                                 .partition = 1 - f->p,
                                 .key = avow_bytes_make("host-1", 6),
                                 .value = record};
    size_t before = r->views.agents.count, other_before = other->views.agents.count;
    assert_int_equal(avow_runner_feed_state(r, &copied, &err), AVOW_OK); /* AS2 */
    assert_int_equal(avow_runner_feed_state(other, &moved, &err), AVOW_OK);
    assert_int_equal(r->views.agents.count, before);
    assert_int_equal(other->views.agents.count, other_before);
}

static void test_AS3__null__resync_and_trusted_again(void **state)
{
    struct fixture *f = *state;
    world_stop(&f->w, 0);
    world_put_null(&f->w, "state", "host-1"); /* AS3 */
    world_worker(&f->w, 0, "w0");
    world_run(&f->w, 0, 12000);
    world_expect(&f->w, "host-1", AVOW_STATUS_PENDING);
    world_turn(&f->w, 0, &f->a);
    world_expect(&f->w, "host-1", AVOW_STATUS_TRUSTED);
    assert_int_equal(world_revocations(&f->w, NULL, -1, NULL),
                     0); /* pending -> trusted is no event */
}

static void test_AS3__null_with_recovery_by_operator__state_lost(void **state)
{
    struct fixture *f = *state;
    uint64_t now = f->w.unix_ms;
    world_enroll(&f->w, &f->a,
                 &(struct world_enroll){
                     .generation = 6, .recovery = AVOW_RECOVERY_OPERATOR, .issued_ms = now});
    world_turn(&f->w, 0, &f->a);
    world_turn(&f->w, 0, &f->a);
    world_stop(&f->w, 0);
    world_put_null(&f->w, "state", "host-1");
    world_pass(&f->w, 3700000);
    world_worker(&f->w, 0, "w0");
    world_run(&f->w, 0, 12000);
    struct avow_revocation r;
    world_expect(&f->w, "host-1", AVOW_STATUS_UNTRUSTED);
    (void)world_revocations(&f->w, "host-1", AVOW_REVOCATION_CLASS_REVOCATION, &r);
    assert_true(avow_str_is(r.event_id, "state.lost"));
    rig_resync(&f->a, 0);
    world_turn(&f->w, 0, &f->a);
    world_expect(&f->w, "host-1", AVOW_STATUS_UNTRUSTED); /* until a higher generation */
    world_enroll(&f->w, &f->a,
                 &(struct world_enroll){.generation = 7, .recovery = AVOW_RECOVERY_OPERATOR});
    rig_resync(&f->a, 0);
    world_turn(&f->w, 0, &f->a);
    world_turn(&f->w, 0, &f->a);
    world_expect(&f->w, "host-1", AVOW_STATUS_TRUSTED);
}

static void test_state__previous_mac_key__accepted_and_rewritten(void **state)
{
    struct fixture *f = *state;
    uint8_t fresh[32];
    world_stop(&f->w, 0);
    f->w.keys.mac[1] = f->w.keys.mac[0]; /* a rotation: mac.key and mac.prev */
    memset(fresh, 0x99, sizeof fresh);
    avow_mac_key_init(&f->w.keys.mac[0], fresh);
    f->w.keys.mac_count = 2;
    world_worker(&f->w, 0, "w0");
    world_run(&f->w, 0, 12000);
    assert_int_equal(avow_worker_counters(f->w.workers[0])->state_rejected, 0);
    world_turn(&f->w, 0, &f->a);
    world_expect(&f->w, "host-1", AVOW_STATUS_TRUSTED);
    assert_int_equal(world_directives(&f->w, "host-1", NULL), 1);
}

/* No record can hold the state that follows, so nothing is decided from this agent's evidence any
 * more; but its neighbours' is. */
static void test_state__at_the_end_of_its_numbers__stops_nobody_else(void **state)
{
    struct fixture *f = *state;
    struct avow_state s;
    struct rig_agent other;
    char id[16];
    for (int i = 2;; i++) { /* a neighbour in the same partition */
        (void)snprintf(id, sizeof id, "host-%d", i);
        if (world_partition(&f->w, id) == f->p)
            break;
    }
    rig_init(&other, id, f->w.fleet);
    world_enroll(&f->w, &other, &(struct world_enroll){.generation = 1});
    world_run(&f->w, 0, 1000);
    (void)world_states(&f->w, "host-1", &s);
    world_stop(&f->w, 0);
    s.seq = INT64_MAX;
    world_put(&f->w, "state", f->p, "host-1", state_record(f, &s, &f->w.keys.mac[0]));
    world_worker(&f->w, 0, "w0");
    world_run(&f->w, 0, 12000);
    (void)world_attest(&f->w, &f->a); /* all in one batch */
    (void)world_attest(&f->w, &f->a);
    (void)world_attest(&f->w, &other);
    (void)world_attest(&f->w, &f->a);
    world_run(&f->w, 0, 3000);
    world_expect(&f->w, id, AVOW_STATUS_TRUSTED);
    assert_int_equal(world_dead_letters(&f->w, AVOW_DROP_REASON_TOO_LARGE), 3);
    rig_deinit(&other);
}

/* --- Markers --- */

static void forge_marker(struct fixture *f, const struct avow_privkey *signer, int32_t partition,
                         struct avow_marker *m)
{
    struct avow_buf record;
    struct avow_err err;
    memset(m->nonce, 0xAB, sizeof m->nonce);
    m->owner = AVOW_STR_LIT("avow.avow-workers.mallory.0");
    avow_buf_init(&record, 4096);
    assert_int_equal(avow_seal_marker(m, signer, &record, &err), AVOW_OK);
    world_put(&f->w, "epochs", partition, "marker", avow_buf_bytes(&record));
    avow_buf_deinit(&record);
}

static void test_AF2_AF3__signed_by_the_wrong_key__not_answerable(void **state)
{
    struct fixture *f = *state;
    struct world *w = &f->w;
    const struct avow_privkey *signers[] = {w->stray, w->tenant, w->old_key}; /* AF2, AF3 */
    for (size_t i = 0; i < AVOW_ARRAY_LEN(signers); i++) {
        struct avow_marker m;
        world_marker(w, &f->a, &m);
        forge_marker(f, signers[i], f->p, &m);
        world_run(w, 0, 500);
        (void)world_attest_with(w, &f->a, &m, NULL);
        world_run(w, 0, 500);
        assert_int_equal(world_dead_letters(w, AVOW_DROP_REASON_MARKER), i + 1);
    }
    world_expect(w, "host-1", AVOW_STATUS_TRUSTED);
}

static void test_AF4__twin_by_a_stolen_live_key__answerable_with_an_alarm(void **state)
{
    struct fixture *f = *state;
    struct avow_marker m;
    world_run(&f->w, 0, 40000); /* the rebalance is long over */
    world_marker(&f->w, &f->a, &m);
    m.issued_ms = f->w.unix_ms;
    forge_marker(f, f->w.worker_key, f->p, &m); /* AF4 */
    world_run(&f->w, 0, 500);
    (void)world_attest_with(&f->w, &f->a, &m, NULL);
    world_run(&f->w, 0, 1000);
    assert_int_equal(world_alarms(&f->w, "epoch.twin"), 1);
    assert_int_equal(world_dead_letters(&f->w, AVOW_DROP_REASON_MARKER), 0);
    world_expect(&f->w, "host-1", AVOW_STATUS_TRUSTED);
}

static void test_AF5__never_published__drop_marker(void **state)
{
    struct fixture *f = *state;
    struct avow_marker m;
    world_marker(&f->w, &f->a, &m);
    m.epoch += 1000; /* AF5: prepared with a stolen key, never published */
    (void)world_attest_with(&f->w, &f->a, &m, NULL);
    world_run(&f->w, 0, 500);
    assert_int_equal(world_dead_letters(&f->w, AVOW_DROP_REASON_MARKER), 1);
}

static void test_AF12__of_another_partition__ignored(void **state)
{
    struct fixture *f = *state;
    struct avow_marker m;
    uint64_t refused = avow_worker_counters(f->w.workers[0])->refused;
    world_marker(&f->w, &f->a, &m);
    m.partition = 1 - f->p;
    forge_marker(f, f->w.worker_key, f->p, &m); /* AF12 */
    world_run(&f->w, 0, 500);
    assert_int_equal(avow_worker_counters(f->w.workers[0])->refused, refused + 1);
    m.partition = f->p;
    (void)world_attest_with(&f->w, &f->a, &m, NULL);
    world_run(&f->w, 0, 500);
    assert_int_equal(world_dead_letters(&f->w, AVOW_DROP_REASON_MARKER), 1);
}

static void test_AF10__older_epoch_with_a_newer_quote__drop_replay(void **state)
{
    struct fixture *f = *state;
    struct avow_marker old;
    world_marker(&f->w, &f->a, &old);
    world_run(&f->w, 0, 11000);
    world_turn(&f->w, 0, &f->a);
    (void)world_attest_with(&f->w, &f->a, &old, NULL); /* AF10 */
    world_run(&f->w, 0, 500);
    assert_int_equal(world_dead_letters(&f->w, AVOW_DROP_REASON_REPLAY), 1);
}

static void test_marker__older_than_memory__drop_marker_expired(void **state)
{
    struct fixture *f = *state;
    struct avow_marker old;
    world_marker(&f->w, &f->a, &old);
    world_run(&f->w, 0, 86400000u + 20000u);
    (void)world_attest_with(&f->w, &f->a, &old, NULL);
    world_run(&f->w, 0, 500);
    assert_int_equal(world_dead_letters(&f->w, AVOW_DROP_REASON_MARKER_EXPIRED), 1);
}

/* --- Clock --- */

static void test_AF11__broker_stamps_an_hour_ahead__stops_until_repaired(void **state)
{
    struct fixture *f = *state;
    struct world *w = &f->w;
    struct avow_err err;
    for (int i = 0; i < 300; i++) { /* AF11; 30 s */
        avow_bus_mem_set_time(w->broker, w->unix_ms + 3600000);
        assert_int_equal(avow_worker_tick(w->workers[0], 0, &err), AVOW_OK);
        w->unix_ms += WORLD_STEP_MS;
        w->mono_ms += WORLD_STEP_MS;
    }
    uint64_t markers = avow_worker_counters(w->workers[0])->markers;
    assert_int_equal(markers, 2 + 2); /* one of each partition showed it */
    struct avow_state before, after;
    (void)world_states(w, "host-1", &before);
    (void)world_attest(w, &f->a);
    world_run(w, 0, 30000);
    (void)world_states(w, "host-1", &after);
    assert_int_equal(after.appraised, before.appraised); /* nothing is appraised */
    assert_int_equal(avow_worker_counters(w->workers[0])->markers, markers);
    w->unix_ms += 3600000; /* ntp: we were an hour late */
    world_run(w, 0, 12000);
    assert_true(avow_worker_counters(w->workers[0])->markers > markers);
    (void)world_states(w, "host-1", &after);
    assert_int_equal(after.appraised, before.appraised + 1); /* and what waited is judged, once */
    assert_int_equal(world_revocations(w, NULL, AVOW_REVOCATION_CLASS_SILENT, NULL), 0);
}

static void test_clock__marker_from_the_future__stops(void **state)
{
    struct fixture *f = *state;
    struct avow_marker m;
    world_marker(&f->w, &f->a, &m);
    m.epoch += 30;
    m.issued_ms += 300000;
    avow_bus_mem_set_time(f->w.broker, m.issued_ms); /* and the broker agrees: we are late */
    forge_marker(f, f->w.worker_key, f->p, &m);
    world_run(&f->w, 0, 1000);
    uint64_t markers = avow_worker_counters(f->w.workers[0])->markers;
    world_run(&f->w, 0, 60000);
    assert_int_equal(avow_worker_counters(f->w.workers[0])->markers,
                     markers + 6); /* only the other partition's */
    world_run(&f->w, 0, 300000);
    assert_true(avow_runner_wants_watermark(avow_worker_runner(f->w.workers[0], f->p)) ||
                avow_worker_runner(f->w.workers[0], f->p)->health == AVOW_EPOCH_BELL_HEALTHY);
}

/* The broker says when it was written: the clock of its author is ahead, not ours behind. One such
 * worker must not stop a partition for as long as its clock was ahead. */
static void test_clock__marker_of_a_worker_that_is_ahead__refused(void **state)
{
    struct fixture *f = *state;
    struct avow_marker m;
    world_marker(&f->w, &f->a, &m);
    m.epoch += 8640;
    m.issued_ms += 86400000;
    forge_marker(f, f->w.worker_key, f->p, &m);
    world_run(&f->w, 0, 1000);
    uint64_t markers = avow_worker_counters(f->w.workers[0])->markers;
    world_run(&f->w, 0, 60000);
    assert_int_equal(avow_worker_counters(f->w.workers[0])->markers, markers + 12);
    world_stop(&f->w, 0); /* nor after a restart */
    world_worker(&f->w, 0, "w0");
    world_run(&f->w, 0, 12000);
    assert_int_equal(avow_worker_runner(f->w.workers[0], f->p)->health, AVOW_EPOCH_BELL_HEALTHY);
}

/* A thief's marker of the far future counts no longer than the key does. */
static void test_clock__key_of_a_future_marker_revoked__goes_on(void **state)
{
    struct fixture *f = *state;
    struct avow_marker m;
    world_bundle(&f->w, &(struct world_bundle){.old = AVOW_KEY_STATUS_ACTIVE});
    world_run(&f->w, 0, 1000);
    world_marker(&f->w, &f->a, &m);
    m.epoch += 8640;
    m.issued_ms += 86400000;
    avow_bus_mem_set_time(f->w.broker, m.issued_ms); /* whose broker plays along */
    forge_marker(f, f->w.old_key, f->p, &m);
    world_run(&f->w, 0, 1000);
    assert_int_not_equal(avow_worker_runner(f->w.workers[0], f->p)->health,
                         AVOW_EPOCH_BELL_HEALTHY);
    world_bundle(&f->w, &(struct world_bundle){.old = AVOW_KEY_STATUS_REVOKED});
    world_run(&f->w, 0, 12000);
    assert_int_equal(avow_worker_runner(f->w.workers[0], f->p)->health, AVOW_EPOCH_BELL_HEALTHY);
    world_turn(&f->w, 0, &f->a);
    world_expect(&f->w, "host-1", AVOW_STATUS_TRUSTED);
}

/* A dead letter names the topic; one that cannot hold the name would stop its partition for ever.
 */
static void test_topics__name_longer_than_a_dead_letter_holds__refused(void **state)
{
    (void)state;
    struct avow_worker_topics t;
    char prefix[160];
    memset(prefix, 'a', sizeof prefix);
    for (size_t len = 100; len < 140; len++) {
        prefix[len] = '\0';
        if (avow_worker_topics_init(&t, prefix))
            assert_true(strlen(t.name[AVOW_TOPIC_EVIDENCE]) <= 128); /* schemas/deadletter.avsc */
        prefix[len] = 'a';
    }
    assert_true(avow_worker_topics_init(&t, "avow."));
}

/* --- Bundle --- */

static void test_AE11_AE12__not_acceptable__the_old_one_stays(void **state)
{
    struct fixture *f = *state;
    struct world *w = &f->w;
    world_bundle(w, &(struct world_bundle){.signer = w->stray, .version = 9}); /* AE12 */
    world_bundle(
        w, &(struct world_bundle){.old = AVOW_KEY_STATUS_ACTIVE}); /* version 2: the control */
    world_run(w, 0, 1000);
    world_bundle(w, &(struct world_bundle){.version = 1}); /* AE11: rolled back */
    world_run(w, 0, 1000);
    assert_int_equal(world_alarms(w, "bus.rollback"), 1);
    world_turn(w, 0, &f->a);
    struct avow_verdict v;
    (void)world_verdicts(w, "host-1", &v);
    assert_int_equal(v.bundle_version, 2);
}

static void test_bundle__below_min_version__not_served(void **state)
{
    struct fixture *f = *state;
    world_stop(&f->w, 0);
    f->w.min_version = 3;
    world_worker(&f->w, 0, "w0");
    world_run(&f->w, 0, 5000);
    assert_false(avow_worker_is_ready(f->w.workers[0]));
    world_bundle(&f->w, &(struct world_bundle){.version = 3});
    world_run(&f->w, 0, 1000);
    assert_true(avow_worker_is_ready(f->w.workers[0]));
}

static void test_AE11__older_than_a_state_names__not_served(void **state)
{
    struct fixture *f = *state;
    struct world *w = &f->w;
    struct avow_err err;
    world_bundle(w, &(struct world_bundle){.version = 2});
    world_run(w, 0, 1000);
    world_turn(w, 0, &f->a);
    world_stop(w, 0);
    avow_bus_mem_delete_before(w->broker, "avow.trust", 0, 2); /* the broker shows an old topic */
    world_bundle(w, &(struct world_bundle){.version = 1});
    world_worker(w, 0, "w0");
    assert_int_equal(world_try(w, 0, 3000, &err), AVOW_ROLLBACK);
}

static void test_bundle__tenant_key_revoked__enrolments_lose_their_authority(void **state)
{
    struct fixture *f = *state;
    world_bundle(&f->w, &(struct world_bundle){.tenant = AVOW_KEY_STATUS_REVOKED});
    world_run(&f->w, 0, 1000);
    world_expect(&f->w, "host-1", AVOW_STATUS_UNTRUSTED);
    assert_int_equal(world_alarms(&f->w, "enrollment.lost"), 1);
}

/* A slip of the one who signs bundles is repaired by the next bundle, without restarts. */
static void test_bundle__tenant_key_revoked_and_restored__enrolments_count_again(void **state)
{
    struct fixture *f = *state;
    world_bundle(&f->w, &(struct world_bundle){.tenant = AVOW_KEY_STATUS_REVOKED});
    world_run(&f->w, 0, 1000);
    world_turn(&f->w, 0, &f->a);
    world_expect(&f->w, "host-1", AVOW_STATUS_UNTRUSTED);
    world_bundle(&f->w, NULL);
    world_run(&f->w, 0, 1000);
    rig_resync(&f->a, 0);
    world_turn(&f->w, 0, &f->a);
    world_expect(&f->w, "host-1", AVOW_STATUS_TRUSTED);
    assert_int_equal(world_alarms(&f->w, "enrollment.conflict"), 0);
    assert_int_equal(world_alarms(&f->w, "bus.rollback"), 0);
}

static void test_AX11__partitions_do_not_fit__not_served(void **state)
{
    struct fixture *f = *state;
    struct world *w = &f->w;
    struct avow_err err;
    world_stop(w, 0);
    w->partitions = 3; /* AX11 */
    world_bundle(w, NULL);
    w->partitions = 2;
    world_worker(w, 0, "w0");
    assert_int_equal(world_try(w, 0, 3000, &err), AVOW_REFUSED);
    assert_non_null(strstr(err.msg, "partitions"));
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(test_AE1__null__ignored_with_an_alarm),
        T(test_AE1__compacted_away__lost_after_a_restart),
        T(test_AE2__removed_then_null__forgotten_quietly),
        T(test_enrollment__removed_and_enrolled_again__seq_goes_on),
        T(test_AE3_AE6_AE7__not_acceptable__ignored),
        T(test_AE5__rekeyed_to_another_agent__ignored),
        T(test_AE4__equal_generation_other_content__conflict),
        T(test_enrollment__rolled_back_on_the_topic__not_after_a_restart),
        T(test_enrollment__higher_generation__agent_is_asked_and_verdict_names_it),
        T(test_AS1__any_byte_flipped__as_absent),
        T(test_AS1__rejected_at_restore__alarm_and_resync),
        T(test_AS2__of_another_agent_or_partition__refused),
        T(test_AS3__null__resync_and_trusted_again),
        T(test_AS3__null_with_recovery_by_operator__state_lost),
        T(test_state__previous_mac_key__accepted_and_rewritten),
        T(test_state__at_the_end_of_its_numbers__stops_nobody_else),
        T(test_AF2_AF3__signed_by_the_wrong_key__not_answerable),
        T(test_AF4__twin_by_a_stolen_live_key__answerable_with_an_alarm),
        T(test_AF5__never_published__drop_marker),
        T(test_AF12__of_another_partition__ignored),
        T(test_AF10__older_epoch_with_a_newer_quote__drop_replay),
        T(test_marker__older_than_memory__drop_marker_expired),
        T(test_AF11__broker_stamps_an_hour_ahead__stops_until_repaired),
        T(test_topics__name_longer_than_a_dead_letter_holds__refused),
        T(test_clock__marker_from_the_future__stops),
        T(test_clock__marker_of_a_worker_that_is_ahead__refused),
        T(test_clock__key_of_a_future_marker_revoked__goes_on),
        T(test_AE11_AE12__not_acceptable__the_old_one_stays),
        T(test_bundle__below_min_version__not_served),
        T(test_AE11__older_than_a_state_names__not_served),
        T(test_bundle__tenant_key_revoked__enrolments_lose_their_authority),
        T(test_bundle__tenant_key_revoked_and_restored__enrolments_count_again),
        T(test_AX11__partitions_do_not_fit__not_served),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
