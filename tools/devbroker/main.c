/* main.c - avow-devbroker: librdkafka's mock cluster in a process of its own, with Avow's topics.
 * For the demo and for development. It keeps nothing, checks nobody, and its transactions do
 * nothing. */
#include "ports.h"

#include "avow/base/cli.h"
#include "avow/base/clock.h"
#include "avow/base/log.h"
#include "avow/base/num.h"
#include "avow/bus/topics.h"

#include <errno.h>
#include <getopt.h>
#include <librdkafka/rdkafka.h>
#include <librdkafka/rdkafka_mock.h>
#include <syslog.h>
#include <unistd.h>

#include "avow/base/banned.h"

#define PORT_DEFAULT 19092u
#define PARTITIONS_DEFAULT 4u
/* The mock keeps at most 5 MiB per partition that was ever written to: 13 topics x 64 are 4 GiB
 * at worst. */
#define PARTITIONS_MAX 64u
#define STOP_CHECK_MS 50u

struct options {
    uint64_t port;
    uint64_t partitions;
    const char *prefix;
    const char *ready_file;
};

struct devbroker {
    rd_kafka_t *rk;
    rd_kafka_mock_cluster_t *cluster; /* belongs to rk, destroyed before it */
};

static const char usage_text[] =
    "usage: avow-devbroker [OPTION...]\n"
    "A Kafka for trying Avow: in memory, on 127.0.0.1, no TLS, no users, transactions do nothing.\n"
    "Never use it in production.\n\n"
    "  --port N         port on 127.0.0.1 (19092; 0: any free one)\n"
    "  --partitions N   of the topics that have as many as the trust bundle says (4; 1 to 64)\n"
    "  --prefix TEXT    of the topics' names (avow.)\n"
    "  --ready-file F   written with the address once clients can connect, removed at the end\n"
    "  --help, --version\n"
    "Set kafka.bootstrap.servers to the address, and processing.guarantee to at_least_once.\n";

/* --- Options --- */

static bool number(const char *name, const char *text, uint64_t min, uint64_t max, uint64_t *out)
{
    if (avow_num_parse_u64(avow_str_from(text), max, out) && *out >= min)
        return true;
    fprintf(stderr, "avow-devbroker: %s must be a number from %llu to %llu\n", name,
            (unsigned long long)min, (unsigned long long)max);
    return false;
}

/* Returns the exit code, or -1 to go on. */
static int parse(int argc, char **argv, struct options *o)
{
    static const struct option longs[] = {{"port", required_argument, NULL, 'p'},
                                          {"partitions", required_argument, NULL, 'n'},
                                          {"prefix", required_argument, NULL, 'x'},
                                          {"ready-file", required_argument, NULL, 'r'},
                                          {"help", no_argument, NULL, 'h'},
                                          {"version", no_argument, NULL, 'v'},
                                          {NULL, 0, NULL, 0}};
    int c = 0;
    bool ok = true;
    while (ok && (c = getopt_long(argc, argv, "", longs, NULL)) != -1) {
        switch (c) {
        case 'p':
            ok = number("--port", optarg, 0, 65535, &o->port);
            break;
        case 'n':
            ok = number("--partitions", optarg, 1, PARTITIONS_MAX, &o->partitions);
            break;
        case 'x':
            o->prefix = optarg;
            break;
        case 'r':
            o->ready_file = optarg;
            break;
        case 'h':
            fputs(usage_text, stdout);
            return AVOW_EXIT_OK;
        case 'v':
            printf("avow-devbroker %s (librdkafka %s)\n", avow_version, rd_kafka_version_str());
            return AVOW_EXIT_OK;
        default:
            ok = false;
        }
    }
    if (ok && optind < argc) {
        fprintf(stderr, "avow-devbroker: what is \"%s\"?\n", argv[optind]);
        ok = false;
    }
    return ok ? -1 : AVOW_EXIT_USAGE;
}

/* --- The cluster --- */

static void log_cb(const rd_kafka_t *rk, int level, const char *fac, const char *text)
{
    (void)rk;
    if (level <= LOG_WARNING)
        avow_log_limited(WARN, "devbroker", 60, AVOW_KV_STR("facility", fac),
                         AVOW_KV_STR("text", text));
    else
        avow_log(DEBUG, "devbroker", AVOW_KV_STR("facility", fac), AVOW_KV_STR("text", text));
}

static void devbroker_stop(struct devbroker *d)
{
    if (d->cluster)
        rd_kafka_mock_cluster_destroy(d->cluster);
    if (d->rk)
        rd_kafka_destroy(d->rk);
    *d = (struct devbroker){0};
}

static enum avow_rc make_topics(const struct devbroker *d, const struct options *o,
                                struct avow_err *err)
{
    size_t n = 0;
    const struct avow_topic_def *defs = avow_topic_defs(&n);
    for (size_t i = 0; i < n; i++) {
        char name[200];
        int len = snprintf(name, sizeof(name), "%s%s", o->prefix, defs[i].base);
        if (len < 0 || (size_t)len >= sizeof(name))
            return avow_err_set(err, AVOW_LIMIT, 0, "--prefix is too long");
        /* librdkafka's mock thread can miss a request that follows too closely on the last answer:
         * it then sleeps 1 s. */
        avow_clock_sleep_ms(2);
        int partitions = (int)(defs[i].partitions ? defs[i].partitions : o->partitions);
        rd_kafka_resp_err_t code = rd_kafka_mock_topic_create(d->cluster, name, partitions, 1);
        if (code)
            return avow_err_set(err, AVOW_BUS, code, "topic %s: %s", name, rd_kafka_err2str(code));
    }
    return AVOW_OK;
}

/* bind() was ours only if librdkafka resolved it to this program: better to fail than to serve an
 * unknown port. */
static enum avow_rc check_address(const struct devbroker *d, const struct options *o,
                                  struct avow_err *err)
{
    char want[32];
    const char *have = rd_kafka_mock_cluster_bootstraps(d->cluster);
    (void)snprintf(want, sizeof(want), "127.0.0.1:%u", (unsigned)o->port);
    if (o->port != 0 && !avow_cstr_eq(have, want))
        return avow_err_set(err, AVOW_STATE, 0, "librdkafka listens on %s instead of %s", have,
                            want);
    return AVOW_OK;
}

static enum avow_rc devbroker_start(const struct options *o, struct devbroker *d,
                                    struct avow_err *err)
{
    char text[200];
    int failure = ports_try((uint16_t)o->port);
    if (failure)
        return avow_err_set(err, AVOW_EXISTS, failure,
                            "127.0.0.1:%u: %s: stop the other broker, or choose another --port",
                            (unsigned)o->port, strerror(failure));
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    rd_kafka_conf_set_log_cb(conf, log_cb);
    d->rk = rd_kafka_new(RD_KAFKA_PRODUCER, conf, text, sizeof(text));
    if (!d->rk) {
        rd_kafka_conf_destroy(conf);
        return avow_err_set(err, AVOW_BUS, 0, "%s", text);
    }
    ports_want((uint16_t)o->port);
    d->cluster = rd_kafka_mock_cluster_new(d->rk, 1);
    if (!d->cluster)
        return avow_err_set(err, AVOW_BUS, 0, "librdkafka's mock cluster did not start");
    enum avow_rc rc = check_address(d, o, err);
    return rc ? rc : make_topics(d, o, err);
}

static void banner(const char *address, const struct options *o)
{
    size_t n = 0;
    (void)avow_topic_defs(&n);
    fprintf(stderr,
            "avow-devbroker: VOLATILE, NOT FOR PRODUCTION. Everything is in memory and gone when "
            "this stops;\n"
            "at most 5 MiB per partition, older records vanish; no TLS, no users, transactions do "
            "nothing.\n"
            "%zu topics %s*, %llu partitions, on %s\n",
            n, o->prefix, (unsigned long long)o->partitions, address);
}

/* Renamed into place, so that a reader never sees half of it. Not synced to disk: it means nothing
 * after a crash. */
static enum avow_rc write_ready(const char *path, const char *address, struct avow_err *err)
{
    char temporary[4096];
    int len = snprintf(temporary, sizeof(temporary), "%s.new", path);
    if (len < 0 || (size_t)len >= sizeof(temporary))
        return avow_err_set(err, AVOW_LIMIT, 0, "--ready-file is too long");
    FILE *f = fopen(temporary, "w");
    bool ok = f && fprintf(f, "%s\n", address) > 0;
    if (f)
        ok = fclose(f) == 0 && ok;
    if (!ok || rename(temporary, path))
        return avow_err_set(err, AVOW_IO, errno, "%s: %s", path, strerror(errno));
    return AVOW_OK;
}

static enum avow_rc serve(const struct options *o, const struct devbroker *d, struct avow_err *err)
{
    const char *address = rd_kafka_mock_cluster_bootstraps(d->cluster);
    enum avow_rc rc = o->ready_file ? write_ready(o->ready_file, address, err) : AVOW_OK;
    if (rc)
        return rc;
    banner(address, o);
    while (!avow_stop_requested())
        avow_clock_sleep_ms(STOP_CHECK_MS);
    if (o->ready_file)
        (void)unlink(o->ready_file);
    return AVOW_OK;
}

int main(int argc, char **argv)
{
    struct options o = {.port = PORT_DEFAULT, .partitions = PARTITIONS_DEFAULT, .prefix = "avow."};
    int code = parse(argc, argv, &o);
    if (code >= 0)
        return code;
    avow_log_init("avow-devbroker", AVOW_LOG_WARN, AVOW_LOG_TEXT);
    avow_stop_install();
    struct devbroker d = {0};
    struct avow_err err = {0};
    enum avow_rc rc = devbroker_start(&o, &d, &err);
    if (!rc)
        rc = serve(&o, &d, &err);
    devbroker_stop(&d);
    if (rc)
        fprintf(stderr, "avow-devbroker: %s\n", err.msg);
    return (int)avow_exit_of(rc);
}
