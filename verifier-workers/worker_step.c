/* worker_step.c - evidence: from bytes to actions. See worker_step.h. Order of the checks: PROTOCOL
 * B3.2. */
#include "worker_step.h"

#include "step_common.h"

#include "avow/bus/bus.h"
#include "avow/crypto/digest.h"
#include "avow/wire/body.h"
#include "avow/wire/enrollment.h"
#include "avow/wire/evidence.h"
#include "avow/wire/evidence_part.h"
#include "avow/wire/marker.h"

#include <assert.h>
#include <string.h>

#include "avow/base/banned.h"

static enum avow_rc drop(const struct avow_step *s, const struct avow_step_evidence *in,
                         enum avow_drop_reason why, struct avow_err *err)
{
    avow_step_add(s, AVOW_ACTION_DROP)->u.drop = why;
    struct avow_deadletter *d = avow_arena_alloc(s->arena, 1, sizeof *d);
    if (!d)
        return avow_step_nomem(err);
    d->topic = avow_str_from(s->env->evidence_topic);
    d->partition = s->env->partition;
    d->offset = (uint64_t)in->offset;
    d->key =
        in->key.len > AVOW_AGENT_ID_MAX ? avow_bytes_make(in->key.ptr, AVOW_AGENT_ID_MAX) : in->key;
    d->reason = why;
    d->excerpt = in->value.len > AVOW_STEP_EXCERPT_MAX
                     ? avow_bytes_make(in->value.ptr, AVOW_STEP_EXCERPT_MAX)
                     : in->value;
    d->instance = avow_str_from(s->env->instance);
    avow_sha256(in->value, d->sha256);
    avow_step_add(s, AVOW_ACTION_DEAD_LETTER)->u.dead_letter = d;
    return AVOW_OK;
}

struct decoded { /* of one evidence record */
    bool is_part;
    struct avow_evidence_part part;
    struct avow_evidence evidence; /* unless it is a part */
    struct avow_body body;
    bool has_body;
    struct avow_marker marker;
    enum avow_marker_book_found found;
};

static bool is_part(struct avow_bytes value)
{
    uint64_t fingerprint;
    return avow_wire_frame(value, &fingerprint) &&
           fingerprint == avow_wire_evidence_part_schema.fingerprint;
}

/* AVOW_OK, or AVOW_PARSE with the reason in *why: nothing here is about us. */
static enum avow_rc decode_evidence(const struct avow_step *s, const struct avow_step_evidence *in,
                                    struct decoded *d, enum avow_drop_reason *why,
                                    struct avow_err *err)
{
    *why = AVOW_DROP_REASON_PARSE;
    if (in->value_null) {
        *why = AVOW_DROP_REASON_NULL_VALUE;
        return avow_err_set(err, AVOW_PARSE, 0, "null value");
    }
    if (in->value.len > AVOW_BUS_VALUE_MAX) {
        *why = AVOW_DROP_REASON_TOO_LARGE;
        return avow_err_set(err, AVOW_PARSE, 0, "record of %zu bytes", in->value.len);
    }
    d->is_part = is_part(in->value);
    enum avow_rc rc = d->is_part ? avow_evidence_part_decode(in->value, s->arena, &d->part, err)
                                 : avow_evidence_decode(in->value, s->arena, &d->evidence, err);
    if (rc == AVOW_SCHEMA)
        *why = AVOW_DROP_REASON_SCHEMA;
    return rc == AVOW_NOMEM || rc == AVOW_OK ? rc : AVOW_PARSE;
}

static bool is_here(const struct avow_step *s, struct avow_bytes key)
{
    return avow_bus_partition_of(key, s->env->bundle->partitions) == s->env->partition;
}

/* The body: of a head, or kept in the state since the head came. */
static enum avow_rc decode_body(const struct avow_step *s, const struct avow_state *prior,
                                struct decoded *d, struct avow_err *err)
{
    struct avow_bytes body = d->is_part ? prior->open.body : d->evidence.body;
    enum avow_rc rc = avow_body_decode(body, s->arena, &d->body, err);
    d->has_body = rc == AVOW_OK;
    return rc == AVOW_NOMEM ? rc : AVOW_OK; /* the appraisal drops what has none, in its order */
}

/* The marker that the body names. */
static enum avow_rc find_marker(const struct avow_step *s, struct decoded *d, struct avow_err *err)
{
    if (d->is_part || !d->has_body)
        return AVOW_OK;
    struct avow_bytes record;
    d->found = avow_marker_book_find(s->env->book, d->body.epoch, d->body.marker_tag,
                                     s->env->unix_ms, &record);
    if (d->found != AVOW_MARKER_BOOK_FOUND)
        return AVOW_OK;
    struct avow_bytes copy = avow_arena_bytes(s->arena, record);
    if (!copy.ptr)
        return avow_step_nomem(err);
    return avow_marker_decode(copy, s->arena, &d->marker, err);
}

static enum avow_rc prior_of(const struct avow_step *s, const struct avow_enrollment *e,
                             struct avow_state *prior, struct avow_err *err)
{
    bool found;
    enum avow_rc rc = avow_step_state(s, prior, &found, err);
    if (!rc && !found)
        avow_step_first(s, e, prior);
    return rc;
}

/* `more`: the agent goes on by itself with a further evidence. */
static enum avow_rc ask_for_more(const struct avow_step *s, const struct avow_state *prior,
                                 struct avow_eval_out *eval, bool more, struct avow_err *err)
{
    struct avow_state *next = &eval->next;
    if (eval->resync.wanted) {
        struct avow_resync what = {.ima_from = eval->resync.ima_from,
                                   .boot_log = eval->resync.boot_log,
                                   .pcrs = eval->resync.pcrs};
        return avow_step_resync(s, &what, next, err);
    }
    if (!next->has_open && !more)
        (void)avow_step_add(s, AVOW_ACTION_RESYNC_DONE);
    bool advanced =
        next->has_as_of && (!prior->has_as_of || next->as_of.epoch > prior->as_of.epoch);
    if (advanced)
        next->resync = (struct avow_resync_state){0};
    return AVOW_OK;
}

/* Our problem, never the agent's: no verdict is extended, and operators hear why. */
static enum avow_rc unavailable(const struct avow_step *s, const struct avow_enrollment *e,
                                const char *why, struct avow_err *err)
{
    const char *text = avow_arena_printf(s->arena, "%s, enrolment generation %llu: %s",
                                         s->agent->id, (unsigned long long)e->generation, why);
    const char *what = avow_arena_printf(s->arena, "%s %s %llu", s->agent->id, why,
                                         (unsigned long long)s->env->policies->changes);
    if (!text || !what)
        return avow_step_nomem(err);
    (void)avow_step_add(s, AVOW_ACTION_UNJUDGED);
    struct avow_step fleet = *s;
    fleet.agent = NULL;
    return avow_step_alarm(&fleet, "policy.unavailable", avow_bytes_make(what, strlen(what)), text,
                           err);
}

/* The enrolment that the state was made with, if it is still known. */
static enum avow_rc prior_enrollment(const struct avow_step *s, const struct avow_state *prior,
                                     struct avow_enrollment **out, struct avow_err *err)
{
    const struct avow_agent_previous *p = &s->agent->previous;
    *out = NULL;
    if (!p->record || !avow_ct_eq(p->sha256, prior->enrollment_sha256, 32))
        return AVOW_OK;
    struct avow_enrollment *e = avow_arena_alloc(s->arena, 1, sizeof *e);
    if (!e)
        return avow_step_nomem(err);
    *out = e;
    return avow_enrollment_decode(avow_bytes_make(p->record, p->len), s->arena, e, err);
}

struct known { /* what an appraisal looks at beside the record */
    struct avow_enrollment e;
    struct avow_enrollment *before; /* that the state was made with; may be NULL */
    struct avow_state prior;
    struct avow_eval_policy policy;
};

static enum avow_rc gather(const struct avow_step *s, struct decoded *d, struct known *k,
                           struct avow_err *err)
{
    enum avow_rc rc = avow_step_enrollment(s, &k->e, err);
    if (!rc)
        rc = prior_of(s, &k->e, &k->prior, err);
    if (!rc)
        rc = avow_step_policy(s, &k->e, &k->prior, &k->policy, err);
    if (!rc)
        rc = prior_enrollment(s, &k->prior, &k->before, err);
    if (!rc)
        rc = decode_body(s, &k->prior, d, err);
    return rc ? rc : find_marker(s, d, err);
}

static enum avow_rc accepted(const struct avow_step *s, const struct known *k,
                             const struct decoded *d, struct avow_eval_out *out,
                             struct avow_err *err)
{
    enum avow_rc rc = out->unavailable ? unavailable(s, &k->e, out->unavailable, err) : AVOW_OK;
    if (out->abandoned)
        avow_step_add(s, AVOW_ACTION_DROP)->u.drop = AVOW_DROP_REASON_FOLD_ABANDONED;
    if (!rc)
        rc = ask_for_more(s, &k->prior, out, d->body.more, err);
    /* The spacing of verdicts is between evidences; the last part of one brings the verdict. */
    bool concludes = d->is_part && !out->next.has_open;
    struct avow_step_publish_in publish = {
        .enrollment = &k->e, .prior = &k->prior, .clock = concludes ? 0 : out->next.order.clock};
    return rc ? rc : avow_step_publish(s, &publish, &out->next, err);
}

static enum avow_rc appraise(const struct avow_step *s, const struct avow_step_evidence *in,
                             struct decoded *d, struct avow_err *err)
{
    struct known *k = avow_arena_alloc(s->arena, 1, sizeof *k);
    struct avow_eval_out *out = avow_arena_alloc(s->arena, 1, sizeof *out);
    if (!k || !out)
        return avow_step_nomem(err);
    enum avow_rc rc = gather(s, d, k, err);
    if (rc)
        return rc;
    struct avow_eval_in eval = {.evidence = d->is_part ? NULL : &d->evidence,
                                .part = d->is_part ? &d->part : NULL,
                                .body = d->has_body ? &d->body : NULL,
                                .enrollment = &k->e,
                                .enrollment_sha256 = s->agent->enrollment.sha256,
                                .ak = s->agent->enrollment.ak,
                                .policy = &k->policy,
                                .prior = &k->prior,
                                .marker = d->found == AVOW_MARKER_BOOK_FOUND ? &d->marker : NULL,
                                .marker_expired = d->found == AVOW_MARKER_BOOK_EXPIRED,
                                .bundle_version = s->env->bundle->version,
                                .service_ms = s->env->service_ms,
                                .silent_after_ms = avow_worker_step_silent_after(s->env, s->agent),
                                .rebase_interval_ms = s->env->bundle->rebase_interval_ms,
                                .prior_enrollment = k->before,
                                .partition = s->env->partition,
                                .offset = in->offset};
    rc = d->is_part ? avow_evaluate_part(&eval, s->arena, out, err)
                    : avow_evaluate(&eval, s->arena, out, err);
    if (rc)
        return avow_err_wrap(err, rc, "agent %s", s->agent->id);
    if (out->kind == AVOW_EVAL_DROPPED)
        return drop(s, in, out->drop, err);
    assert(out->kind == AVOW_EVAL_ACCEPTED);
    return accepted(s, k, d, out, err);
}

/* Whether a fold is open at all is known before anything else of a part is looked at. */
static enum avow_rc fold_is_open(const struct avow_step *s, const struct decoded *d, bool *open,
                                 struct avow_err *err)
{
    struct avow_state state;
    bool found;
    *open = false;
    enum avow_rc rc = avow_step_state(s, &state, &found, err);
    if (!rc && found)
        *open = state.has_open && avow_ct_eq(state.open.tag, d->part.tag, sizeof d->part.tag) &&
                state.open.index + 1u == d->part.index;
    return rc;
}

enum avow_rc avow_worker_step_evidence(const struct avow_step_env *env,
                                       const struct avow_step_evidence *in,
                                       struct avow_arena *arena, struct avow_actions *out,
                                       struct avow_err *err)
{
    *out = (struct avow_actions){.agent = in->agent};
    struct avow_step s = {.env = env, .arena = arena, .out = out, .agent = in->agent};
    struct decoded *d = avow_arena_alloc(arena, 1, sizeof *d);
    if (!d)
        return avow_step_nomem(err);
    enum avow_drop_reason why;
    enum avow_rc rc = decode_evidence(&s, in, d, &why, err);
    if (rc == AVOW_PARSE)
        return drop(&s, in, why, err);
    if (rc)
        return rc;
    struct avow_str id = {(const char *)in->key.ptr, in->key.len};
    if (!avow_name_is_valid(id))
        return drop(&s, in, AVOW_DROP_REASON_KEY, err);
    if (!is_here(&s, in->key))
        return drop(&s, in, AVOW_DROP_REASON_PARTITION, err);
    if (!in->agent || !avow_agent_is_watched(in->agent) || !in->agent->enrollment.ak)
        return drop(&s, in, AVOW_DROP_REASON_UNENROLLED, err);
    bool open = true;
    if (d->is_part)
        rc = fold_is_open(&s, d, &open, err);
    if (!rc && !open)
        return drop(&s, in, AVOW_DROP_REASON_PART_ORDER, err);
    return rc ? rc : appraise(&s, in, d, err);
}
