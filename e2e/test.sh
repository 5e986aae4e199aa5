#!/usr/bin/env bash
# `make test`: everything that ends in at most 45 minutes, cold, on two cores. STORY=n runs the stories of that number.
#
# Each step counts as one test where it is not a test run of its own. Ends with what was skipped and why, how long it
# took, and `N passed, N failed, N skipped`; a failed step doesn't keep the later ones from running, unless nothing can
# be built.
set -uo pipefail
cd "$(dirname "$0")/.."

cache=${XDG_CACHE_HOME:-$HOME/.cache}/threeport
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$cache/target}
export PATH=$cache/tools/bin:$PATH
# What failed and on what is in the messages; forty lines of frames above them only hide it.
export RUST_BACKTRACE=0
state=${THREEPORT_TEST_STATE:-$cache/test}
# nextest keeps its reports beside the workspace, wherever the target directory is.
results=target/nextest/default/junit.xml
mkdir -p "$state"
passed=0 failed=0 failures=() skips=()

say() { printf '\n[%s] %s\n' "$(date +%H:%M:%S)" "$*"; }

# One step that either passes or fails.
step() {
    local name=$1
    shift
    say "$name"
    if "$@"; then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
        failures+=("$name")
        return 1
    fi
}

# A test run: its name, which tests (what `cargo nextest run` and `list` take), and what it runs within. Its numbers come
# from the report that nextest writes, which has every test that ran.
suite() {
    local name=$1 run bad left_out line
    local -n selected=$2
    shift 2
    say "$name"
    if left_out=$(e2e/skipped.sh "${selected[@]}"); then
        while read -r line; do [ -z "$line" ] || skips+=("$line"); done <<<"$left_out"
    else
        failed=$((failed + 1))
        failures+=("$name: what it leaves out")
    fi
    rm -f "$results"
    "$@" cargo nextest run "${selected[@]}"
    local code=$?
    run=$(grep -c '<testcase ' "$results" 2>/dev/null)
    bad=$(grep -c -E '^ *<(failure|error)[ >]' "$results" 2>/dev/null)
    if [ "${run:-0}" -eq 0 ] || { [ "$code" -ne 0 ] && [ "${bad:-0}" -eq 0 ]; }; then
        bad=$((${bad:-0} + 1)) run=$((${run:-0} + 1))
    fi
    passed=$((passed + run - bad))
    failed=$((failed + bad))
    [ "$bad" -eq 0 ] || failures+=("$name")
}

finish() {
    for name in "${failures[@]}"; do echo "failed: $name"; done
    for name in "${skips[@]}"; do echo "skipped: $name"; done
    printf '\nIt took %d min %d s\n' $((SECONDS / 60)) $((SECONDS % 60))
    printf '%d passed, %d failed, %d skipped\n' "$passed" "$failed" "${#skips[@]}"
    [ "$failed" -eq 0 ]
    exit
}

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

stories() {
    # From nothing, whatever a killed or hand-made run left.
    testbed down --name test --state "$state"
    step "testbed for the stories" threeport-up up --name test --state "$state" --no-sample --profile dev || return
    local filter='binary(stories)'
    [ -z "${STORY:-}" ] || filter="binary(stories) & test(/^story_${STORY}_/)"
    local tests=(--offline -p threeport-e2e -E "$filter")
    suite "stories${STORY:+ of number $STORY}" tests testbed exec --name test --state "$state" --
    step "the testbed is taken down" testbed down --name test --state "$state"
}

# A function, so that bash has read all of it before it starts: the file may change while it runs.
main() {
    step "what the machine needs" e2e/testbed/prepare.sh || finish
    step "cargo-nextest and cargo-deny" e2e/tools.sh || finish
    step "testbed program" cargo build --locked -q -p threeport-testbed || finish
    export PATH=$CARGO_TARGET_DIR/debug:$PATH
    step "Debian packages of the testbed" testbed install || finish
    # Before any test: a build of minutes inside a test would use up the time that the test is given.
    step "testbed components" testbed build || finish

    if [ -z "${STORY:-}" ]; then
        step "format" cargo fmt --all --check
        # With failpoints, which the programs of tests have and those of images have not: `threeport-up` builds its own.
        local features=(--features threeport-failpoint/failpoints)
        step "lints" cargo clippy --locked -q --workspace --all-targets "${features[@]}" -- -D warnings
        step "dependencies: bans, licences, sources" cargo deny --locked check bans licenses sources
        step "an ignored test says why" ignored_tests_say_why
        step "mutants apply" mutants_apply
        step "tests build" cargo nextest run --locked --workspace "${features[@]}" --no-run || finish
        # Those of the operator have no test of their own crate, for which cargo would build them.
        step "programs build" cargo build --locked -q --workspace "${features[@]}" --bins || finish
        local tests=(--locked --workspace "${features[@]}" -E 'not (binary(stories) | binary(up))')
        suite "unit, store, API, operator and testbed" tests testbed postgres run --
    else
        step "tests build" cargo nextest run --locked -p threeport-e2e --no-run || finish
    fi
    stories
    # After the stories: what it brings up is built then.
    local of_up=(--offline -p threeport-e2e -E 'binary(up)')
    if [ -n "${THREEPORT_TEST_UP:-}" ]; then
        suite "make up, interrupted and run again" of_up
    elif [ -z "${STORY:-}" ]; then
        skips+=("up::up_is_interrupted_run_again_used_and_taken_down: new, not yet seen to end well; THREEPORT_TEST_UP=1 runs it")
    fi
    finish
}

main
