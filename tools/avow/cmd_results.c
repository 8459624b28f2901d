/* `avow verdict tail`, `avow revocation tail`: verified results, one a line. */
#include "commands.h"

#include "avow/base/clock.h"
#include "avow/base/hex.h"
#include "avow/model/model.h"
#include "avow/trust/records.h"
#include "avow/wire/json.h"
#include "fleet.h"
#include "reader.h"
#include "table.h"

#include <stdio.h>

#include "avow/base/banned.h"

struct tail {
    struct avow_cli *cli;
    struct avow_arena arena;
    const char *id;
    const char *format; /* avro-json, cloudevents; NULL: for people */
    uint64_t limit;     /* 0: none */
    uint64_t printed;
    bool from_start, exit_at_end, help;
    uint64_t refused;
    bool revocations;
};

static enum avow_rc print_json(struct tail *t, struct avow_bytes record, struct avow_err *err)
{
    AVOW_CLEANUP_VAL(avow_buf_deinit) struct avow_buf json;
    avow_buf_init(&json, 1024 * 1024);
    (void)t;
    enum avow_rc rc = avow_wire_to_json(record, &json, err);
    if (!rc)
        printf("%s\n", avow_buf_cstr(&json));
    return rc;
}

/* CloudEvents 1.0, structured JSON mode: the revocation is the data; its id lets consumers drop repeats. */
static enum avow_rc print_cloudevent(const struct avow_revocation *r, struct avow_bytes record,
                                     struct avow_err *err)
{
    char id[33], fleet[33], at[32];
    AVOW_CLEANUP_VAL(avow_buf_deinit) struct avow_buf json;
    avow_buf_init(&json, 1024 * 1024);
    enum avow_rc rc = avow_wire_to_json(record, &json, err);
    if (rc)
        return rc;
    avow_hex_encode(id, AVOW_BYTES_OF(r->id));
    avow_hex_encode(fleet, AVOW_BYTES_OF(r->fleet));
    avow_clock_format(at, r->as_of_ms);
    printf("{\"specversion\":\"1.0\",\"id\":\"%s\",\"source\":\"/avow/%s\","
           "\"type\":\"avow.%s\",\"subject\":\"%.*s\",\"time\":\"%s\","
           "\"datacontenttype\":\"application/json\",\"data\":%s}\n",
           id, fleet, avow_revocation_class_text(r->class), (int)r->key.len, r->key.ptr, at,
           avow_buf_cstr(&json));
    return AVOW_OK;
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
    if (rc)
        return rc;
    if (t->format && avow_cstr_eq(t->format, "cloudevents"))
        return print_cloudevent(&r, in->value, err);
    if (t->format)
        return print_json(t, in->value, err);
    print_revocation(t->cli, &r, timestamp_ms);
    return AVOW_OK;
}

static enum avow_rc show_verdict(struct tail *t, const struct avow_record_in *in,
                                 struct avow_err *err)
{
    struct avow_verdict v;
    enum avow_rc rc = avow_open_verdict(t->cli->trust, in, &t->arena, &v, err);
    if (rc)
        return rc;
    if (t->format)
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
        fprintf(stderr, "avow: record %s/%d@%lld is refused: %s\n", msg->topic,
                (int)msg->partition, (long long)msg->offset, why.msg);
        return AVOW_OK;
    }
    fflush(stdout);
    t->printed++;
    return t->limit && t->printed >= t->limit ? AVOW_STATE : AVOW_OK;
}

static enum avow_rc tail_run(struct tail *t, const char *base, struct avow_err *err)
{
    enum avow_rc rc = avow_cli_trust(t->cli, err);
    if (rc)
        return rc;
    if (t->exit_at_end)
        return avow_read_topic(t->cli, base, t->id, tail_record, t, err);
    struct avow_follow follow = {.base = base,
                                 .key = t->id,
                                 .from_start = t->from_start,
                                 .fn = tail_record,
                                 .arg = t};
    return avow_follow_topic(t->cli, &follow, err);
}

static enum avow_rc check_format(const struct tail *t, struct avow_err *err)
{
    const char *f = t->format;
    if (!f || avow_cstr_eq(f, "avro-json") || (t->revocations && avow_cstr_eq(f, "cloudevents")))
        return AVOW_OK;
    return avow_err_set(err, AVOW_USAGE, 0, "--format: '%s' is not %s", f,
                        t->revocations ? "avro-json or cloudevents" : "avro-json");
}

static enum avow_exit tail_command(struct tail *t, const char *command, const char *base, int argc,
                                   char **argv)
{
    const struct avow_opt opts[] = {
        {"--from-start", AVOW_OPT_FLAG, &t->from_start, NULL, "from the oldest record kept"},
        {"--exit", AVOW_OPT_FLAG, &t->exit_at_end, NULL, "print what is there and stop"},
        {"--count", AVOW_OPT_U64, &t->limit, "N", "stop after N records"},
        {"--format", AVOW_OPT_STR, &t->format, "FORMAT",
         t->revocations ? "avro-json or cloudevents" : "avro-json"},
        {"--help", AVOW_OPT_FLAG, &t->help, NULL, "this text"},
    };
    struct avow_err err = {.rc = AVOW_OK};
    size_t n = 0;
    enum avow_rc rc =
        avow_opts_parse(opts, AVOW_ARRAY_LEN(opts), argc, argv, &t->id, 1, &n, &err);
    if (!rc && t->help) {
        printf("usage: avow %s [ID] [OPTION...]\n\nPrints %s whose signature and authority are "
               "good; others are refused on stderr,\nand the exit code is then 4.\n\noptions:\n",
               command, base);
        avow_opts_help(opts, AVOW_ARRAY_LEN(opts));
        return AVOW_EXIT_OK;
    }
    if (!rc)
        rc = check_format(t, &err);
    if (rc)
        return avow_cli_usage(command, &err);
    if (!t->format && t->cli->format == AVOW_FORMAT_JSON)
        t->format = "avro-json";
    avow_arena_init(&t->arena, 4 * 1024 * 1024);
    rc = tail_run(t, base, &err);
    avow_arena_deinit(&t->arena);
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
