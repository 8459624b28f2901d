/* fixture.h - a store in a folder of its own, and rows to put into it. Layer: tests. */
#ifndef AVOW_TEST_REGISTRAR_FIXTURE_H
#define AVOW_TEST_REGISTRAR_FIXTURE_H

#include "store.h"

#define FIXTURE_NOW 1700000000000u

struct fixture {
    char dir[64];
    char path[96];
    struct avow_store *store;
};
int fixture_setup(void **state);
int fixture_teardown(void **state);
/* Closes and opens again, as a restart does. */
void fixture_reopen(struct fixture *f);
struct avow_agent fixture_agent(uint64_t generation);
struct avow_pending fixture_pending(const char *source, uint64_t expires_ms);
/* One transaction. */
void fixture_put_agent(struct fixture *f, const char *id, const struct avow_agent *a);
void fixture_add_pending(struct fixture *f, const char *id, const struct avow_pending *p);

#endif
