/* boot.c - what ties the IMA list to the boot, and the boot's cached facts (PROTOCOL R7). */
#include "core_internal.h"

#include "avow/base/hex.h"
#include "avow/core/event_replay.h"

#include "avow/base/banned.h"

static bool is_aggregate_of(const struct avow_eval *ev, struct avow_bytes digest)
{
    static const size_t lengths[] = {AVOW_AGGREGATE_LONG, AVOW_AGGREGATE_SHORT};
    for (size_t i = 0; i < AVOW_ARRAY_LEN(lengths); i++) {
        struct avow_digest d;
        avow_digest_pieces(ev->bank_hash, ev->values, lengths[i], &d);
        if (avow_bytes_eq(avow_digest_bytes(&d), digest))
            return true;
    }
    return false;
}

static void bad_aggregate(struct avow_eval *ev, const struct avow_ima_file *f, const char *reason)
{
    if (avow_finding_list_count_only(&ev->findings))
        return;
    const char *file = avow_ima_file_text(ev, f);
    avow_finding_list_put(&ev->findings, AVOW_FINDING_IMA_BOOT_AGGREGATE, avow_ima_where(ev),
                          file ? avow_arena_printf(ev->arena, "%s %s", file, reason) : NULL);
}

/* A kernel computes it in the bank of ima_hash if the TPM has that, else in SHA-256 or SHA-1. Of
 * another bank than the quoted one it cannot be recomputed, and is accepted only if the policy
 * names the value. */
void avow_boot_aggregate(struct avow_eval *ev, const struct avow_ima_file *f)
{
    const struct avow_runtime_policy *p = ev->in->policy->runtime;
    struct avow_str path = AVOW_STR_LIT("boot_aggregate");
    enum avow_hash alg;
    bool sound = f->digest_type == AVOW_IMA_OF_FILE && avow_ima_digest_is_sound(f, &alg);
    bool pinned = p && avow_runtime_policy_has_path(p, path);
    bool pin_fits =
        pinned && sound && avow_runtime_policy_find(p, path, f->digest) == AVOW_POLICY_ALLOWED;
    if (!sound)
        bad_aggregate(ev, f, "(unknown algorithm)");
    else if (alg != ev->bank_hash && !pinned)
        bad_aggregate(
            ev, f,
            "(not of the quoted bank, so it cannot be recomputed; the policy does not name it)");
    else if (alg == ev->bank_hash && !is_aggregate_of(ev, f->digest))
        bad_aggregate(ev, f, "(not the hash of the quoted PCRs)");
    else if (pinned && !pin_fits)
        bad_aggregate(ev, f, "(the policy names other values)");
}

bool avow_boot_log(struct avow_eval *ev, struct avow_bytes log)
{
    const struct avow_body *b = ev->in->body;
    uint8_t digest[AVOW_SHA256_LEN];
    avow_sha256(log, digest);
    if (!b->has_boot_log || !avow_ct_eq(digest, b->boot_log, sizeof digest))
        return false;
    ev->boot_log_seen = true;
    return true;
}

/* Boot facts are kept for as long as the values they belong to (PCR 0-9). Without a boot policy
 * nothing is decided about them. */
void avow_boot_state(struct avow_eval *ev)
{
    struct avow_state *s = ev->next;
    uint8_t digest[AVOW_SHA256_LEN];
    avow_sha256_pieces(ev->values, AVOW_AGGREGATE_LONG, digest);
    if (!s->has_boot || !avow_ct_eq(s->boot.values_sha256, digest, sizeof digest)) {
        s->boot = (struct avow_boot_result){.outcome = AVOW_OUTCOME_UNDECIDED};
        s->has_boot = true;
        memcpy(s->boot.values_sha256, digest, sizeof digest);
    }
    if (ev->boot_log_seen) {
        s->boot.has_log_sha256 = true;
        memcpy(s->boot.log_sha256, ev->in->body->boot_log, sizeof s->boot.log_sha256);
    }
}
