/* fuzz_evaluate.c - a host, an agent that may lie, and the appraisal. The input is a program: each
 * byte an action of the host or of the agent. The TPM does not lie, so the oracle is what a
 * verifier is for: when this quote was explained and the agent is trusted, no file outside the
 * policy was measured in this boot. */
#include "rig.h"

#include "avow/base/banned.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define CHECK(x)                                                                                   \
    do {                                                                                           \
        if (!(x))                                                                                  \
            abort();                                                                               \
    } while (0)

static struct rig r;
static struct rig_entry late; /* listed, not extended yet */
static bool has_late, evil;   /* evil: a bad file was extended in this boot */
static bool policy_b;         /* the policy that forbids /bin/ls */
static bool ran_ls;

static void run(const char *path)
{
    if (r.log_count + 2 >= RIG_ENTRIES_MAX)
        return;
    rig_run(&r, path);
    evil |= avow_cstr_eq(path, "/bin/evil");
    ran_ls |= avow_cstr_eq(path, "/bin/ls");
}

static void boot(bool restart)
{
    if (restart)
        rig_restart(&r);
    else
        rig_boot(&r);
    evil = ran_ls = has_late = false;
}

static void list_late(void)
{
    if (has_late) {
        rig_extend(&r, &late);
        has_late = false;
    } else if (r.log_count + 2 < RIG_ENTRIES_MAX) {
        rig_list_only(&r, "/bin/sh");
        late = r.log[r.log_count - 1];
        has_late = true;
    }
}

static void set_policy(bool b)
{
    policy_b = b;
    rig_policy(&r, b ? rig_policy_text(&r, "[]", "/bin/sh", NULL)
                     : rig_policy_text(&r, "[]", "/bin/sh", "/bin/ls", NULL));
}

/* The agent changes what it sends; the body is its own, the quote is not. */
static void lie(struct rig_shot *s, uint8_t how, uint8_t arg)
{
    size_t k = s->log_count ? arg % s->log_count : 0;
    switch (how % 12) {
    case 0: /* leave an entry out */
        for (size_t i = k; i + 1 < s->log_count; i++)
            s->log[i] = s->log[i + 1];
        s->log_count -= s->log_count > 0;
        break;
    case 1: /* put a good one in its place */
        if (s->log_count)
            s->log[k] = r.log[r.log_count > 1 ? 1 : 0];
        break;
    case 2:
        if (s->log_count)
            s->log[k].bytes[arg % s->log[k].len] ^= arg;
        break;
    case 3:
        s->body.ima_start = arg;
        break;
    case 4:
        s->body.more = true;
        s->log_count -= s->log_count > k ? k : 0;
        break;
    case 5:
        s->body.boot_id[0] ^= arg;
        break;
    case 6:
        s->body.parts = (uint16_t)(arg % 4);
        s->second_link[0] = s->body.parts > 1;
        break;
    case 7:
        s->keep_count = true;
        s->body.ima_count = arg;
        break;
    case 8:
        s->body.log_trimmed = true;
        break;
    case 9:
        s->trailing = arg;
        break;
    case 10:
        s->body.ima_state = AVOW_IMA_STATE_ABSENT;
        break;
    default:
        if (s->body.pcrs_count)
            s->pcrs[arg % s->body.pcrs_count].index = arg;
        break;
    }
}

static void check(uint64_t as_of_before)
{
    const struct avow_state *s = &r.state;
    CHECK(s->status != AVOW_STATUS_TRUSTED || (s->has_as_of && s->findings_count == 0));
    CHECK(s->findings_count == 0 || s->status == AVOW_STATUS_UNTRUSTED);
    CHECK(!s->has_as_of || s->as_of.epoch >= as_of_before);
    if (r.out.kind != AVOW_EVAL_ACCEPTED || s->status != AVOW_STATUS_TRUSTED ||
        s->as_of.epoch != r.epoch)
        return;
    CHECK(!evil);
    CHECK(s->stale || !policy_b || !ran_ls);
}

static void attest(uint8_t lies, const uint8_t *arg, size_t n)
{
    uint64_t before = r.state.has_as_of ? r.state.as_of.epoch : 0;
    rig_tick(&r); /* so that as_of of this epoch means this quote */
    struct rig_shot *s = rig_take(&r);
    for (uint8_t i = 0; i < lies && 2 * (size_t)i + 1 < n; i++)
        lie(s, arg[2 * i], arg[2 * i + 1]);
    rig_seal(&r, s);
    rig_judge(&r, s);
    if (r.out.kind == AVOW_EVAL_ACCEPTED) {
        r.next = r.out.resync.wanted ? (size_t)r.out.resync.ima_from : r.log_count;
        r.send_pcrs = r.out.resync.pcrs;
        if (r.next > r.log_count)
            r.next = 0;
    }
    check(before);
}

static size_t act(const uint8_t *p, size_t n)
{
    switch (p[0] % 16) {
    case 0:
        run("/bin/sh");
        return 1;
    case 1:
        run("/bin/ls");
        return 1;
    case 2:
        run("/bin/evil");
        return 1;
    case 3:
        list_late();
        return 1;
    case 4:
        boot(false);
        return 1;
    case 5:
        boot(true);
        return 1;
    case 6:
        r.restart_count++; /* resume */
        return 1;
    case 7:
        r.next = 0;
        return 1;
    case 8:
        set_policy(!policy_b);
        return 1;
    case 9:
        rig_enroll_again(&r);
        return 1;
    case 10:
        r.policy_missing = !r.policy_missing;
        return 1;
    case 11:
        r.send_pcrs = true;
        return 1;
    case 12:
        attest(1, p + 1, n - 1);
        return n < 3 ? n : 3;
    case 13:
        attest(3, p + 1, n - 1);
        return n < 7 ? n : 7;
    default:
        attest(0, NULL, 0);
        return 1;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    evil = ran_ls = has_late = policy_b = false;
    rig_init(&r, RIG_P256);
    set_policy(false);
    unsigned steps = 0;
    for (size_t at = 0; at < size && steps < 60; steps++)
        at += act(data + at, size - at);
    rig_deinit(&r);
    return 0;
}
