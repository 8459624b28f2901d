/* excludes.c - see excludes.h. */
#define PCRE2_CODE_UNIT_WIDTH 8
#include "excludes.h"

#include "exclude_literal.h"

#include <pcre2.h>
#include <stdlib.h>

#include "avow/base/banned.h"

/* Fixed, so that a verdict is the same on every machine. An ordinary expression on a path of 4096
 * bytes needs a few thousand steps; catastrophic ones hit the limit within milliseconds. */
#define MATCH_LIMIT 100000u
#define DEPTH_LIMIT 5000u
#define HEAP_LIMIT_KIB 4096u
#define FIRST_STEPS 64u     /* enough for most expressions on a short text */
#define CODE_OF_A_STEP 256u /* bytes; ordinary expressions are shorter */

enum { WAY_PREFIX = 0, WAY_STRICT = 1, WAYS = 2 };

struct avow_exclude {
    char *pattern; /* owned */
    size_t pattern_len;
    enum avow_literal_kind kind;
    char *literal; /* owned; NULL for a real expression */
    size_t literal_len;
    pcre2_code *code; /* owned; NULL for a literal */
};

static struct avow_str literal_of(const struct avow_exclude *e)
{
    return (struct avow_str){e->literal, e->literal_len};
}

static void free_exclude(struct avow_exclude *e)
{
    free(e->pattern);
    free(e->literal);
    pcre2_code_free(e->code);
}

void avow_excludes_deinit(struct avow_excludes *x)
{
    for (size_t i = 0; i < x->count; i++)
        free_exclude(&x->items[i]);
    free(x->items);
    for (size_t way = 0; way < WAYS; way++) {
        free(x->prefixes[way].items);
        free(x->exacts[way].items);
    }
    pcre2_match_context_free(x->limits);
    *x = (struct avow_excludes){0};
}

static enum avow_rc compile(struct avow_exclude *e, struct avow_err *err)
{
    int code;
    size_t offset;
    struct avow_str pattern = {e->pattern, e->pattern_len};
    if (avow_literal_has_verb(pattern))
        return avow_err_set(err, AVOW_PARSE, 0, "not an expression: nothing to repeat after (");
    e->code = pcre2_compile((PCRE2_SPTR)e->pattern, e->pattern_len,
                            PCRE2_UTF | PCRE2_MATCH_INVALID_UTF | PCRE2_NEVER_BACKSLASH_C, &code,
                            &offset, NULL);
    if (e->code)
        return AVOW_OK;
    if (code == PCRE2_ERROR_NOMEMORY || code == 121) /* 121: out of memory while compiling */
        return avow_err_set(err, AVOW_NOMEM, 0, "expression");
    unsigned char text[120];
    if (pcre2_get_error_message(code, text, sizeof text) < 0)
        text[0] = 0;
    return avow_err_set(err, AVOW_PARSE, 0, "not an expression: %s at byte %zu", (const char *)text,
                        offset);
}

static enum avow_rc fill(struct avow_exclude *e, struct avow_str pattern, struct avow_err *err)
{
    e->pattern = malloc(pattern.len + 1);
    e->literal = malloc(pattern.len + 1);
    if (!e->pattern || !e->literal)
        return avow_err_set(err, AVOW_NOMEM, 0, "expression");
    memcpy(e->pattern, pattern.ptr, pattern.len);
    e->pattern[pattern.len] = 0;
    e->pattern_len = pattern.len;
    e->kind = avow_literal_parse(pattern, e->literal, &e->literal_len);
    if (e->kind != AVOW_LITERAL_NONE)
        return AVOW_OK;
    free(e->literal);
    e->literal = NULL;
    return compile(e, err);
}

/* "/tmp" as a prefix covers "/tmpevil"; "/tmp/" and "/tmp/.*" do not. */
static bool is_open(const struct avow_exclude *e)
{
    return (e->kind == AVOW_LITERAL_PLAIN || e->kind == AVOW_LITERAL_REST) &&
           (!e->literal_len || e->literal[e->literal_len - 1] != '/');
}

enum avow_rc avow_excludes_put(struct avow_excludes *x, struct avow_str pattern,
                               struct avow_err *err)
{
    if (x->count == x->cap) {
        size_t cap = x->cap ? x->cap * 2 : 16;
        struct avow_exclude *grown = realloc(x->items, cap * sizeof *grown);
        if (!grown)
            return avow_err_set(err, AVOW_NOMEM, 0, "expressions");
        x->items = grown;
        x->cap = cap;
    }
    struct avow_exclude e = {0};
    enum avow_rc rc = fill(&e, pattern, err);
    if (rc) {
        free_exclude(&e);
        return rc;
    }
    x->items[x->count++] = e;
    x->literals += e.kind != AVOW_LITERAL_NONE;
    x->open += is_open(&e);
    return AVOW_OK;
}

static int by_text(const void *a, const void *b)
{
    const struct avow_str *x = a, *y = b;
    return avow_str_cmp(*x, *y);
}

static bool starts(struct avow_str s, struct avow_str prefix)
{
    return s.len >= prefix.len && avow_str_eq((struct avow_str){s.ptr, prefix.len}, prefix);
}

/* Whether a literal of this kind, without newlines in the path, is an exact name rather than a
 * prefix. */
static bool is_exact(enum avow_literal_kind kind, size_t way)
{
    return kind == AVOW_LITERAL_END || (kind == AVOW_LITERAL_PLAIN && way == WAY_STRICT);
}

static enum avow_rc build(const struct avow_excludes *x, size_t way, bool exact,
                          struct avow_exclude_index *out, struct avow_err *err)
{
    out->items = calloc(x->count + 1, sizeof *out->items);
    if (!out->items)
        return avow_err_set(err, AVOW_NOMEM, 0, "expressions");
    for (size_t i = 0; i < x->count; i++) {
        const struct avow_exclude *e = &x->items[i];
        if (e->kind != AVOW_LITERAL_NONE && is_exact(e->kind, way) == exact)
            out->items[out->count++] = literal_of(e);
    }
    qsort(out->items, out->count, sizeof *out->items, by_text);
    if (exact)
        return AVOW_OK;
    /* With no item that begins with another, only the last one not after a path can be its prefix.
     */
    size_t kept = 0;
    for (size_t i = 0; i < out->count; i++) {
        if (!kept || !starts(out->items[i], out->items[kept - 1]))
            out->items[kept++] = out->items[i];
    }
    out->count = kept;
    return AVOW_OK;
}

enum avow_rc avow_excludes_finish(struct avow_excludes *x, struct avow_err *err)
{
    for (size_t way = 0; way < WAYS; way++) {
        enum avow_rc rc = build(x, way, false, &x->prefixes[way], err);
        if (!rc)
            rc = build(x, way, true, &x->exacts[way], err);
        if (rc)
            return rc;
    }
    pcre2_match_context *limits = pcre2_match_context_create(NULL);
    if (!limits)
        return avow_err_set(err, AVOW_NOMEM, 0, "expressions");
    (void)pcre2_set_match_limit(limits, MATCH_LIMIT);
    (void)pcre2_set_depth_limit(limits, DEPTH_LIMIT);
    (void)pcre2_set_heap_limit(limits, HEAP_LIMIT_KIB);
    x->limits = limits;
    return AVOW_OK;
}

/* Last item that is not after `path`; NULL if there is none. */
static const struct avow_str *last_before(const struct avow_exclude_index *index,
                                          struct avow_str path)
{
    size_t low = 0, high = index->count;
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        if (avow_str_cmp(index->items[mid], path) <= 0)
            low = mid + 1;
        else
            high = mid;
    }
    return low ? &index->items[low - 1] : NULL;
}

static bool literals_match(const struct avow_excludes *x, struct avow_str path, bool strict)
{
    if (path.len && memchr(path.ptr, '\n', path.len)) { /* rare, and every kind has its own rule */
        for (size_t i = 0; i < x->count; i++) {
            const struct avow_exclude *e = &x->items[i];
            if (e->kind != AVOW_LITERAL_NONE &&
                avow_literal_match(e->kind, literal_of(e), path, strict))
                return true;
        }
        return false;
    }
    size_t way = strict ? WAY_STRICT : WAY_PREFIX;
    const struct avow_str *prefix = last_before(&x->prefixes[way], path);
    if (prefix && starts(path, *prefix))
        return true;
    const struct avow_str *exact = last_before(&x->exacts[way], path);
    return exact && avow_str_eq(*exact, path);
}

static enum avow_exclude_match expressions_match(const struct avow_excludes *x,
                                                 struct avow_str path, bool strict)
{
    pcre2_match_data *data = pcre2_match_data_create(1, NULL);
    if (!data)
        return AVOW_EXCLUDE_UNDECIDED;
    uint32_t options = PCRE2_ANCHORED | (strict ? PCRE2_ENDANCHORED : 0u);
    enum avow_exclude_match result = AVOW_EXCLUDE_NO;
    for (size_t i = 0; i < x->count && result != AVOW_EXCLUDE_YES; i++) {
        if (!x->items[i].code)
            continue;
        int n = pcre2_match(x->items[i].code, (PCRE2_SPTR)path.ptr, path.len, 0, options, data,
                            x->limits);
        if (n >= 0)
            result = AVOW_EXCLUDE_YES;
        else if (n != PCRE2_ERROR_NOMATCH)
            result = AVOW_EXCLUDE_UNDECIDED;
    }
    pcre2_match_data_free(data);
    return result;
}

enum avow_exclude_match avow_excludes_match(const struct avow_excludes *x, struct avow_str path,
                                            bool strict)
{
    if (literals_match(x, path, strict))
        return AVOW_EXCLUDE_YES;
    return x->literals < x->count ? expressions_match(x, path, strict) : AVOW_EXCLUDE_NO;
}

/* A step goes through all of the code at worst, which repetitions make long. */
static uint64_t price_of_step(const struct avow_excludes *x)
{
    uint64_t price = 1;
    for (size_t i = 0; i < x->count; i++) {
        size_t size = 0;
        if (x->items[i].code && !pcre2_pattern_info(x->items[i].code, PCRE2_INFO_SIZE, &size))
            price += size / CODE_OF_A_STEP;
    }
    return price;
}

/* PCRE2 tells nobody how many steps it took, only that they were more than allowed: it is allowed
 * few, then more, and what it was allowed is charged. */
enum avow_exclude_match avow_excludes_match_within(struct avow_excludes *x, struct avow_str path,
                                                   uint64_t *units)
{
    enum avow_exclude_match result = AVOW_EXCLUDE_UNDECIDED;
    if (x->literals == x->count)
        return literals_match(x, path, true) ? AVOW_EXCLUDE_YES : AVOW_EXCLUDE_NO;
    uint64_t price = price_of_step(x);
    for (uint32_t steps = FIRST_STEPS; result == AVOW_EXCLUDE_UNDECIDED && steps <= MATCH_LIMIT;
         steps *= 8) {
        if (*units < steps * price)
            break;
        *units -= steps * price;
        (void)pcre2_set_match_limit(x->limits, steps);
        result = avow_excludes_match(x, path, true);
    }
    (void)pcre2_set_match_limit(x->limits, MATCH_LIMIT);
    return result;
}

bool avow_excludes_is_subset(const struct avow_excludes *a, const struct avow_excludes *b)
{
    for (size_t i = 0; i < a->count; i++) {
        struct avow_str want = {a->items[i].pattern, a->items[i].pattern_len};
        bool found = false;
        for (size_t k = 0; k < b->count && !found; k++)
            found =
                avow_str_eq(want, (struct avow_str){b->items[k].pattern, b->items[k].pattern_len});
        if (!found)
            return false;
    }
    return true;
}
