#!/usr/bin/env bash
# The tests that a run leaves out because they are marked `#[ignore = "..."]`, one a line, with the reason that stands
# there. Fails where there is none. Its arguments are those of `cargo nextest run`, which knows which tests these are, but
# not why.
set -euo pipefail
cd "$(dirname "$0")/.."

# `name<TAB>reason` of every ignored test function.
reasons=$(find api crds operator e2e helm -name '*.rs' -exec awk '
    FNR == 1 { reason = "" }
    match($0, /ignore = ".*"/) { reason = substr($0, RSTART + 10, RLENGTH - 11) }
    reason != "" && match($0, /fn [a-z0-9_]+/) {
        print substr($0, RSTART + 3, RLENGTH - 3) "\t" reason
        reason = ""
    }' {} +)

# Each line is `binary test`, both with `::` between their parts.
cargo nextest list --cargo-quiet --message-format oneline --run-ignored ignored-only "$@" | {
    unexplained=0
    while read -r binary test; do
        reason=$(awk -F '\t' -v name="${test##*::}" '$1 == name { print $2; exit }' <<<"$reasons")
        [ -n "$reason" ] || unexplained=1
        echo "$binary $test: ${reason:-no reason is given}"
    done
    exit "$unexplained"
}
