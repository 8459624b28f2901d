/* one_host.h - the host of a test that needs one and no more: made before it, gone after it. */
#ifndef AVOW_TESTS_CORE_ONE_HOST_H
#define AVOW_TESTS_CORE_ONE_HOST_H

#include "rig.h"

extern struct rig r;

/* P-256, a policy for /bin/sh and /bin/ls, and /bin/sh ran. */
int setup(void **state);
int teardown(void **state);
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

/* Seals and judges a shot, which must be accepted. */
void judge(struct rig_shot *s);
void expect_trusted_now(void);

#endif
