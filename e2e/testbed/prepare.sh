#!/bin/sh
# What cargo needs before it can build the testbed's program, which checks and installs everything else itself.
# Changes nothing when nothing is missing.
set -eu

packages="binutils gcc libc6-dev lld"

fail() {
    echo "prepare: $1" >&2
    exit 1
}

[ "$(uname -s)" = Linux ] || fail "the testbed runs on Linux, and images are made of programs that are built here"
[ "$(id -u)" -eq 0 ] || fail "the testbed starts containers and makes network namespaces: run it as root"
command -v cargo >/dev/null || fail "cargo is not in PATH: install Rust (rust-toolchain.toml says which)"
command -v go >/dev/null || fail "go is not in PATH: install Go 1.26 or newer"

missing=""
for package in $packages; do
    dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing="$missing $package"
done
if [ -n "$missing" ]; then
    command -v apt-get >/dev/null || fail "missing:$missing; and there is no apt-get to install them with"
    echo "Install Debian packages:$missing (about 20 s)"
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -q
    # shellcheck disable=SC2086 # a list of names
    apt-get install -q -y -o Dpkg::Use-Pty=0 --no-install-recommends $missing </dev/null
fi
if ! [ -x "${CARGO_TARGET_DIR:-target}/debug/threeport-up" ]; then
    echo "cargo builds the testbed's program, about a minute. That says then how long the rest takes: 20 to 25 minutes on"
    echo "two cores where nothing was built before."
fi
