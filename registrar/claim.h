/* claim.h - what an agent says about itself when it registers, and what we found out about its EK.
 * Layer: registrar. Plain data; everything is borrowed. A claim becomes a record only when the TPM
 * has answered the challenge. */
#ifndef AVOW_REGISTRAR_CLAIM_H
#define AVOW_REGISTRAR_CLAIM_H

#include "avow/base/arena.h"
#include "avow/crypto/ak.h"
#include "avow/crypto/x509.h"

/* Certificates of one agent together; an identity record (PROTOCOL B2: 64 KiB) must hold them. */
#define AVOW_CLAIM_CERTS_MAX (48u * 1024u)
#define AVOW_CLAIM_IP_MAX 255u
#define AVOW_CLAIM_MTLS_MAX 16384u
#define AVOW_TRUST_RULE_MAX 64u
#define AVOW_TRUST_DETAIL_MAX 512u

/* Rules beside "ek-certificate" and "trust-on-first-use" that decisions depend on. */
#define AVOW_RULE_DEVICE "iak-idevid"
#define AVOW_RULE_WEBHOOK "webhook"
#define AVOW_RULE_SCRIPT "check-script"

/* How an EK was judged (PROTOCOL B2, Identity.trust). */
struct avow_ek_trust {
    struct avow_str rule;   /* who vouches for it, or "trust-on-first-use" */
    bool trusted;           /* by a certificate chain, or by the operator's webhook or script */
    bool refused;           /* the operator's webhook or script said no; never stored */
    uint64_t time_ms;       /* when it was judged */
    struct avow_str detail; /* UTF-8, one line */
    bool has_cert_sha256;
    uint8_t cert_sha256[32]; /* of the EK certificate's DER */
};
/* Somebody outside has said yes or no: the operator's webhook or script. */
bool avow_trust_is_by_judge(const struct avow_ek_trust *t);

struct avow_claim {
    struct avow_bytes ek_public; /* TPM2B_PUBLIC */
    struct avow_bytes ak_public; /* TPM2B_PUBLIC */
    struct avow_bytes ak_name;   /* nameAlg and digest */
    struct avow_bytes ek_certs;  /* packed (avow_certs_*), the EK certificate first; empty: none */
    struct avow_bytes iak_certs; /* packed, the IAK's first; empty: none was proven */
    struct avow_bytes idevid_certs; /* packed, the IDevID's first; empty: none was proven */
    struct avow_str device_serial;  /* of both certificates; ptr NULL: none */
    struct avow_str ip;             /* ptr NULL: none */
    uint16_t port;                  /* 0: none */
    struct avow_str mtls_cert;      /* PEM or "disabled"; ptr NULL: none */
    struct avow_ek_trust trust;
};

/* Certificates in one value: u32be length and DER of each. Not from outside: we wrote it, so a
 * malformed one ends the walk. *rest shrinks; false at the end. */
bool avow_certs_next(struct avow_bytes *rest, struct avow_bytes *der);
void avow_certs_put(struct avow_buf *packed, struct avow_bytes der);

#endif
