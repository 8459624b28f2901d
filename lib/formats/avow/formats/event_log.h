/* event_log.h - the firmware's measured boot log. Layer: formats. Uses: base only. Pure;
 * thread-safe; allocates nothing but text. Input: attacker-controlled.
 * Spec: TCG PC Client Platform Firmware Profile 1.06 r52, clause 10: "PFP" means this revision
 * everywhere. Logs with SHA-1 only have events as in 10.2.1, others as in 10.2.2 behind a header as
 * in 10.2.1. Little-endian throughout.
 *
 * Proves nothing. The digests are proven by replaying them to quoted PCRs; types, data and the
 * order among different PCRs are covered by no digest: core/event_replay.h, core/event_binding.h.
 */
#ifndef AVOW_FORMATS_EVENT_LOG_H
#define AVOW_FORMATS_EVENT_LOG_H

#include "avow/base/buf.h"

#define AVOW_EVENT_LOG_MAX (16u * 1024u * 1024u)
#define AVOW_EVENTS_MAX 65536u
#define AVOW_EVENT_DATA_MAX (1024u * 1024u)
#define AVOW_EVENT_DIGESTS_MAX 8u
#define AVOW_EVENT_DIGEST_LEN_MAX 64u /* SHA-512; TPM 2.0 Part 2 r1.38, 10.3.1 (TPMU_HA) */
#define AVOW_EVENT_PCRS 24u           /* TCG PC Client Platform TPM Profile 1.05, 4.6 */

/* X(name, value): PFP 10.4.1, table 27, and the names the profile gives them. */
#define AVOW_EVENT_TYPE_MAP(X)                                                                     \
    X(PREBOOT_CERT, 0x00000000u)                                                                   \
    X(POST_CODE, 0x00000001u)                                                                      \
    X(UNUSED, 0x00000002u)                                                                         \
    X(NO_ACTION, 0x00000003u)                                                                      \
    X(SEPARATOR, 0x00000004u)                                                                      \
    X(ACTION, 0x00000005u)                                                                         \
    X(EVENT_TAG, 0x00000006u)                                                                      \
    X(S_CRTM_CONTENTS, 0x00000007u)                                                                \
    X(S_CRTM_VERSION, 0x00000008u)                                                                 \
    X(CPU_MICROCODE, 0x00000009u)                                                                  \
    X(PLATFORM_CONFIG_FLAGS, 0x0000000Au)                                                          \
    X(TABLE_OF_DEVICES, 0x0000000Bu)                                                               \
    X(COMPACT_HASH, 0x0000000Cu)                                                                   \
    X(IPL, 0x0000000Du)                                                                            \
    X(IPL_PARTITION_DATA, 0x0000000Eu)                                                             \
    X(NONHOST_CODE, 0x0000000Fu)                                                                   \
    X(NONHOST_CONFIG, 0x00000010u)                                                                 \
    X(NONHOST_INFO, 0x00000011u)                                                                   \
    X(OMIT_BOOT_DEVICE_EVENTS, 0x00000012u)                                                        \
    X(POST_CODE2, 0x00000013u)                                                                     \
    X(EFI_EVENT_BASE, 0x80000000u)                                                                 \
    X(EFI_VARIABLE_DRIVER_CONFIG, 0x80000001u)                                                     \
    X(EFI_VARIABLE_BOOT, 0x80000002u)                                                              \
    X(EFI_BOOT_SERVICES_APPLICATION, 0x80000003u)                                                  \
    X(EFI_BOOT_SERVICES_DRIVER, 0x80000004u)                                                       \
    X(EFI_RUNTIME_SERVICES_DRIVER, 0x80000005u)                                                    \
    X(EFI_GPT_EVENT, 0x80000006u)                                                                  \
    X(EFI_ACTION, 0x80000007u)                                                                     \
    X(EFI_PLATFORM_FIRMWARE_BLOB, 0x80000008u)                                                     \
    X(EFI_HANDOFF_TABLES, 0x80000009u)                                                             \
    X(EFI_PLATFORM_FIRMWARE_BLOB2, 0x8000000Au)                                                    \
    X(EFI_HANDOFF_TABLES2, 0x8000000Bu)                                                            \
    X(EFI_VARIABLE_BOOT2, 0x8000000Cu)                                                             \
    X(EFI_GPT_EVENT2, 0x8000000Du)                                                                 \
    X(EFI_HCRTM_EVENT, 0x80000010u)                                                                \
    X(EFI_VARIABLE_AUTHORITY, 0x800000E0u)                                                         \
    X(EFI_SPDM_FIRMWARE_BLOB, 0x800000E1u)                                                         \
    X(EFI_SPDM_FIRMWARE_CONFIG, 0x800000E2u)                                                       \
    X(EFI_SPDM_DEVICE_POLICY, 0x800000E3u)                                                         \
    X(EFI_SPDM_DEVICE_AUTHORITY, 0x800000E4u)

#define X(name, value) static const uint32_t AVOW_EV_##name = (value);
AVOW_EVENT_TYPE_MAP(X)
#undef X

/* "EV_EFI_ACTION"; NULL for a value that the table has not. */
const char *avow_event_type_name(uint32_t type);

/* PFP 10.4.5.1, TCG_EfiSpecIdEventAlgorithmSize. */
struct avow_event_alg {
    uint16_t id;  /* TPM_ALG_ID */
    uint16_t len; /* 1 to AVOW_EVENT_DIGEST_LEN_MAX; that of the algorithm if it is a known one */
};

struct avow_event_digest {
    uint16_t alg;
    struct avow_bytes value; /* of the algorithm's length */
};

struct avow_event { /* borrows from the log */
    size_t index;   /* the first event, which is the header of a crypto-agile log, is 0 */
    size_t offset;  /* of its first byte in the log */
    uint32_t pcr;   /* below AVOW_EVENT_PCRS, or anything for EV_NO_ACTION, which extends nothing */
    uint32_t untrusted_type;
    struct avow_event_digest digests[AVOW_EVENT_DIGESTS_MAX]; /* each algorithm once */
    size_t digests_count;
    struct avow_bytes untrusted_data;
};

struct avow_event_log { /* borrows from the input */
    struct avow_bytes in;
    bool crypto_agile; /* the log begins with a Spec ID event of version 2 ("Spec ID Event03") */
    struct avow_event_alg algs[AVOW_EVENT_DIGESTS_MAX]; /* SHA-1 alone if not crypto-agile */
    size_t algs_count;
    uint8_t spec_major, spec_minor, spec_errata; /* of the Spec ID event; else zero */
    size_t count;                                /* of events, the header included */
};

/* Reads the whole log, so that the events can be walked without a failure. Errors: AVOW_LIMIT,
 * AVOW_PARSE (also for trailing bytes, an empty log, and two digests of one algorithm in one
 * event); the message says at which event. On failure *out is untouched. */
enum avow_rc avow_event_log_parse(struct avow_bytes in, struct avow_event_log *out,
                                  struct avow_err *err) AVOW_MUST_CHECK;

struct avow_event_walk {
    const struct avow_event_log *log;
    struct avow_rd rd;
    size_t next; /* index */
};
void avow_event_walk_init(struct avow_event_walk *w, const struct avow_event_log *log);
/* False: there are no more. */
bool avow_event_walk_next(struct avow_event_walk *w, struct avow_event *out) AVOW_MUST_CHECK;

/* The event's digest of `alg`; empty if it has none. */
struct avow_bytes avow_event_digest_of(const struct avow_event *e, uint16_t alg);

/* --- What the data of an event says --- */

/* PFP 10.2.6, UEFI_VARIABLE_DATA. */
struct avow_event_variable { /* borrows from the event */
    struct avow_bytes guid;  /* 16, as stored: the first three fields little-endian */
    struct avow_bytes name;  /* UTF-16LE without a terminator */
    struct avow_bytes value;
};
/* The event is about a variable by its type. */
bool avow_event_has_variable(const struct avow_event *e);
/* False: the data is no variable, or has bytes after it. */
bool avow_event_variable_parse(struct avow_bytes data,
                               struct avow_event_variable *out) AVOW_MUST_CHECK;
#define AVOW_GUID_TEXT_MAX 37u /* RFC 4122, 3, and a NUL */
/* "8be4df61-93ca-11d2-aa0d-00e098032b8c"; `guid` has 16 bytes. */
void avow_guid_text(struct avow_bytes guid, char out[AVOW_GUID_TEXT_MAX]);
/* Appends UTF-16LE as UTF-8: names of variables. An unpaired surrogate, and half a character at the
 * end, become U+FFFD. NUL is a character. */
void avow_event_put_utf16(struct avow_buf *out, struct avow_bytes utf16);
/* Appends the text that the data is, without a NUL at its end, if the type says that it is text
 * and it is UTF-8, or UTF-16LE that begins in ASCII, without controls. False: it is none, and
 * nothing was appended.
 */
bool avow_event_put_text(struct avow_buf *out, const struct avow_event *e);
/* The locality of a StartupLocality event (PFP 10.4.5.3). False: the event is another one. */
bool avow_event_startup_locality(const struct avow_event *e, uint8_t *out) AVOW_MUST_CHECK;

#endif
