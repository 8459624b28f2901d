/* refstate.c - judges the events of a log by a reference state: refstate.h.
 *
 * A rule is chosen by PCR and type, as Keylime's policy does it. The type, and data that no digest
 * covers, are what the sender of the log likes: so each rule accepts only what it would accept
 * under every other label that the event could be given. */
#include "refstate.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "boot_run.h"

#include "avow/base/banned.h"

#define COVERED_PCRS 0x43FFu /* 0 to 9, and 14 */
#define SEPARATED_PCRS 8u
#define DETAIL_MAX 500u

/* --- Complaints --- */

void avow_refstate_complain_at(struct avow_refstate_run *run, int64_t event, int32_t pcr,
                               enum avow_finding_id id, const char *fmt, ...)
{
    struct avow_boot_complaint c = {id, event, pcr, "the detail is left out"};
    char text[DETAIL_MAX + 1];
    if (run->complaints++ < AVOW_BOOT_DETAILED) {
        va_list args;
        va_start(args, fmt);
        (void)vsnprintf(text, sizeof text, fmt, args);
        va_end(args);
        avow_boot_make_printable(text);
        c.detail = avow_arena_cstr(run->judge->arena, avow_str_from(text));
        run->nomem |= !c.detail;
    }
    if (!run->nomem)
        run->judge->complain(run->judge->arg, &c);
}

static const char *type_text(const struct avow_event *e)
{
    const char *name = avow_event_type_name(e->untrusted_type);
    return name ? name : "of an unknown type";
}

static void unexpected(struct avow_refstate_run *run)
{
    avow_refstate_complain(run, AVOW_FINDING_BOOT_EVENT_FORBIDDEN,
                           "an event %s (0x%08x) is not expected in PCR %u", type_text(&run->e),
                           run->e.untrusted_type, run->e.pcr);
}

static void not_measured(struct avow_refstate_run *run, const char *what)
{
    avow_refstate_complain(run, AVOW_FINDING_BOOT_DATA_UNTRUSTED,
                           "%s: its data is not what was measured", what);
}

/* --- Facts --- */

bool avow_refstate_has(const struct avow_refstate_run *run, const struct avow_refstate_digests *d,
                       const struct avow_event *e)
{
    const struct avow_event_replay *banks = run->judge->replay;
    bool found = false;
    for (size_t i = 0; i < banks->banks_count; i++) {
        struct avow_boot_digest key = {.alg = (uint8_t)banks->banks[i].alg};
        struct avow_bytes there = avow_event_digest_of(e, (uint16_t)banks->banks[i].alg);
        if (!(d->algs & UINT32_C(1) << banks->banks[i].alg))
            continue;
        if (!there.len || there.len > sizeof key.bytes)
            return false;
        memcpy(key.bytes, there.ptr, there.len);
        if (!bsearch(&key, d->items, d->count, sizeof key, avow_boot_digest_cmp))
            return false;
        found = true;
    }
    return found;
}

/* In the quoted bank, which most of a reference state is about. Zeros if there is none. */
static struct avow_refstate_image image_of(const struct avow_refstate_run *run)
{
    struct avow_refstate_image out = {.event = (int64_t)run->e.index};
    struct avow_bytes d = avow_event_digest_of(&run->e, AVOW_HASH_SHA256);
    if (run->has_sha256 && d.len == sizeof out.digest)
        memcpy(out.digest, d.ptr, sizeof out.digest);
    return out;
}

/* The label: data without its NUL. It is no evidence. */
static struct avow_str untrusted_text(const struct avow_event *e)
{
    struct avow_str s = {(const char *)e->untrusted_data.ptr, e->untrusted_data.len};
    if (s.len && s.ptr[s.len - 1] == 0)
        s.len--;
    return s;
}

static bool contains(struct avow_str s, const char *part)
{
    size_t n = strlen(part);
    for (size_t i = 0; i + n <= s.len; i++) {
        if (avow_str_starts((struct avow_str){s.ptr + i, s.len - i}, part))
            return true;
    }
    return false;
}

static bool is_one_of(const struct avow_boot_fact *f, const char *const *texts, size_t n)
{
    struct avow_str s = {(const char *)f->covered.ptr, f->covered.len};
    if (s.len && s.ptr[s.len - 1] == 0)
        s.len--;
    for (size_t i = 0; f->bound && i < n; i++) {
        if (avow_str_is(s, texts[i]))
            return true;
    }
    return false;
}

/* --- Rules --- */

static void judge_separator(struct avow_refstate_run *run)
{
    if (run->e.pcr >= SEPARATED_PCRS)
        unexpected(run);
    else if (avow_boot_fact_is_separator(&run->fact))
        run->separated |= UINT32_C(1) << run->e.pcr;
    else
        avow_refstate_complain(run, AVOW_FINDING_BOOT_EVENT_FORBIDDEN,
                               "a separator that is neither zeros nor ones, or was not measured");
}

/* The sequence is compared at the end. Everything that stands in it is named by its digest, so that
 * also other kinds of code may be: EV_POST_CODE of older firmware. */
static void judge_firmware(struct avow_refstate_run *run)
{
    if (run->firmware_count < run->firmware_cap)
        run->firmware[run->firmware_count] = run->e;
    run->firmware_count++;
}

/* What EDK II logs of PCR 1 without the data that it measures. */
static const struct {
    uint32_t type;
    unsigned max;
} unbound[AVOW_REFSTATE_UNBOUND] = {{AVOW_EV_CPU_MICROCODE, 1},
                                    {AVOW_EV_EFI_HANDOFF_TABLES, 1},
                                    {AVOW_EV_EFI_HANDOFF_TABLES2, 1},
                                    {AVOW_EV_PLATFORM_CONFIG_FLAGS, 4}};

/* Configuration, for which a reference state has no values. What is bound to its data could as well
 * be labelled as a boot option, of which any number may be there: to refuse it under its own name
 * protects nothing. */
static void judge_configuration(struct avow_refstate_run *run)
{
    for (size_t i = 0; i < AVOW_REFSTATE_UNBOUND; i++) {
        if (run->e.untrusted_type != unbound[i].type)
            continue;
        if (++run->unbound_count[i] > unbound[i].max)
            avow_refstate_complain(run, AVOW_FINDING_BOOT_EVENT_FORBIDDEN, "more than %u events %s",
                                   unbound[i].max, type_text(&run->e));
        return;
    }
    if (run->fact.bound)
        return;
    if (avow_event_has_variable(&run->e) || run->e.untrusted_type == AVOW_EV_EFI_ACTION)
        not_measured(run, type_text(&run->e));
    else
        unexpected(run);
}

/* Drivers of cards, of which Keylime accepts all: so they can be labelled as it likes. */
static void judge_driver(struct avow_refstate_run *run)
{
    bool is_driver = run->e.untrusted_type == AVOW_EV_EFI_BOOT_SERVICES_DRIVER ||
                     run->e.untrusted_type == AVOW_EV_EFI_RUNTIME_SERVICES_DRIVER;
    if (!is_driver && !run->fact.bound)
        unexpected(run);
}

static void judge_image(struct avow_refstate_run *run)
{
    static const char *const actions[] = {"Calling EFI Application from Boot Option",
                                          "Returning from EFI Application from Boot Option"};
    if (run->e.untrusted_type == AVOW_EV_EFI_ACTION) {
        if (!is_one_of(&run->fact, actions, AVOW_ARRAY_LEN(actions)))
            unexpected(run);
    } else if (run->e.untrusted_type != AVOW_EV_EFI_BOOT_SERVICES_APPLICATION) {
        unexpected(run);
    } else {
        if (run->images_count < AVOW_REFSTATE_IMAGES_KEPT)
            run->images[run->images_count] = image_of(run);
        run->images_count++;
    }
}

static void judge_exit(struct avow_refstate_run *run)
{
    static const char *const actions[] = {"Exit Boot Services Invocation",
                                          "Exit Boot Services Returned with Failure",
                                          "Exit Boot Services Returned with Success"};
    bool is_gpt = run->e.untrusted_type == AVOW_EV_EFI_GPT_EVENT ||
                  run->e.untrusted_type == AVOW_EV_EFI_GPT_EVENT2;
    if (is_gpt && !run->fact.bound)
        not_measured(run, type_text(&run->e));
    else if (is_gpt && run->gpt_count++)
        avow_refstate_complain(run, AVOW_FINDING_BOOT_EVENT_FORBIDDEN, "a second partition table");
    else if (!is_gpt && (run->e.untrusted_type != AVOW_EV_EFI_ACTION ||
                         !is_one_of(&run->fact, actions, AVOW_ARRAY_LEN(actions))))
        unexpected(run);
}

/* PCR 8. GRUB hashes what is behind the prefix, which therefore can be exchanged: what begins as no
 * command does is the command line of a kernel, whatever it is called. */
static void judge_command(struct avow_refstate_run *run)
{
    static const char *const line = AVOW_REFSTATE_CMDLINE_PREFIX;
    struct avow_str label = untrusted_text(&run->e);
    bool is_line = avow_str_starts(label, line);
    size_t prefix = strlen(is_line ? line : "grub_cmd: ");
    struct avow_str text = {(const char *)run->fact.covered.ptr, run->fact.covered.len};
    if (run->e.untrusted_type != AVOW_EV_IPL) {
        unexpected(run);
        return;
    }
    if (!is_line && !avow_str_starts(label, "grub_cmd: ")) {
        avow_refstate_complain(run, AVOW_FINDING_BOOT_COMMAND_LINE,
                               "neither a command of GRUB nor a kernel's command line");
        return;
    }
    if (!run->fact.bound || text.len != label.len - prefix) {
        not_measured(run, is_line ? "the command line" : "a command of GRUB");
        return;
    }
    if (!is_line && !avow_boot_text_is_command_line(text))
        return;
    if (run->cmdlines_count++)
        return;
    run->cmdline_event = (int64_t)run->e.index;
    avow_buf_put_str(&run->cmdline, line);
    avow_buf_put(&run->cmdline, text.ptr, text.len);
    run->nomem |= run->cmdline.failed == AVOW_NOMEM;
}

/* PCR 9. The name is not what was measured: it only says what the sender wants the file to be, and
 * Keylime's names are demanded. What decides is in end_files. */
static void judge_file(struct avow_refstate_run *run)
{
    struct avow_str name = untrusted_text(&run->e);
    if (run->e.untrusted_type != AVOW_EV_IPL) {
        unexpected(run);
        return;
    }
    run->last_file = image_of(run);
    if (contains(name, "\n"))
        name.len = 0;
    bool is_own = contains(name, "/loader/entries") || contains(name, "/grub");
    bool is_kernel = !is_own && contains(name, "/vmlinuz");
    bool is_initrd =
        !is_own && !is_kernel && (contains(name, "/initrd") || contains(name, "/initramfs"));
    struct avow_refstate_image *to = is_kernel ? &run->vmlinuz : &run->initrd;
    if (!is_own && !is_kernel && !is_initrd)
        avow_refstate_complain(run, AVOW_FINDING_BOOT_FILE,
                               "a file that is none of GRUB's, no kernel and no initial ramdisk");
    if ((is_kernel || is_initrd) && to->event >= 0)
        avow_refstate_complain(run, AVOW_FINDING_BOOT_FILE, "a second %s",
                               is_kernel ? "kernel" : "initial ramdisk");
    if (is_kernel || is_initrd)
        *to = run->last_file;
    if (run->p->has_grub_files && !is_initrd && !(is_kernel && !run->p->secure_boot) &&
        !avow_refstate_has(run, &run->p->grub_files, &run->e))
        avow_refstate_complain(run, AVOW_FINDING_BOOT_FILE, "a file that is not in grub_files");
}

/* One byte, which shim mirrors. */
static bool is_flag(const struct avow_refstate_run *run)
{
    const struct avow_event_replay *banks = run->judge->replay;
    for (uint8_t flag = 0; flag < 2; flag++) {
        size_t equal = 0;
        for (size_t i = 0; i < banks->banks_count; i++) {
            struct avow_digest d;
            avow_digest(banks->banks[i].alg, avow_bytes_make(&flag, 1), &d);
            equal += avow_bytes_eq(avow_digest_bytes(&d),
                                   avow_event_digest_of(&run->e, (uint16_t)banks->banks[i].alg));
        }
        if (equal && equal == banks->banks_count)
            return true;
    }
    return false;
}

/* PCR 14. The names are not covered, but the order is: shim measures its lists in this one, so that
 * one cannot be called another. */
static void judge_mok(struct avow_refstate_run *run)
{
    static const char *const names[] = {"MokList", "MokListX", "MokListTrusted"};
    struct avow_str name = untrusted_text(&run->e);
    unsigned which = 0;
    while (which < AVOW_ARRAY_LEN(names) && !avow_str_is(name, names[which]))
        which++;
    if (run->e.untrusted_type != AVOW_EV_IPL || which == AVOW_ARRAY_LEN(names)) {
        unexpected(run);
        return;
    }
    bool in_order = which >= run->mok_next && (which == 0 || run->mok_next > 0);
    bool good = which == 0   ? avow_refstate_has(run, &run->p->mok, &run->e)
                : which == 1 ? avow_refstate_has(run, &run->p->mokx, &run->e)
                             : is_flag(run);
    run->mok_next = which + 1;
    if (!in_order)
        avow_refstate_complain(run, AVOW_FINDING_BOOT_MOK,
                               "%s is not where shim measures it, after MokList: its name is not "
                               "what was measured",
                               names[which]);
    else if (!good)
        avow_refstate_complain(run, AVOW_FINDING_BOOT_MOK, "%s is not one of those accepted",
                               names[which]);
}

/* --- The log --- */

typedef void (*rule)(struct avow_refstate_run *run);

static void judge_event(struct avow_refstate_run *run)
{
    /* PCR 3 and 6 have separators alone. */
    static const rule rules[AVOW_EVENT_PCRS] = {
        [0] = judge_firmware, [1] = judge_configuration,
        [2] = judge_driver,   [3] = unexpected,
        [4] = judge_image,    [5] = judge_exit,
        [6] = unexpected,     [7] = avow_refstate_judge_variable,
        [8] = judge_command,  [9] = judge_file,
        [14] = judge_mok,
    };
    /* What extends nothing, and PCRs that nobody quotes for this, could as well be left out. */
    if (run->e.untrusted_type == AVOW_EV_NO_ACTION || !(COVERED_PCRS >> run->e.pcr & 1))
        return;
    run->fact = avow_boot_fact_of(&run->e, run->judge->replay);
    if (run->e.untrusted_type == AVOW_EV_SEPARATOR)
        judge_separator(run);
    else
        rules[run->e.pcr](run);
}

static void end(struct avow_refstate_run *run)
{
    for (int32_t i = 0; i < (int32_t)SEPARATED_PCRS; i++) {
        if (!(run->separated >> i & 1))
            avow_refstate_complain_at(run, -1, i, AVOW_FINDING_BOOT_EVENT_MISSING,
                                      "it has no separator");
    }
    avow_refstate_end_variables(run);
    avow_refstate_end_chain(run);
}

static size_t longest_firmware(const struct avow_refstate *p)
{
    size_t longest = 0;
    for (size_t i = 0; i < p->firmware_count; i++)
        longest = p->firmware[i].count > longest ? p->firmware[i].count : longest;
    return longest + 2; /* the CRTM, and one too many */
}

static bool has_sha256(const struct avow_event_replay *banks)
{
    for (size_t i = 0; i < banks->banks_count; i++) {
        if (banks->banks[i].alg == AVOW_HASH_SHA256)
            return true;
    }
    return false;
}

static enum avow_rc judge(const void *refstate, const struct avow_boot_judge *j,
                          struct avow_err *err)
{
    const struct avow_refstate_image none = {.event = -1};
    struct avow_refstate_run run = {.p = refstate,
                                    .judge = j,
                                    .has_sha256 = has_sha256(j->replay),
                                    .firmware_cap = longest_firmware(refstate),
                                    .vmlinuz = none,
                                    .initrd = none,
                                    .last_file = none};
    struct avow_event_walk w;
    run.firmware = calloc(run.firmware_cap, sizeof *run.firmware);
    run.nomem = !run.firmware;
    avow_buf_init(&run.cmdline, AVOW_BOOT_TEXT_MAX);
    avow_event_walk_init(&w, j->log);
    while (!run.nomem && avow_event_walk_next(&w, &run.e))
        judge_event(&run);
    if (!run.nomem)
        end(&run);
    free(run.firmware);
    avow_buf_deinit(&run.cmdline);
    return run.nomem ? avow_err_set(err, AVOW_NOMEM, 0, "reference state: judging") : AVOW_OK;
}

static uint32_t pcrs(const void *refstate)
{
    (void)refstate;
    return COVERED_PCRS;
}

static struct avow_str warning(const void *refstate, size_t index)
{
    const struct avow_refstate *p = refstate;
    return index < p->warnings_count && index < AVOW_BOOT_POLICY_WARNINGS_KEPT
               ? p->warnings[index]
               : (struct avow_str){NULL, 0};
}

const struct avow_boot_kind avow_refstate_kind = {.key = NULL,
                                                  .load = avow_refstate_load,
                                                  .free = avow_refstate_free,
                                                  .pcrs = pcrs,
                                                  .judge = judge,
                                                  .warning = warning};
