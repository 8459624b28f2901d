/* ima_fields.h - the one table of template fields. Private to lib/formats. */
#ifndef AVOW_FORMATS_IMA_FIELDS_H
#define AVOW_FORMATS_IMA_FIELDS_H

#include "avow/formats/ima_list.h"

enum avow_ima_show { /* how the text view shows a field: enum data_formats, ima_template_lib.c */
                     AVOW_IMA_SHOW_DIGEST,       /* hex */
                     AVOW_IMA_SHOW_DIGEST_ALG,   /* "sha256:" hex; in binary a NUL stands behind the
                                                    colon */
                     AVOW_IMA_SHOW_DIGEST_TYPED, /* "ima:sha256:" hex; the same */
                     AVOW_IMA_SHOW_STRING,       /* without the NUL that ends it */
                     AVOW_IMA_SHOW_HEX,
                     AVOW_IMA_SHOW_UINT /* decimal */
};
struct avow_ima_parse { /* where fields go */
    bool big_endian;
    struct avow_ima_file f;
    struct avow_ima_extra *x; /* may be NULL */
};
struct avow_ima_field {
    const char *id;
    enum avow_ima_show show;
    uint32_t
        max; /* bytes; of AVOW_IMA_SHOW_UINT exactly so many, of AVOW_IMA_SHOW_DIGEST at most */
    bool (*set)(struct avow_bytes value, struct avow_ima_parse *p);
};
struct avow_ima_template {
    const struct avow_ima_field *fields[AVOW_IMA_FIELDS_MAX];
    size_t count;
};
/* By name, or by a list of fields. False if it is not known. */
bool avow_ima_template_find(struct avow_str name, struct avow_ima_template *out) AVOW_MUST_CHECK;
/* The name is one that a kernel could have written. */
bool avow_ima_template_name_is_sane(struct avow_str name);

/* One entry of binary data, as avow_ima_entry_next. */
enum avow_ima_next avow_ima_binary_next(struct avow_rd *r, size_t digest_len, bool big_endian,
                                        struct avow_ima_entry *out) AVOW_MUST_CHECK;
/* One line of text; `data` becomes its template data. */
enum avow_ima_next avow_ima_line_next(struct avow_rd *r, size_t digest_len, struct avow_buf *data,
                                      struct avow_ima_entry *out) AVOW_MUST_CHECK;
/* Length of the template digest in the first line; 0 if it is not a line of a list. */
size_t avow_ima_line_digest_len(struct avow_bytes list);
/* "ima" is not like the others: the digest, a length, the path, which is hashed with zeros up to
 * 256 bytes. False if the path is too long. */
bool avow_ima_set_old_pieces(struct avow_bytes digest, struct avow_bytes path,
                             struct avow_ima_entry *e) AVOW_MUST_CHECK;

#endif
