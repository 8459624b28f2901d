/* policy_rehearse.h - what a policy that is not pushed yet would say of agents, by the evidence
 * that Kafka still has. Layer: tools/avow. */
#ifndef AVOW_TOOLS_POLICY_REHEARSE_H
#define AVOW_TOOLS_POLICY_REHEARSE_H

#include "context.h"

#include "avow/model/policy_head.h"

struct avow_rehearsal { /* borrowed */
    const char *file;   /* the proposed policy */
    const char *name;   /* whose place it takes: agents whose enrolments name it are judged */
    enum avow_policy_kind kind;
    const char *agent; /* only this one; NULL: all */
};
/* Prints which agents would change their status. *same: none would. Errors: those of reading, of
 * the policies, AVOW_NOTFOUND if no enrolment names the policy. */
enum avow_rc avow_policy_rehearse(struct avow_cli *cli, const struct avow_rehearsal *r, bool *same,
                                  struct avow_err *err) AVOW_MUST_CHECK;

#endif
