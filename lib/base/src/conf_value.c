/* conf_value.c - typed values as text. Pure. */
#include "avow/base/num.h"
#include "conf_internal.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "avow/base/banned.h"

static bool parse_bool(struct avow_str text, uint64_t *out)
{
    static const char *const words[] = {"false", "true", "no", "yes", "off", "on", "0", "1"};
    for (size_t i = 0; i < AVOW_ARRAY_LEN(words); i++) {
        if (avow_str_is(text, words[i])) {
            *out = i % 2;
            return true;
        }
    }
    return false;
}

static bool is_one_of(struct avow_str text, const char *values)
{
    for (const char *p = values; p;) {
        const char *bar = strchr(p, '|');
        struct avow_str one = {p, bar ? (size_t)(bar - p) : strlen(p)};
        if (avow_str_eq(one, text))
            return true;
        p = bar ? bar + 1 : NULL;
    }
    return false;
}

static bool check_range(const struct avow_conf_option *o, uint64_t v, char *why, size_t why_size)
{
    if (v >= o->min && v <= o->max)
        return true;
    snprintf(why, why_size, "%" PRIu64 " is not between %" PRIu64 " and %" PRIu64 "%s", v, o->min,
             o->max, o->type == AVOW_CONF_MS ? " (ms)" : "");
    return false;
}

static bool not_a(struct avow_str text, const char *what, char *why, size_t why_size)
{
    snprintf(why, why_size, "'%.*s' is not %s", (int)avow_min_u64(text.len, 64), text.ptr, what);
    return false;
}

bool avow_conf_check_value(const struct avow_conf_option *o, struct avow_str text, uint64_t *number,
                           char *why, size_t why_size)
{
    uint64_t v = 0;
    switch (o->type) {
    case AVOW_CONF_STR:
    case AVOW_CONF_PATH:
        break;
    case AVOW_CONF_U64:
        if (!avow_num_parse_u64(text, UINT64_MAX, &v))
            return not_a(text, "a number", why, why_size);
        if (!check_range(o, v, why, why_size))
            return false;
        break;
    case AVOW_CONF_MS:
        if (!avow_num_parse_ms(text, &v))
            return not_a(text, "a duration such as 500ms, 30s, 5m, 2h, 1d", why, why_size);
        if (!check_range(o, v, why, why_size))
            return false;
        break;
    case AVOW_CONF_BOOL:
        if (!parse_bool(text, &v))
            return not_a(text, "true or false", why, why_size);
        break;
    case AVOW_CONF_ENUM:
        if (!is_one_of(text, o->values))
            return not_a(text, o->values, why, why_size);
        break;
    }
    *number = v;
    return true;
}
