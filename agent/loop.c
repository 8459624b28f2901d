#include "loop.h"

#include "advice.h"
#include "avow/bus/advice.h"
#include "agent_step.h"
#include "avow/base/cli.h"
#include "avow/base/clock.h"
#include "avow/base/log.h"
#include "avow/base/num.h"
#include "avow/crypto/rng.h"
#include "avow/trust/records.h"
#include "enroll_job.h"
#include "link.h"
#include "next_file.h"

#include <stdlib.h>
#include <string.h>

#include "avow/base/banned.h"

#define DRAIN_MAX 256u         /* records taken in one round before timers are looked at */
#define SEND_POLL_MS 5u        /* while records are on their way */
#define SEND_TIMEOUT_MS 15000u /* of one record */
#define REFOLLOW_MS 2000u      /* between attempts to reach Kafka, plus as much jitter */
#define ARENA_MAX (64u * 1024u)
#define RECORD_MAX AVOW_BUS_VALUE_MAX

struct loop {
    const struct avow_loop_opts *o;
    struct avow_agent_state state;
    struct avow_link *link;
    struct avow_enroll_job *job; /* NULL: no registrar */
    struct avow_arena arena;
    bool stop;
    enum avow_rc fatal;
    struct avow_err fatal_why;

    uint8_t fleet[16];
    struct avow_link_plan plan;
    bool follow_wanted;
    uint64_t follow_ms; /* not before */
    uint64_t now_ms;

    uint8_t nonce[32]; /* of the newest marker */
    uint64_t epoch;
    uint8_t event_nonce[32]; /* of the marker that is being offered */

    struct avow_attest_result result; /* of the evidence in flight */
    uint64_t send_deadline_ms;
    uint64_t send_began_ms;
    size_t parts_max; /* of the next evidence */
    bool said_attested;

    uint64_t ima_ms; /* next look at the IMA count */
    uint64_t ima_count;
    bool ima_known;
};

static void feed(struct loop *l, const struct avow_agent_event *ev);

static void feed_tag(struct loop *l, enum avow_agent_event_tag tag)
{
    feed(l, &(struct avow_agent_event){.tag = tag});
}

#define STATUS(l, ...)                                                                             \
    do {                                                                                           \
        if ((l)->o->notify)                                                                        \
            avow_notify_status((l)->o->notify, __VA_ARGS__);                                       \
    } while (false)

static void die(struct loop *l, enum avow_rc rc, const struct avow_err *why)
{
    l->fatal = rc;
    l->fatal_why = *why;
    l->stop = true;
}

/* --- Trust --- */

static bool prefix_differs(const struct loop *l, const struct avow_bundle *b)
{
    return b->has_moved && !avow_str_is(b->moved, avow_link_prefix(l->link));
}

/* Tells the step about the current bundle. */
static void feed_bundle(struct loop *l)
{
    const struct avow_bundle *b = avow_trust_bundle(avow_trust_follow_current(l->o->trust));
    struct avow_agent_event ev = {.tag = AVOW_AGENT_EV_BUNDLE};
    ev.u.bundle.settings = (struct avow_agent_settings){
        .epoch_ms = b->epoch_ms,
        .heartbeat_ms = b->heartbeat_ms,
        .min_interval_ms = b->min_interval_ms,
        .resync_burst = b->resync_burst,
        .resync_refill_ms = b->resync_refill_ms ? b->resync_refill_ms : 1,
    };
    ev.u.bundle.moved = prefix_differs(l, b) || b->partitions != l->plan.partitions ||
                        b->epoch_ms != l->plan.epoch_ms;
    memcpy(l->fleet, b->fleet, sizeof l->fleet);
    avow_log(INFO, "bundle", AVOW_KV_U64("version", b->version),
             AVOW_KV_U64("partitions", b->partitions), AVOW_KV_U64("epoch_ms", b->epoch_ms),
             AVOW_KV_U64("heartbeat_ms", b->heartbeat_ms));
    if (l->o->notify)
        avow_notify_ready(l->o->notify);
    feed(l, &ev);
}

static void do_follow(struct loop *l)
{
    const struct avow_bundle *b = avow_trust_bundle(avow_trust_follow_current(l->o->trust));
    struct avow_err err = {.rc = AVOW_OK};
    if (prefix_differs(l, b)) {
        char prefix[AVOW_LINK_PREFIX_MAX + 1];
        enum avow_rc rc = AVOW_CONFIG;
        if (avow_str_copy(prefix, sizeof prefix, b->moved))
            rc = avow_link_set_prefix(l->link, prefix, &err);
        avow_log(INFO, "topics.moved", AVOW_KV_STRN("prefix", b->moved),
                 AVOW_KV_BOOL("taken", rc == AVOW_OK));
    }
    l->plan = (struct avow_link_plan){.partitions = b->partitions, .epoch_ms = b->epoch_ms};
    l->follow_wanted = true;
    l->follow_ms = 0;
}

static void refollow_later(struct loop *l)
{
    uint64_t random = 0;
    (void)!avow_rng_fill(&random, sizeof random, NULL);
    l->follow_wanted = true;
    l->follow_ms = l->now_ms + REFOLLOW_MS / 2 + random % REFOLLOW_MS;
}

/* At most once a minute: Kafka may be away for long, and nobody can do more than read it once. */
static void kafka_trouble(struct loop *l, const char *event, const struct avow_err *err)
{
    const char *next = avow_bus_advice(err->msg);
    avow_log_write_limited(AVOW_LOG_WARN, event, 1,
                           AVOW_LOG_KV(AVOW_KV_ERR(err), AVOW_KV_STR("next", next)));
    STATUS(l, "Kafka: %s; %s", err->msg, next);
}

static size_t parts_cap(const struct loop *l)
{
    return avow_link_on_mock(l->link) ? AVOW_ATTEST_PARTS_MOCK : AVOW_ATTEST_PARTS;
}

static void set_limits(struct loop *l, size_t parts_max)
{
    l->parts_max = parts_max;
    avow_attest_set_limits(l->o->attest,
                           avow_link_on_mock(l->link) ? AVOW_ATTEST_PART_BYTES_MOCK
                                                      : AVOW_ATTEST_PART_BYTES,
                           parts_max);
}

static void follow_if_wanted(struct loop *l)
{
    if (!l->follow_wanted || l->now_ms < l->follow_ms)
        return;
    struct avow_err err = {.rc = AVOW_OK};
    enum avow_rc rc = avow_link_follow(l->link, &l->plan, &err);
    l->now_ms = avow_clock_mono_ms();
    if (rc == AVOW_CONFIG) { /* a file that librdkafka cannot use, found when it first uses it */
        die(l, rc, &err);
        return;
    }
    if (rc) {
        kafka_trouble(l, "kafka.unreachable", &err);
        refollow_later(l);
        return;
    }
    l->follow_wanted = false;
    set_limits(l, parts_cap(l));
    if (l->plan.partitions)
        STATUS(l, "waiting for a marker of the workers");
    else
        STATUS(l, "waiting for the trust bundle on topic %strust", avow_link_prefix(l->link));
    if (l->plan.partitions)
        avow_log(INFO, "following", AVOW_KV_STR("prefix", avow_link_prefix(l->link)),
                 AVOW_KV_I64("partition", avow_link_partition(l->link)),
                 AVOW_KV_BOOL("mock", avow_link_on_mock(l->link)));
    else
        avow_log(INFO, "waiting_for_bundle", AVOW_KV_STR("prefix", avow_link_prefix(l->link)));
}

/* --- Records from epochs --- */

#define CLOCK_SKEW_MAX_MS 5000u /* as workers tolerate it (PROTOCOL R22) */

/* Claims to be later than the broker says that it was written: its author's clock is ahead, and all
 * other workers would seem old for as long. */
static bool is_ahead(const struct avow_bus_msg *msg, const struct avow_marker *m, uint64_t epoch_ms)
{
    uint64_t latest = (uint64_t)msg->timestamp_ms + CLOCK_SKEW_MAX_MS;
    return msg->timestamp_is_append && (m->issued_ms > latest || m->epoch > latest / epoch_ms);
}

static void take_marker(struct loop *l, const struct avow_record_in *in,
                        const struct avow_bus_msg *msg)
{
    const struct avow_trust *t = avow_trust_follow_current(l->o->trust);
    struct avow_marker m;
    struct avow_err err = {.rc = AVOW_OK};
    if (avow_open_marker(t, in, &l->arena, &m, &err)) {
        avow_log_limited(WARN, "marker.refused", 6, AVOW_KV_ERR(&err));
        return;
    }
    if (is_ahead(msg, &m, avow_trust_bundle(t)->epoch_ms)) {
        avow_log_limited(WARN, "marker.ahead", 6, AVOW_KV_STRN("owner", m.owner),
                         AVOW_KV_U64("epoch", m.epoch),
                         AVOW_KV_STR("next", "look at that worker's clock, and at the brokers'"));
        return;
    }
    if (m.bundle_version > avow_trust_bundle(t)->version)
        avow_log_limited(WARN, "bus.rollback", 1, AVOW_KV_U64("workers_have", m.bundle_version),
                         AVOW_KV_U64("bundle", avow_trust_bundle(t)->version));
    memcpy(l->event_nonce, m.nonce, sizeof l->event_nonce);
    feed(l, &(struct avow_agent_event){.tag = AVOW_AGENT_EV_MARKER, .u.marker_epoch = m.epoch});
}

static void take_directive(struct loop *l, const struct avow_record_in *in)
{
    struct avow_directive d;
    struct avow_err err = {.rc = AVOW_OK};
    if (avow_open_directive(avow_trust_follow_current(l->o->trust), in, &l->arena, &d, &err)) {
        avow_log_limited(WARN, "directive.refused", 6, AVOW_KV_ERR(&err));
        return;
    }
    feed(l, &(struct avow_agent_event){.tag = AVOW_AGENT_EV_DIRECTIVE, .u.directive = &d});
}

static void take_epochs_record(struct loop *l, const struct avow_bus_msg *msg)
{
    static const char marker_key[] = "marker";
    const struct avow_record_in in = {
        .kafka_key = msg->key, .value = msg->value, .partition = msg->partition};
    if (!avow_trust_follow_current(l->o->trust) || msg->value_null)
        return;
    avow_arena_reset(&l->arena);
    /* The rest are directives for others: not even decoded. */
    if (avow_bytes_eq(msg->key, avow_bytes_make(marker_key, sizeof marker_key - 1)))
        take_marker(l, &in, msg);
    else if (avow_bytes_eq(msg->key, avow_bytes_make(l->o->agent_id, strlen(l->o->agent_id))))
        take_directive(l, &in);
}

static void take_record(struct loop *l, enum avow_link_kind kind, const struct avow_bus_msg *msg)
{
    if (kind == AVOW_LINK_EPOCHS)
        take_epochs_record(l, msg);
    else if (kind == AVOW_LINK_TRUST && !msg->value_null &&
             avow_trust_follow_offer(l->o->trust, msg->key, msg->value))
        feed_bundle(l);
}

/* Waits for the first record at most timeout_ms, then takes what is there. */
static void read_bus(struct loop *l, unsigned timeout_ms)
{
    if (l->follow_wanted) { /* no consumer, or one of the past */
        avow_clock_sleep_ms(timeout_ms);
        return;
    }
    for (unsigned i = 0; i < DRAIN_MAX && !l->stop && !l->follow_wanted; i++) {
        enum avow_link_kind kind;
        struct avow_bus_msg msg;
        struct avow_err err = {.rc = AVOW_OK};
        enum avow_rc rc = avow_link_poll(l->link, i ? 0 : timeout_ms, &kind, &msg, &err);
        l->now_ms = avow_clock_mono_ms();
        if (rc == AVOW_BUS || rc == AVOW_UNREACHABLE) {
            kafka_trouble(l, "kafka.error", &err);
            return;
        }
        if (rc) {
            avow_log_limited(WARN, "kafka.reopen", 6, AVOW_KV_ERR(&err));
            refollow_later(l);
            return;
        }
        if (!msg.topic)
            return;
        take_record(l, kind, &msg);
    }
}

/* --- Attesting and sending --- */

static void do_attest(struct loop *l, const struct avow_agent_action *a)
{
    struct avow_err err = {.rc = AVOW_OK};
    const struct avow_attest_ask ask = {.fleet = l->fleet,
                                        .nonce = l->nonce,
                                        .epoch = l->epoch,
                                        .from = a->from,
                                        .boot_log = a->boot_log,
                                        .pcrs = a->pcrs};
    enum avow_rc rc = avow_link_following(l->link) && !l->follow_wanted
                          ? avow_attest_run(l->o->attest, &ask, &l->result, &err)
                          : avow_err_set(&err, AVOW_BUS, 0, "Kafka is not reached");
    l->now_ms = avow_clock_mono_ms();
    if (rc && avow_tpm_is_dead(l->o->tpm)) {
        die(l, rc, &err);
        return;
    }
    if (rc) {
        avow_log_limited(ERROR, "attest.failed", 6, AVOW_KV_ERR(&err));
        feed_tag(l, AVOW_AGENT_EV_QUOTE_FAILED);
        return;
    }
    struct avow_agent_event ev = {.tag = AVOW_AGENT_EV_QUOTED};
    ev.u.quoted.start = l->result.start;
    ev.u.quoted.end = l->result.end;
    ev.u.quoted.more = l->result.more;
    ev.u.quoted.log_count = l->result.log_count;
    feed(l, &ev);
}

/* Queues the next record of the evidence. *done: all are acknowledged. */
static enum avow_rc send_next(struct loop *l, bool *done, struct avow_err *err)
{
    AVOW_CLEANUP_VAL(avow_buf_deinit) struct avow_buf record;
    avow_buf_init(&record, RECORD_MAX);
    enum avow_rc rc = avow_attest_next_record(l->o->attest, &record, done, err);
    if (rc || *done)
        return rc;
    l->send_deadline_ms = l->now_ms + SEND_TIMEOUT_MS;
    return avow_link_send(l->link, avow_buf_bytes(&record), err);
}

/* An attempt that failed says nothing good about the link. */
static void adapt_limits(struct loop *l, bool sent)
{
    size_t limit =
        avow_agent_parts_limit(l->parts_max, parts_cap(l), l->result.parts,
                               l->now_ms - l->send_began_ms, l->state.fleet.heartbeat_ms);
    if (sent || limit < l->parts_max)
        set_limits(l, limit);
}

static void send_failed(struct loop *l, const struct avow_err *err)
{
    adapt_limits(l, false);
    kafka_trouble(l, "send.failed", err);
    feed_tag(l, AVOW_AGENT_EV_SEND_FAILED);
}

static void do_send(struct loop *l)
{
    struct avow_err err = {.rc = AVOW_OK};
    bool done = false;
    l->send_began_ms = l->now_ms;
    if (send_next(l, &done, &err))
        send_failed(l, &err);
}

static void log_attested(struct loop *l)
{
    const struct avow_attest_result *r = &l->result;
    enum avow_log_level level =
        !l->said_attested || r->end != r->start ? AVOW_LOG_INFO : AVOW_LOG_DEBUG;
    l->said_attested = true;
    STATUS(l, "attesting: epoch %llu answered, IMA entry %llu", (unsigned long long)l->epoch,
           (unsigned long long)r->end);
    avow_log_write_limited(
        level, "attested", 30,
        AVOW_LOG_KV(AVOW_KV_U64("epoch", l->epoch), AVOW_KV_U64("from", r->start),
                    AVOW_KV_U64("entries", r->end - r->start), AVOW_KV_U64("bytes", r->bytes),
                    AVOW_KV_U64("parts", r->parts), AVOW_KV_BOOL("boot_log", r->boot_log),
                    AVOW_KV_BOOL("more", r->more), AVOW_KV_U64("quote_ms", r->quote_ms)));
}

static void serve_sending(struct loop *l)
{
    struct avow_err err = {.rc = AVOW_OK};
    bool done = false;
    if (l->state.phase != AVOW_AGENT_SENDING)
        return;
    bool idle = avow_link_idle(l->link);
    if (!idle && l->now_ms < l->send_deadline_ms)
        return;
    enum avow_rc rc = avow_link_settle(l->link, &err);
    l->now_ms = avow_clock_mono_ms();
    if (rc && !idle)
        rc = avow_err_wrap(&err, rc, "no acknowledgement for %u ms", SEND_TIMEOUT_MS);
    if (!rc)
        rc = send_next(l, &done, &err);
    if (rc) {
        send_failed(l, &err);
    } else if (done) {
        log_attested(l);
        adapt_limits(l, true);
        feed_tag(l, AVOW_AGENT_EV_SENT);
    }
}

static void do_commit(struct loop *l, uint64_t next)
{
    struct avow_next_file n = {.count = next};
    struct avow_err err = {.rc = AVOW_OK};
    avow_attest_commit(l->o->attest);
    if (!*l->o->run_dir || l->result.start == l->result.end)
        return;
    memcpy(n.fleet, l->fleet, sizeof n.fleet);
    enum avow_rc rc = avow_attest_boot_id(l->o->attest, n.boot_id, &err);
    if (!rc)
        rc = avow_next_file_save(l->o->run_dir, &n, &err);
    if (rc) /* without it the next start sends the list from entry 0 */
        avow_log_limited(WARN, "next.not_saved", 1, AVOW_KV_ERR(&err));
}

/* --- Registration --- */

static void registration_failed(const struct loop *l, const struct avow_err *err)
{
    bool has_cert = l->o->registrar->ek_certs.len > 0;
    avow_log_limited(WARN, "register.failed", 6, AVOW_KV_ERR(err),
                     AVOW_KV_STR("next", avow_advice_registrar(err, has_cert)));
}

static void do_register(struct loop *l)
{
    struct avow_err err = {.rc = AVOW_OK};
    if (!avow_enroll_job_start(l->job, l->now_ms, &err))
        return;
    registration_failed(l, &err);
    feed_tag(l, AVOW_AGENT_EV_REGISTER_FAILED);
}

/* Opens the challenge in the TPM and lets the job answer it. */
static enum avow_rc answer_challenge(struct loop *l, struct avow_err *err)
{
    const struct avow_enroll_challenge *c = avow_enroll_job_challenge(l->job);
    struct avow_tpm *t = l->o->tpm;
    AVOW_CLEANUP_VAL(avow_buf_deinit) struct avow_buf secret;
    avow_buf_init(&secret, AVOW_DIGEST_MAX);
    enum avow_rc rc = avow_tpm_open(t, err);
    if (!rc)
        rc = avow_tpm_activate(t, avow_buf_bytes(&c->id_object),
                               avow_buf_bytes(&c->encrypted_secret), &secret, err);
    avow_tpm_close(t);
    if (!rc)
        rc = avow_enroll_job_answer(l->job, avow_buf_bytes(&secret), err);
    if (secret.ptr)
        avow_wipe(secret.ptr, secret.cap);
    return rc;
}

static void serve_registration(struct loop *l)
{
    if (!l->job || l->state.registration != AVOW_AGENT_REG_RUNNING)
        return;
    struct avow_err err = {.rc = AVOW_OK};
    struct avow_agent_event ev = {.tag = AVOW_AGENT_EV_REGISTER_FAILED};
    switch (avow_enroll_job_stage(l->job, l->now_ms, &err)) {
    case AVOW_ENROLL_CHALLENGED:
        if (answer_challenge(l, &err))
            avow_enroll_job_give_up(l->job, &err);
        return; /* a failure is seen in the next round */
    case AVOW_ENROLL_DONE:
        avow_log(INFO, "registered", AVOW_KV_STR("registrar", l->o->registrar->url));
        feed_tag(l, AVOW_AGENT_EV_REGISTERED);
        return;
    case AVOW_ENROLL_FAILED:
        registration_failed(l, &err);
        ev.u.register_refused = err.rc == AVOW_REFUSED || err.rc == AVOW_CONFIG;
        feed(l, &ev);
        return;
    case AVOW_ENROLL_IDLE:
    case AVOW_ENROLL_ASKING:
    case AVOW_ENROLL_ANSWERING:
        return;
    }
}

/* --- The loop --- */

static void note_directive(enum avow_agent_directive_fate fate)
{
    avow_log_limited(INFO, "directive", 6,
                     AVOW_KV_STR("fate", avow_agent_directive_fate_text(fate)));
}

/* Without Kafka there is another line already. */
static void warn_marker(struct loop *l, uint64_t elapsed_ms)
{
    if (l->follow_wanted)
        return;
    STATUS(l, "no marker for %llu s: no worker serves this host's partition",
           (unsigned long long)(elapsed_ms / 1000));
    avow_log_limited(
        WARN, "marker.missing", 6, AVOW_KV_U64("for_ms", elapsed_ms),
        AVOW_KV_STR("meaning", "no worker serves this partition, or the broker withholds"));
}

static void obey(struct loop *l, const struct avow_agent_action *a,
                 const struct avow_agent_event *ev)
{
    switch (a->tag) {
    case AVOW_AGENT_DO_FOLLOW:
        do_follow(l);
        break;
    case AVOW_AGENT_DO_KEEP_MARKER:
        memcpy(l->nonce, l->event_nonce, sizeof l->nonce);
        l->epoch = ev->u.marker_epoch;
        avow_log(DEBUG, "marker", AVOW_KV_U64("epoch", l->epoch));
        break;
    case AVOW_AGENT_DO_ATTEST:
        do_attest(l, a);
        break;
    case AVOW_AGENT_DO_SEND:
        do_send(l);
        break;
    case AVOW_AGENT_DO_DISCARD:
        avow_attest_discard(l->o->attest);
        break;
    case AVOW_AGENT_DO_COMMIT:
        do_commit(l, a->from);
        break;
    case AVOW_AGENT_DO_REGISTER:
        do_register(l);
        break;
    case AVOW_AGENT_DO_WARN_MARKER:
        warn_marker(l, a->elapsed_ms);
        break;
    case AVOW_AGENT_DO_NOTE_DIRECTIVE:
        note_directive(a->fate);
        break;
    case AVOW_AGENT_DO_EXIT:
        l->stop = true;
        break;
    }
}

/* Actions come last in a step and each of ATTEST and SEND ends in one further event: the depth is
 * at most three. */
static void feed(struct loop *l, const struct avow_agent_event *ev)
{
    struct avow_agent_actions actions;
    struct avow_err err = {.rc = AVOW_OK};
    uint64_t random = 0;
    enum avow_rc rc = avow_rng_fill(&random, sizeof random, &err);
    if (rc) {
        die(l, rc, &err);
        return;
    }
    avow_agent_step(&l->state, ev, l->now_ms, random, &actions);
    for (uint32_t i = 0; i < actions.count && !l->fatal; i++)
        obey(l, &actions.list[i], ev);
}

static void look_at_ima(struct loop *l)
{
    struct avow_err err = {.rc = AVOW_OK};
    uint64_t count = 0;
    if (l->now_ms < l->ima_ms)
        return;
    l->ima_ms = l->now_ms + l->o->ima_poll_ms;
    if (avow_attest_log_count(l->o->attest, &count, &err)) {
        avow_log_limited(WARN, "ima.unreadable", 1, AVOW_KV_ERR(&err));
        return;
    }
    if (l->ima_known && count == l->ima_count)
        return;
    l->ima_known = true;
    l->ima_count = count;
    feed(l, &(struct avow_agent_event){.tag = AVOW_AGENT_EV_IMA_COUNT, .u.ima_count = count});
}

static unsigned timeout_ms(const struct loop *l)
{
    uint64_t until = avow_min_u64(avow_agent_wake_ms(&l->state), l->ima_ms);
    uint64_t ms = until > l->now_ms ? until - l->now_ms : 0;
    if (l->state.phase == AVOW_AGENT_SENDING)
        ms = avow_min_u64(ms, SEND_POLL_MS);
    return (unsigned)avow_min_u64(ms, l->o->ima_poll_ms);
}

static uint64_t first_entry(const struct loop *l)
{
    struct avow_next_file n;
    uint8_t boot_id[16];
    const struct avow_trust *t = avow_trust_follow_current(l->o->trust);
    if (!t || !avow_next_file_load(l->o->run_dir, &n) ||
        avow_attest_boot_id(l->o->attest, boot_id, NULL))
        return 0;
    bool ours =
        avow_bytes_eq(AVOW_BYTES_OF(n.boot_id), AVOW_BYTES_OF(boot_id)) &&
        avow_bytes_eq(AVOW_BYTES_OF(n.fleet), avow_bytes_make(avow_trust_bundle(t)->fleet, 16));
    return ours ? n.count : 0;
}

static void start(struct loop *l)
{
    l->now_ms = avow_clock_mono_ms();
    l->follow_wanted = true; /* trust alone, until a bundle is known */
    struct avow_agent_event ev = {.tag = AVOW_AGENT_EV_STARTED};
    ev.u.started.registrar = l->job != NULL;
    ev.u.started.new_ak = l->o->new_ak;
    ev.u.started.next = first_entry(l);
    feed(l, &ev);
    if (avow_trust_follow_current(l->o->trust))
        feed_bundle(l);
}

static void one_round(struct loop *l)
{
    l->now_ms = avow_clock_mono_ms();
    if (l->o->notify)
        avow_notify_watchdog(l->o->notify, l->now_ms);
    if (avow_stop_requested()) {
        feed_tag(l, AVOW_AGENT_EV_STOP);
        return;
    }
    follow_if_wanted(l);
    look_at_ima(l);
    serve_registration(l);
    serve_sending(l);
    if (l->now_ms >= avow_agent_wake_ms(&l->state))
        feed_tag(l, AVOW_AGENT_EV_TIMER);
    read_bus(l, timeout_ms(l));
}

enum avow_rc avow_loop_run(const struct avow_loop_opts *opts, struct avow_err *err)
{
    AVOW_CLEANUP(avow_link_free) struct avow_link *link = NULL;
    AVOW_CLEANUP(avow_enroll_job_free) struct avow_enroll_job *job = NULL;
    enum avow_rc rc = avow_link_new(opts->bus, opts->topic_prefix, opts->agent_id, &link, err);
    if (!rc && opts->registrar)
        rc = avow_enroll_job_new(opts->registrar, opts->register_program, &job, err);
    if (rc)
        return rc;
    struct loop l = {.o = opts, .link = link, .job = job};
    avow_agent_state_init(&l.state);
    avow_arena_init(&l.arena, ARENA_MAX);
    start(&l);
    while (!l.stop)
        one_round(&l);
    if (opts->notify)
        avow_notify_stopping(opts->notify);
    avow_arena_deinit(&l.arena);
    if (l.fatal)
        *err = l.fatal_why;
    return l.fatal;
}
