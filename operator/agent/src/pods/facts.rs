//! What is kept of a pod and of a ReplicaSet. Pure.

use std::sync::Arc;

use k8s_openapi::{
    api::core::v1::{ContainerStatus, Pod, PodStatus},
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use threeport_model::{image, kinds::workload_instance::RunningImage};
use uuid::Uuid;

/// The longest text of a kubelet that is passed on, in characters.
const LONGEST_REASON: usize = 300;
/// Where a Deployment's controller counts its ReplicaSets.
const REVISION: &str = "deployment.kubernetes.io/revision";
/// Why a container waits that won't start by waiting alone.
const FAILURES: [&str; 10] = [
    "CrashLoopBackOff",
    "ErrImagePull",
    "ImagePullBackOff",
    "ErrImageNeverPull",
    "InvalidImageName",
    "ImageInspectError",
    "RegistryUnavailable",
    "CreateContainerConfigError",
    "CreateContainerError",
    "RunContainerError",
];

/// What is kept of a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodFacts {
    /// Its uid.
    pub uid: Uuid,
    /// The uid of its controller.
    pub owner: Option<Uuid>,
    /// Its name.
    pub name: Box<str>,
    /// Whether it is being deleted.
    pub terminating: bool,
    /// Why it does not run as it should.
    pub trouble: Option<Box<Trouble>>,
    /// The images of its containers, once they were resolved.
    pub images: Box<[Arc<RunningImage>]>,
}

/// Why a pod does not run as it should.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// Whether it is not expected to mend itself.
    pub failed: bool,
    /// As in `container web: ImagePullBackOff: image r.example/web:9: not found`.
    pub message: String,
}

/// What is kept of a ReplicaSet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReplicaSetFacts {
    /// Its uid.
    pub uid: Uuid,
    /// The uid of its Deployment.
    pub owner: Option<Uuid>,
    /// Counted by the Deployment's controller; 0 where it has none.
    pub revision: u64,
}

/// The facts of a pod; nothing where it has no uid.
pub fn pod(pod: &Pod) -> Option<PodFacts> {
    let metadata = &pod.metadata;
    Some(PodFacts {
        uid: uid(metadata)?,
        owner: owner(metadata),
        name: metadata.name.as_deref()?.into(),
        terminating: metadata.deletion_timestamp.is_some(),
        trouble: trouble(pod).map(Box::new),
        images: images(pod),
    })
}

/// The facts of a ReplicaSet, from its metadata.
pub fn replica_set(metadata: &ObjectMeta) -> Option<ReplicaSetFacts> {
    let annotation = metadata
        .annotations
        .as_ref()
        .and_then(|annotations| annotations.get(REVISION));
    let revision = annotation.and_then(|text| text.parse().ok()).unwrap_or(0);
    Some(ReplicaSetFacts {
        uid: uid(metadata)?,
        owner: owner(metadata),
        revision,
    })
}

fn uid(metadata: &ObjectMeta) -> Option<Uuid> {
    Uuid::parse_str(metadata.uid.as_deref()?).ok()
}

fn owner(metadata: &ObjectMeta) -> Option<Uuid> {
    let references = metadata.owner_references.as_ref()?;
    let controller = references
        .iter()
        .find(|reference| reference.controller == Some(true))?;
    Uuid::parse_str(&controller.uid).ok()
}

/// Init containers first, as they run.
fn containers(status: &PodStatus) -> impl Iterator<Item = &ContainerStatus> {
    let init = status.init_container_statuses.iter().flatten();
    init.chain(status.container_statuses.iter().flatten())
}

fn trouble(pod: &Pod) -> Option<Trouble> {
    let status = pod.status.as_ref()?;
    let phase = status.phase.as_deref().unwrap_or_default();
    if phase == "Succeeded" || (phase == "Failed" && !is_of_job(pod)) {
        return None;
    }
    let all = containers(status).filter_map(container_trouble);
    if let Some(worst) = all.min_by_key(|trouble| !trouble.failed) {
        return Some(worst);
    }
    let conditions = status.conditions.iter().flatten();
    let mut unscheduled =
        conditions.filter(|condition| condition.type_ == "PodScheduled" && condition.status == "False");
    unscheduled.next().map(|condition| {
        let reason = condition.reason.as_deref().unwrap_or("Unschedulable");
        let why = condition.message.as_deref().unwrap_or_default();
        Trouble {
            failed: false,
            message: format!("{reason}: {}", shorten(why)),
        }
    })
}

/// A failed pod of another owner was replaced and says nothing about what runs.
fn is_of_job(pod: &Pod) -> bool {
    pod.metadata
        .owner_references
        .iter()
        .flatten()
        .any(|reference| reference.kind == "Job")
}

fn container_trouble(container: &ContainerStatus) -> Option<Trouble> {
    let name = &container.name;
    let state = container.state.as_ref()?;
    if let Some(waiting) = &state.waiting {
        let reason = waiting.reason.as_deref().unwrap_or_default();
        if FAILURES.contains(&reason) {
            let detail = failure(container, reason, waiting.message.as_deref().unwrap_or_default());
            return Some(Trouble {
                failed: true,
                message: format!("container {name}: {detail}"),
            });
        }
    }
    let ended = state.terminated.as_ref();
    let last = container
        .last_state
        .as_ref()
        .and_then(|state| state.terminated.as_ref());
    let exit = ended.or_else(|| last.filter(|_| !container.ready))?;
    if exit.exit_code == 0 {
        return None;
    }
    let reason = exit.reason.as_deref().unwrap_or("Error");
    let message = format!(
        "container {name}: {reason}, exit code {}, restarts {}",
        exit.exit_code, container.restart_count
    );
    Some(Trouble {
        failed: false,
        message,
    })
}

fn failure(container: &ContainerStatus, reason: &str, message: &str) -> String {
    match reason {
        // A kubelet changes between the two with every try; one name for both keeps the report still.
        "ErrImagePull" | "ImagePullBackOff" => {
            let cause = message
                .split_once("ErrImagePull: ")
                .map_or(message, |(_, cause)| cause);
            format!("ImagePullBackOff: image {}: {}", container.image, shorten(cause))
        }
        "CrashLoopBackOff" => {
            let last = container
                .last_state
                .as_ref()
                .and_then(|state| state.terminated.as_ref());
            let exit = last.map(|exit| {
                let why = exit
                    .message
                    .as_deref()
                    .map(|text| format!(": {}", shorten(text)))
                    .unwrap_or_default();
                format!(
                    ", exit code {} ({}){why}",
                    exit.exit_code,
                    exit.reason.as_deref().unwrap_or("Error")
                )
            });
            let restarts = container.restart_count;
            format!(
                "CrashLoopBackOff: image {}, restarts {restarts}{}",
                container.image,
                exit.unwrap_or_default()
            )
        }
        _ => format!("{reason}: image {}: {}", container.image, shorten(message)),
    }
}

fn shorten(text: &str) -> String {
    let mut short: String = text.trim().chars().take(LONGEST_REASON).collect();
    if short.len() < text.trim().len() {
        short.push('…');
    }
    short
}

/// Repository and reference as the pod's specification has them: what a status calls `image` is a node's choice.
fn images(pod: &Pod) -> Box<[Arc<RunningImage>]> {
    let Some((status, spec)) = pod.status.as_ref().zip(pod.spec.as_ref()) else {
        return Box::default();
    };
    let named = |name: &str| {
        let all = spec.init_containers.iter().flatten().chain(&spec.containers);
        all.filter(|container| container.name == name)
            .find_map(|container| container.image.as_deref())
    };
    let resolved = containers(status).filter(|container| !container.image_id.is_empty());
    let images = resolved.filter_map(|container| {
        let used = image::parse(named(&container.name)?);
        let image_id = container.image_id.clone();
        Some(Arc::new(RunningImage {
            repository: used.repository,
            reference: used.reference,
            image_id,
        }))
    });
    images.collect()
}
