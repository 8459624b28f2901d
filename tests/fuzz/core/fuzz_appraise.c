/* fuzz_appraise.c - the appraisal of files as a whole: quote, signature, key, nonce, values, list,
 * firmware log and body from one input, under fixed demands. Input: u8 options, then sections of
 * {u8 which file, u16be length, bytes}. Oracle: what passes has no finding and is proven; texts are
 * UTF-8; the same input gives the same answer; what the list alone says is what it says beside the
 * quote. */
#include "avow/core/appraise.h"

#include "avow/core/runtime_policy.h"
#include "avow/wire/body.h"

#include <stdlib.h>
#include <string.h>

#include "avow/base/banned.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define CHECK(x)                                                                                   \
    do {                                                                                           \
        if (!(x))                                                                                  \
            abort();                                                                               \
    } while (0)

#define ARENA_MAX (64u * 1024u * 1024u)

enum option {
    WITH_POLICY = 1,
    STRICT_SELECTION = 2,
    CHECK_SIGNATURES = 4,
    ALLOW_PADDED = 8,
    REQUIRE_PCRS = 16
};
enum file { ATTEST, SIGNATURE, AK, NONCE, PCRS, IMA, BOOT_LOG, BODY, FILES };

static const char policy_text[] =
    "{\"meta\":{\"version\":1,\"generator\":0},\"release\":0,\"digests\":{\"/init\":["
    "\"2222222222222222222222222222222222222222222222222222222222222222\"]},"
    "\"excludes\":[\"/usr/.*\",\"/[a-z]+/x\"],\"keyrings\":{},\"ima\":{\"ignored_keyrings\":[],"
    "\"log_hash_alg\":\"sha1\",\"dm_policy\":null},\"ima-buf\":{},\"verification-keys\":\"\"}";

static struct avow_runtime_policy *policy;

struct demands {
    struct avow_enrollment e;
    struct avow_eval_policy policy;
    enum avow_sign_alg algs[AVOW_SIGN_ALG_COUNT];
    enum avow_hash_alg hashes[AVOW_HASH_ALG_COUNT];
};

static void set_demands(uint8_t options, struct demands *d)
{
    *d = (struct demands){.e = {.key = AVOW_STR_LIT("fuzz"), .has_runtime_policy = false}};
    for (size_t i = 0; i < AVOW_SIGN_ALG_COUNT; i++)
        d->algs[i] = (enum avow_sign_alg)i;
    for (size_t i = 0; i < AVOW_HASH_ALG_COUNT; i++)
        d->hashes[i] = (enum avow_hash_alg)i;
    d->e.sign_algs = d->algs;
    d->e.sign_algs_count = AVOW_SIGN_ALG_COUNT;
    d->e.sign_hashes = d->e.banks = d->hashes;
    d->e.sign_hashes_count = d->e.banks_count = AVOW_HASH_ALG_COUNT;
    d->e.flags.check_signatures = options & CHECK_SIGNATURES;
    d->e.flags.allow_padded = options & ALLOW_PADDED;
    d->e.has_runtime_policy = options & WITH_POLICY;
    d->policy.runtime = options & WITH_POLICY ? policy : NULL;
}

static void set_file(struct avow_appraise_in *in, enum file which, struct avow_bytes bytes)
{
    struct avow_appraise_file *const files[FILES] = {
        NULL, &in->signature, &in->ak, &in->nonce, &in->pcrs, &in->ima, &in->boot_log, &in->body};
    if (which == ATTEST)
        in->attest = bytes;
    else
        *files[which] = (struct avow_appraise_file){true, bytes};
}

static void check_findings(const struct avow_appraise_out *o)
{
    CHECK(o->findings_count <= AVOW_APPRAISE_FINDINGS_MAX &&
          o->findings_count <= o->findings_total);
    CHECK(!o->pass || !o->findings_total);
    for (size_t i = 0; i < o->findings_count; i++) {
        const struct avow_finding *f = &o->findings[i];
        CHECK(f->id.len && f->severity.len);
        CHECK(avow_utf8_is_valid(f->where) && avow_utf8_is_valid(f->detail));
    }
    CHECK(!o->ima.is_covered || o->ima.covered <= o->ima.entries);
}

static void check_same(const struct avow_appraise_out *a, const struct avow_appraise_out *b)
{
    CHECK(a->pass == b->pass && a->verified == b->verified);
    CHECK(a->findings_total == b->findings_total && a->findings_count == b->findings_count);
    for (size_t i = 0; i < a->findings_count; i++)
        CHECK(avow_str_eq(a->findings[i].id, b->findings[i].id) &&
              avow_str_eq(a->findings[i].detail, b->findings[i].detail));
    CHECK(a->ima.entries == b->ima.entries && a->ima.covered == b->ima.covered);
}

/* The list alone, looking for the value that the appraisal says it leads to. */
static void check_list(const struct avow_appraise_in *in, const struct avow_appraise_out *whole)
{
    struct avow_arena arena;
    struct avow_appraise_out o;
    const struct avow_digest *pcr10 = &whole->ima.pcr10[AVOW_HASH_ALG_SHA256];
    struct avow_appraise_list_in list = {.list = in->ima.bytes,
                                         .demands = in->demands,
                                         .policy = in->policy,
                                         .bank = AVOW_HASH_ALG_SHA256,
                                         .pcr10 = avow_digest_bytes(pcr10)};
    avow_arena_init(&arena, ARENA_MAX);
    if (!avow_appraise_list(&list, &arena, &o, NULL)) {
        check_findings(&o);
        CHECK(!o.verified && !o.has_quote);
        CHECK(o.ima.kind == whole->ima.kind);
    }
    avow_arena_deinit(&arena);
}

static void appraise(struct avow_appraise_in *in)
{
    struct avow_arena a, b;
    struct avow_appraise_out first, second;
    struct avow_err err = {0};
    struct avow_body body;
    avow_arena_init(&a, ARENA_MAX);
    avow_arena_init(&b, ARENA_MAX);
    if (in->body.given && !avow_body_decode(in->body.bytes, &a, &body, NULL))
        in->decoded_body = &body;
    enum avow_rc rc = avow_appraise(in, &a, &first, &err);
    CHECK(rc == AVOW_OK || err.msg[0]);
    if (!rc) {
        check_findings(&first);
        CHECK(!first.verified || (first.has_quote && first.has_signature));
        CHECK(!first.verified || (in->signature.given && in->ak.given));
        CHECK(!first.pass || first.has_quote);
        CHECK(!avow_appraise(in, &b, &second, NULL));
        check_same(&first, &second);
        if (in->ima.given && first.ima.judged)
            check_list(in, &first);
    }
    avow_arena_deinit(&a);
    avow_arena_deinit(&b);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct demands d;
    struct avow_rd r = avow_rd_make(avow_bytes_make(data, size));
    if (!policy)
        CHECK(!avow_runtime_policy_load(avow_bytes_make(policy_text, sizeof policy_text - 1),
                                        &policy, NULL));
    uint8_t options = avow_rd_u8(&r);
    set_demands(options, &d);
    struct avow_appraise_in in = {.demands = &d.e,
                                  .policy = &d.policy,
                                  .selection = options & STRICT_SELECTION ? AVOW_APPRAISE_AVOW
                                                                          : AVOW_APPRAISE_ANY,
                                  .require_pcrs = options & REQUIRE_PCRS ? 0x3FF : 0};
    while (avow_rd_left(&r)) {
        enum file which = (enum file)(avow_rd_u8(&r) % FILES);
        size_t len = avow_rd_u16be(&r);
        size_t left = avow_rd_left(&r);
        struct avow_bytes bytes = avow_rd_take(&r, len < left ? len : left);
        if (!r.bad)
            set_file(&in, which, bytes);
    }
    appraise(&in);
    return 0;
}
