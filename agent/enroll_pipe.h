/* enroll_pipe.h - what the agent and its registration process say to each other. Layer: agent.
 * Pure. The registration process (register_main.c) speaks HTTP and TLS with the registrar and holds
 * no key; it lives for one registration. So the agent links no HTTP library, which is a third of
 * its memory, and what a hostile registrar can break has nothing to lose.
 *
 * agent -> process: request, then answer (the secret that the TPM has opened)
 * process -> agent: reply to each. Every message is u32be length, then that many bytes. Both sides
 * treat what they read as hostile. */
#ifndef AVOW_AGENT_ENROLL_PIPE_H
#define AVOW_AGENT_ENROLL_PIPE_H

#include "avow/base/buf.h"

#define AVOW_ENROLL_CREDENTIAL_MAX 1024u /* of each of its two parts */
#define AVOW_ENROLL_VERSION_MAX 8u
#define AVOW_ENROLL_SECRET_MAX 64u
#define AVOW_ENROLL_MESSAGE_MAX (256u * 1024u) /* 8 certificates of 16 KiB as PEM, and the rest */

struct avow_enroll_device {                 /* borrowed; all empty: none */
    struct avow_bytes iak_public;           /* TPM2B_PUBLIC */
    struct avow_bytes iak_attest, iak_sign; /* TPM2_Certify of the AK */
    struct avow_bytes iak_certs;            /* PEM text */
    struct avow_bytes idevid_public, idevid_certs;
};
struct avow_enroll_self { /* borrowed */
    const char *url;      /* "http://host:port" or "https://..." */
    const char *ca;       /* PEM file; "": none, or the system's for https */
    const char *agent_id;
    struct avow_bytes ek_public, ak_public; /* TPM2B_PUBLIC */
    struct avow_bytes ek_certs;             /* PEM text, EK certificate first; empty: none */
    struct avow_enroll_device device;
};
struct avow_enroll_challenge {
    char version[AVOW_ENROLL_VERSION_MAX];       /* "2.6": what the registrar was spoken to in */
    struct avow_buf id_object, encrypted_secret; /* TPM2B_ID_OBJECT, TPM2B_ENCRYPTED_SECRET */
};
void avow_enroll_challenge_init(struct avow_enroll_challenge *c);
void avow_enroll_challenge_deinit(struct avow_enroll_challenge *c);

/* Appends one PEM block "CERTIFICATE". */
void avow_enroll_put_pem(struct avow_buf *out, struct avow_bytes der);

/* Messages without their length in front. Errors of put: AVOW_NOMEM, AVOW_LIMIT; of parse:
 * AVOW_PARSE. A parsed self borrows from `in`, whose texts end in NUL. */
enum avow_rc avow_enroll_put_request(const struct avow_enroll_self *self, struct avow_buf *out,
                                     struct avow_err *err) AVOW_MUST_CHECK;
enum avow_rc avow_enroll_parse_request(struct avow_bytes in, struct avow_enroll_self *out,
                                       struct avow_err *err) AVOW_MUST_CHECK;
/* `failure` NULL: it went well; `c` NULL: there is no challenge in it. The version stays with the
 * process that agreed on it. */
enum avow_rc avow_enroll_put_reply(const struct avow_err *failure,
                                   const struct avow_enroll_challenge *c, struct avow_buf *out,
                                   struct avow_err *err) AVOW_MUST_CHECK;
/* AVOW_OK, or the failure that the message tells of, or AVOW_PARSE. `c` NULL: no challenge is
 * expected. */
enum avow_rc avow_enroll_parse_reply(struct avow_bytes in, struct avow_enroll_challenge *c,
                                     struct avow_err *err) AVOW_MUST_CHECK;

#endif
