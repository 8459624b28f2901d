/* fuzz_severity.c - severity policies. Oracle: loaded or a message; every id has a label of the
 * table, whatever the expressions are; and a policy loads twice with the same labels. */
#include "avow/core/severity.h"
#include "avow/formats/quote.h"

#include <stdlib.h>

#include "avow/base/banned.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define CHECK(x)                                                                                   \
    do {                                                                                           \
        if (!(x))                                                                                  \
            abort();                                                                               \
    } while (0)

static void check_labels(const struct avow_severity *a, const struct avow_severity *b)
{
    for (unsigned i = 0; i < AVOW_FINDING_COUNT; i++) {
        for (int32_t pcr = -1; pcr <= (int32_t)AVOW_PCR_COUNT; pcr++) {
            struct avow_str label = avow_severity_of(a, (enum avow_finding_id)i, pcr);
            CHECK(avow_severity_rank(label) >= 0);
            CHECK(avow_str_eq(label, avow_severity_of(b, (enum avow_finding_id)i, pcr)));
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct avow_severity *a = NULL, *b = NULL;
    struct avow_err err = {0};
    struct avow_bytes in = avow_bytes_make(data, size);
    enum avow_rc rc = avow_severity_load(in, &a, &err);
    CHECK((rc == AVOW_OK) == (a != NULL));
    CHECK(!rc || err.msg[0]);
    if (rc)
        return 0;
    CHECK(!avow_severity_load(in, &b, NULL));
    check_labels(a, b);
    avow_severity_free(a);
    avow_severity_free(b);
    return 0;
}
