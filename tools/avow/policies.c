#include "policies.h"

#include "avow/base/hex.h"
#include "avow/core/runtime_policy.h"
#include "avow/crypto/digest.h"
#include "avow/trust/records.h"
#include "avow/wire/policy_chunk.h"
#include "reader.h"
#include "trust_view.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "avow/base/banned.h"

#define LIST_BYTES_MAX (64u * 1024u * 1024u)
#define HEAD_PREFIX "head/"

void avow_policy_list_deinit(struct avow_policy_list *l)
{
    avow_arena_deinit(&l->arena);
}

const struct avow_policy_entry *avow_policy_list_find(const struct avow_policy_list *l,
                                                      struct avow_str name)
{
    for (size_t i = 0; i < l->count; i++)
        if (avow_str_eq(l->items[i].name, name))
            return &l->items[i];
    return NULL;
}

bool avow_policy_entry_is_removed(const struct avow_policy_entry *e)
{
    return e->head.chunks == 0;
}

/* But for time and proof. */
static bool same_content(const struct avow_policy_head *a, const struct avow_policy_head *b)
{
    return avow_bytes_eq(AVOW_BYTES_OF(a->sha256), AVOW_BYTES_OF(b->sha256)) &&
           a->kind == b->kind && a->require_dsse == b->require_dsse;
}

static enum avow_rc list_put(struct avow_policy_list *l, const struct avow_policy_head *head,
                             struct avow_err *err)
{
    struct avow_str name = {head->key.ptr + sizeof HEAD_PREFIX - 1,
                            head->key.len - (sizeof HEAD_PREFIX - 1)};
    for (size_t i = 0; i < l->count; i++) {
        if (!avow_str_eq(l->items[i].name, name))
            continue;
        struct avow_policy_entry *known = &l->items[i];
        if (head->generation > known->head.generation)
            *known = (struct avow_policy_entry){*head, name};
        else if (head->generation < known->head.generation)
            l->older++;
        else if (!same_content(head, &known->head))
            l->conflicts++;
        return AVOW_OK;
    }
    if (l->count == l->cap) {
        size_t cap = l->cap ? 2 * l->cap : 16;
        struct avow_policy_entry *items = avow_arena_alloc(&l->arena, cap, sizeof *items);
        if (!items)
            return avow_err_set(err, AVOW_NOMEM, 0, "policy list");
        for (size_t i = 0; i < l->count; i++)
            items[i] = l->items[i];
        l->items = items;
        l->cap = cap;
    }
    l->items[l->count++] = (struct avow_policy_entry){*head, name};
    return AVOW_OK;
}

struct list_reading {
    struct avow_cli *cli;
    struct avow_policy_list *list;
};

static enum avow_rc list_record(void *arg, const struct avow_bus_msg *msg, struct avow_err *err)
{
    struct list_reading *r = arg;
    struct avow_str key = {(const char *)msg->key.ptr, msg->key.len};
    if (msg->value_null || !avow_str_starts(key, HEAD_PREFIX))
        return AVOW_OK;
    struct avow_bytes kept = avow_arena_bytes(&r->list->arena, msg->value);
    if (!kept.ptr)
        return avow_err_set(err, AVOW_NOMEM, 0, "policy list");
    struct avow_record_in in = {.kafka_key = msg->key, .value = kept, .partition = msg->partition};
    struct avow_policy_head head;
    if (avow_open_policy_head(r->cli->trust, &in, &r->list->arena, &head, &r->list->last_refusal)) {
        r->list->refused++;
        return AVOW_OK;
    }
    return list_put(r->list, &head, err);
}

void avow_policy_list_warn(const struct avow_policy_list *l)
{
    if (l->refused)
        avow_cli_note("warning: %" PRIu64 " policy heads were refused, the last because: %s",
                      l->refused, l->last_refusal.msg);
    if (l->older)
        avow_cli_note("warning: %" PRIu64 " policy heads are older than what stood before them and "
                      "were ignored (bus.rollback)",
                      l->older);
    if (l->conflicts)
        avow_cli_note("warning: %" PRIu64 " policy heads differ from the first of their generation "
                      "and were ignored",
                      l->conflicts);
}

static int by_name(const void *a, const void *b)
{
    const struct avow_policy_entry *x = a, *y = b;
    return avow_str_cmp(x->name, y->name);
}

enum avow_rc avow_policy_list_read(struct avow_cli *cli, struct avow_policy_list *l,
                                   struct avow_err *err)
{
    *l = (struct avow_policy_list){.count = 0};
    avow_arena_init(&l->arena, LIST_BYTES_MAX);
    enum avow_rc rc = avow_cli_trust(cli, err);
    if (rc)
        return rc;
    struct list_reading reading = {cli, l};
    rc = avow_read_topic(cli, "policies", NULL, list_record, &reading, err);
    if (!rc && l->count)
        qsort(l->items, l->count, sizeof *l->items, by_name);
    return rc;
}

struct document_reading {
    const struct avow_policy_head *head;
    char prefix[80]; /* blob/<sha256>/ */
    uint8_t *bytes;  /* head->bytes */
    uint8_t *seen;   /* one per chunk */
    uint32_t missing;
};

/* Every chunk but the last has the same size, so a chunk's place follows from its index. */
static bool place_of(const struct avow_policy_head *head, const struct avow_policy_chunk *chunk,
                     uint64_t *at)
{
    bool last = chunk->index + 1 == head->chunks;
    if (chunk->bytes.len > head->bytes)
        return false;
    *at = last ? head->bytes - chunk->bytes.len : (uint64_t)chunk->index * chunk->bytes.len;
    return *at <= head->bytes - chunk->bytes.len;
}

/* Chunks are unsigned: as in a compacted topic the newest of a key counts, and the digest of the
 * whole decides. */
static enum avow_rc document_record(void *arg, const struct avow_bus_msg *msg, struct avow_err *err)
{
    struct document_reading *d = arg;
    struct avow_str key = {(const char *)msg->key.ptr, msg->key.len};
    struct avow_policy_chunk chunk;
    struct avow_err why;
    char own_key[96];
    uint64_t at = 0;
    (void)err;
    if (msg->value_null || !avow_str_starts(key, d->prefix) ||
        avow_policy_chunk_decode(msg->value, NULL, &chunk, &why))
        return AVOW_OK;
    snprintf(own_key, sizeof own_key, "%s%" PRIu32, d->prefix, chunk.index);
    if (!avow_str_is(key, own_key) || chunk.index >= d->head->chunks ||
        !place_of(d->head, &chunk, &at))
        return AVOW_OK;
    if (chunk.bytes.len)
        memcpy(d->bytes + at, chunk.bytes.ptr, chunk.bytes.len);
    if (!d->seen[chunk.index])
        d->missing--;
    d->seen[chunk.index] = 1;
    return AVOW_OK;
}

static enum avow_rc document_check(const struct document_reading *d, struct avow_err *err)
{
    uint8_t sum[32];
    if (d->missing)
        return avow_err_set(err, AVOW_STATE, 0,
                            "%" PRIu32 " of its %" PRIu32 " chunks are not on the topic",
                            d->missing, d->head->chunks);
    avow_sha256(avow_bytes_make(d->bytes, (size_t)d->head->bytes), sum);
    if (!avow_bytes_eq(AVOW_BYTES_OF(sum), AVOW_BYTES_OF(d->head->sha256)))
        return avow_err_set(err, AVOW_UNTRUSTED, 0,
                            "its chunks do not give the digest that its "
                            "head names");
    return AVOW_OK;
}

enum avow_rc avow_policy_document_read(struct avow_cli *cli, const struct avow_policy_head *head,
                                       struct avow_buf *out, struct avow_err *err)
{
    char hex[65];
    struct document_reading d = {.head = head, .missing = head->chunks};
    if (head->bytes > AVOW_POLICY_MAX || head->chunks == 0 || head->chunks > head->bytes)
        return avow_err_set(err, AVOW_LIMIT, 0, "its head names an impossible document");
    avow_hex_encode(hex, AVOW_BYTES_OF(head->sha256));
    snprintf(d.prefix, sizeof d.prefix, "blob/%s/", hex);
    d.bytes = calloc((size_t)head->bytes, 1);
    d.seen = calloc(head->chunks, 1);
    enum avow_rc rc = d.bytes && d.seen ? AVOW_OK : avow_err_set(err, AVOW_NOMEM, 0, "policy");
    if (!rc)
        rc = avow_read_topic(cli, "policies", NULL, document_record, &d, err);
    if (!rc)
        rc = document_check(&d, err);
    if (!rc) {
        avow_buf_put(out, d.bytes, (size_t)head->bytes);
        rc = avow_buf_status(out, err);
    }
    free(d.bytes);
    free(d.seen);
    return rc;
}
