/* test_boot_rules.c - boot policies in our own language: the logs of real machines, and what
 * somebody who owns the running system can do to a log. He writes the log as he likes, and can
 * extend PCRs, but takes nothing out of them. */
#include "log_bench.h"

#include "avow/base/hex.h"
#include "avow/core/boot_make.h"
#include "avow/base/file.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "avow/base/banned.h"

static const char *const machines[] = {"m1-direct", "m2-grub-sb", "m3-sdboot-uki",
                                       "m5-imasig", "m6-buf",     "m7-612"};

/* The policy that is made of the machine's log; the caller frees it. */
static char *made(const struct bench *b)
{
    struct avow_buf out;
    struct avow_err err = {.rc = AVOW_OK};
    const struct avow_bytes log = avow_buf_bytes(&b->file);
    const struct avow_boot_make make = {.logs = &log, .logs_count = 1};
    avow_buf_init(&out, AVOW_BOOT_POLICY_MAX);
    if (avow_boot_policy_make(&make, &out, &err))
        fail_msg("%s", err.msg);
    avow_buf_put_u8(&out, 0);
    char *text = malloc(out.len);
    assert_non_null(text);
    memcpy(text, out.ptr, out.len);
    avow_buf_deinit(&out);
    return text;
}

static void test_boot_policy_make__every_machine__passes_its_own(void **state)
{
    (void)state;
    for (size_t i = 0; i < AVOW_ARRAY_LEN(machines); i++) {
        struct bench b;
        bench_init(&b, machines[i]);
        char *policy = made(&b);
        struct told t = judge(&b, policy);
        if (getenv("SHOW"))
            puts(policy);
        if (t.count)
            fail_msg("%s:\n%s", machines[i], t.text);
        free(policy);
        bench_deinit(&b);
    }
}

/* --- Attacks --- */

static struct ev *state_off(struct bench *b)
{
    struct ev *e = with_variable(b, AVOW_EV_EFI_VARIABLE_DRIVER_CONFIG, "SecureBoot");
    change_last(b, e);
    measure(b, e, e->data);
    return e;
}

static void secure_boot_off(struct bench *b)
{
    (void)state_off(b);
}

static void secure_boot_off_said_to_be_on(struct bench *b)
{
    change_last(b, state_off(b));
}

/* Off was measured; "on" is extended afterwards, and "off" called something else. */
static void secure_boot_off_hidden(struct bench *b)
{
    struct ev on = *with_variable(b, AVOW_EV_EFI_VARIABLE_DRIVER_CONFIG, "SecureBoot");
    struct ev *off = state_off(b);
    off->type = AVOW_EV_EVENT_TAG;
    off->data = keep(b, "x", 1);
    (void)extend(b, &on);
}

/* The value of another variable is measured without its name in this form. */
static void secure_boot_off_within_a_value(struct bench *b)
{
    static const char head[] = "\x50\xab\x5d\x60\x46\xe0\x00\x43\xab\xb6\x3d\xd8\x10\xdd\x8b\x23"
                               "\x01\0\0\0\0\0\0\0";
    uint8_t copy[512];
    struct ev on = *with_variable(b, AVOW_EV_EFI_VARIABLE_DRIVER_CONFIG, "SecureBoot");
    struct ev *off = state_off(b);
    memcpy(copy, head, 24);
    memset(copy + 24, 0, 8);
    copy[24] = (uint8_t)off->data.len;
    copy[32] = 'X';
    copy[33] = 0;
    memcpy(copy + 34, off->data.ptr, off->data.len);
    off->type = AVOW_EV_EFI_VARIABLE_BOOT;
    off->data = keep(b, copy, 34 + off->data.len);
    (void)extend(b, &on);
}

static void secure_boot_event_dropped(struct bench *b)
{
    drop(b, with_variable(b, AVOW_EV_EFI_VARIABLE_DRIVER_CONFIG, "SecureBoot"));
}

static void all_of_pcr_7_dropped(struct bench *b)
{
    for (size_t i = 1; i < b->count;) {
        if (b->events[i].pcr == 7)
            drop(b, &b->events[i]);
        else
            i++;
    }
}

static void dbx_without_its_hash(struct bench *b)
{
    struct ev *e = with_variable(b, AVOW_EV_EFI_VARIABLE_DRIVER_CONFIG, "dbx");
    change_last(b, e);
    measure(b, e, e->data);
}

static void dbx_changed_in_the_log(struct bench *b)
{
    change_last(b, with_variable(b, AVOW_EV_EFI_VARIABLE_DRIVER_CONFIG, "dbx"));
}

static void db_with_another_certificate(struct bench *b)
{
    struct ev *e = with_variable(b, AVOW_EV_EFI_VARIABLE_DRIVER_CONFIG, "db");
    change_last(b, e);
    measure(b, e, e->data);
}

/* Called an authority, and the right list extended behind it. */
static void db_called_an_authority(struct bench *b)
{
    struct ev *e = with_variable(b, AVOW_EV_EFI_VARIABLE_DRIVER_CONFIG, "db");
    struct ev good = *e;
    change_last(b, e);
    measure(b, e, e->data);
    e->type = AVOW_EV_EFI_VARIABLE_AUTHORITY;
    (void)extend(b, &good);
}

static void other_authority(struct bench *b)
{
    struct ev *e = with_variable(b, AVOW_EV_EFI_VARIABLE_AUTHORITY, "db");
    change_last(b, e);
    measure(b, e, e->data);
}

/* dbx has dbt's name now: the digest does not fit any more. */
static void dbx_renamed(struct bench *b)
{
    struct ev *e = with_variable(b, AVOW_EV_EFI_VARIABLE_DRIVER_CONFIG, "dbx");
    uint8_t copy[512];
    memcpy(copy, e->data.ptr, e->data.len);
    copy[32 + 4] = 't';
    e->data = keep(b, copy, e->data.len);
}

static void debug_mode(struct bench *b)
{
    struct ev e = *with_text(b, "Calling EFI Application");
    e.pcr = 7;
    set_text(b, &e, "", "UEFI Debug Mode");
    measure(b, &e, avow_bytes_make(e.data.ptr, e.data.len - 1));
    (void)extend(b, &e);
}

static void no_separator(struct bench *b)
{
    drop(b, nth(b, 4, 1));
}

/* PCR 4: action, separator, shim, GRUB, kernel, kernel. */
static void other_kernel(struct bench *b)
{
    measure(b, nth(b, 4, 4), AVOW_BYTES_OF(((const uint8_t[]){1})));
}

static void other_kernel_hidden(struct bench *b)
{
    struct ev good = *nth(b, 4, 4);
    other_kernel(b);
    nth(b, 4, 4)->type = AVOW_EV_EFI_ACTION;
    (void)extend(b, &good);
}

static void images_in_another_order(struct bench *b)
{
    struct ev shim = *nth(b, 4, 2);
    *nth(b, 4, 2) = *nth(b, 4, 3);
    *nth(b, 4, 3) = shim;
}

static void one_image_more(struct bench *b)
{
    struct ev *e = extend(b, nth(b, 4, 4));
    measure(b, e, AVOW_BYTES_OF(((const uint8_t[]){1})));
}

static void one_image_less(struct bench *b)
{
    drop(b, nth(b, 4, 3));
}

static void bad_line(struct bench *b, struct ev *e, const char *label)
{
    static const char line[] = "/boot/vmlinuz-6.1.0-56-amd64 init=/bin/sh";
    set_text(b, e, label, line);
    measure(b, e, avow_bytes_make(line, sizeof line - 1));
}

static void other_command_line(struct bench *b)
{
    bad_line(b, with_text(b, "kernel_cmdline: "), "kernel_cmdline: ");
}

static void command_line_changed_in_the_log(struct bench *b)
{
    set_text(b, with_text(b, "kernel_cmdline: "), "kernel_cmdline: ", "/boot/vmlinuz quiet");
}

/* The label is not measured: the bad line becomes a command, the good one is extended. */
static void command_line_called_a_command(struct bench *b)
{
    struct ev *e = with_text(b, "kernel_cmdline: ");
    struct ev good = *e;
    bad_line(b, e, "grub_cmd: ");
    (void)extend(b, &good);
}

static void command_line_made_unreadable(struct bench *b)
{
    struct ev *e = with_text(b, "kernel_cmdline: ");
    struct ev good = *e;
    bad_line(b, e, "");
    set_text(b, e, "", "nothing to see");
    (void)extend(b, &good);
}

static void command_line_dropped(struct bench *b)
{
    drop(b, with_text(b, "kernel_cmdline: "));
}

static void other_initrd(struct bench *b)
{
    measure(b, nth(b, 9, 3), AVOW_BYTES_OF(((const uint8_t[]){1})));
}

static void other_mok(struct bench *b)
{
    measure(b, nth(b, 14, 0), AVOW_BYTES_OF(((const uint8_t[]){1})));
}

/* The names are not measured, but the order is. */
static void mok_lists_swapped(struct bench *b)
{
    struct ev first = *nth(b, 14, 0);
    *nth(b, 14, 0) = *nth(b, 14, 1);
    *nth(b, 14, 1) = first;
}

static void other_firmware(struct bench *b)
{
    measure(b, nth(b, 0, 2), AVOW_BYTES_OF(((const uint8_t[]){1})));
}

static void firmware_event_moved_to_another_pcr(struct bench *b)
{
    nth(b, 0, 2)->pcr = 1;
}

struct attack {
    const char *name;
    void (*change)(struct bench *b);
    enum avow_finding_id id; /* among the complaints */
};

static void check_attack(const struct attack *a, const char *machine)
{
    struct bench b;
    bench_init(&b, machine);
    char *policy = made(&b);
    a->change(&b);
    rebuild(&b);
    struct told t = judge(&b, policy);
    if (!t.ids[a->id])
        fail_msg("%s: no %s among\n%s", a->name, avow_finding_def_of(a->id)->id, t.text);
    if (getenv("SHOW"))
        printf("%s\n%s", a->name, t.text);
    free(policy);
    bench_deinit(&b);
}

#define ATTACK(change, id)                                                                         \
    {                                                                                              \
#change, change, AVOW_FINDING_##id                                                         \
    }

static void test_boot_policy_judge__log_of_another_boot__finding(void **state)
{
    (void)state;
    static const struct attack attacks[] = {
        ATTACK(secure_boot_off, BOOT_SECURE_BOOT),
        ATTACK(dbx_without_its_hash, BOOT_VARIABLE),
        ATTACK(db_with_another_certificate, BOOT_VARIABLE),
        ATTACK(other_authority, BOOT_VARIABLE),
        ATTACK(debug_mode, BOOT_VARIABLE),
        ATTACK(no_separator, BOOT_EVENT_MISSING),
        ATTACK(other_kernel, BOOT_IMAGE),
        ATTACK(images_in_another_order, BOOT_EVENT_MISSING),
        ATTACK(one_image_more, BOOT_IMAGE),
        ATTACK(one_image_less, BOOT_EVENT_MISSING),
        ATTACK(other_command_line, BOOT_COMMAND_LINE),
        ATTACK(command_line_dropped, BOOT_COMMAND_LINE),
        ATTACK(other_initrd, BOOT_FILE),
        ATTACK(other_mok, BOOT_MOK),
        ATTACK(mok_lists_swapped, BOOT_EVENT_MISSING),
        ATTACK(other_firmware, BOOT_FIRMWARE),
    };
    for (size_t i = 0; i < AVOW_ARRAY_LEN(attacks); i++)
        check_attack(&attacks[i], "m2-grub-sb");
}

/* AB1, AB2: the digest of what was, the data of what should have been. */
static void test_AB1_boot_policy_judge__data_changed__not_believed(void **state)
{
    (void)state;
    static const struct attack attacks[] = {
        ATTACK(secure_boot_off_said_to_be_on, BOOT_DATA_UNTRUSTED),
        ATTACK(secure_boot_off_said_to_be_on, BOOT_SECURE_BOOT),
        ATTACK(dbx_changed_in_the_log, BOOT_DATA_UNTRUSTED),
        ATTACK(dbx_changed_in_the_log, BOOT_VARIABLE),
        ATTACK(dbx_renamed, BOOT_DATA_UNTRUSTED),
        ATTACK(command_line_changed_in_the_log, BOOT_DATA_UNTRUSTED),
        ATTACK(command_line_changed_in_the_log, BOOT_COMMAND_LINE),
    };
    for (size_t i = 0; i < AVOW_ARRAY_LEN(attacks); i++)
        check_attack(&attacks[i], "m2-grub-sb");
}

/* The bad event stays in its PCR under another label; what is demanded is extended behind it. */
static void test_AB3_boot_policy_judge__relabelled__finding(void **state)
{
    (void)state;
    static const struct attack attacks[] = {
        ATTACK(secure_boot_off_hidden, BOOT_DATA_UNTRUSTED),
        ATTACK(secure_boot_off_within_a_value, BOOT_VARIABLE),
        ATTACK(db_called_an_authority, BOOT_VARIABLE),
        ATTACK(other_kernel_hidden, BOOT_IMAGE),
        ATTACK(command_line_called_a_command, BOOT_COMMAND_LINE),
        ATTACK(command_line_made_unreadable, BOOT_DATA_UNTRUSTED),
        ATTACK(firmware_event_moved_to_another_pcr, BOOT_EVENT_MISSING),
    };
    for (size_t i = 0; i < AVOW_ARRAY_LEN(attacks); i++)
        check_attack(&attacks[i], "m2-grub-sb");
}

static void test_AB4_boot_policy_judge__events_dropped__missing(void **state)
{
    (void)state;
    static const struct attack attacks[] = {
        ATTACK(secure_boot_event_dropped, BOOT_SECURE_BOOT),
        ATTACK(all_of_pcr_7_dropped, BOOT_EVENT_MISSING),
        ATTACK(all_of_pcr_7_dropped, BOOT_SECURE_BOOT),
    };
    for (size_t i = 0; i < AVOW_ARRAY_LEN(attacks); i++)
        check_attack(&attacks[i], "m2-grub-sb");
}

/* --- The language --- */

#define HEAD "{\"avow_boot_policy\":1,"
#define D32 "0000000000000000000000000000000000000000000000000000000000000000"
#define GUID "8be4df61-93ca-11d2-aa0d-00e098032b8c"

static void test_boot_policy_load__documents__read_or_refused_with_the_place(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        const char *says; /* NULL: it is read */
    } cases[] = {
        {HEAD "\"secure_boot\":true}", NULL},
        {HEAD "\"description\":\"x\",\"images\":[]}", NULL},
        {HEAD "\"boots\":[{},{\"mok\":[]}]}", "$.boots[0]: demands nothing"},
        {HEAD "\"forbidden\":[{\"pcr\":5,\"digests\":[{\"sha256\":\"" D32 "\"}]}]}", NULL},
        {HEAD "\"firmware\":[{\"events\":[{\"any\":true}]}]}", NULL},
        {HEAD "\"keys\":{\"db\":{\"allows\":[\"x509:" D32 "\"],\"contains\":[]}}}", NULL},
        {HEAD "\"keys\":{\"db\":{\"exactly\":[\"" GUID ":" D32 "\"]}}}", NULL},
        {HEAD "\"variables\":[{\"name\":\"x\",\"guid\":\"" GUID "\",\"value\":[\"\",\"00\"]}]}",
         NULL},
        {HEAD "\"events\":[{\"pcr\":5,\"text\":[\"a+\"],\"type\":\"EV_IPL\",\"min\":0}]}", NULL},
        {HEAD "\"events\":[{\"pcr\":5,\"any\":true,\"type\":\"0x0000000D\"}]}", NULL},
        {"{\"avow_boot_policy\":2,\"images\":[]}", "$.avow_boot_policy: not 1"},
        {"{\"avow_boot_policy\":\"1\",\"images\":[]}", "not a whole number"},
        {"{\"avow_boot_policy\":1}", "demands nothing"},
        {HEAD "\"imges\":[]}", "$.imges: unknown key"},
        {HEAD "\"images\":[],\"images\":[]}", "$.images: duplicate key"},
        {HEAD "\"images\":[]} x", "something follows"},
        {HEAD "\"images\":[}", "$.images[0]: not an object"},
        {HEAD "\"images\":{}}", "$.images: not a list"},
        {HEAD "\"images\":[{}]}", "$.images[0]: needs one of"},
        {HEAD "\"images\":[{\"any\":false}]}", "$.images[0]: needs one of"},
        {HEAD "\"images\":[{\"any\":true,\"text\":[\"x\"]}]}", "needs one of"},
        {HEAD "\"images\":[{\"any\":true,\"pcr\":4}]}", "$.images[0].pcr: unknown key"},
        {HEAD "\"images\":[{\"any\":true,\"min\":2}]}", "allow nothing"},
        {HEAD "\"images\":[{\"any\":true,\"min\":0,\"max\":0}]}", "allow nothing"},
        {HEAD "\"images\":[{\"any\":true,\"max\":4294967296}]}", "not a whole number"},
        {HEAD "\"images\":[{\"any\":true,\"name\":\"\"}]}", "printable"},
        {HEAD "\"images\":[{\"any\":true,\"name\":\"a\\nb\"}]}", "printable"},
        {HEAD "\"images\":[{\"digests\":[]}]}", "$.images[0].digests: empty"},
        {HEAD "\"images\":[{\"digests\":[{}]}]}", "$.images[0].digests[0]: empty"},
        {HEAD "\"images\":[{\"digests\":[{\"md5\":\"00\"}]}]}", "not a hash algorithm"},
        {HEAD "\"images\":[{\"digests\":[{\"sha256\":\"00\"}]}]}", "not a sha256 in hex"},
        {HEAD "\"images\":[{\"digests\":[{\"sha256\":\"" D32 "\"},{\"sha1\":\"00\"}]}]}",
         "sha1 in hex"},
        {HEAD "\"images\":[{\"digests\":[{\"sha256\":\"" D32
              "\"},{\"sha1\":\"0000000000000000000000000000000000000000\"}]}]}",
         "of other algorithms than the one before"},
        {HEAD "\"command_lines\":[]}", "$.command_lines: empty"},
        {HEAD "\"command_lines\":[\"a\",\"(\"]}", "$.command_lines[1]: not an expression"},
        {HEAD "\"grub_commands\":\"all\"}", "neither a list nor \"any\""},
        {HEAD "\"keys\":{\"dbz\":{}}}", "$.keys.dbz: unknown key"},
        {HEAD "\"keys\":{\"db\":{}}}", "$.keys.db: demands nothing"},
        {HEAD "\"keys\":{\"db\":{\"exactly\":[\"x509:00\"]}}}", "not TYPE:HEX"},
        {HEAD "\"keys\":{\"db\":{\"exactly\":[\"x510:" D32 "\"]}}}", "not TYPE:HEX"},
        {HEAD "\"keys\":{\"db\":{\"exactly\":[\"sha1:" D32 "\"]}}}", "not TYPE:HEX"},
        {HEAD "\"keys\":{\"db\":{\"exactly\":[],\"allows\":[]}}}", "\"exactly\" stands for it"},
        {HEAD "\"keys\":{\"db\":{\"contains\":[],\"exactly\":[]}}}", "stands for both"},
        {HEAD "\"authorities\":{\"db\":[\"00\"]}}", "$.authorities.db[0]: not a SHA-256"},
        {HEAD "\"authorities\":{\"db\":[],\"db\":[]}}", "duplicate key"},
        {HEAD "\"variables\":[{\"name\":\"x\",\"any\":true}]}", "\"guid\" is missing"},
        {HEAD "\"variables\":[{\"name\":\"x\",\"guid\":\"y\",\"any\":true}]}", "not a GUID"},
        {HEAD "\"variables\":[{\"name\":\"x\",\"guid\":\"" GUID "\"}]}", "needs one of"},
        {HEAD "\"variables\":[{\"name\":\"x\",\"guid\":\"" GUID "\",\"value\":[\"0\"]}]}",
         "not hex"},
        {HEAD "\"sequences\":{\"10\":[]}}", "not a PCR of the boot"},
        {HEAD "\"sequences\":{\"16\":[]}}", "not a PCR of the boot"},
        {HEAD "\"sequences\":{\"x\":[]}}", "not a PCR"},
        {HEAD "\"sequences\":{\"4\":[]},\"images\":[]}", "PCR 4 has two sequences"},
        {HEAD "\"firmware\":[]}", "$.firmware: empty"},
        {HEAD "\"firmware\":[{}]}", "\"events\" is missing"},
        {HEAD "\"firmware\":[{\"events\":[]}],\"sequences\":{\"0\":[]}}",
         "PCR 0 has two sequences"},
        {HEAD "\"firmware\":[{\"events\":[]}],\"boots\":[{\"sequences\":{\"0\":[]}}]}",
         "$.boots[0]: PCR 0 is judged by"},
        {HEAD "\"boots\":[]}", "$.boots: empty"},
        {HEAD "\"boots\":[{\"images\":[]}],\"images\":[]}", "given for all boots too"},
        {HEAD "\"boots\":[{\"secure_boot\":true}],\"secure_boot\":true}",
         "given for all boots too"},
        {HEAD "\"forbidden\":[{\"pcr\":5,\"any\":true}]}", "needs one of"},
        {HEAD "\"forbidden\":[{\"pcr\":5,\"text\":[\"x\"]}]}", "a PCR that is not judged"},
        {HEAD "\"forbidden\":[{\"pcr\":5,\"type\":\"EV_IPL\",\"digests\":[{\"sha256\":\"" D32
              "\"}]}]}",
         "covered by no digest"},
        {HEAD "\"events\":[{\"pcr\":5,\"any\":true,\"type\":\"EV_NONE\"}]}", "neither a name"},
        {HEAD "\"events\":[{\"any\":true}]}", "\"pcr\" is missing"},
    };
    for (size_t i = 0; i < AVOW_ARRAY_LEN(cases); i++) {
        struct avow_boot_policy *p = NULL;
        struct avow_err err = {.rc = AVOW_OK};
        struct avow_bytes in = avow_bytes_make(cases[i].text, strlen(cases[i].text));
        enum avow_rc rc = avow_boot_policy_load(in, &p, &err);
        if ((rc == AVOW_OK) != !cases[i].says || (rc == AVOW_OK) != (p != NULL) ||
            (cases[i].says && !strstr(err.msg, cases[i].says)))
            fail_msg("%s\n%s", cases[i].text, err.msg);
        if (p)
            avow_boot_policy_free(p);
    }
}

static void test_boot_policy_load__many_expressions__is_limit(void **state)
{
    (void)state;
    struct avow_buf b;
    struct avow_boot_policy *p = NULL;
    struct avow_err err = {.rc = AVOW_OK};
    avow_buf_init(&b, AVOW_BOOT_POLICY_MAX);
    avow_buf_put_str(&b, HEAD "\"images\":[{\"any\":true}");
    for (size_t i = 0; i < 17; i++) {
        avow_buf_put_str(&b, ",{\"text\":[\"x\"");
        for (size_t k = 1; k < 1000; k++)
            avow_buf_put_str(&b, ",\"x\"");
        avow_buf_put_str(&b, "]}");
    }
    avow_buf_put_str(&b, "]}");
    assert_int_equal(avow_boot_policy_load(avow_buf_bytes(&b), &p, &err), AVOW_LIMIT);
    assert_non_null(strstr(err.msg, "$.images[17].text"));
    assert_null(p);
    avow_buf_deinit(&b);
}

static void test_boot_policy_load__too_many__is_limit(void **state)
{
    (void)state;
    struct avow_buf b;
    struct avow_boot_policy *p = NULL;
    struct avow_err err = {.rc = AVOW_OK};
    avow_buf_init(&b, AVOW_BOOT_POLICY_MAX + 2);
    avow_buf_put_str(&b, HEAD "\"boots\":[{}");
    for (size_t i = 0; i < 64; i++)
        avow_buf_put_str(&b, ",{}");
    avow_buf_put_str(&b, "],\"images\":[]}");
    assert_int_equal(avow_boot_policy_load(avow_buf_bytes(&b), &p, &err), AVOW_LIMIT);
    assert_non_null(strstr(err.msg, "$.boots: more than 64"));
    assert_non_null(avow_buf_extend(&b, AVOW_BOOT_POLICY_MAX + 1 - b.len));
    assert_int_equal(avow_boot_policy_load(avow_buf_bytes(&b), &p, &err), AVOW_LIMIT);
    assert_null(p);
    avow_buf_deinit(&b);
}

static void test_boot_policy_pcrs__members__what_they_judge(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        uint32_t pcrs;
    } cases[] = {
        {HEAD "\"secure_boot\":true}", 0x80},
        {HEAD "\"command_lines\":[\"x\"]}", 0x100},
        {HEAD "\"firmware\":[{\"events\":[]}],\"boots\":[{\"mok\":[]},{\"uki\":[]}]}", 0x4801},
        {HEAD "\"sequences\":{\"1\":[],\"15\":[]}}", 0x8002},
        {HEAD "\"forbidden\":[{\"pcr\":5,\"digests\":[{\"sha256\":\"" D32 "\"}]}]}", 0x20},
        {HEAD "\"events\":[{\"pcr\":3,\"any\":true}]}", 0x8},
    };
    for (size_t i = 0; i < AVOW_ARRAY_LEN(cases); i++) {
        struct avow_boot_policy *p = NULL;
        struct avow_bytes in = avow_bytes_make(cases[i].text, strlen(cases[i].text));
        assert_int_equal(avow_boot_policy_load(in, &p, NULL), AVOW_OK);
        if (avow_boot_policy_pcrs(p) != cases[i].pcrs)
            fail_msg("%s: %x", cases[i].text, (unsigned)avow_boot_policy_pcrs(p));
        avow_boot_policy_free(p);
    }
}

/* Hand-written policies on the log of a machine with Secure Boot, shim and GRUB. */
static void test_boot_policy_judge__policies__as_they_say(void **state)
{
    (void)state;
    static const struct {
        const char *name, *machine, *text;
        int id; /* -1: nothing is found */
        size_t count;
    } cases[] = {
        {"secure boot alone", "m2-grub-sb", HEAD "\"secure_boot\":true}", -1, 0},
        {"off is wanted", "m2-grub-sb", HEAD "\"secure_boot\":false}",
         AVOW_FINDING_BOOT_SECURE_BOOT, 1},
        {"on is wanted", "m1-direct", HEAD "\"secure_boot\":true}", AVOW_FINDING_BOOT_SECURE_BOOT,
         1},
        {"no key but", "m2-grub-sb", HEAD "\"keys\":{\"db\":{\"allows\":[\"x509:" D32 "\"]}}}",
         AVOW_FINDING_BOOT_VARIABLE, 1},
        {"must contain", "m2-grub-sb",
         HEAD "\"keys\":{\"dbx\":{\"contains\":[\"sha256:" D32 "\"]}}}", AVOW_FINDING_BOOT_VARIABLE,
         1},
        {"contains what is there", "m2-grub-sb",
         HEAD "\"keys\":{\"dbx\":{\"contains\":[\"sha256:"
              "E3B0C44298FC1C149AFBF4C8996FB92427AE41E4649B934CA495991B7852B855\"]}}}",
         -1, 0},
        {"not measured", "m2-grub-sb", HEAD "\"keys\":{\"dbt\":{\"exactly\":[]}}}",
         AVOW_FINDING_BOOT_VARIABLE, 1},
        {"no authority", "m2-grub-sb", HEAD "\"authorities\":{}}", AVOW_FINDING_BOOT_VARIABLE, 3},
        {"an authority by name", "m2-grub-sb",
         HEAD "\"authorities\":{\"SbatLevel\":[\"" D32 "\"]}}", AVOW_FINDING_BOOT_VARIABLE, 3},
        {"any images", "m2-grub-sb", HEAD "\"images\":[{\"any\":true,\"max\":4}]}", -1, 0},
        {"fewer images", "m2-grub-sb", HEAD "\"images\":[{\"any\":true,\"max\":3}]}",
         AVOW_FINDING_BOOT_IMAGE, 1},
        {"more images", "m2-grub-sb", HEAD "\"images\":[{\"any\":true,\"min\":5,\"max\":5}]}",
         AVOW_FINDING_BOOT_EVENT_MISSING, 1},
        {"no other step", "m2-grub-sb",
         HEAD "\"images\":[{\"any\":true,\"max\":4},{\"name\":\"x\",\"any\":true}]}",
         AVOW_FINDING_BOOT_EVENT_MISSING, 1},
        {"a step that may be missing", "m2-grub-sb",
         HEAD "\"images\":[{\"min\":0,\"digests\":[{\"sha256\":\"" D32
              "\"}]},{\"any\":true,\"max\":4}]}",
         -1, 0},
        {"a line, any commands", "m2-grub-sb",
         HEAD "\"command_lines\":[\"/boot/vmlinuz-.*\"],\"grub_commands\":\"any\"}", -1, 0},
        {"another line", "m2-grub-sb",
         HEAD "\"command_lines\":[\"/boot/vmlinuz-[0-9.]*\"],\"grub_commands\":\"any\"}",
         AVOW_FINDING_BOOT_COMMAND_LINE, 2},
        {"the whole line", "m2-grub-sb",
         HEAD "\"command_lines\":[\"/boot\"],\"grub_commands\":\"any\"}",
         AVOW_FINDING_BOOT_COMMAND_LINE, 2},
        {"commands by expressions", "m2-grub-sb",
         HEAD "\"command_lines\":[\"/boot/vmlinuz.*\"],\"grub_commands\":[\"[a-z[](.|\\n)*\"]}", -1,
         0},
        {"catastrophic expression", "m2-grub-sb",
         HEAD "\"command_lines\":[\"(.*)*(.*)*(.*)*x!\"],\"grub_commands\":\"any\"}",
         AVOW_FINDING_BOOT_COMMAND_LINE, 2},
        {"nothing in PCR 8", "m2-grub-sb", HEAD "\"sequences\":{\"8\":[]}}",
         AVOW_FINDING_BOOT_COMMAND_LINE, 17},
        {"a text in its place", "m3-sdboot-uki",
         HEAD "\"sequences\":{\"12\":[{\"text\":[\"console=ttyS0 root=/dev/vda .*\"],\"max\":2}]}}",
         -1, 0},
        {"another text", "m3-sdboot-uki",
         HEAD "\"sequences\":{\"12\":[{\"text\":[\"console=ttyS1 .*\"],\"max\":2}]}}",
         AVOW_FINDING_BOOT_COMMAND_LINE, 2},
        {"text of data that no digest covers", "m3-sdboot-uki",
         HEAD "\"uki\":[{\"any\":true},{\"text\":[\".*\"]},{\"any\":true,\"max\":6}]}",
         AVOW_FINDING_BOOT_DATA_UNTRUSTED, 1},
        {"a required event", "m2-grub-sb",
         HEAD "\"events\":[{\"pcr\":5,\"any\":true},{\"pcr\":5,\"text\":[\"Exit.*\"],\"max\":2}]}",
         AVOW_FINDING_BOOT_EVENT_MISSING, 1},
        {"required and in any order", "m2-grub-sb",
         HEAD "\"events\":[{\"pcr\":5,\"text\":[\"Exit.*\"],\"min\":2},{\"pcr\":5,\"any\":true}]}",
         -1, 0},
        {"a forbidden event", "m2-grub-sb",
         HEAD
         "\"events\":[{\"pcr\":5,\"any\":true}],\"forbidden\":[{\"pcr\":5,\"text\":[\"Exit Boot "
         "Services Invocation\"]}]}",
         AVOW_FINDING_BOOT_EVENT_FORBIDDEN, 1},
        {"forbidden by what cannot be decided", "m2-grub-sb",
         HEAD "\"events\":[{\"pcr\":5,\"any\":true}],\"forbidden\":[{\"pcr\":5,\"text\":[\"(E?.?)*"
              "(x?.?)*(i?.?)*(t?.?)*(.?.?)*[0-9]\"]}]}",
         AVOW_FINDING_BOOT_EVENT_FORBIDDEN, 0},
        {"a forbidden digest", "m2-grub-sb",
         HEAD "\"forbidden\":[{\"pcr\":14,\"digests\":[{\"sha256\":\""
              "4bf5122f344554c53bde2ebb8cd2b7e3d1600ad631c385a5d7cce23c7785459a\"}]}]}",
         AVOW_FINDING_BOOT_EVENT_FORBIDDEN, 1},
        {"a digest that is not there", "m2-grub-sb",
         HEAD "\"forbidden\":[{\"pcr\":14,\"digests\":[{\"sha256\":\"" D32 "\"}]}]}", -1, 0},
        {"forbidden in a bank that is not there", "m3-sdboot-uki",
         HEAD "\"forbidden\":[{\"pcr\":14,\"digests\":[{\"sha1\":\""
              "0000000000000000000000000000000000000000\"}]}]}",
         AVOW_FINDING_BOOT_DATA_UNTRUSTED, 1},
        {"one of two boots", "m2-grub-sb",
         HEAD "\"boots\":[{\"secure_boot\":false},{\"secure_boot\":true}]}", -1, 0},
        {"none of two boots", "m2-grub-sb",
         HEAD "\"secure_boot\":true,\"boots\":[{\"name\":\"a\",\"images\":[]},{\"name\":\"b\","
              "\"images\":[{\"any\":true,\"max\":3}]}]}",
         AVOW_FINDING_BOOT_IMAGE, 1},
        {"one of two firmwares", "m1-direct",
         HEAD "\"firmware\":[{\"events\":[]},{\"events\":[{\"any\":true,\"max\":3}]}]}", -1, 0},
        {"none of two firmwares", "m1-direct",
         HEAD "\"firmware\":[{\"events\":[]},{\"events\":[{\"any\":true,\"max\":2}]}]}",
         AVOW_FINDING_BOOT_FIRMWARE, 1},
        {"a variable that is not there", "m1-direct",
         HEAD "\"variables\":[{\"name\":\"AuditMode\",\"guid\":\"" GUID "\",\"value\":[\"00\"]}]}",
         AVOW_FINDING_BOOT_VARIABLE, 1},
        {"a variable that is", "m1-direct",
         HEAD "\"variables\":[{\"name\":\"SecureBoot\",\"guid\":\"" GUID "\",\"value\":[\"00\"]}]}",
         -1, 0},
        {"a variable with another value", "m1-direct",
         HEAD "\"variables\":[{\"name\":\"SecureBoot\",\"guid\":\"" GUID "\",\"value\":[\"01\"]}]}",
         AVOW_FINDING_BOOT_VARIABLE, 2},
        {"a variable whose name no digest covers", "m1-direct",
         HEAD "\"variables\":[{\"pcr\":1,\"name\":\"BootOrder\",\"guid\":\"" GUID
              "\",\"any\":true}]}",
         AVOW_FINDING_BOOT_VARIABLE, 3},
    };
    for (size_t i = 0; i < AVOW_ARRAY_LEN(cases); i++) {
        struct bench b;
        bench_init(&b, cases[i].machine);
        struct told t = judge(&b, cases[i].text);
        if (t.count != cases[i].count && cases[i].count)
            fail_msg("%s: %zu\n%s", cases[i].name, t.count, t.text);
        if (cases[i].id < 0 ? t.count > 0 : !t.ids[cases[i].id])
            fail_msg("%s:\n%s", cases[i].name, t.text);
        bench_deinit(&b);
    }
}

/* Writes an event's digest of one bank in hex. */
static const char *hex_of(struct bench *b, const struct ev *e, enum avow_hash alg)
{
    char *out = avow_arena_alloc(&b->arena, 2 * AVOW_DIGEST_MAX + 1, 1);
    assert_non_null(out);
    for (size_t i = 0; i < e->digests_count; i++) {
        if (e->digests[i].alg == (uint16_t)alg)
            avow_hex_encode(out, e->digests[i].value);
    }
    return out;
}

/* PCR 4: action, separator, shim, GRUB, kernel, kernel. */
static void test_boot_policy_judge__sequence__never_goes_back(void **state)
{
    (void)state;
    char text[1024];
    struct bench b;
    bench_init(&b, "m2-grub-sb");
    (void)snprintf(text, sizeof text,
                   HEAD "\"images\":[{\"min\":0,\"digests\":[{\"sha256\":\"%s\"}]},"
                        "{\"digests\":[{\"sha256\":\"%s\"}]},{\"any\":true,\"max\":2}]}",
                   hex_of(&b, nth(&b, 4, 3), AVOW_HASH_SHA256),
                   hex_of(&b, nth(&b, 4, 2), AVOW_HASH_SHA256));
    struct told t = judge(&b, text);
    if (t.count != 1 || !t.ids[AVOW_FINDING_BOOT_IMAGE])
        fail_msg("%s", t.text);
    bench_deinit(&b);
}

/* A digest of every proven bank that the step names must be right; of others nothing is known. */
static void test_boot_policy_judge__digests_of_several_banks__all_that_are_proven(void **state)
{
    (void)state;
    static const struct {
        const char *sha256, *sha384; /* NULL: the right one */
        bool is_proven;              /* SHA-384 */
        bool good;
    } cases[] = {{NULL, NULL, true, true},
                 {NULL, D32 "00000000000000000000000000000000", true, false},
                 {NULL, D32 "00000000000000000000000000000000", false, true},
                 {D32, NULL, true, false},
                 {D32, NULL, false, false}};
    for (size_t i = 0; i < AVOW_ARRAY_LEN(cases); i++) {
        char text[1024];
        struct bench b;
        bench_init(&b, "m2-grub-sb");
        const struct ev *shim = nth(&b, 4, 2);
        (void)snprintf(
            text, sizeof text,
            HEAD "\"images\":[{\"digests\":[{\"sha256\":\"%s\",\"sha384\":\"%s\"}]},{\"any\":true,"
                 "\"max\":3}]}",
            cases[i].sha256 ? cases[i].sha256 : hex_of(&b, shim, AVOW_HASH_SHA256),
            cases[i].sha384 ? cases[i].sha384 : hex_of(&b, shim, AVOW_HASH_SHA384));
        size_t kept = 0;
        for (size_t k = 0; k < b.replay.banks_count; k++) {
            if (cases[i].is_proven || b.replay.banks[k].alg != AVOW_HASH_SHA384)
                b.replay.banks[kept++] = b.replay.banks[k];
        }
        b.replay.banks_count = kept;
        struct told t = judge(&b, text);
        if (cases[i].good != !t.count)
            fail_msg("%zu: %s", i, t.text);
        bench_deinit(&b);
    }
}

/* The text that is forbidden was measured, and is not in the log's data. */
static void test_AB3_boot_policy_judge__forbidden_text_left_out__data_untrusted(void **state)
{
    (void)state;
    struct bench b;
    bench_init(&b, "m2-grub-sb");
    struct ev *e = with_text(&b, "Exit Boot Services Invocation");
    e->type = AVOW_EV_EVENT_TAG;
    set_text(&b, e, "", "nothing to see");
    rebuild(&b);
    struct told t =
        judge(&b, HEAD "\"events\":[{\"pcr\":5,\"any\":true}],\"forbidden\":[{\"pcr\":5,"
                       "\"text\":[\"Exit Boot Services Invocation\"]}]}");
    if (t.count != 1 || !t.ids[AVOW_FINDING_BOOT_DATA_UNTRUSTED])
        fail_msg("%s", t.text);
    bench_deinit(&b);
}

/* --- Made of logs --- */

struct bytes_of {
    struct avow_buf files[4];
    struct avow_bytes logs[4];
    size_t count;
};

static void read_logs(struct bytes_of *f, const char *const *names, size_t n)
{
    f->count = n;
    for (size_t i = 0; i < n; i++) {
        char path[512];
        (void)snprintf(path, sizeof path, "%s/captures/%s/binary_bios_measurements",
                       AVOW_TEST_VECTORS, names[i]);
        avow_buf_init(&f->files[i], LOG_MAX);
        assert_int_equal(avow_file_read(path, &f->files[i], NULL), AVOW_OK);
        f->logs[i] = avow_buf_bytes(&f->files[i]);
    }
}

static void free_logs(struct bytes_of *f)
{
    for (size_t i = 0; i < f->count; i++)
        avow_buf_deinit(&f->files[i]);
}

static void judge_machine(const char *policy, const char *machine, bool good)
{
    struct bench b;
    bench_init(&b, machine);
    struct told t = judge(&b, policy);
    if (good != !t.count)
        fail_msg("%s: %s", machine, t.text);
    bench_deinit(&b);
}

static void test_boot_policy_make__several_logs__each_passes_and_no_other(void **state)
{
    (void)state;
    static const char *const names[] = {"m2-grub-sb", "m1-direct", "m3-sdboot-uki"};
    struct bytes_of f;
    struct avow_buf out, again;
    read_logs(&f, names, AVOW_ARRAY_LEN(names));
    const struct avow_boot_make make = {.logs = f.logs, .logs_count = f.count};
    avow_buf_init(&out, AVOW_BOOT_POLICY_MAX);
    avow_buf_init(&again, AVOW_BOOT_POLICY_MAX);
    assert_int_equal(avow_boot_policy_make(&make, &out, NULL), AVOW_OK);
    assert_int_equal(avow_boot_policy_make(&make, &again, NULL), AVOW_OK);
    assert_true(avow_bytes_eq(avow_buf_bytes(&out), avow_buf_bytes(&again)));
    for (size_t i = 0; i < AVOW_ARRAY_LEN(names); i++)
        judge_machine(avow_buf_cstr(&out), names[i], true);
    judge_machine(avow_buf_cstr(&out), "m5-imasig", false);
    judge_machine(avow_buf_cstr(&out), "m7-612", false);
    avow_buf_deinit(&out);
    avow_buf_deinit(&again);
    free_logs(&f);
}

static void test_boot_policy_make__loosened__judges_the_rest(void **state)
{
    (void)state;
    static const char *const names[] = {"m2-grub-sb"};
    static const char *const lines[] = {"/boot/vmlinuz-6\\.1\\.0-56-amd64 root=.*"};
    static const char *const files[] = {"/boot/initrd"};
    static const struct attack kept[] = {
        ATTACK(secure_boot_off, BOOT_SECURE_BOOT),
        ATTACK(other_command_line, BOOT_COMMAND_LINE),
        ATTACK(command_line_called_a_command, BOOT_COMMAND_LINE),
    };
    static void (*const gone[])(struct bench *) = {other_initrd, other_firmware};
    struct bytes_of f;
    struct avow_buf out;
    read_logs(&f, names, 1);
    const struct avow_boot_make make = {.logs = f.logs,
                                        .logs_count = 1,
                                        .no_firmware = true,
                                        .any_command = true,
                                        .lines = lines,
                                        .lines_count = 1,
                                        .any_files = files,
                                        .any_files_count = 1,
                                        .sequences = 1u << 5};
    avow_buf_init(&out, AVOW_BOOT_POLICY_MAX);
    assert_int_equal(avow_boot_policy_make(&make, &out, NULL), AVOW_OK);
    assert_null(strstr(avow_buf_cstr(&out), "\"firmware\""));
    assert_non_null(strstr(avow_buf_cstr(&out), "\"5\""));
    for (size_t i = 0; i < AVOW_ARRAY_LEN(kept) + AVOW_ARRAY_LEN(gone); i++) {
        struct bench b;
        bool is_kept = i < AVOW_ARRAY_LEN(kept);
        bench_init(&b, names[0]);
        if (is_kept)
            kept[i].change(&b);
        else
            gone[i - AVOW_ARRAY_LEN(kept)](&b);
        rebuild(&b);
        struct told t = judge(&b, avow_buf_cstr(&out));
        if (is_kept ? !t.ids[kept[i].id] : t.count > 0)
            fail_msg("%zu: %s", i, t.text);
        bench_deinit(&b);
    }
    avow_buf_deinit(&out);
    free_logs(&f);
}

static void test_boot_policy_make__bad_input__says_what(void **state)
{
    (void)state;
    static const char *const lines[] = {"nothing that is there"}, *const broken[] = {"("};
    struct bench b;
    struct avow_buf out;
    struct avow_err err = {.rc = AVOW_OK};
    bench_init(&b, "m2-grub-sb");
    avow_buf_init(&out, AVOW_BOOT_POLICY_MAX);
    struct avow_bytes log = avow_buf_bytes(&b.file);
    struct avow_boot_make make = {.logs = &log, .logs_count = 1, .lines = lines, .lines_count = 1};
    assert_int_equal(avow_boot_policy_make(&make, &out, &err), AVOW_REFUSED);
    assert_non_null(strstr(err.msg, "log 1"));
    assert_non_null(strstr(err.msg, "boot.command_line"));
    make.lines = broken;
    assert_int_equal(avow_boot_policy_make(&make, &out, &err), AVOW_PARSE);
    assert_non_null(strstr(err.msg, "$.command_lines[0]"));
    make.lines_count = 0;
    secure_boot_off_said_to_be_on(&b);
    rebuild(&b);
    log = avow_buf_bytes(&b.rebuilt);
    assert_int_equal(avow_boot_policy_make(&make, &out, &err), AVOW_PARSE);
    assert_non_null(strstr(err.msg, "log 1: event 4: boot.data_unbound"));
    log.len--;
    assert_int_equal(avow_boot_policy_make(&make, &out, &err), AVOW_PARSE);
    make.logs_count = 0;
    assert_int_equal(avow_boot_policy_make(&make, &out, &err), AVOW_LIMIT);
    assert_int_equal(out.len, 0);
    avow_buf_deinit(&out);
    bench_deinit(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_boot_policy_load__documents__read_or_refused_with_the_place),
        cmocka_unit_test(test_boot_policy_load__too_many__is_limit),
        cmocka_unit_test(test_boot_policy_load__many_expressions__is_limit),
        cmocka_unit_test(test_boot_policy_pcrs__members__what_they_judge),
        cmocka_unit_test(test_boot_policy_judge__policies__as_they_say),
        cmocka_unit_test(test_boot_policy_judge__sequence__never_goes_back),
        cmocka_unit_test(test_boot_policy_judge__digests_of_several_banks__all_that_are_proven),
        cmocka_unit_test(test_boot_policy_make__every_machine__passes_its_own),
        cmocka_unit_test(test_boot_policy_judge__log_of_another_boot__finding),
        cmocka_unit_test(test_boot_policy_make__several_logs__each_passes_and_no_other),
        cmocka_unit_test(test_boot_policy_make__loosened__judges_the_rest),
        cmocka_unit_test(test_boot_policy_make__bad_input__says_what),
        cmocka_unit_test(test_AB1_boot_policy_judge__data_changed__not_believed),
        cmocka_unit_test(test_AB3_boot_policy_judge__relabelled__finding),
        cmocka_unit_test(test_AB3_boot_policy_judge__forbidden_text_left_out__data_untrusted),
        cmocka_unit_test(test_AB4_boot_policy_judge__events_dropped__missing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
