# The C core as the extension and the C tests share it: which files, which flags.

option(SS_WERROR "Treat warnings as errors" OFF)
set(SS_SANITIZE "" CACHE STRING "Sanitizers to build with, as in -fsanitize=")

# Bytes of addresses that all memories share (memory/memory.c; by default 64 TiB). An emulator keeps books on each page of it.
set(SS_ADDRESS_SPACE "" CACHE STRING "Bytes of address space for all memories together")

set(CMAKE_C_STANDARD 11)
set(CMAKE_C_STANDARD_REQUIRED ON)
set(CMAKE_C_EXTENSIONS OFF)
find_package(Threads REQUIRED)
set(SS_LAYERS core memory storage structures ic0)
foreach(layer IN LISTS SS_LAYERS)
  file(GLOB SS_LAYER_SOURCES CONFIGURE_DEPENDS "${CMAKE_CURRENT_LIST_DIR}/${layer}/*.c")
  file(GLOB SS_LAYER_HEADERS RELATIVE "${CMAKE_CURRENT_LIST_DIR}" CONFIGURE_DEPENDS "${CMAKE_CURRENT_LIST_DIR}/${layer}/*.h")
  list(APPEND SS_CORE_SOURCES ${SS_LAYER_SOURCES})
  list(APPEND SS_CORE_HEADERS ${SS_LAYER_HEADERS})
endforeach()

# What every target with C of ours has.
add_library(ss_options INTERFACE)
target_include_directories(ss_options INTERFACE "${CMAKE_CURRENT_LIST_DIR}")
# Empty as in a plain #define, so that a file which defines it for itself does not redefine it.
target_compile_definitions(ss_options INTERFACE $<$<PLATFORM_ID:Linux>:_GNU_SOURCE=> $<$<PLATFORM_ID:Darwin>:_DARWIN_C_SOURCE=>)
if(SS_ADDRESS_SPACE)
  target_compile_definitions(ss_options INTERFACE SS_ADDRESS_SPACE=UINT64_C\(${SS_ADDRESS_SPACE}\))
endif()
target_compile_options(
  ss_options
  INTERFACE -Wall
            -Wextra
            -Wcast-align
            -Wconversion
            -Wdouble-promotion
            -Wformat=2
            -Wmissing-prototypes
            -Wpointer-arith
            -Wshadow
            -Wstrict-prototypes
            -Wundef
            -Wvla
            -Wwrite-strings
            $<$<BOOL:${SS_WERROR}>:-Werror>)
target_link_libraries(ss_options INTERFACE Threads::Threads)
if(SS_SANITIZE)
  target_compile_options(ss_options INTERFACE -fsanitize=${SS_SANITIZE} -fno-sanitize-recover=all -fno-omit-frame-pointer)
  target_link_options(ss_options INTERFACE -fsanitize=${SS_SANITIZE})
endif()

add_library(ss_core OBJECT ${SS_CORE_SOURCES})
set_target_properties(ss_core PROPERTIES POSITION_INDEPENDENT_CODE ON C_VISIBILITY_PRESET hidden)
target_link_libraries(ss_core PRIVATE ss_options)
