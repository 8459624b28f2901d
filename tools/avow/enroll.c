#include "enroll.h"

#include "avow/base/clock.h"
#include "avow/base/hex.h"
#include "avow/crypto/ak.h"
#include "avow/crypto/x509.h"
#include "avow/trust/records.h"
#include "avow/wire/enrollment.h"
#include "ledger.h"

#include <string.h>

#include "avow/base/banned.h"

enum avow_rc avow_identity_names(const struct avow_identity *id, struct avow_identity_names *out,
                                 struct avow_err *err)
{
    struct avow_tpm_name ak;
    enum avow_rc rc = avow_tpm_name_of(id->ek_public, &out->ek_name, err);
    if (rc)
        return avow_err_wrap(err, rc, "EK");
    rc = avow_tpm_name_of(id->ak_public, &ak, err);
    if (rc)
        return avow_err_wrap(err, rc, "AK");
    const struct avow_tpm_name *child[] = {&out->ek_name, &ak};
    const struct avow_tpm_name *primary[] = {&ak};
    avow_tpm_qualified_name(child, 2, &out->signers[0]);
    avow_tpm_qualified_name(primary, 1, &out->signers[1]);
    return AVOW_OK;
}

static enum avow_rc check_ak(const struct avow_identity *id, struct avow_err *err)
{
    AVOW_CLEANUP(avow_ak_free) struct avow_ak *ak = NULL;
    enum avow_rc rc = avow_ak_parse(id->ak_public, &ak, err);
    if (rc)
        return avow_err_wrap(err, rc, "AK");
    if (!avow_bytes_eq(avow_tpm_name_bytes(avow_ak_name(ak)), id->ak_name))
        return avow_err_set(err, AVOW_UNTRUSTED, 0, "the AK's name is not that of its public area");
    return AVOW_OK;
}

static enum avow_rc check_cert_key(const struct avow_identity *id, const struct avow_cert *cert,
                                   struct avow_err *err)
{
    AVOW_CLEANUP(avow_pubkey_free) struct avow_pubkey *cert_key = NULL;
    AVOW_CLEANUP(avow_ek_free) struct avow_ek *ek = NULL;
    enum avow_rc rc = avow_ek_parse(id->ek_public, &ek, err);
    if (!rc)
        rc = avow_cert_pubkey(cert, &cert_key, err);
    if (rc)
        return rc;
    if (!avow_pubkey_eq(avow_ek_key(ek), cert_key))
        return avow_err_set(err, AVOW_UNTRUSTED, 0, "the EK certificate is for another key");
    return AVOW_OK;
}

static enum avow_rc describe(const struct avow_cert *cert, struct avow_buf *summary,
                             struct avow_err *err)
{
    avow_buf_put_str(summary, "EK certificate serial ");
    enum avow_rc rc = avow_cert_serial_hex(cert, summary, err);
    avow_buf_put_str(summary, ", issued by ");
    return rc ? rc : avow_cert_issuer(cert, summary, err);
}

static enum avow_rc check_chain(const char *store_dir, const struct avow_identity *id,
                                struct avow_buf *summary, struct avow_err *err)
{
    struct avow_cert *certs[AVOW_CHAIN_MAX] = {NULL};
    AVOW_CLEANUP(avow_cert_store_free) struct avow_cert_store *store = NULL;
    size_t n = id->ek_certs_count < AVOW_CHAIN_MAX ? id->ek_certs_count : AVOW_CHAIN_MAX;
    if (avow_cert_store_load(store_dir, &store, err))
        return avow_cli_bad_setting(err, "ek_cert_store");
    enum avow_rc rc = AVOW_OK;
    for (size_t i = 0; i < n && !rc; i++)
        rc = avow_cert_from_der(id->ek_certs[i], &certs[i], err);
    if (!rc)
        rc = describe(certs[0], summary, err);
    if (!rc)
        rc = check_cert_key(id, certs[0], err);
    if (!rc)
        rc = avow_cert_verify_ek(certs[0], certs + 1, n - 1, store, avow_clock_unix_ms(), err);
    for (size_t i = 0; i < n; i++)
        avow_cert_free(certs[i]);
    return rc;
}

/* `summary` has the certificate's description if it could be read. */
static void hint_vendor(struct avow_cli *cli, const struct avow_buf *summary)
{
    avow_cli_hint(cli,
                  "%.*s%sput the CA certificate of the TPM's vendor into %s, if you trust it; "
                  "--trust-registrar accepts the registrar's own rule",
                  (int)summary->len, summary->len ? (const char *)summary->ptr : "",
                  summary->len ? ": " : "", avow_conf_str(cli->conf, "cli", "ek_cert_store"));
}

/* For the operator's eyes: he may know which TPM it must be. */
static enum avow_rc describe_unverified(const struct avow_identity *id, struct avow_buf *summary,
                                        struct avow_err *err)
{
    AVOW_CLEANUP(avow_cert_free) struct avow_cert *cert = NULL;
    if (!id->ek_certs_count)
        return AVOW_OK;
    enum avow_rc rc = avow_cert_from_der(id->ek_certs[0], &cert, err);
    if (!rc)
        rc = check_cert_key(id, cert, err);
    if (rc)
        return rc;
    avow_buf_put_str(summary, "; ");
    return describe(cert, summary, err);
}

static enum avow_rc believe_registrar(const struct avow_identity *id, struct avow_buf *summary,
                                      struct avow_err *err)
{
    avow_buf_printf(summary, "EK judged by the registrar only (%.*s)", (int)id->trust.rule.len,
                    id->trust.rule.ptr);
    if (id->trust.trusted)
        return describe_unverified(id, summary, err);
    return avow_err_set(err, AVOW_UNTRUSTED, 0, "the registrar does not trust the EK: %.*s",
                        (int)id->trust.detail.len, id->trust.detail.ptr);
}

enum avow_rc avow_identity_check(struct avow_cli *cli, const struct avow_identity *id,
                                 bool trust_registrar, struct avow_buf *summary,
                                 struct avow_err *err)
{
    const char *store;
    enum avow_rc rc = check_ak(id, err);
    if (rc)
        return rc;
    if (trust_registrar)
        return believe_registrar(id, summary, err);
    rc = avow_cli_path(cli, "ek_cert_store", "the folder of TPM vendors' CA certificates", &store,
                       err);
    if (rc)
        return rc;
    if (id->ek_certs_count == 0) {
        avow_cli_hint(cli, "--trust-registrar accepts the registrar's own rule (%.*s)",
                      (int)id->trust.rule.len, id->trust.rule.ptr);
        return avow_err_set(err, AVOW_UNTRUSTED, 0, "the TPM has no EK certificate");
    }
    rc = check_chain(store, id, summary, err);
    if (rc == AVOW_UNTRUSTED)
        hint_vendor(cli, summary);
    return rc;
}

bool avow_ek_serial_parse(const char *text, struct avow_ek_serial *out)
{
    char digits[2 * AVOW_EK_SERIAL_MAX + 1];
    size_t n = 1;
    digits[0] = '0'; /* for an odd number of digits */
    for (const char *p = text + strspn(text, ":0"); *p; p++) {
        if (*p == ':')
            continue;
        if (n == sizeof digits)
            return false;
        digits[n++] = *p;
    }
    size_t odd = n % 2; /* then the zero in front is one too many */
    out->len = (n - odd) / 2;
    return n > 1 && avow_hex_decode(out->bytes, out->len, (struct avow_str){digits + odd, n - odd});
}

enum avow_rc avow_identity_check_serial(const struct avow_identity *id, struct avow_bytes serial,
                                        struct avow_err *err)
{
    AVOW_CLEANUP(avow_cert_free) struct avow_cert *cert = NULL;
    AVOW_CLEANUP_VAL(avow_buf_deinit) struct avow_buf has, wanted;
    struct avow_ek_serial found;
    avow_buf_init(&has, 2 * AVOW_CERT_SERIAL_MAX + 2);
    avow_buf_init(&wanted, 2 * AVOW_EK_SERIAL_MAX + 1);
    avow_buf_put_hex(&wanted, serial);
    if (!id->ek_certs_count)
        return avow_err_set(err, AVOW_UNTRUSTED, 0,
                            "the TPM has no EK certificate; one with serial %s is expected",
                            avow_buf_cstr(&wanted));
    enum avow_rc rc = avow_cert_from_der(id->ek_certs[0], &cert, err);
    if (!rc)
        rc = check_cert_key(id, cert, err);
    if (!rc)
        rc = avow_cert_serial_hex(cert, &has, err);
    if (rc)
        return rc;
    if (avow_ek_serial_parse(avow_buf_cstr(&has), &found) &&
        avow_bytes_eq(avow_bytes_make(found.bytes, found.len), serial))
        return AVOW_OK;
    return avow_err_set(err, AVOW_UNTRUSTED, 0,
                        "another TPM than expected: its EK certificate has serial %s, not %s",
                        avow_buf_cstr(&has), avow_buf_cstr(&wanted));
}

enum avow_rc avow_enrollment_publish(struct avow_cli *cli, const struct avow_enrollment *e,
                                     struct avow_err *err)
{
    char topic[AVOW_TOPIC_NAME_MAX], id[129];
    AVOW_CLEANUP(avow_privkey_free) struct avow_privkey *signer = NULL;
    AVOW_CLEANUP_VAL(avow_buf_deinit) struct avow_buf record;
    avow_buf_init(&record, 64 * 1024);
    if (!avow_str_copy(id, sizeof id, e->key))
        return avow_err_set(err, AVOW_LIMIT, 0, "agent id");
    avow_stop_install(); /* an interrupt from here on does not hide whether the record is out */
    enum avow_rc rc = avow_cli_tenant_key(cli, &signer, err);
    if (!rc)
        rc = avow_seal_enrollment(e, signer, &record, err);
    if (rc)
        return rc;
    /* Never publish what workers would refuse. */
    if (avow_trust_verify(cli->trust, AVOW_ROLE_ENROLL, e->key, &avow_wire_enrollment_schema,
                          avow_buf_bytes(&record), err))
        return avow_cli_not_ours(cli, "enroll", err);
    rc = avow_ledger_put(cli, "enrollments", id, e->generation, avow_buf_bytes(&record), err);
    if (rc)
        return rc;
    struct avow_bytes key = avow_bytes_make(e->key.ptr, e->key.len);
    struct avow_bus_record rec = {
        .topic = avow_cli_topic(cli, "enrollments", topic),
        .partition = avow_bus_partition_of(key, avow_trust_bundle(cli->trust)->partitions),
        .key = key,
        .value = avow_buf_bytes(&record)};
    return avow_cli_produce(cli, &rec, err);
}
