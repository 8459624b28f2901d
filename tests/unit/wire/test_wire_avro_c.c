/* The compiled-in schemas are those of schemas/, and avro-c, another implementation, reads and
 * understands them. */
#include "avow/base/file.h"
#include "avow/wire/all.h"

#include "cmocka_all.h"

#include <avro.h>

#include "avow/base/banned.h"

static void test_schemas__text__is_the_file(void **state)
{
    (void)state;
    size_t n;
    const struct avow_wire_schema *const *s = avow_wire_schemas(&n);
    assert_true(n >= 14);
    for (size_t i = 0; i < n; i++) {
        char path[512];
        struct avow_buf file;
        snprintf(path, sizeof path, "%s/%s.avsc", AVOW_SCHEMAS, s[i]->record);
        avow_buf_init(&file, 1u << 20);
        assert_int_equal(avow_file_read(path, &file, NULL), AVOW_OK);
        assert_string_equal(avow_buf_cstr(&file), s[i]->json);
        avow_buf_deinit(&file);
    }
}

static void test_schemas__all__parse_with_avro_c(void **state)
{
    (void)state;
    size_t n;
    const struct avow_wire_schema *const *s = avow_wire_schemas(&n);
    for (size_t i = 0; i < n; i++) {
        avro_schema_t schema;
        if (avro_schema_from_json_length(s[i]->json, strlen(s[i]->json), &schema))
            fail_msg("%s: %s", s[i]->record, avro_strerror());
        assert_true(is_avro_record(schema));
        avro_schema_decref(schema);
    }
}

/* A record of ours through avro-c: same fields, and the same bytes when avro-c writes it. */
static void test_verdict__read_and_written_by_avro_c__is_the_same(void **state)
{
    (void)state;
    const struct avow_finding findings[] = {{AVOW_STR_LIT("ima.digest_unknown"),
                                             AVOW_STR_LIT("high"), AVOW_STR_LIT("entry 7"),
                                             AVOW_STR_LIT("/usr/bin/x")}};
    struct avow_verdict v = {.key = AVOW_STR_LIT("agent-1"),
                             .seq = 77,
                             .status = AVOW_STATUS_UNTRUSTED,
                             .findings = findings,
                             .findings_count = 1,
                             .has_order = true,
                             .order = {.reset_count = UINT32_MAX, .clock = 1ull << 40}};
    struct avow_buf b;
    avow_buf_init(&b, 4096);
    assert_int_equal(avow_verdict_encode(&v, &b, NULL), AVOW_OK);

    avro_schema_t schema;
    const char *json = avow_wire_verdict_schema.json;
    assert_int_equal(avro_schema_from_json_length(json, strlen(json), &schema), 0);
    avro_value_iface_t *class = avro_generic_class_from_schema(schema);
    avro_value_t value;
    assert_int_equal(avro_generic_value_new(class, &value), 0);
    const char *body = (const char *)b.ptr + AVOW_WIRE_FRAME_LEN;
    int64_t len = (int64_t)(b.len - AVOW_WIRE_FRAME_LEN);
    avro_reader_t reader = avro_reader_memory(body, len);
    assert_int_equal(avro_value_read(reader, &value), 0);

    avro_value_t field;
    int64_t seq = 0;
    int status = -1;
    size_t size = 0;
    assert_int_equal(avro_value_get_by_name(&value, "seq", &field, NULL), 0);
    assert_int_equal(avro_value_get_long(&field, &seq), 0);
    assert_int_equal(seq, 77);
    assert_int_equal(avro_value_get_by_name(&value, "status", &field, NULL), 0);
    assert_int_equal(avro_value_get_enum(&field, &status), 0);
    assert_int_equal(status, AVOW_STATUS_UNTRUSTED);
    assert_int_equal(avro_value_get_by_name(&value, "findings", &field, NULL), 0);
    assert_int_equal(avro_value_get_size(&field, &size), 0);
    assert_int_equal(size, 1);

    char again[4096];
    avro_writer_t writer = avro_writer_memory(again, sizeof again);
    assert_int_equal(avro_value_write(writer, &value), 0);
    assert_int_equal(avro_writer_tell(writer), len);
    assert_memory_equal(again, body, (size_t)len);

    avro_writer_free(writer);
    avro_reader_free(reader);
    avro_value_decref(&value);
    avro_value_iface_decref(class);
    avro_schema_decref(schema);
    avow_buf_deinit(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_schemas__text__is_the_file),
        cmocka_unit_test(test_schemas__all__parse_with_avro_c),
        cmocka_unit_test(test_verdict__read_and_written_by_avro_c__is_the_same),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
