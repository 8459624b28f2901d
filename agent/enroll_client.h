/* enroll_client.h - registration and activation with a registrar that speaks Keylime's REST API v2.
 * Layer: agent. The exchange: GET /version; POST /v2.x/agents/<id> gives a challenge that only this
 * TPM opens; PUT the same path with an HMAC keyed by what it contained. Everything that comes back
 * is attacker-controlled: plain HTTP is allowed, since the challenge proves the TPM and a wrong
 * registrar only costs an attempt. An https URL is never asked over http. The functions that take
 * bytes are pure; avow_enroll_register and _activate do the I/O. Runs in the registration process
 * (enroll_pipe.h), not in the agent. */
#ifndef AVOW_AGENT_ENROLL_CLIENT_H
#define AVOW_AGENT_ENROLL_CLIENT_H

#include "enroll_pipe.h"

#define AVOW_ENROLL_ANSWER_MAX (64u * 1024u)

/* The version to speak, from the body of GET /version: current_version if we know it, else the
 * highest we share. Errors: AVOW_PARSE, AVOW_REFUSED (none in common). */
enum avow_rc avow_enroll_parse_version(struct avow_bytes body, char out[AVOW_ENROLL_VERSION_MAX],
                                       struct avow_err *err) AVOW_MUST_CHECK;
/* The challenge from the body of a registration's answer. Errors: AVOW_PARSE, AVOW_LIMIT,
 * AVOW_NOMEM. */
enum avow_rc avow_enroll_parse_challenge(struct avow_bytes body, struct avow_enroll_challenge *out,
                                         struct avow_err *err) AVOW_MUST_CHECK;
/* Bodies of the requests. Errors: AVOW_NOMEM, AVOW_LIMIT. */
enum avow_rc avow_enroll_put_registration(const struct avow_enroll_self *self, struct avow_buf *out,
                                          struct avow_err *err) AVOW_MUST_CHECK;
enum avow_rc avow_enroll_put_activation(const char *agent_id, struct avow_bytes secret,
                                        struct avow_buf *out, struct avow_err *err) AVOW_MUST_CHECK;
/* Errors: AVOW_UNREACHABLE, AVOW_REFUSED (the registrar says no: 4xx), AVOW_IO (5xx), AVOW_PARSE,
 * AVOW_LIMIT, AVOW_CONFIG, AVOW_NOMEM. */
enum avow_rc avow_enroll_register(const struct avow_enroll_self *self,
                                  struct avow_enroll_challenge *out,
                                  struct avow_err *err) AVOW_MUST_CHECK;
enum avow_rc avow_enroll_activate(const struct avow_enroll_self *self, const char *version,
                                  struct avow_bytes secret, struct avow_err *err) AVOW_MUST_CHECK;

#endif
