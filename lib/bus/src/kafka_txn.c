#include "kafka.h"

#include "avow/base/clock.h"
#include "avow/base/num.h"

#include <assert.h>

#include "avow/base/banned.h"

/* How long an abort may take that nobody gave a time for. */
#define ABORT_MS 3000u
#define INIT_MIN_MS 10000u
/* Between two tries of a call that Kafka asked to repeat. */
#define RETRY_PAUSE_MS 5u

static uint64_t left_ms(uint64_t deadline)
{
    uint64_t now = avow_clock_mono_ms();
    return deadline > now ? deadline - now : 0;
}

/* What an error of the transaction API asks for; consumes it. */
enum verdict { DONE, AGAIN, ABORT, BROKEN };
struct outcome {
    enum verdict verdict;
    rd_kafka_resp_err_t code;
    char text[160];
};

static struct outcome judge(struct avow_kafka_producer *p, rd_kafka_error_t *error)
{
    struct outcome o = {.verdict = DONE};
    (void)rd_kafka_poll(p->rk, 0); /* error and delivery callbacks */
    if (!error)
        return o;
    o.code = rd_kafka_error_code(error);
    (void)avow_str_copy(o.text, sizeof(o.text), avow_str_from(rd_kafka_error_string(error)));
    if (rd_kafka_error_is_fatal(error) || rd_kafka_fatal_error(p->rk, NULL, 0))
        o.verdict = BROKEN;
    else if (rd_kafka_error_txn_requires_abort(error))
        o.verdict = ABORT;
    else if (rd_kafka_error_is_retriable(error))
        o.verdict = AGAIN;
    else
        o.verdict = BROKEN;
    rd_kafka_error_destroy(error);
    return o;
}

static enum avow_rc broken(struct avow_kafka_producer *p, const char *what, const struct outcome *o,
                           struct avow_err *err)
{
    p->in_txn = false; /* nothing can be done about it any more */
    enum avow_rc rc = avow_kafka_check_fatal(p->rk, err);
    if (rc)
        return avow_err_wrap(err, rc, "%s", what);
    return avow_err_set(err, AVOW_BUS_FATAL, o->code, "%s: %s", what, o->text);
}

enum avow_rc avow_kafka_txn_init(struct avow_kafka_producer *p, struct avow_err *err)
{
    uint64_t deadline =
        avow_clock_mono_ms() + avow_max_u64(INIT_MIN_MS, 2u * (uint64_t)p->txn_timeout_ms);
    for (;;) {
        uint64_t left = left_ms(deadline);
        struct outcome o =
            judge(p, rd_kafka_init_transactions(p->rk, avow_kafka_ms(avow_min_u64(left, 1000))));
        if (o.verdict == DONE) {
            avow_kafka_health_clear(&p->health);
            return AVOW_OK;
        }
        if (o.verdict != AGAIN)
            return broken(p, "starting transactions", &o, err);
        if (left == 0 || p->health.refused[0])
            return avow_kafka_timed_out(&p->health, AVOW_UNREACHABLE, err,
                                        "starting transactions: %s", o.text);
        avow_clock_sleep_ms(RETRY_PAUSE_MS);
    }
}

enum avow_rc avow_kafka_txn_begin(struct avow_bus_producer *base, struct avow_err *err)
{
    struct avow_kafka_producer *p = (struct avow_kafka_producer *)base;
    if (!p->txn_timeout_ms || p->in_txn)
        return avow_err_set(err, AVOW_STATE, 0, "%s",
                            p->in_txn ? "a transaction is open" : "producer without transactions");
    struct outcome o = judge(p, rd_kafka_begin_transaction(p->rk));
    if (o.verdict != DONE)
        return broken(p, "beginning a transaction", &o, err);
    p->in_txn = true;
    p->failed = 0;
    return AVOW_OK;
}

/* --- Abort --- */

static enum avow_rc abort_within(struct avow_kafka_producer *p, uint64_t timeout_ms,
                                 struct avow_err *err)
{
    uint64_t deadline = avow_clock_mono_ms() + timeout_ms;
    for (;;) {
        uint64_t left = left_ms(deadline);
        struct outcome o = judge(p, rd_kafka_abort_transaction(p->rk, avow_kafka_ms(left)));
        if (o.verdict == DONE) {
            p->in_txn = false;
            p->failed = 0;
            return AVOW_OK;
        }
        if (o.verdict == AGAIN && left > 0) {
            avow_clock_sleep_ms(RETRY_PAUSE_MS);
            continue;
        }
        return broken(p, "aborting a transaction", &o, err);
    }
}

enum avow_rc avow_kafka_txn_abort(struct avow_bus_producer *base, unsigned timeout_ms,
                                  struct avow_err *err)
{
    struct avow_kafka_producer *p = (struct avow_kafka_producer *)base;
    if (!p->in_txn)
        return avow_err_set(err, AVOW_STATE, 0, "no transaction is open");
    return abort_within(p, timeout_ms, err);
}

enum avow_rc avow_kafka_txn_give_up(struct avow_kafka_producer *p, rd_kafka_resp_err_t code,
                                    const char *why, struct avow_err *err)
{
    /* `why` may live in what the abort overwrites. */
    char text[160];
    (void)avow_str_copy(text, sizeof(text), avow_str_from(why));
    enum avow_rc rc = abort_within(p, ABORT_MS, err);
    if (rc)
        return avow_err_wrap(err, rc, "%s", text);
    return avow_err_set(err, AVOW_BUS_RETRY, code, "transaction aborted: %s", text);
}

/* --- Offsets and commit --- */

enum avow_rc avow_kafka_txn_send_offsets(struct avow_bus_producer *base,
                                         struct avow_bus_consumer *cb,
                                         const struct avow_bus_tp *offsets, size_t n,
                                         struct avow_err *err)
{
    struct avow_kafka_producer *p = (struct avow_kafka_producer *)base;
    struct avow_kafka_consumer *c = (struct avow_kafka_consumer *)cb;
    if (!p->in_txn)
        return avow_err_set(err, AVOW_STATE, 0, "no transaction is open");
    assert(c->joined);
    rd_kafka_consumer_group_metadata_t *group = rd_kafka_consumer_group_metadata(c->rk);
    if (!group)
        return avow_err_set(err, AVOW_STATE, 0, "consumer without a group");
    /* After the metadata was taken: if it is without a member, this sees it. */
    if (!avow_kafka_is_member(c)) {
        rd_kafka_consumer_group_metadata_destroy(group);
        return avow_kafka_txn_give_up(p, RD_KAFKA_RESP_ERR_UNKNOWN_MEMBER_ID,
                                      "not a member of the group any more", err);
    }
    rd_kafka_topic_partition_list_t *list = avow_kafka_list(offsets, n);
    uint64_t deadline = avow_clock_mono_ms() + p->txn_timeout_ms;
    struct outcome o;
    for (;;) {
        uint64_t left = left_ms(deadline);
        o = judge(p, rd_kafka_send_offsets_to_transaction(p->rk, list, group, avow_kafka_ms(left)));
        if (o.verdict != AGAIN || left == 0)
            break;
        avow_clock_sleep_ms(RETRY_PAUSE_MS);
    }
    rd_kafka_topic_partition_list_destroy(list);
    rd_kafka_consumer_group_metadata_destroy(group);
    if (o.verdict == DONE)
        return AVOW_OK;
    if (o.verdict == BROKEN)
        return broken(p, "sending offsets", &o, err);
    return avow_kafka_txn_give_up(p, o.code, o.text, err);
}

enum avow_rc avow_kafka_txn_commit(struct avow_bus_producer *base, unsigned timeout_ms,
                                   struct avow_err *err)
{
    struct avow_kafka_producer *p = (struct avow_kafka_producer *)base;
    if (!p->in_txn)
        return avow_err_set(err, AVOW_STATE, 0, "no transaction is open");
    uint64_t deadline = avow_clock_mono_ms() + timeout_ms;
    /* Flushed first: while records are missing an abort is still possible, once a commit has begun
     * it is not. */
    if (rd_kafka_flush(p->rk, avow_kafka_ms(timeout_ms)) && p->in_flight > 0)
        return avow_kafka_txn_give_up(p, RD_KAFKA_RESP_ERR__TIMED_OUT,
                                      "records were not acknowledged in time", err);
    for (;;) {
        uint64_t left = left_ms(deadline);
        struct outcome o = judge(p, rd_kafka_commit_transaction(p->rk, avow_kafka_ms(left)));
        switch (o.verdict) {
        case DONE:
            p->in_txn = false;
            p->failed = 0;
            avow_kafka_health_clear(&p->health);
            return AVOW_OK;
        case ABORT:
            return avow_kafka_txn_give_up(p, o.code, o.text, err);
        case AGAIN:
            if (left > 0) {
                avow_clock_sleep_ms(RETRY_PAUSE_MS);
                continue;
            }
            /* The broker may or may not have it. A successor's init settles it; then the committed
             * offsets tell. */
            p->in_txn = false;
            return avow_err_set(err, AVOW_BUS_FATAL, o.code,
                                "commit did not finish within %u ms, its outcome is unknown: %s",
                                timeout_ms, o.text);
        case BROKEN:
        default:
            return broken(p, "committing a transaction", &o, err);
        }
    }
}
