#!/usr/bin/env bash
# `make mutants [MUTANT="name ..."]`: every important answer of the system has a patch here that takes it away, and the
# test that must then fail. A test that still passes holds nothing.
#
# A patch is a unified diff against HEAD with a header: `# what:` the answer that it takes away, `# package:` and `# test:`
# (a nextest filter) what must fail. The named tests first run on HEAD as it is, where they must pass. Then each patch is
# applied alone: it must apply and compile, and every test that its filter names must run and fail.
#
# It works on a git worktree of HEAD in the cache, with a target directory of its own: nothing here touches the tree that
# one works in, and what one does there changes nothing here: the patches are those of the beginning, committed or not. The
# worktree is one for all patches, so that only what a patch touches is built again, and is removed at the end. Ends with
# `N passed, N failed`.
set -uo pipefail
patches=$(cd "$(dirname "$0")" && pwd)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/threeport
home=$cache/mutants
tree=$home/tree
export CARGO_TARGET_DIR=$home/target
export PATH=$CARGO_TARGET_DIR/debug:$cache/tools/bin:$PATH
export RUST_BACKTRACE=0
report=$tree/target/nextest/default/junit.xml
log=$home/log
passed=0 failed=0 failures=()

pass() {
    passed=$((passed + 1))
    printf 'ok      %s\n' "$*"
}

fail() {
    failed=$((failed + 1))
    failures+=("$1")
    printf 'FAILED  %s\n' "$*"
}

# A field of a patch's header.
header() { sed -n "s/^# $2: //p;/^--- /q" "$patches/$1.patch" 2>/dev/null; }

# Tests across the whole system start the programs, which cargo does not build for them. With failpoints, as in `make test`.
programs() {
    [ "$1" = threeport-e2e ] || return 0
    (cd "$tree" && nice cargo build --offline --bins -p threeport-server -p threeport-operator -p threeport-agent \
        --features threeport-failpoint/failpoints) >"$log" 2>&1
}

# The tests of a package, quietly; `$log` has what they said.
tests() {
    rm -f "$report"
    programs "$1" || return 101
    (cd "$tree" && nice cargo nextest run --offline --no-fail-fast -p "$1" -E "$2") >"$log" 2>&1
}

# How many tests the last run had that are matched by a pattern of its report.
count() { grep -c -E "$1" "$report" 2>/dev/null; }

# Why the first test failed, in its own words.
reason() { sed -n "/panicked at/{n;s/^ *//;p;q}" "$log" | cut -c1-150; }

remove_tree() {
    git -C "$repository" worktree remove --force "$tree" 2>/dev/null || true
    rm -rf "$tree"
    git -C "$repository" worktree prune
}

# The named tests of a package hold on HEAD.
control() {
    local package=$1 names=$2 filter="" name
    for name in $names; do filter+="${filter:+ | }($(header "$name" test))"; done
    if tests "$package" "$filter"; then
        pass "$package on HEAD: $(count '<testcase ') tests pass"
    else
        tail -n 40 "$log"
        fail "$package on HEAD: its tests don't pass, so its mutants prove nothing" "(they are not run)"
        return 1
    fi
}

# Without an answer its test fails.
mutant() {
    local name=$1 package=$2 start=$SECONDS code run bad
    if ! git -C "$tree" apply "$patches/$name.patch" 2>"$log"; then
        fail "$name" "does not apply: $(head -n 1 "$log")"
        return
    fi
    tests "$package" "$(header "$name" test)"
    code=$?
    git -C "$tree" checkout --quiet --force HEAD -- .
    run=$(count '<testcase ')
    bad=$(count '^ *<(failure|error)[ >]')
    # What nextest says: 100 tests failed, 4 none was found, 101 it did not compile.
    case $code in
        0 | 100)
            if [ "${run:-0}" -gt 0 ] && [ "${bad:-0}" -eq "$run" ]; then
                pass "$name: $(header "$name" what) ($((SECONDS - start)) s: $(reason))"
            else
                fail "$name" "survived: $((${run:-0} - ${bad:-0})) of ${run:-0} tests still pass"
            fi
            ;;
        4) fail "$name" "names no test" ;;
        *)
            grep -m 3 -A 4 '^error' "$log"
            fail "$name" "did not compile, or its tests could not be run ($code); $log"
            ;;
    esac
}

main() {
    local names=() known=() package name field of_package
    if [ $# -gt 0 ]; then names=("$@"); else mapfile -t names < <(cd "$patches" && printf '%s\n' *.patch); fi
    names=("${names[@]%.patch}")
    for name in "${names[@]}"; do
        for field in what package test; do
            if [ -z "$(header "$name" $field)" ]; then
                fail "$name" "has no header \"# $field:\", or is not there"
                continue 2
            fi
        done
        known+=("$name")
    done
    for package in $(for name in "${known[@]}"; do header "$name" package; done | sort -u); do
        of_package=$(for name in "${known[@]}"; do
            [ "$(header "$name" package)" != "$package" ] || echo "$name"
        done)
        if control "$package" "$of_package"; then
            for name in $of_package; do mutant "$name" "$package"; done
        else
            for name in $of_package; do fail "$name" "was not run"; done
        fi
    done
    for name in "${failures[@]}"; do echo "failed: $name"; done
    printf '\n%d passed, %d failed\n' "$passed" "$failed"
    [ "$failed" -eq 0 ]
}

if [ "${1:-}" = --within-postgres ]; then
    shift
    main "$@"
    exit
fi

set -e
repository=$(git -C "$patches" rev-parse --show-toplevel)
mkdir -p "$home"
exec 9>"$home/lock"
flock --nonblock 9 || {
    echo "make mutants is running already" >&2
    exit 1
}
cd "$repository"
e2e/testbed/prepare.sh
e2e/tools.sh cargo-nextest
remove_tree
trap remove_tree EXIT
git worktree add --quiet --detach "$tree" HEAD
rm -rf "$home/patches"
cp -r "$patches" "$home/patches"
cd "$tree"
cargo fetch --locked --quiet
nice cargo build --offline --quiet -p threeport-testbed
testbed install
testbed postgres run -- "$home/patches/run.sh" --within-postgres "$@" 9>&-
