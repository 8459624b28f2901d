/* `avow verdict tail`, `avow revocation tail`: verified results, one a line. */
#include "commands.h"

#include "avow/base/clock.h"
#include "avow/base/map.h"
#include "avow/base/rate.h"
#include "avow/events/revocation_json.h"
#include "avow/crypto/rng.h"
#include "avow/model/model.h"
#include "avow/trust/records.h"
#include "avow/wire/json.h"
#include "agent_show.h"
#include "reader.h"
#include "standing.h"
#include "table.h"
#include "trust_view.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "avow/base/banned.h"

#define JSON_MAX (1024u * 1024u)
#define COMPLAINTS_BURST 10u /* refused records told one by one; then one in ten seconds */
#define COMPLAINTS_MS 10000u

enum tail_format { TAIL_PEOPLE, TAIL_PLAIN, TAIL_AVRO, TAIL_CLOUDEVENTS, TAIL_KEYLIME };
static const struct {
    const char *name;
    enum tail_format format;
    bool revocations_only;
} formats[] = {{"json", TAIL_PLAIN, false},
               {"avro-json", TAIL_AVRO, false},
               {"cloudevents", TAIL_CLOUDEVENTS, true},
               {"keylime", TAIL_KEYLIME, true}};

struct tail {
    struct avow_cli *cli;
    const char *base;
    bool revocations;
    const char *id;          /* NULL: all */
    const char *format_name; /* as given, or NULL */
    enum tail_format format;
    uint64_t limit; /* 0: none */
    bool from_start, exit_at_end;
    struct avow_arena arena; /* of one record */
    struct avow_map newest;  /* verdicts: seq per agent; revocations: ids seen (PROTOCOL R26) */
    uint64_t printed, refused, untold;
    struct avow_rate complaints;
};

/* --- Order --- */

enum order { ORDER_NEWS, ORDER_SAME, ORDER_OLDER };

/* News the first time a key is seen, and then only with a higher number. */
static enum order take_order(struct tail *t, struct avow_bytes key, uint64_t number)
{
    uint64_t *known = avow_map_find(&t->newest, key);
    if (known && *known >= number)
        return *known == number ? ORDER_SAME : ORDER_OLDER;
    if (known) {
        *known = number;
        return ORDER_NEWS;
    }
    known = malloc(sizeof *known);
    if (known)
        *known = number;
    if (known && avow_map_set(&t->newest, key, known, NULL))
        free(known); /* better twice than never */
    return ORDER_NEWS;
}

static bool may_complain(struct tail *t)
{
    if (!avow_rate_take(&t->complaints, avow_clock_mono_ms())) {
        t->untold++;
        return false;
    }
    if (t->untold)
        avow_cli_note("warning: %" PRIu64 " more were refused or out of order", t->untold);
    t->untold = 0;
    return true;
}

/* --- Output --- */

static enum avow_rc print_json(const struct tail *t, struct avow_bytes record, struct avow_err *err)
{
    AVOW_CLEANUP_VAL(avow_buf_deinit) struct avow_buf json;
    avow_buf_init(&json, JSON_MAX);
    enum avow_rc rc = avow_wire_to_json(
        record, t->format == TAIL_AVRO ? AVOW_JSON_AVRO : AVOW_JSON_PLAIN, &json, err);
    if (!rc)
        puts(avow_buf_cstr(&json));
    return rc;
}

/* *printed is false if the format has no word for it. */
static enum avow_rc print_foreign(const struct tail *t, const struct avow_revocation_source *s,
                                  bool *printed, struct avow_err *err)
{
    AVOW_CLEANUP_VAL(avow_buf_deinit) struct avow_buf json;
    avow_buf_init(&json, JSON_MAX);
    enum avow_rc rc = t->format == TAIL_KEYLIME ? avow_revocation_keylime(s, &json, err)
                                                : avow_revocation_cloudevent(s, &json, err);
    *printed = rc == AVOW_OK;
    if (rc == AVOW_NOTFOUND)
        return AVOW_OK;
    if (!rc)
        puts(avow_buf_cstr(&json));
    return rc;
}

static void print_revocation(const struct avow_cli *cli, const struct avow_revocation *r,
                             uint64_t time_ms)
{
    char at[32];
    const char *class = avow_revocation_class_text(r->class);
    avow_clock_format(at, time_ms);
    printf("%s  %s%-10s%s  ", at, avow_status_color(class, cli->color), class,
           avow_color_reset(cli->color));
    avow_print_clean(r->key);
    printf("  %s -> %s  [", avow_status_text(r->from), avow_status_text(r->to));
    avow_print_clean(r->severity);
    printf("] ");
    avow_print_clean(r->event_id);
    printf("\n");
    avow_print_findings(r->findings, r->findings_count, r->findings_count);
}

static void print_verdict(const struct avow_cli *cli, const struct avow_verdict *v)
{
    char at[32] = "never";
    const char *standing = avow_verdict_standing(v, avow_clock_unix_ms());
    if (v->as_of_ms)
        avow_clock_format(at, v->as_of_ms);
    printf("%-24s  ", at);
    avow_print_clean(v->key);
    printf("  %s%-9s%s  seq %" PRIu64 "  findings %" PRIu32 "\n",
           avow_status_color(standing, cli->color), standing, avow_color_reset(cli->color), v->seq,
           v->findings_total);
    avow_print_findings(v->findings, v->findings_count, v->findings_total);
}

/* --- Records --- */

static enum avow_rc show_revocation(struct tail *t, const struct avow_record_in *in,
                                    int64_t timestamp_ms, struct avow_err *err)
{
    struct avow_revocation r;
    bool printed = true;
    enum avow_rc rc = avow_open_revocation(t->cli->trust, in, &t->arena, &r, err);
    if (rc || take_order(t, AVOW_BYTES_OF(r.id), 1) != ORDER_NEWS)
        return rc; /* a known id is a repeat */
    struct avow_revocation_source source = {&r, in->value,
                                            timestamp_ms > 0 ? (uint64_t)timestamp_ms : r.as_of_ms};
    switch (t->format) {
    case TAIL_CLOUDEVENTS:
    case TAIL_KEYLIME:
        rc = print_foreign(t, &source, &printed, err);
        break;
    case TAIL_PLAIN:
    case TAIL_AVRO:
        rc = print_json(t, in->value, err);
        break;
    case TAIL_PEOPLE:
        print_revocation(t->cli, &r, source.time_ms);
        break;
    }
    t->printed += printed ? 1 : 0;
    return rc;
}

static enum avow_rc show_verdict(struct tail *t, const struct avow_record_in *in,
                                 struct avow_err *err)
{
    struct avow_verdict v;
    enum avow_rc rc = avow_open_verdict(t->cli->trust, in, &t->arena, &v, err);
    if (rc)
        return rc;
    enum order order = take_order(t, in->kafka_key, v.seq);
    if (order == ORDER_OLDER && may_complain(t))
        avow_cli_note("warning: a verdict on %.*s has seq %" PRIu64 ", but a newer one was there "
                      "before it: ignored (bus.rollback)",
                      (int)v.key.len, v.key.ptr, v.seq);
    if (order != ORDER_NEWS)
        return AVOW_OK;
    t->printed++;
    if (t->format != TAIL_PEOPLE)
        return print_json(t, in->value, err);
    print_verdict(t->cli, &v);
    return AVOW_OK;
}

static enum avow_rc tail_record(void *arg, const struct avow_bus_msg *msg, struct avow_err *err)
{
    struct tail *t = arg;
    struct avow_err why;
    struct avow_str key = {(const char *)msg->key.ptr, msg->key.len};
    (void)err;
    if (msg->value_null || (t->id && !avow_str_is(key, t->id)))
        return AVOW_OK;
    avow_arena_reset(&t->arena);
    struct avow_record_in in = {
        .kafka_key = msg->key, .value = msg->value, .partition = msg->partition};
    /* Alarms of a partition have the key "fleet" and stay in that partition. */
    enum avow_rc rc = t->revocations && avow_str_is(key, "fleet")
                          ? AVOW_OK
                          : avow_reader_at_home(t->cli, msg, &why);
    if (!rc)
        rc = t->revocations ? show_revocation(t, &in, msg->timestamp_ms, &why)
                            : show_verdict(t, &in, &why);
    if (rc) {
        t->refused++;
        if (may_complain(t))
            avow_cli_note("%s[%d] offset %" PRId64 " is refused: %s", msg->topic,
                          (int)msg->partition, msg->offset, why.msg);
        return AVOW_OK;
    }
    fflush(stdout);
    return t->limit && t->printed >= t->limit ? AVOW_STATE : AVOW_OK;
}

static enum avow_rc tail_run(struct tail *t, struct avow_err *err)
{
    AVOW_CLEANUP(avow_reader_free) struct avow_reader *reader = NULL;
    enum avow_rc rc = avow_cli_trust(t->cli, err);
    if (rc)
        return rc;
    /* Fleet alarms stand in any partition: all are read then. */
    const char *key = t->id && !avow_cstr_eq(t->id, "fleet") ? t->id : NULL;
    if (t->exit_at_end)
        return avow_read_topic(t->cli, t->base, key, tail_record, t, err);
    struct avow_reader_opts place = {.base = t->base, .key = key, .from_start = t->from_start};
    struct avow_follow follow = {.fn = tail_record, .arg = t};
    rc = avow_reader_open(t->cli, &place, &reader, err);
    return rc ? rc : avow_reader_follow(t->cli, reader, &follow, err);
}

/* --- The commands --- */

static enum avow_rc choose_format(struct tail *t, struct avow_err *err)
{
    t->format = t->cli->format == AVOW_FORMAT_JSON ? TAIL_PLAIN : TAIL_PEOPLE;
    if (!t->format_name)
        return AVOW_OK;
    for (size_t i = 0; i < AVOW_ARRAY_LEN(formats); i++) {
        if (!avow_cstr_eq(formats[i].name, t->format_name) ||
            (formats[i].revocations_only && !t->revocations))
            continue;
        t->format = formats[i].format;
        return AVOW_OK;
    }
    return avow_err_set(err, AVOW_USAGE, 0, "%s tail: --format: '%.60s' is not json%s",
                        t->revocations ? "revocation" : "verdict", t->format_name,
                        t->revocations ? ", avro-json, cloudevents or keylime" : " or avro-json");
}

/* `about` has no options yet. */
static enum avow_exit tail_command(struct tail *t, const struct avow_command *about, int argc,
                                   char **argv)
{
    const struct avow_opt opts[] = {
        AVOW_FLAG("--from-start", &t->from_start, "from the oldest record kept"),
        {"--exit", 'e', AVOW_OPT_FLAG, &t->exit_at_end, NULL, 0, 0,
         "print what is there, from the oldest on, and stop"},
        {"--count", 'c', AVOW_OPT_U64, &t->limit, "N", 1, UINT64_MAX, "stop after N records"},
        AVOW_TEXT("--format", &t->format_name, "FORMAT",
                  t->revocations ? "json, avro-json, cloudevents or keylime" : "json or avro-json"),
    };
    const char *pos[AVOW_COMMAND_WORDS_MAX] = {NULL};
    struct avow_err err = {.rc = AVOW_OK};
    enum avow_exit code;
    uint64_t seed[2];
    struct avow_command command = *about;
    command.opts = opts;
    command.n_opts = AVOW_ARRAY_LEN(opts);
    if (!avow_command_begin(t->cli, &command, argc, argv, pos, &code))
        return code;
    t->id = pos[0];
    if (choose_format(t, &err))
        return avow_cli_usage(command.name, &err);
    enum avow_rc rc = avow_rng_fill(seed, sizeof seed, &err);
    if (rc)
        return avow_cli_fail(t->cli, rc, &err);
    avow_rate_init(&t->complaints, COMPLAINTS_BURST, COMPLAINTS_MS, avow_clock_mono_ms());
    avow_map_init(&t->newest, seed[0], seed[1]);
    avow_arena_init(&t->arena, AVOW_WIRE_ARENA_MAX);
    rc = tail_run(t, &err);
    avow_arena_deinit(&t->arena);
    avow_map_deinit(&t->newest, free);
    if (t->untold)
        avow_cli_note("warning: %" PRIu64 " more were refused or out of order", t->untold);
    if (rc)
        return avow_cli_fail(t->cli, rc, &err);
    return t->refused ? AVOW_EXIT_UNTRUSTED : AVOW_EXIT_OK;
}

enum avow_exit avow_cmd_verdict_tail(struct avow_cli *cli, int argc, char **argv)
{
    struct tail t = {.cli = cli, .base = "verdicts"};
    const struct avow_command command = {
        .name = "verdict tail",
        .words = "[ID]",
        .about = "Prints verdicts from now on, of all agents or one, whose signature and authority "
                 "are good; others\nare refused on stderr, and the exit code is then 4. Trust that "
                 "has run out is shown as expired;\nin JSON compare trusted_until_ms with the "
                 "time. --json is --format json.",
        .max_words = 1};
    return tail_command(&t, &command, argc, argv);
}

enum avow_exit avow_cmd_revocation_tail(struct avow_cli *cli, int argc, char **argv)
{
    struct tail t = {.cli = cli, .base = "revocations", .revocations = true};
    const struct avow_command command = {
        .name = "revocation tail",
        .words = "[ID]",
        .about = "Prints revocations, recoveries, silences and alarms from now on, of all agents "
                 "or one ('fleet'\nfor alarms about no agent), each once. Records whose signature "
                 "or authority is not good are\nrefused on stderr, and the exit code is then 4. "
                 "--json is --format json.",
        .max_words = 1};
    return tail_command(&t, &command, argc, argv);
}
