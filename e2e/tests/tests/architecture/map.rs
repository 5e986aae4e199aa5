//! README's map names the folders that there are, each of them and no other.

use std::{collections::BTreeSet, fs, path::Path};

use super::{
    sources::{read, root},
    told::{names, table},
};

/// Not ours: what cargo builds.
const BUILT: &str = "target";

/// The names of a folder's folders, but those that `ls` hides.
fn folders(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).expect("a folder of the source tree");
    entries
        .map(|entry| entry.expect("an entry"))
        .filter(|entry| entry.path().is_dir())
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .filter(|name| !name.starts_with('.') && name != BUILT)
        .collect()
}

/// What the map should name: a folder that is made of others by those, any other by itself.
fn found() -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for top in folders(root()) {
        if !["api", "e2e", "helm", "operator"].contains(&top.as_str()) {
            found.insert(top);
            continue;
        }
        let parts = folders(&root().join(&top)).into_iter();
        // What stands in no part belongs to the program that they make together.
        found.extend(
            parts
                .filter(|part| part != "src")
                .map(|part| format!("{top}/{part}")),
        );
    }
    found
}

#[test]
fn the_map_of_readme_names_each_folder() {
    let readme = read(&root().join("README.md"));
    let (_, rest) = readme.split_once("\n## The map\n").expect("a map");
    let map = rest.split("\n## ").next().unwrap_or_default();
    let mut named = BTreeSet::new();
    for row in table(map) {
        let [folder, what] = row.as_slice() else {
            panic!("a row has two cells: {row:?}");
        };
        let folders = names(folder);
        assert_eq!(folders.len(), 1, "{row:?}");
        // A row may name a folder that belongs to its own.
        let neighbours = names(what).into_iter().filter(|name| root().join(name).is_dir());
        for name in folders.into_iter().chain(neighbours) {
            assert!(named.insert(name.to_owned()), "{name} is named twice");
        }
    }
    let found = found();
    assert!(
        found.contains("api/store") && found.contains("docs") && !found.contains("api"),
        "{found:?}"
    );
    assert_eq!(named, found);
}
