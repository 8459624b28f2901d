/* refstate_variable.c - PCR 7: Secure Boot and its keys by a reference state. See refstate.h. */
#include "refstate.h"

#include <stdlib.h>
#include <string.h>

#include "avow/base/banned.h"

#define PCR 7

enum how {
    STATE,     /* one byte, as has_secureboot says */
    X509_ALL,  /* every signature is a certificate of the reference state */
    ALL,       /* certificates and SHA-256s */
    CONTAINS,  /* every signature of the reference state is there */
    SIGNER,    /* one signature, any: what shim was signed with, and its digest is named */
    SIGNER_OF, /* one signature, of the reference state */
    ANY,       /* shim, whose digest is named, answers for it */
    FLAG       /* one byte, 0 or 1 */
};

static const struct rule {
    uint32_t type;
    const char *name, *guid;
    enum how how;
    enum avow_refstate_keys keys;
} rules[] = {
#define CONFIG AVOW_EV_EFI_VARIABLE_DRIVER_CONFIG
#define AUTHORITY AVOW_EV_EFI_VARIABLE_AUTHORITY
    {CONFIG, "SecureBoot", AVOW_BOOT_GUID_GLOBAL, STATE, 0},
    {CONFIG, "PK", AVOW_BOOT_GUID_GLOBAL, X509_ALL, AVOW_REFSTATE_PK},
    {CONFIG, "KEK", AVOW_BOOT_GUID_GLOBAL, X509_ALL, AVOW_REFSTATE_KEK},
    {CONFIG, "db", AVOW_BOOT_GUID_SECURITY, ALL, AVOW_REFSTATE_DB},
    {CONFIG, "dbx", AVOW_BOOT_GUID_SECURITY, CONTAINS, AVOW_REFSTATE_DBX},
    {CONFIG, "vendor_db", AVOW_BOOT_GUID_SECURITY, ALL, AVOW_REFSTATE_VENDOR_DB},
    {AUTHORITY, "db", AVOW_BOOT_GUID_SECURITY, SIGNER, 0},
    {AUTHORITY, "vendor_db", AVOW_BOOT_GUID_SECURITY, SIGNER_OF, AVOW_REFSTATE_VENDOR_DB},
    {AUTHORITY, "SbatLevel", AVOW_BOOT_GUID_SHIM, ANY, 0},
    {AUTHORITY, "Shim", AVOW_BOOT_GUID_SHIM, ANY, 0},
    {AUTHORITY, "MokListTrusted", AVOW_BOOT_GUID_SHIM, FLAG, 0},
    {AUTHORITY, "MokListRT", AVOW_BOOT_GUID_SHIM, ANY, 0},
#undef CONFIG
#undef AUTHORITY
};
#define RULES AVOW_ARRAY_LEN(rules)
#define NEEDED 5u /* of them, the first: what firmware with Secure Boot always measures */

static bool name_is(struct avow_bytes utf16, const char *name)
{
    size_t n = strlen(name);
    for (size_t i = 0; i < n && utf16.len == 2 * n; i++) {
        if (utf16.ptr[2 * i] != (uint8_t)name[i] || utf16.ptr[2 * i + 1])
            return false;
    }
    return utf16.len == 2 * n;
}

static void refuse(struct avow_refstate_run *run, const struct rule *r, const char *reason)
{
    avow_refstate_complain(run, AVOW_FINDING_BOOT_VARIABLE, "%s %s", r->name, reason);
}

static bool is_byte(struct avow_bytes b, uint8_t value)
{
    return b.len == 1 && b.ptr[0] == value;
}

/* --- Signatures --- */

static bool is_among(const struct avow_boot_ids *ids, const struct avow_efi_signature *s,
                     bool is_sha256, size_t *at)
{
    uint8_t id[AVOW_BOOT_ID_LEN];
    avow_refstate_key_id(s->owner, s->data, is_sha256, id);
    return avow_boot_ids_have(ids, id, at);
}

static void judge_all(struct avow_refstate_run *run, const struct rule *r,
                      const struct avow_efi_siglist *l)
{
    struct avow_efi_siglist_walk w;
    struct avow_efi_signature s;
    size_t at;
    avow_efi_siglist_walk_init(&w, l);
    while (avow_efi_siglist_walk_next(&w, &s)) {
        enum avow_efi_sig sig = avow_efi_sig_of(s.type);
        if (sig != AVOW_EFI_SIG_X509 && !(r->how == ALL && sig == AVOW_EFI_SIG_SHA256)) {
            refuse(run, r, "has a signature of a kind that is not accepted");
            return;
        }
        if (!is_among(&run->p->keys[r->keys], &s, sig == AVOW_EFI_SIG_SHA256, &at)) {
            refuse(run, r, "has a signature that the reference state has not");
            return;
        }
    }
}

/* In any number of lists: firmware looks through all of them. A digest counts only where firmware
 * takes it as one of an image. */
static void judge_contains(struct avow_refstate_run *run, const struct rule *r,
                           const struct avow_efi_siglist *l)
{
    const struct avow_boot_ids *wanted = &run->p->keys[r->keys];
    struct avow_efi_siglist_walk w;
    struct avow_efi_signature s;
    size_t missing = wanted->count, at;
    bool *there = calloc(wanted->count + 1, sizeof *there);
    if (!there) {
        run->nomem = true;
        return;
    }
    avow_efi_siglist_walk_init(&w, l);
    while (avow_efi_siglist_walk_next(&w, &s)) {
        bool is_sha256 = avow_efi_sig_of(s.type) == AVOW_EFI_SIG_SHA256;
        if (!is_among(wanted, &s, is_sha256, &at) || there[at])
            continue;
        there[at] = true;
        missing--;
    }
    free(there);
    if (missing)
        avow_refstate_complain(run, AVOW_FINDING_BOOT_VARIABLE,
                               "%s lacks %zu of the %zu signatures that the reference state has",
                               r->name, missing, wanted->count);
}

static void judge_lists(struct avow_refstate_run *run, const struct rule *r,
                        struct avow_bytes value)
{
    struct avow_efi_siglist l;
    if (avow_efi_siglist_parse(value, &l, NULL))
        refuse(run, r, "is no list of signatures");
    else if (!run->p->secure_boot && !run->p->keys[r->keys].count)
        return; /* nothing is demanded where Secure Boot is off and no key is named */
    else if (r->how == CONTAINS)
        judge_contains(run, r, &l);
    else
        judge_all(run, r, &l);
}

/* What is a well-formed list is the variable itself, which is not to pass as one that any
 * certificate may be. */
static void judge_signer(struct avow_refstate_run *run, const struct rule *r,
                         struct avow_bytes value)
{
    struct avow_efi_siglist l;
    struct avow_efi_signature s;
    size_t at;
    if (avow_efi_siglist_parse(value, &l, NULL) == AVOW_OK || !avow_efi_signature_parse(value, &s))
        refuse(run, r, "is not one signature");
    else if (r->how == SIGNER_OF && (run->p->secure_boot || run->p->keys[r->keys].count) &&
             !is_among(&run->p->keys[r->keys], &s, s.data.len == AVOW_SHA256_LEN, &at))
        refuse(run, r, "is a signature that the reference state has not");
}

/* --- Events --- */

static void judge_state(struct avow_refstate_run *run, struct avow_bytes value)
{
    if (is_byte(value, run->p->secure_boot ? 1 : 0))
        return;
    avow_refstate_complain(run, AVOW_FINDING_BOOT_SECURE_BOOT, "it is %s",
                           is_byte(value, 1)   ? "on"
                           : is_byte(value, 0) ? "off"
                                               : "neither on nor off");
}

static void judge_by(struct avow_refstate_run *run, size_t i, struct avow_bytes value)
{
    const struct rule *r = &rules[i];
    bool repeated = run->seen_variables >> i & 1;
    run->seen_variables |= UINT32_C(1) << i;
    if (repeated && r->how != STATE) {
        refuse(run, r, "was measured more than once");
        return;
    }
    switch (r->how) {
    case STATE:
        judge_state(run, value);
        return;
    case X509_ALL:
    case ALL:
    case CONTAINS:
        judge_lists(run, r, value);
        return;
    case SIGNER:
    case SIGNER_OF:
        judge_signer(run, r, value);
        return;
    case FLAG:
        if (!is_byte(value, 0) && !is_byte(value, 1))
            refuse(run, r, "is neither on nor off");
        return;
    case ANY:
    default:
        return;
    }
}

void avow_refstate_judge_variable(struct avow_refstate_run *run)
{
    struct avow_event_variable v;
    if (!avow_boot_fact_variable(&run->fact, &v)) {
        avow_refstate_complain(run, AVOW_FINDING_BOOT_DATA_UNTRUSTED,
                               "no variable that was measured with its name");
        return;
    }
    for (size_t i = 0; i < RULES; i++) {
        if (rules[i].type == run->e.untrusted_type && name_is(v.name, rules[i].name) &&
            avow_bytes_eq(v.guid, avow_bytes_make(rules[i].guid, AVOW_EFI_GUID_LEN))) {
            judge_by(run, i, v.value);
            return;
        }
    }
    avow_refstate_complain(run, AVOW_FINDING_BOOT_VARIABLE, "a variable that is not expected");
}

void avow_refstate_end_variables(struct avow_refstate_run *run)
{
    for (size_t i = 0; i < NEEDED; i++) {
        bool demanded =
            run->p->secure_boot || (rules[i].how == CONTAINS && run->p->keys[rules[i].keys].count);
        if (demanded && !(run->seen_variables >> i & 1))
            avow_refstate_complain_at(run, -1, PCR,
                                      rules[i].how == STATE ? AVOW_FINDING_BOOT_SECURE_BOOT
                                                            : AVOW_FINDING_BOOT_VARIABLE,
                                      "%s was not measured", rules[i].name);
    }
}
