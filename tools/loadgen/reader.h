/* reader.h - a consumer of verdicts and revocations like any other: it verifies each one, and notes
 * when it came. In a thread of its own with a connection of its own, so that it waits for nothing
 * that the load does. Layer: tools/loadgen. */
#ifndef AVOW_LOADGEN_READER_H
#define AVOW_LOADGEN_READER_H

#include "avow/bus/bus.h"
#include "avow/trust/bundle.h"

struct avow_load_reader;
struct avow_load_reader_opts { /* borrowed for the reader's life */
    const struct avow_bus_property *kv;
    size_t n_kv;
    const char *prefix;
    const struct avow_trust *trust;
    const char *id_prefix; /* agents are <id_prefix><index> */
    size_t agents;
};
struct avow_load_seen {     /* of one agent */
    bool trusted;           /* its newest verdict says so */
    uint64_t verdict_ns;    /* first verdict `untrusted` since armed; 0: none yet */
    uint64_t revocation_ns; /* first revocation since armed; 0: none yet */
};
struct avow_load_totals {
    uint64_t verdicts, revocations;
    uint64_t refused; /* records that do not prove themselves */
};

/* Returns when the reader follows the ends of both topics. Errors: AVOW_BUS, AVOW_UNREACHABLE,
 * AVOW_NOMEM. */
enum avow_rc avow_load_reader_start(const struct avow_load_reader_opts *o,
                                    struct avow_load_reader **out,
                                    struct avow_err *err) AVOW_MUST_CHECK;
/* Ends the thread. */
void avow_load_reader_free(struct avow_load_reader *r);
AVOW_DEFINE_CLEANUP(struct avow_load_reader, avow_load_reader_free);
/* Forgets what was seen of this agent. @thread any, as the next two. */
void avow_load_reader_arm(struct avow_load_reader *r, size_t agent);
struct avow_load_seen avow_load_reader_seen(struct avow_load_reader *r, size_t agent);
/* AVOW_OK, or why the reader has ended. */
enum avow_rc avow_load_reader_totals(struct avow_load_reader *r, struct avow_load_totals *out,
                                     struct avow_err *err) AVOW_MUST_CHECK;

#endif
