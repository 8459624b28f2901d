/* efi_siglist.h - EFI signature lists: what PK, KEK, db, dbx and the MOK lists contain. Layer:
 * formats. Uses: base only. Pure; thread-safe; allocates nothing. Input: attacker-controlled.
 * Spec: UEFI 2.10, 32.4.1 (EFI_SIGNATURE_LIST, EFI_SIGNATURE_DATA). Little-endian. */
#ifndef AVOW_FORMATS_EFI_SIGLIST_H
#define AVOW_FORMATS_EFI_SIGLIST_H

#include "avow/base/bytes.h"
#include "avow/base/err.h"

#define AVOW_EFI_SIGLIST_MAX (1024u * 1024u) /* bytes of a variable's value */
#define AVOW_EFI_SIGNATURES_MAX 65536u       /* in one value; 2048 is much for a dbx */
#define AVOW_EFI_GUID_LEN 16u

/* X(name, text, GUID as stored): UEFI 2.10, 32.4.1. */
#define AVOW_EFI_SIG_MAP(X)                                                                        \
    X(SHA1, "sha1", "\x12\xa5\x6c\x82\x10\xcf\xc9\x4a\xb1\x87\xbe\x01\x49\x66\x31\xbd")            \
    X(SHA224, "sha224", "\x33\x52\x6e\x0b\x5c\xa6\xc9\x44\x94\x07\xd9\xab\x83\xbf\xc8\xbd")        \
    X(SHA256, "sha256", "\x26\x16\xc4\xc1\x4c\x50\x92\x40\xac\xa9\x41\xf9\x36\x93\x43\x28")        \
    X(SHA384, "sha384", "\x07\x53\x3e\xff\xd0\x9f\xc9\x48\x85\xf1\x8a\xd5\x6c\x70\x1e\x01")        \
    X(SHA512, "sha512", "\xae\x0f\x3e\x09\xc4\xa6\x50\x4f\x9f\x1b\xd4\x1e\x2b\x89\xc1\x9a")        \
    X(RSA2048, "rsa2048", "\xe8\x66\x57\x3c\x9c\x26\x34\x4e\xaa\x14\xed\x77\x6e\x85\xb3\xb6")      \
    X(RSA2048_SHA1, "rsa2048_sha1",                                                                \
      "\x4f\x44\xf8\x67\x43\x87\xf1\x48\xa3\x28\x1e\xaa\xb8\x73\x60\x80")                          \
    X(RSA2048_SHA256, "rsa2048_sha256",                                                            \
      "\x90\x61\xb3\xe2\x9b\x87\x3d\x4a\xad\x8d\xf2\xe7\xbb\xa3\x27\x84")                          \
    X(X509, "x509", "\xa1\x59\xc0\xa5\xe4\x94\xa7\x4a\x87\xb5\xab\x15\x5c\x2b\xf0\x72")            \
    X(X509_SHA256, "x509_sha256",                                                                  \
      "\x92\xa4\xd2\x3b\xc0\x96\x79\x40\xb4\x20\xfc\xf9\x8e\xf1\x03\xed")                          \
    X(X509_SHA384, "x509_sha384",                                                                  \
      "\x6e\x87\x76\x70\xc2\x80\xe6\x4e\xaa\xd2\x28\xb3\x49\xa6\x86\x5b")                          \
    X(X509_SHA512, "x509_sha512",                                                                  \
      "\x63\xbf\x6d\x44\x02\x25\xda\x4c\xbc\xfa\x24\x65\xd2\xb0\xfe\x9d")                          \
    X(PKCS7, "pkcs7", "\x9d\xd2\xaf\x4a\xdf\x68\xee\x49\x8a\xa9\x34\x7d\x37\x56\x65\xa7")

enum avow_efi_sig {
    AVOW_EFI_SIG_UNKNOWN = 0,
#define X(name, text, guid) AVOW_EFI_SIG_##name,
    AVOW_EFI_SIG_MAP(X)
#undef X
        AVOW_EFI_SIG_COUNT
};
/* `guid` has 16 bytes, as stored. */
enum avow_efi_sig avow_efi_sig_of(struct avow_bytes guid);
/* "x509"; NULL for AVOW_EFI_SIG_UNKNOWN. */
const char *avow_efi_sig_text(enum avow_efi_sig sig);
/* AVOW_EFI_SIG_UNKNOWN if there is no such name. */
enum avow_efi_sig avow_efi_sig_find(struct avow_str text);
/* The GUID as stored; empty for AVOW_EFI_SIG_UNKNOWN. */
struct avow_bytes avow_efi_sig_guid(enum avow_efi_sig sig);

struct avow_efi_signature {  /* borrows from the input */
    size_t list;             /* from 0 */
    struct avow_bytes type;  /* GUID of the list, 16 bytes as stored */
    struct avow_bytes owner; /* GUID, 16 bytes as stored */
    struct avow_bytes data;  /* a certificate in DER, a digest, ...; may be empty, and need not have
                                the length of its type: firmware ignores such */
};

struct avow_efi_siglist { /* borrows from the input */
    struct avow_bytes in;
    size_t lists;
    size_t count; /* of signatures in all lists */
};
/* Reads the lists, one behind the other, to their end, so that they can be walked without a
 * failure. No bytes are no lists: an empty variable. Errors: AVOW_PARSE (also for bytes behind the
 * last list or the last signature), AVOW_LIMIT. On failure *out is untouched. */
enum avow_rc avow_efi_siglist_parse(struct avow_bytes in, struct avow_efi_siglist *out,
                                    struct avow_err *err) AVOW_MUST_CHECK;

struct avow_efi_siglist_walk {
    struct avow_rd rd;         /* behind the current list */
    struct avow_rd signatures; /* what is left of it */
    struct avow_bytes type;
    size_t list, size; /* lists begun; bytes of a signature */
};
void avow_efi_siglist_walk_init(struct avow_efi_siglist_walk *w, const struct avow_efi_siglist *l);
/* In their order. False: there are no more. */
bool avow_efi_siglist_walk_next(struct avow_efi_siglist_walk *w,
                                struct avow_efi_signature *out) AVOW_MUST_CHECK;

/* One EFI_SIGNATURE_DATA by itself: what EV_EFI_VARIABLE_AUTHORITY has of db (PFP 3.3.4.8).
 * False: too short for an owner. `out->type` is empty. */
bool avow_efi_signature_parse(struct avow_bytes in, struct avow_efi_signature *out) AVOW_MUST_CHECK;

/* "8be4df61-93ca-11d2-aa0d-00e098032b8c", either case, as firmware stores it: the first three
 * fields little-endian. False: it is no such text. */
bool avow_efi_guid_parse(struct avow_str text, uint8_t out[AVOW_EFI_GUID_LEN]) AVOW_MUST_CHECK;

#endif
