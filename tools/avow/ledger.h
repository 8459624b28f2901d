/* ledger.h - the folder that keeps every record this CLI signed (configuration cli.ledger).
 * Layer: tools/avow. <ledger>/<topic>/<name>/<generation>.avro, mode 0600. */
#ifndef AVOW_TOOLS_LEDGER_H
#define AVOW_TOOLS_LEDGER_H

#include "context.h"

/* Keeps a copy. Nothing to do without a ledger. Errors: AVOW_IO, AVOW_LIMIT; the caller must not
 * publish what is not kept. */
enum avow_rc avow_ledger_put(struct avow_cli *cli, const char *topic, const char *name,
                             uint64_t generation, struct avow_bytes record,
                             struct avow_err *err) AVOW_MUST_CHECK;
/* The generation to sign next: above `there`, the newest on the topic (0: none), not below the
 * bundle's `floor`, and never one that was signed before, because two records of one generation are
 * a conflict (PROTOCOL R14). A topic that is behind the ledger is reported. Errors: AVOW_IO. */
enum avow_rc avow_ledger_next(struct avow_cli *cli, const char *topic, const char *name,
                              uint64_t there, uint64_t floor, uint64_t *out,
                              struct avow_err *err) AVOW_MUST_CHECK;
/* The highest generation that was kept under this name; 0 if none was, or without a ledger. */
enum avow_rc avow_ledger_newest(struct avow_cli *cli, const char *topic, const char *name,
                                uint64_t *out, struct avow_err *err) AVOW_MUST_CHECK;
/* Appends the kept record to `out`. Errors: AVOW_NOTFOUND (no ledger), AVOW_IO, AVOW_LIMIT. */
enum avow_rc avow_ledger_get(struct avow_cli *cli, const char *topic, const char *name,
                             uint64_t generation, struct avow_buf *out,
                             struct avow_err *err) AVOW_MUST_CHECK;

#endif
