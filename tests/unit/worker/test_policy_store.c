/* test_policy_store.c - documents count only when they are what a signed record names (ATTACKS AE9,
 * AE10; PROTOCOL R14). */
#include "policy_store.h"

#include "avow/base/hex.h"
#include "avow/crypto/digest.h"
#include "avow/crypto/dsse.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "avow/base/banned.h"

static const char doc_a[] =
    "{\"meta\":{\"version\":1},\"release\":0,\"digests\":{\"/bin/a\":"
    "[\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\"]},\"excludes\":[]}";
static const char doc_b[] =
    "{\"meta\":{\"version\":1},\"release\":0,\"digests\":{\"/bin/a\":"
    "[\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\"],\"/bin/b\":"
    "[\"bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb\"]},\"excludes\":[]}";
static const char not_json[] = "this is no policy {";

struct fixture {
    struct avow_policy_store store;
    struct avow_err err;
};

static int setup(void **state)
{
    static struct fixture f;
    avow_policy_store_init(&f.store, 1, 2);
    *state = &f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    avow_policy_store_deinit(&f->store);
    return 0;
}

static void sha_of(const char *doc, uint8_t out[32])
{
    avow_sha256(avow_bytes_make(doc, strlen(doc)), out);
}

/* Publishes piece `index` of `pieces` of `doc` under the address of `address`. */
static enum avow_policy_store_result chunk(struct fixture *f, const char *address, const char *doc,
                                           uint32_t index, uint32_t pieces, uint32_t count)
{
    uint8_t sha256[32];
    char hex[65], key[128];
    size_t len = strlen(doc), from = len * index / pieces, to = len * (index + 1) / pieces;
    sha_of(address, sha256);
    avow_hex_encode(hex, AVOW_BYTES_OF(sha256));
    (void)snprintf(key, sizeof key, "blob/%s/%u", hex, index);
    struct avow_policy_chunk c = {
        .index = index, .count = count, .bytes = avow_bytes_make(doc + from, to - from)};
    enum avow_policy_store_result result;
    assert_int_equal(avow_policy_store_chunk(&f->store, avow_str_from(key), &c, &result, &f->err),
                     AVOW_OK);
    return result;
}

struct head {
    const char *key;
    uint64_t generation;
    const char *doc;
    uint32_t chunks;
    int64_t more_bytes; /* a lie about the size */
    bool dsse;
    uint8_t content; /* byte of the content digest */
    uint64_t floor;
    enum avow_policy_kind kind; /* 0: runtime */
};

static enum avow_policy_store_result head(struct fixture *f, const struct head *h)
{
    struct avow_policy_head r = {.key = avow_str_from(h->key),
                                 .generation = h->generation,
                                 .kind = h->kind,
                                 .bytes = (uint64_t)((int64_t)strlen(h->doc) + h->more_bytes),
                                 .chunks = h->chunks,
                                 .require_dsse = h->dsse};
    uint8_t content[32];
    sha_of(h->doc, r.sha256);
    memset(content, h->content, sizeof content);
    struct avow_policy_store_head_in in = {
        .head = &r, .content_sha256 = content, .floor = h->floor};
    enum avow_policy_store_result result;
    assert_int_equal(avow_policy_store_head(&f->store, &in, &result, &f->err), AVOW_OK);
    return result;
}

/* Generation that "p" resolves with, 0 if it does not. */
static uint64_t resolved(struct fixture *f)
{
    struct avow_policy_ref ref = {.has_name = true, .name = AVOW_STR_LIT("p")};
    struct avow_policy_store_ref out;
    return avow_policy_store_resolve(&f->store, AVOW_POLICY_USE_RUNTIME, &ref, &out) && out.runtime
               ? out.head.generation
               : 0;
}

static void test_head__chunks_before_it__resolves(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(chunk(f, doc_a, doc_a, 0, 2, 2), AVOW_POLICY_STORE_KEPT);
    assert_int_equal(chunk(f, doc_a, doc_a, 1, 2, 2), AVOW_POLICY_STORE_KEPT);
    assert_int_equal(resolved(f), 0);
    assert_int_equal(
        head(f, &(struct head){"head/p", 1, doc_a, 2, 0, false, 1, 0, AVOW_POLICY_KIND_RUNTIME}),
        AVOW_POLICY_STORE_CHANGED);
    assert_int_equal(resolved(f), 1);
}

static void test_head__chunks_after_it__resolves_when_whole(void **state)
{
    struct fixture *f = *state;
    (void)head(f, &(struct head){"head/p", 1, doc_a, 3, 0, false, 1, 0, AVOW_POLICY_KIND_RUNTIME});
    assert_int_equal(chunk(f, doc_a, doc_a, 2, 3, 3), AVOW_POLICY_STORE_KEPT);
    assert_int_equal(chunk(f, doc_a, doc_a, 0, 3, 3), AVOW_POLICY_STORE_KEPT);
    assert_int_equal(resolved(f), 0);
    assert_int_equal(chunk(f, doc_a, doc_a, 1, 3, 3), AVOW_POLICY_STORE_CHANGED);
    assert_int_equal(resolved(f), 1);
}

static void test_AE9__chunk_attacks__never_resolve(void **state)
{
    static const struct {
        const char *name;
        uint32_t head_chunks;
        int64_t more_bytes;
        bool dsse;
        const char *content[2]; /* of the two chunks published under doc_a's address */
        uint32_t index[2];
        uint32_t count;
    } rows[] = {
        {"replaced", 2, 0, false, {doc_a, doc_b}, {0, 1}, 2},
        {"missing", 2, 0, false, {doc_a, NULL}, {0, 1}, 2},
        {"count lies low", 2, 0, false, {doc_a, NULL}, {0, 1}, 1},
        {"head says more chunks", 3, 0, false, {doc_a, doc_a}, {0, 1}, 2},
        {"head says another size", 2, 1, false, {doc_a, doc_a}, {0, 1}, 2},
        {"a DSSE envelope is demanded", 2, 0, true, {doc_a, doc_a}, {0, 1}, 2},
    };
    (void)state;
    for (size_t i = 0; i < AVOW_ARRAY_LEN(rows); i++) {
        struct fixture f;
        avow_policy_store_init(&f.store, 1, 2);
        (void)head(&f, &(struct head){"head/p", 1, doc_a, rows[i].head_chunks, rows[i].more_bytes,
                                      rows[i].dsse, 1, 0, AVOW_POLICY_KIND_RUNTIME});
        for (size_t k = 0; k < 2 && rows[i].content[k]; k++)
            (void)chunk(&f, doc_a, rows[i].content[k], rows[i].index[k], 2, rows[i].count);
        if (resolved(&f))
            fail_msg("%s: resolves", rows[i].name);
        avow_policy_store_deinit(&f.store);
    }
}

static void test_chunk__bad_then_good__heals(void **state)
{
    struct fixture *f = *state;
    (void)head(f, &(struct head){"head/p", 1, doc_a, 2, 0, false, 1, 0, AVOW_POLICY_KIND_RUNTIME});
    (void)chunk(f, doc_a, doc_a, 0, 2, 2);
    assert_int_equal(chunk(f, doc_a, doc_b, 1, 2, 2), AVOW_POLICY_STORE_BAD);
    assert_int_equal(resolved(f), 0);
    assert_int_equal(chunk(f, doc_a, doc_a, 1, 2, 2), AVOW_POLICY_STORE_CHANGED);
    assert_int_equal(resolved(f), 1);
    assert_int_equal(chunk(f, doc_a, doc_b, 1, 2, 2),
                     AVOW_POLICY_STORE_IGNORED); /* what is compiled stays */
    assert_int_equal(resolved(f), 1);
}

static void test_chunk__right_bytes_wrong_content__does_not_compile(void **state)
{
    struct fixture *f = *state;
    (void)head(f,
               &(struct head){"head/p", 1, not_json, 1, 0, false, 1, 0, AVOW_POLICY_KIND_RUNTIME});
    assert_int_equal(chunk(f, not_json, not_json, 0, 1, 1), AVOW_POLICY_STORE_BAD);
    assert_int_equal(resolved(f), 0);
}

static void test_head__generations__only_forward(void **state)
{
    struct fixture *f = *state;
    (void)chunk(f, doc_a, doc_a, 0, 1, 1);
    (void)chunk(f, doc_b, doc_b, 0, 1, 1);
    assert_int_equal(
        head(f, &(struct head){"head/p", 3, doc_a, 1, 0, false, 1, 0, AVOW_POLICY_KIND_RUNTIME}),
        AVOW_POLICY_STORE_CHANGED);
    assert_int_equal(
        head(f, &(struct head){"head/p", 2, doc_b, 1, 0, false, 2, 0, AVOW_POLICY_KIND_RUNTIME}),
        AVOW_POLICY_STORE_IGNORED);
    assert_int_equal(
        head(f, &(struct head){"head/p", 3, doc_a, 1, 0, false, 1, 0, AVOW_POLICY_KIND_RUNTIME}),
        AVOW_POLICY_STORE_IGNORED);
    assert_int_equal(
        head(f, &(struct head){"head/p", 3, doc_b, 1, 0, false, 2, 0, AVOW_POLICY_KIND_RUNTIME}),
        AVOW_POLICY_STORE_CONFLICT);
    assert_int_equal(resolved(f), 3);
    assert_int_equal(
        head(f, &(struct head){"head/p", 4, doc_b, 1, 0, false, 3, 5, AVOW_POLICY_KIND_RUNTIME}),
        AVOW_POLICY_STORE_IGNORED); /* floor */
    assert_int_equal(
        head(f, &(struct head){"head/p", 4, doc_b, 1, 0, false, 3, 4, AVOW_POLICY_KIND_RUNTIME}),
        AVOW_POLICY_STORE_CHANGED);
    assert_int_equal(resolved(f), 4);
    assert_int_equal(
        head(f, &(struct head){"head/../p", 9, doc_b, 1, 0, false, 3, 0, AVOW_POLICY_KIND_RUNTIME}),
        AVOW_POLICY_STORE_IGNORED);
}

static void test_is_carried__superset__only_from_the_document_before(void **state)
{
    struct fixture *f = *state;
    uint8_t a[32], b[32];
    sha_of(doc_a, a);
    sha_of(doc_b, b);
    (void)chunk(f, doc_a, doc_a, 0, 1, 1);
    (void)chunk(f, doc_b, doc_b, 0, 1, 1);
    (void)head(f, &(struct head){"head/p", 1, doc_a, 1, 0, false, 1, 0, AVOW_POLICY_KIND_RUNTIME});
    assert_false(avow_policy_store_is_carried(&f->store, AVOW_STR_LIT("p"), a));
    (void)head(f, &(struct head){"head/p", 2, doc_b, 1, 0, false, 2, 0, AVOW_POLICY_KIND_RUNTIME});
    assert_true(avow_policy_store_is_carried(&f->store, AVOW_STR_LIT("p"), a));
    assert_false(avow_policy_store_is_carried(&f->store, AVOW_STR_LIT("p"), b));
    (void)head(f, &(struct head){"head/p", 3, doc_a, 1, 0, false, 3, 0,
                                 AVOW_POLICY_KIND_RUNTIME}); /* back to less */
    assert_false(avow_policy_store_is_carried(&f->store, AVOW_STR_LIT("p"), b));
}

static void test_purge__head_names_it_later__rescan_is_wanted(void **state)
{
    struct fixture *f = *state;
    (void)chunk(f, doc_a, doc_a, 0, 1, 1);
    avow_policy_store_purge(&f->store);
    assert_int_equal(f->store.docs.count, 0);
    assert_int_equal(f->store.loose_bytes, 0);
    assert_false(f->store.rescan_wanted);
    (void)head(f, &(struct head){"head/p", 1, doc_a, 1, 0, false, 1, 0, AVOW_POLICY_KIND_RUNTIME});
    assert_true(f->store.rescan_wanted);
    assert_int_equal(chunk(f, doc_a, doc_a, 0, 1, 1),
                     AVOW_POLICY_STORE_CHANGED); /* the topic is read again */
    assert_int_equal(resolved(f), 1);
}

static void test_pin__by_content__resolves_and_is_forgotten(void **state)
{
    struct fixture *f = *state;
    struct avow_policy_ref ref = {.has_sha256 = true};
    struct avow_policy_store_ref out;
    sha_of(doc_a, ref.sha256);
    (void)chunk(f, doc_a, doc_a, 0, 2, 2);
    (void)chunk(f, doc_a, doc_a, 1, 2, 2);
    assert_false(avow_policy_store_resolve(&f->store, AVOW_POLICY_USE_RUNTIME, &ref, &out));
    assert_int_equal(avow_policy_store_pin(&f->store, AVOW_POLICY_USE_RUNTIME, ref.sha256, &f->err),
                     AVOW_OK);
    assert_true(avow_policy_store_resolve(&f->store, AVOW_POLICY_USE_RUNTIME, &ref, &out));
    assert_int_equal(out.head.generation, 0);
    avow_policy_store_unpin(&f->store, AVOW_POLICY_USE_RUNTIME, ref.sha256);
    assert_false(avow_policy_store_resolve(&f->store, AVOW_POLICY_USE_RUNTIME, &ref, &out));
    assert_int_equal(f->store.docs.count, 0);
}

/* Chunks are unsigned: whoever may write the topic may write as many as he likes, and empty ones.
 */
static void test_chunk__empty_ones_without_end__memory_is_bounded(void **state)
{
    struct fixture *f = *state;
    for (unsigned i = 0; i < 12000; i++) {
        char address[16];
        (void)snprintf(address, sizeof address, "%u", i);
        (void)chunk(f, address, "", AVOW_POLICY_STORE_CHUNKS_MAX - 1, AVOW_POLICY_STORE_CHUNKS_MAX,
                    AVOW_POLICY_STORE_CHUNKS_MAX);
    }
    assert_true(f->store.docs.count < 6000); /* each has a table of 16 KiB */
    assert_true(f->store.loose_bytes <= AVOW_POLICY_STORE_LOOSE_MAX);
    avow_policy_store_purge(&f->store);
    assert_int_equal(f->store.docs.count, 0);
    assert_int_equal(f->store.loose_bytes, 0);
}

static void test_loose_bytes__named_and_let_go__add_up(void **state)
{
    struct fixture *f = *state;
    uint8_t a[32];
    sha_of(doc_a, a);
    (void)chunk(f, doc_a, doc_a, 0, 2, 2);
    assert_true(f->store.loose_bytes > 0);
    (void)head(f, &(struct head){"head/p", 1, doc_a, 2, 0, false, 1, 0, AVOW_POLICY_KIND_RUNTIME});
    assert_int_equal(f->store.loose_bytes, 0);
    assert_int_equal(avow_policy_store_pin(&f->store, AVOW_POLICY_USE_RUNTIME, a, &f->err),
                     AVOW_OK);
    (void)chunk(f, doc_a, doc_a, 1, 2, 2);
    assert_int_equal(f->store.loose_bytes, 0);
    (void)head(f, &(struct head){"head/p", 2, doc_b, 1, 0, false, 2, 0, AVOW_POLICY_KIND_RUNTIME});
    (void)head(f, &(struct head){"head/p", 3, doc_b, 1, 0, false, 3, 0, AVOW_POLICY_KIND_RUNTIME});
    avow_policy_store_unpin(&f->store, AVOW_POLICY_USE_RUNTIME, a);
    assert_int_equal(f->store.loose_bytes, 0);
}

/* --- Signed envelopes --- */

struct author {
    struct avow_privkey *key;
    struct avow_pubkey *pub;
    const char *only; /* the one policy name it may sign for; NULL: all */
    unsigned asked;
    struct avow_buf envelope;
};

static bool is_author(void *arg, struct avow_str name, const uint8_t pae_sha256[32],
                      struct avow_bytes sigs)
{
    struct author *a = arg;
    const struct avow_pubkey *keys[] = {a->pub};
    a->asked++;
    return (!a->only || avow_str_is(name, a->only)) &&
           avow_dsse_verify(pae_sha256, sigs, keys, 1, NULL);
}

static void author_make(struct author *a, const char *payload, const char *only)
{
    *a = (struct author){.only = only};
    assert_int_equal(avow_privkey_generate(&a->key, NULL), AVOW_OK);
    assert_int_equal(avow_pubkey_from_spki(avow_privkey_spki(a->key), &a->pub, NULL), AVOW_OK);
    avow_buf_init(&a->envelope, 1u << 16);
    assert_int_equal(
        avow_dsse_sign(a->key, avow_bytes_make(payload, strlen(payload)), &a->envelope, NULL),
        AVOW_OK);
}

static void author_free(struct author *a)
{
    avow_privkey_free(a->key);
    avow_pubkey_free(a->pub);
    avow_buf_deinit(&a->envelope);
}

static bool always(void *arg, struct avow_str key, struct avow_bytes record)
{
    (void)arg;
    (void)key;
    (void)record;
    return true;
}

/* AE13: who signed an envelope is asked of the trust bundle, not of the envelope. */
static void test_AE13__envelope_by_no_policy_author__refused(void **state)
{
    struct fixture *f = *state;
    struct author good, other;
    author_make(&good, doc_a, NULL);
    author_make(&other, doc_a, NULL);
    const char *text = avow_buf_cstr(&good.envelope);
    f->store.author = is_author;
    f->store.author_arg = &other;
    (void)head(f, &(struct head){"head/p", 1, text, 1, 0, false, 1, 0, AVOW_POLICY_KIND_RUNTIME});
    assert_int_equal(chunk(f, text, text, 0, 1, 1), AVOW_POLICY_STORE_BAD);
    assert_non_null(strstr(f->err.msg, "no policy author"));
    assert_int_equal(resolved(f), 0);
    f->store.author_arg = &good; /* the bundle learns the author */
    avow_policy_store_distrust(&f->store, always, NULL);
    assert_int_equal(resolved(f), 1);
    unsigned asked = good.asked;
    assert_int_equal(resolved(f), 1);
    assert_int_equal(good.asked, asked); /* once a bundle, not once an appraisal */
    f->store.author_arg = &other;        /* and forgets it */
    avow_policy_store_distrust(&f->store, always, NULL);
    assert_int_equal(resolved(f), 0);
    f->store.author = NULL;
    avow_policy_store_distrust(&f->store, always, NULL);
    assert_int_equal(resolved(f), 0);
    author_free(&good);
    author_free(&other);
}

static void test_envelope__demanded_or_not__only_by_an_author_of_the_name(void **state)
{
    (void)state;
    static const struct {
        const char *what, *only;
        bool envelope, demanded;
        uint64_t resolves;
    } rows[] = {{"envelope, demanded", NULL, true, true, 1},
                {"envelope, not demanded", NULL, true, false, 1},
                {"plain, demanded", NULL, false, true, 0},
                {"plain, not demanded", NULL, false, false, 1},
                {"author of this name", "p", true, true, 1},
                {"author of another name", "q", true, false, 0}};
    for (size_t i = 0; i < AVOW_ARRAY_LEN(rows); i++) {
        struct fixture f = {.err = {.rc = AVOW_OK}};
        struct author a;
        avow_policy_store_init(&f.store, 1, 2);
        author_make(&a, doc_a, rows[i].only);
        f.store.author = is_author;
        f.store.author_arg = &a;
        const char *text = rows[i].envelope ? avow_buf_cstr(&a.envelope) : doc_a;
        (void)chunk(&f, text, text, 0, 1, 1);
        enum avow_policy_store_result result =
            head(&f, &(struct head){"head/p", 1, text, 1, 0, rows[i].demanded, 1, 0,
                                    AVOW_POLICY_KIND_RUNTIME});
        if (resolved(&f) != rows[i].resolves ||
            (result == AVOW_POLICY_STORE_CHANGED) != (rows[i].resolves == 1))
            fail_msg("%s: %d", rows[i].what, (int)result);
        avow_policy_store_deinit(&f.store);
        author_free(&a);
    }
}

static void test_pin__envelope__only_by_an_author_of_every_name(void **state)
{
    struct fixture *f = *state;
    struct author a;
    struct avow_policy_ref ref = {.has_sha256 = true};
    struct avow_policy_store_ref out;
    author_make(&a, doc_a, "p");
    const char *text = avow_buf_cstr(&a.envelope);
    f->store.author = is_author;
    f->store.author_arg = &a;
    sha_of(text, ref.sha256);
    (void)chunk(f, text, text, 0, 1, 1);
    assert_int_equal(avow_policy_store_pin(&f->store, AVOW_POLICY_USE_RUNTIME, ref.sha256, &f->err),
                     AVOW_OK);
    assert_false(avow_policy_store_resolve(&f->store, AVOW_POLICY_USE_RUNTIME, &ref, &out));
    a.only = NULL;
    avow_policy_store_distrust(&f->store, always, NULL);
    assert_true(avow_policy_store_resolve(&f->store, AVOW_POLICY_USE_RUNTIME, &ref, &out));
    author_free(&a);
}

static void test_envelope__around_no_policy__refused_once(void **state)
{
    struct fixture *f = *state;
    struct author a;
    author_make(&a, not_json, NULL);
    const char *text = avow_buf_cstr(&a.envelope);
    f->store.author = is_author;
    f->store.author_arg = &a;
    (void)head(f, &(struct head){"head/p", 1, text, 1, 0, false, 1, 0, AVOW_POLICY_KIND_RUNTIME});
    assert_int_equal(chunk(f, text, text, 0, 1, 1), AVOW_POLICY_STORE_BAD);
    assert_int_equal(chunk(f, text, text, 0, 1, 1), AVOW_POLICY_STORE_IGNORED); /* no second try */
    assert_int_equal(resolved(f), 0);
    author_free(&a);
}

/* --- Kinds --- */

/* A name is used as what its head says, and as nothing else. */
static void test_resolve__another_use_than_the_heads_kind__never(void **state)
{
    struct fixture *f = *state;
    struct avow_policy_ref ref = {.has_name = true, .name = AVOW_STR_LIT("p")};
    struct avow_policy_store_ref out;
    (void)chunk(f, doc_a, doc_a, 0, 1, 1);
    (void)head(f, &(struct head){"head/p", 1, doc_a, 1, 0, false, 1, 0, AVOW_POLICY_KIND_RUNTIME});
    for (unsigned use = 0; use < AVOW_POLICY_USES; use++)
        assert_int_equal(
            avow_policy_store_resolve(&f->store, (enum avow_policy_use)use, &ref, &out),
            use == AVOW_POLICY_USE_RUNTIME);
    assert_int_equal(
        head(f, &(struct head){"head/p", 2, doc_a, 1, 0, false, 2, 0, AVOW_POLICY_KIND_STATIC}),
        AVOW_POLICY_STORE_CHANGED);
    for (unsigned use = 0; use < AVOW_POLICY_USES; use++)
        assert_false(avow_policy_store_resolve(&f->store, (enum avow_policy_use)use, &ref, &out));
}

/* The same document under two kinds: what was thrown away after the first is read again. */
static void test_head__document_wanted_as_another_kind__rescan_is_wanted(void **state)
{
    struct fixture *f = *state;
    (void)chunk(f, doc_a, doc_a, 0, 1, 1);
    (void)head(f, &(struct head){"head/p", 1, doc_a, 1, 0, false, 1, 0, AVOW_POLICY_KIND_RUNTIME});
    assert_false(f->store.rescan_wanted);
    (void)head(f, &(struct head){"head/q", 1, doc_a, 1, 0, false, 1, 0, AVOW_POLICY_KIND_SEVERITY});
    assert_true(f->store.rescan_wanted);
    assert_int_equal(chunk(f, doc_a, doc_a, 0, 1, 1), AVOW_POLICY_STORE_BAD); /* it is none */
    assert_int_equal(resolved(f), 1);
}

static void test_is_carried__kind_changed_between__never(void **state)
{
    struct fixture *f = *state;
    uint8_t a[32];
    sha_of(doc_a, a);
    (void)chunk(f, doc_a, doc_a, 0, 1, 1);
    (void)chunk(f, doc_b, doc_b, 0, 1, 1);
    (void)head(f, &(struct head){"head/p", 1, doc_a, 1, 0, false, 1, 0, AVOW_POLICY_KIND_RUNTIME});
    (void)head(f, &(struct head){"head/p", 2, doc_a, 1, 0, false, 2, 0, AVOW_POLICY_KIND_BOOT});
    (void)head(f, &(struct head){"head/p", 3, doc_b, 1, 0, false, 3, 0, AVOW_POLICY_KIND_RUNTIME});
    assert_false(avow_policy_store_is_carried(&f->store, AVOW_STR_LIT("p"), a));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_head__chunks_before_it__resolves, setup, teardown),
        cmocka_unit_test_setup_teardown(test_head__chunks_after_it__resolves_when_whole, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_AE9__chunk_attacks__never_resolve, setup, teardown),
        cmocka_unit_test_setup_teardown(test_chunk__bad_then_good__heals, setup, teardown),
        cmocka_unit_test_setup_teardown(test_chunk__right_bytes_wrong_content__does_not_compile,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(test_head__generations__only_forward, setup, teardown),
        cmocka_unit_test_setup_teardown(test_is_carried__superset__only_from_the_document_before,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(test_purge__head_names_it_later__rescan_is_wanted, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_pin__by_content__resolves_and_is_forgotten, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_chunk__empty_ones_without_end__memory_is_bounded,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(test_loose_bytes__named_and_let_go__add_up, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_AE13__envelope_by_no_policy_author__refused, setup,
                                        teardown),
        cmocka_unit_test(test_envelope__demanded_or_not__only_by_an_author_of_the_name),
        cmocka_unit_test_setup_teardown(test_pin__envelope__only_by_an_author_of_every_name, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_envelope__around_no_policy__refused_once, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_resolve__another_use_than_the_heads_kind__never, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(
            test_head__document_wanted_as_another_kind__rescan_is_wanted, setup, teardown),
        cmocka_unit_test_setup_teardown(test_is_carried__kind_changed_between__never, setup,
                                        teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
