/* err.h - our failures: one enum, one caller-owned struct. Layer: base.
 * An error is about us; what is wrong with an agent is a finding (core/findings.h). */
#ifndef AVOW_BASE_ERR_H
#define AVOW_BASE_ERR_H

#include "avow/base/attrs.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>

#define AVOW_ERR_MAP(X)                                                                            \
    X(OK, "ok")                                                                                    \
    X(NOMEM, "out of memory")                                                                      \
    X(LIMIT, "limit exceeded")                                                                     \
    X(PARSE, "malformed input")                                                                    \
    X(SCHEMA, "unknown schema")                                                                    \
    X(IO, "i/o failure")                                                                           \
    X(TPM, "TPM failure")                                                                          \
    X(BUS, "Kafka failure")                                                                        \
    X(BUS_RETRY, "Kafka transaction must be retried")                                              \
    X(BUS_FATAL, "Kafka client is unusable")                                                       \
    X(UNREACHABLE, "unreachable")                                                                  \
    X(CRYPTO, "cryptographic library failure")                                                     \
    X(UNTRUSTED, "signature or authority not accepted")                                            \
    X(ROLLBACK, "older than what is known")                                                        \
    X(CONFIG, "bad configuration")                                                                 \
    X(USAGE, "bad usage")                                                                          \
    X(NOTFOUND, "not found")                                                                       \
    X(EXISTS, "already there")                                                                     \
    X(REFUSED, "refused")                                                                          \
    X(TIMEOUT, "timed out")                                                                        \
    X(STATE, "not possible in this state")

enum avow_rc {
#define X(name, text) AVOW_##name,
    AVOW_ERR_MAP(X)
#undef X
        AVOW_RC_COUNT
};

/* What a loop does about a failure. */
enum avow_rc_class { AVOW_CLASS_OK, AVOW_CLASS_RETRY, AVOW_CLASS_SKIP, AVOW_CLASS_FATAL };

struct avow_err {
    enum avow_rc rc;
    int64_t native; /* errno, TSS2_RC, rd_kafka_resp_err_t or HTTP status; 0 if none */
    char msg[240];  /* outermost context first, always NUL-terminated */
};

/* Fills `err` (may be NULL) and returns `rc`. */
enum avow_rc avow_err_set(struct avow_err *err, enum avow_rc rc, int64_t native, const char *fmt,
                          ...) AVOW_PRINTF(4, 5);

/* Puts "context: " in front of the message that a callee left and returns `rc`. */
enum avow_rc avow_err_wrap(struct avow_err *err, enum avow_rc rc, const char *fmt, ...)
    AVOW_PRINTF(3, 4);

/* The static analyser sees one file at a time: it is told that both return the code they get. */
#ifdef __clang_analyzer__
#define avow_err_set(err, rc, ...) ((void)(avow_err_set)((err), (rc), __VA_ARGS__), (rc))
#define avow_err_wrap(err, rc, ...) ((void)(avow_err_wrap)((err), (rc), __VA_ARGS__), (rc))
#endif

/* Name of `rc` in words; never NULL. */
const char *avow_rc_text(enum avow_rc rc);

enum avow_rc_class avow_rc_class(enum avow_rc rc);

#endif
