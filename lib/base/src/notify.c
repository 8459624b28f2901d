#define _GNU_SOURCE /* SOCK_CLOEXEC */
#include "avow/base/notify.h"

#include "avow/base/num.h"

#include <errno.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "avow/base/banned.h"

#define MESSAGE_MAX 512u

/* A path, or with '@' a name in the abstract space; VSOCK is for machines, not for us. */
static int connect_to(const char *name)
{
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    size_t len = strlen(name);
    if ((name[0] != '/' && name[0] != '@') || len < 2 || len >= sizeof to.sun_path)
        return -1;
    memcpy(to.sun_path, name, len);
    if (name[0] == '@')
        to.sun_path[0] = '\0';
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return -1;
    socklen_t size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len);
    if (connect(fd, (const struct sockaddr *)&to, size) == 0)
        return fd;
    close(fd);
    return -1;
}

static uint64_t number_of(const char *variable)
{
    uint64_t n = 0;
    const char *text = getenv(variable);
    return text && avow_num_parse_u64(avow_str_from(text), UINT64_MAX, &n) ? n : 0;
}

void avow_notify_open(struct avow_notify *n)
{
    const char *name = getenv("NOTIFY_SOCKET");
    const char *pid = getenv("WATCHDOG_PID");
    *n = (struct avow_notify){.fd = name ? connect_to(name) : -1};
    if (n->fd >= 0 && (!pid || number_of("WATCHDOG_PID") == (uint64_t)getpid()))
        n->watchdog_ms = number_of("WATCHDOG_USEC") / 2000;
    unsetenv("NOTIFY_SOCKET");
    unsetenv("WATCHDOG_PID");
    unsetenv("WATCHDOG_USEC");
}

void avow_notify_close(struct avow_notify *n)
{
    if (n->fd >= 0)
        close(n->fd);
    *n = (struct avow_notify){.fd = -1};
}

static void tell(const struct avow_notify *n, const char *text)
{
    if (n->fd < 0)
        return;
    ssize_t sent;
    do {
        sent = send(n->fd, text, strlen(text), MSG_NOSIGNAL);
    } while (sent < 0 && errno == EINTR);
}

void avow_notify_ready(struct avow_notify *n)
{
    if (!n->ready)
        tell(n, "READY=1");
    n->ready = true;
}

void avow_notify_status(struct avow_notify *n, const char *fmt, ...)
{
    char text[MESSAGE_MAX] = "STATUS=";
    size_t head = strlen(text);
    va_list ap;
    if (n->fd < 0)
        return;
    va_start(ap, fmt);
    (void)vsnprintf(text + head, sizeof text - head, fmt, ap);
    va_end(ap);
    for (char *p = text + head; *p; p++) /* a line end would begin another assignment */
        if ((unsigned char)*p < 0x20)
            *p = ' ';
    tell(n, text);
}

void avow_notify_stopping(struct avow_notify *n)
{
    tell(n, "STOPPING=1");
}

void avow_notify_watchdog(struct avow_notify *n, uint64_t now_ms)
{
    if (!n->watchdog_ms || (n->fed_ms && now_ms - n->fed_ms < n->watchdog_ms))
        return;
    n->fed_ms = now_ms;
    tell(n, "WATCHDOG=1");
}
