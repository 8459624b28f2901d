/* runtime_policy.c - see runtime_policy.h. */
#include "avow/core/runtime_policy.h"

#include "dm_policy.h"
#include "excludes.h"
#include "policy_table.h"

#include "avow/core/ima_keys.h"
#include "avow/formats/policy_text.h"

#include <stdlib.h>

#include "avow/base/banned.h"

#define BOOT_AGGREGATE AVOW_STR_LIT("boot_aggregate")

/* Tables beside the digests, and texts that others compile. */
enum { LIST_KEYRINGS, LIST_IMA_BUF, LIST_IGNORED, LISTS };
enum { TEXT_KEYS, TEXT_DM, TEXTS };

struct avow_runtime_policy {
    struct avow_policy_table digests;
    struct avow_excludes excludes;
    struct avow_policy_table lists[LISTS];
    char *texts[TEXTS]; /* owned; NULL: none */
    size_t text_lens[TEXTS];
    struct avow_ima_keys *keys; /* owned; of the texts, NULL: none */
    struct avow_dm_policy *dm;
    char *warnings[AVOW_POLICY_WARNINGS_KEPT]; /* owned */
    size_t warnings_count;
    bool strict; /* excludes match whole paths, whatever the enrolment says */
    unsigned notes;
};

void avow_runtime_policy_free(struct avow_runtime_policy *p)
{
    if (!p)
        return;
    avow_policy_table_deinit(&p->digests);
    avow_excludes_deinit(&p->excludes);
    for (size_t i = 0; i < LISTS; i++)
        avow_policy_table_deinit(&p->lists[i]);
    for (size_t i = 0; i < TEXTS; i++)
        free(p->texts[i]);
    avow_ima_keys_free(p->keys);
    avow_dm_policy_free(p->dm);
    for (size_t i = 0; i < AVOW_POLICY_WARNINGS_KEPT; i++)
        free(p->warnings[i]);
    free(p);
}

/* A copy that ends in a NUL. */
static enum avow_rc copy_text(struct avow_str text, char **out, struct avow_err *err)
{
    char *copy = malloc(text.len + 1);
    if (!copy)
        return avow_err_set(err, AVOW_NOMEM, 0, "text of %zu bytes", text.len);
    if (text.len)
        memcpy(copy, text.ptr, text.len);
    copy[text.len] = 0;
    free(*out);
    *out = copy;
    return AVOW_OK;
}

static enum avow_rc put_text(struct avow_runtime_policy *p, size_t which, struct avow_str text,
                             struct avow_err *err)
{
    enum avow_rc rc = copy_text(text, &p->texts[which], err);
    if (!rc)
        p->text_lens[which] = text.len;
    return rc;
}

static enum avow_rc put_warning(struct avow_runtime_policy *p, struct avow_str text,
                                struct avow_err *err)
{
    if (p->warnings_count >= AVOW_POLICY_WARNINGS_KEPT) {
        p->warnings_count++;
        return AVOW_OK;
    }
    enum avow_rc rc = copy_text(text, &p->warnings[p->warnings_count], err);
    p->warnings_count += !rc;
    return rc;
}

static struct avow_str text_of(const struct avow_runtime_policy *p, size_t which)
{
    return (struct avow_str){p->texts[which], p->text_lens[which]};
}

/* A digest of one of the lists; without a value, the beginning of a list, whose name must be new.
 */
static enum avow_rc put_value(struct avow_policy_table *t, struct avow_str name,
                              struct avow_bytes value, struct avow_err *err)
{
    if (value.len)
        return avow_policy_table_put(t, name, value, err);
    return avow_policy_table_has_name(t, name) ? avow_err_set(err, AVOW_PARSE, 0, "duplicate key")
                                               : AVOW_OK;
}

static enum avow_rc put_item(void *ctx, enum avow_policy_item item, struct avow_str name,
                             struct avow_bytes value, struct avow_err *err)
{
    struct avow_runtime_policy *p = ctx;
    static const uint8_t present[1] = {1};
    switch (item) {
    case AVOW_POLICY_ITEM_DIGEST:
        return put_value(&p->digests, name, value, err);
    case AVOW_POLICY_ITEM_EXCLUDE:
        return avow_excludes_put(&p->excludes, name, err);
    case AVOW_POLICY_ITEM_KEYRING:
        p->notes |= AVOW_POLICY_NOTE_KEYRINGS;
        return put_value(&p->lists[LIST_KEYRINGS], name, value, err);
    case AVOW_POLICY_ITEM_IMA_BUF:
        p->notes |= AVOW_POLICY_NOTE_IMA_BUF;
        return put_value(&p->lists[LIST_IMA_BUF], name, value, err);
    case AVOW_POLICY_ITEM_IGNORED_KEYRING:
        p->notes |= AVOW_POLICY_NOTE_KEYRINGS;
        return avow_policy_table_put(&p->lists[LIST_IGNORED], name, AVOW_BYTES_OF(present), err);
    case AVOW_POLICY_ITEM_VERIFICATION_KEYS:
        p->notes |= AVOW_POLICY_NOTE_VERIFICATION_KEYS;
        return put_text(p, TEXT_KEYS, name, err);
    case AVOW_POLICY_ITEM_DM_POLICY:
        p->notes |= AVOW_POLICY_NOTE_DM_POLICY;
        return put_text(p, TEXT_DM, name, err);
    case AVOW_POLICY_ITEM_LEGACY:
        p->notes |= AVOW_POLICY_NOTE_LEGACY;
        return AVOW_OK;
    case AVOW_POLICY_ITEM_STRICT_EXCLUDES:
        p->strict = true;
        return AVOW_OK;
    case AVOW_POLICY_ITEM_WARNING:
        return put_warning(p, name, err);
    default:
        return avow_err_set(err, AVOW_PARSE, 0, "unknown item");
    }
}

static enum avow_rc compile_texts(struct avow_runtime_policy *p, struct avow_err *err)
{
    struct avow_str keys = text_of(p, TEXT_KEYS), dm = text_of(p, TEXT_DM);
    enum avow_rc rc = AVOW_OK;
    if (keys.len)
        rc = avow_ima_keys_load(avow_bytes_make(keys.ptr, keys.len), &p->keys, err);
    if (rc)
        return avow_err_wrap(err, rc, "$[\"verification-keys\"]");
    if (p->keys && avow_ima_keys_skipped(p->keys))
        rc = put_warning(p,
                         AVOW_STR_LIT("$[\"verification-keys\"]: some keys are of a kind that no "
                                      "signature can be checked with here: not used"),
                         err);
    if (rc)
        return rc;
    if (dm.len)
        rc = avow_dm_policy_load(dm, &p->dm, err);
    return rc ? avow_err_wrap(err, rc, "$.ima.dm_policy") : AVOW_OK;
}

enum avow_rc avow_runtime_policy_load(struct avow_bytes json, struct avow_runtime_policy **out,
                                      struct avow_err *err)
{
    AVOW_CLEANUP(avow_runtime_policy_free) struct avow_runtime_policy *p = calloc(1, sizeof *p);
    if (!p)
        return avow_err_set(err, AVOW_NOMEM, 0, "policy");
    const struct avow_policy_sink sink = {.ctx = p, .item = put_item};
    enum avow_rc rc = avow_policy_text_parse(json, &sink, err);
    if (!rc)
        rc = avow_excludes_finish(&p->excludes, err);
    if (!rc)
        rc = compile_texts(p, err);
    if (rc)
        return rc;
    avow_policy_table_finish(&p->digests);
    for (size_t i = 0; i < LISTS; i++)
        avow_policy_table_finish(&p->lists[i]);
    if (p->excludes.open && !p->strict)
        p->notes |= AVOW_POLICY_NOTE_OPEN_EXCLUDE;
    if (avow_policy_table_has_name(&p->digests, BOOT_AGGREGATE))
        p->notes |= AVOW_POLICY_NOTE_BOOT_AGGREGATE;
    *out = AVOW_STEAL(p);
    return AVOW_OK;
}

static enum avow_policy_match find_in(const struct avow_policy_table *t, struct avow_str name,
                                      struct avow_bytes digest)
{
    if (digest.len && avow_policy_table_has(t, name, digest))
        return AVOW_POLICY_ALLOWED;
    return avow_policy_table_has_name(t, name) ? AVOW_POLICY_DIGEST_UNKNOWN
                                               : AVOW_POLICY_PATH_UNKNOWN;
}

enum avow_policy_match avow_runtime_policy_find(const struct avow_runtime_policy *p,
                                                struct avow_str path, struct avow_bytes digest)
{
    return find_in(&p->digests, path, digest);
}

enum avow_policy_match avow_runtime_policy_find_keyring(const struct avow_runtime_policy *p,
                                                        struct avow_str name,
                                                        struct avow_bytes digest)
{
    return find_in(&p->lists[LIST_KEYRINGS], name, digest);
}

enum avow_policy_match avow_runtime_policy_find_buffer(const struct avow_runtime_policy *p,
                                                       struct avow_str name,
                                                       struct avow_bytes digest)
{
    return find_in(&p->lists[LIST_IMA_BUF], name, digest);
}

bool avow_runtime_policy_ignores_keyring(const struct avow_runtime_policy *p,
                                         struct avow_str keyring)
{
    const struct avow_policy_table *ignored = &p->lists[LIST_IGNORED];
    return avow_policy_table_has_name(ignored, keyring) ||
           avow_policy_table_has_name(ignored, AVOW_STR_LIT("*"));
}

struct avow_str avow_runtime_policy_keys_text(const struct avow_runtime_policy *p)
{
    return text_of(p, TEXT_KEYS);
}

struct avow_str avow_runtime_policy_dm_text(const struct avow_runtime_policy *p)
{
    return text_of(p, TEXT_DM);
}

const struct avow_ima_keys *avow_runtime_policy_keys(const struct avow_runtime_policy *p)
{
    return p->keys;
}

const struct avow_dm_policy *avow_runtime_policy_dm(const struct avow_runtime_policy *p)
{
    return p->dm;
}

bool avow_runtime_policy_has_path(const struct avow_runtime_policy *p, struct avow_str path)
{
    return avow_policy_table_has_name(&p->digests, path);
}

enum avow_policy_match avow_runtime_policy_exclude(const struct avow_runtime_policy *p,
                                                   struct avow_str name, bool strict)
{
    switch (avow_excludes_match(&p->excludes, name, strict || p->strict)) {
    case AVOW_EXCLUDE_YES:
        return AVOW_POLICY_EXCLUDED;
    case AVOW_EXCLUDE_NO:
        return AVOW_POLICY_PATH_UNKNOWN;
    case AVOW_EXCLUDE_UNDECIDED:
    default:
        return AVOW_POLICY_REGEX_LIMIT;
    }
}

/* Digests first: the result is the same, and expressions only see what is not allowed anyway. */
enum avow_policy_match avow_runtime_policy_match(const struct avow_runtime_policy *p,
                                                 struct avow_str path, struct avow_bytes digest,
                                                 bool strict)
{
    enum avow_policy_match found = avow_runtime_policy_find(p, path, digest);
    if (found == AVOW_POLICY_ALLOWED)
        return found;
    enum avow_policy_match excluded = avow_runtime_policy_exclude(p, path, strict);
    return excluded == AVOW_POLICY_PATH_UNKNOWN ? found : excluded;
}

/* A pin of boot_aggregate and a device-mapper policy are demands: new ones make a policy stricter.
 */
bool avow_runtime_policy_is_superset(const struct avow_runtime_policy *old,
                                     const struct avow_runtime_policy *p)
{
    bool new_pin = avow_policy_table_has_name(&p->digests, BOOT_AGGREGATE) &&
                   !avow_policy_table_has_name(&old->digests, BOOT_AGGREGATE);
    bool stricter = p->strict && !old->strict && old->excludes.count;
    if (new_pin || stricter || !avow_str_eq(text_of(p, TEXT_DM), text_of(old, TEXT_DM)) ||
        !avow_ima_keys_is_subset(old->keys, p->keys))
        return false;
    for (size_t i = 0; i < LISTS; i++) {
        if (!avow_policy_table_is_subset(&old->lists[i], &p->lists[i]))
            return false;
    }
    return avow_policy_table_is_subset(&old->digests, &p->digests) &&
           avow_excludes_is_subset(&old->excludes, &p->excludes);
}

void avow_runtime_policy_stats_get(const struct avow_runtime_policy *p,
                                   struct avow_runtime_policy_stats *out)
{
    *out = (struct avow_runtime_policy_stats){.paths = p->digests.names,
                                              .digests = p->digests.values,
                                              .excludes = p->excludes.count,
                                              .literal_excludes = p->excludes.literals,
                                              .memory =
                                                  sizeof *p + avow_policy_table_memory(&p->digests),
                                              .notes = p->notes,
                                              .warnings = p->warnings_count};
    for (size_t i = 0; i < LISTS; i++)
        out->memory += avow_policy_table_memory(&p->lists[i]);
    for (size_t i = 0; i < TEXTS; i++)
        out->memory += p->text_lens[i];
}

struct avow_str avow_runtime_policy_warning(const struct avow_runtime_policy *p, size_t index)
{
    return avow_str_from(index < AVOW_POLICY_WARNINGS_KEPT ? p->warnings[index] : NULL);
}

const char *avow_policy_note_text(unsigned note)
{
    switch (note) {
    case AVOW_POLICY_NOTE_VERIFICATION_KEYS:
        return "a file that one of the verification keys signed needs no digest";
    case AVOW_POLICY_NOTE_KEYRINGS:
        return "keys that are loaded into keyrings are judged, and what is allowed counts as a "
               "verification key";
    case AVOW_POLICY_NOTE_IMA_BUF:
        return "buffers that are measured (template ima-buf) are judged by their digests";
    case AVOW_POLICY_NOTE_DM_POLICY:
        return "devices of the device mapper are judged";
    case AVOW_POLICY_NOTE_LEGACY:
        return "an older form of allowlist: consider converting it";
    case AVOW_POLICY_NOTE_OPEN_EXCLUDE:
        return "an exclude without a closing / also covers longer names (/tmp: /tmpevil), unless "
               "excludes are strict";
    case AVOW_POLICY_NOTE_BOOT_AGGREGATE:
        return "boot_aggregate is pinned: the policy fits machines with these boot PCRs only";
    default:
        return "?";
    }
}
