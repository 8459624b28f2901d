/* record_json.c - see record_json.h. */
#include "avow/events/record_json.h"

#include "avow/base/cleanup.h"
#include "avow/wire/json.h"

#include "avow/base/banned.h"

#define RECORD_JSON_MAX (2u * 1024u * 1024u)

enum avow_rc avow_record_json(struct avow_bytes record, json_t **out, struct avow_err *err)
{
    AVOW_CLEANUP_VAL(avow_buf_deinit) struct avow_buf text;
    avow_buf_init(&text, RECORD_JSON_MAX);
    enum avow_rc rc = avow_wire_to_json(record, AVOW_JSON_PLAIN, &text, err);
    if (rc)
        return rc;
    json_error_t why;
    *out = json_loadb((const char *)text.ptr, text.len, JSON_ALLOW_NUL, &why);
    return *out ? AVOW_OK : avow_err_set(err, AVOW_NOMEM, 0, "record as JSON: %s", why.text);
}
