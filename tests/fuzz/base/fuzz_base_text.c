/* Base64, hex, UTF-8 and numbers: what is accepted is the only form of its value, and a plain
 * second implementation of the UTF-8 rule agrees. */
#include "avow/base/hex.h"
#include "avow/base/num.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "avow/base/banned.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool condition)
{
    if (!condition)
        abort();
}

static void check_base64(struct avow_str in)
{
    struct avow_buf raw, again;
    avow_buf_init(&raw, in.len);
    avow_buf_init(&again, 2 * in.len + 4);
    if (!avow_base64_decode(in, &raw, NULL)) {
        avow_buf_put_base64(&again, avow_buf_bytes(&raw));
        require(!avow_buf_status(&again, NULL));
        require(avow_bytes_eq(avow_buf_bytes(&again), avow_bytes_make(in.ptr, in.len)));
    } else {
        require(raw.len == 0);
    }
    avow_buf_deinit(&raw);
    avow_buf_deinit(&again);
}

static void check_hex(struct avow_str in)
{
    uint8_t *raw = malloc(in.len / 2 + 1);
    char *again = malloc(in.len + 2);
    require(raw && again);
    if (avow_hex_decode(raw, in.len / 2, in)) {
        avow_hex_encode(again, avow_bytes_make(raw, in.len / 2));
        for (size_t i = 0; i < in.len; i++)
            require(again[i] == in.ptr[i] || (again[i] ^ 0x20) == in.ptr[i]);
    }
    free(raw);
    free(again);
}

/* Decodes to code points, with the rule as arithmetic instead of a table. */
static bool utf8_by_code_points(const uint8_t *p, size_t n)
{
    for (size_t i = 0; i < n;) {
        unsigned len = p[i] < 0x80 ? 1 : p[i] < 0xe0 ? 2 : p[i] < 0xf0 ? 3 : 4;
        static const uint32_t least[] = {0, 1, 0x80, 0x800, 0x10000};
        uint32_t c = len == 1 ? p[i] : p[i] & (0x7fu >> len);
        if ((p[i] >= 0x80 && p[i] < 0xc0) || p[i] >= 0xf8 || n - i < len)
            return false;
        for (unsigned k = 1; k < len; k++) {
            if (p[i + k] >> 6 != 2)
                return false;
            c = c << 6 | (p[i + k] & 0x3f);
        }
        if (c < least[len] || c > 0x10ffff || (c >= 0xd800 && c <= 0xdfff))
            return false;
        i += len;
    }
    return true;
}

static void check_number(struct avow_str in)
{
    uint64_t v;
    char text[24];
    if (!avow_num_parse_u64(in, UINT64_MAX, &v))
        return;
    while (in.len > 1 && in.ptr[0] == '0') {
        in.ptr++;
        in.len--;
    }
    snprintf(text, sizeof text, "%" PRIu64, v);
    require(avow_str_is(in, text));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct avow_str in = {(const char *)data, size};
    check_base64(in);
    check_hex(in);
    check_number(in);
    require(avow_utf8_is_valid(in) == utf8_by_code_points(data, size));
    return 0;
}
