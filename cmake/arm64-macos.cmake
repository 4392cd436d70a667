# Toolchain: from Linux to arm64 macOS, with the C++ compiler of Zig (ZIG is its program), which
# brings Apple's C library and its own C++ library as headers. It compiles; programs are not linked,
# because the other libraries are there as headers only (header_libraries.cmake).
set(CMAKE_SYSTEM_NAME Darwin)
set(CMAKE_SYSTEM_PROCESSOR arm64)
set(CMAKE_C_COMPILER "${ZIG}" cc -target aarch64-macos)
set(CMAKE_CXX_COMPILER "${ZIG}" c++ -target aarch64-macos)
set(CMAKE_OSX_SYSROOT "")
set(CMAKE_TRY_COMPILE_TARGET_TYPE STATIC_LIBRARY)
set(CMAKE_TRY_COMPILE_PLATFORM_VARIABLES ZIG)
set(CMAKE_CXX_ARCHIVE_FINISH "")
set(CMAKE_CXX_LINK_EXECUTABLE "<CMAKE_COMMAND> -E touch <TARGET>")
