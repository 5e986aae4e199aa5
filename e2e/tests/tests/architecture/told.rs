//! Tables of docs name the tests that hold their rows, and each of those tests is there: what may fail, and the invariants
//! of the design, with the mutants that their tests are known to find.

use std::{collections::BTreeSet, fs, path::Path};

/// The names of all tests of the Rust files below a folder.
fn tests_below(folder: &Path, found: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).expect("a folder of the source tree") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            tests_below(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).expect("a text");
            let mut is_test = false;
            for line in text.lines() {
                if line.trim().starts_with("#[test]") || line.trim().starts_with("#[tokio::test") {
                    is_test = true;
                } else if let Some((_, rest)) = line.split_once("fn ") {
                    let name = rest.split(['(', '<']).next().filter(|_| is_test);
                    found.extend(name.map(str::to_owned));
                    is_test = false;
                }
            }
            // The store's tests, which run on each database, are made by a macro.
            let made = text.split("database_test!(").skip(1);
            found.extend(made.filter_map(|rest| rest.trim_start().split(',').next().map(str::to_owned)));
        }
    }
}

fn root() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn tests() -> BTreeSet<String> {
    let mut tests = BTreeSet::new();
    for folder in ["api", "crds", "e2e/tests/tests", "operator"] {
        tests_below(&root().join(folder), &mut tests);
    }
    tests
}

/// The rows of a file's table.
fn rows(file: &str) -> Vec<Vec<String>> {
    table(&fs::read_to_string(root().join(file)).expect("a table"))
}

/// The rows of the table in a text, its heading left out, each as its cells.
pub(super) fn table(text: &str) -> Vec<Vec<String>> {
    let rows = text.lines().filter(|line| line.starts_with("| ")).skip(2);
    rows.map(|row| {
        let cells = row.trim_matches(['|', ' ']).split(" | ");
        cells.map(|cell| cell.trim().to_owned()).collect()
    })
    .collect()
}

/// What stands between backquotes.
pub(super) fn names(cell: &str) -> Vec<&str> {
    cell.split('`').skip(1).step_by(2).collect()
}

#[test]
fn each_row_of_what_may_fail_is_told_by_a_test() {
    let (tests, rows) = (tests(), rows("docs/failures.md"));
    assert!(!tests.contains("tests_below"), "a helper is no test");
    assert!(rows.len() >= 11, "only {} rows were found", rows.len());
    for row in rows {
        let told = row.last().map(String::as_str).unwrap_or_default();
        assert!(!names(told).is_empty(), "no test is named: {row:?}");
        for name in names(told) {
            assert!(tests.contains(name), "no test is called {name:?}: {row:?}");
        }
    }
}

#[test]
fn each_invariant_has_a_test_that_attacks_it_and_a_mutant_that_this_finds() {
    let (tests, rows) = (tests(), rows("docs/invariants.md"));
    let numbers: Vec<_> = rows.iter().map(|row| row[0].split('.').next()).collect();
    let expected: Vec<_> = (1..=10).map(|number| number.to_string()).collect();
    assert_eq!(
        numbers,
        expected
            .iter()
            .map(|number| Some(number.as_str()))
            .collect::<Vec<_>>()
    );
    for row in rows {
        let [_, told, found] = row.as_slice() else {
            panic!("a row has three cells: {row:?}");
        };
        assert!(!names(told).is_empty() && !names(found).is_empty(), "{row:?}");
        for name in names(told) {
            assert!(tests.contains(name), "no test is called {name:?}: {row:?}");
        }
        for name in names(found) {
            let patch = root().join(format!("e2e/mutants/{name}.patch"));
            assert!(patch.exists(), "there is no mutant {name:?}: {row:?}");
        }
    }
}
