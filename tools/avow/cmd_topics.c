/* `avow topics`: the topics of an installation, and its trust bundle on them. */
#include "commands.h"

#include "avow/base/file.h"
#include "avow/bus/topics.h"
#include "json_out.h"
#include "table.h"
#include "text.h"
#include "trust_view.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "avow/base/banned.h"

#define BUNDLE_FILE_MAX (64u * 1024u)
#define REPLICATION_MAX 32767u /* Kafka: int16 */

struct topic_report {
    const struct avow_cli *cli;
    json_t *list; /* JSON only; NULL when out of memory */
    unsigned differences;
};

static void report_topic(void *arg, const struct avow_topic_report *r)
{
    struct topic_report *t = arg;
    char topic[AVOW_TOPIC_NAME_MAX], text[512];
    if (r->differs)
        t->differences++;
    if (t->cli->format == AVOW_FORMAT_JSON) {
        json_t *one = json_pack("{s:o,s:b,s:o}", "topic", avow_json_cstr(r->topic), "differs",
                                (int)r->differs, "text", avow_json_cstr(r->text));
        if (!t->list || !one || json_array_append_new(t->list, one)) {
            json_decref(t->list);
            t->list = NULL;
        }
        return;
    }
    avow_text_clean(topic, sizeof topic, avow_str_from(r->topic));
    avow_text_clean(text, sizeof text, avow_str_from(r->text));
    const char *on = r->differs && t->cli->color ? "\x1b[1;33m" : "";
    printf("%-28s %s%s%s\n", topic, on, text, *on ? avow_color_reset(true) : "");
    fflush(stdout); /* each topic takes a moment */
}

/* The bundle in the file that [cli] bundle names, verified against root. */
static enum avow_rc load_bundle(struct avow_cli *cli, struct avow_trust **out, struct avow_err *err)
{
    const char *path;
    AVOW_CLEANUP_VAL(avow_buf_deinit) struct avow_buf record;
    avow_buf_init(&record, BUNDLE_FILE_MAX);
    enum avow_rc rc = avow_cli_path(cli, "bundle", "the trust bundle to publish", &path, err);
    if (!rc)
        rc = avow_cli_root(cli, err);
    if (rc)
        return rc;
    rc = avow_file_read(path, &record, err);
    if (rc)
        return avow_cli_bad_setting(err, "bundle");
    rc = avow_trust_open(cli->root, avow_bytes_make("bundle", 6), avow_buf_bytes(&record), 0, NULL,
                         out, err);
    if (rc) {
        avow_cli_hint(cli, "do cli.bundle and cli.root belong to the same installation?");
        return avow_err_wrap(err, rc, "cli.bundle: %s", path);
    }
    const struct avow_bundle *b = avow_trust_bundle(*out);
    const char *prefix = avow_conf_str(cli->conf, "topic", "prefix");
    if (avow_str_is(b->topic_prefix, prefix))
        return AVOW_OK;
    return avow_err_set(err, AVOW_CONFIG, 0,
                        "topic.prefix is '%.60s', but the trust bundle in %s is for '%.*s'", prefix,
                        path, (int)b->topic_prefix.len, b->topic_prefix.ptr);
}

/* Publishes the file's bundle unless the topic serves it already. */
static enum avow_rc publish_bundle(struct avow_cli *cli, const struct avow_trust *mine,
                                   const char **outcome, struct avow_err *err)
{
    char topic[AVOW_TOPIC_NAME_MAX];
    uint64_t here = avow_trust_bundle(mine)->version;
    enum avow_rc rc = avow_cli_trust(cli, err);
    if (rc == AVOW_UNTRUSTED)
        avow_cli_hint(cli, "these topics belong to another installation, or somebody wrote there: "
                           "choose another topic prefix (`avow init --topic-prefix`), or clear it");
    if (rc && rc != AVOW_STATE)
        return rc;
    if (!rc) {
        uint64_t there = avow_trust_bundle(cli->trust)->version;
        if (there > here)
            return avow_err_set(err, AVOW_ROLLBACK, 0,
                                "topic trust serves bundle version %" PRIu64
                                "; the file has the older version %" PRIu64,
                                there, here);
        *outcome = "unchanged";
        if (there == here)
            return AVOW_OK;
    }
    cli->hint[0] = '\0'; /* an empty topic is what publishing is for */
    if (here < cli->keeper.floor)
        return avow_err_set(err, AVOW_ROLLBACK, 0,
                            "bus.rollback: topic trust is empty and cli.bundle is version %" PRIu64
                            ", but this machine has seen version %" PRIu64,
                            here, cli->keeper.floor);
    struct avow_bus_record rec = {.topic = avow_cli_topic(cli, "trust", topic),
                                  .partition = 0,
                                  .key = avow_bytes_make("bundle", 6),
                                  .value = avow_trust_record(mine)};
    *outcome = "published";
    rc = avow_cli_produce(cli, &rec, err);
    if (!rc)
        avow_cli_trust_keep(cli, mine);
    return rc;
}

/* `bundle`: what was done with it, NULL if nothing was to do. */
static enum avow_rc print_report(struct topic_report *report, const struct avow_trust *bundle,
                                 const char *outcome, struct avow_err *err)
{
    const struct avow_bundle *b = avow_trust_bundle(bundle);
    if (report->cli->format != AVOW_FORMAT_JSON) {
        if (outcome)
            printf("trust bundle version %" PRIu64 " %s\n", b->version, outcome);
        return AVOW_OK;
    }
    json_t *topics = report->list;
    report->list = NULL;
    return avow_json_document(json_pack("{s:o,s:b,s:{s:o,s:s?}}", "topics", topics, "differs",
                                        (int)(report->differences > 0), "bundle", "version",
                                        avow_json_u64(b->version), "outcome", outcome),
                              err);
}

/* What the library says about a failed topic is in the report already; this is about what to do. */
static void hint_failure(struct avow_cli *cli, enum avow_rc rc, const struct avow_err *err,
                         uint64_t replication)
{
    if (rc == AVOW_BUS && strstr(err->msg, "eplication factor"))
        avow_cli_hint(cli,
                      "this cluster has fewer than %" PRIu64 " brokers: --replication 1 (or 2) "
                      "fits a trial; production wants three",
                      replication);
}

static enum avow_exit end_report(struct topic_report *report, enum avow_rc rc,
                                 const struct avow_err *err)
{
    json_decref(report->list);
    if (rc)
        return avow_cli_fail(report->cli, rc, err);
    if (!report->differences)
        return AVOW_EXIT_OK;
    avow_cli_note("%u topic%s differ%s from what Avow needs; existing topics are never changed",
                  report->differences, report->differences == 1 ? "" : "s",
                  report->differences == 1 ? "s" : "");
    return AVOW_EXIT_FAILED;
}

enum avow_exit avow_cmd_topics_apply(struct avow_cli *cli, int argc, char **argv)
{
    uint64_t replication = 3;
    const struct avow_opt opts[] = {AVOW_NUMBER("--replication", &replication, "N", 1,
                                                REPLICATION_MAX, "copies of each partition (3)")};
    const struct avow_command command = {
        .name = "topics apply",
        .words = "",
        .about = "Creates the missing topics with the right partitions and settings, and publishes "
                 "the\ntrust bundle. Topics that exist are compared and never changed: exit 1 if "
                 "one differs.",
        .opts = opts,
        .n_opts = AVOW_ARRAY_LEN(opts)};
    const char *pos[AVOW_COMMAND_WORDS_MAX] = {NULL};
    enum avow_exit code;
    if (!avow_command_begin(cli, &command, argc, argv, pos, &code))
        return code;
    struct avow_err err = {.rc = AVOW_OK};
    AVOW_CLEANUP(avow_trust_free) struct avow_trust *bundle = NULL;
    struct topic_report report = {.cli = cli, .list = json_array()};
    const char *outcome = NULL;
    enum avow_rc rc = load_bundle(cli, &bundle, &err);
    if (!rc)
        rc = avow_cli_bus(cli, &err);
    if (!rc) {
        rc = avow_topics_apply(cli->bus, avow_conf_str(cli->conf, "topic", "prefix"),
                               avow_trust_bundle(bundle)->partitions, (int)replication,
                               report_topic, &report, &err);
        hint_failure(cli, rc, &err, replication);
    }
    if (!rc)
        rc = publish_bundle(cli, bundle, &outcome, &err);
    if (!rc)
        rc = print_report(&report, bundle, outcome, &err);
    return end_report(&report, rc, &err);
}

enum avow_exit avow_cmd_topics_check(struct avow_cli *cli, int argc, char **argv)
{
    uint64_t replication = 3;
    const struct avow_opt opts[] = {AVOW_NUMBER("--replication", &replication, "N", 1,
                                                REPLICATION_MAX, "copies of each partition (3)")};
    const struct avow_command command = {
        .name = "topics check",
        .words = "",
        .about = "Compares the topics with what Avow needs. Exit 1 if one differs or is missing.",
        .opts = opts,
        .n_opts = AVOW_ARRAY_LEN(opts)};
    const char *pos[AVOW_COMMAND_WORDS_MAX] = {NULL};
    enum avow_exit code;
    if (!avow_command_begin(cli, &command, argc, argv, pos, &code))
        return code;
    struct avow_err err = {.rc = AVOW_OK};
    struct topic_report report = {.cli = cli, .list = json_array()};
    enum avow_rc rc = avow_cli_trust(cli, &err);
    if (!rc)
        rc = avow_topics_check(cli->bus, avow_conf_str(cli->conf, "topic", "prefix"),
                               avow_trust_bundle(cli->trust)->partitions, (int)replication,
                               report_topic, &report, &err);
    if (!rc)
        rc = print_report(&report, cli->trust, NULL, &err);
    return end_report(&report, rc, &err);
}
