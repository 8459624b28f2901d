/* boot_rules_load.c - reads a boot policy in our own language: boot_rules.h, docs/BOOT-POLICY.md.
 */
#include "boot_rules.h"

#include "avow/base/hex.h"
#include "avow/base/num.h"
#include "avow/formats/efi_siglist.h"

#include <stdlib.h>
#include <string.h>

#include "boot_facts.h"
#include "json_read.h"

#include "avow/base/banned.h"

#define LAST_PCR 15u
#define IMA_PCR 10u
#define AUTHORITY_PCR 7u
#define COMMAND_PCR 8u
#define FIRST_ROOM 4u
#define UNLIMITED UINT32_MAX

/* What a reader of a part of a boot works on. */
struct part {
    struct avow_boot_set *set;
    struct avow_boot_steps *steps;
    struct avow_boot_step *step;
    struct avow_boot_variable *variable;
    struct avow_boot_ids *ids;
    struct avow_boot_texts *texts;
    unsigned pcr;
};

static struct avow_boot_rules *rules_of(const struct avow_json_read *r)
{
    return r->ctx;
}

static enum avow_rc no_memory(struct avow_json_read *r)
{
    return rules_of(r)->arena.used > AVOW_BOOT_POLICY_BYTES_MAX / 2
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

static void *add(struct avow_json_read *r, void *items, size_t *count, size_t *cap, size_t size)
{
    return avow_boot_add(&rules_of(r)->arena, items, count, cap, size);
}

static bool has_control(struct avow_str s)
{
    for (size_t i = 0; i < s.len; i++) {
        if ((uint8_t)s.ptr[i] < ' ' || s.ptr[i] == 0x7F)
            return true;
    }
    return false;
}

static enum avow_rc read_name(struct avow_json_read *r, void *out)
{
    struct avow_str s;
    enum avow_rc rc = avow_json_read_text(r, &s);
    if (rc)
        return rc;
    if (!s.len || s.len > AVOW_BOOT_NAME_MAX || has_control(s))
        return avow_json_refuse(r, AVOW_PARSE, "not 1 to %u printable bytes", AVOW_BOOT_NAME_MAX);
    const char *copy = avow_arena_cstr(&rules_of(r)->arena, s);
    if (!copy)
        return no_memory(r);
    *(const char **)out = copy;
    return AVOW_OK;
}

/* For people: it is not kept. */
static enum avow_rc read_description(struct avow_json_read *r, void *out)
{
    struct avow_str s;
    (void)out;
    return avow_json_read_text(r, &s);
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
    void *items = add(r, ids->items, &ids->count, &ids->cap, sizeof *ids->items);
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
        return no_memory(r);
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
        return no_memory(r);
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
        return no_memory(r);
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

static enum avow_rc read_keys(struct avow_json_read *r, void *out)
{
    struct part *p = out;
    const struct avow_json_field fields[] = {
#define X(id, name, guid) {name, read_keys_of, &p->set->keys[AVOW_BOOT_KEY_##id], false},
        AVOW_BOOT_KEY_MAP(X)
#undef X
    };
    p->set->has_keys = true;
    p->set->judged |= UINT32_C(1) << AUTHORITY_PCR;
    return avow_json_read_object(r, fields, AVOW_ARRAY_LEN(fields));
}

static enum avow_rc read_secure_boot(struct avow_json_read *r, void *out)
{
    struct part *p = out;
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
    struct avow_boot_variable *items = add(r, v->items, &v->count, &v->cap, sizeof *items);
    if (!items)
        return NULL;
    v->items = items;
    items[v->count - 1].at = rules_of(r)->counters++;
    return &items[v->count - 1];
}

static enum avow_rc read_authority(struct avow_json_read *r, struct avow_str key, void *out)
{
    struct part *p = out;
    struct avow_boot_variables *all = &p->set->authorities;
    if (!key.len || key.len > AVOW_BOOT_NAME_MAX || has_control(key))
        return avow_json_refuse(r, AVOW_PARSE, "not 1 to %u printable bytes", AVOW_BOOT_NAME_MAX);
    for (size_t i = 0; i < all->count; i++) {
        if (avow_str_is(key, all->items[i].name))
            return avow_json_refuse(r, AVOW_PARSE, "duplicate key");
    }
    struct avow_boot_variable *v = add_variable(r, all);
    const char *name = v ? avow_arena_cstr(&rules_of(r)->arena, key) : NULL;
    if (!name)
        return no_memory(r);
    v->name = name;
    v->pcr = AUTHORITY_PCR;
    return read_hashes(r, &v->values);
}

static enum avow_rc read_authorities(struct avow_json_read *r, void *out)
{
    struct part *p = out;
    p->set->has_authorities = true;
    p->set->judged |= UINT32_C(1) << AUTHORITY_PCR;
    return avow_json_read_keys(r, read_authority, out, AVOW_BOOT_VARIABLES_MAX);
}

static enum avow_rc read_pcr_number(struct avow_json_read *r, uint32_t n, uint8_t *out)
{
    if (n > LAST_PCR || n == IMA_PCR)
        return avow_json_refuse(r, AVOW_PARSE, "not a PCR of the boot: 0 to %u, but %u", LAST_PCR,
                                IMA_PCR);
    *out = (uint8_t)n;
    return AVOW_OK;
}

static enum avow_rc read_pcr(struct avow_json_read *r, void *out)
{
    uint32_t n;
    enum avow_rc rc = avow_json_read_u32(r, &n);
    return rc ? rc : read_pcr_number(r, n, out);
}

static enum avow_rc read_guid(struct avow_json_read *r, void *out)
{
    struct avow_str s;
    enum avow_rc rc = avow_json_read_text(r, &s);
    if (!rc && !avow_efi_guid_parse(s, out))
        rc = avow_json_refuse(r, AVOW_PARSE, "not a GUID");
    return rc;
}

static enum avow_rc check_counts(struct avow_json_read *r, uint32_t min, uint32_t max)
{
    return !max || min > max ? avow_json_refuse(r, AVOW_PARSE, "\"min\" and \"max\" allow nothing")
                             : AVOW_OK;
}

static enum avow_rc read_variable(struct avow_json_read *r, void *out)
{
    struct part *p = out;
    struct avow_boot_ids by_value = {.count = 0};
    struct avow_boot_variable *v = add_variable(r, &p->set->variables);
    if (!v)
        return no_memory(r);
    v->pcr = AUTHORITY_PCR;
    v->min = v->max = 1;
    const struct avow_json_field fields[] = {
        {"name", read_name, &v->name, true},         {"guid", read_guid, v->guid, true},
        {"pcr", read_pcr, &v->pcr, false},           {"sha256", read_hashes, &v->values, false},
        {"value", read_values, &by_value, false},    {"any", avow_json_read_bool, &v->any, false},
        {"min", avow_json_read_u32, &v->min, false}, {"max", avow_json_read_u32, &v->max, false}};
    enum avow_rc rc = avow_json_read_object(r, fields, AVOW_ARRAY_LEN(fields));
    if (rc)
        return rc;
    int given = (v->values.count > 0) + (by_value.count > 0) + v->any;
    if (given != 1)
        return avow_json_refuse(r, AVOW_PARSE, "needs one of \"sha256\", \"value\" and \"any\"");
    if (by_value.count)
        v->values = by_value;
    p->set->judged |= UINT32_C(1) << v->pcr;
    return check_counts(r, v->min, v->max);
}

static enum avow_rc read_variables(struct avow_json_read *r, void *out)
{
    return avow_json_read_list(r, read_variable, out, AVOW_BOOT_VARIABLES_MAX);
}

/* --- Texts --- */

static struct avow_boot_texts *new_texts(struct avow_json_read *r)
{
    struct avow_boot_rules *p = rules_of(r);
    struct avow_boot_texts *t = avow_arena_alloc(&p->arena, 1, sizeof *t);
    if (!t)
        return NULL;
    t->next = p->texts;
    p->texts = t;
    return t;
}

static enum avow_rc put_text(struct avow_json_read *r, struct avow_boot_texts *t, struct avow_str s)
{
    struct avow_err why = {.rc = AVOW_OK};
    if (s.len > AVOW_BOOT_TEXT_MAX)
        return avow_json_refuse(r, AVOW_LIMIT, "more than %u bytes", AVOW_BOOT_TEXT_MAX);
    if (rules_of(r)->expressions++ == AVOW_BOOT_EXPRESSIONS_MAX)
        return avow_json_refuse(r, AVOW_LIMIT, "more than %u expressions in all",
                                AVOW_BOOT_EXPRESSIONS_MAX);
    enum avow_rc rc = avow_excludes_put(&t->x, s, &why);
    return rc ? avow_json_refuse(r, rc, "%.120s", why.msg) : AVOW_OK;
}

static enum avow_rc read_expression(struct avow_json_read *r, void *out)
{
    struct avow_str s;
    enum avow_rc rc = avow_json_read_text(r, &s);
    return rc ? rc : put_text(r, out, s);
}

static enum avow_rc read_texts(struct avow_json_read *r, void *out)
{
    struct avow_boot_texts *t = new_texts(r);
    if (!t)
        return no_memory(r);
    enum avow_rc rc = avow_json_read_list(r, read_expression, t, AVOW_BOOT_TEXTS_MAX);
    if (!rc && !t->x.count)
        rc = avow_json_refuse(r, AVOW_PARSE, "empty");
    if (!rc && avow_excludes_finish(&t->x, NULL))
        rc = no_memory(r);
    *(const struct avow_boot_texts **)out = t;
    return rc;
}

static enum avow_rc read_command_lines(struct avow_json_read *r, void *out)
{
    struct part *p = out;
    p->set->judged |= UINT32_C(1) << COMMAND_PCR;
    return read_texts(r, &p->set->command_lines);
}

static enum avow_rc read_commands(struct avow_json_read *r, void *out)
{
    struct part *p = out;
    struct avow_str s;
    p->set->judged |= UINT32_C(1) << COMMAND_PCR;
    if (avow_json_peek(&r->j) != AVOW_JSON_STRING)
        return read_texts(r, &p->set->commands);
    enum avow_rc rc = avow_json_read_text(r, &s);
    if (!rc && !avow_str_is(s, "any"))
        rc = avow_json_refuse(r, AVOW_PARSE, "neither a list nor \"any\"");
    p->set->any_command = true;
    return rc;
}

/* --- Steps --- */

int avow_boot_digest_cmp(const void *a, const void *b)
{
    const struct avow_boot_digest *x = a, *y = b;
    if (x->alg != y->alg)
        return x->alg < y->alg ? -1 : 1;
    return avow_bytes_cmp(AVOW_BYTES_OF(x->bytes), AVOW_BYTES_OF(y->bytes));
}

static enum avow_rc read_digest_value(struct avow_json_read *r, struct avow_str key, void *out)
{
    struct avow_boot_step *s = out;
    struct avow_str hex;
    enum avow_hash alg;
    if (!avow_hash_from_name(key, &alg))
        return avow_json_refuse(r, AVOW_PARSE, "not a hash algorithm");
    enum avow_rc rc = avow_json_read_text(r, &hex);
    if (rc)
        return rc;
    struct avow_boot_digest *items =
        add(r, s->digests, &s->digests_count, &s->digests_cap, sizeof *items);
    if (!items)
        return no_memory(r);
    s->digests = items;
    items[s->digests_count - 1].alg = (uint8_t)alg;
    s->algs |= UINT32_C(1) << alg;
    return avow_hex_decode(items[s->digests_count - 1].bytes, avow_hash_len(alg), hex)
               ? AVOW_OK
               : avow_json_refuse(r, AVOW_PARSE, "not a %s in hex", avow_hash_name(alg));
}

/* All digests of a step are of the same algorithms: one that is quoted must not leave out some. */
static enum avow_rc read_digest(struct avow_json_read *r, void *out)
{
    struct avow_boot_step *s = out;
    uint32_t before = s->algs;
    s->algs = 0;
    enum avow_rc rc = avow_json_read_keys(r, read_digest_value, s, AVOW_EVENT_BANKS_MAX);
    if (!rc && (!s->algs || (before && s->algs != before)))
        rc = avow_json_refuse(r, AVOW_PARSE,
                              s->algs ? "is of other algorithms than the one before" : "empty");
    return rc;
}

static enum avow_rc read_digests(struct avow_json_read *r, void *out)
{
    struct avow_boot_step *s = out;
    enum avow_rc rc = avow_json_read_list(r, read_digest, s, AVOW_BOOT_DIGESTS_MAX);
    if (!rc && !s->digests_count)
        rc = avow_json_refuse(r, AVOW_PARSE, "empty");
    if (!rc)
        qsort(s->digests, s->digests_count, sizeof *s->digests, avow_boot_digest_cmp);
    return rc;
}

static enum avow_rc read_type(struct avow_json_read *r, void *out)
{
    struct avow_boot_step *s = out;
    struct avow_str text;
    uint8_t raw[4];
    enum avow_rc rc = avow_json_read_text(r, &text);
    if (rc)
        return rc;
    s->has_type = true;
#define X(name, value)                                                                             \
    if (avow_str_is(text, "EV_" #name)) {                                                          \
        s->type = (value);                                                                         \
        return AVOW_OK;                                                                            \
    }
    AVOW_EVENT_TYPE_MAP(X)
#undef X
    if (text.len != 10 || !avow_str_starts(text, "0x") ||
        !avow_hex_decode(raw, sizeof raw, (struct avow_str){text.ptr + 2, 8}))
        return avow_json_refuse(r, AVOW_PARSE, "neither a name like EV_IPL nor like 0x0000000d");
    struct avow_rd rd = avow_rd_make(AVOW_BYTES_OF(raw));
    s->type = avow_rd_u32be(&rd);
    return AVOW_OK;
}

enum step_place { IN_ORDER, WITHOUT_ORDER, FORBIDDEN };

static enum avow_rc check_step(struct avow_json_read *r, struct avow_boot_step *s, bool any,
                               enum step_place place)
{
    int given = (s->digests_count > 0) + (s->texts != NULL) + any;
    if (given != 1 || (any && place == FORBIDDEN))
        return avow_json_refuse(r, AVOW_PARSE, "needs one of \"digests\" and \"text\"%s",
                                place == FORBIDDEN ? "" : ", or \"any\"");
    s->how = s->texts ? AVOW_BOOT_TEXT : any ? AVOW_BOOT_ANY : AVOW_BOOT_DIGESTS;
    return check_counts(r, s->min, s->max);
}

static enum avow_rc read_step_at(struct avow_json_read *r, struct part *p, enum step_place place)
{
    bool any = false;
    struct avow_boot_step *items =
        add(r, p->steps->items, &p->steps->count, &p->steps->cap, sizeof *items);
    if (!items)
        return no_memory(r);
    p->steps->items = items;
    struct avow_boot_step *s = &items[p->steps->count - 1];
    *s = (struct avow_boot_step){.pcr = (uint8_t)p->pcr, .min = 1, .max = 1};
    s->at = rules_of(r)->counters++;
    s->forbidden = place == FORBIDDEN;
    if (place == WITHOUT_ORDER)
        s->max = UNLIMITED;
    const struct avow_json_field fields[] = {
        {"name", read_name, &s->name, false},        {"type", read_type, s, false},
        {"digests", read_digests, s, false},         {"text", read_texts, &s->texts, false},
        {"any", avow_json_read_bool, &any, false},   {"min", avow_json_read_u32, &s->min, false},
        {"max", avow_json_read_u32, &s->max, false}, {"pcr", read_pcr, &s->pcr, true}};
    size_t n = AVOW_ARRAY_LEN(fields);
    enum avow_rc rc = avow_json_read_object(r, fields, place == IN_ORDER ? n - 1 : n);
    /* Whoever writes the log chooses the type. */
    if (!rc && place == FORBIDDEN && s->has_type)
        rc = avow_json_refuse(r, AVOW_PARSE, "a type is covered by no digest: it hides nothing");
    return rc ? rc : check_step(r, s, any, place);
}

static enum avow_rc read_ordered(struct avow_json_read *r, void *out)
{
    return read_step_at(r, out, IN_ORDER);
}

static enum avow_rc read_event(struct avow_json_read *r, void *out)
{
    struct part *p = out;
    enum avow_rc rc = read_step_at(r, p, WITHOUT_ORDER);
    if (!rc)
        p->set->judged |= UINT32_C(1) << p->steps->items[p->steps->count - 1].pcr;
    return rc;
}

static enum avow_rc read_forbidden_step(struct avow_json_read *r, void *out)
{
    return read_step_at(r, out, FORBIDDEN);
}

static enum avow_rc read_events(struct avow_json_read *r, void *out)
{
    struct part p = *(struct part *)out;
    p.steps = &p.set->events;
    return avow_json_read_list(r, read_event, &p, AVOW_BOOT_STEPS_MAX);
}

static enum avow_rc read_forbidden(struct avow_json_read *r, void *out)
{
    struct part p = *(struct part *)out;
    p.steps = &p.set->forbidden;
    return avow_json_read_list(r, read_forbidden_step, &p, AVOW_BOOT_STEPS_MAX);
}

/* --- Sequences --- */

static enum avow_rc read_sequence(struct avow_json_read *r, struct avow_boot_set *set, unsigned pcr)
{
    struct part p = {.set = set, .steps = &set->sequences[pcr], .pcr = pcr};
    if (set->has_sequence & UINT32_C(1) << pcr)
        return avow_json_refuse(r, AVOW_PARSE, "PCR %u has two sequences", pcr);
    set->has_sequence |= UINT32_C(1) << pcr;
    set->judged |= UINT32_C(1) << pcr;
    return avow_json_read_list(r, read_ordered, &p, AVOW_BOOT_STEPS_MAX);
}

static enum avow_rc read_numbered(struct avow_json_read *r, struct avow_str key, void *out)
{
    struct part *p = out;
    uint64_t n;
    uint8_t pcr = 0;
    if (!avow_num_parse_u64(key, UINT32_MAX, &n))
        return avow_json_refuse(r, AVOW_PARSE, "not a PCR");
    enum avow_rc rc = read_pcr_number(r, (uint32_t)n, &pcr);
    return rc ? rc : read_sequence(r, p->set, pcr);
}

static enum avow_rc read_sequences(struct avow_json_read *r, void *out)
{
    return avow_json_read_keys(r, read_numbered, out, AVOW_EVENT_PCRS);
}

/* X(member, PCR): names of sequences. */
#define NAMED_MAP(X)                                                                               \
    X(drivers, 2)                                                                                  \
    X(images, 4)                                                                                   \
    X(files, 9)                                                                                    \
    X(uki, 11)                                                                                     \
    X(mok, 14)
#define X(member, pcr)                                                                             \
    static enum avow_rc read_##member(struct avow_json_read *r, void *out)                         \
    {                                                                                              \
        return read_sequence(r, ((struct part *)out)->set, (pcr));                                 \
    }
NAMED_MAP(X)
#undef X

/* --- Boots --- */

#define BOOT_FIELDS(p)                                                                             \
    {"secure_boot", read_secure_boot, (p), false}, {"keys", read_keys, (p), false},                \
        {"authorities", read_authorities, (p), false}, {"variables", read_variables, (p), false},  \
        {"command_lines", read_command_lines, (p), false},                                         \
        {"grub_commands", read_commands, (p), false}, {"sequences", read_sequences, (p), false},   \
        {"events", read_events, (p), false}, {"forbidden", read_forbidden, (p), false},            \
        {"images", read_images, (p), false}, {"drivers", read_drivers, (p), false},                \
        {"files", read_files, (p), false}, {"uki", read_uki, (p), false},                          \
    {                                                                                              \
        "mok", read_mok, (p), false                                                                \
    }

/* A member that holds for all boots is not in one of them too, and each PCR has one sequence. */
static const char *given_twice(const struct avow_boot_set *common, const struct avow_boot_set *b)
{
    if (common->secure_boot && b->secure_boot)
        return "secure_boot";
    if (common->has_keys && b->has_keys)
        return "keys";
    if (common->has_authorities && b->has_authorities)
        return "authorities";
    if (common->command_lines && b->command_lines)
        return "command_lines";
    if ((common->commands || common->any_command) && (b->commands || b->any_command))
        return "grub_commands";
    return common->has_sequence & b->has_sequence ? "a sequence" : NULL;
}

static enum avow_rc read_boot(struct avow_json_read *r, void *out)
{
    struct avow_boot_rules *p = out;
    struct avow_boot_set *items = add(r, p->boots, &p->boots_count, &p->boots_cap, sizeof *items);
    if (!items)
        return no_memory(r);
    p->boots = items;
    struct avow_boot_set *set = &items[p->boots_count - 1];
    struct part part = {.set = set};
    const struct avow_json_field fields[] = {{"name", read_name, &set->name, false},
                                             BOOT_FIELDS(&part)};
    return avow_json_read_object(r, fields, AVOW_ARRAY_LEN(fields));
}

static enum avow_rc read_boots(struct avow_json_read *r, void *out)
{
    struct avow_boot_rules *p = out;
    p->has_boots = true;
    enum avow_rc rc = avow_json_read_list(r, read_boot, p, AVOW_BOOT_BOOTS_MAX);
    if (!rc && !p->boots_count)
        rc = avow_json_refuse(r, AVOW_PARSE, "empty");
    return rc;
}

static enum avow_rc read_firmware_events(struct avow_json_read *r, void *out)
{
    struct part p = {.steps = out, .pcr = 0};
    return avow_json_read_list(r, read_ordered, &p, AVOW_BOOT_STEPS_MAX);
}

static enum avow_rc read_firmware_item(struct avow_json_read *r, void *out)
{
    struct avow_boot_rules *p = out;
    struct avow_boot_firmware *items =
        add(r, p->firmware, &p->firmware_count, &p->firmware_cap, sizeof *items);
    if (!items)
        return no_memory(r);
    p->firmware = items;
    struct avow_boot_firmware *f = &items[p->firmware_count - 1];
    const struct avow_json_field fields[] = {{"name", read_name, &f->name, false},
                                             {"events", read_firmware_events, &f->steps, true}};
    return avow_json_read_object(r, fields, AVOW_ARRAY_LEN(fields));
}

static enum avow_rc read_firmware(struct avow_json_read *r, void *out)
{
    struct avow_boot_rules *p = out;
    p->has_firmware = true;
    p->common.judged |= 1;
    enum avow_rc rc = avow_json_read_list(r, read_firmware_item, p, AVOW_BOOT_FIRMWARE_MAX);
    if (!rc && !p->firmware_count)
        rc = avow_json_refuse(r, AVOW_PARSE, "empty");
    return rc;
}

/* --- The whole --- */

static enum avow_rc read_version(struct avow_json_read *r, void *out)
{
    uint32_t n;
    (void)out;
    enum avow_rc rc = avow_json_read_u32(r, &n);
    return rc || n == 1 ? rc : avow_json_refuse(r, AVOW_PARSE, "not 1, the version that is known");
}

static uint32_t forbidden_pcrs(const struct avow_boot_set *set)
{
    uint32_t pcrs = 0;
    for (size_t i = 0; i < set->forbidden.count; i++)
        pcrs |= UINT32_C(1) << set->forbidden.items[i].pcr;
    return pcrs;
}

static bool hides_text(const struct avow_boot_set *set, uint32_t judged)
{
    for (size_t i = 0; i < set->forbidden.count; i++) {
        const struct avow_boot_step *s = &set->forbidden.items[i];
        if (s->how == AVOW_BOOT_TEXT && !(judged & UINT32_C(1) << s->pcr))
            return true;
    }
    return false;
}

static const char *contradiction(const struct avow_boot_rules *p, const struct avow_boot_set *b)
{
    const struct avow_boot_set *c = &p->common;
    if (hides_text(c, c->judged | b->judged) || hides_text(b, c->judged | b->judged))
        return "a text is forbidden in a PCR that is not judged: it could be left out of the log's "
               "data";
    if (p->has_firmware && (b->judged & 1 || forbidden_pcrs(b) & 1))
        return "PCR 0 is judged by \"firmware\"";
    return NULL;
}

static enum avow_rc check(const struct avow_boot_rules *p, struct avow_err *err)
{
    static const struct avow_boot_set none;
    const char *wrong = p->has_boots ? NULL : contradiction(p, &none);
    if (p->has_firmware && p->common.has_sequence & 1)
        wrong = "PCR 0 has two sequences";
    if (wrong)
        return avow_err_set(err, AVOW_PARSE, 0, "$: %s", wrong);
    for (size_t i = 0; i < p->boots_count; i++) {
        const char *twice = given_twice(&p->common, &p->boots[i]);
        wrong = contradiction(p, &p->boots[i]);
        if (twice)
            return avow_err_set(err, AVOW_PARSE, 0, "$.boots[%zu]: %s is given for all boots too",
                                i, twice);
        if (wrong)
            return avow_err_set(err, AVOW_PARSE, 0, "$.boots[%zu]: %s", i, wrong);
    }
    return p->pcrs ? AVOW_OK : avow_err_set(err, AVOW_PARSE, 0, "$: demands nothing");
}

static enum avow_rc load(struct avow_bytes json, struct avow_boot_rules *p, struct avow_err *err)
{
    struct part part = {.set = &p->common};
    const struct avow_json_field fields[] = {{"avow_boot_policy", read_version, NULL, true},
                                             {"description", read_description, NULL, false},
                                             {"firmware", read_firmware, p, false},
                                             {"boots", read_boots, p, false},
                                             BOOT_FIELDS(&part)};
    enum avow_rc rc = avow_json_read_document(json, fields, AVOW_ARRAY_LEN(fields), p, err);
    if (rc)
        return rc;
    p->pcrs = p->common.judged | forbidden_pcrs(&p->common);
    for (size_t i = 0; i < p->boots_count; i++)
        p->pcrs |= p->boots[i].judged | forbidden_pcrs(&p->boots[i]);
    return check(p, err);
}

enum avow_rc avow_boot_rules_load(struct avow_bytes json, void **out, struct avow_err *err)
{
    struct avow_boot_rules *p = calloc(1, sizeof *p);
    if (!p)
        return avow_err_set(err, AVOW_NOMEM, 0, "boot policy");
    avow_arena_init(&p->arena, AVOW_BOOT_POLICY_BYTES_MAX);
    enum avow_rc rc = load(json, p, err);
    if (rc) {
        avow_boot_rules_free(p);
        return avow_err_wrap(err, rc, "boot policy");
    }
    *out = p;
    return AVOW_OK;
}

void avow_boot_rules_free(void *rules)
{
    struct avow_boot_rules *p = rules;
    for (struct avow_boot_texts *t = p->texts; t; t = t->next)
        avow_excludes_deinit(&t->x);
    avow_arena_deinit(&p->arena);
    free(p);
}
