/* Stored records judged again (revalidate.h). */
#include "revalidate.h"

#include "avow/base/clock.h"
#include "avow/base/log.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "avow/base/banned.h"

#define IDS_MAX (256u * 1024u * 1024u) /* two million of the longest ids */
#define RECORD_ARENA (1024u * 1024u)
#define POLL_MS 1000u
#define STEP_MS 50u
#define DAY_MS (24u * 60u * 60u * 1000u)

/* One record: judged without a lock, written only if it is still the one that was judged. */
static enum avow_rc store_trust(const struct avow_revalidate_opts *o, struct avow_str id,
                                const struct avow_agent *judged, const struct avow_ek_trust *trust,
                                bool *written, struct avow_err *err)
{
    AVOW_CLEANUP_VAL(avow_arena_deinit) struct avow_arena arena;
    struct avow_stored now;
    avow_arena_init(&arena, 4 * RECORD_ARENA);
    enum avow_rc rc = avow_store_begin(o->store, err);
    if (rc)
        return rc;
    rc = avow_store_load(o->store, id, (struct avow_str){"", 0}, o->now_ms(), &arena, &now, err);
    bool same =
        !rc && now.agent.status == AVOW_AGENT_ACTIVE && now.agent.generation == judged->generation;
    for (size_t i = 0; !rc && i < now.n_pending; i++)
        avow_wipe(now.pending[i].secret, sizeof now.pending[i].secret);
    if (same) {
        struct avow_change c = {.kind = AVOW_CHANGE_AGENT, .agent = now.agent};
        c.agent.generation++;
        c.agent.claim.trust = *trust;
        rc = avow_store_apply(o->store, id, &c, 1, err);
    }
    if (rc || !same) {
        (void)!avow_store_end(o->store, false, NULL);
        return rc;
    }
    rc = avow_store_end(o->store, true, err);
    *written = !rc;
    return rc;
}

static enum avow_rc judge_one(const struct avow_revalidate_opts *o,
                              const struct avow_trust_stores *stores, struct avow_str id,
                              size_t *changed, struct avow_err *err)
{
    AVOW_CLEANUP_VAL(avow_arena_deinit) struct avow_arena arena;
    struct avow_agent agent;
    struct avow_ek_trust trust;
    struct avow_err why;
    bool written = false;
    avow_arena_init(&arena, RECORD_ARENA);
    enum avow_rc rc = avow_store_agent(o->store, id, &arena, &agent, err);
    if (rc || agent.status != AVOW_AGENT_ACTIVE)
        return rc;
    rc = avow_trust_again(&agent.claim, stores, o->identity, o->now_ms(), &arena, &trust, &why);
    if (rc == AVOW_NOMEM)
        return avow_err_set(err, rc, why.native, "%s", why.msg);
    if (rc) {
        avow_log_limited(ERROR, "revalidate.failed", 60, AVOW_KV_STRN("agent", id),
                         AVOW_KV_ERR(&why));
        return AVOW_OK;
    }
    if (avow_trust_eq(&agent.claim.trust, &trust))
        return AVOW_OK;
    rc = store_trust(o, id, &agent, &trust, &written, err);
    if (rc || !written)
        return rc;
    ++*changed;
    avow_log_limited(WARN, "trust.changed", 600, AVOW_KV_STRN("agent", id),
                     AVOW_KV_BOOL("trusted", trust.trusted), AVOW_KV_STRN("rule", trust.rule),
                     AVOW_KV_STRN("detail", trust.detail));
    return AVOW_OK;
}

static void collect(void *arg, struct avow_str id)
{
    avow_certs_put(arg, avow_bytes_make(id.ptr, id.len));
}

enum avow_rc avow_revalidate_all(const struct avow_revalidate_opts *o, const atomic_bool *stop,
                                 size_t *changed, struct avow_err *err)
{
    AVOW_CLEANUP_VAL(avow_buf_deinit) struct avow_buf ids;
    struct avow_bytes id;
    size_t n = 0;
    avow_buf_init(&ids, IDS_MAX);
    /* No challenge lasts until then: only registered agents are named. */
    enum avow_rc rc = avow_store_list(o->store, UINT64_MAX, collect, &ids, err);
    if (!rc)
        rc = avow_buf_status(&ids, err);
    struct avow_bytes rest = avow_buf_bytes(&ids);
    struct avow_authority_set *set = avow_authorities_hold(o->authorities);
    const struct avow_trust_stores stores = avow_authority_stores(set);
    while (!rc && !(stop && atomic_load(stop)) && avow_certs_next(&rest, &id))
        rc = judge_one(o, &stores, (struct avow_str){(const char *)id.ptr, id.len}, &n, err);
    avow_authorities_release(o->authorities, set);
    if (n && o->changed)
        o->changed(o->changed_arg);
    *changed = n;
    return rc;
}

struct avow_revalidator {
    struct avow_revalidate_opts opts;
    pthread_t thread;
    atomic_bool stop, wake;
};

static void pass(struct avow_revalidator *r)
{
    struct avow_err err;
    size_t changed = 0;
    if (avow_revalidate_all(&r->opts, &r->stop, &changed, &err))
        avow_log(ERROR, "revalidate.failed", AVOW_KV_ERR(&err));
    avow_log(INFO, "revalidated", AVOW_KV_U64("changed", changed));
}

static void *run(void *arg)
{
    struct avow_revalidator *r = arg;
    uint64_t due_ms = 0; /* at start */
    while (!atomic_load(&r->stop)) {
        bool force = atomic_exchange(&r->wake, false);
        bool reloaded = avow_authorities_poll(r->opts.authorities, force, r->opts.now_ms());
        uint64_t now_ms = avow_clock_mono_ms();
        if (reloaded || now_ms >= due_ms) {
            pass(r);
            due_ms = now_ms + DAY_MS;
        }
        for (unsigned waited = 0; waited < POLL_MS && !atomic_load(&r->stop); waited += STEP_MS)
            avow_clock_sleep_ms(STEP_MS);
    }
    return NULL;
}

enum avow_rc avow_revalidator_start(const struct avow_revalidate_opts *o,
                                    struct avow_revalidator **out, struct avow_err *err)
{
    struct avow_revalidator *r = calloc(1, sizeof *r);
    if (!r)
        return avow_err_set(err, AVOW_NOMEM, 0, "revalidation");
    r->opts = *o;
    int e = pthread_create(&r->thread, NULL, run, r);
    if (e) {
        free(r);
        return avow_err_set(err, AVOW_IO, e, "revalidation: %s", strerror(e));
    }
    *out = r;
    return AVOW_OK;
}

void avow_revalidator_wake(struct avow_revalidator *r)
{
    atomic_store(&r->wake, true);
}

void avow_revalidator_stop(struct avow_revalidator *r)
{
    if (!r)
        return;
    atomic_store(&r->stop, true);
    pthread_join(r->thread, NULL);
    free(r);
}
