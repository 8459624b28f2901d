/* ima_buffer.c - entries of template ima-buf: keys that were loaded into keyrings, critical data of
 * the device mapper and of other parts of the kernel, the command line of a kexec. Told apart by
 * content and name, in the order of docs/POLICY.md. */
#include "core_internal.h"

#include "avow/crypto/ima_key.h"

#include "avow/base/banned.h"

#define DEVICE_TEXT_MAX 128u
#define VALUE_TEXT_MAX 128u

/* The policy lists digests, the state learns from bytes: they must be of each other. The kernel
 * sees to that; what the TPM covers is only that both were said. */
static bool digest_is_of_buffer(const struct avow_ima_file *f)
{
    enum avow_hash alg;
    struct avow_digest d;
    if (!avow_ima_digest_is_sound(f, &alg) || f->digest_type != AVOW_IMA_OF_FILE)
        return false;
    avow_digest(alg, f->buffer, &d);
    return avow_bytes_eq(avow_digest_bytes(&d), f->digest);
}

static bool is_excluded(struct avow_eval *ev, const struct avow_ima_file *f)
{
    switch (avow_runtime_policy_exclude(ev->in->policy->runtime, f->path,
                                        ev->in->enrollment->flags.strict_excludes)) {
    case AVOW_POLICY_EXCLUDED:
        return true;
    case AVOW_POLICY_REGEX_LIMIT:
        AVOW_FIND_FILE(ev, IMA_EXCLUDE_UNDECIDED, f, "(an expression hit its limits)");
        return false;
    case AVOW_POLICY_UNDECIDED:
    case AVOW_POLICY_PATH_UNKNOWN:
    case AVOW_POLICY_DIGEST_UNKNOWN:
    case AVOW_POLICY_ALLOWED:
    default:
        return false;
    }
}

struct lesson {
    struct avow_eval *ev;
    struct avow_str keyring;
};

static enum avow_rc learn(void *ctx, struct avow_pubkey *key, uint32_t id, struct avow_err *err)
{
    struct lesson *l = ctx;
    (void)err;
    avow_learned_add(l->ev, l->keyring, id, avow_pubkey_spki(key));
    avow_pubkey_free(key);
    return AVOW_OK;
}

/* A key that the policy lists and that no signature here can be checked with is allowed, and not
 * learned. So is one that an exclude names: nothing says what it is. */
static void judge_key(struct avow_eval *ev, const struct avow_ima_file *f)
{
    const struct avow_runtime_policy *p = ev->in->policy->runtime;
    struct lesson l = {ev, f->path};
    const struct avow_ima_key_sink sink = {&l, learn};
    if (avow_runtime_policy_ignores_keyring(p, f->path))
        return;
    enum avow_policy_match m = avow_runtime_policy_find_keyring(p, f->path, f->digest);
    if (m == AVOW_POLICY_ALLOWED) {
        if (avow_ima_key_read(f->buffer, &sink, NULL) == AVOW_NOMEM)
            ev->nomem = true;
        return;
    }
    ev->findings.at.listed = m == AVOW_POLICY_DIGEST_UNKNOWN;
    if (!is_excluded(ev, f))
        AVOW_FIND_FILE(ev, IMA_KEY_UNKNOWN, f, "(key not listed for this keyring)");
}

static const char *fault_text(const struct avow_eval *ev, const struct avow_dm_fault *fault)
{
    struct avow_str device = avow_finding_text(ev->arena, fault->device, DEVICE_TEXT_MAX);
    struct avow_str value = avow_finding_text(ev->arena, fault->value, VALUE_TEXT_MAX);
    if (!device.ptr || !value.ptr)
        return NULL;
    return avow_arena_printf(ev->arena, "%.*s: %.64s %.*s", (int)device.len, device.ptr,
                             fault->what, (int)value.len, value.ptr);
}

static void find_fault(struct avow_eval *ev, const char *where, const struct avow_dm_fault *fault)
{
    if (!avow_finding_list_count_only(&ev->findings))
        avow_finding_list_put(&ev->findings, fault->id, where, fault_text(ev, fault));
}

/* Linux 6.15 tells of a kexec ahead; whether there may be one is the enrolment's to say. */
static bool is_kexec_event(const struct avow_eval *ev, struct avow_str name)
{
    return ev->in->enrollment->flags.allow_kexec &&
           (avow_str_is(name, "kexec_load") || avow_str_is(name, "kexec_execute"));
}

void avow_ima_judge_buffer(struct avow_eval *ev, const struct avow_ima_file *f)
{
    const struct avow_runtime_policy *p = ev->in->policy->runtime;
    struct avow_dm_fault fault;
    if (!p)
        return;
    if (!digest_is_of_buffer(f)) {
        AVOW_FIND_FILE(ev, IMA_BUFFER_DIGEST, f, "(not the digest of the buffer)");
        return;
    }
    if (avow_ima_key_is(f->buffer)) {
        judge_key(ev, f);
        return;
    }
    enum avow_dm_event_kind kind = avow_dm_event_kind(f->path);
    if (avow_runtime_policy_dm(p) && kind != AVOW_DM_OTHER) {
        if (!avow_dm_judge(avow_runtime_policy_dm(p), kind, f->buffer, &ev->fold.dm, &fault))
            find_fault(ev, avow_ima_where(ev), &fault);
        return;
    }
    enum avow_policy_match m = avow_runtime_policy_find_buffer(p, f->path, f->digest);
    ev->findings.at.listed = m == AVOW_POLICY_DIGEST_UNKNOWN;
    if (m != AVOW_POLICY_ALLOWED && !is_kexec_event(ev, f->path) && !is_excluded(ev, f))
        AVOW_FIND_FILE(ev, IMA_BUFFER_UNKNOWN, f, "(buffer not listed)");
}

static bool keep_what_is_over(enum avow_finding_id id)
{
    return id != AVOW_FINDING_IMA_DM_REQUIRED && id != AVOW_FINDING_IMA_DM_NOT_RESUMED;
}

/* A state, not an event: it is looked at anew with each quote that is explained to the end. */
void avow_ima_judge_devices(struct avow_eval *ev)
{
    const struct avow_runtime_policy *p = ev->in->policy->runtime;
    const struct avow_dm_policy *dm = p ? avow_runtime_policy_dm(p) : NULL;
    struct avow_dm_fault fault;
    size_t at = 0;
    if (!dm || !ev->explained || ev->more)
        return;
    avow_finding_list_filter(&ev->findings, keep_what_is_over);
    while (avow_dm_next_lack(dm, &ev->fold.dm, &at, &fault))
        find_fault(ev, "device mapper", &fault);
}
