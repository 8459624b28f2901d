# One way to declare each kind of target, so that flags and layers are the same everywhere.
add_library(avow_common INTERFACE)
target_link_libraries(avow_common INTERFACE avow_warnings avow_hardening avow_sanitizers)

# avow_library(NAME SOURCES... [USES lib...] [PRIVATE_USES lib...]): static library lib/NAME, headers "avow/NAME/...".
function(avow_library name)
    cmake_parse_arguments(A "" "" "SOURCES;USES;PRIVATE_USES" ${ARGN})
    add_library(avow_${name} STATIC ${A_SOURCES})
    target_include_directories(avow_${name} PUBLIC ${CMAKE_CURRENT_SOURCE_DIR} PRIVATE ${CMAKE_CURRENT_SOURCE_DIR}/src)
    target_link_libraries(avow_${name} PUBLIC ${A_USES} PRIVATE ${A_PRIVATE_USES} avow_common)
endfunction()

# avow_program(NAME SOURCES... USES lib...): an installed program in bin/.
function(avow_program name)
    cmake_parse_arguments(A "NO_INSTALL" "" "SOURCES;USES" ${ARGN})
    add_executable(${name} ${A_SOURCES})
    target_include_directories(${name} PRIVATE ${CMAKE_CURRENT_SOURCE_DIR})
    target_link_libraries(${name} PRIVATE ${A_USES} avow_common)
    if(NOT A_NO_INSTALL)
        install(TARGETS ${name} RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
    endif()
endfunction()

# avow_unit_test(NAME SOURCES... USES lib...): a cmocka program in tests/bin, run by ctest with label `unit`.
function(avow_unit_test name)
    cmake_parse_arguments(A "" "LABEL" "SOURCES;USES" ${ARGN})
    if(NOT A_LABEL)
        set(A_LABEL unit)
    endif()
    add_executable(${name} ${A_SOURCES})
    target_link_libraries(${name} PRIVATE ${A_USES} Avow::cmocka avow_common)
    target_compile_definitions(${name} PRIVATE AVOW_TEST_VECTORS="${PROJECT_SOURCE_DIR}/tests/vectors")
    set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/tests)
    add_test(NAME ${name} COMMAND ${name})
    set_tests_properties(${name} PROPERTIES LABELS ${A_LABEL} TIMEOUT 120)
endfunction()

# avow_failing_alloc(NAME): the test can make its n-th allocation fail (tests/support/failing_alloc.h).
function(avow_failing_alloc name)
    target_sources(${name} PRIVATE ${PROJECT_SOURCE_DIR}/tests/support/failing_alloc.c)
    target_include_directories(${name} PRIVATE ${PROJECT_SOURCE_DIR}/tests/support)
    target_link_options(${name} PRIVATE -Wl,--wrap=malloc -Wl,--wrap=calloc -Wl,--wrap=realloc)
endfunction()

# avow_fuzz_target(NAME SOURCES... USES lib...): LLVMFuzzerTestOneInput. With AVOW_FUZZ a libFuzzer program in fuzz/;
# otherwise a test that replays tests/fuzz/corpus/NAME/ through it (tests/support/fuzz_replay.c).
function(avow_fuzz_target name)
    cmake_parse_arguments(A "" "" "SOURCES;USES" ${ARGN})
    if(AVOW_FUZZ)
        add_executable(${name} ${A_SOURCES})
        target_link_options(${name} PRIVATE -fsanitize=fuzzer)
        set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/fuzz)
    else()
        add_executable(${name} ${A_SOURCES} ${PROJECT_SOURCE_DIR}/tests/support/fuzz_replay.c)
        set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/tests)
        add_test(NAME ${name} COMMAND ${name} ${PROJECT_SOURCE_DIR}/tests/fuzz/corpus/${name})
        set_tests_properties(${name} PROPERTIES LABELS fuzz-replay TIMEOUT 120)
    endif()
    target_link_libraries(${name} PRIVATE ${A_USES} avow_common)
endfunction()
