/* ima_list.h - the kernel's measurement list, entry by entry: binary as it is attested, and every
 * form in which the kernel shows it. Layer: formats. Pure; thread-safe. Spec: linux v6.6
 * security/integrity/ima/ima_fs.c (ima_measurements_show, ima_ascii_measurements_show),
 * ima_template.c, ima_template_lib.c, ima_crypto.c (ima_calc_field_array_hash_tfm). Input:
 * attacker-controlled. */
#ifndef AVOW_FORMATS_IMA_LIST_H
#define AVOW_FORMATS_IMA_LIST_H

#include "avow/base/buf.h"
#include "avow/base/bytes.h"
#include "avow/base/err.h"

#define AVOW_IMA_ENTRY_MAX (512u * 1024u) /* PROTOCOL B6 */
/* ima_template.c, MAX_TEMPLATE_NAME_LEN: what a kernel restores after kexec may be a list of
 * fields, of at most 68 bytes. */
#define AVOW_IMA_TEMPLATE_NAME_MAX 128u
#define AVOW_IMA_FIELDS_MAX 16u   /* ima.h, IMA_TEMPLATE_NUM_FIELDS_MAX: 15 */
#define AVOW_IMA_PATH_MAX 4096u   /* PATH_MAX of Linux */
#define AVOW_IMA_XATTR_MAX 65536u /* XATTR_SIZE_MAX of Linux: signatures are stored in one */
#define AVOW_IMA_DIGEST_LEN                                                                        \
    20u /* what is attested holds SHA-1 template digests, whatever the banks are */
#define AVOW_IMA_PIECES 3u

struct avow_ima_entry { /* borrows from the input, or from the view until its next step */
    uint32_t pcr;
    struct avow_bytes template_digest; /* SHA-1, in other views than the attested one the digest of
                                          a bank; zeros for a violation */
    struct avow_str template_name;
    struct avow_bytes template_data; /* the fields as the binary list holds them */
    /* What each bank's template hash is computed over, to be concatenated. One piece,
     * template_data, for every template but "ima", whose path the kernel pads with zeros to 256
     * bytes. */
    struct avow_bytes hashed[AVOW_IMA_PIECES];
    size_t hashed_count;
    struct avow_bytes raw; /* the whole entry; its line in text */
    bool big_endian;       /* lengths and numbers within template_data */
};
enum avow_ima_next {
    AVOW_IMA_END,
    AVOW_IMA_ENTRY,
    AVOW_IMA_TRUNCATED,
    AVOW_IMA_MALFORMED,
    AVOW_IMA_TOO_LARGE,
    AVOW_IMA_NO_MEMORY /* text only */
};
/* Takes the next entry off `r` (which stays where it was unless AVOW_IMA_ENTRY): little-endian, as
 * x86-64 and arm64 write it, and SHA-1. TRUNCATED: what is there may be the beginning of a valid
 * entry, more bytes are needed. */
enum avow_ima_next avow_ima_entry_next(struct avow_rd *r,
                                       struct avow_ima_entry *out) AVOW_MUST_CHECK;

/* Template digest is all zeros. Nothing covers the fields of such an entry: the PCR was extended
 * with ones. */
bool avow_ima_entry_is_violation(const struct avow_ima_entry *e);

/* --- Any form of list, for tools --- */

enum avow_ima_list_kind {
    AVOW_IMA_LIST_UNKNOWN = 0, /* no list at all */
    AVOW_IMA_LIST_EMPTY,
    AVOW_IMA_LIST_BINARY,    /* little-endian, or any machine with ima_canonical_fmt */
    AVOW_IMA_LIST_BINARY_BE, /* big-endian machine without it */
    AVOW_IMA_LIST_ASCII
};
/* Told apart by the first entry. */
enum avow_ima_list_kind avow_ima_list_kind(struct avow_bytes list);
/* "binary", "binary, big-endian", "ascii"; static. */
const char *avow_ima_list_kind_text(enum avow_ima_list_kind kind);

/* Walks a list in any form. */
struct avow_ima_view { /* opaque but for kind and digest_len */
    enum avow_ima_list_kind kind;
    size_t digest_len; /* of template digests: 20, or 32, 48, 64 in a bank's own view (linux 6.10)
                        */
    struct avow_rd rd;
    struct avow_buf data; /* template data that was made from text */
};
/* `list` must outlive the view. Never fails: of an unknown kind the first step is MALFORMED. */
void avow_ima_view_init(struct avow_ima_view *r, struct avow_bytes list);
void avow_ima_view_deinit(struct avow_ima_view *r);
/* As avow_ima_entry_next. `out` is valid until the next step. A text line that does not end counts
 * as whole. */
enum avow_ima_next avow_ima_view_next(struct avow_ima_view *r,
                                      struct avow_ima_entry *out) AVOW_MUST_CHECK;

/* --- Fields --- */

enum avow_ima_digest_type { /* what `digest` is of */
                            AVOW_IMA_OF_FILE =
                                0, /* the file's bytes: d, d-ng, and d-ngv2 with "ima:" */
                            AVOW_IMA_OF_VERITY, /* the file's fs-verity descriptor: d-ngv2 with
                                                   "verity:" */
                            AVOW_IMA_OF_OTHER /* d-ngv2 with a type that this version does not know
                                               */
};
struct avow_ima_file {        /* fields that are judged; borrows from the entry */
    struct avow_str hash_alg; /* "sha256"; for field d: "sha1" */
    struct avow_bytes digest; /* 1 to 64 bytes */
    enum avow_ima_digest_type digest_type;
    struct avow_str path; /* without the NUL; not empty, holds no NUL, may be invalid UTF-8 */
    struct avow_bytes signature; /* field sig; empty if absent */
    bool has_buffer;             /* field buf: path is the buffer's name, digest that of it */
    struct avow_bytes buffer;
    bool violation; /* template digest is all zeros */
};
/* Fields of ima-modsig and evm-sig: judged by nothing. */
struct avow_ima_extra {
    struct avow_str modsig_alg; /* of d-modsig: the digest of the file without its signature */
    struct avow_bytes modsig_digest, modsig, evm_signature;
    struct avow_str xattr_names;
    struct avow_bytes xattr_lengths, xattr_values;
    bool has_owner; /* iuid, igid, imode are all there */
    uint32_t uid, gid;
    uint16_t mode;
};
/* Fields of a template that the kernel has, or of a list of its fields ("d-ng|n-ng|sig"). Errors:
 * AVOW_PARSE, also for fields without digest or path; AVOW_REFUSED for a template or field that
 * this version does not know (message names it). On failure *out is untouched. */
enum avow_rc avow_ima_file_parse(const struct avow_ima_entry *e, struct avow_ima_file *out,
                                 struct avow_err *err) AVOW_MUST_CHECK;
/* The same, with what is not judged; *extra is of no use after a failure. */
enum avow_rc avow_ima_extra_parse(const struct avow_ima_entry *e, struct avow_ima_file *out,
                                  struct avow_ima_extra *extra,
                                  struct avow_err *err) AVOW_MUST_CHECK;

#endif
