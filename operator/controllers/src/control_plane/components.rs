//! The parts of the control plane, as their Deployments and StatefulSets say. Empty where the control plane runs as plain
//! processes.

use k8s_openapi::api::apps::v1::{Deployment, StatefulSet};
use k8s_openapi::api::core::v1::PodTemplateSpec;
use kube::{Api, Client, api::ListParams};
use threeport_model::kinds::control_plane_instance::Component;

const LABEL: &str = "app.kubernetes.io/part-of=threeport";

/// The components in a namespace, sorted by name.
pub(super) async fn read(client: &Client, namespace: &str) -> Result<Vec<Component>, kube::Error> {
    let parameters = ListParams::default().labels(LABEL).limit(50);
    let deployments: Api<Deployment> = Api::namespaced(client.clone(), namespace);
    let sets: Api<StatefulSet> = Api::namespaced(client.clone(), namespace);
    let mut components = Vec::new();
    for deployment in deployments.list(&parameters).await? {
        let ready = deployment
            .status
            .as_ref()
            .and_then(|status| status.ready_replicas);
        let spec = deployment.spec.unwrap_or_default();
        components.push(component(
            deployment.metadata.name,
            ready,
            spec.replicas,
            &spec.template,
        ));
    }
    for set in sets.list(&parameters).await? {
        let ready = set.status.as_ref().and_then(|status| status.ready_replicas);
        let spec = set.spec.unwrap_or_default();
        components.push(component(set.metadata.name, ready, spec.replicas, &spec.template));
    }
    components.sort_by(|left, right| left.name.cmp(&right.name));
    Ok(components)
}

fn component(
    name: Option<String>,
    ready: Option<i32>,
    desired: Option<i32>,
    template: &PodTemplateSpec,
) -> Component {
    let container = template.spec.as_ref().and_then(|spec| spec.containers.first());
    Component {
        name: name.unwrap_or_default(),
        ready: ready.unwrap_or(0).into(),
        desired: desired.unwrap_or(1).into(),
        image: container
            .and_then(|container| container.image.clone())
            .unwrap_or_default(),
    }
}
