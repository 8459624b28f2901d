#include "registrar_client.h"

#include "avow/http/http.h"

#include <stdlib.h>
#include <string.h>

#include "avow/base/banned.h"

#define PREFIX "/avow/v1"
#define URL_MAX 2048u
#define ANSWER_MAX (16u * 1024u * 1024u)
#define DEPTH_MAX 16u
#define TIMEOUT_MS 120000u /* a backup or a check reads everything */

struct avow_registrar_client {
    struct avow_cli *cli;
    struct avow_http *http;
    const char *url;
};

static enum avow_rc setting(struct avow_cli *cli, const char *key, const char **out,
                            struct avow_err *err)
{
    *out = avow_conf_str(cli->conf, "cli", key);
    if (*out && **out)
        return AVOW_OK;
    avow_cli_hint(cli, "set %s in section [cli]; `avow init` writes a configuration that has it",
                  key);
    return avow_err_set(err, AVOW_CONFIG, 0, "cli.%s is not set", key);
}

enum avow_rc avow_registrar_client_new(struct avow_cli *cli, struct avow_registrar_client **out,
                                       struct avow_err *err)
{
    struct avow_http_opts o = {.timeout_ms = TIMEOUT_MS, .response_max = ANSWER_MAX};
    AVOW_CLEANUP(avow_registrar_client_free)
    struct avow_registrar_client *c = calloc(1, sizeof *c);
    if (!c)
        return avow_err_set(err, AVOW_NOMEM, 0, "registrar");
    c->cli = cli;
    enum avow_rc rc = setting(cli, "registrar_url", &c->url, err);
    if (!rc)
        rc = setting(cli, "registrar_ca", &o.ca_file, err);
    if (!rc)
        rc = setting(cli, "registrar_cert", &o.cert_file, err);
    if (!rc)
        rc = setting(cli, "registrar_key", &o.key_file, err);
    if (!rc && !avow_str_starts(avow_str_from(c->url), "https://"))
        rc = avow_err_set(err, AVOW_CONFIG, 0, "cli.registrar_url: '%.200s' is not https://",
                          c->url);
    if (!rc)
        rc = avow_http_new(&o, &c->http, err);
    if (rc)
        return rc;
    *out = AVOW_STEAL(c);
    return AVOW_OK;
}

void avow_registrar_client_free(struct avow_registrar_client *c)
{
    if (!c)
        return;
    avow_http_free(c->http);
    free(c);
}

/* jansson recurses; what an impostor sends must not decide how deep. */
static bool is_shallow(struct avow_bytes in)
{
    unsigned depth = 0;
    bool in_string = false;
    for (size_t i = 0; i < in.len; i++) {
        uint8_t ch = in.ptr[i];
        if (in_string && ch == '\\')
            i++;
        else if (ch == '"')
            in_string = !in_string;
        else if (!in_string && (ch == '{' || ch == '[') && ++depth > DEPTH_MAX)
            return false;
        else if (!in_string && (ch == '}' || ch == ']') && depth)
            depth--;
    }
    return true;
}

static enum avow_rc judge(struct avow_registrar_client *c, unsigned status, const char *text,
                          struct avow_err *err)
{
    if (status == 200)
        return AVOW_OK;
    if (status == 401 || status == 403) {
        avow_cli_hint(c->cli, "cli.registrar_cert must be a client certificate of the CA that the "
                              "registrar has as registrar.tls_ca");
        return avow_err_set(err, AVOW_REFUSED, 0, "the registrar refuses (%u): %.300s", status,
                            *text ? text : "not an administrator");
    }
    enum avow_rc rc = AVOW_REFUSED;
    if (status == 404)
        rc = AVOW_NOTFOUND;
    else if (status == 400)
        rc = AVOW_USAGE;
    else if (status == 429 || status == 503)
        rc = AVOW_UNREACHABLE;
    return avow_err_set(err, rc, 0, "registrar: %.300s (%u)", *text ? text : "no reason given",
                        status);
}

static enum avow_rc read_answer(struct avow_registrar_client *c, unsigned status,
                                struct avow_bytes body, json_t **results, struct avow_err *err)
{
    json_t *root = is_shallow(body) && body.len
                       ? json_loadb((const char *)body.ptr, body.len, JSON_REJECT_DUPLICATES, NULL)
                       : NULL;
    const char *text = json_string_value(json_object_get(root, "status"));
    json_t *got = json_object_get(root, "results");
    enum avow_rc rc = judge(c, status, text ? text : "", err);
    if (!rc && !json_is_object(got))
        rc = avow_err_set(err, AVOW_PARSE, 0, "%.200s does not answer like a registrar", c->url);
    if (!rc)
        *results = json_incref(got);
    json_decref(root);
    return rc;
}

enum avow_rc avow_registrar_call(struct avow_registrar_client *c, const char *method,
                                 const char *path, json_t **results, struct avow_err *err)
{
    AVOW_CLEANUP_VAL(avow_buf_deinit) struct avow_buf answer;
    char url[URL_MAX];
    unsigned status = 0;
    size_t base = strlen(c->url);
    avow_buf_init(&answer, ANSWER_MAX);
    while (base && c->url[base - 1] == '/')
        base--;
    int n = snprintf(url, sizeof url, "%.*s" PREFIX "%s", (int)base, c->url, path);
    if (n < 0 || (size_t)n >= sizeof url)
        return avow_err_set(err, AVOW_CONFIG, 0, "cli.registrar_url is too long");
    enum avow_rc rc = avow_http_request(c->http, method, url, NULL, &status, &answer, err);
    if (rc == AVOW_UNREACHABLE)
        avow_cli_hint(c->cli,
                      "does avow-registrar run with registrar.https_listen, and is "
                      "cli.registrar_url (now %.200s) right?",
                      c->url);
    return rc ? rc : read_answer(c, status, avow_buf_bytes(&answer), results, err);
}
