#include "table.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "avow/base/banned.h"

#define TABLE_BYTES_MAX (64u * 1024u * 1024u)
#define CELL_MAX 512u

void avow_table_init(struct avow_table *t, const char *const *titles, size_t n_columns)
{
    *t = (struct avow_table){.titles = titles, .n_columns = n_columns};
    avow_arena_init(&t->arena, TABLE_BYTES_MAX);
}

void avow_table_deinit(struct avow_table *t)
{
    avow_arena_deinit(&t->arena);
}

void avow_printable(char *out, size_t cap, struct avow_str s)
{
    size_t n = s.len < cap - 1 ? s.len : cap - 1;
    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)s.ptr[i];
        out[i] = c < 0x20 || c == 0x7f ? '?' : (char)c;
    }
    out[n] = '\0';
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
    avow_printable(clean, sizeof clean, avow_str_from(raw));
    char *copy = table_grow(t) ? avow_arena_cstr(&t->arena, avow_str_from(clean)) : NULL;
    if (!copy) {
        t->failed = true;
        return;
    }
    t->cells[t->n_cells++] = copy;
}

/* Columns that a terminal needs; UTF-8 continuation bytes take none. */
static size_t text_width(const char *s)
{
    size_t n = 0;
    for (; *s; s++)
        n += ((unsigned char)*s & 0xC0) != 0x80;
    return n;
}

static void print_row(const struct avow_table *t, const size_t *widths, const char *const *cells,
                      bool color)
{
    for (size_t c = 0; c < t->n_columns; c++) {
        const char *on = avow_status_color(cells[c], color);
        printf("%s%s%s", on, cells[c], *on ? avow_color_reset(color) : "");
        if (c + 1 < t->n_columns)
            printf("%*s", (int)(widths[c] - text_width(cells[c]) + 2), "");
    }
    printf("\n");
}

enum avow_rc avow_table_print(const struct avow_table *t, bool color, struct avow_err *err)
{
    size_t widths[AVOW_TABLE_COLUMNS_MAX] = {0};
    if (t->failed)
        return avow_err_set(err, AVOW_NOMEM, 0, "the table is too large");
    for (size_t c = 0; c < t->n_columns; c++)
        widths[c] = text_width(t->titles[c]);
    for (size_t i = 0; i < t->n_cells; i++) {
        size_t w = text_width(t->cells[i]);
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
