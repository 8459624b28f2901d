#define _GNU_SOURCE /* struct addrinfo, AF_INET6 */
#include "avow/http/listen.h"

#include "avow/base/num.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <string.h>
#include <unistd.h>

#include "avow/base/banned.h"

#define BACKLOG 512

enum avow_rc avow_listen_split(const char *text, char host[256], char port[6], struct avow_err *err)
{
    uint64_t number = 0;
    const char *colon = strrchr(text, ':');
    if (!colon || !avow_num_parse_u64(avow_str_from(colon + 1), 65535, &number))
        return avow_err_set(err, AVOW_CONFIG, 0, "'%s' is not host:port", text);
    struct avow_str h = {text, (size_t)(colon - text)};
    if (h.len >= 2 && h.ptr[0] == '[' && h.ptr[h.len - 1] == ']')
        h = (struct avow_str){h.ptr + 1, h.len - 2};
    else if (memchr(h.ptr, ':', h.len))
        return avow_err_set(err, AVOW_CONFIG, 0, "'%s': write an IPv6 address as [address]:port",
                            text);
    if (!h.len || !avow_str_copy(host, 256, h))
        return avow_err_set(err, AVOW_CONFIG, 0, "'%s' is not host:port", text);
    snprintf(port, 6, "%u", (unsigned)number);
    return AVOW_OK;
}

static unsigned port_of(int fd)
{
    union {
        struct sockaddr any;
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
    } a = {.v6 = {.sin6_family = AF_UNSPEC}};
    socklen_t len = sizeof a;
    if (getsockname(fd, &a.any, &len))
        return 0;
    return ntohs(a.any.sa_family == AF_INET6 ? a.v6.sin6_port : a.v4.sin_port);
}

static int open_one(const struct addrinfo *a)
{
    const int on = 1;
    int fd = socket(a->ai_family, a->ai_socktype | SOCK_CLOEXEC | SOCK_NONBLOCK, a->ai_protocol);
    if (fd < 0)
        return -1;
    bool fine = !setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) &&
                !bind(fd, a->ai_addr, a->ai_addrlen) && !listen(fd, BACKLOG);
    if (fine)
        return fd;
    int saved = errno;
    close(fd);
    errno = saved;
    return -1;
}

/* A name server that is not up yet is no wrong configuration. */
static bool is_passing(int e)
{
    return e == EAI_AGAIN || e == EAI_SYSTEM || e == EAI_MEMORY;
}

enum avow_rc avow_listen_open(const char *text, int *fd, unsigned *port, struct avow_err *err)
{
    char host[256], service[6];
    enum avow_rc rc = avow_listen_split(text, host, service, err);
    if (rc)
        return rc;
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE | AI_NUMERICSERV};
    struct addrinfo *list = NULL;
    int e = getaddrinfo(host, service, &hints, &list);
    if (e)
        return avow_err_set(err, is_passing(e) ? AVOW_IO : AVOW_CONFIG, e, "%s: %s", text,
                            gai_strerror(e));
    int got = -1;
    errno = EADDRNOTAVAIL;
    for (const struct addrinfo *a = list; a && got < 0; a = a->ai_next)
        got = open_one(a);
    int saved = errno;
    freeaddrinfo(list);
    if (got < 0)
        return avow_err_set(err, AVOW_IO, saved, "cannot listen on %s: %s", text, strerror(saved));
    *fd = got;
    *port = port_of(got);
    return AVOW_OK;
}

void avow_listen_source(const struct sockaddr *addr, char *out, size_t cap)
{
    char text[INET6_ADDRSTRLEN] = "?";
    if (addr && addr->sa_family == AF_INET) {
        struct sockaddr_in v4;
        memcpy(&v4, addr, sizeof v4);
        inet_ntop(AF_INET, &v4.sin_addr, text, sizeof text);
    } else if (addr && addr->sa_family == AF_INET6) {
        struct sockaddr_in6 v6;
        memcpy(&v6, addr, sizeof v6);
        if (IN6_IS_ADDR_V4MAPPED(&v6.sin6_addr)) {
            inet_ntop(AF_INET, v6.sin6_addr.s6_addr + 12, text, sizeof text);
        } else {
            memset(v6.sin6_addr.s6_addr + 8, 0, 8);
            inet_ntop(AF_INET6, &v6.sin6_addr, text, sizeof text);
            snprintf(out, cap, "%s/64", text);
            return;
        }
    }
    snprintf(out, cap, "%s", text);
}
