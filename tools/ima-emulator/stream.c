#include "stream.h"

#include "avow/base/hex.h"
#include "ima_store.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "avow/base/banned.h"

#define BATCH_MAX 256u
#define INPUT_MAX (256u * 1024u) /* many lines of the longest path */
#define READ_SIZE 65536u

struct batch {
    struct avow_ima_measurement items[BATCH_MAX];
    struct avow_digest digests[BATCH_MAX];
    size_t count;
};

enum avow_rc avow_ima_digest_parse(struct avow_str text, enum avow_hash *alg,
                                   struct avow_digest *out, struct avow_err *err)
{
    const char *colon = memchr(text.ptr, ':', text.len);
    enum avow_hash a = AVOW_HASH_SHA256;
    struct avow_str hex = text;
    if (colon) {
        size_t n = (size_t)(colon - text.ptr);
        hex = (struct avow_str){colon + 1, text.len - n - 1};
        if (!avow_hash_from_name((struct avow_str){text.ptr, n}, &a))
            return avow_err_set(err, AVOW_USAGE, 0, "unknown hash in %.*s", (int)text.len,
                                text.ptr);
    }
    out->len = avow_hash_len(a);
    if (!avow_hex_decode(out->bytes, out->len, hex))
        return avow_err_set(err, AVOW_USAGE, 0, "%.*s is not a %s digest in hex", (int)text.len,
                            text.ptr, avow_hash_name(a));
    *alg = a;
    return AVOW_OK;
}

static enum avow_rc take_line(struct batch *b, struct avow_str line, struct avow_err *err)
{
    const char *space = memchr(line.ptr, ' ', line.len);
    if (!space)
        return avow_err_set(err, AVOW_USAGE, 0, "not DIGEST PATH: %.*s", (int)line.len, line.ptr);
    struct avow_str what = {line.ptr, (size_t)(space - line.ptr)};
    struct avow_ima_measurement *m = &b->items[b->count];
    struct avow_digest *d = &b->digests[b->count];
    *m = (struct avow_ima_measurement){.alg = AVOW_HASH_SHA256,
                                       .path = {space + 1, line.len - what.len - 1}};
    m->violation = avow_str_is(what, "violation");
    if (!m->violation) {
        enum avow_rc rc = avow_ima_digest_parse(what, &m->alg, d, err);
        if (rc)
            return rc;
        m->digest = avow_digest_bytes(d);
    }
    b->count++;
    return AVOW_OK;
}

/* Whole lines, as many as a batch holds; *used: bytes of them. */
static enum avow_rc take_lines(struct batch *b, struct avow_bytes input, size_t *used,
                               struct avow_err *err)
{
    *used = 0;
    b->count = 0;
    while (b->count < BATCH_MAX && *used < input.len) {
        const char *at = (const char *)input.ptr + *used;
        const char *end = memchr(at, '\n', input.len - *used);
        if (!end)
            break;
        enum avow_rc rc = take_line(b, (struct avow_str){at, (size_t)(end - at)}, err);
        if (rc)
            return rc;
        *used += (size_t)(end - at) + 1;
    }
    return AVOW_OK;
}

static enum avow_rc read_more(int fd, struct avow_buf *input, bool *end, struct avow_err *err)
{
    size_t len = input->len;
    uint8_t *p = avow_buf_extend(input, READ_SIZE);
    if (!p)
        return avow_buf_status(input, err);
    ssize_t n;
    do {
        n = read(fd, p, READ_SIZE);
    } while (n < 0 && errno == EINTR);
    input->len = len + (n > 0 ? (size_t)n : 0);
    if (n < 0)
        return avow_err_set(err, AVOW_IO, errno, "standard input: %s", strerror(errno));
    *end = n == 0;
    return AVOW_OK;
}

static enum avow_rc say(uint64_t added, struct avow_err *err)
{
    if (printf("added %" PRIu64 "\n", added) < 0 || fflush(stdout))
        return avow_err_set(err, AVOW_IO, errno, "standard output: %s", strerror(errno));
    return AVOW_OK;
}

enum avow_rc avow_ima_stream(const char *list, const char *tcti, int fd, struct avow_err *err)
{
    AVOW_CLEANUP_VAL(avow_buf_deinit) struct avow_buf input;
    avow_buf_init(&input, INPUT_MAX);
    struct avow_ima_tally tally = {0};
    uint64_t added = 0;
    bool end = false;
    enum avow_rc rc = AVOW_OK;
    while (!rc) {
        struct batch b;
        size_t used;
        rc = take_lines(&b, avow_buf_bytes(&input), &used, err);
        if (!rc && !b.count) {
            if (end && input.len)
                return avow_err_set(err, AVOW_USAGE, 0, "the last line does not end");
            if (end)
                return AVOW_OK;
            rc = read_more(fd, &input, &end, err);
            continue;
        }
        AVOW_CLEANUP(avow_ima_store_close) struct avow_ima_store *s = NULL;
        if (!rc)
            rc = avow_ima_store_open(list, tcti, &s, err);
        if (!rc)
            rc = avow_ima_store_add_many(s, b.items, b.count, &tally, err);
        if (!rc)
            rc = say(added += b.count, err);
        memmove(input.ptr, input.ptr + used, input.len - used);
        input.len -= used;
    }
    return rc;
}
