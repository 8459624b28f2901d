/* finding_list.c - collects findings and makes text of an attacker's bytes. See core_internal.h. */
#include "core_internal.h"

#include <assert.h>

#include "avow/base/banned.h"

#define WHERE_MAX 256u  /* schemas/state.avsc */
#define DETAIL_MAX 512u /* schemas/state.avsc */

void avow_finding_list_init(struct avow_finding_list *l, struct avow_arena *arena,
                            const struct avow_state *prior)
{
    l->arena = arena;
    l->at = AVOW_FINDING_NOWHERE;
    l->count = 0;
    l->total = prior->findings_total;
    l->nomem = false;
    for (size_t i = 0; i < prior->findings_count && i < AVOW_FINDINGS_KEPT; i++) {
        l->contexts[l->count] = AVOW_FINDING_NOWHERE;
        l->items[l->count++] = prior->findings[i];
    }
    if (l->total < l->count)
        l->total = (uint32_t)l->count;
}

static bool same(const struct avow_finding *f, const char *id, struct avow_str where,
                 struct avow_str detail)
{
    return avow_str_is(f->id, id) && avow_str_eq(f->where, where) && avow_str_eq(f->detail, detail);
}

bool avow_finding_list_count_only(struct avow_finding_list *l)
{
    if (l->count < AVOW_FINDINGS_KEPT)
        return false;
    if (l->total < UINT32_MAX)
        l->total++;
    return true;
}

void avow_finding_list_put(struct avow_finding_list *l, enum avow_finding_id id, const char *where,
                           const char *detail)
{
    const struct avow_finding_def *def = avow_finding_def_of(id);
    if (!where || !detail) {
        l->nomem = true;
        return;
    }
    struct avow_str w = avow_str_from(where), d = avow_str_from(detail);
    assert(w.len <= WHERE_MAX && d.len <= DETAIL_MAX);
    for (size_t i = 0; i < l->count; i++) {
        if (same(&l->items[i], def->id, w, d))
            return;
    }
    if (avow_finding_list_count_only(l))
        return;
    l->total++;
    l->contexts[l->count] = l->at;
    l->items[l->count++] = (struct avow_finding){.id = avow_str_from(def->id),
                                                 .severity = avow_str_from(def->severity),
                                                 .where = w,
                                                 .detail = d};
}

void avow_finding_list_filter(struct avow_finding_list *l, bool (*keep)(enum avow_finding_id id))
{
    size_t kept = 0;
    for (size_t i = 0; i < l->count; i++) {
        bool stays = false;
        for (size_t id = 0; id < AVOW_FINDING_COUNT && !stays; id++) {
            enum avow_finding_id f = (enum avow_finding_id)id;
            stays = avow_str_is(l->items[i].id, avow_finding_def_of(f)->id) && keep(f);
        }
        if (stays) {
            l->contexts[kept] = l->contexts[i];
            l->items[kept++] = l->items[i];
        }
    }
    if (kept == l->count)
        return;
    l->count = kept;
    l->total = (uint32_t)kept; /* what was only counted goes with what was kept */
}

bool avow_finding_list_has(const struct avow_finding_list *l, enum avow_finding_id id)
{
    for (size_t i = 0; i < l->count; i++) {
        if (avow_str_is(l->items[i].id, avow_finding_def_of(id)->id))
            return true;
    }
    return false;
}

bool avow_finding_list_store(const struct avow_finding_list *l, struct avow_state *next)
{
    struct avow_finding *items = avow_arena_alloc(l->arena, l->count, sizeof *items);
    if (!items)
        return false;
    for (size_t i = 0; i < l->count; i++)
        items[i] = l->items[i];
    next->findings = items;
    next->findings_count = l->count;
    next->findings_total = l->total;
    next->severity = avow_findings_severity(items, l->count);
    return true;
}

struct avow_str avow_findings_severity(const struct avow_finding *f, size_t n)
{
    struct avow_str worst = {"", 0};
    int rank = -1;
    for (size_t i = 0; i < n; i++) {
        int r = avow_severity_rank(f[i].severity);
        if (r > rank || !worst.len) {
            worst = f[i].severity;
            rank = r;
        }
    }
    return worst;
}

/* Characters that change how their neighbours are shown: zero-width, line separators, bidirectional
 * controls, BOM. */
static bool is_invisible(const uint8_t *c)
{
    if (c[0] == 0xE2 && c[1] == 0x80)
        return (c[2] >= 0x8B && c[2] <= 0x8F) || (c[2] >= 0xA8 && c[2] <= 0xAE);
    if (c[0] == 0xE2 && c[1] == 0x81)
        return c[2] >= 0xA0 && c[2] <= 0xAF;
    return c[0] == 0xEF && c[1] == 0xBB && c[2] == 0xBF;
}

/* Length of the printable UTF-8 character at `s`, 0 if there is none. Controls and backslash are
 * not printable here: the text must not fool a terminal, and the escape must be unambiguous. */
static size_t printable(struct avow_str s)
{
    uint8_t c = (uint8_t)s.ptr[0];
    if (c < 0x80)
        return c >= 0x20 && c != 0x7F && c != '\\' ? 1 : 0;
    size_t len = c >= 0xF0 ? 4 : c >= 0xE0 ? 3 : 2;
    if (s.len < len || !avow_utf8_is_valid((struct avow_str){s.ptr, len}))
        return 0;
    if (c == 0xC2 && (uint8_t)s.ptr[1] < 0xA0)
        return 0;
    return len == 3 && is_invisible((const uint8_t *)s.ptr) ? 0 : len;
}

struct avow_str avow_finding_text(struct avow_arena *arena, struct avow_str untrusted, size_t max)
{
    static const char hex[] = "0123456789abcdef";
    static const char dots[] = "...";
    char *out = avow_arena_alloc(arena, max + 1, 1);
    if (!out)
        return (struct avow_str){NULL, 0};
    size_t n = 0, cut = 0; /* cut: where the dots fit */
    for (size_t i = 0; i < untrusted.len;) {
        size_t take = printable((struct avow_str){untrusted.ptr + i, untrusted.len - i});
        size_t need = take ? take : 4;
        if (n + need > max) {
            memcpy(out + cut, dots, sizeof dots - 1);
            n = cut + sizeof dots - 1;
            break;
        }
        if (take) {
            memcpy(out + n, untrusted.ptr + i, take);
        } else {
            uint8_t c = (uint8_t)untrusted.ptr[i];
            const char escaped[4] = {'\\', 'x', hex[c >> 4], hex[c & 15]};
            memcpy(out + n, escaped, sizeof escaped);
        }
        i += take ? take : 1;
        n += need;
        if (n + sizeof dots - 1 <= max)
            cut = n;
    }
    return (struct avow_str){out, n};
}
