//! How a live object is, by the rules of kstatus (`sigs.k8s.io/cli-utils`, `pkg/kstatus`): pure functions over the
//! object's JSON, a file per kind that has rules of its own.
//!
//! Two things differ from kstatus, since here "Current" means that a person may rely on it: a Job is not Current
//! before it completed, and counts that no controller has filled in yet don't count. There is no clock: what kstatus
//! derives from the time that has passed (a pod that can't be scheduled) stays InProgress and says why. No kept Rust
//! crate for kstatus was found.

mod custom_resource_definition;
mod daemon_set;
mod deployment;
mod generic;
mod horizontal_pod_autoscaler;
mod job;
mod persistent_volume_claim;
mod pod;
mod pod_disruption_budget;
mod replica_set;
mod service;
mod stateful_set;

use serde_json::Value;
use threeport_model::kinds::workload_instance::Health;

/// How an object is, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assessment {
    /// kstatus' word.
    pub health: Health,
    /// Why, where it is not simply as it should be.
    pub message: String,
    /// Whether the controller of the kind has seen the newest generation: else nothing that its pods say is about
    /// what is desired now.
    pub observed: bool,
}

impl Assessment {
    fn new(health: Health, message: impl Into<String>) -> Self {
        Self {
            health,
            message: message.into(),
            observed: true,
        }
    }

    fn current() -> Self {
        Self::new(Health::Current, "")
    }

    fn in_progress(message: impl Into<String>) -> Self {
        Self::new(Health::InProgress, message)
    }

    fn failed(message: impl Into<String>) -> Self {
        Self::new(Health::Failed, message)
    }

    fn not_observed(message: impl Into<String>) -> Self {
        Self {
            observed: false,
            ..Self::in_progress(message)
        }
    }
}

/// Assesses an object of `group` and `kind`. Only `metadata.generation`, `metadata.deletionTimestamp`, `spec` and
/// `status` are looked at; of an object that is watched without its status the deletion is all that can be seen.
pub fn assess(group: &str, kind: &str, object: &Value) -> Assessment {
    if let Some(assessment) = generic::before(object) {
        return assessment;
    }
    match (group, kind) {
        ("apps", "Deployment") => deployment::assess(object),
        ("apps", "StatefulSet") => stateful_set::assess(object),
        ("apps", "DaemonSet") => daemon_set::assess(object),
        ("apps", "ReplicaSet") => replica_set::assess(object),
        ("batch", "Job") => job::assess(object),
        ("", "Pod") => pod::assess(object),
        ("", "PersistentVolumeClaim") => persistent_volume_claim::assess(object),
        ("", "Service") => service::assess(object),
        ("apiextensions.k8s.io", "CustomResourceDefinition") => custom_resource_definition::assess(object),
        ("policy", "PodDisruptionBudget") => pod_disruption_budget::assess(object),
        ("autoscaling", "HorizontalPodAutoscaler") => horizontal_pod_autoscaler::assess(object),
        _ => generic::assess(object),
    }
}

/// Whether a Job says that it completed, whatever else it says.
pub fn is_complete(job: &Value) -> bool {
    condition(job, "Complete").is_some_and(|complete| complete.is_true())
}

fn text<'a>(object: &'a Value, pointer: &str) -> &'a str {
    object
        .pointer(pointer)
        .and_then(Value::as_str)
        .unwrap_or_default()
}

fn number(object: &Value, pointer: &str) -> Option<i64> {
    object.pointer(pointer).and_then(Value::as_i64)
}

/// A count that its controller leaves out where it is zero.
fn count(object: &Value, pointer: &str) -> i64 {
    number(object, pointer).unwrap_or(0)
}

/// A condition of an object.
struct Condition<'a> {
    status: &'a str,
    reason: &'a str,
    message: &'a str,
    observed_generation: Option<i64>,
}

impl Condition<'_> {
    fn is_true(&self) -> bool {
        self.status == "True"
    }

    fn is_false(&self) -> bool {
        self.status == "False"
    }

    /// `reason: message`, or what there is of it.
    fn why(&self) -> String {
        match (self.reason, self.message) {
            ("", message) => message.to_owned(),
            (reason, "") => reason.to_owned(),
            (reason, message) => format!("{reason}: {message}"),
        }
    }
}

fn condition<'a>(object: &'a Value, kind: &str) -> Option<Condition<'a>> {
    let conditions = object.pointer("/status/conditions")?.as_array()?;
    let found = conditions
        .iter()
        .find(|condition| text(condition, "/type") == kind)?;
    Some(Condition {
        status: text(found, "/status"),
        reason: text(found, "/reason"),
        message: text(found, "/message"),
        observed_generation: number(found, "/observedGeneration"),
    })
}

/// Kinds whose controller always says which generation it has seen: without that, nothing is known yet.
fn not_yet_observed(object: &Value) -> Option<Assessment> {
    let missing = number(object, "/status/observedGeneration").is_none();
    missing.then(|| Assessment::not_observed("its controller has not looked at it yet"))
}

#[cfg(test)]
mod tests;
