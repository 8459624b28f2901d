/* ima_keyring.c - see ima_keyring.h. */
#include "avow/formats/ima_keyring.h"

#include "avow/formats/json_pull.h"

#include "avow/base/cleanup.h"
#include "avow/base/hex.h"
#include "avow/base/num.h"

#include "avow/base/banned.h"

#define DER_MAX 16384u

struct ids {
    uint32_t id[AVOW_IMA_KEYRING_MAX];
    size_t count;
};

bool avow_ima_keyring_is(struct avow_bytes text)
{
    for (size_t i = 0; i < text.len; i++) {
        switch (text.ptr[i]) {
        case ' ':
        case '\t':
        case '\r':
        case '\n':
            break;
        default:
            return text.ptr[i] == '{' || text.ptr[i] == '"';
        }
    }
    return false;
}

/* Steps to the value of one member of the object that the text is; *found is false if there is
 * none. A name that comes twice would be read in one way here and in another elsewhere. */
static enum avow_rc find(struct avow_bytes text, const char *name, struct avow_bytes *value,
                         bool *found, struct avow_err *err)
{
    AVOW_CLEANUP_VAL(avow_json_deinit) struct avow_json j;
    avow_json_init(&j, text);
    bool first = true;
    struct avow_str key;
    *found = false;
    if (!j.failed && avow_json_peek(&j) != AVOW_JSON_OBJECT)
        return avow_err_set(err, AVOW_PARSE, 0, "$: not an object");
    if (avow_json_enter(&j, AVOW_JSON_OBJECT)) {
        while (avow_json_member(&j, &first, &key)) {
            bool is_it = avow_str_is(key, name);
            if (is_it && *found)
                return avow_err_set(err, AVOW_PARSE, 0, "$.%s: twice", name);
            if (!avow_json_skip(&j, is_it ? value : NULL))
                break;
            *found |= is_it;
        }
    }
    if (!j.failed && !avow_json_end(&j))
        return avow_err_set(err, AVOW_PARSE, 0, "$: more follows");
    return avow_json_status(&j, err);
}

static enum avow_rc read_ids(struct avow_bytes list, struct ids *out, struct avow_err *err)
{
    AVOW_CLEANUP_VAL(avow_json_deinit) struct avow_json j;
    avow_json_init(&j, list);
    bool first = true;
    out->count = 0;
    if (avow_json_peek(&j) != AVOW_JSON_ARRAY || !avow_json_enter(&j, AVOW_JSON_ARRAY))
        return avow_err_set(err, AVOW_PARSE, 0, "$.keyids: not a list");
    while (avow_json_element(&j, &first)) {
        struct avow_bytes text;
        uint64_t id;
        if (!avow_json_skip(&j, &text))
            break;
        if (out->count == AVOW_IMA_KEYRING_MAX)
            return avow_err_set(err, AVOW_LIMIT, 0, "$.keyids: more than %u", AVOW_IMA_KEYRING_MAX);
        if (!avow_num_parse_u64((struct avow_str){(const char *)text.ptr, text.len}, UINT32_MAX,
                                &id))
            return avow_err_set(err, AVOW_PARSE, 0, "$.keyids[%zu]: not a number of 32 bits",
                                out->count);
        out->id[out->count++] = (uint32_t)id;
    }
    return avow_json_status(&j, err);
}

static enum avow_rc read_key(struct avow_json *j, const uint32_t *id,
                             const struct avow_ima_keyring_sink *sink, struct avow_err *err)
{
    struct avow_str text;
    AVOW_CLEANUP_VAL(avow_buf_deinit) struct avow_buf der;
    avow_buf_init(&der, DER_MAX);
    if (avow_json_peek(j) != AVOW_JSON_STRING)
        return avow_err_set(err, AVOW_PARSE, 0, "not a string");
    if (!avow_json_string(j, &text))
        return avow_json_status(j, err);
    enum avow_rc rc = avow_base64_decode(text, &der, err);
    return rc ? rc : sink->key(sink->ctx, avow_buf_bytes(&der), id, err);
}

static enum avow_rc read_keys(struct avow_bytes list, const struct ids *ids,
                              const struct avow_ima_keyring_sink *sink, struct avow_err *err)
{
    AVOW_CLEANUP_VAL(avow_json_deinit) struct avow_json j;
    avow_json_init(&j, list);
    bool first = true;
    size_t n = 0;
    if (avow_json_peek(&j) != AVOW_JSON_ARRAY || !avow_json_enter(&j, AVOW_JSON_ARRAY))
        return avow_err_set(err, AVOW_PARSE, 0, "$.pubkeys: not a list");
    for (; avow_json_element(&j, &first); n++) {
        if (n == AVOW_IMA_KEYRING_MAX)
            return avow_err_set(err, AVOW_LIMIT, 0, "$.pubkeys: more than %u",
                                AVOW_IMA_KEYRING_MAX);
        enum avow_rc rc = read_key(&j, n < ids->count ? &ids->id[n] : NULL, sink, err);
        if (rc)
            return avow_err_wrap(err, rc, "$.pubkeys[%zu]", n);
    }
    if (!j.failed && ids->count && ids->count != n)
        return avow_err_set(err, AVOW_PARSE, 0, "$.keyids: %zu for %zu keys", ids->count, n);
    return avow_json_status(&j, err);
}

static enum avow_rc parse_object(struct avow_bytes text, const struct avow_ima_keyring_sink *sink,
                                 struct avow_err *err)
{
    struct avow_bytes list;
    bool found;
    struct ids ids;
    ids.count = 0;
    enum avow_rc rc = find(text, "keyids", &list, &found, err);
    if (!rc && found)
        rc = read_ids(list, &ids, err);
    if (!rc)
        rc = find(text, "pubkeys", &list, &found, err);
    return rc || !found ? rc : read_keys(list, &ids, sink, err);
}

enum avow_rc avow_ima_keyring_parse(struct avow_bytes text,
                                    const struct avow_ima_keyring_sink *sink, struct avow_err *err)
{
    if (text.len > AVOW_IMA_KEYRING_TEXT_MAX)
        return avow_err_set(err, AVOW_LIMIT, 0, "keyring of %zu bytes; the limit is %u", text.len,
                            AVOW_IMA_KEYRING_TEXT_MAX);
    AVOW_CLEANUP_VAL(avow_json_deinit) struct avow_json j;
    avow_json_init(&j, text);
    if (j.failed || avow_json_peek(&j) != AVOW_JSON_STRING)
        return j.failed ? avow_json_status(&j, err) : parse_object(text, sink, err);
    struct avow_str inner;
    if (!avow_json_string(&j, &inner))
        return avow_json_status(&j, err);
    if (!avow_json_end(&j))
        return avow_err_set(err, AVOW_PARSE, 0, "$: more follows");
    return parse_object(avow_bytes_make(inner.ptr, inner.len), sink, err);
}
