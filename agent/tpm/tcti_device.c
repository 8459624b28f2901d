#define _GNU_SOURCE /* poll */
#include "tcti_device.h"

#include "avow/base/bytes.h"

#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "avow/base/banned.h"

#define RESPONSE_MAX 4096u /* the kernel's TPM_BUFSIZE */
#define RESPONSE_HEAD 10u  /* TPMI_ST_COMMAND_TAG, size, response code (Part 3, 5.2) */
#define MAGIC 0x41564F5744455631u
#define DRAINS_MAX 8u

struct device {
    TSS2_TCTI_CONTEXT_COMMON_CURRENT common; /* first: the TSS sees this */
    int fd;
    bool sent; /* a command is out */
    size_t len;
    uint8_t response[RESPONSE_MAX];
};

static struct device *device_of(TSS2_TCTI_CONTEXT *tcti)
{
    return tcti && TSS2_TCTI_MAGIC(tcti) == MAGIC ? (struct device *)(void *)tcti : NULL;
}

static TSS2_RC transmit(TSS2_TCTI_CONTEXT *tcti, size_t size, const uint8_t *command)
{
    struct device *d = device_of(tcti);
    if (!d || !command)
        return TSS2_TCTI_RC_BAD_REFERENCE;
    if (d->sent)
        return TSS2_TCTI_RC_BAD_SEQUENCE;
    while (size) {
        ssize_t n = write(d->fd, command, size);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return TSS2_TCTI_RC_IO_ERROR;
        command += n;
        size -= (size_t)n;
    }
    d->sent = true;
    d->len = 0;
    return TSS2_RC_SUCCESS;
}

/* False: nothing came in time. */
static bool wait_readable(int fd, int32_t timeout, TSS2_RC *rc)
{
    struct pollfd p = {.fd = fd, .events = POLLIN};
    int n;
    do {
        n = poll(&p, 1, timeout); /* a signal begins the waiting anew; nobody waits for long here */
    } while (n < 0 && errno == EINTR);
    *rc = n < 0 ? TSS2_TCTI_RC_IO_ERROR : n ? TSS2_RC_SUCCESS : TSS2_TCTI_RC_TRY_AGAIN;
    return n > 0;
}

static size_t wanted(const struct device *d)
{
    if (d->len < RESPONSE_HEAD)
        return RESPONSE_HEAD;
    return (size_t)d->response[2] << 24 | (size_t)d->response[3] << 16 |
           (size_t)d->response[4] << 8 | d->response[5];
}

/* The kernel gives a response in one piece, or as much of it as is asked for. */
static TSS2_RC fetch(struct device *d, int32_t timeout)
{
    while (d->len < wanted(d)) {
        TSS2_RC rc;
        if (wanted(d) > sizeof d->response)
            return TSS2_TCTI_RC_MALFORMED_RESPONSE;
        if (!wait_readable(d->fd, timeout, &rc))
            return rc;
        ssize_t n = read(d->fd, d->response + d->len, sizeof d->response - d->len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return TSS2_TCTI_RC_IO_ERROR;
        d->len += (size_t)n;
    }
    return d->len == wanted(d) ? TSS2_RC_SUCCESS : TSS2_TCTI_RC_MALFORMED_RESPONSE;
}

static TSS2_RC receive(TSS2_TCTI_CONTEXT *tcti, size_t *size, uint8_t *response, int32_t timeout)
{
    struct device *d = device_of(tcti);
    if (!d || !size)
        return TSS2_TCTI_RC_BAD_REFERENCE;
    if (!d->sent)
        return TSS2_TCTI_RC_BAD_SEQUENCE;
    TSS2_RC rc = fetch(d, timeout);
    if (rc == TSS2_TCTI_RC_TRY_AGAIN)
        return rc;
    if (rc) {
        d->sent = false;
        return rc;
    }
    size_t room = *size;
    *size = d->len;
    if (!response) /* only the size is asked for */
        return TSS2_RC_SUCCESS;
    if (room < d->len)
        return TSS2_TCTI_RC_INSUFFICIENT_BUFFER;
    memcpy(response, d->response, d->len);
    d->sent = false;
    return TSS2_RC_SUCCESS;
}

static void finalize(TSS2_TCTI_CONTEXT *tcti)
{
    (void)tcti; /* the memory and the descriptor are the owner's */
}

static TSS2_RC cancel(TSS2_TCTI_CONTEXT *tcti)
{
    (void)tcti;
    return TSS2_TCTI_RC_NOT_IMPLEMENTED;
}

static TSS2_RC poll_handles(TSS2_TCTI_CONTEXT *tcti, TSS2_TCTI_POLL_HANDLE *handles, size_t *n)
{
    struct device *d = device_of(tcti);
    if (!d || !n)
        return TSS2_TCTI_RC_BAD_REFERENCE;
    if (handles && *n < 1)
        return TSS2_TCTI_RC_INSUFFICIENT_BUFFER;
    if (handles)
        *handles = (struct pollfd){.fd = d->fd, .events = POLLIN};
    *n = 1;
    return TSS2_RC_SUCCESS;
}

static TSS2_RC set_locality(TSS2_TCTI_CONTEXT *tcti, uint8_t locality)
{
    (void)tcti;
    (void)locality;
    return TSS2_TCTI_RC_NOT_IMPLEMENTED;
}

static TSS2_RC make_sticky(TSS2_TCTI_CONTEXT *tcti, TPM2_HANDLE *handle, uint8_t sticky)
{
    (void)tcti;
    (void)handle;
    (void)sticky;
    return TSS2_TCTI_RC_NOT_IMPLEMENTED;
}

/* The driver takes no command while a response waits. */
static void drain(struct device *d)
{
    TSS2_RC rc;
    for (unsigned i = 0; i < DRAINS_MAX && wait_readable(d->fd, 0, &rc); i++)
        if (read(d->fd, d->response, sizeof d->response) <= 0)
            return;
}

TSS2_TCTI_CONTEXT *avow_tcti_device_new(int fd)
{
    struct device *d = calloc(1, sizeof *d);
    if (!d)
        return NULL;
    d->fd = fd;
    d->common = (TSS2_TCTI_CONTEXT_COMMON_CURRENT){.v1 = {.magic = MAGIC,
                                                          .version = 2,
                                                          .transmit = transmit,
                                                          .receive = receive,
                                                          .finalize = finalize,
                                                          .cancel = cancel,
                                                          .getPollHandles = poll_handles,
                                                          .setLocality = set_locality},
                                                   .makeSticky = make_sticky};
    drain(d);
    return (TSS2_TCTI_CONTEXT *)(void *)d;
}

void avow_tcti_device_free(TSS2_TCTI_CONTEXT *tcti)
{
    free(device_of(tcti));
}
