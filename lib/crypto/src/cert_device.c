/* Whose device is it? The serial number in an IDevID or IAK certificate. */
#include "cert_internal.h"

#include "avow/base/hex.h"

#include "openssl_err.h"

#include <openssl/asn1.h>
#include <openssl/objects.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include <string.h>

#include "avow/base/banned.h"

static const char HARDWARE_MODULE_NAME[] = "1.3.6.1.5.5.7.8.4"; /* RFC 4108, 5 */
static const char PERMANENT_IDENTIFIER[] = "1.3.6.1.5.5.7.8.3"; /* RFC 4043 */

AVOW_DEFINE_CLEANUP(GENERAL_NAMES, GENERAL_NAMES_free);

static void sequence_cleanup(STACK_OF(ASN1_TYPE) * *s)
{
    sk_ASN1_TYPE_pop_free(*s, ASN1_TYPE_free);
}

/* Both forms are a SEQUENCE whose serial is its only string. True: it was there and is in `out`. */
static bool string_of_sequence(const ASN1_TYPE *value, struct avow_buf *out)
{
    if (!value || value->type != V_ASN1_SEQUENCE)
        return false;
    const unsigned char *p = value->value.sequence->data;
    AVOW_CLEANUP_VAL(sequence_cleanup)
    STACK_OF(ASN1_TYPE) *items = d2i_ASN1_SEQUENCE_ANY(NULL, &p, value->value.sequence->length);
    for (int i = 0; i < sk_ASN1_TYPE_num(items); i++) {
        const ASN1_TYPE *item = sk_ASN1_TYPE_value(items, i);
        if (item->type != V_ASN1_OCTET_STRING && item->type != V_ASN1_UTF8STRING)
            continue;
        const ASN1_STRING *s = item->value.asn1_string;
        avow_buf_put(out, ASN1_STRING_get0_data(s), (size_t)ASN1_STRING_length(s));
        return true;
    }
    return false;
}

static bool from_alt_name(const X509 *x, struct avow_buf *out)
{
    bool found = false;
    AVOW_CLEANUP(GENERAL_NAMES_free)
    GENERAL_NAMES *names = X509_get_ext_d2i(x, NID_subject_alt_name, NULL, NULL);
    for (int i = 0; i < sk_GENERAL_NAME_num(names) && !found; i++) {
        const GENERAL_NAME *name = sk_GENERAL_NAME_value(names, i);
        char oid[32];
        if (name->type == GEN_OTHERNAME &&
            OBJ_obj2txt(oid, sizeof oid, name->d.otherName->type_id, 1) > 0 &&
            (avow_cstr_eq(oid, HARDWARE_MODULE_NAME) || avow_cstr_eq(oid, PERMANENT_IDENTIFIER)))
            found = string_of_sequence(name->d.otherName->value, out);
    }
    return found;
}

static bool from_subject(const X509 *x, struct avow_buf *out)
{
    const X509_NAME *subject = X509_get_subject_name(x);
    int i = X509_NAME_get_index_by_NID(subject, NID_serialNumber, -1);
    if (i < 0)
        return false;
    const ASN1_STRING *s = X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, i));
    avow_buf_put(out, ASN1_STRING_get0_data(s), (size_t)ASN1_STRING_length(s));
    return true;
}

static bool is_printable(struct avow_bytes b)
{
    for (size_t i = 0; i < b.len; i++)
        if (b.ptr[i] < 0x20 || b.ptr[i] >= 0x7f)
            return false;
    return true;
}

enum avow_rc avow_cert_device_serial(const struct avow_cert *c, struct avow_buf *out,
                                     struct avow_err *err)
{
    AVOW_CLEANUP_VAL(avow_buf_deinit) struct avow_buf serial;
    avow_buf_init(&serial, AVOW_DEVICE_SERIAL_MAX / 2);
    if (!from_alt_name(c->x509, &serial) && !from_subject(c->x509, &serial))
        return avow_err_set(err, AVOW_NOTFOUND, 0, "no serial number of the device");
    enum avow_rc rc = avow_buf_status(&serial, err);
    if (rc)
        return avow_err_wrap(err, rc, "serial number of the device");
    struct avow_bytes b = avow_buf_bytes(&serial);
    if (!b.len)
        return avow_err_set(err, AVOW_NOTFOUND, 0, "the serial number of the device is empty");
    if (is_printable(b))
        avow_buf_put(out, b.ptr, b.len);
    else
        avow_buf_put_hex(out, b);
    return avow_buf_status(out, err);
}
