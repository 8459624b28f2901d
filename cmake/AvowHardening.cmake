# Hardening of what is shipped; sanitizers bring their own.
add_library(avow_hardening INTERFACE)
target_compile_options(avow_hardening INTERFACE -fstack-protector-strong -fno-strict-aliasing)
if(NOT AVOW_SANITIZE AND NOT AVOW_FUZZ)
    target_compile_options(avow_hardening INTERFACE
        $<$<CONFIG:Release>:-U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=2> -fstack-clash-protection -fcf-protection)
    target_link_options(avow_hardening INTERFACE -Wl,-z,relro,-z,now -Wl,-z,noexecstack -pie)
endif()
# assert states programmer invariants and stays on in every build.
string(REPLACE "-DNDEBUG" "" CMAKE_C_FLAGS_RELEASE "${CMAKE_C_FLAGS_RELEASE}")
string(REPLACE "-DNDEBUG" "" CMAKE_C_FLAGS_RELWITHDEBINFO "${CMAKE_C_FLAGS_RELWITHDEBINFO}")
