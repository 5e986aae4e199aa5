//! Releases side by side, and over time: names that don't meet, pods that don't restart for nothing.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests fail by panicking"
)]

use std::collections::BTreeSet;

use serde_json::Value;
use threeport_chart::{case, is_cluster_scoped, name, objects, pods, template};
use threeport_testbed::paths::project;

fn rendered(release: &str, namespace: &str, arguments: &[&str]) -> Vec<Value> {
    objects(&template(release, namespace, arguments).unwrap()).unwrap()
}

#[test]
fn names_of_the_cluster_carry_the_namespace() {
    let objects = rendered("threeport", "team-a", &[]);
    let shared = objects
        .iter()
        .filter(|object| is_cluster_scoped(object))
        .collect::<Vec<_>>();
    assert!(!shared.is_empty());
    for object in shared {
        assert!(
            object["metadata"]["name"]
                .as_str()
                .unwrap()
                .starts_with("team-a.threeport-"),
            "{}",
            name(object)
        );
    }
    for object in objects.iter().filter(|object| !is_cluster_scoped(object)) {
        assert_eq!(object["metadata"]["namespace"], "team-a", "{}", name(object));
    }
}

#[test]
fn two_releases_share_no_object() {
    let identities = |release: &str, namespace: &str| {
        let objects = rendered(release, namespace, &[]);
        let identity = |object: &Value| format!("{}/{}", object["metadata"]["namespace"], name(object));
        objects.iter().map(identity).collect::<BTreeSet<_>>()
    };
    for (one, other) in [
        (("threeport", "team-a"), ("threeport", "team-b")),
        (("threeport", "team-a"), ("other", "team-a")),
        // With a hyphen between namespace and release both would be `team-b-threeport`.
        (("b-threeport", "team"), ("threeport", "team-b")),
    ] {
        let common = identities(one.0, one.1)
            .intersection(&identities(other.0, other.1))
            .cloned()
            .collect::<Vec<_>>();
        assert!(common.is_empty(), "{one:?} and {other:?}: {common:?}");
    }
}

/// The how-to hands it the values of the first one, whose database may be an external one.
#[test]
fn a_further_control_plane_has_a_database_of_its_own() {
    let external = case("external-two-replicas");
    let how_to = project().join("docs/how-to/several-control-planes.md");
    let how_to = std::fs::read_to_string(how_to).unwrap();
    let (_, command) = how_to.split_once("helm install threeport ").unwrap();
    let (command, _) = command.split_once("```").unwrap();
    let set = command
        .split("--set ")
        .skip(1)
        .flat_map(|rest| ["--set", rest.split_whitespace().next().unwrap()]);
    let values = ["--values", external.to_str().unwrap()];
    let objects = rendered(
        "threeport",
        "team-b",
        &values.into_iter().chain(set).collect::<Vec<_>>(),
    );
    let (_, api) = pods(&objects)
        .into_iter()
        .find(|(owner, _)| owner == "Deployment/threeport-api")
        .unwrap();
    let volumes = api["spec"]["volumes"].as_array().unwrap();
    let database = volumes
        .iter()
        .find(|volume| volume["name"] == "database")
        .unwrap();
    let claim = &database["persistentVolumeClaim"]["claimName"];
    assert_eq!(claim, "threeport-database", "{database}");
}

#[test]
fn an_upgrade_of_the_chart_alone_restarts_no_pod() {
    let folder = std::env::temp_dir().join(format!("threeport-chart-{}", std::process::id()));
    let copy = std::process::Command::new("cp")
        .arg("-r")
        .arg(threeport_chart::chart())
        .arg(&folder)
        .status();
    assert!(copy.unwrap().success());
    let file = folder.join("Chart.yaml");
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, text.replace("\nversion: 0.1.0", "\nversion: 0.1.1")).unwrap();
    let newer = threeport_chart::helm(&[
        "template",
        "threeport",
        folder.to_str().unwrap(),
        "--namespace",
        "x",
    ]);
    std::fs::remove_dir_all(&folder).unwrap();
    let newer = objects(&newer.unwrap()).unwrap();
    let older = rendered("threeport", "x", &[]);
    assert_ne!(older, newer, "the copy is no other version");
    assert_eq!(pods(&older), pods(&newer));
}

#[test]
fn a_changed_configuration_of_nats_restarts_nats_alone() {
    let changed = rendered("threeport", "x", &["--set", "nats.memoryStore=128Mi"]);
    let before = rendered("threeport", "x", &[]);
    let (before, changed) = (pods(&before), pods(&changed));
    let different = before
        .iter()
        .zip(&changed)
        .filter(|(old, new)| old != new)
        .map(|(old, _)| old.0.clone());
    assert_eq!(different.collect::<Vec<_>>(), ["StatefulSet/threeport-nats"]);
}

/// Who is sent to a replica that goes would be refused, while the next one serves already.
#[test]
fn a_replica_serves_until_nobody_is_sent_to_it() {
    let pod = |arguments: &[&str]| {
        let objects = rendered("threeport", "x", arguments);
        let (_, pod) = pods(&objects)
            .into_iter()
            .find(|(owner, _)| owner == "Deployment/threeport-api")
            .unwrap();
        pod["spec"].clone()
    };
    let external = pod(&["--set", "database.mode=external,database.external.secretName=url"]);
    let sleeps = external["containers"][0]["lifecycle"]["preStop"]["sleep"]["seconds"].as_i64();
    assert!(sleeps >= Some(3), "{sleeps:?}");
    // What it drains in, and then some, is left of the time that it has.
    let left = external["terminationGracePeriodSeconds"].as_i64().unwrap() - sleeps.unwrap();
    assert!(left > 10, "{left}");
    assert!(
        pod(&[])["containers"][0]["lifecycle"].is_null(),
        "with an embedded database there is no other to go to"
    );
}

#[test]
fn the_database_outlives_the_release() {
    let objects = rendered("threeport", "x", &[]);
    let claims = objects
        .iter()
        .filter(|object| object["kind"] == "PersistentVolumeClaim")
        .collect::<Vec<_>>();
    assert_eq!(claims.len(), 1);
    assert_eq!(
        claims[0]["metadata"]["annotations"]["helm.sh/resource-policy"],
        "keep"
    );
}

/// Who has only the namespace may have nothing to remove it with.
#[test]
fn a_test_takes_away_what_it_delivers_however_it_ends() {
    let objects = rendered("threeport", "team", &[]);
    let is_test = |object: &&Value| name(object) == "Job/threeport-test";
    let job = &objects.iter().find(is_test).unwrap()["spec"];
    let pod = &job["template"]["spec"];
    let words = |container: &Value| -> Vec<String> {
        let words = container["args"].as_array().unwrap().iter();
        words.map(|word| word.as_str().unwrap().to_owned()).collect()
    };
    let (clears, delivers) = (words(&pod["initContainers"][0]), words(&pod["containers"][0]));
    assert_eq!(delivers[..2], ["run", "threeport-helm-test"]);
    for word in ["--wait", "--remove"] {
        assert!(delivers.iter().any(|one| one == word), "{word}: {delivers:?}");
    }
    // Of a test that was broken off, too.
    let both = [
        "delete",
        "workloadinstance/threeport-helm-test",
        "workloaddefinition/threeport-helm-test",
    ];
    assert_eq!(clears[..3], both);
    for word in ["--wait", "--ignore-not-found"] {
        assert!(clears.iter().any(|one| one == word), "{word}: {clears:?}");
    }
    // The Job is not ended in the middle of it.
    let seconds = |words: &[String]| -> i64 {
        let mut all = words
            .iter()
            .filter_map(|word| word.strip_prefix("--timeout=")?.strip_suffix('s'));
        all.next().unwrap().parse().unwrap()
    };
    let longest = seconds(&clears) + 2 * seconds(&delivers);
    assert!(job["activeDeadlineSeconds"].as_i64().unwrap() > longest);
}
