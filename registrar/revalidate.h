/* revalidate.h - stored records judged again: at start, when the authorities change, and once a day
 * because certificates and revocation lists run out. Layer: registrar. What comes out otherwise is
 * stored with the next generation and published; a record is never removed for it, because a
 * registration is a fact and trust an opinion. */
#ifndef AVOW_REGISTRAR_REVALIDATE_H
#define AVOW_REGISTRAR_REVALIDATE_H

#include "authorities.h"
#include "store.h"

#include <stdatomic.h>

struct avow_revalidate_opts { /* borrowed until stopped */
    struct avow_store *store;
    struct avow_authorities *authorities;
    enum avow_tpm_identity identity;
    uint64_t (*now_ms)(void);
    void (*changed)(void *arg); /* an identity is in the outbox; NULL: nobody waits */
    void *changed_arg;
};
/* All active records once. *changed receives how many came out otherwise. *stop ends it early;
 * NULL: never. Records that change meanwhile are left: they were judged just now. Errors: the
 * store's, AVOW_NOMEM; a damaged record is logged and passed over. */
enum avow_rc avow_revalidate_all(const struct avow_revalidate_opts *o, const atomic_bool *stop,
                                 size_t *changed, struct avow_err *err) AVOW_MUST_CHECK;

struct avow_revalidator;
/* A thread: polls the authorities every second, and judges. Errors: AVOW_NOMEM, AVOW_IO. */
enum avow_rc avow_revalidator_start(const struct avow_revalidate_opts *o,
                                    struct avow_revalidator **out,
                                    struct avow_err *err) AVOW_MUST_CHECK;
/* Read the folders now, however they look (SIGHUP). @thread any */
void avow_revalidator_wake(struct avow_revalidator *r);
void avow_revalidator_stop(struct avow_revalidator *r); /* NULL is fine */

#endif
