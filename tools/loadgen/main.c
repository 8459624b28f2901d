/* main.c - avow-loadgen: hosts without TPMs that play tampered files, and how long their
 * revocations take. For benchmarks of an installation on this machine. */
#include "avow/base/cli.h"
#include "avow/base/log.h"
#include "avow/base/num.h"
#include "fleet.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "avow/base/banned.h"

static const char usage_text[] =
    "usage: avow-loadgen --bootstrap HOST:PORT --root PEM --tenant-key PEM [OPTION...]\n"
    "Plays hosts whose attestation keys are software: enrols them with the tenant's key, runs\n"
    "tampered files, and measures the time to the verified verdict and revocation. The policy "
    "must\n"
    "allow " AVOW_LOAD_PATH " with the SHA-256 of that very text.\n\n"
    "  --policy NAME     runtime policy of the enrolments (load)\n"
    "  --prefix TEXT     of the topics' names (avow.)\n"
    "  --agents N        1 to 2000 (200)\n"
    "  --rounds N        tampered files a host, 1 to 100 (1)\n"
    "  --spread-ms N     they are run within this time, each round (20000)\n"
    "  --poll-ms N       how often a list is looked at (100)\n"
    "  --tpm-ms N        what a quote takes (0)\n"
    "  --timeout-s N     for everything (300)\n"
    "  --allow-remote    brokers that are not on this machine\n"
    "  --help, --version\n"
    "Prints one line of JSON; exit code 0 if every revocation came, 1 if not.\n";

struct number {
    const char *name;
    uint64_t min, max;
    uint64_t *value;
};

struct args {
    struct avow_load_opts load;
    bool allow_remote;
};

static bool set_number(const struct number *n, const char *text)
{
    if (avow_num_parse_u64(avow_str_from(text), n->max, n->value) && *n->value >= n->min)
        return true;
    fprintf(stderr, "avow-loadgen: --%s must be a number from %llu to %llu\n", n->name,
            (unsigned long long)n->min, (unsigned long long)n->max);
    return false;
}

/* Each of the comma separated brokers. */
static bool is_local(const char *bootstrap)
{
    static const char *const hosts[] = {"127.", "localhost:", "[::1]:"};
    for (const char *p = bootstrap; p; p = strchr(p, ',')) {
        bool local = false;
        p += *p == ',';
        for (size_t i = 0; i < AVOW_ARRAY_LEN(hosts); i++)
            local |= avow_str_starts(avow_str_from(p), hosts[i]);
        if (!local)
            return false;
    }
    return true;
}

static bool check(const struct args *a)
{
    const char *missing = !a->load.bootstrap    ? "bootstrap"
                          : !a->load.root       ? "root"
                          : !a->load.tenant_key ? "tenant-key"
                                                : NULL;
    if (missing)
        fprintf(stderr, "avow-loadgen: --%s is missing\n", missing);
    else if (!a->allow_remote && !is_local(a->load.bootstrap))
        fprintf(stderr, "avow-loadgen: %s is not this machine; --allow-remote if you mean it\n",
                a->load.bootstrap);
    else
        return true;
    return false;
}

/* Returns the exit code, or -1 to go on. */
static int parse(int argc, char **argv, struct args *a)
{
    struct avow_load_opts *o = &a->load;
    const struct {
        const char *name;
        const char **value;
    } texts[] = {{"bootstrap", &o->bootstrap},
                 {"root", &o->root},
                 {"tenant-key", &o->tenant_key},
                 {"policy", &o->policy},
                 {"prefix", &o->prefix}};
    const struct number numbers[] = {{"agents", 1, AVOW_LOAD_AGENTS_MAX, &o->agents},
                                     {"rounds", 1, AVOW_LOAD_ROUNDS_MAX, &o->rounds},
                                     {"spread-ms", 0, 600000, &o->spread_ms},
                                     {"poll-ms", 10, 10000, &o->poll_ms},
                                     {"tpm-ms", 0, 10000, &o->tpm_ms},
                                     {"timeout-s", 1, 7200, &o->timeout_s}};
    enum { TEXTS = 5, NUMBERS = 6, REMOTE = 100, HELP, VERSION };
    struct option longs[TEXTS + NUMBERS + 4] = {{"allow-remote", no_argument, NULL, REMOTE},
                                                {"help", no_argument, NULL, HELP},
                                                {"version", no_argument, NULL, VERSION}};
    for (int i = 0; i < TEXTS; i++)
        longs[3 + i] = (struct option){texts[i].name, required_argument, NULL, i};
    for (int i = 0; i < NUMBERS; i++)
        longs[3 + TEXTS + i] = (struct option){numbers[i].name, required_argument, NULL, TEXTS + i};
    int c;
    while ((c = getopt_long(argc, argv, "", longs, NULL)) != -1) {
        if (c == HELP || c == VERSION) {
            printf("%s%s%s", c == HELP ? usage_text : "avow-loadgen ",
                   c == HELP ? "" : avow_version, c == HELP ? "" : "\n");
            return AVOW_EXIT_OK;
        }
        if (c == REMOTE)
            a->allow_remote = true;
        else if (c >= 0 && c < TEXTS)
            *texts[c].value = optarg;
        else if (c < TEXTS || c >= TEXTS + NUMBERS || !set_number(&numbers[c - TEXTS], optarg))
            return AVOW_EXIT_USAGE;
    }
    if (optind < argc) {
        fprintf(stderr, "avow-loadgen: what is \"%s\"?\n", argv[optind]);
        return AVOW_EXIT_USAGE;
    }
    return check(a) ? -1 : AVOW_EXIT_USAGE;
}

static int compare(const void *a, const void *b)
{
    double x, y;
    memcpy(&x, a, sizeof x);
    memcpy(&y, b, sizeof y);
    return x < y ? -1 : x > y;
}

/* Nearest rank: a value that was measured. */
static void print_quantiles(const char *name, double *values, size_t n)
{
    qsort(values, n, sizeof *values, compare);
    size_t p50 = n ? (n + 1) / 2 - 1 : 0, p99 = n ? (n * 99 + 99) / 100 - 1 : 0;
    printf("\"%s\":{\"p50\":%.1f,\"p99\":%.1f,\"max\":%.1f},", name, n ? values[p50] : 0,
           n ? values[p99] : 0, n ? values[n - 1] : 0);
}

static enum avow_exit print(const struct avow_load_opts *o, const struct avow_load_report *r)
{
    double *values = calloc(3 * r->count + 1, sizeof *values);
    if (!values)
        return AVOW_EXIT_FAILED;
    for (size_t i = 0; i < r->count; i++) {
        values[i] = r->samples[i].sent;
        values[r->count + i] = r->samples[i].verdict;
        values[2 * r->count + i] = r->samples[i].revocation;
    }
    printf("{\"agents\":%llu,\"samples\":%zu,\"missing\":%zu,", (unsigned long long)o->agents,
           r->count, r->missing);
    print_quantiles("sent_ms", values, r->count);
    print_quantiles("verdict_ms", values + r->count, r->count);
    print_quantiles("revocation_ms", values + 2 * r->count, r->count);
    printf("\"read\":{\"verdicts\":%llu,\"revocations\":%llu,\"refused\":%llu}}\n",
           (unsigned long long)r->read.verdicts, (unsigned long long)r->read.revocations,
           (unsigned long long)r->read.refused);
    free(values);
    return r->missing || r->read.refused ? AVOW_EXIT_FAILED : AVOW_EXIT_OK;
}

int main(int argc, char **argv)
{
    struct args a = {.load = {.prefix = "avow.",
                              .policy = "load",
                              .agents = 200,
                              .rounds = 1,
                              .spread_ms = 20000,
                              .poll_ms = 100,
                              .timeout_s = 300}};
    struct avow_load_report report;
    struct avow_err err = {.rc = AVOW_OK};
    int code = parse(argc, argv, &a);
    if (code >= 0)
        return code;
    avow_log_init("avow-loadgen", AVOW_LOG_INFO, AVOW_LOG_TEXT);
    avow_stop_install();
    enum avow_rc rc = avow_load_run(&a.load, &report, &err);
    if (rc) {
        fprintf(stderr, "avow-loadgen: %s\n", err.msg);
        return (int)avow_exit_of(rc);
    }
    code = (int)print(&a.load, &report);
    free(report.samples);
    return code;
}
