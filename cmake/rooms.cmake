# SPDX-License-Identifier: Apache-2.0
# How a room is built: one static library each, and the links between them are the rule of who may look into which.

# Warnings are errors for our own code; generated code does not link this target.
add_library(nrtd_flags INTERFACE)
target_include_directories(nrtd_flags INTERFACE ${CMAKE_SOURCE_DIR})
target_compile_options(nrtd_flags INTERFACE -Wall -Wextra -Wpedantic -Wshadow -Wnon-virtual-dtor
                                            -Woverloaded-virtual -Wcast-qual -Werror)
if(CMAKE_CXX_COMPILER_ID STREQUAL "Clang")
  target_compile_options(nrtd_flags INTERFACE -Wthread-safety)
endif()

set(CMAKE_CXX_FLAGS_SANITIZE "-O1 -g1 -fno-omit-frame-pointer" CACHE STRING "" FORCE)
set(CMAKE_CXX_FLAGS_RELEASE "-O2 -g1" CACHE STRING "" FORCE)
if(NRTD_SANITIZER STREQUAL "address")
  add_compile_options(-fsanitize=address,undefined -fno-sanitize-recover=undefined)
  add_link_options(-fsanitize=address,undefined)
elseif(NRTD_SANITIZER STREQUAL "thread")
  add_compile_options(-fsanitize=thread)
  add_link_options(-fsanitize=thread)
elseif(NRTD_SANITIZER STREQUAL "fuzzer")
  add_compile_options(-fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=undefined)
  add_link_options(-fsanitize=address,undefined)
elseif(NOT NRTD_SANITIZER STREQUAL "")
  message(FATAL_ERROR "NRTD_SANITIZER is '${NRTD_SANITIZER}'; use address, thread, fuzzer or nothing")
endif()
find_program(NRTD_LLD ld.lld)
if(NRTD_LLD)
  add_link_options(-fuse-ld=lld)
endif()

# What users run, without the tests: the target of ./dev demo and ./dev bench.
add_custom_target(binaries)

# nrtd_library(<room> SOURCES ... [PUBLIC targets...] [PRIVATE targets...])
function(nrtd_library room)
  cmake_parse_arguments(ARG "" "" "SOURCES;PUBLIC;PRIVATE" ${ARGN})
  add_library(nrtd_${room} STATIC ${ARG_SOURCES})
  target_link_libraries(nrtd_${room} PUBLIC ${ARG_PUBLIC} PRIVATE nrtd_flags ${ARG_PRIVATE})
  target_include_directories(nrtd_${room} PUBLIC ${CMAKE_SOURCE_DIR})
endfunction()

# nrtd_binary(<name> SOURCES ... LINKS ...): an executable in bin/.
function(nrtd_binary name)
  cmake_parse_arguments(ARG "" "" "SOURCES;LINKS" ${ARGN})
  add_executable(${name} ${ARG_SOURCES})
  target_link_libraries(${name} PRIVATE nrtd_flags ${ARG_LINKS})
  add_dependencies(binaries ${name})
endfunction()

# nrtd_test(<room> SOURCES ... LINKS ... [LABEL unit|integration]): one GoogleTest binary a room.
# Each test gets its own process; test data is read relative to the source tree.
function(nrtd_test room)
  cmake_parse_arguments(ARG "" "LABEL;TIMEOUT" "SOURCES;LINKS" ${ARGN})
  if(NOT ARG_LABEL)
    set(ARG_LABEL unit)
  endif()
  if(NOT ARG_TIMEOUT)
    set(ARG_TIMEOUT 120)
  endif()
  add_executable(${room}_test ${ARG_SOURCES})
  target_link_libraries(${room}_test PRIVATE nrtd_flags ${ARG_LINKS} GTest::gmock GTest::gtest_main)
  set_target_properties(${room}_test PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/test)
  target_compile_definitions(${room}_test PRIVATE NRTD_SOURCE_DIR="${CMAKE_SOURCE_DIR}"
                                                  NRTD_BINARY_DIR="${CMAKE_RUNTIME_OUTPUT_DIRECTORY}")
  gtest_discover_tests(${room}_test TEST_PREFIX "${room}." DISCOVERY_TIMEOUT 60
                       PROPERTIES LABELS ${ARG_LABEL} TIMEOUT ${ARG_TIMEOUT})
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
  set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/fuzz)
endfunction()
