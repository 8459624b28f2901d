#include "json_out.h"

#include "avow/base/cleanup.h"
#include "avow/base/hex.h"
#include "text.h"

#include <stdio.h>
#include <stdlib.h>

#include "avow/base/banned.h"

#define TEXT_MAX (64u * 1024u * 1024u)

json_t *avow_json_str(struct avow_str s)
{
    json_t *j = json_stringn(s.ptr ? s.ptr : "", s.len);
    if (j)
        return j;
    AVOW_CLEANUP_VAL(avow_buf_deinit) struct avow_buf clean;
    avow_buf_init(&clean, TEXT_MAX);
    avow_text_put(&clean, s);
    return avow_buf_status(&clean, NULL) ? NULL : json_stringn((const char *)clean.ptr, clean.len);
}

json_t *avow_json_cstr(const char *s)
{
    return s ? avow_json_str(avow_str_from(s)) : json_null();
}

json_t *avow_json_u64(uint64_t v)
{
    return json_integer(v > INT64_MAX ? INT64_MAX : (json_int_t)v);
}

json_t *avow_json_hex(struct avow_bytes b)
{
    AVOW_CLEANUP_VAL(avow_buf_deinit) struct avow_buf hex;
    avow_buf_init(&hex, TEXT_MAX);
    avow_buf_put_hex(&hex, b);
    return avow_buf_status(&hex, NULL) ? NULL : json_stringn((const char *)hex.ptr, hex.len);
}

static enum avow_rc print(json_t *taken, size_t flags, struct avow_err *err)
{
    char *text = taken ? json_dumps(taken, flags) : NULL;
    json_decref(taken);
    if (!text)
        return avow_err_set(err, AVOW_NOMEM, 0, "result as JSON");
    puts(text); /* a failure is noticed when the program ends */
    free(text);
    return AVOW_OK;
}

enum avow_rc avow_json_line(json_t *taken, struct avow_err *err)
{
    return print(taken, JSON_COMPACT, err);
}

enum avow_rc avow_json_document(json_t *taken, struct avow_err *err)
{
    return print(taken, JSON_INDENT(2), err);
}
