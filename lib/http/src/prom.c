#include "avow/http/prom.h"

#include <assert.h>
#include <inttypes.h>
#include <stddef.h>

#include "avow/base/banned.h"

#define US_PER_S 1000000u

void avow_prom_head(struct avow_buf *out, const char *name, const char *type, const char *help)
{
    avow_buf_printf(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

static void put_escaped(struct avow_buf *out, const char *text)
{
    for (; *text; text++) {
        if (*text == '\n') {
            avow_buf_put_str(out, "\\n");
            continue;
        }
        if (*text == '"' || *text == '\\')
            avow_buf_put_str(out, "\\");
        avow_buf_put(out, text, 1);
    }
}

void avow_prom_sample(struct avow_buf *out, const char *name, const char *label, const char *text,
                      uint64_t value)
{
    avow_buf_put_str(out, name);
    if (label) {
        avow_buf_printf(out, "{%s=\"", label);
        put_escaped(out, text);
        avow_buf_put_str(out, "\"}");
    }
    avow_buf_printf(out, " %" PRIu64 "\n", value);
}

void avow_prom_single(struct avow_buf *out, const char *name, const char *type, const char *help,
                      uint64_t value)
{
    avow_prom_head(out, name, type, help);
    avow_prom_sample(out, name, NULL, NULL, value);
}

void avow_prom_seconds(struct avow_buf *out, const char *name, const char *help, uint64_t ms)
{
    avow_prom_head(out, name, "gauge", help);
    avow_buf_printf(out, "%s %" PRIu64 ".%03" PRIu64 "\n", name, ms / 1000, ms % 1000);
}

void avow_prom_observe(struct avow_prom_times *t, const struct avow_prom_bounds *b, uint64_t us)
{
    size_t i = 0;
    assert(b->count <= AVOW_PROM_BOUNDS_MAX);
    while (i < b->count && us > b->us[i])
        i++;
    t->buckets[i]++;
    t->sum_us += us;
}

void avow_prom_add(struct avow_prom_times *sum, const struct avow_prom_times *t)
{
    for (size_t i = 0; i <= AVOW_PROM_BOUNDS_MAX; i++)
        sum->buckets[i] += t->buckets[i];
    sum->sum_us += t->sum_us;
}

void avow_prom_histogram(struct avow_buf *out, const char *name, const char *help,
                         const struct avow_prom_times *t, const struct avow_prom_bounds *b)
{
    uint64_t sum = 0;
    avow_prom_head(out, name, "histogram", help);
    for (size_t i = 0; i < b->count; i++) {
        sum += t->buckets[i];
        avow_buf_printf(out, "%s_bucket{le=\"%" PRIu64 ".%06" PRIu64 "\"} %" PRIu64 "\n", name,
                        b->us[i] / US_PER_S, b->us[i] % US_PER_S, sum);
    }
    sum += t->buckets[b->count];
    avow_buf_printf(out, "%s_bucket{le=\"+Inf\"} %" PRIu64 "\n", name, sum);
    avow_buf_printf(out, "%s_sum %" PRIu64 ".%06" PRIu64 "\n", name, t->sum_us / US_PER_S,
                    t->sum_us % US_PER_S);
    avow_buf_printf(out, "%s_count %" PRIu64 "\n", name, sum);
}
