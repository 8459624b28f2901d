/* notify.h - tells the service manager how the program is doing: sd_notify's datagrams, without its
 * library. Layer: base. Spec: sd_notify(3), sd_watchdog_enabled(3). Without a service manager
 * everything is a no-op. Nothing here fails: a manager that does not listen is no reason to stop.
 * One thread. */
#ifndef AVOW_BASE_NOTIFY_H
#define AVOW_BASE_NOTIFY_H

#include "avow/base/attrs.h"

#include <stdbool.h>
#include <stdint.h>

struct avow_notify {
    int fd;               /* -1: nobody wants to know */
    uint64_t watchdog_ms; /* half of what the manager allows between two signs of life; 0: none */
    uint64_t fed_ms;
    bool ready;
};
/* Takes NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID out of the environment, so that no child
 * speaks in our name. Call before giving up privileges and before threads. */
void avow_notify_open(struct avow_notify *n);
void avow_notify_close(struct avow_notify *n);
/* READY=1, once. */
void avow_notify_ready(struct avow_notify *n);
/* One line for `systemctl status`. */
void avow_notify_status(struct avow_notify *n, const char *fmt, ...) AVOW_PRINTF(2, 3);
void avow_notify_stopping(struct avow_notify *n);
/* WATCHDOG=1, if half of the allowed time has passed since the last one. */
void avow_notify_watchdog(struct avow_notify *n, uint64_t now_ms);

#endif
