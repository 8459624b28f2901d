/* boot_facts.h - what an event of a firmware log is believed to say. Private to lib/core. Nothing
 * here depends on the event's type or on data that its digests do not cover. */
#ifndef AVOW_CORE_BOOT_FACTS_H
#define AVOW_CORE_BOOT_FACTS_H

#include "avow/base/buf.h"
#include "avow/core/event_replay.h"
#include "avow/formats/efi_siglist.h"

struct avow_boot_fact { /* borrows from the log */
    bool bound;
    bool whole; /* the whole data is covered: for a variable also its name and GUID */
    struct avow_bytes covered;
};
struct avow_boot_fact avow_boot_fact_of(const struct avow_event *e,
                                        const struct avow_event_replay *banks);
/* EV_SEPARATOR of PFP 10.4.1: four zeros or four ones; no error. */
bool avow_boot_fact_is_separator(const struct avow_boot_fact *f);
/* The variable, if name and GUID are covered. */
bool avow_boot_fact_variable(const struct avow_boot_fact *f,
                             struct avow_event_variable *out) AVOW_MUST_CHECK;
/* The text that the covered bytes are, as UTF-8: replaces what is in `out`. False: they are none,
 * or it does not fit. */
bool avow_boot_fact_text(const struct avow_boot_fact *f, struct avow_buf *out) AVOW_MUST_CHECK;
/* What firmware and EDK II measure into PCR 4 around a boot option: PFP 10.4.4. */
bool avow_boot_text_is_action(struct avow_str text);
/* Begins as no command of GRUB does, and as the file name of every kernel on a disk. */
bool avow_boot_text_is_command_line(struct avow_str text);

/* Digest length of a type whose data is a digest; 0 for other types. */
size_t avow_boot_signature_raw_len(enum avow_efi_sig sig);
#define AVOW_BOOT_SIGNATURE_MAX 200u
/* "x509:<SHA-256 of the data>", "sha256:<data>", "GUID:<SHA-256 of the data>"; without the owner,
 * which firmware does not look at. */
void avow_boot_signature_text(const struct avow_efi_signature *s,
                              char out[AVOW_BOOT_SIGNATURE_MAX]);

#endif
