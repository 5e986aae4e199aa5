//! `threeport-api bootstrap --directory`.

use std::{collections::BTreeMap, path::Path};

use jiff::{Timestamp, ToSpan};
use threeport_server::bootstrap::{self, Arguments};

const FILES: &[&str] = &[
    "admin-token",
    "api.crt",
    "api.key",
    "auth.conf",
    "ca.crt",
    "ca.key",
    "encryption-key",
    "nats-api-password",
    "nats-controllers-password",
    "nats.crt",
    "nats.key",
];

async fn run(directory: &Path, dns: &[&str], now: Timestamp) {
    attempt(directory, dns, now).await.unwrap();
}

async fn attempt(directory: &Path, dns: &[&str], now: Timestamp) -> anyhow::Result<()> {
    let arguments = Arguments {
        directory: Some(directory.to_owned()),
        namespace: None,
        name: None,
        kubeconfig: None,
        dns: dns.iter().map(ToString::to_string).collect(),
    };
    bootstrap::run(&arguments, now).await
}

fn files(directory: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = std::fs::read_dir(directory).unwrap().map(Result::unwrap);
    let read = entries.map(|entry| {
        (
            entry.file_name().into_string().unwrap(),
            std::fs::read(entry.path()).unwrap(),
        )
    });
    read.collect()
}

/// Names of files that differ.
fn changed(before: &BTreeMap<String, Vec<u8>>, after: &BTreeMap<String, Vec<u8>>) -> Vec<String> {
    after
        .iter()
        .filter(|(name, bytes)| before.get(*name) != Some(bytes))
        .map(|(name, _)| name.clone())
        .collect()
}

fn now() -> Timestamp {
    "2026-11-21T12:00:00Z".parse().unwrap()
}

#[tokio::test]
async fn everything_is_made_once() {
    let folder = tempfile::tempdir().unwrap();
    let directory = folder.path().join("keys");
    run(&directory, &[], now()).await;
    let first = files(&directory);
    assert_eq!(first.keys().map(String::as_str).collect::<Vec<_>>(), FILES);
    run(&directory, &[], now() + 24.hours()).await;
    assert_eq!(changed(&first, &files(&directory)), Vec::<String>::new());
    let mode = std::os::unix::fs::PermissionsExt::mode(
        &std::fs::metadata(directory.join("ca.key")).unwrap().permissions(),
    );
    assert_eq!(mode & 0o077, 0);
}

#[tokio::test]
async fn a_run_that_broke_off_is_finished() {
    let folder = tempfile::tempdir().unwrap();
    run(folder.path(), &[], now()).await;
    let first = files(folder.path());
    for missing in ["api.crt", "admin-token"] {
        std::fs::remove_file(folder.path().join(missing)).unwrap();
    }
    run(folder.path(), &[], now()).await;
    let again = files(folder.path());
    assert_eq!(again.keys().map(String::as_str).collect::<Vec<_>>(), FILES);
    assert_eq!(changed(&first, &again), ["admin-token", "api.crt"]);
}

#[tokio::test]
async fn a_lost_encryption_key_is_not_replaced_by_another_one() {
    let folder = tempfile::tempdir().unwrap();
    run(folder.path(), &[], now()).await;
    let key = folder.path().join("encryption-key");
    let first = std::fs::read(&key).unwrap();
    std::fs::remove_file(&key).unwrap();
    let refused = attempt(folder.path(), &[], now()).await.unwrap_err();
    assert!(
        format!("{refused:#}").contains("Restore it from its backup"),
        "{refused:#}"
    );
    assert!(!key.exists());
    std::fs::write(&key, &first).unwrap();
    run(folder.path(), &[], now()).await;

    // A first run that broke off before it had an authority.
    let begun = tempfile::tempdir().unwrap();
    std::fs::write(begun.path().join("encryption-key"), &first).unwrap();
    run(begun.path(), &[], now()).await;
    let made = files(begun.path());
    assert_eq!(made.keys().map(String::as_str).collect::<Vec<_>>(), FILES);
    assert_eq!(made["encryption-key"], first);
}

#[tokio::test]
async fn a_certificate_is_renewed_before_it_ends_and_for_the_same_key() {
    let folder = tempfile::tempdir().unwrap();
    run(folder.path(), &[], now()).await;
    let first = files(folder.path());
    run(folder.path(), &[], now() + (330 * 24).hours()).await;
    assert_eq!(changed(&first, &files(folder.path())), Vec::<String>::new());
    run(folder.path(), &[], now() + (340 * 24).hours()).await;
    assert_eq!(changed(&first, &files(folder.path())), ["api.crt"]);
}

#[tokio::test]
async fn a_certificate_that_lacks_a_name_is_issued_anew() {
    let folder = tempfile::tempdir().unwrap();
    run(folder.path(), &[], now()).await;
    let first = files(folder.path());
    run(folder.path(), &["api.example", "10.1.2.3"], now()).await;
    assert_eq!(changed(&first, &files(folder.path())), ["api.crt", "nats.crt"]);
}
