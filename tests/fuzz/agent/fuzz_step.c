/* Any sequence of events: never two attempts at once, never faster than the intervals allow,
 * resyncs within their bucket, no busy loop. Directives are what a stolen worker key can send; this
 * is what they can do at most. */
#include "agent_step.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "avow/base/banned.h"

#define BURST 3u
#define REFILL_MS 300000u
#define MIN_MS 200u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct run {
    struct avow_agent_state s;
    uint64_t now, last_attest_ms;
    bool quoting, sending, attested;
};

static struct avow_agent_event event_of(struct avow_rd *r, struct avow_directive *d)
{
    struct avow_agent_event ev = {
        .tag = (enum avow_agent_event_tag)(avow_rd_u8(r) % 12)}; /* all but STOP */
    switch (ev.tag) {
    case AVOW_AGENT_EV_BUNDLE:
        ev.u.bundle.settings = (struct avow_agent_settings){10000, 20000, MIN_MS, BURST, REFILL_MS};
        ev.u.bundle.moved = avow_rd_u8(r) & 1;
        break;
    case AVOW_AGENT_EV_MARKER:
        ev.u.marker_epoch = avow_rd_u64be(r);
        break;
    case AVOW_AGENT_EV_DIRECTIVE:
        d->epoch = avow_rd_u64be(r);
        memset(d->id, avow_rd_u8(r), sizeof d->id);
        d->kind.tag = (enum avow_directive_kind_tag)(avow_rd_u8(r) % AVOW_DIRECTIVE_KIND_COUNT);
        if (d->kind.tag == AVOW_DIRECTIVE_KIND_RESYNC)
            d->kind.u.resync = (struct avow_resync){avow_rd_u64be(r), true, true};
        else if (d->kind.tag == AVOW_DIRECTIVE_KIND_SETTINGS)
            d->kind.u.settings = (struct avow_settings){avow_rd_u32be(r), avow_rd_u32be(r)};
        else if (d->kind.tag == AVOW_DIRECTIVE_KIND_SLOW_DOWN)
            d->kind.u.slow_down.min_ms = avow_rd_u32be(r);
        ev.u.directive = d;
        break;
    case AVOW_AGENT_EV_IMA_COUNT:
        ev.u.ima_count = avow_rd_u64be(r);
        break;
    case AVOW_AGENT_EV_QUOTED:
        ev.u.quoted.start = avow_rd_u16be(r);
        ev.u.quoted.end = ev.u.quoted.start + avow_rd_u16be(r);
        ev.u.quoted.log_count = avow_rd_u64be(r);
        ev.u.quoted.more = avow_rd_u8(r) & 1;
        break;
    case AVOW_AGENT_EV_STARTED:
        ev.u.started.registrar = avow_rd_u8(r) & 1;
        ev.u.started.next = avow_rd_u16be(r);
        break;
    case AVOW_AGENT_EV_REGISTER_FAILED:
        ev.u.register_refused = avow_rd_u8(r) & 1;
        break;
    default:
        break;
    }
    return ev;
}

static void check(struct run *x, const struct avow_agent_actions *out)
{
    for (uint32_t i = 0; i < out->count; i++) {
        const struct avow_agent_action *a = &out->list[i];
        if (a->tag == AVOW_AGENT_DO_ATTEST) {
            assert(!x->quoting && !x->sending);
            /* settings may lower min_interval, down to 0; then only the other rules hold */
            assert(!x->attested || x->s.own_heartbeat_ms || x->now - x->last_attest_ms >= MIN_MS);
            assert(a->from <= x->s.next);
            x->quoting = x->attested = true;
            x->last_attest_ms = x->now;
        } else if (a->tag == AVOW_AGENT_DO_SEND) {
            assert(x->quoting);
            x->quoting = false;
            x->sending = true;
        } else if (a->tag == AVOW_AGENT_DO_COMMIT || a->tag == AVOW_AGENT_DO_DISCARD) {
            assert(x->quoting || x->sending);
            x->quoting = x->sending = false;
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct avow_rd r = avow_rd_make(avow_bytes_make(data, size));
    static struct run x;
    memset(&x, 0, sizeof x);
    avow_agent_state_init(&x.s);
    while (avow_rd_left(&r)) {
        struct avow_directive d = {.epoch = 0};
        struct avow_agent_actions out;
        x.now += avow_rd_u16be(&r);
        uint64_t random = avow_rd_u16be(&r);
        struct avow_agent_event ev = event_of(&r, &d);
        avow_agent_step(&x.s, &ev, x.now, random, &out);
        check(&x, &out);
        avow_agent_step(&x.s, &(struct avow_agent_event){.tag = AVOW_AGENT_EV_TIMER}, x.now, random,
                        &out);
        check(&x, &out);
        assert(out.count || avow_agent_wake_ms(&x.s) > x.now);
        assert(x.s.obeyed_count <= AVOW_AGENT_DIRECTIVES_KEPT &&
               x.s.held_count <= AVOW_AGENT_HELD_MAX);
        assert(x.s.resync.tokens_milli <= BURST * 1000u);
    }
    return 0;
}
