# Takes the place of find_package where only the headers of the host's libraries can be used,
# because the program is for another system. For CMAKE_PROJECT_TOP_LEVEL_INCLUDES. The folder of
# headers holds links to those of the libraries alone: the host's C library must stay out of sight.
set(folder "${CMAKE_BINARY_DIR}/headers")
file(MAKE_DIRECTORY "${folder}")
foreach(name boost CLI fmt histedit.h lz4.h nlohmann pcre2.h utf8proc.h xxhash.h)
  find_file(header_${name} ${name} PATHS /usr/include NO_DEFAULT_PATH REQUIRED)
  file(CREATE_LINK "${header_${name}}" "${folder}/${name}" SYMBOLIC)
endforeach()

foreach(library fmt::fmt nlohmann_json::nlohmann_json CLI11::CLI11 Boost::headers
                PkgConfig::LIBEDIT PkgConfig::LZ4 PkgConfig::PCRE2 PkgConfig::UTF8PROC)
  add_library(${library} INTERFACE IMPORTED)
  target_include_directories(${library} SYSTEM INTERFACE "${folder}")
endforeach()
target_compile_definitions(fmt::fmt INTERFACE FMT_HEADER_ONLY)

macro(pkg_check_modules)
endmacro()

macro(use_headers method package)
  if(NOT ${package} STREQUAL "Threads")
    set(${package}_FOUND TRUE)
  endif()
endmacro()
cmake_language(SET_DEPENDENCY_PROVIDER use_headers SUPPORTED_METHODS FIND_PACKAGE)
