/* ima_store.h - the list on disk and PCR 10 of a TPM, changed together as the kernel does: entry
 * first, then the PCR, under one lock (linux v6.6 security/integrity/ima/ima_queue.c,
 * ima_add_template_entry). Layer: tools/ima-emulator. */
#ifndef AVOW_IMA_STORE_H
#define AVOW_IMA_STORE_H

#include "avow/base/cleanup.h"
#include "ima_emit.h"

struct avow_ima_store;
/* Takes the lock (<list>.lock) and opens the TPM; both may wait for others. Errors: AVOW_IO,
 * AVOW_TPM, AVOW_NOMEM, AVOW_CONFIG (path too long). */
enum avow_rc avow_ima_store_open(const char *list, const char *tcti, struct avow_ima_store **out,
                                 struct avow_err *err) AVOW_MUST_CHECK;
void avow_ima_store_close(struct avow_ima_store *s);
AVOW_DEFINE_CLEANUP(struct avow_ima_store, avow_ima_store_close);
/* A new boot: replaces the list by one that has boot_aggregate of the TPM's PCRs only. Errors:
 * AVOW_STATE (PCR 10 is not zero: the TPM was not rebooted), AVOW_IO, AVOW_TPM. */
enum avow_rc avow_ima_store_init(struct avow_ima_store *s, struct avow_err *err) AVOW_MUST_CHECK;
/* Appends an entry and extends PCR 10 in every active bank. Errors: AVOW_NOTFOUND (no list yet),
 * AVOW_IO (nothing was extended), AVOW_TPM (the list is ahead of the PCR, as on a host whose TPM
 * fails), AVOW_LIMIT. */
enum avow_rc avow_ima_store_add(struct avow_ima_store *s, const struct avow_ima_measurement *m,
                                struct avow_err *err) AVOW_MUST_CHECK;
/* The same for several, with the count written once, at the end; what was added before a failure
 * stays, as on a host. `tally` is the caller's, zero at first: it spares counting the list again as
 * long as nobody else adds to it. */
struct avow_ima_tally {
    uint64_t bytes, entries; /* of the list, when last looked at */
};
enum avow_rc avow_ima_store_add_many(struct avow_ima_store *s, const struct avow_ima_measurement *m,
                                     size_t n, struct avow_ima_tally *tally,
                                     struct avow_err *err) AVOW_MUST_CHECK;
/* True if the list has this very measurement already: the kernel measures a file once per content.
 */
enum avow_rc avow_ima_store_has(struct avow_ima_store *s, const struct avow_ima_measurement *m,
                                bool *out, struct avow_err *err) AVOW_MUST_CHECK;

#endif
