#include "avow/crypto/digest.h"

#include "digest_internal.h"

#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/params.h>

#include <assert.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "avow/base/banned.h"

/* One row per algorithm: everything else is looked up here. */
static const struct hash_row {
    enum avow_hash alg;
    uint8_t len;
    const char *name;
    const char *openssl_name;
} HASHES[] = {
    {AVOW_HASH_SHA1, 20, "sha1", "SHA1"},
    {AVOW_HASH_SHA256, 32, "sha256", "SHA2-256"},
    {AVOW_HASH_SHA384, 48, "sha384", "SHA2-384"},
    {AVOW_HASH_SHA512, 64, "sha512", "SHA2-512"},
};
#define HASH_COUNT AVOW_ARRAY_LEN(HASHES)

/* Fetching an algorithm takes locks and a lookup by name, many times the price of hashing an IMA
 * entry, so it is done once per process. Contexts are per thread: they are the only thing that
 * hashing changes. */
static pthread_once_t fetch_once = PTHREAD_ONCE_INIT;
static pthread_key_t contexts_key;
static EVP_MD *fetched_md[HASH_COUNT];
static EVP_MAC *fetched_hmac;

struct contexts {
    EVP_MD_CTX *started[HASH_COUNT]; /* copied: cheaper than starting, which looks for engines */
    EVP_MD_CTX *md[HASH_COUNT];
    EVP_MAC_CTX *hmac[HASH_COUNT]; /* each keeps its digest: setting it means another fetch */
};
static _Thread_local struct contexts *thread_contexts;

static void must(int ok)
{
    if (!ok)
        abort(); /* algorithms were checked at start; what remains is out of memory in a few bytes
                  */
}

static void contexts_free(void *p)
{
    struct contexts *c = p;
    for (size_t i = 0; i < HASH_COUNT; i++) {
        EVP_MD_CTX_free(c->started[i]);
        EVP_MD_CTX_free(c->md[i]);
        EVP_MAC_CTX_free(c->hmac[i]);
    }
    free(c);
    thread_contexts = NULL;
}

static void fetch_all(void)
{
    for (size_t i = 0; i < HASH_COUNT; i++)
        must((fetched_md[i] = EVP_MD_fetch(NULL, HASHES[i].openssl_name, NULL)) != NULL);
    must((fetched_hmac = EVP_MAC_fetch(NULL, "HMAC", NULL)) != NULL);
    must(pthread_key_create(&contexts_key, contexts_free) == 0);
}

static struct contexts *contexts_get(void)
{
    if (thread_contexts)
        return thread_contexts;
    must(pthread_once(&fetch_once, fetch_all) == 0);
    struct contexts *c = calloc(1, sizeof *c);
    must(c != NULL);
    for (size_t i = 0; i < HASH_COUNT; i++) {
        must((c->md[i] = EVP_MD_CTX_new()) != NULL);
        must((c->started[i] = EVP_MD_CTX_new()) != NULL);
        must(EVP_DigestInit_ex2(c->started[i], fetched_md[i], NULL));
    }
    must(pthread_setspecific(contexts_key, c) == 0);
    thread_contexts = c;
    return c;
}

static size_t hash_index(enum avow_hash alg)
{
    for (size_t i = 0; i < HASH_COUNT; i++)
        if (HASHES[i].alg == alg)
            return i;
    return HASH_COUNT;
}

size_t avow_hash_len(enum avow_hash alg)
{
    size_t i = hash_index(alg);
    return i < HASH_COUNT ? HASHES[i].len : 0;
}

const char *avow_hash_name(enum avow_hash alg)
{
    size_t i = hash_index(alg);
    return i < HASH_COUNT ? HASHES[i].name : NULL;
}

bool avow_hash_from_name(struct avow_str name, enum avow_hash *out)
{
    for (size_t i = 0; i < HASH_COUNT; i++) {
        if (avow_str_is(name, HASHES[i].name)) {
            *out = HASHES[i].alg;
            return true;
        }
    }
    return false;
}

const EVP_MD *avow_hash_evp(enum avow_hash alg)
{
    size_t i = hash_index(alg);
    must(pthread_once(&fetch_once, fetch_all) == 0);
    return i < HASH_COUNT ? fetched_md[i] : NULL;
}

const char *avow_hash_openssl_name(enum avow_hash alg)
{
    size_t i = hash_index(alg);
    return i < HASH_COUNT ? HASHES[i].openssl_name : NULL;
}

/* Handing OpenSSL 32 bytes costs as much as hashing them, and the digest of 24 PCRs has 24 such
 * pieces: small ones are put together first. */
#define JOINED_MAX 1024u

struct joined {
    EVP_MD_CTX *md;
    size_t len, wipe;
    uint8_t bytes[JOINED_MAX];
};

static void joined_flush(struct joined *j)
{
    if (j->len)
        must(EVP_DigestUpdate(j->md, j->bytes, j->len));
    if (j->wipe < j->len)
        j->wipe = j->len;
    j->len = 0;
}

static void joined_put(struct joined *j, struct avow_bytes piece)
{
    if (piece.len > sizeof j->bytes - j->len)
        joined_flush(j);
    if (piece.len > sizeof j->bytes) {
        must(EVP_DigestUpdate(j->md, piece.ptr, piece.len));
    } else if (piece.len == AVOW_SHA256_LEN) { /* nearly all: a copy without a call */
        memcpy(j->bytes + j->len, piece.ptr, AVOW_SHA256_LEN);
        j->len += AVOW_SHA256_LEN;
    } else if (piece.len) {
        memcpy(j->bytes + j->len, piece.ptr, piece.len);
        j->len += piece.len;
    }
}

static EVP_MD_CTX *hash_start(size_t row)
{
    struct contexts *c = contexts_get();
    must(EVP_MD_CTX_copy_ex(c->md[row], c->started[row]));
    return c->md[row];
}

static void hash_one(size_t row, struct avow_bytes in, uint8_t *out)
{
    EVP_MD_CTX *md = hash_start(row);
    must(EVP_DigestUpdate(md, in.ptr, in.len));
    must(EVP_DigestFinal_ex(md, out, NULL));
}

static void hash_pieces(size_t row, const struct avow_bytes *pieces, size_t n, uint8_t *out)
{
    struct joined j;
    if (n == 1) {
        hash_one(row, pieces[0], out);
        return;
    }
    j.md = hash_start(row);
    j.len = j.wipe = 0;
    for (size_t i = 0; i < n; i++)
        joined_put(&j, pieces[i]);
    joined_flush(&j);
    avow_wipe(j.bytes, j.wipe); /* a piece may be a secret */
    must(EVP_DigestFinal_ex(j.md, out, NULL));
}

void avow_digest_pieces(enum avow_hash alg, const struct avow_bytes *pieces, size_t n,
                        struct avow_digest *out)
{
    size_t row = hash_index(alg);
    assert(row < HASH_COUNT);
    hash_pieces(row, pieces, n, out->bytes);
    out->len = HASHES[row].len;
}

void avow_digest(enum avow_hash alg, struct avow_bytes in, struct avow_digest *out)
{
    avow_digest_pieces(alg, &in, 1, out);
}

void avow_sha256_pieces(const struct avow_bytes *pieces, size_t n, uint8_t out[32])
{
    hash_pieces(1, pieces, n, out);
}

void avow_sha256(struct avow_bytes in, uint8_t out[32])
{
    hash_one(1, in, out);
}

static EVP_MAC_CTX *hmac_context(size_t row)
{
    struct contexts *c = contexts_get();
    if (c->hmac[row])
        return c->hmac[row];
    EVP_MAC_CTX *ctx = EVP_MAC_CTX_new(fetched_hmac);
    must(ctx != NULL);
    char name[16];
    must(avow_str_copy(name, sizeof name, avow_str_from(HASHES[row].openssl_name)));
    OSSL_PARAM params[] = {OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, name, 0),
                           OSSL_PARAM_construct_end()};
    must(EVP_MAC_CTX_set_params(ctx, params));
    c->hmac[row] = ctx;
    return ctx;
}

void avow_hmac(enum avow_hash alg, struct avow_bytes key, const struct avow_bytes *pieces, size_t n,
               struct avow_digest *out)
{
    static const uint8_t no_key[1] = {0};
    size_t row = hash_index(alg);
    assert(row < HASH_COUNT);
    EVP_MAC_CTX *ctx = hmac_context(row);
    /* OpenSSL reads a NULL key as "the key of the last use". */
    must(EVP_MAC_init(ctx, key.len ? key.ptr : no_key, key.len, NULL));
    for (size_t i = 0; i < n; i++)
        must(EVP_MAC_update(ctx, pieces[i].ptr, pieces[i].len));
    must(EVP_MAC_final(ctx, out->bytes, &out->len, sizeof out->bytes));
}

struct avow_bytes avow_digest_bytes(const struct avow_digest *d)
{
    return avow_bytes_make(d->bytes, d->len);
}
