#define _GNU_SOURCE /* write, pthread */
#include "avow/base/log.h"

#include "avow/base/buf.h"
#include "avow/base/clock.h"
#include "avow/base/hex.h"
#include "log_limit.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <string.h>
#include <unistd.h>

#include "avow/base/banned.h"

#define LINE_MAX_BYTES 16384u
#define VALUE_MAX_BYTES 1024u /* of one field; the rest is cut and marked */

static struct {
    pthread_mutex_t lock; /* guards limit; init comes before threads */
    char program[32];
    enum avow_log_level max;
    enum avow_log_format format;
    struct avow_log_limit limit;
} logger = {.lock = PTHREAD_MUTEX_INITIALIZER, .program = "avow", .max = AVOW_LOG_INFO};

static const char *const level_names[] = {"error", "warn", "info", "debug"};
static const char *const format_names[] = {"text", "json"};

struct avow_bytes avow_kv_cstr(const char *s)
{
    return avow_kv_str(avow_str_from(s));
}

struct avow_bytes avow_kv_str(struct avow_str s)
{
    return avow_bytes_make(s.ptr, s.len);
}

void avow_log_init(const char *program, enum avow_log_level max, enum avow_log_format format)
{
    avow_str_copy(logger.program, sizeof logger.program, avow_str_from(program));
    logger.max = max;
    logger.format = format;
}

bool avow_log_level_parse(const char *text, enum avow_log_level *out)
{
    for (size_t i = 0; i < AVOW_ARRAY_LEN(level_names); i++) {
        if (avow_cstr_eq(text, level_names[i])) {
            *out = (enum avow_log_level)i;
            return true;
        }
    }
    return false;
}

bool avow_log_format_parse(const char *text, enum avow_log_format *out)
{
    for (size_t i = 0; i < AVOW_ARRAY_LEN(format_names); i++) {
        if (avow_cstr_eq(text, format_names[i])) {
            *out = (enum avow_log_format)i;
            return true;
        }
    }
    return false;
}

/* A quoted string that is valid JSON and shows no control character to a terminal, whatever the
 * bytes are. */
static void put_quoted(struct avow_buf *line, struct avow_bytes s)
{
    size_t n = s.len;
    if (n > VALUE_MAX_BYTES)
        for (n = VALUE_MAX_BYTES; (s.ptr[n] & 0xc0) == 0x80 && n > VALUE_MAX_BYTES - 4;)
            n--; /* cut before a character, not in it */
    bool utf8 = avow_utf8_is_valid((struct avow_str){(const char *)s.ptr, n});
    avow_buf_put_u8(line, '"');
    for (size_t i = 0; i < n; i++) {
        uint8_t c = s.ptr[i];
        if (c == '"' || c == '\\')
            avow_buf_printf(line, "\\%c", c);
        else if (c == '\n')
            avow_buf_put_str(line, "\\n");
        else if (c < 0x20 || c == 0x7f || (c >= 0x80 && !utf8))
            avow_buf_printf(line, "\\u%04x", (unsigned)c);
        else if (c == 0xc2 && s.ptr[i + 1] < 0xa0) /* U+0080 to U+009F are control characters too */
            avow_buf_printf(line, "\\u%04x", (unsigned)s.ptr[++i]);
        else
            avow_buf_put_u8(line, c);
    }
    avow_buf_put_str(line, n < s.len ? "...\"" : "\"");
}

static bool is_plain(struct avow_bytes s)
{
    if (!s.len || s.len > VALUE_MAX_BYTES)
        return false;
    for (size_t i = 0; i < s.len; i++)
        if (s.ptr[i] <= ' ' || s.ptr[i] >= 0x7f || s.ptr[i] == '"' || s.ptr[i] == '=' ||
            s.ptr[i] == '\\')
            return false;
    return true;
}

static void put_value(struct avow_buf *line, const struct avow_kv *kv, bool json)
{
    switch (kv->kind) {
    case AVOW_KV_KIND_STR:
        if (!json && is_plain(kv->bytes))
            avow_buf_put(line, kv->bytes.ptr, kv->bytes.len);
        else
            put_quoted(line, kv->bytes);
        return;
    case AVOW_KV_KIND_U64:
        avow_buf_printf(line, "%" PRIu64, kv->u64);
        return;
    case AVOW_KV_KIND_I64:
        avow_buf_printf(line, "%" PRId64, kv->i64);
        return;
    case AVOW_KV_KIND_BOOL:
        avow_buf_put_str(line, kv->u64 ? "true" : "false");
        return;
    case AVOW_KV_KIND_HEX:
        avow_buf_put_str(line, json ? "\"" : "");
        avow_buf_put_hex(line, avow_bytes_make(kv->bytes.ptr, kv->bytes.len < VALUE_MAX_BYTES
                                                                  ? kv->bytes.len
                                                                  : VALUE_MAX_BYTES));
        avow_buf_put_str(line, json ? "\"" : "");
        return;
    }
}

static void put_line(struct avow_buf *line, enum avow_log_level level, const char *event,
                     const struct avow_kv *kv, size_t n)
{
    const bool json = logger.format == AVOW_LOG_JSON;
    char time[32];
    avow_clock_format(time, avow_clock_unix_ms());
    avow_buf_printf(line,
                    json ? "{\"ts\":\"%s\",\"level\":\"%s\",\"program\":\"%s\",\"event\":\"%s\""
                         : "%s %-5s %s: %s",
                    time, level_names[level], logger.program, event);
    for (size_t i = 0; i < n; i++) {
        avow_buf_printf(line, json ? ",\"%s\":" : " %s=", kv[i].key);
        put_value(line, &kv[i], json);
    }
    avow_buf_put_str(line, json ? "}\n" : "\n");
}

/* One write, so that lines of several threads and processes stay whole. Nobody can be told if it
 * fails. */
static void emit(enum avow_log_level level, const char *event, const struct avow_kv *kv, size_t n)
{
    struct avow_buf line;
    avow_buf_init(&line, LINE_MAX_BYTES);
    put_line(&line, level, event, kv, n);
    if (avow_buf_status(&line, NULL)) { /* out of memory, or too many long fields */
        const struct avow_kv cut = AVOW_KV_STR("log", "fields dropped: too long or no memory");
        avow_buf_reset(&line);
        put_line(&line, level, event, &cut, 1);
    }
    for (size_t done = 0; done < line.len;) {
        ssize_t w = write(STDERR_FILENO, line.ptr + done, line.len - done);
        if (w < 0 && errno != EINTR)
            break;
        done += w > 0 ? (size_t)w : 0;
    }
    avow_buf_deinit(&line);
}

void avow_log_write(enum avow_log_level level, const char *event, const struct avow_kv *kv,
                    size_t n)
{
    if (level <= logger.max)
        emit(level, event, kv, n);
}

void avow_log_write_limited(enum avow_log_level level, const char *event, unsigned per_minute,
                            const struct avow_kv *kv, size_t n)
{
    uint64_t suppressed = 0;
    if (level > logger.max)
        return;
    pthread_mutex_lock(&logger.lock);
    bool allowed =
        avow_log_limit_allows(&logger.limit, event, per_minute, avow_clock_mono_ms(), &suppressed);
    pthread_mutex_unlock(&logger.lock);
    if (!allowed)
        return;
    if (suppressed) {
        const struct avow_kv count[] = {AVOW_KV_STR("of", event), AVOW_KV_U64("lines", suppressed)};
        emit(level, "log.suppressed", count, AVOW_ARRAY_LEN(count));
    }
    emit(level, event, kv, n);
}
