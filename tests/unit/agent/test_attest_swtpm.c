/* attest.c against swtpm and the IMA emulator. The evidence is checked here as a worker would, step
 * by step (B4): part links, qualifyingData, signature, frames, and that the entries explain the
 * quoted PCR 10. */
#include "attest.h"
#include "rig_swtpm.h"

#include "avow/base/file.h"
#include "avow/crypto/ak.h"
#include "avow/formats/ima_list.h"
#include "avow/formats/quote.h"
#include "avow/wire/body.h"
#include "avow/wire/evidence.h"
#include "avow/wire/evidence_part.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "avow/base/banned.h"

#define ID "host-1"
#define PARTS_BUF (4u * 1024u * 1024u)

static struct swtpm_rig rig;
static const uint8_t fleet[16] = {0xF1}, nonce[32] = {0x0E};

struct host {
    struct avow_tpm *tpm;
    struct avow_attest *attest;
    struct avow_pcr_bank pcrs; /* as a worker knows them */
    uint8_t pcr10[32];         /* folded */
    uint64_t clock;
};

/* What a checked evidence said. */
struct seen {
    struct avow_body body;
    size_t parts, entries, boot_log_len, pcrs;
};

static char uefi_path[128];

static void host_open(struct host *h, size_t part_bytes, size_t parts_max)
{
    *h = (struct host){.tpm = NULL};
    const struct avow_tpm_opts topts = {.tcti = rig.tcti};
    struct avow_buf blob;
    avow_buf_init(&blob, 4096);
    assert_int_equal(avow_tpm_new(&topts, &h->tpm, NULL), AVOW_OK);
    assert_int_equal(avow_tpm_open(h->tpm, NULL), AVOW_OK);
    assert_int_equal(avow_tpm_ak_create(h->tpm, AVOW_TPM_AK_ECDSA, &blob, NULL), AVOW_OK);
    assert_int_equal(avow_tpm_ak_load(h->tpm, AVOW_TPM_AK_ECDSA, avow_buf_bytes(&blob), NULL),
                     AVOW_OK);
    avow_tpm_close(h->tpm);
    avow_buf_deinit(&blob);
    snprintf(uefi_path, sizeof uefi_path, "%s/uefi", rig.dir);
    const struct avow_attest_opts opts = {.tpm = h->tpm,
                                          .agent_id = ID,
                                          .ima_log = rig.list,
                                          .uefi_log = uefi_path,
                                          .boot_id_file = rig.boot_id,
                                          .bank = "auto",
                                          .part_bytes = part_bytes,
                                          .parts_max = parts_max};
    assert_int_equal(avow_attest_new(&opts, &h->attest, NULL), AVOW_OK);
    h->pcrs.alg = AVOW_HASH_ALG_SHA256;
    h->pcrs.digest_len = 32;
}

static void host_close(struct host *h)
{
    avow_attest_free(h->attest);
    avow_tpm_free(h->tpm);
}

/* --- A worker's checks --- */

static void fold(struct host *h, struct avow_bytes frame, struct seen *seen)
{
    struct avow_rd r = avow_rd_make(frame);
    struct avow_ima_entry e;
    while (avow_rd_left(&r)) {
        uint8_t digest[32];
        assert_int_equal(avow_ima_entry_next(&r, &e), AVOW_IMA_ENTRY);
        avow_sha256(e.template_data, digest);
        const struct avow_bytes pieces[] = {AVOW_BYTES_OF(h->pcr10), AVOW_BYTES_OF(digest)};
        uint8_t next[32];
        avow_sha256_pieces(pieces, 2, next);
        memcpy(h->pcr10, next, 32);
        seen->entries++;
    }
}

static void read_part(struct host *h, struct avow_bytes part, struct seen *seen)
{
    struct avow_rd r = avow_rd_make(part);
    while (avow_rd_left(&r)) {
        uint8_t type = avow_rd_u8(&r);
        struct avow_bytes content = avow_rd_take(&r, avow_rd_u32be(&r));
        assert_false(r.bad);
        if (type == AVOW_FRAME_IMA) {
            fold(h, content, seen);
        } else {
            uint8_t sha[32];
            assert_int_equal(type, AVOW_FRAME_UEFI);
            assert_int_equal(seen->parts, 0);
            avow_sha256(content, sha);
            assert_true(seen->body.has_boot_log);
            assert_memory_equal(sha, seen->body.boot_log, 32);
            seen->boot_log_len = content.len;
        }
    }
    seen->parts++;
}

static void check_link(const uint8_t expect[32], struct avow_bytes part, const uint8_t *next)
{
    static const uint8_t zeros[32];
    uint8_t sha[32], got[32];
    avow_sha256(part, sha);
    const struct avow_bytes pieces[] = {AVOW_BYTES_OF(sha),
                                        avow_bytes_make(next ? next : zeros, 32)};
    avow_sha256_pieces(pieces, 2, got);
    assert_memory_equal(got, expect, 32);
}

static void check_quote(struct host *h, const struct avow_evidence *e)
{
    struct avow_quote q;
    struct avow_tpm_signature s;
    struct avow_ak *ak = NULL;
    uint8_t want[32];
    assert_int_equal(avow_quote_parse(e->attest, &q, NULL), AVOW_OK);
    assert_int_equal(avow_tpm_signature_parse(e->signature, &s, NULL), AVOW_OK);
    assert_int_equal(avow_ak_parse(avow_tpm_ak_public(h->tpm), &ak, NULL), AVOW_OK);
    const struct avow_sig sig = {(enum avow_sig_scheme)s.scheme, (enum avow_hash)s.hash, s.rsa, s.r,
                                 s.s};
    assert_true(avow_pubkey_verify_tpm(avow_ak_key(ak), &sig, e->attest));
    avow_evidence_qualifying_data(fleet, AVOW_STR_LIT(ID), nonce, e->body, want);
    assert_true(avow_bytes_eq(q.extra_data, AVOW_BYTES_OF(want)));
    assert_true(q.clock != h->clock);
    h->clock = q.clock;
    avow_ak_free(ak);
}

static void take_pcrs(struct host *h, struct seen *seen)
{
    uint8_t want[32];
    for (size_t i = 0; i < seen->body.pcrs_count; i++) {
        assert_int_not_equal(seen->body.pcrs[i].index, 10);
        assert_int_equal(seen->body.pcrs[i].value.len, 32);
        memcpy(h->pcrs.values[seen->body.pcrs[i].index], seen->body.pcrs[i].value.ptr, 32);
    }
    seen->pcrs = seen->body.pcrs_count;
    avow_evidence_pcr_static(&h->pcrs, seen->body.ima_state, want);
    assert_memory_equal(want, seen->body.pcr_static, 32);
}

/* H(values with PCR 10 = what was folded) = pcrDigest */
static bool explained(const struct host *h, struct avow_bytes attest)
{
    struct avow_quote q;
    struct avow_bytes pieces[24];
    uint8_t got[32];
    assert_int_equal(avow_quote_parse(attest, &q, NULL), AVOW_OK);
    for (unsigned i = 0; i < 24; i++)
        pieces[i] = avow_bytes_make(i == 10 ? h->pcr10 : h->pcrs.values[i], 32);
    avow_sha256_pieces(pieces, 24, got);
    return avow_bytes_eq(q.pcr_digest, AVOW_BYTES_OF(got));
}

/* Runs a round, checks every record, commits. `proven`: the entries must explain the quote. */
static struct seen attest(struct host *h, const struct avow_attest_ask *given, bool proven)
{
    static struct avow_arena arena; /* the body of the last round borrows from it */
    static struct avow_buf head, body;
    struct avow_attest_ask ask = *given;
    struct avow_attest_result res;
    struct avow_err err = {.rc = AVOW_OK};
    struct seen seen = {.parts = 0};
    struct avow_evidence e;
    ask.fleet = fleet;
    ask.nonce = nonce;
    ask.epoch = 7;
    avow_arena_deinit(&arena);
    avow_arena_init(&arena, 1u << 20);
    avow_buf_deinit(&head);
    avow_buf_deinit(&body);
    avow_buf_init(&head, PARTS_BUF);
    avow_buf_init(&body, 65536);
    if (avow_attest_run(h->attest, &ask, &res, &err))
        fail_msg("%s", err.msg);
    bool done = true;
    assert_int_equal(avow_attest_next_record(h->attest, &head, &done, NULL), AVOW_OK);
    assert_false(done);
    assert_int_equal(avow_evidence_decode(avow_buf_bytes(&head), &arena, &e, NULL), AVOW_OK);
    check_quote(h, &e);
    assert_int_equal(avow_body_decode(e.body, &arena, &seen.body, NULL), AVOW_OK);
    take_pcrs(h, &seen);
    if (!seen.body.ima_start)
        memset(h->pcr10, 0, 32);
    uint8_t expect[32];
    if (seen.body.parts) {
        check_link(seen.body.link, e.part, e.has_next ? e.next : NULL);
        read_part(h, e.part, &seen);
        memcpy(expect, e.next, 32);
    } else {
        assert_int_equal(e.part.len, 0);
        assert_false(seen.body.has_link);
    }
    for (;;) {
        struct avow_buf record;
        struct avow_evidence_part p;
        avow_buf_init(&record, PARTS_BUF);
        assert_int_equal(avow_attest_next_record(h->attest, &record, &done, &err), AVOW_OK);
        if (!done) {
            assert_int_equal(avow_evidence_part_decode(avow_buf_bytes(&record), &arena, &p, NULL),
                             AVOW_OK);
            assert_int_equal(p.index, seen.parts + 1);
            check_link(expect, p.part, p.has_next ? p.next : NULL);
            read_part(h, p.part, &seen);
            memcpy(expect, p.next, 32);
        }
        avow_buf_deinit(&record);
        if (done)
            break;
    }
    assert_int_equal(seen.parts, seen.body.parts);
    assert_int_equal(seen.entries, seen.body.ima_count);
    assert_int_equal(res.start, seen.body.ima_start);
    assert_int_equal(res.end, seen.body.ima_start + seen.body.ima_count);
    assert_int_equal(res.more, seen.body.more);
    assert_int_equal(explained(h, e.attest), proven);
    avow_attest_commit(h->attest);
    return seen;
}

static const struct avow_attest_ask all = {.boot_log = true, .pcrs = true};

/* --- Tests --- */

static int fresh_boot(void **state)
{
    (void)state;
    swtpm_rig_reboot(&rig);
    swtpm_rig_ima_init(&rig);
    return swtpm_rig_sh(&rig, "rm -f uefi");
}

static void test_first_round__everything_then_only_what_is_new(void **state)
{
    (void)state;
    struct host h;
    host_open(&h, AVOW_ATTEST_PART_BYTES, 1);
    swtpm_rig_ima_add(&rig, "/usr/bin/one");
    struct seen s = attest(&h, &all, true);
    assert_int_equal(s.entries, 2);
    assert_int_equal(s.pcrs, 23);
    assert_int_equal(s.body.version, 1);
    assert_int_equal(s.body.epoch, 7);
    assert_int_equal(s.body.bank, AVOW_HASH_ALG_SHA256);
    assert_int_equal(s.body.ima_state, AVOW_IMA_STATE_PRESENT);
    assert_false(s.body.more);
    assert_false(s.body.has_boot_log);
    assert_false(s.body.log_trimmed);
    s = attest(&h, &(struct avow_attest_ask){.from = 2}, true); /* steady: no part at all */
    assert_int_equal(s.parts, 0);
    assert_int_equal(s.pcrs, 0);
    swtpm_rig_ima_add(&rig, "/usr/bin/two");
    s = attest(&h, &(struct avow_attest_ask){.from = 2}, true);
    assert_int_equal(s.body.ima_start, 2);
    assert_int_equal(s.entries, 1);
    host_close(&h);
}

static void test_many_parts__chain_and_replay(void **state)
{
    (void)state;
    struct host h;
    host_open(&h, 400, 6);
    for (int i = 0; i < 12; i++)
        swtpm_rig_ima_add(&rig, "/usr/bin/x");
    struct seen s = attest(&h, &all, true);
    assert_int_equal(s.entries, 13);
    assert_in_range(s.parts, 4, 6);
    assert_false(s.body.more);
    host_close(&h);
    host_open(&h, 400, 2); /* more than one evidence carries */
    s = attest(&h, &all, false);
    assert_true(s.body.more);
    assert_int_equal(s.parts, 2);
    uint64_t next = s.entries;
    while (s.body.more) {
        s = attest(&h, &(struct avow_attest_ask){.from = next}, next + 6 >= 13);
        assert_int_equal(s.body.ima_start, next);
        next += s.entries;
    }
    assert_int_equal(next, 13);
    host_close(&h);
}

static void test_boot_log__with_the_first_and_on_demand(void **state)
{
    (void)state;
    struct host h;
    assert_int_equal(swtpm_rig_sh(&rig, "head -c 5000 /dev/zero >uefi"), 0);
    host_open(&h, AVOW_ATTEST_PART_BYTES, 1);
    struct seen s = attest(&h, &(struct avow_attest_ask){.from = 0},
                           true); /* nobody asked: the workers have none */
    assert_int_equal(s.boot_log_len, 5000);
    assert_int_equal(s.entries, 1);
    s = attest(&h, &(struct avow_attest_ask){.from = 1}, true);
    assert_int_equal(s.boot_log_len, 0);
    s = attest(&h, &(struct avow_attest_ask){.from = 1, .boot_log = true}, true);
    assert_int_equal(s.boot_log_len, 5000);
    assert_int_equal(s.parts, 1);
    assert_int_equal(swtpm_rig_sh(&rig, "tpm2_pcrextend 7:sha256=$(printf '00%.0s' $(seq 32))"), 0);
    s = attest(&h, &(struct avow_attest_ask){.from = 1}, true); /* a boot PCR moved */
    assert_int_equal(s.boot_log_len, 5000);
    assert_int_equal(s.pcrs, 1);
    host_close(&h);
}

static void test_boot_log__too_large_for_company__goes_alone_with_more(void **state)
{
    (void)state;
    struct host h;
    assert_int_equal(swtpm_rig_sh(&rig, "head -c 600000 /dev/zero >uefi"), 0);
    host_open(&h, AVOW_ATTEST_PART_BYTES, 1);
    struct seen s = attest(&h, &all, false);
    assert_int_equal(s.boot_log_len, 600000);
    assert_int_equal(s.entries, 0);
    assert_true(s.body.more);
    s = attest(&h, &(struct avow_attest_ask){.from = 0}, true);
    assert_int_equal(s.entries, 1);
    assert_int_equal(s.boot_log_len, 0);
    host_close(&h);
    host_open(&h, AVOW_ATTEST_PART_BYTES, 2); /* in company of a further part */
    s = attest(&h, &all, true);
    assert_int_equal(s.boot_log_len, 600000);
    assert_int_equal(s.parts, 2);
    assert_int_equal(s.entries, 1);
    assert_false(s.body.more);
    s = attest(&h, &(struct avow_attest_ask){.from = 1, .boot_log = true}, true);
    assert_int_equal(s.parts, 1);
    assert_int_equal(s.boot_log_len, 600000);
    assert_false(s.body.more); /* there is nothing behind the log */
    assert_int_equal(swtpm_rig_sh(&rig, "head -c 1000000 /dev/zero >uefi"),
                     0); /* over the limit: without it */
    s = attest(&h, &all, true);
    assert_int_equal(s.boot_log_len, 0);
    assert_false(s.body.has_boot_log);
    host_close(&h);
}

/* PCR 23 is resettable: something changes it between two rounds, so the cache is stale when the
 * quote is made. */
static void test_static_pcr_changed__is_in_the_body_of_that_round(void **state)
{
    (void)state;
    struct host h;
    host_open(&h, AVOW_ATTEST_PART_BYTES, 1);
    (void)attest(&h, &all, true);
    assert_int_equal(swtpm_rig_sh(&rig, "tpm2_pcrextend 23:sha256=$(printf '11%.0s' $(seq 32))"),
                     0);
    struct seen s = attest(&h, &(struct avow_attest_ask){.from = 1}, true);
    assert_int_equal(s.pcrs, 1);
    assert_int_equal(s.body.pcrs[0].index, 23);
    host_close(&h);
}

static void test_reboot_under_the_agent__starts_over(void **state)
{
    (void)state;
    struct host h;
    host_open(&h, AVOW_ATTEST_PART_BYTES, 1);
    for (int i = 0; i < 3; i++)
        swtpm_rig_ima_add(&rig, "/usr/bin/x");
    (void)attest(&h, &all, true);
    swtpm_rig_reboot(&rig);
    swtpm_rig_ima_init(&rig);
    struct seen s = attest(&h, &(struct avow_attest_ask){.from = 4}, true);
    assert_int_equal(s.body.ima_start, 0);
    assert_int_equal(s.entries, 1);
    assert_int_equal(s.pcrs, 23);
    host_close(&h);
}

/* Rigs without a real reboot change the boot id together with the TPM (R7); a kexec changes it
 * alone. */
static void test_boot_id_changed_alone__starts_over(void **state)
{
    (void)state;
    struct host h;
    host_open(&h, AVOW_ATTEST_PART_BYTES, 1);
    swtpm_rig_ima_add(&rig, "/usr/bin/x");
    struct seen s = attest(&h, &all, true);
    uint8_t first[16];
    memcpy(first, s.body.boot_id, sizeof first);
    assert_int_equal(swtpm_rig_sh(&rig, "cat /proc/sys/kernel/random/uuid >boot_id"), 0);
    s = attest(&h, &(struct avow_attest_ask){.from = 2}, true);
    assert_memory_not_equal(first, s.body.boot_id, sizeof first);
    assert_int_equal(s.body.ima_start, 0);
    assert_int_equal(s.entries, 2);
    assert_int_equal(s.pcrs, 23);
    host_close(&h);
}

static void test_list_replaced__same_boot_id__starts_over(void **state)
{
    (void)state;
    struct host h;
    host_open(&h, AVOW_ATTEST_PART_BYTES, 1);
    swtpm_rig_ima_add(&rig, "/usr/bin/x");
    (void)attest(&h, &all, true);
    assert_int_equal(swtpm_rig_sh(&rig, "cp boot_id keep"), 0);
    swtpm_rig_reboot(&rig);
    assert_int_equal(swtpm_rig_sh(&rig, "cp keep boot_id"), 0);
    swtpm_rig_ima_init(&rig);
    struct seen s = attest(&h, &(struct avow_attest_ask){.from = 2}, true);
    assert_int_equal(s.body.ima_start, 0);
    assert_int_equal(s.entries, 1);
    host_close(&h);
}

static void test_no_ima__is_absent_and_pcr_10_is_static(void **state)
{
    (void)state;
    struct host h;
    struct avow_attest_ask ask = all;
    struct avow_attest_result res;
    struct avow_buf record;
    struct avow_arena arena;
    struct avow_evidence e;
    struct avow_body b;
    bool done;
    uint64_t count = 9;
    host_open(&h, AVOW_ATTEST_PART_BYTES, 1);
    assert_int_equal(swtpm_rig_sh(&rig, "rm list list.count"), 0);
    ask.fleet = fleet;
    ask.nonce = nonce;
    assert_int_equal(avow_attest_log_count(h.attest, &count, NULL), AVOW_OK);
    assert_int_equal(count, 0);
    assert_int_equal(avow_attest_run(h.attest, &ask, &res, NULL), AVOW_OK);
    avow_buf_init(&record, PARTS_BUF);
    avow_arena_init(&arena, 1u << 20);
    assert_int_equal(avow_attest_next_record(h.attest, &record, &done, NULL), AVOW_OK);
    assert_int_equal(avow_evidence_decode(avow_buf_bytes(&record), &arena, &e, NULL), AVOW_OK);
    assert_int_equal(avow_body_decode(e.body, &arena, &b, NULL), AVOW_OK);
    assert_int_equal(b.ima_state, AVOW_IMA_STATE_ABSENT);
    assert_int_equal(b.pcrs_count, 24);
    assert_int_equal(b.parts, 0);
    assert_false(b.more);
    avow_attest_discard(h.attest);
    avow_arena_deinit(&arena);
    avow_buf_deinit(&record);
    host_close(&h);
}

static void test_list_altered_between_the_readings__is_not_sent(void **state)
{
    (void)state;
    struct host h;
    struct avow_attest_ask ask = all;
    struct avow_attest_result res;
    struct avow_buf record;
    bool done = false;
    host_open(&h, 300, 4);
    for (int i = 0; i < 6; i++)
        swtpm_rig_ima_add(&rig, "/usr/bin/x");
    ask.fleet = fleet;
    ask.nonce = nonce;
    assert_int_equal(avow_attest_run(h.attest, &ask, &res, NULL), AVOW_OK);
    assert_true(res.parts > 2);
    avow_buf_init(&record, PARTS_BUF);
    assert_int_equal(avow_attest_next_record(h.attest, &record, &done, NULL), AVOW_OK);
    /* in place, same length: "/usr/bin/x" becomes "/usr/bin/y" in the last entry */
    assert_int_equal(
        swtpm_rig_sh(
            &rig, "s=$(stat -c %s list); printf y | dd of=list bs=1 seek=$((s - 2)) conv=notrunc"),
        0);
    enum avow_rc rc = AVOW_OK;
    while (!rc && !done) {
        avow_buf_reset(&record);
        rc = avow_attest_next_record(h.attest, &record, &done, NULL);
    }
    assert_int_equal(rc, AVOW_STATE);
    avow_attest_discard(h.attest);
    avow_buf_deinit(&record);
    host_close(&h);
}

static int group_start(void **state)
{
    (void)state;
    return swtpm_rig_start(&rig);
}

static int group_stop(void **state)
{
    (void)state;
    swtpm_rig_stop(&rig);
    return 0;
}

#define TEST(f) cmocka_unit_test_setup(f, fresh_boot)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_first_round__everything_then_only_what_is_new),
        TEST(test_many_parts__chain_and_replay),
        TEST(test_boot_log__with_the_first_and_on_demand),
        TEST(test_boot_log__too_large_for_company__goes_alone_with_more),
        TEST(test_static_pcr_changed__is_in_the_body_of_that_round),
        TEST(test_reboot_under_the_agent__starts_over),
        TEST(test_boot_id_changed_alone__starts_over),
        TEST(test_list_replaced__same_boot_id__starts_over),
        TEST(test_no_ima__is_absent_and_pcr_10_is_static),
        TEST(test_list_altered_between_the_readings__is_not_sent),
    };
    return cmocka_run_group_tests(tests, group_start, group_stop);
}
