/* tpm_internal.h - what the files of agent/tpm share. Not for others. */
#ifndef AVOW_AGENT_TPM_INTERNAL_H
#define AVOW_AGENT_TPM_INTERNAL_H

#include "ek_template.h"
#include "tpm.h"

#include <tss2/tss2_esys.h>

/* An object that is loaded now, or saved for later in a connection that has ended. */
struct avow_tpm_slot {
    ESYS_TR handle;      /* ESYS_TR_NONE: not loaded */
    TPMS_CONTEXT *saved; /* owned, NULL: none */
    bool persistent;     /* handle is of an object that stays in the TPM */
};

struct avow_tpm {
    char *tcti_name; /* owned, NULL: default */
    bool hold, startup;
    int device;       /* descriptor of a "device:" TCTI, -1: closed or another TCTI */
    bool keep_device; /* it stays open when the connection ends */
    bool dead;        /* and takes no command any more */
    TSS2_TCTI_CONTEXT *tcti;
    ESYS_CONTEXT *esys; /* NULL: no connection */
    struct avow_tpm_slot ek, ak;
    enum avow_tpm_ek ek_asked, ek_which; /* AUTO: not looked up yet */
    TPM2B_PUBLIC ek_public;              /* valid while the EK is loaded or its context saved */
    bool have_ak;
    TPM2B_PUBLIC ak_public;
    TPM2B_PRIVATE ak_private;
    struct avow_buf ak_public_bytes;
};

/* Fills err (AVOW_TPM) and drops the connection, whose state is unknown from now on. The message
 * ends in what to do where that is known. */
enum avow_rc avow_tpm_fail(struct avow_tpm *t, TSS2_RC rc, const char *what, struct avow_err *err);
/* True if the TPM has no room because somebody died without flushing. */
bool avow_tpm_rc_is_full(TSS2_RC rc);
/* The response code without layer, handle, parameter and session number (Part 2, 6.6.2). */
TPM2_RC avow_tpm_rc_base(TSS2_RC rc);
/* Flushes every transient object and session that is left. Whoever sees them owns them: behind a
 * resource manager a client sees its own only, and without one the connection is exclusive. */
void avow_tpm_flush_leftovers(struct avow_tpm *t);

/* Loads the EK into t->ek. */
enum avow_rc avow_tpm_need_ek(struct avow_tpm *t, struct avow_err *err) AVOW_MUST_CHECK;
/* Loads the AK into t->ak. */
enum avow_rc avow_tpm_need_ak(struct avow_tpm *t, struct avow_err *err) AVOW_MUST_CHECK;
/* Flushes the object if it is loaded; keeps its saved context. */
void avow_tpm_slot_unload(struct avow_tpm *t, struct avow_tpm_slot *slot);
/* Forgets everything about the object without talking to the TPM. */
void avow_tpm_slot_forget(struct avow_tpm_slot *slot);
/* What authorises the use of the EK, which is loaded: a session that satisfies its policy, or
 * ESYS_TR_PASSWORD. The caller flushes it. */
TSS2_RC avow_tpm_ek_session(struct avow_tpm *t, ESYS_TR *out);
void avow_tpm_flush(struct avow_tpm *t, ESYS_TR *handle);
/* Loads the saved context; a context of before a TPM reset is refused by the TPM and forgotten. */
bool avow_tpm_slot_restore(struct avow_tpm *t, struct avow_tpm_slot *slot);
/* Best effort: without a saved context the object is made or loaded anew next time. */
void avow_tpm_slot_save(struct avow_tpm *t, struct avow_tpm_slot *slot);
enum avow_rc avow_tpm_put_public(const TPM2B_PUBLIC *pub, struct avow_buf *out,
                                 struct avow_err *err) AVOW_MUST_CHECK;

/* The object or index with this handle. Errors: AVOW_NOTFOUND, AVOW_TPM. */
enum avow_rc avow_tpm_find(struct avow_tpm *t, TPM2_HANDLE handle, ESYS_TR *out,
                           struct avow_err *err) AVOW_MUST_CHECK;
/* Appends what the NV index holds; nothing if there is no such index or it cannot be read.
 * Errors: AVOW_TPM, AVOW_NOMEM. */
enum avow_rc avow_tpm_nv_read(struct avow_tpm *t, TPM2_HANDLE index, struct avow_buf *out,
                              struct avow_err *err) AVOW_MUST_CHECK;
/* The same for a certificate, without the padding behind it; nothing if it is none. */
enum avow_rc avow_tpm_nv_cert(struct avow_tpm *t, TPM2_HANDLE index, struct avow_buf *out,
                              struct avow_err *err) AVOW_MUST_CHECK;

#endif
