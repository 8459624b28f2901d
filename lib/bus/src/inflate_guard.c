/* inflate_guard.c - see inflate_guard.h. The functions below replace those of zlib and lz4 for the
 * whole program, and call them. */
#define _GNU_SOURCE /* RTLD_NEXT */
#include "inflate_guard.h"

#include "avow/bus/bus.h"

#include <dlfcn.h>
#include <stddef.h>
#include <string.h>

#include "avow/base/banned.h"

#define EXPORTED __attribute__((visibility("default")))

/* zlib's z_stream, as far as it is read here; its layout is part of zlib's ABI. */
struct zlib_stream {
    const uint8_t *next_in;
    unsigned avail_in;
    unsigned long total_in;
    uint8_t *next_out;
    unsigned avail_out;
    unsigned long total_out;
};
#define ZLIB_DATA_ERROR (-3)
typedef int inflate_fn(struct zlib_stream *stream, int flush);

#define LZ4_ERROR ((size_t)-1) /* LZ4F_ERROR_GENERIC, as LZ4F_isError understands it */
typedef size_t lz4_new_fn(void **context, unsigned version);
typedef size_t lz4_decompress_fn(void *context, void *out, size_t *out_len, const void *in,
                                 size_t *in_len, const void *options);

inflate_fn inflate;
lz4_new_fn LZ4F_createDecompressionContext;
lz4_decompress_fn LZ4F_decompress;

/* A pointer to data cannot be cast to one to a function in ISO C; POSIX says that it fits. */
static void find(const char *name, void *fn, size_t size)
{
    void *symbol = dlsym(RTLD_NEXT, name);
    memcpy(fn, &symbol, size);
}

EXPORTED int inflate(struct zlib_stream *stream, int flush)
{
    static _Thread_local inflate_fn *real;
    if (!real)
        find("inflate", &real, sizeof real);
    if (!real || stream->total_out > AVOW_BUS_INFLATED_MAX)
        return ZLIB_DATA_ERROR;
    return real(stream, flush);
}

/* librdkafka begins and ends a batch within one call, and has one context at a time. */
static _Thread_local size_t lz4_total;

EXPORTED size_t LZ4F_createDecompressionContext(void **context, unsigned version)
{
    static _Thread_local lz4_new_fn *real;
    if (!real)
        find("LZ4F_createDecompressionContext", &real, sizeof real);
    lz4_total = 0;
    return real ? real(context, version) : LZ4_ERROR;
}

EXPORTED size_t LZ4F_decompress(void *context, void *out, size_t *out_len, const void *in,
                                size_t *in_len, const void *options)
{
    static _Thread_local lz4_decompress_fn *real;
    if (!real)
        find("LZ4F_decompress", &real, sizeof real);
    if (!real || lz4_total > AVOW_BUS_INFLATED_MAX)
        return LZ4_ERROR;
    if (*out_len > AVOW_BUS_INFLATED_MAX + 1) /* a frame may announce any size */
        *out_len = AVOW_BUS_INFLATED_MAX + 1;
    size_t rc = real(context, out, out_len, in, in_len, options);
    lz4_total += *out_len;
    return lz4_total > AVOW_BUS_INFLATED_MAX ? LZ4_ERROR : rc;
}

void avow_inflate_guard(void)
{
}
