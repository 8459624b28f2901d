/* test_growth.c - no input of N bytes costs more than O(N log N): each parser and each walk reads
 * hostile inputs of n, 2n and 4n, and what it does is counted in basic blocks, which depend on no
 * machine's speed. What memchr, memcmp, PCRE2 and digests do inside is not counted: docs/LIMITS.md
 * says what bounds them. */
#include "inputs.h"

#include "avow/core/appraise.h"
#include "avow/core/event_replay.h"
#include "avow/core/ima_keys.h"
#include "avow/core/runtime_policy.h"
#include "avow/formats/dsse.h"
#include "avow/formats/efi_siglist.h"
#include "avow/formats/ima_list.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "avow/base/banned.h"

#define INPUT_MAX (64u * 1024u * 1024u)
/* n log n at the sizes below is 2.2 from one size to the next; a square is 4. */
#define GROWTH_MAX 2.5

static uint64_t blocks;

void __sanitizer_cov_trace_pc(void);

/* Called by the code under test, at each of its basic blocks. */
void __sanitizer_cov_trace_pc(void)
{
    blocks++;
}

/* --- What is done with an input: false if it was refused --- */

static bool read_list(struct avow_bytes in)
{
    struct avow_ima_view v;
    struct avow_ima_entry e;
    struct avow_ima_file f;
    enum avow_ima_next got;
    size_t n = 0;
    avow_ima_view_init(&v, in);
    while ((got = avow_ima_view_next(&v, &e)) == AVOW_IMA_ENTRY)
        n += avow_ima_file_parse(&e, &f, NULL) == AVOW_OK;
    avow_ima_view_deinit(&v);
    return got == AVOW_IMA_END && n;
}

/* Against a policy that allows nothing, so that every entry is a finding. */
static bool judge_list(struct avow_bytes in)
{
    static const char text[] = "{\"meta\":{\"version\":1},\"release\":0,\"digests\":{\"/x\":["
                               "\"2222222222222222222222222222222222222222222222222222222222222222"
                               "\"]},\"excludes\":[\"/tmp/.*\"]}";
    static const struct avow_enrollment demands = {.has_runtime_policy = true};
    static const uint8_t wanted[32] = {1};
    struct avow_runtime_policy *p = NULL;
    struct avow_appraise_out out;
    struct avow_arena arena;
    assert_int_equal(avow_runtime_policy_load(avow_bytes_make(text, sizeof text - 1), &p, NULL), 0);
    const struct avow_eval_policy policy = {.runtime = p};
    const struct avow_appraise_list_in list = {.list = in,
                                               .demands = &demands,
                                               .policy = &policy,
                                               .bank = AVOW_HASH_ALG_SHA256,
                                               .pcr10 = AVOW_BYTES_OF(wanted)};
    avow_arena_init(&arena, INPUT_MAX);
    enum avow_rc rc = avow_appraise_list(&list, &arena, &out, NULL);
    avow_arena_deinit(&arena);
    avow_runtime_policy_free(p);
    return rc == AVOW_OK;
}

static bool read_keys(struct avow_bytes in)
{
    struct avow_ima_keys *keys = NULL;
    enum avow_rc rc = avow_ima_keys_load(in, &keys, NULL);
    avow_ima_keys_free(keys);
    return rc == AVOW_OK;
}

static bool read_policy(struct avow_bytes in)
{
    struct avow_runtime_policy *p = NULL;
    if (avow_runtime_policy_load(in, &p, NULL))
        return false;
    assert_true(avow_runtime_policy_is_superset(p, p));
    avow_runtime_policy_free(p);
    return true;
}

static bool read_siglist(struct avow_bytes in)
{
    struct avow_efi_siglist l;
    struct avow_efi_siglist_walk w;
    struct avow_efi_signature s;
    if (avow_efi_siglist_parse(in, &l, NULL))
        return false;
    avow_efi_siglist_walk_init(&w, &l);
    while (avow_efi_siglist_walk_next(&w, &s))
        ;
    return true;
}

static bool read_log(struct avow_bytes in)
{
    struct avow_event_log log;
    struct avow_event_replay replay;
    struct avow_event_walk w;
    struct avow_event e;
    struct avow_buf text;
    if (avow_event_log_parse(in, &log, NULL))
        return false;
    avow_event_replay(&log, &replay);
    avow_event_walk_init(&w, &log);
    avow_buf_init(&text, INPUT_MAX);
    while (avow_event_walk_next(&w, &e)) {
        (void)avow_event_bind(&e, &replay);
        avow_buf_reset(&text);
        (void)avow_event_put_text(&text, &e);
    }
    avow_buf_deinit(&text);
    return true;
}

static bool read_envelope(struct avow_bytes in)
{
    struct avow_dsse d;
    enum avow_rc rc = avow_dsse_parse(in, &d, NULL);
    avow_dsse_deinit(&d);
    return rc == AVOW_OK;
}

/* --- The table --- */

static const struct subject {
    const char *name;
    void (*make)(struct avow_buf *b, size_t n);
    bool (*read)(struct avow_bytes in);
    size_t n;
    bool refused; /* it is above a cap, or malformed, and says so as cheaply */
} subjects[] = {
    {"list: entries", growth_ima_entries, read_list, 1000, false},
    {"list: a long entry", growth_ima_long_entry, read_list, 50000, false},
    {"list: lines", growth_ima_lines, read_list, 1000, false},
    {"list: a long line", growth_ima_long_line, read_list, 50000, false},
    {"list: separators", growth_ima_colons, read_list, 400, false},
    {"appraisal: bad entries", growth_ima_entries, judge_list, 1000, false},
    {"appraisal: violations", growth_ima_violations, judge_list, 1000, false},
    {"appraisal: lines", growth_ima_lines, judge_list, 1000, false},
    {"keys: lines that begin one", growth_pem_lines, read_keys, 1000, true},
    {"policy: paths", growth_policy_paths, read_policy, 1000, false},
    {"policy: digests of one path", growth_policy_one_path, read_policy, 4000, false},
    {"policy: nesting", growth_policy_deep, read_policy, 4000, true},
    {"policy: escapes", growth_policy_escapes, read_policy, 1000, false},
    {"policy: unknown keys", growth_policy_unknown, read_policy, 1000, false},
    {"signature lists: many", growth_siglist_lists, read_siglist, 1000, false},
    {"signature lists: one", growth_siglist_one, read_siglist, 1000, false},
    {"signature lists: empty", growth_siglist_empty, read_siglist, 1000, false},
    {"log: events", growth_log_events, read_log, 1000, false},
    {"log: commands", growth_log_commands, read_log, 1000, false},
    {"log: a long event", growth_log_long_event, read_log, 50000, false},
    {"envelope: payload", growth_envelope, read_envelope, 20000, false},
    {"envelope: nesting", growth_envelope_deep, read_envelope, 4000, true},
};

struct measured {
    uint64_t blocks;
    bool as_expected; /* read or refused */
};

static struct measured work(const struct subject *s, size_t n)
{
    struct avow_buf b;
    avow_buf_init(&b, INPUT_MAX);
    s->make(&b, n);
    assert_int_equal(avow_buf_status(&b, NULL), AVOW_OK);
    blocks = 0;
    bool read = s->read(avow_buf_bytes(&b));
    struct measured done = {blocks, read != s->refused};
    avow_buf_deinit(&b);
    return done;
}

static bool grows_too_fast(uint64_t less, uint64_t more)
{
    return (double)more > GROWTH_MAX * (double)less;
}

static void test_parsers__input_doubles__work_does_not_square(void **state)
{
    (void)state;
    size_t bad = 0;
    for (size_t i = 0; i < AVOW_ARRAY_LEN(subjects); i++) {
        const struct subject *s = &subjects[i];
        (void)work(s, s->n); /* what is made once is made now */
        struct measured m[] = {work(s, s->n), work(s, 2 * s->n), work(s, 4 * s->n)};
        bool expected = m[0].as_expected && m[1].as_expected && m[2].as_expected,
             fast = grows_too_fast(m[0].blocks, m[1].blocks) ||
                    grows_too_fast(m[1].blocks, m[2].blocks);
        print_message("%-30s %10llu %10llu %10llu blocks%s%s\n", s->name,
                      (unsigned long long)m[0].blocks, (unsigned long long)m[1].blocks,
                      (unsigned long long)m[2].blocks, fast ? ": faster than the input" : "",
                      expected     ? ""
                      : s->refused ? ": not refused"
                                   : ": refused");
        bad += fast || !expected || !m[0].blocks;
    }
    assert_int_equal(bad, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_parsers__input_doubles__work_does_not_square),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
