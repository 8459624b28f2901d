#include "wire_rt.h"

#include "avow/base/hex.h"

#include "avow/base/banned.h"

static void lead(struct avow_js *j, const char *name)
{
    if (j->comma)
        avow_buf_put_u8(j->out, ',');
    j->comma = true;
    if (name) {
        avow_buf_put_u8(j->out, '"');
        avow_buf_put_str(j->out, name);
        avow_buf_put(j->out, "\":", 2);
    }
}

/* Control characters, C1 included, never reach a terminal as they are. */
static void put_escape(struct avow_js *j, uint8_t c)
{
    avow_buf_put(j->out, "\\u00", 4);
    avow_buf_put_hex(j->out, avow_bytes_make(&c, 1));
}

static bool is_plain(uint8_t c)
{
    return c >= 0x20 && c < 0x7F && c != '"' && c != '\\';
}

static void put_ascii(struct avow_js *j, uint8_t c)
{
    if (c == '"' || c == '\\') {
        avow_buf_put_u8(j->out, '\\');
        avow_buf_put_u8(j->out, c);
    } else {
        put_escape(j, c);
    }
}

void avow_js_u64(struct avow_js *j, const char *name, uint64_t v)
{
    lead(j, name);
    avow_buf_printf(j->out, "%llu", (unsigned long long)v);
}

void avow_js_bool(struct avow_js *j, const char *name, bool v)
{
    lead(j, name);
    avow_buf_put_str(j->out, v ? "true" : "false");
}

void avow_js_bytes(struct avow_js *j, const char *name, struct avow_bytes v)
{
    lead(j, name);
    avow_buf_put_u8(j->out, '"');
    if (j->style == AVOW_JSON_PLAIN) {
        avow_buf_put_hex(j->out, v);
    } else {
        /* Escaped where not printable ASCII, which is the same code point in JSON. */
        for (size_t i = 0; i < v.len; i++) {
            if (is_plain(v.ptr[i]))
                avow_buf_put_u8(j->out, v.ptr[i]);
            else
                put_ascii(j, v.ptr[i]);
        }
    }
    avow_buf_put_u8(j->out, '"');
}

void avow_js_str(struct avow_js *j, const char *name, struct avow_str v)
{
    const uint8_t *p = (const uint8_t *)v.ptr;
    lead(j, name);
    avow_buf_put_u8(j->out, '"');
    for (size_t i = 0; i < v.len;) {
        size_t run = i;
        while (run < v.len && (is_plain(p[run]) || p[run] > 0x7F) && p[run] != 0xC2)
            run++;
        avow_buf_put(j->out, p + i, run - i);
        i = run;
        if (i == v.len)
            break;
        if (p[i] == 0xC2 &&
            i + 1 < v.len) { /* U+0080 to U+00BF, of which the first half are controls */
            if (p[i + 1] < 0xA0)
                put_escape(j, p[i + 1]);
            else
                avow_buf_put(j->out, p + i, 2);
            i += 2;
        } else {
            put_ascii(j, p[i++]);
        }
    }
    avow_buf_put_u8(j->out, '"');
}

void avow_js_open(struct avow_js *j, const char *name, char bracket)
{
    lead(j, name);
    avow_buf_put_u8(j->out, (uint8_t)bracket);
    j->comma = false;
}

void avow_js_close(struct avow_js *j, char bracket)
{
    avow_buf_put_u8(j->out, (uint8_t)bracket);
    j->comma = true;
}

bool avow_js_some(struct avow_js *j, const char *name, const char *branch, bool has)
{
    if (has && j->style == AVOW_JSON_AVRO) {
        avow_js_open(j, name, '{');
        lead(j, branch);
    } else {
        lead(j, name);
    }
    if (!has)
        avow_buf_put_str(j->out, "null");
    j->comma = !has;
    return has;
}

void avow_js_some_end(struct avow_js *j)
{
    if (j->style == AVOW_JSON_AVRO)
        avow_js_close(j, '}');
}

void avow_js_branch(struct avow_js *j, const char *name, const char *avro, const char *plain)
{
    avow_js_open(j, name, '{');
    avow_js_open(j, j->style == AVOW_JSON_AVRO ? avro : plain, '{');
}

void avow_js_branch_end(struct avow_js *j)
{
    avow_js_close(j, '}');
    avow_js_close(j, '}');
}

static const struct avow_wire_codec *find(uint64_t fingerprint)
{
    for (size_t i = 0; i < avow_wire_codecs_count; i++)
        if (avow_wire_codecs[i].schema->fingerprint == fingerprint)
            return &avow_wire_codecs[i];
    return NULL;
}

enum avow_rc avow_wire_to_json(struct avow_bytes record, enum avow_json_style style,
                               struct avow_buf *out, struct avow_err *err)
{
    uint64_t fingerprint;
    if (!avow_wire_frame(record, &fingerprint))
        return avow_err_set(err, AVOW_SCHEMA, 0, "no single-object frame");
    const struct avow_wire_codec *codec = find(fingerprint);
    if (!codec)
        return avow_err_set(err, AVOW_SCHEMA, 0, "schema fingerprint %016llx is unknown",
                            (unsigned long long)fingerprint);
    struct avow_js j = {.out = out, .style = style, .comma = false};
    size_t start = out->len;
    struct avow_arena arena;
    avow_arena_init(&arena, AVOW_WIRE_ARENA_MAX);
    enum avow_rc rc = codec->print(record, &arena, &j, err);
    avow_arena_deinit(&arena);
    if (!rc)
        rc = avow_buf_status(out, err);
    if (rc)
        out->len = start;
    return rc;
}
