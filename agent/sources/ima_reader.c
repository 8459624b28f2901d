#include "sources/ima_reader.h"

#include "avow/base/num.h"
#include "avow/formats/ima_list.h"
#include "sources/held_file.h"

#include <stdlib.h>
#include <string.h>

#include "avow/base/banned.h"

#define READ_SIZE 65536u
#define KERNEL_NAME "binary_runtime_measurements"
#define KERNEL_COUNT "runtime_measurements_count"

struct avow_ima_reader {
    struct avow_held_file list;
    struct avow_held_file counts[2]; /* where a count may be; [found] was there last time */
    unsigned found;
    struct avow_buf
        window; /* bytes of the list from window_at on: what was read ahead is not read again, and
                   reads of securityfs stay sequential, which it serves without walking the list */
    uint64_t window_at;
    struct avow_ima_pos known; /* somewhere in this list */
};

static char *join(const char *a, size_t a_len, const char *b)
{
    size_t b_len = strlen(b);
    char *s = malloc(a_len + b_len + 1);
    if (!s)
        return NULL;
    memcpy(s, a, a_len);
    memcpy(s + a_len, b, b_len + 1);
    return s;
}

static enum avow_rc name_counts(struct avow_ima_reader *r, const char *path, struct avow_err *err)
{
    const char *slash = strrchr(path, '/');
    size_t dir_len = slash ? (size_t)(slash - path) + 1 : 0;
    char *beside = join(path, strlen(path), ".count");
    char *kernel = avow_cstr_eq(path + dir_len, KERNEL_NAME) ? join(path, dir_len, KERNEL_COUNT)
                                                             : join(path, strlen(path), ".count");
    enum avow_rc rc = beside && kernel ? avow_held_init(&r->counts[0], kernel, err)
                                       : avow_err_set(err, AVOW_NOMEM, 0, "IMA list");
    if (!rc)
        rc = avow_held_init(&r->counts[1], beside, err);
    free(beside);
    free(kernel);
    return rc;
}

enum avow_rc avow_ima_reader_new(const char *path, struct avow_ima_reader **out,
                                 struct avow_err *err)
{
    AVOW_CLEANUP(avow_ima_reader_free) struct avow_ima_reader *r = calloc(1, sizeof *r);
    if (!r)
        return avow_err_set(err, AVOW_NOMEM, 0, "IMA list");
    r->list.fd = r->counts[0].fd = r->counts[1].fd = -1;
    avow_buf_init(&r->window, AVOW_IMA_WINDOW_MAX);
    enum avow_rc rc = avow_held_init(&r->list, path, err);
    if (!rc)
        rc = name_counts(r, path, err);
    if (rc)
        return rc;
    *out = AVOW_STEAL(r);
    return AVOW_OK;
}

/* What is known about the list does not hold for the one that is there now. */
static void forget_list(struct avow_ima_reader *r)
{
    avow_buf_reset(&r->window);
    r->window_at = 0;
    r->known = (struct avow_ima_pos){0, 0};
}

void avow_ima_reader_free(struct avow_ima_reader *r)
{
    if (!r)
        return;
    avow_held_deinit(&r->list);
    avow_held_deinit(&r->counts[0]);
    avow_held_deinit(&r->counts[1]);
    avow_buf_deinit(&r->window);
    free(r);
}

enum avow_rc avow_ima_reader_open(struct avow_ima_reader *r, struct avow_err *err)
{
    uint64_t count = 0;
    bool changed = false, exact = false;
    enum avow_rc rc = avow_held_look(&r->list, &changed, err);
    return rc ? rc : avow_ima_reader_count(r, &count, &exact, err);
}

/* --- Count --- */

static enum avow_rc read_count(struct avow_held_file *f, uint64_t *out, struct avow_err *err)
{
    uint8_t text[32];
    size_t n = 0;
    bool changed = false;
    enum avow_rc rc = avow_held_look(f, &changed, err);
    if (!rc)
        rc = avow_held_read(f, text, sizeof text, 0, &n, err);
    if (rc)
        return rc;
    struct avow_str s = {(const char *)text, n};
    while (s.len && s.ptr[s.len - 1] == '\n')
        s.len--;
    if (!avow_num_parse_u64(s, UINT64_MAX, out))
        return avow_err_set(err, AVOW_PARSE, 0, "%s: not a number", f->path);
    return AVOW_OK;
}

enum avow_rc avow_ima_reader_count(struct avow_ima_reader *r, uint64_t *out, bool *exact,
                                   struct avow_err *err)
{
    enum avow_rc rc = AVOW_NOTFOUND;
    for (unsigned i = 0; i < 2 && rc == AVOW_NOTFOUND; i++) {
        rc = read_count(&r->counts[r->found], out, err);
        if (rc == AVOW_NOTFOUND)
            r->found = 1 - r->found;
    }
    *exact = true;
    if (rc != AVOW_NOTFOUND)
        return rc;
    bool changed = false;
    rc = avow_held_look(&r->list, &changed, err);
    if (changed)
        forget_list(r);
    if (rc)
        return rc;
    *out = r->list.size;
    *exact = false;
    return AVOW_OK;
}

/* --- The list --- */

/* Opens the list, or notices that another file has taken its place or that it has shrunk below
 * `offset`: then it is another boot's, which starts at entry 0. */
static enum avow_rc open_list(struct avow_ima_reader *r, uint64_t offset, struct avow_err *err)
{
    bool changed = false;
    enum avow_rc rc = avow_held_look(&r->list, &changed, err);
    if (rc || changed)
        forget_list(r);
    if (rc)
        return rc;
    if (changed && offset)
        return avow_err_set(err, AVOW_STATE, 0, "%s is another file now", r->list.path);
    /* securityfs reports 0; there, what is gone is seen as a read that brings nothing. */
    uint64_t size = r->list.size;
    if (size && size < avow_max_u64(offset, r->window_at + r->window.len)) {
        forget_list(r);
        if (offset)
            return avow_err_set(err, AVOW_STATE, 0, "%s has shrunk", r->list.path);
    }
    return AVOW_OK;
}

/* Drops what is before `offset`; empties the window if `offset` is not in it. */
static void move_window(struct avow_ima_reader *r, uint64_t offset)
{
    if (offset < r->window_at || offset > r->window_at + r->window.len) {
        avow_buf_reset(&r->window);
        r->window_at = offset;
        return;
    }
    size_t skip = (size_t)(offset - r->window_at);
    if (!skip || !r->window.ptr) /* an empty window has nothing to skip */
        return;
    memmove(r->window.ptr, r->window.ptr + skip, r->window.len - skip);
    r->window.len -= skip;
    r->window_at = offset;
}

/* Appends up to READ_SIZE bytes of the list to the window. *got 0: end of the list. */
static enum avow_rc read_ahead(struct avow_ima_reader *r, size_t *got, struct avow_err *err)
{
    size_t len = r->window.len;
    uint8_t *p = avow_buf_extend(&r->window, READ_SIZE);
    if (!p)
        return avow_buf_status(&r->window, err);
    *got = 0;
    enum avow_rc rc = avow_held_read(&r->list, p, READ_SIZE, r->window_at + len, got, err);
    r->window.len = len + *got;
    return rc;
}

/* The entry at `pos`, borrowed from the window until the next call. END: nothing complete is there.
 */
static enum avow_rc entry_at(struct avow_ima_reader *r, struct avow_ima_pos pos,
                             struct avow_ima_entry *e, bool *end, struct avow_err *err)
{
    for (;;) {
        if (pos.offset < r->window_at || pos.offset > r->window_at + r->window.len)
            move_window(r, pos.offset);
        size_t skip = (size_t)(pos.offset - r->window_at);
        struct avow_rd rd = avow_rd_make(
            avow_bytes_make(r->window.ptr ? r->window.ptr + skip : NULL, r->window.len - skip));
        *end = false;
        switch (avow_ima_entry_next(&rd, e)) {
        case AVOW_IMA_ENTRY:
            return AVOW_OK;
        case AVOW_IMA_MALFORMED:
            return avow_err_set(err, AVOW_PARSE, 0, "%s: entry %llu is malformed", r->list.path,
                                (unsigned long long)pos.index);
        case AVOW_IMA_TOO_LARGE:
            return avow_err_set(err, AVOW_LIMIT, 0, "%s: entry %llu is too large", r->list.path,
                                (unsigned long long)pos.index);
        case AVOW_IMA_END:
        case AVOW_IMA_TRUNCATED:
        case AVOW_IMA_NO_MEMORY: /* of text only */
            break;
        }
        move_window(r, pos.offset);
        size_t got = 0;
        enum avow_rc rc = read_ahead(r, &got, err);
        if (rc)
            return rc;
        if (!got) {
            *end = true;
            return AVOW_OK;
        }
    }
}

/* The kernel's first entry is always boot_aggregate (ima_init.c). A template that we cannot read is
 * not judged. */
static bool is_trimmed(const struct avow_ima_entry *first)
{
    struct avow_ima_file f;
    if (avow_ima_file_parse(first, &f, NULL))
        return false;
    return !avow_str_is(f.path, "boot_aggregate");
}

enum avow_rc avow_ima_reader_read(struct avow_ima_reader *r, const struct avow_ima_want *want,
                                  struct avow_buf *out, struct avow_ima_chunk *chunk,
                                  struct avow_err *err)
{
    enum avow_rc rc = open_list(r, want->from.offset, err);
    if (rc)
        return rc;
    struct avow_ima_chunk c = {.end = want->from};
    size_t taken = 0;
    for (;;) {
        struct avow_ima_entry e;
        bool end = false;
        rc = entry_at(r, c.end, &e, &end, err);
        if (rc && !c.count)
            return rc;
        if (rc || end)
            break; /* what is good goes out first; the bad entry fails the next reading */
        if (c.count == want->count_max || (c.count && e.raw.len > want->max - taken)) {
            c.more = true;
            break;
        }
        if (!c.end.index)
            c.trimmed = is_trimmed(&e);
        avow_buf_put(out, e.raw.ptr, e.raw.len);
        taken = avow_min_u64(taken + e.raw.len, want->max);
        c.count++;
        c.end.index++;
        c.end.offset += e.raw.len;
    }
    c.more = c.more || rc != AVOW_OK;
    rc = avow_buf_status(out, err);
    if (rc)
        return rc;
    r->known = c.end;
    *chunk = c;
    return AVOW_OK;
}

enum avow_rc avow_ima_reader_find(struct avow_ima_reader *r, uint64_t index,
                                  struct avow_ima_pos *out, struct avow_err *err)
{
    enum avow_rc rc = open_list(r, 0, err);
    if (rc)
        return rc;
    struct avow_ima_pos pos = r->known.index <= index ? r->known : (struct avow_ima_pos){0, 0};
    while (pos.index < index) {
        struct avow_ima_entry e;
        bool end = false;
        rc = entry_at(r, pos, &e, &end, err);
        if (rc)
            return rc;
        if (end)
            return avow_err_set(err, AVOW_STATE, 0, "%s has %llu entries, not %llu", r->list.path,
                                (unsigned long long)pos.index, (unsigned long long)index);
        pos.index++;
        pos.offset += e.raw.len;
    }
    r->known = pos;
    *out = pos;
    return AVOW_OK;
}
