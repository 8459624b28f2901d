#include "agent_await.h"

#include "avow/model/model.h"
#include "avow/trust/records.h"
#include "agent_show.h"
#include "table.h"

#include <inttypes.h>
#include <stdio.h>

#include "avow/base/banned.h"

struct wait_verdict {
    struct avow_cli *cli;
    struct avow_arena arena;
    const char *id;
    uint64_t generation;
    struct avow_bytes record; /* in the arena */
    struct avow_verdict verdict;
    bool found;
};

/* Ends the wait at the first verdict of the generation that is more than pending. */
static enum avow_rc wait_record(void *arg, const struct avow_bus_msg *msg, struct avow_err *err)
{
    struct wait_verdict *w = arg;
    struct avow_err why;
    struct avow_str key = {(const char *)msg->key.ptr, msg->key.len};
    (void)err;
    if (msg->value_null || !avow_str_is(key, w->id))
        return AVOW_OK;
    avow_arena_reset(&w->arena);
    w->record = avow_arena_bytes(&w->arena, msg->value);
    struct avow_record_in in = {
        .kafka_key = msg->key, .value = w->record, .partition = msg->partition};
    if (!w->record.ptr || avow_open_verdict(w->cli->trust, &in, &w->arena, &w->verdict, &why))
        return AVOW_OK; /* not signed by a worker: never a result */
    const struct avow_verdict *v = &w->verdict;
    w->found = v->enrollment_generation >= w->generation && v->status != AVOW_STATUS_PENDING &&
               !v->flags.stale;
    return w->found ? AVOW_STATE : AVOW_OK;
}

static enum avow_rc report_verdict(const struct avow_cli *cli, const struct avow_await *o,
                                   const struct wait_verdict *w, struct avow_err *err)
{
    const char *status = avow_status_text(w->verdict.status);
    if (cli->format == AVOW_FORMAT_JSON) {
        json_t *out;
        enum avow_rc rc =
            avow_agent_json(avow_str_from(o->id), status, o->generation, w->record, &out, err);
        return rc ? rc : avow_json_document(out, err);
    }
    printf("%s is %s%s%s (enrolment generation %" PRIu64 ", epoch %" PRIu64 ")\n", o->id,
           avow_status_color(status, cli->color), status, avow_color_reset(cli->color),
           o->generation, w->verdict.as_of_epoch);
    avow_print_findings(w->verdict.findings, w->verdict.findings_count, w->verdict.findings_total);
    return AVOW_OK;
}

static enum avow_rc no_verdict(struct avow_cli *cli, const struct avow_await *o, enum avow_rc rc,
                               struct avow_err *err)
{
    avow_cli_hint(cli,
                  "it is enrolled all the same: `avow agent status %s` shows more. Do its "
                  "avow-agent and a worker run?",
                  o->id);
    if (rc == AVOW_TIMEOUT)
        return avow_err_set(err, rc, 0,
                            "no verdict on %s for enrolment generation %" PRIu64
                            " came within %" PRIu64 " s",
                            o->id, o->generation, o->timeout_s);
    return avow_err_set(err, AVOW_STATE, 0, "interrupted while waiting for a verdict on %s", o->id);
}

enum avow_exit avow_await_verdict(struct avow_cli *cli, const struct avow_await *o,
                                  struct avow_reader *verdicts)
{
    struct avow_err err = {.rc = AVOW_OK};
    struct wait_verdict w = {.cli = cli, .id = o->id, .generation = o->generation};
    avow_arena_init(&w.arena, AVOW_WIRE_ARENA_MAX + AVOW_BUS_VALUE_MAX);
    struct avow_follow follow = {.timeout_ms = o->timeout_s * 1000, .fn = wait_record, .arg = &w};
    enum avow_rc rc = avow_reader_follow(cli, verdicts, &follow, &err);
    if (rc == AVOW_TIMEOUT || (!rc && !w.found))
        rc = no_verdict(cli, o, rc, &err);
    if (!rc)
        rc = report_verdict(cli, o, &w, &err);
    bool trusted = w.found && w.verdict.status == AVOW_STATUS_TRUSTED;
    avow_arena_deinit(&w.arena);
    if (rc)
        return avow_cli_fail(cli, rc, &err);
    return trusted ? AVOW_EXIT_OK : AVOW_EXIT_UNTRUSTED;
}
