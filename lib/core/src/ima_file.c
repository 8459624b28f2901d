/* ima_file.c - is a measured file one that the policy allows, by its digest or by who signed it?
 * Keylime's rule, docs/POLICY.md: either suffices. With check_signatures a signature that is there
 * must be good, too. */
#include "core_internal.h"

#include "avow/crypto/ima_key.h"

#include "avow/base/banned.h"

enum signature { /* what is there */
                 SIGNATURE_NONE = 0,
                 SIGNATURE_GOOD,
                 SIGNATURE_BAD,
                 SIGNATURE_KEY_UNKNOWN,
                 SIGNATURE_UNTRIED /* enough is known already */
};

struct candidate {
    const struct avow_ima_sig *sig;
    enum avow_hash hash;
    struct avow_bytes digest;
    bool key_known;
};

static bool set_signed_it(const struct avow_ima_keys *set, struct candidate *c)
{
    if (!set)
        return false;
    size_t n = avow_ima_keys_count(set);
    for (size_t i = avow_ima_keys_find(set, c->sig->key_id);
         i < n && avow_ima_keys_id(set, i) == c->sig->key_id; i++) {
        c->key_known = true;
        if (avow_ima_sig_verify(avow_ima_keys_get(set, i), c->sig, c->hash, c->digest))
            return true;
    }
    return false;
}

/* Every key here was taught by an entry before this one, so where this one is proven the key is,
 * too. */
static bool learned_signed_it(struct avow_eval *ev, struct candidate *c)
{
    for (size_t i = 0; i < ev->fold.keys_count; i++) {
        const struct avow_pubkey *k = avow_learned_find(ev, i, c->sig->key_id);
        c->key_known |= k != NULL;
        if (k && avow_ima_sig_verify(k, c->sig, c->hash, c->digest))
            return true;
    }
    return false;
}

/* What was signed must be what was measured: the bytes or the fs-verity descriptor. */
static bool kind_fits(const struct avow_ima_sig *sig, const struct avow_ima_file *f)
{
    return (sig->kind == AVOW_IMA_SIG_OF_VERITY) == (f->digest_type == AVOW_IMA_OF_VERITY);
}

/* An unsigned file and one whose attribute is something else (EVM's signature, a hash) are alike.
 * No more signatures are tried once the findings are full: the host is untrusted anyway, and each
 * takes as long as a hundred entries. */
static enum signature check_signature(struct avow_eval *ev, const struct avow_ima_file *f)
{
    struct avow_ima_sig sig;
    struct candidate c = {.sig = &sig, .digest = f->digest};
    if (!f->signature.len || avow_ima_sig_parse(f->signature, &sig, NULL) == AVOW_REFUSED)
        return SIGNATURE_NONE;
    if (avow_ima_sig_parse(f->signature, &sig, NULL) || !kind_fits(&sig, f) ||
        !avow_ima_digest_is_sound(f, &c.hash))
        return SIGNATURE_BAD;
    if (avow_finding_list_is_full(&ev->findings))
        return SIGNATURE_UNTRIED;
    const struct avow_runtime_policy *p = ev->in->policy->runtime;
    if (set_signed_it(ev->in->policy->keys, &c) ||
        set_signed_it(p ? avow_runtime_policy_keys(p) : NULL, &c) || learned_signed_it(ev, &c))
        return SIGNATURE_GOOD;
    return c.key_known ? SIGNATURE_BAD : SIGNATURE_KEY_UNKNOWN;
}

static void find_signature(struct avow_eval *ev, const struct avow_ima_file *f, enum signature s)
{
    switch (s) {
    case SIGNATURE_BAD:
        AVOW_FIND_FILE(ev, IMA_SIGNATURE_INVALID, f, "(signature)");
        return;
    case SIGNATURE_KEY_UNKNOWN:
        AVOW_FIND_FILE(ev, IMA_SIGNATURE_KEY_UNKNOWN, f, "(signature)");
        return;
    case SIGNATURE_UNTRIED:
        (void)avow_finding_list_count_only(&ev->findings);
        return;
    case SIGNATURE_NONE:
    case SIGNATURE_GOOD:
    default:
        return;
    }
}

static void find_digest(struct avow_eval *ev, const struct avow_ima_file *f,
                        enum avow_policy_match m)
{
    switch (m) {
    case AVOW_POLICY_ALLOWED:
    case AVOW_POLICY_EXCLUDED:
        return;
    case AVOW_POLICY_REGEX_LIMIT:
        AVOW_FIND_FILE(ev, IMA_EXCLUDE_UNDECIDED, f, "(an expression hit its limits)");
        AVOW_FIND_FILE(ev, IMA_DIGEST_UNKNOWN, f, "(not excluded: undecided)");
        return;
    case AVOW_POLICY_PATH_UNKNOWN:
        AVOW_FIND_FILE(ev, IMA_DIGEST_UNKNOWN, f, "(path not in the policy)");
        return;
    case AVOW_POLICY_DIGEST_UNKNOWN:
    case AVOW_POLICY_UNDECIDED:
    default:
        ev->findings.at.listed = true;
        AVOW_FIND_FILE(ev, IMA_DIGEST_UNKNOWN, f, "(digest not allowed)");
        return;
    }
}

/* Signatures are looked at only if somebody's would count. */
static bool signatures_count(const struct avow_eval *ev)
{
    const struct avow_eval_policy *p = ev->in->policy;
    return ev->in->enrollment->flags.check_signatures || p->keys || ev->fold.keys_count ||
           (p->runtime && avow_runtime_policy_keys(p->runtime));
}

static void judge_by_policy(struct avow_eval *ev, const struct avow_ima_file *f)
{
    const struct avow_runtime_policy *p = ev->in->policy->runtime;
    const struct avow_enroll_flags *flags = &ev->in->enrollment->flags;
    enum avow_hash alg;
    struct avow_bytes digest =
        avow_ima_digest_is_sound(f, &alg) ? f->digest : (struct avow_bytes){NULL, 0};
    enum avow_policy_match m =
        avow_runtime_policy_match(p, f->path, digest, flags->strict_excludes);
    if (m == AVOW_POLICY_EXCLUDED || (m == AVOW_POLICY_ALLOWED && !flags->check_signatures))
        return;
    enum signature s =
        f->signature.len && signatures_count(ev) ? check_signature(ev, f) : SIGNATURE_NONE;
    if (s == SIGNATURE_GOOD)
        return;
    if (s == SIGNATURE_BAD || flags->check_signatures)
        find_signature(ev, f, s);
    find_digest(ev, f, m);
}

bool avow_ima_judges_files(const struct avow_eval *ev)
{
    return ev->in->policy->runtime || ev->in->policy->keys ||
           ev->in->enrollment->flags.check_signatures;
}

/* Without a policy of digests every file must be signed. */
static void judge_by_keys(struct avow_eval *ev, const struct avow_ima_file *f)
{
    enum signature s = check_signature(ev, f);
    if (s == SIGNATURE_NONE)
        AVOW_FIND_FILE(ev, IMA_SIGNATURE_MISSING, f, "(no digests are listed)");
    else
        find_signature(ev, f, s);
}

void avow_ima_judge_file(struct avow_eval *ev, const struct avow_ima_file *f)
{
    if (ev->in->policy->runtime)
        judge_by_policy(ev, f);
    else if (avow_ima_judges_files(ev))
        judge_by_keys(ev, f);
}
