//! Each row of docs/failures.md is told by a test that it names.

use std::{collections::BTreeSet, fs, path::Path};

/// The names of all functions and tests of the Rust files below a folder.
fn functions(folder: &Path, found: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).expect("a folder of the source tree") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            functions(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).expect("a text");
            let names = text.lines().filter_map(|line| line.split_once("fn "));
            found.extend(names.filter_map(|(_, rest)| rest.split(['(', '<']).next().map(str::to_owned)));
            // The store's tests, which run on each database, are made by a macro.
            let made = text.split("database_test!(").skip(1);
            found.extend(made.filter_map(|rest| rest.trim_start().split(',').next().map(str::to_owned)));
        }
    }
}

#[test]
fn each_row_of_what_may_fail_is_told_by_a_test() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut tests = BTreeSet::new();
    for folder in ["api", "e2e/tests/tests", "operator"] {
        functions(&root.join(folder), &mut tests);
    }
    let table = fs::read_to_string(root.join("docs/failures.md")).expect("docs/failures.md");
    let rows = table.lines().filter(|line| line.starts_with("| ")).skip(2);
    let mut told = 0;
    for row in rows {
        let name = row
            .trim_end_matches([' ', '|'])
            .rsplit('|')
            .next()
            .unwrap_or_default();
        let name = name.trim().trim_matches('`');
        assert!(tests.contains(name), "no test is called {name:?}: {row}");
        told += 1;
    }
    assert!(told >= 11, "only {told} rows were found");
}
