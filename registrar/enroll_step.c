#include "enroll_step.h"

#include "avow/base/hex.h"
#include "avow/crypto/digest.h"

#include <stdio.h>
#include <string.h>

#include "avow/base/banned.h"

#define HASH_ID_LEN 64u

bool avow_enroll_id_is_hash(struct avow_str id)
{
    uint8_t scratch[HASH_ID_LEN / 2];
    return id.len == HASH_ID_LEN && avow_hex_decode(scratch, sizeof scratch, id);
}

bool avow_enroll_tag(const uint8_t secret[AVOW_SECRET_LEN], struct avow_str id,
                     uint8_t out[AVOW_TAG_LEN])
{
    AVOW_CLEANUP_VAL(avow_buf_deinit) struct avow_buf key;
    struct avow_digest mac;
    struct avow_bytes message = avow_bytes_make(id.ptr, id.len);
    avow_buf_init(&key, 128);
    avow_buf_put_base64(&key, avow_bytes_make(secret, AVOW_SECRET_LEN));
    /* A tag under a half-written key could be guessed. */
    if (avow_buf_status(&key, NULL))
        return false;
    avow_hmac(AVOW_HASH_SHA384, avow_buf_bytes(&key), &message, 1, &mac);
    avow_wipe(key.ptr, key.len);
    memcpy(out, mac.bytes, AVOW_TAG_LEN);
    return true;
}

static void answer(struct avow_enroll_out *out, unsigned status, const char *reason,
                   const char *text)
{
    out->status = status;
    out->reason = reason;
    snprintf(out->text, sizeof out->text, "%s", text);
}

static struct avow_change *change_add(struct avow_enroll_out *out, enum avow_change_kind kind)
{
    struct avow_change *c = &out->changes[out->n_changes++];
    *c = (struct avow_change){.kind = kind};
    return c;
}

static bool is_active(const struct avow_enroll_view *v)
{
    return v->agent->status == AVOW_AGENT_ACTIVE;
}

static bool is_open(const struct avow_enroll_view *v, const struct avow_pending *p)
{
    return p->expires_ms > v->now_ms && p->attempts < AVOW_TAG_ATTEMPTS;
}

/* One request from one source: lengths in front, so that no two requests share a digest. */
static void claim_digest(const struct avow_claim *c, struct avow_str source, uint8_t out[32])
{
    uint8_t port[2];
    avow_put_u16be(port, c->port);
    const struct avow_bytes fields[] = {avow_bytes_make(source.ptr, source.len),
                                        c->ek_public,
                                        c->ak_public,
                                        c->ek_certs,
                                        c->iak_certs,
                                        c->idevid_certs,
                                        avow_bytes_make(c->ip.ptr, c->ip.len),
                                        avow_bytes_make(c->mtls_cert.ptr, c->mtls_cert.len),
                                        AVOW_BYTES_OF(port)};
    uint8_t lengths[AVOW_ARRAY_LEN(fields)][8];
    struct avow_bytes pieces[2 * AVOW_ARRAY_LEN(fields)];
    for (size_t i = 0; i < AVOW_ARRAY_LEN(fields); i++) {
        avow_put_u64be(lengths[i], fields[i].len);
        pieces[2 * i] = AVOW_BYTES_OF(lengths[i]);
        pieces[2 * i + 1] = fields[i];
    }
    avow_sha256_pieces(pieces, AVOW_ARRAY_LEN(pieces), out);
}

static bool same_ek(const struct avow_enroll_view *v, const struct avow_claim *c)
{
    return avow_bytes_eq(v->agent->claim.ek_public, c->ek_public);
}

static bool same_ak(const struct avow_enroll_view *v, const struct avow_claim *c)
{
    return avow_bytes_eq(v->agent->claim.ak_public, c->ak_public);
}

/* May this claim replace the active record, once its TPM has proven itself? */
static bool identity_allows(const struct avow_enroll_view *v, const struct avow_claim *c,
                            struct avow_enroll_out *out)
{
    if (!is_active(v) || v->agent->allow_until_ms > v->now_ms)
        return true;
    if (!same_ek(v, c)) {
        answer(out, 403, "ek_changed",
               "this agent id belongs to another TPM (its EK differs); an operator must allow the "
               "change or remove the registration first");
        return false;
    }
    if (v->policy->refuse_ak_change && !same_ak(v, c)) {
        answer(out, 403, "ak_changed",
               "this agent is registered with another AK; an operator must allow the change or "
               "remove the registration first");
        return false;
    }
    return true;
}

bool avow_enroll_is_open(const struct avow_enroll_policy *p, const struct avow_ek_trust *t)
{
    return !t->trusted && !t->refused && p->ek == AVOW_EK_CERT_OR_WEBHOOK &&
           p->identity != AVOW_IDENTITY_IAK_IDEVID;
}

struct avow_judges avow_enroll_judges(const struct avow_enroll_policy *p,
                                      const struct avow_ek_trust *t)
{
    return (struct avow_judges){.script = p->judges.script,
                                .webhook = p->judges.webhook && avow_enroll_is_open(p, t)};
}

static bool may_be_trusted_yet(const struct avow_enroll_policy *p, const struct avow_ek_trust *t)
{
    return avow_enroll_is_open(p, t) && (p->judges.script || p->judges.webhook);
}

/* What the request leaves out and was proven before goes on counting: the EK certificate with the
 * EK, the device identity with the AK that it certified. */
static void keep_stored(const struct avow_enroll_view *v, const struct avow_register_in *in,
                        struct avow_claim *claim)
{
    const struct avow_claim *old = &v->agent->claim;
    bool keeps_cert = in->cert == AVOW_CERT_ABSENT && old->ek_certs.len > 0;
    bool keeps_device = !in->device_given && old->iak_certs.len > 0 && same_ak(v, claim);
    if (keeps_cert)
        claim->ek_certs = old->ek_certs;
    if (keeps_device) {
        claim->iak_certs = old->iak_certs;
        claim->idevid_certs = old->idevid_certs;
        claim->device_serial = old->device_serial;
    }
    bool by_device = avow_str_is(old->trust.rule, AVOW_RULE_DEVICE);
    /* A judge that can be asked again is: it may think otherwise by now. */
    bool asked =
        avow_trust_is_by_judge(&old->trust) && may_be_trusted_yet(v->policy, &claim->trust);
    if (!claim->trust.trusted && !asked && (by_device ? keeps_device : keeps_cert))
        claim->trust = old->trust;
}

static bool trust_suffices(const struct avow_enroll_policy *p, const struct avow_ek_trust *t)
{
    bool by_device = avow_str_is(t->rule, AVOW_RULE_DEVICE);
    switch (p->identity) {
    case AVOW_IDENTITY_EK_CERT:
        return t->trusted && !by_device;
    case AVOW_IDENTITY_IAK_IDEVID:
        return t->trusted && by_device;
    case AVOW_IDENTITY_EITHER:
        return t->trusted;
    case AVOW_IDENTITY_DEFAULT:
        break;
    }
    return t->trusted || p->ek == AVOW_EK_TRUST_ON_FIRST_USE;
}

static void answer_trust(struct avow_enroll_out *out, const char *reason, const char *text,
                         const struct avow_ek_trust *t)
{
    out->status = 403;
    out->reason = reason;
    snprintf(out->text, sizeof out->text, "%s: %.*s", text, (int)t->detail.len, t->detail.ptr);
}

/* Who names none has not changed. */
static bool same_device(const struct avow_enroll_view *v, const struct avow_claim *claim)
{
    struct avow_str old = v->agent->claim.device_serial, now = claim->device_serial;
    return !old.len || !now.len || avow_str_eq(old, now);
}

static bool device_allows(const struct avow_enroll_view *v, const struct avow_claim *claim,
                          struct avow_enroll_out *out)
{
    if (!is_active(v) || v->agent->allow_until_ms > v->now_ms || same_device(v, claim))
        return true;
    answer(out, 403, "device_changed",
           "this agent id belongs to another device (the serial number in its IAK and IDevID "
           "certificates differs); an operator must allow the change or remove the registration "
           "first");
    return false;
}

static bool trust_allows(const struct avow_enroll_view *v, const struct avow_ek_trust *t,
                         struct avow_enroll_out *out)
{
    bool device = v->policy->identity == AVOW_IDENTITY_IAK_IDEVID;
    if (t->refused)
        answer_trust(out, "trust_refused", "the EK is refused", t);
    else if (!trust_suffices(v->policy, t))
        answer_trust(out, "ek_untrusted",
                     device ? "the device is not trusted" : "the EK is not trusted", t);
    else
        return true;
    return false;
}

static bool take_trust(const struct avow_enroll_view *v, const struct avow_register_in *in,
                       struct avow_claim *claim, struct avow_enroll_out *out)
{
    bool known = is_active(v) && same_ek(v, claim);
    if (in->cert == AVOW_CERT_NULL && known && v->agent->claim.ek_certs.len > 0) {
        answer(out, 403, "ekcert_withdrawn",
               "the EK certificate of a registered agent cannot be withdrawn");
        return false;
    }
    if (known)
        keep_stored(v, in, claim);
    if (!may_be_trusted_yet(v->policy, &claim->trust) && !trust_allows(v, &claim->trust, out))
        return false;
    return device_allows(v, claim, out);
}

struct slots {
    bool dropped[AVOW_PENDING_PER_ID];
    size_t left;
};

static void drop(const struct avow_enroll_view *v, struct slots *s, size_t i,
                 struct avow_enroll_out *out)
{
    if (s->dropped[i])
        return;
    s->dropped[i] = true;
    s->left--;
    change_add(out, AVOW_CHANGE_PENDING_DROP)->seq = v->pending[i].seq;
}

/* Room for one more challenge of this id: what is void goes, then the source's own oldest, then the
 * oldest. */
static void make_room(const struct avow_enroll_view *v, const uint8_t digest[32],
                      struct avow_enroll_out *out)
{
    struct slots s = {.left = v->n_pending};
    size_t of_source = 0, oldest_of_source = v->n_pending;
    for (size_t i = 0; i < v->n_pending; i++) {
        const struct avow_pending *p = &v->pending[i];
        if (!is_open(v, p) || avow_bytes_eq(AVOW_BYTES_OF(p->digest), avow_bytes_make(digest, 32)))
            drop(v, &s, i, out);
        else if (avow_str_eq(p->source, v->source) && of_source++ == 0)
            oldest_of_source = i;
    }
    if (of_source >= AVOW_PENDING_PER_ID_SOURCE)
        drop(v, &s, oldest_of_source, out);
    for (size_t i = 0; i < v->n_pending && s.left >= AVOW_PENDING_PER_ID; i++)
        drop(v, &s, i, out);
}

/* The same request again keeps its challenge while half of its life is left: a repeat, be it by
 * somebody else behind the same address, then does not void what the TPM is just answering. */
static const struct avow_pending *find_repeat(const struct avow_enroll_view *v,
                                              const uint8_t digest[32])
{
    for (size_t i = 0; i < v->n_pending; i++) {
        const struct avow_pending *p = &v->pending[i];
        if (is_open(v, p) && p->expires_ms - v->now_ms >= v->policy->challenge_ms / 2 &&
            avow_bytes_eq(AVOW_BYTES_OF(p->digest), avow_bytes_make(digest, 32)))
            return p;
    }
    return NULL;
}

static void challenge(const struct avow_enroll_view *v, const struct avow_register_in *in,
                      const struct avow_claim *claim, struct avow_enroll_out *out)
{
    struct avow_pending fresh = {.source = v->source,
                                 .issued_ms = v->now_ms,
                                 .expires_ms = v->now_ms + v->policy->challenge_ms,
                                 .claim = *claim};
    claim_digest(claim, v->source, fresh.digest);
    const struct avow_pending *repeat = find_repeat(v, fresh.digest);
    if (repeat) {
        memcpy(out->secret, repeat->secret, sizeof out->secret);
    } else {
        make_room(v, fresh.digest, out);
        if (!out->n_changes && v->pending_of_source >= AVOW_PENDING_PER_SOURCE) {
            answer(out, 429, "source_busy", "too many unfinished registrations from this address");
            return;
        }
        if (!out->n_changes && v->pending_total >= AVOW_PENDING_TOTAL) {
            answer(out, 503, "pending_full", "too many unfinished registrations");
            return;
        }
        memcpy(fresh.secret, in->secret, sizeof fresh.secret);
        memcpy(out->secret, in->secret, sizeof out->secret);
        change_add(out, AVOW_CHANGE_PENDING_ADD)->pending = fresh;
        avow_wipe(fresh.secret, sizeof fresh.secret);
    }
    out->challenge = true;
    answer(out, 200, "challenged", "Success");
}

void avow_enroll_register(const struct avow_enroll_view *v, const struct avow_register_in *in,
                          struct avow_enroll_out *out)
{
    *out = (struct avow_enroll_out){0};
    struct avow_claim claim = in->claim;
    if (avow_enroll_id_is_hash(v->id) && !avow_str_eq(v->id, in->ek_hash_id)) {
        answer(out, 400, "id_not_ek_hash",
               "an agent id of 64 hex digits must be the SHA-256 of the EK that registers");
        return;
    }
    if (!identity_allows(v, &claim, out) || !take_trust(v, in, &claim, out))
        return;
    challenge(v, in, &claim, out);
}

/* The challenge that `tag` answers. All are computed and compared, whatever the first says. */
static const struct avow_pending *find_answered(const struct avow_enroll_view *v,
                                                const uint8_t tag[AVOW_TAG_LEN])
{
    const struct avow_pending *found = NULL;
    for (size_t i = 0; i < v->n_pending; i++) {
        uint8_t want[AVOW_TAG_LEN];
        if (is_open(v, &v->pending[i]) && avow_enroll_tag(v->pending[i].secret, v->id, want) &&
            avow_ct_eq(want, tag, sizeof want))
            found = &v->pending[i];
    }
    return found;
}

static void ask(const struct avow_pending *p, struct avow_enroll_out *out)
{
    out->ask = true;
    out->claim = p->claim;
    memcpy(out->digest, p->digest, sizeof out->digest);
    answer(out, 503, "undecided", "nobody can say now whether this EK is genuine");
}

/* Does what certificates and judges say suffice? If not, the answer is given. */
static bool judged_well(const struct avow_enroll_view *v, const struct avow_pending *p,
                        const struct avow_activate_in *in, struct avow_claim *claim,
                        struct avow_enroll_out *out)
{
    const struct avow_judges judges = avow_enroll_judges(v->policy, &claim->trust);
    if (judges.script || judges.webhook) {
        if (!in->judged || !avow_bytes_eq(AVOW_BYTES_OF(in->digest), AVOW_BYTES_OF(p->digest))) {
            ask(p, out);
            return false;
        }
        claim->trust = *in->judged;
    }
    if (trust_allows(v, &claim->trust, out))
        return true;
    change_add(out, AVOW_CHANGE_PENDING_DROP)->seq = p->seq; /* nobody is asked twice */
    return false;
}

static void activate(const struct avow_enroll_view *v, const struct avow_pending *p,
                     const struct avow_activate_in *in, const uint8_t tag_sha256[32],
                     struct avow_enroll_out *out)
{
    struct avow_claim claim = p->claim;
    if (!identity_allows(v, &claim, out) || !device_allows(v, &claim, out) ||
        !judged_well(v, p, in, &claim, out))
        return;
    struct avow_agent *a = &change_add(out, AVOW_CHANGE_AGENT)->agent;
    uint32_t regcount = is_active(v) ? v->agent->regcount : 0;
    *a = (struct avow_agent){.status = AVOW_AGENT_ACTIVE,
                             .generation = v->agent->generation + 1,
                             .regcount = regcount < UINT32_MAX ? regcount + 1 : regcount,
                             .registered_ms = v->now_ms,
                             .tag_until_ms = v->now_ms + v->policy->challenge_ms,
                             .claim = claim};
    /* The leave is for one change; a restart of the old host does not use it up. */
    if (is_active(v) && same_ek(v, &claim) && same_ak(v, &claim) && same_device(v, &claim))
        a->allow_until_ms = v->agent->allow_until_ms;
    memcpy(a->tag_sha256, tag_sha256, sizeof a->tag_sha256);
    for (size_t i = 0; i < v->n_pending; i++)
        change_add(out, AVOW_CHANGE_PENDING_DROP)->seq = v->pending[i].seq;
    answer(out, 200, "activated", "Success");
}

/* A wrong answer costs the challenges of the address it came from, and nothing else: nobody can
 * void another's. */
static void count_attempt(const struct avow_enroll_view *v, struct avow_enroll_out *out)
{
    for (size_t i = 0; i < v->n_pending; i++) {
        const struct avow_pending *p = &v->pending[i];
        if (!is_open(v, p) || !avow_str_eq(p->source, v->source))
            continue;
        struct avow_change *c = change_add(out, AVOW_CHANGE_PENDING_ATTEMPTS);
        c->seq = p->seq;
        c->attempts = p->attempts + 1;
    }
}

void avow_enroll_activate(const struct avow_enroll_view *v, const struct avow_activate_in *in,
                          struct avow_enroll_out *out)
{
    *out = (struct avow_enroll_out){0};
    uint8_t tag_sha256[32];
    avow_sha256(AVOW_BYTES_OF(in->tag), tag_sha256);
    const struct avow_pending *answered = find_answered(v, in->tag);
    if (answered) {
        activate(v, answered, in, tag_sha256, out);
    } else if (is_active(v) && v->agent->tag_until_ms > v->now_ms &&
               avow_ct_eq(tag_sha256, v->agent->tag_sha256, sizeof tag_sha256)) {
        answer(out, 200, "activated_already", "Success"); /* the first answer was lost */
    } else if (!is_active(v) && !v->n_pending) {
        answer(out, 404, "unknown", "agent is not registered");
    } else {
        count_attempt(v, out);
        answer(out, 400, "wrong_tag", "auth_tag answers no open challenge of this agent");
    }
}

void avow_enroll_remove(const struct avow_enroll_view *v, struct avow_enroll_out *out)
{
    *out = (struct avow_enroll_out){0};
    if (!is_active(v) && !v->n_pending) {
        answer(out, 404, "unknown", "agent is not registered");
        return;
    }
    if (is_active(v)) {
        struct avow_agent *a = &change_add(out, AVOW_CHANGE_AGENT)->agent;
        *a = *v->agent;
        a->status = AVOW_AGENT_REMOVED;
        a->generation++;
        a->tag_until_ms = 0;
        a->allow_until_ms = 0;
    }
    for (size_t i = 0; i < v->n_pending; i++)
        change_add(out, AVOW_CHANGE_PENDING_DROP)->seq = v->pending[i].seq;
    answer(out, 200, "removed", "Success");
}

void avow_enroll_allow(const struct avow_enroll_view *v, struct avow_enroll_out *out)
{
    *out = (struct avow_enroll_out){0};
    if (!is_active(v)) {
        answer(out, 404, "unknown", "agent is not registered");
        return;
    }
    change_add(out, AVOW_CHANGE_ALLOW)->allow_until_ms = v->now_ms + v->policy->allow_ms;
    answer(out, 200, "allowed", "Success");
}
