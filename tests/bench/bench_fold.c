/* bench_fold.c - P2: IMA entries folded and judged on one core, beside the digests that nobody can
 * do without: SHA-1 and SHA-256 of the template data, and the extension. Evidences as large as an
 * agent's part (P2), and small ones, of which the signature takes a larger share (P2.small). */
#include "bench.h"
#include "rig.h"

#include "avow/base/hex.h"

#include <openssl/evp.h>

#include <stdio.h>

#include "avow/base/banned.h"

#define POLICY_FILES 20000u
#define PART_ROOM (512u * 1024u) /* AVOW_ATTEST_PART_BYTES of the agent */
#define SMALL_ROOM (60u * 1024u)
#define ENTRY_MAX 1024u
#define FRAME_HEAD 5u   /* u8 1, u32be length: PROTOCOL B4 */
#define TEMPLATE_AT 38u /* in an entry: PCR, SHA-1, length of the name, "ima-ng", length */

struct fold {
    struct rig rig;
    struct rig_shot *shot;
    struct avow_state prior;
    struct avow_eval_policy policy;
    struct avow_arena arena;
    struct avow_buf part; /* a frame with all entries */
    size_t entries;
    struct avow_bytes *template_data; /* of each entry, in the part */
    EVP_MD_CTX *md;
    EVP_MD *sha1, *sha256;
    uint8_t pcr10[32]; /* the baseline's */
};

static void failed(const char *what)
{
    fprintf(stderr, "bench_fold: %s\n", what);
    exit(1);
}

static void path_of(size_t i, char out[64])
{
    (void)snprintf(out, 64, "/usr/lib/x86_64-linux-gnu/package-%zu.so", i);
}

/* As many files as a server's policy has, with a digest each. */
static void load_policy(struct fold *f)
{
    struct avow_buf b;
    avow_buf_init(&b, 16u * 1024u * 1024u);
    avow_buf_put_str(&b, "{\"meta\":{\"version\":1,\"generator\":0},\"release\":0,\"digests\":{");
    for (size_t i = 0; i < POLICY_FILES; i++) {
        char path[64];
        uint8_t digest[32];
        path_of(i, path);
        rig_file_digest(path, digest);
        avow_buf_printf(&b, "%s\"%s\":[\"", i ? "," : "", path);
        avow_buf_put_hex(&b, AVOW_BYTES_OF(digest));
        avow_buf_put_str(&b, "\"]");
    }
    avow_buf_put_str(&b, "},\"excludes\":[],\"keyrings\":{},\"ima\":{\"ignored_keyrings\":[],"
                         "\"log_hash_alg\":\"sha1\",\"dm_policy\":null},\"ima-buf\":{},"
                         "\"verification-keys\":\"\"}");
    if (avow_buf_status(&b, NULL))
        failed("policy");
    rig_policy(&f->rig, avow_buf_cstr(&b));
    avow_buf_deinit(&b);
}

/* Files from all over the policy, in an order of no meaning. */
static void append_entries(struct fold *f, size_t room)
{
    avow_buf_put_u8(&f->part, 1);
    avow_buf_put_u32be(&f->part, 0);
    while (f->part.len + ENTRY_MAX < room) {
        char path[64];
        uint8_t digest[32];
        path_of(f->entries * 7919u % POLICY_FILES, path);
        rig_file_digest(path, digest);
        struct rig_entry e = rig_entry_make(10, "ima-ng", "sha256", AVOW_BYTES_OF(digest), path);
        rig_extend(&f->rig, &e);
        f->template_data[f->entries++] =
            avow_bytes_make(f->part.ptr + f->part.len + TEMPLATE_AT, e.len - TEMPLATE_AT);
        avow_buf_put(&f->part, e.bytes, e.len);
    }
    if (avow_buf_status(&f->part, NULL))
        failed("part");
    avow_put_u32be(f->part.ptr + 1, (uint32_t)(f->part.len - FRAME_HEAD));
}

/* The rig's own part is smaller than an agent's, so it is put in from outside. */
static void seal(struct fold *f)
{
    static const uint8_t none[32];
    uint8_t digest[32];
    struct rig_shot *s = rig_take(&f->rig);
    avow_sha256(avow_buf_bytes(&f->part), digest);
    const struct avow_bytes pieces[] = {AVOW_BYTES_OF(digest), AVOW_BYTES_OF(none)};
    avow_sha256_pieces(pieces, AVOW_ARRAY_LEN(pieces), s->body.link);
    s->keep_link = s->keep_count = s->body.has_link = true;
    s->body.parts = 1;
    s->body.ima_count = (uint32_t)f->entries;
    rig_seal(&f->rig, s);
    s->evidence.part = avow_buf_bytes(&f->part);
    f->shot = s;
}

static void fold_init(struct fold *f, size_t room)
{
    avow_arena_init(&f->arena, 4u * 1024u * 1024u);
    avow_buf_init(&f->part, room);
    f->template_data = calloc(room / TEMPLATE_AT, sizeof *f->template_data);
    if (!f->template_data || !avow_buf_extend(&f->part, room)) /* then it never moves */
        failed("memory");
    avow_buf_reset(&f->part);
    rig_init(&f->rig, RIG_RSASSA);
    load_policy(f);
    rig_attest(&f->rig);
    rig_tick(&f->rig);
    append_entries(f, room);
    seal(f);
    f->prior = f->rig.state;
    f->policy = (struct avow_eval_policy){
        .runtime = f->rig.policy, .heads = &f->rig.head, .heads_count = 1};
    if (avow_body_decode(f->shot->evidence.body, &f->rig.arena, &f->shot->sealed_body, NULL))
        failed("body");
    f->md = EVP_MD_CTX_new();
    f->sha1 = EVP_MD_fetch(NULL, "SHA1", NULL);
    f->sha256 = EVP_MD_fetch(NULL, "SHA2-256", NULL);
    if (!f->md || !f->sha1 || !f->sha256)
        failed("OpenSSL");
}

static void fold_deinit(struct fold *f)
{
    EVP_MD_CTX_free(f->md);
    EVP_MD_free(f->sha1);
    EVP_MD_free(f->sha256);
    free(f->template_data);
    avow_buf_deinit(&f->part);
    avow_arena_deinit(&f->arena);
    rig_deinit(&f->rig);
    free(f);
}

static void run_fold(void *arg, size_t first, size_t n)
{
    struct fold *f = arg;
    struct rig *r = &f->rig;
    (void)first;
    for (size_t done = 0; done < n; done += f->entries) {
        struct avow_eval_out out;
        struct avow_eval_in in = {.evidence = &f->shot->evidence,
                                  .body = &f->shot->sealed_body,
                                  .enrollment = &r->e,
                                  .enrollment_sha256 = r->e_sha256,
                                  .ak = r->ak,
                                  .policy = &f->policy,
                                  .prior = &f->prior,
                                  .marker = &f->shot->marker,
                                  .bundle_version = 1,
                                  .service_ms = r->epoch * RIG_EPOCH_MS,
                                  .silent_after_ms = 70000,
                                  .partition = RIG_PARTITION};
        if (avow_evaluate(&in, &f->arena, &out, NULL))
            failed("avow_evaluate");
        if (out.kind != AVOW_EVAL_ACCEPTED || out.next.status != AVOW_STATUS_TRUSTED ||
            out.next.ima.proven_count != f->prior.ima.proven_count + f->entries)
            failed("a genuine list was not proven");
        avow_arena_reset(&f->arena);
    }
}

static void digest(const struct fold *f, const EVP_MD *md, struct avow_bytes a, struct avow_bytes b,
                   uint8_t *out)
{
    if (EVP_DigestInit_ex2(f->md, md, NULL) != 1 || EVP_DigestUpdate(f->md, a.ptr, a.len) != 1 ||
        (b.len && EVP_DigestUpdate(f->md, b.ptr, b.len) != 1) ||
        EVP_DigestFinal_ex(f->md, out, NULL) != 1)
        failed("digest");
}

static void run_digests(void *arg, size_t first, size_t n)
{
    struct fold *f = arg;
    const struct avow_bytes nothing = {NULL, 0};
    for (size_t i = first; i < first + n; i++) {
        uint8_t sha1[20], native[32];
        struct avow_bytes data = f->template_data[i % f->entries];
        digest(f, f->sha1, data, nothing, sha1);
        digest(f, f->sha256, data, nothing, native);
        digest(f, f->sha256, AVOW_BYTES_OF(f->pcr10), AVOW_BYTES_OF(native), f->pcr10);
    }
}

static const struct size {
    const char *id, *what;
    size_t room;
    double goal; /* 0: none */
} sizes[] = {
    {"P2", "IMA entries folded and judged by a policy of 20000 files, in parts of 512 KiB",
     PART_ROOM, 0.6},
    {"P2.small", "the same in parts of 60 KiB, each with a signature", SMALL_ROOM, 0},
};

static void measure(const struct size *z, const struct bench_options *o)
{
    struct fold *f = calloc(1, sizeof *f);
    struct bench_pair_result result;
    if (!f)
        failed("memory");
    fold_init(f, z->room);
    struct bench_pair pair = {.a = {run_fold, f},
                              .b = {run_digests, f},
                              .rounds = o->quick ? 3 : 101,
                              .n = f->entries * (o->quick ? 1u : 1u + 10000u / f->entries)};
    run_fold(f, 0, f->entries);
    run_digests(f, 0, f->entries);
    bench_pair_run(&pair, &result);
    bench_print(&(struct bench_result){
        .id = z->id,
        .what = z->what,
        .value = 1e9 / result.a_ns,
        .unit = "1/s per core",
        .baseline = 1e9 / result.b_ns,
        .baseline_what = "OpenSSL's SHA-1 and SHA-256 of the template data and the extension",
        .ratio = result.ratio,
        .goal = z->goal > 0 ? "ratio >= 0.6" : NULL,
        .met = result.ratio >= z->goal});
    fprintf(stderr, "%s: %.0f ns against %.0f ns an entry, %zu in an evidence, spread %.1f %%\n",
            z->id, result.a_ns, result.b_ns, f->entries, 100 * result.spread);
    fold_deinit(f);
}

int main(int argc, char **argv)
{
    struct bench_options o;
    bench_options_parse(argc, argv, &o);
    for (size_t i = 0; i < AVOW_ARRAY_LEN(sizes); i++) {
        if (bench_wants(&o, sizes[i].id))
            measure(&sizes[i], &o);
    }
    return 0;
}
