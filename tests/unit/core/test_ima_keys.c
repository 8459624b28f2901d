/* test_ima_keys.c - sets of keys in every form, and what is none. */
#include "avow/core/ima_keys.h"

#include "avow/base/file.h"
#include "avow/crypto/key.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "avow/base/banned.h"

static struct avow_buf rsa_pem, ec_pem, rsa_der, ec_der;

static void read_vector(const char *name, struct avow_buf *out)
{
    struct avow_err err = {0};
    char path[512];
    (void)snprintf(path, sizeof path, "%s/ima/keys/%s", AVOW_TEST_VECTORS, name);
    avow_buf_init(out, 16384);
    if (avow_file_read(path, out, &err))
        fail_msg("%s", err.msg);
}

static int setup(void **state)
{
    (void)state;
    read_vector("ima_rsa.pub.pem", &rsa_pem);
    read_vector("ima_ec.pub.pem", &ec_pem);
    read_vector("ima_rsa.cert.der", &rsa_der);
    read_vector("ima_ec.cert.der", &ec_der);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    avow_buf_deinit(&rsa_pem);
    avow_buf_deinit(&ec_pem);
    avow_buf_deinit(&rsa_der);
    avow_buf_deinit(&ec_der);
    return 0;
}

static struct avow_ima_keys *load(struct avow_bytes text)
{
    struct avow_ima_keys *k = NULL;
    struct avow_err err = {0};
    if (avow_ima_keys_load(text, &k, &err))
        fail_msg("%s", err.msg);
    return k;
}

static struct avow_ima_keys *load_text(const char *text)
{
    return load(avow_bytes_make(text, strlen(text)));
}

/* The base64 of a PEM block, on one line. */
static const char *body_of(const struct avow_buf *pem)
{
    static char out[2][1024];
    static unsigned turn;
    char *to = out[turn++ % 2];
    size_t n = 0;
    const char *at = strchr((const char *)pem->ptr, '\n') + 1;
    for (; *at != '-'; at++) {
        if (*at != '\n')
            to[n++] = *at;
    }
    to[n] = 0;
    return to;
}

static void test_load__pem_and_der__ordered_by_id_without_repetition(void **state)
{
    (void)state;
    struct avow_buf both;
    avow_buf_init(&both, 16384);
    avow_buf_put(&both, rsa_pem.ptr, rsa_pem.len);
    avow_buf_put(&both, ec_pem.ptr, ec_pem.len);
    avow_buf_put(&both, rsa_pem.ptr, rsa_pem.len);
    struct avow_ima_keys *k = load(avow_buf_bytes(&both));
    assert_int_equal(avow_ima_keys_count(k), 2);
    assert_int_equal(avow_ima_keys_id(k, 0), 0x5a86fc72);
    assert_int_equal(avow_ima_keys_id(k, 1), 0x9d893773);
    assert_int_equal(avow_ima_keys_find(k, 0x9d893773), 1);
    assert_int_equal(avow_ima_keys_find(k, 0x5a86fc72), 0);
    assert_int_equal(avow_ima_keys_find(k, 0x60000000), 2);
    assert_int_equal(avow_ima_keys_find(k, 0), 2);
    assert_int_equal(avow_ima_keys_find(k, 0xFFFFFFFF), 2);
    struct avow_ima_keys *cert = load(avow_buf_bytes(&ec_der)); /* the same key in a certificate */
    assert_true(avow_ima_keys_is_subset(cert, k));
    assert_false(avow_ima_keys_is_subset(k, cert));
    assert_true(avow_ima_keys_is_subset(NULL, cert));
    assert_true(avow_ima_keys_is_subset(k, k));
    assert_false(avow_ima_keys_is_subset(cert, NULL));
    avow_ima_keys_free(cert);
    avow_ima_keys_free(k);
    avow_buf_deinit(&both);
}

static void test_load__keyring_of_keylime__once_and_twice_encoded(void **state)
{
    (void)state;
    char text[2048], twice[2200];
    (void)snprintf(text, sizeof text,
                   "{\"meta\":{\"version\":1},\"keyids\":[7,8],\"pubkeys\":[\"%s\",\"%s\"]}",
                   body_of(&rsa_pem), body_of(&ec_pem));
    struct avow_ima_keys *k = load_text(text);
    assert_int_equal(avow_ima_keys_count(k), 2);
    assert_int_equal(avow_ima_keys_id(k, 0), 7); /* as given, not as computed */
    assert_int_equal(avow_pubkey_kind(avow_ima_keys_get(k, 0)), AVOW_KEY_RSA);
    assert_int_equal(avow_pubkey_kind(avow_ima_keys_get(k, 1)), AVOW_KEY_EC_P256);
    avow_ima_keys_free(k);
    size_t n = 0;
    twice[n++] = '"';
    for (const char *at = text; *at; at++) {
        if (*at == '"')
            twice[n++] = '\\';
        twice[n++] = *at;
    }
    twice[n++] = '"';
    k = load(avow_bytes_make(twice, n));
    assert_int_equal(avow_ima_keys_count(k), 2);
    avow_ima_keys_free(k);
    (void)snprintf(text, sizeof text, "{\"pubkeys\":[\"%s\"]}", body_of(&ec_pem));
    k = load_text(text);
    assert_int_equal(avow_ima_keys_id(k, 0), 0x5a86fc72);
    avow_ima_keys_free(k);
    k = load_text("{}");
    assert_int_equal(avow_ima_keys_count(k), 0);
    avow_ima_keys_free(k);
}

/* secp256k1, as Keylime's own example has: a key, and none of ours. */
static void test_load__key_of_another_kind__is_left_out(void **state)
{
    (void)state;
    char text[2048];
    (void)snprintf(
        text, sizeof text,
        "{\"pubkeys\":[\"MFYwEAYHKoZIzj0CAQYFK4EEAAoDQgAEeb5mfvncu6xVoGKVzocLBwKb/NstzijZ"
        "WfKBWxb4F5hIOtp3JqPEZV2k+/wOEQio/Re0SKaFVBmcR9CP+xDUuA==\",\"%s\"]}",
        body_of(&ec_pem));
    struct avow_ima_keys *k = load_text(text);
    assert_int_equal(avow_ima_keys_count(k), 1);
    assert_int_equal(avow_ima_keys_skipped(k), 1);
    avow_ima_keys_free(k);
}

static void test_load__what_is_no_set_of_keys__says_which(void **state)
{
    (void)state;
    static const struct {
        const char *text, *says;
    } cases[] = {
        {"", "certificate"},
        {"{", "line 1"},
        {"{} x", "follows"},
        {"\"{}", "line 1"},
        {"{\"pubkeys\":1}", "$.pubkeys: not a list"},
        {"{\"pubkeys\":[],\"pubkeys\":[]}", "$.pubkeys: twice"},
        {"{\"pubkeys\":[1]}", "$.pubkeys[0]: not a string"},
        {"{\"pubkeys\":[\"AAAA\"]}", "$.pubkeys[0]"},
        {"{\"pubkeys\":[\"?\"]}", "$.pubkeys[0]"},
        {"{\"pubkeys\":[],\"keyids\":[1]}", "$.keyids: 1 for 0 keys"},
        {"{\"pubkeys\":[],\"keyids\":[4294967296]}", "$.keyids[0]"},
        {"{\"pubkeys\":[],\"keyids\":[-1]}", "$.keyids[0]"},
        {"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n", "key 1"},
    };
    for (size_t i = 0; i < AVOW_ARRAY_LEN(cases); i++) {
        struct avow_ima_keys *k = NULL;
        struct avow_err err = {0};
        if (avow_ima_keys_load(avow_bytes_make(cases[i].text, strlen(cases[i].text)), &k, &err) !=
                AVOW_PARSE ||
            !strstr(err.msg, cases[i].says))
            fail_msg("case %zu: %s", i, err.msg);
        assert_null(k);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_load__pem_and_der__ordered_by_id_without_repetition),
        cmocka_unit_test(test_load__keyring_of_keylime__once_and_twice_encoded),
        cmocka_unit_test(test_load__key_of_another_kind__is_left_out),
        cmocka_unit_test(test_load__what_is_no_set_of_keys__says_which),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
