/* The store: what was committed is there after a restart, what was not is not, and the outbox keeps
 * its order. */
#include "fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cmocka.h>

#include "avow/base/banned.h"

#define ID AVOW_STR_LIT("host-1")
#define SOURCE AVOW_STR_LIT("192.0.2.1")

/* SQLite's calls end here before they reach the C library. */
static unsigned disk_waits;

int fdatasync(int fd)
{
    disk_waits++;
    return (int)syscall(SYS_fdatasync, fd);
}

int fsync(int fd)
{
    disk_waits++;
    return (int)syscall(SYS_fsync, fd);
}

static void load(struct fixture *f, struct avow_str id, struct avow_arena *arena,
                 struct avow_stored *out)
{
    struct avow_err err;
    avow_arena_deinit(arena); /* of the load before */
    avow_arena_init(arena, 1024 * 1024);
    assert_int_equal(avow_store_begin(f->store, &err), AVOW_OK);
    if (avow_store_load(f->store, id, SOURCE, FIXTURE_NOW, arena, out, &err))
        fail_msg("%s", err.msg);
    assert_int_equal(avow_store_end(f->store, false, &err), AVOW_OK);
}

static void assert_claim_eq(const struct avow_claim *a, const struct avow_claim *b)
{
    assert_true(avow_bytes_eq(a->ek_public, b->ek_public));
    assert_true(avow_bytes_eq(a->ak_public, b->ak_public));
    assert_true(avow_bytes_eq(a->ak_name, b->ak_name));
    assert_true(avow_bytes_eq(a->ek_certs, b->ek_certs));
    assert_true(avow_str_eq(a->ip, b->ip));
    assert_int_equal(a->port, b->port);
    assert_true(avow_str_eq(a->mtls_cert, b->mtls_cert));
    assert_int_equal(!a->ip.ptr, !b->ip.ptr);
    assert_int_equal(!a->mtls_cert.ptr, !b->mtls_cert.ptr);
    assert_true(avow_str_eq(a->trust.rule, b->trust.rule));
    assert_true(avow_str_eq(a->trust.detail, b->trust.detail));
    assert_int_equal(a->trust.trusted, b->trust.trusted);
    assert_int_equal(a->trust.time_ms, b->trust.time_ms);
    assert_int_equal(a->trust.has_cert_sha256, b->trust.has_cert_sha256);
    assert_memory_equal(a->trust.cert_sha256, b->trust.cert_sha256, 32);
}

static void test_store_agent__every_field__survives_a_restart(void **state)
{
    struct fixture *f = *state;
    AVOW_CLEANUP_VAL(avow_arena_deinit) struct avow_arena arena = {0};
    struct avow_stored got;
    static const uint8_t certs[] = "packed";
    struct avow_agent a = fixture_agent(7);
    a.claim.ek_certs = AVOW_BYTES_OF(certs);
    fixture_put_agent(f, "host-1", &a);
    fixture_reopen(f);
    load(f, ID, &arena, &got);
    assert_int_equal(got.agent.status, AVOW_AGENT_ACTIVE);
    assert_int_equal(got.agent.generation, 7);
    assert_int_equal(got.agent.regcount, 3);
    assert_int_equal(got.agent.registered_ms, FIXTURE_NOW + 1);
    assert_int_equal(got.agent.tag_until_ms, FIXTURE_NOW + 2);
    assert_memory_equal(got.agent.tag_sha256, a.tag_sha256, 32);
    assert_claim_eq(&got.agent.claim, &a.claim);
}

static void test_store_agent__absent_fields__stay_absent(void **state)
{
    struct fixture *f = *state;
    AVOW_CLEANUP_VAL(avow_arena_deinit) struct avow_arena arena = {0};
    struct avow_stored got;
    struct avow_agent a = fixture_agent(1);
    a.claim.ip = a.claim.mtls_cert = (struct avow_str){0};
    a.claim.port = 0;
    a.claim.trust.has_cert_sha256 = false;
    memset(a.claim.trust.cert_sha256, 0, 32);
    a.claim.trust.trusted = false;
    fixture_put_agent(f, "host-1", &a);
    load(f, ID, &arena, &got);
    assert_claim_eq(&got.agent.claim, &a.claim);
}

static void test_store_pending__every_field__survives_a_restart(void **state)
{
    struct fixture *f = *state;
    AVOW_CLEANUP_VAL(avow_arena_deinit) struct avow_arena arena = {0};
    struct avow_stored got;
    struct avow_pending p = fixture_pending("192.0.2.1", FIXTURE_NOW + 5);
    fixture_add_pending(f, "host-1", &p);
    fixture_reopen(f);
    load(f, ID, &arena, &got);
    assert_int_equal(got.agent.status, AVOW_AGENT_NONE);
    assert_int_equal(got.n_pending, 1);
    assert_memory_equal(got.pending[0].secret, p.secret, AVOW_SECRET_LEN);
    assert_memory_equal(got.pending[0].digest, p.digest, 32);
    assert_true(avow_str_eq(got.pending[0].source, p.source));
    assert_int_equal(got.pending[0].issued_ms, FIXTURE_NOW);
    assert_int_equal(got.pending[0].expires_ms, FIXTURE_NOW + 5);
    assert_int_equal(got.pending[0].attempts, 0);
    assert_claim_eq(&got.pending[0].claim, &p.claim);
    load(f, AVOW_STR_LIT("host-2"), &arena, &got); /* control: another id has none */
    assert_int_equal(got.n_pending, 0);
}

static void test_store_pending__counts_and_order(void **state)
{
    struct fixture *f = *state;
    AVOW_CLEANUP_VAL(avow_arena_deinit) struct avow_arena arena = {0};
    struct avow_stored got;
    for (uint64_t i = 0; i < AVOW_PENDING_PER_ID + 2; i++) {
        struct avow_pending p = fixture_pending(i % 2 ? "192.0.2.1" : "192.0.2.2", FIXTURE_NOW + i);
        fixture_add_pending(f, "host-1", &p);
    }
    load(f, ID, &arena, &got);
    assert_int_equal(got.n_pending, AVOW_PENDING_PER_ID);
    assert_int_equal(got.pending[0].expires_ms, FIXTURE_NOW + 2);
    assert_int_equal(got.pending[AVOW_PENDING_PER_ID - 1].expires_ms, FIXTURE_NOW + 9);
    assert_int_equal(got.pending_of_source, 5);
    assert_int_equal(got.pending_total, 9); /* the one that expires now is not open */
    struct avow_err err;
    assert_int_equal(avow_store_purge(f->store, FIXTURE_NOW + 8, &err), AVOW_OK);
    load(f, ID, &arena, &got);
    assert_int_equal(got.n_pending, 1);
}

static void test_store_apply__attempts_and_drop__only_that_row(void **state)
{
    struct fixture *f = *state;
    struct avow_arena arena = {0};
    struct avow_stored got;
    struct avow_err err;
    struct avow_pending p = fixture_pending("192.0.2.1", FIXTURE_NOW + 5);
    fixture_add_pending(f, "host-1", &p);
    fixture_add_pending(f, "host-1", &p);
    load(f, ID, &arena, &got);
    const struct avow_change changes[] = {
        {.kind = AVOW_CHANGE_PENDING_ATTEMPTS, .seq = got.pending[0].seq, .attempts = 4},
        {.kind = AVOW_CHANGE_PENDING_DROP, .seq = got.pending[1].seq}};
    avow_arena_deinit(&arena);
    assert_int_equal(avow_store_begin(f->store, &err), AVOW_OK);
    assert_int_equal(avow_store_apply(f->store, ID, changes, 2, &err), AVOW_OK);
    assert_int_equal(avow_store_end(f->store, true, &err), AVOW_OK);
    load(f, ID, &arena, &got);
    assert_int_equal(got.n_pending, 1);
    assert_int_equal(got.pending[0].attempts, 4);
    avow_arena_deinit(&arena);
}

static size_t outbox(struct fixture *f, struct avow_outbox_item *items, struct avow_arena *arena)
{
    struct avow_err err;
    size_t n = 99;
    avow_arena_deinit(arena);
    avow_arena_init(arena, 65536);
    assert_int_equal(avow_store_outbox(f->store, 8, arena, items, &n, &err), AVOW_OK);
    return n;
}

static void test_store_outbox__order_and_restart(void **state)
{
    struct fixture *f = *state;
    AVOW_CLEANUP_VAL(avow_arena_deinit) struct avow_arena arena = {0};
    struct avow_outbox_item items[8];
    struct avow_err err;
    struct avow_agent one = fixture_agent(1), two = fixture_agent(2);
    fixture_put_agent(f, "b", &one);
    fixture_put_agent(f, "a", &one);
    fixture_put_agent(f, "b", &two);
    fixture_reopen(f);
    assert_int_equal(outbox(f, items, &arena), 3);
    assert_true(avow_str_is(items[0].id, "b") && items[0].generation == 1);
    assert_true(avow_str_is(items[1].id, "a") && items[1].generation == 1);
    assert_true(avow_str_is(items[2].id, "b") && items[2].generation == 2);
    assert_int_equal(avow_store_outbox_done(f->store, items[1].seq, &err), AVOW_OK);
    int64_t last = items[2].seq;
    fixture_reopen(f);
    assert_int_equal(outbox(f, items, &arena), 1);
    assert_int_equal(items[0].seq, last);
    /* An emptied outbox never hands out a number again. */
    assert_int_equal(avow_store_outbox_done(f->store, last, &err), AVOW_OK);
    fixture_put_agent(f, "c", &one);
    assert_int_equal(outbox(f, items, &arena), 1);
    assert_true(items[0].seq > last);
}

static void test_store_end__without_commit__nothing_happened(void **state)
{
    struct fixture *f = *state;
    AVOW_CLEANUP_VAL(avow_arena_deinit) struct avow_arena arena = {0};
    struct avow_stored got;
    struct avow_err err;
    uint64_t waiting = 9;
    const struct avow_change c = {.kind = AVOW_CHANGE_AGENT, .agent = fixture_agent(1)};
    for (int commit = 0; commit < 2; commit++) {
        assert_int_equal(avow_store_begin(f->store, &err), AVOW_OK);
        assert_int_equal(avow_store_apply(f->store, ID, &c, 1, &err), AVOW_OK);
        assert_int_equal(avow_store_end(f->store, commit == 1, &err), AVOW_OK);
        load(f, ID, &arena, &got);
        assert_int_equal(got.agent.status, commit ? AVOW_AGENT_ACTIVE : AVOW_AGENT_NONE);
        assert_int_equal(avow_store_outbox_count(f->store, &waiting, &err), AVOW_OK);
        assert_int_equal(waiting, commit);
    }
}

static void collect(void *arg, struct avow_str id)
{
    struct avow_buf *b = arg;
    avow_buf_put(b, id.ptr, id.len);
    avow_buf_put_str(b, " ");
}

static void test_store_list__active_and_open__sorted_once(void **state)
{
    struct fixture *f = *state;
    AVOW_CLEANUP_VAL(avow_buf_deinit) struct avow_buf ids;
    struct avow_err err;
    struct avow_agent active = fixture_agent(1), removed = fixture_agent(2);
    struct avow_pending open = fixture_pending("s", FIXTURE_NOW + 1);
    struct avow_pending expired = fixture_pending("s", FIXTURE_NOW);
    removed.status = AVOW_AGENT_REMOVED;
    avow_buf_init(&ids, 1024);
    fixture_put_agent(f, "m", &active);
    fixture_put_agent(f, "gone", &removed);
    fixture_add_pending(f, "m", &open);
    fixture_add_pending(f, "b", &open);
    fixture_add_pending(f, "late", &expired);
    assert_int_equal(avow_store_list(f->store, FIXTURE_NOW, collect, &ids, &err), AVOW_OK);
    assert_string_equal(avow_buf_cstr(&ids), "b m ");
}

static void test_store_meta__set_get_replace(void **state)
{
    struct fixture *f = *state;
    AVOW_CLEANUP_VAL(avow_buf_deinit) struct avow_buf v;
    struct avow_err err;
    avow_buf_init(&v, 64);
    assert_int_equal(avow_store_meta_get(f->store, "x", &v, &err), AVOW_NOTFOUND);
    assert_int_equal(avow_store_meta_set(f->store, "x", avow_bytes_make("one", 3), &err), AVOW_OK);
    assert_int_equal(avow_store_meta_set(f->store, "x", avow_bytes_make("two", 3), &err), AVOW_OK);
    fixture_reopen(f);
    assert_int_equal(avow_store_meta_get(f->store, "x", &v, &err), AVOW_OK);
    assert_string_equal(avow_buf_cstr(&v), "two");
}

static void test_store_open__second_handle__is_refused(void **state)
{
    struct fixture *f = *state;
    struct avow_store *other = NULL;
    struct avow_err err;
    assert_int_equal(avow_store_open(f->path, FIXTURE_NOW, &other, &err), AVOW_EXISTS);
    assert_null(other);
}

static void test_store_open__files_are_private(void **state)
{
    struct fixture *f = *state;
    static const char *const files[] = {"", "-wal", ".lock"};
    struct avow_agent a = fixture_agent(1);
    fixture_put_agent(f, "host-1", &a);
    for (size_t i = 0; i < AVOW_ARRAY_LEN(files); i++) {
        char path[128];
        struct stat st;
        snprintf(path, sizeof path, "%s%s", f->path, files[i]);
        assert_int_equal(stat(path, &st), 0);
        assert_int_equal(st.st_mode & 0777, 0600);
    }
}

static void test_store_open__garbage__is_an_error(void **state)
{
    struct fixture *f = *state;
    struct avow_err err;
    avow_store_close(f->store);
    f->store = NULL;
    FILE *file = fopen(f->path, "wb");
    assert_non_null(file);
    for (int i = 0; i < 8192; i++)
        fputc(i * 31 & 0xff, file);
    fclose(file);
    assert_int_equal(avow_store_open(f->path, FIXTURE_NOW, &f->store, &err), AVOW_IO);
    assert_null(f->store);
}

static unsigned waits_of_challenge(struct fixture *f)
{
    struct avow_err err;
    const struct avow_change c = {.kind = AVOW_CHANGE_PENDING_ADD,
                                  .pending = fixture_pending("192.0.2.1", FIXTURE_NOW + 5)};
    unsigned before = disk_waits;
    assert_int_equal(avow_store_begin_challenge(f->store, &err), AVOW_OK);
    assert_int_equal(avow_store_apply(f->store, ID, &c, 1, &err), AVOW_OK);
    assert_int_equal(avow_store_end(f->store, true, &err), AVOW_OK);
    return disk_waits - before;
}

/* What is answered 200 survives a power cut: the first activation after a start, and each one that
 * follows challenges, which do not wait. */
static void test_store_end__agent__waits_for_the_disk_each_time(void **state)
{
    struct fixture *f = *state;
    for (unsigned round = 0; round < 2; round++) {
        for (uint64_t i = 1; i <= 4; i++) {
            const struct avow_agent a = fixture_agent(i);
            unsigned before = disk_waits;
            fixture_put_agent(f, "host-1", &a);
            if (disk_waits == before)
                fail_msg("round %u: change %u is not on the disk", round, (unsigned)i);
            assert_int_equal(waits_of_challenge(f), 0);
            if (i == 3) {
                struct avow_err err;
                assert_int_equal(avow_store_purge(f->store, FIXTURE_NOW, &err), AVOW_OK);
                assert_int_equal(avow_store_outbox_done(f->store, 1, &err), AVOW_OK);
            }
        }
        fixture_reopen(f);
        (void)waits_of_challenge(
            f); /* it comes first this time, and begins a journal: that waits */
    }
}

#define STORE_TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        STORE_TEST(test_store_end__agent__waits_for_the_disk_each_time),
        STORE_TEST(test_store_agent__every_field__survives_a_restart),
        STORE_TEST(test_store_agent__absent_fields__stay_absent),
        STORE_TEST(test_store_pending__every_field__survives_a_restart),
        STORE_TEST(test_store_pending__counts_and_order),
        STORE_TEST(test_store_apply__attempts_and_drop__only_that_row),
        STORE_TEST(test_store_outbox__order_and_restart),
        STORE_TEST(test_store_end__without_commit__nothing_happened),
        STORE_TEST(test_store_list__active_and_open__sorted_once),
        STORE_TEST(test_store_meta__set_get_replace),
        STORE_TEST(test_store_open__second_handle__is_refused),
        STORE_TEST(test_store_open__files_are_private),
        STORE_TEST(test_store_open__garbage__is_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
