/* fuzz_refstate.c - reference states and the logs that they judge: a document, a NUL, and a log.
 * Oracle: what is read can be judged, twice alike; details are short UTF-8; and what is accepted
 * has nothing but separators in PCR 3 and 6, and nothing unbound in PCR 7. */
#include "avow/core/boot_policy.h"

#include <stdlib.h>
#include <string.h>

#include "avow/base/banned.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define DETAILS_MAX (1u << 20)
#define DETAIL_MAX 500u
#define CHECK(x)                                                                                   \
    do {                                                                                           \
        if (!(x))                                                                                  \
            abort();                                                                               \
    } while (0)

static void count(void *arg, const struct avow_boot_complaint *c)
{
    CHECK(c->detail && strlen(c->detail) <= DETAIL_MAX);
    CHECK(avow_utf8_is_valid(avow_str_from(c->detail)));
    CHECK(c->event >= -1 && c->pcr >= -1 && c->pcr < (int32_t)AVOW_EVENT_PCRS);
    ++*(size_t *)arg;
}

static size_t judge(const struct avow_boot_policy *p, const struct avow_event_log *log,
                    const struct avow_event_replay *replay)
{
    struct avow_arena arena;
    size_t n = 0;
    avow_arena_init(&arena, DETAILS_MAX);
    const struct avow_boot_judge j = {log, replay, &arena, count, &n};
    CHECK(avow_boot_policy_judge(p, &j, NULL) == AVOW_OK);
    avow_arena_deinit(&arena);
    return n;
}

static void check_accepted(const struct avow_event_log *log, const struct avow_event_replay *replay)
{
    struct avow_event_walk w;
    struct avow_event e;
    avow_event_walk_init(&w, log);
    while (avow_event_walk_next(&w, &e)) {
        if (e.untrusted_type == AVOW_EV_NO_ACTION)
            continue;
        CHECK((e.pcr != 3 && e.pcr != 6) || e.untrusted_type == AVOW_EV_SEPARATOR);
        CHECK(e.pcr != 7 || avow_event_bind(&e, replay).bound == AVOW_EVENT_BOUND);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const uint8_t *nul = size ? memchr(data, 0, size) : NULL;
    size_t len = nul ? (size_t)(nul - data) : size;
    struct avow_boot_policy *p = NULL;
    struct avow_event_log log;
    struct avow_event_replay replay;
    enum avow_rc rc = avow_boot_policy_load(avow_bytes_make(data, len), &p, NULL);
    CHECK((rc == AVOW_OK) == (p != NULL));
    if (p && avow_boot_policy_pcrs(p) == 0x43FF && nul &&
        !avow_event_log_parse(avow_bytes_make(nul + 1, size - len - 1), &log, NULL)) {
        avow_event_replay(&log, &replay);
        size_t n = judge(p, &log, &replay);
        CHECK(n == judge(p, &log, &replay));
        if (!n)
            check_accepted(&log, &replay);
    }
    avow_boot_policy_free(p);
    return 0;
}
