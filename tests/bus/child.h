/* child.h - a second process that is a member of a group and can be stopped and killed. Tests only.
 */
#ifndef AVOW_TESTS_BUS_CHILD_H
#define AVOW_TESTS_BUS_CHILD_H

#include <sys/types.h>

struct child {
    pid_t pid;
    int in;  /* commands */
    int out; /* one line for each */
};
/* Starts it; it joins `group` on world.topic with a session of session_ms. Commands: join, begin,
 * put, offsets N, commit, poll. The answer is the name of the result. */
void child_open(struct child *c, const char *group, const char *transactional_id,
                unsigned session_ms);
void child_send(struct child *c, const char *command);
void child_expect(struct child *c, const char *answer);
void child_signal(struct child *c, int number);
void child_kill(struct child *c);

#endif
