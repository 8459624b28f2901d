/* fuzz_replay.c - runs a fuzz target over the files of a folder, so that the corpus is an ordinary
 * test. */
#define _GNU_SOURCE /* fileno */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define FILE_MAX (8u * 1024u * 1024u)

static int replay(const char *path)
{
    struct stat st;
    FILE *f = fopen(path, "rb");
    if (!f || fstat(fileno(f), &st) || st.st_size > (off_t)FILE_MAX) {
        fprintf(stderr, "%s: unreadable or too large\n", path);
        if (f)
            fclose(f);
        return 1;
    }
    size_t size = (size_t)st.st_size;
    uint8_t *data =
        malloc(size ? size : 1); /* exact size, so that a sanitizer sees one byte too many */
    int failed = !data || fread(data, 1, size, f) != size;
    if (!failed)
        LLVMFuzzerTestOneInput(data, size);
    free(data);
    fclose(f);
    return failed;
}

int main(int argc, char **argv)
{
    unsigned count = 0, failed = 0;
    DIR *dir = argc == 2 ? opendir(argv[1]) : NULL;
    if (!dir) {
        fprintf(stderr, "usage: %s CORPUS-FOLDER\n", argv[0]);
        return 2;
    }
    for (struct dirent *e; (e = readdir(dir));) {
        char path[4096];
        if (e->d_name[0] == '.')
            continue;
        snprintf(path, sizeof path, "%s/%s", argv[1], e->d_name);
        failed += (unsigned)replay(path);
        count++;
    }
    closedir(dir);
    printf("%u inputs\n", count);
    return failed || !count;
}
