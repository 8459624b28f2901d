/* The list reader over a file of any bytes: read in one go and read in small steps must give the
 * same entries, every byte that is returned is in the file where the reader says, and find agrees
 * with read. */
#define _GNU_SOURCE /* memfd_create */
#include "avow/formats/ima_list.h"
#include "sources/ima_reader.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "avow/base/banned.h"

#define ALL (64u * 1024u * 1024u)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The first byte says how small the steps are. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (!size)
        return 0;
    const struct avow_bytes list = avow_bytes_make(data + 1, size - 1);
    int fd = memfd_create("list", MFD_CLOEXEC);
    char path[32];
    assert(fd >= 0 && write(fd, list.ptr, list.len) == (ssize_t)list.len);
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    struct avow_ima_reader *r = NULL;
    struct avow_buf whole, steps;
    avow_buf_init(&whole, ALL);
    avow_buf_init(&steps, ALL);
    assert(avow_ima_reader_new(path, &r, NULL) == AVOW_OK);

    struct avow_ima_want want = {.max = ALL, .count_max = UINT32_MAX};
    struct avow_ima_chunk chunk = {.count = 0};
    enum avow_rc rc = avow_ima_reader_read(r, &want, &whole, &chunk, NULL);
    assert(rc == AVOW_OK || rc == AVOW_PARSE || rc == AVOW_LIMIT);
    if (!rc) {
        assert(chunk.end.offset == whole.len && chunk.end.index == chunk.count);
        assert(avow_bytes_eq(avow_buf_bytes(&whole), avow_bytes_make(list.ptr, whole.len)));
        struct avow_ima_pos found;
        assert(avow_ima_reader_find(r, chunk.end.index, &found, NULL) == AVOW_OK);
        assert(found.offset == chunk.end.offset);
        uint64_t entries = 0;
        want.max = (size_t)data[0] * 16;
        want.count_max = data[0] % 5 ? UINT32_MAX : 3;
        struct avow_ima_chunk step = {.more = true};
        while (want.from.index < chunk.end.index) {
            assert(avow_ima_reader_read(r, &want, &steps, &step, NULL) == AVOW_OK);
            assert(step.count);
            entries += step.count;
            want.from = step.end;
        }
        assert(entries == chunk.count);
        assert(avow_bytes_eq(avow_buf_bytes(&whole), avow_buf_bytes(&steps)));
    }
    avow_ima_reader_free(r);
    avow_buf_deinit(&whole);
    avow_buf_deinit(&steps);
    close(fd);
    return 0;
}
