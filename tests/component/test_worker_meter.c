/* test_worker_meter.c - what a worker shows to those who watch it. */
#include "world.h"

#include <pthread.h>
#include <stdatomic.h>

#include "avow/base/banned.h"

static const char *const good[] = {"/bin/a", "/bin/b"};

struct fixture {
    struct world w;
    struct rig_agent a;
    struct avow_meter *meter;
    struct avow_buf text;
    bool answer;
};

/* One question, asked by another thread as the listener does it, while the worker works on. */
struct question {
    bool (*ask)(void *arg, struct avow_buf *out);
    struct avow_meter *meter;
    struct avow_buf *out;
    bool answer;
    atomic_bool done;
};

static void *ask(void *arg)
{
    struct question *q = arg;
    q->answer = q->ask(q->meter, q->out);
    atomic_store(&q->done, true);
    return NULL;
}

static const char *answer_of(struct fixture *f, bool (*fn)(void *, struct avow_buf *))
{
    struct question q = {.ask = fn, .meter = f->meter, .out = &f->text};
    pthread_t id;
    avow_buf_reset(&f->text);
    assert_int_equal(pthread_create(&id, NULL, ask, &q), 0);
    while (!atomic_load(&q.done)) {
        for (unsigned i = 0; i < WORLD_WORKERS; i++) {
            struct avow_err err; /* no time passes, or agents would fall silent meanwhile */
            if (f->w.workers[i])
                assert_int_equal(avow_worker_tick(f->w.workers[i], 0, &err), AVOW_OK);
        }
    }
    assert_int_equal(pthread_join(id, NULL), 0);
    f->answer = q.answer;
    return avow_buf_cstr(&f->text);
}

static void assert_has(const char *text, const char *line)
{
    if (!strstr(text, line))
        fail_msg("no '%s' in\n%s", line, text);
}

static int setup(void **state)
{
    struct fixture *f = test_calloc(1, sizeof *f);
    struct avow_err err;
    world_init(&f->w, 2, AVOW_EXACTLY_ONCE);
    rig_init(&f->a, "host-1", f->w.fleet);
    rig_measure(&f->a, "/bin/a", "/bin/a");
    world_policy(&f->w, "p", 1, good, 2);
    world_enroll(&f->w, &f->a, &(struct world_enroll){.generation = 1, .policy = "p"});
    assert_int_equal(avow_meter_new(1, &f->meter, &err), AVOW_OK);
    f->w.meter = f->meter;
    avow_buf_init(&f->text, 1024 * 1024);
    world_worker(&f->w, 0, "w0");
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    avow_buf_deinit(&f->text);
    rig_deinit(&f->a);
    world_deinit(&f->w);
    avow_meter_free(f->meter);
    test_free(f);
    return 0;
}

static void test_meter_metrics__a_bad_host__is_counted(void **state)
{
    struct fixture *f = *state;
    world_run(&f->w, 0, 1000);
    world_turn(&f->w, 0, &f->a);
    rig_measure(&f->a, "/bin/evil", "evil");
    world_turn(&f->w, 0, &f->a);
    world_expect(&f->w, "host-1", AVOW_STATUS_UNTRUSTED);
    world_send(&f->w, &f->a, avow_bytes_make("nonsense", 8));
    world_run(&f->w, 0, 2 * WORLD_EPOCH_MS); /* and the watermark is looked up for a marker */
    static const char *const lines[] = {
        "avow_worker_agents{status=\"untrusted\"} 1\n",
        "avow_worker_agents{status=\"none\"} 0\n",
        "avow_worker_evidence_consumed_total 3\n",
        "avow_worker_evidence_appraised_total 2\n",
        "avow_worker_evidence_dropped_total{reason=\"schema\"} 1\n",
        "avow_worker_dead_letters_total 1\n",
        "avow_worker_verdicts_total{status=\"untrusted\"} 1\n",
        "avow_worker_revocations_total{class=\"revocation\"} 1\n",
        "avow_worker_findings_total{id=\"ima.digest_unknown\"} 1\n",
        "avow_worker_partitions_assigned 2\n",
        "avow_worker_partition_serving{partition=\"0\"} 1\n",
        "avow_worker_partition_lag_records{partition=\"1\"} 0\n",
        "avow_worker_appraisal_seconds_count 2\n",
        "avow_worker_evidence_to_verdict_seconds_count 2\n",
        "avow_worker_transactions_total{outcome=\"aborted\"} 0\n",
        "avow_worker_bundle_version 1\n",
        "avow_worker_restored_records{kind=\"enrollment\"} 1\n",
    };
    const char *text = answer_of(f, avow_meter_metrics);
    assert_true(f->answer);
    for (size_t i = 0; i < AVOW_ARRAY_LEN(lines); i++)
        assert_has(text, lines[i]);
}

static void test_meter_metrics__restarted__state_is_restored(void **state)
{
    struct fixture *f = *state;
    world_run(&f->w, 0, 1000);
    world_turn(&f->w, 0, &f->a);
    world_stop(&f->w, 0);
    world_worker(&f->w, 0, "w0");
    world_run(&f->w, 0, 1000);
    const char *text = answer_of(f, avow_meter_metrics);
    assert_has(text, "avow_worker_agents{status=\"trusted\"} 1\n");
    assert_null(strstr(text, "avow_worker_restored_records{kind=\"state\"} 0\n"));
}

/* What an aborted batch counted is taken back, so what is shown must not have it yet. */
static void test_meter_metrics__commits_fail__counted_once(void **state)
{
    struct fixture *f = *state;
    world_run(&f->w, 0, 1000);
    avow_bus_mem_fail_commits(f->w.broker, 3);
    world_turn(&f->w, 0, &f->a);
    const char *text = answer_of(f, avow_meter_metrics);
    assert_has(text, "avow_worker_evidence_appraised_total 1\n");
    assert_has(text, "avow_worker_evidence_to_verdict_seconds_count 1\n");
    assert_has(text, "avow_worker_transactions_total{outcome=\"aborted\"} 3\n");
}

static void test_meter_ready__before_and_after_restore__says_so(void **state)
{
    struct fixture *f = *state;
    world_stop(&f->w, 0);
    f->w.min_version = 2; /* the only bundle is refused: nothing can be served */
    world_worker(&f->w, 0, "w0");
    assert_has(answer_of(f, avow_meter_ready), "waits for a trust bundle");
    assert_false(f->answer);
    world_bundle(&f->w, &(struct world_bundle){.version = 2});
    world_run(&f->w, 0, 1000);
    assert_has(answer_of(f, avow_meter_ready), "thread 0 serves 2 of 2 partitions\n");
    assert_true(f->answer);
}

static void test_meter_healthy__thread_lives__ok(void **state)
{
    struct fixture *f = *state;
    assert_string_equal(answer_of(f, avow_meter_healthy), "ok\n");
    assert_true(f->answer);
}

/* A thread that does not answer is shown as it was, and nobody waits for ever. */
static void test_meter_metrics__no_thread_answers__last_view(void **state)
{
    struct fixture *f = *state;
    world_run(&f->w, 0, 1000);
    (void)answer_of(f, avow_meter_metrics);
    avow_buf_reset(&f->text);
    assert_true(avow_meter_metrics(f->meter, &f->text));
    assert_has(avow_buf_cstr(&f->text), "avow_worker_partitions_assigned 2\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_meter_metrics__a_bad_host__is_counted, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_meter_metrics__restarted__state_is_restored, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_meter_metrics__commits_fail__counted_once, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_meter_ready__before_and_after_restore__says_so, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_meter_healthy__thread_lives__ok, setup, teardown),
        cmocka_unit_test_setup_teardown(test_meter_metrics__no_thread_answers__last_view, setup,
                                        teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
