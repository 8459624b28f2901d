/* avow_wire_tool - the C side of tests/wire/differential.py.
 *
 * avow_wire_tool schemas   prints "record name fingerprint max_value" of every compiled-in schema
 * avow_wire_tool recode    standard input: any number of {u32be length, framed record};
 *                          standard output, for each: {u32be rc, then four times u32be length and
 *                          bytes: error text, encoding again, Avro JSON, plain JSON} */
#include "recode.h"

#include "avow/wire/json.h"

#include "avow/base/banned.h"

#define INPUT_MAX (2u * 1024u * 1024u)
#define TEXT_MAX (16u * 1024u * 1024u)

static void put_block(struct avow_bytes b)
{
    uint8_t len[4];
    avow_put_u32be(len, (uint32_t)b.len);
    fwrite(len, 1, sizeof len, stdout);
    if (b.len)
        fwrite(b.ptr, 1, b.len, stdout);
}

static int print_schemas(void)
{
    size_t n;
    const struct avow_wire_schema *const *s = avow_wire_schemas(&n);
    for (size_t i = 0; i < n; i++)
        printf("%s %s %016llx %zu\n", s[i]->record, s[i]->name,
               (unsigned long long)s[i]->fingerprint, s[i]->max_value);
    return 0;
}

struct answer {
    struct avow_arena arena;
    struct avow_buf again;
    struct avow_buf avro;
    struct avow_buf plain;
};

static void answer(struct answer *a, struct avow_bytes in)
{
    struct avow_err err = {.rc = AVOW_OK};
    uint8_t rc_bytes[4];
    avow_arena_reset(&a->arena);
    avow_buf_reset(&a->again);
    avow_buf_reset(&a->avro);
    avow_buf_reset(&a->plain);
    const struct recode *r = recode_of(in);
    enum avow_rc rc = r ? r->run(in, &a->arena, &a->again, &err) : AVOW_SCHEMA;
    if (!rc)
        rc = avow_wire_to_json(in, AVOW_JSON_AVRO, &a->avro, &err);
    if (!rc)
        rc = avow_wire_to_json(in, AVOW_JSON_PLAIN, &a->plain, &err);
    avow_put_u32be(rc_bytes, (uint32_t)rc);
    fwrite(rc_bytes, 1, sizeof rc_bytes, stdout);
    struct avow_str text = avow_str_from(err.msg);
    put_block(avow_bytes_make(text.ptr, text.len));
    put_block(avow_buf_bytes(&a->again));
    put_block(avow_buf_bytes(&a->avro));
    put_block(avow_buf_bytes(&a->plain));
}

static int recode_all(void)
{
    struct answer a;
    uint8_t head[4];
    int failed = 0;
    avow_arena_init(&a.arena, RECODE_ARENA_MAX);
    avow_buf_init(&a.again, INPUT_MAX);
    avow_buf_init(&a.avro, TEXT_MAX);
    avow_buf_init(&a.plain, TEXT_MAX);
    while (!failed && fread(head, 1, sizeof head, stdin) == sizeof head) {
        struct avow_rd r = avow_rd_make(AVOW_BYTES_OF(head));
        size_t len = avow_rd_u32be(&r);
        /* A block of its own and of exact size, so that a sanitizer sees one byte too many. */
        uint8_t *in = len <= INPUT_MAX ? malloc(len ? len : 1) : NULL;
        failed = !in || fread(in, 1, len, stdin) != len;
        if (!failed)
            answer(&a, avow_bytes_make(in, len));
        free(in);
    }
    avow_arena_deinit(&a.arena);
    avow_buf_deinit(&a.again);
    avow_buf_deinit(&a.avro);
    avow_buf_deinit(&a.plain);
    return failed || ferror(stdin) || fflush(stdout) ? 1 : 0;
}

int main(int argc, char **argv)
{
    if (argc == 2 && avow_cstr_eq(argv[1], "schemas"))
        return print_schemas();
    if (argc == 2 && avow_cstr_eq(argv[1], "recode"))
        return recode_all();
    fprintf(stderr, "usage: avow_wire_tool schemas|recode\n");
    return 2;
}
