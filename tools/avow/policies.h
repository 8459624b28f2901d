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
    struct avow_policy_entry *items; /* newest head of each name, verified, in order of names */
    size_t count, cap;
    uint64_t refused;   /* heads that do not prove themselves */
    uint64_t older;     /* heads behind newer ones of their name */
    uint64_t conflicts; /* another content under a known generation: the first counts */
    struct avow_err last_refusal;
};
void avow_policy_list_deinit(struct avow_policy_list *l);
/* Reads topic policies; needs the bundle, which it loads. `l` is initialised here, to be
 * deinitialised in any case. */
enum avow_rc avow_policy_list_read(struct avow_cli *cli, struct avow_policy_list *l,
                                   struct avow_err *err) AVOW_MUST_CHECK;
/* Says on stderr what was refused or out of order. */
void avow_policy_list_warn(const struct avow_policy_list *l);
/* NULL if there is none of this name. */
const struct avow_policy_entry *avow_policy_list_find(const struct avow_policy_list *l,
                                                      struct avow_str name);
/* Its newest head names no document: `avow policy rm`. */
bool avow_policy_entry_is_removed(const struct avow_policy_entry *e);
/* The document of `head`, assembled from its chunks and checked against its digest. Errors:
 * AVOW_STATE if chunks are missing, AVOW_UNTRUSTED if they do not give the digest. */
enum avow_rc avow_policy_document_read(struct avow_cli *cli, const struct avow_policy_head *head,
                                       struct avow_buf *out, struct avow_err *err) AVOW_MUST_CHECK;

#endif
