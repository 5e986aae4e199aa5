//! How a kind is watched: where its REST path is (by discovery, never guessed), and whether its metadata is enough.

use kube::{
    Client,
    discovery::{self, ApiResource, Scope},
};
use threeport_model::{explain, protocol::agent::WatchedKind};

/// Kinds whose status says nothing about their health. Secrets are here whatever else changes: the agent never sees
/// their values.
const METADATA_ONLY: &[(&str, &str)] = &[
    ("", "ConfigMap"),
    ("", "Endpoints"),
    ("", "LimitRange"),
    ("", "Namespace"),
    ("", "ResourceQuota"),
    ("", "Secret"),
    ("", "ServiceAccount"),
    ("admissionregistration.k8s.io", "MutatingWebhookConfiguration"),
    ("admissionregistration.k8s.io", "ValidatingWebhookConfiguration"),
    ("batch", "CronJob"),
    ("discovery.k8s.io", "EndpointSlice"),
    ("networking.k8s.io", "Ingress"),
    ("networking.k8s.io", "IngressClass"),
    ("networking.k8s.io", "NetworkPolicy"),
    ("node.k8s.io", "RuntimeClass"),
    ("rbac.authorization.k8s.io", "ClusterRole"),
    ("rbac.authorization.k8s.io", "ClusterRoleBinding"),
    ("rbac.authorization.k8s.io", "Role"),
    ("rbac.authorization.k8s.io", "RoleBinding"),
    ("scheduling.k8s.io", "PriorityClass"),
    ("storage.k8s.io", "StorageClass"),
];

/// Whether the metadata of such objects says all that is reported.
pub fn metadata_is_enough(kind: &WatchedKind) -> bool {
    METADATA_ONLY.contains(&(kind.group.as_str(), kind.kind.as_str()))
}

/// Why a kind can't be watched, in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unresolved {
    /// The cluster says that it does not serve it.
    Absent(String),
    /// Nobody knows, or it can't be watched.
    Unknown(String),
}

/// Where the cluster serves a kind.
pub async fn resolve(client: &Client, kind: &WatchedKind) -> Result<ApiResource, Unresolved> {
    let version = kube::core::GroupVersionKind::gvk(&kind.group, &kind.version, &kind.kind);
    match discovery::pinned_kind(client, &version).await {
        Ok((resource, capabilities)) => {
            if capabilities.supports_operation(discovery::verbs::WATCH) {
                Ok(resource)
            } else {
                let scope = if capabilities.scope == Scope::Cluster {
                    "cluster"
                } else {
                    "namespaced"
                };
                let message = format!(
                    "the cluster does not let the {scope} kind {} be watched",
                    kind.kind
                );
                Err(Unresolved::Unknown(message))
            }
        }
        Err(kube::Error::Discovery(_)) => Err(Unresolved::Absent(not_served(kind))),
        Err(kube::Error::Api(status)) if status.code == 404 => Err(Unresolved::Absent(not_served(kind))),
        Err(error) => {
            let message = format!("failed to ask the cluster for {}: {}", kind.kind, explain(&error));
            Err(Unresolved::Unknown(message))
        }
    }
}

fn not_served(kind: &WatchedKind) -> String {
    let version = if kind.group.is_empty() {
        kind.version.clone()
    } else {
        format!("{}/{}", kind.group, kind.version)
    };
    format!("the cluster does not serve {} of {version}", kind.kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_secrets_are_never_seen() {
        let kind = |group: &str, kind: &str| WatchedKind {
            group: group.to_owned(),
            version: "v1".to_owned(),
            kind: kind.to_owned(),
        };
        assert!(metadata_is_enough(&kind("", "Secret")));
        assert!(metadata_is_enough(&kind("", "ConfigMap")));
        assert!(!metadata_is_enough(&kind("apps", "Deployment")));
        assert!(!metadata_is_enough(&kind("example.org", "Secret")));
    }
}
