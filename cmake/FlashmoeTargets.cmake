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
endfunction()

# flashmoe_test(NAME SOURCES a_test.cc ... DEPS folder ... LINK lib ...): one program per folder of tests/.
function(flashmoe_test name)
  cmake_parse_arguments(ARG "" "" "SOURCES;DEPS;LINK" ${ARGN})
  add_executable(${name}_tests ${ARG_SOURCES})
  list(TRANSFORM ARG_DEPS PREPEND flashmoe_)
  target_link_libraries(${name}_tests PRIVATE ${ARG_DEPS} ${ARG_LINK} GTest::gtest_main)
  target_include_directories(${name}_tests PRIVATE ${CMAKE_SOURCE_DIR})
  # The tests' own code need not be fast; this saves a third of the time that compiling it takes.
  target_compile_options(${name}_tests PRIVATE $<$<NOT:$<CONFIG:Debug>>:-O1>)
  target_compile_definitions(${name}_tests PRIVATE FLASHMOE_SOURCE_DIR="${CMAKE_SOURCE_DIR}"
                             FLASHMOE_BINARY="${CMAKE_BINARY_DIR}/flashmoe")
  include(GoogleTest)
  gtest_discover_tests(${name}_tests TEST_PREFIX "${name}." DISCOVERY_TIMEOUT 60
                       PROPERTIES TIMEOUT 600)
endfunction()
