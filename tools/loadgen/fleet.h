/* fleet.h - many hosts in one process, with the timing of real agents: their lists are looked at
 * every ima_poll_ms at a phase of their own, changes are coalesced for 50 ms, a quote takes what a
 * TPM takes, heartbeats have a jitter of 10 % (PROTOCOL B3.1). Layer: tools/loadgen.
 *
 * A round: every host runs one tampered file at a random moment; its verdict and its revocation are
 * awaited; it is rebooted and becomes trusted again. */
#ifndef AVOW_LOADGEN_FLEET_H
#define AVOW_LOADGEN_FLEET_H

#include "avow/crypto/key.h"
#include "host.h"
#include "reader.h"

#define AVOW_LOAD_AGENTS_MAX 2000u
#define AVOW_LOAD_ROUNDS_MAX 100u

struct avow_load_opts {
    const char *bootstrap;
    const char *prefix;
    const char *root;
    const char *tenant_key;
    const char *policy;
    uint64_t agents, rounds;
    uint64_t spread_ms; /* over which the tampered files of a round are run */
    uint64_t poll_ms;   /* agent.ima_poll_ms */
    uint64_t tpm_ms;    /* time of a quote */
    uint64_t timeout_s; /* of the whole run */
};

struct avow_load_sample { /* milliseconds since the entry was appended */
    double sent;          /* the evidence was handed to Kafka: the agent's share */
    double verdict;       /* the signed verdict was read and verified */
    double revocation;    /* so was the revocation */
};
struct avow_load_report {
    struct avow_load_sample *samples; /* owned by the caller: free() */
    size_t count;
    size_t missing; /* appended, and no verdict or no revocation came in time */
    struct avow_load_totals read;
};

/* Enrols `agents` hosts (generation = milliseconds of now, so that it can be run again), runs the
 * rounds, removes nothing. Errors: AVOW_UNREACHABLE, AVOW_BUS, AVOW_UNTRUSTED, AVOW_TIMEOUT when
 * the hosts do not become trusted, AVOW_STATE when it is told to stop. */
enum avow_rc avow_load_run(const struct avow_load_opts *o, struct avow_load_report *out,
                           struct avow_err *err) AVOW_MUST_CHECK;

#endif
