/* registrar_client.h - one connection to the registrar's API under /avow/v1, with an
 * administrator's client certificate. Layer: tools/avow. What comes back is bounded and parsed, and
 * cleaned when it is printed. */
#ifndef AVOW_TOOLS_REGISTRAR_CLIENT_H
#define AVOW_TOOLS_REGISTRAR_CLIENT_H

#include "context.h"

#include <jansson.h>

struct avow_registrar_client;
/* From cli.registrar_url, registrar_ca, registrar_cert and registrar_key. Errors: AVOW_CONFIG. */
enum avow_rc avow_registrar_client_new(struct avow_cli *cli, struct avow_registrar_client **out,
                                       struct avow_err *err) AVOW_MUST_CHECK;
void avow_registrar_client_free(struct avow_registrar_client *c);
AVOW_DEFINE_CLEANUP(struct avow_registrar_client, avow_registrar_client_free);
/* `path` is below /avow/v1, "/agents?limit=2". *results: the member of the answer, owned by the
 * caller. Errors: AVOW_NOTFOUND (404), AVOW_REFUSED (no administrator, or a rule says no),
 * AVOW_UNREACHABLE (nobody answers, or busy, or its database is down), AVOW_USAGE (400), AVOW_PARSE
 * (not the answer of a registrar). */
enum avow_rc avow_registrar_call(struct avow_registrar_client *c, const char *method,
                                 const char *path, json_t **results,
                                 struct avow_err *err) AVOW_MUST_CHECK;

#endif
