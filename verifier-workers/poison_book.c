/* poison_book.c - see poison_book.h. */
#define _GNU_SOURCE
#include "poison_book.h"

#include "avow/base/bytes.h"
#include "avow/base/hex.h"
#include "avow/crypto/digest.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "avow/base/banned.h"

#define MAGIC 0x31304e4f53494f50u /* "POISON01" */
#define NONE (-1)

struct avow_poison_page { /* of this machine only: its own byte order */
    uint64_t magic;
    uint8_t fleet[16];
    int64_t partition;
    _Atomic int64_t in_hand; /* NONE */
    int64_t suspect;         /* NONE, or the offset in hand at the last such death */
    uint64_t deaths;         /* in a row, with that offset in hand */
};

static enum avow_rc failed(const char *path, const char *what, struct avow_err *err)
{
    return avow_err_set(err, AVOW_IO, errno, "%s: %s: %s", path, what, strerror(errno));
}

static enum avow_rc open_file(const char *path, int *fd, struct avow_err *err)
{
    int got = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (got < 0)
        return failed(path, "open", err);
    if (flock(got, LOCK_EX | LOCK_NB)) {
        enum avow_rc rc = errno == EWOULDBLOCK
                              ? avow_err_set(err, AVOW_STATE, 0, "%s: another process has it", path)
                              : failed(path, "flock", err);
        close(got);
        return rc;
    }
    *fd = got;
    return AVOW_OK;
}

/* The file with its full size on the disk, or a store into the page could be a SIGBUS. */
static bool is_whole(int fd)
{
    static const struct avow_poison_page empty;
    struct stat st;
    if (fstat(fd, &st))
        return false;
    if (st.st_size == (off_t)sizeof empty)
        return true;
    return !ftruncate(fd, 0) && pwrite(fd, &empty, sizeof empty, 0) == (ssize_t)sizeof empty;
}

/* What the file says, if it is about this partition; else it says nothing. */
static void begin(struct avow_poison_page *page, const struct avow_poison_place *place)
{
    if (page->magic != MAGIC || page->partition != place->partition ||
        !avow_ct_eq(page->fleet, place->fleet, sizeof page->fleet)) {
        memcpy(page->fleet, place->fleet, sizeof page->fleet);
        page->partition = place->partition;
        page->suspect = NONE;
        page->deaths = 0;
        atomic_store(&page->in_hand, NONE);
        page->magic = MAGIC;
    }
    int64_t in_hand = atomic_load(&page->in_hand);
    if (in_hand != NONE) { /* whoever had it is dead */
        page->deaths = in_hand == page->suspect ? page->deaths + 1 : 1;
        page->suspect = in_hand;
        atomic_store(&page->in_hand, NONE);
    }
}

enum avow_rc avow_poison_book_open(const struct avow_poison_place *place,
                                   struct avow_poison_book *out, uint64_t *deaths,
                                   struct avow_err *err)
{
    char path[4096], name[33];
    uint8_t whose[AVOW_SHA256_LEN]; /* a group may have any name */
    const struct avow_bytes pieces[] = {avow_bytes_make(place->fleet, 16),
                                        avow_bytes_make(place->group, strlen(place->group))};
    avow_sha256_pieces(pieces, AVOW_ARRAY_LEN(pieces), whose);
    avow_hex_encode(name, avow_bytes_make(whose, 16));
    int n =
        snprintf(path, sizeof path, "%s/poison-%s-%d", place->folder, name, (int)place->partition);
    if (n < 0 || (size_t)n >= sizeof path)
        return avow_err_set(err, AVOW_IO, 0, "worker.scratch_dir is too long");
    int fd = -1;
    enum avow_rc rc = open_file(path, &fd, err);
    if (rc)
        return rc;
    struct avow_poison_page *page = MAP_FAILED;
    if (is_whole(fd))
        page = mmap(NULL, sizeof *page, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (page == MAP_FAILED) {
        rc = failed(path, "map", err);
        close(fd);
        return rc;
    }
    *out = (struct avow_poison_book){.page = page, .fd = fd, .poison = NONE};
    begin(page, place);
    avow_poison_book_passed(out, place->committed);
    if (page->deaths >= AVOW_POISON_DEATHS)
        out->poison = page->suspect;
    *deaths = page->deaths;
    return AVOW_OK;
}

void avow_poison_book_close(struct avow_poison_book *b)
{
    if (!b->page)
        return;
    (void)munmap(b->page, sizeof *b->page);
    close(b->fd);
    *b = (struct avow_poison_book){0};
}

bool avow_poison_book_forbids(const struct avow_poison_book *b, int64_t offset)
{
    return b->page && offset == b->poison;
}

void avow_poison_book_take(struct avow_poison_book *b, int64_t offset)
{
    if (b->page)
        atomic_store(&b->page->in_hand, offset);
}

void avow_poison_book_done(struct avow_poison_book *b)
{
    if (b->page)
        atomic_store(&b->page->in_hand, NONE);
}

void avow_poison_book_passed(struct avow_poison_book *b, int64_t next)
{
    if (!b->page || b->page->suspect == NONE || b->page->suspect >= next)
        return;
    b->page->suspect = b->poison = NONE;
    b->page->deaths = 0;
}
