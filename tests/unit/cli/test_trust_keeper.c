#include "trust_keeper.h"

#include "fixture.h"

struct keeping {
    struct fixture *f;
    struct avow_trust_keeper k;
};

static void start(struct keeping *s)
{
    s->f = fx_new(); /* version 7 */
    avow_trust_keeper_init(&s->k, s->f->root);
}

static void end(struct keeping *s)
{
    avow_trust_keeper_deinit(&s->k);
    fx_free(s->f);
}

static enum avow_rc offer(struct keeping *s, uint64_t version, const struct avow_privkey *key,
                          bool *newer, struct avow_err *err)
{
    FX_BUF record;
    s->f->bundle.version = version;
    fx_seal_bundle(s->f, key, &record);
    return avow_trust_keeper_offer(&s->k, FX_BUNDLE_KEY, avow_buf_bytes(&record), newer, err);
}

static uint64_t held(const struct keeping *s)
{
    return s->k.trust ? avow_trust_bundle(s->k.trust)->version : 0;
}

static void test_trust_keeper_offer__table(void **state)
{
    static const struct {
        uint64_t version;
        enum avow_rc want;
        bool newer;
        uint64_t held;
    } steps[] = {{7, AVOW_OK, true, 7},
                 {7, AVOW_OK, false, 7},
                 {6, AVOW_ROLLBACK, false, 7},
                 {9, AVOW_OK, true, 9},
                 {8, AVOW_ROLLBACK, false, 9},
                 {9, AVOW_OK, false, 9},
                 {UINT32_MAX, AVOW_OK, true, UINT32_MAX}};
    struct keeping s;
    (void)state;
    start(&s);
    for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
        struct avow_err err = {0};
        bool newer = false;
        assert_rc("offer", offer(&s, steps[i].version, s.f->root_key, &newer, &err), steps[i].want,
                  &err);
        assert_int_equal(newer, steps[i].newer);
        assert_int_equal(held(&s), steps[i].held);
    }
    end(&s);
}

static void test_trust_keeper_offer__not_by_root__changes_nothing(void **state)
{
    struct keeping s;
    struct avow_err err = {0};
    bool newer = false;
    (void)state;
    start(&s);
    assert_rc("good", offer(&s, 7, s.f->root_key, &newer, &err), AVOW_OK, &err);
    assert_rc("forged", offer(&s, 99, s.f->other_root_key, &newer, &err), AVOW_UNTRUSTED, &err);
    assert_false(newer);
    assert_int_equal(held(&s), 7);
    assert_int_equal(s.k.floor, 7);
    end(&s);
}

static void test_trust_keeper_offer__another_fleet__is_refused(void **state)
{
    struct keeping s;
    struct avow_err err = {0};
    bool newer = false;
    (void)state;
    start(&s);
    assert_rc("good", offer(&s, 7, s.f->root_key, &newer, &err), AVOW_OK, &err);
    memcpy(s.f->bundle.fleet, FX_STAGING, sizeof FX_STAGING);
    assert_rc("staging", offer(&s, 8, s.f->root_key, &newer, &err), AVOW_UNTRUSTED, &err);
    assert_int_equal(held(&s), 7);
    end(&s);
}

static void test_trust_keeper_remember__the_version_itself_is_wanted_and_nothing_below(void **state)
{
    struct keeping s;
    struct avow_err err = {0};
    bool newer = false;
    (void)state;
    start(&s);
    avow_trust_keeper_remember(&s.k, 7, FX_FLEET);
    assert_rc("older", offer(&s, 6, s.f->root_key, &newer, &err), AVOW_ROLLBACK, &err);
    assert_says("older", &err, "version 7");
    assert_int_equal(held(&s), 0);
    assert_rc("the same", offer(&s, 7, s.f->root_key, &newer, &err), AVOW_OK, &err);
    assert_true(newer);
    assert_rc("newer", offer(&s, 8, s.f->root_key, &newer, &err), AVOW_OK, &err);
    assert_int_equal(s.k.floor, 8);
    avow_trust_keeper_remember(&s.k, 3, FX_FLEET); /* an old copy lowers nothing */
    assert_int_equal(s.k.floor, 8);
    end(&s);
}

static void test_trust_keeper_remember__fleet__binds_the_first_bundle(void **state)
{
    struct keeping s;
    struct avow_err err = {0};
    bool newer = false;
    (void)state;
    start(&s);
    avow_trust_keeper_remember(&s.k, 1, FX_STAGING);
    assert_rc("production", offer(&s, 7, s.f->root_key, &newer, &err), AVOW_UNTRUSTED, &err);
    assert_int_equal(held(&s), 0);
    end(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_trust_keeper_offer__table),
        cmocka_unit_test(test_trust_keeper_offer__not_by_root__changes_nothing),
        cmocka_unit_test(test_trust_keeper_offer__another_fleet__is_refused),
        cmocka_unit_test(
            test_trust_keeper_remember__the_version_itself_is_wanted_and_nothing_below),
        cmocka_unit_test(test_trust_keeper_remember__fleet__binds_the_first_bundle),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
