/* finding_list.c - collects findings and makes text of an attacker's bytes. See core_internal.h. */
#include "core_internal.h"

#include <assert.h>

#include "avow/base/banned.h"

#define WHERE_MAX 256u  /* schemas/state.avsc */
#define DETAIL_MAX 512u /* schemas/state.avsc */

/* A host without findings, as most are, costs nothing. */
static bool make_room(struct avow_finding_list *l)
{
    size_t most = l->limit + AVOW_FINDINGS_KEPT;
    size_t room = l->count < AVOW_FINDINGS_KEPT ? AVOW_FINDINGS_KEPT : most;
    struct avow_finding *items = avow_arena_alloc(l->arena, room, sizeof *items);
    struct avow_finding_context *contexts = avow_arena_alloc(l->arena, room, sizeof *contexts);
    enum avow_finding_id *ids = avow_arena_alloc(l->arena, room, sizeof *ids);
    bool *of_now = avow_arena_alloc(l->arena, room, sizeof *of_now);
    if (!items || !contexts || !ids || !of_now) {
        l->nomem = true;
        return false;
    }
    for (size_t i = 0; i < l->count; i++) {
        items[i] = l->items[i];
        contexts[i] = l->contexts[i];
        ids[i] = l->ids[i];
        of_now[i] = l->of_now[i];
    }
    l->items = items;
    l->contexts = contexts;
    l->ids = ids;
    l->of_now = of_now;
    l->room = room;
    return true;
}

static enum avow_finding_id id_of(struct avow_str text)
{
    size_t i = 0;
    while (i < AVOW_FINDING_COUNT &&
           !avow_str_is(text, avow_finding_def_of((enum avow_finding_id)i)->id))
        i++;
    return (enum avow_finding_id)i;
}

static bool append(struct avow_finding_list *l, enum avow_finding_id id,
                   const struct avow_finding *f, bool of_now)
{
    if (l->count == l->room && !make_room(l))
        return false;
    l->items[l->count] = *f;
    l->contexts[l->count] = l->at;
    l->of_now[l->count] = of_now;
    l->ids[l->count++] = id;
    if (of_now)
        l->seen[id] = true;
    else
        l->old++;
    return true;
}

void avow_finding_list_init(struct avow_finding_list *l, struct avow_arena *arena,
                            const struct avow_state *prior, size_t limit)
{
    *l = (struct avow_finding_list){
        .arena = arena, .at = AVOW_FINDING_NOWHERE, .limit = limit, .total = prior->findings_total};
    for (size_t i = 0; i < prior->findings_count && i < AVOW_FINDINGS_KEPT; i++) {
        if (!append(l, id_of(prior->findings[i].id), &prior->findings[i], false))
            return;
    }
    if (l->total < l->count)
        l->total = (uint32_t)l->count;
}

static bool same(const struct avow_finding *f, const char *id, struct avow_str where,
                 struct avow_str detail)
{
    return avow_str_is(f->id, id) && avow_str_eq(f->where, where) && avow_str_eq(f->detail, detail);
}

bool avow_finding_list_is_full(const struct avow_finding_list *l)
{
    return l->count - l->old >= l->limit;
}

static void count_one(struct avow_finding_list *l)
{
    if (l->total < UINT32_MAX) {
        l->total++;
        l->counted++;
    }
}

bool avow_finding_list_count_only(struct avow_finding_list *l)
{
    if (!avow_finding_list_is_full(l))
        return false;
    count_one(l);
    return true;
}

bool avow_finding_list_is_full_of(const struct avow_finding_list *l, enum avow_finding_id id)
{
    return avow_finding_list_is_full(l) && l->seen[id];
}

bool avow_finding_list_skip(struct avow_finding_list *l, enum avow_finding_id id)
{
    if (!avow_finding_list_is_full_of(l, id))
        return false;
    count_one(l);
    return true;
}

static void copy_item(struct avow_finding_list *l, size_t to, size_t from)
{
    l->items[to] = l->items[from];
    l->contexts[to] = l->contexts[from];
    l->ids[to] = l->ids[from];
    l->of_now[to] = l->of_now[from];
}

static bool is_repetition(const struct avow_finding_list *l, size_t i)
{
    for (size_t k = 0; k < i; k++) {
        if (l->of_now[k] == l->of_now[i] && avow_str_eq(l->items[k].id, l->items[i].id))
            return true;
    }
    return false;
}

/* For the first of a kind: the last one that is not the first of its kind is from now on only
 * counted. False if there is none. */
static bool give_place(struct avow_finding_list *l)
{
    size_t i = l->count;
    while (i > 0 && !(l->of_now[i - 1] && is_repetition(l, i - 1)))
        i--;
    if (!i)
        return false;
    for (; i < l->count; i++)
        copy_item(l, i - 1, i);
    l->count--;
    l->counted++;
    return true;
}

/* It was there before, and is there again. */
static void set_of_now(struct avow_finding_list *l, size_t i)
{
    l->old -= l->of_now[i] ? 0 : 1;
    l->of_now[i] = true;
    l->seen[l->ids[i]] = true;
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
        if (same(&l->items[i], def->id, w, d)) {
            set_of_now(l, i);
            return;
        }
    }
    if (avow_finding_list_skip(l, id))
        return;
    if (avow_finding_list_is_full(l) && !give_place(l)) {
        count_one(l);
        return;
    }
    struct avow_str path = avow_arena_str(l->arena, l->at.path);
    struct avow_finding f = {.id = avow_str_from(def->id),
                             .severity = avow_severity_of(l->severity, id, l->at.pcr),
                             .where = w,
                             .detail = d};
    l->nomem |= path.len && !path.ptr;
    if (!append(l, id, &f, true))
        return;
    l->contexts[l->count - 1].path = path;
    l->total++;
}

/* True if something was dropped. */
static bool drop(struct avow_finding_list *l, bool (*keep)(enum avow_finding_id id), bool of_now)
{
    size_t before = l->count, kept = 0;
    l->old = 0;
    memset(l->seen, 0, sizeof l->seen);
    for (size_t i = 0; i < before; i++) {
        /* What another version found goes only where all goes that is not of now. */
        bool known = l->ids[i] < AVOW_FINDING_COUNT;
        bool stays = (l->of_now[i] && !of_now) || (known ? keep(l->ids[i]) : of_now);
        if (!stays)
            continue;
        copy_item(l, kept, i);
        l->old += l->of_now[i] ? 0 : 1;
        if (l->of_now[i])
            l->seen[l->ids[i]] = true;
        kept++;
    }
    l->count = kept;
    return kept != before;
}

/* What was only counted goes with what was kept. */
void avow_finding_list_filter(struct avow_finding_list *l, bool (*keep)(enum avow_finding_id id))
{
    if (drop(l, keep, true))
        l->total = (uint32_t)l->count;
}

void avow_finding_list_forget(struct avow_finding_list *l, bool (*keep)(enum avow_finding_id id))
{
    if (drop(l, keep, false))
        l->total = (uint32_t)l->count + l->counted;
}

bool avow_finding_list_has(const struct avow_finding_list *l, enum avow_finding_id id)
{
    for (size_t i = 0; i < l->count; i++) {
        if (l->ids[i] == id)
            return true;
    }
    return false;
}

/* More than fit: the first of each kind, and then as many repetitions as there is room for. */
bool avow_finding_list_store(const struct avow_finding_list *l, struct avow_state *next)
{
    size_t count = 0, kinds = 0;
    size_t most = l->count < AVOW_FINDINGS_KEPT ? l->count : AVOW_FINDINGS_KEPT;
    struct avow_finding *items = avow_arena_alloc(l->arena, most, sizeof *items);
    if (!items)
        return false;
    for (size_t i = 0; i < l->count && l->count > AVOW_FINDINGS_KEPT; i++)
        kinds += is_repetition(l, i) ? 0 : 1;
    size_t room = kinds < AVOW_FINDINGS_KEPT ? AVOW_FINDINGS_KEPT - kinds : 0; /* for the others */
    for (size_t i = 0; i < l->count && count < AVOW_FINDINGS_KEPT; i++) {
        bool other = l->count > AVOW_FINDINGS_KEPT && is_repetition(l, i);
        if (!other || room)
            items[count++] = l->items[i];
        room -= other && room ? 1 : 0;
    }
    next->findings = items;
    next->findings_count = count;
    next->findings_total = l->total;
    next->severity = avow_findings_severity(items, count);
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
