//! `threeport.yaml` is generated from `manifests/`: `REGENERATE=1 cargo test -p threeport-sample` writes it.

#![allow(clippy::unwrap_used, reason = "helpers of tests are no tests to clippy")]

use std::fs;
use std::path::Path;

fn folder() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// All manifests in the order of their file names, as one YAML stream.
fn manifests() -> String {
    let mut files = fs::read_dir(folder().join("manifests"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect::<Vec<_>>();
    files.sort();
    files
        .iter()
        .map(|file| fs::read_to_string(file).unwrap())
        .collect::<Vec<_>>()
        .join("---\n")
}

fn threeport_yaml() -> String {
    let indented = manifests()
        .lines()
        .map(|line| {
            if line.is_empty() {
                "\n".to_owned()
            } else {
                format!("    {line}\n")
            }
        })
        .collect::<String>();
    format!(
        "# Generated from manifests/ by the test of this crate; `REGENERATE=1 cargo test -p threeport-sample` writes it.\n\
         apiVersion: threeport.io/v1alpha1\nkind: WorkloadDefinition\nmetadata:\n  name: sample\nspec:\n  \
         yamlDocument: |\n{indented}---\n\
         apiVersion: threeport.io/v1alpha1\nkind: WorkloadInstance\nmetadata:\n  name: sample\nspec:\n  \
         definition: sample\n"
    )
}

#[test]
fn threeport_yaml_is_what_the_manifests_give() {
    let path = folder().join("threeport.yaml");
    if std::env::var_os("REGENERATE").is_some() {
        fs::write(&path, threeport_yaml()).unwrap();
    }
    let current = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        current == threeport_yaml(),
        "threeport.yaml is stale: run `REGENERATE=1 cargo test -p threeport-sample` and commit it"
    );
}

#[test]
fn the_sample_has_what_the_stories_need() {
    let text = manifests();
    let count = |kind: &str| {
        text.lines()
            .filter(|line| *line == format!("kind: {kind}"))
            .count()
    };
    assert!(count("Service") >= 12, "{}", count("Service"));
    for kind in [
        "StatefulSet",
        "Secret",
        "Job",
        "CustomResourceDefinition",
        "Recipe",
    ] {
        assert_eq!(count(kind), 1, "{kind}");
    }
    assert!(
        !text.contains("threeport.io"),
        "the sample knows nothing of Threeport"
    );
}
