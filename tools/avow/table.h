/* table.h - text for people: aligned columns, colours, ages. Layer: tools/avow. */
#ifndef AVOW_TOOLS_TABLE_H
#define AVOW_TOOLS_TABLE_H

#include "avow/base/arena.h"
#include "avow/base/err.h"

#define AVOW_TABLE_COLUMNS_MAX 10u

/* Cells are collected, cleaned (text.h), and printed with aligned columns at the end. */
struct avow_table {
    const char *const *titles; /* n_columns */
    size_t n_columns;
    struct avow_arena arena;
    char **cells; /* row-major, in the arena */
    size_t n_cells, cap_cells;
    bool failed;
};

void avow_table_init(struct avow_table *t, const char *const *titles, size_t n_columns);
void avow_table_deinit(struct avow_table *t);
/* One cell; rows fill from left to right. */
void avow_table_cell(struct avow_table *t, const char *fmt, ...) AVOW_PRINTF(2, 3);
/* Prints titles and rows; a status word is coloured when `color`. Blanks at the end of a line are
 * left out. Errors: AVOW_NOMEM. */
enum avow_rc avow_table_print(const struct avow_table *t, bool color,
                              struct avow_err *err) AVOW_MUST_CHECK;

/* ANSI colour of a status word, "" without colour. */
const char *avow_status_color(const char *status, bool color);
const char *avow_color_reset(bool color);
/* "12 s", "3 min", "5 h", "2 d"; `out` has room for 24. */
const char *avow_age_text(uint64_t ms, char out[24]);
/* The age of a time that has passed, "never" for 0. */
const char *avow_since_text(uint64_t then_ms, uint64_t now_ms, char out[24]);

#endif
