/* refstate_chain.c - firmware, images, files and command line by a reference state, when the whole
 * log has been seen. See refstate.h. */
#include "refstate.h"

#include "avow/base/hex.h"

#include <string.h>

#include "avow/base/banned.h"

/* --- PCR 0 --- */

/* Whether the events of PCR 0 are exactly these; if not, *at is the first that is not, or the
 * count of events if some are missing. */
static bool is_firmware(const struct avow_refstate_run *run, const struct avow_refstate_firmware *f,
                        size_t *at)
{
    size_t next = 0, crtms = 0;
    for (*at = 0; *at < run->firmware_count && *at < run->firmware_cap; (*at)++) {
        const struct avow_event *e = &run->firmware[*at];
        if (e->untrusted_type == AVOW_EV_S_CRTM_VERSION) {
            if (crtms++ || !avow_refstate_has(run, &f->scrtm, e))
                return false;
        } else if (next == f->count || !avow_refstate_has(run, &f->blobs[next++], e)) {
            return false;
        }
    }
    return *at == run->firmware_count && next == f->count && crtms == 1;
}

static void end_firmware(struct avow_refstate_run *run)
{
    size_t at = 0, farthest = 0;
    for (size_t i = 0; i < run->p->firmware_count; i++) {
        if (is_firmware(run, &run->p->firmware[i], &at))
            return;
        farthest = at > farthest ? at : farthest;
    }
    if (!run->p->firmware_count)
        avow_refstate_complain_at(run, -1, 0, AVOW_FINDING_BOOT_FIRMWARE,
                                  "scrtm_and_bios accepts none");
    else if (farthest < run->firmware_count && farthest < run->firmware_cap)
        avow_refstate_complain_at(run, (int64_t)run->firmware[farthest].index, 0,
                                  AVOW_FINDING_BOOT_FIRMWARE,
                                  "not what scrtm_and_bios has at this place");
    else
        avow_refstate_complain_at(run, -1, 0, AVOW_FINDING_BOOT_FIRMWARE,
                                  "not all events that scrtm_and_bios has");
}

/* --- PCR 4, 8 and 9 --- */

enum { IMAGES = 1, INITRD = 2, VMLINUZ = 4, CMDLINE = 8, EVERYTHING = 15 };

static bool is(const uint8_t want[AVOW_SHA256_LEN], const struct avow_refstate_image *image)
{
    return avow_bytes_eq(avow_bytes_make(want, AVOW_SHA256_LEN), AVOW_BYTES_OF(image->digest));
}

/* GRUB asks shim for the kernel's signature, which measures it: some do it twice. */
static bool are_images(const struct avow_refstate_run *run, const struct avow_refstate_kernel *k)
{
    size_t least = run->p->secure_boot ? 3 : 2, most = run->p->secure_boot ? 4 : 2;
    if (run->images_count < least || run->images_count > most)
        return false;
    for (size_t i = 0; i < run->images_count; i++) {
        if (!is(i == 0 ? k->shim : i == 1 ? k->grub : k->kernel, &run->images[i]))
            return false;
    }
    return true;
}

static unsigned fits(const struct avow_refstate_run *run, const struct avow_refstate_kernel *k)
{
    unsigned out = are_images(run, k) ? IMAGES : 0;
    out |= run->initrd.event >= 0 && is(k->initrd, &run->initrd) ? INITRD : 0;
    out |= run->p->secure_boot || (run->vmlinuz.event >= 0 && is(k->vmlinuz, &run->vmlinuz))
               ? VMLINUZ
               : 0;
    if (out != (EVERYTHING & ~CMDLINE))
        return out;
    struct avow_str line = {(const char *)run->cmdline.ptr, run->cmdline.len};
    return avow_excludes_match(&k->cmdline->x, line, true) == AVOW_EXCLUDE_YES ? EVERYTHING : out;
}

static unsigned weight(unsigned fitting)
{
    unsigned n = 0;
    for (unsigned bit = 1; bit & EVERYTHING; bit <<= 1)
        n += (fitting & bit) != 0;
    return n;
}

static void end_kernels(struct avow_refstate_run *run)
{
    unsigned best = 0;
    for (size_t i = 0; i < run->p->kernels_count && best != EVERYTHING; i++) {
        unsigned now = fits(run, &run->p->kernels[i]);
        best = weight(now) > weight(best) ? now : best;
    }
    if (!run->p->kernels_count)
        avow_refstate_complain_at(run, -1, 4, AVOW_FINDING_BOOT_IMAGE, "kernels accepts none");
    else if (!(best & IMAGES))
        avow_refstate_complain_at(
            run, -1, 4, AVOW_FINDING_BOOT_IMAGE, "the %zu images are not shim%s of any of kernels",
            run->images_count, run->p->secure_boot ? ", GRUB and kernel" : " and GRUB");
    else if (!(best & VMLINUZ))
        avow_refstate_complain_at(run, run->vmlinuz.event, 9, AVOW_FINDING_BOOT_FILE,
                                  "not vmlinuz_plain_sha256");
    else if (!(best & INITRD))
        avow_refstate_complain_at(run, run->initrd.event, 9, AVOW_FINDING_BOOT_FILE,
                                  "not initrd_plain_sha256");
    else if (!(best & CMDLINE))
        avow_refstate_complain_at(run, run->cmdline_event, 8, AVOW_FINDING_BOOT_COMMAND_LINE,
                                  "kernel_cmdline does not accept \"%s\"",
                                  avow_buf_cstr(&run->cmdline));
}

static bool is_readable(struct avow_refstate_run *run)
{
    struct avow_str s = {(const char *)run->cmdline.ptr, run->cmdline.len};
    return !run->cmdline.failed && avow_utf8_is_valid(s) && !memchr(s.ptr, '\n', s.len) &&
           !memchr(s.ptr, 0, s.len);
}

static bool has_line(struct avow_refstate_run *run)
{
    if (run->cmdlines_count != 1)
        avow_refstate_complain_at(run, -1, 8, AVOW_FINDING_BOOT_COMMAND_LINE,
                                  "%zu command lines of a kernel instead of one",
                                  run->cmdlines_count);
    else if (!is_readable(run))
        avow_refstate_complain_at(run, run->cmdline_event, 8, AVOW_FINDING_BOOT_COMMAND_LINE,
                                  "the command line is no text");
    else
        return true;
    return false;
}

static size_t count_in_files(const struct avow_refstate_run *run,
                             const uint8_t digest[AVOW_SHA256_LEN])
{
    struct avow_event_walk w;
    struct avow_event e;
    size_t n = 0;
    avow_event_walk_init(&w, run->judge->log);
    while (avow_event_walk_next(&w, &e)) {
        n += e.pcr == 9 && e.untrusted_type != AVOW_EV_NO_ACTION &&
             avow_bytes_eq(avow_event_digest_of(&e, AVOW_HASH_SHA256),
                           avow_bytes_make(digest, AVOW_SHA256_LEN));
    }
    return n;
}

/* By order and digests, which are proven: GRUB reads the initial ramdisk last, and both it and the
 * kernel once. Under other names a bad one before or a good one afterwards would not be seen. */
static bool has_files(struct avow_refstate_run *run)
{
    bool good = run->vmlinuz.event >= 0 && run->initrd.event >= 0;
    if (!good)
        avow_refstate_complain_at(run, -1, 9, AVOW_FINDING_BOOT_EVENT_MISSING, "no %s",
                                  run->vmlinuz.event < 0 ? "kernel" : "initial ramdisk");
    if (run->initrd.event >= 0 && run->last_file.event != run->initrd.event) {
        avow_refstate_complain_at(run, run->last_file.event, 9, AVOW_FINDING_BOOT_FILE,
                                  "a file after the initial ramdisk, which could be another");
        good = false;
    }
    if (good && count_in_files(run, run->initrd.digest) != 1) {
        avow_refstate_complain_at(run, run->initrd.event, 9, AVOW_FINDING_BOOT_FILE,
                                  "the initial ramdisk was read more than once");
        good = false;
    }
    if (good && !run->p->secure_boot && count_in_files(run, run->vmlinuz.digest) != 1) {
        avow_refstate_complain_at(run, run->vmlinuz.event, 9, AVOW_FINDING_BOOT_FILE,
                                  "the kernel was read more than once");
        good = false;
    }
    return good;
}

void avow_refstate_end_chain(struct avow_refstate_run *run)
{
    end_firmware(run);
    if (!run->has_sha256)
        avow_refstate_complain_at(run, -1, -1, AVOW_FINDING_BOOT_IMAGE,
                                  "no quoted bank has the SHA-256 that kernels are named by");
    bool good = has_line(run);
    good = has_files(run) && good;
    if (good && run->has_sha256)
        end_kernels(run);
}
