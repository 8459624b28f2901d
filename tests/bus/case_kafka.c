#include "cases.h"
int child_main(int argc, char **argv)
{
    (void)argc;
    (void)argv;
    return 0;
}
const struct CMUnitTest kafka_cases[] = {{0}};
