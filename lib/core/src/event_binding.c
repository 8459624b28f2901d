/* event_binding.c - whether data of events is what their digests are of: event_replay.h. */
#include "avow/core/event_replay.h"

#include <string.h>

#include "avow/base/banned.h"

#define NAME_MAX_LEN 64u /* of a UKI section, with its NUL: PE has 8 characters */

/* What may have been measured, of the data. */
enum form {
    WHOLE = 1,
    TEXT = 2,    /* without the NUL at its end */
    VALUE = 4,   /* of a variable */
    PREFIX = 8,  /* behind the first ": ", without the NUL: GRUB's commands */
    NARROW = 16, /* UTF-16 of what was measured as ASCII with a NUL: systemd-stub's section names */
    TAGGED = 32  /* of a tagged event: PFP 10.4.2.1 */
};
#define FORMS 6u

/* Ordered as in the profile's table of types. NOT_APPLICABLE and UNBOUND are for what is in none
 * of the forms; types that are not here may be WHOLE. */
static const struct rule {
    uint32_t type;
    unsigned forms;
    enum avow_event_bound otherwise;
} rules[] = {
    {AVOW_EV_PREBOOT_CERT, 0, AVOW_EVENT_NOT_APPLICABLE},
    {AVOW_EV_POST_CODE, WHOLE | TEXT, AVOW_EVENT_NOT_APPLICABLE},
    {AVOW_EV_NO_ACTION, 0, AVOW_EVENT_NOT_APPLICABLE},
    {AVOW_EV_SEPARATOR, WHOLE, AVOW_EVENT_MISMATCH},
    {AVOW_EV_ACTION, WHOLE | TEXT, AVOW_EVENT_MISMATCH},
    {AVOW_EV_EVENT_TAG, WHOLE | TAGGED, AVOW_EVENT_UNBOUND},
    {AVOW_EV_S_CRTM_CONTENTS, WHOLE, AVOW_EVENT_NOT_APPLICABLE},
    {AVOW_EV_S_CRTM_VERSION, WHOLE, AVOW_EVENT_MISMATCH},
    {AVOW_EV_CPU_MICROCODE, WHOLE, AVOW_EVENT_NOT_APPLICABLE},
    /* PCR 8 of GRUB is judged more strictly: see is_command. */
    {AVOW_EV_IPL, WHOLE | TEXT | PREFIX | NARROW, AVOW_EVENT_UNBOUND},
    {AVOW_EV_IPL_PARTITION_DATA, WHOLE, AVOW_EVENT_NOT_APPLICABLE},
    {AVOW_EV_NONHOST_CODE, WHOLE, AVOW_EVENT_NOT_APPLICABLE},
    {AVOW_EV_NONHOST_CONFIG, WHOLE, AVOW_EVENT_NOT_APPLICABLE},
    {AVOW_EV_OMIT_BOOT_DEVICE_EVENTS, WHOLE | TEXT, AVOW_EVENT_MISMATCH},
    {AVOW_EV_POST_CODE2, WHOLE, AVOW_EVENT_NOT_APPLICABLE},
    {AVOW_EV_EFI_VARIABLE_DRIVER_CONFIG, WHOLE, AVOW_EVENT_MISMATCH},
    /* The profile says WHOLE; EDK II has always measured the value alone. */
    {AVOW_EV_EFI_VARIABLE_BOOT, WHOLE | VALUE, AVOW_EVENT_MISMATCH},
    {AVOW_EV_EFI_BOOT_SERVICES_APPLICATION, 0, AVOW_EVENT_NOT_APPLICABLE},
    {AVOW_EV_EFI_BOOT_SERVICES_DRIVER, 0, AVOW_EVENT_NOT_APPLICABLE},
    {AVOW_EV_EFI_RUNTIME_SERVICES_DRIVER, 0, AVOW_EVENT_NOT_APPLICABLE},
    {AVOW_EV_EFI_GPT_EVENT, WHOLE, AVOW_EVENT_MISMATCH},
    {AVOW_EV_EFI_ACTION, WHOLE | TEXT, AVOW_EVENT_MISMATCH},
    {AVOW_EV_EFI_PLATFORM_FIRMWARE_BLOB, 0, AVOW_EVENT_NOT_APPLICABLE},
    {AVOW_EV_EFI_PLATFORM_FIRMWARE_BLOB2, 0, AVOW_EVENT_NOT_APPLICABLE},
    {AVOW_EV_EFI_VARIABLE_BOOT2, WHOLE, AVOW_EVENT_MISMATCH},
    {AVOW_EV_EFI_VARIABLE_AUTHORITY, WHOLE, AVOW_EVENT_MISMATCH},
};

static struct rule rule_of(uint32_t type)
{
    for (size_t i = 0; i < AVOW_ARRAY_LEN(rules); i++) {
        if (rules[i].type == type)
            return rules[i];
    }
    return (struct rule){type, WHOLE, AVOW_EVENT_UNBOUND};
}

/* --- The forms --- */

static struct avow_bytes without_nul(struct avow_bytes b)
{
    return b.len && b.ptr[b.len - 1] == 0 ? avow_bytes_make(b.ptr, b.len - 1) : b;
}

static bool behind_prefix(struct avow_bytes data, struct avow_bytes *out)
{
    const uint8_t *colon = data.len ? memchr(data.ptr, ':', data.len) : NULL;
    size_t at = colon ? (size_t)(colon - data.ptr) : data.len;
    if (data.len - at < 2 || data.ptr[at + 1] != ' ')
        return false;
    *out = without_nul(avow_bytes_make(data.ptr + at + 2, data.len - at - 2));
    return true;
}

static bool tagged(struct avow_bytes data, struct avow_bytes *out)
{
    struct avow_rd r = avow_rd_make(data);
    (void)avow_rd_u32le(&r);
    *out = avow_rd_take(&r, avow_rd_u32le(&r));
    return avow_rd_done(&r);
}

/* The part of the data that `form` takes as measured. False: the data has not that form. */
static bool part_of(struct avow_bytes data, enum form form, struct avow_bytes *out)
{
    struct avow_event_variable v;
    switch (form) {
    case TEXT:
        *out = without_nul(data);
        return out->len != data.len;
    case VALUE:
        if (!avow_event_variable_parse(data, &v))
            return false;
        *out = v.value;
        return true;
    case PREFIX:
        return behind_prefix(data, out);
    case TAGGED:
        return tagged(data, out);
    case WHOLE:
    case NARROW:
    default:
        *out = data;
        return true;
    }
}

/* What was hashed of that part: itself, or its characters as single bytes. Only printable ASCII is
 * the same text in both, but for the NUL at its end. */
static bool narrowed(struct avow_bytes wide, uint8_t out[NAME_MAX_LEN], struct avow_bytes *text)
{
    size_t n = wide.len / 2;
    if (wide.len % 2 || n < 2 || n > NAME_MAX_LEN)
        return false;
    for (size_t i = 0; i < n; i++) {
        uint8_t c = wide.ptr[2 * i];
        bool is_end = c == 0 && i + 1 == n;
        if (wide.ptr[2 * i + 1] || ((c < ' ' || c > '~') && !is_end))
            return false;
        out[i] = c;
    }
    *text = avow_bytes_make(out, n);
    return true;
}

static bool was_measured(const struct avow_event *e, const struct avow_event_replay *banks,
                         struct avow_bytes text)
{
    for (size_t i = 0; i < banks->banks_count; i++) {
        enum avow_hash alg = banks->banks[i].alg;
        struct avow_digest d;
        avow_digest(alg, text, &d);
        if (!avow_bytes_eq(avow_digest_bytes(&d), avow_event_digest_of(e, (uint16_t)alg)))
            return false;
    }
    return true;
}

static bool has_all(const struct avow_event *e, const struct avow_event_replay *banks)
{
    for (size_t i = 0; i < banks->banks_count; i++) {
        if (!avow_event_digest_of(e, (uint16_t)banks->banks[i].alg).len)
            return false;
    }
    return banks->banks_count > 0;
}

/* GRUB measures what it runs and passes into PCR 8, and never a file. */
static bool is_command(const struct avow_event *e)
{
    static const char *const prefixes[] = {"grub_cmd: ", "kernel_cmdline: ", "module_cmdline: "};
    struct avow_str text = {(const char *)e->untrusted_data.ptr, e->untrusted_data.len};
    if (e->untrusted_type != AVOW_EV_IPL || e->pcr != 8)
        return false;
    for (size_t i = 0; i < AVOW_ARRAY_LEN(prefixes); i++) {
        if (avow_str_starts(text, prefixes[i]))
            return true;
    }
    return false;
}

struct avow_event_binding avow_event_bind(const struct avow_event *e,
                                          const struct avow_event_replay *banks)
{
    struct rule rule = rule_of(e->untrusted_type);
    struct avow_event_binding out = {.bound = rule.otherwise};
    uint8_t name[NAME_MAX_LEN];
    if (is_command(e))
        out.bound = AVOW_EVENT_MISMATCH;
    if (rule.forms && !has_all(e, banks))
        return (struct avow_event_binding){.bound = AVOW_EVENT_UNBOUND};
    for (unsigned i = 0; i < FORMS; i++) {
        struct avow_bytes part, text;
        unsigned form = 1u << i;
        if (!(rule.forms & form) || !part_of(e->untrusted_data, (enum form)form, &part))
            continue;
        text = part;
        if (form == NARROW && !narrowed(part, name, &text))
            continue;
        if (was_measured(e, banks, text))
            return (struct avow_event_binding){AVOW_EVENT_BOUND, part};
    }
    return out;
}

const char *avow_event_bound_text(enum avow_event_bound bound)
{
    static const char *const texts[] = {"unbound", "bound", "mismatch", "not_applicable"};
    return (size_t)bound < AVOW_ARRAY_LEN(texts) ? texts[bound] : "unbound";
}

static bool lacks_bank(const struct avow_event *e, const struct avow_event_replay *banks)
{
    for (size_t i = 0; i < banks->banks_count; i++) {
        if (!avow_event_digest_of(e, (uint16_t)banks->banks[i].alg).len)
            return e->untrusted_type != AVOW_EV_NO_ACTION;
    }
    return false;
}

bool avow_event_complaint(const struct avow_event *e, const struct avow_event_replay *banks,
                          enum avow_finding_id *id)
{
    if (lacks_bank(e, banks))
        *id = AVOW_FINDING_BOOT_DIGEST_MISSING;
    else if (avow_event_bind(e, banks).bound == AVOW_EVENT_MISMATCH)
        *id = AVOW_FINDING_BOOT_DATA_UNBOUND;
    else
        return false;
    return true;
}
