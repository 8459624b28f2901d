/* doctor_fleet.c - what workers and agents show of themselves on the topics. */
#include "doctor.h"

#include "avow/base/clock.h"
#include "avow/base/hex.h"
#include "avow/model/model.h"
#include "avow/trust/proof.h"
#include "fleet.h"
#include "ledger.h"
#include "markers.h"
#include "reader.h"
#include "standing.h"
#include "table.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "avow/base/banned.h"

#define FRESH_EPOCHS 3u
#define CLOCK_OFF_MS 5000u
#define MAC_KEYS_MAX 8u
#define NAMED_MAX 5u /* agents named one by one per check */

/* --- Workers --- */

/* The broker's time of the newest marker can lie behind now by an epoch or more, never ahead of it.
 */
static void check_clock(struct avow_doctor *d, const struct avow_markers *m, uint64_t now)
{
    uint64_t newest = 0, epoch_ms = avow_trust_bundle(d->cli->trust)->epoch_ms;
    for (size_t i = 0; i < m->count; i++)
        newest = m->of[i].append_ms > newest ? m->of[i].append_ms : newest;
    if (!newest)
        return; /* nothing to compare with: no marker, or a broker without append times */
    if (newest > now + CLOCK_OFF_MS)
        avow_doctor_problem(d, "clock", "set this machine's clock (chronyc tracking)",
                            "this machine is %" PRIu64 " s behind the broker",
                            (newest - now) / 1000);
    else if (now - newest <= FRESH_EPOCHS * epoch_ms + CLOCK_OFF_MS || newest > now)
        avow_doctor_ok(d, "clock", "agrees with the broker's");
}

static void check_markers(struct avow_doctor *d, const struct avow_markers *m, uint64_t now)
{
    const struct avow_bundle *b = avow_trust_bundle(d->cli->trust);
    size_t none = 0, old = 0, behind = 0;
    for (size_t i = 0; i < m->count; i++) {
        const struct avow_marker_view *v = &m->of[i];
        none += !v->found;
        old += v->found && now > v->issued_ms + FRESH_EPOCHS * (uint64_t)b->epoch_ms + CLOCK_OFF_MS;
        behind += v->found && v->bundle_version < b->version;
    }
    if (none || old)
        avow_doctor_problem(d, "workers", "start avow-worker, or look at its log",
                            "%zu of %zu partitions have no fresh marker (%zu never had one)",
                            none + old, m->count, none);
    else
        avow_doctor_ok(d, "workers", "all %zu partitions have fresh markers", m->count);
    if (behind)
        avow_doctor_problem(d, "worker bundle", "wait some seconds; else restart those workers",
                            "%zu partitions are served under a bundle older than version %" PRIu64,
                            behind, b->version);
    else if (none < m->count)
        avow_doctor_ok(d, "worker bundle", "workers know version %" PRIu64, b->version);
    if (m->refused)
        avow_doctor_problem(d, "marker keys", "who may write to topic epochs? was a key retired?",
                            "%" PRIu64 " records at the end of topic epochs prove nothing",
                            m->refused);
}

/* Newest state of each agent by the key of its MAC; the key itself is not needed. */
struct mac_count {
    uint8_t id[8];
    uint64_t states;
};
struct states {
    struct mac_count of[MAC_KEYS_MAX];
    size_t count;
    uint64_t records;
};

static enum avow_rc count_state(void *arg, const struct avow_bus_msg *msg, struct avow_err *err)
{
    struct states *s = arg;
    (void)err;
    if (msg->value_null || msg->value.len < AVOW_MAC_LEN)
        return AVOW_OK;
    struct avow_bytes id =
        avow_bytes_make(msg->value.ptr + (msg->value.len - AVOW_MAC_LEN), sizeof s->of[0].id);
    s->records++;
    for (size_t i = 0; i < s->count; i++)
        if (avow_bytes_eq(AVOW_BYTES_OF(s->of[i].id), id)) {
            s->of[i].states++;
            return AVOW_OK;
        }
    if (s->count < MAC_KEYS_MAX) {
        memcpy(s->of[s->count].id, id.ptr, sizeof s->of[0].id);
        s->of[s->count++].states = 1;
    }
    return AVOW_OK;
}

/* The topic is compacted, so that records under a key that is no longer used go away in time. */
static void check_states(struct avow_doctor *d)
{
    struct states s = {.count = 0};
    struct avow_err why;
    char list[MAC_KEYS_MAX * 48] = "", hex[17];
    size_t used = 0;
    if (avow_read_topic(d->cli, "state", NULL, count_state, &s, &why)) {
        avow_doctor_ok(d, "states", "not readable for this user: %.200s", why.msg);
        return;
    }
    for (size_t i = 0; i < s.count && used < sizeof list - 48; i++) {
        avow_hex_encode(hex, AVOW_BYTES_OF(s.of[i].id));
        int n = snprintf(list + used, sizeof list - used, "%s%s: %" PRIu64, i ? ", " : "", hex,
                         s.of[i].states);
        used += n > 0 ? (size_t)n : 0;
    }
    avow_doctor_ok(d, "states", "%" PRIu64 " records, by MAC key: %s", s.records,
                   s.count ? list : "none");
}

void avow_doctor_workers(struct avow_doctor *d)
{
    AVOW_CLEANUP_VAL(avow_markers_deinit) struct avow_markers m;
    struct avow_err why;
    if (avow_markers_read(d->cli, &m, &why)) {
        avow_doctor_problem(d, "workers", "may this user read topic epochs?", "%s", why.msg);
        return;
    }
    uint64_t now = avow_clock_unix_ms();
    check_clock(d, &m, now);
    check_markers(d, &m, now);
    check_states(d);
}

/* --- Agents --- */

/* Agents with one kind of problem: the first ones by name, then how many. */
struct group {
    const char *check, *what, *next;
    uint64_t count;
    char names[400];
};

static void group_add(struct group *g, struct avow_str id)
{
    size_t used = strlen(g->names);
    if (g->count++ < NAMED_MAX && used < sizeof g->names - 140)
        snprintf(g->names + used, sizeof g->names - used, "%s%.*s", used ? ", " : "", (int)id.len,
                 id.ptr);
}

enum {
    ROLLBACK,
    UNPUBLISHED,
    NO_VERDICT,
    OLD_VERDICT,
    AHEAD,
    EXPIRED,
    PENDING,
    OLD_BUNDLE,
    GROUPS
};

static uint64_t ledger_generation(struct avow_doctor *d, struct avow_str id)
{
    char name[129];
    struct avow_err why;
    uint64_t kept = 0;
    if (!avow_str_copy(name, sizeof name, id) ||
        avow_ledger_newest(d->cli, "enrollments", name, &kept, &why))
        return 0;
    return kept;
}

static void check_verdict(struct avow_doctor *d, const struct avow_fleet_agent *a,
                          struct group groups[GROUPS], uint64_t now)
{
    const struct avow_verdict *v = &a->verdict;
    const struct avow_enrollment *e = &a->enrollment;
    bool settled = now > e->issued_ms + d->pending_ms;
    if (!a->has_verdict) {
        if (settled)
            group_add(&groups[NO_VERDICT], a->id);
        return;
    }
    const char *standing = avow_agent_standing(v, e->generation, now);
    if (v->enrollment_generation > e->generation)
        group_add(&groups[AHEAD], a->id);
    else if (v->enrollment_generation < e->generation && settled)
        group_add(&groups[OLD_VERDICT], a->id);
    else if (avow_cstr_eq(standing, "expired"))
        group_add(&groups[EXPIRED], a->id);
    else if (avow_cstr_eq(standing, "pending") && settled)
        group_add(&groups[PENDING], a->id);
    /* Verdicts are signed again at each refresh: a while after a bundle all should name it. */
    const struct avow_bundle *b = avow_trust_bundle(d->cli->trust);
    if (v->bundle_version < b->version && now > b->issued_ms + d->pending_ms)
        group_add(&groups[OLD_BUNDLE], a->id);
}

static void check_agent(struct avow_doctor *d, const struct avow_fleet_agent *a,
                        struct group groups[GROUPS], uint64_t now)
{
    uint64_t kept = ledger_generation(d, a->id);
    uint64_t there = a->has_enrollment ? a->enrollment.generation : 0;
    if (kept > there)
        group_add(&groups[there ? ROLLBACK : UNPUBLISHED], a->id);
    if (avow_fleet_is_enrolled(a))
        check_verdict(d, a, groups, now);
}

static void report_fleet(struct avow_doctor *d, const struct avow_fleet *f, struct group *groups)
{
    bool clean = true;
    for (size_t i = 0; i < GROUPS; i++) {
        const struct group *g = &groups[i];
        clean = clean && !g->count;
        if (g->count)
            avow_doctor_problem(d, g->check, g->next, "%" PRIu64 " %s: %s%s", g->count, g->what,
                                g->names, g->count > NAMED_MAX ? ", ..." : "");
    }
    if (f->refused || f->older || f->conflicts)
        avow_doctor_problem(d, "records", "who may write to these topics?",
                            "%" PRIu64 " refused, %" PRIu64 " older than what stood before them, "
                            "%" PRIu64 " in conflict%s%s",
                            f->refused, f->older, f->conflicts,
                            f->refused ? "; the last refusal: " : "",
                            f->refused ? f->last_refusal.msg : "");
    if (clean)
        avow_doctor_ok(d, "enrolments", "%zu agents: ledger, topic and verdicts agree", f->count);
}

void avow_doctor_agents(struct avow_doctor *d)
{
    struct group groups[GROUPS] = {
        [ROLLBACK] = {"enrolments", "enrolled by an older generation than this ledger signed",
                      "bus.rollback, or a failed attempt: `avow agent add --replace`", 0, ""},
        [UNPUBLISHED] = {"enrolments", "signed here, but not on the topic",
                         "bus.rollback, or a failed attempt: `avow agent add --replace`", 0, ""},
        [NO_VERDICT] = {"verdicts", "enrolled without any verdict",
                        "is a worker running for their partitions?", 0, ""},
        [OLD_VERDICT] = {"verdicts", "judged by an older enrolment than stands on the topic",
                         "does the agent run? else workers see another view (split view)", 0, ""},
        [AHEAD] = {"verdicts", "judged by a newer enrolment than stands on the topic",
                   "bus.rollback: this machine is shown an old view of topic enrollments", 0, ""},
        [EXPIRED] = {"trust", "were trusted, and it ran out",
                     "do workers run? `avow agent status ID`", 0, ""},
        [PENDING] = {"pending", "pending for too long",
                     "does the agent run? `avow agent status ID`", 0, ""},
        [OLD_BUNDLE] = {"verdicts", "judged under an older bundle", "restart workers", 0, ""},
    };
    AVOW_CLEANUP_VAL(avow_fleet_deinit) struct avow_fleet f;
    struct avow_err why;
    if (avow_fleet_read(d->cli, AVOW_FLEET_ENROLLMENTS | AVOW_FLEET_VERDICTS, NULL, &f, &why)) {
        avow_doctor_problem(d, "enrolments", "`avow topics check`", "%s", why.msg);
        return;
    }
    uint64_t now = avow_clock_unix_ms();
    for (size_t i = 0; i < f.count; i++)
        check_agent(d, &f.agents[i], groups, now);
    report_fleet(d, &f, groups);
}
