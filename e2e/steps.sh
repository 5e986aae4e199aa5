# shellcheck shell=bash
# What `make test` and `make soak` have in common; sourced by bash, from the root of the source tree.
#
# Each step counts as one test where it is not a test run of its own. Ends with what was skipped and why, how long it
# took, and `N passed, N failed, N skipped`; a failed step doesn't keep the later ones from running, unless nothing can
# be built.

cache=${XDG_CACHE_HOME:-$HOME/.cache}/threeport
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$cache/target}
export PATH=$cache/tools/bin:$PATH
# What failed and on what is in the messages; forty lines of frames above them only hide it.
export RUST_BACKTRACE=0
# One more than there are processors: tests wait for a database or an apiserver much of their time.
threads=$(($(nproc) + 1))
export NEXTEST_PROFILE=${NEXTEST_PROFILE:-default}
state=${THREEPORT_TEST_STATE:-$cache/test}
# nextest keeps its reports beside the workspace, wherever the target directory is.
results=target/nextest/$NEXTEST_PROFILE/junit.xml
# One selection for all builds and runs: features are unified over what is selected, so that another one would build anew.
# With failpoints, which the programs of tests have and those of images have not: `threeport-up` builds its own.
packages=(--workspace --features threeport-failpoint/failpoints)
mkdir -p "$state"
passed=0 failed=0 failures=() skips=()
asides=() processes=() logs=$(mktemp -d)

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

# A step that is begun now and ends with `ask_asides`: it takes what the steps meanwhile leave of the processors, so that
# nothing that they time waits for it.
aside() {
    asides+=("$1")
    shift
    chrt --idle 0 "$@" >"$logs/aside-${#processes[@]}" 2>&1 &
    processes+=($!)
}

aside_ended() {
    local code=0
    wait "${processes[$1]}" || code=$?
    cat "$logs/aside-$1"
    return "$code"
}

ask_asides() {
    local index
    for index in "${!asides[@]}"; do step "${asides[$index]}" aside_ended "$index"; done
    asides=() processes=()
}

# Ctrl-C does not reach what bash runs in the background.
end_asides() {
    [ "${#processes[@]}" -eq 0 ] || kill "${processes[@]}" 2>/dev/null
    rm -r "$logs"
}
trap end_asides EXIT

# A test run: its name, which tests (what `cargo nextest run` and `list` take), and what it runs within. Its numbers come
# from the report that nextest writes, which has every test that ran.
suite() {
    local name=$1 run bad left_out line
    local -n selected=$2
    shift 2
    say "$name"
    if ! left_out=$(e2e/skipped.sh "${selected[@]}"); then
        failed=$((failed + 1))
        failures+=("$name: what it leaves out")
    fi
    while read -r line; do [ -z "$line" ] || skips+=("$line"); done <<<"$left_out"
    rm -f "$results"
    "$@" cargo nextest run --test-threads "$threads" "${selected[@]}"
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

# What every run needs before its first test.
prepare() {
    step "what the machine needs" e2e/testbed/prepare.sh || finish
    step "cargo-nextest" e2e/tools.sh cargo-nextest || finish
    e2e/checkout.sh || exit
    step "testbed program" cargo build --locked -q "${packages[@]}" --bin testbed --bin threeport-up || finish
    export PATH=$CARGO_TARGET_DIR/debug:$PATH
    step "Debian packages of the testbed" testbed install || finish
    # Before any test: a build of minutes inside a test would use up the time that the test is given.
    step "testbed components" testbed build || finish
}

# The tests, and the programs that some of them run as processes.
build_tests() {
    step "programs build" cargo build --locked -q "${packages[@]}" --bins || finish
    step "tests build" cargo nextest run --locked "${packages[@]}" --no-run || finish
}

# Tests that need no cluster of the testbed's: their name and a filter.
without_cluster() {
    # shellcheck disable=SC2034 # suite reads it by its name
    local tests=(--locked "${packages[@]}" -E "$2")
    suite "$1" tests testbed postgres run -- testbed control-plane run --
}

# Stories on a real cluster of their own: their name and a filter.
on_a_cluster() {
    # From nothing, whatever a killed or hand-made run left.
    testbed down --name test --state "$state"
    step "testbed for the stories" threeport-up up --name test --state "$state" --no-sample --profile dev || return
    # shellcheck disable=SC2034 # suite reads it by its name
    local tests=(--offline "${packages[@]}" -E "$2")
    suite "$1" tests testbed exec --name test --state "$state" --
    step "the testbed is taken down" testbed down --name test --state "$state"
}
