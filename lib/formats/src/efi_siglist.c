/* efi_siglist.c - see efi_siglist.h. */
#include "avow/formats/efi_siglist.h"

#include "avow/base/hex.h"

#include "avow/base/banned.h"

#define HEADER_LEN 28u /* GUID and three sizes */

static const struct {
    const char *text;
    uint8_t guid[AVOW_EFI_GUID_LEN + 1];
} kinds[AVOW_EFI_SIG_COUNT] = {
#define X(name, text, guid) [AVOW_EFI_SIG_##name] = {text, guid},
    AVOW_EFI_SIG_MAP(X)
#undef X
};

enum avow_efi_sig avow_efi_sig_of(struct avow_bytes guid)
{
    for (int i = AVOW_EFI_SIG_UNKNOWN + 1; i < AVOW_EFI_SIG_COUNT; i++) {
        if (avow_bytes_eq(guid, avow_efi_sig_guid((enum avow_efi_sig)i)))
            return (enum avow_efi_sig)i;
    }
    return AVOW_EFI_SIG_UNKNOWN;
}

const char *avow_efi_sig_text(enum avow_efi_sig sig)
{
    return sig < AVOW_EFI_SIG_COUNT ? kinds[sig].text : NULL;
}

enum avow_efi_sig avow_efi_sig_find(struct avow_str text)
{
    for (int i = AVOW_EFI_SIG_UNKNOWN + 1; i < AVOW_EFI_SIG_COUNT; i++) {
        if (avow_str_is(text, kinds[i].text))
            return (enum avow_efi_sig)i;
    }
    return AVOW_EFI_SIG_UNKNOWN;
}

struct avow_bytes avow_efi_sig_guid(enum avow_efi_sig sig)
{
    if (sig == AVOW_EFI_SIG_UNKNOWN || sig >= AVOW_EFI_SIG_COUNT)
        return (struct avow_bytes){NULL, 0};
    return avow_bytes_make(kinds[sig].guid, AVOW_EFI_GUID_LEN);
}

bool avow_efi_signature_parse(struct avow_bytes in, struct avow_efi_signature *out)
{
    struct avow_rd r = avow_rd_make(in);
    struct avow_efi_signature s = {.owner = avow_rd_take(&r, AVOW_EFI_GUID_LEN)};
    s.data = avow_rd_take(&r, avow_rd_left(&r));
    if (r.bad)
        return false;
    *out = s;
    return true;
}

/* The next list's header. False: it is truncated, or its sizes contradict each other. */
static bool begin_list(struct avow_efi_siglist_walk *w)
{
    struct avow_bytes type = avow_rd_take(&w->rd, AVOW_EFI_GUID_LEN);
    uint32_t list = avow_rd_u32le(&w->rd);
    uint32_t header = avow_rd_u32le(&w->rd);
    uint32_t size = avow_rd_u32le(&w->rd);
    if (w->rd.bad || list < HEADER_LEN || header > list - HEADER_LEN || size < AVOW_EFI_GUID_LEN)
        return false;
    (void)avow_rd_take(&w->rd, header);
    struct avow_bytes signatures = avow_rd_take(&w->rd, list - HEADER_LEN - header);
    if (w->rd.bad || signatures.len % size)
        return false;
    w->type = type;
    w->size = size;
    w->list++;
    w->signatures = avow_rd_make(signatures);
    return true;
}

enum avow_rc avow_efi_siglist_parse(struct avow_bytes in, struct avow_efi_siglist *out,
                                    struct avow_err *err)
{
    struct avow_efi_siglist_walk w = {.rd = avow_rd_make(in)};
    size_t count = 0;
    if (in.len > AVOW_EFI_SIGLIST_MAX)
        return avow_err_set(err, AVOW_LIMIT, 0, "signature lists: %zu bytes, at most %u are read",
                            in.len, AVOW_EFI_SIGLIST_MAX);
    while (avow_rd_left(&w.rd) > 0) {
        size_t at = (size_t)(w.rd.p - in.ptr);
        if (!begin_list(&w))
            return avow_err_set(err, AVOW_PARSE, 0,
                                "signature lists: the list at byte %zu is truncated, or its sizes "
                                "do not fit",
                                at);
        count += avow_rd_left(&w.signatures) / w.size;
        if (count > AVOW_EFI_SIGNATURES_MAX)
            return avow_err_set(err, AVOW_LIMIT, 0, "signature lists: more than %u signatures",
                                AVOW_EFI_SIGNATURES_MAX);
    }
    *out = (struct avow_efi_siglist){in, w.list, count};
    return AVOW_OK;
}

void avow_efi_siglist_walk_init(struct avow_efi_siglist_walk *w, const struct avow_efi_siglist *l)
{
    *w = (struct avow_efi_siglist_walk){.rd = avow_rd_make(l->in)};
}

bool avow_efi_siglist_walk_next(struct avow_efi_siglist_walk *w, struct avow_efi_signature *out)
{
    while (!avow_rd_left(&w->signatures)) {
        if (!avow_rd_left(&w->rd) || !begin_list(w))
            return false;
    }
    if (!avow_efi_signature_parse(avow_rd_take(&w->signatures, w->size), out))
        return false;
    out->type = w->type;
    out->list = w->list - 1;
    return true;
}

bool avow_efi_guid_parse(struct avow_str text, uint8_t out[AVOW_EFI_GUID_LEN])
{
    /* Where the pairs of digits of each stored byte begin. */
    static const uint8_t at[AVOW_EFI_GUID_LEN] = {6,  4,  2,  0,  11, 9,  16, 14,
                                                  19, 21, 24, 26, 28, 30, 32, 34};
    if (text.len != 36)
        return false;
    for (size_t i = 0; i < 4; i++) {
        if (text.ptr[(size_t[]){8, 13, 18, 23}[i]] != '-')
            return false;
    }
    for (size_t i = 0; i < AVOW_EFI_GUID_LEN; i++) {
        if (!avow_hex_decode(&out[i], 1, (struct avow_str){text.ptr + at[i], 2}))
            return false;
    }
    return true;
}
