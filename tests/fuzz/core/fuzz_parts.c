/* fuzz_parts.c - an evidence in parts: cut anywhere, delivered by somebody who swaps, repeats,
 * alters and withholds. The input is a program. Two hosts live the same life; the evidence of one
 * comes in one piece, that of the other in parts. Oracles: only the part that is waited for is
 * accepted; whatever was thrown at the fold, once its last part is there the states say the same;
 * and until then nothing good does. */
#include "rig.h"

#include "avow/base/banned.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define CHECK(x)                                                                                   \
    do {                                                                                           \
        if (!(x))                                                                                  \
            abort();                                                                               \
    } while (0)

struct input {
    const uint8_t *p, *end;
};

static struct rig whole, cut;

static uint8_t next(struct input *in)
{
    return in->p < in->end ? *in->p++ : 0;
}

static void run(const char *path)
{
    if (whole.log_count + 2 >= RIG_ENTRIES_MAX)
        return;
    rig_run(&whole, path);
    rig_run(&cut, path);
}

static void list_only(void)
{
    if (whole.log_count + 2 >= RIG_ENTRIES_MAX)
        return;
    rig_list_only(&whole, "/bin/sh");
    rig_list_only(&cut, "/bin/sh");
}

static void live(struct rig *r, uint8_t how)
{
    switch (how % 5) {
    case 0:
        rig_boot(r);
        break;
    case 1:
        rig_restart(r);
        break;
    case 2:
        r->boot_id[3]++;
        r->next = 0;
        r->send_pcrs = true;
        break;
    case 3:
        r->next = 0;
        break;
    default:
        rig_policy(r, rig_policy_text(r, "[]", "/bin/sh", how & 8 ? "/bin/ls" : NULL, NULL));
        break;
    }
}

static void host_acts(struct input *in)
{
    static const char *const paths[] = {"/bin/sh", "/bin/ls", "/bin/evil", "/bin/sh"};
    for (uint8_t n = next(in) % 16; n > 0; n--) {
        uint8_t what = next(in);
        if (what % 8 < 5)
            run(paths[what % 4]);
        else if (what % 8 == 5)
            list_only();
        else if (what % 8 == 6 && in->p + 1 < in->end) {
            live(&whole, *in->p);
            live(&cut, *in->p++);
        }
    }
}

/* What both agents do to their shots alike. */
static void shape(struct rig_shot *s, uint8_t how)
{
    if (how & 1 && s->log_count > 1) {
        s->log_count -= s->log_count / 2;
        s->body.more = true;
    }
    if ((how & 6) == 6 && s->log_count > 2)
        s->log[s->log_count / 2].bytes[40] ^= 1;
    if ((how & 24) == 24) {
        s->keep_count = true;
        s->body.ima_count = (uint32_t)s->log_count + (how & 32 ? 1 : 0);
    }
}

/* A part that is not the one: it must bounce off. */
static void throw_at(const struct rig_shot *s, uint16_t expected, uint8_t how)
{
    struct avow_evidence_part p = s->parts[1 + how / 8 % (s->cuts_count - 1)];
    uint8_t other[32] = {0xAB};
    switch (how % 6) {
    case 0:
        p.tag[how % 16] ^= 1;
        break;
    case 1:
        p.part = AVOW_BYTES_OF(other);
        break;
    case 2:
        p.next[how % 32] ^= 1;
        p.has_next = true;
        break;
    case 3:
        p.index = (uint16_t)(p.index + 1 + how);
        break;
    case 4:
        if (p.part.len)
            p.part.len--;
        else
            p.part = AVOW_BYTES_OF(other);
        break;
    default:
        if (p.index == expected)
            return;
        break;
    }
    rig_judge_part(&cut, &p);
    CHECK(cut.out.kind == AVOW_EVAL_DROPPED);
    CHECK(cut.out.drop == AVOW_DROP_REASON_PART_ORDER ||
          cut.out.drop == AVOW_DROP_REASON_PART_HASH);
}

/* Ids only: where an evidence is malformed is another part for another cut. */
static bool has_all(const struct avow_state *a, const struct avow_state *of)
{
    for (size_t i = 0; i < of->findings_count; i++) {
        bool found = false;
        for (size_t k = 0; k < a->findings_count && !found; k++)
            found = avow_str_eq(a->findings[k].id, of->findings[i].id);
        if (!found)
            return false;
    }
    return true;
}

static void same_outcome(void)
{
    const struct avow_state *a = &whole.state, *b = &cut.state;
    CHECK(a->status == b->status);
    CHECK(has_all(a, b) && has_all(b, a));
    CHECK(a->has_as_of == b->has_as_of && a->as_of.epoch == b->as_of.epoch);
    CHECK(a->stale == b->stale && a->has_pending == b->has_pending);
    CHECK(a->has_ima == b->has_ima && a->has_rebase == b->has_rebase);
    CHECK(a->ima.claimed_count == b->ima.claimed_count && a->ima.mode == b->ima.mode);
    CHECK(a->ima.proven_count == b->ima.proven_count);
    CHECK(a->rebase.claimed_count == b->rebase.claimed_count);
    for (size_t i = 0; i < a->ima.pcrs_count; i++)
        CHECK(avow_bytes_eq(a->ima.pcrs[i].claimed, b->ima.pcrs[i].claimed));
}

/* False if the fold was left alone: its agent died. */
static bool deliver(struct rig_shot *s, struct input *in)
{
    uint64_t as_of = cut.state.as_of.epoch;
    rig_judge(&cut, s);
    for (uint16_t i = 2; i <= s->cuts_count && cut.state.has_open; i++) {
        CHECK(cut.state.as_of.epoch == as_of);
        CHECK(cut.state.open.index == i - 1);
        for (uint8_t n = next(in) % 4; n > 0; n--)
            throw_at(s, i, next(in));
        if (next(in) == 0xEE)
            return false;
        rig_judge_part(&cut, &s->parts[i - 1]);
        CHECK(cut.out.kind == AVOW_EVAL_ACCEPTED);
    }
    CHECK(!cut.state.has_open);
    return true;
}

static bool attest(struct input *in)
{
    uint8_t parts = next(in), how = next(in), race = next(in);
    rig_tick(&whole);
    rig_tick(&cut);
    struct rig_shot *a = rig_take(&whole), *b = rig_take(&cut);
    shape(a, how);
    shape(b, how);
    rig_cut(b, 2 + parts % 12);
    for (uint8_t i = 0; i < race % 4; i++) /* between reading and quoting */
        run("/bin/sh");
    rig_seal(&whole, a);
    rig_seal(&cut, b);
    rig_judge(&whole, a);
    if (!deliver(b, in))
        return false;
    CHECK(whole.out.kind == cut.out.kind);
    same_outcome();
    size_t to = whole.out.resync.wanted ? (size_t)whole.out.resync.ima_from
                                        : (size_t)a->body.ima_start + a->log_count;
    whole.next = cut.next = to <= whole.log_count ? to : 0;
    whole.send_pcrs = cut.send_pcrs = whole.out.resync.pcrs;
    return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input in = {data, data + size};
    rig_init(&whole, RIG_P256);
    rig_init(&cut, RIG_P256);
    rig_policy(&whole, rig_policy_text(&whole, "[]", "/bin/sh", "/bin/ls", NULL));
    rig_policy(&cut, rig_policy_text(&cut, "[]", "/bin/sh", "/bin/ls", NULL));
    bool go_on = true;
    for (int i = 0; i < 8 && go_on && in.p < in.end; i++) {
        host_acts(&in);
        go_on = attest(&in);
    }
    rig_deinit(&whole);
    rig_deinit(&cut);
    return 0;
}
