/* table.h - text for people: aligned columns, colours, ages. Layer: tools/avow. */
#ifndef AVOW_TOOLS_TABLE_H
#define AVOW_TOOLS_TABLE_H

#include "context.h"

#define AVOW_TABLE_COLUMNS_MAX 10u

/* Cells are collected and printed with aligned columns at the end; control characters are shown as
 * '?', because what agents send must not steer a terminal. */
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
/* Prints titles and rows; a status word is coloured when `color`. */
enum avow_rc avow_table_print(const struct avow_table *t, bool color,
                              struct avow_err *err) AVOW_MUST_CHECK;

/* ANSI colour of a status word, "" without colour. */
const char *avow_status_color(const char *status, bool color);
const char *avow_color_reset(bool color);
/* "12 s", "3 min", "5 h", "2 d"; `out` has room for 24. */
const char *avow_age_text(uint64_t ms, char out[24]);
/* Copies with control characters replaced. */
void avow_printable(char *out, size_t cap, struct avow_str s);

#endif
