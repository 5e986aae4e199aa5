//! KubernetesRuntimeInstance: a Kubernetes cluster that runs workloads.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    condition::{Condition, ConditionStatus},
    duration,
    kind::{Column, Kind, MESSAGE, READY, REASON, Reference},
    kinds::KubernetesRuntimeDefinition,
    name,
    problem::FieldError,
};

/// See the module.
pub struct KubernetesRuntimeInstance;

/// The slot of the one default runtime.
pub const DEFAULT_SLOT: &str = "runtime/default";

/// Which cluster, and how to reach it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Spec {
    /// Name of the KubernetesRuntimeDefinition.
    pub definition: String,
    /// Where it stands, as in `Oceania:Sydney`. Immutable.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub location: Option<String>,
    /// Whether instances that name no runtime go here. At most one runtime is the default.
    #[serde(default)]
    pub default_runtime: bool,
    /// Exactly one way to reach it.
    pub connection: Connection,
    /// ServiceAccount (`namespace/name`) that writes are made as.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub service_account: Option<String>,
    /// After how long in which neither its API answers nor its agent is heard its objects may be abandoned, as in `24h`.
    /// Default: never.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub abandon_after: Option<String>,
}

/// Exactly one way to reach a cluster.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Connection {
    /// The cluster that the control plane itself runs in.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub in_cluster: Option<Empty>,
    /// A kubeconfig in a Secret. Not served by this version.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub kubeconfig: Option<Kubeconfig>,
    /// Amazon EKS. Not served by this version.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub eks: Option<Empty>,
}

/// `{}`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Empty {}

/// A kubeconfig in a Secret.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Kubeconfig {
    /// Name of the Secret.
    pub secret: String,
}

/// What is known of a cluster.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Status {
    /// The generation that the status speaks about.
    pub observed_generation: i64,
    /// `Ready` needs a reachable API and an agent that is heard.
    pub conditions: Vec<Condition>,
    /// Version of its API server, as in `v1.35.4`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// How many nodes it has.
    pub nodes: NodeCounts,
    /// The agent in it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub agent: Option<AgentStatus>,
    /// Whether its API answers.
    pub reachable: Reachable,
    /// Where its API is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub api_endpoint: Option<String>,
}

/// Nodes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct NodeCounts {
    /// All of them.
    pub total: i64,
    /// Those that are Ready.
    pub ready: i64,
}

/// The agent in a cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct AgentStatus {
    /// Its version.
    pub version: String,
    /// Whether it was heard within the last 12 s.
    pub connected: bool,
    /// When it was last heard, to the minute while it is connected, so that status does not change with each beat.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_seen: Option<jiff::Timestamp>,
}

/// Whether a cluster's API answers, since when.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Reachable {
    /// True, False or Unknown.
    pub status: ConditionStatus,
    /// When that last changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<jiff::Timestamp>,
}

impl Kind for KubernetesRuntimeInstance {
    const KIND: &'static str = "KubernetesRuntimeInstance";
    const PLURAL: &'static str = "kubernetesruntimeinstances";
    const SINGULAR: &'static str = "kubernetesruntimeinstance";
    const SHORT_NAME: &'static str = "tpkri";
    const DESCRIPTION: &'static str = "A Kubernetes cluster that runs workloads.";
    const COLUMNS: &'static [Column] = &[
        READY,
        REASON,
        Column::text("VERSION", ".status.version"),
        Column::number("NODES", ".status.nodes.total"),
        Column::text("REACHABLE", ".status.reachable.status"),
        MESSAGE,
    ];
    const UNMIRRORED: &'static [&'static str] = &["/agent/lastSeen"];
    type Spec = Spec;
    type Status = Status;

    fn validate(spec: &Spec) -> Vec<FieldError> {
        let mut errors = Vec::new();
        if let Some(problem) = name::problem(&spec.definition) {
            errors.push(FieldError::new(Reference::DEFINITION, problem));
        }
        let connection = &spec.connection;
        let ways = [
            connection.in_cluster.is_some(),
            connection.kubeconfig.is_some(),
            connection.eks.is_some(),
        ];
        if ways.iter().filter(|way| **way).count() != 1 {
            let message = "must have exactly one of inCluster, kubeconfig and eks";
            errors.push(FieldError::new("spec.connection", message));
        }
        if let Some(account) = &spec.service_account {
            let valid = account.split_once('/').is_some_and(|(namespace, account)| {
                name::problem(namespace).is_none() && !account.is_empty()
            });
            if !valid {
                errors.push(FieldError::new("spec.serviceAccount", "must be namespace/name"));
            }
        }
        match spec.abandon_after.as_deref().map(duration::parse) {
            Some(Err(message)) => errors.push(FieldError::new("spec.abandonAfter", message)),
            Some(Ok(Duration::ZERO)) => {
                let message =
                    "must be longer than nothing: a short interruption is no reason to leave objects behind";
                errors.push(FieldError::new("spec.abandonAfter", message));
            }
            _ => {}
        }
        errors
    }

    fn not_supported(spec: &Spec) -> Vec<FieldError> {
        let message = "is not served by this version; use inCluster";
        [
            ("kubeconfig", spec.connection.kubeconfig.is_some()),
            ("eks", spec.connection.eks.is_some()),
        ]
        .into_iter()
        .filter(|(_, present)| *present)
        .map(|(field, _)| FieldError::new(format!("spec.connection.{field}"), message))
        .collect()
    }

    fn validate_change(old: &Spec, new: &Spec) -> Vec<FieldError> {
        if old.location == new.location {
            Vec::new()
        } else {
            vec![FieldError::new("spec.location", "is immutable")]
        }
    }

    fn references(spec: &Spec) -> Vec<Reference> {
        vec![Reference::new(
            Reference::DEFINITION,
            KubernetesRuntimeDefinition::KIND,
            &spec.definition,
        )]
    }

    fn slot(spec: &Spec) -> Option<&'static str> {
        spec.default_runtime.then_some(DEFAULT_SLOT)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::find_kind;

    #[test]
    fn nothing_is_abandoned_at_once() {
        let normalize = find_kind("KubernetesRuntimeInstance").unwrap().normalize;
        let runtime = |after: &str| json!({"definition": "local", "connection": {"inCluster": {}}, "abandonAfter": after});
        assert!(normalize(&runtime("1s")).is_ok());
        for after in ["0s", "0h0m", "soon"] {
            assert_eq!(
                normalize(&runtime(after)).unwrap_err()[0].field,
                "spec.abandonAfter"
            );
        }
    }
}
