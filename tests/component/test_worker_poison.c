/* test_worker_poison.c - a record that was in hand at two deaths (ATTACKS AX7, PROTOCOL R21). The
 * deaths themselves: tests/unit/worker/test_poison_book.c and tests/integration. */
#define _GNU_SOURCE
#include "world.h"

#include "poison_book.h"

#include <stdlib.h>
#include <unistd.h>

#include "avow/base/banned.h"

static const char *const good[] = {"/bin/a", "/bin/b"};

struct fixture {
    struct world w;
    struct rig_agent a, b; /* in one partition */
    char folder[64];
};

static int setup(void **state)
{
    struct fixture *f = test_calloc(1, sizeof *f);
    snprintf(f->folder, sizeof f->folder, "/tmp/avow-poison-XXXXXX");
    assert_non_null(mkdtemp(f->folder));
    world_init(&f->w, 1, AVOW_EXACTLY_ONCE);
    f->w.scratch_dir = f->folder;
    world_policy(&f->w, "p", 1, good, 2);
    struct rig_agent *agents[] = {&f->a, &f->b};
    for (size_t i = 0; i < AVOW_ARRAY_LEN(agents); i++) {
        char id[16];
        snprintf(id, sizeof id, "host-%zu", i + 1);
        rig_init(agents[i], id, f->w.fleet);
        rig_measure(agents[i], "/bin/a", "/bin/a");
        world_enroll(&f->w, agents[i], &(struct world_enroll){.generation = 1, .policy = "p"});
    }
    world_worker(&f->w, 0, "w0");
    world_run(&f->w, 0, 1000);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    char command[128];
    rig_deinit(&f->a);
    rig_deinit(&f->b);
    world_deinit(&f->w);
    snprintf(command, sizeof command, "rm -r '%s'", f->folder);
    assert_int_equal(system(command), 0);
    test_free(f);
    return 0;
}

/* A worker died with this record in hand. */
static void died_with(struct fixture *f, int64_t offset)
{
    struct avow_poison_place place = {.folder = f->folder,
                                      .group = "avow-workers",
                                      .fleet = f->w.fleet,
                                      .partition = 0,
                                      .committed = 0};
    struct avow_poison_book b = {0};
    uint64_t deaths;
    struct avow_err err;
    assert_int_equal(avow_poison_book_open(&place, &b, &deaths, &err), AVOW_OK);
    avow_poison_book_take(&b, offset);
    avow_poison_book_close(&b);
}

/* The marker is of this moment, so all three are good evidence. */
static void three_records(struct fixture *f)
{
    world_stop(&f->w, 0);
    (void)world_attest(&f->w, &f->a);
    (void)world_attest(&f->w, &f->b); /* the poison */
    rig_measure(&f->a, "/bin/b", "/bin/b");
    (void)world_attest(&f->w, &f->a);
}

static void test_AX7__two_deaths_with_it_in_hand__skipped_and_neighbours_are_served(void **state)
{
    struct fixture *f = *state;
    struct avow_revocation alarm;
    three_records(f);
    died_with(f, 1);
    died_with(f, 1);
    world_worker(&f->w, 0, "w0");
    world_run(&f->w, 0, 1000);
    world_expect(&f->w, "host-1", AVOW_STATUS_TRUSTED);
    world_expect(&f->w, "host-2", AVOW_STATUS_PENDING);
    assert_int_equal(world_dead_letters(&f->w, AVOW_DROP_REASON_POISON), 1);
    assert_int_equal(world_alarms(&f->w, "evidence.poison"), 1);
    assert_int_equal(world_revocations(&f->w, "host-2", AVOW_REVOCATION_CLASS_ALARM, &alarm), 1);
    const struct avow_worker_counters *c = avow_worker_counters(f->w.workers[0]);
    assert_int_equal(c->dropped[AVOW_DROP_REASON_POISON], 1);
    assert_int_equal(c->consumed, 3);

    world_stop(&f->w, 0); /* it is behind us: another start does not see it again */
    world_worker(&f->w, 0, "w0");
    world_run(&f->w, 0, WORLD_EPOCH_MS);
    rig_resync(&f->b, 0);
    world_turn(&f->w, 0, &f->b);
    world_expect(&f->w, "host-2", AVOW_STATUS_TRUSTED);
    assert_int_equal(world_dead_letters(&f->w, AVOW_DROP_REASON_POISON), 1);
}

static void test_AX7__one_death__it_is_judged(void **state)
{
    struct fixture *f = *state;
    three_records(f);
    died_with(f, 1);
    world_worker(&f->w, 0, "w0");
    world_run(&f->w, 0, 1000);
    world_expect(&f->w, "host-1", AVOW_STATUS_TRUSTED);
    world_expect(&f->w, "host-2", AVOW_STATUS_TRUSTED);
    assert_int_equal(world_dead_letters(&f->w, AVOW_DROP_REASON_POISON), 0);
}

static void test_AX7__commit_of_the_skip_fails__skipped_again(void **state)
{
    struct fixture *f = *state;
    three_records(f);
    died_with(f, 1);
    died_with(f, 1);
    avow_bus_mem_fail_commits(f->w.broker, 2);
    world_worker(&f->w, 0, "w0");
    world_run(&f->w, 0, 2000);
    world_expect(&f->w, "host-1", AVOW_STATUS_TRUSTED);
    assert_int_equal(world_dead_letters(&f->w, AVOW_DROP_REASON_POISON), 1);
    assert_int_equal(avow_worker_counters(f->w.workers[0])->dropped[AVOW_DROP_REASON_POISON], 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(
            test_AX7__two_deaths_with_it_in_hand__skipped_and_neighbours_are_served, setup,
            teardown),
        cmocka_unit_test_setup_teardown(test_AX7__one_death__it_is_judged, setup, teardown),
        cmocka_unit_test_setup_teardown(test_AX7__commit_of_the_skip_fails__skipped_again, setup,
                                        teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
