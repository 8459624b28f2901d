/* Every decoder against damaged records: cut, lengthened, flipped, in a wrong frame, without
 * memory. */
#include "recode.h"
#include "vectors.h"

#include "cmocka_all.h"

#include "avow/base/banned.h"

/* Runs `check` on a copy of exactly `len` bytes for every golden record. */
typedef void (*check_fn)(const char *name, const struct recode *r, struct avow_bytes in,
                         struct avow_arena *arena);

static void each(check_fn check)
{
    struct vectors all;
    struct avow_arena arena;
    vectors_list(&all);
    avow_arena_init(&arena, RECODE_ARENA_MAX);
    for (size_t i = 0; i < all.count; i++) {
        struct avow_buf in = vectors_read(all.name[i], ".bin");
        const struct recode *r = recode_of(avow_buf_bytes(&in));
        assert_non_null(r);
        check(all.name[i], r, avow_buf_bytes(&in), &arena);
        avow_arena_reset(&arena);
        avow_buf_deinit(&in);
    }
    avow_arena_deinit(&arena);
}

static uint8_t *copy_of(struct avow_bytes in, size_t len)
{
    uint8_t *p = calloc(1, len ? len : 1);
    assert_non_null(p);
    memcpy(p, in.ptr, len < in.len ? len : in.len);
    return p;
}

static enum avow_rc decode(const char *name, const struct recode *r, struct avow_bytes in,
                           struct avow_arena *arena)
{
    enum avow_rc rc;
    avow_arena_reset(arena);
    if (!r->spares_out(in, arena, &rc))
        fail_msg("%s: a failed decode wrote its output", name);
    return rc;
}

static void check_cut(const char *name, const struct recode *r, struct avow_bytes in,
                      struct avow_arena *arena)
{
    for (size_t len = 0; len < in.len; len++) {
        uint8_t *p = copy_of(in, len); /* exact size: a sanitizer sees one byte too many */
        enum avow_rc rc = decode(name, r, avow_bytes_make(p, len), arena);
        enum avow_rc want = len < AVOW_WIRE_FRAME_LEN ? AVOW_SCHEMA : AVOW_PARSE;
        if (rc != want)
            fail_msg("%s cut to %zu: %s", name, len, avow_rc_text(rc));
        free(p);
    }
}

static void test_decode__truncated_at_each_byte__is_refused(void **state)
{
    (void)state;
    each(check_cut);
}

static void check_longer(const char *name, const struct recode *r, struct avow_bytes in,
                         struct avow_arena *arena)
{
    uint8_t *p = copy_of(in, in.len + 1);
    enum avow_rc rc = decode(name, r, avow_bytes_make(p, in.len + 1), arena);
    if (rc != AVOW_PARSE)
        fail_msg("%s with one byte more: %s", name, avow_rc_text(rc));
    free(p);
}

static void test_decode__trailing_byte__is_parse_error(void **state)
{
    (void)state;
    each(check_longer);
}

static void check_frame(const char *name, const struct recode *r, struct avow_bytes in,
                        struct avow_arena *arena)
{
    for (size_t at = 0; at < AVOW_WIRE_FRAME_LEN; at++) {
        for (unsigned bit = 0; bit < 8; bit++) {
            uint8_t *p = copy_of(in, in.len);
            p[at] = (uint8_t)(p[at] ^ 1u << bit);
            enum avow_rc rc = decode(name, r, avow_bytes_make(p, in.len), arena);
            if (rc != AVOW_SCHEMA)
                fail_msg("%s frame byte %zu bit %u: %s", name, at, bit, avow_rc_text(rc));
            free(p);
        }
    }
}

static void test_decode__wrong_frame__is_schema_error(void **state)
{
    (void)state;
    each(check_frame);
}

static void check_other_schema(const char *name, const struct recode *r, struct avow_bytes in,
                               struct avow_arena *arena)
{
    for (size_t i = 0; i < recodes_count; i++) {
        const struct avow_wire_schema *other = recodes[i].schema;
        enum avow_rc want = in.len > other->max_value ? AVOW_LIMIT : AVOW_SCHEMA; /* size first */
        if (&recodes[i] != r && decode(name, &recodes[i], in, arena) != want)
            fail_msg("%s passes as %s", name, other->record);
    }
}

static void test_decode__record_of_another_schema__is_schema_error(void **state)
{
    (void)state;
    each(check_other_schema);
}

static void check_too_large(const char *name, const struct recode *r, struct avow_bytes in,
                            struct avow_arena *arena)
{
    size_t len = r->schema->max_value + 1;
    uint8_t *p = copy_of(in, len);
    enum avow_rc rc = decode(name, r, avow_bytes_make(p, len), arena);
    if (rc != AVOW_LIMIT)
        fail_msg("%s of %zu bytes: %s", name, len, avow_rc_text(rc));
    free(p);
}

static void test_decode__larger_than_the_schema_allows__is_limit_error(void **state)
{
    (void)state;
    each(check_too_large);
}

/* Any single bit: refused, or accepted with a value whose encoding reads as itself. */
static void check_flip(const char *name, const struct recode *r, struct avow_bytes in,
                       struct avow_arena *arena)
{
    struct avow_buf once;
    struct avow_buf twice;
    avow_buf_init(&once, 1u << 20);
    avow_buf_init(&twice, 1u << 20);
    for (size_t at = AVOW_WIRE_FRAME_LEN; at < in.len; at++) {
        for (unsigned bit = 0; bit < 8; bit++) {
            uint8_t *p = copy_of(in, in.len);
            p[at] = (uint8_t)(p[at] ^ 1u << bit);
            avow_arena_reset(arena);
            avow_buf_reset(&once);
            avow_buf_reset(&twice);
            if (decode(name, r, avow_bytes_make(p, in.len), arena) == AVOW_OK) {
                if (r->run(avow_bytes_make(p, in.len), arena, &once, NULL) ||
                    r->run(avow_buf_bytes(&once), arena, &twice, NULL) ||
                    !avow_bytes_eq(avow_buf_bytes(&once), avow_buf_bytes(&twice)))
                    fail_msg("%s byte %zu bit %u: not stable", name, at, bit);
            }
            free(p);
        }
    }
    avow_buf_deinit(&once);
    avow_buf_deinit(&twice);
}

static void test_decode__any_bit_flipped__is_refused_or_stable(void **state)
{
    (void)state;
    each(check_flip);
}

/* An arena of every size up to what is needed: refused as a limit, then accepted. */
static void check_arena(const char *name, const struct recode *r, struct avow_bytes in,
                        struct avow_arena *arena)
{
    assert_int_equal(decode(name, r, in, arena), AVOW_OK);
    size_t need = arena->used;
    for (size_t limit = 0; limit < need; limit += 8) {
        struct avow_arena small;
        avow_arena_init(&small, limit);
        enum avow_rc rc = decode(name, r, in, &small);
        if (rc != AVOW_LIMIT)
            fail_msg("%s with %zu of %zu bytes: %s", name, limit, need, avow_rc_text(rc));
        avow_arena_deinit(&small);
    }
}

static void test_decode__arena_too_small__is_limit_error(void **state)
{
    (void)state;
    each(check_arena);
}

/* The output buffer refuses at every size; the buffer is then as it was. */
static void check_buffer(const char *name, const struct recode *r, struct avow_bytes in,
                         struct avow_arena *arena)
{
    for (size_t limit = 0; limit < in.len; limit++) {
        struct avow_buf b;
        avow_buf_init(&b, limit);
        avow_arena_reset(arena);
        if (r->run(in, arena, &b, NULL) != AVOW_LIMIT || b.len != 0)
            fail_msg("%s into %zu bytes of %zu", name, limit, in.len);
        avow_buf_deinit(&b);
    }
}

static void test_encode__buffer_too_small__is_limit_error_and_leaves_no_part(void **state)
{
    (void)state;
    each(check_buffer);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_decode__truncated_at_each_byte__is_refused),
        cmocka_unit_test(test_decode__trailing_byte__is_parse_error),
        cmocka_unit_test(test_decode__wrong_frame__is_schema_error),
        cmocka_unit_test(test_decode__record_of_another_schema__is_schema_error),
        cmocka_unit_test(test_decode__larger_than_the_schema_allows__is_limit_error),
        cmocka_unit_test(test_decode__any_bit_flipped__is_refused_or_stable),
        cmocka_unit_test(test_decode__arena_too_small__is_limit_error),
        cmocka_unit_test(test_encode__buffer_too_small__is_limit_error_and_leaves_no_part),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
