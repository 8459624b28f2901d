#include "agent_show.h"

#include "avow/events/record_json.h"
#include "text.h"

#include <inttypes.h>
#include <stdio.h>

#include "avow/base/banned.h"

enum avow_rc avow_agent_json(struct avow_str id, const char *standing, uint64_t generation,
                             struct avow_bytes record, json_t **out, struct avow_err *err)
{
    json_t *verdict = NULL;
    enum avow_rc rc = record.len ? avow_record_json(record, &verdict, err) : AVOW_OK;
    if (rc)
        return rc;
    *out =
        json_pack("{s:o,s:s,s:o,s:o}", "agent", avow_json_str(id), "status", standing, "generation",
                  avow_json_u64(generation), "verdict", verdict ? verdict : json_null());
    return *out ? AVOW_OK : avow_err_set(err, AVOW_NOMEM, 0, "result as JSON");
}

void avow_print_clean(struct avow_str text)
{
    char clean[1024];
    avow_text_clean(clean, sizeof clean, text);
    fputs(clean, stdout);
}

void avow_print_findings(const struct avow_finding *findings, size_t n, uint64_t total)
{
    for (size_t i = 0; i < n; i++) {
        const struct avow_finding *f = &findings[i];
        fputs("    ", stdout);
        avow_print_clean(f->id);
        fputs(" [", stdout);
        avow_print_clean(f->severity);
        fputs("] ", stdout);
        avow_print_clean(f->where);
        fputs(f->where.len && f->detail.len ? ": " : "", stdout);
        avow_print_clean(f->detail);
        fputs("\n", stdout);
    }
    if (total > n)
        printf("    and %" PRIu64 " more\n", total - n);
}
