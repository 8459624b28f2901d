/* dm_state.c - see dm_state.h. The rules are those of Keylime's device-mapper policy; where
 * Keylime's code differs from what they say (reference: docs/POLICY.md), they are followed. */
#include "dm_state.h"

#include "avow/base/hex.h"
#include "avow/base/num.h"
#include "avow/crypto/digest.h"

#include <string.h>

#include "avow/base/banned.h"

#define HEAD_LEN 35u
#define KEY_MAX 255u
enum { FLAG_ACTIVE = 1, FLAG_VALID = 2 };

struct device { /* a record in place */
    uint8_t *at;
    size_t len;
};

static struct device device_at(struct avow_dm_state *s, size_t offset)
{
    return (struct device){s->bytes + offset, HEAD_LEN + s->bytes[offset]};
}

bool avow_dm_state_load(const struct avow_dm_policy *p, struct avow_bytes in,
                        struct avow_dm_state *out)
{
    if (in.len > sizeof out->bytes)
        return false;
    struct avow_rd r = avow_rd_make(in);
    while (avow_rd_left(&r)) {
        size_t key_len = avow_rd_u8(&r);
        uint8_t rule = avow_rd_u8(&r);
        (void)avow_rd_take(&r, HEAD_LEN - 2 + key_len);
        if (r.bad || rule >= p->count)
            return false;
    }
    out->len = in.len;
    if (in.len)
        memcpy(out->bytes, in.ptr, in.len);
    return true;
}

static bool find(struct avow_dm_state *s, struct avow_str key, struct device *out)
{
    for (size_t at = 0; at < s->len; at += HEAD_LEN + s->bytes[at]) {
        *out = device_at(s, at);
        if (avow_bytes_eq(avow_bytes_make(out->at + HEAD_LEN, out->at[0]),
                          avow_bytes_make(key.ptr, key.len)))
            return true;
    }
    return false;
}

static void drop(struct avow_dm_state *s, struct device d)
{
    size_t at = (size_t)(d.at - s->bytes);
    memmove(d.at, d.at + d.len, s->len - at - d.len);
    s->len -= d.len;
}

static bool put(struct avow_dm_state *s, struct avow_str key, uint8_t rule, uint8_t flags,
                const uint8_t hash[AVOW_SHA256_LEN])
{
    if (key.len > KEY_MAX || sizeof s->bytes - s->len < HEAD_LEN + key.len)
        return false;
    uint8_t *at = s->bytes + s->len;
    at[0] = (uint8_t)key.len;
    at[1] = rule;
    at[2] = flags;
    memcpy(at + 3, hash, AVOW_SHA256_LEN);
    memcpy(at + HEAD_LEN, key.ptr, key.len);
    s->len += HEAD_LEN + key.len;
    return true;
}

static bool fault_is(struct avow_dm_fault *f, enum avow_finding_id id, const char *what,
                     struct avow_str value)
{
    f->id = id;
    f->what = what;
    f->value = value;
    return false;
}

#define FAULT(f, name, what, value) fault_is((f), AVOW_FINDING_IMA_DM_##name, (what), (value))

static bool allows(const struct avow_dm_attr *a, struct avow_str escaped)
{
    char buf[AVOW_DM_VALUE_MAX];
    struct avow_str value;
    return avow_dm_unescape(escaped, buf, sizeof buf, &value) && avow_dm_attr_allows(a, value);
}

static bool judge_row(const struct avow_dm_target *t, struct avow_str row, struct avow_dm_fault *f)
{
    for (size_t i = 0; i < t->count; i++) {
        struct avow_str value;
        if (!avow_dm_row_get(row, t->attrs[i].name, &value))
            return FAULT(f, TARGET, "no such attribute of a target",
                         avow_str_from(t->attrs[i].name));
        if (!allows(&t->attrs[i], value))
            return FAULT(f, TARGET, t->attrs[i].name, value);
    }
    return true;
}

/* A table too long for one entry comes in several, which no policy describes: too few rows here. */
static bool judge_table(const struct avow_dm_rule *rule, const struct avow_dm_event *e,
                        struct avow_dm_fault *f)
{
    static const char *const names[] = {"name", "uuid", "major", "minor", "minor_count"};
    struct avow_str rest = e->targets, row;
    uint64_t said;
    size_t n = 0;
    for (size_t i = 0; i < AVOW_DM_META; i++) {
        if (!allows(&rule->meta[i], e->meta[i]))
            return FAULT(f, DEVICE, names[i], e->meta[i]);
    }
    for (; avow_dm_next_row(&rest, &row); n++) {
        if (n < rule->targets_count && !judge_row(&rule->targets[n], row, f))
            return false;
    }
    if (!avow_num_parse_u64(e->num_targets, UINT32_MAX, &said) || said != n ||
        rule->num_targets != n || rule->targets_count > n)
        return FAULT(f, TARGETS, "another number of targets", e->num_targets);
    return true;
}

static bool find_rule(const struct avow_dm_policy *p, struct avow_str key, size_t *out)
{
    size_t which = p->match_uuid ? AVOW_DM_UUID : AVOW_DM_NAME;
    for (*out = 0; *out < p->count; (*out)++) {
        if (avow_dm_attr_allows(&p->rules[*out].meta[which], key))
            return true;
    }
    return false;
}

struct step {
    const struct avow_dm_policy *policy;
    const struct avow_dm_event *event;
    struct avow_bytes data;
    struct avow_str key; /* without escapes */
    struct avow_dm_state *state;
    struct avow_dm_fault *fault;
};

static bool load(const struct step *t)
{
    struct device d = {.len = 0};
    size_t rule;
    uint8_t hash[AVOW_SHA256_LEN];
    bool known = find(t->state, t->key, &d);
    if (known && !t->policy->rules[d.at[1]].allow_multiple_loads)
        return FAULT(t->fault, RELOADED, "a second table", t->event->meta[AVOW_DM_NAME]);
    if (!find_rule(t->policy, t->key, &rule))
        return FAULT(t->fault, NO_RULE, "no rule is for it", t->event->meta[AVOW_DM_UUID]);
    if (!judge_table(&t->policy->rules[rule], t->event, t->fault))
        return false;
    if (known)
        drop(t->state, d);
    avow_sha256(t->data, hash);
    uint8_t flags = t->policy->rules[rule].resume_required ? 0 : FLAG_VALID;
    return put(t->state, t->key, (uint8_t)rule, flags, hash) ||
           FAULT(t->fault, FULL, "more devices than are kept", t->event->meta[AVOW_DM_NAME]);
}

/* The kernel hashes what it measured when the table was loaded (dm_ima_measure_on_table_load). */
static bool hash_is(struct avow_str text, const uint8_t hash[AVOW_SHA256_LEN])
{
    uint8_t got[AVOW_SHA256_LEN];
    size_t prefix = sizeof "sha256:" - 1;
    if (!avow_str_starts(text, "sha256:"))
        prefix = 0; /* linux 5.15 */
    return avow_hex_decode(got, sizeof got,
                           (struct avow_str){text.ptr + prefix, text.len - prefix}) &&
           avow_ct_eq(got, hash, sizeof got);
}

static bool resume(const struct step *t, struct device d)
{
    if (d.at[2] & FLAG_ACTIVE)
        return FAULT(t->fault, RESUMED, "it was active", t->event->table_hash);
    if (!t->event->table_hash.len || !hash_is(t->event->table_hash, d.at + 3))
        return FAULT(t->fault, TABLE_HASH, "another table than was loaded", t->event->table_hash);
    d.at[2] = FLAG_ACTIVE | FLAG_VALID;
    return true;
}

static bool rename_key(const struct step *t, struct device d, struct avow_str escaped)
{
    char buf[KEY_MAX];
    struct avow_str key;
    struct device other;
    uint8_t rule = d.at[1], flags = d.at[2], hash[AVOW_SHA256_LEN];
    memcpy(hash, d.at + 3, sizeof hash);
    if (!avow_dm_unescape(escaped, buf, sizeof buf, &key) || find(t->state, key, &other))
        return FAULT(t->fault, RENAMED, "to what another device is called", escaped);
    drop(t->state, d);
    return put(t->state, key, rule, flags, hash) ||
           FAULT(t->fault, FULL, "more devices than are kept", escaped);
}

static bool rename_device(const struct step *t, struct device d)
{
    const struct avow_dm_rule *rule = &t->policy->rules[d.at[1]];
    const struct avow_dm_event *e = t->event;
    bool name = !avow_str_eq(e->new_name, e->meta[AVOW_DM_NAME]);
    bool uuid = !avow_str_eq(e->new_uuid, e->meta[AVOW_DM_UUID]);
    if (name && !allows(&rule->new_name, e->new_name))
        return FAULT(t->fault, RENAMED, "new_name", e->new_name);
    if (uuid && !allows(&rule->new_uuid, e->new_uuid))
        return FAULT(t->fault, RENAMED, "new_uuid", e->new_uuid);
    if (t->policy->match_uuid ? uuid : name)
        return rename_key(t, d, t->policy->match_uuid ? e->new_uuid : e->new_name);
    return true;
}

/* One target again; its index says which. */
static bool update(const struct step *t, struct device d)
{
    const struct avow_dm_rule *rule = &t->policy->rules[d.at[1]];
    struct avow_str rest = t->event->targets, row, text;
    while (avow_dm_next_row(&rest, &row)) {
        uint64_t index;
        if (!avow_dm_row_get(row, "target_index", &text) ||
            !avow_num_parse_u64(text, UINT32_MAX, &index) || index >= rule->targets_count)
            return FAULT(t->fault, TARGETS, "no such target", row);
        if (!judge_row(&rule->targets[index], row, t->fault))
            return false;
    }
    return true;
}

static bool apply(const struct step *t)
{
    struct device d;
    if (t->event->kind == AVOW_DM_TABLE_LOAD)
        return load(t);
    if (!find(t->state, t->key, &d))
        return FAULT(t->fault, UNLOADED, "an event before its table", t->event->meta[AVOW_DM_UUID]);
    const struct avow_dm_rule *rule = &t->policy->rules[d.at[1]];
    switch (t->event->kind) {
    case AVOW_DM_DEVICE_RESUME:
        return resume(t, d);
    case AVOW_DM_DEVICE_REMOVE:
        if (!rule->allow_removal)
            return FAULT(t->fault, REMOVED, "removed", t->event->meta[AVOW_DM_UUID]);
        drop(t->state, d);
        return true;
    case AVOW_DM_TABLE_CLEAR:
        return rule->allow_clear ||
               FAULT(t->fault, CLEARED, "cleared", t->event->meta[AVOW_DM_UUID]);
    case AVOW_DM_DEVICE_RENAME:
        return rename_device(t, d);
    case AVOW_DM_TARGET_UPDATE:
        return update(t, d);
    case AVOW_DM_TABLE_LOAD:
    case AVOW_DM_OTHER:
    default:
        return FAULT(t->fault, MALFORMED, "unknown", t->event->meta[AVOW_DM_UUID]);
    }
}

bool avow_dm_judge(const struct avow_dm_policy *p, enum avow_dm_event_kind kind,
                   struct avow_bytes data, struct avow_dm_state *s, struct avow_dm_fault *fault)
{
    struct avow_dm_event e;
    char key[KEY_MAX];
    struct step t = {.policy = p, .event = &e, .data = data, .state = s, .fault = fault};
    *fault = (struct avow_dm_fault){.what = ""};
    if (!avow_dm_event_parse(kind, (struct avow_str){(const char *)data.ptr, data.len}, &e))
        return FAULT(fault, MALFORMED, "malformed", ((struct avow_str){"", 0}));
    fault->device = e.meta[AVOW_DM_NAME];
    if (!avow_dm_unescape(e.meta[p->match_uuid ? AVOW_DM_UUID : AVOW_DM_NAME], key, sizeof key,
                          &t.key))
        return FAULT(fault, MALFORMED, "name too long", ((struct avow_str){"", 0}));
    return apply(&t);
}

static bool rule_is_met(const struct avow_dm_state *s, size_t rule)
{
    for (size_t at = 0; at < s->len; at += HEAD_LEN + s->bytes[at]) {
        if (s->bytes[at + 1] == rule && s->bytes[at + 2] & FLAG_VALID)
            return true;
    }
    return false;
}

/* *at counts the bytes of the state first, then the rules. */
bool avow_dm_next_lack(const struct avow_dm_policy *p, const struct avow_dm_state *s, size_t *at,
                       struct avow_dm_fault *fault)
{
    *fault = (struct avow_dm_fault){.what = ""};
    while (*at < s->len) {
        const uint8_t *d = s->bytes + *at;
        *at += HEAD_LEN + d[0];
        fault->device = (struct avow_str){(const char *)d + HEAD_LEN, d[0]};
        if (!(d[2] & FLAG_VALID)) {
            FAULT(fault, NOT_RESUMED, "was not resumed", ((struct avow_str){"", 0}));
            return true;
        }
    }
    while (*at - s->len < p->count) {
        size_t rule = (*at)++ - s->len;
        if (p->rules[rule].required && !rule_is_met(s, rule)) {
            fault->device = (struct avow_str){"", 0};
            FAULT(fault, REQUIRED, "no device of the rule", avow_str_from(p->rules[rule].name));
            return true;
        }
    }
    return false;
}
