#define _GNU_SOURCE /* symlink, umask, setrlimit */
#include "avow/base/file.h"

#include "check.h"
#include "scratch.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "avow/base/banned.h"

static unsigned count_files(void)
{
    DIR *dir = opendir(scratch_path(""));
    unsigned n = 0;
    assert_non_null(dir);
    for (struct dirent *e; (e = readdir(dir));)
        n += e->d_name[0] != '.';
    closedir(dir);
    return n;
}

static void test_file_read__existing__is_appended(void **state)
{
    struct avow_buf b;
    (void)state;
    avow_buf_init(&b, 100);
    avow_buf_put_str(&b, "<");
    assert_int_equal(avow_file_read(scratch_write("a", "text"), &b, NULL), AVOW_OK);
    assert_string_equal(avow_buf_cstr(&b), "<text");
    assert_int_equal(avow_file_read(scratch_write("empty", ""), &b, NULL), AVOW_OK);
    assert_string_equal(avow_buf_cstr(&b), "<text");
    avow_buf_deinit(&b);
}

static void test_file_read__failures__keep_the_buffer_and_name_the_path(void **state)
{
    struct avow_err err;
    struct avow_buf b;
    (void)state;
    avow_buf_init(&b, 5);
    avow_buf_put_str(&b, "<");
    assert_int_equal(avow_file_read(scratch_path("none"), &b, &err), AVOW_IO);
    assert_int_equal(err.native, ENOENT);
    assert_non_null(strstr(err.msg, scratch_path("none")));
    assert_int_equal(avow_file_read(scratch_path(""), &b, &err), AVOW_IO);
    assert_int_equal(err.native, EISDIR);
    assert_int_equal(avow_file_read(scratch_write("five", "12345"), &b, &err), AVOW_LIMIT);
    assert_non_null(strstr(err.msg, scratch_path("five")));
    assert_int_equal(b.len, 1);
    avow_buf_deinit(&b);
}

static void test_file_read__larger_than_a_chunk__is_whole(void **state)
{
    enum { SIZE = 200001 };
    struct avow_buf in, out;
    (void)state;
    avow_buf_init(&in, SIZE);
    avow_buf_init(&out, SIZE);
    uint8_t *p = avow_buf_extend(&in, SIZE);
    for (size_t i = 0; i < SIZE; i++)
        p[i] = (uint8_t)(i * 7 + i / 251);
    const char *path = scratch_path("big");
    assert_int_equal(avow_file_write(path, avow_buf_bytes(&in), 0600, NULL), AVOW_OK);
    assert_int_equal(avow_file_read(path, &out, NULL), AVOW_OK);
    assert_true(avow_bytes_eq(avow_buf_bytes(&in), avow_buf_bytes(&out)));
    avow_buf_deinit(&in);
    avow_buf_deinit(&out);
}

static void test_file_read__dash__is_standard_input(void **state)
{
    struct avow_buf b;
    int saved = dup(STDIN_FILENO), fd = open(scratch_write("in", "piped"), O_RDONLY);
    (void)state;
    assert_true(saved >= 0 && fd >= 0 && dup2(fd, STDIN_FILENO) == STDIN_FILENO);
    avow_buf_init(&b, 100);
    enum avow_rc rc = avow_file_read("-", &b, NULL);
    dup2(saved, STDIN_FILENO);
    close(saved);
    close(fd);
    assert_int_equal(rc, AVOW_OK);
    assert_string_equal(avow_buf_cstr(&b), "piped");
    avow_buf_deinit(&b);
}

static void test_file_write__replace__is_atomic_with_its_mode(void **state)
{
    const char *path = scratch_write("a", "old");
    struct stat before, after;
    struct avow_buf b;
    (void)state;
    umask(0077);
    assert_int_equal(stat(path, &before), 0);
    assert_int_equal(avow_file_write(path, avow_bytes_make("new", 3), 0644, NULL), AVOW_OK);
    assert_int_equal(stat(path, &after), 0);
    assert_int_equal(after.st_mode & 07777, 0644); /* whatever the umask is */
    assert_true(before.st_ino != after.st_ino);    /* a new file took the name */
    avow_buf_init(&b, 10);
    assert_int_equal(avow_file_read(path, &b, NULL), AVOW_OK);
    assert_string_equal(avow_buf_cstr(&b), "new");
    avow_buf_deinit(&b);
    assert_int_equal(count_files(), 1);
}

static void test_file_write__failure__leaves_no_file_behind(void **state)
{
    struct avow_err err;
    (void)state;
    assert_int_equal(avow_file_write(scratch_path("none/a"), avow_bytes_make("x", 1), 0600, &err),
                     AVOW_IO);
    assert_int_equal(err.native, ENOENT);
    assert_int_equal(avow_file_mkdirs(scratch_path("folder/full"), 0700, NULL), AVOW_OK);
    /* rename over a folder fails after the temporary file was written */
    assert_int_equal(avow_file_write(scratch_path("folder"), avow_bytes_make("x", 1), 0600, &err),
                     AVOW_IO);
    assert_int_equal(err.native, EISDIR);
    assert_int_equal(count_files(), 1);
    char *longest = malloc(5000);
    assert_non_null(longest);
    memset(longest, 'a', 4999);
    longest[4999] = '\0';
    assert_int_equal(avow_file_write(longest, avow_bytes_make("x", 1), 0600, &err), AVOW_IO);
    assert_int_equal(err.native, ENAMETOOLONG);
    free(longest);
}

/* A file size limit makes write(2) fail half-way, as a full disk does. */
static void test_file_write__disk_full_half_way__keeps_the_old_file(void **state)
{
    const char *path = scratch_write("a", "old");
    uint8_t data[8192] = {0};
    struct rlimit old, small;
    struct avow_err err;
    struct avow_buf b;
    (void)state;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
    small = old;
    small.rlim_cur = 4096;
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    enum avow_rc rc = avow_file_write(path, AVOW_BYTES_OF(data), 0600, &err);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
    signal(SIGXFSZ, SIG_DFL);
    assert_int_equal(rc, AVOW_IO);
    assert_int_equal(err.native, EFBIG);
    assert_int_equal(count_files(), 1);
    avow_buf_init(&b, 10);
    assert_int_equal(avow_file_read(path, &b, NULL), AVOW_OK);
    assert_string_equal(avow_buf_cstr(&b), "old");
    avow_buf_deinit(&b);
}

static void test_file_mkdirs__table__makes_parents_and_accepts_what_is_there(void **state)
{
    struct avow_err err;
    struct stat st;
    (void)state;
    assert_int_equal(avow_file_mkdirs(scratch_path("a/b/c"), 0700, &err), AVOW_OK);
    assert_int_equal(avow_file_mkdirs(scratch_path("a//b/c/"), 0700, &err), AVOW_OK);
    assert_int_equal(stat(scratch_path("a/b/c"), &st), 0);
    assert_int_equal(st.st_mode & 07777, 0700);
    assert_int_equal(symlink("b", scratch_path("a/link")), 0);
    assert_int_equal(avow_file_mkdirs(scratch_path("a/link/d"), 0700, &err), AVOW_OK);
    scratch_write("file", "x");
    assert_int_equal(avow_file_mkdirs(scratch_path("file"), 0700, &err), AVOW_IO);
    assert_int_equal(err.native, ENOTDIR);
    assert_int_equal(avow_file_mkdirs(scratch_path("file/sub"), 0700, &err), AVOW_IO);
    assert_int_equal(avow_file_mkdirs("", 0700, &err), AVOW_IO);
    assert_int_equal(avow_file_mkdirs("/", 0700, &err), AVOW_OK);
}

static void test_file_exists__file_folder_nothing__tells(void **state)
{
    (void)state;
    assert_true(avow_file_exists(scratch_write("a", "")));
    assert_true(avow_file_exists(scratch_path("")));
    assert_false(avow_file_exists(scratch_path("b")));
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, scratch_setup, scratch_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_file_read__existing__is_appended),
        TEST(test_file_read__failures__keep_the_buffer_and_name_the_path),
        TEST(test_file_read__larger_than_a_chunk__is_whole),
        TEST(test_file_read__dash__is_standard_input),
        TEST(test_file_write__replace__is_atomic_with_its_mode),
        TEST(test_file_write__failure__leaves_no_file_behind),
        TEST(test_file_write__disk_full_half_way__keeps_the_old_file),
        TEST(test_file_mkdirs__table__makes_parents_and_accepts_what_is_there),
        TEST(test_file_exists__file_folder_nothing__tells),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
