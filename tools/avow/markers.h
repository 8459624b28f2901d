/* markers.h - the newest marker of each partition: who serves it, how it is signed, and the
 * broker's clock. Layer: tools/avow. */
#ifndef AVOW_TOOLS_MARKERS_H
#define AVOW_TOOLS_MARKERS_H

#include "context.h"

struct avow_marker_view {
    bool found;
    uint64_t epoch, issued_ms, bundle_version;
    uint64_t append_ms; /* LogAppendTime; 0 if the topic has none */
    uint8_t key_id[8];  /* of its signature */
};
struct avow_markers {
    struct avow_marker_view *of; /* owned; one per partition */
    size_t count;
    uint64_t refused; /* records at the end of the topic that do not prove themselves */
};
void avow_markers_deinit(struct avow_markers *m);
/* Reads the end of topic epochs; loads the bundle. `m` is initialised here. Errors: those of
 * avow_cli_trust, AVOW_UNREACHABLE, AVOW_STATE (no such topic). */
enum avow_rc avow_markers_read(struct avow_cli *cli, struct avow_markers *m,
                               struct avow_err *err) AVOW_MUST_CHECK;

#endif
