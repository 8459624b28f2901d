/* test_malformed.c - bodies and parts that no agent writes. */
#include "one_host.h"

#include "avow/base/banned.h"

static void expect_malformed(struct rig_shot *s)
{
    judge(s);
    rig_expect_findings(&r, "evidence.malformed", NULL);
    rig_expect_status(&r, AVOW_STATUS_UNTRUSTED);
    rig_expect_as_of(&r, 0);
    assert_false(r.state.has_ima);
    teardown(NULL);
    setup(NULL);
}

static struct rig_shot *take_raw(const char *bytes, size_t len)
{
    struct rig_shot *s = rig_take(&r);
    s->raw_part = avow_bytes_make(bytes, len);
    s->log_count = 0;
    return s;
}

static void test_evaluate__part_malformed__evidence_malformed(void **state)
{
    (void)state;
    struct rig_shot *s = rig_take(&r);
    s->trailing = 1;
    expect_malformed(s);
    expect_malformed(take_raw("\x03\0\0\0\0", 5)); /* unknown frame */
    expect_malformed(take_raw("\x01\0\0\0\x05"
                              "abcd",
                              9)); /* frame longer than the part */
    expect_malformed(take_raw("\x01\0\0\0\x04"
                              "abcd",
                              9)); /* entry longer than the frame: AM9 */
    expect_malformed(take_raw("\x02\0\0\0\x01"
                              "a",
                              6)); /* boot log that the body does not name */
    s = rig_take(&r);
    s->body.version = 2;
    expect_malformed(s);
}

static void test_AM8__count_differs_from_the_entries__evidence_malformed(void **state)
{
    (void)state;
    static const uint32_t counts[] = {1, 3};
    for (size_t i = 0; i < AVOW_ARRAY_LEN(counts); i++) {
        struct rig_shot *s = rig_take(&r);
        s->keep_count = true;
        s->body.ima_count = counts[i]; /* there are 2 */
        expect_malformed(s);
    }
}

static void test_AM6__parts_and_links_contradict__evidence_malformed(void **state)
{
    (void)state;
    struct rig_shot *s = rig_take(&r);
    s->body.parts = 65;
    s->second_link[0] = 1;
    expect_malformed(s);
    s = rig_take(&r); /* a link for two parts, and one part */
    s->second_link[0] = 1;
    rig_seal(&r, s);
    s->evidence.has_next = true;
    rig_expect_accepted(&r, s);
    rig_expect_findings(&r, "evidence.malformed", NULL);
    teardown(NULL);
    setup(NULL);
    s = rig_take(&r); /* parts without a link */
    s->keep_link = true;
    s->body.parts = 1;
    s->log_count = 0;
    expect_malformed(s);
}

static void test_evaluate__boot_log__checked_and_remembered(void **state)
{
    (void)state;
    static const uint8_t log[] = "uefi";
    struct rig_shot *s = rig_take(&r);
    s->boot_log = log;
    s->boot_log_len = sizeof log;
    s->body.has_boot_log = true;
    avow_sha256(AVOW_BYTES_OF(log), s->body.boot_log);
    judge(s);
    expect_trusted_now();
    assert_true(r.state.boot.has_log_sha256);
    assert_memory_equal(r.state.boot.log_sha256, s->body.boot_log, 32);
    assert_true(r.transition.verdict.boot.has_log_sha256);
    rig_tick(&r);
    rig_attest(&r); /* the same values: the log is still theirs */
    assert_true(r.state.boot.has_log_sha256);
    teardown(NULL);
    setup(NULL);
    s = rig_take(&r);
    s->boot_log = log;
    s->boot_log_len = sizeof log;
    s->body.has_boot_log = true;
    expect_malformed(s);
}

static void test_evaluate__log_of_more_than_4_million__ima_log_too_large(void **state)
{
    (void)state;
    struct rig_shot *s = rig_take(&r);
    s->body.ima_start = 4000000;
    judge(s);
    rig_expect_findings(&r, "ima.log_too_large", NULL);
}

static void test_evaluate__entry_too_large__ima_entry_too_large(void **state)
{
    (void)state;
    struct rig_shot *s = rig_take(&r);
    struct rig_entry *e = &s->log[1];
    e->bytes[28 + 6 + 2] = 0x09; /* template data of more than 512 KiB, as it says */
    judge(s);
    rig_expect_findings(&r, "ima.entry_too_large", NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_evaluate__part_malformed__evidence_malformed),
        TEST(test_AM8__count_differs_from_the_entries__evidence_malformed),
        TEST(test_AM6__parts_and_links_contradict__evidence_malformed),
        TEST(test_evaluate__boot_log__checked_and_remembered),
        TEST(test_evaluate__log_of_more_than_4_million__ima_log_too_large),
        TEST(test_evaluate__entry_too_large__ima_entry_too_large),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
