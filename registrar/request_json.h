/* request_json.h - bodies of register and activate: JSON to plain structs. Layer: registrar. No
 * I/O; thread-safe. Input: attacker-controlled, at most AVOW_BODY_MAX bytes. Shapes:
 * docs/REGISTRAR.md. Unknown fields are ignored, as Keylime does; duplicate names, NUL, invalid
 * UTF-8 and deep nesting are refused. */
#ifndef AVOW_REGISTRAR_REQUEST_JSON_H
#define AVOW_REGISTRAR_REQUEST_JSON_H

#include "enroll_step.h"
#include "iak.h"

#define AVOW_BODY_MAX (256u * 1024u) /* PROTOCOL B6 */
#define AVOW_JSON_DEPTH_MAX 16u

struct avow_register_request {   /* borrows from the arena */
    struct avow_bytes ek_public; /* decoded base64, not parsed further */
    struct avow_bytes ak_public;
    enum avow_cert_given cert;
    struct avow_str ekcert;      /* PEM text or base64 DER */
    struct avow_iak_request iak; /* iak.h */
    struct avow_str ip;          /* an address or host name; ptr NULL: none */
    uint16_t port;               /* 0: none */
    struct avow_str mtls_cert;   /* "disabled" or text to be parsed as PEM; ptr NULL: none */
};

/* Errors: AVOW_PARSE, AVOW_LIMIT (the message is for the client), AVOW_NOMEM. On failure *out is
 * untouched. */
enum avow_rc avow_register_request_parse(struct avow_bytes body, struct avow_arena *arena,
                                         struct avow_register_request *out,
                                         struct avow_err *err) AVOW_MUST_CHECK;
/* {"auth_tag": "<96 lower-case hex digits>"} */
enum avow_rc avow_activate_request_parse(struct avow_bytes body, uint8_t tag[AVOW_TAG_LEN],
                                         struct avow_err *err) AVOW_MUST_CHECK;
/* The id of a registration whose path names none: member agent_id. */
#define AVOW_AGENT_ID_ROOM 129u /* PROTOCOL B6, and a NUL */
enum avow_rc avow_agent_id_request_parse(struct avow_bytes body, char out[AVOW_AGENT_ID_ROOM],
                                         struct avow_err *err) AVOW_MUST_CHECK;

#endif
