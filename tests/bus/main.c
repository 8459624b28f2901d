/* main.c - the table of bus semantics. Without $AVOW_TEST_KAFKA on bus_mem, with it on the Kafka
 * that it names. A first argument, other than of a child, selects cases by a pattern (*, ?). */
#define _GNU_SOURCE /* setenv */
#include "cases.h"

#include "avow/base/log.h"

#include <stdlib.h>

#include "avow/base/banned.h"

#define CASES_MAX 64u

const char *program_path;

static size_t add(struct CMUnitTest *all, size_t n, const struct CMUnitTest *more)
{
    for (; more->name && n < CASES_MAX; more++)
        all[n++] = *more;
    return n;
}

int main(int argc, char **argv)
{
    const char *bootstrap = getenv("AVOW_TEST_KAFKA");
    enum avow_log_level level = AVOW_LOG_ERROR;
    const char *wanted = getenv("AVOW_TEST_LOG");
    if (wanted && !avow_log_level_parse(wanted, &level))
        return 2;
    avow_log_init("bus-test", level, AVOW_LOG_TEXT);
    program_path = argv[0];
    if (argc > 1 && avow_cstr_eq(argv[1], "child"))
        return child_main(argc, argv);
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    struct CMUnitTest all[CASES_MAX];
    size_t n = 0;
    n = add(all, n, record_cases);
    n = add(all, n, txn_cases);
    n = add(all, n, group_cases);
    n = add(all, n, topic_cases);
    if (bootstrap)
        n = add(all, n, kafka_cases);
    if (!world_open(bootstrap))
        return 2;
    int failed =
        _cmocka_run_group_tests(bootstrap ? "bus on Kafka" : "bus in memory", all, n, NULL, NULL);
    world_close();
    return failed ? 1 : 0;
}
