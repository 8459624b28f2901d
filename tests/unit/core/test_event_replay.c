/* test_event_replay.c - logs of real firmware explain the PCRs of their machines, and data that was
 * changed is not believed. */
#include "avow/core/event_replay.h"

#include "avow/base/cleanup.h"
#include "avow/base/file.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "avow/base/banned.h"

static bool read_capture(const char *machine, const char *file, struct avow_buf *out)
{
    char path[512];
    (void)snprintf(path, sizeof path, "%s/captures/%s/%s", AVOW_TEST_VECTORS, machine, file);
    avow_buf_init(out, 1u << 20);
    return avow_file_read(path, out, NULL) == AVOW_OK;
}

static void parse(const struct avow_buf *b, struct avow_event_log *log)
{
    struct avow_err err = {0};
    if (avow_event_log_parse(avow_buf_bytes(b), log, &err))
        fail_msg("%s", err.msg);
}

/* --- Real machines --- */

static const struct capture {
    const char *machine;
    size_t events, banks;
    size_t bound;
} captures[] = {
    {"m1-direct", 25, 2, 19}, {"m2-grub-sb", 64, 4, 50}, {"m3-sdboot-uki", 41, 1, 28},
    {"m5-imasig", 26, 3, 19}, {"m6-buf", 25, 2, 19},     {"m7-612", 25, 4, 19},
};

static size_t compare(const struct avow_event_bank *bank, const struct avow_buf *pcrs)
{
    size_t len = avow_hash_len(bank->alg), n = 0;
    assert_int_equal(pcrs->len, AVOW_EVENT_PCRS * len);
    assert_int_equal(bank->missing, 0);
    for (size_t i = 0; i < AVOW_EVENT_PCRS; i++) {
        if (!(bank->changed & (UINT32_C(1) << i)))
            continue;
        assert_memory_equal(bank->values[i].bytes, pcrs->ptr + i * len, len);
        n++;
    }
    return n;
}

static void test_event_replay__real_firmware__gives_the_pcrs_of_the_machine(void **state)
{
    (void)state;
    for (size_t i = 0; i < AVOW_ARRAY_LEN(captures); i++) {
        AVOW_CLEANUP_VAL(avow_buf_deinit) struct avow_buf b;
        struct avow_event_log log;
        struct avow_event_replay r;
        size_t compared = 0;
        assert_true(read_capture(captures[i].machine, "binary_bios_measurements", &b));
        parse(&b, &log);
        avow_event_replay(&log, &r);
        assert_int_equal(r.banks_count, captures[i].banks);
        assert_int_equal(log.count, captures[i].events);
        for (size_t k = 0; k < r.banks_count; k++) {
            AVOW_CLEANUP_VAL(avow_buf_deinit) struct avow_buf pcrs;
            char file[32];
            (void)snprintf(file, sizeof file, "pcrs_%s.bin", avow_hash_name(r.banks[k].alg));
            if (!read_capture(captures[i].machine, file, &pcrs))
                continue;
            print_message("%s %s\n", captures[i].machine, file);
            compared += compare(&r.banks[k], &pcrs) >= 8;
        }
        assert_true(compared > 0);
    }
}

static void test_event_bind__real_firmware__no_data_contradicts_its_digest(void **state)
{
    (void)state;
    for (size_t i = 0; i < AVOW_ARRAY_LEN(captures); i++) {
        AVOW_CLEANUP_VAL(avow_buf_deinit) struct avow_buf b;
        struct avow_event_log log;
        struct avow_event_replay r;
        struct avow_event_walk w;
        struct avow_event e;
        size_t counts[4] = {0};
        assert_true(read_capture(captures[i].machine, "binary_bios_measurements", &b));
        parse(&b, &log);
        avow_event_replay(&log, &r);
        avow_event_walk_init(&w, &log);
        while (avow_event_walk_next(&w, &e)) {
            struct avow_event_binding bind = avow_event_bind(&e, &r);
            counts[bind.bound]++;
        }
        print_message("%s\n", captures[i].machine);
        assert_int_equal(counts[AVOW_EVENT_MISMATCH], 0);
        assert_int_equal(counts[AVOW_EVENT_BOUND], captures[i].bound);
    }
}

/* Every byte that a digest is said to cover is covered. */
static void test_event_bind__one_bit_of_covered_data_differs__is_not_bound(void **state)
{
    (void)state;
    AVOW_CLEANUP_VAL(avow_buf_deinit) struct avow_buf b;
    struct avow_event_log log;
    struct avow_event_replay r;
    struct avow_event_walk w;
    struct avow_event e;
    size_t tried = 0;
    assert_true(read_capture("m2-grub-sb", "binary_bios_measurements", &b));
    parse(&b, &log);
    avow_event_replay(&log, &r);
    avow_event_walk_init(&w, &log);
    while (avow_event_walk_next(&w, &e)) {
        struct avow_event_binding bind = avow_event_bind(&e, &r);
        for (size_t i = 0; i < bind.covered.len && i < 64; i++) {
            uint8_t *at = b.ptr + (bind.covered.ptr - b.ptr) + i;
            *at ^= 1;
            assert_int_not_equal(avow_event_bind(&e, &r).bound, AVOW_EVENT_BOUND);
            *at ^= 1;
            tried++;
        }
    }
    assert_true(tried > 1000);
}

/* --- Made events --- */

#define SHA1 0x0004
#define SHA256 0x000B

struct made {
    const char *name;
    uint32_t pcr, type;
    struct avow_bytes data, measured;
    enum avow_event_bound want;
};
#define B(literal)                                                                                 \
    {                                                                                              \
        (const uint8_t *)(literal), sizeof(literal) - 1                                            \
    }

static const struct made made[] = {
    {"separator", 0, AVOW_EV_SEPARATOR, B("\0\0\0\0"), B("\0\0\0\0"), AVOW_EVENT_BOUND},
    {"separator of an error", 0, AVOW_EV_SEPARATOR, B("\0\0\0\0"), B("\1\0\0\0"),
     AVOW_EVENT_MISMATCH},
    {"action", 4, AVOW_EV_EFI_ACTION, B("Exit"), B("Exit"), AVOW_EVENT_BOUND},
    {"action with NUL", 4, AVOW_EV_EFI_ACTION, B("Exit\0"), B("Exit"), AVOW_EVENT_BOUND},
    {"action, all measured", 4, AVOW_EV_ACTION, B("Exit\0"), B("Exit\0"), AVOW_EVENT_BOUND},
    {"other action", 4, AVOW_EV_EFI_ACTION, B("Exit"), B("Enter"), AVOW_EVENT_MISMATCH},
    {"version", 0, AVOW_EV_S_CRTM_VERSION, B("1\0"), B("1\0"), AVOW_EVENT_BOUND},
    {"other version", 0, AVOW_EV_S_CRTM_VERSION, B("1\0"), B("2\0"), AVOW_EVENT_MISMATCH},
    {"GPT", 5, AVOW_EV_EFI_GPT_EVENT, B("gpt"), B("other"), AVOW_EVENT_MISMATCH},
    {"driver config", 7, AVOW_EV_EFI_VARIABLE_DRIVER_CONFIG, B("on"), B("off"),
     AVOW_EVENT_MISMATCH},
    {"authority", 7, AVOW_EV_EFI_VARIABLE_AUTHORITY, B("on"), B("off"), AVOW_EVENT_MISMATCH},
    {"boot variable, value", 1, AVOW_EV_EFI_VARIABLE_BOOT,
     B("0123456789abcdef\1\0\0\0\0\0\0\0\3\0\0\0\0\0\0\0B\0xyz"), B("xyz"), AVOW_EVENT_BOUND},
    {"boot variable, all", 1, AVOW_EV_EFI_VARIABLE_BOOT,
     B("0123456789abcdef\0\0\0\0\0\0\0\0\1\0\0\0\0\0\0\0x"),
     B("0123456789abcdef\0\0\0\0\0\0\0\0\1\0\0\0\0\0\0\0x"), AVOW_EVENT_BOUND},
    {"boot variable of another length", 1, AVOW_EV_EFI_VARIABLE_BOOT,
     B("0123456789abcdef\1\0\0\0\0\0\0\0\2\0\0\0\0\0\0\0B\0xyz"), B("xyz"), AVOW_EVENT_MISMATCH},
    {"new boot variable, value", 1, AVOW_EV_EFI_VARIABLE_BOOT2,
     B("0123456789abcdef\1\0\0\0\0\0\0\0\3\0\0\0\0\0\0\0B\0xyz"), B("xyz"), AVOW_EVENT_MISMATCH},
    {"GRUB", 8, AVOW_EV_IPL, B("kernel_cmdline: ro: a\0"), B("ro: a"), AVOW_EVENT_BOUND},
    {"other command line", 8, AVOW_EV_IPL, B("kernel_cmdline: rw\0"), B("ro"), AVOW_EVENT_MISMATCH},
    {"no command", 8, AVOW_EV_IPL, B("file\0"), B("its content"), AVOW_EVENT_UNBOUND},
    {"file", 9, AVOW_EV_IPL, B("(hd0)/vmlinuz\0"), B("its content"), AVOW_EVENT_UNBOUND},
    {"section", 11, AVOW_EV_IPL, B(".\0o\0\0\0"), B(".o\0"), AVOW_EVENT_BOUND},
    {"wide character", 11, AVOW_EV_IPL, B(".\0o\1\0\0"), B(".o\0"), AVOW_EVENT_UNBOUND},
    {"tagged", 12, AVOW_EV_EVENT_TAG, B("\1\2\3\4\2\0\0\0ro"), B("ro"), AVOW_EVENT_BOUND},
    {"tagged, longer", 12, AVOW_EV_EVENT_TAG, B("\1\2\3\4\2\0\0\0roX"), B("ro"),
     AVOW_EVENT_UNBOUND},
    {"flags", 1, AVOW_EV_PLATFORM_CONFIG_FLAGS, B("a"), B("a"), AVOW_EVENT_BOUND},
    {"other flags", 1, AVOW_EV_PLATFORM_CONFIG_FLAGS, B("a"), B("b"), AVOW_EVENT_UNBOUND},
    {"tables", 1, AVOW_EV_EFI_HANDOFF_TABLES, B("a"), B("b"), AVOW_EVENT_UNBOUND},
    {"blob", 0, AVOW_EV_EFI_PLATFORM_FIRMWARE_BLOB, B("a"), B("a"), AVOW_EVENT_NOT_APPLICABLE},
    {"image", 4, AVOW_EV_EFI_BOOT_SERVICES_APPLICATION, B("a"), B("a"), AVOW_EVENT_NOT_APPLICABLE},
    {"no action", 0, AVOW_EV_NO_ACTION, B("a"), B("a"), AVOW_EVENT_NOT_APPLICABLE},
    {"unknown type", 0, 0x12345678, B("a"), B("a"), AVOW_EVENT_BOUND},
    {"unknown type, other data", 0, 0x12345678, B("a"), B("b"), AVOW_EVENT_UNBOUND},
    {"no data", 0, AVOW_EV_EFI_ACTION, {NULL, 0}, B("b"), AVOW_EVENT_MISMATCH},
};

static void test_event_bind__made_events__are_judged_by_their_type(void **state)
{
    (void)state;
    struct avow_event_replay banks = {.banks = {{.alg = AVOW_HASH_SHA1}, {.alg = AVOW_HASH_SHA256}},
                                      .banks_count = 2};
    for (size_t i = 0; i < AVOW_ARRAY_LEN(made); i++) {
        const struct made *m = &made[i];
        struct avow_digest sha1, sha256, other;
        avow_digest(AVOW_HASH_SHA1, m->measured, &sha1);
        avow_digest(AVOW_HASH_SHA256, m->measured, &sha256);
        avow_digest(AVOW_HASH_SHA256, AVOW_BYTES_OF(sha1.bytes), &other);
        struct avow_event e = {
            .pcr = m->pcr,
            .untrusted_type = m->type,
            .digests = {{SHA1, avow_digest_bytes(&sha1)}, {SHA256, avow_digest_bytes(&sha256)}},
            .digests_count = 2,
            .untrusted_data = m->data};
        print_message("%s\n", m->name);
        assert_int_equal(avow_event_bind(&e, &banks).bound, m->want);
        if (m->want != AVOW_EVENT_BOUND)
            continue;
        e.digests[1].value = avow_digest_bytes(&other); /* the banks contradict each other */
        assert_int_not_equal(avow_event_bind(&e, &banks).bound, AVOW_EVENT_BOUND);
        e.digests_count = 1; /* a quote of the other bank would not know of the event */
        assert_int_equal(avow_event_bind(&e, &banks).bound, AVOW_EVENT_UNBOUND);
    }
}

/* --- Made logs --- */

static void put_u32(struct avow_buf *b, uint32_t v)
{
    avow_put_u32le(avow_buf_extend(b, 4), v);
}

static void put_digest(struct avow_buf *b, uint8_t alg, size_t len)
{
    avow_buf_put_u8(b, alg);
    avow_buf_put_u8(b, 0);
    memset(avow_buf_extend(b, len), 0x77, len);
}

/* Banks: 1 SHA-1, 2 SHA-256. */
static void put_event(struct avow_buf *b, uint32_t pcr, uint32_t type, unsigned banks)
{
    static const uint8_t locality[17] = "StartupLocality\0\3";
    put_u32(b, pcr);
    put_u32(b, type);
    put_u32(b, banks == 3 ? 2 : 1);
    if (banks & 1)
        put_digest(b, SHA1, 20);
    if (banks & 2)
        put_digest(b, SHA256, 32);
    put_u32(b, type == AVOW_EV_NO_ACTION ? 17 : 0);
    if (type == AVOW_EV_NO_ACTION)
        avow_buf_put(b, locality, sizeof locality);
}

static void put_header(struct avow_buf *b)
{
    put_u32(b, 0);
    put_u32(b, AVOW_EV_NO_ACTION);
    memset(avow_buf_extend(b, 20), 0, 20);
    put_u32(b, 37);
    avow_buf_put(b, "Spec ID Event03\0\0\0\0\0\0\2\0\2\2\0\0\0\4\0\24\0\13\0\40\0\0", 37);
}

/* H(old || 77..77), with SHA-256. */
static void extended(uint8_t fill, uint8_t last, uint8_t out[32])
{
    uint8_t in[64];
    memset(in, fill, 32);
    in[31] = last;
    memset(in + 32, 0x77, 32);
    avow_sha256(AVOW_BYTES_OF(in), out);
}

struct step {
    uint32_t pcr, type;
    unsigned banks;
};

static const struct replay_case {
    const char *name;
    struct step steps[3];
    size_t steps_count;
    uint32_t pcr;
    uint8_t fill, last; /* the PCR's value before the one event */
    bool locality;
    size_t missing[2];
} replays[] = {
    {"zeros", {{0, 1, 3}}, 1, 0, 0, 0, false, {0}},
    {"ones", {{17, 1, 3}}, 1, 17, 0xFF, 0xFF, false, {0}},
    {"zeros again", {{23, 1, 3}}, 1, 23, 0, 0, false, {0}},
    {"locality", {{0, 3, 3}, {0, 1, 3}}, 2, 0, 0, 3, true, {0}},
    {"locality after an event of another PCR",
     {{1, 1, 3}, {0, 3, 3}, {0, 1, 3}},
     3,
     0,
     0,
     3,
     true,
     {0}},
    {"locality too late", {{0, 1, 3}, {0, 3, 3}}, 2, 0, 0, 0, false, {0}},
    {"locality too late in one bank", {{0, 1, 1}, {0, 3, 3}, {0, 1, 3}}, 3, 0, 0, 0, false, {0, 1}},
    {"twice", {{0, 3, 3}, {0, 3, 3}, {0, 1, 3}}, 3, 0, 0, 3, true, {0}},
    {"no digest of SHA-1", {{4, 1, 2}}, 1, 4, 0, 0, false, {1, 0}},
};

static void test_AB13__made_logs__pcrs_begin_as_a_tpm_says(void **state)
{
    (void)state;
    for (size_t i = 0; i < AVOW_ARRAY_LEN(replays); i++) {
        const struct replay_case *c = &replays[i];
        AVOW_CLEANUP_VAL(avow_buf_deinit) struct avow_buf b;
        struct avow_event_log log;
        struct avow_event_replay r;
        uint8_t want[32];
        print_message("%s\n", c->name);
        avow_buf_init(&b, 4096);
        put_header(&b);
        for (size_t k = 0; k < c->steps_count; k++)
            put_event(&b, c->steps[k].pcr, c->steps[k].type, c->steps[k].banks);
        parse(&b, &log);
        avow_event_replay(&log, &r);
        extended(c->fill, c->last, want);
        assert_int_equal(r.banks_count, 2);
        assert_memory_equal(r.banks[1].values[c->pcr].bytes, want, sizeof want);
        assert_true(r.banks[1].changed & (UINT32_C(1) << c->pcr));
        assert_int_equal(r.has_locality, c->locality);
        assert_int_equal(r.locality, c->locality ? 3 : 0);
        for (size_t k = 0; k < 2; k++)
            assert_int_equal(r.banks[k].missing, c->missing[k]);
    }
}

static void test_event_replay__locality_that_no_tpm_has__is_not_believed(void **state)
{
    (void)state;
    for (uint8_t locality = 0; locality < 8; locality++) {
        AVOW_CLEANUP_VAL(avow_buf_deinit) struct avow_buf b;
        struct avow_event_log log;
        struct avow_event_replay r;
        avow_buf_init(&b, 4096);
        put_header(&b);
        put_event(&b, 0, AVOW_EV_NO_ACTION, 3);
        b.ptr[b.len - 1] = locality;
        parse(&b, &log);
        avow_event_replay(&log, &r);
        assert_int_equal(r.has_locality, locality <= 4);
        assert_int_equal(r.banks[1].values[0].bytes[31], locality <= 4 ? locality : 0);
    }
}

static void test_event_replay__unknown_bank__is_left_out(void **state)
{
    (void)state;
    struct avow_event_log log = {.algs = {{0x0012, 32}, {SHA256, 32}}, .algs_count = 2};
    struct avow_event_replay r;
    struct avow_digest d;
    uint8_t zeros[10 * 32] = {0}, want[32];
    avow_event_replay(&log, &r);
    assert_int_equal(r.banks_count, 1);
    assert_int_equal(r.banks[0].changed, 0);
    avow_event_aggregate(&r.banks[0], AVOW_AGGREGATE_LONG, &d);
    avow_sha256(AVOW_BYTES_OF(zeros), want);
    assert_memory_equal(d.bytes, want, sizeof want);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_event_replay__real_firmware__gives_the_pcrs_of_the_machine),
        cmocka_unit_test(test_event_bind__real_firmware__no_data_contradicts_its_digest),
        cmocka_unit_test(test_event_bind__one_bit_of_covered_data_differs__is_not_bound),
        cmocka_unit_test(test_event_bind__made_events__are_judged_by_their_type),
        cmocka_unit_test(test_AB13__made_logs__pcrs_begin_as_a_tpm_says),
        cmocka_unit_test(test_event_replay__locality_that_no_tpm_has__is_not_believed),
        cmocka_unit_test(test_event_replay__unknown_bank__is_left_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
