/* test_step_policy.c - what an enrolment's references resolve to, and when trust is carried over
 * (PROTOCOL R15 a, R27). */
#include "step_common.h"

#include "avow/base/hex.h"
#include "avow/crypto/digest.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "avow/base/banned.h"

static const char small[] =
    "{\"digests\":{\"/bin/a\":"
    "[\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\"]}}";
static const char large[] =
    "{\"digests\":{\"/bin/a\":"
    "[\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\"],"
    "\"/bin/b\":[\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\"]}}";
static const char key_1[] = "-----BEGIN PUBLIC KEY-----\n"
                            "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEN/5azHg5bC6IMQi9BJDktcyY+HVr\n"
                            "YF+vfmxz4kvKQrpZVuucGpwfmsiuztRfEkkdUZQlMqlgwlj7mwhgMbQzIg==\n"
                            "-----END PUBLIC KEY-----\n";
static const char key_2[] = "-----BEGIN PUBLIC KEY-----\n"
                            "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEN/5azHg5bC6IMQi9BJDktcyY+HVr\n"
                            "YF+vfmxz4kvKQrpZVuucGpwfmsiuztRfEkkdUZQlMqlgwlj7mwhgMbQzIg==\n"
                            "-----END PUBLIC KEY-----\n\n";

struct fixture {
    struct avow_policy_store store;
    struct avow_arena arena;
    struct avow_step_env env;
    struct avow_step step;
    struct avow_enrollment e;
    struct avow_state prior;
    struct avow_head_ref heads[4];
};

static int setup(void **state)
{
    static struct fixture f;
    f = (struct fixture){.env = {.partition = 0}};
    avow_policy_store_init(&f.store, 1, 2);
    avow_arena_init(&f.arena, 1u << 20);
    f.env.policies = &f.store;
    f.step = (struct avow_step){.env = &f.env, .arena = &f.arena};
    *state = &f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    avow_policy_store_deinit(&f->store);
    avow_arena_deinit(&f->arena);
    return 0;
}

static void publish(struct fixture *f, const char *name, uint64_t generation,
                    enum avow_policy_kind kind, const char *doc)
{
    char key[140], hex[65];
    struct avow_policy_head h = {
        .generation = generation, .kind = kind, .bytes = strlen(doc), .chunks = 1};
    struct avow_policy_chunk c = {
        .index = 0, .count = 1, .bytes = avow_bytes_make(doc, strlen(doc))};
    enum avow_policy_store_result result;
    struct avow_err err = {.rc = AVOW_OK};
    uint8_t content[32] = {(uint8_t)generation};
    avow_sha256(c.bytes, h.sha256);
    avow_hex_encode(hex, AVOW_BYTES_OF(h.sha256));
    (void)snprintf(key, sizeof key, "blob/%s/0", hex);
    assert_int_equal(avow_policy_store_chunk(&f->store, avow_str_from(key), &c, &result, &err),
                     AVOW_OK);
    (void)snprintf(key, sizeof key, "head/%s", name);
    h.key = avow_str_from(key);
    struct avow_policy_store_head_in in = {.head = &h, .content_sha256 = content};
    assert_int_equal(avow_policy_store_head(&f->store, &in, &result, &err), AVOW_OK);
    assert_int_equal(result, AVOW_POLICY_STORE_CHANGED);
}

static struct avow_policy_ref named(const char *name)
{
    return (struct avow_policy_ref){.has_name = true, .name = avow_str_from(name)};
}

static struct avow_eval_policy resolve(struct fixture *f, const struct avow_state *prior)
{
    struct avow_eval_policy p;
    struct avow_err err = {.rc = AVOW_OK};
    assert_int_equal(avow_step_policy(&f->step, &f->e, prior, &p, &err), AVOW_OK);
    return p;
}

/* The state that was made with `p`. */
static void remember(struct fixture *f, const struct avow_eval_policy *p)
{
    assert_true(p->heads_count <= 4);
    memcpy(f->heads, p->heads, p->heads_count * sizeof *p->heads);
    f->prior = (struct avow_state){.heads = f->heads, .heads_count = p->heads_count};
}

static void use_runtime_and_keys(struct fixture *f)
{
    f->e.has_runtime_policy = f->e.has_verify_keys = true;
    f->e.runtime_policy = named("web");
    f->e.verify_keys = named("keys");
    publish(f, "web", 1, AVOW_POLICY_KIND_RUNTIME, small);
    publish(f, "keys", 1, AVOW_POLICY_KIND_KEYS, key_1);
}

static void test_step_policy__several_references__all_are_filled_in_order(void **state)
{
    struct fixture *f = *state;
    use_runtime_and_keys(f);
    struct avow_eval_policy p = resolve(f, NULL);
    assert_false(p.missing);
    assert_non_null(p.runtime);
    assert_non_null(p.keys);
    assert_null(p.boot);
    assert_int_equal(avow_ima_keys_count(p.keys), 1);
    assert_int_equal(p.heads_count, 2);
    assert_true(avow_str_is(p.heads[0].name, "web"));
    assert_true(avow_str_is(p.heads[1].name, "keys"));
}

static void test_step_policy__none__nothing_is_missing(void **state)
{
    struct fixture *f = *state;
    struct avow_eval_policy p = resolve(f, NULL);
    assert_false(p.missing);
    assert_int_equal(p.heads_count, 0);
    assert_null(p.runtime);
}

/* One that is not there makes all of them useless: nothing is judged by half of an enrolment. */
static void test_step_policy__one_is_missing__no_policy_at_all(void **state)
{
    struct fixture *f = *state;
    use_runtime_and_keys(f);
    f->e.has_severity = true;
    f->e.severity = named("labels");
    struct avow_eval_policy p = resolve(f, NULL);
    assert_true(p.missing);
    assert_null(p.runtime);
    assert_int_equal(p.heads_count, 0);
    f->e.severity = named("web"); /* is there, and of another kind */
    assert_true(resolve(f, NULL).missing);
}

static void test_AE14__runtime_superset_and_all_else_the_same__carried(void **state)
{
    struct fixture *f = *state;
    use_runtime_and_keys(f);
    struct avow_eval_policy p = resolve(f, NULL);
    remember(f, &p);
    assert_false(resolve(f, &f->prior).superset_of_prior); /* the same: nothing to carry */
    publish(f, "web", 2, AVOW_POLICY_KIND_RUNTIME, large);
    p = resolve(f, &f->prior);
    assert_true(p.superset_of_prior);
    assert_false(resolve(f, NULL).superset_of_prior);
    remember(f, &p);
    publish(f, "web", 3, AVOW_POLICY_KIND_RUNTIME, small);
    assert_false(resolve(f, &f->prior).superset_of_prior);
}

static void test_step_policy__keys_changed_too__not_carried(void **state)
{
    struct fixture *f = *state;
    use_runtime_and_keys(f);
    struct avow_eval_policy p = resolve(f, NULL);
    remember(f, &p);
    publish(f, "web", 2, AVOW_POLICY_KIND_RUNTIME, large);
    publish(f, "keys", 2, AVOW_POLICY_KIND_KEYS, key_2);
    assert_false(resolve(f, &f->prior).superset_of_prior);
}

static void test_step_policy__only_keys_changed__not_carried(void **state)
{
    struct fixture *f = *state;
    use_runtime_and_keys(f);
    struct avow_eval_policy p = resolve(f, NULL);
    remember(f, &p);
    publish(f, "keys", 2, AVOW_POLICY_KIND_KEYS, key_2);
    p = resolve(f, &f->prior);
    assert_false(p.superset_of_prior);
    assert_false(avow_step_same_heads(&f->prior, &p));
}

/* An enrolment that named one document less is no older version of this one. */
static void test_step_policy__more_references_than_before__not_carried(void **state)
{
    struct fixture *f = *state;
    use_runtime_and_keys(f);
    f->e.has_verify_keys = false;
    struct avow_eval_policy p = resolve(f, NULL);
    remember(f, &p);
    f->e.has_verify_keys = true;
    publish(f, "web", 2, AVOW_POLICY_KIND_RUNTIME, large);
    assert_false(resolve(f, &f->prior).superset_of_prior);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(
            test_step_policy__several_references__all_are_filled_in_order, setup, teardown),
        cmocka_unit_test_setup_teardown(test_step_policy__none__nothing_is_missing, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_step_policy__one_is_missing__no_policy_at_all, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_AE14__runtime_superset_and_all_else_the_same__carried,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(test_step_policy__keys_changed_too__not_carried, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_step_policy__only_keys_changed__not_carried, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_step_policy__more_references_than_before__not_carried,
                                        setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
