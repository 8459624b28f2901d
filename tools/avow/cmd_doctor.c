/* `avow doctor`: finds roll-backs, gaps and misconfiguration. */
#define _GNU_SOURCE /* stat */
#include "commands.h"

#include "avow/base/file.h"
#include "avow/bus/topics.h"
#include "avow/trust/bundle.h"
#include "doctor.h"
#include "table.h"
#include "text.h"
#include "trust_view.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/stat.h>

#include "avow/base/banned.h"

#define LINE_MAX_LEN 700u
#define BUNDLE_FILE_MAX (64u * 1024u)

/* --- Lines --- */

static void line(struct avow_doctor *d, const char *check, const char *text, const char *next)
{
    char clean[LINE_MAX_LEN];
    avow_text_clean(clean, sizeof clean, avow_str_from(text));
    d->checks++;
    d->problems += next != NULL;
    if (d->cli->format == AVOW_FORMAT_JSON) {
        json_t *one = json_pack("{s:s,s:b,s:o,s:o}", "check", check, "ok", next == NULL, "text",
                                avow_json_cstr(clean), "next", avow_json_cstr(next));
        if (!d->list || !one || json_array_append_new(d->list, one)) {
            json_decref(d->list);
            d->list = NULL;
        }
        return;
    }
    const char *on = !d->cli->color ? "" : next ? "\x1b[1;33m" : "\x1b[32m";
    printf("%s%-8s%s %-14s %s\n", on, next ? "PROBLEM" : "ok", avow_color_reset(*on != '\0'), check,
           clean);
    if (next)
        printf("%-8s %-14s next: %s\n", "", "", next);
    fflush(stdout); /* some checks take a moment */
}

void avow_doctor_ok(struct avow_doctor *d, const char *check, const char *fmt, ...)
{
    char text[LINE_MAX_LEN];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    line(d, check, text, NULL);
}

void avow_doctor_problem(struct avow_doctor *d, const char *check, const char *next,
                         const char *fmt, ...)
{
    char text[LINE_MAX_LEN];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    line(d, check, text, next);
}

/* --- Files --- */

static void check_key_file(struct avow_doctor *d, const char *path)
{
    struct stat st;
    AVOW_CLEANUP(avow_privkey_free) struct avow_privkey *key = NULL;
    struct avow_err why;
    if (avow_privkey_load(path, &key, &why)) {
        avow_doctor_problem(d, "tenant key", "point cli.tenant_key at a readable key file", "%s",
                            why.msg);
        return;
    }
    if (stat(path, &st) == 0 && (st.st_mode & 077) != 0) {
        avow_doctor_problem(d, "tenant key", "chmod 600, and think about who could read it",
                            "%s has mode %03o", path, (unsigned)(st.st_mode & 0777));
        return;
    }
    if (!d->cli->trust) {
        avow_doctor_ok(d, "tenant key", "%s is readable", path);
        return;
    }
    const struct avow_bundle *b = avow_trust_bundle(d->cli->trust);
    for (size_t i = 0; i < b->keys_count; i++)
        if (avow_bytes_eq(b->keys[i].spki, avow_privkey_spki(key))) {
            if (b->keys[i].status == AVOW_KEY_STATUS_ACTIVE)
                avow_doctor_ok(d, "tenant key", "%s is active in the bundle", path);
            else
                avow_doctor_problem(d, "tenant key", "point cli.tenant_key at the newer key",
                                    "%s is %s in the bundle", path,
                                    avow_key_status_text(b->keys[i].status));
            return;
        }
    avow_doctor_problem(d, "tenant key", "is it a key of this installation? `avow keys list`",
                        "%s is not in the bundle: nobody accepts what it signs", path);
}

static void check_bundle_file(struct avow_doctor *d, const char *path)
{
    AVOW_CLEANUP_VAL(avow_buf_deinit) struct avow_buf record;
    AVOW_CLEANUP(avow_trust_free) struct avow_trust *file = NULL;
    struct avow_err why;
    avow_buf_init(&record, BUNDLE_FILE_MAX);
    enum avow_rc rc = avow_file_read(path, &record, &why);
    if (!rc)
        rc = avow_trust_open(d->cli->root, avow_bytes_make("bundle", 6), avow_buf_bytes(&record), 0,
                             NULL, &file, &why);
    if (rc) {
        avow_doctor_problem(d, "bundle file", "cli.bundle and cli.root must belong together", "%s",
                            why.msg);
        return;
    }
    uint64_t here = avow_trust_bundle(file)->version;
    uint64_t there = avow_trust_bundle(d->cli->trust)->version;
    if (here == there && avow_bytes_eq(avow_trust_record(file), avow_trust_record(d->cli->trust)))
        avow_doctor_ok(d, "bundle file", "is version %" PRIu64 ", as served", here);
    else if (here > there)
        avow_doctor_problem(d, "bundle file", "`avow topics apply` publishes it",
                            "is version %" PRIu64 ", the topic serves %" PRIu64, here, there);
    else
        avow_doctor_problem(d, "bundle file", "fetch the newest file from where it was signed",
                            "is version %" PRIu64 ", the topic serves %s%" PRIu64, here,
                            here == there ? "another one of version " : "", there);
}

void avow_doctor_files(struct avow_doctor *d)
{
    const char *bundle = avow_conf_str(d->cli->conf, "cli", "bundle");
    const char *tenant = avow_conf_str(d->cli->conf, "cli", "tenant_key");
    if (bundle && d->cli->trust)
        check_bundle_file(d, bundle);
    if (tenant)
        check_key_file(d, tenant);
    if (!avow_conf_str(d->cli->conf, "cli", "ledger"))
        avow_doctor_problem(d, "ledger", "set cli.ledger",
                            "is not configured: roll-backs cannot be found");
}

/* --- Topics and the whole --- */

struct topic_check {
    struct avow_doctor *d;
    unsigned seen, differ;
};

static void report_topic(void *arg, const struct avow_topic_report *r)
{
    struct topic_check *t = arg;
    t->seen++;
    if (!r->differs)
        return;
    t->differ++;
    avow_doctor_problem(t->d, "topics",
                        "`avow topics check`; `avow topics apply` creates missing ones", "%s: %s",
                        r->topic, r->text);
}

static void check_topics(struct avow_doctor *d, int replication)
{
    struct topic_check t = {.d = d};
    struct avow_err why;
    if (avow_topics_check(d->cli->bus, avow_conf_str(d->cli->conf, "topic", "prefix"),
                          avow_trust_bundle(d->cli->trust)->partitions, replication, report_topic,
                          &t, &why))
        avow_doctor_problem(d, "topics", "may this user describe topics?", "%s", why.msg);
    else if (!t.differ)
        avow_doctor_ok(d, "topics", "%u topics are as they should be", t.seen);
}

static void check_trust(struct avow_doctor *d)
{
    struct avow_err why;
    enum avow_rc rc = avow_cli_trust(d->cli, &why);
    const char *next = d->cli->hint[0] ? d->cli->hint : "`avow topics check`";
    if (d->cli->bus)
        avow_doctor_ok(d, "broker", "answers");
    if (rc)
        avow_doctor_problem(d, d->cli->bus ? "trust bundle" : "broker", next, "%s", why.msg);
    else
        avow_doctor_ok(d, "trust bundle", "version %" PRIu64 ", signed by root, not rolled back",
                       avow_trust_bundle(d->cli->trust)->version);
}

static enum avow_rc end(struct avow_doctor *d, struct avow_err *err)
{
    if (d->cli->format == AVOW_FORMAT_JSON)
        return avow_json_document(
            json_pack("{s:o,s:o}", "checks", d->list, "problems", avow_json_u64(d->problems)), err);
    printf("%u problem%s\n", d->problems, d->problems == 1 ? "" : "s");
    return AVOW_OK;
}

enum avow_exit avow_cmd_doctor(struct avow_cli *cli, int argc, char **argv)
{
    uint64_t replication = 3, pending_s = 300;
    const struct avow_opt opts[] = {
        AVOW_NUMBER("--replication", &replication, "N", 1, 32767, "copies of each partition (3)"),
        AVOW_NUMBER("--pending-after", &pending_s, "S", 1, 86400,
                    "an agent pending for longer is a problem (300)"),
    };
    const struct avow_command command = {
        .name = "doctor",
        .words = "",
        .about = "Looks at broker, topics, bundle, keys, clock, workers, enrolments and verdicts, "
                 "and prints a line a\ncheck, with the next step where something is wrong. Exit 0 "
                 "if there is no problem, 1 otherwise.",
        .opts = opts,
        .n_opts = AVOW_ARRAY_LEN(opts)};
    const char *pos[AVOW_COMMAND_WORDS_MAX] = {NULL};
    struct avow_err err = {.rc = AVOW_OK};
    enum avow_exit code;
    if (!avow_command_begin(cli, &command, argc, argv, pos, &code))
        return code;
    struct avow_doctor d = {.cli = cli, .pending_ms = pending_s * 1000};
    if (cli->format == AVOW_FORMAT_JSON)
        d.list = json_array();
    check_trust(&d);
    avow_doctor_files(&d);
    if (cli->trust) {
        check_topics(&d, (int)replication);
        avow_doctor_workers(&d);
        avow_doctor_agents(&d);
    }
    if (end(&d, &err))
        return avow_cli_fail(cli, err.rc, &err);
    return d.problems ? AVOW_EXIT_FAILED : AVOW_EXIT_OK;
}
