#!/bin/bash
# Tries the two commands that a newcomer types, in a bare Debian 12 with git and make alone: clones
# this repository's HEAD into a fresh debootstrap root, runs them there and prints how long they
# took. Needs root, debootstrap and the network; leaves nothing behind.
#
#   tools/try_bare_root.sh            make run, then make test
#   tools/try_bare_root.sh run|test   one of them alone
#
# MIRROR names another Debian mirror, PROMPT another prompt.
set -euo pipefail

readonly repository=$(cd "$(dirname "$0")/.." && pwd)
readonly prompt=${PROMPT:-Explain quantum computing}
readonly what=${1:-both}
case $what in run | test | both) ;; *) sed -n '2,9s/^# \?//p' "$0" >&2; exit 2 ;; esac
if ((EUID != 0)); then echo "$0 needs root" >&2; exit 1; fi
command -v debootstrap >/dev/null || { echo "$0 needs debootstrap" >&2; exit 1; }

root=$(mktemp -d "${TMPDIR:-/tmp}/flashmoe-root.XXXXXX")
chmod 755 "$root"  # apt downloads as a user of its own
child=
clean_up() {
  trap "" INT TERM
  # With its first process every process in the root ends, and with them the only mounts below it.
  [[ -z $child ]] || { kill -KILL "$child"; wait "$child"; } 2>/dev/null || true
  rm -rf --one-file-system "$root"
}
trap clean_up EXIT
trap 'exit 1' INT TERM

# Runs a command in the root, in namespaces of its own, with a clean environment. In the background,
# so that a signal to this script is heeded at once.
inside() {
  unshare --mount --pid --fork --kill-child --mount-proc="$root/proc" chroot "$root" \
    env -i HOME=/root LANG=C.UTF-8 PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    ${http_proxy:+http_proxy="$http_proxy"} ${https_proxy:+https_proxy="$https_proxy"} "$@" &
  child=$!
  wait "$child"
  child=
}

timed() {
  local name=$1 begin=$SECONDS
  shift
  echo "== $name"
  "$@"
  times+=("$(printf '%5d s  %s' $((SECONDS - begin)) "$name")")
}
times=()

echo "== debootstrap"
unshare --mount debootstrap --variant=minbase --include=git,make,ca-certificates bookworm \
  "$root" ${MIRROR:+"$MIRROR"} >/dev/null
cp /etc/resolv.conf "$root/etc/resolv.conf"
# The host's mirror and its settings, where the host is a Debian too.
if [[ -f /etc/apt/sources.list.d/debian.sources ]]; then
  rm -f "$root/etc/apt/sources.list"
  cp /etc/apt/sources.list.d/debian.sources "$root/etc/apt/sources.list.d/"
fi
cp /etc/apt/apt.conf.d/* "$root/etc/apt/apt.conf.d/" 2>/dev/null || true

timed 'git clone' git clone --quiet --no-hardlinks "$repository" "$root/root/flashmoe"
[[ $what == test ]] || timed 'make run' inside make -C /root/flashmoe run PROMPT="$prompt"
[[ $what == run ]] || timed 'make test' inside make -C /root/flashmoe test

echo "== Debian $(cat "$root/etc/debian_version"), $(nproc) cores, $(git -C "$repository" rev-parse --short HEAD)"
printf '%s\n' "${times[@]}"
