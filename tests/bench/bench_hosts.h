/* bench_hosts.h - hosts in steady state, each with memory of its own: what one appraisal reads. */
#ifndef AVOW_TESTS_BENCH_HOSTS_H
#define AVOW_TESTS_BENCH_HOSTS_H

#include "rig.h"

#include <openssl/evp.h>

/* A trusted host and its next evidence: no parts, nothing new. Records are as they are on topics.
 */
struct bench_host {
    struct avow_bytes evidence_record, state_record, enrollment_record, marker_record;
    struct avow_evidence evidence;
    struct avow_body body;
    struct avow_enrollment enrollment;
    struct avow_state state;
    struct avow_marker marker;
    struct avow_ak *ak;
    struct avow_arena arena;

    /* for the baseline: a key and a context of OpenSSL's, made by nobody but OpenSSL */
    EVP_PKEY *pkey;
    EVP_PKEY_CTX *verify;
    uint8_t digest[32];
    uint8_t signature[600]; /* as OpenSSL takes it */
    size_t signature_len;
};

struct bench_fleet {
    struct rig rig;
    struct avow_eval_policy policy;
    uint8_t enrollment_sha256[32];
    struct bench_host *hosts;
    size_t count;
};

/* `count` hosts in random places of memory. Exits on failure. */
void bench_fleet_init(struct bench_fleet *f, enum rig_key key, size_t count);
void bench_fleet_deinit(struct bench_fleet *f);

#endif
