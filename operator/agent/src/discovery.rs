//! How a kind is watched: where its REST path is (by discovery, never guessed), and whether its metadata is enough.

use kube::{
    Client,
    core::GroupVersionKind,
    discovery::{ApiResource, verbs},
};
use threeport_cluster::discovery::{self, Served};
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

/// Where the cluster serves a kind: in its version, or where that is not served in another one. The objects are the same in
/// all of them.
pub async fn resolve(client: &Client, kind: &WatchedKind) -> Result<ApiResource, Unresolved> {
    match discovery::find_rather_in(client, &kind.group, &kind.version, &kind.kind).await {
        Ok(Some(served)) => watchable(&served),
        Ok(None) => Err(Unresolved::Absent(not_served(kind))),
        Err(error) => Err(unknown(kind, &error)),
    }
}

fn watchable(served: &Served) -> Result<ApiResource, Unresolved> {
    if !served.verbs.iter().any(|verb| verb == verbs::WATCH) {
        let scope = if served.namespaced {
            "namespaced"
        } else {
            "cluster"
        };
        let message = format!(
            "the cluster does not let the {scope} kind {} be watched",
            served.kind
        );
        return Err(Unresolved::Unknown(message));
    }
    let kind = GroupVersionKind::gvk(&served.group, &served.version, &served.kind);
    Ok(ApiResource::from_gvk_with_plural(&kind, &served.plural))
}

fn unknown(kind: &WatchedKind, error: &kube::Error) -> Unresolved {
    let message = format!("failed to ask the cluster for {}: {}", kind.kind, explain(error));
    Unresolved::Unknown(message)
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
    fn a_kind_is_watched_where_it_is_served_and_only_if_it_can_be() {
        let served = |verbs: &[&str]| Served {
            group: "example.org".to_owned(),
            version: "v1".to_owned(),
            kind: "Widget".to_owned(),
            plural: "widgets".to_owned(),
            namespaced: true,
            verbs: verbs.iter().map(|verb| (*verb).to_owned()).collect(),
        };
        let found = watchable(&served(&["list", "watch"])).unwrap();
        assert_eq!(
            (found.api_version.as_str(), found.plural.as_str()),
            ("example.org/v1", "widgets")
        );
        let message = "the cluster does not let the namespaced kind Widget be watched".to_owned();
        assert_eq!(watchable(&served(&["list"])), Err(Unresolved::Unknown(message)));
        let unserved = WatchedKind {
            group: "example.org".to_owned(),
            version: "v1beta1".to_owned(),
            kind: "Widget".to_owned(),
        };
        assert_eq!(
            not_served(&unserved),
            "the cluster does not serve Widget of example.org/v1beta1"
        );
    }

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
