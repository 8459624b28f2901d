/* fuzz_wire.c - the decoder of schemas/RECORD.avsc. The frame is put in front, so that the fuzzer
 * works on the body. Oracle: what decodes can be encoded, prints as JSON in both styles, and its
 * encoding decodes to the same encoding. */
#include "avow/wire/all.h"
#include "avow/wire/json.h"

#include "avow/base/banned.h"

#define PASTE_(a, b, c) a##b##c
#define PASTE(a, b, c) PASTE_(a, b, c)
#define SCHEMA PASTE(avow_wire_, RECORD, _schema)
#define DECODE PASTE(avow_, RECORD, _decode)
#define ENCODE PASTE(avow_, RECORD, _encode)
/* Unlike assert, it does not vanish from builds that define NDEBUG. */
#define CHECK(condition) ((condition) ? (void)0 : abort())

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(struct avow_bytes in, struct avow_arena *arena, struct avow_buf *once,
                  struct avow_buf *twice)
{
    struct PASTE(avow_, RECORD, ) v;
    if (DECODE(in, arena, &v, NULL))
        return;
    CHECK(ENCODE(&v, once, NULL) == AVOW_OK);
    CHECK(DECODE(avow_buf_bytes(once), arena, &v, NULL) == AVOW_OK);
    CHECK(ENCODE(&v, twice, NULL) == AVOW_OK);
    CHECK(avow_bytes_eq(avow_buf_bytes(once), avow_buf_bytes(twice)));
    avow_buf_reset(twice);
    CHECK(avow_wire_to_json(in, AVOW_JSON_PLAIN, twice, NULL) == AVOW_OK);
    CHECK(avow_wire_to_json(in, AVOW_JSON_AVRO, twice, NULL) == AVOW_OK);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct avow_arena arena;
    struct avow_buf framed;
    struct avow_buf once;
    struct avow_buf twice;
    uint8_t frame[AVOW_WIRE_FRAME_LEN] = {0xC3, 0x01};
    avow_arena_init(&arena, 2 * AVOW_WIRE_ARENA_MAX /* twice: the record and its encoding */);
    avow_buf_init(&framed, SCHEMA.max_value + 1);
    avow_buf_init(&once, SCHEMA.max_value);
    avow_buf_init(&twice, 32u * 1024u * 1024u);
    avow_put_u64le(frame + 2, SCHEMA.fingerprint);
    /* Seeds are whole records: their own frame is not doubled. */
    if (size < sizeof frame ||
        !avow_bytes_eq(avow_bytes_make(data, sizeof frame), AVOW_BYTES_OF(frame)))
        avow_buf_put(&framed, frame, sizeof frame);
    avow_buf_put(&framed, data, size);
    if (!framed.failed)
        check(avow_buf_bytes(&framed), &arena, &once, &twice);
    avow_arena_deinit(&arena);
    avow_buf_deinit(&framed);
    avow_buf_deinit(&once);
    avow_buf_deinit(&twice);
    return 0;
}
