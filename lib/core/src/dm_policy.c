/* dm_policy.c - see dm_policy.h. */
#include "dm_policy.h"

#include "avow/base/num.h"
#include "avow/formats/json_pull.h"

#include <stdlib.h>

#include "avow/base/banned.h"

#define KEY_SHOWN 60

struct reader {
    struct avow_json j;
    struct avow_err *err;
};
/* One member of an object: its name and who reads it. */
struct member {
    const char *name;
    enum avow_rc (*read)(struct reader *r, void *out);
    void *out;
    bool optional;
};

static enum avow_rc refuse(const struct reader *r, const char *reason)
{
    enum avow_rc rc = avow_json_status(&r->j, r->err);
    return rc ? rc : avow_err_set(r->err, AVOW_PARSE, 0, "%s", reason);
}

static const struct member *find(const struct member *m, size_t n, struct avow_str key, size_t *at)
{
    for (*at = 0; *at < n; (*at)++) {
        if (avow_str_is(key, m[*at].name))
            return &m[*at];
    }
    return NULL;
}

/* Each of `m` once, nothing else. */
static enum avow_rc read_object(struct reader *r, const struct member *m, size_t n)
{
    bool first = true;
    uint32_t seen = 0;
    struct avow_str key;
    if (avow_json_peek(&r->j) != AVOW_JSON_OBJECT || !avow_json_enter(&r->j, AVOW_JSON_OBJECT))
        return refuse(r, "not an object");
    while (avow_json_member(&r->j, &first, &key)) {
        size_t at;
        const struct member *f = find(m, n, key, &at);
        if (!f || seen & 1u << at)
            return avow_err_set(r->err, AVOW_PARSE, 0, "%s key \"%.*s\"",
                                f ? "duplicate" : "unknown",
                                (int)(key.len < KEY_SHOWN ? key.len : KEY_SHOWN), key.ptr);
        seen |= 1u << at;
        enum avow_rc rc = f->read(r, f->out);
        if (rc)
            return avow_err_wrap(r->err, rc, ".%s", f->name);
    }
    for (size_t i = 0; i < n && !r->j.failed; i++) {
        if (!m[i].optional && !(seen & 1u << i))
            return avow_err_set(r->err, AVOW_PARSE, 0, ".%s: missing", m[i].name);
    }
    return avow_json_status(&r->j, r->err);
}

static enum avow_rc read_bool(struct reader *r, void *out)
{
    struct avow_bytes text;
    if (avow_json_peek(&r->j) != AVOW_JSON_BOOL || !avow_json_skip(&r->j, &text))
        return refuse(r, "not true or false");
    *(bool *)out = text.ptr[0] == 't';
    return AVOW_OK;
}

static enum avow_rc read_number(struct reader *r, void *out)
{
    struct avow_bytes text;
    if (avow_json_peek(&r->j) != AVOW_JSON_NUMBER || !avow_json_skip(&r->j, &text) ||
        !avow_num_parse_u64((struct avow_str){(const char *)text.ptr, text.len}, UINT64_MAX, out))
        return refuse(r, "not a whole number");
    return AVOW_OK;
}

static enum avow_rc read_version(struct reader *r, void *out)
{
    enum avow_rc rc = read_number(r, out);
    return rc || *(uint64_t *)out == 1 ? rc : refuse(r, "not 1");
}

static enum avow_rc read_match_on(struct reader *r, void *out)
{
    struct avow_str s;
    if (avow_json_peek(&r->j) != AVOW_JSON_STRING || !avow_json_string(&r->j, &s) ||
        !(avow_str_is(s, "name") || avow_str_is(s, "uuid")))
        return refuse(r, "neither \"name\" nor \"uuid\"");
    *(bool *)out = avow_str_is(s, "uuid");
    return AVOW_OK;
}

static enum avow_rc read_text(struct reader *r, struct avow_dm_attr *a)
{
    struct avow_str s;
    if (!avow_json_string(&r->j, &s))
        return refuse(r, "not a string");
    a->kind = AVOW_DM_TEXT;
    enum avow_rc rc = avow_excludes_put(&a->text, s, r->err);
    return rc ? rc : avow_excludes_finish(&a->text, r->err);
}

static enum avow_rc read_attr(struct reader *r, void *out)
{
    struct avow_dm_attr *a = out;
    switch (avow_json_peek(&r->j)) {
    case AVOW_JSON_NULL:
        a->kind = AVOW_DM_ANY;
        return avow_json_skip(&r->j, NULL) ? AVOW_OK : refuse(r, "malformed");
    case AVOW_JSON_BOOL:
        a->kind = AVOW_DM_BOOL;
        return read_bool(r, &a->flag);
    case AVOW_JSON_NUMBER:
        a->kind = AVOW_DM_NUMBER;
        return read_number(r, &a->number);
    case AVOW_JSON_STRING:
        return read_text(r, a);
    default:
        return refuse(r, "neither null, true, false, a number nor an expression");
    }
}

static char *copy(struct avow_str s)
{
    char *c = malloc(s.len + 1);
    if (!c)
        return NULL;
    memcpy(c, s.ptr, s.len);
    c[s.len] = 0;
    return c;
}

/* Room for one more item of `size` bytes, zeroed. */
static void *add(void *items, size_t *count, size_t size)
{
    uint8_t *grown = realloc(items, (*count + 1) * size);
    if (!grown)
        return NULL;
    memset(grown + *count * size, 0, size);
    (*count)++;
    return grown;
}

static enum avow_rc add_attr(struct reader *r, struct avow_dm_target *t, struct avow_str key)
{
    for (size_t i = 0; i < t->count; i++) {
        if (avow_str_is(key, t->attrs[i].name))
            return refuse(r, "duplicate key");
    }
    if (t->count == AVOW_DM_ATTRS_MAX)
        return avow_err_set(r->err, AVOW_LIMIT, 0, "more than %u attributes", AVOW_DM_ATTRS_MAX);
    struct avow_dm_attr *attrs = add(t->attrs, &t->count, sizeof *attrs);
    if (!attrs)
        return avow_err_set(r->err, AVOW_NOMEM, 0, "attribute");
    t->attrs = attrs;
    attrs[t->count - 1].name = copy(key);
    if (!attrs[t->count - 1].name)
        return avow_err_set(r->err, AVOW_NOMEM, 0, "attribute");
    enum avow_rc rc = read_attr(r, &attrs[t->count - 1]);
    return rc ? avow_err_wrap(r->err, rc, ".%s", attrs[t->count - 1].name) : AVOW_OK;
}

static enum avow_rc read_target(struct reader *r, struct avow_dm_target *t)
{
    bool first = true;
    struct avow_str key;
    if (avow_json_peek(&r->j) != AVOW_JSON_OBJECT || !avow_json_enter(&r->j, AVOW_JSON_OBJECT))
        return refuse(r, "not an object");
    while (avow_json_member(&r->j, &first, &key)) {
        enum avow_rc rc = add_attr(r, t, key);
        if (rc)
            return rc;
    }
    return avow_json_status(&r->j, r->err);
}

static enum avow_rc read_targets(struct reader *r, void *out)
{
    struct avow_dm_rule *rule = out;
    bool first = true;
    if (avow_json_peek(&r->j) != AVOW_JSON_ARRAY || !avow_json_enter(&r->j, AVOW_JSON_ARRAY))
        return refuse(r, "not a list");
    while (avow_json_element(&r->j, &first)) {
        if (rule->targets_count == AVOW_DM_TARGETS_MAX)
            return avow_err_set(r->err, AVOW_LIMIT, 0, "more than %u", AVOW_DM_TARGETS_MAX);
        struct avow_dm_target *t = add(rule->targets, &rule->targets_count, sizeof *t);
        if (!t)
            return avow_err_set(r->err, AVOW_NOMEM, 0, "target");
        rule->targets = t;
        enum avow_rc rc = read_target(r, &t[rule->targets_count - 1]);
        if (rc)
            return avow_err_wrap(r->err, rc, "[%zu]", rule->targets_count - 1);
    }
    return avow_json_status(&r->j, r->err);
}

static enum avow_rc read_rename(struct reader *r, void *out)
{
    struct avow_dm_rule *rule = out;
    const struct member m[] = {{"valid_name", read_attr, &rule->new_name, false},
                               {"valid_uuid", read_attr, &rule->new_uuid, false}};
    return read_object(r, m, AVOW_ARRAY_LEN(m));
}

static enum avow_rc read_remove(struct reader *r, void *out)
{
    struct avow_dm_rule *rule = out;
    const struct member m[] = {{"allow_removal", read_bool, &rule->allow_removal, false}};
    return read_object(r, m, AVOW_ARRAY_LEN(m));
}

static enum avow_rc read_table_load(struct reader *r, void *out)
{
    struct avow_dm_rule *rule = out;
    const struct member m[] = {
        {"allow_multiple_loads", read_bool, &rule->allow_multiple_loads, false},
        {"name", read_attr, &rule->meta[AVOW_DM_NAME], false},
        {"uuid", read_attr, &rule->meta[AVOW_DM_UUID], false},
        {"major", read_attr, &rule->meta[AVOW_DM_MAJOR], false},
        {"minor", read_attr, &rule->meta[AVOW_DM_MINOR], false},
        {"minor_count", read_attr, &rule->meta[AVOW_DM_MINOR_COUNT], false},
        {"num_targets", read_number, &rule->num_targets, false},
        {"targets", read_targets, rule, false}};
    return read_object(r, m, AVOW_ARRAY_LEN(m));
}

static enum avow_rc read_rule(struct reader *r, struct avow_dm_rule *rule)
{
    const struct member m[] = {{"required", read_bool, &rule->required, false},
                               {"device_resume_required", read_bool, &rule->resume_required, false},
                               {"device_rename", read_rename, rule, false},
                               {"device_remove", read_remove, rule, false},
                               {"allow_clear", read_bool, &rule->allow_clear, false},
                               {"table_load", read_table_load, rule, false}};
    return read_object(r, m, AVOW_ARRAY_LEN(m));
}

static enum avow_rc add_rule(struct reader *r, struct avow_dm_policy *p, struct avow_str key)
{
    for (size_t i = 0; i < p->count; i++) {
        if (avow_str_is(key, p->rules[i].name))
            return refuse(r, "duplicate key");
    }
    if (p->count == AVOW_DM_RULES_MAX)
        return avow_err_set(r->err, AVOW_LIMIT, 0, "more than %u", AVOW_DM_RULES_MAX);
    struct avow_dm_rule *rules = add(p->rules, &p->count, sizeof *rules);
    if (!rules)
        return avow_err_set(r->err, AVOW_NOMEM, 0, "rule");
    p->rules = rules;
    struct avow_dm_rule *rule = &rules[p->count - 1];
    rule->name = copy(key);
    if (!rule->name)
        return avow_err_set(r->err, AVOW_NOMEM, 0, "rule");
    enum avow_rc rc = read_rule(r, rule);
    return rc ? avow_err_wrap(r->err, rc, ".%.60s", rule->name) : AVOW_OK;
}

static enum avow_rc read_rules(struct reader *r, void *out)
{
    struct avow_dm_policy *p = out;
    bool first = true;
    struct avow_str key;
    if (avow_json_peek(&r->j) != AVOW_JSON_OBJECT || !avow_json_enter(&r->j, AVOW_JSON_OBJECT))
        return refuse(r, "not an object");
    while (avow_json_member(&r->j, &first, &key)) {
        enum avow_rc rc = add_rule(r, p, key);
        if (rc)
            return rc;
    }
    return avow_json_status(&r->j, r->err);
}

enum avow_rc avow_dm_policy_load(struct avow_str json, struct avow_dm_policy **out,
                                 struct avow_err *err)
{
    AVOW_CLEANUP(avow_dm_policy_free) struct avow_dm_policy *p = calloc(1, sizeof *p);
    if (!p)
        return avow_err_set(err, AVOW_NOMEM, 0, "device-mapper policy");
    struct reader r = {.err = err};
    uint64_t version;
    const struct member m[] = {{"version", read_version, &version, true},
                               {"match_on", read_match_on, &p->match_uuid, false},
                               {"rules", read_rules, p, false}};
    avow_json_init(&r.j, avow_bytes_make(json.ptr, json.len));
    enum avow_rc rc =
        r.j.failed ? avow_json_status(&r.j, err) : read_object(&r, m, AVOW_ARRAY_LEN(m));
    if (!rc && !avow_json_end(&r.j))
        rc = refuse(&r, "more follows");
    avow_json_deinit(&r.j);
    if (rc)
        return rc;
    *out = AVOW_STEAL(p);
    return AVOW_OK;
}

static void deinit_attr(struct avow_dm_attr *a)
{
    free(a->name);
    avow_excludes_deinit(&a->text);
}

static void deinit_rule(struct avow_dm_rule *rule)
{
    for (size_t i = 0; i < AVOW_DM_META; i++)
        deinit_attr(&rule->meta[i]);
    deinit_attr(&rule->new_name);
    deinit_attr(&rule->new_uuid);
    for (size_t i = 0; i < rule->targets_count; i++) {
        for (size_t k = 0; k < rule->targets[i].count; k++)
            deinit_attr(&rule->targets[i].attrs[k]);
        free(rule->targets[i].attrs);
    }
    free(rule->targets);
    free(rule->name);
}

void avow_dm_policy_free(struct avow_dm_policy *p)
{
    if (!p)
        return;
    for (size_t i = 0; i < p->count; i++)
        deinit_rule(&p->rules[i]);
    free(p->rules);
    free(p);
}

/* Python's strtobool, which Keylime uses. */
static bool flag_is(struct avow_str value, bool want)
{
    static const char *const texts[2][6] = {{"n", "no", "f", "false", "off", "0"},
                                            {"y", "yes", "t", "true", "on", "1"}};
    for (size_t i = 0; i < AVOW_ARRAY_LEN(texts[0]); i++) {
        if (avow_str_is(value, texts[want][i]))
            return true;
    }
    return false;
}

bool avow_dm_attr_allows(const struct avow_dm_attr *a, struct avow_str value)
{
    uint64_t n;
    switch (a->kind) {
    case AVOW_DM_ANY:
        return true;
    case AVOW_DM_BOOL:
        return flag_is(value, a->flag);
    case AVOW_DM_NUMBER:
        return avow_num_parse_u64(value, UINT64_MAX, &n) && n == a->number;
    case AVOW_DM_TEXT:
        return value.len <= AVOW_DM_VALUE_MAX &&
               avow_excludes_match(&a->text, value, true) == AVOW_EXCLUDE_YES;
    default:
        return false;
    }
}
