#define _GNU_SOURCE /* readlink */
#include "program_path.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "avow/base/banned.h"

void avow_program_path(const char *name, char out[AVOW_PROGRAM_PATH_MAX])
{
    char self[AVOW_PROGRAM_PATH_MAX / 2] = "";
    ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
    self[n > 0 ? n : 0] = '\0';
    char *slash = strrchr(self, '/');
    if (slash)
        *slash = '\0';
    (void)snprintf(out, AVOW_PROGRAM_PATH_MAX, "%s/../libexec/avow/%.64s", self, name);
    if (access(out, X_OK))
        (void)snprintf(out, AVOW_PROGRAM_PATH_MAX, "%s/%.64s", self, name);
}
