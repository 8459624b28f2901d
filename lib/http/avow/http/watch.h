/* watch.h - answers those who watch a daemon: GET /metrics, /healthz, /readyz over plain HTTP/1.1.
 * Layer: http. For daemons that serve nothing else over HTTP; a thread of its own, so that it
 * answers while the daemon is busy, and bounded, so that nobody who asks can slow the daemon down:
 * a few connections, one short request each, none for longer than AVOW_WATCH_MS. */
#ifndef AVOW_HTTP_WATCH_H
#define AVOW_HTTP_WATCH_H

#include "avow/base/buf.h"
#include "avow/base/cleanup.h"

#define AVOW_WATCH_CONNECTIONS 8u
#define AVOW_WATCH_REQUEST_MAX 4096u
#define AVOW_WATCH_MS 5000u /* for the request, and again for taking the answer */
#define AVOW_WATCH_ANSWER_MAX (4u * 1024u * 1024u)

struct avow_watch_opts {
    const char *listen; /* host:port, [v6]:port; port 0: any free one */
    /* Append the answer; @thread the listener's. False is answered 503; the text says why. */
    bool (*metrics)(void *arg, struct avow_buf *out);
    bool (*healthy)(void *arg, struct avow_buf *out);
    bool (*ready)(void *arg, struct avow_buf *out);
    void *arg;            /* outlives the listener */
    unsigned patience_ms; /* 0: AVOW_WATCH_MS */
};

struct avow_watch;
/* Errors: AVOW_CONFIG (address), AVOW_IO (bind), AVOW_NOMEM. */
enum avow_rc avow_watch_start(const struct avow_watch_opts *opts, struct avow_watch **out,
                              struct avow_err *err) AVOW_MUST_CHECK;
/* The port that is really listened on. */
unsigned avow_watch_port(const struct avow_watch *w);
/* Ends the thread; open connections are closed. NULL is fine. */
void avow_watch_stop(struct avow_watch *w);
AVOW_DEFINE_CLEANUP(struct avow_watch, avow_watch_stop);

#endif
