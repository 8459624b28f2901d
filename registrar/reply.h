/* reply.h - answers in Keylime's envelope {"code": int, "status": text, "results": {...}}. Layer:
 * registrar. */
#ifndef AVOW_REGISTRAR_REPLY_H
#define AVOW_REGISTRAR_REPLY_H

#include "http_server.h"

#include <jansson.h>

/* Takes `results` (NULL: {}). A failure of memory becomes 503 with an empty body. `text` may be any
 * bytes: what is not printable ASCII becomes '?'. */
void avow_reply_envelope(struct avow_server_reply *reply, unsigned status, const char *text,
                         json_t *results);
/* Without a body, as Keylime answers what its framework refuses: unknown path, wrong method. */
void avow_reply_empty(struct avow_server_reply *reply, unsigned status);
/* {"errors": [{"status", "title", "detail"}]}, as Keylime answers a missing client certificate. */
void avow_reply_forbidden(struct avow_server_reply *reply, const char *detail);
json_t *avow_json_base64(struct avow_bytes in); /* NULL if memory is short */

#endif
