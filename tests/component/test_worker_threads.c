/* test_worker_threads.c - several workers in one process: they end together, and
 * the first failure is the one that is told. */
#include "world.h"

#include "threads.h"

#include <pthread.h>
#include <signal.h>

#include "avow/base/cli.h"

#include "avow/base/banned.h"

#define THREADS 3u
#define PARTITIONS 6u
#define PATIENCE_MS 20000u

/* An epoch has ten seconds; here time runs twenty times as fast. Threads only read it. */
#define SPEED 20u

static uint64_t real_ms(void)
{
    struct avow_worker_clock c = avow_worker_clock_system();
    return c.mono_ms(c.arg);
}

static uint64_t fast_mono(void *arg)
{
    const uint64_t *begin = arg;
    return (real_ms() - *begin) * SPEED;
}

static uint64_t fast_unix(void *arg)
{
    return WORLD_START_MS + fast_mono(arg);
}

static void fast_sleep(void *arg, uint64_t ms)
{
    struct avow_worker_clock c = avow_worker_clock_system();
    (void)arg;
    c.sleep_ms(c.arg, 1 + ms / SPEED);
}

static enum avow_rc true_random(void *arg, void *out, size_t len, struct avow_err *err)
{
    struct avow_worker_clock c = avow_worker_clock_system();
    (void)arg;
    return c.random(c.arg, out, len, err);
}

struct buses { /* new_bus of a test */
    struct world *w;
    unsigned made, fails_at; /* 0: never */
};

static enum avow_rc new_bus(void *arg, struct avow_bus **out, struct avow_err *err)
{
    struct buses *b = arg;
    if (++b->made == b->fails_at)
        return avow_err_set(err, AVOW_UNREACHABLE, 0, "bus %u", b->made);
    return avow_bus_mem_new(b->w->broker, out, err);
}

static uint64_t begin; /* set before threads start */

static struct avow_threads_opts options(struct world *w, struct buses *b)
{
    *b = (struct buses){.w = w};
    begin = real_ms();
    return (struct avow_threads_opts){.worker = {.root = w->root,
                                                 .keys = &w->keys,
                                                 .prefix = "avow.",
                                                 .group = "avow-workers",
                                                 .instance = "many",
                                                 .guarantee = AVOW_EXACTLY_ONCE,
                                                 .clock = {.arg = &begin,
                                                           .unix_ms = fast_unix,
                                                           .mono_ms = fast_mono,
                                                           .sleep_ms = fast_sleep,
                                                           .random = true_random},
                                                 .stop_requested = avow_stop_requested},
                                      .count = THREADS,
                                      .new_bus = new_bus,
                                      .arg = b};
}

static void test_threads_run__no_clients_for_the_last__nobody_stays(void **state)
{
    struct world w;
    struct buses b;
    struct avow_err err = {0};
    (void)state;
    world_init(&w, PARTITIONS, AVOW_EXACTLY_ONCE);
    struct avow_threads_opts o = options(&w, &b);
    b.fails_at = THREADS;
    assert_int_equal(avow_threads_run(&o, &err), AVOW_UNREACHABLE);
    assert_string_equal(err.msg, "bus 3");
    world_deinit(&w);
}

static void test_threads_run__a_worker_cannot_start__its_error(void **state)
{
    struct world w;
    struct buses b;
    struct avow_err err = {0};
    (void)state;
    world_init(&w, PARTITIONS, AVOW_EXACTLY_ONCE);
    struct avow_threads_opts o = options(&w, &b);
    o.worker.instance = "a name that is far too long for a transactional id, as it would be cut "
                        "off and two workers would have the same";
    assert_int_equal(avow_threads_run(&o, &err), AVOW_CONFIG);
    assert_non_null(strstr(err.msg, "too long"));
    world_deinit(&w);
}

struct job {
    struct avow_threads_opts opts;
    enum avow_rc rc;
    struct avow_err err;
};

static void *do_job(void *arg)
{
    struct job *j = arg;
    j->rc = avow_threads_run(&j->opts, &j->err);
    return NULL;
}

/* Bit i: thread i issued the newest marker of some partition. */
static unsigned owners(struct world *w)
{
    unsigned seen = 0;
    for (int32_t p = 0; p < (int32_t)PARTITIONS; p++) {
        struct avow_marker m;
        if (world_markers(w, p, &m) && m.owner.len)
            seen |= 1u << (m.owner.ptr[m.owner.len - 1] - '0');
    }
    return seen;
}

/* The broker in memory gives all partitions to one member; that they are shared, a real one shows.
 * Last: a signal that was seen cannot be taken back. */
static void test_threads_run__a_signal__work_was_done_and_all_leave(void **state)
{
    struct world w;
    struct buses b;
    struct job job = {.rc = AVOW_OK};
    pthread_t id;
    (void)state;
    world_init(&w, PARTITIONS, AVOW_EXACTLY_ONCE);
    job.opts = options(&w, &b);
    avow_stop_install();
    assert_int_equal(pthread_create(&id, NULL, do_job, &job), 0);
    unsigned seen = 0;
    while (!seen && real_ms() - begin < PATIENCE_MS) {
        avow_bus_mem_set_time(w.broker, fast_unix(&begin));
        fast_sleep(NULL, 400);
        seen = owners(&w);
    }
    assert_int_equal(raise(SIGTERM), 0);
    assert_int_equal(pthread_join(id, NULL), 0);
    assert_int_not_equal(seen, 0);
    if (job.rc)
        fail_msg("%s", job.err.msg);
    world_deinit(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_threads_run__no_clients_for_the_last__nobody_stays),
        cmocka_unit_test(test_threads_run__a_worker_cannot_start__its_error),
        cmocka_unit_test(test_threads_run__a_signal__work_was_done_and_all_leave),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
