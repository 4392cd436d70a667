#!/bin/bash
# Compiles all of src/ for arm64 macOS on Debian 12 or later, into build/macos, with the C++ compiler
# of Zig, which needs no SDK. The other libraries are there as headers only, so the program is not
# linked, and nothing is run. The compiler (100 MB to fetch) is installed into build/macos/venv.
set -euo pipefail
cd "$(dirname "$0")/.."

readonly build=build/macos
readonly compiler='ziglang==0.17.1'

tools/install_deps.sh build
tools/install_deps.sh macos
if [[ ! -e $build/venv/complete ]]; then
  python3 -m venv --clear "$build/venv"
  "$build/venv/bin/pip" --quiet --disable-pip-version-check install "$compiler"
  touch "$build/venv/complete"
fi
zig=$("$build/venv/bin/python" -c 'import pathlib, ziglang
print(pathlib.Path(ziglang.__file__).parent / "zig")')

# Unoptimised, where Zig would add checks of its own: what counts is that it compiles.
cmake -S . -B "$build" -G Ninja -DCMAKE_TOOLCHAIN_FILE=cmake/arm64-macos.cmake -DZIG="$zig" \
  -DCMAKE_PROJECT_TOP_LEVEL_INCLUDES=cmake/header_libraries.cmake -DCMAKE_BUILD_TYPE=None \
  -DCMAKE_CXX_FLAGS='-O0 -fno-sanitize=undefined' -DFLASHMOE_WERROR=ON -DFLASHMOE_PCH=ON
cmake --build "$build"
