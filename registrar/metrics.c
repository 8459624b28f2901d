#include "metrics.h"

#include "avow/http/prom.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "avow/base/banned.h"

#define ROWS_MAX 192u
#define VENDORS_MAX 32u
#define VENDOR_NAME_MAX 48u
#define PREFIX "avow_registrar_"

static const struct avow_prom_bounds bounds = {
    .us = {500, 1000, 2500, 5000, 10000, 25000, 100000, 1000000, 10000000}, .count = 9};

struct row {
    const char *action, *reason;
    unsigned status;
    uint64_t count;
};
struct vendor {
    char name[VENDOR_NAME_MAX];
    uint64_t count;
};
struct avow_metrics {
    pthread_mutex_t mutex;
    struct row rows[ROWS_MAX];
    size_t n_rows;
    uint64_t overflow; /* requests that no row was left for */
    struct vendor vendors[VENDORS_MAX];
    size_t n_vendors;
    uint64_t activations, published;
    struct avow_prom_times took; /* of register and activate */
};

enum avow_rc avow_metrics_new(struct avow_metrics **out, struct avow_err *err)
{
    struct avow_metrics *m = calloc(1, sizeof *m);
    if (!m)
        return avow_err_set(err, AVOW_NOMEM, 0, "metrics");
    pthread_mutex_init(&m->mutex, NULL);
    *out = m;
    return AVOW_OK;
}

void avow_metrics_free(struct avow_metrics *m)
{
    if (!m)
        return;
    pthread_mutex_destroy(&m->mutex);
    free(m);
}

static void count_row(struct avow_metrics *m, const struct avow_metrics_request *r)
{
    const char *reason = r->reason ? r->reason : "";
    for (size_t i = 0; i < m->n_rows; i++) {
        struct row *row = &m->rows[i];
        if (row->status == r->status && avow_cstr_eq(row->action, r->action) &&
            avow_cstr_eq(row->reason, reason)) {
            row->count++;
            return;
        }
    }
    if (m->n_rows == ROWS_MAX)
        m->overflow++;
    else
        m->rows[m->n_rows++] = (struct row){r->action, reason, r->status, 1};
}

void avow_metrics_request(struct avow_metrics *m, const struct avow_metrics_request *r)
{
    if (!m)
        return;
    pthread_mutex_lock(&m->mutex);
    count_row(m, r);
    if (avow_cstr_eq(r->action, "register") || avow_cstr_eq(r->action, "activate"))
        avow_prom_observe(&m->took, &bounds, r->took_ns / 1000);
    pthread_mutex_unlock(&m->mutex);
}

/* The issuer's organisation (2.5.4.10) or, without one, its common name (2.5.4.3): who made the
 * TPM. The issuer is the first name in a certificate, so a search for the attribute is enough for a
 * label, and much cheaper than decoding a certificate that was judged long ago. */
static struct avow_bytes find_attribute(struct avow_bytes der, uint8_t kind)
{
    const uint8_t head[] = {0x06, 0x03, 0x55, 0x04, kind}; /* OBJECT IDENTIFIER */
    for (size_t i = 0; i + sizeof head + 2 < der.len; i++) {
        if (!avow_bytes_eq(avow_bytes_make(der.ptr + i, sizeof head), AVOW_BYTES_OF(head)))
            continue;
        const uint8_t *value = der.ptr + i + sizeof head; /* type, length below 128, text */
        size_t left = der.len - i - sizeof head - 2;
        return value[1] < 0x80 && value[1] <= left ? avow_bytes_make(value + 2, value[1])
                                                   : (struct avow_bytes){0};
    }
    return (struct avow_bytes){0};
}

static void vendor_name(struct avow_bytes ek_cert, char out[VENDOR_NAME_MAX])
{
    struct avow_bytes name = find_attribute(ek_cert, 0x0a);
    size_t n = 0;
    if (!name.len)
        name = find_attribute(ek_cert, 0x03);
    for (; n < name.len && n + 1 < VENDOR_NAME_MAX; n++) {
        uint8_t c = name.ptr[n];
        out[n] = c >= 0x20 && c < 0x7f && c != '"' && c != '\\' ? (char)c : '_';
    }
    out[n] = '\0';
    if (!n)
        snprintf(out, VENDOR_NAME_MAX, "%s", ek_cert.len ? "unknown" : "no certificate");
}

void avow_metrics_activation(struct avow_metrics *m, struct avow_bytes ek_cert)
{
    char name[VENDOR_NAME_MAX];
    size_t i = 0;
    if (!m)
        return;
    vendor_name(ek_cert, name);
    pthread_mutex_lock(&m->mutex);
    m->activations++;
    while (i < m->n_vendors && !avow_cstr_eq(m->vendors[i].name, name))
        i++;
    if (i == VENDORS_MAX) /* the last one gathers the rest */
        snprintf(m->vendors[--i].name, VENDOR_NAME_MAX, "others");
    else if (i == m->n_vendors)
        snprintf(m->vendors[m->n_vendors++].name, VENDOR_NAME_MAX, "%s", name);
    m->vendors[i].count++;
    pthread_mutex_unlock(&m->mutex);
}

void avow_metrics_published(struct avow_metrics *m, uint64_t n)
{
    if (!m)
        return;
    pthread_mutex_lock(&m->mutex);
    m->published += n;
    pthread_mutex_unlock(&m->mutex);
}

/* --- Text --- */

static void render_requests(const struct avow_metrics *m, struct avow_buf *out)
{
    uint64_t registrations = 0;
    avow_prom_head(out, PREFIX "requests_total", "counter", "Requests answered.");
    for (size_t i = 0; i < m->n_rows; i++)
        avow_buf_printf(
            out, PREFIX "requests_total{action=\"%s\",status=\"%u\",reason=\"%s\"} %" PRIu64 "\n",
            m->rows[i].action, m->rows[i].status, m->rows[i].reason, m->rows[i].count);
    avow_prom_head(out, PREFIX "refusals_total", "counter", "Requests refused, by reason.");
    for (size_t i = 0; i < m->n_rows; i++) {
        const struct row *r = &m->rows[i];
        if (r->status == 200 && avow_cstr_eq(r->action, "register"))
            registrations += r->count;
        if (r->status >= 400)
            avow_buf_printf(out,
                            PREFIX "refusals_total{action=\"%s\",reason=\"%s\",status=\"%u\"} "
                                   "%" PRIu64 "\n",
                            r->action, r->reason, r->status, r->count);
    }
    avow_prom_single(out, PREFIX "registrations_total", "counter", "Challenges handed out.",
                     registrations);
    avow_prom_single(out, PREFIX "requests_uncounted_total", "counter",
                     "Requests beyond the kinds counted above.", m->overflow);
}

static void render_gauges(const struct avow_metrics_gauges *g, struct avow_buf *out)
{
    avow_prom_single(out, PREFIX "serving", "gauge", "1 if the database is open, 0 for a standby.",
                     g->serving);
    avow_prom_single(out, PREFIX "store_ok", "gauge", "1 if the database takes writes.",
                     g->store_ok);
    avow_prom_head(out, PREFIX "agents", "gauge", "Agents in the database.");
    avow_buf_printf(out,
                    PREFIX "agents{status=\"active\"} %" PRIu64 "\n" PREFIX
                           "agents{status=\"removed\"} %" PRIu64 "\n",
                    g->agents, g->removed);
    avow_prom_single(out, PREFIX "challenges_open", "gauge",
                     "Challenges that can still be answered.", g->pending);
    avow_prom_single(out, PREFIX "outbox_depth", "gauge", "Identities that wait for Kafka.",
                     g->outbox);
    avow_prom_seconds(out, PREFIX "outbox_age_seconds", "Age of the oldest one that waits.",
                      g->outbox_age_ms);
    avow_prom_single(out, PREFIX "work_waiting", "gauge", "Requests in the queue.",
                     g->work_waiting);
    avow_prom_head(out, PREFIX "connections", "gauge", "Open connections.");
    avow_buf_printf(out,
                    PREFIX "connections{listener=\"http\"} %" PRIu64 "\n" PREFIX
                           "connections{listener=\"https\"} %" PRIu64 "\n",
                    g->http_connections, g->https_connections);
}

void avow_metrics_render(struct avow_metrics *m, const struct avow_metrics_gauges *g,
                         struct avow_buf *out)
{
    pthread_mutex_lock(&m->mutex);
    render_requests(m, out);
    avow_prom_histogram(out, PREFIX "enroll_seconds", "Time to answer register and activate.",
                        &m->took, &bounds);
    avow_prom_single(out, PREFIX "activations_total", "counter", "TPMs that proved themselves.",
                     m->activations);
    avow_prom_head(out, PREFIX "tpm_vendor_activations_total", "counter",
                   "Activations by the issuer of the EK certificate.");
    for (size_t i = 0; i < m->n_vendors; i++)
        avow_buf_printf(out, PREFIX "tpm_vendor_activations_total{vendor=\"%s\"} %" PRIu64 "\n",
                        m->vendors[i].name, m->vendors[i].count);
    avow_prom_single(out, PREFIX "published_total", "counter", "Identities acknowledged by Kafka.",
                     m->published);
    pthread_mutex_unlock(&m->mutex);
    render_gauges(g, out);
}
