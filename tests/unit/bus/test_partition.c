#include "avow/bus/bus.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "avow/base/banned.h"

/* Hashes that Kafka's own tests expect of its default partitioner; the partition is (hash &
 * 0x7fffffff) mod count. */
static const struct {
    const char *key;
    int32_t hash;
} vectors[] = {
    {"21", -973932308},
    {"foobar", -790332482},
    {"a-little-bit-long-string", -985981536},
    {"a-little-bit-longer-string", -1486304829},
    {"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971},
    {"abc", 479470107},
    {"", 275646681},
};

static void test_partition_of__kafkas_vectors__same_partition(void **state)
{
    (void)state;
    static const uint32_t counts[] = {1, 2, 3, 64, 512, 1000003, INT32_MAX};
    for (size_t i = 0; i < AVOW_ARRAY_LEN(vectors); i++) {
        struct avow_bytes key = avow_bytes_make(vectors[i].key, strlen(vectors[i].key));
        for (size_t k = 0; k < AVOW_ARRAY_LEN(counts); k++) {
            uint32_t want = ((uint32_t)vectors[i].hash & 0x7fffffffu) % counts[k];
            int32_t have = avow_bus_partition_of(key, counts[k]);
            if (have != (int32_t)want)
                fail_msg("\"%s\" mod %u: %d, not %u", vectors[i].key, counts[k], have, want);
        }
    }
}

/* Bytes above 0x7f: Java's bytes are signed, and Kafka masks them. */
static void test_partition_of__high_bytes__stay_in_range(void **state)
{
    (void)state;
    uint8_t key[16];
    memset(key, 0xff, sizeof(key));
    for (size_t len = 0; len <= sizeof(key); len++) {
        int32_t p = avow_bus_partition_of(avow_bytes_make(key, len), 64);
        assert_true(p >= 0 && p < 64);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_partition_of__kafkas_vectors__same_partition),
        cmocka_unit_test(test_partition_of__high_bytes__stay_in_range),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
