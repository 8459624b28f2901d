#include "policies.h"

#include "avow/base/hex.h"
#include "avow/core/runtime_policy.h"
#include "avow/crypto/digest.h"
#include "avow/trust/records.h"
#include "avow/wire/policy_chunk.h"
#include "reader.h"

#include <stdio.h>

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

static enum avow_rc list_put(struct avow_policy_list *l, const struct avow_policy_head *head,
                             struct avow_err *err)
{
    struct avow_str name = {head->key.ptr + sizeof HEAD_PREFIX - 1,
                            head->key.len - (sizeof HEAD_PREFIX - 1)};
    for (size_t i = 0; i < l->count; i++) {
        if (!avow_str_eq(l->items[i].name, name))
            continue;
        if (head->generation > l->items[i].head.generation)
            l->items[i] = (struct avow_policy_entry){*head, name};
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
    struct avow_err why;
    if (avow_open_policy_head(r->cli->trust, &in, &r->list->arena, &head, &why)) {
        r->list->refused++;
        return AVOW_OK;
    }
    return list_put(r->list, &head, err);
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
    return avow_read_topic(cli, "policies", NULL, list_record, &reading, err);
}

struct document_reading {
    const struct avow_policy_head *head;
    char prefix[80]; /* blob/<sha256>/ */
    uint8_t *bytes;  /* head->bytes, owned by the arena */
    uint8_t *seen;   /* one per chunk */
    uint32_t missing;
    struct avow_arena *arena;
};

/* Every chunk but the last has the same size; its place follows from its index. */
static enum avow_rc document_record(void *arg, const struct avow_bus_msg *msg, struct avow_err *err)
{
    struct document_reading *d = arg;
    struct avow_str key = {(const char *)msg->key.ptr, msg->key.len};
    struct avow_policy_chunk chunk;
    struct avow_err why;
    (void)err;
    if (msg->value_null || !avow_str_starts(key, d->prefix) ||
        avow_policy_chunk_decode(msg->value, d->arena, &chunk, &why))
        return AVOW_OK;
    if (chunk.index >= d->head->chunks || d->seen[chunk.index])
        return AVOW_OK;
    uint64_t size =
        chunk.index + 1 < d->head->chunks ? chunk.bytes.len : d->head->bytes - chunk.bytes.len;
    uint64_t at = chunk.index + 1 < d->head->chunks ? chunk.index * size : size;
    if (chunk.bytes.len > d->head->bytes || at > d->head->bytes - chunk.bytes.len)
        return AVOW_OK;
    for (size_t i = 0; i < chunk.bytes.len; i++)
        d->bytes[at + i] = chunk.bytes.ptr[i];
    d->seen[chunk.index] = 1;
    d->missing--;
    return AVOW_OK;
}

enum avow_rc avow_policy_document_read(struct avow_cli *cli, const struct avow_policy_head *head,
                                       struct avow_buf *out, struct avow_err *err)
{
    struct avow_arena arena;
    char hex[65];
    uint8_t sum[32];
    if (head->bytes > AVOW_POLICY_MAX || head->chunks == 0 || head->chunks > head->bytes + 1)
        return avow_err_set(err, AVOW_LIMIT, 0, "the head names an impossible document");
    avow_hex_encode(hex, AVOW_BYTES_OF(head->sha256));
    avow_arena_init(&arena, 2 * (size_t)AVOW_POLICY_MAX + 4096);
    struct document_reading d = {.head = head, .missing = head->chunks, .arena = &arena};
    snprintf(d.prefix, sizeof d.prefix, "blob/%s/", hex);
    d.bytes = avow_arena_alloc(&arena, (size_t)head->bytes, 1);
    d.seen = avow_arena_alloc(&arena, head->chunks, 1);
    enum avow_rc rc = d.bytes && d.seen ? AVOW_OK : avow_err_set(err, AVOW_NOMEM, 0, "policy");
    if (!rc)
        rc = avow_read_topic(cli, "policies", NULL, document_record, &d, err);
    if (!rc && d.missing)
        rc = avow_err_set(err, AVOW_NOTFOUND, 0, "%u of %u chunks are not on the topic",
                          (unsigned)d.missing, (unsigned)head->chunks);
    if (!rc) {
        avow_sha256(avow_bytes_make(d.bytes, (size_t)head->bytes), sum);
        if (!avow_ct_eq(sum, head->sha256, sizeof sum))
            rc = avow_err_set(err, AVOW_UNTRUSTED, 0, "the chunks do not give the named digest");
    }
    if (!rc) {
        avow_buf_put(out, d.bytes, (size_t)head->bytes);
        rc = avow_buf_status(out, err);
    }
    avow_arena_deinit(&arena);
    return rc;
}
