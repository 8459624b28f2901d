#include "enroll.h"

#include "avow/base/clock.h"
#include "avow/crypto/ak.h"
#include "avow/crypto/x509.h"
#include "avow/formats/tpm_public.h"
#include "avow/trust/records.h"

#include <string.h>

#include "avow/base/banned.h"

#define TPM_RH_ENDORSEMENT 0x4000000Bu /* TPM 2.0 Part 2 r1.38, table 28 */

/* Name of a public area: nameAlg || H_nameAlg(TPMT_PUBLIC) (TPM 2.0 Part 1 r1.38, 16). */
static enum avow_rc public_name(struct avow_bytes tpm2b, uint8_t out[66], size_t *len,
                                struct avow_err *err)
{
    struct avow_tpm_public pub;
    struct avow_digest d;
    enum avow_rc rc = avow_tpm_public_parse(tpm2b, &pub, err);
    if (rc)
        return rc;
    if (!avow_hash_len((enum avow_hash)pub.name_alg))
        return avow_err_set(err, AVOW_PARSE, 0, "nameAlg 0x%04x is unknown", pub.name_alg);
    avow_digest((enum avow_hash)pub.name_alg, avow_bytes_make(tpm2b.ptr + 2, tpm2b.len - 2), &d);
    avow_put_u16be(out, pub.name_alg);
    memcpy(out + 2, d.bytes, d.len);
    *len = 2 + d.len;
    return AVOW_OK;
}

/* nameAlg || H(parent || name): qualified name (TPM 2.0 Part 1 r1.38, 16). */
static void qualify(struct avow_bytes parent, struct avow_bytes name, uint8_t out[66], size_t *len)
{
    struct avow_digest d;
    const struct avow_bytes pieces[] = {parent, name};
    enum avow_hash alg = (enum avow_hash)((name.ptr[0] << 8) | name.ptr[1]);
    avow_digest_pieces(alg, pieces, 2, &d);
    memcpy(out, name.ptr, 2);
    memcpy(out + 2, d.bytes, d.len);
    *len = 2 + d.len;
}

enum avow_rc avow_identity_names(const struct avow_identity *id, struct avow_identity_names *out,
                                 struct avow_err *err)
{
    uint8_t hierarchy[4], ak_name[66], ek_qualified[66];
    size_t ak_len = 0, ek_q_len = 0;
    enum avow_rc rc = public_name(id->ek_public, out->ek_name, &out->ek_name_len, err);
    if (rc)
        return avow_err_wrap(err, rc, "EK");
    rc = public_name(id->ak_public, ak_name, &ak_len, err);
    if (rc)
        return avow_err_wrap(err, rc, "AK");
    avow_put_u32be(hierarchy, TPM_RH_ENDORSEMENT);
    struct avow_bytes root = AVOW_BYTES_OF(hierarchy);
    struct avow_bytes ak = {ak_name, ak_len};
    qualify(root, avow_bytes_make(out->ek_name, out->ek_name_len), ek_qualified, &ek_q_len);
    qualify(avow_bytes_make(ek_qualified, ek_q_len), ak, out->signers[0], &out->signer_len[0]);
    qualify(root, ak, out->signers[1], &out->signer_len[1]);
    return AVOW_OK;
}

static enum avow_rc check_ak(const struct avow_identity *id, struct avow_err *err)
{
    AVOW_CLEANUP(avow_ak_free) struct avow_ak *ak = NULL;
    enum avow_rc rc = avow_ak_parse(id->ak_public, &ak, err);
    if (rc)
        return avow_err_wrap(err, rc, "AK");
    if (!avow_bytes_eq(avow_ak_name(ak), id->ak_name))
        return avow_err_set(err, AVOW_UNTRUSTED, 0, "the AK's name is not that of its public area");
    return AVOW_OK;
}

static enum avow_rc check_cert_key(const struct avow_identity *id, const struct avow_cert *cert,
                                   struct avow_err *err)
{
    struct avow_tpm_public pub;
    AVOW_CLEANUP(avow_pubkey_free) struct avow_pubkey *cert_key = NULL;
    AVOW_CLEANUP(avow_pubkey_free) struct avow_pubkey *ek = NULL;
    enum avow_rc rc = avow_tpm_public_parse(id->ek_public, &pub, err);
    if (!rc)
        rc = pub.type == AVOW_TPM_ALG_RSA
                 ? avow_pubkey_from_rsa(pub.rsa_modulus, pub.rsa_exponent, &ek, err)
                 : avow_pubkey_from_ec(pub.curve == AVOW_TPM_ECC_NIST_P256   ? AVOW_KEY_EC_P256
                                       : pub.curve == AVOW_TPM_ECC_NIST_P384 ? AVOW_KEY_EC_P384
                                                                             : AVOW_KEY_EC_P521,
                                       pub.ecc_x, pub.ecc_y, &ek, err);
    if (!rc)
        rc = avow_cert_pubkey(cert, &cert_key, err);
    if (rc)
        return rc;
    if (!avow_pubkey_eq(ek, cert_key))
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
    struct avow_cert_store *store = NULL;
    size_t n = id->ek_certs_count < AVOW_CHAIN_MAX ? id->ek_certs_count : AVOW_CHAIN_MAX;
    enum avow_rc rc = avow_cert_store_load(store_dir, &store, err);
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
    avow_cert_store_free(store);
    return rc ? avow_err_wrap(err, rc, "EK certificate") : AVOW_OK;
}

enum avow_rc avow_identity_check(const struct avow_cli *cli, const struct avow_identity *id,
                                 bool trust_registrar, struct avow_buf *summary,
                                 struct avow_err *err)
{
    const char *store = avow_conf_str(cli->conf, "cli", "ek_cert_store");
    enum avow_rc rc = check_ak(id, err);
    if (rc)
        return rc;
    if (trust_registrar) {
        avow_buf_printf(summary, "EK judged by the registrar only (%.*s)",
                        (int)id->trust.rule.len, id->trust.rule.ptr);
        return id->trust.trusted
                   ? AVOW_OK
                   : avow_err_set(err, AVOW_UNTRUSTED, 0, "the registrar does not trust the EK: %.*s",
                                  (int)id->trust.detail.len, id->trust.detail.ptr);
    }
    if (!store)
        return avow_err_set(err, AVOW_CONFIG, 0,
                            "no EK certificate store: set ek_cert_store in section [cli], or give "
                            "--trust-registrar");
    if (id->ek_certs_count == 0)
        return avow_err_set(err, AVOW_UNTRUSTED, 0,
                            "the TPM has no EK certificate; --trust-registrar accepts the "
                            "registrar's own rule (%.*s)",
                            (int)id->trust.rule.len, id->trust.rule.ptr);
    return check_chain(store, id, summary, err);
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
    enum avow_rc rc = avow_cli_tenant_key(cli, &signer, err);
    if (!rc)
        rc = avow_seal_enrollment(e, signer, &record, err);
    if (!rc) /* never publish what workers would refuse */
        rc = avow_trust_verify(cli->trust, AVOW_ROLE_ENROLL, e->key, &avow_wire_enrollment_schema,
                               avow_buf_bytes(&record), err);
    if (!rc)
        rc = avow_cli_ledger_put(cli, "enrollments", id, e->generation, avow_buf_bytes(&record),
                                 err);
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
