/* test_cert_crl.c - revocation lists: who is revoked, which lists count, which are refused (AI4).
 */
#include "ca.h"

#include <openssl/pem.h>
#include <sys/stat.h>

#include "avow/base/banned.h"

#define CA_USAGE "critical,keyCertSign,cRLSign"

static const struct ca_spec ROOT = {.cn = "Root", .basic = "critical,CA:TRUE", .usage = CA_USAGE};
static const struct ca_spec MIDDLE = {
    .cn = "Intermediate", .basic = "critical,CA:TRUE", .usage = CA_USAGE};
static const struct ca_spec MUTE = {
    .cn = "Intermediate", .basic = "critical,CA:TRUE", .usage = "critical,keyCertSign"};
static const struct ca_spec LEAF = {.cn = "",
                                    .basic = "critical,CA:FALSE",
                                    .usage = "critical,keyAgreement",
                                    .eku = "2.23.133.8.1",
                                    .san = "tpm"};

enum scope { FULL, USERS_ONLY, CAS_ONLY, SOME_REASONS, INDIRECT, DELTA, CRITICAL_UNKNOWN };

struct list_spec {
    bool present, revokes, other_key, released, pem;
    int from_day, to_day; /* 0, 0: around now */
    enum scope scope;
};

struct crl_case {
    const char *name;
    struct list_spec root, middle; /* lists by them; `revokes` names what they issued */
    bool middle_in_store, root_not_in_store, middle_may_not_sign;
    struct avow_crl_opts opts;
    enum avow_rc load, want;
    const char *says;
};

#define LIST(...)                                                                                  \
    {                                                                                              \
        .present = true, __VA_ARGS__                                                               \
    }

static const struct crl_case CASES[] = {
    {.name = "control: no lists"},
    {.name = "control: clean lists", .root = LIST(.pem = true), .middle = LIST(.pem = false)},
    {.name = "control: clean lists, all required",
     .root = LIST(.pem = true),
     .middle = LIST(.pem = false),
     .opts = {.required = true}},
    {.name = "EK revoked",
     .middle = LIST(.revokes = true),
     .want = AVOW_UNTRUSTED,
     .says = "EK certificate: revoked"},
    {.name = "EK revoked, list in PEM",
     .middle = LIST(.revokes = true, .pem = true),
     .want = AVOW_UNTRUSTED,
     .says = "EK certificate: revoked"},
    {.name = "EK held and released", .middle = LIST(.revokes = true, .released = true)},
    {.name = "intermediate revoked",
     .root = LIST(.revokes = true),
     .want = AVOW_UNTRUSTED,
     .says = "certificate 1 above the EK certificate: revoked"},
    {.name = "intermediate of the store revoked by the root of the store",
     .root = LIST(.revokes = true),
     .middle_in_store = true,
     .want = AVOW_UNTRUSTED,
     .says = "certificate 1 above the EK certificate: revoked"},
    {.name = "intermediate as the only anchor",
     .middle = LIST(.pem = true),
     .middle_in_store = true,
     .root_not_in_store = true,
     .opts = {.required = true}},
    {.name = "one list missing, required",
     .middle = LIST(.pem = true),
     .opts = {.required = true},
     .want = AVOW_UNTRUSTED,
     .says = "certificate 1 above the EK certificate: there is no revocation list of its issuer"},
    {.name = "no list at all, required",
     .opts = {.required = true},
     .want = AVOW_UNTRUSTED,
     .says = "EK certificate: there is no revocation list of its issuer"},
    {.name = "expired list",
     .middle = LIST(.from_day = -9, .to_day = -1),
     .want = AVOW_UNTRUSTED,
     .says = "EK certificate: its issuer's revocation list is out of date"},
    {.name = "expired list that goes on counting",
     .middle = LIST(.from_day = -9, .to_day = -1),
     .opts = {.use_expired = true}},
    {.name = "expired list that revokes",
     .middle = LIST(.from_day = -9, .to_day = -1, .revokes = true),
     .opts = {.use_expired = true},
     .want = AVOW_UNTRUSTED,
     .says = "EK certificate: revoked"},
    {.name = "list from the future",
     .middle = LIST(.from_day = 1, .to_day = 9),
     .want = AVOW_UNTRUSTED,
     .says = "out of date"},
    {.name = "forged list of a known issuer",
     .root = LIST(.revokes = true, .other_key = true),
     .load = AVOW_PARSE,
     .says = "its issuer's key did not sign it"},
    {.name = "forged list of an intermediate that comes with the evidence",
     .middle = LIST(.revokes = true, .other_key = true)},
    {.name = "issuer may not sign lists",
     .middle = LIST(.revokes = true),
     .middle_may_not_sign = true},
    {.name = "for users only, revokes the EK",
     .middle = LIST(.revokes = true, .scope = USERS_ONLY),
     .want = AVOW_UNTRUSTED,
     .says = "EK certificate: revoked"},
    {.name = "for CAs only does not cover the EK",
     .root = LIST(.scope = CAS_ONLY),
     .middle = LIST(.scope = CAS_ONLY),
     .opts = {.required = true},
     .want = AVOW_UNTRUSTED,
     .says = "EK certificate: there is no revocation list"},
    {.name = "for users only does not cover an intermediate",
     .root = LIST(.revokes = true, .scope = USERS_ONLY)},
    {.name = "some reasons", .middle = LIST(.scope = SOME_REASONS), .load = AVOW_PARSE},
    {.name = "indirect", .middle = LIST(.scope = INDIRECT), .load = AVOW_PARSE},
    {.name = "delta", .middle = LIST(.scope = DELTA), .load = AVOW_PARSE, .says = "delta"},
    {.name = "unknown critical extension",
     .middle = LIST(.scope = CRITICAL_UNKNOWN),
     .load = AVOW_PARSE,
     .says = "critical extension"},
};

static void add_scope(X509_CRL *crl, enum scope scope)
{
    ASN1_INTEGER *base = ASN1_INTEGER_new();
    ASN1_INTEGER_set(base, 1);
    ISSUING_DIST_POINT *p = ISSUING_DIST_POINT_new();
    p->onlyuser = scope == USERS_ONLY ? 0xff : 0;
    p->onlyCA = scope == CAS_ONLY ? 0xff : 0;
    p->indirectCRL = scope == INDIRECT ? 0xff : 0;
    if (scope == SOME_REASONS) {
        p->onlysomereasons = ASN1_BIT_STRING_new();
        ASN1_BIT_STRING_set_bit(p->onlysomereasons, 1, 1);
    }
    if (scope == DELTA)
        assert_int_equal(X509_CRL_add1_ext_i2d(crl, NID_delta_crl, base, 1, 0), 1);
    else if (scope == CRITICAL_UNKNOWN)
        assert_int_equal(X509_CRL_add1_ext_i2d(crl, NID_inhibit_any_policy, base, 1, 0), 1);
    else if (scope != FULL)
        assert_int_equal(X509_CRL_add1_ext_i2d(crl, NID_issuing_distribution_point, p, 1, 0), 1);
    ISSUING_DIST_POINT_free(p);
    ASN1_INTEGER_free(base);
}

static void add_entry(X509_CRL *crl, const struct ca_cert *revoked, bool released)
{
    X509_REVOKED *entry = X509_REVOKED_new();
    ASN1_ENUMERATED *reason = ASN1_ENUMERATED_new();
    ASN1_TIME *when = ASN1_TIME_set(NULL, (time_t)(CA_NOW_MS / 1000) - CA_DAY_S);
    ASN1_ENUMERATED_set(reason, released ? CRL_REASON_REMOVE_FROM_CRL : CRL_REASON_UNSPECIFIED);
    X509_REVOKED_set_serialNumber(entry, X509_get_serialNumber(revoked->x));
    X509_REVOKED_set_revocationDate(entry, when);
    assert_int_equal(X509_REVOKED_add1_ext_i2d(entry, NID_crl_reason, reason, 0, 0), 1);
    assert_int_equal(X509_CRL_add0_revoked(crl, entry), 1);
    ASN1_ENUMERATED_free(reason);
    ASN1_TIME_free(when);
}

static void set_time(X509_CRL *crl, int day, int (*set)(X509_CRL *, const ASN1_TIME *))
{
    ASN1_TIME *t = ASN1_TIME_adj(NULL, (time_t)(CA_NOW_MS / 1000), day, 0);
    assert_int_equal(set(crl, t), 1);
    ASN1_TIME_free(t);
}

static void write_list(const char *file, const struct list_spec *s, const struct ca_cert *issuer,
                       const struct ca_cert *issued)
{
    if (!s->present)
        return;
    X509_CRL *crl = X509_CRL_new();
    EVP_PKEY *other = EVP_EC_gen("P-256");
    bool times = s->from_day || s->to_day;
    X509_CRL_set_version(crl, X509_CRL_VERSION_2);
    X509_CRL_set_issuer_name(crl, X509_get_subject_name(issuer->x));
    set_time(crl, times ? s->from_day : -1, X509_CRL_set1_lastUpdate);
    set_time(crl, times ? s->to_day : 1, X509_CRL_set1_nextUpdate);
    add_scope(crl, s->scope);
    if (s->revokes)
        add_entry(crl, issued, s->released);
    X509_CRL_sort(crl);
    assert_true(X509_CRL_sign(crl, s->other_key ? other : issuer->key, EVP_sha256()) > 0);
    char path[128];
    vec_scratch_path(file, path);
    BIO *out = BIO_new_file(path, "w");
    assert_non_null(out);
    assert_int_equal(s->pem ? PEM_write_bio_X509_CRL(out, crl) : i2d_X509_CRL_bio(out, crl), 1);
    BIO_free(out);
    EVP_PKEY_free(other);
    X509_CRL_free(crl);
}

static void remove_file(const char *name)
{
    char path[128];
    vec_scratch_path(name, path);
    unlink(path);
}

static void put_cert(const char *name, const struct ca_cert *c)
{
    VEC_BUF der;
    char path[128];
    avow_buf_init(&der, VEC_MAX);
    ca_der(c, &der);
    vec_scratch_write(name, avow_buf_bytes(&der), path);
}

static void judge(const struct crl_case *c, struct avow_cert_store *store, struct avow_cert *ek,
                  struct avow_cert *middle)
{
    struct avow_err err = {0};
    char dir[128];
    vec_scratch_path("crl", dir);
    assert_rc(c->name, avow_cert_store_add_crls(store, dir, &c->opts, &err), c->load, &err);
    if (!c->load)
        assert_rc(
            c->name,
            avow_cert_verify_ek(ek, &middle, c->middle_in_store ? 0 : 1, store, CA_NOW_MS, &err),
            c->want, &err);
    if (c->says)
        assert_says(c->name, &err, c->says);
}

static void run_case(const struct crl_case *c)
{
    struct avow_err err = {0};
    struct ca_cert root = ca_make(&ROOT, EVP_EC_gen("P-384"), NULL);
    struct ca_cert middle =
        ca_make(c->middle_may_not_sign ? &MUTE : &MIDDLE, EVP_EC_gen("P-256"), &root);
    struct ca_cert leaf = ca_make(&LEAF, EVP_EC_gen("P-256"), &middle);
    write_list("crl/root.crl", &c->root, &root, &middle);
    write_list("crl/middle.crl", &c->middle, &middle, &leaf);
    if (!c->root_not_in_store)
        put_cert("root.der", &root);
    if (c->middle_in_store)
        put_cert("middle.der", &middle);
    AVOW_CLEANUP(avow_cert_store_free) struct avow_cert_store *store = NULL;
    assert_rc("store", avow_cert_store_load(vec_scratch(), &store, &err), AVOW_OK, &err);
    AVOW_CLEANUP(avow_cert_free) struct avow_cert *ek = ca_cert_of(&leaf);
    AVOW_CLEANUP(avow_cert_free) struct avow_cert *middle_cert = ca_cert_of(&middle);
    judge(c, store, ek, middle_cert);
    static const char *const FILES[] = {"root.der", "middle.der", "crl/root.crl", "crl/middle.crl"};
    for (size_t i = 0; i < AVOW_ARRAY_LEN(FILES); i++)
        remove_file(FILES[i]);
    ca_free(&leaf);
    ca_free(&middle);
    ca_free(&root);
}

static void test_ai4_revocation_lists__table__each_reason(void **state)
{
    (void)state;
    for (size_t i = 0; i < AVOW_ARRAY_LEN(CASES); i++)
        run_case(&CASES[i]);
}

static void test_crl_info__lists__file_time_entries(void **state)
{
    (void)state;
    struct avow_err err = {0};
    struct avow_crl_info info;
    char dir[128];
    struct ca_cert root = ca_make(&ROOT, EVP_EC_gen("P-384"), NULL);
    struct ca_cert leaf = ca_make(&LEAF, EVP_EC_gen("P-256"), &root);
    write_list("crl/root.crl",
               &(struct list_spec)LIST(.revokes = true, .from_day = -9, .to_day = 2), &root, &leaf);
    vec_scratch_path("crl", dir);
    AVOW_CLEANUP(avow_cert_store_free) struct avow_cert_store *store = NULL;
    assert_rc("store", avow_cert_store_load(vec_scratch(), &store, &err), AVOW_OK, &err);
    assert_rc(
        "lists",
        avow_cert_store_add_crls(store, dir, &(struct avow_crl_opts){.required = false}, &err),
        AVOW_OK, &err);
    assert_int_equal(avow_cert_store_crl_count(store), 1);
    const uint64_t until = CA_NOW_MS + 2 * CA_DAY_S * UINT64_C(1000);
    avow_cert_store_crl_info(store, 0, CA_NOW_MS, &info);
    assert_string_equal(info.file, "root.crl");
    assert_true(info.next_update_ms == until);
    assert_int_equal(info.revoked, 1);
    assert_false(info.expired);
    avow_cert_store_crl_info(store, 0, until, &info);
    assert_true(info.expired);
    remove_file("crl/root.crl");
    ca_free(&leaf);
    ca_free(&root);
}

static int setup(void **state)
{
    (void)state;
    char dir[128];
    vec_scratch_path("crl", dir);
    return mkdir(dir, 0700);
}

static int teardown(void **state)
{
    (void)state;
    char dir[128];
    vec_scratch_path("crl", dir);
    return rmdir(dir) || rmdir(vec_scratch());
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ai4_revocation_lists__table__each_reason),
        cmocka_unit_test(test_crl_info__lists__file_time_entries),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
