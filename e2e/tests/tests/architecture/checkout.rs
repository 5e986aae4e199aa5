//! Two checkouts may share a target directory, which `make` keeps in the cache.

use std::{
    fs::{self, File},
    path::Path,
    process::Command,
    time::{Duration, SystemTime},
};

const SOURCE: &str = "api/src/lib.rs";

/// Folders of sources, as old as may be, and the script.
fn checkout(folder: &Path) {
    for name in ["api/src", "crds", "e2e", "helm", "operator"] {
        fs::create_dir_all(folder.join(name)).expect("a folder");
    }
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../checkout.sh");
    fs::copy(script, folder.join("e2e/checkout.sh")).expect("a script");
    fs::write(folder.join(SOURCE), "").expect("a source");
}

/// Whether the sources of a checkout become younger when it takes its turn.
fn becomes_younger(folder: &Path, target: &Path) -> bool {
    let long_ago = SystemTime::now() - Duration::from_secs(3600);
    let source = File::options()
        .append(true)
        .open(folder.join(SOURCE))
        .expect("a source");
    source.set_modified(long_ago).expect("its time is set");
    let status = Command::new(folder.join("e2e/checkout.sh"))
        .env("CARGO_TARGET_DIR", target)
        .status()
        .expect("the script runs");
    assert!(status.success());
    source
        .metadata()
        .and_then(|found| found.modified())
        .expect("its time")
        > long_ago
}

#[test]
fn a_checkout_is_built_anew_where_another_one_was_built_before() {
    let folder = tempfile::tempdir().expect("a folder");
    let [one, other, target] = ["one", "other", "target"].map(|name| folder.path().join(name));
    checkout(&one);
    checkout(&other);
    let turns = [&one, &one, &other, &other, &one];
    let younger = turns.map(|turn| becomes_younger(turn, &target));
    assert_eq!(younger, [true, false, true, false, true]);
}
