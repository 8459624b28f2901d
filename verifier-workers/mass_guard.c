/* mass_guard.c - see mass_guard.h. */
#include "mass_guard.h"

#include "avow/base/banned.h"

static void release_at_rate(struct avow_mass_guard *g, const struct avow_mass_guard_in *in,
                            struct avow_mass_guard_out *out)
{
    while (out->allowed < in->crossing && avow_rate_take(&g->rate, in->mono_ms))
        out->allowed++;
    if (in->crossing == out->allowed) { /* the wave is over */
        g->releasing = false;
        g->window_start_ms = in->service_ms;
        g->crossed = 0;
    }
}

void avow_mass_guard_ask(struct avow_mass_guard *g, const struct avow_mass_guard_in *in,
                         struct avow_mass_guard_out *out)
{
    *out = (struct avow_mass_guard_out){0};
    if (g->holding && in->service_ms >= g->hold_until_ms) {
        g->holding = false;
        g->releasing = true;
        avow_rate_init(&g->rate, AVOW_MASS_GUARD_RATE, 1000u / AVOW_MASS_GUARD_RATE, in->mono_ms);
    }
    if (g->holding)
        return;
    if (g->releasing) {
        release_at_rate(g, in, out);
        return;
    }
    if (in->service_ms - g->window_start_ms >= AVOW_MASS_GUARD_WINDOW_MS) {
        g->window_start_ms = in->service_ms;
        g->crossed = 0;
    }
    size_t most = in->agents / 10 > AVOW_MASS_GUARD_MIN ? in->agents / 10 : AVOW_MASS_GUARD_MIN;
    if (g->crossed + in->crossing > most) {
        g->holding = true;
        g->hold_until_ms = in->service_ms + in->silent_after_ms;
        out->alarm = true;
        return;
    }
    g->crossed += in->crossing;
    out->allowed = in->crossing;
}
