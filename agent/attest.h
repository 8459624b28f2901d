/* attest.h - one attestation round (PROTOCOL B3.1 step 5, a to f) and the records that it makes.
 * Layer: agent. I/O over TPM, list and files; decides what an evidence holds, never when. One round
 * at a time, of an evidence at most two parts in memory: run, then records one by one, then commit
 * or discard.
 * One thread. */
#ifndef AVOW_AGENT_ATTEST_H
#define AVOW_AGENT_ATTEST_H

#include "evidence_build.h"
#include "sources/ima_reader.h"
#include "tpm/tpm.h"

#define AVOW_ATTEST_PART_BYTES (512u * 1024u)      /* PROTOCOL B6 */
#define AVOW_ATTEST_PART_BYTES_MOCK (200u * 1024u) /* the mock cluster keeps 5 MiB a partition */
#define AVOW_ATTEST_PARTS AVOW_EVIDENCE_PARTS_MAX  /* what remains goes with the next evidence */
#define AVOW_ATTEST_PARTS_MOCK 8u

struct avow_attest_opts { /* borrowed for the life of the object */
    struct avow_tpm *tpm; /* with an AK loaded */
    const char *agent_id;
    const char *ima_log, *uefi_log; /* "" or not there: this host has none */
    const char *boot_id_file;
    const char *bank; /* "auto" or the name of a hash */
    size_t part_bytes;
    size_t parts_max; /* 1 to AVOW_EVIDENCE_PARTS_MAX */
};
struct avow_attest;
/* Opens the list and the log, which stay open: the process may give up the right to open them.
 * Errors: AVOW_NOMEM, AVOW_CONFIG (bank), AVOW_IO (a file that is there cannot be read). */
enum avow_rc avow_attest_new(const struct avow_attest_opts *opts, struct avow_attest **out,
                             struct avow_err *err) AVOW_MUST_CHECK;
void avow_attest_free(struct avow_attest *a);
AVOW_DEFINE_CLEANUP(struct avow_attest, avow_attest_free);
/* For the evidences that follow; ranges as in avow_attest_opts. */
void avow_attest_set_limits(struct avow_attest *a, size_t part_bytes, size_t parts_max);

/* 16 bytes of the boot id's UUID text. Errors: AVOW_IO, AVOW_PARSE. */
enum avow_rc avow_attest_boot_id(const struct avow_attest *a, uint8_t out[16],
                                 struct avow_err *err) AVOW_MUST_CHECK;
/* Entries that the list is said to have; 0 if IMA is absent. Cheap: polled many times a second.
 * Errors: AVOW_IO, AVOW_PARSE. */
enum avow_rc avow_attest_log_count(struct avow_attest *a, uint64_t *out,
                                   struct avow_err *err) AVOW_MUST_CHECK;

struct avow_attest_ask {
    const uint8_t *fleet; /* 16 bytes */
    const uint8_t *nonce; /* 32 bytes, of the newest marker */
    uint64_t epoch;
    uint64_t from; /* first IMA entry */
    bool boot_log, pcrs;
};
struct avow_attest_result {
    uint64_t start,
        end; /* IMA entries carried; start is 0 where the list or the boot is a new one */
    bool more;
    uint64_t log_count;  /* after the quote */
    size_t parts, bytes; /* of all parts */
    bool boot_log;
    uint64_t quote_ms;
};
/* Makes an evidence that is ready to send. Errors: AVOW_TPM, AVOW_IO, AVOW_NOTFOUND (no PCR bank),
 * AVOW_PARSE, AVOW_LIMIT, AVOW_NOMEM. After an error nothing is in memory and nothing is known that
 * was not before. */
enum avow_rc avow_attest_run(struct avow_attest *a, const struct avow_attest_ask *ask,
                             struct avow_attest_result *out, struct avow_err *err) AVOW_MUST_CHECK;
/* Encodes the next record of the evidence, first the head; the parts behind it are read again, and
 * only what was hashed is sent. *done: there is none left, `record` is untouched. Errors:
 * AVOW_STATE (the list changed under us), and those of reading. */
enum avow_rc avow_attest_next_record(struct avow_attest *a, struct avow_buf *record, bool *done,
                                     struct avow_err *err) AVOW_MUST_CHECK;
void avow_attest_commit(struct avow_attest *a);
void avow_attest_discard(struct avow_attest *a);

#endif
