#include "avow/base/map.h"

#include "check.h"

#include <stdlib.h>
#include <string.h>

#include "avow/base/banned.h"

/* Keys and values of these tests are small numbers. */
static int values[512];

static struct avow_bytes key_of(const int *n)
{
    return avow_bytes_make(n, sizeof *n);
}

static void test_map_set__new_replaced_removed__reports_the_old_value(void **state)
{
    struct avow_map m;
    void *old = &m;
    struct avow_bytes k = avow_bytes_make("key", 3);
    (void)state;
    avow_map_init(&m, 1, 2);
    assert_null(avow_map_find(&m, k));
    assert_null(avow_map_remove(&m, k));
    assert_int_equal(avow_map_set(&m, k, &values[1], &old), AVOW_OK);
    assert_null(old);
    assert_ptr_equal(avow_map_find(&m, k), &values[1]);
    assert_int_equal(avow_map_set(&m, k, &values[2], &old), AVOW_OK);
    assert_ptr_equal(old, &values[1]);
    assert_int_equal(avow_map_set(&m, k, &values[3], NULL), AVOW_OK);
    assert_int_equal(m.count, 1);
    assert_ptr_equal(avow_map_remove(&m, k), &values[3]);
    assert_null(avow_map_find(&m, k));
    assert_int_equal(m.count, 0);
    avow_map_deinit(&m, NULL);
    avow_map_deinit(&m, NULL);
}

static void test_map_set__keys__are_copied_bytes_of_any_length(void **state)
{
    struct avow_map m;
    char key[] = "a\0b";
    (void)state;
    avow_map_init(&m, 1, 2);
    assert_int_equal(avow_map_set(&m, avow_bytes_make(key, 3), &values[1], NULL), AVOW_OK);
    assert_int_equal(avow_map_set(&m, avow_bytes_make(key, 1), &values[2], NULL), AVOW_OK);
    assert_int_equal(avow_map_set(&m, (struct avow_bytes){NULL, 0}, &values[3], NULL), AVOW_OK);
    key[0] = 'z';
    assert_ptr_equal(avow_map_find(&m, avow_bytes_make("a\0b", 3)), &values[1]);
    assert_ptr_equal(avow_map_find(&m, avow_bytes_make("a", 1)), &values[2]);
    assert_ptr_equal(avow_map_find(&m, avow_bytes_make("x", 0)), &values[3]);
    assert_null(avow_map_find(&m, avow_bytes_make(key, 3)));
    avow_map_deinit(&m, NULL);
}

/* SipHash-1-3 of 00 01 02 ... under the key 00 01 .. 0f; computed by an independent implementation
 * that gives the published SipHash-2-4 vector when it runs with 2 and 4 rounds. */
static void test_map_hash__known_inputs__is_siphash_1_3(void **state)
{
    static const struct {
        size_t len;
        uint64_t hash;
    } cases[] = {
        {0, 0xabac0158050fc4dcu},  {1, 0xc9f49bf37d57ca93u},  {7, 0xd3927d989bb11140u},
        {8, 0x369095118d299a8eu},  {15, 0xd320d86d2a519956u}, {16, 0xcc4fdd1a7d908b66u},
        {63, 0x9d199062b7bbb3a8u},
    };
    uint8_t in[64];
    struct avow_map m;
    (void)state;
    for (unsigned i = 0; i < sizeof in; i++)
        in[i] = (uint8_t)i;
    avow_map_init(&m, 0x0706050403020100u, 0x0f0e0d0c0b0a0908u);
    for (size_t i = 0; i < AVOW_ARRAY_LEN(cases); i++) {
        assert_int_equal(avow_map_set(&m, avow_bytes_make(in, cases[i].len), &values[i], NULL),
                         AVOW_OK);
        assert_true(m.entries[i].hash == cases[i].hash);
    }
    avow_map_deinit(&m, NULL);
}

static void test_map_entries__insertion_and_removal__order_is_as_promised(void **state)
{
    struct avow_map m;
    (void)state;
    avow_map_init(&m, 3, 4);
    for (int i = 0; i < 100; i++)
        assert_int_equal(avow_map_set(&m, key_of(&i), &values[i], NULL), AVOW_OK);
    for (int i = 0; i < 100; i++)
        assert_ptr_equal(m.entries[i].value, &values[i]);
    int gone = 10;
    assert_ptr_equal(avow_map_remove(&m, key_of(&gone)), &values[10]);
    assert_ptr_equal(m.entries[10].value, &values[99]); /* the last one took the place */
    assert_ptr_equal(m.entries[11].value, &values[11]);
    assert_int_equal(m.count, 99);
    avow_map_deinit(&m, NULL);
}

/* Against a plain array, over a long random history with as many removals as insertions. */
static void run_history(uint64_t seed, int key_count, int steps)
{
    void *model[512] = {NULL};
    size_t live = 0;
    uint64_t random = seed;
    struct avow_map m;
    avow_map_init(&m, seed, ~seed);
    for (int step = 0; step < steps; step++) {
        random = random * 6364136223846793005u + 1442695040888963407u;
        int key = (int)((random >> 33) % (unsigned)key_count);
        void *value = &values[(random >> 20) % AVOW_ARRAY_LEN(values)], *old = &m;
        if (random >> 63) {
            assert_int_equal(avow_map_set(&m, key_of(&key), value, &old), AVOW_OK);
            assert_ptr_equal(old, model[key]);
            live += model[key] ? 0 : 1;
            model[key] = value;
        } else {
            assert_ptr_equal(avow_map_remove(&m, key_of(&key)), model[key]);
            live -= model[key] ? 1 : 0;
            model[key] = NULL;
        }
        assert_int_equal(m.count, live);
        if (step % 16 == 0)
            for (int i = 0; i < key_count; i++)
                assert_ptr_equal(avow_map_find(&m, key_of(&i)), model[i]);
    }
    avow_map_deinit(&m, NULL);
}

static void test_map__random_history__equals_a_plain_array(void **state)
{
    (void)state;
    run_history(1, 8, 2000); /* the smallest table: long runs, wrap at its end */
    run_history(2, 100, 5000);
    run_history(3, 500, 10000);
}

static unsigned freed;

static void count_free(void *value)
{
    (void)value;
    freed++;
}

static void test_map_deinit__free_value__is_called_for_each(void **state)
{
    struct avow_map m;
    (void)state;
    freed = 0;
    avow_map_init(&m, 5, 6);
    for (int i = 0; i < 20; i++)
        assert_int_equal(avow_map_set(&m, key_of(&i), &values[i], NULL), AVOW_OK);
    int gone = 3;
    avow_map_remove(&m, key_of(&gone));
    avow_map_deinit(&m, count_free);
    assert_int_equal(freed, 19);
    assert_int_equal(m.count, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_map_set__new_replaced_removed__reports_the_old_value),
        cmocka_unit_test(test_map_set__keys__are_copied_bytes_of_any_length),
        cmocka_unit_test(test_map_hash__known_inputs__is_siphash_1_3),
        cmocka_unit_test(test_map_entries__insertion_and_removal__order_is_as_promised),
        cmocka_unit_test(test_map__random_history__equals_a_plain_array),
        cmocka_unit_test(test_map_deinit__free_value__is_called_for_each),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
