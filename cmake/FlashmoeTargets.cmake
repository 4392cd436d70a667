# Parsing the same headers takes a third of the time that building takes; with FLASHMOE_PCH they are
# parsed once for src/ and once for tests/.
function(flashmoe_precompile target)
  if(FLASHMOE_PCH)
    file(WRITE ${CMAKE_CURRENT_BINARY_DIR}/${target}.cc "")
    add_library(${target} OBJECT ${CMAKE_CURRENT_BINARY_DIR}/${target}.cc)
    target_link_libraries(${target} PRIVATE fmt::fmt nlohmann_json::nlohmann_json)
    target_precompile_headers(${target} PRIVATE
      <algorithm> <chrono> <functional> <map> <memory> <mutex> <optional> <span> <string> <thread>
      <vector> <fmt/format.h> <nlohmann/json.hpp> ${ARGN})
  endif()
endfunction()

# flashmoe_library(NAME SOURCES a.cc ... DEPS base ... LINK lib ...)
# One folder of src/ is one static library. DEPS lists the folders it may include: the link list is
# the layering rule (docs/architecture.md), and tests/layering checks the includes against it.
function(flashmoe_library name)
  cmake_parse_arguments(ARG "" "" "SOURCES;DEPS;LINK" ${ARGN})
  add_library(flashmoe_${name} STATIC ${ARG_SOURCES})
  target_include_directories(flashmoe_${name} PUBLIC ${CMAKE_SOURCE_DIR}/src
                                                     ${CMAKE_SOURCE_DIR}/include)
  list(TRANSFORM ARG_DEPS PREPEND flashmoe_)
  target_link_libraries(flashmoe_${name} PUBLIC ${ARG_DEPS} fmt::fmt PRIVATE ${ARG_LINK})
  if(FLASHMOE_PCH)
    target_precompile_headers(flashmoe_${name} REUSE_FROM precompiled)
  endif()
endfunction()

# The tests' own code need not be fast; this saves up to half of the time that compiling it takes.
if(FLASHMOE_SANITIZE)
  set(FLASHMOE_TEST_OPTIONS -O0)
else()
  set(FLASHMOE_TEST_OPTIONS $<$<NOT:$<CONFIG:Debug>>:-O1>)
endif()

# flashmoe_test(NAME SOURCES a_test.cc ... DEPS folder ... LINK lib ...): one program per folder of tests/.
function(flashmoe_test name)
  cmake_parse_arguments(ARG "" "" "SOURCES;DEPS;LINK" ${ARGN})
  add_executable(${name}_tests ${ARG_SOURCES})
  list(TRANSFORM ARG_DEPS PREPEND flashmoe_)
  target_link_libraries(${name}_tests PRIVATE ${ARG_DEPS} ${ARG_LINK} GTest::gtest_main)
  target_include_directories(${name}_tests PRIVATE ${CMAKE_SOURCE_DIR})
  target_compile_options(${name}_tests PRIVATE ${FLASHMOE_TEST_OPTIONS})
  target_compile_definitions(${name}_tests PRIVATE FLASHMOE_SOURCE_DIR="${CMAKE_SOURCE_DIR}"
                             FLASHMOE_BINARY="${CMAKE_BINARY_DIR}/flashmoe")
  if(FLASHMOE_PCH)
    target_precompile_headers(${name}_tests REUSE_FROM precompiled_tests)
  endif()
  include(GoogleTest)
  gtest_discover_tests(${name}_tests TEST_PREFIX "${name}." DISCOVERY_TIMEOUT 60
                       PROPERTIES TIMEOUT 600)
endfunction()
