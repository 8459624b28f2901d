/* failing_alloc.h - makes the n-th allocation of a test fail. Declare the test with
 * avow_failing_alloc(NAME) in CMake. */
#ifndef AVOW_TESTS_FAILING_ALLOC_H
#define AVOW_TESTS_FAILING_ALLOC_H

/* The n-th allocation from now on fails, once; 0: none does. Counts down, so that 0 afterwards
 * means that it failed. */
extern unsigned failing_alloc_at;

#endif
