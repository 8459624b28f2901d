/* program_path.h - where a helper program is: beside this one, or in libexec of the same
 * installation. Layer: agent. */
#ifndef AVOW_AGENT_PROGRAM_PATH_H
#define AVOW_AGENT_PROGRAM_PATH_H

#define AVOW_PROGRAM_PATH_MAX 4096u

/* Where nothing is found, the place beside this program: its message then names it. */
void avow_program_path(const char *name, char out[AVOW_PROGRAM_PATH_MAX]);

#endif
