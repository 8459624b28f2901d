#define _GNU_SOURCE /* strdup, setenv */
#include "tpm_internal.h"
#include "tcti_device.h"

#include "avow/base/log.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <tss2/tss2_rc.h>
#include <tss2/tss2_tctildr.h>
#include <unistd.h>

#include "avow/base/banned.h"

#define LEFTOVERS_MAX 64u
/* TPM2_CAP_HANDLES (Part 3, TPM2_GetCapability); the TSS's macros shift a signed int out of its
 * range. */
#define FIRST_LOADED_SESSION 0x02000000u
#define FIRST_SAVED_SESSION 0x03000000u
#define FIRST_TRANSIENT 0x80000000u

enum avow_rc avow_tpm_new(const struct avow_tpm_opts *opts, struct avow_tpm **out,
                          struct avow_err *err)
{
    AVOW_CLEANUP(avow_tpm_free) struct avow_tpm *t = calloc(1, sizeof *t);
    if (!t)
        return avow_err_set(err, AVOW_NOMEM, 0, "TPM");
    t->ek.handle = t->ak.handle = ESYS_TR_NONE;
    t->device = -1;
    t->ek_asked = opts->ek;
    t->hold = opts->hold;
    t->startup = opts->startup;
    avow_buf_init(&t->ak_public_bytes, sizeof(TPM2B_PUBLIC));
    if (opts->tcti && !(t->tcti_name = strdup(opts->tcti)))
        return avow_err_set(err, AVOW_NOMEM, 0, "TPM");
    /* The TSS prints every failure to stderr; ours go to our log, once. */
    setenv("TSS2_LOG", "all+NONE", 0);
    *out = AVOW_STEAL(t);
    return AVOW_OK;
}

bool avow_tpm_tcti_is_shared(const char *tcti)
{
    struct avow_str s = avow_str_from(tcti);
    return !tcti || !*tcti || avow_str_starts(s, "device:/dev/tpmrm") ||
           avow_str_starts(s, "tabrmd");
}

void avow_tpm_flush(struct avow_tpm *t, ESYS_TR *handle)
{
    bool object = *handle != ESYS_TR_NONE && *handle != ESYS_TR_PASSWORD;
    if (object && t->esys && Esys_FlushContext(t->esys, *handle))
        Esys_TR_Close(t->esys, handle); /* the object may be gone already */
    *handle = ESYS_TR_NONE;
}

void avow_tpm_slot_unload(struct avow_tpm *t, struct avow_tpm_slot *slot)
{
    if (slot->persistent && slot->handle != ESYS_TR_NONE && t->esys)
        Esys_TR_Close(t->esys, &slot->handle);
    else
        avow_tpm_flush(t, &slot->handle);
    slot->handle = ESYS_TR_NONE;
    slot->persistent = false;
}

void avow_tpm_slot_forget(struct avow_tpm_slot *slot)
{
    Esys_Free(slot->saved);
    *slot = (struct avow_tpm_slot){.handle = ESYS_TR_NONE};
}

const char *avow_tpm_tcti_device(const char *tcti)
{
    static const char prefix[] = "device:";
    return avow_str_starts(avow_str_from(tcti), prefix) ? tcti + sizeof prefix - 1 : NULL;
}

bool avow_tpm_tcti_is_known(const char *tcti)
{
    static const char *const kinds[] = {"swtpm", "mssim", "tabrmd", "cmd", "pcap"};
    assert(tcti);
    const char *device = avow_tpm_tcti_device(tcti);
    if (device)
        return device[0] == '/';
    size_t len = strcspn(tcti, ":");
    for (size_t i = 0; i < AVOW_ARRAY_LEN(kinds); i++)
        if (avow_str_is((struct avow_str){tcti, len}, kinds[i]))
            return true;
    return false;
}

static const char *device_path(const struct avow_tpm *t)
{
    return t->tcti_name ? avow_tpm_tcti_device(t->tcti_name) : NULL;
}

static void close_device(struct avow_tpm *t)
{
    if (t->device >= 0)
        close(t->device);
    t->device = -1;
}

static void disconnect(struct avow_tpm *t)
{
    if (t->esys)
        Esys_Finalize(&t->esys);
    if (t->tcti && device_path(t))
        avow_tcti_device_free(t->tcti);
    else if (t->tcti)
        Tss2_TctiLdr_Finalize(&t->tcti);
    if (!t->keep_device)
        close_device(t);
    t->esys = NULL;
    t->tcti = NULL;
    t->ek.handle = t->ak.handle = ESYS_TR_NONE;
    t->ek.persistent = t->ak.persistent = false;
}

void avow_tpm_free(struct avow_tpm *t)
{
    if (!t)
        return;
    avow_tpm_slot_unload(t, &t->ak);
    avow_tpm_slot_unload(t, &t->ek);
    disconnect(t);
    close_device(t);
    avow_tpm_slot_forget(&t->ak);
    avow_tpm_slot_forget(&t->ek);
    avow_buf_deinit(&t->ak_public_bytes);
    free(t->tcti_name);
    free(t);
}

/* What an operator can do, where the code alone tells. */
static const char *next_step(TSS2_RC rc)
{
    switch (avow_tpm_rc_base(rc)) {
    case TPM2_RC_BAD_AUTH:
    case TPM2_RC_AUTH_FAIL:
        return "; the TPM's hierarchies have a password that avow-agent does not know: clear it "
               "with tpm2_changeauth";
    case TPM2_RC_LOCKOUT:
        return "; the TPM is in dictionary-attack lock-out: tpm2_dictionarylockout --clear-lockout";
    case TPM2_RC_INITIALIZE:
        return "; nobody has sent TPM2_Startup: firmware does, test rigs set tpm.startup = yes";
    default:
        return "";
    }
}

enum avow_rc avow_tpm_fail(struct avow_tpm *t, TSS2_RC rc, const char *what, struct avow_err *err)
{
    /* Still connected to a healthy TPM in most cases: leave no object behind. Where the connection
     * is what failed, these calls fail at once. */
    avow_tpm_slot_unload(t, &t->ak);
    avow_tpm_slot_unload(t, &t->ek);
    disconnect(t);
    return avow_err_set(err, AVOW_TPM, (int64_t)rc, "%s: %s%s", what, Tss2_RC_Decode(rc),
                        next_step(rc));
}

TPM2_RC avow_tpm_rc_base(TSS2_RC rc)
{
    if (rc & TSS2_RC_LAYER_MASK)
        return rc; /* not the TPM's */
    if (rc & TPM2_RC_FMT1)
        return rc & (TPM2_RC_FMT1 | 0x3Fu);
    return rc;
}

bool avow_tpm_rc_is_full(TSS2_RC rc)
{
    switch (avow_tpm_rc_base(rc)) {
    case TPM2_RC_CONTEXT_GAP:
    case TPM2_RC_OBJECT_MEMORY:
    case TPM2_RC_SESSION_MEMORY:
    case TPM2_RC_MEMORY:
    case TPM2_RC_SESSION_HANDLES:
    case TPM2_RC_OBJECT_HANDLES:
        return true;
    default:
        return false;
    }
}

static TSS2_RC flush_range(struct avow_tpm *t, TPM2_HANDLE first, unsigned *flushed)
{
    TPMS_CAPABILITY_DATA *data = NULL;
    TPMI_YES_NO more = 0;
    TSS2_RC rc = Esys_GetCapability(t->esys, ESYS_TR_NONE, ESYS_TR_NONE, ESYS_TR_NONE,
                                    TPM2_CAP_HANDLES, first, LEFTOVERS_MAX, &more, &data);
    if (rc)
        return rc;
    for (UINT32 i = 0; i < data->data.handles.count && i < LEFTOVERS_MAX; i++) {
        ESYS_TR tr = ESYS_TR_NONE;
        if (Esys_TR_FromTPMPublic(t->esys, data->data.handles.handle[i], ESYS_TR_NONE, ESYS_TR_NONE,
                                  ESYS_TR_NONE, &tr))
            continue;
        avow_tpm_flush(t, &tr);
        (*flushed)++;
    }
    Esys_Free(data);
    return TSS2_RC_SUCCESS;
}

static TSS2_RC flush_all(struct avow_tpm *t, unsigned *flushed)
{
    static const TPM2_HANDLE firsts[] = {FIRST_TRANSIENT, FIRST_LOADED_SESSION,
                                         FIRST_SAVED_SESSION};
    TSS2_RC rc = TSS2_RC_SUCCESS;
    *flushed = 0;
    for (size_t i = 0; !rc && i < AVOW_ARRAY_LEN(firsts); i++)
        rc = flush_range(t, firsts[i], flushed);
    return rc;
}

void avow_tpm_flush_leftovers(struct avow_tpm *t)
{
    avow_tpm_slot_unload(t, &t->ak);
    avow_tpm_slot_unload(t, &t->ek);
    unsigned n;
    (void)flush_all(t, &n);
    avow_log_limited(WARN, "tpm.full", 6, AVOW_KV_U64("flushed", n),
                     AVOW_KV_STR("reason", "objects of a process that ended were still loaded"));
}

bool avow_tpm_slot_restore(struct avow_tpm *t, struct avow_tpm_slot *slot)
{
    if (slot->handle != ESYS_TR_NONE)
        return true;
    if (!slot->saved)
        return false;
    TSS2_RC rc = Esys_ContextLoad(t->esys, slot->saved, &slot->handle);
    if (rc && avow_tpm_rc_is_full(rc)) {
        avow_tpm_flush_leftovers(t);
        rc = Esys_ContextLoad(t->esys, slot->saved, &slot->handle);
    }
    if (!rc)
        return true;
    slot->handle = ESYS_TR_NONE;
    Esys_Free(slot->saved);
    slot->saved = NULL;
    return false;
}

void avow_tpm_slot_save(struct avow_tpm *t, struct avow_tpm_slot *slot)
{
    if (slot->saved || slot->persistent)
        return;
    if (Esys_ContextSave(t->esys, slot->handle, &slot->saved))
        slot->saved = NULL;
}

static enum avow_rc cannot_open(const struct avow_tpm *t, int error, struct avow_err *err)
{
    const char *next = "";
    if (error == ENOENT || error == ENXIO || error == ENODEV)
        next = "; has this host a TPM 2.0, and is it switched on in the firmware? ls /dev/tpm*; "
               "tpm.tcti names another";
    else if (error == EACCES || error == EPERM)
        next = "; start avow-agent as root, it gives the rights up by itself";
    else if (error == EBUSY)
        next = "; another program has it open: use device:/dev/tpmrm0";
    return avow_err_set(err, AVOW_TPM, error, "TPM \"%s\": %s%s", t->tcti_name, strerror(error),
                        next);
}

/* A kept descriptor is replaced where that is possible: a driver that was loaded anew has left it
 * dead. */
static enum avow_rc open_device(struct avow_tpm *t, const char *path, struct avow_err *err)
{
    bool kept = t->device >= 0;
    int fd = open(path, O_RDWR | O_CLOEXEC);
    if (fd < 0 && !kept)
        return cannot_open(t, errno, err);
    if (fd >= 0) {
        close_device(t);
        t->device = fd;
    }
    t->tcti = avow_tcti_device_new(t->device);
    return t->tcti ? AVOW_OK : avow_err_set(err, AVOW_NOMEM, 0, "TPM");
}

static enum avow_rc connect_tcti(struct avow_tpm *t, struct avow_err *err)
{
    const char *path = device_path(t);
    if (path)
        return open_device(t, path, err);
    const char *name = t->tcti_name && *t->tcti_name ? t->tcti_name : NULL;
    TSS2_RC rc = Tss2_TctiLdr_Initialize(name, &t->tcti);
    if (!rc)
        return AVOW_OK;
    t->tcti = NULL;
    (void)avow_tpm_fail(t, rc, "connect", err);
    return avow_err_wrap(err, AVOW_TPM, "TPM \"%s\" (tpm.tcti)", name ? name : "default");
}

/* What a connection that failed has left behind is ours and still loaded. If the device takes no
 * command at all, it never will: the kernel's resource manager loads a client's objects before each
 * command, and refuses the client for good once one of them is of before a TPM reset
 * (linux v6.1 drivers/char/tpm/tpm2-space.c, tpm2_prepare_space). */
static enum avow_rc clean_kept_device(struct avow_tpm *t, struct avow_err *err)
{
    unsigned n;
    TSS2_RC rc = flush_all(t, &n);
    if (!t->keep_device || (rc & TSS2_RC_LAYER_MASK) != TSS2_TCTI_RC_LAYER)
        return AVOW_OK;
    t->dead = true;
    disconnect(t);
    return avow_err_set(err, AVOW_TPM, (int64_t)rc,
                        "TPM \"%s\": the open device is dead; only a new process may open it again",
                        t->tcti_name);
}

enum avow_rc avow_tpm_open(struct avow_tpm *t, struct avow_err *err)
{
    if (t->esys)
        return AVOW_OK;
    bool kept = t->device >= 0;
    enum avow_rc arc = connect_tcti(t, err);
    if (arc)
        return arc;
    TSS2_RC rc = Esys_Initialize(&t->esys, t->tcti, NULL);
    if (rc)
        return avow_tpm_fail(t, rc, "TPM session", err);
    if (t->startup) {
        rc = Esys_Startup(t->esys, TPM2_SU_CLEAR);
        if (rc && rc != TPM2_RC_INITIALIZE) /* INITIALIZE: it was done before (Part 3, 9.3) */
            return avow_tpm_fail(t, rc, "TPM2_Startup", err);
    }
    return kept ? clean_kept_device(t, err) : AVOW_OK;
}

/* Leaves nothing in the TPM that a reset could turn against us (clean_kept_device): one context is
 * loaded again per round, where the resource manager would do so at each command. */
static void park_ak(struct avow_tpm *t)
{
    if (t->ak.handle == ESYS_TR_NONE)
        return;
    avow_tpm_slot_save(t, &t->ak);
    avow_tpm_slot_unload(t, &t->ak);
}

void avow_tpm_keep_device(struct avow_tpm *t)
{
    const char *path = device_path(t);
    t->keep_device = path && t->device >= 0 && access(path, R_OK | W_OK) != 0;
    if (t->keep_device)
        park_ak(t);
}

bool avow_tpm_is_dead(const struct avow_tpm *t)
{
    return t->dead;
}

void avow_tpm_close(struct avow_tpm *t)
{
    avow_tpm_slot_unload(t, &t->ek); /* seldom needed: leave its place to others */
    if (t->hold && t->keep_device)
        park_ak(t);
    if (t->hold)
        return;
    avow_tpm_slot_unload(t, &t->ak);
    disconnect(t);
}
