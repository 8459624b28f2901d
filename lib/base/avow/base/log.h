/* log.h - structured log lines: an event name and typed fields, as text or JSON on stderr. Layer:
 * base. The logger is the only global mutable state. Libraries log at debug only; a line that a
 * remote peer can trigger goes through avow_log_limited. Never log secrets, nonces or PEM text.
 * Thread-safe after init. */
#ifndef AVOW_BASE_LOG_H
#define AVOW_BASE_LOG_H

#include "avow/base/bytes.h"
#include "avow/base/err.h"

enum avow_log_level { AVOW_LOG_ERROR, AVOW_LOG_WARN, AVOW_LOG_INFO, AVOW_LOG_DEBUG };
enum avow_log_format { AVOW_LOG_TEXT, AVOW_LOG_JSON };

enum avow_kv_kind {
    AVOW_KV_KIND_STR,
    AVOW_KV_KIND_U64,
    AVOW_KV_KIND_I64,
    AVOW_KV_KIND_BOOL,
    AVOW_KV_KIND_HEX
};
struct avow_kv {
    const char *key;
    enum avow_kv_kind kind;
    struct avow_bytes bytes;
    uint64_t u64;
    int64_t i64;
};

#define AVOW_KV_STR(k, cstr)                                                                       \
    ((struct avow_kv){.key = (k), .kind = AVOW_KV_KIND_STR, .bytes = avow_kv_cstr(cstr)})
#define AVOW_KV_STRN(k, s)                                                                         \
    ((struct avow_kv){.key = (k), .kind = AVOW_KV_KIND_STR, .bytes = avow_kv_str(s)})
#define AVOW_KV_U64(k, v) ((struct avow_kv){.key = (k), .kind = AVOW_KV_KIND_U64, .u64 = (v)})
#define AVOW_KV_I64(k, v) ((struct avow_kv){.key = (k), .kind = AVOW_KV_KIND_I64, .i64 = (v)})
#define AVOW_KV_BOOL(k, v)                                                                         \
    ((struct avow_kv){.key = (k), .kind = AVOW_KV_KIND_BOOL, .u64 = (v) ? 1u : 0u})
#define AVOW_KV_HEX(k, b) ((struct avow_kv){.key = (k), .kind = AVOW_KV_KIND_HEX, .bytes = (b)})
#define AVOW_KV_ERR(e) AVOW_KV_STR("error", (e)->msg)

struct avow_bytes avow_kv_cstr(const char *s);
struct avow_bytes avow_kv_str(struct avow_str s);

/* Call once at program start, before threads. */
void avow_log_init(const char *program, enum avow_log_level max, enum avow_log_format format);
bool avow_log_level_parse(const char *text, enum avow_log_level *out) AVOW_MUST_CHECK;
bool avow_log_format_parse(const char *text, enum avow_log_format *out) AVOW_MUST_CHECK;
void avow_log_write(enum avow_log_level level, const char *event, const struct avow_kv *kv,
                    size_t n);
/* At most `per_minute` lines of this event a minute; the rest are counted and the count is logged.
 */
void avow_log_write_limited(enum avow_log_level level, const char *event, unsigned per_minute,
                            const struct avow_kv *kv, size_t n);

#define AVOW_LOG_KV(...)                                                                           \
    (const struct avow_kv[]){__VA_ARGS__},                                                         \
        sizeof((const struct avow_kv[]){__VA_ARGS__}) / sizeof(struct avow_kv)
/* avow_log(INFO, "verdict", AVOW_KV_STR("agent", id), AVOW_KV_U64("seq", n)); at least one field.
 */
#define avow_log(level, event, ...)                                                                \
    avow_log_write(AVOW_LOG_##level, event, AVOW_LOG_KV(__VA_ARGS__))
#define avow_log_limited(level, event, per_minute, ...)                                            \
    avow_log_write_limited(AVOW_LOG_##level, event, per_minute, AVOW_LOG_KV(__VA_ARGS__))

#endif
