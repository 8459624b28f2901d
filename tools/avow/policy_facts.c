/* policy_facts.c - see policy_facts.h. */
#include "policy_facts.h"

#include <stdlib.h>
#include <string.h>

#include "avow/base/banned.h"

#define FACTS_BYTES_MAX (512u * 1024u * 1024u)

void avow_policy_facts_init(struct avow_policy_facts *f)
{
    *f = (struct avow_policy_facts){.count = 0};
    avow_arena_init(&f->arena, FACTS_BYTES_MAX);
}

void avow_policy_facts_deinit(struct avow_policy_facts *f)
{
    free(f->items);
    avow_arena_deinit(&f->arena);
    *f = (struct avow_policy_facts){.count = 0};
}

enum avow_rc avow_policy_facts_add(struct avow_policy_facts *f, enum avow_policy_item kind,
                                   struct avow_str name, struct avow_bytes value,
                                   struct avow_err *err)
{
    if (f->count == f->cap) {
        size_t cap = f->cap ? f->cap * 2 : 256;
        struct avow_policy_fact *grown = realloc(f->items, cap * sizeof *grown);
        if (!grown)
            return avow_err_set(err, AVOW_NOMEM, 0, "policy");
        f->items = grown;
        f->cap = cap;
    }
    /* Values of one name come one after another. */
    const struct avow_policy_fact *last = f->count ? &f->items[f->count - 1] : NULL;
    struct avow_policy_fact fact = {.kind = kind, .value = avow_arena_bytes(&f->arena, value)};
    fact.name =
        last && avow_str_eq(last->name, name) ? last->name : avow_arena_str(&f->arena, name);
    if ((name.len && !fact.name.ptr) || (value.len && !fact.value.ptr))
        return avow_err_set(err, AVOW_NOMEM, 0, "policy");
    f->items[f->count++] = fact;
    return AVOW_OK;
}

static enum avow_rc take(void *ctx, enum avow_policy_item item, struct avow_str name,
                         struct avow_bytes value, struct avow_err *err)
{
    bool list = item == AVOW_POLICY_ITEM_DIGEST || item == AVOW_POLICY_ITEM_KEYRING ||
                item == AVOW_POLICY_ITEM_IMA_BUF;
    /* An empty value begins a list, and a list has at least one. */
    return list && !value.len ? AVOW_OK : avow_policy_facts_add(ctx, item, name, value, err);
}

enum avow_rc avow_policy_facts_load(struct avow_policy_facts *f, struct avow_bytes text,
                                    struct avow_err *err)
{
    const struct avow_policy_sink sink = {.ctx = f, .item = take};
    return avow_policy_text_parse(text, &sink, err);
}

/* Excludes and warnings too: their order decides nothing. */
int avow_policy_fact_cmp(const struct avow_policy_fact *a, const struct avow_policy_fact *b)
{
    if (a->kind != b->kind)
        return a->kind < b->kind ? -1 : 1;
    int order = avow_str_cmp(a->name, b->name);
    return order ? order : avow_bytes_cmp(a->value, b->value);
}

static int by_order(const void *a, const void *b)
{
    return avow_policy_fact_cmp(a, b);
}

void avow_policy_facts_sort(struct avow_policy_facts *f)
{
    size_t kept = 0;
    if (f->count)
        qsort(f->items, f->count, sizeof *f->items, by_order);
    for (size_t i = 0; i < f->count; i++) {
        if (!kept || avow_policy_fact_cmp(&f->items[kept - 1], &f->items[i]))
            f->items[kept++] = f->items[i];
    }
    f->count = kept;
}

const char *avow_policy_fact_kind_text(enum avow_policy_item kind)
{
    static const char *const names[] = {
        [AVOW_POLICY_ITEM_DIGEST] = "digest",
        [AVOW_POLICY_ITEM_EXCLUDE] = "exclude",
        [AVOW_POLICY_ITEM_KEYRING] = "keyring",
        [AVOW_POLICY_ITEM_IMA_BUF] = "ima-buf",
        [AVOW_POLICY_ITEM_IGNORED_KEYRING] = "ignored-keyring",
        [AVOW_POLICY_ITEM_VERIFICATION_KEYS] = "verification-keys",
        [AVOW_POLICY_ITEM_DM_POLICY] = "dm-policy",
        [AVOW_POLICY_ITEM_LEGACY] = "older-form",
        [AVOW_POLICY_ITEM_STRICT_EXCLUDES] = "strict-excludes",
        [AVOW_POLICY_ITEM_WARNING] = "warning",
    };
    return (size_t)kind < AVOW_ARRAY_LEN(names) ? names[kind] : "?";
}

/* --- Writing --- */

struct writer {
    const struct avow_policy_facts *facts;
    struct avow_buf *out;
    struct avow_err *err;
};

static enum avow_rc put_string(struct writer *w, struct avow_str s)
{
    if (!avow_utf8_is_valid(s))
        return avow_err_set(w->err, AVOW_PARSE, 0, "'%.*s' is no UTF-8: no JSON policy can name it",
                            (int)(s.len < 80 ? s.len : 80), s.ptr);
    avow_buf_put_u8(w->out, '"');
    for (size_t i = 0; i < s.len; i++) {
        uint8_t c = (uint8_t)s.ptr[i];
        if (c < 0x20 || c == 0x7F)
            avow_buf_printf(w->out, "\\u%04x", c);
        else if (c == '"' || c == '\\')
            avow_buf_printf(w->out, "\\%c", c);
        else
            avow_buf_put_u8(w->out, c);
    }
    avow_buf_put_u8(w->out, '"');
    return AVOW_OK;
}

static void put_hex(struct writer *w, struct avow_bytes value)
{
    avow_buf_put_u8(w->out, '"');
    for (size_t i = 0; i < value.len; i++)
        avow_buf_printf(w->out, "%02x", value.ptr[i]);
    avow_buf_put_u8(w->out, '"');
}

/* {name: [hex, ...], ...} of one kind */
static enum avow_rc put_lists(struct writer *w, enum avow_policy_item kind)
{
    const struct avow_policy_fact *before = NULL;
    avow_buf_put_u8(w->out, '{');
    for (size_t i = 0; i < w->facts->count; i++) {
        const struct avow_policy_fact *f = &w->facts->items[i];
        if (f->kind != kind)
            continue;
        if (before && avow_str_eq(before->name, f->name)) {
            avow_buf_put_str(w->out, ", ");
        } else {
            avow_buf_put_str(w->out, before ? "],\n    " : "\n    ");
            enum avow_rc rc = put_string(w, f->name);
            if (rc)
                return rc;
            avow_buf_put_str(w->out, ": [");
        }
        put_hex(w, f->value);
        before = f;
    }
    avow_buf_put_str(w->out, before ? "]\n  }" : "}");
    return AVOW_OK;
}

/* [name, ...] of one kind */
static enum avow_rc put_names(struct writer *w, enum avow_policy_item kind)
{
    bool first = true;
    avow_buf_put_u8(w->out, '[');
    for (size_t i = 0; i < w->facts->count; i++) {
        if (w->facts->items[i].kind != kind)
            continue;
        avow_buf_put_str(w->out, first ? "\n    " : ",\n    ");
        first = false;
        enum avow_rc rc = put_string(w, w->facts->items[i].name);
        if (rc)
            return rc;
    }
    avow_buf_put_str(w->out, first ? "]" : "\n  ]");
    return AVOW_OK;
}

/* The one fact of its kind; NULL if there is none. */
static enum avow_rc find_one(struct writer *w, enum avow_policy_item kind,
                             const struct avow_policy_fact **out)
{
    *out = NULL;
    for (size_t i = 0; i < w->facts->count; i++) {
        if (w->facts->items[i].kind != kind)
            continue;
        if (*out)
            return avow_err_set(w->err, AVOW_PARSE, 0, "two different %s: a policy has one",
                                avow_policy_fact_kind_text(kind));
        *out = &w->facts->items[i];
    }
    return AVOW_OK;
}

static enum avow_rc put_member(struct writer *w, const char *name, enum avow_policy_item kind,
                               enum avow_rc (*put)(struct writer *, enum avow_policy_item))
{
    avow_buf_printf(w->out, ",\n  \"%s\": ", name);
    return put(w, kind);
}

static enum avow_rc put_ima(struct writer *w)
{
    const struct avow_policy_fact *dm;
    enum avow_rc rc = find_one(w, AVOW_POLICY_ITEM_DM_POLICY, &dm);
    if (rc)
        return rc;
    avow_buf_put_str(w->out, ",\n  \"ima\": {\"ignored_keyrings\": ");
    rc = put_names(w, AVOW_POLICY_ITEM_IGNORED_KEYRING);
    if (rc)
        return rc;
    avow_buf_put_str(w->out, ", \"log_hash_alg\": \"sha1\", \"dm_policy\": ");
    if (dm)
        avow_buf_put(w->out, dm->name.ptr, dm->name.len); /* JSON as it was read */
    else
        avow_buf_put_str(w->out, "null");
    avow_buf_put_u8(w->out, '}');
    return AVOW_OK;
}

static enum avow_rc put_texts(struct writer *w)
{
    const struct avow_policy_fact *keys, *strict;
    enum avow_rc rc = find_one(w, AVOW_POLICY_ITEM_VERIFICATION_KEYS, &keys);
    if (!rc)
        rc = find_one(w, AVOW_POLICY_ITEM_STRICT_EXCLUDES, &strict);
    if (rc)
        return rc;
    avow_buf_put_str(w->out, ",\n  \"verification-keys\": ");
    rc = put_string(w, keys ? keys->name : AVOW_STR_LIT(""));
    if (!rc && strict)
        avow_buf_put_str(w->out, ",\n  \"avow\": {\"version\": 1, \"strict_excludes\": true}");
    return rc;
}

/* Generator 2: Keylime does not enforce policies of generator 0 and 1 in push mode. */
enum avow_rc avow_policy_facts_write(const struct avow_policy_facts *f, struct avow_buf *out,
                                     struct avow_err *err)
{
    struct writer w = {f, out, err};
    avow_buf_put_str(out, "{\n  \"meta\": {\"version\": 1, \"generator\": 2},\n  \"release\": 0");
    enum avow_rc rc = put_member(&w, "digests", AVOW_POLICY_ITEM_DIGEST, put_lists);
    if (!rc)
        rc = put_member(&w, "excludes", AVOW_POLICY_ITEM_EXCLUDE, put_names);
    if (!rc)
        rc = put_member(&w, "keyrings", AVOW_POLICY_ITEM_KEYRING, put_lists);
    if (!rc)
        rc = put_ima(&w);
    if (!rc)
        rc = put_member(&w, "ima-buf", AVOW_POLICY_ITEM_IMA_BUF, put_lists);
    if (!rc)
        rc = put_texts(&w);
    if (rc)
        return rc;
    avow_buf_put_str(out, "\n}\n");
    return avow_buf_status(out, err);
}
