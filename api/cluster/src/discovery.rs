//! Where a cluster serves a kind: it is asked, nothing is guessed.
//!
//! A group or a version that the cluster doesn't know serves nothing, which is an answer. An error is none, nor is what is
//! not a list, and neither is ever taken for "not served".

use kube::Client;
use serde_json::Value;

/// A kind as a cluster serves it in one version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Served {
    /// Empty for the core group.
    pub group: String,
    /// As in `apiVersion`.
    pub version: String,
    /// As in `kind:`.
    pub kind: String,
    /// As in paths.
    pub plural: String,
    /// Whether its objects live in namespaces.
    pub namespaced: bool,
    /// What may be done with them, as in `watch`.
    pub verbs: Vec<String>,
}

/// Who asks. How long he waits, what he remembers and how he says what went wrong is his own.
pub trait Asker: Sync {
    /// Why there is no answer.
    type Error: Send;

    /// What the cluster says at a path; nothing where it knows no such path.
    fn read(&self, path: &str) -> impl Future<Output = Result<Option<Value>, Self::Error>> + Send;

    /// What the cluster says is no answer.
    fn undecodable(error: serde_json::Error) -> Self::Error;

    /// All that a version serves was read.
    fn remember(&self, _group: &str, _version: &str, _served: &[Served]) {}
}

impl Asker for Client {
    type Error = kube::Error;

    async fn read(&self, path: &str) -> Result<Option<Value>, kube::Error> {
        let request = http::Request::get(path).body(Vec::new());
        let request = request.map_err(kube::Error::HttpError)?;
        match self.request::<Value>(request).await {
            Ok(answer) => Ok(Some(answer)),
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn undecodable(error: serde_json::Error) -> kube::Error {
        kube::Error::SerdeError(error)
    }
}

/// What the cluster lists at a path under a key; nothing where it knows no such path.
async fn listed<A: Asker>(asker: &A, path: &str, key: &str) -> Result<Vec<Value>, A::Error> {
    let Some(mut answer) = asker.read(path).await? else {
        return Ok(Vec::new());
    };
    match answer.get_mut(key).map(Value::take) {
        // As Go writes an empty list.
        Some(Value::Null) => Ok(Vec::new()),
        found => serde_json::from_value(found.unwrap_or_default()).map_err(A::undecodable),
    }
}

/// The kind in that version; nothing where it is not served in it.
pub async fn find<A: Asker>(
    asker: &A,
    group: &str,
    version: &str,
    kind: &str,
) -> Result<Option<Served>, A::Error> {
    let entries = listed(asker, &format!("{}/{version}", path(group)), "resources").await?;
    let served: Vec<Served> = entries
        .iter()
        .filter_map(|entry| of_entry(group, version, entry))
        .collect();
    asker.remember(group, version, &served);
    Ok(served.into_iter().find(|served| served.kind == kind))
}

/// The kind in whichever version of its group it is served, the preferred one first; nothing where it is served in none.
pub async fn find_in_any_version<A: Asker>(
    asker: &A,
    group: &str,
    kind: &str,
) -> Result<Option<Served>, A::Error> {
    for version in versions(asker, group).await? {
        if let Some(found) = find(asker, group, &version, kind).await? {
            return Ok(Some(found));
        }
    }
    Ok(None)
}

/// The kind in that version, or where it is not served in it in another one. The objects are the same in all of them.
pub async fn find_rather_in<A: Asker>(
    asker: &A,
    group: &str,
    version: &str,
    kind: &str,
) -> Result<Option<Served>, A::Error> {
    match find(asker, group, version, kind).await? {
        Some(found) => Ok(Some(found)),
        None => find_in_any_version(asker, group, kind).await,
    }
}

/// The versions of a group, the preferred one first; none where the cluster doesn't serve the group.
async fn versions<A: Asker>(asker: &A, group: &str) -> Result<Vec<String>, A::Error> {
    let versions = listed(asker, &path(group), "versions").await?;
    // A group's versions are objects, the core's are words.
    let names = versions
        .iter()
        .map(|version| version["version"].as_str().or(version.as_str()));
    Ok(names.map(|name| name.unwrap_or_default().to_owned()).collect())
}

fn path(group: &str) -> String {
    if group.is_empty() {
        "/api".to_owned()
    } else {
        format!("/apis/{group}")
    }
}

fn of_entry(group: &str, version: &str, entry: &Value) -> Option<Served> {
    let plural = entry["name"].as_str()?;
    // Subresources are listed as `deployments/scale`.
    if plural.contains('/') {
        return None;
    }
    let verbs = entry["verbs"].as_array().into_iter().flatten();
    Some(Served {
        group: group.to_owned(),
        version: version.to_owned(),
        kind: entry["kind"].as_str()?.to_owned(),
        plural: plural.to_owned(),
        namespaced: entry["namespaced"].as_bool()?,
        verbs: verbs.filter_map(Value::as_str).map(str::to_owned).collect(),
    })
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use kube::client::Body;
    use serde_json::json;

    use super::*;

    /// A cluster that answers so to paths: a code, and what it says.
    fn cluster(answer: impl Fn(&str) -> (u16, Value) + Clone + Send + 'static) -> Client {
        let service = tower::service_fn(move |request: http::Request<Body>| {
            let (code, said) = answer(request.uri().path());
            let mut response = http::Response::new(Body::from(said.to_string().into_bytes()));
            *response.status_mut() = http::StatusCode::from_u16(code).unwrap();
            async move { Ok::<_, Infallible>(response) }
        });
        Client::new(service, "default")
    }

    /// A cluster with Widgets in one version, or in none.
    fn with_widgets(served: Option<&'static str>) -> Client {
        cluster(move |path| match (path, served) {
            ("/apis/example.org", Some(version)) => {
                let versions = ["v0", version].map(
                    |version| json!({"groupVersion": format!("example.org/{version}"), "version": version}),
                );
                (
                    200,
                    json!({"kind": "APIGroup", "name": "example.org", "versions": versions}),
                )
            }
            (path, Some(version)) if path.ends_with(version) => {
                let kind = |name: &str| {
                    json!({"name": name, "kind": "Widget", "namespaced": true, "singularName": "",
                        "verbs": ["list", "watch"]})
                };
                let resources = [kind("widgets/status"), kind("widgets")];
                (200, json!({"kind": "APIResourceList", "resources": resources}))
            }
            _ => (404, json!("404 page not found")),
        })
    }

    #[tokio::test]
    async fn a_kind_is_found_in_whichever_version_is_served() {
        for version in ["v1beta1", "v1"] {
            let client = with_widgets(Some(version));
            let found = find_rather_in(&client, "example.org", "v1beta1", "Widget").await;
            let widgets = Served {
                group: "example.org".to_owned(),
                version: version.to_owned(),
                kind: "Widget".to_owned(),
                plural: "widgets".to_owned(),
                namespaced: true,
                verbs: ["list", "watch"].map(str::to_owned).to_vec(),
            };
            assert_eq!(found.unwrap(), Some(widgets));
        }
        let nowhere = find_rather_in(&with_widgets(None), "example.org", "v1beta1", "Widget").await;
        assert_eq!(nowhere.unwrap(), None);
    }

    #[tokio::test]
    async fn the_core_s_versions_are_words() {
        let client = cluster(|path| match path {
            "/api" => (200, json!({"kind": "APIVersions", "versions": ["v1"]})),
            "/api/v1" => {
                let node = json!({"name": "nodes", "kind": "Node", "namespaced": false, "verbs": ["get"]});
                (200, json!({"kind": "APIResourceList", "resources": [node]}))
            }
            _ => (404, json!("404 page not found")),
        });
        let found = find_in_any_version(&client, "", "Node").await.unwrap();
        let found = found.map(|node| (node.version, node.plural, node.namespaced));
        assert_eq!(found, Some(("v1".to_owned(), "nodes".to_owned(), false)));
        assert_eq!(find_in_any_version(&client, "", "Widget").await.unwrap(), None);
    }

    #[tokio::test]
    async fn a_failure_is_not_taken_for_a_kind_that_is_not_served() {
        for code in [403, 503] {
            let failure = json!({"kind": "Status", "status": "Failure", "code": code, "message": "no",
                "reason": "Tested"});
            let client = cluster(move |_| (code, failure.clone()));
            let found = find_in_any_version(&client, "example.org", "Widget").await;
            assert!(matches!(found, Err(kube::Error::Api(status)) if status.code == code));
        }
    }

    /// A gateway's word that all is well, say.
    #[tokio::test]
    async fn an_answer_without_a_list_is_not_taken_for_a_kind_that_is_not_served() {
        let well = cluster(|_| (200, json!({"status": "ok"})));
        let empty = cluster(|_| {
            (
                200,
                json!({"kind": "APIResourceList", "resources": null, "versions": null}),
            )
        });
        assert_eq!(find(&empty, "example.org", "v1", "Widget").await.unwrap(), None);
        assert_eq!(
            find_in_any_version(&empty, "example.org", "Widget")
                .await
                .unwrap(),
            None
        );
        for found in [
            find(&well, "example.org", "v1", "Widget").await,
            find_in_any_version(&well, "example.org", "Widget").await,
        ] {
            assert!(matches!(found, Err(kube::Error::SerdeError(_))), "{found:?}");
        }
    }
}
