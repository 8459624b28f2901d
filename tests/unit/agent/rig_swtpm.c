#define _GNU_SOURCE /* mkdtemp */
#include "rig_swtpm.h"

#include "avow/base/file.h"
#include "ima_store.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "avow/base/banned.h"

static int script(const struct swtpm_rig *r, const char *what, const char *more)
{
    char command[512];
    snprintf(command, sizeof command, "sh %s %s %s/tpm %s/ca %s", AVOW_SWTPM_SH, what, r->dir,
             r->dir, more);
    return system(command);
}

static void new_boot_id(const struct swtpm_rig *r)
{
    char command[256];
    snprintf(command, sizeof command, "cat /proc/sys/kernel/random/uuid >%s", r->boot_id);
    assert_int_equal(system(command), 0);
}

int swtpm_rig_start(struct swtpm_rig *r)
{
    snprintf(r->dir, sizeof r->dir, "/tmp/avow-swtpm-test-XXXXXX");
    if (!mkdtemp(r->dir))
        return -1;
    snprintf(r->tcti, sizeof r->tcti, "swtpm:path=%s/tpm/tpm.sock", r->dir);
    snprintf(r->list, sizeof r->list, "%s/list", r->dir);
    snprintf(r->boot_id, sizeof r->boot_id, "%s/boot_id", r->dir);
    if (script(r, "start", ">/dev/null"))
        return -1;
    new_boot_id(r);
    return 0;
}

void swtpm_rig_stop(struct swtpm_rig *r)
{
    char command[256];
    (void)!script(r, "stop", "");
    snprintf(command, sizeof command, "rm -rf %s", r->dir);
    (void)!system(command);
}

void swtpm_rig_reboot(struct swtpm_rig *r)
{
    assert_int_equal(script(r, "reboot", ">/dev/null"), 0);
    new_boot_id(r);
}

int swtpm_rig_sh(const struct swtpm_rig *r, const char *command)
{
    char line[1024];
    snprintf(line, sizeof line, "cd %s && export TPM2TOOLS_TCTI=%s && { %s; } >sh.log 2>&1", r->dir,
             r->tcti, command);
    int rc = system(line);
    if (rc) {
        snprintf(line, sizeof line, "cat %s/sh.log >&2", r->dir);
        (void)!system(line);
    }
    return rc;
}

void swtpm_rig_write(const struct swtpm_rig *r, const char *name, struct avow_bytes data)
{
    char path[128];
    snprintf(path, sizeof path, "%s/%s", r->dir, name);
    assert_int_equal(avow_file_write(path, data, 0600, NULL), AVOW_OK);
}

static struct avow_ima_store *open_store(const struct swtpm_rig *r)
{
    struct avow_ima_store *s = NULL;
    assert_int_equal(avow_ima_store_open(r->list, r->tcti, &s, NULL), AVOW_OK);
    return s;
}

void swtpm_rig_ima_init(const struct swtpm_rig *r)
{
    struct avow_ima_store *s = open_store(r);
    assert_int_equal(avow_ima_store_init(s, NULL), AVOW_OK);
    avow_ima_store_close(s);
}

void swtpm_rig_ima_add(const struct swtpm_rig *r, const char *path)
{
    struct avow_digest digest;
    struct avow_ima_store *s = open_store(r);
    avow_digest(AVOW_HASH_SHA256, avow_bytes_make(path, strlen(path)), &digest);
    const struct avow_ima_measurement m = {
        .alg = AVOW_HASH_SHA256, .digest = avow_digest_bytes(&digest), .path = avow_str_from(path)};
    assert_int_equal(avow_ima_store_add(s, &m, NULL), AVOW_OK);
    avow_ima_store_close(s);
}
