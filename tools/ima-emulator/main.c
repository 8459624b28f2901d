/* main.c - avow-ima-emulator: an IMA for rigs without one. Never for hosts: it measures what it is
 * told. */
#define _GNU_SOURCE /* nftw, realpath */
#include "avow/base/cli.h"
#include "avow/base/file.h"
#include "avow/base/hex.h"
#include "avow/base/log.h"
#include "ima_store.h"
#include "stream.h"

#include <errno.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "avow/base/banned.h"

#define FILE_MAX (256u * 1024u * 1024u)
#define OPEN_FOLDERS 16

static const char usage[] =
    "usage: avow-ima-emulator [--tcti TCTI] --list FILE COMMAND\n"
    "Keeps a binary IMA list in FILE (and its count in FILE.count) and extends PCR 10 of the TPM, "
    "as the kernel does.\n"
    "Development only.\n"
    "  init                 a new boot: the list is boot_aggregate of the TPM's PCRs\n"
    "  measure PATH...      hash files (folders: all files below) and add them, once per content\n"
    "  add PATH DIGEST      add an entry; DIGEST is hex, or ALG:hex (default sha256)\n"
    "  violation PATH       add a violation: zeros in the list, ones in the PCR\n"
    "  stream               add what lines of standard input say: DIGEST PATH or violation PATH;\n"
    "                       says `added N` when what was there is listed and extended\n"
    "TCTI: default from AVOW_TPM_TCTI\n";

struct args {
    const char *tcti, *list, *command;
    char **rest;
    int count;
};

static void report(const struct avow_ima_measurement *m)
{
    char hex[2 * AVOW_DIGEST_MAX + 1];
    avow_hex_encode(hex, m->violation ? avow_bytes_make(NULL, 0) : m->digest);
    printf("10 ima-ng %s:%s %.*s\n", avow_hash_name(m->alg), m->violation ? "violation" : hex,
           (int)m->path.len, m->path.ptr);
}

static enum avow_rc add(struct avow_ima_store *s, const struct avow_ima_measurement *m,
                        struct avow_err *err)
{
    enum avow_rc rc = avow_ima_store_add(s, m, err);
    if (!rc)
        report(m);
    return rc;
}

static enum avow_rc measure_file(struct avow_ima_store *s, const char *path, struct avow_err *err)
{
    AVOW_CLEANUP_VAL(avow_buf_deinit) struct avow_buf content;
    avow_buf_init(&content, FILE_MAX);
    struct avow_digest digest;
    bool known = false;
    enum avow_rc rc = avow_file_read(path, &content, err);
    if (rc)
        return rc;
    avow_digest(AVOW_HASH_SHA256, avow_buf_bytes(&content), &digest);
    const struct avow_ima_measurement m = {
        .alg = AVOW_HASH_SHA256, .digest = avow_digest_bytes(&digest), .path = avow_str_from(path)};
    rc = avow_ima_store_has(s, &m, &known, err);
    if (rc || known)
        return rc;
    return add(s, &m, err);
}

/* nftw has no argument for its callback. */
static struct {
    struct avow_ima_store *store;
    enum avow_rc rc;
    struct avow_err *err;
} walk;

static int walk_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st;
    (void)ftw;
    if (type == FTW_F)
        walk.rc = measure_file(walk.store, path, walk.err);
    return walk.rc ? 1 : 0;
}

static enum avow_rc cmd_measure(struct avow_ima_store *s, const struct args *a,
                                struct avow_err *err)
{
    walk.store = s;
    walk.err = err;
    walk.rc = AVOW_OK;
    for (int i = 0; i < a->count && !walk.rc; i++) {
        char *path = realpath(a->rest[i], NULL); /* the kernel's list has absolute paths */
        if (!path || (nftw(path, walk_one, OPEN_FOLDERS, FTW_PHYS) < 0 && !walk.rc))
            walk.rc = avow_err_set(err, AVOW_IO, errno, "%s: %s", a->rest[i], strerror(errno));
        free(path);
    }
    return walk.rc;
}

static enum avow_rc cmd_add(struct avow_ima_store *s, const struct args *a, struct avow_err *err)
{
    struct avow_digest digest;
    enum avow_hash alg;
    enum avow_rc rc = avow_ima_digest_parse(avow_str_from(a->rest[1]), &alg, &digest, err);
    if (rc)
        return rc;
    const struct avow_ima_measurement m = {
        .alg = alg, .digest = avow_digest_bytes(&digest), .path = avow_str_from(a->rest[0])};
    return add(s, &m, err);
}

static enum avow_rc cmd_violation(struct avow_ima_store *s, const struct args *a,
                                  struct avow_err *err)
{
    const struct avow_ima_measurement m = {
        .alg = AVOW_HASH_SHA256, .path = avow_str_from(a->rest[0]), .violation = true};
    return add(s, &m, err);
}

static enum avow_rc cmd_init(struct avow_ima_store *s, const struct args *a, struct avow_err *err)
{
    (void)a;
    return avow_ima_store_init(s, err);
}

static const struct {
    const char *name;
    int min, max;
    enum avow_rc (*run)(struct avow_ima_store *s, const struct args *a, struct avow_err *err);
} commands[] = {
    {"init", 0, 0, cmd_init},
    {"measure", 1, 1 << 20, cmd_measure},
    {"add", 2, 2, cmd_add},
    {"violation", 1, 1, cmd_violation},
};

static bool parse(int argc, char **argv, struct args *a)
{
    int i = 1;
    *a = (struct args){.tcti = getenv("AVOW_TPM_TCTI")};
    for (; i + 1 < argc && argv[i][0] == '-'; i += 2) {
        if (avow_cstr_eq(argv[i], "--tcti"))
            a->tcti = argv[i + 1];
        else if (avow_cstr_eq(argv[i], "--list"))
            a->list = argv[i + 1];
        else
            return false;
    }
    if (i >= argc || !a->list)
        return false;
    a->command = argv[i];
    a->rest = argv + i + 1;
    a->count = argc - i - 1;
    return true;
}

static enum avow_rc run(const struct args *a, struct avow_err *err)
{
    if (avow_cstr_eq(a->command, "stream") && !a->count)
        return avow_ima_stream(a->list, a->tcti, STDIN_FILENO, err);
    for (size_t i = 0; i < AVOW_ARRAY_LEN(commands); i++) {
        if (!avow_cstr_eq(commands[i].name, a->command))
            continue;
        if (a->count < commands[i].min || a->count > commands[i].max)
            return avow_err_set(err, AVOW_USAGE, 0, "%s: wrong number of words", a->command);
        AVOW_CLEANUP(avow_ima_store_close) struct avow_ima_store *s = NULL;
        enum avow_rc rc = avow_ima_store_open(a->list, a->tcti, &s, err);
        return rc ? rc : commands[i].run(s, a, err);
    }
    return avow_err_set(err, AVOW_USAGE, 0, "unknown command %s", a->command);
}

int main(int argc, char **argv)
{
    struct args a;
    struct avow_err err = {.rc = AVOW_OK};
    avow_log_init("avow-ima-emulator", AVOW_LOG_WARN, AVOW_LOG_TEXT);
    if (argc == 2 && avow_cstr_eq(argv[1], "--help"))
        return fputs(usage, stdout) < 0 ? AVOW_EXIT_FAILED : AVOW_EXIT_OK;
    if (argc == 2 && avow_cstr_eq(argv[1], "--version"))
        return puts(avow_version) < 0 ? AVOW_EXIT_FAILED : AVOW_EXIT_OK;
    if (!parse(argc, argv, &a)) {
        fputs(usage, stderr);
        return AVOW_EXIT_USAGE;
    }
    enum avow_rc rc = run(&a, &err);
    if (!rc && fflush(stdout))
        rc = avow_err_set(&err, AVOW_IO, errno, "standard output: %s", strerror(errno));
    if (rc)
        fprintf(stderr, "avow-ima-emulator: %s\n", err.msg);
    return (int)avow_exit_of(rc);
}
