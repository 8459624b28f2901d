/* boot_variable.c - PCR 7: Secure Boot, its keys, and what authorised images. See boot_run.h.
 *
 * Only variables whose whole data was measured are looked at: then name and GUID are covered, and
 * whatever type the event is given it is the same variable. */
#include "boot_run.h"

#include <stdlib.h>
#include <string.h>

#include "avow/base/banned.h"

#define PCR 7u
#define OWNER_LEN AVOW_EFI_GUID_LEN

struct seen { /* the current event's */
    struct avow_event_variable v;
    struct avow_str name; /* UTF-8 */
};

static const struct {
    const char *name;
    uint8_t guid[AVOW_EFI_GUID_LEN + 1];
} key_names[AVOW_BOOT_KEY_COUNT] = {
#define X(id, name, guid) {name, guid},
    AVOW_BOOT_KEY_MAP(X)
#undef X
};

static bool has_guid(const struct seen *s, const char *guid)
{
    return avow_bytes_eq(s->v.guid, avow_bytes_make(guid, AVOW_EFI_GUID_LEN));
}

static int shown(struct avow_str s)
{
    return (int)(s.len < 60 ? s.len : 60);
}

/* --- Named in "variables" --- */

static enum avow_boot_sense judge_named(struct avow_boot_run *run, const struct seen *s)
{
    enum avow_boot_sense sense = AVOW_BOOT_NOTHING;
    uint8_t id[AVOW_BOOT_ID_LEN];
    size_t at;
    for (size_t i = 0; i < run->sets_count; i++) {
        const struct avow_boot_variables *all = &run->sets[i]->variables;
        for (size_t k = 0; k < all->count; k++) {
            const struct avow_boot_variable *v = &all->items[k];
            if (v->pcr != run->e.pcr || !avow_str_is(s->name, v->name) ||
                !avow_bytes_eq(s->v.guid, AVOW_BYTES_OF(v->guid)))
                continue;
            if (sense == AVOW_BOOT_NOTHING)
                avow_sha256(s->v.value, id);
            sense = AVOW_BOOT_REFUSED;
            if (run->counts[v->at] == v->max ||
                !(v->any || avow_boot_ids_have(&v->values, id, &at)))
                continue;
            run->counts[v->at]++;
            return AVOW_BOOT_EXPLAINED;
        }
    }
    if (sense == AVOW_BOOT_REFUSED)
        avow_boot_complain(run, AVOW_FINDING_BOOT_VARIABLE,
                           "%.*s has another value, or is repeated", shown(s->name), s->name.ptr);
    return sense;
}

/* --- SecureBoot --- */

static enum avow_boot_sense judge_state(struct avow_boot_run *run, const struct seen *s)
{
    enum avow_boot_state want = AVOW_BOOT_UNJUDGED;
    for (size_t i = 0; i < run->sets_count; i++)
        want = run->sets[i]->secure_boot ? run->sets[i]->secure_boot : want;
    bool on = s->v.value.len == 1 && s->v.value.ptr[0] == 1;
    bool off = s->v.value.len == 1 && s->v.value.ptr[0] == 0;
    run->has_state = true;
    if (want == AVOW_BOOT_UNJUDGED || (want == AVOW_BOOT_ON ? on : off))
        return AVOW_BOOT_EXPLAINED;
    avow_boot_complain(run, AVOW_FINDING_BOOT_SECURE_BOOT, "it is %s",
                       on    ? "on"
                       : off ? "off"
                             : "neither on nor off");
    return AVOW_BOOT_REFUSED;
}

/* --- Key lists --- */

static const struct avow_boot_keys *keys_of(const struct avow_boot_run *run, size_t key)
{
    for (size_t i = 0; i < run->sets_count; i++) {
        if (run->sets[i]->keys[key].judged)
            return &run->sets[i]->keys[key];
    }
    return NULL;
}

/* Which of `k` are in the list; false after a complaint. */
static bool judge_signatures(struct avow_boot_run *run, const struct seen *s,
                             const struct avow_boot_keys *k, const struct avow_efi_siglist *l,
                             bool *there)
{
    struct avow_efi_siglist_walk w;
    struct avow_efi_signature sig;
    avow_efi_siglist_walk_init(&w, l);
    while (avow_efi_siglist_walk_next(&w, &sig)) {
        char text[AVOW_BOOT_SIGNATURE_MAX];
        uint8_t id[AVOW_BOOT_ID_LEN];
        size_t at;
        avow_boot_signature_text(&sig, text);
        avow_sha256(avow_bytes_make(text, strlen(text)), id);
        if (avow_boot_ids_have(&k->contains, id, &at))
            there[at] = true;
        else if (k->has_allows && !avow_boot_ids_have(&k->allows, id, &at)) {
            avow_boot_complain(run, AVOW_FINDING_BOOT_VARIABLE, "%.*s has %s, which is not allowed",
                               shown(s->name), s->name.ptr, text);
            return false;
        }
    }
    return true;
}

static enum avow_boot_sense judge_list(struct avow_boot_run *run, const struct seen *s,
                                       const struct avow_boot_keys *k,
                                       const struct avow_efi_siglist *l)
{
    bool *there = calloc(k->contains.count + 1, sizeof *there);
    size_t missing = 0;
    if (!there) {
        run->nomem = true;
        return AVOW_BOOT_REFUSED;
    }
    bool good = judge_signatures(run, s, k, l, there);
    for (size_t i = 0; i < k->contains.count; i++)
        missing += !there[i];
    free(there);
    if (good && missing)
        avow_boot_complain(run, AVOW_FINDING_BOOT_VARIABLE,
                           "%.*s lacks %zu of the %zu signatures that it must contain",
                           shown(s->name), s->name.ptr, missing, k->contains.count);
    return good && !missing ? AVOW_BOOT_EXPLAINED : AVOW_BOOT_REFUSED;
}

/* --- What authorised an image --- */

static bool is_allowed(const struct avow_boot_variable *v, struct avow_bytes value)
{
    uint8_t id[AVOW_BOOT_ID_LEN];
    size_t at;
    avow_sha256(value, id);
    if (avow_boot_ids_have(&v->values, id, &at))
        return true;
    if (value.len <= OWNER_LEN)
        return false;
    /* Firmware and shim put the owner in front of the certificate, or do not. */
    avow_sha256(avow_bytes_make(value.ptr + OWNER_LEN, value.len - OWNER_LEN), id);
    return avow_boot_ids_have(&v->values, id, &at);
}

static enum avow_boot_sense judge_authority(struct avow_boot_run *run, const struct seen *s)
{
    bool judged = false;
    for (size_t i = 0; i < run->sets_count; i++) {
        const struct avow_boot_variables *all = &run->sets[i]->authorities;
        judged |= run->sets[i]->has_authorities;
        for (size_t k = 0; k < all->count; k++) {
            if (avow_str_is(s->name, all->items[k].name) && is_allowed(&all->items[k], s->v.value))
                return AVOW_BOOT_EXPLAINED;
        }
    }
    if (!judged)
        return AVOW_BOOT_EXPLAINED;
    avow_boot_complain(run, AVOW_FINDING_BOOT_VARIABLE, "%.*s: this authority is not allowed",
                       shown(s->name), s->name.ptr);
    return AVOW_BOOT_REFUSED;
}

/* The list itself, or one signature of it: then it is no well-formed list, which firmware refuses
 * to store. */
static enum avow_boot_sense judge_key(struct avow_boot_run *run, const struct seen *s, size_t key)
{
    struct avow_efi_siglist l;
    const struct avow_boot_keys *k = keys_of(run, key);
    bool is_list = avow_efi_siglist_parse(s->v.value, &l, NULL) == AVOW_OK;
    if (!is_list && key == AVOW_BOOT_KEY_DB)
        return judge_authority(run, s);
    if (k && !is_list) {
        avow_boot_complain(run, AVOW_FINDING_BOOT_VARIABLE, "%s is no signature list",
                           key_names[key].name);
        return AVOW_BOOT_REFUSED;
    }
    run->has_keys[key] = true;
    return k ? judge_list(run, s, k, &l) : AVOW_BOOT_EXPLAINED;
}

/* --- All of them --- */

/* Whether the machine can be put into another mode, beside what SecureBoot says of it. */
static bool is_mode(const struct seen *s)
{
    static const char *const modes[] = {"SetupMode", "AuditMode", "DeployedMode"};
    for (size_t i = 0; i < AVOW_ARRAY_LEN(modes); i++) {
        if (avow_str_is(s->name, modes[i]))
            return has_guid(s, AVOW_BOOT_GUID_GLOBAL);
    }
    return false;
}

enum avow_boot_sense avow_boot_judge_variable(struct avow_boot_run *run)
{
    struct seen s;
    if (!avow_boot_fact_variable(&run->fact, &s.v))
        return AVOW_BOOT_NOTHING;
    avow_buf_reset(run->name);
    avow_event_put_utf16(run->name, s.v.name);
    if (run->name->failed == AVOW_NOMEM) {
        run->nomem = true;
        return AVOW_BOOT_REFUSED;
    }
    if (run->name->failed)
        return AVOW_BOOT_NOTHING;
    s.name = (struct avow_str){(const char *)run->name->ptr, run->name->len};
    enum avow_boot_sense sense = judge_named(run, &s);
    if (sense != AVOW_BOOT_NOTHING || run->e.pcr != PCR)
        return sense;
    if (avow_str_is(s.name, "SecureBoot") && has_guid(&s, AVOW_BOOT_GUID_GLOBAL))
        return judge_state(run, &s);
    for (size_t i = 0; i < AVOW_BOOT_KEY_COUNT; i++) {
        if (avow_str_is(s.name, key_names[i].name) &&
            avow_bytes_eq(s.v.guid, avow_bytes_make(key_names[i].guid, AVOW_EFI_GUID_LEN)))
            return judge_key(run, &s, i);
    }
    if (has_guid(&s, AVOW_BOOT_GUID_SECURITY) || has_guid(&s, AVOW_BOOT_GUID_SHIM))
        return judge_authority(run, &s);
    return is_mode(&s) ? AVOW_BOOT_EXPLAINED : AVOW_BOOT_NOTHING;
}

static void end_set(struct avow_boot_run *run, const struct avow_boot_set *set)
{
    bool is_here = run->pcrs & UINT32_C(1) << PCR;
    if (is_here && set->secure_boot && !run->has_state)
        avow_boot_complain_at(run, (int32_t)PCR, AVOW_FINDING_BOOT_SECURE_BOOT,
                              "no event says that it is %s",
                              set->secure_boot == AVOW_BOOT_ON ? "on" : "off");
    for (size_t i = 0; is_here && i < AVOW_BOOT_KEY_COUNT; i++) {
        if (set->keys[i].judged && !run->has_keys[i])
            avow_boot_complain_at(run, (int32_t)PCR, AVOW_FINDING_BOOT_VARIABLE,
                                  "%s was not measured", key_names[i].name);
    }
    for (size_t i = 0; i < set->variables.count; i++) {
        const struct avow_boot_variable *v = &set->variables.items[i];
        if (run->pcrs & UINT32_C(1) << v->pcr && run->counts[v->at] < v->min)
            avow_boot_complain_at(run, (int32_t)v->pcr, AVOW_FINDING_BOOT_VARIABLE,
                                  "%.60s is missing", v->name);
    }
}

void avow_boot_end_variables(struct avow_boot_run *run)
{
    for (size_t i = 0; i < run->sets_count; i++)
        end_set(run, run->sets[i]);
}
