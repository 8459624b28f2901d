#include "ima_emit.h"

#include <string.h>

#include "avow/base/banned.h"

#define PCR_IMA 10u
#define SHA1_LEN 20u
#define TEMPLATE_NAME "ima-ng"

static void put_u32le(struct avow_buf *b, uint32_t v)
{
    uint8_t bytes[4];
    avow_put_u32le(bytes, v);
    avow_buf_put(b, bytes, sizeof bytes);
}

/* Fields d-ng (algorithm, ':', NUL, digest) and n-ng (path, NUL), each behind its length. */
static void put_template_data(const struct avow_ima_measurement *m, struct avow_buf *out)
{
    static const uint8_t zeros[AVOW_DIGEST_MAX];
    const char *name = avow_hash_name(m->alg);
    size_t name_len = strlen(name), digest_len = avow_hash_len(m->alg);
    put_u32le(out, (uint32_t)(name_len + 2 + digest_len));
    avow_buf_put(out, name, name_len);
    avow_buf_put(out, ":", 2); /* with its NUL */
    avow_buf_put(out, m->violation ? zeros : m->digest.ptr, digest_len);
    put_u32le(out, (uint32_t)m->path.len + 1);
    avow_buf_put(out, m->path.ptr, m->path.len);
    avow_buf_put_u8(out, 0);
}

static void extend_values(struct avow_bytes data, bool violation,
                          const struct avow_tpm_banks *banks, struct avow_tpm_extend *out)
{
    for (size_t i = 0; i < banks->count; i++) {
        out[i].bank = banks->list[i];
        avow_digest(banks->list[i], data, &out[i].digest);
        if (violation)
            memset(out[i].digest.bytes, 0xFF, out[i].digest.len);
    }
}

enum avow_rc avow_ima_emit(const struct avow_ima_measurement *m, const struct avow_tpm_banks *banks,
                           struct avow_buf *list, struct avow_tpm_extend out[AVOW_TPM_BANKS_MAX],
                           struct avow_err *err)
{
    if (!m->path.len || m->path.len > AVOW_IMA_EMIT_PATH_MAX || memchr(m->path.ptr, 0, m->path.len))
        return avow_err_set(err, AVOW_LIMIT, 0, "path of %zu bytes", m->path.len);
    AVOW_CLEANUP_VAL(avow_buf_deinit) struct avow_buf data;
    avow_buf_init(&data, AVOW_IMA_EMIT_PATH_MAX + 256);
    put_template_data(m, &data);
    enum avow_rc rc = avow_buf_status(&data, err);
    if (rc)
        return rc;
    struct avow_digest sha1;
    avow_digest(AVOW_HASH_SHA1, avow_buf_bytes(&data), &sha1);
    if (m->violation)
        memset(sha1.bytes, 0, sizeof sha1.bytes);
    put_u32le(list, PCR_IMA);
    avow_buf_put(list, sha1.bytes, SHA1_LEN);
    put_u32le(list, sizeof TEMPLATE_NAME - 1);
    avow_buf_put_str(list, TEMPLATE_NAME);
    put_u32le(list, (uint32_t)data.len);
    avow_buf_put(list, data.ptr, data.len);
    extend_values(avow_buf_bytes(&data), m->violation, banks, out);
    return avow_buf_status(list, err);
}

void avow_ima_boot_aggregate(const struct avow_tpm_pcrs *pcrs, struct avow_digest *out)
{
    struct avow_bytes pieces[10];
    size_t n = pcrs->bank == AVOW_HASH_SHA1 ? 8 : 10;
    for (size_t i = 0; i < n; i++)
        pieces[i] = avow_bytes_make(pcrs->values[i], avow_hash_len(pcrs->bank));
    avow_digest_pieces(pcrs->bank, pieces, n, out);
}
