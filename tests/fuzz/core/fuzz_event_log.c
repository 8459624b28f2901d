/* fuzz_event_log.c - firmware logs: parser, data, replay and binding. Oracle: a log that parses is
 * walked to its last byte; what is borrowed lies within it; what is called bound was hashed; and
 * text is UTF-8. */
#include "avow/core/event_replay.h"

#include "avow/base/cleanup.h"

#include <stdlib.h>
#include <string.h>

#include "avow/base/banned.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define CHECK(x)                                                                                   \
    do {                                                                                           \
        if (!(x))                                                                                  \
            abort();                                                                               \
    } while (0)

static bool within(struct avow_bytes in, struct avow_bytes part)
{
    return !part.len || (part.ptr >= in.ptr && part.ptr + part.len <= in.ptr + in.len);
}

static void check_event(const struct avow_event_log *log, const struct avow_event *e)
{
    CHECK(e->digests_count <= log->algs_count && within(log->in, e->untrusted_data));
    CHECK(e->untrusted_data.len <= AVOW_EVENT_DATA_MAX);
    CHECK(e->pcr < AVOW_EVENT_PCRS || e->untrusted_type == AVOW_EV_NO_ACTION);
    for (size_t i = 0; i < e->digests_count; i++) {
        struct avow_bytes d = avow_event_digest_of(e, e->digests[i].alg);
        CHECK(d.ptr == e->digests[i].value.ptr && d.len == e->digests[i].value.len);
        CHECK(within(log->in, d) && d.len && d.len <= AVOW_EVENT_DIGEST_LEN_MAX);
    }
}

static void check_data(const struct avow_event *e)
{
    AVOW_CLEANUP_VAL(avow_buf_deinit) struct avow_buf text;
    struct avow_event_variable v;
    avow_buf_init(&text, 4u * AVOW_EVENT_DATA_MAX);
    if (avow_event_put_text(&text, e))
        CHECK(text.len && avow_utf8_is_valid((struct avow_str){(char *)text.ptr, text.len}));
    else
        CHECK(!text.len);
    avow_buf_reset(&text);
    avow_event_put_utf16(&text, e->untrusted_data);
    CHECK(!text.failed && text.len >= e->untrusted_data.len / 2);
    for (size_t i = 0; i < text.len; i++)
        text.ptr[i] = text.ptr[i] ? text.ptr[i] : ' '; /* what is not text otherwise */
    CHECK(avow_utf8_is_valid((struct avow_str){(char *)text.ptr, text.len}));
    if (avow_event_variable_parse(e->untrusted_data, &v))
        CHECK(v.guid.len + 16 + v.name.len + v.value.len == e->untrusted_data.len);
}

/* The section names of unified kernels are the one form that is not hashed as it stands. */
static void check_binding(const struct avow_event *e, const struct avow_event_replay *r)
{
    struct avow_event_binding b = avow_event_bind(e, r);
    CHECK(b.bound == AVOW_EVENT_BOUND || !b.covered.len);
    if (b.bound != AVOW_EVENT_BOUND || e->untrusted_type == AVOW_EV_IPL)
        return;
    CHECK(within(e->untrusted_data, b.covered) && r->banks_count);
    for (size_t i = 0; i < r->banks_count; i++) {
        struct avow_digest d;
        avow_digest(r->banks[i].alg, b.covered, &d);
        CHECK(avow_bytes_eq(avow_digest_bytes(&d),
                            avow_event_digest_of(e, (uint16_t)r->banks[i].alg)));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct avow_bytes in = {data, size};
    struct avow_event_log log = {.count = 77};
    struct avow_event_replay r;
    struct avow_event_walk w;
    struct avow_event e;
    struct avow_err err = {.rc = AVOW_OK};
    size_t n = 0, at = 0;
    enum avow_rc rc = avow_event_log_parse(in, &log, &err);
    if (rc) {
        CHECK(log.count == 77 && err.msg[0] && (rc == AVOW_PARSE || rc == AVOW_LIMIT));
        return 0;
    }
    CHECK(log.count && log.count <= AVOW_EVENTS_MAX && log.algs_count);
    avow_event_replay(&log, &r);
    avow_event_walk_init(&w, &log);
    while (avow_event_walk_next(&w, &e)) {
        CHECK(e.index == n++ && e.offset == at);
        at = (size_t)(w.rd.p - in.ptr);
        CHECK(at > e.offset && !w.rd.bad);
        check_event(&log, &e);
        check_data(&e);
        check_binding(&e, &r);
    }
    CHECK(n == log.count && at == size);
    return 0;
}
