/* policy_shelf.h - the policies that enrolments name, read from topic policies and compiled, each
 * once. Layer: tools/avow. */
#ifndef AVOW_TOOLS_POLICY_SHELF_H
#define AVOW_TOOLS_POLICY_SHELF_H

#include "policies.h"

#include "avow/core/evaluate.h"

#define AVOW_SHELF_USES 4u /* runtime, boot, keys, severity */

struct avow_shelf_item;
struct avow_policy_shelf {
    struct avow_cli *cli;
    struct avow_policy_list list;
    struct avow_shelf_item *newest; /* owned; a list */
    const char *instead_of; /* borrowed; what `instead` stands for; NULL: nothing is proposed */
    const struct avow_shelf_item *instead;
};
struct avow_shelf_policy {          /* what one enrolment is judged by */
    struct avow_eval_policy policy; /* borrows from `heads` and the shelf */
    struct avow_head_ref heads[AVOW_SHELF_USES];
    uint64_t issued_ms; /* of the newest head */
};

/* Reads the heads; needs the bundle. `s` is to be deinitialised in any case. */
enum avow_rc avow_policy_shelf_init(struct avow_policy_shelf *s, struct avow_cli *cli,
                                    struct avow_err *err) AVOW_MUST_CHECK;
void avow_policy_shelf_deinit(struct avow_policy_shelf *s);
/* From now on this text, which is no envelope, stands for the policy `name`. Errors: those of the
 * kind's reader; AVOW_USAGE if no enrolment is judged by policies of this kind. */
enum avow_rc avow_policy_shelf_propose(struct avow_policy_shelf *s, const char *name,
                                       enum avow_policy_kind kind, struct avow_bytes text,
                                       struct avow_err *err) AVOW_MUST_CHECK;
/* The enrolment names the policy that is proposed. */
bool avow_policy_shelf_concerns(const struct avow_policy_shelf *s, const struct avow_enrollment *e);
/* With or without what was proposed. *out must stay where it is. Errors: AVOW_STATE if a policy is
 * not on the topic; those of avow_policy_document_read and of the readers. */
enum avow_rc avow_policy_shelf_resolve(struct avow_policy_shelf *s, const struct avow_enrollment *e,
                                       bool proposed, struct avow_shelf_policy *out,
                                       struct avow_err *err) AVOW_MUST_CHECK;

#endif
