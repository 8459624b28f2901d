/* one_host.c - see one_host.h. */
#include "one_host.h"

#include "avow/base/banned.h"

struct rig r;

int setup(void **state)
{
    (void)state;
    rig_init(&r, RIG_P256);
    rig_policy(&r, rig_policy_text(&r, "[]", "/bin/sh", "/bin/ls", NULL));
    rig_run(&r, "/bin/sh");
    return 0;
}

int teardown(void **state)
{
    (void)state;
    rig_deinit(&r);
    return 0;
}

void judge(struct rig_shot *s)
{
    rig_seal(&r, s);
    rig_expect_accepted(&r, s);
}

void expect_trusted_now(void)
{
    RIG_EXPECT_NO_FINDINGS(&r);
    rig_expect_status(&r, AVOW_STATUS_TRUSTED);
    rig_expect_as_of(&r, r.epoch);
}
