/* test_alloc.c - every allocation of ours fails once, in turn: an error comes back, outputs stay as
 * they were, nothing leaks (the sanitizer looks). The linker sends malloc, calloc and realloc of
 * our objects here; OpenSSL has its own. */
#include "fixture.h"

#include "avow/base/file.h"
#include "avow/crypto/ak.h"
#include "avow/crypto/x509.h"

#include "failing_alloc.h"

#include "avow/base/banned.h"

static struct fixture *f;
static struct avow_buf bundle, enrollment, root_pem, ca_pem, ak_public;

static void read_vector(const char *name, struct avow_buf *out)
{
    char path[512];
    struct avow_err err = {0};
    snprintf(path, sizeof path, "%s/%s", AVOW_TEST_VECTORS, name);
    avow_buf_init(out, FX_BUF_MAX);
    assert_rc(path, avow_file_read(path, out, &err), AVOW_OK, &err);
}

static int setup(void **state)
{
    (void)state;
    f = fx_new();
    fx_seal_bundle(f, f->root_key, &bundle);
    static const enum avow_hash_alg banks[] = {
        AVOW_HASH_ALG_SHA256}; /* an array, so that decoding allocates */
    struct avow_enrollment e = {
        .key = AVOW_STR_LIT(FX_AGENT), .generation = 5, .banks = banks, .banks_count = 1};
    struct avow_err err = {0};
    memcpy(e.fleet, FX_FLEET, sizeof FX_FLEET);
    avow_buf_init(&enrollment, FX_BUF_MAX);
    assert_rc("enrollment", avow_seal_enrollment(&e, f->keys[FX_ENROLL], &enrollment, &err),
              AVOW_OK, &err);
    avow_buf_init(&root_pem, FX_BUF_MAX);
    fx_root_pem(f->root_key, &root_pem);
    fx_root_pem(f->other_root_key, &root_pem);
    read_vector("m1-direct/ca/issuercert.pem", &ca_pem);
    read_vector("m1-direct/keys/ak_rsa.tpm2b_public", &ak_public);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    fx_free(f);
    avow_buf_deinit(&bundle);
    avow_buf_deinit(&enrollment);
    avow_buf_deinit(&root_pem);
    avow_buf_deinit(&ca_pem);
    avow_buf_deinit(&ak_public);
    return 0;
}

static enum avow_rc do_root(void)
{
    AVOW_CLEANUP(avow_root_free) struct avow_root *r = NULL;
    enum avow_rc rc = avow_root_parse(avow_buf_bytes(&root_pem), &r, NULL);
    assert_true((rc == AVOW_OK) == (r != NULL));
    return rc;
}

static enum avow_rc do_bundle(void)
{
    AVOW_CLEANUP(avow_trust_free) struct avow_trust *t = NULL;
    enum avow_rc rc = fx_open_bundle(f, &bundle, 0, &t, NULL);
    assert_true((rc == AVOW_OK) == (t != NULL));
    return rc;
}

static enum avow_rc do_open(void)
{
    return fx_open(&FX_KINDS[1], f, &enrollment, NULL);
}

static enum avow_rc do_seal(void)
{
    FX_BUF out;
    struct avow_verdict v = {.key = AVOW_STR_LIT(FX_AGENT)};
    avow_buf_init(&out, FX_BUF_MAX);
    enum avow_rc rc = avow_seal_verdict(&v, f->keys[FX_WORKER], &out, NULL);
    assert_true((rc == AVOW_OK) == (out.len > 0));
    return rc;
}

static enum avow_rc do_ak(void)
{
    AVOW_CLEANUP(avow_ak_free) struct avow_ak *ak = NULL;
    enum avow_rc rc = avow_ak_parse(avow_buf_bytes(&ak_public), &ak, NULL);
    assert_true((rc == AVOW_OK) == (ak != NULL));
    return rc;
}

static enum avow_rc do_certs(void)
{
    struct avow_cert *certs[AVOW_CHAIN_MAX] = {NULL};
    size_t n = 0;
    enum avow_rc rc = avow_cert_list_parse(avow_buf_bytes(&ca_pem), certs, &n, NULL);
    assert_true((rc == AVOW_OK) == (n == 1));
    avow_cert_free(certs[0]);
    return rc;
}

static enum avow_rc do_store(void)
{
    AVOW_CLEANUP(avow_cert_store_free) struct avow_cert_store *s = NULL;
    return avow_cert_store_load(AVOW_TEST_VECTORS "/m1-direct/ca", &s, NULL);
}

static enum avow_rc do_generate(void)
{
    AVOW_CLEANUP(avow_privkey_free) struct avow_privkey *k = NULL;
    return avow_privkey_generate(&k, NULL);
}

static enum avow_rc do_issue(void)
{
    FX_BUF pem;
    const struct avow_cert_request req = {
        .common_name = "CA", .ca = true, .days = 1, .now_ms = 1795305600000};
    avow_buf_init(&pem, FX_BUF_MAX);
    return avow_cert_issue(&req, f->root_key, NULL, NULL, &pem, NULL);
}

static void test_each__kth_allocation_fails__is_nomem_and_clean(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        enum avow_rc (*body)(void);
        unsigned least; /* allocations that it surely makes */
    } CASES[] = {
        {"root", do_root, 6},   {"bundle", do_bundle, 20},
        {"open", do_open, 1},   {"seal", do_seal, 1},
        {"AK", do_ak, 4},       {"certificates", do_certs, 3},
        {"store", do_store, 4}, {"generate", do_generate, 3},
        {"issue", do_issue, 2},
    };
    for (size_t i = 0; i < AVOW_ARRAY_LEN(CASES); i++) {
        unsigned k = 1;
        for (;; k++) {
            failing_alloc_at = k;
            enum avow_rc rc = CASES[i].body();
            bool reached = failing_alloc_at == 0;
            failing_alloc_at = 0;
            if (rc != (reached ? AVOW_NOMEM : AVOW_OK))
                fail_msg("%s: allocation %u: %s", CASES[i].name, k, avow_rc_text(rc));
            if (!reached)
                break;
        }
        if (k - 1 < CASES[i].least)
            fail_msg("%s: only %u allocations were seen", CASES[i].name, k - 1);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each__kth_allocation_fails__is_nomem_and_clean)};
    return cmocka_run_group_tests(tests, setup, teardown);
}
