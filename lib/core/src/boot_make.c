/* boot_make.c - see boot_make.h: the parts of several logs put together, and judged. */
#include "boot_make.h"

#include "avow/base/cleanup.h"
#include "avow/core/boot_policy.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "avow/base/banned.h"

#define ARENA_MAX (1024u * 1024u)

struct parts {
    json_t *boots, *firmware; /* lists, each element once */
};

static void deinit(struct parts *p)
{
    json_decref(p->boots);
    json_decref(p->firmware);
}

static enum avow_rc no_memory(struct avow_err *err)
{
    return avow_err_set(err, AVOW_NOMEM, 0, "boot policy: no memory");
}

/* Takes `value`, which may be NULL for nothing. False when out of memory. */
static bool append_once(json_t *list, json_t *value)
{
    for (size_t i = 0; value && i < json_array_size(list); i++) {
        if (json_equal(json_array_get(list, i), value)) {
            json_decref(value);
            return true;
        }
    }
    return !value || json_array_append_new(list, value) == 0;
}

/* --- One log --- */

static enum avow_rc read_log(struct avow_bytes in, struct avow_event_log *log,
                             struct avow_event_replay *replay, struct avow_err *err)
{
    struct avow_event_walk w;
    struct avow_event e;
    enum avow_finding_id id;
    enum avow_rc rc = avow_event_log_parse(in, log, err);
    if (rc)
        return rc;
    avow_event_replay(log, replay);
    if (!replay->banks_count)
        return avow_err_set(err, AVOW_PARSE, 0, "it has no bank of a known algorithm");
    avow_event_walk_init(&w, log);
    while (avow_event_walk_next(&w, &e)) {
        if (avow_event_complaint(&e, replay, &id))
            return avow_err_set(err, AVOW_PARSE, 0,
                                "event %zu: %s: its data is not what was "
                                "measured",
                                e.index, avow_finding_def_of(id)->id);
    }
    return AVOW_OK;
}

static enum avow_rc take_log(const struct avow_boot_make *in, struct avow_bytes bytes,
                             uint32_t seen, struct parts *parts, struct avow_err *err)
{
    struct avow_event_log log;
    struct avow_event_replay replay;
    struct avow_boot_made made;
    enum avow_rc rc = read_log(bytes, &log, &replay, err);
    if (rc)
        return rc;
    if (avow_boot_make_log(in, &log, &replay, seen, &made)) {
        json_decref(made.boot);
        json_decref(made.firmware);
        return no_memory(err);
    }
    bool ok = append_once(parts->boots, made.boot);
    ok &= append_once(parts->firmware, made.firmware);
    return ok ? AVOW_OK : no_memory(err);
}

/* What one log has must not be open to another. */
static enum avow_rc look(const struct avow_boot_make *in, uint32_t *seen, struct avow_err *err)
{
    *seen = 0;
    for (size_t i = 0; i < in->logs_count; i++) {
        struct avow_event_log log;
        enum avow_rc rc = avow_event_log_parse(in->logs[i], &log, err);
        if (rc)
            return avow_err_wrap(err, rc, "log %zu", i + 1);
        *seen |= avow_boot_make_seen(&log);
    }
    return AVOW_OK;
}

/* --- Together --- */

static bool all_have(const json_t *boots, const char *key, const json_t *value)
{
    for (size_t i = 0; i < json_array_size(boots); i++) {
        json_t *there = json_object_get(json_array_get(boots, i), key);
        if (!there || !json_equal(there, value))
            return false;
    }
    return true;
}

/* What all have in common is said once. */
static bool hoist(json_t *policy, json_t *boots)
{
    json_t *first = json_array_get(boots, 0), *value;
    const char *key;
    void *next;
    json_object_foreach_safe(first, next, key, value)
    {
        char name[32];
        if (!avow_str_copy(name, sizeof name, avow_str_from(key)))
            return false;
        if (!all_have(boots, name, value))
            continue;
        if (json_object_set(policy, name, value))
            return false;
        for (size_t i = 0; i < json_array_size(boots); i++)
            (void)json_object_del(json_array_get(boots, i), name);
    }
    return true;
}

/* Alternatives are told apart by a name. */
static bool name_all(json_t *list, const char *what)
{
    for (size_t i = 0; i < json_array_size(list) && json_array_size(list) > 1; i++) {
        json_t *name = json_sprintf("%s %zu", what, i + 1);
        if (json_object_set_new(json_array_get(list, i), "name", name))
            return false;
    }
    return true;
}

/* NULL when out of memory. */
static json_t *assemble(struct parts *p)
{
    json_t *policy = json_object();
    bool ok = json_object_set_new(policy, "avow_boot_policy", json_integer(1)) == 0;
    if (ok && json_array_size(p->firmware))
        ok = name_all(p->firmware, "firmware") &&
             json_object_set(policy, "firmware", p->firmware) == 0;
    ok = ok && hoist(policy, p->boots);
    if (ok && json_array_size(p->boots) > 1)
        ok = name_all(p->boots, "boot") && json_object_set(policy, "boots", p->boots) == 0;
    if (ok)
        return policy;
    json_decref(policy);
    return NULL;
}

/* --- Judged --- */

struct first {
    bool any;
    char text[200];
};

static void keep_first(void *arg, const struct avow_boot_complaint *c)
{
    struct first *f = arg;
    char number[32] = "";
    if (f->any)
        return;
    f->any = true;
    if (c->event >= 0)
        (void)snprintf(number, sizeof number, "event %lld: ", (long long)c->event);
    (void)snprintf(f->text, sizeof f->text, "%s%s: %.120s", number, avow_finding_def_of(c->id)->id,
                   c->detail);
}

static enum avow_rc judge(const struct avow_boot_policy *policy, struct avow_bytes bytes,
                          struct avow_err *err)
{
    AVOW_CLEANUP_VAL(avow_arena_deinit) struct avow_arena arena;
    struct avow_event_log log;
    struct avow_event_replay replay;
    struct first first = {.any = false};
    avow_arena_init(&arena, ARENA_MAX);
    enum avow_rc rc = read_log(bytes, &log, &replay, err);
    if (rc)
        return rc;
    const struct avow_boot_judge j = {
        .log = &log, .replay = &replay, .arena = &arena, .complain = keep_first, .arg = &first};
    rc = avow_boot_policy_judge(policy, &j, err);
    if (!rc && first.any)
        rc = avow_err_set(err, AVOW_REFUSED, 0, "the policy would not accept it: %s", first.text);
    return rc;
}

static enum avow_rc check(const struct avow_boot_make *in, struct avow_bytes text,
                          struct avow_err *err)
{
    AVOW_CLEANUP(avow_boot_policy_free) struct avow_boot_policy *policy = NULL;
    enum avow_rc rc = avow_boot_policy_load(text, &policy, err);
    for (size_t i = 0; !rc && i < in->logs_count; i++) {
        rc = judge(policy, in->logs[i], err);
        if (rc)
            return avow_err_wrap(err, rc, "log %zu", i + 1);
    }
    return rc;
}

static enum avow_rc write_out(const struct avow_boot_make *in, struct parts *parts,
                              struct avow_buf *out, struct avow_err *err)
{
    json_t *policy = assemble(parts);
    char *text = policy ? json_dumps(policy, JSON_INDENT(1)) : NULL;
    json_decref(policy);
    if (!text)
        return no_memory(err);
    size_t len = strlen(text);
    enum avow_rc rc = check(in, avow_bytes_make(text, len), err);
    if (!rc) {
        avow_buf_put(out, text, len);
        avow_buf_put_u8(out, '\n');
        rc = avow_buf_status(out, err);
    }
    free(text);
    return rc;
}

enum avow_rc avow_boot_policy_make(const struct avow_boot_make *in, struct avow_buf *out,
                                   struct avow_err *err)
{
    AVOW_CLEANUP_VAL(deinit) struct parts parts = {json_array(), json_array()};
    if (!parts.boots || !parts.firmware)
        return no_memory(err);
    if (!in->logs_count || in->logs_count > AVOW_BOOT_MAKE_LOGS_MAX)
        return avow_err_set(err, AVOW_LIMIT, 0, "boot policy: not of 1 to %u logs",
                            AVOW_BOOT_MAKE_LOGS_MAX);
    uint32_t seen;
    enum avow_rc rc = look(in, &seen, err);
    for (size_t i = 0; i < in->logs_count && !rc; i++) {
        rc = take_log(in, in->logs[i], seen, &parts, err);
        if (rc)
            (void)avow_err_wrap(err, rc, "log %zu", i + 1);
    }
    return rc ? rc : write_out(in, &parts, out, err);
}
