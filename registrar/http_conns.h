/* http_conns.h - the open connections of a server and their deadlines. Layer: registrar.
 * Thread-safe. libmicrohttpd's own time-out starts anew with every byte, so a client that drips one
 * byte at a time would stay for ever; here a connection has one deadline per request, and a thread
 * of its own ends those that miss it. */
#ifndef AVOW_REGISTRAR_HTTP_CONNS_H
#define AVOW_REGISTRAR_HTTP_CONNS_H

#include "avow/base/err.h"

#include <stddef.h>
#include <stdint.h>

struct avow_conns;
struct avow_conn;

enum avow_rc avow_conns_new(struct avow_conns **out, struct avow_err *err) AVOW_MUST_CHECK;
/* After the server has stopped: no connection is left. */
void avow_conns_free(struct avow_conns *c);
/* NULL if memory is short: the connection then has no deadline; the calls below take NULL. fd stays
 * the server's. */
struct avow_conn *avow_conns_add(struct avow_conns *c, int fd, uint64_t deadline_ms);
/* Before the server closes fd: afterwards the number may be another connection's. */
void avow_conns_remove(struct avow_conns *c, struct avow_conn *conn);
void avow_conns_deadline(struct avow_conns *c, struct avow_conn *conn, uint64_t deadline_ms);
size_t avow_conns_count(struct avow_conns *c);
/* Requests being handled. */
void avow_conns_busy(struct avow_conns *c, int change);
/* Sleeps, also when the program was asked to stop. */
void avow_conns_pause(struct avow_conns *c, unsigned ms);
/* Waits until none is being handled, at most this long. */
void avow_conns_wait_idle(struct avow_conns *c, unsigned timeout_ms);

#endif
