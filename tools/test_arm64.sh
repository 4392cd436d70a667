#!/bin/bash
# Builds flashmoe for arm64 Linux with a cross compiler and runs tests in an emulator, on Debian 12
# or later, into build/arm64. The compiler and the emulator are installed if missing; the arm64
# libraries are unpacked into build/arm64/root, so nothing of another architecture gets into the
# system. Arguments are the folders of tests/ to run; by default those that the instruction set and
# the platform touch.
set -euo pipefail
cd "$(dirname "$0")/.."

readonly build=$PWD/build/arm64
readonly root=$build/root
readonly packages='libfmt-dev libfmt9 nlohmann-json3-dev libcli11-dev liburing-dev liburing2
  libpcre2-dev libpcre2-8-0 libutf8proc-dev libutf8proc2 liblz4-dev liblz4-1 libxxhash-dev
  libxxhash0 libboost1.81-dev libedit-dev libedit2 libbsd-dev libbsd0 libmd0 libncurses-dev libtinfo6
  libgtest-dev'

if (($# > 0)); then folders=("$@"); else folders=(base io quant kernels experts engine); fi

# The system's package sources, with lists of their own for arm64.
arm64_apt() {
  apt-get -qq -o APT::Architecture=arm64 -o APT::Architectures=arm64 -o APT::Sandbox::User=root \
    -o Dir::State="$build/apt" -o Dir::State::status="$build/apt/status" \
    -o Dir::Cache="$build/apt" "$@"
}

unpack_libraries() {
  mkdir -p "$build/apt/lists/partial" "$build/apt/archives/partial" "$build/debs" "$root"
  touch "$build/apt/status"
  arm64_apt update
  # shellcheck disable=SC2046,SC2086  # words are meant to split
  (cd "$build/debs" && arm64_apt download $packages)
  local package
  for package in "$build"/debs/*.deb; do dpkg-deb -x "$package" "$root"; done
  touch "$root/complete"
}

tools/install_deps.sh test
tools/install_deps.sh arm64
[[ -e $root/complete ]] || unpack_libraries

cmake -S . -B "$build" -G Ninja -DCMAKE_TOOLCHAIN_FILE=cmake/arm64-linux.cmake \
  -DARM64_ROOT="$root" -DCMAKE_BUILD_TYPE=Release -DFLASHMOE_TESTS=ON -DFLASHMOE_WERROR=ON
cmake --build "$build" --target "${folders[@]/%/_tests}"
names=$(IFS='|' && echo "${folders[*]}")
# Not what starts a program: an emulated test would start it without the emulator.
ctest --test-dir "$build" --output-on-failure -j "$(getconf _NPROCESSORS_ONLN)" -R "^($names)\\." \
  -E 'DeathTest\.|^engine\.MemoryTest\.'

# Code for dot products must stay where it was chosen.
if [[ " ${folders[*]} " == *' kernels '* ]]; then
  qemu-aarch64 -cpu cortex-a57 -L /usr/aarch64-linux-gnu "$build/tests/kernels/kernels_tests" \
    --gtest_brief=1
fi
