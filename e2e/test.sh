#!/usr/bin/env bash
# `make test`: everything that ends in at most 45 minutes, cold, on two cores. STORY=n runs the stories of that number,
# STORY=fire_n the tests of the spine under fire of that number: those on a real cluster, and those that need none.
set -uo pipefail
cd "$(dirname "$0")/.."
. e2e/steps.sh

# One that is left out is listed at the end with its reason, so it has to have one.
ignored_tests_say_why() {
    ! grep -rn --include='*.rs' -E '[[, ]ignore *[])]' api crds operator e2e helm
}

# They are only run by `make mutants`: what they are taken from must not drift away meanwhile.
mutants_apply() {
    local patch bad=0
    for patch in e2e/mutants/*.patch; do
        git apply --check "$patch" || bad=1
    done
    return $bad
}

everything() {
    step "format" cargo fmt --all --check
    step "an ignored test says why" ignored_tests_say_why
    step "mutants apply" mutants_apply
    build_tests
    without_cluster "unit, store, API, operator and testbed" 'not (binary(stories) | binary(up))'
    # Stories wait for the cluster most of their time. A target directory of their own: cargo locks it while it builds.
    aside "lints" env CARGO_TARGET_DIR="$cache/lints" \
        cargo clippy --locked -q "${packages[@]}" --all-targets -- -D warnings
    aside "dependencies: bans, licences, sources" e2e/dependencies.sh
    on_a_cluster "stories" "binary(stories)"
    ask_asides
    # After the stories: what it brings up is built then.
    # shellcheck disable=SC2034 # suite reads it by its name
    local of_up=(--offline "${packages[@]}" -E 'binary(up)')
    suite "make up, interrupted and run again" of_up
}

# Whether a filter selects any test.
selects() {
    local listed
    listed=$(cargo nextest list --locked "${packages[@]}" --cargo-quiet --message-format oneline -E "$1")
    [ -n "$listed" ]
}

# Those whose name begins with the number, in whatever module.
of_number() {
    local name=$STORY filter found=false
    [[ $name == fire_* ]] || name=story_$name
    filter="package(threeport-e2e) & test(/(^|::)${name}_/)"
    build_tests
    if selects "$filter - binary(stories)"; then
        found=true
        without_cluster "${name}_..., without a cluster" "$filter - binary(stories)"
    fi
    if selects "$filter & binary(stories)"; then
        found=true
        on_a_cluster "${name}_..., on a cluster" "$filter & binary(stories)"
    fi
    step "there are tests called ${name}_..." "$found"
}

# A function, so that bash has read all of it before it starts: the file may change while it runs.
main() {
    prepare
    if [ -z "${STORY:-}" ]; then everything; else of_number; fi
    finish
}

main
