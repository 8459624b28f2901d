/* The registrar's decisions: each rule next to a control that passes. */
#include "enroll_step.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "avow/base/banned.h"

#define NOW 1700000000000u
#define LIFE 300000u
#define ALLOW 3600000u

static const struct avow_enroll_policy strict = {
    .ek = AVOW_EK_REQUIRE_CERT, .challenge_ms = LIFE, .allow_ms = ALLOW};
static const struct avow_enroll_policy tofu = {.ek = AVOW_EK_TRUST_ON_FIRST_USE,
                                               .challenge_ms = LIFE};
static const struct avow_enroll_policy as_keylime = {
    .ek = AVOW_EK_REQUIRE_CERT, .refuse_ak_change = true, .challenge_ms = LIFE};
static const struct avow_enroll_policy no_judge = {.ek = AVOW_EK_CERT_OR_WEBHOOK,
                                                   .challenge_ms = LIFE};
static const struct avow_enroll_policy webhook = {
    .ek = AVOW_EK_CERT_OR_WEBHOOK, .judges = {.webhook = true}, .challenge_ms = LIFE};
static const struct avow_enroll_policy tofu_script = {
    .ek = AVOW_EK_TRUST_ON_FIRST_USE, .judges = {.script = true}, .challenge_ms = LIFE};

static const uint8_t ek_a[] = "EK-A", ek_b[] = "EK-B", ak_a[] = "AK-A", ak_b[] = "AK-B";
static const uint8_t cert_a[] = "CERT-A";
static const char hash_id[] = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";

static struct avow_claim claim(const uint8_t *ek, const uint8_t *ak, bool trusted)
{
    return (struct avow_claim){.ek_public = avow_bytes_make(ek, 4),
                               .ak_public = avow_bytes_make(ak, 4),
                               .ak_name = avow_bytes_make(ak, 4),
                               .ek_certs = AVOW_BYTES_OF(cert_a),
                               .ip = AVOW_STR_LIT("10.0.0.7"),
                               .port = 9002,
                               .trust = {.rule = AVOW_STR_LIT("ek-certificate"),
                                         .trusted = trusted,
                                         .detail = AVOW_STR_LIT("because"),
                                         .time_ms = NOW}};
}

/* A world with one agent and no challenge; tests change what they are about. */
struct world {
    struct avow_agent agent;
    struct avow_pending pending[AVOW_PENDING_PER_ID];
    struct avow_register_in in;
    struct avow_activate_in proof;
    struct avow_enroll_view v;
    struct avow_enroll_out out;
};

static void world_init(struct world *w, enum avow_agent_status status)
{
    memset(w, 0, sizeof *w);
    w->agent.status = status;
    if (status != AVOW_AGENT_NONE) {
        w->agent.generation = 7;
        w->agent.regcount = 3;
        w->agent.claim = claim(ek_a, ak_a, true);
    }
    w->in.claim = claim(ek_a, ak_a, true);
    w->in.cert = AVOW_CERT_GIVEN;
    w->in.ek_hash_id = avow_str_from(hash_id);
    memset(w->in.secret, 0x5a, sizeof w->in.secret);
    w->v = (struct avow_enroll_view){.id = AVOW_STR_LIT("host-1"),
                                     .now_ms = NOW,
                                     .source = AVOW_STR_LIT("192.0.2.1"),
                                     .policy = &strict,
                                     .agent = &w->agent,
                                     .pending = w->pending};
}

/* What the store does with the changes, as far as challenges go. */
static void world_apply(struct world *w)
{
    static int64_t seq = 100;
    for (size_t i = 0; i < w->out.n_changes; i++) {
        const struct avow_change *c = &w->out.changes[i];
        size_t k = 0;
        while (k < w->v.n_pending && w->pending[k].seq != c->seq)
            k++;
        if (c->kind == AVOW_CHANGE_PENDING_DROP) {
            assert_true(k < w->v.n_pending);
            memmove(&w->pending[k], &w->pending[k + 1],
                    (w->v.n_pending - k - 1) * sizeof w->pending[0]);
            w->v.n_pending--;
        } else if (c->kind == AVOW_CHANGE_PENDING_ATTEMPTS) {
            w->pending[k].attempts = c->attempts;
        } else if (c->kind == AVOW_CHANGE_AGENT) {
            w->agent = c->agent;
        }
    }
    for (size_t i = 0; i < w->out.n_changes; i++)
        if (w->out.changes[i].kind == AVOW_CHANGE_PENDING_ADD) {
            assert_true(w->v.n_pending < AVOW_PENDING_PER_ID);
            w->pending[w->v.n_pending] = w->out.changes[i].pending;
            w->pending[w->v.n_pending++].seq = ++seq;
        }
}

static void do_register(struct world *w)
{
    avow_enroll_register(&w->v, &w->in, &w->out);
    world_apply(w);
}

static unsigned do_activate(struct world *w, const uint8_t secret[AVOW_SECRET_LEN])
{
    assert_true(avow_enroll_tag(secret, w->v.id, w->proof.tag));
    avow_enroll_activate(&w->v, &w->proof, &w->out);
    world_apply(w);
    return w->out.status;
}

struct register_case {
    const char *name;
    enum avow_agent_status stored;
    const struct avow_enroll_policy *policy;
    const uint8_t *ek, *ak;
    bool trusted;
    enum avow_cert_given cert;
    unsigned want;
    const char *reason;
};

static void test_register__table__status_and_reason(void **state)
{
    (void)state;
    static const struct register_case cases[] = {
        {"new", AVOW_AGENT_NONE, &strict, ek_a, ak_a, true, AVOW_CERT_GIVEN, 200, "challenged"},
        {"new, untrusted", AVOW_AGENT_NONE, &strict, ek_a, ak_a, false, AVOW_CERT_GIVEN, 403,
         "ek_untrusted"},
        {"new, no webhook there", AVOW_AGENT_NONE, &no_judge, ek_a, ak_a, false, AVOW_CERT_NULL,
         403, "ek_untrusted"},
        {"new, a webhook may trust it yet", AVOW_AGENT_NONE, &webhook, ek_a, ak_a, false,
         AVOW_CERT_NULL, 200, "challenged"},
        {"new, untrusted, first use", AVOW_AGENT_NONE, &tofu, ek_a, ak_a, false, AVOW_CERT_NULL,
         200, "challenged"},
        {"same again", AVOW_AGENT_ACTIVE, &strict, ek_a, ak_a, true, AVOW_CERT_GIVEN, 200,
         "challenged"},
        {"other EK", AVOW_AGENT_ACTIVE, &strict, ek_b, ak_a, true, AVOW_CERT_GIVEN, 403,
         "ek_changed"},
        {"other EK, first use", AVOW_AGENT_ACTIVE, &tofu, ek_b, ak_a, false, AVOW_CERT_NULL, 403,
         "ek_changed"},
        {"other EK after removal", AVOW_AGENT_REMOVED, &strict, ek_b, ak_b, true, AVOW_CERT_GIVEN,
         200, "challenged"},
        {"other AK, same EK", AVOW_AGENT_ACTIVE, &strict, ek_a, ak_b, true, AVOW_CERT_GIVEN, 200,
         "challenged"},
        {"other AK, refused", AVOW_AGENT_ACTIVE, &as_keylime, ek_a, ak_b, true, AVOW_CERT_GIVEN,
         403, "ak_changed"},
        {"same AK, refusing policy", AVOW_AGENT_ACTIVE, &as_keylime, ek_a, ak_a, true,
         AVOW_CERT_GIVEN, 200, "challenged"},
        {"certificate withdrawn", AVOW_AGENT_ACTIVE, &tofu, ek_a, ak_a, false, AVOW_CERT_NULL, 403,
         "ekcert_withdrawn"},
        {"certificate left out", AVOW_AGENT_ACTIVE, &strict, ek_a, ak_a, false, AVOW_CERT_ABSENT,
         200, "challenged"},
        {"left out, none stored", AVOW_AGENT_REMOVED, &strict, ek_a, ak_a, false, AVOW_CERT_ABSENT,
         403, "ek_untrusted"},
    };
    for (size_t i = 0; i < AVOW_ARRAY_LEN(cases); i++) {
        const struct register_case *c = &cases[i];
        struct world w;
        world_init(&w, c->stored);
        w.v.policy = c->policy;
        w.in.cert = c->cert;
        w.in.claim = claim(c->ek, c->ak, c->trusted);
        if (c->cert != AVOW_CERT_GIVEN)
            w.in.claim.ek_certs = (struct avow_bytes){0};
        struct avow_agent before = w.agent;
        do_register(&w);
        if (w.out.status != c->want || strcmp(w.out.reason, c->reason) != 0)
            fail_msg("%s: got %u %s, want %u %s", c->name, w.out.status, w.out.reason, c->want,
                     c->reason);
        assert_int_equal(w.v.n_pending, c->want == 200 ? 1 : 0);
        assert_int_equal(w.out.challenge, c->want == 200);
        /* Nobody has proven anything yet. */
        assert_memory_equal(&before, &w.agent, sizeof before);
    }
}

static void test_register__certificate_left_out__stored_one_stays(void **state)
{
    (void)state;
    struct world w;
    world_init(&w, AVOW_AGENT_ACTIVE);
    w.in.cert = AVOW_CERT_ABSENT;
    w.in.claim.ek_certs = (struct avow_bytes){0};
    w.in.claim.trust.trusted = false;
    do_register(&w);
    assert_true(avow_bytes_eq(w.pending[0].claim.ek_certs, AVOW_BYTES_OF(cert_a)));
    assert_true(w.pending[0].claim.trust.trusted);
}

static void test_register__id_of_64_hex__must_be_the_eks_hash(void **state)
{
    (void)state;
    static const struct {
        const char *id;
        unsigned want;
    } cases[] = {
        {"00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff", 200},
        {"10112233445566778899aabbccddeeff00112233445566778899aabbccddeeff", 400},
        {"00112233445566778899AABBCCDDEEFF00112233445566778899AABBCCDDEEFF", 400},
        {"00112233445566778899aabbccddeeff00112233445566778899aabbccddeef", 200},
        {"x0112233445566778899aabbccddeeff00112233445566778899aabbccddeeff", 200},
    };
    for (size_t i = 0; i < AVOW_ARRAY_LEN(cases); i++) {
        struct world w;
        world_init(&w, AVOW_AGENT_NONE);
        w.v.id = avow_str_from(cases[i].id);
        do_register(&w);
        if (w.out.status != cases[i].want)
            fail_msg("%s: %u, want %u", cases[i].id, w.out.status, cases[i].want);
    }
}

static void test_register__repeated__keeps_the_challenge_for_half_its_life(void **state)
{
    (void)state;
    struct world w;
    world_init(&w, AVOW_AGENT_NONE);
    do_register(&w);
    memset(w.in.secret, 0x11, sizeof w.in.secret);
    w.v.now_ms = NOW + LIFE / 2;
    do_register(&w);
    assert_int_equal(w.v.n_pending, 1);
    assert_int_equal(w.out.n_changes, 0);
    assert_int_equal(w.out.secret[0], 0x5a);
    w.v.now_ms++;
    do_register(&w);
    assert_int_equal(w.v.n_pending, 1);
    assert_int_equal(w.out.secret[0], 0x11);
    assert_int_equal(w.pending[0].secret[0], 0x11);
    assert_int_equal(w.pending[0].expires_ms, w.v.now_ms + LIFE);
}

static void test_register__each_field_and_the_source__make_another_challenge(void **state)
{
    (void)state;
    for (unsigned field = 0; field < 7; field++) {
        struct world w;
        world_init(&w, AVOW_AGENT_NONE);
        w.v.policy = &tofu;
        do_register(&w);
        switch (field) {
        case 0:
            w.in.claim.ek_public = avow_bytes_make(ek_b, 4);
            break;
        case 1:
            w.in.claim.ak_public = avow_bytes_make(ak_b, 4);
            break;
        case 2:
            w.in.claim.ek_certs = (struct avow_bytes){0};
            break;
        case 3:
            w.in.claim.ip = AVOW_STR_LIT("10.0.0.8");
            break;
        case 4:
            w.in.claim.port = 9003;
            break;
        case 5:
            w.in.claim.mtls_cert = AVOW_STR_LIT("disabled");
            break;
        default:
            w.v.source = AVOW_STR_LIT("192.0.2.2");
            break;
        }
        do_register(&w);
        if (w.v.n_pending != 2)
            fail_msg("field %u shares a challenge", field);
    }
}

static void test_register__one_source__holds_two_challenges_of_an_id(void **state)
{
    (void)state;
    struct world w;
    world_init(&w, AVOW_AGENT_NONE);
    w.v.source = AVOW_STR_LIT("192.0.2.99");
    do_register(&w); /* the victim's */
    w.v.source = AVOW_STR_LIT("192.0.2.1");
    for (uint16_t port = 1; port <= 20; port++) {
        w.in.claim.port = port;
        do_register(&w);
        assert_int_equal(w.out.status, 200);
    }
    assert_int_equal(w.v.n_pending, 1 + AVOW_PENDING_PER_ID_SOURCE);
    assert_true(avow_str_is(w.pending[0].source, "192.0.2.99"));
    assert_int_equal(w.pending[1].claim.port, 19);
    assert_int_equal(w.pending[2].claim.port, 20);
}

static void test_register__many_sources__oldest_goes(void **state)
{
    (void)state;
    static const char *const sources[] = {"s1", "s2", "s3", "s4", "s5", "s6", "s7", "s8", "s9"};
    struct world w;
    world_init(&w, AVOW_AGENT_NONE);
    for (size_t i = 0; i < AVOW_ARRAY_LEN(sources); i++) {
        w.v.source = avow_str_from(sources[i]);
        do_register(&w);
    }
    assert_int_equal(w.v.n_pending, AVOW_PENDING_PER_ID);
    assert_true(avow_str_is(w.pending[0].source, "s2"));
    assert_true(avow_str_is(w.pending[7].source, "s9"));
}

static void test_register__bounds__429_and_503(void **state)
{
    (void)state;
    static const struct {
        uint64_t of_source, total;
        unsigned want;
    } cases[] = {{AVOW_PENDING_PER_SOURCE - 1, AVOW_PENDING_TOTAL - 1, 200},
                 {AVOW_PENDING_PER_SOURCE, AVOW_PENDING_TOTAL - 1, 429},
                 {0, AVOW_PENDING_TOTAL, 503}};
    for (size_t i = 0; i < AVOW_ARRAY_LEN(cases); i++) {
        struct world w;
        world_init(&w, AVOW_AGENT_NONE);
        w.v.pending_of_source = cases[i].of_source;
        w.v.pending_total = cases[i].total;
        do_register(&w);
        assert_int_equal(w.out.status, cases[i].want);
        assert_int_equal(w.v.n_pending, cases[i].want == 200 ? 1 : 0);
        assert_int_equal(w.out.challenge, cases[i].want == 200);
    }
}

static void test_activate__right_tag__active_with_next_generation(void **state)
{
    (void)state;
    static const struct {
        enum avow_agent_status stored;
        uint64_t generation;
        uint32_t regcount;
    } cases[] = {{AVOW_AGENT_NONE, 1, 1}, {AVOW_AGENT_ACTIVE, 8, 4}, {AVOW_AGENT_REMOVED, 8, 1}};
    for (size_t i = 0; i < AVOW_ARRAY_LEN(cases); i++) {
        struct world w;
        world_init(&w, cases[i].stored);
        w.in.claim = claim(ek_a, ak_b, true);
        do_register(&w);
        w.v.now_ms += 1000;
        assert_int_equal(do_activate(&w, w.in.secret), 200);
        assert_int_equal(w.agent.status, AVOW_AGENT_ACTIVE);
        assert_int_equal(w.agent.generation, cases[i].generation);
        assert_int_equal(w.agent.regcount, cases[i].regcount);
        assert_int_equal(w.agent.registered_ms, NOW + 1000);
        assert_true(avow_bytes_eq(w.agent.claim.ak_public, avow_bytes_make(ak_b, 4)));
        assert_int_equal(w.v.n_pending, 0);
    }
}

static void test_activate__wrong_tag__400_and_record_unchanged(void **state)
{
    (void)state;
    struct world w;
    uint8_t other[AVOW_SECRET_LEN] = {1};
    world_init(&w, AVOW_AGENT_ACTIVE);
    do_register(&w);
    struct avow_agent before = w.agent;
    assert_int_equal(do_activate(&w, other), 400);
    assert_memory_equal(&before, &w.agent, sizeof before);
    assert_int_equal(w.v.n_pending, 1);
    assert_int_equal(w.pending[0].attempts, 1);
    assert_int_equal(do_activate(&w, w.in.secret), 200); /* control: it was not used up */
}

static void test_activate__tag_for_another_id__400(void **state)
{
    (void)state;
    struct world w;
    world_init(&w, AVOW_AGENT_NONE);
    do_register(&w);
    assert_true(avow_enroll_tag(w.in.secret, AVOW_STR_LIT("host-2"), w.proof.tag));
    avow_enroll_activate(&w.v, &w.proof, &w.out);
    assert_int_equal(w.out.status, 400);
}

static void test_activate__attempts__void_only_the_guessers_challenge(void **state)
{
    (void)state;
    struct world w;
    uint8_t other[AVOW_SECRET_LEN] = {1}, mine[AVOW_SECRET_LEN];
    world_init(&w, AVOW_AGENT_NONE);
    do_register(&w);
    memcpy(mine, w.in.secret, sizeof mine);
    w.v.source = AVOW_STR_LIT("192.0.2.66");
    memset(w.in.secret, 0x77, sizeof w.in.secret);
    do_register(&w);
    for (unsigned i = 0; i < AVOW_TAG_ATTEMPTS; i++)
        assert_int_equal(do_activate(&w, other), 400);
    assert_int_equal(w.pending[0].attempts, 0);
    assert_int_equal(w.pending[1].attempts, AVOW_TAG_ATTEMPTS);
    assert_int_equal(do_activate(&w, w.in.secret), 400); /* the guesser's own is void now */
    w.v.source = AVOW_STR_LIT("192.0.2.1");
    assert_int_equal(do_activate(&w, mine), 200);
}

static void test_activate__last_attempt__still_counts(void **state)
{
    (void)state;
    struct world w;
    uint8_t other[AVOW_SECRET_LEN] = {1};
    world_init(&w, AVOW_AGENT_NONE);
    do_register(&w);
    for (unsigned i = 0; i + 1 < AVOW_TAG_ATTEMPTS; i++)
        assert_int_equal(do_activate(&w, other), 400);
    assert_int_equal(do_activate(&w, w.in.secret), 200);
}

static void test_activate__expired__400(void **state)
{
    (void)state;
    for (unsigned late = 0; late < 2; late++) {
        struct world w;
        world_init(&w, AVOW_AGENT_NONE);
        do_register(&w);
        w.v.now_ms = NOW + LIFE - 1 + late;
        assert_int_equal(do_activate(&w, w.in.secret), late ? 400 : 200);
    }
}

static void test_activate__unknown_id__404(void **state)
{
    (void)state;
    struct world w;
    uint8_t any[AVOW_SECRET_LEN] = {1};
    world_init(&w, AVOW_AGENT_NONE);
    assert_int_equal(do_activate(&w, any), 404);
    world_init(&w, AVOW_AGENT_REMOVED);
    assert_int_equal(do_activate(&w, any), 404);
    world_init(&w, AVOW_AGENT_ACTIVE);
    assert_int_equal(do_activate(&w, any), 400);
}

static void test_activate__repeated__200_without_changes_until_it_expires(void **state)
{
    (void)state;
    struct world w;
    world_init(&w, AVOW_AGENT_NONE);
    do_register(&w);
    assert_int_equal(do_activate(&w, w.in.secret), 200);
    w.v.now_ms += LIFE - 1;
    assert_int_equal(do_activate(&w, w.in.secret), 200);
    assert_int_equal(w.out.n_changes, 0);
    w.v.now_ms++;
    assert_int_equal(do_activate(&w, w.in.secret), 400);
}

static void test_activate__id_taken_meanwhile__403(void **state)
{
    (void)state;
    struct world w;
    world_init(&w, AVOW_AGENT_NONE);
    do_register(&w);
    w.agent.status = AVOW_AGENT_ACTIVE;
    w.agent.generation = 1;
    w.agent.claim = claim(ek_b, ak_b, true);
    assert_int_equal(do_activate(&w, w.in.secret), 403);
    assert_int_equal(w.agent.generation, 1);
}

static void test_activate__two_challenges__the_answered_request_counts(void **state)
{
    (void)state;
    struct world w;
    uint8_t mine[AVOW_SECRET_LEN];
    world_init(&w, AVOW_AGENT_NONE);
    do_register(&w);
    memcpy(mine, w.in.secret, sizeof mine);
    memset(w.in.secret, 0x77, sizeof w.in.secret);
    w.v.source = AVOW_STR_LIT("192.0.2.66");
    w.in.claim.ip = AVOW_STR_LIT("10.66.66.66"); /* an attacker's variation of the request */
    do_register(&w);
    assert_int_equal(do_activate(&w, mine), 200);
    assert_true(avow_str_is(w.agent.claim.ip, "10.0.0.7"));
}

static void test_remove__table(void **state)
{
    (void)state;
    static const struct {
        enum avow_agent_status stored;
        bool pending;
        unsigned want;
        uint64_t generation;
    } cases[] = {{AVOW_AGENT_NONE, false, 404, 0},
                 {AVOW_AGENT_REMOVED, false, 404, 7},
                 {AVOW_AGENT_NONE, true, 200, 0},
                 {AVOW_AGENT_ACTIVE, true, 200, 8},
                 {AVOW_AGENT_ACTIVE, false, 200, 8}};
    for (size_t i = 0; i < AVOW_ARRAY_LEN(cases); i++) {
        struct world w;
        world_init(&w, cases[i].stored);
        if (cases[i].pending)
            do_register(&w);
        avow_enroll_remove(&w.v, &w.out);
        world_apply(&w);
        assert_int_equal(w.out.status, cases[i].want);
        assert_int_equal(w.v.n_pending, 0);
        assert_int_equal(w.agent.generation, cases[i].generation);
        assert_int_not_equal(w.agent.status, AVOW_AGENT_ACTIVE);
    }
}

/* --- What must prove a TPM
 * ------------------------------------------------------------------------------------------- */
static struct avow_claim with_device(struct avow_claim c, const char *serial)
{
    c.iak_certs = AVOW_BYTES_OF(cert_a);
    c.idevid_certs = AVOW_BYTES_OF(cert_a);
    c.device_serial = avow_str_from(serial);
    c.trust.rule = AVOW_STR_LIT(AVOW_RULE_DEVICE);
    c.trust.trusted = true;
    return c;
}

static void test_register__identity_modes__what_suffices(void **state)
{
    (void)state;
    enum proof { NOTHING, CERT, DEVICE };
    static const struct {
        enum avow_tpm_identity identity;
        enum avow_ek_policy ek;
        bool may[3]; /* by enum proof */
    } cases[] = {
        {AVOW_IDENTITY_DEFAULT, AVOW_EK_REQUIRE_CERT, {false, true, true}},
        {AVOW_IDENTITY_DEFAULT, AVOW_EK_TRUST_ON_FIRST_USE, {true, true, true}},
        {AVOW_IDENTITY_EK_CERT, AVOW_EK_TRUST_ON_FIRST_USE, {false, true, false}},
        {AVOW_IDENTITY_IAK_IDEVID, AVOW_EK_TRUST_ON_FIRST_USE, {false, false, true}},
        {AVOW_IDENTITY_EITHER, AVOW_EK_TRUST_ON_FIRST_USE, {false, true, true}},
    };
    for (size_t i = 0; i < AVOW_ARRAY_LEN(cases); i++)
        for (enum proof p = NOTHING; p <= DEVICE; p++) {
            const struct avow_enroll_policy policy = {
                .ek = cases[i].ek, .identity = cases[i].identity, .challenge_ms = LIFE};
            struct world w;
            world_init(&w, AVOW_AGENT_NONE);
            w.v.policy = &policy;
            w.in.claim = claim(ek_a, ak_a, p == CERT);
            if (p == DEVICE)
                w.in.claim = with_device(w.in.claim, "SN-1");
            do_register(&w);
            if (w.out.status != (cases[i].may[p] ? 200u : 403u))
                fail_msg("case %zu, proof %d: got %u", i, (int)p, w.out.status);
        }
}

/* --- The operator's judges */

/* The judges say yes or no to what the last activation asked about. */
static unsigned judge(struct world *w, bool yes)
{
    static struct avow_ek_trust word;
    word = (struct avow_ek_trust){.rule = AVOW_STR_LIT(AVOW_RULE_WEBHOOK),
                                  .trusted = yes,
                                  .refused = !yes,
                                  .detail = AVOW_STR_LIT("its word"),
                                  .time_ms = NOW};
    memcpy(w->proof.digest, w->out.digest, sizeof w->proof.digest);
    w->proof.judged = &word;
    return do_activate(w, w->in.secret);
}

static void world_asking(struct world *w, enum avow_agent_status stored)
{
    world_init(w, stored);
    w->v.policy = &webhook;
    w->in.claim = claim(ek_a, ak_b, false);
    do_register(w);
    assert_int_equal(w->out.status, 200);
}

static void test_activate__judge__asked_after_the_tpm_proved_itself_only(void **state)
{
    (void)state;
    struct world w;
    uint8_t other[AVOW_SECRET_LEN] = {1};
    world_asking(&w, AVOW_AGENT_NONE);
    assert_false(w.out.ask);
    assert_int_equal(do_activate(&w, other), 400);
    assert_false(w.out.ask);
    assert_int_equal(do_activate(&w, w.in.secret), 503);
    assert_true(w.out.ask);
    assert_int_equal(w.out.n_changes, 0);
    assert_true(avow_bytes_eq(w.out.claim.ak_public, avow_bytes_make(ak_b, 4)));
    assert_int_equal(judge(&w, true), 200);
    assert_true(w.agent.status == AVOW_AGENT_ACTIVE && w.agent.claim.trust.trusted);
    assert_true(avow_str_is(w.agent.claim.trust.rule, AVOW_RULE_WEBHOOK));
}

static void test_activate__judge_says_no__challenge_is_used_up_and_record_stays(void **state)
{
    (void)state;
    struct world w;
    world_asking(&w, AVOW_AGENT_ACTIVE);
    struct avow_agent before = w.agent;
    assert_int_equal(do_activate(&w, w.in.secret), 503);
    assert_int_equal(judge(&w, false), 403);
    assert_string_equal(w.out.reason, "trust_refused");
    assert_memory_equal(&before, &w.agent, sizeof before);
    assert_int_equal(w.v.n_pending, 0);
    assert_int_equal(do_activate(&w, w.in.secret), 400); /* nobody is asked again */
    assert_false(w.out.ask);
}

static void test_activate__word_about_another_request__does_not_count(void **state)
{
    (void)state;
    struct world w;
    world_asking(&w, AVOW_AGENT_NONE);
    assert_int_equal(do_activate(&w, w.in.secret), 503);
    w.out.digest[0] ^= 1;
    assert_int_equal(judge(&w, true), 503);
    assert_true(w.out.ask);
    assert_int_equal(w.agent.status, AVOW_AGENT_NONE);
}

static void test_activate__certificate_proves_it__webhook_is_not_asked(void **state)
{
    (void)state;
    struct world w;
    world_init(&w, AVOW_AGENT_NONE);
    w.v.policy = &webhook;
    do_register(&w);
    assert_int_equal(do_activate(&w, w.in.secret), 200);
    assert_false(w.out.ask);
}

static void test_activate__refused_by_a_judge__beats_every_policy(void **state)
{
    (void)state;
    struct world w;
    world_init(&w, AVOW_AGENT_ACTIVE);
    w.v.policy = &tofu_script;
    do_register(&w);
    assert_int_equal(do_activate(&w, w.in.secret), 503);
    assert_true(w.out.ask);
    assert_int_equal(judge(&w, false), 403);
    assert_int_equal(w.agent.generation, 7);
}

static void test_register__certificate_left_out__judge_is_asked_again(void **state)
{
    (void)state;
    struct world w;
    world_init(&w, AVOW_AGENT_ACTIVE);
    w.v.policy = &webhook;
    w.agent.claim.trust.rule = AVOW_STR_LIT(AVOW_RULE_WEBHOOK);
    w.in.cert = AVOW_CERT_ABSENT;
    w.in.claim.ek_certs = (struct avow_bytes){0};
    w.in.claim.trust.trusted = false;
    do_register(&w);
    assert_int_equal(do_activate(&w, w.in.secret), 503);
    assert_true(w.out.ask);
    w.v.policy = &strict; /* no judge any more: its old word stands */
    do_register(&w);
    assert_int_equal(w.out.status, 200);
}

static const struct avow_enroll_policy device_only = {
    .ek = AVOW_EK_REQUIRE_CERT, .identity = AVOW_IDENTITY_IAK_IDEVID, .challenge_ms = LIFE};

static void world_with_device(struct world *w)
{
    world_init(w, AVOW_AGENT_ACTIVE);
    w->v.policy = &device_only;
    w->agent.claim = with_device(w->agent.claim, "SN-1");
    w->in.claim = claim(ek_a, ak_a, false);
}

static void test_register__device_left_out__counts_with_the_same_ak_only(void **state)
{
    (void)state;
    struct world w;
    world_with_device(&w);
    do_register(&w);
    assert_int_equal(w.out.status, 200);
    assert_int_equal(do_activate(&w, w.in.secret), 200);
    assert_true(avow_str_is(w.agent.claim.device_serial, "SN-1"));
    assert_true(w.agent.claim.iak_certs.len > 0);

    world_with_device(&w);
    w.in.claim = claim(ek_a, ak_b, false);
    do_register(&w);
    assert_int_equal(w.out.status, 403); /* the IAK certified another AK */

    world_with_device(&w);
    w.in.device_given = true; /* it came, and was not proven */
    do_register(&w);
    assert_int_equal(w.out.status, 403);
}

static void test_register__bad_certificate__is_not_saved_by_the_stored_one(void **state)
{
    (void)state;
    struct world w;
    world_init(&w, AVOW_AGENT_ACTIVE);
    w.in.claim = claim(ek_a, ak_a, false);
    do_register(&w);
    assert_int_equal(w.out.status, 403);
    assert_string_equal(w.out.reason, "ek_untrusted");
    w.in.cert = AVOW_CERT_ABSENT;
    do_register(&w);
    assert_int_equal(w.out.status, 200);
}

static void test_activate__another_device_after_the_leave__is_refused(void **state)
{
    (void)state;
    struct world w;
    world_with_device(&w);
    w.in.claim = with_device(w.in.claim, "SN-2");
    w.in.device_given = true;
    w.agent.allow_until_ms = NOW + 1;
    do_register(&w);
    assert_int_equal(w.out.status, 200);
    w.v.now_ms = NOW + 1;
    assert_int_equal(do_activate(&w, w.in.secret), 403);
    assert_string_equal(w.out.reason, "device_changed");
    assert_true(avow_str_is(w.agent.claim.device_serial, "SN-1"));
}

static void test_register__another_device__is_refused_until_allowed(void **state)
{
    (void)state;
    struct world w;
    world_with_device(&w);
    w.in.claim = with_device(w.in.claim, "SN-2");
    w.in.device_given = true;
    do_register(&w);
    assert_int_equal(w.out.status, 403);
    assert_string_equal(w.out.reason, "device_changed");
    assert_int_equal(w.out.n_changes, 0);
    w.agent.allow_until_ms = NOW + 1;
    do_register(&w);
    assert_int_equal(w.out.status, 200);
    assert_int_equal(do_activate(&w, w.in.secret), 200);
    assert_true(avow_str_is(w.agent.claim.device_serial, "SN-2"));
    assert_true(w.agent.allow_until_ms == 0);
}

/* --- An operator's leave
 * --------------------------------------------------------------------------------------------- */
static void test_allow__another_ek__activates_once(void **state)
{
    (void)state;
    struct world w;
    world_init(&w, AVOW_AGENT_ACTIVE);
    w.in.claim = claim(ek_b, ak_b, true);
    do_register(&w);
    assert_int_equal(w.out.status, 403);
    assert_string_equal(w.out.reason, "ek_changed");
    avow_enroll_allow(&w.v, &w.out);
    assert_int_equal(w.out.status, 200);
    assert_int_equal(w.out.n_changes, 1);
    assert_int_equal(w.out.changes[0].kind, AVOW_CHANGE_ALLOW);
    assert_true(w.out.changes[0].allow_until_ms == NOW + ALLOW);
    w.agent.allow_until_ms = w.out.changes[0].allow_until_ms;

    do_register(&w);
    assert_int_equal(w.out.status, 200);
    assert_memory_equal(w.agent.claim.ek_public.ptr, ek_a, 4); /* until the TPM has answered */
    assert_int_equal(do_activate(&w, w.in.secret), 200);
    assert_memory_equal(w.agent.claim.ek_public.ptr, ek_b, 4);
    assert_true(w.agent.generation == 8);
    assert_true(w.agent.allow_until_ms == 0);

    w.in.claim = claim(ek_a, ak_a, true);
    do_register(&w);
    assert_int_equal(w.out.status, 403);
}

static void test_allow__same_host_again__keeps_the_leave(void **state)
{
    (void)state;
    struct world w;
    world_init(&w, AVOW_AGENT_ACTIVE);
    w.agent.allow_until_ms = NOW + 1;
    do_register(&w);
    assert_int_equal(do_activate(&w, w.in.secret), 200);
    assert_true(w.agent.allow_until_ms == NOW + 1);
}

static void test_allow__over__is_refused_also_at_activation(void **state)
{
    (void)state;
    struct world w;
    world_init(&w, AVOW_AGENT_ACTIVE);
    w.agent.allow_until_ms = NOW + 1;
    w.in.claim = claim(ek_b, ak_b, true);
    do_register(&w);
    assert_int_equal(w.out.status, 200);
    w.v.now_ms = NOW + 1;
    assert_int_equal(do_activate(&w, w.in.secret), 403);
    assert_string_equal(w.out.reason, "ek_changed");
    assert_memory_equal(w.agent.claim.ek_public.ptr, ek_a, 4);
    do_register(&w);
    assert_int_equal(w.out.status, 403);
}

static void test_allow__other_ek_without_certificate__does_not_inherit_the_old_one(void **state)
{
    (void)state;
    struct world w;
    world_init(&w, AVOW_AGENT_ACTIVE);
    w.agent.allow_until_ms = NOW + 1;
    w.in.claim = claim(ek_b, ak_b, false);
    w.in.claim.ek_certs = (struct avow_bytes){0};
    w.in.cert = AVOW_CERT_ABSENT;
    do_register(&w);
    assert_int_equal(w.out.status, 403);
    assert_string_equal(w.out.reason, "ek_untrusted");
}

static void test_allow__not_active__is_not_found(void **state)
{
    (void)state;
    static const enum avow_agent_status stored[] = {AVOW_AGENT_NONE, AVOW_AGENT_REMOVED};
    for (size_t i = 0; i < AVOW_ARRAY_LEN(stored); i++) {
        struct world w;
        world_init(&w, stored[i]);
        avow_enroll_allow(&w.v, &w.out);
        assert_int_equal(w.out.status, 404);
        assert_int_equal(w.out.n_changes, 0);
    }
}

static void test_tag__known_answer(void **state)
{
    (void)state;
    /* printf 'host-1' | openssl dgst -sha384 -hmac "$(head -c 32 /dev/zero | base64)" */
    static const uint8_t want[] = {0x18, 0x4a, 0x6c, 0x31, 0xb9, 0xb0, 0x6f, 0x16, 0xe4, 0xe9,
                                   0x7d, 0xb6, 0xb4, 0x6d, 0x9a, 0x4a, 0x4a, 0xfd, 0x96, 0xe3,
                                   0xa9, 0x8e, 0x35, 0x14, 0xf6, 0x82, 0xc3, 0xe0, 0xcd, 0xb6,
                                   0xf7, 0x77, 0x2d, 0x85, 0x79, 0xbc, 0xd7, 0x90, 0xd0, 0x48,
                                   0xca, 0xa1, 0xae, 0xfc, 0x39, 0x59, 0x4d, 0x79};
    uint8_t secret[AVOW_SECRET_LEN] = {0}, tag[AVOW_TAG_LEN];
    assert_true(avow_enroll_tag(secret, AVOW_STR_LIT("host-1"), tag));
    assert_memory_equal(tag, want, sizeof want);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_register__table__status_and_reason),
        cmocka_unit_test(test_register__certificate_left_out__stored_one_stays),
        cmocka_unit_test(test_register__id_of_64_hex__must_be_the_eks_hash),
        cmocka_unit_test(test_register__repeated__keeps_the_challenge_for_half_its_life),
        cmocka_unit_test(test_register__each_field_and_the_source__make_another_challenge),
        cmocka_unit_test(test_register__one_source__holds_two_challenges_of_an_id),
        cmocka_unit_test(test_register__many_sources__oldest_goes),
        cmocka_unit_test(test_register__bounds__429_and_503),
        cmocka_unit_test(test_activate__right_tag__active_with_next_generation),
        cmocka_unit_test(test_activate__wrong_tag__400_and_record_unchanged),
        cmocka_unit_test(test_activate__tag_for_another_id__400),
        cmocka_unit_test(test_activate__attempts__void_only_the_guessers_challenge),
        cmocka_unit_test(test_activate__last_attempt__still_counts),
        cmocka_unit_test(test_activate__expired__400),
        cmocka_unit_test(test_activate__unknown_id__404),
        cmocka_unit_test(test_activate__repeated__200_without_changes_until_it_expires),
        cmocka_unit_test(test_activate__id_taken_meanwhile__403),
        cmocka_unit_test(test_activate__two_challenges__the_answered_request_counts),
        cmocka_unit_test(test_remove__table),
        cmocka_unit_test(test_register__identity_modes__what_suffices),
        cmocka_unit_test(test_activate__judge__asked_after_the_tpm_proved_itself_only),
        cmocka_unit_test(test_activate__judge_says_no__challenge_is_used_up_and_record_stays),
        cmocka_unit_test(test_activate__word_about_another_request__does_not_count),
        cmocka_unit_test(test_activate__certificate_proves_it__webhook_is_not_asked),
        cmocka_unit_test(test_activate__refused_by_a_judge__beats_every_policy),
        cmocka_unit_test(test_register__certificate_left_out__judge_is_asked_again),
        cmocka_unit_test(test_register__device_left_out__counts_with_the_same_ak_only),
        cmocka_unit_test(test_register__bad_certificate__is_not_saved_by_the_stored_one),
        cmocka_unit_test(test_activate__another_device_after_the_leave__is_refused),
        cmocka_unit_test(test_register__another_device__is_refused_until_allowed),
        cmocka_unit_test(test_allow__another_ek__activates_once),
        cmocka_unit_test(test_allow__same_host_again__keeps_the_leave),
        cmocka_unit_test(test_allow__over__is_refused_also_at_activation),
        cmocka_unit_test(test_allow__other_ek_without_certificate__does_not_inherit_the_old_one),
        cmocka_unit_test(test_allow__not_active__is_not_found),
        cmocka_unit_test(test_tag__known_answer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
