/* policy_facts.h - a runtime policy as a sorted list of what it says, to be converted, compared and
 * written. Layer: tools/avow. */
#ifndef AVOW_TOOLS_POLICY_FACTS_H
#define AVOW_TOOLS_POLICY_FACTS_H

#include "avow/base/arena.h"
#include "avow/base/buf.h"
#include "avow/formats/policy_text.h"

struct avow_policy_fact {
    enum avow_policy_item kind;
    struct avow_str name;
    struct avow_bytes value; /* digest; empty for kinds without one */
};
struct avow_policy_facts {
    struct avow_arena arena; /* of names and values */
    struct avow_policy_fact *items;
    size_t count, cap;
};

void avow_policy_facts_init(struct avow_policy_facts *f);
void avow_policy_facts_deinit(struct avow_policy_facts *f); /* fit for AVOW_CLEANUP_VAL */
/* Copies name and value. Errors: AVOW_NOMEM. */
enum avow_rc avow_policy_facts_add(struct avow_policy_facts *f, enum avow_policy_item kind,
                                   struct avow_str name, struct avow_bytes value,
                                   struct avow_err *err) AVOW_MUST_CHECK;
/* Adds what a policy in any of its forms says. Errors: those of avow_policy_text_parse. */
enum avow_rc avow_policy_facts_load(struct avow_policy_facts *f, struct avow_bytes text,
                                    struct avow_err *err) AVOW_MUST_CHECK;
/* Sorts, and drops what stands there twice. Warnings stay in their order, behind the rest. */
void avow_policy_facts_sort(struct avow_policy_facts *f);
/* Order of two facts: 0 if they say the same. */
int avow_policy_fact_cmp(const struct avow_policy_fact *a, const struct avow_policy_fact *b);
/* "digest", "exclude", ... */
const char *avow_policy_fact_kind_text(enum avow_policy_item kind);
/* Appends sorted facts as a runtime policy of the newest version, the same bytes for the same
 * facts. Errors: AVOW_PARSE for a name that is no UTF-8, which JSON cannot hold, and for two texts
 * where one can be; AVOW_LIMIT, AVOW_NOMEM. */
enum avow_rc avow_policy_facts_write(const struct avow_policy_facts *f, struct avow_buf *out,
                                     struct avow_err *err) AVOW_MUST_CHECK;

#endif
