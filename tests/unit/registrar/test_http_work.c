/* The queue: full is full, everything that was taken is done, also at the end. */
#include "http_work.h"

#include "avow/base/attrs.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "avow/base/banned.h"

struct gate {
    pthread_mutex_t mutex;
    pthread_cond_t cond;
    int inside; /* jobs that have begun */
    bool open;
    atomic_int done;
};

static void job(void *arg)
{
    struct gate *g = arg;
    pthread_mutex_lock(&g->mutex);
    g->inside++;
    pthread_cond_broadcast(&g->cond);
    while (!g->open)
        pthread_cond_wait(&g->cond, &g->mutex);
    pthread_mutex_unlock(&g->mutex);
    atomic_fetch_add(&g->done, 1);
}

static void wait_inside(struct gate *g, int n)
{
    pthread_mutex_lock(&g->mutex);
    while (g->inside < n)
        pthread_cond_wait(&g->cond, &g->mutex);
    pthread_mutex_unlock(&g->mutex);
}

static void open_gate(struct gate *g)
{
    pthread_mutex_lock(&g->mutex);
    g->open = true;
    pthread_cond_broadcast(&g->cond);
    pthread_mutex_unlock(&g->mutex);
}

static void test_work_push__full__refuses_until_there_is_room(void **state)
{
    (void)state;
    struct gate g = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, 0, false, 0};
    struct avow_work *w = NULL;
    struct avow_err err;
    assert_int_equal(avow_work_new(2, 3, &w, &err), AVOW_OK);
    assert_true(avow_work_push(w, job, &g));
    assert_true(avow_work_push(w, job, &g));
    wait_inside(&g, 2); /* both threads are busy: what comes now waits */
    for (size_t i = 0; i < 3; i++) {
        assert_true(avow_work_push(w, job, &g));
        assert_int_equal(avow_work_waiting(w), i + 1);
    }
    assert_false(avow_work_push(w, job, &g));
    open_gate(&g);
    avow_work_free(w);
    assert_int_equal(atomic_load(&g.done), 5);
}

static void test_work_free__jobs_wait__does_them_first(void **state)
{
    (void)state;
    struct gate g = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, 0, true, 0};
    struct avow_work *w = NULL;
    struct avow_err err;
    assert_int_equal(avow_work_new(1, 500, &w, &err), AVOW_OK);
    for (int i = 0; i < 500; i++)
        assert_true(avow_work_push(w, job, &g));
    avow_work_free(w);
    assert_int_equal(atomic_load(&g.done), 500);
    avow_work_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_work_push__full__refuses_until_there_is_room),
        cmocka_unit_test(test_work_free__jobs_wait__does_them_first),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
