/* boot_facts.c - see boot_facts.h. */
#include "boot_facts.h"

#include "avow/base/hex.h"

#include <string.h>

#include "avow/base/banned.h"

#define SEPARATOR_LEN 4u

struct avow_boot_fact avow_boot_fact_of(const struct avow_event *e,
                                        const struct avow_event_replay *banks)
{
    struct avow_event_binding b = avow_event_bind(e, banks);
    if (b.bound != AVOW_EVENT_BOUND)
        return (struct avow_boot_fact){.bound = false};
    return (struct avow_boot_fact){true, b.covered.len == e->untrusted_data.len, b.covered};
}

bool avow_boot_fact_is_separator(const struct avow_boot_fact *f)
{
    return f->bound && f->covered.len == SEPARATOR_LEN &&
           (avow_bytes_all(f->covered, 0) || avow_bytes_all(f->covered, 0xFF));
}

bool avow_boot_fact_variable(const struct avow_boot_fact *f, struct avow_event_variable *out)
{
    return f->bound && f->whole && avow_event_variable_parse(f->covered, out);
}

/* Whatever type the sender gave it: the same bytes are the same text. */
bool avow_boot_fact_text(const struct avow_boot_fact *f, struct avow_buf *out)
{
    const struct avow_event as_text = {.untrusted_type = AVOW_EV_IPL, .untrusted_data = f->covered};
    avow_buf_reset(out);
    return f->bound && f->covered.len <= out->limit && avow_event_put_text(out, &as_text);
}

bool avow_boot_text_is_action(struct avow_str text)
{
    static const char *const actions[] = {"Calling EFI Application from Boot Option",
                                          "Returning from EFI Application from Boot Option"};
    for (size_t i = 0; i < AVOW_ARRAY_LEN(actions); i++) {
        if (avow_str_is(text, actions[i]))
            return true;
    }
    return false;
}

/* grub-core/kern/file.c: a name begins with a device in brackets or with '/'; a list of blocks
 * begins with a digit or '+'. A name with a blank is quoted. */
bool avow_boot_text_is_command_line(struct avow_str text)
{
    return text.len && text.ptr[0] && strchr("/(\"'+0123456789", text.ptr[0]) != NULL;
}

size_t avow_boot_signature_raw_len(enum avow_efi_sig sig)
{
    static const struct {
        enum avow_efi_sig sig;
        size_t len;
    } raw[] = {{AVOW_EFI_SIG_SHA1, 20},
               {AVOW_EFI_SIG_SHA224, 28},
               {AVOW_EFI_SIG_SHA256, 32},
               {AVOW_EFI_SIG_SHA384, 48},
               {AVOW_EFI_SIG_SHA512, 64}};
    for (size_t i = 0; i < AVOW_ARRAY_LEN(raw); i++) {
        if (raw[i].sig == sig)
            return raw[i].len;
    }
    return 0;
}

void avow_boot_signature_text(const struct avow_efi_signature *s, char out[AVOW_BOOT_SIGNATURE_MAX])
{
    enum avow_efi_sig sig = avow_efi_sig_of(s->type);
    size_t raw = avow_boot_signature_raw_len(sig);
    bool is_raw = raw && s->data.len == raw;
    /* A digest of a wrong length is none, and must not look like one. */
    const char *name = raw && !is_raw ? NULL : avow_efi_sig_text(sig);
    uint8_t hash[AVOW_SHA256_LEN];
    char guid[AVOW_GUID_TEXT_MAX];
    struct avow_bytes shown = s->data;
    if (!is_raw) {
        avow_sha256(s->data, hash);
        shown = AVOW_BYTES_OF(hash);
    }
    avow_guid_text(s->type, guid);
    const char *type = name ? name : guid;
    size_t len = strlen(type);
    memcpy(out, type, len);
    out[len] = ':';
    avow_hex_encode(out + len + 1, shown);
}
