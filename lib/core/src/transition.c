/* transition.c - see transition.h. Rules: PROTOCOL R16 (when to publish), B2 Verdict and
 * Revocation. */
#include "avow/core/transition.h"

#include "avow/core/findings.h"
#include "avow/crypto/digest.h"

#include "avow/base/buf.h"
#include "avow/base/cleanup.h"
#include "avow/core/liveness.h"

#include "core_internal.h"

#include "avow/base/banned.h"

#define REVOCATION_FINDINGS_MAX 16u /* schemas/revocation.avsc */

/* --- what a verdict says, as one digest: its change makes a verdict due --- */

static void put_str(struct avow_buf *b, struct avow_str s)
{
    avow_buf_put_u32be(b, (uint32_t)s.len);
    avow_buf_put(b, s.ptr, s.len);
}

static void put_said(struct avow_buf *b, const struct avow_state *s)
{
    avow_buf_put_u8(b, (uint8_t)s->status);
    avow_buf_put_u8(b, (uint8_t)((s->stale ? 1u : 0u) | (s->carried ? 2u : 0u) |
                                 (s->binding_partial ? 4u : 0u)));
    put_str(b, s->severity);
    avow_buf_put_u32be(b, s->findings_total);
    for (size_t i = 0; i < s->findings_count; i++) {
        put_str(b, s->findings[i].id);
        put_str(b, s->findings[i].where);
        put_str(b, s->findings[i].detail);
    }
    avow_buf_put_u64be(b, s->enrollment_generation);
    avow_buf_put(b, s->enrollment_sha256, sizeof s->enrollment_sha256);
    avow_buf_put_u64be(b, s->bundle_version);
    avow_buf_put_u32be(b, (uint32_t)s->heads_count);
    for (size_t i = 0; i < s->heads_count; i++) {
        put_str(b, s->heads[i].name);
        avow_buf_put_u64be(b, s->heads[i].generation);
        avow_buf_put(b, s->heads[i].sha256, sizeof s->heads[i].sha256);
    }
}

static bool digest_said(const struct avow_state *s, uint8_t out[32], enum avow_rc *rc,
                        struct avow_err *err)
{
    AVOW_CLEANUP_VAL(avow_buf_deinit) struct avow_buf b;
    avow_buf_init(&b, 256u * 1024u);
    put_said(&b, s);
    *rc = avow_buf_status(&b, err);
    if (*rc)
        return false;
    avow_sha256(avow_buf_bytes(&b), out);
    return true;
}

static bool refresh_is_due(const struct avow_transition_in *in, const struct avow_state *next)
{
    uint64_t last = next->last_verdict.emitted_service_ms;
    uint64_t wait =
        next->status == AVOW_STATUS_SILENT ? AVOW_SILENT_REFRESH_MS : in->verdict_refresh_ms;
    return in->service_ms >= last && in->service_ms - last >= wait;
}

/* A host that makes news faster than min_interval gets its verdict later; what was not said yet
 * stays due. */
static bool is_too_soon(const struct avow_transition_in *in, const struct avow_state *next)
{
    uint64_t last = next->last_verdict.clock;
    return next->has_last_verdict && next->status == in->prior->status && in->clock >= last &&
           last && in->clock - last < in->min_interval_ms;
}

static bool verdict_is_due(const struct avow_transition_in *in, const struct avow_state *next,
                           const uint8_t said[32])
{
    if (!next->has_last_verdict)
        return true;
    bool news = !avow_ct_eq(said, next->last_verdict.digest, AVOW_SHA256_LEN);
    return (news || refresh_is_due(in, next)) && !is_too_soon(in, next);
}

/* --- records --- */

static void fill_verdict(const struct avow_transition_in *in, const struct avow_state *s,
                         struct avow_verdict *v)
{
    *v = (struct avow_verdict){
        .key = s->key,
        .seq = s->seq,
        .transitions = s->transitions,
        .status = s->status,
        .as_of_epoch = s->has_as_of ? s->as_of.epoch : 0,
        .as_of_ms = s->has_as_of ? s->as_of.issued_ms : 0,
        .flags = {.stale = s->stale,
                  .carried = s->carried,
                  .binding_partial = s->binding_partial,
                  .pending_quote = s->has_pending},
        .findings = s->findings,
        .findings_count = s->findings_count,
        .findings_total = s->findings_total,
        .severity = s->severity,
        .enrollment_generation = s->enrollment_generation,
        .heads = s->heads,
        .heads_count = s->heads_count,
        .bundle_version = s->bundle_version,
        .has_order = s->has_order,
        .order = s->order,
        .appraised = s->appraised,
        .dropped = s->dropped,
        .dropped_count = s->dropped_count,
        .has_evidence = s->has_evidence,
        .evidence = s->evidence,
    };
    memcpy(v->fleet, s->fleet, sizeof v->fleet);
    memcpy(v->enrollment_sha256, s->enrollment_sha256, sizeof v->enrollment_sha256);
    if (s->status == AVOW_STATUS_TRUSTED && s->has_as_of)
        v->trusted_until_ms = s->as_of.issued_ms + in->validity_ms;
    v->boot.has_boot_id = s->has_boot_id;
    memcpy(v->boot.boot_id, s->boot_id, sizeof v->boot.boot_id);
    v->boot.outcome = s->has_boot ? s->boot.outcome : AVOW_OUTCOME_UNDECIDED;
    v->boot.has_log_sha256 = s->has_boot && s->boot.has_log_sha256;
    if (v->boot.has_log_sha256)
        memcpy(v->boot.log_sha256, s->boot.log_sha256, sizeof v->boot.log_sha256);
    v->boot.ima_entries = s->has_ima ? s->ima.proven_count : 0;
}

/* id = SHA-256("avow/revocation/1" || fleet || agent || class || tag || generation), first 16
 * bytes: class as its text, tag of the last evidence (zeros if there was none), generation
 * big-endian. */
static void set_id(const struct avow_state *s, struct avow_revocation *r)
{
    uint8_t generation[8], digest[AVOW_SHA256_LEN];
    static const uint8_t no_tag[16];
    const char *class_text = avow_revocation_class_text(r->class);
    avow_put_u64be(generation, s->enrollment_generation);
    const struct avow_bytes pieces[] = {
        avow_bytes_make("avow/revocation/1", sizeof "avow/revocation/1" - 1),
        AVOW_BYTES_OF(s->fleet),
        avow_bytes_make(s->key.ptr, s->key.len),
        avow_bytes_make(class_text, strlen(class_text)),
        avow_bytes_make(s->has_evidence ? s->evidence.tag : no_tag, sizeof no_tag),
        AVOW_BYTES_OF(generation),
    };
    avow_sha256_pieces(pieces, AVOW_ARRAY_LEN(pieces), digest);
    memcpy(r->id, digest, sizeof r->id);
}

static bool has_finding(const struct avow_state *s, const struct avow_finding *f)
{
    for (size_t i = 0; i < s->findings_count; i++) {
        if (avow_str_eq(s->findings[i].id, f->id) && avow_str_eq(s->findings[i].where, f->where) &&
            avow_str_eq(s->findings[i].detail, f->detail))
            return true;
    }
    return false;
}

/* The finding that decided: the first one that was not there before. */
static struct avow_str deciding_finding(const struct avow_state *prior,
                                        const struct avow_state *next)
{
    for (size_t i = 0; i < next->findings_count; i++) {
        if (!has_finding(prior, &next->findings[i]))
            return next->findings[i].id;
    }
    return next->findings_count ? next->findings[0].id : AVOW_STR_LIT("evidence.malformed");
}

static struct avow_str event_of(const struct avow_transition_in *in, const struct avow_state *next,
                                enum avow_revocation_class class)
{
    const struct avow_state *prior = in->prior;
    if (in->event_id)
        return avow_str_from(in->event_id);
    switch (class) {
    case AVOW_REVOCATION_CLASS_RECOVERY: /* what is over */
        if (prior->status == AVOW_STATUS_SILENT || !prior->findings_count)
            return avow_str_from(avow_finding_def_of(prior->status == AVOW_STATUS_SILENT
                                                         ? AVOW_FINDING_AGENT_SILENT
                                                         : AVOW_FINDING_EVIDENCE_UNPROVEN)
                                     ->id);
        return prior->findings[0].id;
    case AVOW_REVOCATION_CLASS_SILENT:
        return avow_str_from(avow_finding_def_of(AVOW_FINDING_AGENT_SILENT)->id);
    case AVOW_REVOCATION_CLASS_REVOCATION:
    case AVOW_REVOCATION_CLASS_ALARM:
    default:
        return deciding_finding(prior, next);
    }
}

/* False if nobody must hear of this change. */
static bool class_of(enum avow_status from, enum avow_status to, enum avow_revocation_class *out)
{
    if (from == to)
        return false;
    switch (to) {
    case AVOW_STATUS_UNTRUSTED:
        *out = AVOW_REVOCATION_CLASS_REVOCATION;
        return true;
    case AVOW_STATUS_SILENT:
        *out = AVOW_REVOCATION_CLASS_SILENT;
        return true;
    case AVOW_STATUS_TRUSTED:
        *out = AVOW_REVOCATION_CLASS_RECOVERY;
        return from != AVOW_STATUS_PENDING;
    case AVOW_STATUS_PENDING:
    default:
        return false;
    }
}

static void fill_revocation(const struct avow_transition_in *in, const struct avow_state *s,
                            enum avow_revocation_class class, struct avow_revocation *r)
{
    *r = (struct avow_revocation){
        .key = s->key,
        .class = class,
        .seq = s->seq,
        .transitions = s->transitions,
        .from = in->prior->status,
        .to = s->status,
        .severity = class == AVOW_REVOCATION_CLASS_RECOVERY ? AVOW_STR_LIT("info") : s->severity,
        .event_id = event_of(in, s, class),
        .findings = s->findings,
        .findings_count = s->findings_count < REVOCATION_FINDINGS_MAX ? s->findings_count
                                                                      : REVOCATION_FINDINGS_MAX,
        .as_of_epoch = s->has_as_of ? s->as_of.epoch : 0,
        .as_of_ms = s->has_as_of ? s->as_of.issued_ms : 0,
        .metadata = in->enrollment->metadata,
        .has_evidence = s->has_evidence,
        .evidence = s->evidence,
        .dropped = s->dropped,
        .dropped_count = s->dropped_count,
    };
    memcpy(r->fleet, s->fleet, sizeof r->fleet);
    set_id(s, r);
}

/* Silence has the severity of its own finding, or of a worse one that the host still has. */
static struct avow_str severity_of(const struct avow_state *s)
{
    struct avow_str worst = avow_findings_severity(s->findings, s->findings_count);
    struct avow_str silent =
        avow_str_from(avow_finding_def_of(AVOW_FINDING_AGENT_SILENT)->severity);
    bool is_worse = !worst.len || avow_severity_rank(silent) > avow_severity_rank(worst);
    return s->status == AVOW_STATUS_SILENT && is_worse ? silent : worst;
}

enum avow_rc avow_transition(const struct avow_transition_in *in, struct avow_state *next,
                             struct avow_arena *arena, struct avow_transition_out *out,
                             struct avow_err *err)
{
    (void)arena; /* everything that is published borrows from `next` */
    struct avow_transition_out result = {0};
    struct avow_state s = *next;
    enum avow_rc rc;
    enum avow_revocation_class class;
    uint8_t said[32];
    s.seq = in->prior->seq + 1;
    s.transitions = in->prior->transitions + (s.status != in->prior->status ? 1 : 0);
    s.severity = severity_of(&s);
    if (!digest_said(&s, said, &rc, err))
        return rc;
    result.verdict_due = verdict_is_due(in, &s, said);
    if (result.verdict_due) {
        s.has_last_verdict = true;
        memcpy(s.last_verdict.digest, said, sizeof said);
        s.last_verdict.epoch = s.has_as_of ? s.as_of.epoch : 0;
        s.last_verdict.emitted_service_ms = in->service_ms;
        s.last_verdict.clock = in->clock;
    }
    fill_verdict(in, &s, &result.verdict);
    result.revocation_due = class_of(in->prior->status, s.status, &class);
    if (result.revocation_due)
        fill_revocation(in, &s, class, &result.revocation);
    *next = s;
    *out = result;
    return AVOW_OK;
}
