/* marker_book.c - see marker_book.h. */
#include "marker_book.h"

#include "avow/base/num.h"
#include "avow/crypto/digest.h"

#include <stdlib.h>
#include <string.h>

#include "avow/base/banned.h"

enum check { CHECK_OPEN = 0, CHECK_GOOD, CHECK_BAD };

struct avow_marker_book_entry {
    uint64_t epoch;
    uint8_t tag[8];
    enum check check;
    uint8_t *record; /* owned */
    size_t record_len;
};

void avow_marker_tag(const uint8_t nonce[32], uint8_t out[8])
{
    uint8_t digest[AVOW_SHA256_LEN];
    avow_sha256(avow_bytes_make(nonce, 32), digest);
    memcpy(out, digest, 8);
}

void avow_marker_book_init(struct avow_marker_book *b, uint64_t epoch_ms,
                           avow_marker_book_verify_fn verify, void *arg)
{
    *b = (struct avow_marker_book){.epoch_ms = epoch_ms, .verify = verify, .arg = arg};
}

void avow_marker_book_deinit(struct avow_marker_book *b)
{
    for (size_t i = 0; i < b->count; i++)
        free(b->entries[i].record);
    free(b->entries);
    *b = (struct avow_marker_book){0};
}

static struct avow_bytes record_of(const struct avow_marker_book_entry *e)
{
    return avow_bytes_make(e->record, e->record_len);
}

static bool is_good(struct avow_marker_book *b, struct avow_marker_book_entry *e)
{
    if (e->check == CHECK_OPEN)
        e->check = b->verify(b->arg, record_of(e)) ? CHECK_GOOD : CHECK_BAD;
    return e->check == CHECK_GOOD;
}

/* Index of the first entry with epoch >= `epoch`. */
static size_t lower_bound(const struct avow_marker_book *b, uint64_t epoch)
{
    size_t lo = 0, hi = b->count;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if (b->entries[mid].epoch < epoch)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

static void remove_range(struct avow_marker_book *b, size_t from, size_t n)
{
    if (!n)
        return;
    for (size_t i = 0; i < n; i++)
        free(b->entries[from + i].record);
    memmove(&b->entries[from], &b->entries[from + n], (b->count - from - n) * sizeof *b->entries);
    b->count -= n;
}

static uint64_t oldest_epoch(const struct avow_marker_book *b, uint64_t unix_ms)
{
    uint64_t now = unix_ms / b->epoch_ms, keep = AVOW_MARKER_BOOK_KEEP_MS / b->epoch_ms;
    return now > keep ? now - keep : 0;
}

/* Forgets what is too old. Runs only when a quarter could go, so that it costs nothing on average.
 */
static void prune(struct avow_marker_book *b, uint64_t unix_ms)
{
    size_t old = lower_bound(b, oldest_epoch(b, unix_ms));
    if (old > b->count / 4)
        remove_range(b, 0, old);
    if (b->count >= AVOW_MARKER_BOOK_MAX)
        remove_range(b, 0, b->count / 4);
}

static enum avow_rc grow(struct avow_marker_book *b, struct avow_err *err)
{
    if (b->count < b->cap)
        return AVOW_OK;
    size_t cap = b->cap ? b->cap * 2 : 64, bytes;
    if (!avow_size_mul(cap, sizeof *b->entries, &bytes))
        return avow_err_set(err, AVOW_NOMEM, 0, "markers");
    struct avow_marker_book_entry *grown = realloc(b->entries, bytes);
    if (!grown)
        return avow_err_set(err, AVOW_NOMEM, 0, "markers");
    b->entries = grown;
    b->cap = cap;
    return AVOW_OK;
}

static enum avow_rc insert(struct avow_marker_book *b, size_t at,
                           const struct avow_marker_book_add *in, const uint8_t tag[8],
                           struct avow_err *err)
{
    enum avow_rc rc = grow(b, err);
    if (rc)
        return rc;
    uint8_t *copy = malloc(in->record.len ? in->record.len : 1);
    if (!copy)
        return avow_err_set(err, AVOW_NOMEM, 0, "markers");
    memcpy(copy, in->record.ptr, in->record.len);
    memmove(&b->entries[at + 1], &b->entries[at], (b->count - at) * sizeof *b->entries);
    b->entries[at] = (struct avow_marker_book_entry){.epoch = in->marker->epoch,
                                                     .check = in->own ? CHECK_GOOD : CHECK_OPEN,
                                                     .record = copy,
                                                     .record_len = in->record.len};
    memcpy(b->entries[at].tag, tag, 8);
    b->count++;
    return AVOW_OK;
}

/* Drops entries of one epoch whose signature is bad, so that forgeries cannot use up its four
 * places. Returns the number of good ones; *end is the index after them. */
static size_t settle_epoch(struct avow_marker_book *b, uint64_t epoch, size_t *end)
{
    size_t i = lower_bound(b, epoch), good = 0;
    while (i < b->count && b->entries[i].epoch == epoch) {
        if (is_good(b, &b->entries[i])) {
            good++;
            i++;
        } else {
            remove_range(b, i, 1);
        }
    }
    *end = i;
    return good;
}

static bool has_tag(const struct avow_marker_book *b, uint64_t epoch, const uint8_t tag[8])
{
    for (size_t i = lower_bound(b, epoch); i < b->count && b->entries[i].epoch == epoch; i++) {
        if (avow_ct_eq(b->entries[i].tag, tag, 8))
            return true;
    }
    return false;
}

static bool too_late(struct avow_marker_book *b, const struct avow_marker_book_add *in)
{
    if (in->marker->epoch < oldest_epoch(b, in->unix_ms))
        return true;
    return in->live && b->count &&
           in->marker->epoch + AVOW_MARKER_BOOK_LATE_EPOCHS < b->entries[b->count - 1].epoch;
}

enum avow_rc avow_marker_book_add(struct avow_marker_book *b, const struct avow_marker_book_add *in,
                                  enum avow_marker_book_added *out, struct avow_err *err)
{
    uint64_t epoch = in->marker->epoch;
    uint8_t tag[8];
    avow_marker_tag(in->marker->nonce, tag);
    *out = AVOW_MARKER_BOOK_OLD;
    if (too_late(b, in))
        return AVOW_OK;
    if (epoch > in->unix_ms / b->epoch_ms + 1) {
        *out = in->own || b->verify(b->arg, in->record) ? AVOW_MARKER_BOOK_FUTURE
                                                        : AVOW_MARKER_BOOK_REFUSED;
        return AVOW_OK;
    }
    prune(b, in->unix_ms);
    size_t at = lower_bound(b, epoch + 1);
    bool alone = at == 0 || b->entries[at - 1].epoch != epoch;
    if (alone && !in->live) {
        *out = AVOW_MARKER_BOOK_ADDED;
        return insert(b, at, in, tag, err);
    }
    size_t good = settle_epoch(b, epoch, &at);
    *out = AVOW_MARKER_BOOK_KNOWN;
    if (has_tag(b, epoch, tag))
        return AVOW_OK;
    *out = AVOW_MARKER_BOOK_REFUSED;
    if (good >= AVOW_MARKER_BOOK_TWINS || (!in->own && !b->verify(b->arg, in->record)))
        return AVOW_OK;
    *out = good ? AVOW_MARKER_BOOK_TWIN : AVOW_MARKER_BOOK_ADDED;
    enum avow_rc rc = insert(b, at, in, tag, err);
    if (!rc)
        b->entries[at].check = CHECK_GOOD;
    return rc;
}

enum avow_marker_book_found avow_marker_book_find(struct avow_marker_book *b, uint64_t epoch,
                                                  const uint8_t tag[8], uint64_t unix_ms,
                                                  struct avow_bytes *record)
{
    if (epoch < oldest_epoch(b, unix_ms))
        return AVOW_MARKER_BOOK_EXPIRED;
    for (size_t i = lower_bound(b, epoch); i < b->count && b->entries[i].epoch == epoch; i++) {
        struct avow_marker_book_entry *e = &b->entries[i];
        if (avow_ct_eq(e->tag, tag, 8) && is_good(b, e)) {
            *record = record_of(e);
            return AVOW_MARKER_BOOK_FOUND;
        }
    }
    return AVOW_MARKER_BOOK_UNKNOWN;
}

bool avow_marker_book_newest(struct avow_marker_book *b, struct avow_bytes *record)
{
    for (size_t i = b->count; i > 0; i--) {
        if (is_good(b, &b->entries[i - 1])) {
            *record = record_of(&b->entries[i - 1]);
            return true;
        }
    }
    return false;
}

void avow_marker_book_distrust(struct avow_marker_book *b)
{
    for (size_t i = 0; i < b->count; i++)
        b->entries[i].check = CHECK_OPEN;
}
