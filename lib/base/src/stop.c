/* stop.c - signals that ask the program to end (cli.h). */
#define _GNU_SOURCE /* sigaction */
#include "avow/base/cli.h"

#include <assert.h>
#include <signal.h>
#include <stdatomic.h>

#include "avow/base/banned.h"

/* Atomic rather than sig_atomic_t: the handler may run in another thread than the one that asks. */
static atomic_int stop_requested;
static atomic_int hup_seen;
static_assert(ATOMIC_INT_LOCK_FREE == 2, "a signal handler may not take a lock");

static void on_stop(int signal_number)
{
    (void)signal_number;
    atomic_store_explicit(&stop_requested, 1, memory_order_relaxed);
}

void avow_stop_install(void)
{
    /* No SA_RESTART: a call that waits returns EINTR, and its loop looks at the flag. */
    struct sigaction stop = {.sa_handler = on_stop};
    struct sigaction ignore = {.sa_handler = SIG_IGN};
    sigemptyset(&stop.sa_mask);
    sigemptyset(&ignore.sa_mask);
    int failed = sigaction(SIGTERM, &stop, NULL) || sigaction(SIGINT, &stop, NULL) ||
                 sigaction(SIGPIPE, &ignore, NULL);
    assert(!failed);
    (void)failed;
}

bool avow_stop_requested(void)
{
    return atomic_load_explicit(&stop_requested, memory_order_relaxed) != 0;
}

static void on_hup(int signal_number)
{
    (void)signal_number;
    atomic_store_explicit(&hup_seen, 1, memory_order_relaxed);
}

void avow_hup_install(void)
{
    struct sigaction hup = {.sa_handler = on_hup};
    sigemptyset(&hup.sa_mask);
    int failed = sigaction(SIGHUP, &hup, NULL);
    assert(!failed);
    (void)failed;
}

bool avow_hup_take(void)
{
    return atomic_exchange_explicit(&hup_seen, 0, memory_order_relaxed) != 0;
}
