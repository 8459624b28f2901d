/* ima_reader.h - reads the kernel's measurement list in whole entries, from where it was left.
 * Layer: agent/sources. Never holds the whole list: one window of at most AVOW_IMA_WINDOW_MAX
 * bytes. Works on securityfs, whose files report no size and raise no inotify event, and on a plain
 * file that grows. Nothing is judged here but where entries end. One object, one thread. Spec:
 * linux v6.6 security/integrity/ima/ima_fs.c. */
#ifndef AVOW_AGENT_IMA_READER_H
#define AVOW_AGENT_IMA_READER_H

#include "avow/base/buf.h"
#include "avow/base/cleanup.h"

#define AVOW_IMA_WINDOW_MAX (640u * 1024u) /* the largest entry (512 KiB) and one read */

/* A place between two entries. */
struct avow_ima_pos {
    uint64_t index;  /* of the next entry */
    uint64_t offset; /* of its first byte */
};

struct avow_ima_reader;
/* Opens nothing yet. Errors: AVOW_NOMEM. */
enum avow_rc avow_ima_reader_new(const char *path, struct avow_ima_reader **out,
                                 struct avow_err *err) AVOW_MUST_CHECK;
void avow_ima_reader_free(struct avow_ima_reader *r);
AVOW_DEFINE_CLEANUP(struct avow_ima_reader, avow_ima_reader_free);

/* Opens the list and its count, so that they can be read when the right to open them is gone.
 * Errors: AVOW_NOTFOUND (no list: IMA is absent), AVOW_IO. */
enum avow_rc avow_ima_reader_open(struct avow_ima_reader *r, struct avow_err *err) AVOW_MUST_CHECK;

/* Number of entries as the kernel counts them: from runtime_measurements_count next to the list or
 * from <path>.count. Without either, the size of the list stands in: it changes when the list does,
 * which is all the caller needs, and *exact is false. Errors: AVOW_NOTFOUND (no list: IMA is
 * absent), AVOW_IO, AVOW_PARSE. */
enum avow_rc avow_ima_reader_count(struct avow_ima_reader *r, uint64_t *out, bool *exact,
                                   struct avow_err *err) AVOW_MUST_CHECK;

struct avow_ima_chunk {
    struct avow_ima_pos end; /* after the last entry taken */
    uint32_t count;          /* entries taken */
    bool more;               /* a further whole entry was seen, or may be there */
    bool trimmed; /* read from the beginning, and the first entry is not boot_aggregate */
};
/* Appends whole entries from `from` on while they fit into `max` bytes; one entry is always taken,
 * however large. An entry that is not complete yet ends the reading without `more`. At most
 * count_max entries. Errors: AVOW_NOTFOUND (no list), AVOW_STATE (the list is another one or
 * shorter than `from`: begin at 0), AVOW_IO, AVOW_PARSE and AVOW_LIMIT (an entry that is none, when
 * it is the first), AVOW_NOMEM. */
struct avow_ima_want {
    struct avow_ima_pos from;
    size_t max;
    uint32_t count_max;
};
enum avow_rc avow_ima_reader_read(struct avow_ima_reader *r, const struct avow_ima_want *want,
                                  struct avow_buf *out, struct avow_ima_chunk *chunk,
                                  struct avow_err *err) AVOW_MUST_CHECK;

/* Position of entry `index`, counting from the nearest known place. AVOW_STATE if the list has
 * fewer. */
enum avow_rc avow_ima_reader_find(struct avow_ima_reader *r, uint64_t index,
                                  struct avow_ima_pos *out, struct avow_err *err) AVOW_MUST_CHECK;

#endif
