//! How a kind is watched: where its REST path is (by discovery, never guessed), and whether its metadata is enough.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::APIGroup;
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

/// Where the cluster serves a kind: in its version, or where that is not served in another one. The objects are the same in
/// all of them.
pub async fn resolve(client: &Client, kind: &WatchedKind) -> Result<ApiResource, Unresolved> {
    let absent = match in_version(client, kind, &kind.version).await {
        Err(Unresolved::Absent(message)) => message,
        answer => return answer,
    };
    for version in versions(client, kind).await? {
        match in_version(client, kind, &version).await {
            Err(Unresolved::Absent(_)) => {}
            answer => return answer,
        }
    }
    Err(Unresolved::Absent(absent))
}

/// The versions of a kind's group, the preferred one first; none where the cluster doesn't serve the group.
async fn versions(client: &Client, kind: &WatchedKind) -> Result<Vec<String>, Unresolved> {
    if kind.group.is_empty() {
        // The core has one version.
        return Ok(Vec::new());
    }
    let answer = match http::Request::get(format!("/apis/{}", kind.group)).body(Vec::new()) {
        Ok(request) => client.request::<APIGroup>(request).await,
        Err(error) => Err(kube::Error::HttpError(error)),
    };
    match answer {
        Ok(group) => Ok(group.versions.into_iter().map(|served| served.version).collect()),
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(Vec::new()),
        Err(error) => Err(unknown(kind, &error)),
    }
}

async fn in_version(client: &Client, kind: &WatchedKind, version: &str) -> Result<ApiResource, Unresolved> {
    let version = kube::core::GroupVersionKind::gvk(&kind.group, version, &kind.kind);
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
        Err(error) => Err(unknown(kind, &error)),
    }
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
    use std::convert::Infallible;

    use kube::client::Body;
    use serde_json::{Value, json};

    use super::*;

    /// A cluster with Widgets in one version, or in none.
    fn cluster(served: Option<&'static str>) -> Client {
        let service = tower::service_fn(move |request: http::Request<Body>| async move {
            let kind = json!({"name": "widgets", "kind": "Widget", "namespaced": true, "singularName": "",
                "verbs": ["list", "watch"]});
            let answer = match (request.uri().path(), served) {
                ("/apis/example.org", Some(version)) => {
                    let versions = ["v0", version].map(|version| {
                        json!({"groupVersion": format!("example.org/{version}"), "version": version})
                    });
                    json!({"kind": "APIGroup", "apiVersion": "v1", "name": "example.org", "versions": versions})
                }
                (path, Some(version)) if path.ends_with(version) => {
                    json!({"kind": "APIResourceList", "apiVersion": "v1", "resources": [kind],
                        "groupVersion": format!("example.org/{version}")})
                }
                _ => Value::Null,
            };
            let mut response = http::Response::new(Body::from(answer.to_string().into_bytes()));
            if answer.is_null() {
                *response.body_mut() = Body::from(b"404 page not found".to_vec());
                *response.status_mut() = http::StatusCode::NOT_FOUND;
            }
            Ok::<_, Infallible>(response)
        });
        Client::new(service, "default")
    }

    #[tokio::test]
    async fn a_kind_is_found_in_whichever_version_is_served() {
        let kind = WatchedKind {
            group: "example.org".to_owned(),
            version: "v1beta1".to_owned(),
            kind: "Widget".to_owned(),
        };
        for version in ["v1beta1", "v1"] {
            let found = resolve(&cluster(Some(version)), &kind).await.unwrap();
            assert_eq!(
                (found.api_version.as_str(), found.plural.as_str()),
                (&*format!("example.org/{version}"), "widgets")
            );
        }
        let absent = resolve(&cluster(None), &kind).await;
        let message = "the cluster does not serve Widget of example.org/v1beta1".to_owned();
        assert_eq!(absent, Err(Unresolved::Absent(message)));
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
