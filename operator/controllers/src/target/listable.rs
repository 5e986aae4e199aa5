//! Every kind that may have objects in a namespace: what must be looked at before one is deleted.
//!
//! Read in two requests by aggregated discovery (Kubernetes 1.27 or later), and remembered for two seconds only: about as
//! long as it takes to list them all, so remembering lets hardly more slip through than looking does. What can't be read
//! in full is unknown and is not remembered: an older cluster's answer, a group whose server is down.

use http::header::ACCEPT;
use serde_json::Value;
use threeport_model::explain;
use tokio::time::Instant;

use super::{Resource, Target, TargetError, discovery::LOOK_AGAIN};

const AGGREGATED: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,\
    application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList,application/json";

/// What was read, and when.
pub(super) type Remembered = Option<(Instant, Vec<Resource>)>;

impl Target {
    /// Every namespaced kind that can be listed, each in the best version that has it. Fails where a part can't be read:
    /// then it is not known what there is.
    pub async fn listable(&self) -> Result<Vec<Resource>, TargetError> {
        let remembered = self.discovery().listable().clone();
        if let Some((read_at, resources)) = remembered
            && read_at.elapsed() < LOOK_AGAIN
        {
            return Ok(resources);
        }
        // From before the first request: what appears meanwhile may not be in the answer.
        let read_at = Instant::now();
        let mut resources = of_groups(&self.aggregated("/api").await?)?;
        resources.extend(of_groups(&self.aggregated("/apis").await?)?);
        *self.discovery().listable() = Some((read_at, resources.clone()));
        Ok(resources)
    }

    async fn aggregated(&self, path: &str) -> Result<Value, TargetError> {
        let request = http::Request::get(path)
            .header(ACCEPT, AGGREGATED)
            .body(Vec::new());
        let request = request.map_err(|error| TargetError::Invalid(explain(&error)))?;
        self.send(request, "get", path).await
    }
}

/// The namespaced kinds that can be listed.
fn of_groups(list: &Value) -> Result<Vec<Resource>, TargetError> {
    let groups = list["items"]
        .as_array()
        .filter(|_| list["kind"] == "APIGroupDiscoveryList");
    let groups = groups.ok_or_else(|| {
        TargetError::Unreachable("the answer is no aggregated discovery; it needs Kubernetes 1.27".to_owned())
    })?;
    let mut resources = Vec::new();
    for group in groups {
        of_group(group, &mut resources)?;
    }
    Ok(resources)
}

fn of_group(group: &Value, resources: &mut Vec<Resource>) -> Result<(), TargetError> {
    // The core group's name is left out.
    let name = group["metadata"]["name"].as_str().unwrap_or_default();
    let first = resources.len();
    // The best version first.
    for version in array(&group["versions"]) {
        let version_name = text(&version["version"]);
        if version["freshness"] == "Stale" {
            let message = format!("what is served of {name}/{version_name} is not known");
            return Err(TargetError::Unreachable(message));
        }
        for entry in array(&version["resources"]) {
            let lists = array(&entry["verbs"]).iter().any(|verb| verb == "list");
            let plural = text(&entry["resource"]);
            let known = resources[first..].iter().any(|known| known.plural == plural);
            if lists && entry["scope"] == "Namespaced" && !known {
                resources.push(Resource {
                    group: name.to_owned(),
                    version: version_name.clone(),
                    kind: text(&entry["responseKind"]["kind"]),
                    plural,
                    namespaced: true,
                });
            }
        }
    }
    Ok(())
}

fn array(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use std::{
        sync::{
            Arc,
            atomic::{AtomicUsize, Ordering},
        },
        time::Duration,
    };

    use kube::{Client, client::Body};
    use serde_json::json;

    use super::*;

    fn version(name: &str, plurals: &[&str]) -> Value {
        let resources: Vec<_> = plurals
            .iter()
            .map(|plural| {
                json!({"resource": plural, "scope": "Namespaced", "responseKind": {"kind": plural}, "verbs": ["get", "list"]})
            })
            .collect();
        json!({"version": name, "freshness": "Current", "resources": resources})
    }

    fn list(group: &str, versions: &[Value]) -> Value {
        json!({"kind": "APIGroupDiscoveryList", "items": [{"metadata": {"name": group}, "versions": versions}]})
    }

    #[test]
    fn a_kind_is_listed_once_even_if_only_an_older_version_has_it() {
        let list = list(
            "example.org",
            &[
                version("v1", &["widgets"]),
                version("v1alpha1", &["gadgets", "widgets"]),
            ],
        );
        let paths: Vec<_> = of_groups(&list)
            .unwrap()
            .iter()
            .map(|resource| resource.path("web"))
            .collect();
        assert_eq!(
            paths,
            [
                "/apis/example.org/v1/namespaces/web/widgets",
                "/apis/example.org/v1alpha1/namespaces/web/gadgets"
            ]
        );
    }

    #[test]
    fn what_has_no_objects_in_a_namespace_is_left_out() {
        let mut cluster = version("v1", &["nodes"]);
        cluster["resources"][0]["scope"] = json!("Cluster");
        let mut write_only = version("v1", &["bindings"]);
        write_only["resources"][0]["verbs"] = json!(["create"]);
        for version in [cluster, write_only] {
            assert_eq!(of_groups(&list("", &[version])).unwrap(), []);
        }
    }

    #[test]
    fn a_part_that_is_not_known_makes_all_unknown() {
        let mut stale = version("v1beta1", &[]);
        stale["freshness"] = json!("Stale");
        let stale = list("metrics.k8s.io", &[stale]);
        let old = json!({"kind": "APIGroupList", "groups": []});
        for answer in [stale, old, json!({"kind": "APIGroupDiscoveryList"})] {
            assert!(of_groups(&answer).unwrap_err().is_unknown(), "{answer}");
        }
    }

    /// A cluster that fails until it was asked `failing` times, and how often it was asked.
    fn cluster(failing: usize) -> (Target, Arc<AtomicUsize>) {
        let asked = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&asked);
        let service = tower::service_fn(move |_: http::Request<Body>| {
            let fails = counted.fetch_add(1, Ordering::SeqCst) < failing;
            let answer = if fails {
                json!({"kind": "APIGroupList"})
            } else {
                list("apps", &[version("v1", &["deployments"])])
            };
            async move {
                Ok::<_, std::convert::Infallible>(http::Response::new(Body::from(
                    answer.to_string().into_bytes(),
                )))
            }
        });
        let target = Target::new(Client::new(service, "default"), Arc::default());
        (target, asked)
    }

    #[tokio::test(start_paused = true)]
    async fn it_is_remembered_for_a_moment_and_a_failure_is_not() {
        let (target, asked) = cluster(1);
        assert!(target.listable().await.unwrap_err().is_unknown());
        assert_eq!(target.listable().await.unwrap().len(), 2);
        assert_eq!(asked.load(Ordering::SeqCst), 3);
        target.listable().await.unwrap();
        assert_eq!(asked.load(Ordering::SeqCst), 3, "remembered");
        tokio::time::advance(Duration::from_millis(2001)).await;
        target.listable().await.unwrap();
        assert_eq!(asked.load(Ordering::SeqCst), 5, "asked again");
    }
}
