/* agent_show.h - one agent's standing for people and for scripts. Layer: tools/avow. */
#ifndef AVOW_TOOLS_AGENT_SHOW_H
#define AVOW_TOOLS_AGENT_SHOW_H

#include "context.h"

#include "avow/model/verdict.h"
#include "json_out.h"

/* {"agent", "status", "generation", "verdict": record or null}. `record` may be empty. */
enum avow_rc avow_agent_json(struct avow_str id, const char *standing, uint64_t generation,
                             struct avow_bytes record, json_t **out,
                             struct avow_err *err) AVOW_MUST_CHECK;
/* One finding a line, indented: id [severity] where: detail. */
void avow_print_findings(const struct avow_finding *findings, size_t n, uint64_t total);
/* `text` cleaned, to stdout. */
void avow_print_clean(struct avow_str text);

#endif
