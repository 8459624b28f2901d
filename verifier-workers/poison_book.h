/* poison_book.h - remembers beyond the death of the process which record was in hand. Layer:
 * verifier-workers. PROTOCOL R21.
 *
 * A record that kills whoever reads it would kill every worker in turn, and its partition would
 * stand still. So the offset in hand is written, before the record is looked at, into a page of a
 * file that is mapped and shared: it costs a store, and it is in the file when the process is not
 * there any more. A record that was in hand at two deaths is not looked at again.
 *
 * What it does not see: deaths outside an appraisal, and deaths of the machine, which may lose the
 * page. Both cost a restart, as before. A file per partition; one process has it at a time. */
#ifndef AVOW_WORKER_POISON_BOOK_H
#define AVOW_WORKER_POISON_BOOK_H

#include "avow/base/err.h"

#include <stdbool.h>
#include <stdint.h>

#define AVOW_POISON_DEATHS 2u

struct avow_poison_page;
struct avow_poison_book {          /* all zero: keeps no book */
    struct avow_poison_page *page; /* mapped; NULL: none */
    int fd;
    int64_t poison; /* offset that is not to be looked at; -1: none. Valid with a page */
};

struct avow_poison_place {
    const char *folder;
    const char *group;
    const uint8_t *fleet; /* [16] */
    int32_t partition;
    int64_t committed; /* evidence goes on here */
};
/* Opens the file, or makes it, and draws the conclusions. *deaths is how often the record that is
 * named by the file was in hand at a death; 0: none. Errors: AVOW_IO; AVOW_STATE: another process
 * has it. */
enum avow_rc avow_poison_book_open(const struct avow_poison_place *place,
                                   struct avow_poison_book *out, uint64_t *deaths,
                                   struct avow_err *err) AVOW_MUST_CHECK;
void avow_poison_book_close(struct avow_poison_book *b);

bool avow_poison_book_forbids(const struct avow_poison_book *b, int64_t offset);
/* The record is in hand; nothing is. */
void avow_poison_book_take(struct avow_poison_book *b, int64_t offset);
void avow_poison_book_done(struct avow_poison_book *b);
/* Everything below `next` is committed: what happened there need not be known any more. */
void avow_poison_book_passed(struct avow_poison_book *b, int64_t next);

#endif
