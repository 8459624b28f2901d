/* `avow verdict tail`, `avow revocation tail`: verified results, one a line. */
#include "commands.h"

#include "avow/base/clock.h"
#include "avow/base/map.h"
#include "avow/crypto/rng.h"
#include "avow/model/model.h"
#include "avow/trust/records.h"
#include "avow/wire/json.h"
#include "fleet.h"
#include "reader.h"
#include "revocation_json.h"
#include "table.h"

#include <stdio.h>
#include <stdlib.h>

#include "avow/base/banned.h"

#define JSON_MAX (1024u * 1024u)
#define VERDICT_FORMATS "json or avro-json"
#define REVOCATION_FORMATS "json, avro-json, cloudevents or keylime"

enum tail_format {
    TAIL_PEOPLE,
    TAIL_PLAIN,
    TAIL_AVRO,
    TAIL_CLOUDEVENTS,
    TAIL_KEYLIME,
};
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
    struct avow_arena arena; /* of one record */
    struct avow_map newest;  /* verdicts: seq per agent; revocations: ids seen (PROTOCOL R26) */
    const char *id;
    const char *format_name; /* as given, or NULL */
    enum tail_format format;
    uint64_t limit; /* 0: none */
    uint64_t printed;
    bool from_start, exit_at_end, help;
    uint64_t refused;
    bool revocations;
};

static enum avow_rc print_json(const struct tail *t, struct avow_bytes record, struct avow_err *err)
{
    AVOW_CLEANUP_VAL(avow_buf_deinit) struct avow_buf json;
    avow_buf_init(&json, JSON_MAX);
    enum avow_rc rc = avow_wire_to_json(
        record, t->format == TAIL_AVRO ? AVOW_JSON_AVRO : AVOW_JSON_PLAIN, &json, err);
    if (!rc)
        printf("%s\n", avow_buf_cstr(&json));
    return rc;
}

static enum avow_rc print_foreign(const struct tail *t, const struct avow_revocation_source *s,
                                  struct avow_err *err)
{
    AVOW_CLEANUP_VAL(avow_buf_deinit) struct avow_buf json;
    avow_buf_init(&json, JSON_MAX);
    enum avow_rc rc = t->format == TAIL_KEYLIME ? avow_revocation_keylime(s, &json, err)
                                                : avow_revocation_cloudevent(s, &json, err);
    if (rc == AVOW_NOTFOUND)
        return AVOW_OK; /* the format has no word for it */
    if (!rc)
        printf("%s\n", avow_buf_cstr(&json));
    return rc;
}

/* True the first time a key is seen, and then only with a higher number. */
static bool is_news(struct tail *t, struct avow_bytes key, uint64_t number)
{
    uint64_t *known = avow_map_find(&t->newest, key);
    if (known && *known >= number)
        return false;
    if (known) {
        *known = number;
        return true;
    }
    known = malloc(sizeof *known);
    if (!known)
        return true; /* better twice than never */
    *known = number;
    if (avow_map_set(&t->newest, key, known, NULL))
        free(known);
    return true;
}

static void print_finding(const struct avow_finding *f)
{
    char where[256], detail[512];
    avow_printable(where, sizeof where, f->where);
    avow_printable(detail, sizeof detail, f->detail);
    printf("    %.*s  %s  %s\n", (int)f->id.len, f->id.ptr, where, detail);
}

static void print_revocation(const struct avow_cli *cli, const struct avow_revocation *r,
                             int64_t timestamp_ms)
{
    char at[32];
    const char *class = avow_revocation_class_text(r->class);
    avow_clock_format(at, timestamp_ms > 0 ? (uint64_t)timestamp_ms : r->as_of_ms);
    printf("%s  %s%-10s%s %.*s  %s -> %s  [%.*s] %.*s\n", at, avow_status_color(class, cli->color),
           class, avow_color_reset(cli->color), (int)r->key.len, r->key.ptr,
           avow_status_text(r->from), avow_status_text(r->to), (int)r->severity.len,
           r->severity.ptr, (int)r->event_id.len, r->event_id.ptr);
    for (size_t i = 0; i < r->findings_count; i++)
        print_finding(&r->findings[i]);
}

static void print_verdict(const struct avow_cli *cli, const struct avow_verdict *v)
{
    char at[32];
    const char *status = avow_verdict_status_at(v, avow_clock_unix_ms());
    avow_clock_format(at, v->as_of_ms);
    printf("%.*s  %s%-9s%s seq %llu  proven %s  findings %u\n", (int)v->key.len, v->key.ptr,
           avow_status_color(status, cli->color), status, avow_color_reset(cli->color),
           (unsigned long long)v->seq, v->as_of_ms ? at : "never", (unsigned)v->findings_total);
    for (size_t i = 0; i < v->findings_count; i++)
        print_finding(&v->findings[i]);
}

static enum avow_rc show_revocation(struct tail *t, const struct avow_record_in *in,
                                    int64_t timestamp_ms, struct avow_err *err)
{
    struct avow_revocation r;
    enum avow_rc rc = avow_open_revocation(t->cli->trust, in, &t->arena, &r, err);
    if (rc || !is_news(t, AVOW_BYTES_OF(r.id), 1))
        return rc;
    struct avow_revocation_source source = {&r, in->value,
                                            timestamp_ms > 0 ? (uint64_t)timestamp_ms : r.as_of_ms};
    t->printed++;
    switch (t->format) {
    case TAIL_CLOUDEVENTS:
    case TAIL_KEYLIME:
        return print_foreign(t, &source, err);
    case TAIL_PLAIN:
    case TAIL_AVRO:
        return print_json(t, in->value, err);
    case TAIL_PEOPLE:
        print_revocation(t->cli, &r, timestamp_ms);
    }
    return AVOW_OK;
}

static enum avow_rc show_verdict(struct tail *t, const struct avow_record_in *in,
                                 struct avow_err *err)
{
    struct avow_verdict v;
    enum avow_rc rc = avow_open_verdict(t->cli->trust, in, &t->arena, &v, err);
    if (rc || !is_news(t, in->kafka_key, v.seq))
        return rc;
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
    enum avow_rc rc = t->revocations ? show_revocation(t, &in, msg->timestamp_ms, &why)
                                     : show_verdict(t, &in, &why);
    if (rc) {
        t->refused++;
        fprintf(stderr, "avow: record %s/%d@%lld is refused: %s\n", msg->topic, (int)msg->partition,
                (long long)msg->offset, why.msg);
        return AVOW_OK;
    }
    fflush(stdout);
    return t->limit && t->printed >= t->limit ? AVOW_STATE : AVOW_OK;
}

static enum avow_rc tail_run(struct tail *t, const char *base, struct avow_err *err)
{
    enum avow_rc rc = avow_cli_trust(t->cli, err);
    if (rc)
        return rc;
    if (t->exit_at_end)
        return avow_read_topic(t->cli, base, t->id, tail_record, t, err);
    struct avow_follow follow = {
        .base = base, .key = t->id, .from_start = t->from_start, .fn = tail_record, .arg = t};
    return avow_follow_topic(t->cli, &follow, err);
}

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
    return avow_err_set(err, AVOW_USAGE, 0, "--format: '%s' is not %s", t->format_name,
                        t->revocations ? REVOCATION_FORMATS : VERDICT_FORMATS);
}

static enum avow_exit tail_command(struct tail *t, const char *command, const char *base, int argc,
                                   char **argv)
{
    const struct avow_opt opts[] = {
        {"--from-start", AVOW_OPT_FLAG, &t->from_start, NULL, "from the oldest record kept"},
        {"--exit", AVOW_OPT_FLAG, &t->exit_at_end, NULL, "print what is there and stop"},
        {"--count", AVOW_OPT_U64, &t->limit, "N", "stop after N records"},
        {"--format", AVOW_OPT_STR, &t->format_name, "FORMAT",
         t->revocations ? REVOCATION_FORMATS : VERDICT_FORMATS},
        {"--help", AVOW_OPT_FLAG, &t->help, NULL, "this text"},
    };
    struct avow_err err = {.rc = AVOW_OK};
    size_t n = 0;
    enum avow_rc rc = avow_opts_parse(opts, AVOW_ARRAY_LEN(opts), argc, argv, &t->id, 1, &n, &err);
    if (!rc && t->help) {
        printf("usage: avow %s [ID] [OPTION...]\n\nPrints %s whose signature and authority are "
               "good; others are refused on stderr,\nand the exit code is then 4.\n\noptions:\n",
               command, base);
        avow_opts_help(opts, AVOW_ARRAY_LEN(opts));
        return AVOW_EXIT_OK;
    }
    if (!rc)
        rc = choose_format(t, &err);
    if (rc)
        return avow_cli_usage(command, &err);
    uint64_t seed[2];
    rc = avow_rng_fill(seed, sizeof seed, &err);
    if (rc)
        return avow_cli_fail(rc, &err);
    avow_map_init(&t->newest, seed[0], seed[1]);
    avow_arena_init(&t->arena, 4 * 1024 * 1024);
    rc = tail_run(t, base, &err);
    avow_arena_deinit(&t->arena);
    avow_map_deinit(&t->newest, free);
    if (rc)
        return avow_cli_fail(rc, &err);
    return t->refused ? AVOW_EXIT_UNTRUSTED : AVOW_EXIT_OK;
}

enum avow_exit avow_cmd_verdict_tail(struct avow_cli *cli, int argc, char **argv)
{
    struct tail t = {.cli = cli, .revocations = false};
    return tail_command(&t, "verdict tail", "verdicts", argc, argv);
}

enum avow_exit avow_cmd_revocation_tail(struct avow_cli *cli, int argc, char **argv)
{
    struct tail t = {.cli = cli, .revocations = true};
    return tail_command(&t, "revocation tail", "revocations", argc, argv);
}
