/* make_credential.c - MakeCredential as a program, for the test against a TPM.
 * usage: make_credential EK_TPM2B_PUBLIC AK_NAME SECRET OUT; OUT is in tpm2-tools' format. */
#include "avow/base/file.h"
#include "avow/crypto/ak.h"

#include <stdio.h>

#include "avow/base/banned.h"

#define FILE_MAX 4096u

static enum avow_rc read_into(const char *path, struct avow_buf *b, struct avow_err *err)
{
    avow_buf_init(b, FILE_MAX);
    return avow_file_read(path, b, err);
}

static enum avow_rc run(char **argv, struct avow_err *err)
{
    AVOW_CLEANUP_VAL(avow_buf_deinit) struct avow_buf pub = {0};
    AVOW_CLEANUP_VAL(avow_buf_deinit) struct avow_buf name = {0};
    AVOW_CLEANUP_VAL(avow_buf_deinit) struct avow_buf secret = {0};
    AVOW_CLEANUP_VAL(avow_buf_deinit) struct avow_buf out;
    AVOW_CLEANUP_VAL(avow_buf_deinit) struct avow_buf encrypted;
    AVOW_CLEANUP(avow_ek_free) struct avow_ek *ek = NULL;
    avow_buf_init(&out, FILE_MAX);
    avow_buf_init(&encrypted, FILE_MAX);
    enum avow_rc rc = read_into(argv[1], &pub, err);
    if (!rc)
        rc = read_into(argv[2], &name, err);
    if (!rc)
        rc = read_into(argv[3], &secret, err);
    if (!rc)
        rc = avow_ek_parse(avow_buf_bytes(&pub), &ek, err);
    if (rc)
        return rc;
    avow_buf_put_u32be(&out, 0xBADCC0DE); /* magic and version of tpm2-tools' credential file */
    avow_buf_put_u32be(&out, 1);
    const struct avow_credential_ek c = avow_ek_credential(ek);
    rc = avow_credential_make(&c, avow_buf_bytes(&name), avow_buf_bytes(&secret), &out, &encrypted,
                              err);
    if (rc)
        return rc;
    avow_buf_put(&out, encrypted.ptr, encrypted.len);
    rc = avow_buf_status(&out, err);
    return rc ? rc : avow_file_write(argv[4], avow_buf_bytes(&out), 0600, err);
}

int main(int argc, char **argv)
{
    struct avow_err err = {0};
    if (argc != 5) {
        fprintf(stderr, "usage: make_credential EK_TPM2B_PUBLIC AK_NAME SECRET OUT\n");
        return 2;
    }
    if (run(argv, &err)) {
        fprintf(stderr, "make_credential: %s\n", err.msg);
        return 1;
    }
    return 0;
}
