#include "text.h"

#include <string.h>

#include "avow/base/banned.h"

/* Length of the UTF-8 sequence that starts with this byte; 0 if none can. */
static size_t sequence_len(unsigned char lead)
{
    if (lead < 0x80)
        return 1;
    if (lead >= 0xC2 && lead < 0xE0)
        return 2;
    if (lead >= 0xE0 && lead < 0xF0)
        return 3;
    return lead >= 0xF0 && lead < 0xF5 ? 4 : 0;
}

static uint32_t decode(struct avow_str s)
{
    static const unsigned char lead_bits[] = {0, 0x7F, 0x1F, 0x0F, 0x07};
    uint32_t v = (unsigned char)s.ptr[0] & lead_bits[s.len];
    for (size_t i = 1; i < s.len; i++)
        v = (v << 6) | ((unsigned char)s.ptr[i] & 0x3Fu);
    return v;
}

/* Characters that are not seen, or that change how others are seen (Unicode categories Cc, Cf, Zl,
 * Zp, and variation and interlinear marks). */
static bool is_hidden(uint32_t c)
{
    static const struct {
        uint32_t first, last;
    } ranges[] = {{0x0000, 0x001F}, {0x007F, 0x009F},   {0x00AD, 0x00AD},   {0x061C, 0x061C},
                  {0x180B, 0x180F}, {0x200B, 0x200F},   {0x2028, 0x202E},   {0x2060, 0x206F},
                  {0xFE00, 0xFE0F}, {0xFEFF, 0xFEFF},   {0xFFF9, 0xFFFB},   {0xFFFE, 0xFFFF},
                  {0xE000, 0xF8FF}, {0x110BD, 0x110BD}, {0x1D173, 0x1D17A}, {0xE0000, 0x10FFFF}};
    for (size_t i = 0; i < AVOW_ARRAY_LEN(ranges); i++)
        if (c >= ranges[i].first && c <= ranges[i].last)
            return true;
    return false;
}

/* The next character of `s`, as it is or as '?'; *used bytes of `s` are gone. */
static struct avow_str next_clean(struct avow_str s, size_t *used)
{
    static const struct avow_str unseen = {"?", 1};
    size_t len = sequence_len((unsigned char)s.ptr[0]);
    struct avow_str one = {s.ptr, len};
    if (len == 0 || len > s.len || (s.ptr[0] != '\0' && !avow_utf8_is_valid(one))) {
        *used = 1;
        return unseen;
    }
    *used = len;
    return is_hidden(decode(one)) ? unseen : one;
}

void avow_text_put(struct avow_buf *out, struct avow_str s)
{
    for (size_t at = 0, used = 0; at < s.len; at += used) {
        struct avow_str c = next_clean((struct avow_str){s.ptr + at, s.len - at}, &used);
        avow_buf_put(out, c.ptr, c.len);
    }
}

void avow_text_clean(char *out, size_t cap, struct avow_str s)
{
    size_t n = 0;
    for (size_t at = 0, used = 0; at < s.len; at += used) {
        struct avow_str c = next_clean((struct avow_str){s.ptr + at, s.len - at}, &used);
        if (n + c.len >= cap)
            break;
        memcpy(out + n, c.ptr, c.len);
        n += c.len;
    }
    out[n] = '\0';
}

size_t avow_text_width(const char *s)
{
    size_t n = 0;
    for (; *s; s++)
        n += ((unsigned char)*s & 0xC0) != 0x80;
    return n;
}
