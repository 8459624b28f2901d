#define _GNU_SOURCE /* flock, O_CLOEXEC */
#include "ima_store.h"

#include "avow/base/file.h"
#include "avow/formats/ima_list.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "avow/base/banned.h"

#define PATH_LEN_MAX 4096u
#define LIST_MAX (256u * 1024u * 1024u)
#define ENTRY_MAX 8192u
#define PCR_IMA 10u

struct avow_ima_store {
    char list[PATH_LEN_MAX], count[PATH_LEN_MAX], lock[PATH_LEN_MAX];
    int lock_fd;
    struct avow_tpm *tpm;
    struct avow_tpm_banks banks;
};

static enum avow_rc io_error(const char *path, struct avow_err *err)
{
    return avow_err_set(err, errno == ENOENT ? AVOW_NOTFOUND : AVOW_IO, errno, "%s: %s", path,
                        strerror(errno));
}

static enum avow_rc take_lock(struct avow_ima_store *s, struct avow_err *err)
{
    s->lock_fd = open(s->lock, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    if (s->lock_fd < 0)
        return io_error(s->lock, err);
    while (flock(s->lock_fd, LOCK_EX))
        if (errno != EINTR)
            return io_error(s->lock, err);
    return AVOW_OK;
}

static enum avow_rc open_tpm(struct avow_ima_store *s, const char *tcti, struct avow_err *err)
{
    const struct avow_tpm_opts opts = {.tcti = tcti};
    enum avow_rc rc = avow_tpm_new(&opts, &s->tpm, err);
    if (!rc)
        rc = avow_tpm_open(s->tpm, err);
    return rc ? rc : avow_tpm_banks_read(s->tpm, &s->banks, err);
}

enum avow_rc avow_ima_store_open(const char *list, const char *tcti, struct avow_ima_store **out,
                                 struct avow_err *err)
{
    AVOW_CLEANUP(avow_ima_store_close) struct avow_ima_store *s = calloc(1, sizeof *s);
    if (!s)
        return avow_err_set(err, AVOW_NOMEM, 0, "list");
    s->lock_fd = -1;
    snprintf(s->list, sizeof s->list, "%s", list);
    snprintf(s->count, sizeof s->count, "%s.count", list);
    if (snprintf(s->lock, sizeof s->lock, "%s.lock", list) + 8 >= (int)sizeof s->lock)
        return avow_err_set(err, AVOW_CONFIG, 0, "the list's path is too long");
    enum avow_rc rc = take_lock(s, err);
    if (!rc)
        rc = open_tpm(s, tcti, err);
    if (rc)
        return rc;
    *out = AVOW_STEAL(s);
    return AVOW_OK;
}

void avow_ima_store_close(struct avow_ima_store *s)
{
    if (!s)
        return;
    avow_tpm_free(s->tpm); /* others may use it before the lock is free, not the other way round */
    if (s->lock_fd >= 0)
        close(s->lock_fd);
    free(s);
}

static enum avow_rc read_list(struct avow_ima_store *s, struct avow_buf *out, struct avow_err *err)
{
    struct avow_err why = {.rc = AVOW_OK};
    enum avow_rc rc = avow_file_read(s->list, out, &why);
    if (rc)
        return avow_err_set(err, why.native == ENOENT ? AVOW_NOTFOUND : rc, why.native, "%s",
                            why.msg);
    return AVOW_OK;
}

static enum avow_rc count_list(struct avow_ima_store *s, struct avow_ima_tally *out,
                               struct avow_err *err)
{
    AVOW_CLEANUP_VAL(avow_buf_deinit) struct avow_buf list;
    avow_buf_init(&list, LIST_MAX);
    enum avow_rc rc = read_list(s, &list, err);
    if (rc)
        return rc;
    struct avow_rd r = avow_rd_make(avow_buf_bytes(&list));
    struct avow_ima_entry e;
    *out = (struct avow_ima_tally){.bytes = list.len};
    while (avow_ima_entry_next(&r, &e) == AVOW_IMA_ENTRY)
        out->entries++;
    return AVOW_OK;
}

/* The file that stands in for securityfs' runtime_measurements_count. */
static enum avow_rc write_count(struct avow_ima_store *s, uint64_t entries, struct avow_err *err)
{
    AVOW_CLEANUP_VAL(avow_buf_deinit) struct avow_buf text;
    avow_buf_init(&text, 32);
    avow_buf_printf(&text, "%" PRIu64 "\n", entries);
    enum avow_rc rc = avow_buf_status(&text, err);
    return rc ? rc : avow_file_write(s->count, avow_buf_bytes(&text), 0644, err);
}

static bool write_all(int fd, struct avow_bytes b)
{
    while (b.len) {
        ssize_t n = write(fd, b.ptr, b.len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return false;
        b.ptr += n;
        b.len -= (size_t)n;
    }
    return true;
}

/* All of the entry or none of it. */
static enum avow_rc append(struct avow_ima_store *s, struct avow_bytes entry, struct avow_err *err)
{
    struct stat st;
    int fd = open(s->list, O_WRONLY | O_APPEND | O_CLOEXEC);
    if (fd < 0)
        return io_error(s->list, err);
    enum avow_rc rc = AVOW_OK;
    if (fstat(fd, &st)) {
        rc = io_error(s->list, err);
    } else if (!write_all(fd, entry)) {
        rc = io_error(s->list, err);
        if (ftruncate(fd, st.st_size))
            rc = avow_err_set(err, AVOW_IO, errno, "%s: half an entry is left", s->list);
    }
    if (close(fd) && !rc)
        rc = io_error(s->list, err);
    return rc;
}

static enum avow_rc extend(struct avow_ima_store *s, const struct avow_tpm_extend *values,
                           struct avow_err *err)
{
    return avow_tpm_pcr_extend(s->tpm, PCR_IMA, values, s->banks.count, err);
}

enum avow_rc avow_ima_store_init(struct avow_ima_store *s, struct avow_err *err)
{
    struct avow_tpm_pcrs pcrs;
    /* ima_calc_boot_aggregate takes SHA-256 where it is active, else SHA-1. */
    enum avow_hash bank =
        avow_tpm_bank_is_active(&s->banks, AVOW_HASH_SHA256) ? AVOW_HASH_SHA256 : AVOW_HASH_SHA1;
    enum avow_rc rc = avow_tpm_pcr_read(s->tpm, bank, &pcrs, err);
    if (rc)
        return rc;
    if (!avow_bytes_all(avow_bytes_make(pcrs.values[PCR_IMA], avow_hash_len(bank)), 0))
        return avow_err_set(err, AVOW_STATE, 0,
                            "PCR 10 is not zero: a list begins at boot, so reboot the TPM first");
    struct avow_digest aggregate;
    struct avow_tpm_extend values[AVOW_TPM_BANKS_MAX];
    AVOW_CLEANUP_VAL(avow_buf_deinit) struct avow_buf entry;
    avow_buf_init(&entry, ENTRY_MAX);
    avow_ima_boot_aggregate(&pcrs, &aggregate);
    const struct avow_ima_measurement m = {.alg = bank,
                                           .digest = avow_digest_bytes(&aggregate),
                                           .path = AVOW_STR_LIT("boot_aggregate")};
    rc = avow_ima_emit(&m, &s->banks, &entry, values, err);
    if (!rc) /* a new file in place of the old one: readers see that it is another boot's */
        rc = avow_file_write(s->list, avow_buf_bytes(&entry), 0644, err);
    if (!rc)
        rc = extend(s, values, err);
    return rc ? rc : write_count(s, 1, err);
}

/* Entry first, then the PCR, as the kernel does. */
static enum avow_rc add_one(struct avow_ima_store *s, const struct avow_ima_measurement *m,
                            struct avow_ima_tally *tally, struct avow_err *err)
{
    struct avow_tpm_extend values[AVOW_TPM_BANKS_MAX];
    AVOW_CLEANUP_VAL(avow_buf_deinit) struct avow_buf entry;
    avow_buf_init(&entry, ENTRY_MAX);
    enum avow_rc rc = avow_ima_emit(m, &s->banks, &entry, values, err);
    if (!rc)
        rc = append(s, avow_buf_bytes(&entry), err);
    if (rc)
        return rc;
    tally->bytes += entry.len;
    tally->entries++;
    return extend(s, values, err);
}

enum avow_rc avow_ima_store_add_many(struct avow_ima_store *s, const struct avow_ima_measurement *m,
                                     size_t n, struct avow_ima_tally *tally, struct avow_err *err)
{
    struct stat st;
    enum avow_rc rc = AVOW_OK;
    if (stat(s->list, &st))
        return io_error(s->list, err);
    if (!tally->entries || tally->bytes != (uint64_t)st.st_size)
        rc = count_list(s, tally, err);
    if (rc)
        return rc;
    for (size_t i = 0; i < n && !rc; i++)
        rc = add_one(s, &m[i], tally, err);
    enum avow_rc counted = write_count(s, tally->entries, rc ? NULL : err);
    return rc ? rc : counted;
}

enum avow_rc avow_ima_store_add(struct avow_ima_store *s, const struct avow_ima_measurement *m,
                                struct avow_err *err)
{
    struct avow_ima_tally tally = {0};
    return avow_ima_store_add_many(s, m, 1, &tally, err);
}

enum avow_rc avow_ima_store_has(struct avow_ima_store *s, const struct avow_ima_measurement *m,
                                bool *out, struct avow_err *err)
{
    AVOW_CLEANUP_VAL(avow_buf_deinit) struct avow_buf list;
    avow_buf_init(&list, LIST_MAX);
    enum avow_rc rc = read_list(s, &list, err);
    if (rc)
        return rc;
    struct avow_rd r = avow_rd_make(avow_buf_bytes(&list));
    struct avow_ima_entry e;
    *out = false;
    while (!*out && avow_ima_entry_next(&r, &e) == AVOW_IMA_ENTRY) {
        struct avow_ima_file f;
        *out = !avow_ima_file_parse(&e, &f, NULL) && !f.violation &&
               avow_bytes_eq(f.digest, m->digest) && avow_str_eq(f.path, m->path);
    }
    return AVOW_OK;
}
