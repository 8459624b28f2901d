/* ima_judge.c - what one IMA entry says about the host. Each entry is judged when it is folded for
 * the first time, proven or not: bad news counts when it is claimed (PROTOCOL R2). */
#include "core_internal.h"

#include "avow/base/hex.h"

#include "avow/base/banned.h"

#define ALG_TEXT_MAX 16u
#define TEMPLATE_TEXT_MAX 256u
#define PATH_TEXT_MAX                                                                              \
    300u /* leaves room for a digest and a reason within the 512 bytes of a detail */

static bool is_tracked(const struct avow_fold *f, uint32_t pcr)
{
    for (size_t i = 0; i < f->pcrs_count; i++) {
        if (f->pcrs[i] == pcr)
            return true;
    }
    return false;
}

const char *avow_ima_where(const struct avow_eval *ev)
{
    return avow_arena_printf(ev->arena, "entry %llu", (unsigned long long)ev->fold.index);
}

const char *avow_ima_file_text(const struct avow_eval *ev, const struct avow_ima_file *f)
{
    char hex[2 * AVOW_DIGEST_MAX + 1];
    struct avow_str path = avow_finding_text(ev->arena, f->path, PATH_TEXT_MAX);
    struct avow_str alg = avow_finding_text(ev->arena, f->hash_alg, ALG_TEXT_MAX);
    if (!path.ptr || !alg.ptr || f->digest.len > AVOW_DIGEST_MAX)
        return NULL;
    avow_hex_encode(hex, f->digest);
    return avow_arena_printf(ev->arena, "%.*s %.*s:%s", (int)path.len, path.ptr, (int)alg.len,
                             alg.ptr, hex);
}

const char *avow_ima_file_reason(const struct avow_eval *ev, const struct avow_ima_file *f,
                                 const char *reason)
{
    const char *file = avow_ima_file_text(ev, f);
    return file ? avow_arena_printf(ev->arena, "%s %s", file, reason) : NULL;
}

bool avow_ima_digest_is_sound(const struct avow_ima_file *f, enum avow_hash *alg)
{
    return f->digest_type != AVOW_IMA_OF_OTHER && avow_hash_from_name(f->hash_alg, alg) &&
           avow_hash_len(*alg) == f->digest.len;
}

/* Nothing covers the fields of a violation: the PCR is extended with ones whatever they say. So the
 * path is not believed, and no exclude of it helps. */
static const char *violation_text(const struct avow_eval *ev, const struct avow_ima_entry *e)
{
    struct avow_ima_file f;
    struct avow_str path = AVOW_STR_LIT("?");
    if (!avow_ima_file_parse(e, &f, NULL))
        path = avow_finding_text(ev->arena, f.path, PATH_TEXT_MAX);
    return path.ptr ? avow_arena_printf(ev->arena, "%.*s (path not covered by the TPM)",
                                        (int)path.len, path.ptr)
                    : NULL;
}

static void judge_violation(struct avow_eval *ev, const struct avow_ima_entry *e)
{
    const struct avow_enroll_flags *flags = &ev->in->enrollment->flags;
    if (ev->fold.index == 0)
        AVOW_FIND(ev, IMA_BOOT_AGGREGATE_MISSING, avow_ima_where(ev),
                  "the first entry is a violation");
    if (!avow_ima_judges_files(ev) || flags->allow_violations || flags->allow_tomtou)
        return;
    if (!avow_finding_list_skip(&ev->findings, AVOW_FINDING_IMA_VIOLATION))
        avow_finding_list_put(&ev->findings, AVOW_FINDING_IMA_VIOLATION, avow_ima_where(ev),
                              violation_text(ev, e));
}

static void judge_template(struct avow_eval *ev, const struct avow_ima_entry *e, enum avow_rc rc)
{
    const char *what = rc == AVOW_PARSE ? ": malformed fields" : "";
    if (!avow_ima_judges_files(ev) ||
        avow_finding_list_skip(&ev->findings, AVOW_FINDING_IMA_TEMPLATE_UNKNOWN))
        return;
    struct avow_str name = avow_finding_text(ev->arena, e->template_name, TEMPLATE_TEXT_MAX);
    avow_finding_list_put(
        &ev->findings, AVOW_FINDING_IMA_TEMPLATE_UNKNOWN, avow_ima_where(ev),
        name.ptr ? avow_arena_printf(ev->arena, "template %.*s%s", (int)name.len, name.ptr, what)
                 : NULL);
}

/* The first entry, and only it, is boot_aggregate: it ties the list to the boot that the quoted
 * PCRs describe. */
static void judge_fields(struct avow_eval *ev, const struct avow_ima_entry *e)
{
    uint64_t index = ev->fold.index;
    struct avow_ima_file f;
    enum avow_rc rc = avow_ima_file_parse(e, &f, NULL);
    bool is_aggregate = !rc && !f.has_buffer && avow_str_is(f.path, "boot_aggregate");
    if (index == 0 && !is_aggregate)
        AVOW_FIND(ev, IMA_BOOT_AGGREGATE_MISSING, avow_ima_where(ev), "the first entry is another");
    if (rc) {
        judge_template(ev, e, rc);
        return;
    }
    ev->findings.at.path = f.path;
    if (is_aggregate && index > 0) {
        ev->fold.repeated_aggregate = true;
        if (!ev->in->enrollment->flags.allow_kexec)
            AVOW_FIND(ev, IMA_BOOT_AGGREGATE_REPEATED, avow_ima_where(ev),
                      "another kernel was started without a reboot");
    }
    if (f.has_buffer)
        avow_ima_judge_buffer(ev, &f);
    else if (is_aggregate)
        avow_boot_aggregate(ev, &f);
    else
        avow_ima_judge_file(ev, &f);
}

void avow_ima_judge(struct avow_eval *ev, const struct avow_ima_entry *e)
{
    ev->findings.at.entry = (int64_t)ev->fold.index;
    if (!is_tracked(&ev->fold, e->pcr))
        AVOW_FIND(ev, IMA_PCR_INDEX, avow_ima_where(ev), "PCR %u", e->pcr);
    if (avow_ima_entry_is_violation(e))
        judge_violation(ev, e);
    else
        judge_fields(ev, e);
    ev->findings.at = AVOW_FINDING_NOWHERE;
}
