/* policies.h - policy heads and documents on topic policies. Layer: tools/avow. */
#ifndef AVOW_TOOLS_POLICIES_H
#define AVOW_TOOLS_POLICIES_H

#include "context.h"

#include "avow/model/policy_head.h"

struct avow_policy_entry {
    struct avow_policy_head head; /* borrows from the list's arena */
    struct avow_str name;
};
struct avow_policy_list {
    struct avow_arena arena;
    struct avow_policy_entry
        *items; /* newest head of each name, verified, in order of first appearance */
    size_t count, cap;
    size_t refused; /* heads whose proof did not verify */
};
void avow_policy_list_deinit(struct avow_policy_list *l);
/* Reads topic policies; needs the bundle, which it loads. `l` is initialised here. */
enum avow_rc avow_policy_list_read(struct avow_cli *cli, struct avow_policy_list *l,
                                   struct avow_err *err) AVOW_MUST_CHECK;
/* NULL if there is none of this name. */
const struct avow_policy_entry *avow_policy_list_find(const struct avow_policy_list *l,
                                                      struct avow_str name);
/* The document of `head`, assembled from its chunks and checked against its digest. */
enum avow_rc avow_policy_document_read(struct avow_cli *cli, const struct avow_policy_head *head,
                                       struct avow_buf *out, struct avow_err *err) AVOW_MUST_CHECK;

#endif
