#!/usr/bin/env bash
# `make soak`: the long forms of all stories and of the spine under fire, an hour or so. Tests that have one ask for it by
# `form::is_long`; the sizes of both forms are at the top of their files.
set -uo pipefail
cd "$(dirname "$0")/.."
export THREEPORT_SOAK=1
export NEXTEST_PROFILE=soak
. e2e/steps.sh

# A function, so that bash has read all of it before it starts: the file may change while it runs.
main() {
    prepare
    build_tests
    without_cluster "long forms without a cluster" '(package(threeport-e2e) & test(/(^|::)(fire|story)_/) - binary(stories))
        | (package(threeport-store) & test(/^tests::growth::/)) | (package(threeport-server) & test(/^state_machine::/))'
    on_a_cluster "long forms on a cluster" 'binary(stories)'
    finish
}

main
