#define _GNU_SOURCE /* memmem */
#include "pem.h"

#include "avow/base/cleanup.h"
#include "avow/base/hex.h"

#include <string.h>

#include "avow/base/banned.h"

#define PEM_COLUMNS 64u /* RFC 7468, 2 */
static const char BEGIN[] = "-----BEGIN ";
static const char END[] = "-----END ";
static const char DASHES[] = "-----";

static const uint8_t *find(struct avow_bytes in, const char *what)
{
    return in.len ? memmem(in.ptr, in.len, what, strlen(what)) : NULL;
}

static struct avow_bytes from(struct avow_bytes in, const uint8_t *p)
{
    return avow_bytes_make(p, (size_t)(in.ptr + in.len - p));
}

bool avow_pem_is(struct avow_bytes in)
{
    return find(in, BEGIN) != NULL;
}

/* The label that follows `p`, which points at a BEGIN or END mark of length `mark`. */
static bool label_at(struct avow_bytes in, size_t mark, struct avow_str *label,
                     struct avow_bytes *after)
{
    struct avow_bytes tail = avow_bytes_make(in.ptr + mark, in.len - mark);
    const uint8_t *end = find(tail, DASHES);
    if (!end)
        return false;
    *label = (struct avow_str){(const char *)tail.ptr, (size_t)(end - tail.ptr)};
    if (memchr(label->ptr, '\n', label->len))
        return false;
    *after = from(tail, end + sizeof DASHES - 1);
    return true;
}

enum avow_rc avow_pem_next(struct avow_bytes *rest, struct avow_pem_block *out, bool *found,
                           struct avow_err *err)
{
    const uint8_t *begin = find(*rest, BEGIN);
    if (!begin) {
        *found = false;
        return AVOW_OK;
    }
    struct avow_str label, end_label;
    struct avow_bytes body, after;
    if (!label_at(from(*rest, begin), sizeof BEGIN - 1, &label, &body))
        return avow_err_set(err, AVOW_PARSE, 0, "PEM block has no label");
    const uint8_t *end = find(body, END);
    if (!end || !label_at(from(body, end), sizeof END - 1, &end_label, &after) ||
        !avow_str_eq(label, end_label))
        return avow_err_set(err, AVOW_PARSE, 0, "PEM block does not end");
    out->label = label;
    out->base64 = (struct avow_str){(const char *)body.ptr, (size_t)(end - body.ptr)};
    *rest = after;
    *found = true;
    return AVOW_OK;
}

enum avow_rc avow_pem_decode(struct avow_str base64, struct avow_buf *out, struct avow_err *err)
{
    AVOW_CLEANUP_VAL(avow_buf_deinit) struct avow_buf dense;
    avow_buf_init(&dense, base64.len);
    for (size_t i = 0; i < base64.len;) {
        size_t n = 0;
        while (i + n < base64.len && !memchr(" \t\r\n", base64.ptr[i + n], 4))
            n++;
        avow_buf_put(&dense, base64.ptr + i, n);
        i += n ? n : 1;
    }
    enum avow_rc rc = avow_buf_status(&dense, err);
    if (!rc)
        rc = avow_base64_decode((struct avow_str){(const char *)dense.ptr, dense.len}, out, err);
    avow_wipe(dense.ptr, dense.len); /* it may have been a private key */
    return rc;
}

void avow_pem_put(struct avow_buf *out, const char *label, struct avow_bytes der)
{
    AVOW_CLEANUP_VAL(avow_buf_deinit) struct avow_buf text;
    avow_buf_init(&text, der.len * 2 + 8);
    avow_buf_put_base64(&text, der);
    if (text.failed)
        out->failed = text.failed;
    avow_buf_printf(out, "-----BEGIN %s-----\n", label);
    for (size_t i = 0; i < text.len; i += PEM_COLUMNS) {
        size_t n = text.len - i < PEM_COLUMNS ? text.len - i : PEM_COLUMNS;
        avow_buf_put(out, text.ptr + i, n);
        avow_buf_put_u8(out, '\n');
    }
    avow_buf_printf(out, "-----END %s-----\n", label);
}
