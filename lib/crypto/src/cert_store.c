#include "cert_store_internal.h"

#include "avow/base/file.h"

#include "openssl_err.h"

#include <openssl/x509_vfy.h>

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "avow/base/banned.h"

#define STORE_FILE_MAX (1024u * 1024u)
#define STORE_PATH_MAX 4096u

static void dir_cleanup(DIR **d)
{
    if (*d)
        closedir(*d);
}

void avow_cert_store_free(struct avow_cert_store *s)
{
    if (!s)
        return;
    for (size_t i = 0; i < s->count; i++)
        avow_cert_free(s->certs[i]);
    avow_crl_list_deinit(&s->crls);
    X509_STORE_free(s->store);
    free(s);
}

size_t avow_cert_store_count(const struct avow_cert_store *s)
{
    return s->count;
}

static enum avow_rc store_add_file(void *arg, const char *path, struct avow_err *err)
{
    struct avow_cert_store *s = arg;
    AVOW_CLEANUP_VAL(avow_buf_deinit) struct avow_buf data;
    avow_buf_init(&data, STORE_FILE_MAX);
    enum avow_rc rc = avow_file_read(path, &data, err);
    if (rc)
        return rc;
    size_t first = s->count;
    rc = avow_cert_scan(avow_buf_bytes(&data), s->certs, AVOW_CERT_STORE_MAX, &s->count, err);
    if (!rc && s->count == first)
        rc = avow_err_set(err, AVOW_PARSE, 0, "no certificate");
    if (rc)
        return avow_err_wrap(err, rc, "%s", path);
    for (size_t i = first; i < s->count; i++)
        if (X509_STORE_add_cert(s->store, s->certs[i]->x509) != 1)
            return avow_openssl_err(err, AVOW_NOMEM, path);
    return AVOW_OK;
}

/* Regular files, also behind symbolic links (a ConfigMap is made of them); hidden ones are the
 * tools' own. */
static enum avow_rc walk_entry(const char *dir, const char *name, avow_folder_fn fn, void *arg,
                               struct avow_err *err)
{
    char path[STORE_PATH_MAX];
    struct stat st;
    if (name[0] == '.')
        return AVOW_OK;
    int n = snprintf(path, sizeof path, "%s/%s", dir, name);
    if (n < 0 || (size_t)n >= sizeof path)
        return avow_err_set(err, AVOW_LIMIT, 0, "%s: name too long", name);
    if (stat(path, &st))
        return avow_err_set(err, AVOW_IO, errno, "%s: %s", path, strerror(errno));
    return S_ISREG(st.st_mode) ? fn(arg, path, err) : AVOW_OK;
}

enum avow_rc avow_folder_walk(const char *dir, avow_folder_fn fn, void *arg, struct avow_err *err)
{
    AVOW_CLEANUP_VAL(dir_cleanup) DIR *d = opendir(dir);
    if (!d)
        return avow_err_set(err, AVOW_IO, errno, "open folder %s: %s", dir, strerror(errno));
    for (;;) {
        errno = 0;
        struct dirent *e = readdir(d);
        if (!e && errno)
            return avow_err_set(err, AVOW_IO, errno, "read folder %s: %s", dir, strerror(errno));
        if (!e)
            return AVOW_OK;
        enum avow_rc rc = walk_entry(dir, e->d_name, fn, arg, err);
        if (rc)
            return rc;
    }
}

enum avow_rc avow_cert_store_load(const char *dir, struct avow_cert_store **out,
                                  struct avow_err *err)
{
    AVOW_CLEANUP(avow_cert_store_free) struct avow_cert_store *s = calloc(1, sizeof *s);
    if (!s)
        return avow_err_set(err, AVOW_NOMEM, 0, "certificate store");
    s->store = X509_STORE_new();
    if (!s->store)
        return avow_openssl_err(err, AVOW_NOMEM, "certificate store");
    enum avow_rc rc = avow_folder_walk(dir, store_add_file, s, err);
    if (rc)
        return rc;
    *out = AVOW_STEAL(s);
    return AVOW_OK;
}
