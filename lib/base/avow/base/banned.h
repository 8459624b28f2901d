/* banned.h - functions that are easy to misuse become compile errors. Layer: base. Include last. */
#ifndef AVOW_BASE_BANNED_H
#define AVOW_BASE_BANNED_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#undef strcpy
#undef strcat
#undef strncpy
#undef strncat
#undef strtok
#undef sprintf
#undef vsprintf
#pragma GCC poison strcpy strcat strncpy strncat strtok sprintf vsprintf atoi atol atoll strtol    \
    strtoul strtoll strtoull gmtime localtime ctime asctime gets rand srand
#ifndef AVOW_ALLOW_MEMCMP
#undef memcmp
#pragma GCC poison memcmp
#endif

#endif
