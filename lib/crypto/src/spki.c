#include "spki.h"

#include "avow/base/cleanup.h"

#include <assert.h>
#include <string.h>

#include "avow/base/banned.h"

/* SEC 2 v2.0, 2.4.2, 2.5.1, 2.6.1: the order n of the base point. */
static const uint8_t ORDER_P256[32] = {
    0xff, 0xff, 0xff, 0xff, 0x00, 0x00, 0x00, 0x00, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
    0xbc, 0xe6, 0xfa, 0xad, 0xa7, 0x17, 0x9e, 0x84, 0xf3, 0xb9, 0xca, 0xc2, 0xfc, 0x63, 0x25, 0x51};
static const uint8_t ORDER_P384[48] = {
    0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
    0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xc7, 0x63, 0x4d, 0x81, 0xf4, 0x37, 0x2d, 0xdf,
    0x58, 0x1a, 0x0d, 0xb2, 0x48, 0xb0, 0xa7, 0x7a, 0xec, 0xec, 0x19, 0x6a, 0xcc, 0xc5, 0x29, 0x73};
static const uint8_t ORDER_P521[66] = {
    0x01, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
    0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
    0xff, 0xff, 0xff, 0xff, 0xff, 0xfa, 0x51, 0x86, 0x87, 0x83, 0xbf, 0x2f, 0x96, 0x6b,
    0x7f, 0xcc, 0x01, 0x48, 0xf7, 0x09, 0xa5, 0xd0, 0x3b, 0xb5, 0xc9, 0xb8, 0x89, 0x9c,
    0x47, 0xae, 0xbb, 0x6f, 0xb7, 0x1e, 0x91, 0x38, 0x64, 0x09};
/* RFC 5480, 2.1.1.1; RFC 8017, appendix C */
static const uint8_t OID_P256[] = {0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07};
static const uint8_t OID_P384[] = {0x2b, 0x81, 0x04, 0x00, 0x22};
static const uint8_t OID_P521[] = {0x2b, 0x81, 0x04, 0x00, 0x23};
static const uint8_t OID_EC[] = {0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01};
static const uint8_t OID_RSA[] = {0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01};

static const struct avow_curve CURVES[] = {
    {AVOW_KEY_EC_P256,
     256,
     32,
     "P-256",
     {ORDER_P256, sizeof ORDER_P256},
     {OID_P256, sizeof OID_P256}},
    {AVOW_KEY_EC_P384,
     384,
     48,
     "P-384",
     {ORDER_P384, sizeof ORDER_P384},
     {OID_P384, sizeof OID_P384}},
    {AVOW_KEY_EC_P521,
     521,
     66,
     "P-521",
     {ORDER_P521, sizeof ORDER_P521},
     {OID_P521, sizeof OID_P521}},
};

enum {
    DER_INTEGER = 0x02,
    DER_BIT_STRING = 0x03,
    DER_NULL = 0x05,
    DER_OID = 0x06,
    DER_SEQUENCE = 0x30
};

const struct avow_curve *avow_curve_of(enum avow_key_kind kind)
{
    for (size_t i = 0; i < AVOW_ARRAY_LEN(CURVES); i++)
        if (CURVES[i].kind == kind)
            return &CURVES[i];
    return NULL;
}

const struct avow_curve *avow_curve_by_oid(struct avow_bytes oid)
{
    for (size_t i = 0; i < AVOW_ARRAY_LEN(CURVES); i++)
        if (avow_bytes_eq(CURVES[i].oid, oid))
            return &CURVES[i];
    return NULL;
}

struct avow_bytes avow_uint_strip(struct avow_bytes b)
{
    while (b.len && !b.ptr[0]) {
        b.ptr++;
        b.len--;
    }
    return b;
}

bool avow_uint_less(struct avow_bytes a, struct avow_bytes b)
{
    a = avow_uint_strip(a);
    b = avow_uint_strip(b);
    if (a.len != b.len)
        return a.len < b.len;
    return avow_bytes_cmp(a, b) < 0;
}

/* One element with the wanted tag and a definite length of at most two octets (X.690, 10.1). */
static struct avow_bytes der_take(struct avow_rd *r, uint8_t tag)
{
    if (avow_rd_u8(r) != tag)
        r->bad = true;
    size_t len = avow_rd_u8(r);
    if (len == 0x81)
        len = avow_rd_u8(r);
    else if (len == 0x82)
        len = avow_rd_u16be(r);
    else if (len >= 0x80)
        r->bad = true;
    return avow_rd_take(r, r->bad ? 0 : len);
}

/* A positive INTEGER, without its sign octet. */
static struct avow_bytes der_take_uint(struct avow_rd *r)
{
    struct avow_bytes v = der_take(r, DER_INTEGER);
    if (!v.len || v.ptr[0] & 0x80)
        r->bad = true;
    return avow_uint_strip(v);
}

bool avow_rsa_public_read(struct avow_bytes der, struct avow_spki_parts *out)
{
    struct avow_rd outer = avow_rd_make(der);
    struct avow_rd r = avow_rd_make(der_take(&outer, DER_SEQUENCE));
    struct avow_bytes n = der_take_uint(&r);
    struct avow_bytes e = der_take_uint(&r);
    if (!avow_rd_done(&outer) || !avow_rd_done(&r))
        return false;
    *out = (struct avow_spki_parts){.kind = AVOW_KEY_RSA, .modulus = n, .exponent = e};
    return true;
}

bool avow_spki_read(struct avow_bytes der, struct avow_spki_parts *out)
{
    struct avow_rd outer = avow_rd_make(der);
    struct avow_rd spki = avow_rd_make(der_take(&outer, DER_SEQUENCE));
    struct avow_rd alg = avow_rd_make(der_take(&spki, DER_SEQUENCE));
    struct avow_bytes key = der_take(&spki, DER_BIT_STRING);
    struct avow_bytes oid = der_take(&alg, DER_OID);
    /* The bit string starts with its count of unused bits, which is 0 here. */
    if (!avow_rd_done(&outer) || !avow_rd_done(&spki) || alg.bad || !key.len || key.ptr[0])
        return false;
    key = avow_bytes_make(key.ptr + 1, key.len - 1);
    if (avow_bytes_eq(oid, AVOW_BYTES_OF(OID_RSA))) {
        struct avow_bytes null = der_take(&alg, DER_NULL);
        return avow_rd_done(&alg) && !null.len && avow_rsa_public_read(key, out);
    }
    if (!avow_bytes_eq(oid, AVOW_BYTES_OF(OID_EC)))
        return false;
    const struct avow_curve *curve = avow_curve_by_oid(der_take(&alg, DER_OID));
    if (!avow_rd_done(&alg) || !curve)
        return false;
    *out = (struct avow_spki_parts){.kind = curve->kind, .point = key};
    return true;
}

static void put_header(struct avow_buf *b, uint8_t tag, size_t len)
{
    avow_buf_put_u8(b, tag);
    if (len >= 0x100) {
        avow_buf_put_u8(b, 0x82);
        avow_buf_put_u16be(b, (uint16_t)len);
        return;
    }
    if (len >= 0x80)
        avow_buf_put_u8(b, 0x81);
    avow_buf_put_u8(b, (uint8_t)len);
}

static void put_element(struct avow_buf *b, uint8_t tag, struct avow_bytes content)
{
    put_header(b, tag, content.len);
    avow_buf_put(b, content.ptr, content.len);
}

/* `v` has no leading zeros and is not zero. */
static void put_uint(struct avow_buf *b, struct avow_bytes v)
{
    size_t sign = v.ptr[0] >> 7;
    put_header(b, DER_INTEGER, v.len + sign);
    if (sign)
        avow_buf_put_u8(b, 0);
    avow_buf_put(b, v.ptr, v.len);
}

static void put_spki(struct avow_buf *out, const struct avow_buf *alg, struct avow_bytes key)
{
    AVOW_CLEANUP_VAL(avow_buf_deinit) struct avow_buf body;
    avow_buf_init(&body, AVOW_SPKI_MAX);
    put_element(&body, DER_SEQUENCE, avow_buf_bytes(alg));
    put_header(&body, DER_BIT_STRING, key.len + 1);
    avow_buf_put_u8(&body, 0); /* unused bits */
    avow_buf_put(&body, key.ptr, key.len);
    put_element(out, DER_SEQUENCE, avow_buf_bytes(&body));
    if (alg->failed || body.failed)
        out->failed = alg->failed ? alg->failed : body.failed;
}

void avow_spki_put_ec(struct avow_buf *out, const struct avow_curve *curve, struct avow_bytes point)
{
    AVOW_CLEANUP_VAL(avow_buf_deinit) struct avow_buf alg;
    avow_buf_init(&alg, AVOW_SPKI_MAX);
    put_element(&alg, DER_OID, AVOW_BYTES_OF(OID_EC));
    put_element(&alg, DER_OID, curve->oid);
    put_spki(out, &alg, point);
}

void avow_spki_put_rsa(struct avow_buf *out, struct avow_bytes modulus, uint32_t exponent)
{
    uint8_t e[4];
    avow_put_u32be(e, exponent);
    AVOW_CLEANUP_VAL(avow_buf_deinit) struct avow_buf alg;
    AVOW_CLEANUP_VAL(avow_buf_deinit) struct avow_buf numbers;
    AVOW_CLEANUP_VAL(avow_buf_deinit) struct avow_buf key;
    avow_buf_init(&alg, AVOW_SPKI_MAX);
    avow_buf_init(&numbers, AVOW_SPKI_MAX);
    avow_buf_init(&key, AVOW_SPKI_MAX);
    put_element(&alg, DER_OID, AVOW_BYTES_OF(OID_RSA));
    put_header(&alg, DER_NULL, 0);
    put_uint(&numbers, modulus);
    put_uint(&numbers, avow_uint_strip(AVOW_BYTES_OF(e)));
    put_element(&key, DER_SEQUENCE, avow_buf_bytes(&numbers));
    if (numbers.failed || key.failed)
        out->failed = numbers.failed ? numbers.failed : key.failed;
    put_spki(out, &alg, avow_buf_bytes(&key));
}

static uint8_t *write_uint(uint8_t *p, struct avow_bytes v)
{
    uint8_t sign = v.ptr[0] >> 7;
    *p++ = DER_INTEGER;
    *p++ = (uint8_t)(v.len + sign);
    if (sign)
        *p++ = 0;
    memcpy(p, v.ptr, v.len);
    return p + v.len;
}

size_t avow_der_ecdsa_sig(struct avow_bytes r, struct avow_bytes s, uint8_t out[AVOW_ECDSA_DER_MAX])
{
    size_t len = 4 + r.len + (r.ptr[0] >> 7) + s.len + (s.ptr[0] >> 7);
    assert(r.len <= 66 && s.len <= 66);
    uint8_t *p = out;
    *p++ = DER_SEQUENCE;
    if (len >= 0x80)
        *p++ = 0x81;
    *p++ = (uint8_t)len;
    p = write_uint(p, r);
    p = write_uint(p, s);
    return (size_t)(p - out);
}
