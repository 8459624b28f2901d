#include "audit.h"

#include "reply.h"

#include "avow/base/clock.h"
#include "avow/base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "avow/base/banned.h"

#define LOOK_MS 1000u /* whether the file was moved away */
#define LINE_MAX_BYTES 4096u

struct avow_audit {
    pthread_mutex_t mutex;
    char *path;
    int fd;
    uint64_t looked_ms;
};

static int open_file(const char *path)
{
    return open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0640);
}

enum avow_rc avow_audit_open(const char *path, struct avow_audit **out, struct avow_err *err)
{
    struct avow_audit *a = calloc(1, sizeof *a);
    if (!a)
        return avow_err_set(err, AVOW_NOMEM, 0, "audit log");
    pthread_mutex_init(&a->mutex, NULL);
    a->path = strdup(path);
    a->fd = a->path ? open_file(path) : -1;
    if (a->fd < 0) {
        int e = errno;
        avow_audit_close(a);
        return avow_err_set(err, AVOW_IO, e, "registrar.audit_log: %s: %s", path, strerror(e));
    }
    *out = a;
    return AVOW_OK;
}

void avow_audit_close(struct avow_audit *a)
{
    if (!a)
        return;
    if (a->fd >= 0)
        close(a->fd);
    pthread_mutex_destroy(&a->mutex);
    free(a->path);
    free(a);
}

static void reopen_if_moved(struct avow_audit *a)
{
    struct stat named, held;
    uint64_t now_ms = avow_clock_mono_ms();
    if (now_ms - a->looked_ms < LOOK_MS)
        return;
    a->looked_ms = now_ms;
    if (!stat(a->path, &named) && !fstat(a->fd, &held) && named.st_ino == held.st_ino &&
        named.st_dev == held.st_dev)
        return;
    int fd = open_file(a->path);
    if (fd < 0)
        return;
    close(a->fd);
    a->fd = fd;
}

/* Whatever the bytes are, the line is valid JSON. */
static void put(json_t *o, const char *name, struct avow_str s)
{
    if (!s.len)
        return;
    json_t *v = json_stringn(s.ptr, s.len);
    json_object_set_new(o, name, v ? v : json_string("?"));
}

static json_t *entry_json(const struct avow_audit_entry *e)
{
    char when[32];
    avow_clock_format(when, e->time_ms);
    json_t *o =
        json_pack("{s:s, s:s, s:i}", "time", when, "action", e->action, "status", (int)e->status);
    if (!o)
        return NULL;
    put(o, "reason", avow_str_from(e->reason));
    put(o, "agent", e->agent);
    put(o, "source", e->source);
    put(o, "request", e->request);
    put(o, "admin", e->admin);
    return o;
}

void avow_audit_write(struct avow_audit *a, const struct avow_audit_entry *e)
{
    char line[LINE_MAX_BYTES];
    if (!a)
        return;
    json_t *o = entry_json(e);
    size_t n = o ? json_dumpb(o, line, sizeof line - 1, JSON_COMPACT | JSON_ENSURE_ASCII) : 0;
    json_decref(o);
    bool fits = n > 0 && n < sizeof line;
    if (fits)
        line[n++] = '\n';
    pthread_mutex_lock(&a->mutex);
    reopen_if_moved(a);
    /* One write: O_APPEND keeps lines whole. */
    ssize_t written = fits ? write(a->fd, line, n) : -1;
    pthread_mutex_unlock(&a->mutex);
    if (written < 0 || (size_t)written != n)
        avow_log_limited(ERROR, "audit.failed", 10, AVOW_KV_STR("action", e->action),
                         AVOW_KV_STRN("agent", e->agent), AVOW_KV_STR("error", strerror(errno)));
}
