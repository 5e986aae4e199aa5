//! Checks of the cluster that the control plane runs in: definitions of the custom resources, the namespace, the parts.
//! They are for people with a kubeconfig; without one they are skipped. Its cluster need not be that of an API that was
//! named by its address: so it is said which one it is.

use k8s_openapi::{
    api::{
        apps::v1::{Deployment, StatefulSet},
        core::v1::Namespace,
    },
    apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
};
use kube::{
    Api, Client, Resource, ResourceExt,
    api::{DynamicObject, ListParams},
    core::ApiResource,
};
use threeport_model::{GROUP, KindDescriptor, VERSION, identity, kinds};

use super::Check;
use crate::{arguments::Connection, connect, exit::explain};

const PARTS: &str = "app.kubernetes.io/name=threeport";

pub(super) async fn checks(connection: &Connection) -> Vec<Check> {
    let (client, cluster) = match connect::client_and_cluster(connection).await {
        Ok(found) => found,
        Err(error) => {
            return vec![Check::skipped(
                "cluster",
                format!("no kubeconfig can be used: {}", explain(&error)),
            )];
        }
    };
    match client.apiserver_version().await {
        Err(error) => {
            let remedy = "see kubectl config current-context and kubectl get --raw /readyz, or name another with \
                          --kube-context";
            let detail = format!("{cluster}: {}", explain(&error.into()));
            vec![Check::failed("cluster", detail, remedy)]
        }
        Ok(version) => {
            let namespace = connect::namespace(connection);
            let detail = format!("Kubernetes {} answers at {cluster}", version.git_version);
            let mut checks = vec![Check::ok("cluster", detail)];
            checks.push(definitions(&client, namespace).await);
            checks.extend(namespace_checks(&client, namespace).await);
            checks
        }
    }
}

fn served() -> impl Iterator<Item = &'static KindDescriptor> {
    kinds::ALL.iter().filter(|kind| kind.custom_resource)
}

async fn definitions(client: &Client, namespace: &str) -> Check {
    const NAME: &str = "custom resource definitions";
    let api: Api<CustomResourceDefinition> = Api::all(client.clone());
    let mut wrong = Vec::new();
    for kind in served() {
        let name = format!("{}.{GROUP}", kind.plural);
        match api.get_opt(&name).await {
            Ok(None) => wrong.push(format!("{name} is missing")),
            Ok(Some(found)) if found.metadata.deletion_timestamp.is_some() => {
                wrong.push(format!("{name} is being deleted"));
            }
            Ok(Some(found)) => {
                let conditions = found
                    .status
                    .iter()
                    .flat_map(|status| status.conditions.iter().flatten());
                if !conditions
                    .into_iter()
                    .any(|it| it.type_ == "Established" && it.status == "True")
                {
                    wrong.push(format!("{name} is not established"));
                }
            }
            Err(error) => {
                return Check::skipped(NAME, format!("they can't be read: {}", explain(&error.into())));
            }
        }
    }
    if wrong.is_empty() {
        return Check::ok(NAME, format!("all {} are established", served().count()));
    }
    let remedy = format!(
        "the operator's facade applies them when it starts: kubectl rollout restart deployment -n {namespace} -l \
         app.kubernetes.io/component=facade; where it may not, its log says what to apply. No workload is lost by their \
         deletion"
    );
    Check::failed(NAME, wrong.join("; "), remedy)
}

async fn namespace_checks(client: &Client, name: &str) -> Vec<Check> {
    const NAME: &str = "namespace";
    let api: Api<Namespace> = Api::all(client.clone());
    match api.get_opt(name).await {
        Err(error) => vec![Check::skipped(
            NAME,
            format!("{name} can't be read: {}", explain(&error.into())),
        )],
        Ok(None) => {
            let remedy =
                "name the control plane's namespace with --namespace; where it is installed: helm list -A";
            vec![Check::failed(NAME, format!("{name} is not there"), remedy)]
        }
        Ok(Some(namespace)) if namespace.metadata.deletion_timestamp.is_some() => {
            vec![terminating(name, &finalized(client, name).await)]
        }
        Ok(Some(namespace)) => {
            let mut checks = Vec::new();
            if namespace.labels().contains_key(identity::SERVED) {
                checks.push(Check::ok(NAME, format!("{name} is served with custom resources")));
            } else {
                let remedy = "the operator's facade labels it when it starts; see its log";
                let detail = format!(
                    "{name} has no label {}: custom resources are refused there",
                    identity::SERVED
                );
                checks.push(Check::warning(NAME, detail, remedy));
            }
            checks.push(parts(client, name).await);
            checks
        }
    }
}

/// `kind/name` of custom resources in the namespace that still carry our finalizer.
async fn finalized(client: &Client, namespace: &str) -> Vec<String> {
    let mut found = Vec::new();
    for kind in served() {
        let resource = ApiResource {
            group: GROUP.to_owned(),
            version: VERSION.to_owned(),
            api_version: format!("{GROUP}/{VERSION}"),
            kind: kind.kind.to_owned(),
            plural: kind.plural.to_owned(),
        };
        let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), namespace, &resource);
        // A kind whose definition is gone has no objects left.
        let objects = api
            .list(&ListParams::default())
            .await
            .map(|list| list.items)
            .unwrap_or_default();
        let ours = objects
            .iter()
            .filter(|it| it.finalizers().iter().any(|name| name == identity::FINALIZER));
        found.extend(ours.map(|it| format!("{}.{GROUP}/{}", kind.singular, it.name_any())));
    }
    found
}

fn terminating(namespace: &str, held_by: &[String]) -> Check {
    const NAME: &str = "namespace";
    if held_by.is_empty() {
        let remedy = format!("nothing of Threeport holds it; see kubectl get namespace {namespace} -o yaml");
        return Check::warning(NAME, format!("{namespace} is being deleted"), remedy);
    }
    let remedy = format!(
        "where the operator no longer runs, this lets go (no workload is deleted by it):\nkubectl patch -n {namespace} \
         --type=merge -p '{{\"metadata\":{{\"finalizers\":null}}}}' {}",
        held_by.join(" ")
    );
    let detail = format!(
        "{namespace} is being deleted and waits for finalizers of {} custom resources",
        held_by.len()
    );
    Check::failed(NAME, detail, remedy)
}

async fn parts(client: &Client, namespace: &str) -> Check {
    const NAME: &str = "parts";
    let selector = ListParams::default().labels(PARTS);
    let deployments: Api<Deployment> = Api::namespaced(client.clone(), namespace);
    let sets: Api<StatefulSet> = Api::namespaced(client.clone(), namespace);
    let (deployments, sets) = match (deployments.list(&selector).await, sets.list(&selector).await) {
        (Ok(deployments), Ok(sets)) => (deployments, sets),
        (Err(error), _) | (_, Err(error)) => {
            return Check::skipped(NAME, format!("they can't be read: {}", explain(&error.into())));
        }
    };
    let mut states = Vec::new();
    for deployment in &deployments {
        let desired = deployment
            .spec
            .as_ref()
            .and_then(|spec| spec.replicas)
            .unwrap_or(1);
        let ready = deployment
            .status
            .as_ref()
            .and_then(|status| status.available_replicas)
            .unwrap_or(0);
        states.push(part(deployment, ready, desired));
    }
    for set in &sets {
        let desired = set.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1);
        let ready = set
            .status
            .as_ref()
            .and_then(|status| status.ready_replicas)
            .unwrap_or(0);
        states.push(part(set, ready, desired));
    }
    if states.is_empty() {
        return Check::skipped(
            NAME,
            format!("no Deployment in {namespace} has the labels of the chart"),
        );
    }
    let wrong: Vec<_> = states
        .iter()
        .filter(|(well, _)| !well)
        .map(|(_, text)| text.as_str())
        .collect();
    if wrong.is_empty() {
        let all: Vec<_> = states.iter().map(|(_, text)| text.as_str()).collect();
        return Check::ok(NAME, all.join(", "));
    }
    let remedy =
        format!("kubectl describe pods -n {namespace} -l {PARTS} says why; docs/failures.md what it means");
    Check::failed(NAME, wrong.join(", "), remedy)
}

/// A part that is scaled to zero is not well: each does something that nothing else does.
fn part(object: &impl Resource, ready: i32, desired: i32) -> (bool, String) {
    let name = object.meta().name.clone().unwrap_or_default();
    (
        desired > 0 && ready >= desired,
        format!("{name} {ready}/{desired}"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::doctor::Finding;

    #[test]
    fn a_namespace_that_waits_for_us_is_told_with_the_one_command() {
        let held = [
            "workloadinstance.threeport.io/web".to_owned(),
            "workloaddefinition.threeport.io/web".to_owned(),
        ];
        let check = terminating("tp", &held);
        assert_eq!(check.result, Finding::Failed);
        assert!(
            check
                .remedy
                .contains("kubectl patch -n tp --type=merge -p '{\"metadata\":{\"finalizers\":null}}'")
        );
        assert!(
            check
                .remedy
                .ends_with("workloadinstance.threeport.io/web workloaddefinition.threeport.io/web")
        );
        assert_eq!(terminating("tp", &[]).result, Finding::Warning);
    }
}
