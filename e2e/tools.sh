#!/usr/bin/env bash
# The named cargo tools of `make test`, in pinned versions, kept in the cache. Unoptimised and without debug information:
# they build in a fourth of the time, and what they do is wait for others.
set -euo pipefail
export CARGO_PROFILE_DEV_DEBUG=false CARGO_INCREMENTAL=0
tools=${XDG_CACHE_HOME:-$HOME/.cache}/threeport/tools

# The name, the version, and what else cargo is told.
install() {
    local name=$1 version=$2
    shift 2
    if "$tools/bin/$name" --version 2>/dev/null | grep -qF "$version"; then return; fi
    echo "building $name $version, about two minutes"
    cargo install "$name" --version "$version" "$@" --locked --debug --quiet --root "$tools"
}

for tool in "$@"; do
    case $tool in
        # Without the updater, which has a web client of its own.
        cargo-nextest) install "$tool" 0.9.151 --no-default-features --features default-no-update ;;
        cargo-deny) install "$tool" 0.20.2 ;;
        *)
            echo "e2e/tools.sh: no tool $tool is pinned" >&2
            exit 2
            ;;
    esac
done
