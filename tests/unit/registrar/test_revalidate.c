/* Authorities read again, and what then becomes of stored records. The EK certificate is swtpm's.
 */
#include "fixture.h"
#include "revalidate.h"

#include "claim_certs.h"

#include "avow/base/file.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "avow/base/banned.h"

#define ROOT "swtpm-localca-rootca-cert.pem"
#define ISSUER "issuercert.pem"
#define NOW UINT64_C(1795305600000) /* 2026-11-22 */

struct world {
    struct fixture *f;
    char dir[96];
    struct avow_authorities *authorities;
    struct avow_buf cert, packed;
    struct avow_revalidate_opts opts;
    unsigned woken;
};

static uint64_t now(void)
{
    return NOW;
}

static void wake(void *arg)
{
    ++*(unsigned *)arg;
}

static void copy_ca(const struct world *w, const char *name)
{
    char from[512], to[160];
    struct avow_buf data;
    avow_buf_init(&data, 65536);
    snprintf(from, sizeof from, "%s/m1-direct/ca/%s", AVOW_TEST_VECTORS, name);
    snprintf(to, sizeof to, "%s/%s", w->dir, name);
    assert_int_equal(avow_file_read(from, &data, NULL), AVOW_OK);
    assert_int_equal(avow_file_write(to, avow_buf_bytes(&data), 0600, NULL), AVOW_OK);
    avow_buf_deinit(&data);
}

static void remove_file(const struct world *w, const char *name)
{
    char path[160];
    snprintf(path, sizeof path, "%s/%s", w->dir, name);
    unlink(path);
}

static int setup(void **state)
{
    static struct world w;
    char path[512];
    memset(&w, 0, sizeof w);
    void *fixture = NULL;
    assert_int_equal(fixture_setup(&fixture), 0);
    w.f = fixture;
    snprintf(w.dir, sizeof w.dir, "%s/ca", w.f->dir);
    assert_int_equal(mkdir(w.dir, 0700), 0);
    avow_buf_init(&w.cert, 65536);
    avow_buf_init(&w.packed, 65536);
    snprintf(path, sizeof path, "%s/m1-direct/ek/nv_0x1c00002.der", AVOW_TEST_VECTORS);
    assert_int_equal(avow_file_read(path, &w.cert, NULL), AVOW_OK);
    AVOW_CLEANUP(avow_cert_free) struct avow_cert *cert = NULL;
    assert_int_equal(avow_cert_from_der(avow_buf_bytes(&w.cert), &cert, NULL), AVOW_OK);
    avow_certs_put(&w.packed, avow_cert_der(cert)); /* without the padding of the NV index */
    const struct avow_authorities_conf conf = {.ek_dir = w.dir};
    assert_int_equal(avow_authorities_open(&conf, NOW, &w.authorities, NULL), AVOW_OK);
    w.opts = (struct avow_revalidate_opts){.store = w.f->store,
                                           .authorities = w.authorities,
                                           .now_ms = now,
                                           .changed = wake,
                                           .changed_arg = &w.woken};
    *state = &w;
    return 0;
}

static int teardown(void **state)
{
    static const char *const files[] = {ROOT, ISSUER, "bad.pem"};
    struct world *w = *state;
    void *fixture = w->f;
    avow_authorities_close(w->authorities);
    avow_buf_deinit(&w->cert);
    avow_buf_deinit(&w->packed);
    for (size_t i = 0; i < AVOW_ARRAY_LEN(files); i++)
        remove_file(w, files[i]);
    rmdir(w->dir);
    return fixture_teardown(&fixture);
}

static void put(struct world *w, const char *id, const char *rule, bool trusted, bool cert)
{
    struct avow_agent a = fixture_agent(5);
    if (cert)
        a.claim.ek_certs = avow_buf_bytes(&w->packed);
    a.claim.trust.rule = avow_str_from(rule);
    a.claim.trust.trusted = trusted;
    fixture_put_agent(w->f, id, &a);
}

static struct avow_agent get(struct world *w, const char *id, struct avow_arena *arena)
{
    struct avow_agent a;
    avow_arena_init(arena, 1u << 20);
    assert_int_equal(avow_store_agent(w->f->store, avow_str_from(id), arena, &a, NULL), AVOW_OK);
    return a;
}

static void expect(struct world *w, const char *id, uint64_t generation, const char *rule,
                   bool trusted)
{
    AVOW_CLEANUP_VAL(avow_arena_deinit) struct avow_arena arena;
    struct avow_agent a = get(w, id, &arena);
    if (a.generation != generation || a.claim.trust.trusted != trusted ||
        !avow_str_is(a.claim.trust.rule, rule))
        fail_msg("%s: generation %u, %.*s, %d: %.*s", id, (unsigned)a.generation,
                 (int)a.claim.trust.rule.len, a.claim.trust.rule.ptr, a.claim.trust.trusted,
                 (int)a.claim.trust.detail.len, a.claim.trust.detail.ptr);
    assert_int_equal(a.status, AVOW_AGENT_ACTIVE);
    assert_true(a.regcount == 3); /* nothing but the trust is another */
}

static size_t pass(struct world *w)
{
    size_t changed = 99;
    struct avow_err err;
    if (avow_revalidate_all(&w->opts, NULL, &changed, &err))
        fail_msg("%s", err.msg);
    return changed;
}

static void test_revalidate__authorities_come_and_go__records_follow_once(void **state)
{
    struct world *w = *state;
    put(w, "host-1", "ek-certificate", true, true);
    put(w, "host-2", "webhook", true, false);
    put(w, "host-3", "trust-on-first-use", false, false);
    assert_int_equal(pass(w), 2); /* host-3 has another reason now */
    expect(w, "host-1", 6, "trust-on-first-use", false);
    expect(w, "host-2", 5, "webhook", true);
    assert_int_equal(w->woken, 1);
    assert_int_equal(pass(w), 0);
    assert_int_equal(w->woken, 1);

    copy_ca(w, ROOT);
    copy_ca(w, ISSUER);
    assert_true(avow_authorities_poll(w->authorities, false, NOW));
    assert_false(avow_authorities_poll(w->authorities, false, NOW));
    assert_int_equal(pass(w), 1);
    expect(w, "host-1", 7, "ek-certificate", true);

    remove_file(w, ROOT);
    remove_file(w, ISSUER);
    assert_true(avow_authorities_poll(w->authorities, false, NOW));
    assert_int_equal(pass(w), 1);
    expect(w, "host-1", 8, "trust-on-first-use", false);
}

static void test_revalidate__outside_decision_with_a_good_certificate__becomes_a_certificate(
    void **state)
{
    struct world *w = *state;
    copy_ca(w, ROOT);
    copy_ca(w, ISSUER);
    assert_true(avow_authorities_poll(w->authorities, false, NOW));
    put(w, "host-1", "webhook", true, true);
    assert_int_equal(pass(w), 1);
    expect(w, "host-1", 6, "ek-certificate", true);
}

static void test_poll__unreadable_folder__keeps_what_was_read(void **state)
{
    struct world *w = *state;
    char path[160];
    copy_ca(w, ROOT);
    copy_ca(w, ISSUER);
    assert_true(avow_authorities_poll(w->authorities, true, NOW));
    snprintf(path, sizeof path, "%s/bad.pem", w->dir);
    assert_int_equal(avow_file_write(path, avow_bytes_make("bad", 3), 0600, NULL), AVOW_OK);
    assert_false(avow_authorities_poll(w->authorities, false, NOW));
    assert_false(avow_authorities_poll(w->authorities, true, NOW));
    struct avow_authority_set *set = avow_authorities_hold(w->authorities);
    assert_int_equal(avow_cert_store_count(avow_authority_stores(set).ek), 2);
    remove_file(w, "bad.pem");
    assert_true(avow_authorities_poll(w->authorities, false, NOW));
    /* The old set lives as long as somebody holds it. */
    assert_int_equal(avow_cert_store_count(avow_authority_stores(set).ek), 2);
    avow_authorities_release(w->authorities, set);
}

static void test_poll__one_folder_for_both__is_seen_to_change(void **state)
{
    struct world *w = *state;
    const struct avow_authorities_conf conf = {.ek_dir = w->dir, .device_dir = w->dir};
    AVOW_CLEANUP(avow_authorities_close) struct avow_authorities *both = NULL;
    assert_int_equal(avow_authorities_open(&conf, NOW, &both, NULL), AVOW_OK);
    copy_ca(w, ROOT);
    assert_true(avow_authorities_poll(both, false, NOW));
    assert_false(avow_authorities_poll(both, false, NOW));
}

static void test_revalidate__removed_and_unfinished__are_left_alone(void **state)
{
    struct world *w = *state;
    struct avow_agent gone = fixture_agent(5);
    const struct avow_pending open = fixture_pending("192.0.2.1", FIXTURE_NOW + 1000);
    gone.status = AVOW_AGENT_REMOVED;
    fixture_put_agent(w->f, "gone", &gone);
    fixture_add_pending(w->f, "open", &open);
    assert_int_equal(pass(w), 0);
    AVOW_CLEANUP_VAL(avow_arena_deinit) struct avow_arena arena;
    assert_true(get(w, "gone", &arena).generation == 5);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
        T(test_revalidate__authorities_come_and_go__records_follow_once),
        T(test_revalidate__outside_decision_with_a_good_certificate__becomes_a_certificate),
        T(test_poll__unreadable_folder__keeps_what_was_read),
        T(test_poll__one_folder_for_both__is_seen_to_change),
        T(test_revalidate__removed_and_unfinished__are_left_alone),
#undef T
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
