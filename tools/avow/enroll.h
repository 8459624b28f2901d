/* enroll.h - from an identity to a signed enrolment (PROTOCOL R11). Layer: tools/avow. */
#ifndef AVOW_TOOLS_ENROLL_H
#define AVOW_TOOLS_ENROLL_H

#include "context.h"

#include "avow/crypto/ak.h"
#include "avow/model/enrollment.h"
#include "avow/model/identity.h"

/* The checks that take the registrar out of the trusted base: AK attributes and name, EK
 * certificate chain against this CLI's own store, the certificate's key equals the EK.
 * `trust_registrar`: without a store, believe the registrar's result. `summary` receives one line
 * about the EK certificate for the operator. Errors: AVOW_CONFIG (no store), AVOW_UNTRUSTED,
 * AVOW_REFUSED, AVOW_PARSE with the reason. */
enum avow_rc avow_identity_check(struct avow_cli *cli, const struct avow_identity *id,
                                 bool trust_registrar, struct avow_buf *summary,
                                 struct avow_err *err) AVOW_MUST_CHECK;

#define AVOW_EK_SERIAL_MAX 32u
struct avow_ek_serial { /* of an EK certificate, without zeros in front; len 0: none */
    uint8_t bytes[AVOW_EK_SERIAL_MAX];
    size_t len;
};
/* Hex digits of either case, as labels and other programs print them: with or without colons and
 * zeros in front. False: it is none, or 0. */
bool avow_ek_serial_parse(const char *text, struct avow_ek_serial *out) AVOW_MUST_CHECK;
/* The EK certificate is for this EK and has this serial number. Says nothing of who issued it.
 * AVOW_UNTRUSTED with both numbers, AVOW_PARSE. */
enum avow_rc avow_identity_check_serial(const struct avow_identity *id, struct avow_bytes serial,
                                        struct avow_err *err) AVOW_MUST_CHECK;

/* Names and expected qualified signers of an identity's keys. */
struct avow_identity_names {
    struct avow_tpm_name ek_name;
    struct avow_tpm_name signers[2];   /* child of the EK; primary in the endorsement hierarchy */
    struct avow_bytes signer_bytes[2]; /* of `signers`; filled by avow_plan_pin */
};
enum avow_rc avow_identity_names(const struct avow_identity *id, struct avow_identity_names *out,
                                 struct avow_err *err) AVOW_MUST_CHECK;

/* Signs and publishes an enrolment, and keeps it in the ledger. SIGINT and SIGTERM from its start
 * on are only noted (avow_stop_requested). */
enum avow_rc avow_enrollment_publish(struct avow_cli *cli, const struct avow_enrollment *e,
                                     struct avow_err *err) AVOW_MUST_CHECK;

#endif
