/* rig.c - see rig.h. */
#include "rig.h"

#include "rig_keys.h"

#include "avow/base/file.h"
#include "avow/base/hex.h"
#include "avow/formats/quote.h"

#include <stdio.h>

#include "avow/base/banned.h"

static const enum avow_hash hashes[AVOW_HASH_ALG_COUNT] = {AVOW_HASH_SHA1, AVOW_HASH_SHA256,
                                                           AVOW_HASH_SHA384, AVOW_HASH_SHA512};
static const enum avow_agent_kind kinds[] = {AVOW_AGENT_KIND_AVOW};
static const enum avow_sign_alg sign_algs[] = {AVOW_SIGN_ALG_RSASSA, AVOW_SIGN_ALG_RSAPSS,
                                               AVOW_SIGN_ALG_ECDSA};
static const enum avow_hash_alg strong[] = {AVOW_HASH_ALG_SHA256, AVOW_HASH_ALG_SHA384,
                                            AVOW_HASH_ALG_SHA512};
static const uint16_t ima_pcrs[] = {10};
static const uint8_t signer[34] = {0, 0x0B, 1, 2, 3};

/* --- host --- */

static void extend_value(enum avow_hash_alg bank, uint8_t value[64], struct avow_bytes digest)
{
    struct avow_digest out;
    const struct avow_bytes pieces[] = {avow_bytes_make(value, avow_hash_len(hashes[bank])),
                                        digest};
    avow_digest_pieces(hashes[bank], pieces, 2, &out);
    memcpy(value, out.bytes, out.len);
}

static uint32_t u32le(const uint8_t *p)
{
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

/* The data that the kernel hashes; entries of template "ima" keep the padded form behind the entry
 * proper. */
static struct avow_bytes template_data(const struct rig_entry *e, uint8_t scratch[276])
{
    size_t name_len = u32le(e->bytes + 24);
    const uint8_t *p = e->bytes + 28 + name_len;
    if (name_len != 3)
        return avow_bytes_make(p + 4, u32le(p));
    memset(scratch, 0, 276);
    memcpy(scratch, p, 20);
    memcpy(scratch + 20, p + 24, u32le(p + 20));
    return avow_bytes_make(scratch, 276);
}

void rig_extend(struct rig *r, const struct rig_entry *e)
{
    uint8_t scratch[276];
    struct avow_bytes data = template_data(e, scratch);
    bool violation = avow_bytes_all(avow_bytes_make(e->bytes + 4, 20), 0);
    for (unsigned bank = 0; bank < AVOW_HASH_ALG_COUNT; bank++) {
        struct avow_digest d, sha1;
        avow_digest(hashes[bank], data, &d);
        avow_digest(AVOW_HASH_SHA1, data, &sha1);
        if (r->padded) {
            memset(d.bytes, 0, d.len);
            memcpy(d.bytes, sha1.bytes, sha1.len);
        }
        if (violation)
            memset(d.bytes, 0xFF, d.len);
        extend_value((enum avow_hash_alg)bank, r->pcr[bank][u32le(e->bytes)],
                     avow_digest_bytes(&d));
    }
}

void rig_list(struct rig *r, const struct rig_entry *e)
{
    assert_true(r->log_count < RIG_ENTRIES_MAX);
    r->log[r->log_count++] = *e;
}

static void put_le(struct avow_buf *b, uint32_t v)
{
    uint8_t n[4];
    avow_put_u32le(n, v);
    avow_buf_put(b, n, sizeof n);
}

static void put_field(struct avow_buf *b, const void *p, size_t len)
{
    put_le(b, (uint32_t)len);
    avow_buf_put(b, p, len);
}

static void put_fields(struct avow_buf *b, const char *template, const char *alg,
                       struct avow_bytes digest, const char *path)
{
    struct avow_buf d;
    avow_buf_init(&d, 256);
    avow_buf_put_str(&d, alg);
    avow_buf_put(&d, ":", 2);
    avow_buf_put(&d, digest.ptr, digest.len);
    put_field(b, d.ptr, d.len);
    avow_buf_deinit(&d);
    put_field(b, path, strlen(path) + 1);
    if (avow_cstr_eq(template, "ima-sig"))
        put_field(b, "\x03\x02", 2);
}

struct rig_entry rig_entry_make(uint32_t pcr, const char *template, const char *alg,
                                struct avow_bytes digest, const char *path)
{
    struct rig_entry e = {{0}, 0};
    struct avow_buf b, data;
    uint8_t scratch[276];
    avow_buf_init(&b, sizeof e.bytes);
    put_le(&b, pcr);
    (void)avow_buf_extend(&b, 20);
    put_field(&b, template, strlen(template));
    if (avow_cstr_eq(template, "ima")) {
        avow_buf_put(&b, digest.ptr, 20);
        put_field(&b, path, strlen(path));
    } else {
        avow_buf_init(&data, sizeof e.bytes);
        put_fields(&data, template, alg, digest, path);
        put_field(&b, data.ptr, data.len);
        avow_buf_deinit(&data);
    }
    assert_int_equal(avow_buf_status(&b, NULL), AVOW_OK);
    memcpy(e.bytes, b.ptr, b.len);
    e.len = b.len;
    avow_buf_deinit(&b);
    struct avow_digest sha1;
    avow_digest(AVOW_HASH_SHA1, template_data(&e, scratch), &sha1);
    memcpy(e.bytes + 4, sha1.bytes, sha1.len);
    return e;
}

struct rig_entry rig_entry_raw(uint32_t pcr, const char *template, struct avow_bytes data)
{
    struct rig_entry e = {{0}, 0};
    struct avow_buf b;
    struct avow_digest sha1;
    avow_buf_init(&b, sizeof e.bytes);
    put_le(&b, pcr);
    avow_digest(AVOW_HASH_SHA1, data, &sha1);
    avow_buf_put(&b, sha1.bytes, sha1.len);
    put_field(&b, template, strlen(template));
    put_field(&b, data.ptr, data.len);
    assert_int_equal(avow_buf_status(&b, NULL), AVOW_OK);
    memcpy(e.bytes, b.ptr, b.len);
    e.len = b.len;
    avow_buf_deinit(&b);
    return e;
}

void rig_file_digest(const char *path, uint8_t out[32])
{
    avow_sha256(avow_bytes_make(path, strlen(path)), out);
}

static struct rig_entry file_entry(const char *path)
{
    uint8_t digest[32];
    rig_file_digest(path, digest);
    return rig_entry_make(10, "ima-ng", "sha256", AVOW_BYTES_OF(digest), path);
}

void rig_run(struct rig *r, const char *path)
{
    struct rig_entry e = file_entry(path);
    rig_list(r, &e);
    rig_extend(r, &e);
}

void rig_list_only(struct rig *r, const char *path)
{
    struct rig_entry e = file_entry(path);
    rig_list(r, &e);
}

void rig_violate(struct rig *r, const char *path)
{
    static const uint8_t zeros[32];
    struct rig_entry e = rig_entry_make(10, "ima-ng", "sha256", AVOW_BYTES_OF(zeros), path);
    memset(e.bytes + 4, 0, 20);
    rig_list(r, &e);
    rig_extend(r, &e);
}

void rig_boot_aggregate(const struct rig *r, enum avow_hash_alg bank, struct avow_digest *out)
{
    struct avow_bytes pieces[10];
    size_t n = bank == AVOW_HASH_ALG_SHA1 ? 8 : 10;
    for (size_t i = 0; i < n; i++)
        pieces[i] = avow_bytes_make(r->pcr[bank][i], avow_hash_len(hashes[bank]));
    avow_digest_pieces(hashes[bank], pieces, n, out);
}

/* Machines with a log have the values that it leads to, in the banks that it is about. */
static void start_firmware(struct rig *r)
{
    struct avow_event_log log;
    struct avow_event_replay *replay = avow_arena_alloc(&r->arena, 1, sizeof *replay);
    if (!r->firmware.len)
        return;
    if (avow_event_log_parse(r->firmware, &log, NULL))
        fail_msg("the firmware's log cannot be read");
    avow_event_replay(&log, replay);
    for (size_t i = 0; i < replay->banks_count; i++) {
        const struct avow_event_bank *b = &replay->banks[i];
        enum avow_hash_alg bank = AVOW_HASH_ALG_SHA1;
        while (hashes[bank] != b->alg)
            bank++;
        for (size_t pcr = 0; pcr < 24; pcr++)
            memcpy(r->pcr[bank][pcr], b->values[pcr].bytes, b->values[pcr].len);
    }
}

static void start_kernel(struct rig *r)
{
    struct avow_digest d;
    memset(r->pcr, 0, sizeof r->pcr);
    for (unsigned bank = 0; bank < AVOW_HASH_ALG_COUNT; bank++) {
        for (uint8_t i = 0; i < 10; i++)
            extend_value((enum avow_hash_alg)bank, r->pcr[bank][i], avow_bytes_make(&i, 1));
        for (uint8_t i = 17; i < 23; i++)
            memset(r->pcr[bank][i], 0xFF, 64);
    }
    start_firmware(r);
    r->log_count = r->next = 0;
    r->boot_id[0]++;
    r->send_pcrs = true;
    rig_boot_aggregate(r, r->bank, &d);
    struct rig_entry e = rig_entry_make(10, "ima-ng", avow_hash_alg_text(r->bank),
                                        avow_digest_bytes(&d), "boot_aggregate");
    rig_list(r, &e);
    rig_extend(r, &e);
}

void rig_boot(struct rig *r)
{
    r->reset_count++;
    r->restart_count = 0;
    start_kernel(r);
}

void rig_restart(struct rig *r)
{
    r->restart_count++;
    start_kernel(r);
}

/* --- worker's side --- */

static void set_enrollment_digest(struct rig *r)
{
    uint8_t generation[8];
    avow_put_u64be(generation, r->e.generation);
    avow_sha256(AVOW_BYTES_OF(generation), r->e_sha256);
}

struct avow_bytes rig_capture(struct rig *r, const char *machine)
{
    char path[512];
    struct avow_buf b;
    struct avow_err err = {0};
    (void)snprintf(path, sizeof path, "%s/captures/%s/binary_bios_measurements", AVOW_TEST_VECTORS,
                   machine);
    avow_buf_init(&b, 1u << 20);
    if (avow_file_read(path, &b, &err))
        fail_msg("%s", err.msg);
    struct avow_bytes copy = avow_arena_bytes(&r->arena, avow_buf_bytes(&b));
    avow_buf_deinit(&b);
    return copy;
}

void rig_init(struct rig *r, enum rig_key key)
{
    memset(r, 0, sizeof *r);
    avow_arena_init(&r->arena, 64u * 1024u * 1024u);
    avow_arena_init(&r->scratch, 4u * 1024u * 1024u);
    uint8_t *pub = avow_arena_alloc(&r->arena, 1024, 1);
    struct avow_bytes *signers = avow_arena_alloc(&r->arena, 1, sizeof *signers);
    struct avow_err err = {0};
    r->key = key;
    r->bank = AVOW_HASH_ALG_SHA256;
    size_t len = rig_key_public(key, pub);
    if (avow_ak_parse(avow_bytes_make(pub, len), &r->ak, &err))
        fail_msg("AK: %s", err.msg);
    signers[0] = AVOW_BYTES_OF(signer);
    r->e = (struct avow_enrollment){.fleet = {0xF1},
                                    .key = AVOW_STR_LIT("host-1"),
                                    .generation = 1,
                                    .has_ak_public = true,
                                    .ak_public = avow_bytes_make(pub, len),
                                    .qualified_signers = signers,
                                    .qualified_signers_count = 1,
                                    .kinds = kinds,
                                    .kinds_count = AVOW_ARRAY_LEN(kinds),
                                    .sign_algs = sign_algs,
                                    .sign_algs_count = AVOW_ARRAY_LEN(sign_algs),
                                    .sign_hashes = strong,
                                    .sign_hashes_count = AVOW_ARRAY_LEN(strong),
                                    .banks = strong,
                                    .banks_count = AVOW_ARRAY_LEN(strong),
                                    .ima_pcrs = ima_pcrs,
                                    .ima_pcrs_count = AVOW_ARRAY_LEN(ima_pcrs),
                                    .metadata = AVOW_STR_LIT("{}")};
    set_enrollment_digest(r);
    r->reset_count = 41;
    r->clock = 1000;
    r->epoch = 100;
    r->silent_after_ms = 70000;
    rig_boot(r);
    avow_state_first(&r->e, r->e_sha256, RIG_PARTITION, r->epoch * RIG_EPOCH_MS, &r->state);
}

void rig_deinit(struct rig *r)
{
    avow_ak_free(r->ak);
    avow_runtime_policy_free(r->policy);
    avow_boot_policy_free(r->boot);
    avow_arena_deinit(&r->arena);
    avow_arena_deinit(&r->scratch);
}

void rig_policy(struct rig *r, const char *json)
{
    struct avow_err err = {0};
    avow_runtime_policy_free(r->policy);
    r->policy = NULL;
    if (avow_runtime_policy_load(avow_bytes_make(json, strlen(json)), &r->policy, &err))
        fail_msg("policy: %s", err.msg);
    r->e.has_runtime_policy = true;
    r->e.runtime_policy = (struct avow_policy_ref){.has_name = true, .name = AVOW_STR_LIT("base")};
    r->head.name = AVOW_STR_LIT("base");
    r->head.generation++;
    avow_sha256(avow_bytes_make(json, strlen(json)), r->head.sha256);
}

void rig_boot_policy(struct rig *r, const char *json)
{
    struct avow_err err = {0};
    avow_boot_policy_free(r->boot);
    r->boot = NULL;
    if (avow_boot_policy_load(avow_bytes_make(json, strlen(json)), &r->boot, &err))
        fail_msg("boot policy: %s", err.msg);
    r->e.has_boot_policy = true;
    r->e.boot_policy = (struct avow_policy_ref){.has_name = true, .name = AVOW_STR_LIT("boot")};
    r->boot_head.name = AVOW_STR_LIT("boot");
    r->boot_head.generation++;
    avow_sha256(avow_bytes_make(json, strlen(json)), r->boot_head.sha256);
}

const char *rig_policy_text(struct rig *r, const char *excludes, ...)
{
    const char *text = "", *path;
    va_list ap;
    va_start(ap, excludes);
    while ((path = va_arg(ap, const char *))) {
        uint8_t digest[32];
        char hex[65];
        rig_file_digest(path, digest);
        avow_hex_encode(hex, AVOW_BYTES_OF(digest));
        text = avow_arena_printf(&r->arena, "%s%s\"%s\": [\"%s\"]", text, text[0] ? ", " : "", path,
                                 hex);
    }
    va_end(ap);
    return avow_arena_printf(
        &r->arena,
        "{\"meta\": {\"version\": 1, \"generator\": 0}, \"release\": 0, \"digests\": {%s}, "
        "\"excludes\": %s, \"keyrings\": {}, \"ima\": {\"ignored_keyrings\": [], \"log_hash_alg\": "
        "\"sha1\", \"dm_policy\": null}, \"ima-buf\": {}, \"verification-keys\": \"\"}",
        text, excludes);
}

void rig_enroll_again(struct rig *r)
{
    r->e.generation++;
    set_enrollment_digest(r);
}

void rig_tick(struct rig *r)
{
    r->epoch++;
    r->clock += RIG_EPOCH_MS;
}

void rig_marker(const struct rig *r, uint64_t epoch, struct avow_marker *out)
{
    uint8_t n[8];
    avow_put_u64be(n, epoch);
    *out = (struct avow_marker){.key = AVOW_STR_LIT("marker"),
                                .partition = RIG_PARTITION,
                                .epoch = epoch,
                                .issued_ms = 1700000000000u + epoch * RIG_EPOCH_MS,
                                .service_ms = epoch * RIG_EPOCH_MS,
                                .ticking = true,
                                .owner = AVOW_STR_LIT("w1")};
    memcpy(out->fleet, r->e.fleet, 16);
    avow_sha256(AVOW_BYTES_OF(n), out->nonce);
}

/* --- agent's side --- */

struct rig_shot *rig_take(struct rig *r)
{
    struct rig_shot *s = avow_arena_alloc(&r->arena, 1, sizeof *s);
    size_t len = avow_hash_len(hashes[r->bank]);
    r->clock += 10;
    rig_marker(r, r->epoch, &s->marker);
    s->body = (struct avow_body){.version = 1,
                                 .agent_version = AVOW_STR_LIT("test"),
                                 .bank = r->bank,
                                 .ima_state =
                                     r->ima_absent ? AVOW_IMA_STATE_ABSENT : AVOW_IMA_STATE_PRESENT,
                                 .ima_start = r->ima_absent ? 0 : r->next,
                                 .pcrs = s->pcrs};
    memcpy(s->body.boot_id, r->boot_id, sizeof s->body.boot_id);
    for (uint16_t i = 0; i < 24 && r->send_pcrs; i++) {
        if (i != 10 || r->ima_absent)
            s->pcrs[s->body.pcrs_count++] = (struct avow_pcr_value){
                i, avow_arena_bytes(&r->arena, avow_bytes_make(r->pcr[r->bank][i], len))};
    }
    struct avow_bytes values[24] = {{NULL, 0}};
    for (size_t i = 0; i < 24; i++) {
        if (i != 10 || r->ima_absent)
            values[i] = avow_bytes_make(r->pcr[r->bank][i], len);
    }
    avow_sha256_pieces(values, 24, s->body.pcr_static);
    for (size_t i = r->next; i < r->log_count && !r->ima_absent; i++)
        s->log[s->log_count++] = r->log[i];
    if (r->send_pcrs && r->firmware.len) {
        s->boot_log = r->firmware.ptr;
        s->boot_log_len = r->firmware.len;
    }
    s->magic = AVOW_TPM_GENERATED;
    s->type = AVOW_ST_ATTEST_QUOTE;
    memcpy(s->signer, signer, sizeof signer);
    s->clock = r->clock;
    s->reset_count = r->reset_count;
    s->restart_count = r->restart_count;
    s->selections[0] = (struct rig_selection){(uint16_t)hashes[r->bank], {0xFF, 0xFF, 0xFF, 0}, 3};
    s->selections_count = 1;
    s->sign_with = r->key;
    s->id = "host-1";
    memcpy(s->fleet, r->e.fleet, sizeof s->fleet);
    return s;
}

static void put_frame(struct avow_buf *b, uint8_t type, struct avow_bytes data)
{
    avow_buf_put_u8(b, type);
    avow_buf_put_u32be(b, (uint32_t)data.len);
    avow_buf_put(b, data.ptr, data.len);
}

void rig_cut(struct rig_shot *s, size_t n)
{
    assert_in_range(n, 1, RIG_PARTS_MAX);
    s->cuts_count = n;
    for (size_t i = 0; i < n; i++)
        s->cuts[i] = s->log_count * (i + 1) / n - s->log_count * i / n;
}

/* Parts 2 and on, from the back, because each names the next. */
static void seal_tail(struct rig *r, struct rig_shot *s)
{
    uint8_t next[32] = {0};
    size_t end = s->log_count;
    if (s->has_last_next)
        next[0] = 1;
    for (size_t i = s->cuts_count; i-- > 1;) {
        struct avow_evidence_part *p = &s->parts[i];
        struct avow_buf b, entries;
        avow_buf_init(&b, sizeof s->part);
        avow_buf_init(&entries, sizeof s->part);
        for (size_t k = end - s->cuts[i]; k < end; k++)
            avow_buf_put(&entries, s->log[k].bytes, s->log[k].len);
        end -= s->cuts[i];
        if (entries.len)
            put_frame(&b, 1, avow_buf_bytes(&entries));
        assert_int_equal(avow_buf_status(&b, NULL), AVOW_OK);
        *p = (struct avow_evidence_part){
            .index = (uint16_t)(i + 1),
            .part = s->raw_parts[i].len ? s->raw_parts[i]
                                        : avow_arena_bytes(&r->arena, avow_buf_bytes(&b)),
            .has_next = !avow_bytes_all(AVOW_BYTES_OF(next), 0)};
        memcpy(p->next, next, sizeof next);
        uint8_t digest[32];
        avow_sha256(p->part, digest);
        const struct avow_bytes pieces[] = {AVOW_BYTES_OF(digest), AVOW_BYTES_OF(next)};
        avow_sha256_pieces(pieces, 2, next);
        avow_buf_deinit(&b);
        avow_buf_deinit(&entries);
    }
    if (s->cuts_count)
        memcpy(s->second_link, next, sizeof next);
}

static void seal_part(struct rig_shot *s)
{
    struct avow_buf b, entries;
    size_t count = s->cuts_count ? s->cuts[0] : s->log_count;
    avow_buf_init(&b, sizeof s->part);
    avow_buf_init(&entries, sizeof s->part);
    for (size_t i = 0; i < count; i++)
        avow_buf_put(&entries, s->log[i].bytes, s->log[i].len);
    avow_buf_put(&entries, s->raw_list.ptr, s->raw_list.len);
    if (entries.len)
        put_frame(&b, 1, avow_buf_bytes(&entries));
    if (s->boot_log)
        put_frame(&b, 2, avow_bytes_make(s->boot_log, s->boot_log_len));
    struct avow_bytes raw = s->raw_parts[0].len ? s->raw_parts[0] : s->raw_part;
    if (raw.len) {
        avow_buf_reset(&b);
        avow_buf_put(&b, raw.ptr, raw.len);
    }
    for (uint8_t i = 0; i < s->trailing; i++)
        avow_buf_put_u8(&b, 0);
    assert_int_equal(avow_buf_status(&b, NULL), AVOW_OK);
    memcpy(s->part, b.ptr ? b.ptr : s->part, b.len);
    s->part_len = b.len;
    avow_buf_deinit(&b);
    avow_buf_deinit(&entries);
}

static void seal_body(const struct rig *r, struct rig_shot *s)
{
    uint8_t digest[32];
    struct avow_buf b;
    struct avow_err err = {0};
    s->body.epoch = s->marker.epoch;
    avow_sha256(AVOW_BYTES_OF(s->marker.nonce), digest);
    memcpy(s->body.marker_tag, digest, sizeof s->body.marker_tag);
    if (!s->keep_count)
        s->body.ima_count = (uint32_t)s->log_count + s->raw_count;
    if (s->boot_log && r->firmware.len) {
        s->body.has_boot_log = true;
        avow_sha256(avow_bytes_make(s->boot_log, s->boot_log_len), s->body.boot_log);
    }
    if (!s->keep_link) {
        s->body.has_link = s->part_len > 0;
        s->body.has_link |= s->cuts_count > 0;
        if (!s->body.parts)
            s->body.parts = s->cuts_count ? (uint16_t)s->cuts_count : s->part_len > 0;
        avow_sha256(avow_bytes_make(s->part, s->part_len), digest);
        const struct avow_bytes pieces[] = {AVOW_BYTES_OF(digest), AVOW_BYTES_OF(s->second_link)};
        avow_sha256_pieces(pieces, 2, s->body.link);
    }
    avow_buf_init(&b, sizeof s->body_bytes);
    if (avow_body_encode(&s->body, &b, &err))
        fail_msg("body: %s", err.msg);
    memcpy(s->body_bytes, b.ptr, b.len);
    s->body_len = b.len;
    avow_buf_deinit(&b);
}

static void put_pcr_digest(const struct rig *r, const struct rig_shot *s, struct avow_buf *b)
{
    struct avow_bytes values[3 * 24];
    size_t n = 0;
    for (size_t i = 0; i < s->selections_count; i++) {
        enum avow_hash_alg bank;
        for (bank = AVOW_HASH_ALG_SHA1;
             bank < AVOW_HASH_ALG_SHA512 && hashes[bank] != s->selections[i].hash; bank++)
            continue;
        for (size_t k = 0; k < 24; k++) {
            const uint8_t *v = k == 10 && s->has_pcr10 ? s->pcr10 : r->pcr[bank][k];
            if (s->selections[i].bytes[k / 8] & 1u << k % 8)
                values[n++] = avow_bytes_make(v, avow_hash_len(hashes[bank]));
        }
    }
    struct avow_digest d;
    avow_digest_pieces(rig_key_hash(s->sign_with), values, n, &d);
    avow_buf_put_u16be(b, (uint16_t)d.len);
    avow_buf_put(b, d.bytes, d.len);
}

static void seal_attest(const struct rig *r, struct rig_shot *s)
{
    struct avow_buf b;
    uint8_t extra[32];
    avow_qualifying_data(s->fleet, avow_str_from(s->id), s->marker.nonce,
                         avow_bytes_make(s->body_bytes, s->body_len), extra);
    avow_buf_init(&b, sizeof s->attest);
    avow_buf_put_u32be(&b, s->magic);
    avow_buf_put_u16be(&b, s->type);
    avow_buf_put_u16be(&b, sizeof s->signer);
    avow_buf_put(&b, s->signer, sizeof s->signer);
    avow_buf_put_u16be(&b, sizeof extra);
    avow_buf_put(&b, extra, sizeof extra);
    avow_buf_put_u64be(&b, s->clock);
    avow_buf_put_u32be(&b, s->reset_count);
    avow_buf_put_u32be(&b, s->restart_count);
    avow_buf_put_u8(&b, 1);
    avow_buf_put_u64be(&b, s->firmware);
    avow_buf_put_u32be(&b, (uint32_t)s->selections_count);
    for (size_t i = 0; i < s->selections_count; i++) {
        avow_buf_put_u16be(&b, s->selections[i].hash);
        avow_buf_put_u8(&b, s->selections[i].size);
        avow_buf_put(&b, s->selections[i].bytes, s->selections[i].size);
    }
    put_pcr_digest(r, s, &b);
    assert_int_equal(avow_buf_status(&b, NULL), AVOW_OK);
    memcpy(s->attest, b.ptr, b.len);
    s->attest_len = b.len;
    avow_buf_deinit(&b);
}

void rig_seal(struct rig *r, struct rig_shot *s)
{
    seal_tail(r, s);
    seal_part(s);
    seal_body(r, s);
    seal_attest(r, s);
    s->signature_len =
        rig_key_sign(s->sign_with, avow_bytes_make(s->attest, s->attest_len), s->signature);
    s->evidence = (struct avow_evidence){
        .kind = AVOW_AGENT_KIND_AVOW,
        .attest = avow_bytes_make(s->attest, s->attest_len),
        .signature = avow_bytes_make(s->signature, s->signature_len),
        .body = avow_bytes_make(s->body_bytes, s->body_len),
        .part = avow_bytes_make(s->part, s->part_len),
        .has_next = s->cuts_count ? s->cuts_count > 1 || s->has_last_next : s->body.parts > 1};
    memcpy(s->evidence.next, s->second_link, sizeof s->second_link);
    uint8_t tag[32];
    avow_sha256(s->evidence.attest, tag);
    for (size_t i = 1; i < s->cuts_count; i++)
        memcpy(s->parts[i].tag, tag, sizeof s->parts[i].tag);
}

/* --- judging --- */

static struct avow_bytes encode(struct rig *r, const struct avow_state *state)
{
    struct avow_buf b;
    struct avow_err err = {0};
    avow_buf_init(&b, 64u * 1024u);
    if (avow_state_encode(state, &b, &err))
        fail_msg("state: %s", err.msg);
    struct avow_bytes copy = avow_arena_bytes(&r->scratch, avow_buf_bytes(&b));
    avow_buf_deinit(&b);
    return copy;
}

typedef enum avow_rc (*judge_fn)(const struct avow_eval_in *in, struct avow_arena *arena,
                                 struct avow_eval_out *out, struct avow_err *err);

/* Completes `in`, judges twice, takes the new state over as a worker does. */
static void judge(struct rig *r, judge_fn fn, struct avow_eval_in in, uint64_t clock)
{
    size_t heads_count = 0;
    if (r->policy)
        r->heads[heads_count++] = r->head;
    if (r->boot)
        r->heads[heads_count++] = r->boot_head;
    struct avow_eval_policy policy = {.runtime = r->policy,
                                      .boot = r->boot,
                                      .boot_sha256 = r->boot_head.sha256,
                                      .keys = r->keys,
                                      .severity = r->severity,
                                      .heads = r->heads,
                                      .heads_count = heads_count,
                                      .missing = r->policy_missing,
                                      .superset_of_prior = r->superset};
    in.enrollment = &r->e;
    in.enrollment_sha256 = r->e_sha256;
    in.ak = r->ak;
    in.policy = &policy;
    in.prior = &r->state;
    in.bundle_version = 1;
    in.service_ms = r->service_ms ? r->service_ms : r->epoch * RIG_EPOCH_MS;
    in.silent_after_ms = r->silent_after_ms;
    in.rebase_interval_ms = r->rebase_interval_ms;
    in.prior_enrollment = r->prior_e;
    in.partition = RIG_PARTITION;
    struct avow_err err = {0};
    struct avow_eval_out again;
    struct avow_bytes before = encode(r, &r->state);
    if (fn(&in, &r->arena, &r->out, &err) || fn(&in, &r->scratch, &again, &err))
        fail_msg("evaluate: %s", err.msg);
    struct avow_bytes after = encode(r, &r->out.next);
    assert_true(avow_bytes_eq(after, encode(r, &again.next))); /* the same input, the same bytes */
    if (r->out.kind == AVOW_EVAL_DROPPED) {
        assert_true(avow_bytes_eq(before, after));
        return;
    }
    struct avow_transition_in t = {.enrollment = &r->e,
                                   .prior = &r->state,
                                   .service_ms = in.service_ms,
                                   .validity_ms = 90000,
                                   .verdict_refresh_ms = 30000,
                                   .clock = clock};
    struct avow_state next = r->out.next;
    if (avow_transition(&t, &next, &r->arena, &r->transition, &err))
        fail_msg("transition: %s", err.msg);
    struct avow_bytes record =
        avow_arena_bytes(&r->arena, encode(r, &next)); /* as a worker keeps it */
    if (avow_state_decode(record, &r->arena, &r->state, &err))
        fail_msg("state: %s", err.msg);
}

void rig_judge(struct rig *r, struct rig_shot *s)
{
    avow_arena_reset(&r->scratch);
    bool decodes = avow_body_decode(s->evidence.body, &r->arena, &s->sealed_body, NULL) == AVOW_OK;
    struct avow_eval_in in = {.evidence = &s->evidence,
                              .body = decodes ? &s->sealed_body : NULL,
                              .marker = s->marker.epoch ? &s->marker : NULL,
                              .offset = 7};
    judge(r, avow_evaluate, in, s->clock);
}

void rig_judge_part(struct rig *r, const struct avow_evidence_part *p)
{
    avow_arena_reset(&r->scratch);
    struct avow_body body;
    bool decodes = r->state.has_open &&
                   avow_body_decode(r->state.open.body, &r->arena, &body, NULL) == AVOW_OK;
    struct avow_eval_in in = {.part = p, .body = decodes ? &body : NULL, .offset = 8};
    judge(r, avow_evaluate_part, in, 0);
}

void rig_part(struct rig *r, struct rig_shot *s, uint16_t index)
{
    rig_judge_part(r, &s->parts[index - 1]);
    if (r->out.kind != AVOW_EVAL_ACCEPTED)
        fail_msg("part %u: want accepted, got drop(%s)", index, avow_drop_reason_text(r->out.drop));
}

void rig_deliver(struct rig *r, struct rig_shot *s)
{
    rig_expect_accepted(r, s);
    for (uint16_t i = 2; i <= s->cuts_count; i++) {
        assert_true(r->state.has_open);
        rig_part(r, s, i);
    }
    assert_false(r->state.has_open);
}

void rig_expect_part_drop(struct rig *r, const struct avow_evidence_part *p,
                          enum avow_drop_reason why)
{
    rig_judge_part(r, p);
    if (r->out.kind != AVOW_EVAL_DROPPED || r->out.drop != why)
        fail_msg("part %u: want drop(%s), got %s(%s)", p->index, avow_drop_reason_text(why),
                 r->out.kind == AVOW_EVAL_DROPPED ? "drop" : "accepted",
                 avow_drop_reason_text(r->out.drop));
}

void rig_expect_drop(struct rig *r, struct rig_shot *s, enum avow_drop_reason why)
{
    rig_judge(r, s);
    if (r->out.kind != AVOW_EVAL_DROPPED || r->out.drop != why)
        fail_msg("want drop(%s), got %s(%s)", avow_drop_reason_text(why),
                 r->out.kind == AVOW_EVAL_DROPPED ? "drop" : "accepted",
                 avow_drop_reason_text(r->out.drop));
}

void rig_expect_accepted(struct rig *r, struct rig_shot *s)
{
    rig_judge(r, s);
    if (r->out.kind != AVOW_EVAL_ACCEPTED)
        fail_msg("want accepted, got drop(%s)", avow_drop_reason_text(r->out.drop));
    r->next = s->body.ima_start + s->log_count;
    r->send_pcrs = false;
}

void rig_attest(struct rig *r)
{
    struct rig_shot *s = rig_take(r);
    rig_seal(r, s);
    rig_expect_accepted(r, s);
}

void rig_expect_status(const struct rig *r, enum avow_status status)
{
    if (r->state.status != status)
        fail_msg("status: want %s, got %s", avow_status_text(status),
                 avow_status_text(r->state.status));
}

void rig_expect_findings(const struct rig *r, ...)
{
    const char *id;
    size_t n = 0;
    va_list ap;
    va_start(ap, r);
    while ((id = va_arg(ap, const char *))) {
        bool found = false;
        for (size_t i = 0; i < r->state.findings_count; i++)
            found |= avow_str_is(r->state.findings[i].id, id);
        if (!found)
            fail_msg("no finding %s (%zu others)", id, r->state.findings_count);
        n++;
    }
    va_end(ap);
    for (size_t i = 0; i < r->state.findings_count && r->state.findings_count != n; i++)
        print_error("finding %.*s, %.*s: %.*s\n", (int)r->state.findings[i].id.len,
                    r->state.findings[i].id.ptr, (int)r->state.findings[i].where.len,
                    r->state.findings[i].where.ptr, (int)r->state.findings[i].detail.len,
                    r->state.findings[i].detail.ptr);
    if (r->state.findings_count != n)
        fail_msg("want %zu findings, got %zu", n, r->state.findings_count);
}

void rig_expect_as_of(const struct rig *r, uint64_t epoch)
{
    uint64_t got = r->state.has_as_of ? r->state.as_of.epoch : 0;
    if (got != epoch)
        fail_msg("as_of: want epoch %llu, got %llu", (unsigned long long)epoch,
                 (unsigned long long)got);
}
