//! What `make test` says at its end: what failed, what was skipped and why, and the three numbers.

use std::{path::Path, process::Command};

#[test]
fn make_test_ends_with_what_failed_and_was_skipped_and_its_numbers() {
    let cache = tempfile::tempdir().expect("a folder");
    let script = "
        . e2e/steps.sh
        step 'goes well' true
        step 'goes wrong' false
        aside 'well beside it' sh -c 'echo said beside it'
        aside 'wrong beside it' sh -c 'exit 3'
        ask_asides
        skips+=('a test: for a reason')
        finish
        echo 'it went on'
    ";
    let output = Command::new("bash")
        .args(["-uo", "pipefail", "-c", script])
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("../.."))
        .env("XDG_CACHE_HOME", cache.path())
        .output()
        .expect("bash runs");
    let said = String::from_utf8_lossy(&output.stdout);
    for line in [
        "said beside it",
        "failed: goes wrong",
        "failed: wrong beside it",
        "skipped: a test: for a reason",
    ] {
        assert!(
            said.lines().any(|found| found == line),
            "{line:?} is not in:\n{said}"
        );
    }
    assert!(
        said.trim_end().ends_with("2 passed, 2 failed, 1 skipped"),
        "{said}"
    );
    assert_eq!(output.status.code(), Some(1), "{said}");
}
