# cmake -DSOURCE_DIR=... -DOUTPUT=... -P WriteCommit.cmake: writes a source file that names the
# commit, at every build, and touches it only when that changes.
find_package(Git QUIET)
set(commit unknown)
if(GIT_FOUND)
  execute_process(
    COMMAND ${GIT_EXECUTABLE} -C ${SOURCE_DIR} describe --always --dirty=+ --exclude=*
    OUTPUT_VARIABLE described OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET RESULT_VARIABLE failed)
  if(NOT failed)
    set(commit ${described})
  endif()
endif()
set(text "#include \"bench/commit.h\"\n\nnamespace flashmoe::bench {\n
const char* commit_name() { return \"${commit}\"; }\n\n}  // namespace flashmoe::bench\n")
if(EXISTS ${OUTPUT})
  file(READ ${OUTPUT} old)
endif()
if(NOT "${old}" STREQUAL "${text}")
  file(WRITE ${OUTPUT} "${text}")
endif()
