#include "agent_step.h"

#include "avow/base/num.h"

#include <assert.h>
#include <string.h>

#include "avow/base/banned.h"

static void act(struct avow_agent_actions *out, struct avow_agent_action a)
{
    assert(out->count < AVOW_AGENT_ACTIONS_MAX);
    out->list[out->count++] = a;
}

static void act_tag(struct avow_agent_actions *out, enum avow_agent_action_tag tag)
{
    act(out, (struct avow_agent_action){.tag = tag});
}

static uint64_t add_ms(uint64_t a, uint64_t b)
{
    return a > AVOW_AGENT_NEVER - b ? AVOW_AGENT_NEVER : a + b;
}

static uint32_t heartbeat_ms(const struct avow_agent_state *s)
{
    return s->own_heartbeat_ms ? s->own_heartbeat_ms : s->fleet.heartbeat_ms;
}

/* A slow_down thins out what changes bring; it never reaches the heartbeat, or it would make the
 * agent silent. */
static uint64_t min_interval_ms(const struct avow_agent_state *s)
{
    uint64_t own = s->own_heartbeat_ms ? s->own_min_interval_ms : s->fleet.min_interval_ms;
    return avow_max_u64(own, avow_min_u64(s->slow_ms, heartbeat_ms(s)));
}

static const struct avow_agent_want want_nothing = {.from = AVOW_AGENT_NEVER};

void avow_agent_state_init(struct avow_agent_state *s)
{
    *s = (struct avow_agent_state){
        .phase = AVOW_AGENT_NO_TRUST,
        .log_moot = AVOW_AGENT_NEVER,
        .change_ms = AVOW_AGENT_NEVER,
        /* The workers know nothing about this process: first comes everything (B3.1). */
        .want = {.now = true, .boot_log = true, .pcrs = true, .from = AVOW_AGENT_NEVER},
        .flight = want_nothing,
        .register_ms = AVOW_AGENT_NEVER,
    };
}

/* --- When to attest --- */

static void note_log_count(struct avow_agent_state *s, uint64_t count, uint64_t now)
{
    s->log_count = count;
    if (count == s->next || count == s->log_moot)
        s->change_ms = AVOW_AGENT_NEVER;
    else if (s->change_ms == AVOW_AGENT_NEVER)
        s->change_ms = now;
}

/* Earliest time at which something asks for an attestation, before intervals and back-off. */
static uint64_t due_ms(const struct avow_agent_state *s)
{
    uint64_t due = s->attested ? s->heartbeat_ms : AVOW_AGENT_NEVER;
    if (s->want.now)
        due = 0;
    if (s->change_ms != AVOW_AGENT_NEVER) {
        struct avow_rate copy =
            s->again; /* asking refills it; the state is only changed when a token is taken */
        uint64_t ready = add_ms(s->change_ms, AVOW_AGENT_COALESCE_MS);
        uint64_t token = add_ms(copy.last_ms, avow_rate_wait_ms(&copy, copy.last_ms));
        due = avow_min_u64(due, avow_max_u64(ready, token));
    }
    return due;
}

/* Not before this, whatever asks. */
static uint64_t gate_ms(const struct avow_agent_state *s)
{
    uint64_t gate = s->attested ? add_ms(s->attest_ms, min_interval_ms(s)) : 0;
    gate = avow_max_u64(gate, s->retry_ms);
    /* The first marker may be the oldest of a batch: wait for its successors. */
    return s->attested ? gate : avow_max_u64(gate, add_ms(s->marker_ms, AVOW_AGENT_COALESCE_MS));
}

static uint64_t jittered_heartbeat(const struct avow_agent_state *s, uint64_t random)
{
    uint64_t beat = heartbeat_ms(s), tenth = beat / 10;
    return beat - tenth + random % (2 * tenth + 1);
}

/* --- Outcome of an attempt --- */

static void failed(struct avow_agent_state *s, uint64_t now, uint64_t random,
                   struct avow_agent_actions *out)
{
    uint64_t cap = AVOW_AGENT_RETRY_BASE_MS;
    for (uint32_t i = 0; i < s->failures && cap < AVOW_AGENT_RETRY_MAX_MS; i++)
        cap *= 2;
    cap = avow_min_u64(cap, AVOW_AGENT_RETRY_MAX_MS);
    if (s->failures < UINT32_MAX)
        s->failures++;
    s->retry_ms = add_ms(now, random % (cap + 1)); /* full jitter */
    s->phase = s->marker_old ? AVOW_AGENT_NO_MARKER : AVOW_AGENT_IDLE;
    s->want.now = true;
    s->want.boot_log = s->want.boot_log || s->flight.boot_log;
    s->want.pcrs = s->want.pcrs || s->flight.pcrs;
    s->want.from = avow_min_u64(s->want.from, s->flight.from);
    s->flight = want_nothing;
    act_tag(out, AVOW_AGENT_DO_DISCARD);
}

static void quoted(struct avow_agent_state *s, const struct avow_agent_event *ev,
                   struct avow_agent_actions *out)
{
    s->phase = AVOW_AGENT_SENDING;
    s->flight_start = ev->u.quoted.start;
    s->flight_end = ev->u.quoted.end;
    s->flight_more = ev->u.quoted.more;
    s->log_count = ev->u.quoted.log_count;
    act_tag(out, AVOW_AGENT_DO_SEND);
}

static void sent(struct avow_agent_state *s, uint64_t now, struct avow_agent_actions *out)
{
    bool grew = s->log_count != s->flight_end;
    bool nothing = s->flight_start == s->flight_end && !s->flight_more;
    s->phase = s->marker_old ? AVOW_AGENT_NO_MARKER : AVOW_AGENT_IDLE;
    s->failures = 0;
    s->retry_ms = 0;
    s->next = s->flight_end;
    s->flight = want_nothing;
    /* The count promised entries that the list does not give (it may be one ahead, or not be our
     * list's): asking again and again would keep the TPM busy for nothing. */
    s->log_moot = grew && nothing ? s->log_count : AVOW_AGENT_NEVER;
    s->change_ms = AVOW_AGENT_NEVER;
    if (s->flight_more || (grew && !nothing))
        s->change_ms =
            now > AVOW_AGENT_COALESCE_MS ? now - AVOW_AGENT_COALESCE_MS : 0; /* at once */
    act(out, (struct avow_agent_action){.tag = AVOW_AGENT_DO_COMMIT, .from = s->next});
}

/* --- Markers and trust --- */

static void marker(struct avow_agent_state *s, uint64_t epoch, uint64_t now,
                   struct avow_agent_actions *out)
{
    if (s->phase == AVOW_AGENT_NO_TRUST || s->phase == AVOW_AGENT_STOPPED)
        return;
    /* Newest only; an equal epoch that comes later is the new owner's after a rebalance (R5). */
    if (s->phase != AVOW_AGENT_NO_MARKER && !s->marker_old && !s->marker_any && epoch < s->epoch)
        return;
    s->epoch = epoch;
    s->marker_old = s->marker_any = false;
    s->marker_ms = now;
    s->marker_warned = false;
    if (s->phase == AVOW_AGENT_NO_MARKER)
        s->phase = AVOW_AGENT_IDLE;
    act_tag(out, AVOW_AGENT_DO_KEEP_MARKER);
}

static void bundle(struct avow_agent_state *s, const struct avow_agent_event *ev, uint64_t now,
                   struct avow_agent_actions *out)
{
    const struct avow_agent_settings *set = &ev->u.bundle.settings;
    assert(set->resync_refill_ms > 0);
    if (s->phase == AVOW_AGENT_NO_TRUST) {
        s->phase = AVOW_AGENT_NO_MARKER;
        s->marker_ms = now;
        avow_rate_init(&s->again, AVOW_AGENT_AGAIN_BURST, AVOW_AGENT_AGAIN_REFILL_MS, now);
    }
    /* A new bundle must not refill the bucket by itself: bundles can be many, too. */
    if (s->fleet.resync_burst != set->resync_burst ||
        s->fleet.resync_refill_ms != set->resync_refill_ms)
        avow_rate_init(&s->resync, set->resync_burst, set->resync_refill_ms, now);
    s->fleet = *set;
    s->marker_any = true; /* the newest may be of a key that is revoked now */
    if (s->followed && !ev->u.bundle.moved)
        return;
    s->followed = true;
    /* Markers of another partition are void. What the new workers lack they ask for, at their own
     * pace (R15). */
    if (s->phase == AVOW_AGENT_QUOTING || s->phase == AVOW_AGENT_SENDING)
        s->marker_old = true; /* the attempt ends first */
    else
        s->phase = AVOW_AGENT_NO_MARKER;
    s->marker_ms = now;
    s->marker_warned = false;
    s->want.now = true;
    act_tag(out, AVOW_AGENT_DO_FOLLOW);
}

static void warn_if_no_marker(struct avow_agent_state *s, uint64_t now,
                              struct avow_agent_actions *out)
{
    if (s->phase == AVOW_AGENT_NO_TRUST || s->phase == AVOW_AGENT_STOPPED || s->marker_warned)
        return;
    if (now < add_ms(s->marker_ms, 3 * (uint64_t)s->fleet.epoch_ms))
        return;
    s->marker_warned = true;
    act(out, (struct avow_agent_action){.tag = AVOW_AGENT_DO_WARN_MARKER,
                                        .elapsed_ms = now - s->marker_ms});
}

/* --- Directives (R19) --- */

const char *avow_agent_directive_fate_text(enum avow_agent_directive_fate f)
{
    switch (f) {
    case AVOW_AGENT_OBEYED:
        return "obeyed";
    case AVOW_AGENT_IGNORED_EPOCH:
        return "ignored: not of the last epochs";
    case AVOW_AGENT_IGNORED_TWICE:
        return "ignored: already obeyed";
    case AVOW_AGENT_IGNORED_RATE:
        return "ignored: too many resyncs";
    case AVOW_AGENT_IGNORED_VALUE:
        return "ignored: a value is out of range";
    case AVOW_AGENT_IGNORED_UNSUPPORTED:
        return "ignored: not supported by this version";
    case AVOW_AGENT_HELD:
        return "held until the newest marker is known";
    }
    return "?";
}

static bool epoch_near(uint64_t a, uint64_t b)
{
    return (a > b ? a - b : b - a) <= AVOW_AGENT_EPOCH_WINDOW;
}

static bool was_obeyed(const struct avow_agent_state *s, const uint8_t id[16])
{
    for (uint32_t i = 0; i < s->obeyed_count; i++)
        if (avow_bytes_eq(AVOW_BYTES_OF(s->obeyed[i]), avow_bytes_make(id, 16)))
            return true;
    return false;
}

/* Makes room by forgetting ids that the epoch rule refuses anyway; false if there is none. */
static bool room_for_id(struct avow_agent_state *s)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < s->obeyed_count; i++) {
        if (!epoch_near(s->obeyed_epoch[i], s->epoch) && s->obeyed_epoch[i] < s->epoch)
            continue;
        memmove(s->obeyed[kept], s->obeyed[i], sizeof s->obeyed[0]);
        s->obeyed_epoch[kept++] = s->obeyed_epoch[i];
    }
    s->obeyed_count = kept;
    return kept < AVOW_AGENT_DIRECTIVES_KEPT;
}

static enum avow_agent_directive_fate obey_resync(struct avow_agent_state *s,
                                                  const struct avow_resync *r, uint64_t now)
{
    bool adds = (r->boot_log && !s->want.boot_log) || (r->pcrs && !s->want.pcrs) ||
                r->ima_from < avow_min_u64(s->next, s->want.from) || !s->want.now;
    if (adds && !avow_rate_take(&s->resync, now))
        return AVOW_AGENT_IGNORED_RATE;
    s->want.now = true;
    s->want.boot_log = s->want.boot_log || r->boot_log;
    s->want.pcrs = s->want.pcrs || r->pcrs;
    s->want.from = avow_min_u64(s->want.from, r->ima_from);
    return AVOW_AGENT_OBEYED;
}

static enum avow_agent_directive_fate obey_settings(struct avow_agent_state *s,
                                                    const struct avow_settings *set)
{
    if (set->heartbeat_ms < AVOW_AGENT_HEARTBEAT_MIN_MS ||
        set->heartbeat_ms > AVOW_AGENT_HEARTBEAT_MAX_MS || set->min_interval_ms > set->heartbeat_ms)
        return AVOW_AGENT_IGNORED_VALUE;
    s->own_heartbeat_ms = set->heartbeat_ms;
    s->own_min_interval_ms = set->min_interval_ms;
    if (s->attested)
        s->heartbeat_ms = avow_min_u64(s->heartbeat_ms, add_ms(s->attest_ms, set->heartbeat_ms));
    return AVOW_AGENT_OBEYED;
}

static enum avow_agent_directive_fate obey(struct avow_agent_state *s,
                                           const struct avow_directive *d, uint64_t now)
{
    if (s->phase != AVOW_AGENT_IDLE && s->phase != AVOW_AGENT_QUOTING &&
        s->phase != AVOW_AGENT_SENDING)
        return AVOW_AGENT_IGNORED_EPOCH; /* no marker to compare with: workers repeat what matters
                                          */
    if (!epoch_near(d->epoch, s->epoch))
        return AVOW_AGENT_IGNORED_EPOCH;
    if (was_obeyed(s, d->id))
        return AVOW_AGENT_IGNORED_TWICE;
    if (!room_for_id(s))
        return AVOW_AGENT_IGNORED_RATE;
    enum avow_agent_directive_fate fate = AVOW_AGENT_IGNORED_UNSUPPORTED;
    switch (d->kind.tag) {
    case AVOW_DIRECTIVE_KIND_RESYNC:
        fate = obey_resync(s, &d->kind.u.resync, now);
        break;
    case AVOW_DIRECTIVE_KIND_ATTEST_NOW:
        s->want.now = true;
        fate = AVOW_AGENT_OBEYED;
        break;
    case AVOW_DIRECTIVE_KIND_SETTINGS:
        fate = obey_settings(s, &d->kind.u.settings);
        break;
    case AVOW_DIRECTIVE_KIND_SLOW_DOWN:
        fate = AVOW_AGENT_OBEYED;
        break;
    case AVOW_DIRECTIVE_KIND_PAYLOAD_SHARE:
        break; /* this version asks for no payload (Body.payload_request is absent) */
    }
    if (fate != AVOW_AGENT_OBEYED)
        return fate;
    s->slow_ms = d->kind.tag == AVOW_DIRECTIVE_KIND_SLOW_DOWN ? d->kind.u.slow_down.min_ms : 0;
    memcpy(s->obeyed[s->obeyed_count], d->id, sizeof d->id);
    s->obeyed_epoch[s->obeyed_count++] = d->epoch;
    return AVOW_AGENT_OBEYED;
}

/* Keeps the newest ones; what this version obeys borrows nothing. */
static enum avow_agent_directive_fate hold(struct avow_agent_state *s,
                                           const struct avow_directive *d)
{
    if (d->kind.tag == AVOW_DIRECTIVE_KIND_PAYLOAD_SHARE)
        return AVOW_AGENT_IGNORED_UNSUPPORTED;
    if (s->held_count == AVOW_AGENT_HELD_MAX) {
        memmove(&s->held[0], &s->held[1], sizeof s->held - sizeof s->held[0]);
        s->held_count--;
    }
    s->held[s->held_count++] = *d;
    return AVOW_AGENT_HELD;
}

static void release_held(struct avow_agent_state *s, uint64_t now, struct avow_agent_actions *out)
{
    for (uint32_t i = 0; i < s->held_count; i++)
        act(out, (struct avow_agent_action){.tag = AVOW_AGENT_DO_NOTE_DIRECTIVE,
                                            .fate = obey(s, &s->held[i], now)});
    s->held_count = 0;
}

static void directive(struct avow_agent_state *s, const struct avow_directive *d, uint64_t now,
                      struct avow_agent_actions *out)
{
    enum avow_agent_directive_fate fate = s->attested ? obey(s, d, now) : hold(s, d);
    act(out, (struct avow_agent_action){.tag = AVOW_AGENT_DO_NOTE_DIRECTIVE, .fate = fate});
}

/* --- Attesting --- */

static void attest_if_due(struct avow_agent_state *s, uint64_t now, uint64_t random,
                          struct avow_agent_actions *out)
{
    if (s->phase != AVOW_AGENT_IDLE)
        return;
    uint64_t due = due_ms(s);
    if (due == AVOW_AGENT_NEVER || now < avow_max_u64(due, gate_ms(s)))
        return;
    release_held(s, now, out);
    bool asked = s->want.now || (s->attested && now >= s->heartbeat_ms);
    if (!asked)
        (void)avow_rate_take(&s->again, now); /* due_ms waited for it */
    s->phase = AVOW_AGENT_QUOTING;
    s->attested = true;
    s->attest_ms = now;
    s->heartbeat_ms = add_ms(now, jittered_heartbeat(s, random));
    s->change_ms = AVOW_AGENT_NEVER;
    s->flight = s->want;
    s->want = want_nothing;
    act(out, (struct avow_agent_action){.tag = AVOW_AGENT_DO_ATTEST,
                                        .from = avow_min_u64(s->next, s->flight.from),
                                        .boot_log = s->flight.boot_log,
                                        .pcrs = s->flight.pcrs});
}

/* --- Registration --- */

static void started(struct avow_agent_state *s, const struct avow_agent_event *ev, uint64_t now,
                    uint64_t random)
{
    s->next = ev->u.started.next;
    if (!ev->u.started.registrar)
        return;
    s->registration = AVOW_AGENT_REG_DUE;
    s->register_failures = 0;
    s->register_ms =
        ev->u.started.new_ak ? now : add_ms(now, random % AVOW_AGENT_REGISTER_SPREAD_MS);
}

static void register_failed(struct avow_agent_state *s, bool refused, uint64_t now, uint64_t random)
{
    uint64_t cap = AVOW_AGENT_REGISTER_MIN_MS;
    for (uint32_t i = 0; i < s->register_failures && cap < AVOW_AGENT_REGISTER_MAX_MS; i++)
        cap *= 2;
    cap = avow_min_u64(cap, AVOW_AGENT_REGISTER_MAX_MS);
    if (refused)
        cap = AVOW_AGENT_REGISTER_MAX_MS; /* an operator has to act first */
    if (s->register_failures < UINT32_MAX)
        s->register_failures++;
    s->registration = AVOW_AGENT_REG_DUE;
    uint64_t spread = cap - AVOW_AGENT_REGISTER_MIN_MS;
    s->register_ms = add_ms(now, AVOW_AGENT_REGISTER_MIN_MS + random % (spread + 1));
}

static void register_if_due(struct avow_agent_state *s, uint64_t now,
                            struct avow_agent_actions *out)
{
    if (s->registration != AVOW_AGENT_REG_DUE || now < s->register_ms)
        return;
    s->registration = AVOW_AGENT_REG_RUNNING;
    act_tag(out, AVOW_AGENT_DO_REGISTER);
}

/* --- The step --- */

static void apply(struct avow_agent_state *s, const struct avow_agent_event *ev, uint64_t now,
                  uint64_t random, struct avow_agent_actions *out)
{
    switch (ev->tag) {
    case AVOW_AGENT_EV_STARTED:
        started(s, ev, now, random);
        break;
    case AVOW_AGENT_EV_BUNDLE:
        bundle(s, ev, now, out);
        break;
    case AVOW_AGENT_EV_MARKER:
        marker(s, ev->u.marker_epoch, now, out);
        break;
    case AVOW_AGENT_EV_DIRECTIVE:
        directive(s, ev->u.directive, now, out);
        break;
    case AVOW_AGENT_EV_IMA_COUNT:
        if (s->phase != AVOW_AGENT_QUOTING && s->phase != AVOW_AGENT_SENDING)
            note_log_count(s, ev->u.ima_count, now); /* else SENT compares */
        else if (s->phase == AVOW_AGENT_SENDING)
            s->log_count = ev->u.ima_count;
        break;
    case AVOW_AGENT_EV_QUOTED:
        if (s->phase == AVOW_AGENT_QUOTING)
            quoted(s, ev, out);
        break;
    case AVOW_AGENT_EV_QUOTE_FAILED:
        if (s->phase == AVOW_AGENT_QUOTING)
            failed(s, now, random, out);
        break;
    case AVOW_AGENT_EV_SENT:
        if (s->phase == AVOW_AGENT_SENDING)
            sent(s, now, out);
        break;
    case AVOW_AGENT_EV_SEND_FAILED:
        if (s->phase == AVOW_AGENT_SENDING)
            failed(s, now, random, out);
        break;
    case AVOW_AGENT_EV_REGISTERED:
        s->registration = AVOW_AGENT_REG_DONE;
        s->register_failures = 0;
        break;
    case AVOW_AGENT_EV_REGISTER_FAILED:
        register_failed(s, ev->u.register_refused, now, random);
        break;
    case AVOW_AGENT_EV_STOP:
        s->phase = AVOW_AGENT_STOPPED;
        s->registration = AVOW_AGENT_REG_OFF;
        act_tag(out, AVOW_AGENT_DO_EXIT);
        break;
    case AVOW_AGENT_EV_TIMER:
        break;
    }
}

void avow_agent_step(struct avow_agent_state *s, const struct avow_agent_event *ev, uint64_t now_ms,
                     uint64_t random, struct avow_agent_actions *out)
{
    out->count = 0;
    if (s->phase == AVOW_AGENT_STOPPED)
        return;
    apply(s, ev, now_ms, random, out);
    if (s->phase == AVOW_AGENT_STOPPED)
        return;
    warn_if_no_marker(s, now_ms, out);
    register_if_due(s, now_ms, out);
    attest_if_due(s, now_ms, random, out);
}

size_t avow_agent_parts_limit(size_t now, size_t max, size_t parts, uint64_t took_ms,
                              uint64_t heartbeat_ms)
{
    if (took_ms > heartbeat_ms)
        return avow_max_u64(parts / 2, 1);
    if (took_ms < heartbeat_ms / 4 && parts >= now)
        return avow_min_u64(2 * now, max);
    return now;
}

uint64_t avow_agent_wake_ms(const struct avow_agent_state *s)
{
    uint64_t wake = AVOW_AGENT_NEVER;
    if (s->phase == AVOW_AGENT_STOPPED)
        return wake;
    if (s->registration == AVOW_AGENT_REG_DUE)
        wake = s->register_ms;
    if (s->phase != AVOW_AGENT_NO_TRUST && !s->marker_warned)
        wake = avow_min_u64(wake, add_ms(s->marker_ms, 3 * (uint64_t)s->fleet.epoch_ms));
    if (s->phase == AVOW_AGENT_IDLE) {
        uint64_t due = due_ms(s);
        if (due != AVOW_AGENT_NEVER)
            wake = avow_min_u64(wake, avow_max_u64(due, gate_ms(s)));
    }
    return wake;
}
