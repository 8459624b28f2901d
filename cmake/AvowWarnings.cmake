# Every warning is an error, with both compilers (docs/STYLE.md, section 10), but not where users build a release with
# compilers that we have not seen. gcc's -Wnull-dereference follows inlined calls into paths that cannot happen at -O3,
# and, instrumented for threads, past the assertions of cmocka.
set(avow_null_dereference -Wnull-dereference)
if(CMAKE_BUILD_TYPE STREQUAL "Release" OR AVOW_SANITIZE STREQUAL "thread")
    set(avow_null_dereference)
endif()
add_library(avow_warnings INTERFACE)
target_compile_options(avow_warnings INTERFACE
    -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wsign-conversion -Wcast-qual -Wwrite-strings
    -Wvla -Wundef -Wstrict-prototypes -Wmissing-prototypes -Wformat=2
    ${avow_null_dereference} $<$<BOOL:${AVOW_WERROR}>:-Werror>)
if(CMAKE_C_COMPILER_ID STREQUAL "GNU")
    target_compile_options(avow_warnings INTERFACE -Wjump-misses-init)
endif()
