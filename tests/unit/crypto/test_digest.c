/* test_digest.c - known answers of FIPS 180-4 (examples of NIST CSRC) and RFC 4231, computed by
 * hashlib. */
#include "vec.h"

#include "avow/crypto/digest.h"
#include "avow/crypto/rng.h"

#include <pthread.h>

#include "avow/base/banned.h"

static const struct {
    enum avow_hash alg;
    const char *name;
    size_t len;
    const char *abc;
    const char *empty;
    const char *hmac; /* key "Jefe", RFC 4231 test case 2 */
} HASHES[] = {
    {AVOW_HASH_SHA1, "sha1", 20, "a9993e364706816aba3e25717850c26c9cd0d89d",
     "da39a3ee5e6b4b0d3255bfef95601890afd80709", "effcdf6ae5eb2fa2d27416d5f184df9c259a7c79"},
    {AVOW_HASH_SHA256, "sha256", 32,
     "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
     "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
     "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"},
    {AVOW_HASH_SHA384, "sha384", 48,
     "cb00753f45a35e8bb5a03d699ac65007272c32ab0eded1631a8b605a43ff5bed8086072ba1e7cc23"
     "58baeca134c825a7",
     "38b060a751ac96384cd9327eb1b1e36a21fdb71114be07434c0cc7bf63f6e1da274edebfe76f65fb"
     "d51ad2f14898b95b",
     "af45d2e376484031617f78d2b58a6b1b9c7ef464f5a01b47e42ec3736322445e8e2240ca5e69e2c7"
     "8b3239ecfab21649"},
    {AVOW_HASH_SHA512, "sha512", 64,
     "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a2192992a274fc1a8"
     "36ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f",
     "cf83e1357eefb8bdf1542850d66d8007d620e4050b5715dc83f4a921d36ce9ce47d0d13c5d85f2b0"
     "ff8318d2877eec2f63b931bd47417a81a538327af927da3e",
     "164b7a7bfcf819e2e395fbe73b56e0a387bd64222e831fd610270cd7ea2505549758bf75c05a994a"
     "6d034f65f8f0e6fdcaeab1a34d4a6b4b636e070a38bce737"},
};

static void test_digest__known_inputs__known_answers(void **state)
{
    (void)state;
    for (size_t i = 0; i < AVOW_ARRAY_LEN(HASHES); i++) {
        struct avow_digest d;
        avow_digest(HASHES[i].alg, vec_text("abc"), &d);
        assert_hex(HASHES[i].name, avow_digest_bytes(&d), HASHES[i].abc);
        avow_digest(HASHES[i].alg, avow_bytes_make(NULL, 0), &d);
        assert_hex(HASHES[i].name, avow_digest_bytes(&d), HASHES[i].empty);
        struct avow_bytes data = vec_text("what do ya want for nothing?");
        avow_hmac(HASHES[i].alg, vec_text("Jefe"), &data, 1, &d);
        assert_hex(HASHES[i].name, avow_digest_bytes(&d), HASHES[i].hmac);
    }
}

static void test_hash_table__all_rows__names_and_lengths(void **state)
{
    (void)state;
    for (size_t i = 0; i < AVOW_ARRAY_LEN(HASHES); i++) {
        enum avow_hash alg;
        assert_int_equal(avow_hash_len(HASHES[i].alg), HASHES[i].len);
        assert_string_equal(avow_hash_name(HASHES[i].alg), HASHES[i].name);
        assert_true(avow_hash_from_name(avow_str_from(HASHES[i].name), &alg));
        assert_int_equal(alg, HASHES[i].alg);
    }
    enum avow_hash alg = AVOW_HASH_SHA512;
    assert_int_equal(avow_hash_len((enum avow_hash)0x27), 0);
    assert_null(avow_hash_name((enum avow_hash)0));
    assert_false(avow_hash_from_name(AVOW_STR_LIT("SHA256"), &alg));
    assert_false(avow_hash_from_name(AVOW_STR_LIT("sha25"), &alg));
    assert_int_equal(alg, AVOW_HASH_SHA512);
}

/* Small pieces are joined before they are hashed: every size around that. */
static void test_pieces__any_size__equal_whole(void **state)
{
    (void)state;
    static uint8_t data[6000];
    struct avow_bytes pieces[64];
    for (size_t i = 0; i < sizeof data; i++)
        data[i] = (uint8_t)(i * 131 >> 3);
    for (size_t size = 1; size < sizeof data; size += size < 40 ? 1 : 31) {
        size_t n = 0, at = 0;
        uint8_t whole[32], cut[32];
        while (n < 63 && at < sizeof data) { /* sizes alternate, so that some fit and some do not */
            size_t len = n % 3 == 2 ? sizeof data / 5 : size;
            len = len < sizeof data - at ? len : sizeof data - at;
            pieces[n++] = avow_bytes_make(data + at, len);
            at += len;
        }
        avow_sha256(avow_bytes_make(data, at), whole);
        avow_sha256_pieces(pieces, n, cut);
        assert_memory_equal(cut, whole, sizeof whole);
    }
}

static void test_pieces__any_cut__equal_whole(void **state)
{
    (void)state;
    uint8_t data[200], whole[32], cut[32];
    struct avow_digest mac_whole, mac_cut;
    for (size_t i = 0; i < sizeof data; i++)
        data[i] = (uint8_t)(i * 7);
    struct avow_bytes all = AVOW_BYTES_OF(data);
    avow_sha256(all, whole);
    avow_hmac(AVOW_HASH_SHA384, vec_text("key"), &all, 1, &mac_whole);
    for (size_t i = 0; i <= sizeof data; i++) {
        const struct avow_bytes pieces[] = {{data, i}, {NULL, 0}, {data + i, sizeof data - i}};
        avow_sha256_pieces(pieces, 3, cut);
        assert_memory_equal(whole, cut, 32);
        avow_hmac(AVOW_HASH_SHA384, vec_text("key"), pieces, 3, &mac_cut);
        assert_memory_equal(mac_whole.bytes, mac_cut.bytes, mac_whole.len);
    }
}

/* OpenSSL takes a NULL key as "as last time": an empty key after another must not be that other. */
static void test_hmac__empty_key_after_another__is_empty(void **state)
{
    (void)state;
    struct avow_digest first, again;
    struct avow_bytes data = vec_text("data");
    avow_hmac(AVOW_HASH_SHA256, avow_bytes_make(NULL, 0), &data, 1, &first);
    avow_hmac(AVOW_HASH_SHA256, vec_text("another"), &data, 1, &again);
    assert_memory_not_equal(first.bytes, again.bytes, 32);
    avow_hmac(AVOW_HASH_SHA256, avow_bytes_make(NULL, 0), &data, 1, &again);
    assert_memory_equal(first.bytes, again.bytes, 32);
    assert_hex("empty key", avow_digest_bytes(&first),
               "e528c4d99e6177f5841f712a143b90843299a4aa181a06501422d9ca862bd2a5");
}

static void *hash_many(void *arg)
{
    uint8_t *out = arg;
    struct avow_digest d;
    for (int i = 0; i < 2000; i++) {
        struct avow_bytes pieces[] = {avow_bytes_make(out, 32), vec_text("abc")};
        avow_sha256_pieces(pieces, 2, out);
        avow_hmac(i & 1 ? AVOW_HASH_SHA256 : AVOW_HASH_SHA1, avow_bytes_make(out, 32), pieces, 2,
                  &d);
        memcpy(out, d.bytes, 20);
    }
    return NULL;
}

static void test_digest__several_threads__same_answers(void **state)
{
    (void)state;
    uint8_t out[4][32] = {{0}};
    pthread_t threads[4];
    for (size_t i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, hash_many, out[i]), 0);
    for (size_t i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    for (size_t i = 1; i < 4; i++)
        assert_memory_equal(out[0], out[i], 32);
}

static void test_rng_fill__two_calls__differ_and_fill_all(void **state)
{
    (void)state;
    static uint8_t a[200000], b[200000];
    struct avow_err err = {0};
    assert_rc("rng", avow_rng_fill(a, sizeof a, &err), AVOW_OK, &err);
    assert_rc("rng", avow_rng_fill(b, sizeof b, &err), AVOW_OK, &err);
    assert_memory_not_equal(a, b, sizeof a);
    assert_false(avow_bytes_all(avow_bytes_make(a + sizeof a - 64, 64), 0));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_digest__known_inputs__known_answers),
        cmocka_unit_test(test_hash_table__all_rows__names_and_lengths),
        cmocka_unit_test(test_pieces__any_size__equal_whole),
        cmocka_unit_test(test_pieces__any_cut__equal_whole),
        cmocka_unit_test(test_hmac__empty_key_after_another__is_empty),
        cmocka_unit_test(test_digest__several_threads__same_answers),
        cmocka_unit_test(test_rng_fill__two_calls__differ_and_fill_all),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
