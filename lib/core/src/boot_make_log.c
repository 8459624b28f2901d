/* boot_make_log.c - what one log says, as members of a boot: boot_make.h, docs/BOOT-POLICY.md. */
#include "boot_make.h"

#include "avow/base/cleanup.h"
#include "avow/base/hex.h"

#include <stdio.h>
#include <string.h>

#include "boot_facts.h"
#include "boot_rules.h"

#include "avow/base/banned.h"

#define NAME_SHOWN 100u

struct making {
    const struct avow_boot_make *in;
    const struct avow_event_replay *replay;
    json_t *boot;
    json_t *firmware; /* its events */
    json_t *keys, *authorities, *variables, *events, *lines, *commands;
    json_t *sequences[AVOW_EVENT_PCRS];
    uint32_t seen;
    bool separated[AVOW_EVENT_PCRS];
    bool failed;
    struct avow_buf text;
    struct avow_event e;
    struct avow_boot_fact fact;
    bool has_text;
};

/* --- JSON --- */

/* Takes `value`. */
static void put(struct making *m, json_t *object, const char *key, json_t *value)
{
    m->failed |= json_object_set_new(object, key, value) != 0;
}

static void append(struct making *m, json_t *list, json_t *value)
{
    m->failed |= json_array_append_new(list, value) != 0;
}

/* The list at *list, which is made when it is first needed. */
static json_t *list_of(json_t **list)
{
    if (!*list)
        *list = json_array();
    return *list;
}

static void append_once(struct making *m, json_t *list, json_t *value)
{
    for (size_t i = 0; i < json_array_size(list); i++) {
        if (json_equal(json_array_get(list, i), value)) {
            json_decref(value);
            return;
        }
    }
    append(m, list, value);
}

static json_t *text_of(struct avow_str s)
{
    return json_stringn(s.ptr, s.len);
}

static json_t *hex_of(struct avow_bytes b)
{
    char hex[2 * AVOW_DIGEST_MAX + 1];
    if (b.len > AVOW_DIGEST_MAX)
        return NULL;
    avow_hex_encode(hex, b);
    return json_string(hex);
}

static json_t *hash_of(struct avow_bytes b)
{
    uint8_t hash[AVOW_SHA256_LEN];
    avow_sha256(b, hash);
    return hex_of(AVOW_BYTES_OF(hash));
}

/* SHA-1 only where there is nothing better: who can make collisions could prepare two images. */
static json_t *digest_of(struct making *m)
{
    json_t *d = json_object();
    for (size_t i = 0; i < m->replay->banks_count; i++) {
        enum avow_hash alg = m->replay->banks[i].alg;
        if (alg == AVOW_HASH_SHA1 && m->replay->banks_count > 1)
            continue;
        put(m, d, avow_hash_name(alg), hex_of(avow_event_digest_of(&m->e, (uint16_t)alg)));
    }
    return d;
}

static bool is_special(char c)
{
    return c && strchr("\\^$.|?*+()[]{}", c) != NULL;
}

/* An expression for this text alone. */
static json_t *escaped(struct making *m, struct avow_str s)
{
    AVOW_CLEANUP_VAL(avow_buf_deinit) struct avow_buf out;
    avow_buf_init(&out, 2 * AVOW_BOOT_TEXT_MAX);
    for (size_t i = 0; i < s.len; i++) {
        if (is_special(s.ptr[i]))
            avow_buf_put_u8(&out, '\\');
        avow_buf_put_u8(&out, (uint8_t)s.ptr[i]);
    }
    m->failed |= out.failed != AVOW_OK;
    return out.failed ? NULL : text_of((struct avow_str){(const char *)out.ptr, out.len});
}

static struct avow_str text(const struct making *m)
{
    return (struct avow_str){(const char *)m->text.ptr, m->text.len};
}

/* --- Steps --- */

/* What the log calls the event, though nothing proves it: a name for people. */
static void put_name(struct making *m, json_t *step, const char *otherwise)
{
    AVOW_CLEANUP_VAL(avow_buf_deinit) struct avow_buf name;
    char shown[NAME_SHOWN + 1];
    avow_buf_init(&name, AVOW_BOOT_TEXT_MAX);
    bool is_text = avow_event_put_text(&name, &m->e);
    m->failed |= name.failed == AVOW_NOMEM;
    if (!is_text) {
        put(m, step, "name", json_string(otherwise));
        return;
    }
    size_t len = name.len < NAME_SHOWN ? name.len : NAME_SHOWN;
    memcpy(shown, name.ptr, len);
    while (len && !avow_utf8_is_valid((struct avow_str){shown, len}))
        len--;
    for (size_t i = 0; i < len; i++)
        shown[i] = (uint8_t)shown[i] < ' ' || shown[i] == 0x7F ? ' ' : shown[i];
    put(m, step, "name", len ? json_stringn(shown, len) : json_string(otherwise));
}

static json_t *digest_step(struct making *m, const char *what, size_t n)
{
    char name[64];
    json_t *step = json_object(), *digests = json_array();
    (void)snprintf(name, sizeof name, "%s %zu", what, n + 1);
    put_name(m, step, name);
    append(m, digests, digest_of(m));
    put(m, step, "digests", digests);
    return step;
}

static json_t *lines_given(struct making *m)
{
    json_t *list = json_array();
    for (size_t i = 0; i < m->in->lines_count; i++)
        append(m, list, json_string(m->in->lines[i]));
    return list;
}

static json_t *text_step(struct making *m, const char *name, bool is_line)
{
    json_t *step = json_object(), *list = NULL;
    put(m, step, "name", json_string(name));
    if (is_line && m->in->lines_count) {
        list = lines_given(m);
    } else {
        list = json_array();
        append(m, list, escaped(m, text(m)));
    }
    put(m, step, "text", list);
    return step;
}

static bool is_any_file(struct making *m)
{
    AVOW_CLEANUP_VAL(avow_buf_deinit) struct avow_buf name;
    avow_buf_init(&name, AVOW_BOOT_TEXT_MAX);
    bool is_text = avow_event_put_text(&name, &m->e);
    m->failed |= name.failed == AVOW_NOMEM;
    for (size_t i = 0; is_text && i < m->in->any_files_count; i++) {
        if (strstr(avow_buf_cstr(&name), m->in->any_files[i]))
            return true;
    }
    return false;
}

static json_t *file_step(struct making *m, size_t n)
{
    if (!is_any_file(m))
        return digest_step(m, "file", n);
    json_t *step = json_object();
    put_name(m, step, "file");
    put(m, step, "any", json_true());
    return step;
}

/* --- PCR 7 --- */

static bool is_guid(const struct avow_event_variable *v, const char *guid)
{
    return avow_bytes_eq(v->guid, avow_bytes_make(guid, AVOW_EFI_GUID_LEN));
}

/* dbx grows with every revocation: what it has must stay. */
static void put_keys(struct making *m, const char *name, const struct avow_efi_siglist *l)
{
    struct avow_efi_siglist_walk w;
    struct avow_efi_signature s;
    json_t *list = json_array(), *rule = json_object();
    avow_efi_siglist_walk_init(&w, l);
    while (avow_efi_siglist_walk_next(&w, &s)) {
        char sig[AVOW_BOOT_SIGNATURE_MAX];
        avow_boot_signature_text(&s, sig);
        append(m, list, json_string(sig));
    }
    put(m, rule, avow_cstr_eq(name, "dbx") ? "contains" : "exactly", list);
    if (!m->keys)
        m->keys = json_object();
    put(m, m->keys, name, rule);
}

static void put_authority(struct making *m, const char *name, struct avow_bytes value)
{
    struct avow_bytes certificate = value;
    if (value.len > AVOW_EFI_GUID_LEN && value.ptr[0] != 0x30 &&
        value.ptr[AVOW_EFI_GUID_LEN] == 0x30) /* DER begins behind the owner */
        certificate = avow_bytes_make(value.ptr + AVOW_EFI_GUID_LEN, value.len - AVOW_EFI_GUID_LEN);
    if (!m->authorities)
        m->authorities = json_object();
    json_t *list = json_object_get(m->authorities, name);
    if (!list) {
        list = json_array();
        put(m, m->authorities, name, list);
    }
    if (!m->failed)
        append_once(m, list, hash_of(certificate));
}

static void put_variable(struct making *m, const char *name, const struct avow_event_variable *v)
{
    char guid[AVOW_GUID_TEXT_MAX];
    json_t *item = json_object(), *hashes = json_array();
    avow_guid_text(v->guid, guid);
    append(m, hashes, hash_of(v->value));
    put(m, item, "name", json_string(name));
    put(m, item, "guid", json_string(guid));
    put(m, item, "sha256", hashes);
    append(m, list_of(&m->variables), item);
}

static bool is_key(const char *name, const struct avow_event_variable *v)
{
#define X(id, key, guid)                                                                           \
    if (avow_cstr_eq(name, (key)) && is_guid(v, (guid)))                                           \
        return true;
    AVOW_BOOT_KEY_MAP(X)
#undef X
    return false;
}

static bool take_variable(struct making *m)
{
    AVOW_CLEANUP_VAL(avow_buf_deinit) struct avow_buf utf8;
    struct avow_event_variable v;
    struct avow_efi_siglist l;
    avow_buf_init(&utf8, AVOW_BOOT_NAME_MAX);
    if (!avow_boot_fact_variable(&m->fact, &v))
        return false;
    avow_event_put_utf16(&utf8, v.name);
    m->failed |= utf8.failed == AVOW_NOMEM;
    if (utf8.failed || !avow_utf8_is_valid((struct avow_str){(const char *)utf8.ptr, utf8.len}))
        return false;
    const char *name = avow_buf_cstr(&utf8);
    bool key = is_key(name, &v);
    if (avow_cstr_eq(name, "SecureBoot") && is_guid(&v, AVOW_BOOT_GUID_GLOBAL) && v.value.len == 1)
        put(m, m->boot, "secure_boot", json_boolean(v.value.ptr[0] == 1));
    else if (key && avow_efi_siglist_parse(v.value, &l, NULL) == AVOW_OK)
        put_keys(m, name, &l);
    else if (is_guid(&v, AVOW_BOOT_GUID_SECURITY) || is_guid(&v, AVOW_BOOT_GUID_SHIM))
        put_authority(m, name, v.value);
    else
        put_variable(m, name, &v);
    return true;
}

/* --- Events --- */

static void put_event(struct making *m)
{
    json_t *step = digest_step(m, "event", m->e.index);
    put(m, step, "pcr", json_integer(m->e.pcr));
    put(m, step, "max", json_integer(1));
    append(m, list_of(&m->events), step);
}

static bool is_line(const struct making *m)
{
    struct avow_str data = {(const char *)m->e.untrusted_data.ptr, m->e.untrusted_data.len};
    return avow_str_starts(data, "kernel_cmdline: ") || avow_str_starts(data, "module_cmdline: ");
}

static void take_command(struct making *m)
{
    if (!m->has_text)
        put_event(m);
    else
        append_once(m, list_of(is_line(m) ? &m->lines : &m->commands), escaped(m, text(m)));
}

static json_t *step_of(struct making *m, size_t n)
{
    switch (m->e.pcr) {
    case 0:
        return m->has_text && !n ? text_step(m, "S-CRTM version", false)
                                 : digest_step(m, "firmware", n);
    case 2:
        return digest_step(m, "driver", n);
    case 4:
        return digest_step(m, "image", n);
    case 9:
        return file_step(m, n);
    case 12:
        return m->has_text ? text_step(m, "command line", true) : digest_step(m, "event", n);
    default:
        return digest_step(m, "event", n);
    }
}

static void take_step(struct making *m)
{
    json_t **list = m->e.pcr == 0 ? &m->firmware : &m->sequences[m->e.pcr];
    if (m->e.pcr == 4 && m->has_text && avow_boot_text_is_action(text(m)))
        return;
    append(m, list_of(list), step_of(m, json_array_size(*list)));
}

static void take_event(struct making *m)
{
    uint32_t pcr = m->e.pcr;
    if (pcr < 8 && !m->separated[pcr] && avow_boot_fact_is_separator(&m->fact)) {
        m->separated[pcr] = true;
        return;
    }
    m->has_text = avow_boot_fact_text(&m->fact, &m->text);
    m->failed |= m->text.failed == AVOW_NOMEM;
    if (pcr == 7) {
        if (!take_variable(m))
            put_event(m);
    } else if (pcr == 8) {
        take_command(m);
    } else {
        take_step(m);
    }
}

/* --- Members --- */

/* In the order in which they are written. */
static const struct {
    const char *member;
    unsigned pcr;
} members[] = {{"drivers", 2}, {"images", 4}, {"mok", 14}, {"files", 9}, {"uki", 11}};

static void take(struct making *m, json_t *to, const char *key, json_t **value)
{
    if (*value)
        put(m, to, key, *value);
    *value = NULL;
}

static void finish_commands(struct making *m)
{
    if (m->lines && m->in->lines_count) {
        json_decref(m->lines);
        m->lines = lines_given(m);
    }
    if (m->commands && m->in->any_command) {
        json_decref(m->commands);
        m->commands = json_string("any");
    }
    take(m, m->boot, "command_lines", &m->lines);
    take(m, m->boot, "grub_commands", &m->commands);
}

/* A PCR that had events, if only a separator, has no others. */
static bool is_wanted(const struct making *m, unsigned pcr)
{
    if (m->in->sequences & UINT32_C(1) << pcr)
        return true;
    switch (pcr) {
    case 2:
        return !m->in->no_firmware && m->seen & UINT32_C(1) << pcr;
    case 4:
    case 9:
    case 14:
        return m->seen & UINT32_C(1) << pcr;
    case 8: /* a log without what others have */
        return m->seen & UINT32_C(1) << pcr && !m->lines && !m->commands;
    /* Not 11: a UKI's sections are in PCR 4 as well, and systemd-pcrphase goes on with it. */
    case 12: /* what can be put beside a UKI */
    case 13:
        return m->seen & (UINT32_C(1) << 11 | UINT32_C(1) << pcr);
    default:
        return false;
    }
}

static void finish_sequences(struct making *m)
{
    json_t *rest = json_object();
    for (size_t i = 0; i < AVOW_ARRAY_LEN(members); i++) {
        unsigned pcr = members[i].pcr;
        if (is_wanted(m, pcr))
            (void)list_of(&m->sequences[pcr]);
        if (is_wanted(m, pcr))
            take(m, m->boot, members[i].member, &m->sequences[pcr]);
        json_decref(m->sequences[pcr]);
        m->sequences[pcr] = NULL;
    }
    for (unsigned i = 0; i < AVOW_EVENT_PCRS; i++) {
        char key[16];
        (void)snprintf(key, sizeof key, "%u", i);
        bool named = false;
        for (size_t k = 0; k < AVOW_ARRAY_LEN(members); k++)
            named |= members[k].pcr == i;
        if (named || i == 0 || !is_wanted(m, i))
            continue;
        (void)list_of(&m->sequences[i]);
        take(m, rest, key, &m->sequences[i]);
    }
    if (json_object_size(rest))
        put(m, m->boot, "sequences", rest);
    else
        json_decref(rest);
}

static void finish(struct making *m)
{
    if (m->seen & UINT32_C(1) << 7) {
        if (!m->authorities)
            m->authorities = json_object();
        take(m, m->boot, "keys", &m->keys);
        take(m, m->boot, "authorities", &m->authorities);
        take(m, m->boot, "variables", &m->variables);
    }
    finish_sequences(m);
    finish_commands(m);
    take(m, m->boot, "events", &m->events);
}

static void deinit(struct making *m)
{
    json_decref(m->boot);
    json_decref(m->firmware);
    json_decref(m->keys);
    json_decref(m->authorities);
    json_decref(m->variables);
    json_decref(m->events);
    json_decref(m->lines);
    json_decref(m->commands);
    for (size_t i = 0; i < AVOW_EVENT_PCRS; i++)
        json_decref(m->sequences[i]);
    avow_buf_deinit(&m->text);
}

uint32_t avow_boot_make_seen(const struct avow_event_log *log)
{
    struct avow_event_walk w;
    struct avow_event e;
    uint32_t seen = 0;
    avow_event_walk_init(&w, log);
    while (avow_event_walk_next(&w, &e)) {
        if (e.untrusted_type != AVOW_EV_NO_ACTION)
            seen |= UINT32_C(1) << e.pcr;
    }
    return seen;
}

enum avow_rc avow_boot_make_log(const struct avow_boot_make *in, const struct avow_event_log *log,
                                const struct avow_event_replay *replay, uint32_t seen,
                                struct avow_boot_made *out)
{
    AVOW_CLEANUP_VAL(deinit) struct making m = {.in = in, .replay = replay, .seen = seen};
    struct avow_event_walk w;
    *out = (struct avow_boot_made){NULL, NULL};
    avow_buf_init(&m.text, AVOW_BOOT_TEXT_MAX);
    m.boot = json_object();
    avow_event_walk_init(&w, log);
    while (!m.failed && avow_event_walk_next(&w, &m.e)) {
        if (m.e.untrusted_type == AVOW_EV_NO_ACTION)
            continue;
        m.fact = avow_boot_fact_of(&m.e, replay);
        take_event(&m);
    }
    if (m.failed || !m.boot)
        return AVOW_NOMEM;
    finish(&m);
    if (m.seen & 1 && !in->no_firmware) {
        out->firmware = json_object();
        (void)list_of(&m.firmware);
        take(&m, out->firmware, "events", &m.firmware);
    }
    out->boot = AVOW_STEAL(m.boot);
    return m.failed ? AVOW_NOMEM : AVOW_OK;
}
