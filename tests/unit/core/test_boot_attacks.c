/* test_boot_attacks.c - group B of docs/ATTACKS.md through the whole appraisal: the logs are those
 * of real machines, and the rig's PCRs are what they lead to. */
#include "rig.h"

#include "avow/core/boot_make.h"
#include "avow/core/liveness.h"

#include "avow/base/banned.h"

#define SECURE_BOOT_OFF "{\"avow_boot_policy\": 1, \"secure_boot\": false}"
#define SECURE_BOOT_ON "{\"avow_boot_policy\": 1, \"secure_boot\": true}"

static struct rig r;

static void boot_as(const char *machine)
{
    r.firmware = rig_capture(&r, machine);
    rig_boot(&r);
}

static void start(const char *machine, const char *policy)
{
    rig_init(&r, RIG_P256);
    boot_as(machine);
    rig_boot_policy(&r, policy);
}

static void judge(struct rig_shot *s)
{
    rig_seal(&r, s);
    rig_expect_accepted(&r, s);
}

static void start_trusted(const char *machine, const char *policy)
{
    start(machine, policy);
    rig_attest(&r);
    RIG_EXPECT_NO_FINDINGS(&r);
    rig_expect_status(&r, AVOW_STATUS_TRUSTED);
    rig_tick(&r);
}

/* What the machine itself would be allowed to boot. */
static void rig_own_policy(const char *machine)
{
    struct avow_bytes log = rig_capture(&r, machine);
    const struct avow_boot_make in = {.logs = &log, .logs_count = 1};
    struct avow_buf text;
    struct avow_err err = {0};
    avow_buf_init(&text, 1u << 20);
    if (avow_boot_policy_make(&in, &text, &err))
        fail_msg("%s", err.msg);
    rig_boot_policy(&r, avow_buf_cstr(&text));
    avow_buf_deinit(&text);
}

static bool is_told(const char *id)
{
    for (size_t i = 0; i < r.state.findings_count; i++) {
        if (avow_str_is(r.state.findings[i].id, id))
            return true;
    }
    return false;
}

static void expect_told(const char *id)
{
    if (!is_told(id))
        fail_msg("no %s, but %.*s", id, (int)r.state.findings[0].id.len,
                 r.state.findings[0].id.ptr);
    rig_expect_status(&r, AVOW_STATUS_UNTRUSTED);
}

/* --- Changes of a log --- */

static struct avow_event event_at(struct avow_bytes log, size_t index)
{
    struct avow_event_log parsed;
    struct avow_event_walk w;
    struct avow_event e;
    assert_int_equal(avow_event_log_parse(log, &parsed, NULL), AVOW_OK);
    avow_event_walk_init(&w, &parsed);
    do
        assert_true(avow_event_walk_next(&w, &e));
    while (e.index < index);
    return e;
}

static size_t find_event(struct avow_bytes log, bool (*is)(const struct avow_event *e))
{
    struct avow_event_log parsed;
    struct avow_event_walk w;
    struct avow_event e;
    assert_int_equal(avow_event_log_parse(log, &parsed, NULL), AVOW_OK);
    avow_event_walk_init(&w, &parsed);
    do
        assert_true(avow_event_walk_next(&w, &e));
    while (!is(&e));
    return e.index;
}

/* The first variable of every log is SecureBoot. */
static bool is_variable(const struct avow_event *e)
{
    return e->untrusted_type == AVOW_EV_EFI_VARIABLE_DRIVER_CONFIG;
}

static bool is_command_line(const struct avow_event *e)
{
    static const char mark[] = "kernel_cmdline: ";
    return e->untrusted_data.len > sizeof mark &&
           avow_bytes_eq(avow_bytes_make(e->untrusted_data.ptr, sizeof mark - 1),
                         avow_bytes_make(mark, sizeof mark - 1));
}

static bool is_of_pcr_4(const struct avow_event *e)
{
    return e->pcr == 4;
}

/* The shot's log becomes a copy that can be written to. */
static uint8_t *own_log(struct rig_shot *s)
{
    uint8_t *copy = avow_arena_alloc(&r.arena, s->boot_log_len, 1);
    assert_non_null(copy);
    memcpy(copy, s->boot_log, s->boot_log_len);
    s->boot_log = copy;
    return copy;
}

static void flip_data(struct rig_shot *s, size_t index, size_t back)
{
    struct avow_event e = event_at(r.firmware, index);
    size_t at = (size_t)(e.untrusted_data.ptr - r.firmware.ptr) + e.untrusted_data.len - back;
    own_log(s)[at] ^= 1;
}

/* Where the bytes of an event begin: PCR, type, digests, data. */
static size_t begin_of(struct avow_bytes log, size_t index)
{
    struct avow_event before = event_at(log, index - 1);
    return (size_t)(before.untrusted_data.ptr - log.ptr) + before.untrusted_data.len;
}

static void drop_event(struct rig_shot *s, size_t index)
{
    struct avow_bytes log = avow_bytes_make(s->boot_log, s->boot_log_len);
    size_t begin = begin_of(log, index), end = begin_of(log, index + 1);
    uint8_t *copy = own_log(s);
    memmove(copy + begin, copy + end, s->boot_log_len - end);
    s->boot_log_len -= end - begin;
}

static struct rig_shot *take_without_log(void)
{
    struct rig_shot *s = rig_take(&r);
    s->boot_log = NULL;
    s->boot_log_len = 0;
    return s;
}

/* --- The catalogue --- */

static void test_AB1__secure_boot_said_to_be_on__boot_data_unbound(void **state)
{
    (void)state;
    start("m1-direct", SECURE_BOOT_ON);
    struct rig_shot *s = rig_take(&r);
    flip_data(s, find_event(r.firmware, is_variable), 1);
    judge(s);
    expect_told("boot.data_unbound");
    rig_deinit(&r);
}

static void test_AB2__kernel_command_line_altered__boot_data_unbound(void **state)
{
    (void)state;
    start("m2-grub-sb", SECURE_BOOT_ON);
    rig_attest(&r);
    RIG_EXPECT_NO_FINDINGS(&r); /* the control */
    rig_deinit(&r);
    start("m2-grub-sb", SECURE_BOOT_ON);
    struct rig_shot *s = rig_take(&r);
    flip_data(s, find_event(r.firmware, is_command_line), 4);
    judge(s);
    expect_told("boot.data_unbound");
    rig_deinit(&r);
}

/* Types are in no digest. Whatever the host calls the one event that tells against it, or any
 * other, it does not become trusted. */
static void test_AB3__type_of_an_event_altered__no_verdict_gets_better(void **state)
{
    (void)state;
    static const uint32_t types[] = {AVOW_EV_NO_ACTION,
                                     AVOW_EV_SEPARATOR,
                                     AVOW_EV_IPL,
                                     AVOW_EV_EFI_VARIABLE_BOOT,
                                     AVOW_EV_EFI_VARIABLE_AUTHORITY,
                                     0xFFFFFFFFu};
    for (size_t index = 1; index < 25; index++) {
        for (size_t t = 0; t < AVOW_ARRAY_LEN(types); t++) {
            start("m1-direct", SECURE_BOOT_ON);
            struct rig_shot *s = rig_take(&r);
            size_t at = begin_of(r.firmware, index) + 4;
            if (event_at(r.firmware, index).untrusted_type != types[t])
                avow_put_u32le(own_log(s) + at, types[t]);
            judge(s);
            rig_expect_status(&r, AVOW_STATUS_UNTRUSTED);
            rig_deinit(&r);
        }
    }
}

static void drop_pcr_7(struct rig_shot *s)
{
    for (size_t i = 63; i > 0; i--) {
        if (event_at(avow_bytes_make(s->boot_log, s->boot_log_len), i).pcr == 7)
            drop_event(s, i);
    }
}

/* Nothing of it was measured, or what was measured is not told. */
static void test_AB4__no_events_of_pcr_7__boot_event_missing_or_pcr_mismatch(void **state)
{
    (void)state;
    for (unsigned measured = 0; measured < 2; measured++) {
        rig_init(&r, RIG_P256);
        boot_as("m2-grub-sb");
        rig_own_policy("m2-grub-sb");
        struct rig_shot *s = rig_take(&r);
        drop_pcr_7(s);
        if (!measured) {
            r.firmware = avow_bytes_make(s->boot_log, s->boot_log_len);
            rig_boot(&r);
            s = rig_take(&r);
        }
        judge(s);
        expect_told(measured ? "boot.pcr_mismatch" : "boot.event_missing");
        rig_deinit(&r);
    }
}

static void test_AB5__replay_differs_on_pcr_4__boot_pcr_mismatch(void **state)
{
    (void)state;
    start("m1-direct", SECURE_BOOT_OFF);
    struct rig_shot *s = rig_take(&r);
    drop_event(s, find_event(r.firmware, is_of_pcr_4));
    judge(s);
    expect_told("boot.pcr_mismatch");
    assert_int_equal(r.state.findings_count, 1);
    assert_true(avow_str_is(r.state.findings[0].where, "PCR 4"));
    rig_deinit(&r);
}

static void test_AB6__log_of_another_machine_same_pcr_7__boot_pcr_mismatch(void **state)
{
    (void)state;
    start("m1-direct", SECURE_BOOT_OFF);
    struct rig_shot *s = rig_take(&r);
    struct avow_bytes other = rig_capture(&r, "m7-612");
    s->boot_log = other.ptr;
    s->boot_log_len = other.len;
    judge(s);
    expect_told("boot.pcr_mismatch");
    for (size_t i = 0; i < r.state.findings_count; i++)
        assert_false(avow_str_is(r.state.findings[i].where, "PCR 7"));
    rig_deinit(&r);
}

static void test_AB7__reboot_into_another_kernel__judged_again(void **state)
{
    (void)state;
    rig_init(&r, RIG_P256);
    boot_as("m1-direct");
    rig_own_policy("m1-direct");
    rig_attest(&r);
    RIG_EXPECT_NO_FINDINGS(&r);
    rig_expect_status(&r, AVOW_STATUS_TRUSTED);
    rig_tick(&r);
    boot_as("m7-612");
    rig_attest(&r); /* with its genuine log */
    expect_told("boot.image");
    assert_false(is_told("boot.pcr_mismatch"));
    assert_int_equal(r.state.boot.outcome, AVOW_OUTCOME_FAIL);
    rig_deinit(&r);
}

static void test_AB7__reboot_into_another_kernel_and_no_log__not_trusted(void **state)
{
    (void)state;
    rig_init(&r, RIG_P256);
    boot_as("m1-direct");
    rig_own_policy("m1-direct");
    rig_attest(&r);
    rig_tick(&r);
    boot_as("m7-612");
    judge(take_without_log());
    expect_told("boot.log_missing");
    rig_deinit(&r);
}

static void test_AB8__reboot_to_the_same_values__cached_and_no_log_requested(void **state)
{
    (void)state;
    start_trusted("m1-direct", SECURE_BOOT_OFF);
    boot_as("m1-direct");
    judge(take_without_log());
    RIG_EXPECT_NO_FINDINGS(&r);
    rig_expect_status(&r, AVOW_STATUS_TRUSTED);
    rig_expect_as_of(&r, r.epoch);
    assert_false(r.out.resync.wanted);
    assert_int_equal(r.transition.verdict.boot.outcome, AVOW_OUTCOME_PASS);
    rig_deinit(&r);
}

/* The cache is of a policy, too, and no bad outcome is in it. */
static void test_AB8__reboot_under_another_policy__the_log_is_needed(void **state)
{
    (void)state;
    start_trusted("m1-direct", SECURE_BOOT_OFF);
    boot_as("m1-direct");
    rig_boot_policy(&r, SECURE_BOOT_ON);
    judge(take_without_log());
    assert_int_not_equal(r.state.status, AVOW_STATUS_TRUSTED);
    rig_deinit(&r);
    start("m1-direct", SECURE_BOOT_ON);
    rig_attest(&r);
    expect_told("boot.secure_boot");
    rig_tick(&r);
    boot_as("m1-direct");
    rig_attest(&r);
    expect_told("boot.secure_boot");
    rig_deinit(&r);
}

static void test_AB9__log_withheld_after_a_change__asked_for_then_unproven(void **state)
{
    (void)state;
    start_trusted("m1-direct", SECURE_BOOT_OFF);
    uint64_t proven = r.state.as_of.epoch;
    r.pcr[r.bank][4][0] ^= 1;
    for (unsigned i = 0; i < 30; i++) {
        r.send_pcrs = true;
        judge(take_without_log());
        rig_expect_as_of(&r, proven);
        assert_true(r.out.resync.wanted && r.out.resync.boot_log);
        rig_tick(&r);
    }
    struct avow_liveness_in in = {.enrollment = &r.e,
                                  .state = &r.state,
                                  .service_ms = r.state.as_of.service_ms + 3 * 70000,
                                  .silent_after_ms = 70000};
    assert_int_equal(avow_liveness_check(&in), AVOW_LIVENESS_NOTHING);
    in.service_ms++;
    assert_int_equal(avow_liveness_check(&in), AVOW_LIVENESS_UNPROVEN);
    assert_int_equal(avow_state_unproven(&r.state, &r.arena, &r.state, NULL), AVOW_OK);
    expect_told("evidence.unproven");
    rig_deinit(&r);
}

static void test_AB14__no_log_and_a_policy_demands_one__boot_log_missing(void **state)
{
    (void)state;
    start("m1-direct", SECURE_BOOT_OFF);
    judge(take_without_log());
    expect_told("boot.log_missing");
    rig_deinit(&r);
}

static void test_AB16__pcr_23_extended_later__value_sent_again_and_no_log(void **state)
{
    (void)state;
    start_trusted("m1-direct", SECURE_BOOT_OFF);
    r.pcr[r.bank][23][0] ^= 1;
    judge(take_without_log()); /* the agent has not noticed */
    assert_true(r.out.resync.wanted && r.out.resync.pcrs);
    assert_false(r.out.resync.boot_log);
    rig_tick(&r);
    r.send_pcrs = true;
    judge(take_without_log());
    RIG_EXPECT_NO_FINDINGS(&r);
    rig_expect_status(&r, AVOW_STATUS_TRUSTED);
    rig_expect_as_of(&r, r.epoch);
    assert_false(r.out.resync.wanted);
    rig_deinit(&r);
}

static void test_AB16__pcr_23_extended_and_a_rule_names_it__pcr_mismatch(void **state)
{
    (void)state;
    start("m1-direct", SECURE_BOOT_OFF);
    struct avow_bytes value = avow_arena_bytes(&r.arena, avow_bytes_make(r.pcr[r.bank][23], 32));
    struct avow_pcr_rule rule = {
        .index = 23, .bank = AVOW_HASH_ALG_SHA256, .digests = &value, .digests_count = 1};
    r.e.pcrs = &rule;
    r.e.pcrs_count = 1;
    rig_attest(&r);
    RIG_EXPECT_NO_FINDINGS(&r);
    rig_tick(&r);
    r.pcr[r.bank][23][0] ^= 1;
    r.send_pcrs = true;
    judge(take_without_log());
    rig_expect_findings(&r, "pcr.mismatch", NULL);
    assert_false(r.out.resync.boot_log);
    rig_deinit(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_AB1__secure_boot_said_to_be_on__boot_data_unbound),
        cmocka_unit_test(test_AB2__kernel_command_line_altered__boot_data_unbound),
        cmocka_unit_test(test_AB3__type_of_an_event_altered__no_verdict_gets_better),
        cmocka_unit_test(test_AB4__no_events_of_pcr_7__boot_event_missing_or_pcr_mismatch),
        cmocka_unit_test(test_AB5__replay_differs_on_pcr_4__boot_pcr_mismatch),
        cmocka_unit_test(test_AB6__log_of_another_machine_same_pcr_7__boot_pcr_mismatch),
        cmocka_unit_test(test_AB7__reboot_into_another_kernel__judged_again),
        cmocka_unit_test(test_AB7__reboot_into_another_kernel_and_no_log__not_trusted),
        cmocka_unit_test(test_AB8__reboot_to_the_same_values__cached_and_no_log_requested),
        cmocka_unit_test(test_AB8__reboot_under_another_policy__the_log_is_needed),
        cmocka_unit_test(test_AB9__log_withheld_after_a_change__asked_for_then_unproven),
        cmocka_unit_test(test_AB14__no_log_and_a_policy_demands_one__boot_log_missing),
        cmocka_unit_test(test_AB16__pcr_23_extended_later__value_sent_again_and_no_log),
        cmocka_unit_test(test_AB16__pcr_23_extended_and_a_rule_names_it__pcr_mismatch),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
