/* boot_policy.c - see boot_policy.h: which language a policy is written in. */
#include "avow/core/boot_policy.h"

#include <stdlib.h>

#include "avow/formats/json_pull.h"

#include "boot_kind.h"
#include "boot_rules.h"
#include "refstate.h"

#include "avow/base/banned.h"

/* In the order in which they are asked. */
static const struct avow_boot_kind *const kinds[] = {&avow_boot_rules_kind, &avow_refstate_kind};

struct avow_boot_policy {
    const struct avow_boot_kind *kind;
    void *compiled;
};

/* Text that is no object has no member: its reader says so. */
static enum avow_rc find_member(struct avow_bytes json, const char *name, bool *found)
{
    struct avow_json j;
    struct avow_str key;
    bool first = true;
    *found = false;
    avow_json_init(&j, json);
    if (avow_json_enter(&j, AVOW_JSON_OBJECT)) {
        while (!*found && avow_json_member(&j, &first, &key)) {
            *found = avow_str_eq(key, avow_str_from(name));
            (void)avow_json_skip(&j, NULL);
        }
    }
    enum avow_rc rc = j.failed == AVOW_NOMEM ? AVOW_NOMEM : AVOW_OK;
    avow_json_deinit(&j);
    return rc;
}

static enum avow_rc find_kind(struct avow_bytes json, const struct avow_boot_kind **out)
{
    for (size_t i = 0; i < AVOW_ARRAY_LEN(kinds); i++) {
        bool found = true;
        enum avow_rc rc = kinds[i]->key ? find_member(json, kinds[i]->key, &found) : AVOW_OK;
        if (rc)
            return rc;
        if (found) {
            *out = kinds[i];
            return AVOW_OK;
        }
    }
    return AVOW_PARSE;
}

enum avow_rc avow_boot_policy_load(struct avow_bytes json, struct avow_boot_policy **out,
                                   struct avow_err *err)
{
    if (json.len > AVOW_BOOT_POLICY_MAX)
        return avow_err_set(err, AVOW_LIMIT, 0, "boot policy: more than %u bytes",
                            AVOW_BOOT_POLICY_MAX);
    const struct avow_boot_kind *kind = NULL;
    enum avow_rc rc = find_kind(json, &kind);
    if (rc)
        return avow_err_set(err, rc, 0, "boot policy: %s",
                            rc == AVOW_NOMEM ? "no memory" : "not of a known kind");
    struct avow_boot_policy *p = calloc(1, sizeof *p);
    if (!p)
        return avow_err_set(err, AVOW_NOMEM, 0, "boot policy: no memory");
    p->kind = kind;
    rc = kind->load(json, &p->compiled, err);
    if (rc) {
        free(p);
        return rc;
    }
    *out = p;
    return AVOW_OK;
}

void avow_boot_policy_free(struct avow_boot_policy *p)
{
    if (!p)
        return;
    p->kind->free(p->compiled);
    free(p);
}

struct avow_str avow_boot_policy_warning(const struct avow_boot_policy *p, size_t index)
{
    return p->kind->warning ? p->kind->warning(p->compiled, index) : (struct avow_str){NULL, 0};
}

uint32_t avow_boot_policy_pcrs(const struct avow_boot_policy *p)
{
    return p->kind->pcrs(p->compiled);
}

enum avow_rc avow_boot_policy_judge(const struct avow_boot_policy *p,
                                    const struct avow_boot_judge *j, struct avow_err *err)
{
    return p->kind->judge(p->compiled, j, err);
}
