/* test_captures.c - lists and PCR values of real kernels through the whole appraisal:
 * tests/vectors/ima. */
#include "rig.h"

#include "avow/base/file.h"
#include "avow/formats/ima_list.h"

#include "avow/base/banned.h"

static struct rig r;

static void read_vector(const char *name, struct avow_buf *out)
{
    struct avow_err err = {0};
    char path[512];
    (void)snprintf(path, sizeof path, "%s/ima/%s", AVOW_TEST_VECTORS, name);
    avow_buf_init(out, 128u * 1024u);
    if (avow_file_read(path, out, &err))
        fail_msg("%s", err.msg);
}

static uint32_t count_entries(struct avow_bytes list)
{
    struct avow_rd rd = avow_rd_make(list);
    struct avow_ima_entry e;
    uint32_t n = 0;
    while (avow_ima_entry_next(&rd, &e) == AVOW_IMA_ENTRY)
        n++;
    assert_int_equal(avow_rd_left(&rd), 0);
    return n;
}

static struct rig_shot *take(const char *name, enum avow_hash_alg bank, const struct avow_buf *list)
{
    static const enum avow_hash hashes[] = {AVOW_HASH_SHA1, AVOW_HASH_SHA256, AVOW_HASH_SHA384,
                                            AVOW_HASH_SHA512};
    static const enum avow_hash_alg all[] = {AVOW_HASH_ALG_SHA1, AVOW_HASH_ALG_SHA256,
                                             AVOW_HASH_ALG_SHA384, AVOW_HASH_ALG_SHA512};
    char file[128];
    struct avow_buf values;
    size_t len = avow_hash_len(hashes[bank]);
    (void)snprintf(file, sizeof file, "%s.%s.pcrs", name, avow_hash_alg_text(bank));
    read_vector(file, &values);
    assert_int_equal(values.len, 24 * len);
    for (size_t i = 0; i < 24; i++)
        memcpy(r.pcr[bank][i], values.ptr + i * len, len);
    avow_buf_deinit(&values);
    r.bank = bank;
    r.e.banks = all;
    r.e.banks_count = AVOW_ARRAY_LEN(all);
    r.log_count = 0;
    r.send_pcrs = true;
    struct rig_shot *s = rig_take(&r);
    s->raw_list = avow_buf_bytes(list);
    s->raw_count = count_entries(s->raw_list);
    return s;
}

static void test_evaluate__lists_of_real_kernels__are_explained(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        enum avow_hash_alg bank;
        uint64_t entries;
        enum avow_ima_mode mode;
        const char *findings[2]; /* boot_aggregate is of sha256 unless the kernel's hash is sha1 */
    } cases[] = {
        {"m1-c1", AVOW_HASH_ALG_SHA256, 143, AVOW_IMA_MODE_NATIVE, {NULL}},
        {"m1-c1", AVOW_HASH_ALG_SHA1, 143, AVOW_IMA_MODE_NATIVE, {"ima.boot_aggregate"}},
        {"m3-c1", AVOW_HASH_ALG_SHA256, 145, AVOW_IMA_MODE_NATIVE, {NULL}},
        {"m5-c1", AVOW_HASH_ALG_SHA256, 168, AVOW_IMA_MODE_NATIVE, {NULL}},
        {"m5-c1",
         AVOW_HASH_ALG_SHA384,
         168,
         AVOW_IMA_MODE_PADDED,
         {"ima.boot_aggregate", "ima.bank_padded"}},
        {"m5-legacy", AVOW_HASH_ALG_SHA1, 145, AVOW_IMA_MODE_NATIVE, {NULL}},
        {"m5-legacy", AVOW_HASH_ALG_SHA256, 145, AVOW_IMA_MODE_NATIVE, {"ima.boot_aggregate"}},
        {"m6-c3", AVOW_HASH_ALG_SHA256, 149, AVOW_IMA_MODE_NATIVE, {NULL}},
        {"m6-c3", AVOW_HASH_ALG_SHA1, 149, AVOW_IMA_MODE_NATIVE, {"ima.boot_aggregate"}},
        {"m7-c1", AVOW_HASH_ALG_SHA256, 145, AVOW_IMA_MODE_NATIVE, {NULL}},
        {"m7-c1", AVOW_HASH_ALG_SHA384, 145, AVOW_IMA_MODE_NATIVE, {"ima.boot_aggregate"}},
        {"m7-c1", AVOW_HASH_ALG_SHA512, 145, AVOW_IMA_MODE_NATIVE, {"ima.boot_aggregate"}},
    };
    for (size_t i = 0; i < AVOW_ARRAY_LEN(cases); i++) {
        struct avow_buf list;
        char file[64];
        rig_init(&r, RIG_P256);
        print_message("%s %s\n", cases[i].name, avow_hash_alg_text(cases[i].bank));
        (void)snprintf(file, sizeof file, "%s.ima", cases[i].name);
        read_vector(file, &list);
        struct rig_shot *s = take(cases[i].name, cases[i].bank, &list);
        rig_seal(&r, s);
        rig_expect_accepted(&r, s);
        rig_expect_findings(&r, cases[i].findings[0], cases[i].findings[1], NULL);
        rig_expect_as_of(&r, r.epoch);
        assert_int_equal(r.state.ima.proven_count, cases[i].entries);
        assert_int_equal(r.state.ima.mode, cases[i].mode);
        rig_expect_status(&r, cases[i].findings[0] ? AVOW_STATUS_UNTRUSTED : AVOW_STATUS_TRUSTED);
        avow_buf_deinit(&list);
        rig_deinit(&r);
    }
}

static void test_evaluate__delta_between_two_captures__is_explained(void **state)
{
    (void)state;
    struct avow_buf one, two;
    rig_init(&r, RIG_P256);
    read_vector("m1-c1.ima", &one);
    read_vector("m1-c2.ima", &two);
    struct rig_shot *s = take("m1-c1", AVOW_HASH_ALG_SHA256, &one);
    rig_seal(&r, s);
    rig_expect_accepted(&r, s);
    rig_tick(&r);
    s = take("m1-c2", AVOW_HASH_ALG_SHA256, &two);
    s->body.ima_start = 143;
    s->raw_list = avow_bytes_make(two.ptr + one.len, two.len - one.len);
    s->raw_count = 13;
    rig_seal(&r, s);
    rig_expect_accepted(&r, s);
    RIG_EXPECT_NO_FINDINGS(&r);
    assert_int_equal(r.state.ima.proven_count, 156);
    rig_expect_as_of(&r, r.epoch);
    avow_buf_deinit(&one);
    avow_buf_deinit(&two);
    rig_deinit(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_evaluate__lists_of_real_kernels__are_explained),
        cmocka_unit_test(test_evaluate__delta_between_two_captures__is_explained),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
