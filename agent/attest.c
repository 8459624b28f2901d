#include "attest.h"

#include "avow/base/cli.h"
#include "avow/base/clock.h"
#include "avow/base/file.h"
#include "avow/base/hex.h"
#include "avow/base/log.h"
#include "avow/formats/ima_list.h"
#include "avow/formats/quote.h"
#include "avow/wire/body.h"
#include "sources/uefi_reader.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "avow/base/banned.h"

#define BODY_VERSION 1u
#define BODY_MAX 65536u
#define TRIES 3u /* B3.1 step 5f */
#define BOOT_PCRS 8u
#define ALL_COUNT UINT32_MAX

struct part { /* of the evidence in flight; the bytes of part 1 only are kept, until it is sent */
    struct avow_ima_pos from;
    uint32_t count;
    uint8_t sha256[32];
    uint8_t link[32];
};

struct draft {
    bool ready;
    struct avow_ima_pos start, end;
    struct part parts[AVOW_EVIDENCE_PARTS_MAX];
    size_t parts_count;
    size_t next_record;
    size_t bytes;
    bool more, trimmed, absent;
    bool has_boot_log;
    uint8_t boot_log[32];
    uint8_t boot_id[16];
    struct avow_pcr_bank pcrs;
    struct avow_buf first, body, attest, signature;
};

struct avow_attest {
    struct avow_attest_opts o;
    struct avow_ima_reader *ima; /* NULL: not configured */
    struct avow_held_file uefi;  /* path NULL: not configured */
    enum avow_hash bank;
    bool bank_known;
    bool pcrs_read;
    struct avow_pcr_bank pcrs; /* as last read */
    bool acked;                /* the workers have what follows */
    struct avow_pcr_bank acked_pcrs;
    uint8_t acked_boot_id[16];
    struct avow_ima_pos acked_pos;
    uint64_t clock; /* of the last quote */
    bool clock_known;
    uint64_t size_read; /* a list without a count: its size when it was last read, and the entry
                           after it */
    uint64_t size_end;
    struct draft d;
};

static void draft_reset(struct draft *d)
{
    d->ready = false;
    d->parts_count = d->next_record = d->bytes = 0;
    d->more = d->trimmed = d->absent = d->has_boot_log = false;
    /* One large evidence (the first) must not hold its memory for ever. */
    avow_buf_deinit(&d->first);
    avow_buf_reset(&d->body);
    avow_buf_reset(&d->attest);
    avow_buf_reset(&d->signature);
}

/* A list that is not there is said to be absent in the evidence; one that we may not read would be
 * the same by mistake. */
static enum avow_rc open_sources(struct avow_attest *a, struct avow_err *err)
{
    struct avow_err why = {.rc = AVOW_OK};
    enum avow_rc rc = AVOW_OK;
    bool changed = false;
    if (*a->o.ima_log) {
        rc = avow_ima_reader_new(a->o.ima_log, &a->ima, err);
        if (rc)
            return rc;
        rc = avow_ima_reader_open(a->ima, &why);
        if (rc == AVOW_NOTFOUND)
            avow_log(WARN, "ima.absent", AVOW_KV_ERR(&why),
                     AVOW_KV_STR("next", "agent.ima_log: is securityfs mounted, has the kernel an "
                                         "IMA policy? Evidence says that there is no list"));
        else if (rc)
            return avow_err_set(err, rc, why.native, "agent.ima_log: %s", why.msg);
    }
    if (!*a->o.uefi_log)
        return AVOW_OK;
    rc = avow_held_init(&a->uefi, a->o.uefi_log, err);
    if (!rc)
        rc = avow_held_look(&a->uefi, &changed, &why);
    if (rc && rc != AVOW_NOTFOUND)
        return avow_err_set(err, rc, why.native, "agent.uefi_log: %s", why.msg);
    return AVOW_OK;
}

enum avow_rc avow_attest_new(const struct avow_attest_opts *opts, struct avow_attest **out,
                             struct avow_err *err)
{
    assert(opts->parts_max >= 1 && opts->parts_max <= AVOW_EVIDENCE_PARTS_MAX);
    AVOW_CLEANUP(avow_attest_free) struct avow_attest *a = calloc(1, sizeof *a);
    if (!a)
        return avow_err_set(err, AVOW_NOMEM, 0, "attestation");
    a->o = *opts;
    a->uefi.fd = -1;
    avow_buf_init(&a->d.first, AVOW_EVIDENCE_PART_MAX);
    avow_buf_init(&a->d.body, BODY_MAX);
    avow_buf_init(&a->d.attest, AVOW_ATTEST_MAX);
    avow_buf_init(&a->d.signature, AVOW_SIGNATURE_MAX);
    if (!avow_cstr_eq(opts->bank, "auto")) {
        if (!avow_hash_from_name(avow_str_from(opts->bank), &a->bank))
            return avow_err_set(err, AVOW_CONFIG, 0, "tpm.bank: unknown hash \"%s\"", opts->bank);
        a->bank_known = true;
    }
    enum avow_rc rc = open_sources(a, err);
    if (rc)
        return rc;
    *out = AVOW_STEAL(a);
    return AVOW_OK;
}

void avow_attest_free(struct avow_attest *a)
{
    if (!a)
        return;
    avow_ima_reader_free(a->ima);
    avow_held_deinit(&a->uefi);
    avow_buf_deinit(&a->d.first);
    avow_buf_deinit(&a->d.body);
    avow_buf_deinit(&a->d.attest);
    avow_buf_deinit(&a->d.signature);
    free(a);
}

void avow_attest_set_limits(struct avow_attest *a, size_t part_bytes, size_t parts_max)
{
    assert(parts_max >= 1 && parts_max <= AVOW_EVIDENCE_PARTS_MAX);
    a->o.part_bytes = part_bytes;
    a->o.parts_max = parts_max;
}

/* --- What the host says --- */

enum avow_rc avow_attest_boot_id(const struct avow_attest *a, uint8_t out[16], struct avow_err *err)
{
    AVOW_CLEANUP_VAL(avow_buf_deinit) struct avow_buf text;
    avow_buf_init(&text, 64);
    enum avow_rc rc = avow_file_read(a->o.boot_id_file, &text, err);
    if (rc)
        return avow_err_wrap(err, rc, "boot id");
    char hex[33];
    size_t n = 0;
    for (size_t i = 0; i < text.len && n < sizeof hex; i++)
        if (text.ptr[i] != '-' && text.ptr[i] != '\n')
            hex[n++] = (char)text.ptr[i];
    if (n != 32 || !avow_hex_decode(out, 16, (struct avow_str){hex, 32}))
        return avow_err_set(err, AVOW_PARSE, 0, "%s: not a UUID", a->o.boot_id_file);
    return AVOW_OK;
}

enum avow_rc avow_attest_log_count(struct avow_attest *a, uint64_t *out, struct avow_err *err)
{
    bool exact = true;
    *out = 0;
    if (!a->ima)
        return AVOW_OK;
    uint64_t count = 0;
    enum avow_rc rc = avow_ima_reader_count(a->ima, &count, &exact, err);
    if (rc == AVOW_NOTFOUND)
        return AVOW_OK;
    if (rc)
        return rc;
    *out = exact ? count : a->size_end + (count != a->size_read);
    return AVOW_OK;
}

/* --- PCRs --- */

static enum avow_hash_alg alg_of(enum avow_hash h)
{
    switch (h) {
    case AVOW_HASH_SHA1:
        return AVOW_HASH_ALG_SHA1;
    case AVOW_HASH_SHA256:
        return AVOW_HASH_ALG_SHA256;
    case AVOW_HASH_SHA384:
        return AVOW_HASH_ALG_SHA384;
    case AVOW_HASH_SHA512:
        return AVOW_HASH_ALG_SHA512;
    }
    assert(false); /* the caller took it from the table of hashes */
    return AVOW_HASH_ALG_SHA256;
}

static enum avow_rc need_bank(struct avow_attest *a, struct avow_err *err)
{
    if (a->bank_known)
        return AVOW_OK;
    struct avow_tpm_banks banks;
    enum avow_rc rc = avow_tpm_banks_read(a->o.tpm, &banks, err);
    if (rc)
        return rc;
    if (!avow_tpm_bank_best(&banks, &a->bank))
        return avow_err_set(err, AVOW_NOTFOUND, 0,
                            "the TPM has no PCR bank that is allocated in full");
    a->bank_known = true;
    return AVOW_OK;
}

static enum avow_rc read_pcrs(struct avow_attest *a, struct avow_pcr_bank *out,
                              struct avow_err *err)
{
    struct avow_tpm_pcrs got;
    enum avow_rc rc = need_bank(a, err);
    if (!rc)
        rc = avow_tpm_pcr_read(a->o.tpm, a->bank, &got, err);
    if (rc == AVOW_NOTFOUND && avow_cstr_eq(a->o.bank, "auto"))
        a->bank_known = false; /* the firmware may have changed the banks: look again next time */
    if (rc)
        return rc;
    *out = (struct avow_pcr_bank){.alg = alg_of(a->bank), .digest_len = avow_hash_len(a->bank)};
    for (unsigned i = 0; i < AVOW_TPM_PCRS; i++)
        memcpy(out->values[i], got.values[i], out->digest_len);
    return AVOW_OK;
}

static bool boot_pcrs_differ(const struct avow_pcr_bank *a, const struct avow_pcr_bank *b)
{
    if (a->alg != b->alg)
        return true;
    for (unsigned i = 0; i < BOOT_PCRS; i++)
        if (!avow_bytes_eq(avow_bytes_make(a->values[i], a->digest_len),
                           avow_bytes_make(b->values[i], b->digest_len)))
            return true;
    return false;
}

/* --- Parts --- */

/* Begins a frame whose length end_frame fills in; returns where it begins. */
static size_t begin_frame(struct avow_buf *part, enum avow_frame_type type)
{
    size_t at = part->len;
    avow_buf_put_u8(part, (uint8_t)type);
    avow_buf_put_u32be(part, 0);
    return at;
}

static void end_frame(struct avow_buf *part, size_t at)
{
    if (part->failed)
        return;
    size_t len = part->len - at - AVOW_EVIDENCE_FRAME_HEAD;
    if (len)
        avow_put_u32be(part->ptr + at + 1, (uint32_t)len);
    else
        part->len = at; /* nothing to carry */
}

/* Appends a frame of entries to the part. */
static enum avow_rc put_entries(struct avow_attest *a, struct avow_buf *part,
                                struct avow_ima_pos from, uint32_t count_max,
                                struct avow_ima_chunk *chunk, struct avow_err *err)
{
    size_t at = begin_frame(part, AVOW_FRAME_IMA);
    struct avow_ima_want want = {.from = from, .count_max = count_max};
    want.max = part->len < a->o.part_bytes ? a->o.part_bytes - part->len : 0;
    enum avow_rc rc = avow_ima_reader_read(a->ima, &want, part, chunk, err);
    if (rc) {
        if (!part->failed)
            part->len = at;
        return rc;
    }
    end_frame(part, at);
    return avow_buf_status(part, err);
}

/* The log as it is now; a host without one, or with one that is over the limit, sends none. */
static enum avow_rc put_boot_log(struct avow_attest *a, struct draft *d, struct avow_err *err)
{
    if (!a->uefi.path)
        return AVOW_OK;
    size_t at = begin_frame(&d->first, AVOW_FRAME_UEFI);
    struct avow_err why = {.rc = AVOW_OK};
    enum avow_rc rc = avow_uefi_read(&a->uefi, &d->first, &why);
    if (rc) {
        avow_buf_reset(&d->first);
        if (rc == AVOW_NOMEM)
            return avow_err_set(err, rc, 0, "boot log");
        if (rc != AVOW_NOTFOUND)
            avow_log_limited(WARN, "boot_log.unreadable", 6, AVOW_KV_ERR(&why));
        return AVOW_OK;
    }
    end_frame(&d->first, at);
    if (d->first.len == at)
        return AVOW_OK; /* empty file */
    d->has_boot_log = true;
    avow_sha256(avow_bytes_make(d->first.ptr + at + AVOW_EVIDENCE_FRAME_HEAD,
                                d->first.len - at - AVOW_EVIDENCE_FRAME_HEAD),
                d->boot_log);
    return AVOW_OK;
}

static void finish_part(struct draft *d, const struct avow_buf *bytes, struct avow_ima_pos from,
                        uint32_t count)
{
    struct part *p = &d->parts[d->parts_count++];
    p->from = from;
    p->count = count;
    avow_sha256(avow_buf_bytes(bytes), p->sha256);
    d->bytes += bytes->len;
}

/* Part 1: the boot log if asked for, then entries if there is room. */
static enum avow_rc cut_first(struct avow_attest *a, bool boot_log, struct avow_err *err)
{
    struct draft *d = &a->d;
    struct avow_ima_chunk chunk = {.end = d->end};
    enum avow_rc rc = boot_log ? put_boot_log(a, d, err) : AVOW_OK;
    if (rc)
        return rc;
    /* One entry is always taken, and it may be as large as 512 KiB: beside the boot log it has to
     * fit. */
    bool room = !d->first.len || (d->first.len + AVOW_EVIDENCE_FRAME_HEAD < a->o.part_bytes &&
                                  d->first.len + AVOW_EVIDENCE_FRAME_HEAD + AVOW_IMA_ENTRY_MAX <=
                                      AVOW_EVIDENCE_PART_MAX);
    if (!d->absent && room) {
        rc = put_entries(a, &d->first, d->end, ALL_COUNT, &chunk, err);
        if (rc)
            return rc;
    } else {
        chunk.more = !d->absent;
    }
    if (d->first.len)
        finish_part(d, &d->first, d->end, chunk.count);
    d->end = chunk.end;
    d->more = chunk.more;
    d->trimmed = chunk.trimmed;
    return AVOW_OK;
}

static enum avow_rc cut_rest(struct avow_attest *a, struct avow_err *err)
{
    struct draft *d = &a->d;
    AVOW_CLEANUP_VAL(avow_buf_deinit) struct avow_buf part;
    avow_buf_init(&part, AVOW_EVIDENCE_PART_MAX);
    while (d->more && d->parts_count < a->o.parts_max &&
           d->bytes < AVOW_EVIDENCE_BYTES_MAX - AVOW_EVIDENCE_PART_MAX) {
        struct avow_ima_chunk chunk;
        avow_buf_reset(&part);
        enum avow_rc rc = put_entries(a, &part, d->end, ALL_COUNT, &chunk, err);
        if (rc)
            return rc;
        d->more = chunk.more;
        if (!chunk.count)
            break;
        finish_part(d, &part, d->end, chunk.count);
        d->end = chunk.end;
    }
    return AVOW_OK;
}

/* Where the evidence begins. The list may be another one than at the last commit: then at 0. */
static enum avow_rc find_start(struct avow_attest *a, uint64_t from, struct avow_ima_pos *out,
                               struct avow_err *err)
{
    *out = (struct avow_ima_pos){0, 0};
    if (!from)
        return AVOW_OK;
    if (from == a->acked_pos.index) {
        *out = a->acked_pos;
        return AVOW_OK;
    }
    enum avow_rc rc = avow_ima_reader_find(a->ima, from, out, err);
    if (rc == AVOW_STATE) { /* fewer entries than we were told */
        *out = (struct avow_ima_pos){0, 0};
        rc = AVOW_OK;
    }
    return rc;
}

/* False if there is no list at all. */
static bool note_list(struct avow_attest *a)
{
    bool exact = true;
    uint64_t size = 0;
    if (!a->ima)
        return false;
    enum avow_rc rc = avow_ima_reader_count(a->ima, &size, &exact, NULL);
    if (!rc && !exact)
        a->size_read = size;
    return rc != AVOW_NOTFOUND;
}

static enum avow_rc cut_parts(struct avow_attest *a, uint64_t from, bool boot_log,
                              struct avow_err *err)
{
    struct draft *d = &a->d;
    d->absent = !note_list(a); /* before reading: what comes later is seen as a change */
    d->start = (struct avow_ima_pos){0, 0};
    enum avow_rc rc = d->absent ? AVOW_OK : find_start(a, from, &d->start, err);
    for (unsigned i = 0; i < 2; i++) {
        if (!rc) {
            d->end = d->start;
            rc = cut_first(a, boot_log, err);
        }
        if (rc == AVOW_NOTFOUND) {
            d->absent = true;
        } else if (rc == AVOW_STATE && d->start.offset) {
            d->start = (struct avow_ima_pos){0, 0};
        } else {
            break;
        }
        rc = AVOW_OK;
        avow_buf_reset(&d->first);
        d->has_boot_log = false;
    }
    if (!rc)
        rc = cut_rest(a, err);
    a->size_end = d->end.index;
    return rc;
}

/* --- Body and quote --- */

static enum avow_rc put_body(struct avow_attest *a, const struct avow_attest_ask *ask,
                             bool all_pcrs, struct avow_err *err)
{
    struct draft *d = &a->d;
    struct avow_pcr_value changes[AVOW_TPM_PCRS];
    uint8_t nonce_sha256[32], shas[AVOW_EVIDENCE_PARTS_MAX][32], links[AVOW_EVIDENCE_PARTS_MAX][32];
    struct avow_body b = {.version = BODY_VERSION,
                          .epoch = ask->epoch,
                          .agent_version = avow_str_from(avow_version),
                          .bank = a->pcrs.alg,
                          .ima_state = d->absent ? AVOW_IMA_STATE_ABSENT : AVOW_IMA_STATE_PRESENT,
                          .ima_start = d->start.index,
                          .ima_count = (uint32_t)(d->end.index - d->start.index),
                          .log_trimmed = d->trimmed,
                          .pcrs = changes,
                          .has_boot_log = d->has_boot_log,
                          .more = d->more,
                          .parts = (uint16_t)d->parts_count,
                          .has_link = d->parts_count > 0};
    avow_sha256(avow_bytes_make(ask->nonce, 32), nonce_sha256);
    memcpy(b.marker_tag, nonce_sha256, sizeof b.marker_tag);
    memcpy(b.boot_id, d->boot_id, sizeof b.boot_id);
    memcpy(b.boot_log, d->boot_log, sizeof b.boot_log);
    b.pcrs_count =
        avow_evidence_pcr_changes(&a->pcrs, all_pcrs ? NULL : &a->acked_pcrs, b.ima_state, changes);
    avow_evidence_pcr_static(&a->pcrs, b.ima_state, b.pcr_static);
    for (size_t i = 0; i < d->parts_count; i++)
        memcpy(shas[i], d->parts[i].sha256, 32);
    avow_evidence_links((const uint8_t(*)[32])shas, d->parts_count, links);
    for (size_t i = 0; i < d->parts_count; i++)
        memcpy(d->parts[i].link, links[i], 32);
    if (b.has_link)
        memcpy(b.link, links[0], sizeof b.link);
    return avow_body_encode(&b, &d->body, err);
}

/* Quotes until the TPM clock has moved since the last quote: equal order tokens are a replay to the
 * worker (R6). */
static enum avow_rc quote(struct avow_attest *a, const struct avow_attest_ask *ask,
                          struct avow_err *err)
{
    struct draft *d = &a->d;
    uint8_t qualifying[32];
    avow_evidence_qualifying_data(ask->fleet, avow_str_from(a->o.agent_id), ask->nonce,
                                  avow_buf_bytes(&d->body), qualifying);
    for (unsigned i = 0; i < TRIES; i++) {
        struct avow_quote q;
        avow_buf_reset(&d->attest);
        avow_buf_reset(&d->signature);
        enum avow_rc rc =
            avow_tpm_quote(a->o.tpm, a->bank, qualifying, &d->attest, &d->signature, err);
        if (!rc)
            rc = avow_quote_parse(avow_buf_bytes(&d->attest), &q, err);
        if (rc)
            return rc;
        bool moved = !a->clock_known || q.clock != a->clock;
        a->clock = q.clock;
        a->clock_known = true;
        if (moved)
            return AVOW_OK;
    }
    return avow_err_set(err, AVOW_TPM, 0, "the TPM's clock stands still");
}

/* One try of B3.1 step 5. *again: a static PCR changed meanwhile, the evidence describes the past.
 */
static enum avow_rc try_once(struct avow_attest *a, const struct avow_attest_ask *ask, bool *again,
                             struct avow_err *err)
{
    struct draft *d = &a->d;
    draft_reset(d);
    enum avow_rc rc = avow_attest_boot_id(a, d->boot_id, err);
    if (!rc && !a->pcrs_read)
        rc = read_pcrs(a, &a->pcrs, err);
    if (rc)
        return rc;
    a->pcrs_read = true;
    bool new_boot =
        !a->acked || !avow_bytes_eq(AVOW_BYTES_OF(d->boot_id), AVOW_BYTES_OF(a->acked_boot_id));
    bool reboot = a->acked && new_boot;
    bool all_pcrs = ask->pcrs || new_boot;
    bool boot_log = ask->boot_log || new_boot || boot_pcrs_differ(&a->pcrs, &a->acked_pcrs);
    rc = cut_parts(a, reboot ? 0 : ask->from, boot_log, err);
    if (!rc)
        rc = put_body(a, ask, all_pcrs, err);
    if (!rc)
        rc = quote(a, ask, err);
    struct avow_pcr_bank after;
    if (!rc)
        rc = read_pcrs(a, &after, err);
    if (rc)
        return rc;
    d->pcrs = a->pcrs;
    *again = avow_evidence_pcr_static_differs(
        &after, &a->pcrs, d->absent ? AVOW_IMA_STATE_ABSENT : AVOW_IMA_STATE_PRESENT);
    a->pcrs = after;
    return AVOW_OK;
}

static enum avow_rc run(struct avow_attest *a, const struct avow_attest_ask *ask,
                        struct avow_err *err)
{
    enum avow_rc rc = avow_tpm_open(a->o.tpm, err);
    bool again = true;
    for (unsigned i = 0; !rc && again && i < TRIES; i++)
        rc = try_once(a, ask, &again, err);
    avow_tpm_close(a->o.tpm);
    return rc;
}

enum avow_rc avow_attest_run(struct avow_attest *a, const struct avow_attest_ask *ask,
                             struct avow_attest_result *out, struct avow_err *err)
{
    struct draft *d = &a->d;
    uint64_t began = avow_clock_mono_ms();
    struct avow_attest_result res = {0};
    enum avow_rc rc = run(a, ask, err);
    if (!rc)
        rc = avow_attest_log_count(a, &res.log_count, err);
    if (rc) {
        a->pcrs_read = false; /* the TPM may have been reset: trust nothing of before */
        draft_reset(d);
        return rc;
    }
    d->ready = true;
    res.start = d->start.index;
    res.end = d->end.index;
    res.more = d->more;
    res.parts = d->parts_count;
    res.bytes = d->bytes;
    res.boot_log = d->has_boot_log;
    res.quote_ms = avow_clock_mono_ms() - began;
    *out = res;
    return AVOW_OK;
}

/* --- Records --- */

static enum avow_rc put_part(struct avow_attest *a, size_t i, struct avow_buf *record,
                             struct avow_err *err)
{
    const struct draft *d = &a->d;
    const struct part *p = &d->parts[i];
    struct avow_ima_chunk chunk;
    AVOW_CLEANUP_VAL(avow_buf_deinit) struct avow_buf bytes;
    avow_buf_init(&bytes, AVOW_EVIDENCE_PART_MAX);
    enum avow_rc rc = put_entries(a, &bytes, p->from, p->count, &chunk, err);
    if (rc)
        return rc;
    uint8_t sha256[32];
    avow_sha256(avow_buf_bytes(&bytes), sha256);
    if (!avow_bytes_eq(AVOW_BYTES_OF(sha256), AVOW_BYTES_OF(p->sha256)))
        return avow_err_set(err, AVOW_STATE, 0, "the IMA list changed between two readings");
    const struct avow_evidence_tail t = {.attest = avow_buf_bytes(&d->attest),
                                         .index = (uint16_t)(i + 1),
                                         .part = avow_buf_bytes(&bytes),
                                         .next =
                                             i + 1 < d->parts_count ? d->parts[i + 1].link : NULL};
    return avow_evidence_encode_part(&t, record, err);
}

enum avow_rc avow_attest_next_record(struct avow_attest *a, struct avow_buf *record, bool *done,
                                     struct avow_err *err)
{
    struct draft *d = &a->d;
    assert(d->ready);
    size_t i = d->next_record;
    *done = i && i >= d->parts_count;
    if (*done)
        return AVOW_OK;
    enum avow_rc rc;
    if (i) {
        rc = put_part(a, i, record, err);
    } else {
        const struct avow_evidence_head h = {.attest = avow_buf_bytes(&d->attest),
                                             .signature = avow_buf_bytes(&d->signature),
                                             .body = avow_buf_bytes(&d->body),
                                             .part = avow_buf_bytes(&d->first),
                                             .next = d->parts_count > 1 ? d->parts[1].link : NULL};
        rc = avow_evidence_encode_head(&h, record, err);
        if (!rc) /* an attempt that fails begins with another reading */
            avow_buf_deinit(&d->first);
    }
    if (!rc)
        d->next_record++;
    return rc;
}

void avow_attest_commit(struct avow_attest *a)
{
    assert(a->d.ready);
    a->acked = true;
    a->acked_pcrs = a->d.pcrs;
    memcpy(a->acked_boot_id, a->d.boot_id, sizeof a->acked_boot_id);
    a->acked_pos = a->d.end;
    draft_reset(&a->d);
}

void avow_attest_discard(struct avow_attest *a)
{
    draft_reset(&a->d);
}
