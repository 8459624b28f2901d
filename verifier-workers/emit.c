/* emit.c - see emit.h. */
#include "emit.h"

#include <assert.h>

#include "avow/base/banned.h"

static const enum avow_worker_topic topic_of[AVOW_BATCH_CLASSES] = {
    [AVOW_BATCH_VERDICT] = AVOW_TOPIC_VERDICTS,
    [AVOW_BATCH_REVOCATION] = AVOW_TOPIC_REVOCATIONS,
    [AVOW_BATCH_CLOUDEVENT] = AVOW_TOPIC_CLOUDEVENTS,
    [AVOW_BATCH_KEYLIME] = AVOW_TOPIC_KEYLIME,
    [AVOW_BATCH_DIRECTIVE] = AVOW_TOPIC_EPOCHS,
    [AVOW_BATCH_DEAD_LETTER] = AVOW_TOPIC_DEADLETTER,
};

static enum avow_rc send_states(const struct avow_emit *e, const struct avow_batch *b,
                                struct avow_err *err)
{
    for (size_t i = 0; i < b->touched_count; i++) {
        const struct avow_batch_touch *t = &b->touched[i];
        struct avow_str id = avow_agent_id(t->agent);
        struct avow_bus_record rec = {
            .topic = e->topics->name[AVOW_TOPIC_STATE],
            .partition = t->partition,
            .key = avow_bytes_make(id.ptr, id.len),
            .value = avow_bytes_make(t->agent->state.record, t->agent->state.len),
            .value_null = t->forget};
        enum avow_rc rc = avow_bus_send(e->producer, &rec, err);
        if (rc)
            return avow_err_wrap(err, rc, "state of %s", t->agent->id);
    }
    return AVOW_OK;
}

static enum avow_rc send_records(const struct avow_emit *e, const struct avow_batch *b,
                                 struct avow_err *err)
{
    for (int class = 0; class < AVOW_BATCH_CLASSES; class ++) {
        for (size_t i = 0; i < b->count; i++) {
            const struct avow_batch_record *r = &b->records[i];
            if ((int)r->class != class)
                continue;
            struct avow_bus_record rec = {
                .topic = e->topics->name[topic_of[class]],
                .partition = r->partition,
                .key = avow_bytes_make(b->bytes.ptr + r->key_at, r->key_len),
                .value = avow_bytes_make(b->bytes.ptr + r->value_at, r->value_len)};
            enum avow_rc rc = avow_bus_send(e->producer, &rec, err);
            if (rc)
                return avow_err_wrap(err, rc, "%s", rec.topic);
        }
    }
    return AVOW_OK;
}

/* After any failure before the commit: nothing of the transaction may survive. */
static enum avow_rc abort_after(const struct avow_emit *e, enum avow_rc rc, struct avow_err *err)
{
    if (rc == AVOW_BUS_RETRY || rc == AVOW_BUS_FATAL) /* RETRY: the bus has aborted already */
        return rc;
    struct avow_err second;
    enum avow_rc aborted = avow_bus_txn_abort(e->producer, AVOW_EMIT_TIMEOUT_MS, &second);
    if (aborted)
        return avow_err_set(err, AVOW_BUS_FATAL, second.native, "abort: %s", second.msg);
    return avow_err_wrap(err, AVOW_BUS_RETRY, "aborted");
}

static enum avow_rc exactly_once(const struct avow_emit *e, const struct avow_batch *b,
                                 const struct avow_bus_tp *offsets, size_t n, struct avow_err *err)
{
    enum avow_rc rc = avow_bus_txn_begin(e->producer, err);
    if (rc)
        return rc == AVOW_BUS_RETRY ? rc : avow_err_wrap(err, AVOW_BUS_FATAL, "begin");
    rc = send_states(e, b, err);
    if (!rc)
        rc = send_records(e, b, err);
    if (!rc)
        rc = avow_bus_txn_send_offsets(e->producer, e->consumer, offsets, n, err);
    if (rc)
        return abort_after(e, rc, err);
    rc = avow_bus_txn_commit(e->producer, AVOW_EMIT_TIMEOUT_MS, err);
    if (rc && rc != AVOW_BUS_RETRY) /* it may have been committed: only a restart can tell */
        return avow_err_wrap(err, AVOW_BUS_FATAL, "commit");
    return rc;
}

static enum avow_rc at_least_once(const struct avow_emit *e, const struct avow_batch *b,
                                  const struct avow_bus_tp *offsets, size_t n, struct avow_err *err)
{
    enum avow_rc rc = send_records(e, b, err);
    if (!rc)
        rc = avow_bus_flush(e->producer, AVOW_EMIT_TIMEOUT_MS, err);
    if (!rc)
        rc = send_states(e, b, err);
    if (!rc)
        rc = avow_bus_flush(e->producer, AVOW_EMIT_TIMEOUT_MS, err);
    if (!rc)
        rc = avow_bus_commit(e->consumer, offsets, n, err);
    if (rc && rc != AVOW_BUS_FATAL)
        return avow_err_wrap(err, AVOW_BUS_RETRY, "at least once");
    return rc;
}

enum avow_rc avow_emit_batch(const struct avow_emit *e, const struct avow_batch *b,
                             const struct avow_bus_tp *offsets, size_t n, struct avow_err *err)
{
    assert(n > 0);
    return e->guarantee == AVOW_EXACTLY_ONCE ? exactly_once(e, b, offsets, n, err)
                                             : at_least_once(e, b, offsets, n, err);
}
