/* poison.c - preloaded into a program, kills it as soon as it hashes the content of the file
 * AVOW_POISON, and nothing else. The tests compile it themselves: what is shipped has no hook. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <openssl/evp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static unsigned char poison[4096];
static size_t poison_len;

__attribute__((constructor)) static void load(void)
{
    const char *path = getenv("AVOW_POISON");
    FILE *f = path ? fopen(path, "rb") : NULL;
    if (!f)
        return;
    poison_len = fread(poison, 1, sizeof poison, f);
    fclose(f);
}

int EVP_DigestUpdate(EVP_MD_CTX *ctx, const void *data, size_t len)
{
    static int (*real)(EVP_MD_CTX *, const void *, size_t);
    if (!real)
        real = (int (*)(EVP_MD_CTX *, const void *, size_t))dlsym(RTLD_NEXT, "EVP_DigestUpdate");
    if (poison_len && len == poison_len && !memcmp(data, poison, len))
        kill(getpid(), SIGKILL);
    return real(ctx, data, len);
}
