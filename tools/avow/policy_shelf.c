/* policy_shelf.c - see policy_shelf.h. */
#include "policy_shelf.h"

#include "avow/base/num.h"
#include "avow/crypto/digest.h"
#include "policy_kinds.h"

#include <stdlib.h>
#include <string.h>

#include "avow/base/banned.h"

enum use { USE_RUNTIME, USE_BOOT, USE_KEYS, USE_SEVERITY };

struct avow_shelf_item { /* one document, compiled as one use */
    struct avow_shelf_item *older;
    enum use use;
    uint8_t sha256[AVOW_SHA256_LEN];
    struct avow_runtime_policy *runtime;
    struct avow_boot_policy *boot;
    struct avow_ima_keys *keys;
    struct avow_severity *severity;
};

static void item_free(struct avow_shelf_item *i)
{
    if (!i)
        return;
    avow_runtime_policy_free(i->runtime);
    avow_boot_policy_free(i->boot);
    avow_ima_keys_free(i->keys);
    avow_severity_free(i->severity);
    free(i);
}

enum avow_rc avow_policy_shelf_init(struct avow_policy_shelf *s, struct avow_cli *cli,
                                    struct avow_err *err)
{
    *s = (struct avow_policy_shelf){.cli = cli};
    return avow_policy_list_read(cli, &s->list, err);
}

void avow_policy_shelf_deinit(struct avow_policy_shelf *s)
{
    while (s->newest) {
        struct avow_shelf_item *older = s->newest->older;
        item_free(s->newest);
        s->newest = older;
    }
    avow_policy_list_deinit(&s->list);
}

/* --- Documents --- */

static enum avow_rc compile(struct avow_shelf_item *i, struct avow_bytes text, struct avow_err *err)
{
    switch (i->use) {
    case USE_RUNTIME:
        return avow_runtime_policy_load(text, &i->runtime, err);
    case USE_BOOT:
        return avow_boot_policy_load(text, &i->boot, err);
    case USE_KEYS:
        return avow_ima_keys_load(text, &i->keys, err);
    case USE_SEVERITY:
    default:
        return avow_severity_load(text, &i->severity, err);
    }
}

static enum avow_rc add(struct avow_policy_shelf *s, enum use use,
                        const uint8_t sha256[AVOW_SHA256_LEN], struct avow_bytes text,
                        struct avow_err *err)
{
    struct avow_shelf_item *i = calloc(1, sizeof *i);
    if (!i)
        return avow_err_set(err, AVOW_NOMEM, 0, "policies");
    i->use = use;
    memcpy(i->sha256, sha256, sizeof i->sha256);
    enum avow_rc rc = compile(i, text, err);
    if (rc) {
        item_free(i);
        return rc;
    }
    i->older = s->newest;
    s->newest = i;
    return AVOW_OK;
}

static enum avow_rc read_item(struct avow_policy_shelf *s, enum use use,
                              const struct avow_policy_head *head,
                              const struct avow_shelf_item **out, struct avow_err *err)
{
    AVOW_CLEANUP_VAL(avow_buf_deinit) struct avow_buf text;
    avow_buf_init(&text, AVOW_POLICY_MAX);
    for (const struct avow_shelf_item *i = s->newest; i; i = i->older) {
        if (i != s->instead && i->use == use &&
            avow_ct_eq(i->sha256, head->sha256, sizeof i->sha256)) {
            *out = i;
            return AVOW_OK;
        }
    }
    enum avow_rc rc = avow_policy_document_read(s->cli, head, &text, err);
    if (!rc)
        rc = avow_policy_unwrap(&text, NULL, err);
    if (!rc)
        rc = add(s, use, head->sha256, avow_buf_bytes(&text), err);
    *out = s->newest;
    return rc;
}

enum avow_rc avow_policy_shelf_propose(struct avow_policy_shelf *s, const char *name,
                                       enum avow_policy_kind kind, struct avow_bytes text,
                                       struct avow_err *err)
{
    static const struct {
        enum avow_policy_kind kind;
        enum use use;
    } uses[] = {{AVOW_POLICY_KIND_RUNTIME, USE_RUNTIME},
                {AVOW_POLICY_KIND_BOOT, USE_BOOT},
                {AVOW_POLICY_KIND_REFSTATE, USE_BOOT},
                {AVOW_POLICY_KIND_KEYS, USE_KEYS},
                {AVOW_POLICY_KIND_SEVERITY, USE_SEVERITY}};
    uint8_t sha256[AVOW_SHA256_LEN];
    avow_sha256(text, sha256);
    for (size_t i = 0; i < AVOW_ARRAY_LEN(uses); i++) {
        if (uses[i].kind != kind)
            continue;
        enum avow_rc rc = add(s, uses[i].use, sha256, text, err);
        s->instead = rc ? NULL : s->newest;
        s->instead_of = name;
        return rc;
    }
    return avow_err_set(err, AVOW_USAGE, 0, "agents are not judged by policies of kind %s",
                        avow_policy_kind_text(kind));
}

/* --- What an enrolment names --- */

static const struct avow_policy_entry *entry_of(const struct avow_policy_list *l,
                                                const struct avow_policy_ref *ref)
{
    if (ref->has_name)
        return avow_policy_list_find(l, ref->name);
    for (size_t i = 0; i < l->count; i++) {
        if (avow_ct_eq(l->items[i].head.sha256, ref->sha256, sizeof ref->sha256))
            return &l->items[i];
    }
    return NULL;
}

static void apply(struct avow_shelf_policy *out, const struct avow_shelf_item *i)
{
    struct avow_head_ref *h = &out->heads[out->policy.heads_count++];
    memcpy(h->sha256, i->sha256, sizeof h->sha256);
    switch (i->use) {
    case USE_RUNTIME:
        out->policy.runtime = i->runtime;
        break;
    case USE_BOOT:
        out->policy.boot = i->boot;
        out->policy.boot_sha256 = h->sha256;
        break;
    case USE_KEYS:
        out->policy.keys = i->keys;
        break;
    case USE_SEVERITY:
    default:
        out->policy.severity = i->severity;
        break;
    }
}

struct named {
    const struct avow_policy_ref *of[AVOW_SHELF_USES]; /* NULL: the enrolment names none */
};

static struct named named_by(const struct avow_enrollment *e)
{
    return (struct named){{[USE_RUNTIME] = e->has_runtime_policy ? &e->runtime_policy : NULL,
                           [USE_BOOT] = e->has_boot_policy ? &e->boot_policy : NULL,
                           [USE_KEYS] = e->has_verify_keys ? &e->verify_keys : NULL,
                           [USE_SEVERITY] = e->has_severity ? &e->severity : NULL}};
}

static bool is_proposed(const struct avow_policy_shelf *s, enum use use,
                        const struct avow_policy_ref *ref)
{
    return s->instead && s->instead->use == use && ref && ref->has_name &&
           avow_str_is(ref->name, s->instead_of);
}

bool avow_policy_shelf_concerns(const struct avow_policy_shelf *s, const struct avow_enrollment *e)
{
    struct named n = named_by(e);
    for (size_t i = 0; i < AVOW_SHELF_USES; i++) {
        if (is_proposed(s, (enum use)i, n.of[i]))
            return true;
    }
    return false;
}

static enum avow_rc resolve_one(struct avow_policy_shelf *s, enum use use,
                                const struct avow_policy_ref *ref, bool proposed,
                                struct avow_shelf_policy *out, struct avow_err *err)
{
    struct avow_head_ref *h = &out->heads[out->policy.heads_count];
    *h = (struct avow_head_ref){.name = ref->has_name ? ref->name : AVOW_STR_LIT("")};
    if (proposed && is_proposed(s, use, ref)) {
        apply(out, s->instead);
        return AVOW_OK;
    }
    const struct avow_policy_entry *e = entry_of(&s->list, ref);
    if (!e || avow_policy_entry_is_removed(e))
        return avow_err_set(err, AVOW_STATE, 0,
                            "a policy that the enrolment names is not on topic policies: %.*s",
                            (int)h->name.len, h->name.ptr ? h->name.ptr : "");
    const struct avow_shelf_item *item = NULL;
    enum avow_rc rc = read_item(s, use, &e->head, &item, err);
    if (rc)
        return rc;
    h->generation = ref->has_name ? e->head.generation : 0;
    out->issued_ms = avow_max_u64(out->issued_ms, e->head.issued_ms);
    apply(out, item);
    return AVOW_OK;
}

enum avow_rc avow_policy_shelf_resolve(struct avow_policy_shelf *s, const struct avow_enrollment *e,
                                       bool proposed, struct avow_shelf_policy *out,
                                       struct avow_err *err)
{
    struct named n = named_by(e);
    enum avow_rc rc = AVOW_OK;
    *out = (struct avow_shelf_policy){.issued_ms = 0};
    out->policy.heads = out->heads;
    for (size_t i = 0; i < AVOW_SHELF_USES && !rc; i++)
        rc = n.of[i] ? resolve_one(s, (enum use)i, n.of[i], proposed, out, err) : AVOW_OK;
    return rc;
}
