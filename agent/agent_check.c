#include "agent_check.h"

#include "avow/base/cleanup.h"
#include "avow/base/file.h"
#include "avow/bus/bus.h"
#include "avow/trust/bundle.h"
#include "device_identity.h"
#include "link.h"
#include "tpm/tpm.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "avow/base/banned.h"

#define PEM_FILE_MAX (4u * 1024u * 1024u) /* a system's authorities have a quarter of it */
#define URL_MAX 900u /* of the client's 1024, the path of a request needs the rest */

/* "FILE:LINE: section.key: why" */
AVOW_PRINTF(5, 6)
static enum avow_rc bad(const struct avow_conf *c, const char *section, const char *key,
                        struct avow_err *err, const char *fmt, ...)
{
    char why[200];
    const char *source = avow_conf_source(c, section, key);
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(why, sizeof why, fmt, ap);
    va_end(ap);
    return avow_err_set(err, AVOW_CONFIG, 0, "%s: %s.%s: %s", source ? source : "default", section,
                        key, why);
}

/* --- Kafka --- */

struct properties {
    struct avow_bus_property *list;
    size_t count;
    bool has_log_level;
};

static void add_property(void *arg, const char *key, const char *value)
{
    struct properties *p = arg;
    if (p->count < AVOW_AGENT_PROPERTIES_MAX)
        p->list[p->count++] = (struct avow_bus_property){key, value};
    p->has_log_level = p->has_log_level || avow_cstr_eq(key, "log_level");
}

size_t avow_agent_kafka_properties(const struct avow_conf *c,
                                   struct avow_bus_property out[AVOW_AGENT_PROPERTIES_MAX])
{
    struct properties p = {.list = out};
    avow_conf_each_passthrough(c, add_property, &p);
    /* What the client says of a broker that is away, the loop says once, with the next step. */
    if (!p.has_log_level)
        add_property(&p, "log_level", "2");
    return p.count;
}

void avow_agent_client_id(const char *id, char out[AVOW_AGENT_CLIENT_ID_MAX + 1])
{
    (void)snprintf(out, AVOW_AGENT_CLIENT_ID_MAX + 1, "avow-agent-%s", id);
}

/* The bus names the property at fault; where it stands, we know. */
static enum avow_rc at_source(const struct avow_conf *c, const struct avow_err *why,
                              struct avow_err *err)
{
    static const char prefix[] = "kafka.";
    char key[128] = "";
    if (avow_str_starts(avow_str_from(why->msg), prefix)) {
        const char *begin = why->msg + sizeof prefix - 1;
        size_t len = strcspn(begin, ": ");
        avow_str_copy(key, sizeof key, (struct avow_str){begin, len});
    }
    const char *source = *key ? avow_conf_source(c, "kafka", key) : NULL;
    return avow_err_set(err, AVOW_CONFIG, 0, "%s%s%s", source ? source : "", source ? ": " : "",
                        why->msg);
}

static enum avow_rc check_kafka(const struct avow_conf *c, struct avow_err *err)
{
    AVOW_CLEANUP(avow_bus_free) struct avow_bus *bus = NULL;
    struct avow_bus_property list[AVOW_AGENT_PROPERTIES_MAX];
    struct avow_err why = {.rc = AVOW_OK};
    size_t n = avow_agent_kafka_properties(c, list);
    enum avow_rc rc = avow_bus_kafka_new(list, n, "avow-agent", &bus, &why);
    return rc == AVOW_CONFIG ? at_source(c, &why, err) : rc;
}

/* --- Files --- */

struct reading {
    const struct avow_conf *c;
    const struct avow_privilege *p;
    struct avow_err *err;
    enum avow_rc rc;
};

static void read_as_user(struct reading *r, const char *section, const char *key, const char *path)
{
    if (r->rc || avow_privilege_can_read(r->p, path))
        return;
    bool rights = errno == EACCES || errno == EPERM;
    r->rc = bad(r->c, section, key, r->err, "%s: %s%s%s%s", path, strerror(errno),
                rights ? "; user " : "", rights ? r->p->user : "",
                rights ? " has to read it: chgrp it and chmod 0640, and its folders 0750" : "");
}

/* Client libraries find out when they connect for the first time, and do not name the setting. */
static void read_pem(struct reading *r, const char *section, const char *key, const char *path)
{
    static const char begin[] = "-----BEGIN ";
    AVOW_CLEANUP_VAL(avow_buf_deinit) struct avow_buf text;
    struct stat st;
    avow_buf_init(&text, PEM_FILE_MAX);
    if (r->rc || stat(path, &st) || !S_ISREG(st.st_mode))
        return;
    bool good = !avow_file_read(path, &text, NULL) && strstr(avow_buf_cstr(&text), begin);
    if (text.ptr)
        avow_wipe(text.ptr, text.cap); /* it may be a key */
    if (!good)
        r->rc = bad(r->c, section, key, r->err, "%s holds no PEM text", path);
}

/* ssl.ca.location, ssl.certificate.location, ssl.key.location, ...; "probe" is no file. */
static void read_location(void *arg, const char *key, const char *value)
{
    static const char tail[] = ".location";
    size_t len = strlen(key), n = sizeof tail - 1;
    if (len <= n || !avow_cstr_eq(key + len - n, tail) || avow_cstr_eq(value, "probe"))
        return;
    read_as_user(arg, "kafka", key, value);
    if (!avow_cstr_eq(key, "ssl.keystore.location")) /* PKCS#12 */
        read_pem(arg, "kafka", key, value);
}

/* A certificate of the device that is in a file; PEM or DER. */
static void read_device_cert(struct reading *r, const char *key, const struct avow_device_cert *d)
{
    if (d->file)
        read_as_user(r, "tpm", key, d->file);
}

enum avow_rc avow_agent_check_files(const struct avow_conf *c, const struct avow_privilege *p,
                                    struct avow_err *err)
{
    struct reading r = {.c = c, .p = p, .err = err};
    const char *ca = avow_conf_str(c, "registrar", "ca");
    read_as_user(&r, "agent", "boot_id_file", avow_conf_str(c, "agent", "boot_id_file"));
    if (*ca) {
        read_as_user(&r, "registrar", "ca", ca);
        read_pem(&r, "registrar", "ca", ca);
    }
    struct avow_device_opts device;
    const char *unused = NULL;
    if (!avow_device_opts_read(c, &device, &unused, NULL)) {
        read_device_cert(&r, "iak_cert", &device.iak_cert);
        read_device_cert(&r, "idevid_cert", &device.idevid_cert);
    }
    avow_conf_each_passthrough(c, read_location, &r);
    return r.rc;
}

/* Read once, before root is given up: whoever starts the agent has to be able to. */
static enum avow_rc check_measured(const struct avow_conf *c, const char *key, const char *what,
                                   struct avow_buf *notes, struct avow_err *err)
{
    const char *path = avow_conf_str(c, "agent", key);
    if (!*path) {
        avow_buf_printf(notes, "agent.%s is empty: evidence says that this host has no %s\n", key,
                        what);
        return AVOW_OK;
    }
    if (access(path, R_OK) == 0)
        return AVOW_OK;
    if (errno == ENOENT || errno == ENOTDIR) {
        avow_buf_printf(notes,
                        "agent.%s: %s is not there: evidence would say that this host has "
                        "no %s\n",
                        key, path, what);
        return AVOW_OK;
    }
    return bad(c, "agent", key, err,
               "%s: %s; start avow-agent as root, it gives the rights up by "
               "itself",
               path, strerror(errno));
}

static enum avow_rc check_root(const struct avow_conf *c, struct avow_err *err)
{
    AVOW_CLEANUP(avow_root_free) struct avow_root *root = NULL;
    struct avow_err why = {.rc = AVOW_OK};
    enum avow_rc rc = avow_root_load(avow_conf_str(c, "agent", "root"), &root, &why);
    if (!rc)
        return AVOW_OK;
    return bad(c, "agent", "root", err, "%s; it is root/root.pem of `avow init`", why.msg);
}

/* --- Texts --- */

static enum avow_rc check_id(const struct avow_conf *c, struct avow_err *err)
{
    const char *id = avow_conf_str(c, "agent", "id");
    if (avow_name_is_valid(avow_str_from(id)) && strlen(id) <= 128)
        return AVOW_OK;
    return bad(c, "agent", "id", err,
               "\"%.64s\" is neither hash_ek nor a name of at most 128 "
               "letters, digits, dots, underscores and dashes",
               id);
}

static enum avow_rc check_tpm(const struct avow_conf *c, struct avow_buf *notes,
                              struct avow_err *err)
{
    const char *tcti = avow_conf_str(c, "tpm", "tcti");
    struct stat st;
    if (!avow_tpm_tcti_is_known(tcti))
        return bad(c, "tpm", "tcti", err,
                   "\"%.64s\" is none of device:/dev/tpmrm0, swtpm:..., "
                   "mssim:..., tabrmd:..., cmd:...",
                   tcti);
    const char *device = avow_tpm_tcti_device(tcti);
    if (device && stat(device, &st))
        avow_buf_printf(notes, "tpm.tcti: %s: %s; on this machine the agent would not start\n",
                        device, strerror(errno));
    return AVOW_OK;
}

static enum avow_rc check_device(const struct avow_conf *c, struct avow_buf *notes,
                                 struct avow_err *err)
{
    struct avow_device_opts device;
    const char *key = NULL;
    struct avow_err why = {.rc = AVOW_OK};
    if (avow_device_opts_read(c, &device, &key, &why))
        return bad(c, "tpm", key, err, "%s", why.msg);
    if (device.given && !*avow_conf_str(c, "registrar", "url"))
        avow_buf_put_str(notes, "tpm.iak is not used: registrar.url is empty\n");
    return AVOW_OK;
}

static bool is_host_char(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' ||
           c == '-' || c == '_' || c == ':' || c == '[' || c == ']';
}

/* scheme://host[:port][/path] */
static const char *why_no_url(const char *url)
{
    struct avow_str u = avow_str_from(url);
    size_t scheme = avow_str_starts(u, "https://") ? 8 : avow_str_starts(u, "http://") ? 7 : 0;
    if (!scheme)
        return "it has to begin with http:// or https://";
    size_t host = scheme;
    while (host < u.len && is_host_char(u.ptr[host]))
        host++;
    if (host == scheme)
        return "it names no host";
    if (host < u.len && u.ptr[host] == '@')
        return "a user or password in a URL ends up in logs";
    if (host < u.len && u.ptr[host] != '/')
        return "it has a character that belongs into no URL";
    for (size_t i = host; i < u.len; i++)
        if ((unsigned char)u.ptr[i] <= 0x20 || u.ptr[i] == '?' || u.ptr[i] == '#')
            return "it has a character that belongs into no registrar's URL";
    return u.len > URL_MAX ? "it is too long" : NULL;
}

static enum avow_rc check_registrar(const struct avow_conf *c, struct avow_buf *notes,
                                    struct avow_err *err)
{
    const char *url = avow_conf_str(c, "registrar", "url");
    const char *ca = avow_conf_str(c, "registrar", "ca");
    if (!*url) {
        avow_buf_put_str(notes, "registrar.url is empty: this host does not register\n");
        return AVOW_OK;
    }
    const char *why = why_no_url(url);
    if (why)
        return bad(c, "registrar", "url", err, "\"%.100s\": %s", url, why);
    bool tls = avow_str_starts(avow_str_from(url), "https://");
    if (!tls && *ca)
        return bad(c, "registrar", "ca", err,
                   "registrar.url is http://, where no CA is asked; "
                   "make it https://, or leave the CA away");
    if (!tls)
        avow_buf_put_str(notes, "registrar.url is http://: who sits between may delay the "
                                "registration and see who registers\n");
    else if (!*ca)
        avow_buf_put_str(notes, "registrar.ca is empty: the system's authorities are asked\n");
    return AVOW_OK;
}

static enum avow_rc check_prefix(const struct avow_conf *c, struct avow_err *err)
{
    const char *prefix = avow_conf_str(c, "topic", "prefix");
    static const char chars[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-";
    if (prefix[strspn(prefix, chars)] || strlen(prefix) > AVOW_LINK_PREFIX_MAX)
        return bad(c, "topic", "prefix", err,
                   "\"%.80s\" is no beginning of a topic's name (at "
                   "most %u of [A-Za-z0-9._-])",
                   prefix, AVOW_LINK_PREFIX_MAX);
    return AVOW_OK;
}

static enum avow_rc check_folder(const struct avow_conf *c, const char *key, struct avow_err *err)
{
    const char *path = avow_conf_str(c, "agent", key);
    struct stat st;
    if (*path != '/')
        return bad(c, "agent", key, err, "\"%.80s\" is not an absolute path", path);
    if (!stat(path, &st) && !S_ISDIR(st.st_mode))
        return bad(c, "agent", key, err, "%s is not a folder", path);
    return AVOW_OK;
}

static enum avow_rc check_user(const struct avow_conf *c, struct avow_privilege *p,
                               struct avow_buf *notes, struct avow_err *err)
{
    struct avow_err why = {.rc = AVOW_OK};
    if (avow_privilege_plan(avow_conf_str(c, "agent", "user"), p, &why))
        return bad(c, "agent", "user", err, "%s", why.msg);
    if (p->root && !*avow_conf_str(c, "agent", "user"))
        avow_buf_put_str(notes, "agent.user: there is no user avow, the agent would stay root\n");
    return AVOW_OK;
}

enum avow_rc avow_agent_check(const struct avow_conf *c, struct avow_buf *notes,
                              struct avow_err *err)
{
    struct avow_privilege p;
    enum avow_rc rc = check_id(c, err);
    if (!rc)
        rc = check_tpm(c, notes, err);
    if (!rc)
        rc = check_device(c, notes, err);
    if (!rc)
        rc = check_registrar(c, notes, err);
    if (!rc)
        rc = check_prefix(c, err);
    if (!rc)
        rc = check_folder(c, "state_dir", err);
    if (!rc && *avow_conf_str(c, "agent", "run_dir"))
        rc = check_folder(c, "run_dir", err);
    if (!rc)
        rc = check_kafka(c, err);
    if (!rc)
        rc = check_root(c, err);
    if (!rc)
        rc = check_measured(c, "ima_log", "IMA list", notes, err);
    if (!rc)
        rc = check_measured(c, "uefi_log", "UEFI log", notes, err);
    if (!rc)
        rc = check_user(c, &p, notes, err);
    return rc ? rc : avow_agent_check_files(c, &p, err);
}
