/* doctor.h - findings of `avow doctor`, one line a check. Layer: tools/avow. */
#ifndef AVOW_TOOLS_DOCTOR_H
#define AVOW_TOOLS_DOCTOR_H

#include "context.h"
#include "json_out.h"

struct avow_doctor {
    struct avow_cli *cli;
    uint64_t pending_ms; /* pending for longer is a problem */
    json_t *list;        /* JSON only; NULL when out of memory */
    unsigned checks, problems;
};

/* A check that found nothing. */
void avow_doctor_ok(struct avow_doctor *d, const char *check, const char *fmt, ...)
    AVOW_PRINTF(3, 4);
/* A problem, and the step that leads on. */
void avow_doctor_problem(struct avow_doctor *d, const char *check, const char *next,
                         const char *fmt, ...) AVOW_PRINTF(4, 5);

/* Keys and files of this machine. */
void avow_doctor_files(struct avow_doctor *d);
/* Markers, clock, states: what workers do. Needs cli->trust. */
void avow_doctor_workers(struct avow_doctor *d);
/* Enrolments against ledger and verdicts. Needs cli->trust. */
void avow_doctor_agents(struct avow_doctor *d);

#endif
