/* findings.h - every finding: one table. Layer: core. Ids are public, dotted, append-only; a golden
 * test locks them. */
#ifndef AVOW_CORE_FINDINGS_H
#define AVOW_CORE_FINDINGS_H

#include "avow/base/bytes.h"

#define AVOW_FINDINGS_KEPT 32u /* PROTOCOL B6; the rest are counted */

/* X(name, id, default severity, Keylime's event id or NULL (avow_finding_keylime_event), text).
 * docs/FINDINGS.md is generated from it. */
#define AVOW_FINDING_MAP(X)                                                                        \
    X(EVIDENCE_MALFORMED, "evidence.malformed", "critical", NULL,                                  \
      "an attributed evidence breaks its own format")                                              \
    X(EVIDENCE_UNPROVEN, "evidence.unproven", "critical", NULL,                                    \
      "the agent talks but proves nothing")                                                        \
    X(QUOTE_SELECTION, "quote.selection", "critical", "pcr_validation.missing_pcrs",               \
      "the quote does not cover the PCRs that it must")                                            \
    X(QUOTE_BANK, "quote.bank", "critical", "qoute_validation.quote_validation",                   \
      "the quoted bank is not enrolled")                                                           \
    X(QUOTE_QUALIFIED_SIGNER, "quote.qualified_signer", "critical", NULL,                          \
      "the AK is not where it was enrolled")                                                       \
    X(TPM_COUNTERS_REGRESSED, "tpm.counters_regressed", "critical", NULL,                          \
      "the TPM's counters went back")                                                              \
    X(PCR_MISMATCH, "pcr.mismatch", "critical", "pcr_validation.invalid_pcr_",                     \
      "a PCR has none of the enrolled values")                                                     \
    X(IMA_MISSING, "ima.missing", "critical", "pcr_validation.unused_pcr_10",                      \
      "the policy demands an IMA list and there is none")                                          \
    X(IMA_PCR_MISMATCH, "ima.pcr_mismatch", "critical", "ima.pcr_mismatch",                        \
      "the IMA list does not explain the quoted PCR 10")                                           \
    X(IMA_TEMPLATE_HASH, "ima.template_hash", "critical", "ima.validation.ima_hash",               \
      "an entry's template hash is not that of its data")                                          \
    X(IMA_TEMPLATE_UNKNOWN, "ima.template_unknown", "critical", "ima.validation.no_validator",     \
      "an entry's template is not known")                                                          \
    X(IMA_PCR_INDEX, "ima.pcr_index", "critical", "ima.validation.ima_pcr",                        \
      "an entry belongs to a PCR that is not enrolled")                                            \
    X(IMA_BANK_PADDED, "ima.bank_padded", "critical", NULL,                                        \
      "the bank's IMA hashes are padded SHA-1")                                                    \
    X(IMA_VIOLATION, "ima.violation", "critical", "ima.validation.tomtou",                         \
      "a measurement violation: a file was written while it was measured")                         \
    X(IMA_BOOT_AGGREGATE, "ima.boot_aggregate", "critical",                                        \
      "ima.validation.ima-ng.not_in_allowlist", "boot_aggregate is not that of the quoted PCRs")   \
    X(IMA_BOOT_AGGREGATE_MISSING, "ima.boot_aggregate_missing", "critical", NULL,                  \
      "the list does not begin with boot_aggregate")                                               \
    X(IMA_BOOT_AGGREGATE_REPEATED, "ima.boot_aggregate_repeated", "critical", NULL,                \
      "a second boot_aggregate: a kernel was started over another")                                \
    X(IMA_LOG_TRIMMED, "ima.log_trimmed", "critical", NULL, "the beginning of the list is gone")   \
    X(IMA_ENTRY_TOO_LARGE, "ima.entry_too_large", "critical", NULL,                                \
      "an entry is larger than 512 KiB")                                                           \
    X(IMA_LOG_TOO_LARGE, "ima.log_too_large", "critical", NULL,                                    \
      "more than 4 million entries in one boot")                                                   \
    X(IMA_DIGEST_UNKNOWN, "ima.digest_unknown", "critical",                                        \
      "ima.validation.ima-ng.not_in_allowlist", "no policy entry allows this digest")              \
    X(IMA_EXCLUDE_UNDECIDED, "ima.exclude_undecided", "critical", NULL,                            \
      "an exclude expression hit its limits on this path")                                         \
    X(BOOT_KEXEC, "boot.kexec", "critical", NULL, "another kernel was started without a reboot")   \
    X(BOOT_HIBERNATED, "boot.hibernated", "critical", NULL, "the host was hibernated")             \
    X(ENROLLMENT_LOST, "enrollment.lost", "critical", NULL,                                        \
      "state exists for an agent whose enrolment is gone")                                         \
    X(STATE_LOST, "state.lost", "critical", NULL,                                                  \
      "the appraisal state of an enrolled agent is gone")                                          \
    X(AGENT_SILENT, "agent.silent", "warning", NULL,                                               \
      "nothing was heard for longer than silent_after")                                            \
    X(AGENT_NEVER_ATTESTED, "agent.never_attested", "warning", NULL,                               \
      "enrolled, but nothing was ever heard")                                                      \
    X(IMA_SIGNATURE_INVALID, "ima.signature_invalid", "critical",                                  \
      "ima.validator.ima-sig.invalid_signature",                                                   \
      "a file's signature is not one of its key over this digest")                                 \
    X(IMA_SIGNATURE_KEY_UNKNOWN, "ima.signature_key_unknown", "critical",                          \
      "ima.validator.ima-sig.invalid_signature", "a file is signed by a key that is not accepted") \
    X(IMA_SIGNATURE_MISSING, "ima.signature_missing", "critical",                                  \
      "ima.validator.ima-sig.invalid_signature",                                                   \
      "a file is not signed, and nothing else allows it")                                          \
    X(IMA_BUFFER_UNKNOWN, "ima.buffer_unknown", "critical",                                        \
      "ima.validation.ima-ng.runtime_policy_hash",                                                 \
      "a measured buffer is not one that the policy lists")                                        \
    X(IMA_BUFFER_DIGEST, "ima.buffer_digest", "critical", "ima.validation.dm.invalid_data",        \
      "a measured buffer does not have the digest beside it")                                      \
    X(IMA_KEY_UNKNOWN, "ima.key_unknown", "critical", "ima.validation.ima-ng.not_in_allowlist",    \
      "a key was loaded into a keyring that may not hold it")                                      \
    X(IMA_KEYRING_FULL, "ima.keyring_full", "critical", NULL,                                      \
      "more keys were loaded than are kept")                                                       \
    X(IMA_DM_MALFORMED, "ima.dm_malformed", "critical", "ima.validation.dm.parsing_failed",        \
      "an event of the device mapper is malformed")                                                \
    X(IMA_DM_NO_RULE, "ima.dm_no_rule", "critical",                                                \
      "ima.validation.dm.dm_table_load.no_matching_policy", "a device that no rule is for")        \
    X(IMA_DM_RELOADED, "ima.dm_reloaded", "critical",                                              \
      "ima.validation.dm.dm_table_load.multiple_table_loads", "a device got a second table")       \
    X(IMA_DM_DEVICE, "ima.dm_device", "critical", "ima.validation.dm.dm_table_load.invalid_entry", \
      "a device is another than its rule says")                                                    \
    X(IMA_DM_TARGETS, "ima.dm_targets", "critical",                                                \
      "ima.validation.dm.dm_table_load.num_targets_mismatch",                                      \
      "a device has another number of targets than its rule says")                                 \
    X(IMA_DM_TARGET, "ima.dm_target", "critical",                                                  \
      "ima.validation.dm.dm_table_load.target_data_mismatch",                                      \
      "a target is another than its rule says")                                                    \
    X(IMA_DM_UNLOADED, "ima.dm_unloaded", "critical",                                              \
      "ima.validation.dm.dm_device_resume.resume_before_table_load",                               \
      "an event of a device before its table was loaded")                                          \
    X(IMA_DM_RESUMED, "ima.dm_resumed", "critical",                                                \
      "ima.validation.dm.dm_device_resume.already_active", "a device was resumed that was active") \
    X(IMA_DM_TABLE_HASH, "ima.dm_table_hash", "critical",                                          \
      "ima.validation.dm.dm_device_resume.active_table_mismatch",                                  \
      "a device was resumed with another table than was loaded")                                   \
    X(IMA_DM_REMOVED, "ima.dm_removed", "critical",                                                \
      "ima.validation.dm.dm_device_remove.device_removed", "a device was removed")                 \
    X(IMA_DM_CLEARED, "ima.dm_cleared", "critical",                                                \
      "ima.validation.dm.dm_table_clear.table_cleared", "the table of a device was cleared")       \
    X(IMA_DM_RENAMED, "ima.dm_renamed", "critical",                                                \
      "ima.validation.dm.dm_device_rename.new_name_invalid",                                       \
      "a device was renamed in a way that its rule does not allow")                                \
    X(IMA_DM_FULL, "ima.dm_full", "critical", NULL, "more devices than are kept")                  \
    X(IMA_DM_REQUIRED, "ima.dm_required", "critical",                                              \
      "ima.validation.dm.required_policy_not_in_use",                                              \
      "a device that a rule requires is not there")                                                \
    X(IMA_DM_NOT_RESUMED, "ima.dm_not_resumed", "critical",                                        \
      "ima.validation.dm.device_invalid_state", "a device whose rule requires it was not resumed") \
    X(BOOT_LOG_MALFORMED, "boot.log_malformed", "critical",                                        \
      "measured_boot.parser.tpm2_eventlog.error", "the firmware's log breaks its own format")      \
    X(BOOT_LOG_TOO_LARGE, "boot.log_too_large", "critical", NULL,                                  \
      "the firmware's log has more bytes or events than are read")                                 \
    X(BOOT_DIGEST_MISSING, "boot.digest_missing", "critical", NULL,                                \
      "an event of the firmware's log has no digest of a bank that its header names")              \
    X(BOOT_DATA_UNBOUND, "boot.data_unbound", "critical", NULL,                                    \
      "data of the firmware's log is not what its digest is of")                                   \
    X(BOOT_PCR_MISMATCH, "boot.pcr_mismatch", "critical", "measured_boot.invalid_pcr_",            \
      "the firmware's log does not explain a quoted PCR")                                          \
    X(QUOTE_MALFORMED, "quote.malformed", "critical", "qoute_validation.quote_validation",         \
      "the quote or its signature breaks its own format")                                          \
    X(QUOTE_AK, "quote.ak", "critical", NULL,                                                      \
      "the key is not one that signs only what its TPM made")                                      \
    X(QUOTE_ALGORITHM, "quote.algorithm", "critical", "qoute_validation.invalid_sign_alg",         \
      "the quote is signed with an algorithm that is not accepted")                                \
    X(QUOTE_SIGNATURE, "quote.signature", "critical", "qoute_validation.quote_validation",         \
      "the quote is not signed by the key")                                                        \
    X(QUOTE_MAGIC, "quote.magic", "critical", "qoute_validation.quote_validation",                 \
      "what was signed is no quote that a TPM made")                                               \
    X(QUOTE_NONCE_MISMATCH, "quote.nonce_mismatch", "critical",                                    \
      "qoute_validation.quote_validation", "the quote answers another nonce")                      \
    X(QUOTE_PCR_DIGEST, "quote.pcr_digest", "critical", "qoute_validation.quote_validation",       \
      "the PCR values are not those that were quoted")                                             \
    X(IMA_LOG_MALFORMED, "ima.log_malformed", "critical", "ima.parser.entry",                      \
      "the IMA list breaks its own format")                                                        \
    X(BOOT_LOG_MISSING, "boot.log_missing", "critical",                                            \
      "measured_boot.parser.tpm2_eventlog.error",                                                  \
      "a boot policy is demanded, and the host has no firmware log")                               \
    X(BOOT_PCR_MISSING, "boot.pcr_missing", "critical", "measured_boot.missing_pcrs",              \
      "a PCR that the boot policy judges was not quoted")                                          \
    X(BOOT_SECURE_BOOT, "boot.secure_boot", "critical", "measured_boot.policy_example",            \
      "Secure Boot is not in the state that the boot policy demands")                              \
    X(BOOT_VARIABLE, "boot.variable", "critical", "measured_boot.policy_example",                  \
      "a firmware variable or key list is not as the boot policy demands")                         \
    X(BOOT_FIRMWARE, "boot.firmware", "critical", "measured_boot.policy_example",                  \
      "the firmware is none that the boot policy accepts")                                         \
    X(BOOT_IMAGE, "boot.image", "critical", "measured_boot.policy_example",                        \
      "an image that was started is none that the boot policy accepts")                            \
    X(BOOT_COMMAND_LINE, "boot.command_line", "critical", "measured_boot.policy_example",          \
      "a command line is none that the boot policy accepts")                                       \
    X(BOOT_FILE, "boot.file", "critical", "measured_boot.policy_example",                          \
      "a file that the boot loader read is none that the boot policy accepts")                     \
    X(BOOT_MOK, "boot.mok", "critical", "measured_boot.policy_example",                            \
      "the machine owner's keys are not those that the boot policy accepts")                       \
    X(BOOT_EVENT_MISSING, "boot.event_missing", "critical", "measured_boot.policy_example",        \
      "an event that the boot policy requires is not in the log")                                  \
    X(BOOT_EVENT_FORBIDDEN, "boot.event_forbidden", "critical", "measured_boot.policy_example",    \
      "an event that the boot policy does not allow is in the log")                                \
    X(BOOT_DATA_UNTRUSTED, "boot.data_untrusted", "critical", NULL,                                \
      "the boot policy reads data that no digest covers")

enum avow_finding_id {
#define X(name, id, severity, keylime, text) AVOW_FINDING_##name,
    AVOW_FINDING_MAP(X)
#undef X
        AVOW_FINDING_COUNT
};
struct avow_finding_def {
    const char *id, *severity, *keylime_event, *text;
};
/* `id` must be in range. */
const struct avow_finding_def *avow_finding_def_of(enum avow_finding_id id);
#define AVOW_KEYLIME_EVENT_MAX 80u
/* Keylime's event id for the finding; those that end in `_` in the table have the PCR behind it, or
 * nothing if `pcr` is negative. False if Keylime has none. */
bool avow_finding_keylime_event(enum avow_finding_id id, int32_t pcr,
                                char out[AVOW_KEYLIME_EVENT_MAX]);
/* Order of the severity labels, info 0 to emergency 6, as Keylime names them; -1 for an unknown
 * label. */
#define AVOW_SEVERITY_LABELS "info, notice, warning, error, critical, alert, emergency"
int avow_severity_rank(struct avow_str label);
/* The label of this rank; NULL if there is none. */
const char *avow_severity_label(size_t rank);
/* Where a finding was found, for tools that show it as data; what does not apply is -1 or empty. */
struct avow_finding_context {
    int64_t entry; /* of the IMA list, from 0 */
    int64_t event; /* of the UEFI log, from 0 */
    int32_t pcr;
    bool listed; /* the policy lists the path, with other digests */
    struct avow_str path;
};
/* The same as avow_finding_keylime_event, where more is known: Keylime tells a path that the policy
 * does not list from one that it lists with other digests. */
bool avow_finding_keylime_event_at(enum avow_finding_id id, const struct avow_finding_context *at,
                                   char out[AVOW_KEYLIME_EVENT_MAX]);
/* By public id; NULL if unknown. */
const struct avow_finding_def *avow_finding_def_find(struct avow_str id);

#endif
