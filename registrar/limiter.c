#include "limiter.h"

#include "avow/base/rate.h"
#include "avow/crypto/digest.h"
#include "avow/crypto/rng.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "avow/base/banned.h"

#define SETS 4096u
#define WAYS 4u

struct bucket {
    uint64_t tag; /* 0: free */
    struct avow_rate rate;
};

struct avow_limiter {
    pthread_mutex_t mutex;
    uint8_t key[32];
    uint32_t burst;
    uint64_t refill_ms;
    struct bucket buckets[SETS][WAYS];
};

enum avow_rc avow_limiter_new(uint32_t per_minute, struct avow_limiter **out, struct avow_err *err)
{
    if (!per_minute) {
        *out = NULL;
        return AVOW_OK;
    }
    struct avow_limiter *l = calloc(1, sizeof *l);
    if (!l)
        return avow_err_set(err, AVOW_NOMEM, 0, "limiter");
    enum avow_rc rc = avow_rng_fill(l->key, sizeof l->key, err);
    if (rc) {
        free(l);
        return rc;
    }
    pthread_mutex_init(&l->mutex, NULL);
    l->burst = per_minute;
    /* Whole milliseconds: over 60 000 a minute is as good as no limit. */
    l->refill_ms = per_minute >= 60000 ? 1 : 60000 / per_minute;
    *out = l;
    return AVOW_OK;
}

void avow_limiter_free(struct avow_limiter *l)
{
    if (!l)
        return;
    pthread_mutex_destroy(&l->mutex);
    free(l);
}

static uint64_t hash(const struct avow_limiter *l, struct avow_str a, struct avow_str b)
{
    uint8_t digest[32];
    struct avow_bytes pieces[] = {AVOW_BYTES_OF(l->key), avow_bytes_make(a.ptr, a.len),
                                  AVOW_BYTES_OF((const uint8_t[]){0}),
                                  avow_bytes_make(b.ptr, b.len)};
    uint64_t h = 0;
    avow_sha256_pieces(pieces, AVOW_ARRAY_LEN(pieces), digest);
    for (size_t i = 0; i < sizeof h; i++)
        h = h << 8 | digest[i];
    return h ? h : 1;
}

static struct bucket *find(struct avow_limiter *l, uint64_t h, uint64_t now_ms)
{
    struct bucket *set = l->buckets[h % SETS], *least = &set[0];
    for (size_t i = 0; i < WAYS; i++) {
        if (set[i].tag == h)
            return &set[i];
        if (set[i].tag)
            (void)avow_rate_wait_ms(&set[i].rate, now_ms); /* what has flowed in since */
        if (least->tag && (!set[i].tag || set[i].rate.tokens_milli > least->rate.tokens_milli))
            least = &set[i];
    }
    least->tag = h;
    avow_rate_init(&least->rate, l->burst, l->refill_ms, now_ms);
    return least;
}

bool avow_limiter_take(struct avow_limiter *l, struct avow_str a, struct avow_str b,
                       uint64_t now_ms, unsigned *wait_s)
{
    if (!l)
        return true;
    uint64_t h = hash(l, a, b);
    pthread_mutex_lock(&l->mutex);
    struct bucket *bucket = find(l, h, now_ms);
    bool taken = avow_rate_take(&bucket->rate, now_ms);
    uint64_t wait_ms = taken ? 0 : avow_rate_wait_ms(&bucket->rate, now_ms);
    pthread_mutex_unlock(&l->mutex);
    if (!taken)
        *wait_s = (unsigned)(wait_ms / 1000) + 1;
    return taken;
}
