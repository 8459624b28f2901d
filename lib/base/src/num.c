#include "avow/base/num.h"

#include "avow/base/banned.h"

bool avow_num_parse_u64(struct avow_str s, uint64_t max, uint64_t *out)
{
    uint64_t v = 0;
    if (!s.len)
        return false;
    for (size_t i = 0; i < s.len; i++) {
        if (s.ptr[i] < '0' || s.ptr[i] > '9')
            return false;
        uint64_t digit = (uint64_t)(s.ptr[i] - '0');
        if (v > (UINT64_MAX - digit) / 10)
            return false;
        v = v * 10 + digit;
    }
    if (v > max)
        return false;
    *out = v;
    return true;
}

bool avow_size_mul(size_t a, size_t b, size_t *out)
{
    if (b && a > SIZE_MAX / b)
        return false;
    *out = a * b;
    return true;
}

static const struct {
    const char *suffix;
    uint64_t ms;
} units[] = {{"ms", 1}, {"s", 1000}, {"m", 60000}, {"h", 3600000}, {"d", 86400000}};

bool avow_num_parse_ms(struct avow_str text, uint64_t *out)
{
    size_t digits = 0;
    while (digits < text.len && text.ptr[digits] >= '0' && text.ptr[digits] <= '9')
        digits++;
    struct avow_str suffix = {text.ptr + digits, text.len - digits};
    uint64_t factor = suffix.len ? 0 : 1;
    for (size_t i = 0; i < AVOW_ARRAY_LEN(units); i++)
        if (avow_str_is(suffix, units[i].suffix))
            factor = units[i].ms;
    text.len = digits;
    if (!factor || !avow_num_parse_u64(text, UINT64_MAX / factor, out))
        return false;
    *out *= factor;
    return true;
}
