/* cmocka_all.h - cmocka with the headers that it asks for. */
#ifndef AVOW_TESTS_CMOCKA_ALL_H
#define AVOW_TESTS_CMOCKA_ALL_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#endif
