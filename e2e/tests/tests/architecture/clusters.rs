//! Clients of a cluster are configured in one place, and so are watches: there no call lasts for ever. By kube's defaults one
//! that is never answered does. And NATS is connected to in one place: two had drifted apart.

use std::collections::BTreeSet;

use super::sources::{is_test, read, root, sources};

/// How a client comes by its configuration.
const CONFIGURED: [&str; 5] = [
    "::incluster()",
    "::infer()",
    "::from_custom_kubeconfig(",
    "::from_kubeconfig(",
    "::try_default()",
];
/// How a watch begins with a configuration of its own.
const WATCHED: [&str; 3] = [
    "watcher::Config::default()",
    "watcher::Config::streaming_list()",
    "watch_object(",
];

/// How a connection to NATS begins.
const CONNECTED: [&str; 2] = ["async_nats::connect(", ".retry_on_initial_connect("];

/// The files of what is shipped in which one of `calls` is made.
fn places(calls: &[&str]) -> BTreeSet<String> {
    let all = ["api", "crds", "operator"].map(|folder| sources(&root().join(folder)));
    let shipped = all.iter().flatten().filter(|path| !is_test(path));
    let found = shipped.filter(|path| {
        let text = read(path);
        calls.iter().any(|call| text.contains(call))
    });
    found
        .map(|path| path.strip_prefix(root()).unwrap_or(path).display().to_string())
        .collect()
}

fn named(files: &[&str]) -> BTreeSet<String> {
    files.iter().map(|file| (*file).to_owned()).collect()
}

#[test]
fn clusters_are_found_and_watched_in_one_place() {
    let ours = "api/cluster/src/lib.rs";
    assert_eq!(places(&CONFIGURED), named(&[ours]));
    assert_eq!(places(&WATCHED), named(&[ours]));
}

#[test]
fn nats_is_connected_to_in_one_place() {
    assert_eq!(places(&CONNECTED), named(&["api/nats/src/lib.rs"]));
}
