/* appraise_boot.c - a firmware log beside one quote. See appraise.h. */
#include "appraise_internal.h"

#include "avow/base/banned.h"

/* The log is only read here, because its values may be needed to know what was quoted. */
void avow_appraise_boot_read(struct avow_appraisal *a)
{
    struct avow_appraise_boot *out = &a->out->boot;
    if (a->in->boot_log.given)
        out->judged = avow_boot_log_read(&a->ev, a->in->boot_log.bytes, &out->log, &out->replay);
    if (out->judged)
        a->ev.boot_replay = &out->replay;
}

/* An operator who gives a log asks about it, whether a policy demands one or not. */
void avow_appraise_boot_judge(struct avow_appraisal *a)
{
    struct avow_appraise_boot *out = &a->out->boot;
    if (!a->values_proven && a->ev.in->policy->boot)
        return; /* said already */
    if (!a->ev.in->policy->boot) {
        if (out->judged)
            (void)avow_boot_log_judge(&a->ev, &out->log, &out->replay);
        return;
    }
    a->ev.boot_log_seen = a->in->boot_log.given;
    a->ev.boot_log = a->in->boot_log.bytes;
    avow_boot_judge(&a->ev);
}
