//! Who may use whom (`docs/decisions.md`, 1), held over `cargo metadata`.

#![allow(missing_docs, clippy::expect_used, clippy::panic)]

mod checkout;
mod clusters;
mod commands;
mod failpoints;
mod kinds;
mod logs;
mod map;
mod numbers;
mod sources;
mod sql;
mod steps;
mod told;
mod writing_calls;

use std::{collections::BTreeMap, process::Command};

use serde_json::Value;

/// package -> the packages of this workspace that it uses, development ones left out.
fn uses() -> BTreeMap<String, Vec<String>> {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let output = Command::new(cargo)
        .args([
            "metadata",
            "--format-version",
            "1",
            "--no-deps",
            "--offline",
            "--locked",
        ])
        .output()
        .expect("cargo metadata runs");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let metadata: Value = serde_json::from_slice(&output.stdout).expect("cargo metadata prints JSON");
    let packages = metadata["packages"].as_array().expect("packages");
    let ours = |name: &str| name.starts_with("threeport-") || name == "tptctl";
    packages
        .iter()
        .map(|package| {
            let dependencies = package["dependencies"].as_array().expect("dependencies").iter();
            let normal = dependencies.filter(|dependency| dependency["kind"].is_null());
            let names = normal.filter_map(|dependency| dependency["name"].as_str());
            let used = names.filter(|name| ours(name)).map(str::to_owned).collect();
            (package["name"].as_str().expect("name").to_owned(), used)
        })
        .collect()
}

fn users_of<'a>(uses: &'a BTreeMap<String, Vec<String>>, used: &str) -> Vec<&'a str> {
    uses.iter()
        .filter(|(_, all)| all.iter().any(|one| one == used))
        .map(|(name, _)| name.as_str())
        .collect()
}

#[test]
fn only_the_server_uses_the_store() {
    assert_eq!(users_of(&uses(), "threeport-store"), ["threeport-server"]);
}

#[test]
fn nobody_uses_the_server_but_tests() {
    assert_eq!(users_of(&uses(), "threeport-server"), Vec::<&str>::new());
}

#[test]
fn only_the_facade_uses_the_custom_resources() {
    assert_eq!(users_of(&uses(), "threeport-crds"), ["threeport-facade"]);
}

#[test]
fn the_model_uses_nobody_and_everybody_uses_it() {
    let uses = uses();
    assert_eq!(uses["threeport-model"], Vec::<String>::new());
    assert!(
        users_of(&uses, "threeport-model").len() >= 8,
        "{:?}",
        users_of(&uses, "threeport-model")
    );
}

#[test]
fn the_client_is_used_by_operator_cli_and_tests_alone() {
    let uses = uses();
    let allowed = [
        "threeport-operator",
        "threeport-engine",
        "threeport-controllers",
        "threeport-facade",
        "threeport-agent",
        "tptctl",
        "threeport-e2e",
        "threeport-bench",
    ];
    for user in users_of(&uses, "threeport-client") {
        assert!(allowed.contains(&user), "{user} uses the client");
    }
}

#[test]
fn the_engine_knows_no_kind_and_controllers_no_facade() {
    let uses = uses();
    for unknown in [
        "threeport-controllers",
        "threeport-facade",
        "threeport-crds",
        "threeport-store",
    ] {
        assert!(
            !uses["threeport-engine"].iter().any(|used| used == unknown),
            "the engine uses {unknown}"
        );
    }
    for unknown in [
        "threeport-facade",
        "threeport-crds",
        "threeport-store",
        "threeport-server",
    ] {
        assert!(
            !uses["threeport-controllers"].iter().any(|used| used == unknown),
            "the controllers use {unknown}"
        );
    }
}
