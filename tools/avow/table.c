#include "table.h"

#include "text.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "avow/base/banned.h"

#define TABLE_BYTES_MAX (64u * 1024u * 1024u)
#define CELL_MAX 512u

void avow_table_init(struct avow_table *t, const char *const *titles, size_t n_columns)
{
    assert(n_columns > 0 && n_columns <= AVOW_TABLE_COLUMNS_MAX);
    *t = (struct avow_table){.titles = titles, .n_columns = n_columns};
    avow_arena_init(&t->arena, TABLE_BYTES_MAX);
}

void avow_table_deinit(struct avow_table *t)
{
    avow_arena_deinit(&t->arena);
}

static bool table_grow(struct avow_table *t)
{
    if (t->n_cells < t->cap_cells)
        return true;
    size_t cap = t->cap_cells ? 2 * t->cap_cells : 64;
    char **cells = avow_arena_alloc(&t->arena, cap, sizeof *cells);
    if (!cells)
        return false;
    for (size_t i = 0; i < t->n_cells; i++)
        cells[i] = t->cells[i];
    t->cells = cells;
    t->cap_cells = cap;
    return true;
}

void avow_table_cell(struct avow_table *t, const char *fmt, ...)
{
    char raw[CELL_MAX], clean[CELL_MAX];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(raw, sizeof raw, fmt, ap);
    va_end(ap);
    avow_text_clean(clean, sizeof clean, avow_str_from(raw));
    char *copy = table_grow(t) ? avow_arena_cstr(&t->arena, avow_str_from(clean)) : NULL;
    if (!copy) {
        t->failed = true;
        return;
    }
    t->cells[t->n_cells++] = copy;
}

static void print_row(const struct avow_table *t, const size_t *widths, const char *const *cells,
                      bool color)
{
    size_t blanks = 0;
    for (size_t c = 0; c < t->n_columns; c++) {
        const char *on = avow_status_color(cells[c], color);
        if (cells[c][0])
            printf("%*s%s%s%s", (int)blanks, "", on, cells[c], *on ? avow_color_reset(color) : "");
        size_t padding = widths[c] - avow_text_width(cells[c]) + 2;
        blanks = cells[c][0] ? padding : blanks + padding;
    }
    printf("\n");
}

enum avow_rc avow_table_print(const struct avow_table *t, bool color, struct avow_err *err)
{
    size_t widths[AVOW_TABLE_COLUMNS_MAX] = {0};
    assert(t->n_columns > 0);
    if (t->failed)
        return avow_err_set(err, AVOW_NOMEM, 0, "the table is too large");
    for (size_t c = 0; c < t->n_columns; c++)
        widths[c] = avow_text_width(t->titles[c]);
    for (size_t i = 0; i < t->n_cells; i++) {
        size_t w = avow_text_width(t->cells[i]);
        if (w > widths[i % t->n_columns])
            widths[i % t->n_columns] = w;
    }
    print_row(t, widths, t->titles, false);
    for (size_t i = 0; i + t->n_columns <= t->n_cells; i += t->n_columns)
        print_row(t, widths, (const char *const *)&t->cells[i], color);
    return AVOW_OK;
}

const char *avow_status_color(const char *status, bool color)
{
    static const struct {
        const char *status, *code;
    } codes[] = {{"trusted", "\x1b[32m"},  {"untrusted", "\x1b[1;31m"},
                 {"silent", "\x1b[35m"},   {"pending", "\x1b[33m"},
                 {"expired", "\x1b[33m"},  {"revocation", "\x1b[1;31m"},
                 {"recovery", "\x1b[32m"}, {"alarm", "\x1b[1;33m"}};
    for (size_t i = 0; color && i < AVOW_ARRAY_LEN(codes); i++)
        if (avow_cstr_eq(status, codes[i].status))
            return codes[i].code;
    return "";
}

const char *avow_color_reset(bool color)
{
    return color ? "\x1b[0m" : "";
}

const char *avow_age_text(uint64_t ms, char out[24])
{
    uint64_t s = ms / 1000;
    if (s < 120)
        snprintf(out, 24, "%llu s", (unsigned long long)s);
    else if (s < 7200)
        snprintf(out, 24, "%llu min", (unsigned long long)(s / 60));
    else if (s < 172800)
        snprintf(out, 24, "%llu h", (unsigned long long)(s / 3600));
    else
        snprintf(out, 24, "%llu d", (unsigned long long)(s / 86400));
    return out;
}

const char *avow_since_text(uint64_t then_ms, uint64_t now_ms, char out[24])
{
    if (!then_ms)
        return "never";
    return avow_age_text(now_ms > then_ms ? now_ms - then_ms : 0, out);
}
