use serde_json::{Value, json};

use super::*;

const DEPLOYMENT: Uuid = Uuid::from_u128(0xd);
const OLD: Uuid = Uuid::from_u128(0xa1);
const NEW: Uuid = Uuid::from_u128(0xa2);

fn facts(uid: u128, name: &str, owner: Uuid, status: &Value) -> PodFacts {
    let object = json!({
        "metadata": {
            "name": name, "uid": Uuid::from_u128(uid).to_string(),
            "ownerReferences": [
                {"apiVersion": "x", "kind": "Other", "name": "o", "uid": Uuid::from_u128(0xff).to_string()},
                {"apiVersion": "x", "kind": "Job", "name": "o", "uid": owner.to_string(), "controller": true},
            ],
        },
        "spec": {"containers": [{"name": "web", "image": "web:9"}]},
        "status": status,
    });
    pod(&serde_json::from_value(object).unwrap()).unwrap()
}

fn waiting(reason: &str, message: &str) -> Value {
    container(&json!({"state": {"waiting": {"reason": reason, "message": message}}}))
}

fn container(state: &Value) -> Value {
    let mut status = json!({
        "name": "web", "image": "docker.io/library/web:9", "imageID": "", "ready": false, "restartCount": 2,
    });
    status
        .as_object_mut()
        .unwrap()
        .extend(state.as_object().unwrap().clone());
    json!({"phase": "Pending", "containerStatuses": [status]})
}

fn running() -> Value {
    let mut status = container(&json!({"state": {"running": {}}, "ready": true}));
    status["containerStatuses"][0]["imageID"] = json!("sha256:1");
    status
}

fn base(health: Health) -> Observation {
    Observation {
        group: "apps".to_owned(),
        version: "v1".to_owned(),
        kind: "Deployment".to_owned(),
        namespace: "shop".to_owned(),
        name: "web".to_owned(),
        uid: DEPLOYMENT.to_string(),
        instance_id: Uuid::nil(),
        resource_version: "1".to_owned(),
        ownership_digest: None,
        other_managers: Vec::new(),
        health,
        message: "ready replicas: 0/1".to_owned(),
        images: Vec::new(),
        completed: None,
    }
}

fn replica_sets(pods: &mut Pods) {
    for (uid, revision) in [(OLD, 1), (NEW, 2)] {
        pods.put_replica_set(ReplicaSetFacts {
            uid,
            owner: Some(DEPLOYMENT),
            revision,
        });
    }
}

#[test]
fn troubles_are_named_with_container_reason_and_image() {
    let exited = json!({"terminated": {"exitCode": 3, "reason": "Error"}});
    let crash = json!({
        "state": {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 10s"}}, "lastState": exited.clone(),
    });
    let cases = [
        (running(), None),
        (waiting("ContainerCreating", ""), None),
        (json!({"phase": "Pending"}), None),
        (
            waiting("ErrImagePull", "failed to resolve: not found"),
            Some((
                true,
                "container web: ImagePullBackOff: image docker.io/library/web:9: failed to resolve: not found",
            )),
        ),
        (
            waiting(
                "ImagePullBackOff",
                "Back-off pulling image \"web:9\": ErrImagePull: failed to resolve: not found",
            ),
            Some((
                true,
                "container web: ImagePullBackOff: image docker.io/library/web:9: failed to resolve: not found",
            )),
        ),
        (
            waiting("CreateContainerConfigError", "secret \"x\" not found"),
            Some((true, "secret \"x\" not found")),
        ),
        (
            waiting("ErrImageNeverPull", "not present"),
            Some((true, "ErrImageNeverPull: image")),
        ),
        (
            container(&crash),
            Some((
                true,
                "CrashLoopBackOff: image docker.io/library/web:9, restarts 2, exit code 3 (Error)",
            )),
        ),
        (
            container(&json!({"state": exited})),
            Some((false, "container web: Error, exit code 3, restarts 2")),
        ),
        (
            container(&json!({"state": {"running": {}}, "lastState": exited})),
            Some((false, "Error, exit code 3")),
        ),
        (
            json!({"phase": "Pending", "conditions": [
                {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/1 nodes"},
            ]}),
            Some((false, "Unschedulable: 0/1 nodes")),
        ),
    ];
    for (status, expected) in cases {
        let found = facts(1, "web-1", NEW, &status).trouble;
        let found = found
            .as_deref()
            .map(|trouble| (trouble.failed, trouble.message.as_str()));
        match (found, expected) {
            (None, None) => {}
            (Some((failed, message)), Some((expected_failed, part))) => {
                assert_eq!(failed, expected_failed, "{status}");
                assert!(message.contains(part), "{status}: {message}");
            }
            other => panic!("{status}: {other:?}"),
        }
    }
}

#[test]
fn a_long_reason_is_cut() {
    let trouble = facts(1, "web-1", NEW, &waiting("ErrImagePull", &"ä".repeat(5000)))
        .trouble
        .unwrap();
    assert!(trouble.message.chars().count() < 400);
}

#[test]
fn a_failing_pod_is_the_workload_s_reason_in_whatever_order_they_are_seen() {
    let failing = || facts(1, "web-1", NEW, &waiting("ImagePullBackOff", "no"));
    let mut pods = Pods::default();
    assert!(!pods.put_pod(failing()).contains(&DEPLOYMENT));
    assert!(
        pods.put_replica_set(ReplicaSetFacts {
            uid: NEW,
            owner: Some(DEPLOYMENT),
            revision: 1
        })
        .contains(&DEPLOYMENT)
    );
    let explained = pods.explain(DEPLOYMENT, &base(Health::InProgress), true);
    assert_eq!(explained.health, Health::Failed);
    assert!(
        explained
            .message
            .starts_with("pod web-1: container web: ImagePullBackOff: image"),
        "{}",
        explained.message
    );
    assert!(pods.put_pod(failing()).contains(&DEPLOYMENT));
    assert!(pods.remove_pod(Uuid::from_u128(1)).contains(&DEPLOYMENT));
    assert_eq!(
        pods.explain(DEPLOYMENT, &base(Health::InProgress), true),
        base(Health::InProgress)
    );
}

#[test]
fn only_the_newest_revision_speaks_and_only_once_the_controller_has_seen_it() {
    let mut pods = Pods::default();
    replica_sets(&mut pods);
    pods.put_pod(facts(1, "web-old", OLD, &waiting("ImagePullBackOff", "old")));
    assert_eq!(
        pods.explain(DEPLOYMENT, &base(Health::InProgress), true).health,
        Health::Failed
    );
    assert_eq!(
        pods.explain(DEPLOYMENT, &base(Health::InProgress), false).health,
        Health::InProgress
    );
    pods.put_pod(facts(2, "web-new", NEW, &running()));
    assert_eq!(
        pods.explain(DEPLOYMENT, &base(Health::InProgress), true).health,
        Health::InProgress
    );
}

#[test]
fn a_workload_that_is_well_stays_so_whatever_a_pod_says() {
    let mut pods = Pods::default();
    pods.put_pod(facts(1, "job-1", DEPLOYMENT, &waiting("ImagePullBackOff", "no")));
    assert_eq!(
        pods.explain(DEPLOYMENT, &base(Health::Current), true).health,
        Health::Current
    );
    assert_eq!(pods.explain(DEPLOYMENT, &base(Health::Failed), true).message, {
        "pod job-1: container web: ImagePullBackOff: image docker.io/library/web:9: no; ready replicas: 0/1"
    });
}

#[test]
fn images_are_reported_once_with_what_the_node_resolved() {
    let mut pods = Pods::default();
    replica_sets(&mut pods);
    pods.put_pod(facts(1, "web-1", NEW, &running()));
    pods.put_pod(facts(2, "web-2", NEW, &running()));
    let mut leaving = facts(3, "web-3", OLD, &running());
    leaving.terminating = true;
    pods.put_pod(leaving);
    let images = pods.explain(DEPLOYMENT, &base(Health::Current), true).images;
    let expected = RunningImage {
        repository: "docker.io/library/web".to_owned(),
        reference: "9".to_owned(),
        image_id: "sha256:1".to_owned(),
    };
    assert_eq!(images, [expected]);
    assert_eq!(pods.images.len(), 1);
    for uid in 1..=3 {
        pods.remove_pod(Uuid::from_u128(uid));
    }
    assert!(pods.images.is_empty() && pods.pods_by_owner.is_empty());
}
