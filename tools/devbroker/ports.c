#define _DEFAULT_SOURCE /* syscall(); not _GNU_SOURCE, under which bind() takes a union */
#include "ports.h"

#include <errno.h>
#include <netinet/in.h>
#include <pthread.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "avow/base/banned.h"

/* librdkafka's own backlog of 5 makes the sixth client of a burst wait for a SYN to be sent again:
 * 1 s and more. */
#define BACKLOG 512

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static uint16_t wanted;

void ports_want(uint16_t port)
{
    pthread_mutex_lock(&lock);
    wanted = port;
    pthread_mutex_unlock(&lock);
}

static int real_bind(int fd, const void *addr, socklen_t len)
{
    return (int)syscall(SYS_bind, fd, addr, len);
}

static int bind_port(int fd, struct sockaddr_in in, uint16_t port)
{
    int on = 1;
    in.sin_port = htons(port);
    /* A restart must not wait until the last connections of its predecessor are forgotten. */
    (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    return real_bind(fd, &in, sizeof(in));
}

int ports_try(uint16_t port)
{
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int failure = fd < 0 || bind_port(fd, in, port) ? errno : 0;
    if (fd >= 0)
        (void)close(fd);
    return failure;
}

int bind(int fd, const struct sockaddr *addr, socklen_t len)
{
    struct sockaddr_in in;
    if (len != sizeof(in) || addr->sa_family != AF_INET)
        return real_bind(fd, addr, len);
    memcpy(&in, addr, sizeof(in));
    if (in.sin_port != 0 || in.sin_addr.s_addr != htonl(INADDR_LOOPBACK))
        return real_bind(fd, addr, len);
    pthread_mutex_lock(&lock);
    int r = wanted ? bind_port(fd, in, wanted) : real_bind(fd, addr, len);
    int e = errno;
    wanted = 0;
    pthread_mutex_unlock(&lock);
    errno = e;
    return r;
}

int listen(int fd, int backlog)
{
    return (int)syscall(SYS_listen, fd, backlog < BACKLOG ? BACKLOG : backlog);
}
