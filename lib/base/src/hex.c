#include "avow/base/hex.h"

#include "avow/base/banned.h"

static const char hex_digits[] = "0123456789abcdef";

void avow_hex_encode(char *out, struct avow_bytes in)
{
    for (size_t i = 0; i < in.len; i++) {
        out[2 * i] = hex_digits[in.ptr[i] >> 4];
        out[2 * i + 1] = hex_digits[in.ptr[i] & 15];
    }
    out[2 * in.len] = '\0';
}

/* 0..15, or 16 for anything else. */
static unsigned hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return (unsigned)(c - '0');
    if (c >= 'a' && c <= 'f')
        return (unsigned)(c - 'a') + 10;
    if (c >= 'A' && c <= 'F')
        return (unsigned)(c - 'A') + 10;
    return 16;
}

bool avow_hex_decode(uint8_t *out, size_t out_len, struct avow_str in)
{
    if (in.len % 2 || in.len / 2 != out_len)
        return false;
    unsigned bad = 0;
    for (size_t i = 0; i < in.len; i++)
        bad |= hex_value(in.ptr[i]) & 16;
    if (bad)
        return false;
    for (size_t i = 0; i < out_len; i++)
        out[i] = (uint8_t)(hex_value(in.ptr[2 * i]) << 4 | hex_value(in.ptr[2 * i + 1]));
    return true;
}

void avow_buf_put_hex(struct avow_buf *b, struct avow_bytes in)
{
    if (in.len > SIZE_MAX / 2) {
        b->failed = AVOW_LIMIT;
        return;
    }
    uint8_t *out = avow_buf_extend(b, 2 * in.len);
    for (size_t i = 0; out && i < in.len; i++) {
        out[2 * i] = (uint8_t)hex_digits[in.ptr[i] >> 4];
        out[2 * i + 1] = (uint8_t)hex_digits[in.ptr[i] & 15];
    }
}

static const char base64_digits[] =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

void avow_buf_put_base64(struct avow_buf *b, struct avow_bytes in)
{
    for (size_t i = 0; i < in.len && !b->failed; i += 3) {
        size_t left = in.len - i;
        uint32_t v = (uint32_t)in.ptr[i] << 16;
        if (left > 1)
            v |= (uint32_t)in.ptr[i + 1] << 8;
        if (left > 2)
            v |= in.ptr[i + 2];
        char quad[4] = {base64_digits[v >> 18], base64_digits[v >> 12 & 63],
                        left > 1 ? base64_digits[v >> 6 & 63] : '=',
                        left > 2 ? base64_digits[v & 63] : '='};
        avow_buf_put(b, quad, sizeof quad);
    }
}

/* 0..63, or 64 for anything else. */
static uint32_t base64_value(char c)
{
    if (c >= 'A' && c <= 'Z')
        return (uint32_t)(c - 'A');
    if (c >= 'a' && c <= 'z')
        return (uint32_t)(c - 'a') + 26;
    if (c >= '0' && c <= '9')
        return (uint32_t)(c - '0') + 52;
    if (c == '+')
        return 62;
    return c == '/' ? 63 : 64;
}

/* One group of four characters, the last `pad` of which are '='; false if it is not canonical. */
static bool base64_group(const char *p, unsigned pad, uint8_t out[3])
{
    uint32_t v = 0;
    for (unsigned i = 0; i < 4 - pad; i++) {
        uint32_t digit = base64_value(p[i]);
        if (digit > 63)
            return false;
        v |= digit << (18 - 6 * i);
    }
    out[0] = (uint8_t)(v >> 16);
    out[1] = (uint8_t)(v >> 8);
    out[2] = (uint8_t)v;
    /* RFC 4648 section 3.5: pad bits are zero, or two texts would mean the same bytes */
    return pad == 0 || (pad == 1 && out[2] == 0) || (pad == 2 && out[1] == 0 && out[2] == 0);
}

static unsigned base64_padding(struct avow_str in)
{
    if (in.len < 4 || in.ptr[in.len - 1] != '=')
        return 0;
    return in.ptr[in.len - 2] == '=' ? 2 : 1;
}

enum avow_rc avow_base64_decode(struct avow_str in, struct avow_buf *out, struct avow_err *err)
{
    if (in.len % 4)
        return avow_err_set(err, AVOW_PARSE, 0, "base64: length is not a multiple of 4");
    const size_t start = out->len;
    const unsigned pad = base64_padding(in);
    for (size_t i = 0; i < in.len; i += 4) {
        uint8_t raw[3];
        unsigned group_pad = i + 4 == in.len ? pad : 0;
        if (!base64_group(in.ptr + i, group_pad, raw)) {
            out->len = start;
            return avow_err_set(err, AVOW_PARSE, 0, "base64: bad character near offset %zu", i);
        }
        avow_buf_put(out, raw, 3 - group_pad);
    }
    enum avow_rc rc = avow_buf_status(out, err);
    if (rc)
        out->len = start;
    return rc ? avow_err_wrap(err, rc, "base64") : AVOW_OK;
}
