#include "reply.h"

#include "avow/base/hex.h"

#include <string.h>

#include "avow/base/banned.h"

#define TEXT_MAX 512u

static int put(const char *data, size_t size, void *arg)
{
    struct avow_buf *b = arg;
    avow_buf_put(b, data, size);
    return b->failed ? -1 : 0;
}

static json_t *printable(const char *text)
{
    char clean[TEXT_MAX];
    size_t n = 0;
    for (; text[n] && n < sizeof clean; n++)
        clean[n] = text[n] >= 0x20 && text[n] < 0x7f ? text[n] : '?';
    return json_stringn(clean, n);
}

/* Takes `root`, which may be NULL. */
static void put_json(struct avow_server_reply *reply, unsigned status, json_t *root)
{
    reply->status = status;
    if (!root || json_dump_callback(root, put, &reply->body, JSON_COMPACT) || reply->body.failed)
        avow_reply_empty(reply, 503);
    json_decref(root);
}

void avow_reply_empty(struct avow_server_reply *reply, unsigned status)
{
    avow_buf_reset(&reply->body);
    reply->status = status;
}

void avow_reply_envelope(struct avow_server_reply *reply, unsigned status, const char *text,
                         json_t *results)
{
    put_json(reply, status,
             json_pack("{s:i, s:o, s:o}", "code", (int)status, "status", printable(text), "results",
                       results ? results : json_object()));
}

void avow_reply_forbidden(struct avow_server_reply *reply, const char *detail)
{
    put_json(reply, 403,
             json_pack("{s:[{s:s, s:s, s:o}]}", "errors", "status", "403", "title", "Forbidden",
                       "detail", printable(detail)));
}

json_t *avow_json_base64(struct avow_bytes in)
{
    AVOW_CLEANUP_VAL(avow_buf_deinit) struct avow_buf text;
    avow_buf_init(&text, 2 * in.len + 16);
    avow_buf_put_base64(&text, in);
    return text.failed ? NULL : json_stringn((const char *)text.ptr, text.len);
}
