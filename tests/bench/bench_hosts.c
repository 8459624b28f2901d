/* bench_hosts.c - see bench_hosts.h. */
#include "bench_hosts.h"

#include "avow/wire/enrollment.h"
#include "avow/wire/evidence.h"
#include "avow/wire/marker.h"

#include <openssl/ec.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>

#include <stdio.h>

#include "avow/base/banned.h"

static void must(bool ok, const char *what)
{
    if (ok)
        return;
    fprintf(stderr, "bench: %s\n", what);
    exit(1);
}

static struct avow_bytes copy(struct bench_host *h, struct avow_bytes b)
{
    struct avow_bytes c = avow_arena_bytes(&h->arena, b);
    must(c.ptr || !b.len, "no memory");
    return c;
}

#define ENCODE(name, h, v, out)                                                                    \
    do {                                                                                           \
        struct avow_buf buffer;                                                                    \
        avow_buf_init(&buffer, 64u * 1024u);                                                       \
        must(!avow_##name##_encode((v), &buffer, NULL), "a record does not encode");               \
        *(out) = copy((h), avow_buf_bytes(&buffer));                                               \
        avow_buf_deinit(&buffer);                                                                  \
    } while (0)

/* A host that was trusted once, and its evidence of the next epoch. */
static struct rig_shot *steady(struct rig *r, enum rig_key key)
{
    rig_init(r, key);
    rig_policy(r, rig_policy_text(r, "[]", "/usr/bin/one", "/usr/bin/two", NULL));
    rig_run(r, "/usr/bin/one");
    rig_run(r, "/usr/bin/two");
    rig_attest(r);
    rig_expect_status(r, AVOW_STATUS_TRUSTED);
    rig_tick(r);
    struct rig_shot *s = rig_take(r);
    must(s->log_count == 0, "a steady host has new entries");
    rig_seal(r, s);
    return s;
}

static void set_baseline(struct bench_host *h)
{
    struct avow_bytes spki = avow_pubkey_spki(avow_ak_key(h->ak));
    const unsigned char *p = spki.ptr;
    struct avow_tpm_signature s;
    struct avow_digest d;
    h->pkey = d2i_PUBKEY(NULL, &p, (long)spki.len);
    h->verify = EVP_PKEY_CTX_new(h->pkey, NULL);
    must(h->verify && EVP_PKEY_verify_init(h->verify) == 1, "EVP_PKEY_verify_init");
    must(!avow_tpm_signature_parse(h->evidence.signature, &s, NULL), "signature");
    if (s.rsa.len) {
        must(EVP_PKEY_CTX_set_rsa_padding(h->verify, RSA_PKCS1_PADDING) == 1, "padding");
        memcpy(h->signature, s.rsa.ptr, s.rsa.len);
        h->signature_len = s.rsa.len;
    } else {
        ECDSA_SIG *sig = ECDSA_SIG_new();
        unsigned char *out = h->signature;
        must(sig && ECDSA_SIG_set0(sig, BN_bin2bn(s.r.ptr, (int)s.r.len, NULL),
                                   BN_bin2bn(s.s.ptr, (int)s.s.len, NULL)) == 1,
             "ECDSA signature");
        h->signature_len = (size_t)i2d_ECDSA_SIG(sig, &out);
        ECDSA_SIG_free(sig);
    }
    must(EVP_PKEY_CTX_set_signature_md(h->verify, EVP_sha256()) == 1, "digest of the signature");
    avow_digest(AVOW_HASH_SHA256, h->evidence.attest, &d);
    memcpy(h->digest, d.bytes, sizeof h->digest);
}

static void host_init(struct bench_fleet *f, struct bench_host *h, const struct rig_shot *s)
{
    struct rig *r = &f->rig;
    avow_arena_init(&h->arena, 1024u * 1024u);
    ENCODE(evidence, h, &s->evidence, &h->evidence_record);
    ENCODE(state, h, &r->state, &h->state_record);
    ENCODE(enrollment, h, &r->e, &h->enrollment_record);
    ENCODE(marker, h, &s->marker, &h->marker_record);
    must(!avow_evidence_decode(h->evidence_record, &h->arena, &h->evidence, NULL) &&
             !avow_body_decode(h->evidence.body, &h->arena, &h->body, NULL) &&
             !avow_state_decode(h->state_record, &h->arena, &h->state, NULL) &&
             !avow_enrollment_decode(h->enrollment_record, &h->arena, &h->enrollment, NULL) &&
             !avow_marker_decode(h->marker_record, &h->arena, &h->marker, NULL),
         "a record does not decode");
    must(!avow_ak_parse(h->enrollment.ak_public, &h->ak, NULL), "AK");
    set_baseline(h);
}

void bench_fleet_init(struct bench_fleet *f, enum rig_key key, size_t count)
{
    memset(f, 0, sizeof *f);
    const struct rig_shot *s = steady(&f->rig, key);
    f->policy = (struct avow_eval_policy){
        .runtime = f->rig.policy, .heads = &f->rig.head, .heads_count = 1};
    memcpy(f->enrollment_sha256, f->rig.e_sha256, sizeof f->enrollment_sha256);
    f->hosts = calloc(count, sizeof *f->hosts);
    must(f->hosts != NULL, "no memory");
    f->count = count;
    /* Made in one order, used in another, so that no prefetcher guesses the next one. */
    for (size_t i = 0; i < count; i++)
        host_init(f, &f->hosts[i], s);
    uint64_t seed = 42;
    for (size_t i = count; i > 1; i--) {
        seed = seed * 6364136223846793005u + 1442695040888963407u;
        size_t k = (size_t)(seed >> 33) % i;
        struct bench_host other = f->hosts[k];
        f->hosts[k] = f->hosts[i - 1];
        f->hosts[i - 1] = other;
    }
}

void bench_fleet_deinit(struct bench_fleet *f)
{
    for (size_t i = 0; i < f->count; i++) {
        EVP_PKEY_CTX_free(f->hosts[i].verify);
        EVP_PKEY_free(f->hosts[i].pkey);
        avow_ak_free(f->hosts[i].ak);
        avow_arena_deinit(&f->hosts[i].arena);
    }
    free(f->hosts);
    rig_deinit(&f->rig);
}
