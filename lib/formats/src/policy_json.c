/* policy_json.c - the JSON forms of a runtime policy. See policy_text.h. */
#include "policy_internal.h"

#include "avow/base/cleanup.h"

#include <jansson.h>

#include "avow/base/banned.h"

#define VERSION_MAX 1        /* of the runtime policy */
#define LEGACY_VERSION_MAX 5 /* of the allowlist before it */
#define GENERATOR_MAX 3
#define KEY_SHOWN 80 /* characters of a path in a message */

AVOW_DEFINE_CLEANUP(json_t, json_decref);

static struct avow_str str_of(const json_t *v)
{
    return (struct avow_str){json_string_value(v), json_string_length(v)};
}

static enum avow_rc refuse(const struct avow_policy_reader *r, const char *where,
                           const char *reason)
{
    return avow_err_set(r->err, AVOW_PARSE, 0, "%s: %s", where, reason);
}

/* {name: [hex, ...]} */
static enum avow_rc read_digests(struct avow_policy_reader *r, enum avow_policy_item item,
                                 const char *where, json_t *v)
{
    const char *name;
    json_t *list, *hex;
    size_t i;
    if (!json_is_object(v))
        return refuse(r, where, "not an object");
    json_object_foreach(v, name, list)
    {
        struct avow_str n = avow_str_from(name);
        if (!json_is_array(list) || !json_array_size(list))
            return avow_err_set(r->err, AVOW_PARSE, 0,
                                "%s[\"%.*s\"]: not a list with at least one digest", where,
                                KEY_SHOWN, name);
        json_array_foreach(list, i, hex)
        {
            enum avow_rc rc = json_is_string(hex)
                                  ? avow_policy_put_digest(r, item, n, str_of(hex))
                                  : avow_err_set(r->err, AVOW_PARSE, 0, "not a string");
            if (rc)
                return avow_err_wrap(r->err, rc, "%s[\"%.*s\"][%zu]", where, KEY_SHOWN, name, i);
        }
    }
    return AVOW_OK;
}

static enum avow_rc read_strings(struct avow_policy_reader *r, enum avow_policy_item item,
                                 const char *where, json_t *v, size_t max)
{
    json_t *s;
    size_t i;
    if (!json_is_array(v))
        return refuse(r, where, "not a list");
    if (json_array_size(v) > max)
        return avow_err_set(r->err, AVOW_LIMIT, 0, "%s: more than %zu", where, max);
    json_array_foreach(v, i, s)
    {
        enum avow_rc rc;
        if (!json_is_string(s))
            rc = avow_err_set(r->err, AVOW_PARSE, 0, "not a string");
        else if (json_string_length(s) > AVOW_POLICY_EXCLUDE_LEN_MAX)
            rc = avow_err_set(r->err, AVOW_LIMIT, 0, "longer than %u bytes",
                              AVOW_POLICY_EXCLUDE_LEN_MAX);
        else
            rc = avow_policy_put(r, item, str_of(s));
        if (rc)
            return avow_err_wrap(r->err, rc, "%s[%zu]", where, i);
    }
    return AVOW_OK;
}

static bool int_within(const json_t *v, json_int_t max)
{
    return json_is_integer(v) && json_integer_value(v) >= 0 && json_integer_value(v) <= max;
}

/* The generator says who made the document; it never decides whether it is enforced. */
static enum avow_rc read_meta(struct avow_policy_reader *r, json_t *meta, bool legacy)
{
    const char *key;
    json_t *v;
    if (!json_is_object(meta))
        return refuse(r, "$.meta", "not an object");
    json_object_foreach(meta, key, v)
    {
        if (avow_cstr_eq(key, "version")) {
            if (!int_within(v, legacy ? LEGACY_VERSION_MAX : VERSION_MAX))
                return refuse(r, "$.meta.version", "not a version that is known");
        } else if (avow_cstr_eq(key, "generator")) {
            if (!legacy && !int_within(v, GENERATOR_MAX))
                return refuse(r, "$.meta.generator", "not 0 to 3");
        } else if (avow_cstr_eq(key, "timestamp")) {
            if (!json_is_string(v))
                return refuse(r, "$.meta.timestamp", "not a string");
        } else if (!avow_cstr_eq(key, "checksum")) {
            return avow_err_set(r->err, AVOW_PARSE, 0, "$.meta[\"%.*s\"]: unknown key", KEY_SHOWN,
                                key);
        }
    }
    return AVOW_OK;
}

static enum avow_rc read_dm_policy(struct avow_policy_reader *r, json_t *v)
{
    if (json_is_null(v))
        return AVOW_OK;
    char *text = json_dumps(v, JSON_COMPACT | JSON_SORT_KEYS | JSON_ENCODE_ANY);
    if (!text)
        return avow_err_set(r->err, AVOW_NOMEM, 0, "$.ima.dm_policy");
    enum avow_rc rc = avow_policy_put(r, AVOW_POLICY_ITEM_DM_POLICY, avow_str_from(text));
    free(text);
    return rc;
}

static bool is_hash_name(const json_t *v)
{
    static const char *const names[] = {"sha1", "sha256", "sha384", "sha512"};
    for (size_t i = 0; json_is_string(v) && i < AVOW_ARRAY_LEN(names); i++) {
        if (avow_str_is(str_of(v), names[i]))
            return true;
    }
    return false;
}

static enum avow_rc read_ima(struct avow_policy_reader *r, json_t *ima)
{
    const char *key;
    json_t *v;
    enum avow_rc rc = AVOW_OK;
    if (!json_is_object(ima))
        return refuse(r, "$.ima", "not an object");
    json_object_foreach(ima, key, v)
    {
        if (avow_cstr_eq(key, "ignored_keyrings"))
            rc = read_strings(r, AVOW_POLICY_ITEM_IGNORED_KEYRING, "$.ima.ignored_keyrings", v,
                              AVOW_POLICY_EXCLUDES_MAX);
        else if (avow_cstr_eq(key, "log_hash_alg"))
            rc = is_hash_name(v)
                     ? AVOW_OK
                     : refuse(r, "$.ima.log_hash_alg", "not sha1, sha256, sha384 or sha512");
        else if (avow_cstr_eq(key, "dm_policy"))
            rc = read_dm_policy(r, v);
        else
            rc =
                avow_err_set(r->err, AVOW_PARSE, 0, "$.ima[\"%.*s\"]: unknown key", KEY_SHOWN, key);
        if (rc)
            return rc;
    }
    return AVOW_OK;
}

static enum avow_rc read_keys(struct avow_policy_reader *r, json_t *v)
{
    if (json_is_null(v) || (json_is_string(v) && !json_string_length(v)))
        return AVOW_OK;
    if (!json_is_string(v))
        return refuse(r, "$[\"verification-keys\"]", "not a string");
    return avow_policy_put(r, AVOW_POLICY_ITEM_VERIFICATION_KEYS, str_of(v));
}

static enum avow_rc read_excludes(struct avow_policy_reader *r, json_t *v)
{
    return json_is_null(v) ? AVOW_OK
                           : read_strings(r, AVOW_POLICY_ITEM_EXCLUDE, "$.excludes", v,
                                          AVOW_POLICY_EXCLUDES_MAX);
}

/* A misspelt key ("exclude") must not pass as a policy without excludes, so unknown keys are
 * refused. */
static enum avow_rc read_key(struct avow_policy_reader *r, const char *key, json_t *v, bool legacy)
{
    if (avow_cstr_eq(key, legacy ? "hashes" : "digests"))
        return read_digests(r, AVOW_POLICY_ITEM_DIGEST, legacy ? "$.hashes" : "$.digests", v);
    if (avow_cstr_eq(key, "excludes"))
        return read_excludes(r, v);
    if (avow_cstr_eq(key, "keyrings"))
        return read_digests(r, AVOW_POLICY_ITEM_KEYRING, "$.keyrings", v);
    if (avow_cstr_eq(key, "ima-buf"))
        return read_digests(r, AVOW_POLICY_ITEM_IMA_BUF, "$[\"ima-buf\"]", v);
    if (avow_cstr_eq(key, "ima"))
        return read_ima(r, v);
    if (avow_cstr_eq(key, "verification-keys"))
        return read_keys(r, v);
    if (avow_cstr_eq(key, "meta"))
        return read_meta(r, v, legacy);
    if (avow_cstr_eq(key, "release")) /* documented, used by nobody */
        return json_is_integer(v) || json_is_string(v) ? AVOW_OK
                                                       : refuse(r, "$.release", "not a number");
    return avow_err_set(r->err, AVOW_PARSE, 0, "$[\"%.*s\"]: unknown key", KEY_SHOWN, key);
}

static enum avow_rc read_root(struct avow_policy_reader *r, json_t *root)
{
    const char *key;
    json_t *v;
    bool has_digests = json_object_get(root, "digests") != NULL,
         has_hashes = json_object_get(root, "hashes") != NULL;
    if (json_object_get(root, "payloadType"))
        return refuse(r, "$", "a signed envelope (DSSE), not a policy: unwrap it first");
    if (has_digests == has_hashes)
        return refuse(r, "$", has_digests ? "both digests and hashes" : "no digests");
    enum avow_rc rc =
        has_hashes ? avow_policy_put(r, AVOW_POLICY_ITEM_LEGACY, AVOW_STR_LIT("hashes")) : AVOW_OK;
    if (rc)
        return rc;
    json_object_foreach(root, key, v)
    {
        rc = read_key(r, key, v, has_hashes);
        if (rc)
            return rc;
    }
    return AVOW_OK;
}

enum avow_rc avow_policy_json_parse(struct avow_policy_reader *r, struct avow_bytes text)
{
    json_error_t e = {0};
    AVOW_CLEANUP(json_decref)
    json_t *root = json_loadb((const char *)text.ptr, text.len, JSON_REJECT_DUPLICATES, &e);
    if (!root && (!e.text[0] || json_error_code(&e) ==
                                    json_error_out_of_memory)) /* not every failure has a text */
        return avow_err_set(r->err, AVOW_NOMEM, 0, "policy");
    if (!root)
        return avow_err_set(r->err, AVOW_PARSE, 0, "line %d, column %d: %s", e.line, e.column,
                            e.text);
    if (!json_is_object(root))
        return refuse(r, "$", "not an object");
    return read_root(r, root);
}
