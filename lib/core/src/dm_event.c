/* dm_event.c - see dm_event.h. Text is rows of "key=value,key=value" closed by ';'; a backslash
 * stands before ',', ';', '=' and itself within names. Rows without a table say so
 * ("device_resume=no_data"). */
#include "dm_event.h"

#include <string.h>

#include "avow/base/banned.h"

enum avow_dm_event_kind avow_dm_event_kind(struct avow_str name)
{
    static const struct {
        const char *name;
        enum avow_dm_event_kind kind;
    } names[] = {
        {"dm_table_load", AVOW_DM_TABLE_LOAD},       {"dm_device_resume", AVOW_DM_DEVICE_RESUME},
        {"dm_device_remove", AVOW_DM_DEVICE_REMOVE}, {"dm_table_clear", AVOW_DM_TABLE_CLEAR},
        {"dm_device_rename", AVOW_DM_DEVICE_RENAME}, {"dm_target_update", AVOW_DM_TARGET_UPDATE}};
    for (size_t i = 0; i < AVOW_ARRAY_LEN(names); i++) {
        if (avow_str_is(name, names[i].name))
            return names[i].kind;
    }
    return AVOW_DM_OTHER;
}

/* Up to the first `end` that no backslash stands before; it is consumed. False if there is none. */
static bool cut(struct avow_str *rest, char end, struct avow_str *out)
{
    for (size_t i = 0; i < rest->len; i++) {
        if (rest->ptr[i] == '\\') {
            i++;
        } else if (rest->ptr[i] == end) {
            *out = (struct avow_str){rest->ptr, i};
            rest->ptr += i + 1;
            rest->len -= i + 1;
            return true;
        }
    }
    return false;
}

bool avow_dm_next_row(struct avow_str *rest, struct avow_str *row)
{
    return cut(rest, ';', row);
}

static bool next_pair(struct avow_str *row, struct avow_str *key, struct avow_str *value)
{
    struct avow_str pair;
    if (!row->len)
        return false;
    if (!cut(row, ',', &pair)) {
        pair = *row;
        row->len = 0;
    }
    if (!cut(&pair, '=', key))
        return false;
    *value = pair;
    return true;
}

bool avow_dm_row_get(struct avow_str row, const char *key, struct avow_str *value)
{
    struct avow_str k, v;
    while (next_pair(&row, &k, &v)) {
        if (avow_str_is(k, key)) {
            *value = v;
            return true;
        }
    }
    return false;
}

bool avow_dm_unescape(struct avow_str in, char *buf, size_t cap, struct avow_str *out)
{
    size_t n = 0;
    for (size_t i = 0; i < in.len; i++) {
        if (in.ptr[i] == '\\' && i + 1 < in.len)
            i++;
        if (n == cap)
            return false;
        buf[n++] = in.ptr[i];
    }
    *out = (struct avow_str){buf, n};
    return true;
}

static bool starts(struct avow_str *row, const char *prefix)
{
    if (!avow_str_starts(*row, prefix))
        return false;
    row->ptr += strlen(prefix);
    row->len -= strlen(prefix);
    return true;
}

/* name, uuid, and the rest where the device has a table. */
static bool read_meta(struct avow_str row, struct avow_dm_event *e)
{
    static const char *const keys[] = {"name", "uuid", "major", "minor", "minor_count"};
    for (size_t i = 0; i < AVOW_ARRAY_LEN(keys); i++) {
        if (!avow_dm_row_get(row, keys[i], &e->meta[i]) && i < 2)
            return false;
    }
    (void)avow_dm_row_get(row, "num_targets", &e->num_targets);
    return true;
}

/* The rows behind the device's: what is not asked for is no matter, as later kernels add more. */
static bool read_rest(struct avow_str text, struct avow_dm_event *e)
{
    struct avow_str row;
    while (avow_dm_next_row(&text, &row)) {
        (void)avow_dm_row_get(row, "active_table_hash", &e->table_hash);
        (void)avow_dm_row_get(row, "new_name", &e->new_name);
        (void)avow_dm_row_get(row, "new_uuid", &e->new_uuid);
    }
    return !text.len && (e->kind != AVOW_DM_DEVICE_RENAME || e->new_name.ptr);
}

bool avow_dm_event_parse(enum avow_dm_event_kind kind, struct avow_str text,
                         struct avow_dm_event *out)
{
    struct avow_dm_event e = {.kind = kind};
    struct avow_str row;
    if (!avow_utf8_is_valid(text) || !avow_dm_next_row(&text, &row))
        return false;
    if (avow_str_starts(row, "dm_version=") && !avow_dm_next_row(&text, &row))
        return false;
    if (kind == AVOW_DM_DEVICE_REMOVE && !starts(&row, "device_active_metadata="))
        (void)starts(&row, "device_inactive_metadata=");
    if (!read_meta(row, &e))
        return false;
    if (kind == AVOW_DM_TABLE_LOAD || kind == AVOW_DM_TARGET_UPDATE) {
        e.targets = text;
        if (!text.len || text.ptr[text.len - 1] != ';')
            return false;
    } else if (!read_rest(text, &e)) {
        return false;
    }
    *out = e;
    return true;
}
