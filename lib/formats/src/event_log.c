/* event_log.c - see event_log.h. */
#include "avow/formats/event_log.h"

#include "avow/base/banned.h"

#define SHA1_LEN 20u      /* PFP 10.2.1, TCG_PCClientPCREvent */
#define ALG_SHA1 0x0004u  /* TCG Algorithm Registry r1.34, table 3 */
#define SIGNATURE_LEN 16u /* of the Spec ID event, with its NUL: PFP 10.4.5.1 */

/* TCG Algorithm Registry r1.34, table 3. A table that gives another length for one of these would
 * let the same bytes be read as other events. */
static const struct avow_event_alg known[] = {
    {0x0004, 20}, /* SHA-1 */
    {0x000B, 32}, /* SHA-256 */
    {0x000C, 48}, /* SHA-384 */
    {0x000D, 64}, /* SHA-512 */
    {0x0012, 32}, /* SM3-256 */
    {0x0027, 32}, /* SHA3-256 */
    {0x0028, 48}, /* SHA3-384 */
    {0x0029, 64}, /* SHA3-512 */
};

static size_t alg_len(const struct avow_event_alg *algs, size_t n, uint16_t id)
{
    for (size_t i = 0; i < n; i++) {
        if (algs[i].id == id)
            return algs[i].len;
    }
    return 0;
}

/* --- The header --- */

static bool read_algs(struct avow_rd *r, struct avow_event_log *log)
{
    uint32_t count = avow_rd_u32le(r);
    if (r->bad || count == 0 || count > AVOW_EVENT_DIGESTS_MAX)
        return false;
    for (uint32_t i = 0; i < count; i++) {
        struct avow_event_alg a = {.id = avow_rd_u16le(r)};
        a.len = avow_rd_u16le(r);
        size_t right = alg_len(known, AVOW_ARRAY_LEN(known), a.id);
        if (r->bad || a.len == 0 || a.len > AVOW_EVENT_DIGEST_LEN_MAX ||
            (right && a.len != right) || alg_len(log->algs, i, a.id))
            return false;
        log->algs[i] = a;
    }
    log->algs_count = count;
    return true;
}

/* PFP 10.4.5.1, TCG_EfiSpecIDEvent. */
static bool read_spec_id(struct avow_bytes data, struct avow_event_log *log)
{
    struct avow_rd r = avow_rd_make(data);
    (void)avow_rd_take(&r, SIGNATURE_LEN);
    (void)avow_rd_u32le(&r); /* platform class: client or server, with no effect on the form */
    log->spec_minor = avow_rd_u8(&r);
    log->spec_major = avow_rd_u8(&r);
    log->spec_errata = avow_rd_u8(&r);
    (void)avow_rd_u8(&r); /* size of UINTN */
    if (!read_algs(&r, log))
        return false;
    (void)avow_rd_take(&r, avow_rd_u8(&r)); /* vendor information */
    return avow_rd_done(&r);
}

static bool is_spec_id(const struct avow_event *e)
{
    static const uint8_t signature[SIGNATURE_LEN] = "Spec ID Event03";
    struct avow_bytes begin = {e->untrusted_data.ptr, SIGNATURE_LEN};
    return e->untrusted_type == AVOW_EV_NO_ACTION && e->untrusted_data.len >= SIGNATURE_LEN &&
           avow_bytes_eq(begin, AVOW_BYTES_OF(signature));
}

/* --- Events --- */

/* TCG EFI Platform 1.22, 3.1.1: TCG_PCR_EVENT; the header of a crypto-agile log has this form too.
 */
static const char *read_sha1_digest(struct avow_rd *r, struct avow_event *e)
{
    e->digests[0] = (struct avow_event_digest){ALG_SHA1, avow_rd_take(r, SHA1_LEN)};
    e->digests_count = 1;
    return NULL;
}

/* PFP 10.2.2, TPML_DIGEST_VALUES. A bank may be missing, but no bank may be there twice: which of
 * the two the TPM got could not be said. */
static const char *read_digests(const struct avow_event_log *log, struct avow_rd *r,
                                struct avow_event *e)
{
    uint32_t count = avow_rd_u32le(r);
    if (r->bad)
        return NULL;
    if (count > log->algs_count)
        return "has more digests than the header has algorithms";
    for (uint32_t i = 0; i < count; i++) {
        uint16_t alg = avow_rd_u16le(r);
        size_t len = alg_len(log->algs, log->algs_count, alg);
        if (r->bad)
            return NULL;
        if (!len)
            return "has a digest of an algorithm that the header has not";
        if (avow_event_digest_of(e, alg).len)
            return "has two digests of one algorithm";
        e->digests[e->digests_count++] = (struct avow_event_digest){alg, avow_rd_take(r, len)};
    }
    return NULL;
}

/* What is wrong with the event, or NULL. Out of bytes is r->bad. */
static const char *read_event(const struct avow_event_log *log, bool agile, struct avow_rd *r,
                              struct avow_event *e)
{
    e->offset = (size_t)(r->p - log->in.ptr);
    e->digests_count = 0;
    e->pcr = avow_rd_u32le(r);
    e->untrusted_type = avow_rd_u32le(r);
    const char *wrong = agile ? read_digests(log, r, e) : read_sha1_digest(r, e);
    if (wrong || r->bad)
        return wrong;
    uint32_t len = avow_rd_u32le(r);
    if (len > AVOW_EVENT_DATA_MAX)
        return "has more data than is read";
    e->untrusted_data = avow_rd_take(r, len);
    if (e->pcr >= AVOW_EVENT_PCRS && e->untrusted_type != AVOW_EV_NO_ACTION)
        return "is of a PCR that no TPM has";
    return NULL;
}

static enum avow_rc bad_event(const struct avow_event_log *log, const struct avow_event *e,
                              const char *wrong, struct avow_err *err)
{
    return avow_err_set(err, AVOW_PARSE, 0, "event log: event %zu at byte %zu %s", log->count,
                        e->offset, wrong);
}

static enum avow_rc read_events(struct avow_event_log *log, struct avow_rd *r, struct avow_event *e,
                                struct avow_err *err)
{
    for (log->count = 1; avow_rd_left(r) > 0; log->count++) {
        if (log->count >= AVOW_EVENTS_MAX)
            return avow_err_set(err, AVOW_LIMIT, 0, "event log: more than %u events",
                                AVOW_EVENTS_MAX);
        const char *wrong = read_event(log, log->crypto_agile, r, e);
        if (r->bad)
            wrong = "is truncated";
        if (wrong)
            return bad_event(log, e, wrong, err);
    }
    return AVOW_OK;
}

enum avow_rc avow_event_log_parse(struct avow_bytes in, struct avow_event_log *out,
                                  struct avow_err *err)
{
    struct avow_event_log log = {.in = in, .algs = {{ALG_SHA1, SHA1_LEN}}, .algs_count = 1};
    struct avow_rd r = avow_rd_make(in);
    struct avow_event e = {.offset = 0};
    if (in.len > AVOW_EVENT_LOG_MAX)
        return avow_err_set(err, AVOW_LIMIT, 0, "event log has %zu bytes, at most %u are read",
                            in.len, AVOW_EVENT_LOG_MAX);
    if (in.len == 0)
        return avow_err_set(err, AVOW_PARSE, 0, "event log: empty");
    const char *wrong = read_event(&log, false, &r, &e);
    if (r.bad)
        wrong = "is truncated";
    if (!wrong && is_spec_id(&e)) {
        log.crypto_agile = true;
        if (e.pcr != 0 || !read_spec_id(e.untrusted_data, &log))
            wrong = "is a malformed Spec ID event";
    }
    if (wrong)
        return bad_event(&log, &e, wrong, err);
    enum avow_rc rc = read_events(&log, &r, &e, err);
    if (!rc)
        *out = log;
    return rc;
}

void avow_event_walk_init(struct avow_event_walk *w, const struct avow_event_log *log)
{
    *w = (struct avow_event_walk){log, avow_rd_make(log->in), 0};
}

bool avow_event_walk_next(struct avow_event_walk *w, struct avow_event *out)
{
    if (w->next >= w->log->count)
        return false;
    out->index = w->next;
    (void)read_event(w->log, w->log->crypto_agile && w->next > 0, &w->rd, out);
    w->next++;
    return true;
}

struct avow_bytes avow_event_digest_of(const struct avow_event *e, uint16_t alg)
{
    for (size_t i = 0; i < e->digests_count; i++) {
        if (e->digests[i].alg == alg)
            return e->digests[i].value;
    }
    return (struct avow_bytes){NULL, 0};
}
