/* check.h - what the unit tests of lib/base share: cmocka's headers in their order, and a check
 * that names its case. */
#ifndef AVOW_TEST_BASE_CHECK_H
#define AVOW_TEST_BASE_CHECK_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

/* Fails with the case's name and the text of the condition. */
#define CHECK(name, condition)                                                                     \
    do {                                                                                           \
        if (!(condition))                                                                          \
            fail_msg("case '%s': %s", (name), #condition);                                         \
    } while (0)

#endif
