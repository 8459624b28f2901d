/* advice.h - what an operator can do when Kafka cannot be used. Layer: bus. Pure. Programs say it
 * beside the failure: in a log as `next`, on a terminal as a hint. */
#ifndef AVOW_BUS_ADVICE_H
#define AVOW_BUS_ADVICE_H

/* `message`: of an AVOW_UNREACHABLE or AVOW_BUS failure, or of a client's own log. One line,
 * static, never NULL. */
const char *avow_bus_advice(const char *message);

#endif
