#define AVOW_ALLOW_MEMCMP /* this file is what everybody else uses instead */
#include "avow/base/bytes.h"

#include <assert.h>
#include <string.h>

#include "avow/base/banned.h"

bool avow_bytes_eq(struct avow_bytes a, struct avow_bytes b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.ptr, b.ptr, a.len) == 0);
}

int avow_bytes_cmp(struct avow_bytes a, struct avow_bytes b)
{
    size_t n = a.len < b.len ? a.len : b.len;
    int order = n ? memcmp(a.ptr, b.ptr, n) : 0;
    if (order)
        return order < 0 ? -1 : 1;
    return (a.len > b.len) - (a.len < b.len);
}

bool avow_ct_eq(const void *a, const void *b, size_t len)
{
    const uint8_t *p = a, *q = b;
    uint64_t diff = 0, x, y;
    size_t i = 0;
    for (; i + sizeof x <= len; i += sizeof x) {
        memcpy(&x, p + i, sizeof x);
        memcpy(&y, q + i, sizeof y);
        diff |= x ^ y;
        __asm__ __volatile__("" : "+r"(diff)); /* unknown to the optimizer: no early exit */
    }
    for (; i < len; i++) {
        diff |= (uint64_t)(p[i] ^ q[i]);
        __asm__ __volatile__("" : "+r"(diff));
    }
    return diff == 0;
}

bool avow_bytes_all(struct avow_bytes b, uint8_t value)
{
    for (size_t i = 0; i < b.len; i++)
        if (b.ptr[i] != value)
            return false;
    return true;
}

void avow_wipe(void *p, size_t len)
{
    if (!len)
        return;
    memset(p, 0, len);
    __asm__ __volatile__("" : : "r"(p) : "memory"); /* the zeros count as read: no dead store */
}

struct avow_str avow_str_from(const char *nul_terminated)
{
    if (!nul_terminated)
        return AVOW_STR_LIT("");
    return (struct avow_str){nul_terminated, strlen(nul_terminated)};
}

bool avow_str_eq(struct avow_str a, struct avow_str b)
{
    return avow_bytes_eq(avow_bytes_make(a.ptr, a.len), avow_bytes_make(b.ptr, b.len));
}

int avow_str_cmp(struct avow_str a, struct avow_str b)
{
    return avow_bytes_cmp(avow_bytes_make(a.ptr, a.len), avow_bytes_make(b.ptr, b.len));
}

bool avow_str_starts(struct avow_str a, const char *prefix)
{
    size_t n = strlen(prefix);
    return a.len >= n && (n == 0 || memcmp(a.ptr, prefix, n) == 0);
}

bool avow_cstr_eq(const char *a, const char *b)
{
    return strcmp(a, b) == 0;
}

bool avow_str_copy(char *dst, size_t cap, struct avow_str s)
{
    assert(cap > 0);
    size_t n = s.len < cap - 1 ? s.len : cap - 1;
    if (n)
        memcpy(dst, s.ptr, n);
    dst[n] = '\0';
    return n == s.len;
}

/* RFC 3629 section 4: the first byte gives the length and the range of the second byte. */
static const struct utf8_lead {
    uint8_t first, last, second_min, second_max,
        tail; /* tail: continuation bytes after the second */
} utf8_leads[] = {
    {0xc2, 0xdf, 0x80, 0xbf, 0}, {0xe0, 0xe0, 0xa0, 0xbf, 1}, {0xe1, 0xec, 0x80, 0xbf, 1},
    {0xed, 0xed, 0x80, 0x9f, 1}, {0xee, 0xef, 0x80, 0xbf, 1}, {0xf0, 0xf0, 0x90, 0xbf, 2},
    {0xf1, 0xf3, 0x80, 0xbf, 2}, {0xf4, 0xf4, 0x80, 0x8f, 2},
};

/* Length of the well-formed sequence at p that starts with a byte >= 0x80; 0 if there is none. */
static size_t utf8_multibyte(const uint8_t *p, size_t left)
{
    for (size_t i = 0; i < AVOW_ARRAY_LEN(utf8_leads); i++) {
        const struct utf8_lead *l = &utf8_leads[i];
        size_t len = 2 + (size_t)l->tail;
        if (p[0] < l->first || p[0] > l->last)
            continue;
        if (left < len || p[1] < l->second_min || p[1] > l->second_max)
            return 0;
        for (size_t k = 2; k < len; k++)
            if ((p[k] & 0xc0) != 0x80)
                return 0;
        return len;
    }
    return 0;
}

bool avow_utf8_is_valid(struct avow_str s)
{
    const uint8_t *p = (const uint8_t *)s.ptr;
    size_t left = s.len;
    while (left) {
        size_t n = p[0] >= 0x80 ? utf8_multibyte(p, left) : (size_t)(p[0] != 0);
        if (!n)
            return false;
        p += n;
        left -= n;
    }
    return true;
}

#define NAME_MAX_LEN 128 /* PROTOCOL B6 */

static bool is_alnum(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
}

bool avow_name_is_valid(struct avow_str s)
{
    if (s.len == 0 || s.len > NAME_MAX_LEN || !is_alnum(s.ptr[0]))
        return false;
    for (size_t i = 1; i < s.len; i++) {
        char c = s.ptr[i];
        if (!is_alnum(c) && c != '.' && c != '_' && c != '-')
            return false;
    }
    return true;
}
