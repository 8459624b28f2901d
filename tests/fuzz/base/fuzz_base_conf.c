/* The text of a configuration file: never a crash, and every refusal tells file and line. */
#include "conf_internal.h"

#include <stdlib.h>
#include <string.h>

#include "avow/base/banned.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct avow_conf_option options[] = {
    {"a", "n", AVOW_CONF_U64, "1", 0, 100, NULL, "", NULL},
    {"a", "t", AVOW_CONF_MS, "1s", 0, UINT64_MAX, NULL, "", NULL},
    {"a", "b", AVOW_CONF_BOOL, "1", 0, 0, NULL, "", NULL},
    {"a", "e", AVOW_CONF_ENUM, "x", 0, 0, "x|yy", "", NULL},
    {"a", "s", AVOW_CONF_STR, NULL, 0, 0, NULL, "", NULL},
};
static const struct avow_conf_spec spec = {.program = "avow-fuzz",
                                           .options = options,
                                           .count = AVOW_ARRAY_LEN(options),
                                           .passthrough = "p"};

static enum avow_rc assign(void *arg, const struct avow_conf_assign *a, struct avow_err *err)
{
    return avow_conf_assign(arg, a, err);
}

static void require(bool condition)
{
    if (!condition)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *no_environment[] = {NULL};
    struct avow_conf *c = NULL;
    struct avow_err err = {.rc = AVOW_OK};
    struct avow_buf printed;
    require(!avow_conf_load(&spec, "/dev/null", NULL, 0, no_environment, &c, &err));
    c->pass++;
    enum avow_rc rc =
        avow_conf_ini_parse("f", (struct avow_str){(const char *)data, size}, assign, c, &err);
    require(rc == AVOW_OK || rc == AVOW_CONFIG);
    require(rc == err.rc);
    require(!rc || avow_str_starts(avow_str_from(err.msg), "f:"));
    require(avow_conf_u64(c, "a", "n") <= 100);
    avow_buf_init(&printed, 4u << 20);
    avow_conf_print(c, &printed);
    require(!avow_buf_status(&printed, NULL));
    require(avow_utf8_is_valid((struct avow_str){avow_buf_cstr(&printed), printed.len}));
    avow_buf_deinit(&printed);
    avow_conf_free(c);
    return 0;
}
