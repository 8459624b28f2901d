/* rig.c - see rig.h. */
#include "rig.h"

#include "avow/base/hex.h"
#include "avow/core/evaluate.h"
#include "avow/wire/body.h"
#include "avow/wire/evidence.h"
#include "avow/wire/evidence_part.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "avow/base/banned.h"

#define IMA_PCR 10

static void tpm2b(struct avow_buf *b, const void *p, size_t len)
{
    avow_buf_put_u16be(b, (uint16_t)len);
    avow_buf_put(b, p, len);
}

static void u32le(struct avow_buf *b, uint32_t v)
{
    uint8_t bytes[4];
    avow_put_u32le(bytes, v);
    avow_buf_put(b, bytes, sizeof bytes);
}

/* TPM 2.0 Part 2, 12.2.4 TPMT_PUBLIC: restricted ECDSA P-256 signing key. */
static void make_public(struct rig_agent *a)
{
    struct avow_buf tpmt, out;
    struct avow_bytes spki = avow_privkey_spki(a->ak);
    const uint8_t *xy = spki.ptr + spki.len - 64;
    avow_buf_init(&tpmt, 256);
    avow_buf_init(&out, sizeof a->ak_public);
    avow_buf_put_u16be(&tpmt, 0x0023);     /* ECC */
    avow_buf_put_u16be(&tpmt, 0x000B);     /* nameAlg SHA-256 */
    avow_buf_put_u32be(&tpmt, 0x00050072); /* fixedTPM, fixedParent, sensitiveDataOrigin,
                                              userWithAuth, restricted, sign */
    avow_buf_put_u16be(&tpmt, 0);          /* authPolicy */
    avow_buf_put_u16be(&tpmt, 0x0010);     /* symmetric: null */
    avow_buf_put_u16be(&tpmt, 0x0018);     /* ECDSA */
    avow_buf_put_u16be(&tpmt, 0x000B);
    avow_buf_put_u16be(&tpmt, 0x0003); /* NIST P-256 */
    avow_buf_put_u16be(&tpmt, 0x0010); /* kdf: null */
    tpm2b(&tpmt, xy, 32);
    tpm2b(&tpmt, xy + 32, 32);
    tpm2b(&out, tpmt.ptr, tpmt.len);
    assert(!avow_buf_status(&out, NULL) && out.len <= sizeof a->ak_public);
    memcpy(a->ak_public, out.ptr, out.len);
    a->ak_public_len = out.len;
    avow_buf_deinit(&tpmt);
    avow_buf_deinit(&out);
}

/* Template ima-ng; the list holds the SHA-1 template hash, the SHA-256 bank is extended with the
 * SHA-256 one. */
static void append(struct rig_agent *a, const char *path, const uint8_t digest[32])
{
    struct avow_buf data;
    avow_buf_init(&data, 4096);
    u32le(&data, 8 + 32);
    avow_buf_put(&data, "sha256:", 8);
    avow_buf_put(&data, digest, 32);
    u32le(&data, (uint32_t)strlen(path) + 1);
    avow_buf_put(&data, path, strlen(path) + 1);
    struct avow_digest sha1;
    uint8_t sha256[32];
    avow_digest(AVOW_HASH_SHA1, avow_buf_bytes(&data), &sha1);
    avow_sha256(avow_buf_bytes(&data), sha256);
    u32le(&a->list, IMA_PCR);
    avow_buf_put(&a->list, sha1.bytes, sha1.len);
    u32le(&a->list, 6);
    avow_buf_put_str(&a->list, "ima-ng");
    u32le(&a->list, (uint32_t)data.len);
    avow_buf_put(&a->list, data.ptr, data.len);
    avow_buf_deinit(&data);
    assert(!avow_buf_status(&a->list, NULL) && a->count < RIG_ENTRIES_MAX);
    a->offsets[++a->count] = a->list.len;
    const struct avow_bytes pieces[] = {AVOW_BYTES_OF(a->pcrs[IMA_PCR]), AVOW_BYTES_OF(sha256)};
    avow_sha256_pieces(pieces, 2, a->pcrs[IMA_PCR]);
}

static void boot_aggregate(struct rig_agent *a)
{
    struct avow_bytes pieces[10];
    uint8_t digest[32];
    for (size_t i = 0; i < 10; i++)
        pieces[i] = AVOW_BYTES_OF(a->pcrs[i]);
    avow_sha256_pieces(pieces, 10, digest);
    append(a, "boot_aggregate", digest);
}

static void start_boot(struct rig_agent *a)
{
    avow_buf_reset(&a->list);
    memset(a->pcrs[IMA_PCR], 0, 32);
    a->count = 0;
    boot_aggregate(a);
    rig_resync(a, 0);
}

void rig_init(struct rig_agent *a, const char *id, const uint8_t fleet[16])
{
    *a = (struct rig_agent){.clock = 1000, .reset_count = 7, .restart_count = 1};
    (void)avow_str_copy(a->id, sizeof a->id, avow_str_from(id));
    memcpy(a->fleet, fleet, 16);
    avow_buf_init(&a->list, 1u << 20);
    enum avow_rc rc = avow_privkey_generate(&a->ak, NULL);
    assert(!rc);
    make_public(a);
    for (size_t i = 0; i < 24; i++)
        avow_sha256(avow_bytes_make(&i, sizeof i), a->pcrs[i]);
    memset(a->boot_id, 0x42, sizeof a->boot_id);
    start_boot(a);
}

void rig_deinit(struct rig_agent *a)
{
    avow_privkey_free(a->ak);
    avow_buf_deinit(&a->list);
}

void rig_measure(struct rig_agent *a, const char *path, const char *content)
{
    uint8_t digest[32];
    avow_sha256(avow_bytes_make(content, strlen(content)), digest);
    append(a, path, digest);
}

void rig_digest_hex(const char *content, char out[65])
{
    uint8_t digest[32];
    avow_sha256(avow_bytes_make(content, strlen(content)), digest);
    avow_hex_encode(out, AVOW_BYTES_OF(digest));
}

void rig_resync(struct rig_agent *a, uint32_t from)
{
    a->next = from < a->count ? from : a->count;
    a->all_values = true;
}

void rig_reboot(struct rig_agent *a)
{
    a->reset_count++;
    a->boot_id[0]++;
    start_boot(a);
}

struct cut { /* an evidence in parts */
    struct avow_buf part[RIG_PARTS_MAX];
    uint8_t link[RIG_PARTS_MAX + 1][32]; /* the last one is zeros */
    size_t count;                        /* 0: nothing to carry */
};

/* Parts of about as many entries each, with the hashes from the back (PROTOCOL B4). */
static void make_parts(struct rig_agent *a, size_t n, struct cut *c)
{
    size_t entries = a->count - a->next;
    *c = (struct cut){.count = n > 1 || entries ? n : 0};
    for (size_t i = 0; i < n; i++) {
        size_t from = a->offsets[a->next + entries * i / n];
        size_t to = a->offsets[a->next + entries * (i + 1) / n];
        avow_buf_init(&c->part[i], 1u << 20);
        if (from == to)
            continue;
        avow_buf_put_u8(&c->part[i], 1);
        avow_buf_put_u32be(&c->part[i], (uint32_t)(to - from));
        avow_buf_put(&c->part[i], a->list.ptr + from, to - from);
    }
    for (size_t i = n; i-- > 0;) {
        uint8_t digest[32];
        avow_sha256(avow_buf_bytes(&c->part[i]), digest);
        const struct avow_bytes pieces[] = {AVOW_BYTES_OF(digest), AVOW_BYTES_OF(c->link[i + 1])};
        avow_sha256_pieces(pieces, 2, c->link[i]);
    }
}

static void make_body(struct rig_agent *a, const struct avow_marker *marker, const struct cut *cut,
                      struct avow_buf *out)
{
    struct avow_body b = {.version = 1,
                          .epoch = marker->epoch,
                          .agent_version = AVOW_STR_LIT("rig"),
                          .bank = AVOW_HASH_ALG_SHA256,
                          .ima_state = AVOW_IMA_STATE_PRESENT,
                          .ima_start = a->next,
                          .ima_count = a->count - a->next,
                          .parts = (uint16_t)cut->count,
                          .has_link = cut->count > 0};
    struct avow_pcr_value values[24];
    struct avow_bytes pieces[24];
    size_t n = 0;
    uint8_t digest[32];
    avow_sha256(avow_bytes_make(marker->nonce, 32), digest);
    memcpy(b.marker_tag, digest, 8);
    memcpy(b.boot_id, a->boot_id, 16);
    for (uint16_t i = 0; i < 24; i++) {
        if (i == IMA_PCR)
            continue;
        pieces[n] = AVOW_BYTES_OF(a->pcrs[i]);
        values[n++] = (struct avow_pcr_value){.index = i, .value = AVOW_BYTES_OF(a->pcrs[i])};
    }
    avow_sha256_pieces(pieces, n, b.pcr_static);
    b.pcrs = values;
    b.pcrs_count = a->all_values ? n : 0;
    memcpy(b.link, cut->link[0], sizeof b.link);
    enum avow_rc rc = avow_body_encode(&b, out, NULL);
    assert(!rc);
}

/* TPM 2.0 Part 2, 10.12.8 TPMS_ATTEST with 10.12.1 TPMS_QUOTE_INFO. */
static void make_attest(struct rig_agent *a, const uint8_t extra[32], struct avow_buf *out)
{
    struct avow_bytes pieces[24];
    uint8_t digest[32], signer[34] = {0x00, 0x0B, 1, 2, 3};
    for (size_t i = 0; i < 24; i++)
        pieces[i] = AVOW_BYTES_OF(a->pcrs[i]);
    avow_sha256_pieces(pieces, 24, digest);
    avow_buf_put_u32be(out, 0xFF544347);
    avow_buf_put_u16be(out, 0x8018);
    tpm2b(out, signer, sizeof signer);
    tpm2b(out, extra, 32);
    avow_buf_put_u64be(out, a->clock);
    avow_buf_put_u32be(out, a->reset_count);
    avow_buf_put_u32be(out, a->restart_count);
    avow_buf_put_u8(out, 1);
    avow_buf_put_u64be(out, 0x2019102300163636);
    avow_buf_put_u32be(out, 1);
    avow_buf_put_u16be(out, 0x000B);
    avow_buf_put_u8(out, 3);
    avow_buf_put(out, "\xff\xff\xff", 3);
    tpm2b(out, digest, 32);
}

static void sign(struct rig_agent *a, struct avow_bytes attest, struct avow_buf *out)
{
    uint8_t sig[64];
    enum avow_rc rc = avow_privkey_sign(a->ak, attest, sig, NULL);
    assert(!rc);
    avow_buf_put_u16be(out, 0x0018);
    avow_buf_put_u16be(out, 0x000B);
    tpm2b(out, sig, 32);
    tpm2b(out, sig + 32, 32);
}

static void flip(struct avow_buf *b, bool wanted)
{
    if (wanted)
        b->ptr[b->len - 1] ^= 1;
}

struct sealed { /* a head, not encoded yet */
    struct avow_buf body, attest, signature;
    struct cut cut;
};

static void seal(struct rig_agent *a, const struct avow_marker *marker, const uint8_t *nonce,
                 size_t parts, struct sealed *s)
{
    struct avow_str id = avow_str_from(a->id);
    uint8_t extra[32];
    avow_buf_init(&s->body, 1u << 16);
    avow_buf_init(&s->attest, 1024);
    avow_buf_init(&s->signature, 1024);
    a->clock += 1000;
    make_parts(a, parts, &s->cut);
    make_body(a, marker, &s->cut, &s->body);
    avow_qualifying_data(a->fleet, id, nonce ? nonce : marker->nonce, avow_buf_bytes(&s->body),
                         extra);
    make_attest(a, extra, &s->attest);
    sign(a, avow_buf_bytes(&s->attest), &s->signature);
}

static void encode_head(const struct sealed *s, struct avow_buf *out)
{
    struct avow_evidence e = {.kind = AVOW_AGENT_KIND_AVOW,
                              .attest = avow_buf_bytes(&s->attest),
                              .signature = avow_buf_bytes(&s->signature),
                              .body = avow_buf_bytes(&s->body),
                              .part = avow_buf_bytes(&s->cut.part[0]),
                              .has_next = s->cut.count > 1};
    memcpy(e.next, s->cut.link[1], sizeof e.next);
    enum avow_rc rc = avow_evidence_encode(&e, out, NULL);
    assert(!rc);
}

static void encode_part(const struct sealed *s, size_t i, struct avow_buf *out)
{
    uint8_t tag[32];
    avow_sha256(avow_buf_bytes(&s->attest), tag);
    struct avow_evidence_part p = {.index = (uint16_t)(i + 1),
                                   .part = avow_buf_bytes(&s->cut.part[i]),
                                   .has_next = i + 1 < s->cut.count};
    memcpy(p.tag, tag, sizeof p.tag);
    memcpy(p.next, s->cut.link[i + 1], sizeof p.next);
    enum avow_rc rc = avow_evidence_part_encode(&p, out, NULL);
    assert(!rc);
}

static void sent(struct rig_agent *a, struct sealed *s, size_t parts)
{
    a->next = a->count;
    a->all_values = false;
    avow_buf_deinit(&s->body);
    avow_buf_deinit(&s->attest);
    avow_buf_deinit(&s->signature);
    for (size_t i = 0; i < parts; i++)
        avow_buf_deinit(&s->cut.part[i]);
}

void rig_attest(struct rig_agent *a, const struct avow_marker *marker,
                const struct rig_tamper *tamper, struct avow_buf *out)
{
    static const struct rig_tamper none;
    const struct rig_tamper *t = tamper ? tamper : &none;
    struct sealed s;
    seal(a, marker, t->nonce, 1, &s);
    flip(&s.attest, t->attest);
    flip(&s.signature, t->signature);
    flip(&s.body, t->body);
    flip(&s.cut.part[0], t->part);
    encode_head(&s, out);
    sent(a, &s, 1);
}

void rig_attest_cut(struct rig_agent *a, const struct avow_marker *marker, size_t n,
                    struct avow_buf *records)
{
    struct sealed s;
    assert(n && n <= RIG_PARTS_MAX);
    seal(a, marker, NULL, n, &s);
    encode_head(&s, &records[0]);
    for (size_t i = 1; i < n; i++)
        encode_part(&s, i, &records[i]);
    sent(a, &s, n);
}
