/* views.c - see views.h. */
#include "views.h"

#include "avow/trust/proof.h"

#include <stdlib.h>
#include <string.h>

#include "avow/base/banned.h"

static void enrollment_deinit(struct avow_agent_enrollment *e)
{
    free(e->record);
    free(e->pins);
    avow_ak_free(e->ak);
    *e = (struct avow_agent_enrollment){0};
}

void avow_agent_state_deinit(struct avow_agent_state *s)
{
    free(s->record);
    *s = (struct avow_agent_state){0};
}

static void agent_free(void *p)
{
    struct avow_agent *a = p;
    enrollment_deinit(&a->enrollment);
    free(a->previous.record);
    avow_agent_state_deinit(&a->state);
    free(a);
}

void avow_views_init(struct avow_views *v, uint64_t seed0, uint64_t seed1)
{
    *v = (struct avow_views){0};
    avow_map_init(&v->agents, seed0, seed1);
}

void avow_views_deinit(struct avow_views *v)
{
    avow_map_deinit(&v->agents, agent_free);
    v->watched = 0;
}

struct avow_agent *avow_views_find(const struct avow_views *v, struct avow_bytes id)
{
    return avow_map_find(&v->agents, id);
}

enum avow_rc avow_views_get(struct avow_views *v, struct avow_str id, struct avow_agent **out,
                            struct avow_err *err)
{
    struct avow_bytes key = avow_bytes_make(id.ptr, id.len);
    *out = avow_views_find(v, key);
    if (*out)
        return AVOW_OK;
    if (v->agents.count >= AVOW_VIEWS_AGENTS_MAX)
        return avow_err_set(err, AVOW_LIMIT, 0, "more than %u agents in one partition",
                            AVOW_VIEWS_AGENTS_MAX);
    struct avow_agent *a = calloc(1, sizeof *a);
    if (!a)
        return avow_err_set(err, AVOW_NOMEM, 0, "agent");
    (void)avow_str_copy(a->id, sizeof a->id, id);
    a->id_len = id.len;
    enum avow_rc rc = avow_map_set(&v->agents, key, a, NULL);
    if (rc) {
        free(a);
        return avow_err_set(err, rc, 0, "agent");
    }
    *out = a;
    return AVOW_OK;
}

struct avow_str avow_agent_id(const struct avow_agent *a)
{
    return (struct avow_str){a->id, a->id_len};
}

bool avow_agent_is_watched(const struct avow_agent *a)
{
    return a->enrollment.record && a->enrollment.status != AVOW_ENROLL_STATUS_REMOVED;
}

size_t avow_enrollment_pins(const struct avow_enrollment *e,
                            struct avow_agent_pin out[AVOW_AGENT_PINS_MAX])
{
    const struct avow_policy_ref *refs[AVOW_POLICY_USES];
    size_t n = 0;
    avow_policy_refs_of(e, refs);
    for (size_t i = 0; i < AVOW_POLICY_USES; i++) {
        if (!refs[i] || !refs[i]->has_sha256)
            continue;
        out[n].use = (enum avow_policy_use)i;
        memcpy(out[n++].sha256, refs[i]->sha256, 32);
    }
    return n;
}

static enum avow_rc keep_pins(struct avow_agent_enrollment *fresh, const struct avow_enrollment *e,
                              struct avow_err *err)
{
    struct avow_agent_pin pins[AVOW_AGENT_PINS_MAX];
    size_t n = avow_enrollment_pins(e, pins);
    fresh->pins = n ? malloc(n * sizeof *pins) : NULL;
    if (n && !fresh->pins)
        return avow_err_set(err, AVOW_NOMEM, 0, "enrolment");
    if (n)
        memcpy(fresh->pins, pins, n * sizeof *pins);
    fresh->pins_count = n;
    return AVOW_OK;
}

enum avow_rc avow_views_enroll(struct avow_views *v, struct avow_agent *a,
                               const struct avow_enrollment *e, struct avow_bytes record,
                               struct avow_err *ak_refused, struct avow_err *err)
{
    struct avow_agent_enrollment fresh = {.len = record.len,
                                          .status = e->status,
                                          .generation = e->generation,
                                          .silent_after_ms = e->silent_after_ms,
                                          .paused_until_ms = e->paused_until_ms};
    ak_refused->msg[0] = '\0';
    fresh.record = malloc(record.len ? record.len : 1);
    if (!fresh.record)
        return avow_err_set(err, AVOW_NOMEM, 0, "enrolment");
    memcpy(fresh.record, record.ptr, record.len);
    avow_proof_content_sha256(record, fresh.sha256);
    enum avow_rc rc = keep_pins(&fresh, e, err);
    if (rc) {
        enrollment_deinit(&fresh);
        return rc;
    }
    if (e->has_ak_public) {
        rc = avow_ak_parse(e->ak_public, &fresh.ak, ak_refused);
        if (rc == AVOW_NOMEM) {
            enrollment_deinit(&fresh);
            return avow_err_set(err, rc, 0, "enrolment");
        }
    }
    v->watched -= avow_agent_is_watched(a) ? 1 : 0;
    free(a->previous.record);
    a->previous =
        (struct avow_agent_previous){.record = a->enrollment.record, .len = a->enrollment.len};
    memcpy(a->previous.sha256, a->enrollment.sha256, sizeof a->previous.sha256);
    a->enrollment.record = NULL;
    enrollment_deinit(&a->enrollment);
    a->enrollment = fresh;
    v->watched += avow_agent_is_watched(a) ? 1 : 0;
    return AVOW_OK;
}

void avow_views_unenroll(struct avow_views *v, struct avow_agent *a)
{
    v->watched -= avow_agent_is_watched(a) ? 1 : 0;
    enrollment_deinit(&a->enrollment);
}

struct avow_agent_state avow_agent_state_take(struct avow_agent *a)
{
    struct avow_agent_state s = a->state;
    a->state = (struct avow_agent_state){0};
    return s;
}

void avow_agent_state_put(struct avow_agent *a, struct avow_agent_state s)
{
    avow_agent_state_deinit(&a->state);
    a->state = s;
}

enum avow_rc avow_agent_state_make(const struct avow_state *s, struct avow_bytes record,
                                   struct avow_agent_state *out, struct avow_err *err)
{
    uint8_t *copy = malloc(record.len ? record.len : 1);
    if (!copy)
        return avow_err_set(err, AVOW_NOMEM, 0, "state");
    memcpy(copy, record.ptr, record.len);
    *out = (struct avow_agent_state){
        .record = copy,
        .len = record.len,
        .hot = {.status = s->status,
                .seq = s->seq,
                .enrollment_generation = s->enrollment_generation},
    };
    memcpy(out->hot.enrollment_sha256, s->enrollment_sha256, sizeof out->hot.enrollment_sha256);
    return AVOW_OK;
}
