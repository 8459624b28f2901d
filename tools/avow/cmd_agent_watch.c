/* `avow agent watch`: changes of status as they happen, also those that time alone makes. */
#include "commands.h"

#include "avow/base/clock.h"
#include "avow/base/map.h"
#include "avow/base/rate.h"
#include "avow/crypto/rng.h"
#include "avow/model/model.h"
#include "avow/trust/records.h"
#include "avow/wire/verdict.h"
#include "agent_show.h"
#include "fleet.h"
#include "reader.h"
#include "standing.h"
#include "table.h"
#include "trust_view.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "avow/base/banned.h"

/* What was shown last of one agent, and the verdict behind it. */
struct watched {
    const char *standing; /* static; NULL: nothing shown yet */
    uint64_t generation;  /* of its enrolment, as far as known */
    uint64_t seq, trusted_until_ms, findings;
    uint8_t *record; /* owned; the newest verdict */
    size_t record_len;
};

struct watch {
    struct avow_cli *cli;
    struct avow_map agents; /* id -> struct watched, owned */
    struct avow_arena arena;
    const char *id; /* NULL: all */
    struct avow_rate refusals;
};

static void watched_free(void *p)
{
    struct watched *w = p;
    free(w->record);
    free(w);
}

static enum avow_rc watched_of(struct watch *w, struct avow_str id, struct watched **out,
                               struct avow_err *err)
{
    struct avow_bytes key = avow_bytes_make(id.ptr, id.len);
    *out = avow_map_find(&w->agents, key);
    if (*out)
        return AVOW_OK;
    struct watched *fresh = calloc(1, sizeof *fresh);
    if (!fresh || avow_map_set(&w->agents, key, fresh, NULL)) {
        free(fresh);
        return avow_err_set(err, AVOW_NOMEM, 0, "too many agents to watch");
    }
    *out = fresh;
    return AVOW_OK;
}

static enum avow_rc watched_take(struct watched *a, const struct avow_verdict *v,
                                 struct avow_bytes record, struct avow_err *err)
{
    uint8_t *copy = malloc(record.len ? record.len : 1);
    if (!copy)
        return avow_err_set(err, AVOW_NOMEM, 0, "verdict");
    memcpy(copy, record.ptr, record.len);
    free(a->record);
    a->record = copy;
    a->record_len = record.len;
    a->seq = v->seq;
    a->trusted_until_ms = v->trusted_until_ms;
    if (v->enrollment_generation > a->generation)
        a->generation = v->enrollment_generation;
    return AVOW_OK;
}

/* --- Printing --- */

static void print_row(const struct watch *w, struct avow_str id, const struct watched *a,
                      const char *standing, const struct avow_verdict *v, uint64_t now)
{
    char at[32];
    avow_clock_format(at, now);
    printf("%s  ", at);
    avow_print_clean(id);
    printf("  ");
    if (a->standing && !avow_cstr_eq(a->standing, standing))
        printf("%s -> ", a->standing);
    printf("%s%s%s", avow_status_color(standing, w->cli->color), standing,
           avow_color_reset(w->cli->color));
    if (v)
        printf("  epoch %" PRIu64 "  seq %" PRIu64, v->as_of_epoch, v->seq);
    printf("\n");
    if (v && v->findings_total != a->findings)
        avow_print_findings(v->findings, v->findings_count, v->findings_total);
}

static enum avow_rc print_json(struct avow_str id, const struct watched *a, const char *standing,
                               uint64_t now, struct avow_err *err)
{
    json_t *out;
    enum avow_rc rc = avow_agent_json(id, standing, a->generation,
                                      avow_bytes_make(a->record, a->record_len), &out, err);
    if (rc)
        return rc;
    if (json_object_set_new(out, "previous", avow_json_cstr(a->standing)) ||
        json_object_set_new(out, "at_ms", avow_json_u64(now))) {
        json_decref(out);
        out = NULL;
    }
    return avow_json_line(out, err);
}

/* Prints the agent if its standing, or what was found, is another than was shown. */
static enum avow_rc show(struct watch *w, struct avow_str id, struct watched *a,
                         const struct avow_verdict *v, struct avow_err *err)
{
    uint64_t now = avow_clock_unix_ms();
    const char *standing = avow_agent_standing(v, a->generation, now);
    uint64_t findings = v ? v->findings_total : 0;
    if (a->standing && avow_cstr_eq(a->standing, standing) && a->findings == findings)
        return AVOW_OK;
    enum avow_rc rc = AVOW_OK;
    if (w->cli->format == AVOW_FORMAT_JSON)
        rc = print_json(id, a, standing, now, err);
    else
        print_row(w, id, a, standing, v, now);
    a->standing = standing;
    a->findings = findings;
    fflush(stdout);
    return rc;
}

/* --- What makes a change --- */

static enum avow_rc watch_record(void *arg, const struct avow_bus_msg *msg, struct avow_err *err)
{
    struct watch *w = arg;
    struct avow_verdict v;
    struct avow_err why;
    struct watched *a;
    struct avow_str key = {(const char *)msg->key.ptr, msg->key.len};
    if (msg->value_null || (w->id && !avow_str_is(key, w->id)))
        return AVOW_OK;
    avow_arena_reset(&w->arena);
    struct avow_record_in in = {
        .kafka_key = msg->key, .value = msg->value, .partition = msg->partition};
    if (avow_reader_at_home(w->cli, msg, &why) ||
        avow_open_verdict(w->cli->trust, &in, &w->arena, &v, &why)) {
        if (avow_rate_take(&w->refusals, avow_clock_mono_ms()))
            avow_cli_note("warning: a record was refused: %s", why.msg);
        return AVOW_OK;
    }
    enum avow_rc rc = watched_of(w, key, &a, err);
    if (rc || (a->record && v.seq <= a->seq))
        return rc;
    rc = watched_take(a, &v, msg->value, err);
    return rc ? rc : show(w, key, a, &v, err);
}

/* Trust runs out without anybody writing anything. */
static enum avow_rc watch_idle(void *arg, struct avow_err *err)
{
    struct watch *w = arg;
    uint64_t now = avow_clock_unix_ms();
    for (size_t i = 0; i < w->agents.count; i++) {
        const struct avow_map_entry *e = &w->agents.entries[i];
        struct watched *a = e->value;
        struct avow_verdict v;
        if (!a->record || now < a->trusted_until_ms || !avow_cstr_eq(a->standing, "trusted"))
            continue;
        avow_arena_reset(&w->arena);
        enum avow_rc rc =
            avow_verdict_decode(avow_bytes_make(a->record, a->record_len), &w->arena, &v, err);
        if (!rc)
            rc = show(w, (struct avow_str){(const char *)e->key, e->key_len}, a, &v, err);
        if (rc)
            return rc;
    }
    return AVOW_OK;
}

/* Everybody enrolled, as it is now. */
static enum avow_rc show_present(struct watch *w, struct avow_err *err)
{
    AVOW_CLEANUP_VAL(avow_fleet_deinit) struct avow_fleet fleet;
    enum avow_rc rc =
        avow_fleet_read(w->cli, AVOW_FLEET_ENROLLMENTS | AVOW_FLEET_VERDICTS, w->id, &fleet, err);
    if (rc)
        return rc;
    avow_fleet_warn(&fleet);
    for (size_t i = 0; i < fleet.count && !rc; i++) {
        const struct avow_fleet_agent *f = &fleet.agents[i];
        struct watched *a;
        if (!avow_fleet_is_enrolled(f))
            continue;
        rc = watched_of(w, f->id, &a, err);
        if (!rc)
            a->generation = f->enrollment.generation;
        if (!rc && f->has_verdict)
            rc = watched_take(a, &f->verdict, f->verdict_record, err);
        if (!rc)
            rc = show(w, f->id, a, f->has_verdict ? &f->verdict : NULL, err);
    }
    if (!rc && w->id && !w->agents.count)
        avow_cli_note("%.150s is not enrolled; waiting for a verdict on it", w->id);
    return rc;
}

static enum avow_rc watch_run(struct watch *w, struct avow_err *err)
{
    AVOW_CLEANUP(avow_reader_free) struct avow_reader *verdicts = NULL;
    struct avow_reader_opts place = {.base = "verdicts", .key = w->id};
    struct avow_follow follow = {.fn = watch_record, .idle = watch_idle, .arg = w};
    enum avow_rc rc = avow_cli_trust(w->cli, err);
    if (!rc) /* before the present is read: nothing may fall between */
        rc = avow_reader_open(w->cli, &place, &verdicts, err);
    if (!rc)
        rc = show_present(w, err);
    return rc ? rc : avow_reader_follow(w->cli, verdicts, &follow, err);
}

enum avow_exit avow_cmd_agent_watch(struct avow_cli *cli, int argc, char **argv)
{
    const struct avow_command command = {
        .name = "agent watch",
        .words = "[ID]",
        .about = "Shows every enrolled agent, or one, and then each change of status or findings "
                 "until it is\ninterrupted; also when trust runs out because nothing came. With "
                 "--json one object a line.",
        .max_words = 1};
    const char *pos[AVOW_COMMAND_WORDS_MAX] = {NULL};
    enum avow_exit code;
    if (!avow_command_begin(cli, &command, argc, argv, pos, &code))
        return code;
    struct avow_err err = {.rc = AVOW_OK};
    struct watch w = {.cli = cli, .id = pos[0]};
    uint64_t seed[2];
    enum avow_rc rc = avow_rng_fill(seed, sizeof seed, &err);
    if (rc)
        return avow_cli_fail(cli, rc, &err);
    avow_rate_init(&w.refusals, 5, 10000, avow_clock_mono_ms());
    avow_map_init(&w.agents, seed[0], seed[1]);
    avow_arena_init(&w.arena, AVOW_WIRE_ARENA_MAX);
    rc = watch_run(&w, &err);
    avow_arena_deinit(&w.arena);
    avow_map_deinit(&w.agents, watched_free);
    return rc ? avow_cli_fail(cli, rc, &err) : AVOW_EXIT_OK;
}
