/* policy_rehearse.c - see policy_rehearse.h: each agent is appraised twice, side by side. */
#include "policy_rehearse.h"

#include "avow/base/file.h"
#include "avow/trust/proof.h"
#include "agent_show.h"
#include "fleet.h"
#include "json_out.h"
#include "policy_kinds.h"
#include "policy_shelf.h"
#include "replay.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "avow/base/banned.h"

#define PROGRESS_EVERY 1000u

enum side { SIDE_NOW, SIDE_PROPOSED, SIDES };

struct subject { /* one agent */
    const struct avow_fleet_agent *agent;
    const char *id;
    uint8_t enrollment_sha256[AVOW_SHA256_LEN];
    struct avow_shelf_policy policies[SIDES];
    bool judged[SIDES];
    enum avow_status status[SIDES];
    const char *finding[SIDES]; /* the first; NULL: none */
};
struct rehearsal {
    struct avow_cli *cli;
    const struct avow_rehearsal *r;
    struct avow_arena arena;
    struct avow_fleet fleet;
    struct avow_policy_shelf shelf;
    struct subject *subjects; /* owned; in order of ids, as the fleet's agents; they do not move */
    size_t count;
    uint64_t records;
};

static int by_id(const void *a, const void *b)
{
    const struct subject *x = a, *y = b;
    return strcmp(x->id, y->id);
}

static enum avow_rc read_proposed(struct rehearsal *h, struct avow_err *err)
{
    AVOW_CLEANUP_VAL(avow_buf_deinit) struct avow_buf text;
    avow_buf_init(&text, AVOW_POLICY_MAX);
    enum avow_rc rc = avow_file_read(h->r->file, &text, err);
    if (!rc)
        rc = avow_policy_unwrap(&text, NULL, err);
    if (!rc)
        rc = avow_policy_shelf_propose(&h->shelf, h->r->name, h->r->kind, avow_buf_bytes(&text),
                                       err);
    return rc && rc != AVOW_IO ? avow_err_wrap(err, rc, "%.150s", h->r->file) : rc;
}

/* Agents that the policy concerns. */
static enum avow_rc add_agent(struct rehearsal *h, const struct avow_fleet_agent *a,
                              struct avow_err *err)
{
    struct subject *s = &h->subjects[h->count];
    if (!avow_fleet_is_enrolled(a) || !a->enrollment.has_ak_public ||
        !avow_policy_shelf_concerns(&h->shelf, &a->enrollment))
        return AVOW_OK;
    *s = (struct subject){.agent = a, .id = avow_arena_cstr(&h->arena, a->id)};
    if (!s->id)
        return avow_err_set(err, AVOW_NOMEM, 0, "rehearsal");
    avow_proof_content_sha256(a->enrollment_record, s->enrollment_sha256);
    for (size_t i = 0; i < SIDES; i++) {
        enum avow_rc rc = avow_policy_shelf_resolve(&h->shelf, &a->enrollment, i == SIDE_PROPOSED,
                                                    &s->policies[i], err);
        if (rc)
            return avow_err_wrap(err, rc, "%.128s", s->id);
    }
    h->count++;
    return AVOW_OK;
}

static enum avow_rc choose_agents(struct rehearsal *h, struct avow_err *err)
{
    enum avow_rc rc = avow_fleet_read(h->cli, AVOW_FLEET_ENROLLMENTS, h->r->agent, &h->fleet, err);
    if (rc)
        return rc;
    avow_fleet_warn(&h->fleet);
    rc = avow_policy_shelf_init(&h->shelf, h->cli, err);
    if (!rc)
        rc = read_proposed(h, err);
    h->subjects = calloc(h->fleet.count + 1, sizeof *h->subjects);
    if (!rc && !h->subjects)
        rc = avow_err_set(err, AVOW_NOMEM, 0, "rehearsal");
    for (size_t i = 0; i < h->fleet.count && !rc; i++)
        rc = add_agent(h, &h->fleet.agents[i], err);
    if (!rc && !h->count)
        rc = avow_err_set(err, AVOW_NOTFOUND, 0, "no enrolment%s%.128s names the policy %.128s",
                          h->r->agent ? " of " : "", h->r->agent ? h->r->agent : "", h->r->name);
    return rc;
}

static const char *first_finding(struct rehearsal *h, const struct avow_state *s)
{
    const struct avow_finding *f = s->findings;
    if (!s->findings_count)
        return NULL;
    return avow_arena_printf(&h->arena, "%.*s %.*s %.*s", (int)f->id.len, f->id.ptr,
                             (int)f->where.len, f->where.ptr, (int)f->detail.len, f->detail.ptr);
}

static enum avow_rc on_state(void *arg, const struct avow_replay_subject *of,
                             const struct avow_state *state, struct avow_err *err)
{
    struct rehearsal *h = arg;
    struct subject key = {.id = of->id};
    struct subject *s = bsearch(&key, h->subjects, h->count, sizeof *s, by_id);
    enum side side = of->policy == &s->policies[SIDE_PROPOSED].policy ? SIDE_PROPOSED : SIDE_NOW;
    if (!s->judged[side] || s->status[side] != state->status)
        s->finding[side] = first_finding(h, state);
    if (state->findings_count && !s->finding[side])
        return avow_err_set(err, AVOW_NOMEM, 0, "rehearsal");
    s->judged[side] = true;
    s->status[side] = state->status;
    if (++h->records % PROGRESS_EVERY == 0 && h->cli->format != AVOW_FORMAT_JSON)
        avow_cli_note("%" PRIu64 " evidences appraised", h->records / SIDES);
    return AVOW_OK;
}

static enum avow_rc replay(struct rehearsal *h, struct avow_err *err)
{
    struct avow_replay_subject *subjects = calloc(h->count * SIDES, sizeof *subjects);
    if (!subjects)
        return avow_err_set(err, AVOW_NOMEM, 0, "rehearsal");
    for (size_t i = 0; i < h->count * SIDES; i++) {
        struct subject *s = &h->subjects[i / SIDES];
        subjects[i] = (struct avow_replay_subject){.id = s->id,
                                                   .enrollment = &s->agent->enrollment,
                                                   .enrollment_sha256 = s->enrollment_sha256,
                                                   .policy = &s->policies[i % SIDES].policy};
    }
    enum avow_rc rc = avow_replay_run(h->cli, subjects, h->count * SIDES, on_state, h, err);
    free(subjects);
    return rc;
}

/* --- Output --- */

static bool changes(const struct subject *s)
{
    return s->judged[SIDE_PROPOSED] && s->status[SIDE_NOW] != s->status[SIDE_PROPOSED];
}

static json_t *agent_json(const struct subject *s)
{
    bool judged = s->judged[SIDE_PROPOSED];
    return json_pack("{s:s,s:b,s:s?,s:s?,s:b,s:s?}", "agent", s->id, "judged", (int)judged, "now",
                     judged ? avow_status_text(s->status[SIDE_NOW]) : NULL, "proposed",
                     judged ? avow_status_text(s->status[SIDE_PROPOSED]) : NULL, "changes",
                     (int)changes(s), "finding", s->finding[SIDE_PROPOSED]);
}

static enum avow_rc report(struct rehearsal *h, bool *same, struct avow_err *err)
{
    json_t *list = h->cli->format == AVOW_FORMAT_JSON ? json_array() : NULL;
    size_t judged = 0, changed = 0;
    for (size_t i = 0; i < h->count; i++) {
        const struct subject *s = &h->subjects[i];
        judged += s->judged[SIDE_PROPOSED];
        changed += changes(s);
        if (list && json_array_append_new(list, agent_json(s))) {
            json_decref(list);
            return avow_err_set(err, AVOW_NOMEM, 0, "rehearsal");
        }
        if (list || !changes(s))
            continue;
        printf("%s: %s -> %s  ", s->id, avow_status_text(s->status[SIDE_NOW]),
               avow_status_text(s->status[SIDE_PROPOSED]));
        avow_print_clean(avow_str_from(s->finding[SIDE_PROPOSED] ? s->finding[SIDE_PROPOSED] : ""));
        printf("\n");
    }
    *same = !changed;
    if (list)
        return avow_json_document(json_pack("{s:s,s:o,s:o,s:o,s:o}", "policy", h->r->name, "agents",
                                            avow_json_u64(h->count), "judged",
                                            avow_json_u64(judged), "changed",
                                            avow_json_u64(changed), "results", list),
                                  err);
    printf("%zu of %zu agents that name %s would change; %zu have no evidence to be judged by\n",
           changed, h->count, h->r->name, h->count - judged);
    return AVOW_OK;
}

enum avow_rc avow_policy_rehearse(struct avow_cli *cli, const struct avow_rehearsal *r, bool *same,
                                  struct avow_err *err)
{
    struct rehearsal h = {.cli = cli, .r = r};
    avow_arena_init(&h.arena, 1024u * 1024u * 1024u);
    enum avow_rc rc = choose_agents(&h, err);
    if (!rc)
        rc = replay(&h, err);
    if (!rc)
        rc = report(&h, same, err);
    free(h.subjects);
    avow_policy_shelf_deinit(&h.shelf);
    avow_fleet_deinit(&h.fleet);
    avow_arena_deinit(&h.arena);
    return rc;
}
