/* CA folders and revocation lists, read again when they change (authorities.h). */
#include "authorities.h"

#include "avow/base/clock.h"
#include "avow/base/log.h"
#include "avow/crypto/digest.h"

#include <dirent.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "avow/base/banned.h"

struct print { /* how the folders looked */
    uint8_t bytes[AVOW_SHA256_LEN];
};

struct avow_authorities {
    struct avow_authorities_conf conf;
    pthread_mutex_t lock; /* guards set and all refs */
    struct avow_authority_set *set;
    struct print seen; /* of the polling thread */
};

static void set_free(struct avow_authority_set *s)
{
    if (!s)
        return;
    avow_cert_store_free(s->ek);
    avow_cert_store_free(s->device);
    free(s);
}

AVOW_DEFINE_CLEANUP(struct avow_authority_set, set_free);

static enum avow_rc load_store(const char *dir, const struct avow_authorities_conf *conf,
                               struct avow_cert_store **out, struct avow_err *err)
{
    if (!dir)
        return AVOW_OK;
    enum avow_rc rc = avow_cert_store_load(dir, out, err);
    return rc || !conf->crl_dir ? rc
                                : avow_cert_store_add_crls(*out, conf->crl_dir, &conf->crl, err);
}

static enum avow_rc load(const struct avow_authorities_conf *conf, struct avow_authority_set **out,
                         struct avow_err *err)
{
    AVOW_CLEANUP(set_free) struct avow_authority_set *s = calloc(1, sizeof *s);
    if (!s)
        return avow_err_set(err, AVOW_NOMEM, 0, "certificate authorities");
    enum avow_rc rc = load_store(conf->ek_dir, conf, &s->ek, err);
    if (!rc)
        rc = load_store(conf->device_dir, conf, &s->device, err);
    if (rc)
        return rc;
    s->refs = 1;
    *out = AVOW_STEAL(s);
    return AVOW_OK;
}

/* A list out of date is said at start and at each reload: it makes registrations fail, or, if so
 * configured, revokes less than its issuer knows. */
static void log_lists(const struct avow_authorities_conf *conf, const struct avow_cert_store *s,
                      uint64_t now_ms)
{
    for (size_t i = 0; s && i < avow_cert_store_crl_count(s); i++) {
        struct avow_crl_info info;
        char when[32];
        avow_cert_store_crl_info(s, i, now_ms, &info);
        avow_clock_format(when, info.next_update_ms);
        if (info.expired)
            avow_log(ERROR, "crl.expired", AVOW_KV_STR("file", info.file),
                     AVOW_KV_STR("next_update", when),
                     AVOW_KV_STR("effect", conf->crl.use_expired
                                               ? "it goes on counting (registrar.crl_expired = use)"
                                               : "what it covers is not trusted "
                                                 "(registrar.crl_expired = refuse)"));
    }
}

static void log_set(const struct avow_authorities *a, uint64_t now_ms)
{
    const struct {
        const char *event, *dir;
        const struct avow_cert_store *store;
    } stores[] = {{"ek_cert_store", a->conf.ek_dir, a->set->ek},
                  {"idevid_cert_store", a->conf.device_dir, a->set->device}};
    for (size_t i = 0; i < AVOW_ARRAY_LEN(stores); i++)
        if (stores[i].store)
            avow_log(INFO, stores[i].event, AVOW_KV_STR("folder", stores[i].dir),
                     AVOW_KV_U64("certificates", avow_cert_store_count(stores[i].store)),
                     AVOW_KV_U64("revocation_lists", avow_cert_store_crl_count(stores[i].store)));
    log_lists(&a->conf, a->set->ek ? a->set->ek : a->set->device, now_ms);
}

/* What for, name, size, time and inode of each file, hashed and added up, because they come in no
 * order. One folder may serve two purposes and must not cancel itself. */
static void look_at(char what, const char *dir, struct print *out)
{
    DIR *d = dir ? opendir(dir) : NULL;
    for (struct dirent *e; d && (e = readdir(d));) {
        char path[4096];
        struct stat st;
        uint8_t numbers[32], digest[AVOW_SHA256_LEN];
        int n = snprintf(path, sizeof path, "%s/%s", dir, e->d_name);
        if (e->d_name[0] == '.' || n < 0 || (size_t)n >= sizeof path || stat(path, &st))
            continue;
        avow_put_u64be(numbers, (uint64_t)st.st_size);
        avow_put_u64be(numbers + 8, (uint64_t)st.st_mtim.tv_sec);
        avow_put_u64be(numbers + 16, (uint64_t)st.st_mtim.tv_nsec);
        avow_put_u64be(numbers + 24, (uint64_t)st.st_ino);
        const struct avow_bytes pieces[] = {
            avow_bytes_make(&what, 1), avow_bytes_make(path, (size_t)n), AVOW_BYTES_OF(numbers)};
        avow_sha256_pieces(pieces, AVOW_ARRAY_LEN(pieces), digest);
        for (size_t i = 0; i < sizeof digest; i++)
            out->bytes[i] ^= digest[i];
    }
    if (d)
        closedir(d);
}

static struct print look(const struct avow_authorities_conf *conf)
{
    struct print p = {{0}};
    look_at('e', conf->ek_dir, &p);
    look_at('d', conf->device_dir, &p);
    look_at('c', conf->crl_dir, &p);
    return p;
}

enum avow_rc avow_authorities_open(const struct avow_authorities_conf *conf, uint64_t now_ms,
                                   struct avow_authorities **out, struct avow_err *err)
{
    AVOW_CLEANUP(avow_authorities_close) struct avow_authorities *a = calloc(1, sizeof *a);
    if (!a)
        return avow_err_set(err, AVOW_NOMEM, 0, "certificate authorities");
    a->conf = *conf;
    pthread_mutex_init(&a->lock, NULL);
    a->seen = look(conf); /* before reading: a change in between is seen by the first poll */
    enum avow_rc rc = load(conf, &a->set, err);
    if (rc)
        return rc;
    log_set(a, now_ms);
    *out = AVOW_STEAL(a);
    return AVOW_OK;
}

void avow_authorities_close(struct avow_authorities *a)
{
    if (!a)
        return;
    set_free(a->set);
    pthread_mutex_destroy(&a->lock);
    free(a);
}

struct avow_authority_set *avow_authorities_hold(struct avow_authorities *a)
{
    pthread_mutex_lock(&a->lock);
    struct avow_authority_set *set = a->set;
    set->refs++;
    pthread_mutex_unlock(&a->lock);
    return set;
}

void avow_authorities_release(struct avow_authorities *a, struct avow_authority_set *set)
{
    pthread_mutex_lock(&a->lock);
    bool last = --set->refs == 0;
    pthread_mutex_unlock(&a->lock);
    if (last)
        set_free(set);
}

struct avow_trust_stores avow_authority_stores(const struct avow_authority_set *set)
{
    return (struct avow_trust_stores){.ek = set->ek, .device = set->device};
}

bool avow_authorities_poll(struct avow_authorities *a, bool force, uint64_t now_ms)
{
    struct avow_authority_set *fresh = NULL;
    struct avow_err err;
    struct print now = look(&a->conf);
    if (!force && avow_bytes_eq(AVOW_BYTES_OF(now.bytes), AVOW_BYTES_OF(a->seen.bytes)))
        return false;
    a->seen = now;
    if (load(&a->conf, &fresh, &err)) {
        avow_log(ERROR, "authorities.kept", AVOW_KV_ERR(&err),
                 AVOW_KV_STR("effect", "the certificates read before stay in force"));
        return false;
    }
    pthread_mutex_lock(&a->lock);
    struct avow_authority_set *old = a->set;
    a->set = fresh;
    pthread_mutex_unlock(&a->lock);
    avow_authorities_release(a, old);
    log_set(a, now_ms);
    return true;
}
