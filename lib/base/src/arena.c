#include "avow/base/arena.h"

#include "avow/base/num.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "avow/base/banned.h"

#define ALIGN _Alignof(max_align_t)
#define BLOCK_MIN 1024u
#define BLOCK_MAX 65536u /* larger requests get a block of their own size */

struct avow_arena_block {
    struct avow_arena_block *next;
    size_t size;
    size_t used;
    _Alignas(max_align_t) uint8_t data[];
};

void avow_arena_init(struct avow_arena *a, size_t limit)
{
    *a = (struct avow_arena){.limit = limit};
}

static void free_blocks(struct avow_arena_block *b)
{
    while (b) {
        struct avow_arena_block *next = b->next;
        free(b);
        b = next;
    }
}

void avow_arena_deinit(struct avow_arena *a)
{
    free_blocks(a->head);
    *a = (struct avow_arena){.limit = a->limit};
}

void avow_arena_reset(struct avow_arena *a)
{
    a->used = 0;
    if (!a->head)
        return;
    free_blocks(a->head->next);
    a->head->next = NULL;
    a->head->used = 0;
}

/* A new head with room for n bytes. */
static bool add_block(struct avow_arena *a, size_t n)
{
    size_t size = a->head && a->head->size < BLOCK_MAX / 2 ? a->head->size * 2 : BLOCK_MIN;
    if (a->head && a->head->size >= BLOCK_MAX / 2)
        size = BLOCK_MAX;
    if (size < n)
        size = n;
    if (size > SIZE_MAX - sizeof(struct avow_arena_block))
        return false;
    struct avow_arena_block *b = malloc(sizeof *b + size);
    if (!b)
        return false;
    b->next = a->head;
    b->size = size;
    b->used = 0;
    a->head = b;
    return true;
}

void *avow_arena_alloc(struct avow_arena *a, size_t count, size_t size)
{
    size_t n;
    if (!avow_size_mul(count, size, &n))
        return NULL;
    size_t taken = n ? n : 1; /* an empty array costs too, or there could be any number of them */
    if (taken > a->limit - a->used || taken > SIZE_MAX - ALIGN)
        return NULL;
    size_t padded = (taken + ALIGN - 1) / ALIGN * ALIGN;
    if ((!a->head || padded > a->head->size - a->head->used) && !add_block(a, padded))
        return NULL;
    void *p = a->head->data + a->head->used;
    a->head->used += padded;
    /* Padding counts, so that many small pieces cannot exceed the cap in memory. */
    a->used = padded < a->limit - a->used ? a->used + padded : a->limit;
    return memset(p, 0, n);
}

struct avow_bytes avow_arena_bytes(struct avow_arena *a, struct avow_bytes b)
{
    if (!b.len)
        return (struct avow_bytes){NULL, 0};
    uint8_t *p = avow_arena_alloc(a, b.len, 1);
    if (p)
        memcpy(p, b.ptr, b.len);
    return (struct avow_bytes){p, b.len};
}

struct avow_str avow_arena_str(struct avow_arena *a, struct avow_str s)
{
    if (!s.len)
        return AVOW_STR_LIT("");
    struct avow_bytes copy = avow_arena_bytes(a, avow_bytes_make(s.ptr, s.len));
    return (struct avow_str){(const char *)copy.ptr, s.len};
}

char *avow_arena_cstr(struct avow_arena *a, struct avow_str s)
{
    char *p = s.len < SIZE_MAX ? avow_arena_alloc(a, s.len + 1, 1) : NULL;
    if (p && s.len)
        memcpy(p, s.ptr, s.len);
    return p;
}

char *avow_arena_printf(struct avow_arena *a, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    int n = vsnprintf(NULL, 0, fmt, args);
    va_end(args);
    assert(n >= 0); /* only a broken format or more than INT_MAX characters */
    char *p = avow_arena_alloc(a, (size_t)n + 1, 1);
    if (!p)
        return NULL;
    va_start(args, fmt);
    vsnprintf(p, (size_t)n + 1, fmt, args);
    va_end(args);
    return p;
}
