#include "root.h"

#include "avow/base/file.h"

#include <stdlib.h>
#include <string.h>

#include "avow/base/banned.h"

#define ROOT_FILE_MAX 16384u

void avow_root_free(struct avow_root *r)
{
    if (!r)
        return;
    for (size_t i = 0; i < r->count; i++)
        avow_pubkey_free(r->keys[i]);
    free(r);
}

static enum avow_rc check_keys(const struct avow_root *r, struct avow_err *err)
{
    for (size_t i = 0; i < r->count; i++)
        if (avow_pubkey_kind(r->keys[i]) != AVOW_KEY_EC_P256)
            return avow_err_set(err, AVOW_PARSE, 0, "root key %zu is not on P-256", i + 1);
    if (r->count == 2 && avow_pubkey_eq(r->keys[0], r->keys[1]))
        return avow_err_set(err, AVOW_PARSE, 0, "the same root key twice");
    return AVOW_OK;
}

enum avow_rc avow_root_parse(struct avow_bytes pem, struct avow_root **out, struct avow_err *err)
{
    AVOW_CLEANUP(avow_root_free) struct avow_root *r = calloc(1, sizeof *r);
    if (!r)
        return avow_err_set(err, AVOW_NOMEM, 0, "root keys");
    enum avow_rc rc = avow_pubkey_list_from_pem(pem, AVOW_ROOT_KEYS_MAX, r->keys, &r->count, err);
    if (rc == AVOW_LIMIT)
        rc = avow_err_set(err, AVOW_PARSE, 0, "more than %u root keys", AVOW_ROOT_KEYS_MAX);
    if (!rc)
        rc = check_keys(r, err);
    if (rc)
        return rc;
    for (size_t i = 0; i < r->count; i++)
        avow_key_id(avow_pubkey_spki(r->keys[i]), r->ids[i]);
    *out = AVOW_STEAL(r);
    return AVOW_OK;
}

enum avow_rc avow_root_load(const char *path, struct avow_root **out, struct avow_err *err)
{
    AVOW_CLEANUP_VAL(avow_buf_deinit) struct avow_buf pem;
    avow_buf_init(&pem, ROOT_FILE_MAX);
    enum avow_rc rc = avow_file_read(path, &pem, err);
    if (rc)
        return rc;
    rc = avow_root_parse(avow_buf_bytes(&pem), out, err);
    return rc ? avow_err_wrap(err, rc, "%s", path) : AVOW_OK;
}

const struct avow_pubkey *avow_root_find(const struct avow_root *r, const uint8_t id[8])
{
    for (size_t i = 0; i < r->count; i++)
        if (avow_bytes_eq(avow_bytes_make(r->ids[i], 8), avow_bytes_make(id, 8)))
            return r->keys[i];
    return NULL;
}
