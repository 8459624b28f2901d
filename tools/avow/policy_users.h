/* policy_users.h - which enrolments name a policy, and whether workers judge by its newest version.
 * Layer: tools/avow. */
#ifndef AVOW_TOOLS_POLICY_USERS_H
#define AVOW_TOOLS_POLICY_USERS_H

#include "context.h"

struct avow_policy_users {
    size_t count;  /* enrolments that name it, for any use */
    size_t behind; /* of them, those without a verdict that names this generation or a later one */
    char one[129]; /* an agent of `behind`, else of `count` */
};
/* Reads enrolments, and verdicts if generation is not 0. Errors: AVOW_UNREACHABLE and others. */
enum avow_rc avow_policy_users_read(struct avow_cli *cli, const char *name, uint64_t generation,
                                    struct avow_policy_users *out,
                                    struct avow_err *err) AVOW_MUST_CHECK;
/* Until nobody is behind; says how far it is. Errors: AVOW_TIMEOUT. */
enum avow_rc avow_policy_users_await(struct avow_cli *cli, const char *name, uint64_t generation,
                                     uint64_t timeout_s, struct avow_err *err) AVOW_MUST_CHECK;

#endif
