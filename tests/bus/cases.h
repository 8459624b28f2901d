/* cases.h - the cases, by subject; each list ends with an empty entry. Tests only. */
#ifndef AVOW_TESTS_BUS_CASES_H
#define AVOW_TESTS_BUS_CASES_H

#include "world.h"

extern const struct CMUnitTest record_cases[];
extern const struct CMUnitTest txn_cases[];
extern const struct CMUnitTest group_cases[];
extern const struct CMUnitTest topic_cases[];
extern const struct CMUnitTest kafka_cases[]; /* what only a real broker can do */

/* A second process: joins a group and obeys commands on its standard input (case_kafka.c). */
int child_main(int argc, char **argv);
extern const char *program_path; /* argv[0] */

#endif
