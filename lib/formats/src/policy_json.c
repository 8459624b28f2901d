/* policy_json.c - the JSON forms of a runtime policy. See policy_text.h. */
#include "policy_internal.h"

#include "avow/formats/json_pull.h"

#include "avow/base/banned.h"

#define VERSION_MAX 1u        /* of the runtime policy */
#define LEGACY_VERSION_MAX 5u /* of the allowlist before it */
#define GENERATOR_MAX 3u
#define HEADER_VERSION_MAX 1u /* of our own header */
#define KEY_SHOWN 80          /* characters of a name in a message */

enum key {
    KEY_DIGESTS,
    KEY_HASHES,
    KEY_EXCLUDES,
    KEY_KEYRINGS,
    KEY_IMA_BUF,
    KEY_IMA,
    KEY_VERIFICATION_KEYS,
    KEY_META,
    KEY_RELEASE,
    KEY_AVOW,
    KEYS
};
static const char *const key_names[KEYS] = {"digests", "hashes", "excludes",          "keyrings",
                                            "ima-buf", "ima",    "verification-keys", "meta",
                                            "release", "avow"};
static const char *const key_paths[KEYS] = {"$.digests",
                                            "$.hashes",
                                            "$.excludes",
                                            "$.keyrings",
                                            "$[\"ima-buf\"]",
                                            "$.ima",
                                            "$[\"verification-keys\"]",
                                            "$.meta",
                                            "$.release",
                                            "$.avow"};

struct reader {
    struct avow_policy_reader *out;
    struct avow_json j;
    unsigned seen;    /* bit: key */
    bool old_version; /* meta.version is one of the allowlist only */
};

static enum avow_rc refuse(const struct reader *r, const char *where, const char *reason)
{
    return avow_err_set(r->out->err, AVOW_PARSE, 0, "%s: %s", where, reason);
}

static enum avow_rc status(const struct reader *r)
{
    return avow_json_status(&r->j, r->out->err);
}

static int shown(struct avow_str s)
{
    return s.len < KEY_SHOWN ? (int)s.len : KEY_SHOWN;
}

/* Keylime ignores it, so a policy of Keylime's may have it; whoever misspelt "excludes" is told. */
static enum avow_rc unknown_key(struct reader *r, const char *where, struct avow_str key)
{
    enum avow_rc rc =
        avow_policy_warn(r->out, "%s[\"%.*s\"]: unknown key, not used", where, shown(key), key.ptr);
    if (!rc)
        (void)avow_json_skip(&r->j, NULL);
    return rc;
}

/* Index of the key, n if it is none; AVOW_PARSE if it was there before. */
static enum avow_rc find_key(const struct reader *r, const char *const *names, size_t n,
                             struct avow_str key, unsigned *seen, size_t *out)
{
    for (*out = 0; *out < n && !avow_str_is(key, names[*out]); (*out)++)
        continue;
    if (*out == n)
        return AVOW_OK;
    if (*seen & 1u << *out)
        return avow_err_set(r->out->err, AVOW_PARSE, 0, "duplicate key \"%.*s\"", shown(key),
                            key.ptr);
    *seen |= 1u << *out;
    return AVOW_OK;
}

static enum avow_rc read_digest(struct reader *r, enum avow_policy_item item, struct avow_str name)
{
    struct avow_str hex;
    if (avow_json_peek(&r->j) != AVOW_JSON_STRING)
        return avow_err_set(r->out->err, AVOW_PARSE, 0, "not a string");
    return avow_json_string(&r->j, &hex) ? avow_policy_put_digest(r->out, item, name, hex)
                                         : AVOW_OK;
}

/* [hex, ...] */
static enum avow_rc read_list(struct reader *r, enum avow_policy_item item, const char *where,
                              struct avow_str name)
{
    bool first = true;
    size_t i = 0;
    if (avow_json_peek(&r->j) != AVOW_JSON_ARRAY || !avow_json_enter(&r->j, AVOW_JSON_ARRAY))
        return avow_err_set(r->out->err, AVOW_PARSE, 0,
                            "%s[\"%.*s\"]: not a list with at least one digest", where, shown(name),
                            name.ptr);
    for (; avow_json_element(&r->j, &first); i++) {
        enum avow_rc rc = read_digest(r, item, name);
        if (rc)
            return avow_err_wrap(r->out->err, rc, "%s[\"%.*s\"][%zu]", where, shown(name), name.ptr,
                                 i);
    }
    if (!i && !r->j.failed)
        return avow_err_set(r->out->err, AVOW_PARSE, 0,
                            "%s[\"%.*s\"]: not a list with at least one digest", where, shown(name),
                            name.ptr);
    return AVOW_OK;
}

/* {name: [hex, ...]} */
static enum avow_rc read_digests(struct reader *r, enum avow_policy_item item, const char *where)
{
    bool first = true;
    struct avow_str name;
    if (avow_json_peek(&r->j) != AVOW_JSON_OBJECT || !avow_json_enter(&r->j, AVOW_JSON_OBJECT))
        return refuse(r, where, "not an object");
    while (avow_json_member(&r->j, &first, &name)) {
        enum avow_rc rc = avow_policy_put_name(r->out, item, name);
        if (rc)
            return avow_err_wrap(r->out->err, rc, "%s[\"%.*s\"]", where, shown(name), name.ptr);
        rc = read_list(r, item, where, name);
        if (rc)
            return rc;
    }
    return AVOW_OK;
}

static enum avow_rc read_text(struct reader *r, enum avow_policy_item item)
{
    struct avow_str s;
    if (avow_json_peek(&r->j) != AVOW_JSON_STRING)
        return avow_err_set(r->out->err, AVOW_PARSE, 0, "not a string");
    if (!avow_json_string(&r->j, &s))
        return AVOW_OK;
    if (s.len > AVOW_POLICY_EXCLUDE_LEN_MAX)
        return avow_err_set(r->out->err, AVOW_LIMIT, 0, "longer than %u bytes",
                            AVOW_POLICY_EXCLUDE_LEN_MAX);
    return avow_policy_put(r->out, item, s);
}

/* [text, ...] or null */
static enum avow_rc read_texts(struct reader *r, enum avow_policy_item item, const char *where)
{
    bool first = true;
    if (avow_json_peek(&r->j) == AVOW_JSON_NULL)
        return avow_json_skip(&r->j, NULL) ? AVOW_OK : status(r);
    if (avow_json_peek(&r->j) != AVOW_JSON_ARRAY || !avow_json_enter(&r->j, AVOW_JSON_ARRAY))
        return refuse(r, where, "not a list");
    for (size_t i = 0; avow_json_element(&r->j, &first); i++) {
        enum avow_rc rc = i < AVOW_POLICY_EXCLUDES_MAX
                              ? read_text(r, item)
                              : avow_err_set(r->out->err, AVOW_LIMIT, 0, "more than %u",
                                             AVOW_POLICY_EXCLUDES_MAX);
        if (rc)
            return avow_err_wrap(r->out->err, rc, "%s[%zu]", where, i);
    }
    return AVOW_OK;
}

/* The generator says who made the document; it never decides whether it is enforced. */
static enum avow_rc read_meta_value(struct reader *r, size_t key)
{
    switch (key) {
    case 0: { /* version */
        const struct avow_json before = r->j;
        if (avow_json_integer(&r->j, VERSION_MAX))
            return AVOW_OK;
        r->j = before;
        r->old_version = true;
        return avow_json_integer(&r->j, LEGACY_VERSION_MAX)
                   ? AVOW_OK
                   : refuse(r, "$.meta.version", "not a version that is known");
    }
    case 1: /* generator */
        return avow_json_integer(&r->j, GENERATOR_MAX)
                   ? AVOW_OK
                   : refuse(r, "$.meta.generator", "not 0 to 3");
    default: /* timestamp, checksum: for people */
        (void)avow_json_skip(&r->j, NULL);
        return AVOW_OK;
    }
}

static enum avow_rc read_meta(struct reader *r)
{
    static const char *const names[] = {"version", "generator", "timestamp", "checksum"};
    bool first = true;
    unsigned seen = 0;
    struct avow_str key;
    size_t which;
    if (avow_json_peek(&r->j) != AVOW_JSON_OBJECT || !avow_json_enter(&r->j, AVOW_JSON_OBJECT))
        return refuse(r, "$.meta", "not an object");
    while (avow_json_member(&r->j, &first, &key)) {
        enum avow_rc rc = find_key(r, names, AVOW_ARRAY_LEN(names), key, &seen, &which);
        if (rc)
            return avow_err_wrap(r->out->err, rc, "$.meta");
        rc = which == AVOW_ARRAY_LEN(names) ? unknown_key(r, "$.meta", key)
                                            : read_meta_value(r, which);
        if (rc)
            return rc;
    }
    return AVOW_OK;
}

static enum avow_rc read_dm_policy(struct reader *r)
{
    struct avow_bytes text;
    bool null = avow_json_peek(&r->j) == AVOW_JSON_NULL;
    if (!avow_json_skip(&r->j, &text) || null)
        return AVOW_OK;
    return avow_policy_put(r->out, AVOW_POLICY_ITEM_DM_POLICY,
                           (struct avow_str){(const char *)text.ptr, text.len});
}

static enum avow_rc read_hash_name(struct reader *r)
{
    static const char *const names[] = {"sha1", "sha256", "sha384", "sha512"};
    struct avow_str s;
    if (avow_json_peek(&r->j) == AVOW_JSON_STRING && avow_json_string(&r->j, &s)) {
        for (size_t i = 0; i < AVOW_ARRAY_LEN(names); i++) {
            if (avow_str_is(s, names[i]))
                return AVOW_OK;
        }
    }
    return r->j.failed ? AVOW_OK
                       : refuse(r, "$.ima.log_hash_alg", "not sha1, sha256, sha384 or sha512");
}

static enum avow_rc read_ima(struct reader *r)
{
    static const char *const names[] = {"ignored_keyrings", "log_hash_alg", "dm_policy"};
    bool first = true;
    unsigned seen = 0;
    struct avow_str key;
    size_t which;
    if (avow_json_peek(&r->j) != AVOW_JSON_OBJECT || !avow_json_enter(&r->j, AVOW_JSON_OBJECT))
        return refuse(r, "$.ima", "not an object");
    while (avow_json_member(&r->j, &first, &key)) {
        enum avow_rc rc = find_key(r, names, AVOW_ARRAY_LEN(names), key, &seen, &which);
        if (rc)
            return avow_err_wrap(r->out->err, rc, "$.ima");
        if (which == 0)
            rc = read_texts(r, AVOW_POLICY_ITEM_IGNORED_KEYRING, "$.ima.ignored_keyrings");
        else if (which == 1)
            rc = read_hash_name(r);
        else if (which == 2)
            rc = read_dm_policy(r);
        else
            rc = unknown_key(r, "$.ima", key);
        if (rc)
            return rc;
    }
    return AVOW_OK;
}

static enum avow_rc read_verification_keys(struct reader *r)
{
    struct avow_str s;
    enum avow_json_kind kind = avow_json_peek(&r->j);
    if (kind == AVOW_JSON_NULL)
        return avow_json_skip(&r->j, NULL) ? AVOW_OK : status(r);
    if (kind != AVOW_JSON_STRING)
        return refuse(r, key_paths[KEY_VERIFICATION_KEYS], "not a string");
    if (!avow_json_string(&r->j, &s) || !s.len)
        return AVOW_OK;
    return avow_policy_put(r->out, AVOW_POLICY_ITEM_VERIFICATION_KEYS, s);
}

/* Our own header. What it does not know is refused: it might be a demand. */
static enum avow_rc read_avow(struct reader *r)
{
    static const char *const names[] = {"version", "strict_excludes"};
    bool first = true, strict = false;
    unsigned seen = 0;
    struct avow_str key;
    size_t which;
    if (avow_json_peek(&r->j) != AVOW_JSON_OBJECT || !avow_json_enter(&r->j, AVOW_JSON_OBJECT))
        return refuse(r, "$.avow", "not an object");
    while (avow_json_member(&r->j, &first, &key)) {
        enum avow_rc rc = find_key(r, names, AVOW_ARRAY_LEN(names), key, &seen, &which);
        if (rc)
            return avow_err_wrap(r->out->err, rc, "$.avow");
        if (which == AVOW_ARRAY_LEN(names))
            return avow_err_set(r->out->err, AVOW_PARSE, 0, "$.avow[\"%.*s\"]: unknown key",
                                shown(key), key.ptr);
        if (which == 0) {
            const uint8_t *at = r->j.p;
            bool known = avow_json_integer(&r->j, HEADER_VERSION_MAX);
            if (!known || (r->j.p > at && r->j.p[-1] == '0'))
                return refuse(r, "$.avow.version", "not 1");
        } else if (!avow_json_bool(&r->j, &strict)) {
            return refuse(r, "$.avow.strict_excludes", "not true or false");
        }
    }
    if (!r->j.failed && !(seen & 1u))
        return refuse(r, "$.avow", "no version");
    return strict ? avow_policy_put(r->out, AVOW_POLICY_ITEM_STRICT_EXCLUDES, AVOW_STR_LIT(""))
                  : AVOW_OK;
}

static enum avow_rc read_key(struct reader *r, size_t key)
{
    enum avow_json_kind kind;
    switch (key) {
    case KEY_DIGESTS:
    case KEY_HASHES:
        return read_digests(r, AVOW_POLICY_ITEM_DIGEST, key_paths[key]);
    case KEY_KEYRINGS:
        return read_digests(r, AVOW_POLICY_ITEM_KEYRING, key_paths[key]);
    case KEY_IMA_BUF:
        return read_digests(r, AVOW_POLICY_ITEM_IMA_BUF, key_paths[key]);
    case KEY_EXCLUDES:
        return read_texts(r, AVOW_POLICY_ITEM_EXCLUDE, key_paths[key]);
    case KEY_IMA:
        return read_ima(r);
    case KEY_VERIFICATION_KEYS:
        return read_verification_keys(r);
    case KEY_META:
        return read_meta(r);
    case KEY_AVOW:
        return read_avow(r);
    case KEY_RELEASE: /* documented, used by nobody */
    default:
        kind = avow_json_peek(&r->j);
        if (kind != AVOW_JSON_NUMBER && kind != AVOW_JSON_STRING)
            return refuse(r, key_paths[KEY_RELEASE], "not a number");
        (void)avow_json_skip(&r->j, NULL);
        return AVOW_OK;
    }
}

static enum avow_rc read_root(struct reader *r)
{
    bool first = true;
    struct avow_str key;
    size_t which;
    if (avow_json_peek(&r->j) != AVOW_JSON_OBJECT || !avow_json_enter(&r->j, AVOW_JSON_OBJECT))
        return r->j.failed ? status(r) : refuse(r, "$", "not an object");
    while (avow_json_member(&r->j, &first, &key)) {
        enum avow_rc rc = find_key(r, key_names, KEYS, key, &r->seen, &which);
        if (rc)
            return avow_err_wrap(r->out->err, rc, "$");
        if (avow_str_is(key, "payloadType") || avow_str_is(key, "payload"))
            return refuse(r, "$", "a signed envelope (DSSE), not a policy: unwrap it first");
        rc = which < KEYS ? read_key(r, which) : unknown_key(r, "$", key);
        if (rc)
            return rc;
    }
    if (!avow_json_end(&r->j))
        return status(r);
    return AVOW_OK;
}

static enum avow_rc check_form(const struct reader *r)
{
    bool digests = r->seen & 1u << KEY_DIGESTS, hashes = r->seen & 1u << KEY_HASHES;
    if (digests == hashes)
        return refuse(r, "$", digests ? "both digests and hashes" : "no digests");
    if (r->old_version && !hashes)
        return refuse(r, "$.meta.version", "not a version that is known");
    return hashes ? avow_policy_put(r->out, AVOW_POLICY_ITEM_LEGACY, AVOW_STR_LIT("hashes"))
                  : AVOW_OK;
}

enum avow_rc avow_policy_json_parse(struct avow_policy_reader *out, struct avow_bytes text)
{
    struct reader r = {.out = out};
    avow_json_init(&r.j, text);
    enum avow_rc rc = read_root(&r);
    if (!rc)
        rc = check_form(&r);
    avow_json_deinit(&r.j);
    return rc;
}
