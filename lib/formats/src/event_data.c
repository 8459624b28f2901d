/* event_data.c - what types and data of events say: event_log.h. */
#include "avow/formats/event_log.h"

#include "avow/base/hex.h"

#include <string.h>

#include "avow/base/banned.h"

#define GUID_LEN 16u           /* UEFI 2.10, appendix A: EFI_GUID */
#define LOCALITY_EVENT_LEN 17u /* PFP 10.4.5.3 */

static const struct {
    uint32_t type;
    const char *name;
} types[] = {
#define X(name, value) {(value), "EV_" #name},
    AVOW_EVENT_TYPE_MAP(X)
#undef X
};

const char *avow_event_type_name(uint32_t type)
{
    for (size_t i = 0; i < AVOW_ARRAY_LEN(types); i++) {
        if (types[i].type == type)
            return types[i].name;
    }
    return NULL;
}

bool avow_event_has_variable(const struct avow_event *e)
{
    return e->untrusted_type == AVOW_EV_EFI_VARIABLE_DRIVER_CONFIG ||
           e->untrusted_type == AVOW_EV_EFI_VARIABLE_BOOT ||
           e->untrusted_type == AVOW_EV_EFI_VARIABLE_BOOT2 ||
           e->untrusted_type == AVOW_EV_EFI_VARIABLE_AUTHORITY ||
           e->untrusted_type == AVOW_EV_EFI_SPDM_DEVICE_POLICY ||
           e->untrusted_type == AVOW_EV_EFI_SPDM_DEVICE_AUTHORITY;
}

bool avow_event_variable_parse(struct avow_bytes data, struct avow_event_variable *out)
{
    struct avow_rd r = avow_rd_make(data);
    struct avow_event_variable v = {.guid = avow_rd_take(&r, GUID_LEN)};
    uint64_t characters = avow_rd_u64le(&r);
    uint64_t bytes = avow_rd_u64le(&r);
    if (r.bad || characters > data.len / 2 || bytes > data.len)
        return false;
    v.name = avow_rd_take(&r, 2 * (size_t)characters);
    v.value = avow_rd_take(&r, (size_t)bytes);
    if (!avow_rd_done(&r))
        return false;
    *out = v;
    return true;
}

/* RFC 4122 text; UEFI 2.10, appendix A: EFI_GUID. */
void avow_guid_text(struct avow_bytes guid, char out[AVOW_GUID_TEXT_MAX])
{
    static const uint8_t order[GUID_LEN] = {3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15};
    char *to = out;
    for (size_t i = 0; i < GUID_LEN; i++) {
        if (i == 4 || i == 6 || i == 8 || i == 10)
            *to++ = '-';
        avow_hex_encode(to, (struct avow_bytes){guid.ptr + order[i], 1});
        to += 2;
    }
}

bool avow_event_startup_locality(const struct avow_event *e, uint8_t *out)
{
    static const uint8_t signature[] = "StartupLocality";
    struct avow_bytes begin = {e->untrusted_data.ptr, sizeof signature};
    if (e->untrusted_type != AVOW_EV_NO_ACTION || e->untrusted_data.len != LOCALITY_EVENT_LEN ||
        !avow_bytes_eq(begin, AVOW_BYTES_OF(signature)))
        return false;
    *out = e->untrusted_data.ptr[sizeof signature];
    return true;
}

/* --- Text --- */

/* RFC 2781, 2.1 and 2.2: surrogates; U+FFFD stands for what is none and no character either. */
#define REPLACEMENT 0xFFFDu
#define SUPPLEMENTARY 0x10000u

static bool is_high(uint32_t c)
{
    return c >= 0xD800 && c <= 0xDBFF;
}

static bool is_low(uint32_t c)
{
    return c >= 0xDC00 && c <= 0xDFFF;
}

/* RFC 3629; `c` is no surrogate. */
static void put_utf8(struct avow_buf *out, uint32_t c)
{
    if (c < 0x80) {
        avow_buf_put_u8(out, (uint8_t)c);
        return;
    }
    unsigned more = c < 0x800 ? 1 : c < SUPPLEMENTARY ? 2 : 3;
    static const uint8_t lead[] = {0, 0xC0, 0xE0, 0xF0};
    avow_buf_put_u8(out, (uint8_t)(lead[more] | c >> (6 * more)));
    while (more--)
        avow_buf_put_u8(out, (uint8_t)(0x80 | (c >> (6 * more) & 0x3F)));
}

void avow_event_put_utf16(struct avow_buf *out, struct avow_bytes utf16)
{
    struct avow_rd r = avow_rd_make(utf16);
    while (avow_rd_left(&r) > 0) {
        uint32_t c = avow_rd_u16le(&r);
        struct avow_rd ahead = r;
        uint32_t low = is_high(c) ? avow_rd_u16le(&ahead) : 0;
        if (is_low(low)) {
            c = SUPPLEMENTARY + ((c - 0xD800) << 10) + (low - 0xDC00);
            r = ahead;
        }
        put_utf8(out, r.bad || is_high(c) || is_low(c) ? REPLACEMENT : c);
        if (r.bad)
            return;
    }
}

static bool is_text(uint32_t type)
{
    static const uint32_t text_types[] = {
        AVOW_EV_POST_CODE,  AVOW_EV_ACTION,       AVOW_EV_S_CRTM_VERSION,
        AVOW_EV_IPL,        AVOW_EV_COMPACT_HASH, AVOW_EV_OMIT_BOOT_DEVICE_EVENTS,
        AVOW_EV_EFI_ACTION,
    };
    for (size_t i = 0; i < AVOW_ARRAY_LEN(text_types); i++) {
        if (text_types[i] == type)
            return true;
    }
    return false;
}

static bool has_control(struct avow_str s)
{
    for (size_t i = 0; i < s.len; i++) {
        if ((uint8_t)s.ptr[i] < ' ' && s.ptr[i] != '\n' && s.ptr[i] != '\t')
            return true;
    }
    return false;
}

/* Every second byte of ASCII in UTF-16 is NUL, which no text in UTF-8 has. */
bool avow_event_put_text(struct avow_buf *out, const struct avow_event *e)
{
    struct avow_bytes data = e->untrusted_data;
    size_t begin = out->len;
    if (!is_text(e->untrusted_type) || !data.len)
        return false;
    struct avow_str s = {(const char *)data.ptr, data.len - (data.ptr[data.len - 1] == 0)};
    if (s.len && avow_utf8_is_valid(s) && !has_control(s)) {
        avow_buf_put(out, s.ptr, s.len);
        return out->failed == AVOW_OK;
    }
    if (data.len % 2 || data.len < 4 || data.ptr[1]) /* what begins in ASCII: not any pairs */
        return false;
    bool nul = data.ptr[data.len - 1] == 0 && data.ptr[data.len - 2] == 0;
    avow_event_put_utf16(out, avow_bytes_make(data.ptr, data.len - (nul ? 2 : 0)));
    s = (struct avow_str){(const char *)out->ptr + begin, out->len - begin};
    if (out->failed || memchr(s.ptr, 0, s.len) || has_control(s)) {
        out->len = begin;
        return false;
    }
    return true;
}
