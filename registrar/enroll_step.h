/* enroll_step.h - every decision about registering, activating and removing an agent. Layer:
 * registrar. Pure: request + stored rows + time + random bytes -> answer + changes. No I/O, clock
 * or randomness, so each rule is a row of a table in tests/unit/registrar/test_enroll_step.c.
 * Rules: PROTOCOL R11, R27; docs/REGISTRAR.md.
 *
 * Invariants: an active agent changes only by a proof from its own EK or by an administrator; a
 * challenge belongs to one whole request from one source address, so that nobody else's request can
 * void it or ride on its answer. */
#ifndef AVOW_REGISTRAR_ENROLL_STEP_H
#define AVOW_REGISTRAR_ENROLL_STEP_H

#include "claim.h"

#define AVOW_PENDING_PER_ID 8u        /* open challenges of one agent id */
#define AVOW_PENDING_PER_ID_SOURCE 2u /* of them, from one source address */
#define AVOW_PENDING_PER_SOURCE 256u  /* over all ids */
#define AVOW_PENDING_TOTAL 16384u
#define AVOW_TAG_ATTEMPTS 10u /* wrong answers from the source of a challenge before it is void */
#define AVOW_TAG_LEN 48u      /* HMAC-SHA384 */
#define AVOW_SECRET_LEN 32u   /* fits the smallest nameAlg that an EK may have (SHA-256) */
#define AVOW_SOURCE_MAX 64u   /* text of an address */

enum avow_agent_status { AVOW_AGENT_NONE = 0, AVOW_AGENT_ACTIVE, AVOW_AGENT_REMOVED };

struct avow_agent { /* one row; borrowed */
    enum avow_agent_status status;
    uint64_t generation;     /* of the identity; survives removal */
    uint32_t regcount;       /* activations since the last removal */
    uint64_t registered_ms;  /* last activation */
    uint64_t tag_until_ms;   /* a repeated PUT with the same tag is answered 200 until then */
    uint8_t tag_sha256[32];  /* SHA-256 of the tag that activated it */
    uint64_t allow_until_ms; /* an operator lets another EK or AK activate until then; 0: not */
    struct avow_claim claim; /* removed: as it last was */
};

struct avow_pending {   /* an open challenge; borrowed */
    int64_t seq;        /* set by the store; greater is newer */
    uint8_t digest[32]; /* of the request and its source */
    struct avow_str source;
    uint8_t secret[AVOW_SECRET_LEN];
    uint64_t issued_ms;
    uint64_t expires_ms;
    uint32_t attempts;
    struct avow_claim claim;
};

enum avow_ek_policy {
    AVOW_EK_REQUIRE_CERT,
    AVOW_EK_CERT_OR_WEBHOOK, /* else the operator's webhook or script decides */
    AVOW_EK_TRUST_ON_FIRST_USE
};

enum avow_tpm_identity {
    AVOW_IDENTITY_DEFAULT,    /* what comes is judged; whether it must prove anything, says
                                 avow_ek_policy */
    AVOW_IDENTITY_EK_CERT,    /* only the EK certificate counts, and it must be trusted */
    AVOW_IDENTITY_IAK_IDEVID, /* only IAK and IDevID count, and they must be */
    AVOW_IDENTITY_EITHER      /* one of them must be */
};

struct avow_judges { /* the operator's own: a check script, a webhook */
    bool script, webhook;
};

struct avow_enroll_policy {
    struct avow_judges judges; /* those that there are */
    enum avow_ek_policy ek;
    enum avow_tpm_identity identity;
    bool refuse_ak_change; /* even with proof by the same EK, as Keylime does */
    uint64_t challenge_ms; /* life of a challenge */
    uint64_t allow_ms;     /* how long an operator's leave lasts (avow_enroll_allow) */
};

struct avow_enroll_view { /* what is stored about this id, read in one transaction */
    struct avow_str id;
    uint64_t now_ms;
    struct avow_str source; /* text of the client's address */
    const struct avow_enroll_policy *policy;
    const struct avow_agent *agent;     /* status NONE if there is none */
    const struct avow_pending *pending; /* n_pending <= AVOW_PENDING_PER_ID, oldest first */
    size_t n_pending;
    uint64_t pending_of_source; /* over all ids, not expired */
    uint64_t pending_total;     /* not expired */
};

/* Did the request say anything about a certificate? Leaving it out keeps the stored one; null
 * withdraws it. */
enum avow_cert_given { AVOW_CERT_ABSENT, AVOW_CERT_NULL, AVOW_CERT_GIVEN };

struct avow_register_in {
    struct avow_claim claim; /* parsed and judged; ek_certs empty unless given */
    enum avow_cert_given cert;
    bool device_given;               /* IAK and IDevID came; proven, they are in the claim */
    struct avow_str ek_hash_id;      /* avow_ek_hash_id */
    uint8_t secret[AVOW_SECRET_LEN]; /* fresh random bytes */
};

enum avow_change_kind {
    AVOW_CHANGE_PENDING_ADD,
    AVOW_CHANGE_PENDING_ATTEMPTS,
    AVOW_CHANGE_PENDING_DROP,
    AVOW_CHANGE_AGENT,
    AVOW_CHANGE_ALLOW /* nothing of it is published */
};
struct avow_change {
    enum avow_change_kind kind;
    int64_t seq;                 /* PENDING_ATTEMPTS, PENDING_DROP */
    uint32_t attempts;           /* PENDING_ATTEMPTS */
    uint64_t allow_until_ms;     /* ALLOW */
    struct avow_pending pending; /* PENDING_ADD; seq unset */
    struct avow_agent agent;     /* AGENT: the whole row; goes to the outbox too */
};
#define AVOW_CHANGES_MAX (AVOW_PENDING_PER_ID + 2u)

struct avow_enroll_out {
    unsigned status;                 /* HTTP status, also the envelope's code */
    const char *reason;              /* static word for log and counters: "ek_changed" */
    char text[256];                  /* envelope's status text */
    bool challenge;                  /* register: answer with a credential around `secret` */
    uint8_t secret[AVOW_SECRET_LEN]; /* wipe */
    bool ask;                /* activate: the TPM has proven itself; judge `claim` and come again */
    struct avow_claim claim; /* ask: what was proven */
    uint8_t digest[32];      /* ask: of that request */
    struct avow_change changes[AVOW_CHANGES_MAX]; /* borrow from the inputs; applied all or none */
    size_t n_changes;
};

void avow_enroll_register(const struct avow_enroll_view *v, const struct avow_register_in *in,
                          struct avow_enroll_out *out);
struct avow_activate_in {
    uint8_t tag[AVOW_TAG_LEN];          /* as sent */
    const struct avow_ek_trust *judged; /* what the judges said of the request `digest`, or NULL */
    uint8_t digest[32];
};
/* Where the operator's judges have a say, out->ask is set, nothing changes, and the caller comes
 * again with what they said: outsiders are asked about proven TPMs only, once for each challenge
 * that they decide, and not while the store is locked. Their no uses the challenge up. */
void avow_enroll_activate(const struct avow_enroll_view *v, const struct avow_activate_in *in,
                          struct avow_enroll_out *out);
/* Those that have a say about an EK that certificates judged like this: the script may refuse every
 * one; where there is no webhook, its yes counts as the webhook's, by which trust is found that
 * certificates do not give (ek cert-or-webhook). */
struct avow_judges avow_enroll_judges(const struct avow_enroll_policy *p,
                                      const struct avow_ek_trust *t);
/* May judges make this EK trusted? */
bool avow_enroll_is_open(const struct avow_enroll_policy *p, const struct avow_ek_trust *t);
void avow_enroll_remove(const struct avow_enroll_view *v, struct avow_enroll_out *out);
/* An operator's leave: until policy->allow_ms from now the agent may come with another EK or AK,
 * once, with proof by that EK. The record stays active as it is until then. */
void avow_enroll_allow(const struct avow_enroll_view *v, struct avow_enroll_out *out);

/* The answer a TPM gives: HMAC-SHA384(key = base64 text of the secret, message = id), as Keylime's
 * agents compute it. False only when memory is short; out is then unset and must not be compared.
 */
bool avow_enroll_tag(const uint8_t secret[AVOW_SECRET_LEN], struct avow_str id,
                     uint8_t out[AVOW_TAG_LEN]) AVOW_MUST_CHECK;
/* The id rule of PROTOCOL B6, and R11: 64 hex digits only as the EK's own hash, so no other TPM can
 * take such an id. */
bool avow_enroll_id_is_hash(struct avow_str id);

#endif
