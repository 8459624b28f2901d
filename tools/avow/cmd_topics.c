/* `avow topics`: the topics of an installation, and its trust bundle on them. */
#include "commands.h"

#include "avow/base/file.h"
#include "avow/bus/topics.h"

#include <stdio.h>

#include "avow/base/banned.h"

#define BUNDLE_FILE_MAX (64u * 1024u)

struct topic_report {
    const struct avow_cli *cli;
    unsigned differences;
    bool first;
};

static void report_topic(void *arg, const struct avow_topic_report *r)
{
    struct topic_report *t = arg;
    if (r->differs)
        t->differences++;
    if (t->cli->format == AVOW_FORMAT_JSON)
        printf("%s{\"topic\":\"%s\",\"differs\":%s,\"text\":\"%s\"}", t->first ? "" : ",\n",
               r->topic, r->differs ? "true" : "false", r->text);
    else
        printf("%-28s %s\n", r->topic, r->text);
    t->first = false;
}

static void report_begin(const struct avow_cli *cli)
{
    if (cli->format == AVOW_FORMAT_JSON)
        printf("[");
}

static void report_end(const struct avow_cli *cli)
{
    if (cli->format == AVOW_FORMAT_JSON)
        printf("]\n");
}

/* The bundle in the file that [cli] bundle names, verified against root. */
static enum avow_rc load_bundle(const struct avow_cli *cli, struct avow_trust **out,
                                struct avow_err *err)
{
    const char *path = avow_conf_str(cli->conf, "cli", "bundle");
    if (!path)
        return avow_err_set(err, AVOW_CONFIG, 0,
                            "no trust bundle: set bundle in section [cli] (`avow init` makes one)");
    AVOW_CLEANUP(avow_root_free) struct avow_root *root = NULL;
    AVOW_CLEANUP_VAL(avow_buf_deinit) struct avow_buf record;
    avow_buf_init(&record, BUNDLE_FILE_MAX);
    enum avow_rc rc = avow_root_load(avow_conf_str(cli->conf, "cli", "root"), &root, err);
    if (!rc)
        rc = avow_file_read(path, &record, err);
    if (!rc)
        rc = avow_trust_open(root, avow_bytes_make("bundle", 6), avow_buf_bytes(&record), 0, NULL,
                             out, err);
    return rc ? avow_err_wrap(err, rc, "bundle %s", path) : AVOW_OK;
}

/* Publishes the file's bundle unless the topic serves it, or a newer one, already. */
static enum avow_rc publish_bundle(struct avow_cli *cli, const struct avow_trust *mine,
                                   const char **outcome, struct avow_err *err)
{
    char topic[AVOW_TOPIC_NAME_MAX];
    enum avow_rc rc = avow_cli_trust(cli, err);
    if (rc && rc != AVOW_NOTFOUND)
        return rc;
    if (!rc) {
        uint64_t there = avow_trust_bundle(cli->trust)->version;
        uint64_t here = avow_trust_bundle(mine)->version;
        if (there > here)
            return avow_err_set(err, AVOW_ROLLBACK, 0,
                                "topic trust serves bundle version %llu; the file has the older "
                                "version %llu",
                                (unsigned long long)there, (unsigned long long)here);
        *outcome = "bundle is published already";
        if (there == here)
            return AVOW_OK;
    }
    struct avow_bus_record rec = {.topic = avow_cli_topic(cli, "trust", topic),
                                  .partition = 0,
                                  .key = avow_bytes_make("bundle", 6),
                                  .value = avow_trust_record(mine)};
    *outcome = "bundle published";
    return avow_cli_produce(cli, &rec, err);
}

enum avow_exit avow_cmd_topics_apply(struct avow_cli *cli, int argc, char **argv)
{
    struct avow_err err = {.rc = AVOW_OK};
    uint64_t replication = 3;
    bool help = false;
    const struct avow_opt opts[] = {
        {"--replication", AVOW_OPT_U64, &replication, "N", "copies of each partition (3)"},
        {"--help", AVOW_OPT_FLAG, &help, NULL, "this text"},
    };
    size_t n = 0;
    enum avow_rc rc = avow_opts_parse(opts, AVOW_ARRAY_LEN(opts), argc, argv, NULL, 0, &n, &err);
    if (rc)
        return avow_cli_usage("topics apply", &err);
    if (help) {
        printf("usage: avow topics apply [OPTION...]\n\n"
               "Creates the missing topics with the right partitions and settings, and publishes "
               "the\ntrust bundle. Topics that exist are never changed; `topics check` says what "
               "differs.\n\noptions:\n");
        avow_opts_help(opts, AVOW_ARRAY_LEN(opts));
        return AVOW_EXIT_OK;
    }
    AVOW_CLEANUP(avow_trust_free) struct avow_trust *bundle = NULL;
    struct topic_report report = {.cli = cli, .first = true};
    const char *outcome = "";
    rc = load_bundle(cli, &bundle, &err);
    if (!rc)
        rc = avow_cli_bus(cli, &err);
    if (rc)
        return avow_cli_fail(rc, &err);
    report_begin(cli);
    rc = avow_topics_apply(cli->bus, avow_conf_str(cli->conf, "topic", "prefix"),
                           avow_trust_bundle(bundle)->partitions, (int)replication, report_topic,
                           &report, &err);
    report_end(cli);
    if (!rc)
        rc = publish_bundle(cli, bundle, &outcome, &err);
    if (rc)
        return avow_cli_fail(rc, &err);
    if (cli->format != AVOW_FORMAT_JSON)
        printf("%s (version %llu)\n", outcome,
               (unsigned long long)avow_trust_bundle(bundle)->version);
    return AVOW_EXIT_OK;
}

enum avow_exit avow_cmd_topics_check(struct avow_cli *cli, int argc, char **argv)
{
    struct avow_err err = {.rc = AVOW_OK};
    uint64_t replication = 3;
    bool help = false;
    const struct avow_opt opts[] = {
        {"--replication", AVOW_OPT_U64, &replication, "N", "copies of each partition (3)"},
        {"--help", AVOW_OPT_FLAG, &help, NULL, "this text"},
    };
    size_t n = 0;
    enum avow_rc rc = avow_opts_parse(opts, AVOW_ARRAY_LEN(opts), argc, argv, NULL, 0, &n, &err);
    if (rc)
        return avow_cli_usage("topics check", &err);
    if (help) {
        printf("usage: avow topics check [OPTION...]\n\nExit 1 if anything differs.\n\noptions:\n");
        avow_opts_help(opts, AVOW_ARRAY_LEN(opts));
        return AVOW_EXIT_OK;
    }
    struct topic_report report = {.cli = cli, .first = true};
    rc = avow_cli_trust(cli, &err);
    if (rc)
        return avow_cli_fail(rc, &err);
    report_begin(cli);
    rc = avow_topics_check(cli->bus, avow_conf_str(cli->conf, "topic", "prefix"),
                           avow_trust_bundle(cli->trust)->partitions, (int)replication,
                           report_topic, &report, &err);
    report_end(cli);
    if (rc)
        return avow_cli_fail(rc, &err);
    return report.differences ? AVOW_EXIT_FAILED : AVOW_EXIT_OK;
}
