/* event_replay.c - PCR values from a firmware log: event_replay.h. */
#include "avow/core/event_replay.h"

#include <assert.h>
#include <string.h>

#include "avow/base/banned.h"

/* TCG PC Client Platform TPM Profile 1.05, 4.6.2: all ones until a dynamic launch. */
#define DYNAMIC_FIRST 17u
#define DYNAMIC_LAST 22u
#define LOCALITY_MAX 4u /* the same, 3.2; PFP 10.4.5.3 */

static void bank_init(struct avow_event_bank *b, enum avow_hash alg)
{
    *b = (struct avow_event_bank){.alg = alg};
    for (unsigned i = 0; i < AVOW_EVENT_PCRS; i++) {
        bool dynamic = i >= DYNAMIC_FIRST && i <= DYNAMIC_LAST;
        b->values[i].len = avow_hash_len(alg);
        memset(b->values[i].bytes, dynamic ? 0xFF : 0, b->values[i].len);
    }
}

/* TPM 2.0 Part 1, 17.2: H(old || digest). */
static void bank_extend(struct avow_event_bank *b, const struct avow_event *e)
{
    struct avow_bytes digest = avow_event_digest_of(e, (uint16_t)b->alg);
    struct avow_digest *value = &b->values[e->pcr];
    if (!digest.len) {
        b->missing++;
        return;
    }
    const struct avow_bytes pieces[] = {avow_digest_bytes(value), digest};
    struct avow_digest next;
    avow_digest_pieces(b->alg, pieces, AVOW_ARRAY_LEN(pieces), &next);
    *value = next;
    b->changed |= UINT32_C(1) << e->pcr;
}

static bool pcr0_is_fresh(const struct avow_event_replay *r)
{
    for (size_t i = 0; i < r->banks_count; i++) {
        if (r->banks[i].changed & 1)
            return false;
    }
    return true;
}

static void start_from(struct avow_event_replay *r, const struct avow_event *e)
{
    uint8_t locality;
    if (!avow_event_startup_locality(e, &locality) || locality > LOCALITY_MAX || !pcr0_is_fresh(r))
        return;
    r->has_locality = true;
    r->locality = locality;
    for (size_t i = 0; i < r->banks_count; i++) {
        struct avow_event_bank *b = &r->banks[i];
        b->values[0].bytes[b->values[0].len - 1] = locality;
        b->changed |= 1;
    }
}

void avow_event_replay(const struct avow_event_log *log, struct avow_event_replay *out)
{
    struct avow_event_walk w;
    struct avow_event e;
    *out = (struct avow_event_replay){.banks_count = 0};
    for (size_t i = 0; i < log->algs_count; i++) {
        enum avow_hash alg = (enum avow_hash)log->algs[i].id;
        if (avow_hash_len(alg)) /* each id is there once: the table has room for all known */
            bank_init(&out->banks[out->banks_count++], alg);
    }
    avow_event_walk_init(&w, log);
    while (avow_event_walk_next(&w, &e)) {
        if (e.untrusted_type == AVOW_EV_NO_ACTION) {
            start_from(out, &e);
            continue;
        }
        for (size_t i = 0; i < out->banks_count; i++)
            bank_extend(&out->banks[i], &e);
    }
}

void avow_event_aggregate(const struct avow_event_bank *bank, size_t pcrs, struct avow_digest *out)
{
    struct avow_bytes pieces[AVOW_EVENT_PCRS];
    assert(pcrs <= AVOW_EVENT_PCRS);
    for (size_t i = 0; i < pcrs; i++)
        pieces[i] = avow_digest_bytes(&bank->values[i]);
    avow_digest_pieces(bank->alg, pieces, pcrs, out);
}
