/* listen.h - listening sockets and the text of client addresses. Layer: http. Thread-safe. */
#ifndef AVOW_HTTP_LISTEN_H
#define AVOW_HTTP_LISTEN_H

#include "avow/base/bytes.h"
#include "avow/base/err.h"

#include <sys/socket.h>

/* Splits "host:port" or "[v6]:port". Errors: AVOW_CONFIG. */
enum avow_rc avow_listen_split(const char *text, char host[256], char port[6],
                               struct avow_err *err) AVOW_MUST_CHECK;
/* A bound, listening, non-blocking socket in *fd and its port. Errors: AVOW_CONFIG (address),
 * AVOW_IO. */
enum avow_rc avow_listen_open(const char *text, int *fd, unsigned *port,
                              struct avow_err *err) AVOW_MUST_CHECK;
/* Whose requests these are, for bounds: the address; of IPv6 its /64, because one host commands all
 * of that. */
void avow_listen_source(const struct sockaddr *addr, char *out, size_t cap);

#endif
