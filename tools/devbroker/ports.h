/* ports.h - a fixed port for librdkafka's mock cluster, which always asks for any port. Development
 * only. This program defines bind() and listen(), which librdkafka calls; the state is global, for
 * the caller is not ours. */
#ifndef AVOW_DEVBROKER_PORTS_H
#define AVOW_DEVBROKER_PORTS_H

#include <stdint.h>

/* The next bind() to 127.0.0.1 with port 0 gets this port instead. 0: nothing is changed. */
void ports_want(uint16_t port);
/* errno of binding to 127.0.0.1:port now, 0 if it works. Asked first, for a mock cluster that
 * cannot bind aborts the whole program (librdkafka 2.0.2). */
int ports_try(uint16_t port);

#endif
