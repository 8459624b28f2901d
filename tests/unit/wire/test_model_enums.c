/* Texts of enums. */
#include "avow/model/model.h"

#include "cmocka_all.h"

#include "avow/base/banned.h"

#define CHECK_ENUM(name, count)                                                                    \
    do {                                                                                           \
        for (uint32_t i = 0; i < (count); i++) {                                                   \
            enum avow_##name back = (enum avow_##name)(count);                                     \
            const char *text = avow_##name##_text((enum avow_##name)i);                            \
            assert_string_not_equal(text, "?");                                                    \
            assert_true(avow_##name##_from_text(avow_str_from(text), &back));                      \
            assert_int_equal(back, i);                                                             \
        }                                                                                          \
        enum avow_##name left = (enum avow_##name)0;                                               \
        assert_string_equal(avow_##name##_text((enum avow_##name)(count)), "?");                   \
        assert_false(avow_##name##_from_text(AVOW_STR_LIT("?"), &left));                           \
        assert_false(avow_##name##_from_text(AVOW_STR_LIT(""), &left));                            \
    } while (0)

static void test_enums__text_and_back__is_the_same_value(void **state)
{
    (void)state;
    CHECK_ENUM(agent_kind, AVOW_AGENT_KIND_COUNT);
    CHECK_ENUM(drop_reason, AVOW_DROP_REASON_COUNT);
    CHECK_ENUM(enroll_status, AVOW_ENROLL_STATUS_COUNT);
    CHECK_ENUM(hash_alg, AVOW_HASH_ALG_COUNT);
    CHECK_ENUM(identity_status, AVOW_IDENTITY_STATUS_COUNT);
    CHECK_ENUM(ima_mode, AVOW_IMA_MODE_COUNT);
    CHECK_ENUM(ima_state, AVOW_IMA_STATE_COUNT);
    CHECK_ENUM(key_alg, AVOW_KEY_ALG_COUNT);
    CHECK_ENUM(key_status, AVOW_KEY_STATUS_COUNT);
    CHECK_ENUM(outcome, AVOW_OUTCOME_COUNT);
    CHECK_ENUM(policy_kind, AVOW_POLICY_KIND_COUNT);
    CHECK_ENUM(recovery, AVOW_RECOVERY_COUNT);
    CHECK_ENUM(revocation_class, AVOW_REVOCATION_CLASS_COUNT);
    CHECK_ENUM(role, AVOW_ROLE_COUNT);
    CHECK_ENUM(sign_alg, AVOW_SIGN_ALG_COUNT);
    CHECK_ENUM(status, AVOW_STATUS_COUNT);
}

/* Append only: these numbers are on the wire. */
static void test_enums__numbers__stay(void **state)
{
    (void)state;
    assert_int_equal(AVOW_STATUS_SILENT, 3);
    assert_int_equal(AVOW_OUTCOME_PASS, 2);
    assert_int_equal(AVOW_ROLE_WORKER_KEX, 7);
    assert_int_equal(AVOW_KEY_STATUS_REVOKED, 2);
    assert_int_equal(AVOW_HASH_ALG_SHA256, 1);
    assert_int_equal(AVOW_DROP_REASON_FLOOD, 20);
    assert_int_equal(AVOW_DIRECTIVE_KIND_PAYLOAD_SHARE, 4);
    assert_string_equal(avow_drop_reason_text(AVOW_DROP_REASON_PART_HASH), "part_hash");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_enums__text_and_back__is_the_same_value),
        cmocka_unit_test(test_enums__numbers__stay),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
