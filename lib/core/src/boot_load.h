/* boot_load.h - what the readers of a boot policy share. Private to lib/core: boot_load.c reads
 * what is about PCR 7, boot_rules_load.c the rest. The reader's context is the policy. */
#ifndef AVOW_CORE_BOOT_LOAD_H
#define AVOW_CORE_BOOT_LOAD_H

#include "boot_rules.h"
#include "json_read.h"

/* What a reader of a part of a boot works on. */
struct avow_boot_part {
    struct avow_boot_set *set;
    struct avow_boot_steps *steps;
    unsigned pcr;
};

struct avow_boot_rules *avow_boot_load_rules(const struct avow_json_read *r);
enum avow_rc avow_boot_load_no_memory(struct avow_json_read *r) AVOW_MUST_CHECK;
/* As avow_boot_add, from the policy's memory. */
void *avow_boot_load_add(struct avow_json_read *r, void *items, size_t *count, size_t *cap,
                         size_t size);
/* const char *: printable, at most AVOW_BOOT_NAME_MAX bytes. */
enum avow_rc avow_boot_load_name(struct avow_json_read *r, void *out) AVOW_MUST_CHECK;
enum avow_rc avow_boot_load_pcr_number(struct avow_json_read *r, uint32_t n,
                                       uint8_t *out) AVOW_MUST_CHECK;
/* uint8_t. */
enum avow_rc avow_boot_load_pcr(struct avow_json_read *r, void *out) AVOW_MUST_CHECK;
enum avow_rc avow_boot_load_counts(struct avow_json_read *r, uint32_t min,
                                   uint32_t max) AVOW_MUST_CHECK;

/* Members, into the set of a struct avow_boot_part. */
enum avow_rc avow_boot_load_secure_boot(struct avow_json_read *r, void *out) AVOW_MUST_CHECK;
enum avow_rc avow_boot_load_keys(struct avow_json_read *r, void *out) AVOW_MUST_CHECK;
enum avow_rc avow_boot_load_authorities(struct avow_json_read *r, void *out) AVOW_MUST_CHECK;
enum avow_rc avow_boot_load_variables(struct avow_json_read *r, void *out) AVOW_MUST_CHECK;

#endif
