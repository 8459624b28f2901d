/* The operator's own judges of an EK (outside.h). */
#include "outside.h"

#include "claim_certs.h"
#include "ek_script.h"
#include "ek_webhook.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "avow/base/banned.h"

struct slot { /* one asker at a time; the HTTP handle keeps its connection */
    bool busy;
    struct avow_http *http; /* NULL: no webhook */
};

struct avow_outside {
    struct avow_outside_conf conf;
    atomic_bool stop;
    pthread_mutex_t lock; /* guards `busy` */
    struct slot slots[AVOW_OUTSIDE_CALLS_MAX];
};

void avow_outside_free(struct avow_outside *o)
{
    if (!o)
        return;
    for (size_t i = 0; i < AVOW_OUTSIDE_CALLS_MAX; i++)
        avow_http_free(o->slots[i].http);
    pthread_mutex_destroy(&o->lock);
    free(o);
}

void avow_outside_stop(struct avow_outside *o)
{
    if (o)
        atomic_store(&o->stop, true);
}

enum avow_rc avow_outside_new(const struct avow_outside_conf *conf, struct avow_outside **out,
                              struct avow_err *err)
{
    AVOW_CLEANUP(avow_outside_free) struct avow_outside *o = calloc(1, sizeof *o);
    if (!o)
        return avow_err_set(err, AVOW_NOMEM, 0, "webhook");
    const struct avow_http_opts http = {.ca_file = conf->webhook_ca,
                                        .cert_file = conf->webhook_cert,
                                        .key_file = conf->webhook_key,
                                        .timeout_ms = conf->webhook_timeout_ms,
                                        .response_max = AVOW_WEBHOOK_ANSWER_MAX,
                                        .cancel = &o->stop};
    o->conf = *conf;
    pthread_mutex_init(&o->lock, NULL);
    for (size_t i = 0; conf->webhook_url && i < conf->calls; i++) {
        enum avow_rc rc = avow_http_new(&http, &o->slots[i].http, err);
        if (rc)
            return avow_err_wrap(err, rc, "registrar.webhook");
    }
    if (conf->script && access(conf->script, X_OK))
        return avow_err_set(err, AVOW_CONFIG, errno, "registrar.ek_check_script %s: %s",
                            conf->script, strerror(errno));
    *out = AVOW_STEAL(o);
    return AVOW_OK;
}

static struct slot *take_slot(struct avow_outside *o)
{
    struct slot *found = NULL;
    pthread_mutex_lock(&o->lock);
    for (size_t i = 0; i < o->conf.calls && !found; i++)
        if (!o->slots[i].busy)
            found = &o->slots[i];
    if (found)
        found->busy = true;
    pthread_mutex_unlock(&o->lock);
    return found;
}

static void give_slot(struct avow_outside *o, struct slot *s)
{
    pthread_mutex_lock(&o->lock);
    s->busy = false;
    pthread_mutex_unlock(&o->lock);
}

static enum avow_rc note(struct avow_str rule, bool yes, const char *reason,
                         struct avow_arena *arena, struct avow_claim *claim, struct avow_err *err)
{
    claim->trust.rule = rule;
    claim->trust.trusted = yes;
    claim->trust.refused = !yes;
    return avow_claim_detail(reason, arena, &claim->trust.detail, err);
}

static enum avow_rc ask_script(struct avow_outside *o, const struct avow_outside_question *q,
                               bool may_trust, struct avow_arena *arena, struct avow_claim *claim,
                               struct avow_err *err)
{
    const struct avow_script_call call = {.path = o->conf.script,
                                          .timeout_ms = o->conf.script_timeout_ms,
                                          .id = q->id,
                                          .ek = q->ek,
                                          .claim = claim,
                                          .ek_cert_store = o->conf.ek_cert_store,
                                          .cancel = &o->stop};
    struct avow_script_result result;
    enum avow_rc rc = avow_script_run(&call, &result, err);
    if (rc || (result.passed && !may_trust))
        return rc;
    return note(AVOW_STR_LIT(AVOW_RULE_SCRIPT), result.passed, result.reason, arena, claim, err);
}

static enum avow_rc ask_webhook(struct avow_outside *o, const struct slot *s,
                                const struct avow_outside_question *q, struct avow_arena *arena,
                                struct avow_claim *claim, struct avow_err *err)
{
    const struct avow_webhook_call call = {.http = s->http,
                                           .url = o->conf.webhook_url,
                                           .tries = o->conf.webhook_tries,
                                           .cancel = &o->stop};
    const struct avow_webhook_question question = {
        .id = q->id, .source = q->source, .ek = q->ek, .claim = claim};
    struct avow_webhook_answer answer;
    char text[AVOW_WEBHOOK_REASON_MAX + 64];
    enum avow_rc rc = avow_webhook_ask(&call, &question, &answer, err);
    if (rc)
        return rc;
    snprintf(text, sizeof text, "the operator's webhook %s it%s%s",
             answer.allow ? "allows" : "denies", answer.reason[0] ? ": " : "", answer.reason);
    return note(AVOW_STR_LIT(AVOW_RULE_WEBHOOK), answer.allow, text, arena, claim, err);
}

enum avow_rc avow_outside_ask(struct avow_outside *o, const struct avow_outside_question *q,
                              struct avow_arena *arena, struct avow_claim *claim,
                              struct avow_err *err)
{
    const struct avow_judges judges = avow_enroll_judges(q->policy, &claim->trust);
    bool script_decides = !judges.webhook && avow_enroll_is_open(q->policy, &claim->trust);
    if (!judges.script && !judges.webhook)
        return AVOW_OK;
    if (atomic_load(&o->stop))
        return avow_err_set(err, AVOW_STATE, 0, "check script and webhook: stopping");
    struct slot *s = take_slot(o);
    if (!s)
        return avow_err_set(err, AVOW_STATE, 0, "check script and webhook: %u calls are under way",
                            o->conf.calls);
    enum avow_rc rc = AVOW_OK;
    if (judges.script)
        rc = ask_script(o, q, script_decides, arena, claim, err);
    if (!rc && judges.webhook && !claim->trust.refused)
        rc = ask_webhook(o, s, q, arena, claim, err);
    give_slot(o, s);
    return rc;
}
