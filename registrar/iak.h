/* iak.h - the device identity beside the EK: is this AK in the device that the manufacturer named?
 * Layer: registrar. No I/O; thread-safe. Input: attacker-controlled.
 * The chain of proof (TCG TPM 2.0 Keys for Device Identity and Attestation 1.0, 5 and 6): the
 * manufacturer's CA -> IAK certificate -> IAK -> TPM2_Certify -> our AK; and the IDevID certificate
 * of the same CA store names the same device. */
#ifndef AVOW_REGISTRAR_IAK_H
#define AVOW_REGISTRAR_IAK_H

#include "claim.h"

#include "avow/formats/quote.h"

/* One certificate on the wire (schemas/identity.avsc). */
#define AVOW_IAK_CERT_MAX 4096u

struct avow_iak_request {            /* as sent, decoded from base64; borrowed; empty: not sent */
    struct avow_bytes iak_public;    /* TPM2B_PUBLIC */
    struct avow_bytes idevid_public; /* TPM2B_PUBLIC */
    struct avow_bytes attest;        /* TPMS_ATTEST of TPM2_Certify */
    struct avow_bytes signature;     /* TPMT_SIGNATURE by the IAK */
    struct avow_str iak_cert;        /* PEM text or base64 DER */
    struct avow_str idevid_cert;
};
/* Was anything of it sent? */
bool avow_iak_is_given(const struct avow_iak_request *r);

struct avow_iak_context {
    struct avow_str id;
    struct avow_bytes ak_name;
    const struct avow_cert_store *store; /* CAs of devices; NULL: none is trusted */
    uint64_t now_ms;
};
struct avow_iak_result {
    bool proven;
    struct avow_str detail; /* the device, or why not; from the arena */
};
/* Judges what was sent and fills claim->iak_certs, idevid_certs and device_serial if it is proven.
 * What cannot be proven for want of a CA, or by its dates, is a result. Errors: AVOW_PARSE (a part
 * is missing or malformed), AVOW_REFUSED (the keys' attributes; TPM2_Certify does not certify this
 * AK), AVOW_LIMIT, AVOW_NOMEM. */
enum avow_rc avow_iak_judge(const struct avow_iak_context *c, const struct avow_iak_request *r,
                            struct avow_arena *arena, struct avow_claim *claim,
                            struct avow_iak_result *out, struct avow_err *err) AVOW_MUST_CHECK;

/* Certificates and serial number alone: what a stored record is judged by again. */
enum avow_rc avow_iak_verify(const struct avow_cert_list *iak, const struct avow_cert_list *idevid,
                             const struct avow_cert_store *store, uint64_t now_ms,
                             struct avow_arena *arena, struct avow_str *serial,
                             struct avow_iak_result *out, struct avow_err *err) AVOW_MUST_CHECK;

/* The AK certified by the IAK: magic, type, name, qualifying data (the agent id, or its SHA-256, as
 * Keylime's agents of version 2.6 do) and signature. Errors: AVOW_PARSE, AVOW_REFUSED. */
enum avow_rc avow_iak_check_certify(const struct avow_iak_context *c, const struct avow_ak *iak,
                                    struct avow_bytes attest, struct avow_bytes signature,
                                    struct avow_err *err) AVOW_MUST_CHECK;

#endif
