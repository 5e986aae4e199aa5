use serde_json::{Value, json};
use threeport_model::kinds::workload_instance::Health::{self, Current, Failed, InProgress, Terminating};

use super::assess;

/// What is assessed, and what must come out: health and a part of the message.
type Case = (Value, Health, &'static str);

fn check(group: &str, kind: &str, cases: impl IntoIterator<Item = Case>) {
    for (object, health, message) in cases {
        let assessment = assess(group, kind, &object);
        assert_eq!(
            assessment.health, health,
            "{kind} {object}: {}",
            assessment.message
        );
        assert!(
            assessment.message.contains(message),
            "{kind} {object}: {:?}",
            assessment.message
        );
    }
}

fn conditions(list: &[(&str, &str, &str, &str)]) -> Value {
    let condition = |(kind, status, reason, message): &(&str, &str, &str, &str)| json!({"type": kind, "status": status, "reason": reason, "message": message});
    list.iter().map(condition).collect()
}

#[test]
fn every_kind_heeds_deletion_generation_and_the_standard_conditions() {
    let kinds = [
        ("apps", "Deployment"),
        ("batch", "Job"),
        ("", "ConfigMap"),
        ("example.org", "Widget"),
    ];
    for (group, kind) in kinds {
        let stalled = conditions(&[("Stalled", "True", "BadSpec", "no such size")]);
        let reconciling = conditions(&[("Reconciling", "True", "Working", "")]);
        check(
            group,
            kind,
            [
                (
                    json!({"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}}),
                    Terminating,
                    "deleted",
                ),
                (
                    json!({"metadata": {"generation": 3}, "status": {"observedGeneration": 2}}),
                    InProgress,
                    "generation 2 of 3",
                ),
                (
                    json!({"status": {"conditions": stalled, "observedGeneration": 1}}),
                    Failed,
                    "BadSpec: no such size",
                ),
                (
                    json!({"status": {"conditions": reconciling, "observedGeneration": 1}}),
                    InProgress,
                    "Working",
                ),
            ],
        );
    }
}

#[test]
fn kinds_without_rules_follow_their_ready_condition() {
    let ready =
        |status: &str| json!({"status": {"conditions": conditions(&[("Ready", status, "Why", "because")])}});
    let mut stale = ready("True");
    stale["metadata"] = json!({"generation": 2});
    stale["status"]["conditions"][0]["observedGeneration"] = json!(1);
    let cases = [
        (json!({}), Current, ""),
        (json!({"status": {"phase": "Whatever"}}), Current, ""),
        (ready("True"), Current, ""),
        (ready("False"), InProgress, "Why: because"),
        (ready("Unknown"), InProgress, "Why"),
        (stale, InProgress, "generation 1 of 2"),
    ];
    check("example.org", "Widget", cases);
}

#[test]
fn what_pods_say_counts_only_for_the_newest_generation() {
    let old = json!({"metadata": {"generation": 2}, "status": {"observedGeneration": 1}});
    assert!(!assess("apps", "Deployment", &old).observed);
    assert!(!assess("apps", "Deployment", &json!({"status": {}})).observed);
    let new = json!({"metadata": {"generation": 2}, "status": {"observedGeneration": 2}});
    assert!(assess("apps", "Deployment", &new).observed);
}

#[test]
fn deployment() {
    let with = |desired: i64,
                [all, updated, ready, available]: [i64; 4],
                list: &[(&str, &str, &str, &str)]| {
        json!({
            "metadata": {"generation": 1},
            "spec": {"replicas": desired},
            "status": {
                "observedGeneration": 1, "replicas": all, "updatedReplicas": updated, "readyReplicas": ready,
                "availableReplicas": available, "conditions": conditions(list),
            },
        })
    };
    let available = [("Available", "True", "MinimumReplicasAvailable", "")];
    let cases = [
        (json!({"spec": {"replicas": 0}}), InProgress, "not looked"),
        (with(2, [2, 2, 2, 2], &available), Current, ""),
        (with(0, [0, 0, 0, 0], &available), Current, ""),
        (
            with(2, [2, 1, 2, 2], &available),
            InProgress,
            "updated replicas: 1/2",
        ),
        (
            with(2, [3, 2, 3, 3], &available),
            InProgress,
            "old replicas that still run: 1",
        ),
        (with(1, [2, 2, 2, 2], &available), InProgress, "to be removed: 1"),
        (
            with(2, [2, 2, 1, 1], &available),
            InProgress,
            "ready replicas: 1/2",
        ),
        (
            with(2, [2, 2, 2, 1], &available),
            InProgress,
            "available replicas: 1/2",
        ),
        (
            with(2, [2, 2, 2, 2], &[("Available", "False", "No", "")]),
            InProgress,
            "No",
        ),
        (
            with(
                1,
                [1, 1, 0, 0],
                &[(
                    "Progressing",
                    "False",
                    "ProgressDeadlineExceeded",
                    "web timed out",
                )],
            ),
            Failed,
            "ProgressDeadlineExceeded: web timed out",
        ),
        (
            with(
                1,
                [0, 0, 0, 0],
                &[("ReplicaFailure", "True", "FailedCreate", "exceeded quota")],
            ),
            InProgress,
            "exceeded quota",
        ),
    ];
    check("apps", "Deployment", cases);
}

#[test]
fn stateful_set() {
    let with = |desired: i64, [all, ready, updated]: [i64; 3], revisions: [&str; 2], strategy: Value| {
        json!({
            "spec": {"replicas": desired, "updateStrategy": strategy},
            "status": {
                "observedGeneration": 1, "replicas": all, "readyReplicas": ready, "updatedReplicas": updated,
                "currentRevision": revisions[0], "updateRevision": revisions[1],
            },
        })
    };
    let rolling = json!({"type": "RollingUpdate", "rollingUpdate": {"partition": 0}});
    let partition = json!({"type": "RollingUpdate", "rollingUpdate": {"partition": 2}});
    let cases = [
        (json!({}), InProgress, "not looked"),
        (with(3, [3, 3, 3], ["a", "a"], rolling.clone()), Current, ""),
        (
            with(3, [2, 2, 2], ["a", "a"], rolling.clone()),
            InProgress,
            "replicas: 2/3",
        ),
        (
            with(3, [4, 4, 4], ["a", "a"], rolling.clone()),
            InProgress,
            "to be removed: 1",
        ),
        (
            with(3, [3, 2, 3], ["a", "a"], rolling.clone()),
            InProgress,
            "ready replicas: 2/3",
        ),
        (
            with(3, [3, 3, 1], ["a", "b"], rolling.clone()),
            InProgress,
            "updated replicas: 1/3",
        ),
        (
            with(3, [3, 3, 3], ["a", "b"], rolling),
            InProgress,
            "being completed",
        ),
        (
            with(3, [3, 3, 0], ["a", "b"], partition.clone()),
            InProgress,
            "updated replicas: 0/1",
        ),
        (with(3, [3, 3, 1], ["a", "b"], partition), Current, ""),
        (
            with(3, [3, 3, 0], ["a", "b"], json!({"type": "OnDelete"})),
            Current,
            "",
        ),
    ];
    check("apps", "StatefulSet", cases);
}

#[test]
fn daemon_set() {
    let with = |[desired, current, updated, ready, available]: [i64; 5], strategy: &str| {
        json!({
            "spec": {"updateStrategy": {"type": strategy}},
            "status": {
                "observedGeneration": 1, "desiredNumberScheduled": desired, "currentNumberScheduled": current,
                "updatedNumberScheduled": updated, "numberReady": ready, "numberAvailable": available,
            },
        })
    };
    let cases = [
        (
            json!({"status": {"desiredNumberScheduled": 0}}),
            InProgress,
            "not looked",
        ),
        (with([2, 2, 2, 2, 2], "RollingUpdate"), Current, ""),
        (
            with([2, 1, 1, 1, 1], "RollingUpdate"),
            InProgress,
            "scheduled pods: 1/2",
        ),
        (
            with([2, 2, 1, 2, 2], "RollingUpdate"),
            InProgress,
            "updated pods: 1/2",
        ),
        (with([2, 2, 1, 2, 2], "OnDelete"), Current, ""),
        (
            with([2, 2, 2, 1, 1], "RollingUpdate"),
            InProgress,
            "ready pods: 1/2",
        ),
        (
            with([2, 2, 2, 2, 1], "RollingUpdate"),
            InProgress,
            "available pods: 1/2",
        ),
    ];
    check("apps", "DaemonSet", cases);
}

#[test]
fn replica_set() {
    let with = |desired: i64, all: i64, available: i64| {
        let status = json!({"observedGeneration": 1, "replicas": all, "availableReplicas": available});
        json!({"spec": {"replicas": desired}, "status": status})
    };
    let cases = [
        (json!({}), InProgress, "not looked"),
        (with(2, 2, 2), Current, ""),
        (with(2, 2, 1), InProgress, "available replicas: 1/2"),
        (with(1, 2, 2), InProgress, "to be removed: 1"),
    ];
    check("apps", "ReplicaSet", cases);
}

#[test]
fn a_job_must_complete() {
    let with = |list: &[(&str, &str, &str, &str)]| json!({"spec": {"completions": 2}, "status": {"succeeded": 1, "failed": 3, "conditions": conditions(list)}});
    let cases = [
        (json!({}), InProgress, "completions: 0/1"),
        (
            json!({"status": {"active": 1, "startTime": "2026-01-01T00:00:00Z"}}),
            InProgress,
            "completions: 0/1",
        ),
        (with(&[]), InProgress, "completions: 1/2, failed pods: 3"),
        (
            with(&[("Complete", "True", "CompletionsReached", "")]),
            Current,
            "",
        ),
        (
            with(&[("Failed", "True", "BackoffLimitExceeded", "gave up")]),
            Failed,
            "BackoffLimitExceeded: gave up",
        ),
        (
            with(&[("Suspended", "True", "JobSuspended", "")]),
            InProgress,
            "suspended",
        ),
    ];
    check("batch", "Job", cases);
}

#[test]
fn pod() {
    let with = |phase: &str, list: &[(&str, &str, &str, &str)]| json!({"status": {"phase": phase, "conditions": conditions(list)}});
    let cases = [
        (json!({}), InProgress, "not scheduled"),
        (with("Running", &[("Ready", "True", "", "")]), Current, ""),
        (
            with("Running", &[("Ready", "False", "ContainersNotReady", "web")]),
            InProgress,
            "ContainersNotReady: web",
        ),
        (
            with(
                "Pending",
                &[("PodScheduled", "False", "Unschedulable", "0/1 nodes")],
            ),
            InProgress,
            "Unschedulable",
        ),
        (with("Pending", &[]), InProgress, "phase: Pending"),
        (with("Succeeded", &[]), Current, ""),
        (
            json!({"status": {"phase": "Failed", "reason": "Evicted"}}),
            Failed,
            "Evicted",
        ),
    ];
    check("", "Pod", cases);
}

#[test]
fn persistent_volume_claim() {
    let with = |phase: &str| json!({"status": {"phase": phase}});
    let cases = [
        (json!({}), InProgress, "not bound"),
        (with("Pending"), InProgress, "Pending"),
        (with("Bound"), Current, ""),
        (with("Lost"), Failed, "lost"),
    ];
    check("", "PersistentVolumeClaim", cases);
}

#[test]
fn service() {
    let balancer = json!({"spec": {"type": "LoadBalancer", "clusterIP": "10.0.0.1"}});
    let mut served = balancer.clone();
    served["status"] = json!({"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}]}});
    let cases = [
        (json!({"spec": {"type": "ClusterIP"}}), Current, ""),
        (
            json!({"spec": {"type": "LoadBalancer"}}),
            InProgress,
            "cluster address",
        ),
        (balancer, Current, "no load balancer address"),
        (served, Current, ""),
    ];
    check("", "Service", cases);
}

#[test]
fn custom_resource_definition() {
    let with = |list: &[(&str, &str, &str, &str)]| json!({"status": {"conditions": conditions(list)}});
    let cases = [
        (json!({}), InProgress, "not established"),
        (
            with(&[("NamesAccepted", "False", "ListKindConflict", "taken")]),
            Failed,
            "taken",
        ),
        (
            with(&[("Established", "False", "Installing", "")]),
            InProgress,
            "Installing",
        ),
        (
            with(&[("NamesAccepted", "True", "", ""), ("Established", "True", "", "")]),
            Current,
            "",
        ),
    ];
    check("apiextensions.k8s.io", "CustomResourceDefinition", cases);
}

#[test]
fn budgets_and_autoscalers_hold_nothing_up() {
    check(
        "policy",
        "PodDisruptionBudget",
        [
            (json!({}), InProgress, "not looked"),
            (
                json!({"status": {"observedGeneration": 1, "currentHealthy": 0, "desiredHealthy": 1}}),
                Current,
                "",
            ),
        ],
    );
    let blind = conditions(&[("ScalingActive", "False", "FailedGetResourceMetric", "no metrics")]);
    check(
        "autoscaling",
        "HorizontalPodAutoscaler",
        [
            (json!({}), Current, ""),
            (json!({"status": {"conditions": blind}}), Current, "no metrics"),
        ],
    );
}
