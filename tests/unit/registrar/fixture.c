#include "fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "avow/base/banned.h"

static const uint8_t ek[] = "ek public", ak[] = "ak public", name[] = "ak name";

static void open_store(struct fixture *f)
{
    struct avow_err err;
    if (avow_store_open(f->path, FIXTURE_NOW, &f->store, &err))
        fail_msg("%s", err.msg);
}

int fixture_setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    assert_non_null(f);
    snprintf(f->dir, sizeof f->dir, "/tmp/avow-store-XXXXXX");
    assert_non_null(mkdtemp(f->dir));
    snprintf(f->path, sizeof f->path, "%s/r.sqlite", f->dir);
    open_store(f);
    *state = f;
    return 0;
}

int fixture_teardown(void **state)
{
    static const char *const files[] = {"", "-wal", "-shm", ".lock"};
    struct fixture *f = *state;
    avow_store_close(f->store);
    for (size_t i = 0; i < AVOW_ARRAY_LEN(files); i++) {
        char file[128];
        snprintf(file, sizeof file, "%s%s", f->path, files[i]);
        unlink(file);
    }
    int left = rmdir(f->dir);
    free(f);
    return left;
}

void fixture_reopen(struct fixture *f)
{
    avow_store_close(f->store);
    f->store = NULL;
    open_store(f);
}

static struct avow_claim claim(void)
{
    struct avow_claim c = {.ek_public = AVOW_BYTES_OF(ek),
                           .ak_public = AVOW_BYTES_OF(ak),
                           .ak_name = AVOW_BYTES_OF(name),
                           .ip = AVOW_STR_LIT("192.0.2.7"),
                           .port = 9002,
                           .mtls_cert = AVOW_STR_LIT("disabled"),
                           .trust = {.rule = AVOW_STR_LIT("ek-certificate"),
                                     .trusted = true,
                                     .time_ms = FIXTURE_NOW,
                                     .detail = AVOW_STR_LIT("issued by X"),
                                     .has_cert_sha256 = true}};
    memset(c.trust.cert_sha256, 0xc5, sizeof c.trust.cert_sha256);
    return c;
}

struct avow_agent fixture_agent(uint64_t generation)
{
    struct avow_agent a = {.status = AVOW_AGENT_ACTIVE,
                           .generation = generation,
                           .regcount = 3,
                           .registered_ms = FIXTURE_NOW + 1,
                           .tag_until_ms = FIXTURE_NOW + 2,
                           .claim = claim()};
    memset(a.tag_sha256, 0x7a, sizeof a.tag_sha256);
    return a;
}

struct avow_pending fixture_pending(const char *source, uint64_t expires_ms)
{
    struct avow_pending p = {.source = avow_str_from(source),
                             .issued_ms = FIXTURE_NOW,
                             .expires_ms = expires_ms,
                             .claim = claim()};
    memset(p.digest, 0xd1, sizeof p.digest);
    memset(p.secret, 0x5e, sizeof p.secret);
    return p;
}

static void apply(struct fixture *f, const char *id, const struct avow_change *c)
{
    struct avow_err err;
    assert_int_equal(avow_store_begin(f->store, &err), AVOW_OK);
    assert_int_equal(avow_store_apply(f->store, avow_str_from(id), c, 1, &err), AVOW_OK);
    assert_int_equal(avow_store_end(f->store, true, &err), AVOW_OK);
}

void fixture_put_agent(struct fixture *f, const char *id, const struct avow_agent *a)
{
    const struct avow_change c = {.kind = AVOW_CHANGE_AGENT, .agent = *a};
    apply(f, id, &c);
}

void fixture_add_pending(struct fixture *f, const char *id, const struct avow_pending *p)
{
    const struct avow_change c = {.kind = AVOW_CHANGE_PENDING_ADD, .pending = *p};
    apply(f, id, &c);
}
