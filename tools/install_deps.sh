#!/bin/sh
# Installs what is missing for one purpose: `build` the program, `test` it, all of `ci`, or what
# tools/test_arm64.sh (`arm64`) and tools/compile_macos.sh (`macos`) need.
# Debian 12 or later and its relatives; on other systems it only checks, and says what is needed.
set -eu

purpose=${1:-}
case $purpose in
  build)
    packages="g++ cmake ninja-build pkg-config libfmt-dev nlohmann-json3-dev libcli11-dev
              liburing-dev libpcre2-dev libutf8proc-dev liblz4-dev libxxhash-dev libedit-dev
              libboost1.81-dev"
    commands="c++ cmake ninja pkg-config"
    modules="fmt nlohmann_json CLI11 libpcre2-8 libutf8proc liblz4 libxxhash libedit"
    [ "$(uname -s)" != Linux ] || modules="$modules liburing"
    ;;
  test)
    packages="libgtest-dev xz-utils"
    commands="xz"
    modules="gtest"
    ;;
  ci)
    packages="clang libclang-rt-14-dev"
    commands="clang++"
    modules=""
    ;;
  arm64)
    packages="g++-aarch64-linux-gnu qemu-user"
    commands="aarch64-linux-gnu-g++ qemu-aarch64"
    modules=""
    ;;
  macos)
    packages="python3-venv"
    commands="python3"
    modules=""
    ;;
  *)
    echo "usage: $0 build|test|ci|arm64|macos" >&2
    exit 2
    ;;
esac

check_elsewhere() {
  missing=""
  for command in $commands; do
    command -v "$command" >/dev/null || missing="$missing $command"
  done
  for module in $modules; do
    pkg-config --exists "$module" 2>/dev/null || missing="$missing $module"
  done
  [ -n "$missing" ] || exit 0
  cat <<END
This system has no apt-get. To $purpose flashmoe, please install these first; missing:$missing
  Fedora    dnf install gcc-c++ cmake ninja-build pkgconf fmt-devel json-devel cli11-devel \\
            liburing-devel pcre2-devel utf8proc-devel lz4-devel xxhash-devel libedit-devel \\
            boost-devel gtest-devel xz
  Arch      pacman -S gcc cmake ninja pkgconf fmt nlohmann-json cli11 liburing pcre2 \\
            libutf8proc lz4 xxhash libedit boost gtest xz
  macOS     xcode-select --install; brew install cmake ninja pkgconf fmt nlohmann-json cli11 \\
            pcre2 utf8proc lz4 xxhash boost googletest xz
END
  exit 1
}

command -v apt-get >/dev/null || check_elsewhere

missing=""
for package in $packages; do
  status=$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null || true)
  [ "$status" = installed ] || missing="$missing $package"
done
[ -n "$missing" ] || exit 0

if [ "$(id -u)" = 0 ]; then
  as_root=env
elif command -v sudo >/dev/null; then
  as_root="sudo env"
else
  echo "Missing packages, and no sudo to install them. As root, run:" >&2
  echo "  apt-get install --no-install-recommends$missing" >&2
  exit 1
fi

echo "Installing, to $purpose flashmoe:$missing"
export_frontend="DEBIAN_FRONTEND=noninteractive"
$as_root $export_frontend apt-get -qq update
# shellcheck disable=SC2086  # words are meant to split
$as_root $export_frontend apt-get -qq install -y --no-install-recommends \
  -o Dpkg::Use-Pty=0 $missing
