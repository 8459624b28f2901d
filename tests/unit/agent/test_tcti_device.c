/* The TSS's way to a device, over a socket that plays one: pieces, leftovers, nonsense, silence. */
#define _GNU_SOURCE /* pthread */
#include "tpm/tcti_device.h"

#include "tpm/tpm.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "avow/base/banned.h"

static const uint8_t command[12] = {0x80, 0x01, 0, 0, 0, 12, 0, 0, 1, 0x7B, 0, 8};
static const uint8_t response[20] = {0x80, 0x01, 0, 0, 0, 20, 0, 0, 0, 0,
                                     0,    8,    1, 2, 3, 4,  5, 6, 7, 8};

static int ends[2]; /* ours, the device's */
static TSS2_TCTI_CONTEXT *tcti;

static int open_device(void **state)
{
    (void)state;
    if (socketpair(AF_UNIX, SOCK_STREAM, 0, ends))
        return -1;
    tcti = avow_tcti_device_new(ends[0]);
    return tcti ? 0 : -1;
}

static int close_device(void **state)
{
    (void)state;
    avow_tcti_device_free(tcti);
    close(ends[0]);
    if (ends[1] >= 0)
        close(ends[1]);
    return 0;
}

static void device_says(const void *bytes, size_t n)
{
    assert_int_equal(send(ends[1], bytes, n, MSG_NOSIGNAL), n);
}

static void device_hears(void)
{
    uint8_t got[64];
    assert_int_equal(recv(ends[1], got, sizeof got, MSG_DONTWAIT), sizeof command);
    assert_memory_equal(got, command, sizeof command);
}

static void send_command(void)
{
    assert_int_equal(Tss2_Tcti_Transmit(tcti, sizeof command, command), TSS2_RC_SUCCESS);
    device_hears();
}

static TSS2_RC get(int32_t timeout, uint8_t *out, size_t *size)
{
    *size = 64;
    return Tss2_Tcti_Receive(tcti, size, out, timeout);
}

static void test_exchange__whole_response(void **state)
{
    (void)state;
    uint8_t got[64];
    size_t size;
    for (int i = 0; i < 3; i++) {
        send_command();
        device_says(response, sizeof response);
        assert_int_equal(get(TSS2_TCTI_TIMEOUT_BLOCK, got, &size), TSS2_RC_SUCCESS);
        assert_int_equal(size, sizeof response);
        assert_memory_equal(got, response, sizeof response);
    }
}

static void *dribble(void *arg)
{
    for (size_t i = 0; i < sizeof response; i++) {
        device_says(response + i, 1);
        usleep(500);
    }
    return arg;
}

static void test_exchange__byte_by_byte(void **state)
{
    (void)state;
    pthread_t thread;
    uint8_t got[64];
    size_t size;
    send_command();
    assert_int_equal(pthread_create(&thread, NULL, dribble, NULL), 0);
    assert_int_equal(get(TSS2_TCTI_TIMEOUT_BLOCK, got, &size), TSS2_RC_SUCCESS);
    assert_memory_equal(got, response, sizeof response);
    pthread_join(thread, NULL);
}

static void test_size__is_told_before_the_bytes(void **state)
{
    (void)state;
    uint8_t got[64];
    size_t size = 0;
    send_command();
    device_says(response, sizeof response);
    assert_int_equal(Tss2_Tcti_Receive(tcti, &size, NULL, TSS2_TCTI_TIMEOUT_BLOCK),
                     TSS2_RC_SUCCESS);
    assert_int_equal(size, sizeof response);
    size = sizeof response - 1;
    assert_int_equal(Tss2_Tcti_Receive(tcti, &size, got, 0), TSS2_TCTI_RC_INSUFFICIENT_BUFFER);
    assert_int_equal(get(0, got, &size), TSS2_RC_SUCCESS);
    assert_memory_equal(got, response, sizeof response);
    assert_int_equal(get(0, got, &size), TSS2_TCTI_RC_BAD_SEQUENCE); /* it was fetched */
}

static void test_silence__is_try_again(void **state)
{
    (void)state;
    uint8_t got[64];
    size_t size;
    assert_int_equal(get(0, got, &size), TSS2_TCTI_RC_BAD_SEQUENCE); /* nothing was asked */
    send_command();
    assert_int_equal(get(0, got, &size), TSS2_TCTI_RC_TRY_AGAIN);
    assert_int_equal(get(5, got, &size), TSS2_TCTI_RC_TRY_AGAIN);
    assert_int_equal(Tss2_Tcti_Transmit(tcti, sizeof command, command), TSS2_TCTI_RC_BAD_SEQUENCE);
    device_says(response, sizeof response);
    assert_int_equal(get(0, got, &size), TSS2_RC_SUCCESS);
}

static void test_nonsense__is_malformed(void **state)
{
    (void)state;
    static const uint8_t cases[][14] = {
        {0x80, 1, 0xFF, 0xFF, 0xFF, 0xFF, 0, 0, 0, 0}, /* 4 GiB */
        {0x80, 1, 0, 0, 0x10, 0x01, 0, 0, 0, 0},       /* one byte over the largest */
        {0x80, 1, 0, 0, 0, 12, 0, 0, 0, 0, 1, 2, 3, 4} /* more bytes than it says */
    };
    uint8_t got[64];
    size_t size;
    for (size_t i = 0; i < 3; i++) {
        send_command();
        device_says(cases[i], sizeof cases[i]);
        assert_int_equal(get(TSS2_TCTI_TIMEOUT_BLOCK, got, &size), TSS2_TCTI_RC_MALFORMED_RESPONSE);
    }
}

static void test_device_gone__is_an_io_error(void **state)
{
    (void)state;
    uint8_t got[64];
    size_t size;
    send_command();
    device_says(response, 7);
    close(ends[1]);
    ends[1] = -1;
    assert_int_equal(get(TSS2_TCTI_TIMEOUT_BLOCK, got, &size), TSS2_TCTI_RC_IO_ERROR);
}

static void test_new_connection__leftovers_are_thrown_away(void **state)
{
    (void)state;
    uint8_t got[64];
    size_t size;
    send_command();
    device_says(response, sizeof response);
    avow_tcti_device_free(tcti);
    tcti = avow_tcti_device_new(ends[0]);
    assert_non_null(tcti);
    assert_int_equal(get(0, got, &size), TSS2_TCTI_RC_BAD_SEQUENCE);
    send_command();
    assert_int_equal(get(0, got, &size), TSS2_TCTI_RC_TRY_AGAIN);
    device_says(response, sizeof response);
    assert_int_equal(get(0, got, &size), TSS2_RC_SUCCESS);
}

static void test_misuse__is_refused(void **state)
{
    (void)state;
    size_t n = 0;
    TSS2_TCTI_POLL_HANDLE handle;
    assert_int_equal(Tss2_Tcti_Transmit(tcti, 4, NULL), TSS2_TCTI_RC_BAD_REFERENCE);
    assert_int_equal(Tss2_Tcti_Cancel(tcti), TSS2_TCTI_RC_NOT_IMPLEMENTED);
    assert_int_equal(Tss2_Tcti_SetLocality(tcti, 1), TSS2_TCTI_RC_NOT_IMPLEMENTED);
    assert_int_equal(Tss2_Tcti_MakeSticky(tcti, NULL, 1), TSS2_TCTI_RC_NOT_IMPLEMENTED);
    assert_int_equal(Tss2_Tcti_GetPollHandles(tcti, &handle, &n), TSS2_TCTI_RC_INSUFFICIENT_BUFFER);
    n = 1;
    assert_int_equal(Tss2_Tcti_GetPollHandles(tcti, &handle, &n), TSS2_RC_SUCCESS);
    assert_int_equal(handle.fd, ends[0]);
}

/* A plain file takes every command and answers none, as a device whose client the kernel has given
 * up. Its name goes, as the right to open a device does. */
static void test_kept_device__takes_no_command__is_dead(void **state)
{
    (void)state;
    char path[] = "/tmp/avow-device-XXXXXX", name[64];
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    snprintf(name, sizeof name, "device:%s", path);
    const struct avow_tpm_opts opts = {.tcti = name, .hold = true};
    struct avow_tpm *t = NULL;
    struct avow_tpm_pcrs pcrs;
    assert_int_equal(avow_tpm_new(&opts, &t, NULL), AVOW_OK);
    assert_int_equal(avow_tpm_open(t, NULL), AVOW_OK);
    assert_int_equal(unlink(path), 0);
    avow_tpm_keep_device(t);
    assert_int_equal(avow_tpm_pcr_read(t, AVOW_HASH_SHA256, &pcrs, NULL), AVOW_TPM);
    assert_false(avow_tpm_is_dead(t)); /* one command may fail */
    struct avow_err err = {.rc = AVOW_OK};
    assert_int_equal(avow_tpm_open(t, &err), AVOW_TPM);
    assert_non_null(strstr(err.msg, "dead"));
    assert_true(avow_tpm_is_dead(t));
    avow_tpm_free(t);
    close(fd);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, open_device, close_device)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_exchange__whole_response),
        TEST(test_exchange__byte_by_byte),
        TEST(test_size__is_told_before_the_bytes),
        TEST(test_silence__is_try_again),
        TEST(test_nonsense__is_malformed),
        TEST(test_device_gone__is_an_io_error),
        TEST(test_new_connection__leftovers_are_thrown_away),
        TEST(test_misuse__is_refused),
        cmocka_unit_test(test_kept_device__takes_no_command__is_dead),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
