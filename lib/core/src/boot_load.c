/* boot_load.c - parts of a boot policy: PCR 7's keys, authorities and variables, and what the
 * readers share. See boot_load.h. */
#include "boot_load.h"

#include "avow/base/buf.h"
#include "avow/base/hex.h"
#include "avow/formats/efi_siglist.h"

#include <stdlib.h>
#include <string.h>

#include "boot_facts.h"

#include "avow/base/banned.h"

#define LAST_PCR 15u
#define IMA_PCR 10u
#define AUTHORITY_PCR 7u
#define FIRST_ROOM 4u

struct avow_boot_rules *avow_boot_load_rules(const struct avow_json_read *r)
{
    return r->ctx;
}

enum avow_rc avow_boot_load_no_memory(struct avow_json_read *r)
{
    return avow_boot_load_rules(r)->arena.used > AVOW_BOOT_POLICY_BYTES_MAX / 2
               ? avow_json_refuse(r, AVOW_LIMIT, "more than is held")
               : avow_json_refuse(r, AVOW_NOMEM, "no memory");
}

void *avow_boot_add(struct avow_arena *arena, void *items, size_t *count, size_t *cap, size_t size)
{
    uint8_t *to = items;
    if (*count == *cap) {
        size_t grown = *cap ? *cap * 2 : FIRST_ROOM;
        to = avow_arena_alloc(arena, grown, size);
        if (!to)
            return NULL;
        if (*count)
            memcpy(to, items, *count * size);
        *cap = grown;
    }
    (*count)++;
    return to;
}

void *avow_boot_load_add(struct avow_json_read *r, void *items, size_t *count, size_t *cap,
                         size_t size)
{
    return avow_boot_add(&avow_boot_load_rules(r)->arena, items, count, cap, size);
}

static bool has_control(struct avow_str s)
{
    for (size_t i = 0; i < s.len; i++) {
        if ((uint8_t)s.ptr[i] < ' ' || s.ptr[i] == 0x7F)
            return true;
    }
    return false;
}

enum avow_rc avow_boot_load_name(struct avow_json_read *r, void *out)
{
    struct avow_str s;
    enum avow_rc rc = avow_json_read_text(r, &s);
    if (rc)
        return rc;
    if (!s.len || s.len > AVOW_BOOT_NAME_MAX || has_control(s))
        return avow_json_refuse(r, AVOW_PARSE, "not 1 to %u printable bytes", AVOW_BOOT_NAME_MAX);
    const char *copy = avow_arena_cstr(&avow_boot_load_rules(r)->arena, s);
    if (!copy)
        return avow_boot_load_no_memory(r);
    *(const char **)out = copy;
    return AVOW_OK;
}

/* --- Sets of ids --- */

static int by_id(const void *a, const void *b)
{
    return avow_bytes_cmp(avow_bytes_make(a, AVOW_BOOT_ID_LEN),
                          avow_bytes_make(b, AVOW_BOOT_ID_LEN));
}

bool avow_boot_ids_have(const struct avow_boot_ids *ids, const uint8_t id[AVOW_BOOT_ID_LEN],
                        size_t *at)
{
    if (!ids->count)
        return false;
    const uint8_t(*found)[AVOW_BOOT_ID_LEN] =
        bsearch(id, ids->items, ids->count, sizeof *ids->items, by_id);
    if (found)
        *at = (size_t)(found - (const uint8_t(*)[AVOW_BOOT_ID_LEN])ids->items);
    return found != NULL;
}

void avow_boot_ids_finish(struct avow_boot_ids *ids)
{
    size_t kept = 0;
    if (!ids->count)
        return;
    qsort(ids->items, ids->count, sizeof *ids->items, by_id);
    for (size_t i = 0; i < ids->count; i++) {
        if (kept && by_id(ids->items[kept - 1], ids->items[i]) == 0)
            continue;
        memmove(ids->items[kept++], ids->items[i], sizeof *ids->items);
    }
    ids->count = kept;
}

static uint8_t *add_id(struct avow_json_read *r, struct avow_boot_ids *ids)
{
    void *items = avow_boot_load_add(r, ids->items, &ids->count, &ids->cap, sizeof *ids->items);
    if (!items)
        return NULL;
    ids->items = items;
    return ids->items[ids->count - 1];
}

static enum avow_rc read_hash(struct avow_json_read *r, void *out)
{
    struct avow_str s;
    enum avow_rc rc = avow_json_read_text(r, &s);
    if (rc)
        return rc;
    uint8_t *id = add_id(r, out);
    if (!id)
        return avow_boot_load_no_memory(r);
    return avow_hex_decode(id, AVOW_BOOT_ID_LEN, s)
               ? AVOW_OK
               : avow_json_refuse(r, AVOW_PARSE, "not a SHA-256 in hex");
}

static enum avow_rc read_value(struct avow_json_read *r, void *out)
{
    AVOW_CLEANUP_VAL(avow_buf_deinit) struct avow_buf raw;
    struct avow_str s;
    enum avow_rc rc = avow_json_read_text(r, &s);
    avow_buf_init(&raw, AVOW_EVENT_DATA_MAX);
    if (rc)
        return rc;
    if (s.len % 2)
        return avow_json_refuse(r, AVOW_PARSE, "not hex");
    uint8_t *to = avow_buf_extend(&raw, s.len / 2);
    uint8_t *id = add_id(r, out);
    if (!to || !id)
        return avow_boot_load_no_memory(r);
    if (!avow_hex_decode(to, s.len / 2, s))
        return avow_json_refuse(r, AVOW_PARSE, "not hex");
    avow_sha256(avow_buf_bytes(&raw), id);
    return AVOW_OK;
}

/* "x509:SHA256-OF-DER", "sha256:DIGEST", "GUID:SHA256-OF-DATA". */
static bool is_signature(struct avow_str s)
{
    uint8_t digest[AVOW_DIGEST_MAX], guid[AVOW_EFI_GUID_LEN];
    const char *colon = s.len ? memchr(s.ptr, ':', s.len) : NULL;
    if (!colon)
        return false;
    struct avow_str type = {s.ptr, (size_t)(colon - s.ptr)};
    struct avow_str hex = {colon + 1, s.len - type.len - 1};
    enum avow_efi_sig sig = avow_efi_sig_find(type);
    size_t len = avow_boot_signature_raw_len(sig);
    if (sig == AVOW_EFI_SIG_UNKNOWN && !avow_efi_guid_parse(type, guid))
        return false;
    return avow_hex_decode(digest, len ? len : AVOW_BOOT_ID_LEN, hex);
}

static enum avow_rc read_signature(struct avow_json_read *r, void *out)
{
    struct avow_str s;
    enum avow_rc rc = avow_json_read_text(r, &s);
    if (rc)
        return rc;
    char text[AVOW_BOOT_SIGNATURE_MAX];
    if (!is_signature(s) || !avow_str_copy(text, sizeof text, s))
        return avow_json_refuse(r, AVOW_PARSE,
                                "not TYPE:HEX of an EFI signature, like \"x509:...\"");
    for (char *c = text; *c; c++)
        *c = *c >= 'A' && *c <= 'Z' ? (char)(*c - 'A' + 'a') : *c;
    uint8_t *id = add_id(r, out);
    if (!id)
        return avow_boot_load_no_memory(r);
    avow_sha256(avow_bytes_make(text, s.len), id);
    return AVOW_OK;
}

static enum avow_rc read_ids(struct avow_json_read *r, avow_json_reader read,
                             struct avow_boot_ids *ids)
{
    enum avow_rc rc = avow_json_read_list(r, read, ids, AVOW_BOOT_KEYS_MAX);
    if (!rc)
        avow_boot_ids_finish(ids);
    return rc;
}

static enum avow_rc read_hashes(struct avow_json_read *r, void *out)
{
    return read_ids(r, read_hash, out);
}

static enum avow_rc read_values(struct avow_json_read *r, void *out)
{
    return read_ids(r, read_value, out);
}

static enum avow_rc read_signatures(struct avow_json_read *r, void *out)
{
    return read_ids(r, read_signature, out);
}

/* --- Keys --- */

static enum avow_rc read_exactly(struct avow_json_read *r, void *out)
{
    struct avow_boot_keys *k = out;
    if (k->has_allows || k->has_contains)
        return avow_json_refuse(r, AVOW_PARSE, "stands for both \"contains\" and \"allows\"");
    enum avow_rc rc = read_signatures(r, &k->contains);
    k->allows = k->contains;
    k->has_allows = k->has_contains = true;
    return rc;
}

static enum avow_rc read_contains(struct avow_json_read *r, void *out)
{
    struct avow_boot_keys *k = out;
    if (k->has_contains)
        return avow_json_refuse(r, AVOW_PARSE, "\"exactly\" stands for it");
    k->has_contains = true;
    return read_signatures(r, &k->contains);
}

static enum avow_rc read_allows(struct avow_json_read *r, void *out)
{
    struct avow_boot_keys *k = out;
    if (k->has_allows)
        return avow_json_refuse(r, AVOW_PARSE, "\"exactly\" stands for it");
    k->has_allows = true;
    return read_signatures(r, &k->allows);
}

static enum avow_rc read_keys_of(struct avow_json_read *r, void *out)
{
    struct avow_boot_keys *k = out;
    const struct avow_json_field fields[] = {{"exactly", read_exactly, k, false},
                                             {"contains", read_contains, k, false},
                                             {"allows", read_allows, k, false}};
    k->judged = true;
    enum avow_rc rc = avow_json_read_object(r, fields, AVOW_ARRAY_LEN(fields));
    if (!rc && !k->has_allows && !k->has_contains)
        rc = avow_json_refuse(r, AVOW_PARSE, "demands nothing");
    return rc;
}

enum avow_rc avow_boot_load_keys(struct avow_json_read *r, void *out)
{
    struct avow_boot_part *p = out;
    const struct avow_json_field fields[] = {
#define X(id, name, guid) {name, read_keys_of, &p->set->keys[AVOW_BOOT_KEY_##id], false},
        AVOW_BOOT_KEY_MAP(X)
#undef X
    };
    p->set->has_keys = true;
    p->set->judged |= UINT32_C(1) << AUTHORITY_PCR;
    return avow_json_read_object(r, fields, AVOW_ARRAY_LEN(fields));
}

enum avow_rc avow_boot_load_secure_boot(struct avow_json_read *r, void *out)
{
    struct avow_boot_part *p = out;
    bool on = false;
    enum avow_rc rc = avow_json_read_bool(r, &on);
    p->set->secure_boot = on ? AVOW_BOOT_ON : AVOW_BOOT_OFF;
    p->set->judged |= UINT32_C(1) << AUTHORITY_PCR;
    return rc;
}

/* --- Variables --- */

static struct avow_boot_variable *add_variable(struct avow_json_read *r,
                                               struct avow_boot_variables *v)
{
    struct avow_boot_variable *items =
        avow_boot_load_add(r, v->items, &v->count, &v->cap, sizeof *items);
    if (!items)
        return NULL;
    v->items = items;
    items[v->count - 1].at = avow_boot_load_rules(r)->counters++;
    return &items[v->count - 1];
}

static enum avow_rc read_authority(struct avow_json_read *r, struct avow_str key, void *out)
{
    struct avow_boot_part *p = out;
    struct avow_boot_variables *all = &p->set->authorities;
    if (!key.len || key.len > AVOW_BOOT_NAME_MAX || has_control(key))
        return avow_json_refuse(r, AVOW_PARSE, "not 1 to %u printable bytes", AVOW_BOOT_NAME_MAX);
    for (size_t i = 0; i < all->count; i++) {
        if (avow_str_is(key, all->items[i].name))
            return avow_json_refuse(r, AVOW_PARSE, "duplicate key");
    }
    struct avow_boot_variable *v = add_variable(r, all);
    const char *name = v ? avow_arena_cstr(&avow_boot_load_rules(r)->arena, key) : NULL;
    if (!name)
        return avow_boot_load_no_memory(r);
    v->name = name;
    v->pcr = AUTHORITY_PCR;
    return read_hashes(r, &v->values);
}

enum avow_rc avow_boot_load_authorities(struct avow_json_read *r, void *out)
{
    struct avow_boot_part *p = out;
    p->set->has_authorities = true;
    p->set->judged |= UINT32_C(1) << AUTHORITY_PCR;
    return avow_json_read_keys(r, read_authority, out, AVOW_BOOT_VARIABLES_MAX);
}

enum avow_rc avow_boot_load_pcr_number(struct avow_json_read *r, uint32_t n, uint8_t *out)
{
    if (n > LAST_PCR || n == IMA_PCR)
        return avow_json_refuse(r, AVOW_PARSE, "not a PCR of the boot: 0 to %u, but %u", LAST_PCR,
                                IMA_PCR);
    *out = (uint8_t)n;
    return AVOW_OK;
}

enum avow_rc avow_boot_load_pcr(struct avow_json_read *r, void *out)
{
    uint32_t n;
    enum avow_rc rc = avow_json_read_u32(r, &n);
    return rc ? rc : avow_boot_load_pcr_number(r, n, out);
}

static enum avow_rc read_guid(struct avow_json_read *r, void *out)
{
    struct avow_str s;
    enum avow_rc rc = avow_json_read_text(r, &s);
    if (!rc && !avow_efi_guid_parse(s, out))
        rc = avow_json_refuse(r, AVOW_PARSE, "not a GUID");
    return rc;
}

enum avow_rc avow_boot_load_counts(struct avow_json_read *r, uint32_t min, uint32_t max)
{
    return !max || min > max ? avow_json_refuse(r, AVOW_PARSE, "\"min\" and \"max\" allow nothing")
                             : AVOW_OK;
}

static enum avow_rc read_variable(struct avow_json_read *r, void *out)
{
    struct avow_boot_part *p = out;
    struct avow_boot_ids by_value = {.count = 0};
    struct avow_boot_variable *v = add_variable(r, &p->set->variables);
    if (!v)
        return avow_boot_load_no_memory(r);
    v->pcr = AUTHORITY_PCR;
    v->min = v->max = 1;
    const struct avow_json_field fields[] = {
        {"name", avow_boot_load_name, &v->name, true}, {"guid", read_guid, v->guid, true},
        {"pcr", avow_boot_load_pcr, &v->pcr, false},   {"sha256", read_hashes, &v->values, false},
        {"value", read_values, &by_value, false},      {"any", avow_json_read_bool, &v->any, false},
        {"min", avow_json_read_u32, &v->min, false},   {"max", avow_json_read_u32, &v->max, false}};
    enum avow_rc rc = avow_json_read_object(r, fields, AVOW_ARRAY_LEN(fields));
    if (rc)
        return rc;
    int given = (v->values.count > 0) + (by_value.count > 0) + v->any;
    if (given != 1)
        return avow_json_refuse(r, AVOW_PARSE, "needs one of \"sha256\", \"value\" and \"any\"");
    if (by_value.count)
        v->values = by_value;
    p->set->judged |= UINT32_C(1) << v->pcr;
    return avow_boot_load_counts(r, v->min, v->max);
}

enum avow_rc avow_boot_load_variables(struct avow_json_read *r, void *out)
{
    return avow_json_read_list(r, read_variable, out, AVOW_BOOT_VARIABLES_MAX);
}
