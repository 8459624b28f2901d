/* test_refstate.c - Keylime's reference states: how they are read, and what somebody who owns the
 * running system can do to a log. He writes the log as he likes, and can extend PCRs, but takes
 * nothing out of them. */
#include "log_bench.h"

#include "avow/base/file.h"

#include "failing_alloc.h"

#include <stdio.h>
#include <string.h>

#include "avow/base/banned.h"

#define MACHINE "m2-grub-sb"
#define DOCUMENT_MAX (1u << 20)

/* The reference state of the machine, with `from` replaced by `to` (NULL: as it is). */
static struct avow_buf document(const char *from, const char *to)
{
    struct avow_buf file, out;
    avow_buf_init(&file, DOCUMENT_MAX);
    avow_buf_init(&out, DOCUMENT_MAX);
    assert_int_equal(avow_file_read(AVOW_TEST_VECTORS "/refstates/" MACHINE ".json", &file, NULL),
                     AVOW_OK);
    const char *text = avow_buf_cstr(&file);
    const char *at = from ? strstr(text, from) : NULL;
    if (from && !at)
        fail_msg("%s is not in the document", from);
    size_t head = at ? (size_t)(at - text) : file.len;
    avow_buf_put(&out, text, head);
    if (at) {
        avow_buf_put_str(&out, to);
        avow_buf_put_str(&out, at + strlen(from));
    }
    avow_buf_deinit(&file);
    return out;
}

/* --- Reading --- */

static const struct {
    const char *name, *from, *to;
    const char *wanted; /* part of the message, or of a warning; NULL: it is read without one */
    bool loads;
} documents[] = {
    {"as it is", NULL, NULL, "$.grub_files", true},
    {"files of GRUB", "{", "{\"grub_files\": [],", NULL, true},
    {"unknown member", "{", "{\"grub_files\": [], \"more\": [{}],", "$.more: unknown key", true},
    {"unknown member of a kernel", "\"kernels\": [\n  {", "\"kernels\": [ {\"x\": 1,",
     "$.kernels[0].x: unknown key", true},
    {"unknown algorithm", "\"scrtm\": {", "\"scrtm\": {\"sm3_256\": \"0x00\",",
     "$.scrtm_and_bios[0].scrtm.sm3_256: unknown key", true},
    {"no member has_secureboot", "\"has_secureboot\": true,", "", "$.grub_files", true},
    {"no Secure Boot without vmlinuz", "\"has_secureboot\": true", "\"has_secureboot\": false",
     "$.kernels[0]: \"vmlinuz_plain_sha256\" is missing", false},
    {"both kernels", "\"shim_authcode_sha256\"",
     "\"vmlinuz_plain_sha256\": "
     "\"0x0000000000000000000000000000000000000000000000000000000000000000\","
     "\"shim_authcode_sha256\"",
     "$.kernels[0]: vmlinuz_plain_sha256 is not used", true},
    {"not a boolean", "\"has_secureboot\": true", "\"has_secureboot\": 1", "$.has_secureboot",
     false},
    {"no dbx", "\"dbx\":", "\"dbX\":", "\"dbx\" is missing", false},
    {"no kernels", "\"kernels\":", "\"kernel\":", "\"kernels\" is missing", false},
    {"no mokdig", "\"mokdig\":", "\"mokxxdig\":", "\"mokdig\" is missing", false},
    {"no vendor_db", "\"vendor_db\": [],", "", "$.grub_files", true},
    {"no initrd", "\"initrd_plain_sha256\"", "\"initrd\"", "\"initrd_plain_sha256\" is missing",
     false},
    {"twice", "{", "{\"dbx\": [],", "$.dbx: duplicate key", false},
    {"digest without 0x", "\"shim_authcode_sha256\": \"0x", "\"shim_authcode_sha256\": \"",
     "$.kernels[0].shim_authcode_sha256: does not begin with 0x", false},
    {"key without 0x", "\"SignatureData\": \"0x", "\"SignatureData\": \"",
     "$.pk[0].SignatureData: does not begin with 0x", false},
    {"upper case", "\"SignatureData\": \"0x3", "\"SignatureData\": \"0xA",
     "$.pk[0].SignatureData: not 0x", false},
    {"short digest", "\"shim_authcode_sha256\": \"0x", "\"shim_authcode_sha256\": \"0x00",
     "$.kernels[0].shim_authcode_sha256: not a SHA-256", false},
    {"digest of another length", "\"sha256\": \"0x", "\"sha1\": \"0x",
     "$.scrtm_and_bios[0].scrtm.sha1: not a digest of this algorithm", false},
    {"no owner", "\"SignatureOwner\"", "\"Owner\"", "\"SignatureOwner\" is missing", false},
    {"owner is no GUID", "\"SignatureOwner\": \"", "\"SignatureOwner\": \"x",
     "$.pk[0].SignatureOwner: not a GUID", false},
    {"bad expression", "\"kernel_cmdline\": \"", "\"kernel_cmdline\": \"(",
     "$.kernels[0].kernel_cmdline: not an expression", false},
    {"more follows", "{", "{} {", "is missing", false},
};

static void test_boot_policy_load__reference_states__read_or_refused_with_the_place(void **state)
{
    (void)state;
    for (size_t i = 0; i < AVOW_ARRAY_LEN(documents); i++) {
        struct avow_buf text = document(documents[i].from, documents[i].to);
        struct avow_boot_policy *p = NULL;
        struct avow_err err = {.rc = AVOW_OK};
        bool found = false;
        enum avow_rc rc = avow_boot_policy_load(avow_buf_bytes(&text), &p, &err);
        if ((rc == AVOW_OK) != documents[i].loads || (p != NULL) != documents[i].loads)
            fail_msg("%s: %d %s", documents[i].name, (int)rc, err.msg);
        if (!documents[i].loads && !strstr(err.msg, documents[i].wanted))
            fail_msg("%s: %s", documents[i].name, err.msg);
        for (size_t k = 0; p && k < AVOW_BOOT_POLICY_WARNINGS_KEPT; k++) {
            struct avow_str w = avow_boot_policy_warning(p, k);
            if (w.len && !documents[i].wanted)
                fail_msg("%s: %s", documents[i].name, w.ptr);
            found |= w.len && strstr(w.ptr, documents[i].wanted) != NULL;
        }
        if (documents[i].loads && documents[i].wanted && !found)
            fail_msg("%s: no warning has %s", documents[i].name, documents[i].wanted);
        avow_boot_policy_free(p);
        avow_buf_deinit(&text);
    }
}

static void test_boot_policy_load__empty_object__refused_as_accepting_all(void **state)
{
    struct avow_boot_policy *p = NULL;
    struct avow_err err = {.rc = AVOW_OK};
    (void)state;
    assert_int_equal(avow_boot_policy_load(avow_bytes_make(" { } ", 5), &p, &err), AVOW_PARSE);
    assert_non_null(strstr(err.msg, "accepts every boot in Keylime"));
    assert_null(p);
}

/* --- Judging --- */

static void nothing(struct bench *b)
{
    (void)b;
}

/* Other code of the same kind was measured. */
static void other(struct bench *b, struct ev *e)
{
    measure(b, e, avow_bytes_make("other", 5));
}

static struct ev *image(struct bench *b, size_t n)
{
    for (size_t i = 1; i < b->count; i++) {
        if (b->events[i].type == AVOW_EV_EFI_BOOT_SERVICES_APPLICATION && n-- == 0)
            return &b->events[i];
    }
    fail_msg("no such image");
    return NULL;
}

static struct ev *blob(struct bench *b)
{
    for (size_t i = 1; i < b->count; i++) {
        if (b->events[i].type == AVOW_EV_EFI_PLATFORM_FIRMWARE_BLOB)
            return &b->events[i];
    }
    fail_msg("no firmware");
    return NULL;
}

static void other_shim(struct bench *b)
{
    other(b, image(b, 0));
}

static void other_shim_as_driver(struct bench *b)
{
    struct ev good = *image(b, 0);
    other(b, image(b, 0));
    image(b, 0)->type = AVOW_EV_EFI_BOOT_SERVICES_DRIVER;
    (void)extend(b, &good);
}

static void image_added(struct bench *b)
{
    other(b, extend(b, image(b, 0)));
}

/* The bad code is extended by firmware, the good digest later by anybody. */
static void other_firmware_as_post_code(struct bench *b)
{
    struct ev good = *blob(b);
    struct ev *bad = blob(b);
    other(b, bad);
    bad->type = AVOW_EV_POST_CODE;
    (void)extend(b, &good);
}

static void firmware_as_post_code(struct bench *b)
{
    blob(b)->type = AVOW_EV_POST_CODE;
}

static void secure_boot_off(struct bench *b)
{
    struct ev *e = with_variable(b, AVOW_EV_EFI_VARIABLE_DRIVER_CONFIG, "SecureBoot");
    change_last(b, e);
    measure(b, e, e->data);
}

static void secure_boot_off_said_to_be_on(struct bench *b)
{
    struct ev *e = with_variable(b, AVOW_EV_EFI_VARIABLE_DRIVER_CONFIG, "SecureBoot");
    struct avow_bytes on = e->data;
    secure_boot_off(b);
    e->data = on;
}

static void secure_boot_dropped(struct bench *b)
{
    drop(b, with_variable(b, AVOW_EV_EFI_VARIABLE_DRIVER_CONFIG, "SecureBoot"));
}

static void db_changed(struct bench *b)
{
    struct ev *e = with_variable(b, AVOW_EV_EFI_VARIABLE_DRIVER_CONFIG, "db");
    change_last(b, e);
    measure(b, e, e->data);
}

/* The list as what signed shim, which may be anything, and the good list extended later. */
static void db_changed_as_signer(struct bench *b)
{
    struct ev good = *with_variable(b, AVOW_EV_EFI_VARIABLE_DRIVER_CONFIG, "db");
    struct ev *bad = with_variable(b, AVOW_EV_EFI_VARIABLE_DRIVER_CONFIG, "db");
    drop(b, with_variable(b, AVOW_EV_EFI_VARIABLE_AUTHORITY, "db"));
    db_changed(b);
    bad->type = AVOW_EV_EFI_VARIABLE_AUTHORITY;
    (void)extend(b, &good);
}

static void dbx_shortened(struct bench *b)
{
    struct ev *e = with_variable(b, AVOW_EV_EFI_VARIABLE_DRIVER_CONFIG, "dbx");
    change_last(b, e);
    measure(b, e, e->data);
}

static void other_mok(struct bench *b)
{
    other(b, with_text(b, "MokList"));
}

static void other_mok_as_flag(struct bench *b)
{
    struct ev good = *with_text(b, "MokList");
    struct ev *bad = with_text(b, "MokList");
    drop(b, with_text(b, "MokListTrusted"));
    other(b, bad);
    set_text(b, bad, "MokListTrusted", "");
    (void)extend(b, &good);
}

/* What may be revoked, said to be what may be trusted. */
static void mokx_as_mok(struct bench *b)
{
    struct ev *mok = with_text(b, "MokList");
    struct ev x = *with_text(b, "MokListX");
    drop(b, with_text(b, "MokListX"));
    *mok = x;
}

static struct ev *line(struct bench *b)
{
    return with_text(b, "kernel_cmdline: ");
}

#define EVIL "/boot/vmlinuz-6.1.0-56-amd64 root=/dev/sda1 init=/bin/sh"
static void other_line(struct bench *b)
{
    struct ev *e = line(b);
    set_text(b, e, "kernel_cmdline: ", EVIL);
    measure(b, e, avow_bytes_make(EVIL, strlen(EVIL)));
}

static void other_line_under_the_good_text(struct bench *b)
{
    measure(b, line(b), avow_bytes_make(EVIL, strlen(EVIL)));
}

/* The label is not hashed: GRUB can be told to run what is the good text. */
static void other_line_as_command(struct bench *b)
{
    struct ev good = *line(b);
    struct ev *e = line(b);
    set_text(b, e, "grub_cmd: ", EVIL);
    measure(b, e, avow_bytes_make(EVIL, strlen(EVIL)));
    (void)extend(b, &good);
}

static void command_unbound(struct bench *b)
{
    set_text(b, with_text(b, "grub_cmd: "), "grub_cmd: ", "set x=y");
}

static void other_initrd(struct bench *b)
{
    other(b, with_text(b, "/boot/initrd"));
}

static void other_initrd_as_kernel_of_grub(struct bench *b)
{
    struct ev *e = with_text(b, "/boot/initrd");
    other(b, e);
    set_text(b, e, "/boot/grub/fonts", "");
}

/* Read after the good one, as a file of GRUB. */
static void second_initrd(struct bench *b)
{
    struct ev *e = extend(b, with_text(b, "/boot/initrd"));
    other(b, e);
    set_text(b, e, "/boot/grub/fonts", "");
}

/* Read before the good one, which anybody can extend later. */
static void other_initrd_before(struct bench *b)
{
    struct ev good = *with_text(b, "/boot/initrd");
    other_initrd_as_kernel_of_grub(b);
    (void)extend(b, &good);
}

static void good_initrd_twice(struct bench *b)
{
    struct ev *e = with_text(b, "(hd0)/boot/grub/grub.cfg");
    struct ev good = *with_text(b, "/boot/initrd");
    memcpy(e->digests, good.digests, sizeof e->digests);
}

static void no_kernel_file(struct bench *b)
{
    drop(b, with_text(b, "/boot/vmlinuz"));
}

static struct ev *separator(struct bench *b, uint32_t pcr)
{
    for (size_t i = 1; i < b->count; i++) {
        if (b->events[i].type == AVOW_EV_SEPARATOR && b->events[i].pcr == pcr)
            return &b->events[i];
    }
    fail_msg("no separator");
    return NULL;
}

static void separator_dropped(struct bench *b)
{
    drop(b, separator(b, 7));
}

static void separator_of_an_error(struct bench *b)
{
    struct ev *e = separator(b, 4);
    e->data = keep(b, "\1\0\0\0", 4);
    measure(b, e, e->data);
}

static void partition_table_unbound(struct bench *b)
{
    for (size_t i = 1; i < b->count; i++) {
        if (b->events[i].type == AVOW_EV_EFI_GPT_EVENT)
            change_last(b, &b->events[i]);
    }
}

static void second_partition_table(struct bench *b)
{
    struct ev *e = extend(b, separator(b, 5));
    e->type = AVOW_EV_EFI_GPT_EVENT2;
    e->data = keep(b, "table", 5);
    measure(b, e, e->data);
}

static void other_card_configuration(struct bench *b)
{
    struct ev *e = extend(b, separator(b, 3));
    e->type = AVOW_EV_NONHOST_CONFIG;
    e->data = keep(b, "config", 6);
    measure(b, e, e->data);
}

/* --- S29: ordinary logs --- */

static void startup_locality(struct bench *b)
{
    struct ev *e = extend(b, separator(b, 0));
    e->type = AVOW_EV_NO_ACTION;
    e->data = keep(b, "StartupLocality\0\3", 17);
}

static void dbx_of_two_lists(struct bench *b)
{
    static const char head[] = "\xa1\x59\xc0\xa5\xe4\x94\xa7\x4a\x87\xb5\xab\x15\x5c\x2b\xf0\x72"
                               "\x2e\0\0\0\0\0\0\0\x12\0\0\0owner-of-16-byteDE";
    struct ev *e = with_variable(b, AVOW_EV_EFI_VARIABLE_DRIVER_CONFIG, "dbx");
    uint8_t copy[4096];
    size_t len = e->data.len;
    assert_true(len + sizeof head - 1 <= sizeof copy);
    memcpy(copy, e->data.ptr, len);
    memcpy(copy + len, head, sizeof head - 1);
    copy[24] = (uint8_t)(copy[24] + sizeof head - 1); /* VariableDataLength */
    assert_true(copy[24] >= sizeof head - 1);         /* without a carry */
    e->data = keep(b, copy, len + sizeof head - 1);
    measure(b, e, e->data);
}

static void runtime_driver(struct bench *b)
{
    struct ev *e = extend(b, separator(b, 2));
    e->type = AVOW_EV_EFI_RUNTIME_SERVICES_DRIVER;
    other(b, e);
}

static void newer_boot_option(struct bench *b)
{
    struct ev *e = nth(b, 1, 0);
    e->type = AVOW_EV_EFI_VARIABLE_BOOT2;
    measure(b, e, e->data);
}

static void vendor_configuration(struct bench *b)
{
    struct ev *e = extend(b, nth(b, 7, 0));
    e->pcr = 1;
}

static void configuration_unbound(struct bench *b)
{
    struct ev *e = extend(b, separator(b, 1));
    e->type = AVOW_EV_NONHOST_INFO;
    other(b, e);
}

static void unified_kernel(struct bench *b)
{
    struct ev *e = extend(b, separator(b, 0));
    e->pcr = 12;
    e->type = AVOW_EV_IPL;
}

static const struct {
    const char *name;
    void (*change)(struct bench *b);
    const char *from, *to; /* in the document */
    const char *id;        /* of a finding; NULL: there is none */
} cases[] = {
    {"as it was", nothing, NULL, NULL, NULL},
    {"other shim", other_shim, NULL, NULL, "boot.image"},
    {"other shim as driver", other_shim_as_driver, NULL, NULL, "boot.event_forbidden"},
    {"an image more", image_added, NULL, NULL, "boot.image"},
    {"other firmware as POST code", other_firmware_as_post_code, NULL, NULL, "boot.firmware"},
    {"Secure Boot off", secure_boot_off, NULL, NULL, "boot.secure_boot"},
    {"Secure Boot off, S3", secure_boot_off_said_to_be_on, NULL, NULL, "boot.data_untrusted"},
    {"no SecureBoot, S4", secure_boot_dropped, NULL, NULL, "boot.secure_boot"},
    {"other db", db_changed, NULL, NULL, "boot.variable"},
    {"other db as signer", db_changed_as_signer, NULL, NULL, "boot.variable"},
    {"other dbx", dbx_shortened, NULL, NULL, "boot.variable"},
    {"no key is named", nothing, "\"pk\": [", "\"pk\": [], \"other\": [", "boot.variable"},
    {"other MOKs", other_mok, NULL, NULL, "boot.mok"},
    {"other MOKs as a flag", other_mok_as_flag, NULL, NULL, "boot.mok"},
    {"revoked MOKs as MOKs", mokx_as_mok, NULL, NULL, "boot.mok"},
    {"other command line", other_line, NULL, NULL, "boot.command_line"},
    {"other command line, S3", other_line_under_the_good_text, NULL, NULL, "boot.data_untrusted"},
    {"other command line as command", other_line_as_command, NULL, NULL, "boot.command_line"},
    {"command of GRUB not measured", command_unbound, NULL, NULL, "boot.data_untrusted"},
    {"other initrd", other_initrd, NULL, NULL, "boot.file"},
    {"other initrd as file of GRUB", other_initrd_as_kernel_of_grub, NULL, NULL,
     "boot.event_missing"},
    {"second initrd", second_initrd, NULL, NULL, "boot.file"},
    {"initrd before the good one", other_initrd_before, "{", "{\"grub_files\": [],", "boot.file"},
    {"good initrd twice", good_initrd_twice, NULL, NULL, "boot.file"},
    {"no kernel", no_kernel_file, NULL, NULL, "boot.event_missing"},
    {"no separator", separator_dropped, NULL, NULL, "boot.event_missing"},
    {"separator of an error", separator_of_an_error, NULL, NULL, "boot.event_forbidden"},
    {"partition table not measured", partition_table_unbound, NULL, NULL, "boot.data_untrusted"},
    {"second partition table", second_partition_table, NULL, NULL, "boot.event_forbidden"},
    {"PCR 3", other_card_configuration, NULL, NULL, "boot.event_forbidden"},
    {"unbound in PCR 1", configuration_unbound, NULL, NULL, "boot.event_forbidden"},
    {"no kernel is accepted", nothing, "\"kernels\": [", "\"kernels\": [], \"other\": [",
     "boot.image"},
    {"no firmware is accepted", nothing, "\"scrtm_and_bios\": [",
     "\"scrtm_and_bios\": [], \"other\": [", "boot.firmware"},
    {"any command line", nothing, "\"kernel_cmdline\": \"", "\"kernel_cmdline\": \".*|", NULL},
    {"S29: StartupLocality", startup_locality, NULL, NULL, NULL},
    {"S29: dbx of two lists", dbx_of_two_lists, NULL, NULL, NULL},
    {"S29: runtime driver", runtime_driver, NULL, NULL, NULL},
    {"S29: boot option of the newer kind", newer_boot_option, NULL, NULL, NULL},
    {"S29: vendor's configuration", vendor_configuration, NULL, NULL, NULL},
    {"S29: PCR 12", unified_kernel, NULL, NULL, NULL},
    {"S29: POST code that is named", firmware_as_post_code, NULL, NULL, NULL},
};

static void test_S3_S29_boot_policy_judge__logs_changed__found_or_accepted(void **state)
{
    (void)state;
    for (size_t i = 0; i < AVOW_ARRAY_LEN(cases); i++) {
        struct bench b;
        enum avow_finding_id id = AVOW_FINDING_COUNT;
        struct avow_buf text = document(cases[i].from, cases[i].to);
        bench_init(&b, MACHINE);
        cases[i].change(&b);
        rebuild(&b);
        struct told t = judge(&b, avow_buf_cstr(&text));
        for (unsigned k = 0; cases[i].id && k < AVOW_FINDING_COUNT; k++) {
            if (avow_cstr_eq(avow_finding_def_of((enum avow_finding_id)k)->id, cases[i].id))
                id = (enum avow_finding_id)k;
        }
        if (cases[i].id ? id == AVOW_FINDING_COUNT || !t.ids[id] : t.count)
            fail_msg("%s: wanted %s, got\n%s", cases[i].name, cases[i].id ? cases[i].id : "nothing",
                     t.text);
        bench_deinit(&b);
        avow_buf_deinit(&text);
    }
}

static void test_boot_policy_judge__no_quoted_sha256__refused(void **state)
{
    struct bench b;
    struct avow_buf text = document(NULL, NULL);
    (void)state;
    bench_init(&b, MACHINE);
    b.replay.banks_count = 1;
    assert_int_equal(b.replay.banks[0].alg, AVOW_HASH_SHA1);
    struct told t = judge(&b, avow_buf_cstr(&text));
    assert_true(t.ids[AVOW_FINDING_BOOT_IMAGE] && t.ids[AVOW_FINDING_BOOT_FIRMWARE]);
    bench_deinit(&b);
    avow_buf_deinit(&text);
}

static void test_boot_policy_pcrs__reference_state__those_of_firmware_and_loaders(void **state)
{
    struct avow_buf text = document(NULL, NULL);
    struct avow_boot_policy *p = NULL;
    (void)state;
    assert_int_equal(avow_boot_policy_load(avow_buf_bytes(&text), &p, NULL), AVOW_OK);
    assert_int_equal(avow_boot_policy_pcrs(p), 0x43FF);
    avow_boot_policy_free(p);
    avow_buf_deinit(&text);
}

/* --- Memory --- */

static void ignore(void *arg, const struct avow_boot_complaint *c)
{
    (void)arg;
    assert_non_null(c->detail);
}

static enum avow_rc load_and_judge(struct bench *b, struct avow_bytes text)
{
    struct avow_boot_policy *p = NULL;
    struct avow_arena arena;
    enum avow_rc rc = avow_boot_policy_load(text, &p, NULL);
    avow_arena_init(&arena, LOG_MAX);
    const struct avow_boot_judge j = {&b->log, &b->replay, &arena, ignore, NULL};
    if (!rc)
        rc = avow_boot_policy_judge(p, &j, NULL);
    avow_boot_policy_free(p);
    avow_arena_deinit(&arena);
    return rc;
}

static void test_boot_policy__each_allocation_fails__nomem(void **state)
{
    struct bench b;
    struct avow_buf text = document("{", "{\"more\": 1, \"kernels2\": \"\\u0041\",");
    unsigned failures = 0;
    (void)state;
    bench_init(&b, MACHINE);
    other_shim(&b);
    rebuild(&b);
    assert_int_equal(load_and_judge(&b, avow_buf_bytes(&text)), AVOW_OK);
    for (unsigned k = 1; k < 20000; k++) {
        failing_alloc_at = k;
        enum avow_rc rc = load_and_judge(&b, avow_buf_bytes(&text));
        bool reached = failing_alloc_at == 0;
        failing_alloc_at = 0;
        if (!reached) {
            assert_int_equal(rc, AVOW_OK);
            break;
        }
        if (rc != AVOW_NOMEM)
            fail_msg("allocation %u: %d", k, (int)rc);
        failures++;
    }
    assert_true(failures > 10);
    bench_deinit(&b);
    avow_buf_deinit(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_boot_policy_load__reference_states__read_or_refused_with_the_place),
        cmocka_unit_test(test_boot_policy_load__empty_object__refused_as_accepting_all),
        cmocka_unit_test(test_S3_S29_boot_policy_judge__logs_changed__found_or_accepted),
        cmocka_unit_test(test_boot_policy_judge__no_quoted_sha256__refused),
        cmocka_unit_test(test_boot_policy_pcrs__reference_state__those_of_firmware_and_loaders),
        cmocka_unit_test(test_boot_policy__each_allocation_fails__nomem),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
