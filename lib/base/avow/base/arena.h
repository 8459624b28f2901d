/* arena.h - bump allocator with a cap: one record's arrays and copies, freed together. Layer: base.
 * Not thread-safe. Everything allocated lives until reset or deinit. */
#ifndef AVOW_BASE_ARENA_H
#define AVOW_BASE_ARENA_H

#include "avow/base/bytes.h"

struct avow_arena_block;
struct avow_arena {
    struct avow_arena_block *head;
    size_t used;  /* bytes handed out */
    size_t limit; /* used never exceeds it */
};

void avow_arena_init(struct avow_arena *a, size_t limit);
void avow_arena_deinit(struct avow_arena *a);
void avow_arena_reset(struct avow_arena *a); /* keeps one block for reuse */
/* Zeroed, aligned for any type; NULL if the limit or memory is exceeded. count 0 gives a valid
 * pointer. */
void *avow_arena_alloc(struct avow_arena *a, size_t count, size_t size);
/* Copy; .ptr NULL with len > 0 means failure. */
struct avow_bytes avow_arena_bytes(struct avow_arena *a, struct avow_bytes b);
struct avow_str avow_arena_str(struct avow_arena *a, struct avow_str s);
/* NUL-terminated copy or NULL. */
char *avow_arena_cstr(struct avow_arena *a, struct avow_str s);
char *avow_arena_printf(struct avow_arena *a, const char *fmt, ...) AVOW_PRINTF(2, 3);

#endif
