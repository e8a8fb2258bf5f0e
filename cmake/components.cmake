# SPDX-License-Identifier: Apache-2.0
# How a component is built: one static library each. A component may include only headers of those that it links.

# Warnings are errors for our own code; generated code does not link this target.
add_library(nrtd_flags INTERFACE)
target_include_directories(nrtd_flags INTERFACE ${CMAKE_SOURCE_DIR})
target_compile_options(nrtd_flags INTERFACE -Wall -Wextra -Wpedantic -Wshadow -Wnon-virtual-dtor
                                            -Woverloaded-virtual -Wcast-qual -Werror)
if(CMAKE_CXX_COMPILER_ID STREQUAL "Clang")
  target_compile_options(nrtd_flags INTERFACE -Wthread-safety)
endif()
if(CMAKE_UNITY_BUILD AND CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  # It takes the sources that a unity source includes for headers.
  target_compile_options(nrtd_flags INTERFACE -Wno-subobject-linkage)
endif()

# The same everywhere, or targets could not share precompiled headers.
add_compile_options(-fPIE -pthread)
add_link_options(-pie -pthread)

set(CMAKE_CXX_FLAGS_SANITIZE "-g1 -fno-omit-frame-pointer" CACHE STRING "" FORCE)
set(CMAKE_CXX_FLAGS_RELEASE "-O2 -g1" CACHE STRING "" FORCE)
if(NRTD_SANITIZER STREQUAL "address")
  # Without optimisation: what is compiled runs only for a while, and half of the time would go into compiling.
  add_compile_options(-O0 -fsanitize=address,undefined -fno-sanitize-recover=undefined)
  add_link_options(-fsanitize=address,undefined)
elseif(NRTD_SANITIZER STREQUAL "thread")
  add_compile_options(-O1 -fsanitize=thread)
  add_link_options(-fsanitize=thread)
elseif(NRTD_SANITIZER STREQUAL "fuzzer")
  add_compile_options(-O1 -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=undefined)
  add_link_options(-fsanitize=address,undefined)
elseif(NOT NRTD_SANITIZER STREQUAL "")
  message(FATAL_ERROR "NRTD_SANITIZER is '${NRTD_SANITIZER}'; use address, thread, fuzzer or nothing")
endif()
if(NRTD_SANITIZER)
  add_compile_definitions(NRTD_SANITIZED)  # for tests whose numbers mean nothing then
endif()
find_program(NRTD_LLD ld.lld)
if(NRTD_LLD)
  add_link_options(-fuse-ld=lld)
endif()

# What users run, without the tests: the target of ./dev demo and ./dev bench.
add_custom_target(binaries)
# What ./dev fuzz runs.
add_custom_target(fuzzers)

# Tests run for a moment: what optimisation would win them is less than it takes.
set(nrtd_test_options -O0)

# nrtd_precompiled(<name> HEADERS ... LINKS ... [OPTIONS ...]): headers that take seconds to parse, parsed once for all targets that
# nrtd_use_precompiled(<target> <name>). Sources include what they need all the same.
function(nrtd_precompiled name)
  cmake_parse_arguments(ARG "" "" "HEADERS;LINKS;OPTIONS" ${ARGN})
  file(GENERATE OUTPUT ${CMAKE_CURRENT_BINARY_DIR}/${name}.cc CONTENT "// Gives the headers a target.\n")
  add_library(${name} STATIC ${CMAKE_CURRENT_BINARY_DIR}/${name}.cc)
  target_link_libraries(${name} PRIVATE nrtd_flags ${ARG_LINKS})
  target_compile_options(${name} PRIVATE ${ARG_OPTIONS})
  target_precompile_headers(${name} PRIVATE ${ARG_HEADERS})
endfunction()
function(nrtd_use_precompiled target name)
  target_precompile_headers(${target} REUSE_FROM ${name})
endfunction()

# nrtd_library(<component> SOURCES ... [PUBLIC targets...] [PRIVATE targets...] [PRECOMPILED name])
function(nrtd_library component)
  cmake_parse_arguments(ARG "" "PRECOMPILED" "SOURCES;PUBLIC;PRIVATE" ${ARGN})
  add_library(nrtd_${component} STATIC ${ARG_SOURCES})
  if(NOT ARG_PRECOMPILED)
    set(ARG_PRECOMPILED nrtd_common_headers)
  endif()
  nrtd_use_precompiled(nrtd_${component} ${ARG_PRECOMPILED})
  target_link_libraries(nrtd_${component} PUBLIC ${ARG_PUBLIC} PRIVATE nrtd_flags ${ARG_PRIVATE})
  target_include_directories(nrtd_${component} PUBLIC ${CMAKE_SOURCE_DIR})
endfunction()

# nrtd_binary(<name> SOURCES ... LINKS ... [PRECOMPILED name]): an executable in bin/.
function(nrtd_binary name)
  cmake_parse_arguments(ARG "" "PRECOMPILED" "SOURCES;LINKS" ${ARGN})
  add_executable(${name} ${ARG_SOURCES})
  target_link_libraries(${name} PRIVATE nrtd_flags ${ARG_LINKS})
  if(ARG_PRECOMPILED)
    nrtd_use_precompiled(${name} ${ARG_PRECOMPILED})
  endif()
  add_dependencies(binaries ${name})
endfunction()

# nrtd_test(<component> SOURCES ... LINKS ... [LABEL unit|integration] [PRECOMPILED name]): one GoogleTest
# binary per component.
# Unit tests share a process, because a process a test took longer than the tests; all others, which have a daemon each, are
# known to ctest by name. Test data is read relative to the source tree.
function(nrtd_test component)
  cmake_parse_arguments(ARG "" "LABEL;TIMEOUT;PRECOMPILED" "SOURCES;LINKS" ${ARGN})
  if(NOT ARG_PRECOMPILED)
    set(ARG_PRECOMPILED nrtd_test_headers)
  endif()
  if(NOT ARG_LABEL)
    set(ARG_LABEL unit)
  endif()
  if(NOT ARG_TIMEOUT)
    set(ARG_TIMEOUT 120)
  endif()
  add_executable(${component}_test ${ARG_SOURCES})
  target_link_libraries(${component}_test PRIVATE nrtd_flags ${ARG_LINKS} GTest::gmock GTest::gtest_main)
  set_target_properties(${component}_test PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/test)
  target_compile_options(${component}_test PRIVATE ${nrtd_test_options})
  nrtd_use_precompiled(${component}_test ${ARG_PRECOMPILED})
  target_compile_definitions(${component}_test PRIVATE NRTD_SOURCE_DIR="${CMAKE_SOURCE_DIR}"
                                                  NRTD_BINARY_DIR="${CMAKE_RUNTIME_OUTPUT_DIRECTORY}")
  if(ARG_LABEL STREQUAL unit)
    add_test(NAME ${component} COMMAND ${component}_test)
    set_tests_properties(${component} PROPERTIES LABELS unit TIMEOUT 900)
  else()
    gtest_discover_tests(${component}_test TEST_PREFIX "${component}." DISCOVERY_TIMEOUT 60
                         PROPERTIES LABELS ${ARG_LABEL} TIMEOUT ${ARG_TIMEOUT})
  endif()
endfunction()

# nrtd_fuzz(<name> SOURCES ... LINKS ...): a libFuzzer target in the fuzz preset, its corpus in test/fuzz/corpus/<name>.
function(nrtd_fuzz name)
  if(NOT NRTD_SANITIZER STREQUAL "fuzzer")
    return()
  endif()
  cmake_parse_arguments(ARG "" "" "SOURCES;LINKS" ${ARGN})
  add_executable(${name} ${ARG_SOURCES})
  target_link_libraries(${name} PRIVATE nrtd_flags ${ARG_LINKS})
  target_link_options(${name} PRIVATE -fsanitize=fuzzer)
  add_dependencies(fuzzers ${name})
  set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/fuzz)
endfunction()
