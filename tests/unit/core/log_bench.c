/* log_bench.c - see log_bench.h. */
#include "log_bench.h"

#include "avow/base/file.h"

#include <stdio.h>
#include <string.h>

#include "avow/base/banned.h"

void bench_init(struct bench *b, const char *machine)
{
    struct avow_event_walk w;
    struct avow_event e;
    char path[512];
    (void)snprintf(path, sizeof path, "%s/captures/%s/binary_bios_measurements", AVOW_TEST_VECTORS,
                   machine);
    *b = (struct bench){.count = 0};
    avow_buf_init(&b->file, LOG_MAX);
    avow_buf_init(&b->rebuilt, LOG_MAX);
    avow_arena_init(&b->arena, LOG_MAX);
    assert_int_equal(avow_file_read(path, &b->file, NULL), AVOW_OK);
    assert_int_equal(avow_event_log_parse(avow_buf_bytes(&b->file), &b->log, NULL), AVOW_OK);
    avow_event_replay(&b->log, &b->replay);
    avow_event_walk_init(&w, &b->log);
    while (avow_event_walk_next(&w, &e)) {
        struct ev *to = &b->events[b->count++];
        assert_true(b->count < EVENTS_MAX);
        *to = (struct ev){
            e.pcr, e.untrusted_type, {{0, {NULL, 0}}}, e.digests_count, e.untrusted_data};
        memcpy(to->digests, e.digests, sizeof to->digests);
    }
}

void bench_deinit(struct bench *b)
{
    avow_buf_deinit(&b->file);
    avow_buf_deinit(&b->rebuilt);
    avow_arena_deinit(&b->arena);
}

static void put_u32(struct avow_buf *b, uint32_t v)
{
    uint8_t raw[4];
    avow_put_u32le(raw, v);
    avow_buf_put(b, raw, sizeof raw);
}

static void put_event(struct avow_buf *b, const struct ev *e, bool header)
{
    put_u32(b, e->pcr);
    put_u32(b, e->type);
    if (!header)
        put_u32(b, (uint32_t)e->digests_count);
    for (size_t i = 0; i < e->digests_count; i++) {
        if (!header) {
            avow_buf_put_u8(b, (uint8_t)e->digests[i].alg);
            avow_buf_put_u8(b, (uint8_t)(e->digests[i].alg >> 8));
        }
        avow_buf_put(b, e->digests[i].value.ptr, e->digests[i].value.len);
    }
    put_u32(b, (uint32_t)e->data.len);
    avow_buf_put(b, e->data.ptr, e->data.len);
}

void rebuild(struct bench *b)
{
    avow_buf_reset(&b->rebuilt);
    for (size_t i = 0; i < b->count; i++)
        put_event(&b->rebuilt, &b->events[i], i == 0);
    assert_int_equal(avow_event_log_parse(avow_buf_bytes(&b->rebuilt), &b->log, NULL), AVOW_OK);
    avow_event_replay(&b->log, &b->replay);
}

static void listen(void *arg, const struct avow_boot_complaint *c)
{
    struct told *t = arg;
    size_t len = strlen(t->text);
    t->count++;
    t->ids[c->id]++;
    assert_non_null(c->detail);
    assert_true(strlen(c->detail) <= 500);
    assert_true(avow_utf8_is_valid(avow_str_from(c->detail)));
    (void)snprintf(t->text + len, sizeof t->text - len, "  event %lld PCR %d %s: %s\n",
                   (long long)c->event, (int)c->pcr, avow_finding_def_of(c->id)->id, c->detail);
}

struct told judge(const struct bench *b, const char *policy)
{
    struct told t = {.count = 0};
    struct avow_boot_policy *p = NULL;
    struct avow_arena arena;
    struct avow_err err = {.rc = AVOW_OK};
    avow_arena_init(&arena, LOG_MAX);
    if (avow_boot_policy_load(avow_bytes_make(policy, strlen(policy)), &p, &err))
        fail_msg("%s\n%s", err.msg, policy);
    const struct avow_boot_judge j = {&b->log, &b->replay, &arena, listen, &t};
    assert_int_equal(avow_boot_policy_judge(p, &j, NULL), AVOW_OK);
    avow_boot_policy_free(p);
    avow_arena_deinit(&arena);
    return t;
}

struct avow_bytes keep(struct bench *b, const void *data, size_t len)
{
    struct avow_bytes copy = avow_arena_bytes(&b->arena, avow_bytes_make(data, len));
    assert_true(copy.ptr || !len);
    return copy;
}

void measure(struct bench *b, struct ev *e, struct avow_bytes what)
{
    for (size_t i = 0; i < e->digests_count; i++) {
        struct avow_digest d;
        avow_digest((enum avow_hash)e->digests[i].alg, what, &d);
        e->digests[i].value = keep(b, d.bytes, d.len);
    }
}

struct ev *nth(struct bench *b, uint32_t pcr, size_t n)
{
    for (size_t i = 1; i < b->count; i++) {
        if (b->events[i].pcr == pcr && n-- == 0)
            return &b->events[i];
    }
    fail_msg("no such event of PCR %u", (unsigned)pcr);
    return NULL;
}

struct ev *with_text(struct bench *b, const char *text)
{
    for (size_t i = 1; i < b->count; i++) {
        struct avow_str s = {(const char *)b->events[i].data.ptr, b->events[i].data.len};
        if (avow_str_starts(s, text))
            return &b->events[i];
    }
    fail_msg("no event begins with %s", text);
    return NULL;
}

struct ev *with_variable(struct bench *b, uint32_t type, const char *name)
{
    for (size_t i = 1; i < b->count; i++) {
        struct avow_event_variable v;
        size_t len = strlen(name), k = 0;
        if (b->events[i].type != type || !avow_event_variable_parse(b->events[i].data, &v) ||
            v.name.len != 2 * len)
            continue;
        while (k < len && v.name.ptr[2 * k] == (uint8_t)name[k])
            k++;
        if (k == len)
            return &b->events[i];
    }
    fail_msg("no variable %s", name);
    return NULL;
}

struct ev *extend(struct bench *b, const struct ev *like)
{
    assert_true(b->count < EVENTS_MAX);
    b->events[b->count] = *like;
    return &b->events[b->count++];
}

void drop(struct bench *b, struct ev *e)
{
    size_t i = (size_t)(e - b->events);
    memmove(e, e + 1, (b->count - i - 1) * sizeof *e);
    b->count--;
}

void set_text(struct bench *b, struct ev *e, const char *label, const char *text)
{
    char all[2048];
    int n = snprintf(all, sizeof all, "%s%s", label, text);
    e->data = keep(b, all, (size_t)n + 1);
}

void change_last(struct bench *b, struct ev *e)
{
    uint8_t copy[8192];
    assert_true(e->data.len && e->data.len <= sizeof copy);
    memcpy(copy, e->data.ptr, e->data.len);
    copy[e->data.len - 1] ^= 1;
    e->data = keep(b, copy, e->data.len);
}
