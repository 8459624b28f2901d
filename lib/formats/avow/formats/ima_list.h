/* ima_list.h - the kernel's binary measurement list, entry by entry. Layer: formats. Pure;
 * thread-safe. Spec: linux v6.6 security/integrity/ima/ima_fs.c (ima_measurements_show),
 * ima_template.c, ima_template_lib.c, ima_crypto.c (ima_calc_field_array_hash_tfm). Little-endian,
 * as x86-64 and arm64 write it. Input: attacker-controlled. */
#ifndef AVOW_FORMATS_IMA_LIST_H
#define AVOW_FORMATS_IMA_LIST_H

#include "avow/base/bytes.h"
#include "avow/base/err.h"

#define AVOW_IMA_ENTRY_MAX (512u * 1024u) /* PROTOCOL B6 */
#define AVOW_IMA_TEMPLATE_NAME_MAX 32u
#define AVOW_IMA_FIELDS_MAX 16u
#define AVOW_IMA_DIGEST_LEN                                                                        \
    20u /* the list holds SHA-1 template digests, whatever the banks are                           \
         */
#define AVOW_IMA_PIECES 3u

struct avow_ima_entry { /* borrows from the input */
    uint32_t pcr;
    struct avow_bytes template_digest; /* 20 bytes: SHA-1, or zeros for a violation */
    struct avow_str template_name;
    struct avow_bytes template_data; /* the fields as the list holds them */
    /* What each bank's template hash is computed over, to be concatenated. One piece,
     * template_data, for every template but "ima", whose path the kernel pads with zeros to 256
     * bytes. */
    struct avow_bytes hashed[AVOW_IMA_PIECES];
    size_t hashed_count;
    struct avow_bytes raw; /* the whole entry */
};
enum avow_ima_next {
    AVOW_IMA_END,
    AVOW_IMA_ENTRY,
    AVOW_IMA_TRUNCATED,
    AVOW_IMA_MALFORMED,
    AVOW_IMA_TOO_LARGE
};
/* Takes the next entry off `r` (which stays where it was unless AVOW_IMA_ENTRY). TRUNCATED: what is
 * there may be the beginning of a valid entry, more bytes are needed. */
enum avow_ima_next avow_ima_entry_next(struct avow_rd *r,
                                       struct avow_ima_entry *out) AVOW_MUST_CHECK;

/* Template digest is all zeros. Nothing covers the fields of such an entry: the PCR was extended
 * with ones. */
bool avow_ima_entry_is_violation(const struct avow_ima_entry *e);

struct avow_ima_file {        /* fields that are judged; borrows from the entry */
    struct avow_str hash_alg; /* "sha256"; for template "ima": "sha1" */
    struct avow_bytes digest; /* of the file, 1 to 64 bytes */
    struct avow_str path;     /* without the NUL; not empty, holds no NUL, may be invalid UTF-8 */
    struct avow_bytes signature; /* empty if absent */
    bool violation;              /* template digest is all zeros */
};
/* Fields of templates ima-ng ("d-ng|n-ng"), ima-sig, their v2 forms, and ima. Errors:
 * AVOW_PARSE, AVOW_REFUSED for a template that this version does not know (message names it). On
 * failure *out is untouched. */
enum avow_rc avow_ima_file_parse(const struct avow_ima_entry *e, struct avow_ima_file *out,
                                 struct avow_err *err) AVOW_MUST_CHECK;

#endif
