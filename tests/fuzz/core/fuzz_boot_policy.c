/* fuzz_boot_policy.c - a boot policy and a log to judge by it. Input: length of the policy in two
 * bytes, policy, log. Oracle: a policy that is refused says why; a judgement is the same twice, and
 * what it says lies within the log and is text; a policy made of the log accepts it. */
#include "avow/core/boot_make.h"
#include "avow/core/boot_policy.h"

#include <stdlib.h>
#include <string.h>

#include "avow/base/banned.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define CHECK(x)                                                                                   \
    do {                                                                                           \
        if (!(x))                                                                                  \
            abort();                                                                               \
    } while (0)

#define DETAILS_MAX (1u << 20)

struct told {
    const struct avow_event_log *log;
    size_t count, sum;
};

static void listen(void *arg, const struct avow_boot_complaint *c)
{
    struct told *t = arg;
    struct avow_str detail = avow_str_from(c->detail);
    CHECK(c->id < AVOW_FINDING_COUNT && c->detail && detail.len <= 500);
    CHECK(!detail.len || avow_utf8_is_valid(detail));
    CHECK(c->event >= -1 && c->event < (int64_t)t->log->count);
    CHECK(c->pcr >= -1 && c->pcr < (int32_t)AVOW_EVENT_PCRS);
    t->count++;
    t->sum = t->sum * 31 + (size_t)c->id * 7 + (size_t)(c->event + 1);
}

static struct told judge(const struct avow_boot_policy *p, const struct avow_event_log *log,
                         const struct avow_event_replay *replay)
{
    struct avow_arena arena;
    struct told t = {.log = log};
    avow_arena_init(&arena, DETAILS_MAX);
    const struct avow_boot_judge j = {log, replay, &arena, listen, &t};
    CHECK(avow_boot_policy_judge(p, &j, NULL) == AVOW_OK);
    avow_arena_deinit(&arena);
    return t;
}

static void make(struct avow_bytes log)
{
    struct avow_buf out;
    struct avow_err err = {.rc = AVOW_OK};
    const struct avow_boot_make in = {.logs = &log, .logs_count = 1};
    avow_buf_init(&out, AVOW_BOOT_POLICY_MAX);
    enum avow_rc rc = avow_boot_policy_make(&in, &out, &err);
    CHECK((rc == AVOW_OK) == (out.len > 0) && (!rc || err.msg[0]));
    avow_buf_deinit(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct avow_rd r = avow_rd_make(avow_bytes_make(data, size));
    struct avow_bytes text = avow_rd_take(&r, avow_rd_u16be(&r));
    struct avow_bytes bytes = avow_rd_take(&r, avow_rd_left(&r));
    struct avow_boot_policy *p = NULL;
    struct avow_event_log log;
    struct avow_event_replay replay;
    struct avow_err err = {.rc = AVOW_OK};
    if (r.bad)
        return 0;
    enum avow_rc rc = avow_boot_policy_load(text, &p, &err);
    CHECK((rc == AVOW_OK) == (p != NULL) && (!rc || err.msg[0]));
    if (avow_event_log_parse(bytes, &log, NULL) == AVOW_OK) {
        avow_event_replay(&log, &replay);
        if (p) {
            struct told a = judge(p, &log, &replay), b = judge(p, &log, &replay);
            CHECK(a.count == b.count && a.sum == b.sum);
        }
        make(bytes);
    }
    if (p)
        avow_boot_policy_free(p);
    return 0;
}
