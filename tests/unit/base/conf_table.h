/* conf_table.h - the configuration table that the tests of conf and daemon share. */
#ifndef AVOW_TEST_BASE_CONF_TABLE_H
#define AVOW_TEST_BASE_CONF_TABLE_H

#include "avow/base/conf.h"

static const struct avow_conf_option test_options[] = {
    {"test", "name", AVOW_CONF_STR, "fallback", 0, 0, NULL, "a name", "AVOW_OLD_NAME"},
    {"test", "path", AVOW_CONF_PATH, NULL, 0, 0, NULL, "a path", NULL},
    {"test", "count", AVOW_CONF_U64, "5", 1, 10, NULL, "a number", NULL},
    {"test", "wait.max", AVOW_CONF_MS, "30s", 100, 3600000, NULL, "a duration", NULL},
    {"test", "on", AVOW_CONF_BOOL, "true", 0, 0, NULL, "a switch", NULL},
    {"test", "mode", AVOW_CONF_ENUM, "fast", 0, 0, "fast|slow|off", "a choice", NULL},
    {"test", "user_password", AVOW_CONF_STR, NULL, 0, 0, NULL, "a secret", NULL},
    {"other", "name", AVOW_CONF_STR, NULL, 0, 0, NULL, "another name", NULL},
    {"kafka", "own.option", AVOW_CONF_STR, NULL, 0, 0, NULL, "ours, not the library's", NULL},
};

static const struct avow_conf_spec test_spec = {.program = "avow-test",
                                                .options = test_options,
                                                .count = AVOW_ARRAY_LEN(test_options),
                                                .passthrough = "kafka"};

#endif
