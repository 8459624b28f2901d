#include "host.h"

#include "avow/formats/quote.h"
#include "avow/formats/tpm_public.h"
#include "avow/model/model.h"
#include "avow/wire/body.h"
#include "avow/wire/evidence.h"

#include <string.h>

#include "avow/base/banned.h"

#define IMA_PCR 10u
#define ALL_PCRS 24u
#define ATTEST_MAX 512u

void avow_load_host_init(struct avow_load_host *h, const char *id, const struct avow_load_key *key)
{
    *h = (struct avow_load_host){.key = key};
    (void)avow_str_copy(h->id, sizeof h->id, avow_str_from(id));
    avow_buf_init(&h->list, AVOW_LOAD_LIST_MAX);
}

void avow_load_host_deinit(struct avow_load_host *h)
{
    avow_buf_deinit(&h->list);
}

/* --- The measurement list (linux v6.6 ima_fs.c, ima_template_lib.c: d-ng, n-ng) --- */

static void put_field(struct avow_buf *b, struct avow_bytes field)
{
    uint8_t len[4];
    avow_put_u32le(len, (uint32_t)field.len);
    avow_buf_put(b, len, sizeof len);
    avow_buf_put(b, field.ptr, field.len);
}

static void put_data(struct avow_buf *data, const uint8_t digest[32], const char *path)
{
    static const uint8_t prefix[8] = "sha256:"; /* with its NUL */
    uint8_t d_ng[sizeof prefix + 32];
    memcpy(d_ng, prefix, sizeof prefix);
    memcpy(d_ng + sizeof prefix, digest, 32);
    put_field(data, AVOW_BYTES_OF(d_ng));
    put_field(data, avow_bytes_make(path, strlen(path) + 1));
}

static void put_entry(struct avow_buf *list, struct avow_bytes data)
{
    struct avow_digest sha1;
    uint8_t pcr[4];
    avow_put_u32le(pcr, IMA_PCR);
    avow_digest(AVOW_HASH_SHA1, data, &sha1);
    avow_buf_put(list, pcr, sizeof pcr);
    avow_buf_put(list, sha1.bytes, sha1.len);
    put_field(list, avow_bytes_make("ima-ng", 6));
    put_field(list, data);
}

static void extend(uint8_t pcr[32], const uint8_t digest[32])
{
    const struct avow_bytes pieces[] = {avow_bytes_make(pcr, 32), avow_bytes_make(digest, 32)};
    avow_sha256_pieces(pieces, 2, pcr);
}

static enum avow_rc measure(struct avow_load_host *h, const uint8_t digest[32], const char *path,
                            struct avow_err *err)
{
    AVOW_CLEANUP_VAL(avow_buf_deinit) struct avow_buf data;
    uint8_t extension[32];
    avow_buf_init(&data, 1024);
    if (h->entries == AVOW_LOAD_ENTRIES_MAX)
        return avow_err_set(err, AVOW_LIMIT, 0, "%s: more than %u entries in one boot", h->id,
                            AVOW_LOAD_ENTRIES_MAX);
    put_data(&data, digest, path);
    put_entry(&h->list, avow_buf_bytes(&data));
    enum avow_rc rc = avow_buf_status(&data, err);
    if (!rc)
        rc = avow_buf_status(&h->list, err);
    if (rc)
        return rc;
    avow_sha256(avow_buf_bytes(&data), extension);
    extend(h->pcr[IMA_PCR], extension);
    h->offsets[++h->entries] = h->list.len;
    return AVOW_OK;
}

enum avow_rc avow_load_host_boot(struct avow_load_host *h, struct avow_err *err)
{
    struct avow_bytes firmware[10];
    uint8_t aggregate[32];
    memset(h->pcr, 0, sizeof h->pcr);
    memset(h->pcr[17], 0xFF, 6 * sizeof h->pcr[0]); /* no dynamic launch */
    for (uint8_t i = 0; i < 10; i++) {
        avow_sha256(avow_bytes_make(&i, 1), h->pcr[i]);
        firmware[i] = avow_bytes_make(h->pcr[i], 32);
    }
    avow_sha256_pieces(firmware, 10, aggregate);
    avow_buf_reset(&h->list);
    h->entries = h->next = 0;
    h->send_pcrs = true;
    h->reset_count++;
    avow_put_u32be(h->boot_id, h->reset_count);
    enum avow_rc rc = measure(h, aggregate, "boot_aggregate", err);
    return rc ? rc : avow_load_host_run(h, false, err);
}

enum avow_rc avow_load_host_run(struct avow_load_host *h, bool tampered, struct avow_err *err)
{
    uint8_t digest[32];
    avow_sha256(avow_bytes_make(AVOW_LOAD_PATH, sizeof AVOW_LOAD_PATH - 1), digest);
    if (tampered)
        digest[0] ^= 1;
    return measure(h, digest, AVOW_LOAD_PATH, err);
}

/* --- The evidence (PROTOCOL B4) --- */

struct evidence {
    struct avow_buf part, body, attest;
    uint8_t part_sha256[32];
};

static void evidence_init(struct evidence *e)
{
    avow_buf_init(&e->part, AVOW_LOAD_LIST_MAX + 16);
    avow_buf_init(&e->body, 4096);
    avow_buf_init(&e->attest, ATTEST_MAX);
}

static void evidence_deinit(struct evidence *e)
{
    avow_buf_deinit(&e->part);
    avow_buf_deinit(&e->body);
    avow_buf_deinit(&e->attest);
}

static enum avow_rc put_part(const struct avow_load_host *h, struct evidence *e,
                             struct avow_err *err)
{
    size_t from = h->offsets[h->next], len = h->list.len - from;
    if (len) {
        avow_buf_put_u8(&e->part, 1); /* IMA entries */
        avow_buf_put_u32be(&e->part, (uint32_t)len);
        avow_buf_put(&e->part, h->list.ptr + from, len);
    }
    return avow_buf_status(&e->part, err);
}

static void static_digest(const struct avow_load_host *h, uint8_t out[32])
{
    struct avow_bytes values[ALL_PCRS];
    for (size_t i = 0; i < ALL_PCRS; i++)
        values[i] = avow_bytes_make(h->pcr[i], i == IMA_PCR ? 0 : 32);
    avow_sha256_pieces(values, ALL_PCRS, out);
}

static enum avow_rc put_body(const struct avow_load_host *h, const struct avow_load_marker *m,
                             struct evidence *e, struct avow_err *err)
{
    static const uint8_t zeros[32];
    struct avow_pcr_value pcrs[ALL_PCRS];
    uint8_t digest[32];
    struct avow_body b = {.version = 1,
                          .epoch = m->epoch,
                          .agent_version = AVOW_STR_LIT("loadgen"),
                          .bank = AVOW_HASH_ALG_SHA256,
                          .ima_state = AVOW_IMA_STATE_PRESENT,
                          .ima_start = h->next,
                          .ima_count = (uint32_t)(h->entries - h->next),
                          .pcrs = pcrs};
    avow_sha256(AVOW_BYTES_OF(m->nonce), digest);
    memcpy(b.marker_tag, digest, sizeof b.marker_tag);
    memcpy(b.boot_id, h->boot_id, sizeof b.boot_id);
    for (uint16_t i = 0; i < ALL_PCRS && h->send_pcrs; i++) {
        if (i != IMA_PCR)
            pcrs[b.pcrs_count++] =
                (struct avow_pcr_value){i, avow_bytes_make(h->pcr[i], sizeof h->pcr[i])};
    }
    static_digest(h, b.pcr_static);
    if (e->part.len) {
        const struct avow_bytes pieces[] = {AVOW_BYTES_OF(digest), AVOW_BYTES_OF(zeros)};
        avow_sha256(avow_buf_bytes(&e->part), digest);
        avow_sha256_pieces(pieces, 2, b.link);
        b.has_link = true;
        b.parts = 1;
    }
    return avow_body_encode(&b, &e->body, err);
}

static void qualifying_data(const struct avow_load_host *h, const uint8_t fleet[16],
                            const uint8_t nonce[32], struct avow_bytes body, uint8_t out[32])
{
    static const uint8_t domain[16] = "avow/evidence/1"; /* with its NUL */
    uint8_t body_sha256[32], id_len[2];
    avow_sha256(body, body_sha256);
    avow_put_u16be(id_len, (uint16_t)strlen(h->id));
    const struct avow_bytes pieces[] = {
        AVOW_BYTES_OF(domain),      avow_bytes_make(fleet, 16),
        AVOW_BYTES_OF(id_len),      avow_bytes_make(h->id, strlen(h->id)),
        avow_bytes_make(nonce, 32), AVOW_BYTES_OF(body_sha256)};
    avow_sha256_pieces(pieces, AVOW_ARRAY_LEN(pieces), out);
}

/* TPM 2.0 Part 2 r1.38, 10.12.8 TPMS_ATTEST. */
static enum avow_rc put_attest(const struct avow_load_host *h, const uint8_t extra[32],
                               struct avow_buf *b, struct avow_err *err)
{
    struct avow_bytes values[ALL_PCRS];
    uint8_t digest[32];
    for (size_t i = 0; i < ALL_PCRS; i++)
        values[i] = avow_bytes_make(h->pcr[i], sizeof h->pcr[i]);
    avow_sha256_pieces(values, ALL_PCRS, digest);
    avow_buf_put_u32be(b, AVOW_TPM_GENERATED);
    avow_buf_put_u16be(b, AVOW_ST_ATTEST_QUOTE);
    avow_buf_put_u16be(b, (uint16_t)h->key->signer.len);
    avow_buf_put(b, h->key->signer.bytes, h->key->signer.len);
    avow_buf_put_u16be(b, 32);
    avow_buf_put(b, extra, 32);
    avow_buf_put_u64be(b, h->last_clock);
    avow_buf_put_u32be(b, h->reset_count);
    avow_buf_put_u32be(b, 0); /* restart count */
    avow_buf_put_u8(b, 1);    /* safe */
    avow_buf_put_u64be(b, 1); /* firmware version */
    avow_buf_put_u32be(b, 1); /* one bank, all PCRs */
    avow_buf_put_u16be(b, AVOW_HASH_SHA256);
    avow_buf_put(b, "\x03\xFF\xFF\xFF", 4);
    avow_buf_put_u16be(b, sizeof digest);
    avow_buf_put(b, digest, sizeof digest);
    return avow_buf_status(b, err);
}

static enum avow_rc build(struct avow_load_host *h, const uint8_t fleet[16],
                          const struct avow_load_marker *m, struct evidence *e,
                          struct avow_buf *out, struct avow_err *err)
{
    uint8_t extra[32], signature[AVOW_LOAD_SIGNATURE_MAX];
    size_t signature_len = 0;
    enum avow_rc rc = put_part(h, e, err);
    if (!rc)
        rc = put_body(h, m, e, err);
    if (rc)
        return rc;
    qualifying_data(h, fleet, m->nonce, avow_buf_bytes(&e->body), extra);
    rc = put_attest(h, extra, &e->attest, err);
    if (!rc)
        rc = avow_load_key_sign(h->key, avow_buf_bytes(&e->attest), signature, &signature_len, err);
    if (rc)
        return rc;
    struct avow_evidence v = {.kind = AVOW_AGENT_KIND_AVOW,
                              .attest = avow_buf_bytes(&e->attest),
                              .signature = avow_bytes_make(signature, signature_len),
                              .body = avow_buf_bytes(&e->body),
                              .part = avow_buf_bytes(&e->part)};
    return avow_evidence_encode(&v, out, err);
}

enum avow_rc avow_load_host_attest(struct avow_load_host *h, const uint8_t fleet[16],
                                   const struct avow_load_marker *m, uint64_t clock_ms,
                                   struct avow_buf *out, uint64_t *end, struct avow_err *err)
{
    struct evidence e;
    h->last_clock = clock_ms > h->last_clock ? clock_ms : h->last_clock + 1;
    evidence_init(&e);
    enum avow_rc rc = build(h, fleet, m, &e, out, err);
    evidence_deinit(&e);
    if (rc)
        return avow_err_wrap(err, rc, "evidence of %s", h->id);
    *end = h->entries;
    return AVOW_OK;
}
